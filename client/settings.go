package client

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// Settings lists the server's settings as they are in force, without secrets.
func (c *Client) Settings(ctx context.Context) ([]hongyan.Setting, error) {
	return whole[hongyan.Setting](ctx, c, join("settings"), nil)
}
