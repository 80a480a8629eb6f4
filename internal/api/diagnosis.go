package api

import (
	"context"
	"slices"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

type quotaRequest struct {
	CGIPath string `json:"cgi_path" minLength:"1" maxLength:"200" doc:"The API's path, such as /cgi-bin/message/subscribe/send."`
}

// checkCGIPath wants what WeChat's error would not explain.
func checkCGIPath(p string) error {
	if !strings.HasPrefix(p, "/") || len(p) > 200 || strings.ContainsAny(p, "? #") {
		return hongyan.Invalid("/cgi_path", "path", "Name the API's path with its leading slash, without host and query, such as %s.", hongyan.SendPath)
	}
	return nil
}

func (s *server) getQuota(ctx context.Context, in *InApp, b *quotaRequest) (hongyan.Quota, error) {
	out := hongyan.Quota{CGIPath: b.CGIPath}
	if err := checkCGIPath(b.CGIPath); err != nil {
		return out, err
	}
	err := s.withToken(ctx, in.App, func(token string) error {
		q, err := s.WeChat.GetAPIQuota(ctx, token, b.CGIPath)
		if q.Quota != nil {
			out.Daily = &hongyan.DailyQuota{Limit: q.Quota.DailyLimit, Used: q.Quota.Used, Remain: q.Quota.Remain}
		}
		if q.RateLimit != nil {
			out.RateLimit = &hongyan.RateLimit{Calls: q.RateLimit.CallCount, Seconds: q.RateLimit.RefreshSecond}
		}
		return err
	})
	return out, err
}

type quotaClear struct {
	CGIPath string `json:"cgi_path,omitempty" maxLength:"200" doc:"Only this API's quota. Without it those of all APIs."`
}

func (s *server) clearQuota(ctx context.Context, in *InApp, b *quotaClear) (hongyan.QuotaCleared, error) {
	out := hongyan.QuotaCleared{CGIPath: b.CGIPath, Resumed: []hongyan.Pause{}}
	var err error
	if b.CGIPath == "" {
		out.BySecret, err = s.clearAllQuotas(ctx, in.App)
	} else if err = checkCGIPath(b.CGIPath); err == nil {
		err = s.withToken(ctx, in.App, func(token string) error { return s.WeChat.ClearAPIQuota(ctx, token, b.CGIPath) })
	}
	if err != nil {
		return out, err
	}
	out.Resumed, err = s.l.QuotaCleared(ctx, in.App, b.CGIPath)
	return out, err
}

// clearAllQuotas uses the AppSecret where there is no token: it may be the token endpoint
// whose quota is spent.
func (s *server) clearAllQuotas(ctx context.Context, app hongyan.AppID) (bySecret bool, err error) {
	err = s.withToken(ctx, app, func(token string) error { return s.WeChat.ClearQuota(ctx, token, string(app)) })
	switch hongyan.CodeOf(err) {
	case hongyan.CodeTokenUnavailable, hongyan.CodeTokenRejected:
	default:
		return false, err
	}
	secret, again := s.l.AppSecret(ctx, app)
	if again != nil || s.WeChat == nil {
		return false, err // why there is no token says more
	}
	return true, wechatError(secretRefused(s.WeChat.ClearQuotaByAppSecret(ctx, string(app), secret.Reveal())))
}

type ridRequest struct {
	Rid string `json:"rid" minLength:"1" maxLength:"64" doc:"As it stands in an errmsg, such as 61725984-6126f6f9-040f19c4."`
}

func (s *server) getCall(ctx context.Context, in *InApp, b *ridRequest) (hongyan.CallInfo, error) {
	rid := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(b.Rid), "rid:"))
	if rid == "" || len(rid) > 64 {
		return hongyan.CallInfo{}, hongyan.Invalid("/rid", "rid", "Give the rid of an errmsg: three groups of 8 hex digits.")
	}
	out := hongyan.CallInfo{Rid: rid}
	err := s.withToken(ctx, in.App, func(token string) error {
		info, err := s.WeChat.GetRidInfo(ctx, token, rid)
		out.InvokedAt, out.CostMS, out.ClientIP = info.InvokeTime, info.Cost.Milliseconds(), info.ClientIP
		out.RequestURL, out.RequestBody, out.ResponseBody = info.RequestURL, info.RequestBody, info.ResponseBody
		return err
	})
	return out, err
}

type reachRequest struct {
	Action   string `json:"action,omitempty" enum:"all,dns,ping" doc:"What to try. Default all."`
	Operator string `json:"operator,omitempty" enum:"DEFAULT,CHINANET,UNICOM,CAP" doc:"From whose network: 电信, 联通, 腾讯. Default DEFAULT, WeChat's choice."`
}

func (b *reachRequest) check() error {
	var f []hongyan.FieldError
	one := func(pointer string, v *string, fallback string, all ...string) {
		if *v == "" {
			*v = fallback
		}
		if !slices.Contains(all, *v) {
			f = append(f, hongyan.FieldError{Pointer: pointer, Code: "not_in_list", Detail: "Use one of: " + strings.Join(all, ", ") + "."})
		}
	}
	one("/action", &b.Action, wechat.CheckAll, wechat.CheckAll, wechat.CheckDNS, wechat.CheckPing)
	one("/operator", &b.Operator, wechat.OperatorDefault, wechat.OperatorDefault, wechat.OperatorChinanet, wechat.OperatorUnicom, wechat.OperatorTencent)
	return faults(f)
}

func (s *server) checkCallback(ctx context.Context, in *InApp, b *reachRequest) (hongyan.CallbackReach, error) {
	out := hongyan.CallbackReach{DNS: []hongyan.ResolvedHost{}, Ping: []hongyan.PingedHost{}}
	if err := b.check(); err != nil {
		return out, err
	}
	err := s.withToken(ctx, in.App, func(token string) error {
		found, err := s.WeChat.CallbackCheck(ctx, token, b.Action, b.Operator)
		for _, d := range found.DNS {
			out.DNS = append(out.DNS, hongyan.ResolvedHost{IP: d.IP, Operator: d.RealOperator})
		}
		for _, p := range found.Ping {
			out.Ping = append(out.Ping, hongyan.PingedHost{IP: p.IP, From: p.FromOperator, PackageLoss: p.PackageLoss, Time: p.Time})
		}
		return err
	})
	return out, err
}
