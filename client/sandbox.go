package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
)

// Sandbox makes a control call of the sandbox that the server drives, such as POST taps; its
// page lists them. in may be nil. What the sandbox refuses is an error with the sandbox's code.
func (c *Client) Sandbox(ctx context.Context, method, path string, query url.Values, in any) (json.RawMessage, error) {
	var out json.RawMessage
	err := c.do(ctx, call{method: method, path: join(append([]string{"sandbox"}, strings.Split(path, "/")...)...), query: query, in: in}, &out)
	return out, err
}
