package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// TokenSource hands out access tokens. One place in a deployment must own the
// tokens of an app; this is how everybody else asks it. Implementations may be
// called from many goroutines.
type TokenSource interface {
	// AccessToken returns the app's current token; it may wait for a fetch.
	AccessToken(ctx context.Context, appID string) (string, error)
	// Refused says that WeChat refused this token with errcode. If it is still
	// the current one, the next AccessToken fetches another (compare and swap);
	// if it was replaced meanwhile, nothing happens.
	Refused(ctx context.Context, appID, token string, errcode int) error
}

// AccessToken is an app's credential for all calls but login. It prints as
// "redacted".
type AccessToken struct {
	// AccessToken goes into the query of each call. Reserve at least 512 bytes
	// where it is stored.
	AccessToken string
	// ExpiresIn is what was left of its life when WeChat answered, whole
	// seconds, more than 0, at most two hours as documented.
	ExpiresIn time.Duration
}

// String returns "redacted".
func (AccessToken) String() string { return redacted }

// GoString returns "redacted".
func (AccessToken) GoString() string { return redacted }

// Format prints "redacted" for every verb.
func (AccessToken) Format(f fmt.State, _ rune) { formatRedacted(f) }

// LogValue returns "redacted".
func (AccessToken) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns "redacted", so that a dump of a larger value stays safe.
// To store a token, store its fields.
func (AccessToken) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

const (
	pathToken       = "/cgi-bin/token"
	pathStableToken = "/cgi-bin/stable_token"
)

// GetAccessToken fetches a new token by GET /cgi-bin/token. Each call supersedes
// the token of the one before, which works for 5 more minutes: two programs that
// both call it knock each other out. Prefer [Client.GetStableAccessToken]. The
// daily quota is small (2000 for ordinary accounts).
//
// Errcodes: -1, 40001 (wrong AppSecret), 40013, 40125, 40164 (see
// [Error.ClientIP]), 40243, 45009, 45011, 50004, 50007, 89501 to 89507.
//
// 获取接口调用凭据:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-access-token/api_getaccesstoken.html
func (c *Client) GetAccessToken(ctx context.Context, appID, secret string) (AccessToken, error) {
	return c.fetchToken(ctx, &call{
		path: pathToken,
		query: "grant_type=client_credential&appid=" + url.QueryEscape(appID) +
			"&secret=" + url.QueryEscape(secret),
		secrets: []string{secret},
	})
}

// GetStableAccessToken fetches the app's stable token by POST
// /cgi-bin/stable_token. Without forceRefresh repeated calls return the same
// token with what is left of its life; WeChat renews it within the last 5
// minutes, during which the old one works too. So any number of programs may
// call it. Limits: 10,000 a minute, 500,000 a day.
//
// forceRefresh makes a new token and kills the old one: at most 20 times a day,
// 30 s apart, otherwise WeChat answers with the current token. It is for leaked
// tokens. Stable tokens and those of [Client.GetAccessToken] do not affect each
// other. Errcodes as there.
//
// 获取稳定版接口调用凭据:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-access-token/api_getstableaccesstoken.html
func (c *Client) GetStableAccessToken(ctx context.Context, appID, secret string, forceRefresh bool) (AccessToken, error) {
	q := &call{path: pathStableToken, post: true, secrets: []string{secret}}
	if err := q.setBody(map[string]any{
		"grant_type":    "client_credential",
		"appid":         appID,
		"secret":        secret,
		"force_refresh": forceRefresh,
	}); err != nil {
		return AccessToken{}, err
	}
	return c.fetchToken(ctx, q)
}

func (c *Client) fetchToken(ctx context.Context, q *call) (AccessToken, error) {
	var v struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   flexInt `json:"expires_in"`
	}
	err := c.fetch(ctx, q, &v, func() error {
		switch {
		case v.AccessToken == "":
			return errors.New("answer has no access_token")
		// The upper bound keeps a nonsense number from overflowing a Duration.
		case v.ExpiresIn <= 0 || v.ExpiresIn > 1<<31:
			return fmt.Errorf("answer has expires_in %d", v.ExpiresIn)
		}
		return nil
	})
	if err != nil {
		return AccessToken{}, err
	}
	return AccessToken{AccessToken: v.AccessToken, ExpiresIn: time.Duration(v.ExpiresIn) * time.Second}, nil
}
