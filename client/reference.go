package client

import (
	"context"
	"strconv"

	"github.com/hongyan-push/hongyan"
)

// Errcode is one of WeChat's error codes, explained.
type Errcode struct {
	Errcode    int          `json:"errcode"`
	Errmsg     string       `json:"errmsg"`
	Meaning    hongyan.Text `json:"meaning"`
	Class      string       `json:"class"`
	Credential bool         `json:"credential"`
	MayPass    bool         `json:"may_pass"`
	URL        string       `json:"url"`
}

// Errcodes lists every errcode the server knows.
func (c *Client) Errcodes(ctx context.Context) ([]Errcode, error) {
	return whole[Errcode](ctx, c, join("errcodes"), nil)
}

// Errcode explains one of WeChat's errcodes.
func (c *Client) Errcode(ctx context.Context, n int) (Errcode, error) {
	return get[Errcode](ctx, c, join("errcodes", strconv.Itoa(n)), nil)
}

// CodeInfo is one of the API's own error codes.
type CodeInfo struct {
	Code   hongyan.Code `json:"code"`
	Status int          `json:"status"`
	Title  hongyan.Text `json:"title"`
	Hint   hongyan.Text `json:"hint"`
}

// Codes lists the server's error codes.
func (c *Client) Codes(ctx context.Context) ([]CodeInfo, error) {
	return whole[CodeInfo](ctx, c, join("codes"), nil)
}

// Health is how a server says that it is up.
type Health struct {
	Status  string `json:"status"`
	Version string `json:"version"`
}

// Health asks whether the process answers.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return get[Health](ctx, c, "/healthz", nil)
}

// Ready asks whether the server can take work; the error says why not.
func (c *Client) Ready(ctx context.Context) (Health, error) {
	return get[Health](ctx, c, "/readyz", nil)
}
