package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
)

// Session is who a login code belongs to. It prints as "redacted".
type Session struct {
	// OpenID is the user within this mini program; case-sensitive.
	OpenID string
	// SessionKey is 16 bytes in base64. It never leaves the server. A user has
	// one valid key at a time; WeChat does not tell for how long.
	SessionKey string
	// UnionID is empty unless the mini program is bound to an Open Platform
	// account (微信开放平台帐号).
	UnionID string
}

// String returns "redacted".
func (Session) String() string { return redacted }

// GoString returns "redacted".
func (Session) GoString() string { return redacted }

// Format prints "redacted" for every verb.
func (Session) Format(f fmt.State, _ rune) { formatRedacted(f) }

// LogValue returns "redacted".
func (Session) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns "redacted", so that a session key is not sent to a client
// by writing the whole value.
func (Session) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

const (
	pathCode2Session    = "/sns/jscode2session"
	pathCheckSession    = "/wxa/checksession"
	pathResetSessionKey = "/wxa/resetusersessionkey"
)

// Code2Session trades a code of wx.login for the user's identity, by GET
// /sns/jscode2session. A code lives 5 minutes and works once. It needs no access
// token.
//
// Errcodes: -1 (try the same code again soon), 40013, 40029 (expired, mistyped or
// another app's code), 40125, 40163 (used), 40226 (high-risk user, refused), 45011.
// After [Unclear] the code may be used up: ask the mini program for another.
//
// 小程序登录凭证校验:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session.html
func (c *Client) Code2Session(ctx context.Context, appID, secret, jsCode string) (Session, error) {
	q := &call{
		path: pathCode2Session,
		query: "appid=" + url.QueryEscape(appID) + "&secret=" + url.QueryEscape(secret) +
			"&js_code=" + url.QueryEscape(jsCode) + "&grant_type=authorization_code",
		secrets: []string{secret, jsCode},
	}
	var v struct {
		OpenID     string `json:"openid"`
		SessionKey string `json:"session_key"`
		UnionID    string `json:"unionid"`
	}
	err := c.fetch(ctx, q, &v, func() error {
		if v.OpenID == "" {
			return errors.New("answer has no openid")
		}
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	return Session{OpenID: v.OpenID, SessionKey: v.SessionKey, UnionID: v.UnionID}, nil
}

// CheckSessionKey asks whether a user's session key still is the valid one, by GET
// /wxa/checksession. nil says yes. The key itself is not sent, only a signature made
// with it ([UserSignature] of no text).
//
// Errcodes: -1, 40001, 40003 (openid), 87007 (WeChat has no key of this user), 87008,
// 87009 (another key than this one is valid: ask the mini program for a new wx.login).
//
// 检验登录态:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_checksessionkey.html
func (c *Client) CheckSessionKey(ctx context.Context, accessToken, openID, sessionKey string) error {
	return c.confirm(ctx, sessionCall(pathCheckSession, accessToken, openID, sessionKey))
}

// ResetUserSessionKey replaces a user's session key, by GET /wxa/resetusersessionkey.
// The old one stops working at once; the new one ends when the old would have. Limit:
// 60,000 a minute for the app; one user should not be reset often. UnionID stays empty.
//
// Errcodes: -1, 40001, 40003, 40097, 45011, 87007, 87008, 87009 as for
// [Client.CheckSessionKey]. After [Unclear] the old key may be gone: only a new wx.login
// tells the one that took its place.
//
// 重置登录态:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_resetusersessionkey.html
func (c *Client) ResetUserSessionKey(ctx context.Context, accessToken, openID, sessionKey string) (Session, error) {
	var v struct {
		OpenID     string `json:"openid"`
		SessionKey string `json:"session_key"`
	}
	err := c.fetch(ctx, sessionCall(pathResetSessionKey, accessToken, openID, sessionKey), &v, func() error {
		switch {
		case v.SessionKey == "":
			return errors.New("answer has no session_key")
		case v.OpenID != openID:
			return errors.New("answer is about another openid")
		}
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	return Session{OpenID: v.OpenID, SessionKey: v.SessionKey}, nil
}

// sessionCall is a GET signed with a user's session key. WeChat's table has the
// parameters in the body, its call line and samples in the query; a GET has a query.
func sessionCall(path, accessToken, openID, sessionKey string) *call {
	signature := UserSignature(sessionKey, "")
	q := getCall(path, accessToken, "openid="+url.QueryEscape(openID)+"&signature="+signature+"&sig_method=hmac_sha256")
	// Whoever has the signature may reset the key.
	q.secrets = append(q.secrets, sessionKey, signature)
	return q
}
