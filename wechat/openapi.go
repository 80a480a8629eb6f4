package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"
)

const (
	pathGetAPIQuota    = "/cgi-bin/openapi/quota/get"
	pathClearAPIQuota  = "/cgi-bin/openapi/quota/clear"
	pathClearQuota     = "/cgi-bin/clear_quota"
	pathClearQuotaV2   = "/cgi-bin/clear_quota/v2"
	pathGetRidInfo     = "/cgi-bin/openapi/rid/get"
	pathGetAPIDomainIP = "/cgi-bin/get_api_domain_ip"
	pathGetCallbackIP  = "/cgi-bin/getcallbackip"
	pathCallbackCheck  = "/cgi-bin/callback/check"
)

// APIQuota is how much of an API an app may use. A part that WeChat does not tell for
// the path is nil.
type APIQuota struct {
	// Quota is of the day.
	Quota *DailyQuota `json:"quota,omitempty"`
	// RateLimit bounds calls within a shorter time.
	RateLimit *RateLimit `json:"rate_limit,omitempty"`
	// ComponentRateLimit is that of calls through a third-party platform.
	ComponentRateLimit *RateLimit `json:"component_rate_limit,omitempty"`
}

// DailyQuota is the quota of one API on one day.
type DailyQuota struct {
	DailyLimit int `json:"daily_limit"`
	Used       int `json:"used"`
	Remain     int `json:"remain"`
}

// RateLimit allows CallCount calls in RefreshSecond seconds.
type RateLimit struct {
	CallCount     int `json:"call_count"`
	RefreshSecond int `json:"refresh_second"`
}

// UnmarshalJSON takes numbers as numbers or strings.
func (q *DailyQuota) UnmarshalJSON(b []byte) error {
	var v struct {
		DailyLimit *flexInt `json:"daily_limit"`
		Used       *flexInt `json:"used"`
		Remain     *flexInt `json:"remain"`
	}
	err := json.Unmarshal(b, &v)
	*q = DailyQuota{v.DailyLimit.int(), v.Used.int(), v.Remain.int()}
	return err
}

// UnmarshalJSON takes numbers as numbers or strings.
func (r *RateLimit) UnmarshalJSON(b []byte) error {
	var v struct {
		CallCount     *flexInt `json:"call_count"`
		RefreshSecond *flexInt `json:"refresh_second"`
	}
	err := json.Unmarshal(b, &v)
	*r = RateLimit{v.CallCount.int(), v.RefreshSecond.int()}
	return err
}

// GetAPIQuota tells the quota of one API and what is used of it, by POST
// /cgi-bin/openapi/quota/get. cgiPath is the API's path, such as
// "/cgi-bin/message/subscribe/send": with a leading slash, without host and query.
//
// Errcodes: -1, 40001, 76021 (unknown path), 76022 (not for this path, as all of /sns/).
//
// 查询API调用额度:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_getapiquota.html
func (c *Client) GetAPIQuota(ctx context.Context, accessToken, cgiPath string) (APIQuota, error) {
	q := tokenCall(pathGetAPIQuota, accessToken)
	if err := q.setBody(map[string]string{"cgi_path": cgiPath}); err != nil {
		return APIQuota{}, err
	}
	var v APIQuota
	err := c.fetch(ctx, q, &v, func() error {
		if v == (APIQuota{}) {
			return errors.New("answer has no quota")
		}
		return nil
	})
	if err != nil {
		return APIQuota{}, err
	}
	return v, nil
}

// ClearQuota sets what is used of all the app's daily quotas back to nothing, by POST
// /cgi-bin/clear_quota. At most 10 times a month, those of
// [Client.ClearQuotaByAppSecret] included; beyond that 48006.
//
// Errcodes: -1, 40001, 40013 (not the app of the token), 41002, 48006.
//
// 重置API调用次数:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_clearquota.html
func (c *Client) ClearQuota(ctx context.Context, accessToken, appID string) error {
	q := tokenCall(pathClearQuota, accessToken)
	if err := q.setBody(map[string]string{"appid": appID}); err != nil {
		return err
	}
	return c.confirm(ctx, q)
}

// ClearQuotaByAppSecret is [Client.ClearQuota] without an access token, by POST
// /cgi-bin/clear_quota/v2: for when the quota of the token endpoint itself is used up.
//
// Errcodes: -1, 40013, 40125, 41002, 41004, 48006.
//
// 使用AppSecret重置API调用次数:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_clearquotabyappsecret.html
func (c *Client) ClearQuotaByAppSecret(ctx context.Context, appID, secret string) error {
	// WeChat's table has the fields in the body, its sample has them in the query.
	q := &call{path: pathClearQuotaV2, post: true, secrets: []string{secret},
		query: "appid=" + url.QueryEscape(appID) + "&appsecret=" + url.QueryEscape(secret)}
	if err := q.setBody(map[string]string{"appid": appID, "appsecret": secret}); err != nil {
		return err
	}
	return c.confirm(ctx, q)
}

// ClearAPIQuota sets what is used of one API's daily quota back to nothing, by POST
// /cgi-bin/openapi/quota/clear. At most 50 times a month. WeChat's pages disagree on
// whether it takes any path or only those of 视频号 (/channels/ec/).
//
// Errcodes: -1, 40001, 48006, 76021, 76022.
//
// 重置指定API调用次数:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_clearapiquota.html
func (c *Client) ClearAPIQuota(ctx context.Context, accessToken, cgiPath string) error {
	q := tokenCall(pathClearAPIQuota, accessToken)
	if err := q.setBody(map[string]string{"cgi_path": cgiPath}); err != nil {
		return err
	}
	return c.confirm(ctx, q)
}

