package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

const (
	codeLife = 5 * time.Minute
	// sweepCodes is how many codes an app may have before old ones are removed.
	sweepCodes = 10_000
)

// loginCode is what wx.login gave.
type loginCode struct {
	openID  string
	expires time.Time
	used    bool
}

// LoginSpec says who calls wx.login.
type LoginSpec struct {
	AppID  string `json:"appid"`
	OpenID string `json:"openid"`
}

// LoginResult is what wx.login hands the mini program.
type LoginResult struct {
	Code string `json:"code"`
}

// Login makes a login code, good for 5 minutes and one use.
func (s *Sandbox) Login(spec LoginSpec) (LoginResult, error) {
	_, a, err := s.find(spec.AppID)
	if err != nil {
		return LoginResult{}, err
	}
	now := s.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.user(spec.OpenID); err != nil {
		return LoginResult{}, err
	}
	// Used codes are kept until they expire, to tell 40163 from 40029.
	if len(a.codes) >= sweepCodes {
		for code, l := range a.codes {
			if now.After(l.expires) {
				delete(a.codes, code)
			}
		}
	}
	code := newLoginCode()
	a.codes[code] = &loginCode{openID: spec.OpenID, expires: now.Add(codeLife)}
	return LoginResult{Code: code}, nil
}

// sessionAnswer has no errcode: a success of this endpoint was never seen with
// one.
type sessionAnswer struct {
	SessionKey string `json:"session_key"`
	OpenID     string `json:"openid"`
	UnionID    string `json:"unionid,omitempty"`
}

// code2Session is GET /sns/jscode2session.
func (c *call) code2Session() answer {
	q := c.query
	if ref := c.credentials(q.Get("appid"), q.Get("secret"), q.Get("grant_type"), "authorization_code"); ref != nil {
		return *ref
	}
	now := c.s.Now()
	a := c.app
	a.mu.Lock()
	defer a.mu.Unlock()
	if code := a.rules.accountErrcode(c.route.path); code != 0 {
		return c.refuse(code)
	}
	if a.overQuota(c.route.path, now) {
		return c.refuse(wechat.ErrcodeDailyQuota)
	}
	code := q.Get("js_code")
	login := a.codes[code]
	switch {
	case code == "":
		return c.refuse(wechat.ErrcodeCodeMissing)
	case login == nil:
		return c.refuse(wechat.ErrcodeInvalidCode)
	case login.used:
		return c.refuse(wechat.ErrcodeCodeUsed)
	case !now.Before(login.expires):
		return c.refuse(wechat.ErrcodeInvalidCode)
	}
	// From here on the code is used up, whatever becomes of the login.
	login.used = true
	c.openID = login.openID
	if a.rules.blocked[login.openID] {
		return c.refuse(wechat.ErrcodeCodeBlocked)
	}
	// Every login replaces the session key. WeChat does so now and then; doing
	// it always shows who keeps an old one.
	u := a.users[login.openID]
	u.sessionKey = newSessionKey()
	return c.ok(sessionAnswer{SessionKey: u.sessionKey, OpenID: u.openID, UnionID: u.unionID})
}

// checkSession is GET /wxa/checksession.
func (c *call) checkSession() answer {
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	if _, ref := c.signedUser(); ref != nil {
		return *ref
	}
	return c.ok(status{Errmsg: "ok"})
}

// resetSessionKey is GET /wxa/resetusersessionkey. The old key dies at once.
func (c *call) resetSessionKey() answer {
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	u, ref := c.signedUser()
	if ref != nil {
		return *ref
	}
	u.sessionKey = newSessionKey()
	return c.ok(struct {
		status
		OpenID     string `json:"openid"`
		SessionKey string `json:"session_key"`
	}{status{Errmsg: "ok"}, u.openID, u.sessionKey})
}

// signedUser checks a signature made with a session key. The HMAC's key is the
// base64 text of the session key, not its bytes. The caller holds the app's
// mutex.
func (c *call) signedUser() (*user, *answer) {
	code := 0
	u := c.app.users[c.query.Get("openid")]
	switch {
	case u == nil:
		code = wechat.ErrcodeInvalidOpenID
	case c.query.Get("sig_method") != "hmac_sha256":
		code = errcodeSigMethod
	case u.sessionKey == "":
		code = errcodeSessionKey
	default:
		mac := hmac.New(sha256.New, []byte(u.sessionKey))
		if !hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(c.query.Get("signature"))) {
			code = errcodeSignature
		}
	}
	if u != nil {
		c.openID = u.openID
	}
	if code != 0 {
		ref := c.refuse(code)
		return nil, &ref
	}
	return u, nil
}

// user is a user of a control call. The caller holds a.mu.
func (a *app) user(openID string) (*user, error) {
	if openID == "" {
		return nil, badRequest("openid is missing.")
	}
	u := a.users[openID]
	if u == nil {
		return nil, &Problem{Status: 404, Code: "unknown_user", Detail: fmt.Sprintf(
			"App %s has no user %q. Create the user with POST /_sandbox/users.", a.id, openID)}
	}
	return u, nil
}
