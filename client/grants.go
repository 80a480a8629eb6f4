package client

import (
	"context"
	"iter"

	"github.com/hongyan-push/hongyan"
)

// Report tells the server what users chose in a tap. A repeat of a report's id changes nothing.
func (c *Client) Report(ctx context.Context, app hongyan.AppID, reports ...hongyan.Report) ([]hongyan.ReportResult, error) {
	p, err := send[page[hongyan.ReportResult]](ctx, c, "POST", join("apps", string(app), "grants", "report"),
		map[string][]hongyan.Report{"reports": reports}, Options{})
	return p.Items, err
}

// Grants goes through the app's subscriptions, of one user or template where they are given.
func (c *Client) Grants(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID, template string) iter.Seq2[hongyan.Subscription, error] {
	return pages[hongyan.Subscription](ctx, c, join("apps", string(app), "grants"), values("openid", string(openid), "template", template))
}

// Grant reads one subscription with its history.
func (c *Client) Grant(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID, template string) (hongyan.Subscription, error) {
	return get[hongyan.Subscription](ctx, c, join("apps", string(app), "grants", string(openid), template), nil)
}

// Adjustment corrects a count.
type Adjustment struct {
	// Delta is how many grants to add; negative takes available ones away.
	Delta int64 `json:"delta"`
	// Exact says that the count is known to be exact now.
	Exact  bool   `json:"exact,omitempty"`
	Reason string `json:"reason"`
}

// Adjust corrects a count; the history shows the reason.
func (c *Client) Adjust(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID, template string, adj Adjustment) (hongyan.Subscription, error) {
	return send[hongyan.Subscription](ctx, c, "POST", join("apps", string(app), "grants", string(openid), template, "adjust"), adj, Options{})
}

// ImportGrants takes over counts that another program kept, at most [hongyan.MaxStockItems]
// at once. The same import again changes nothing.
func (c *Client) ImportGrants(ctx context.Context, app hongyan.AppID, items []hongyan.ImportItem, reason string) ([]hongyan.Subscription, error) {
	p, err := send[page[hongyan.Subscription]](ctx, c, "POST", join("apps", string(app), "grants", "import"), map[string]any{"items": items, "reason": reason}, Options{})
	return p.Items, err
}

// QueryGrants reads the counts of up to [hongyan.MaxStockItems] users: all they have, or
// those of one template, which are then answered for every user.
func (c *Client) QueryGrants(ctx context.Context, app hongyan.AppID, openids []hongyan.OpenID, template string) ([]hongyan.Subscription, error) {
	in := map[string]any{"openids": openids}
	if template != "" {
		in["template"] = template
	}
	p, err := send[page[hongyan.Subscription]](ctx, c, "POST", join("apps", string(app), "grants", "query"), in, Options{})
	return p.Items, err
}

// ExplainGrant tells why a user can or cannot be sent a template.
func (c *Client) ExplainGrant(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID, template string) (hongyan.Explanation, error) {
	return get[hongyan.Explanation](ctx, c, join("apps", string(app), "grants", string(openid), template, "explain"), nil)
}