// RidInfo is a call as WeChat saw it. Credentials are cut from its texts, but the
// bodies are those of the call: they hold what it was about, openids among it.
type RidInfo struct {
	InvokeTime time.Time
	Cost       time.Duration
	// RequestURL is the query of the call, without host and path.
	RequestURL string
	// RequestBody and ResponseBody are as they went over the wire.
	RequestBody  string
	ResponseBody string
	// ClientIP is the caller's address.
	ClientIP string
}

// GetRidInfo explains a call of the last 7 days by its rid (see [Error.Rid]), by POST
// /cgi-bin/openapi/rid/get. WeChat shows the call's access token, and whatever other
// credentials were in it; they come back as "redacted".
//
// Errcodes: -1, 40001, 76001 (unknown), 76002 (malformed), 76003 (another app's call),
// 76004 (older than 7 days).
//
// 查询rid信息:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_getridinfo.html
func (c *Client) GetRidInfo(ctx context.Context, accessToken, rid string) (RidInfo, error) {
	q := tokenCall(pathGetRidInfo, accessToken)
	if err := q.setBody(map[string]string{"rid": rid}); err != nil {
		return RidInfo{}, err
	}
	var v struct {
		Request *struct {
			InvokeTime   flexInt `json:"invoke_time"`
			CostInMS     flexInt `json:"cost_in_ms"`
			RequestURL   string  `json:"request_url"`
			RequestBody  string  `json:"request_body"`
			ResponseBody string  `json:"response_body"`
			ClientIP     string  `json:"client_ip"`
		} `json:"request"`
	}
	err := c.fetch(ctx, q, &v, func() error {
		if v.Request == nil {
			return errors.New("answer has no request")
		}
		return nil
	})
	if err != nil {
		return RidInfo{}, err
	}
	r := v.Request
	redactCredentials(q.secrets, &r.RequestURL, &r.RequestBody, &r.ResponseBody, &r.ClientIP)
	return RidInfo{
		InvokeTime: time.Unix(int64(r.InvokeTime), 0).UTC(), Cost: time.Duration(r.CostInMS) * time.Millisecond,
		RequestURL: r.RequestURL, RequestBody: r.RequestBody, ResponseBody: r.ResponseBody, ClientIP: r.ClientIP,
	}, nil
}

// GetAPIDomainIP lists the addresses of api.weixin.qq.com, by GET
// /cgi-bin/get_api_domain_ip: for firewalls on the way out. Addresses change; read
// them again every day, and call WeChat by its name all the same.
//
// 获取微信API服务器IP:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_getapidomainip.html
func (c *Client) GetAPIDomainIP(ctx context.Context, accessToken string) ([]string, error) {
	return c.ipList(ctx, pathGetAPIDomainIP, accessToken)
}

// GetCallbackIP lists the addresses and CIDR ranges that WeChat pushes from, by GET
// /cgi-bin/getcallbackip. They change; read them again every day. What proves a push is
// its signature, not where it comes from.
//
// 获取微信推送服务器IP:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_getcallbackip.html
func (c *Client) GetCallbackIP(ctx context.Context, accessToken string) ([]string, error) {
	return c.ipList(ctx, pathGetCallbackIP, accessToken)
}

func (c *Client) ipList(ctx context.Context, path, accessToken string) ([]string, error) {
	var v struct {
		IPList []string `json:"ip_list"`
	}
	err := c.fetch(ctx, getCall(path, accessToken, ""), &v, func() error {
		if v.IPList == nil {
			return errors.New("answer has no ip_list")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.IPList, nil
}

// What [Client.CallbackCheck] tries.
const (
	CheckAll  = "all"
	CheckDNS  = "dns"  // resolve the name of the push URL
	CheckPing = "ping" // ping what it resolves to
)

// From where [Client.CallbackCheck] tries it.
const (
	OperatorDefault  = "DEFAULT"  // WeChat chooses
	OperatorChinanet = "CHINANET" // 电信
	OperatorUnicom   = "UNICOM"   // 联通
	OperatorTencent  = "CAP"      // 腾讯
)

// CallbackCheck is how WeChat reaches the host of an app's push URL. WeChat leaves out
// the list that was not asked for.
type CallbackCheck struct {
	DNS  []CallbackDNS  `json:"dns,omitempty"`
	Ping []CallbackPing `json:"ping,omitempty"`
}

// CallbackDNS is an address that the name resolves to, and whose network it is in.
type CallbackDNS struct {
	IP           string `json:"ip"`
	RealOperator string `json:"real_operator"`
}

// CallbackPing is one address, pinged.
type CallbackPing struct {
	IP           string `json:"ip"`
	FromOperator string `json:"from_operator"`
	PackageLoss  string `json:"package_loss"` // such as "0%"
	Time         string `json:"time"`         // such as "23.079ms"
}

// CallbackCheck has WeChat resolve and ping the host of the app's push URL, by POST
// /cgi-bin/callback/check. action is one of the Check constants, operator one of the
// Operator constants.
//
// Errcodes: -1, 40001, 40201 (the app has no push URL), 40202 (action), 40203 (operator).
//
// 网络通信检测:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/openApi-mgnt/api_callbackcheck.html
func (c *Client) CallbackCheck(ctx context.Context, accessToken, action, operator string) (CallbackCheck, error) {
	q := tokenCall(pathCallbackCheck, accessToken)
	if err := q.setBody(map[string]string{"action": action, "check_operator": operator}); err != nil {
		return CallbackCheck{}, err
	}
	var v CallbackCheck
	err := c.fetch(ctx, q, &v, func() error {
		if v.DNS == nil && v.Ping == nil {
			return errors.New("answer has neither dns nor ping")
		}
		return nil
	})
	if err != nil {
		return CallbackCheck{}, err
	}
	return v, nil
}
