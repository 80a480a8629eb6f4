package client

import (
	"context"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Scenes lists what the app's mini program asks for, and when.
func (c *Client) Scenes(ctx context.Context, app hongyan.AppID) ([]hongyan.Scene, error) {
	return whole[hongyan.Scene](ctx, c, join("apps", string(app), "scenes"), nil)
}

// Scene reads one scene.
func (c *Client) Scene(ctx context.Context, app hongyan.AppID, name string) (hongyan.Scene, error) {
	return get[hongyan.Scene](ctx, c, join("apps", string(app), "scenes", name), nil)
}

// SetScene makes a scene or replaces it.
func (c *Client) SetScene(ctx context.Context, app hongyan.AppID, s hongyan.Scene) (hongyan.Scene, error) {
	return send[hongyan.Scene](ctx, c, "PUT", join("apps", string(app), "scenes", s.Name), map[string]any{"templates": s.Templates}, Options{})
}

// DeleteScene deletes a scene.
func (c *Client) DeleteScene(ctx context.Context, app hongyan.AppID, name string) error {
	return c.do(ctx, call{method: "DELETE", path: join("apps", string(app), "scenes", name)}, nil)
}

// Session is a mini program's session, for your own back end to hand to the phone.
type Session struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
	ExpiresIn int64     `json:"expires_in"` // seconds
}

// CreateSession vouches for a user whom your own back end has logged in.
func (c *Client) CreateSession(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) (Session, error) {
	return send[Session](ctx, c, "POST", join("apps", string(app), "sessions"), map[string]hongyan.OpenID{"openid": openid}, Options{})
}

// EndSessions ends all sessions of a user and tells how many there were.
func (c *Client) EndSessions(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) (int64, error) {
	out, err := send[struct{ Ended int64 }](ctx, c, "DELETE", join("apps", string(app), "users", string(openid), "sessions"), nil, Options{})
	return out.Ended, err
}
