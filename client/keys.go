package client

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// KeyCreate makes an API key. It can have no more scopes and apps than the key that makes it.
type KeyCreate struct {
	Name   string          `json:"name"`
	Scopes []hongyan.Scope `json:"scopes"`
	Apps   []hongyan.AppID `json:"apps,omitempty"`
}

// CreateKey makes an API key. The clear key is in this answer and nowhere else.
func (c *Client) CreateKey(ctx context.Context, in KeyCreate, opt Options) (hongyan.APIKey, error) {
	return create[hongyan.APIKey](ctx, c, join("keys"), in, opt)
}

// Keys lists the API keys, revoked ones too.
func (c *Client) Keys(ctx context.Context) ([]hongyan.APIKey, error) {
	return whole[hongyan.APIKey](ctx, c, join("keys"), nil)
}

// RevokeKey ends a key at once.
func (c *Client) RevokeKey(ctx context.Context, id hongyan.APIKeyID) error {
	return c.do(ctx, call{method: "DELETE", path: join("keys", string(id))}, nil)
}
