package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// sessionAnswer has no errcode: a success of this call was never seen with one.
type sessionAnswer struct {
	SessionKey string `json:"session_key"`
	OpenID     string `json:"openid"`
	UnionID    string `json:"unionid,omitempty"`
}

// login is GET /sns/jscode2session. The user is recorded; the caller gets the session key, as
// from WeChat.
func (c *call) login() {
	q := c.query
	if !c.credentials(q.Get("appid"), q.Get("secret"), q.Get("grant_type"), "authorization_code") {
		return
	}
	if q.Get("js_code") == "" {
		c.refuse(wechat.ErrcodeCodeMissing, "")
		return
	}
	secret, err := c.g.l.AppSecret(c.ctx, c.app)
	if err != nil {
		c.because("The app has no AppSecret here; set one with hongyan apps update %s", c.app)
		c.refuse(wechat.ErrcodeInvalidAppSecret, "")
		return
	}
	s, err := c.g.cfg.WeChat.Code2Session(c.ctx, string(c.app), secret.Reveal(), q.Get("js_code"))
	var refused *wechat.Error
	var transport *wechat.TransportError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		c.verbatim(refused.Errcode, refused.Errmsg)
		return
	case errors.As(err, &transport) && transport.Kind == wechat.Unclear:
		c.close() // the code may be used up
	default:
		c.fail("log in", err)
		return
	}
	c.record(ledger.Login{OpenID: hongyan.OpenID(s.OpenID), UnionID: s.UnionID, SessionKey: hongyan.NewSessionKey(s.SessionKey)})
	c.ok(sessionAnswer{s.SessionKey, s.OpenID, s.UnionID})
}

// record keeps what WeChat said of a user. The code is used up, so the caller hears of it
// whether or not it can be kept, and it is kept whether or not the caller is still there.
func (c *call) record(in ledger.Login) {
	if _, err := c.g.l.RecordLogin(context.WithoutCancel(c.ctx), c.app, in); err != nil {
		c.g.log.ErrorContext(c.ctx, "user not recorded", "appid", c.app, "err", err)
	}
}

// resetSession is GET /wxa/resetusersessionkey: the new key replaces the one kept here.
func (c *call) resetSession() {
	a, ok := c.ask(nil)
	if !ok {
		return
	}
	var s struct {
		Errcode    int    `json:"errcode"`
		OpenID     string `json:"openid"`
		SessionKey string `json:"session_key"`
	}
	if json.Unmarshal(a.Body, &s) == nil && s.Errcode == 0 && s.SessionKey != "" && hongyan.OpenID(s.OpenID).Valid() {
		c.record(ledger.Login{OpenID: hongyan.OpenID(s.OpenID), SessionKey: hongyan.NewSessionKey(s.SessionKey)})
	}
	c.reply(a)
}

// clearQuota is POST /cgi-bin/clear_quota, for the key's own app alone.
func (c *call) clearQuota() {
	var b struct {
		AppID string `json:"appid"`
	}
	if err := json.Unmarshal(c.body, &b); err != nil {
		c.refuse(wechat.ErrcodeDataFormat, "")
		return
	}
	if hongyan.AppID(b.AppID) != c.app {
		c.refuse(wechat.ErrcodeInvalidAppID, "")
		return
	}
	c.pass()
}

// clearQuotaBySecret is POST /cgi-bin/clear_quota/v2, which has no token: appid and appsecret
// are in the body or in the query.
func (c *call) clearQuotaBySecret() {
	var b struct {
		AppID     string `json:"appid"`
		AppSecret string `json:"appsecret"`
	}
	_ = json.Unmarshal(c.body, &b) // the query has them then
	if b.AppID == "" {
		b.AppID, b.AppSecret = c.query.Get("appid"), c.query.Get("appsecret")
	}
	if !c.credentials(b.AppID, b.AppSecret, "", "") {
		return
	}
	if !c.may() {
		c.refuse(wechat.ErrcodeUnauthorized, "")
		return
	}
	secret, err := c.g.l.AppSecret(c.ctx, c.app)
	if err != nil {
		c.refuse(wechat.ErrcodeInvalidAppSecret, "")
		return
	}
	b.AppSecret = secret.Reveal()
	a, ok := c.exchange(wechat.RelayRequest{ContentType: "application/json", Body: encode(b), Secrets: []string{b.AppSecret},
		Query: url.Values{"appid": {b.AppID}, "appsecret": {b.AppSecret}}.Encode()})
	if ok {
		c.reply(a)
	}
}
