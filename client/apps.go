package client

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// AppCreate adds a mini program.
type AppCreate struct {
	AppID hongyan.AppID `json:"appid"`
	// Secret is the AppSecret. The server tries it at WeChat before it stores it.
	Secret   string              `json:"secret,omitempty"`
	Name     string              `json:"name,omitempty"`
	Settings hongyan.AppSettings `json:"settings,omitzero"`
	// TokenSecret is what the service at Settings.TokenURL wants to be shown.
	TokenSecret string `json:"token_secret,omitempty"`
	// SkipCheck adds the app without trying AppSecret and token_url.
	SkipCheck bool `json:"skip_check,omitempty"`
}

// AppUpdate changes what is not nil.
type AppUpdate struct {
	Name *string `json:"name,omitempty"`
	// Settings has the keys to change; a nil value restores a default. A
	// hongyan.AppSettings does too: what it leaves out stays as it is.
	Settings any `json:"settings,omitempty"`
	// Secret is tried at WeChat before it replaces the old one.
	Secret *string `json:"secret,omitempty"`
	// TokenSecret is what the service at token_url wants to be shown; empty takes it away.
	TokenSecret *string `json:"token_secret,omitempty"`
	SkipCheck   bool    `json:"skip_check,omitempty"`
}

// CreateApp adds an app.
func (c *Client) CreateApp(ctx context.Context, in AppCreate, opt Options) (hongyan.App, error) {
	return create[hongyan.App](ctx, c, join("apps"), in, opt)
}

// Apps lists the apps that the key may see.
func (c *Client) Apps(ctx context.Context) ([]hongyan.App, error) {
	return whole[hongyan.App](ctx, c, join("apps"), nil)
}

// App reads an app with its pauses.
func (c *Client) App(ctx context.Context, id hongyan.AppID) (hongyan.App, error) {
	return get[hongyan.App](ctx, c, join("apps", string(id)), nil)
}

// UpdateApp changes an app.
func (c *Client) UpdateApp(ctx context.Context, id hongyan.AppID, in AppUpdate) (hongyan.App, error) {
	return send[hongyan.App](ctx, c, "PATCH", join("apps", string(id)), in, Options{})
}

// Pause names what is held back, or let go again.
type Pause struct {
	Scope hongyan.PauseScope `json:"scope"`
	// Key is the template (id or alias) or API path; empty for the app itself.
	Key string `json:"key,omitempty"`
	// Detail says why, for the people who find the pause.
	Detail string `json:"detail,omitempty"`
}

// Pause holds sending back until Resume.
func (c *Client) Pause(ctx context.Context, id hongyan.AppID, p Pause) (hongyan.App, error) {
	return send[hongyan.App](ctx, c, "POST", join("apps", string(id), "pause"), p, Options{})
}

// Resume ends a pause; ending one that is not there changes nothing.
func (c *Client) Resume(ctx context.Context, id hongyan.AppID, p Pause) (hongyan.App, error) {
	p.Detail = ""
	return send[hongyan.App](ctx, c, "POST", join("apps", string(id), "resume"), p, Options{})
}
