package client

import (
	"context"
	"iter"

	"github.com/hongyan-push/hongyan"
)

// CallbackSetup says how an app receives WeChat's pushes. Of an app that has no keys yet, a
// token and an EncodingAESKey are made where they are nil; later, what is nil stays.
type CallbackSetup struct {
	Token *string `json:"token,omitempty"`
	// EncodingAESKey replaces the one before, which fits for another week.
	EncodingAESKey *string `json:"encoding_aes_key,omitempty"`
	// ForwardTo is the URL of the handler that the app had before; empty ends forwarding.
	ForwardTo *string `json:"forward_to,omitempty"`
	// Plain goes without an EncodingAESKey: then nothing vouches for what a push says.
	Plain bool `json:"plain,omitempty"`
	// Renew makes a new token and key where none is given.
	Renew bool `json:"renew,omitempty"`
}

// SetCallback sets an app up to receive WeChat's pushes. Keys that were given or made are in
// this answer and in no other.
func (c *Client) SetCallback(ctx context.Context, app hongyan.AppID, in CallbackSetup) (hongyan.CallbackConfig, error) {
	return send[hongyan.CallbackConfig](ctx, c, "PUT", join("apps", string(app), "callback"), in, Options{})
}

// CallbackConfig reads how an app receives pushes, without its keys.
func (c *Client) CallbackConfig(ctx context.Context, app hongyan.AppID) (hongyan.CallbackConfig, error) {
	return get[hongyan.CallbackConfig](ctx, c, join("apps", string(app), "callback"), nil)
}

// RemoveCallback ends that an app receives pushes; what was received stays.
func (c *Client) RemoveCallback(ctx context.Context, app hongyan.AppID) error {
	return c.do(ctx, call{method: "DELETE", path: join("apps", string(app), "callback")}, nil)
}

// Callbacks goes through what WeChat pushed, newest first; of one event or user where they
// are given.
func (c *Client) Callbacks(ctx context.Context, app hongyan.AppID, event string, openid hongyan.OpenID) iter.Seq2[hongyan.Callback, error] {
	return pages[hongyan.Callback](ctx, c, join("apps", string(app), "callbacks"), values("event", event, "openid", string(openid)))
}

// Callback reads one push with its clear message.
func (c *Client) Callback(ctx context.Context, app hongyan.AppID, id hongyan.CallbackID) (hongyan.Callback, error) {
	return get[hongyan.Callback](ctx, c, join("apps", string(app), "callbacks", string(id)), nil)
}

// CallbackRejections lists the last calls of the app's callback URL that were refused.
func (c *Client) CallbackRejections(ctx context.Context, app hongyan.AppID) ([]hongyan.CallbackRejection, error) {
	return whole[hongyan.CallbackRejection](ctx, c, join("apps", string(app), "callbacks", "rejections"), nil)
}
