package client

import (
	"context"
	"time"

	"github.com/hongyan-push/hongyan"
)

// StatsQuery narrows figures; zero fields do not. Whole hours count.
type StatsQuery struct {
	App      hongyan.AppID
	Template string // of App: template_id or alias
	// From is a day ago by default, or six days ago where By is not hour; To is now.
	From, To time.Time
	By       hongyan.StatsBy // default day
}

// Stats reads figures: how many messages came to each state, and what became of grants.
func (c *Client) Stats(ctx context.Context, q StatsQuery) (hongyan.Stats, error) {
	v := values("app", string(q.App), "template", q.Template, "by", string(q.By))
	if !q.From.IsZero() {
		v.Set("from", q.From.Format(time.RFC3339))
	}
	if !q.To.IsZero() {
		v.Set("to", q.To.Format(time.RFC3339))
	}
	return get[hongyan.Stats](ctx, c, join("stats"), v)
}

// Overview reads how everything does, or one app: today's figures, what waits, why messages
// failed, and a light for each app. "" is all apps.
func (c *Client) Overview(ctx context.Context, app hongyan.AppID) (hongyan.Overview, error) {
	return get[hongyan.Overview](ctx, c, join("overview"), values("app", string(app)))
}
