package client

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// RefusedToken names a token that WeChat refused.
type RefusedToken struct {
	// Token is exactly as it was handed out.
	Token string `json:"refused,omitempty"`
	// Errcode is what WeChat refused it with: 40001 (default), 40014, 41001 or 42001.
	Errcode int `json:"errcode,omitempty"`
}

// Token gets the app's access token; the key needs the scope token. Ask for it at each use:
// the answer comes from the server's memory, and is replaced before it ends.
func (c *Client) Token(ctx context.Context, app hongyan.AppID) (hongyan.IssuedToken, error) {
	return c.TokenAfter(ctx, app, RefusedToken{})
}

// TokenAfter is Token after WeChat refused one. If that is no longer the current token the
// answer has the current one; else it is replaced, once a minute at most.
func (c *Client) TokenAfter(ctx context.Context, app hongyan.AppID, refused RefusedToken) (hongyan.IssuedToken, error) {
	return send[hongyan.IssuedToken](ctx, c, "POST", join("apps", string(app), "token"), refused, Options{})
}

// TokenHealth tells how the app comes by its tokens, and which died early of what.
func (c *Client) TokenHealth(ctx context.Context, app hongyan.AppID) (hongyan.TokenHealth, error) {
	return get[hongyan.TokenHealth](ctx, c, join("apps", string(app), "token", "health"), nil)
}

// RefreshToken replaces the app's token now: 20 times a day, 30 seconds apart.
func (c *Client) RefreshToken(ctx context.Context, app hongyan.AppID) (hongyan.TokenRefresh, error) {
	return send[hongyan.TokenRefresh](ctx, c, "POST", join("apps", string(app), "token", "refresh"), nil, Options{})
}
