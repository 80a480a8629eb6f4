package sandbox

import (
	"strings"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// Clearing quotas is limited itself.
const clearsPerMonth = 10

// reportedQuota stands in quota/get for paths without a limit here: the figure
// of the guide for accounts without WeChat Pay.
const reportedQuota = 10_000_000

// quotaAnswer leaves rate_limit out, as WeChat does for some paths.
type quotaAnswer struct {
	status
	Quota struct {
		DailyLimit int `json:"daily_limit"`
		Used       int `json:"used"`
		Remain     int `json:"remain"`
	} `json:"quota"`
}

// getQuota is POST /cgi-bin/openapi/quota/get.
func (c *call) getQuota() answer {
	path, ref := c.cgiPath()
	if ref != nil {
		return *ref
	}
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	limit, limited := c.app.rules.quota(path)
	if !limited {
		limit = reportedQuota
	}
	v := quotaAnswer{status: status{Errmsg: "ok"}}
	v.Quota.DailyLimit = limit
	v.Quota.Used = c.app.used[path].in(day(c.s.Now()))
	v.Quota.Remain = max(limit-v.Quota.Used, 0)
	return c.ok(v)
}

// clearAPIQuota is POST /cgi-bin/openapi/quota/clear.
func (c *call) clearAPIQuota() answer {
	path, ref := c.cgiPath()
	if ref != nil {
		return *ref
	}
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	delete(c.app.used, path)
	return c.ok(status{Errmsg: "ok"})
}

// cgiPath reads the path that a call is about.
func (c *call) cgiPath() (string, *answer) {
	var path string
	o, ok := parseObject(c.body)
	if !ok || !o.text("cgi_path", &path) {
		ref := c.refuse(wechat.ErrcodeDataFormat)
		return "", &ref
	}
	code := 0
	switch {
	case strings.HasPrefix(path, "/sns/"):
		code = errcodePathNotAllowed
	case c.s.routes[path] == nil:
		code = errcodePathNotFound
	}
	if code != 0 {
		ref := c.refuse(code)
		return "", &ref
	}
	return path, nil
}

// clearQuota is POST /cgi-bin/clear_quota: all paths of the token's own app.
func (c *call) clearQuota() answer {
	var appID string
	o, ok := parseObject(c.body)
	switch {
	case !ok || !o.text("appid", &appID):
		return c.refuse(wechat.ErrcodeDataFormat)
	case appID == "":
		return c.refuse(wechat.ErrcodeAppIDMissing)
	case appID != c.app.id:
		return c.refuse(wechat.ErrcodeInvalidAppID)
	}
	return c.doClearQuota(c.s.Now())
}

// clearQuotaBySecret is POST /cgi-bin/clear_quota/v2. It needs no token, so it
// helps when the token endpoint itself is used up. WeChat's table has the fields
// in the body, its sample in the query; both are taken.
func (c *call) clearQuotaBySecret() answer {
	appID, secret := c.query.Get("appid"), c.query.Get("appsecret")
	if appID == "" {
		o, ok := parseObject(c.body)
		if !ok || !o.text("appid", &appID) || !o.text("appsecret", &secret) {
			return c.refuse(wechat.ErrcodeDataFormat)
		}
	}
	const any = "any" // there is no grant type to check
	if ref := c.credentials(appID, secret, any, any); ref != nil {
		return *ref
	}
	return c.doClearQuota(c.s.Now())
}

func (c *call) doClearQuota(now time.Time) answer {
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	if c.app.clears.in(month(now)) >= clearsPerMonth {
		return c.refuse(errcodeClearQuota)
	}
	// Both versions of the call draw from the same budget.
	c.app.clears.add(month(now))
	clear(c.app.used)
	return c.ok(status{Errmsg: "ok"})
}

// ipList is GET /cgi-bin/get_api_domain_ip and /cgi-bin/getcallbackip: here, all
// of WeChat lives on this machine.
func (c *call) ipList() answer {
	return c.ok(struct {
		IPList []string `json:"ip_list"`
	}{[]string{"127.0.0.1"}})
}
