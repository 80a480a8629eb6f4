package client

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// Quota reads the quota of one of WeChat's APIs, such as [hongyan.SendPath].
func (c *Client) Quota(ctx context.Context, app hongyan.AppID, cgiPath string) (hongyan.Quota, error) {
	return send[hongyan.Quota](ctx, c, "POST", join("apps", string(app), "quota"), map[string]string{"cgi_path": cgiPath}, Options{})
}

// ClearQuota sets the used quotas of all APIs back to nothing, 10 times a month; with a
// cgiPath that of one API, 50 times a month.
func (c *Client) ClearQuota(ctx context.Context, app hongyan.AppID, cgiPath string) (hongyan.QuotaCleared, error) {
	in := map[string]string{}
	if cgiPath != "" {
		in["cgi_path"] = cgiPath
	}
	return send[hongyan.QuotaCleared](ctx, c, "POST", join("apps", string(app), "quota", "clear"), in, Options{})
}

// Call reads a call of the last 7 days as WeChat saw it, by the rid of its errmsg.
func (c *Client) Call(ctx context.Context, app hongyan.AppID, rid string) (hongyan.CallInfo, error) {
	return send[hongyan.CallInfo](ctx, c, "POST", join("apps", string(app), "rid"), map[string]string{"rid": rid}, Options{})
}

// Reach says what WeChat is to try. Empty fields are WeChat's choice.
type Reach struct {
	Action   string `json:"action,omitempty"`   // all, dns or ping
	Operator string `json:"operator,omitempty"` // DEFAULT, CHINANET, UNICOM or CAP
}

// CheckCallback has WeChat resolve and ping the host of the app's push URL.
func (c *Client) CheckCallback(ctx context.Context, app hongyan.AppID, in Reach) (hongyan.CallbackReach, error) {
	return send[hongyan.CallbackReach](ctx, c, "POST", join("apps", string(app), "callback", "check"), in, Options{})
}
