package client

import (
	"context"
	"iter"
	"strconv"
	"time"

	"github.com/hongyan-push/hongyan"
)

// AuditFilter narrows the audit log; zero fields do not.
type AuditFilter struct {
	App      hongyan.AppID
	Actor    string // id of a key or member
	Action   string // an operation's id, such as update-app
	Object   string
	From, To time.Time // from is in, to is not
	PageSize int       // at most 500. Default 50
}

// Audit goes through what people and keys changed, newest first.
func (c *Client) Audit(ctx context.Context, f AuditFilter) iter.Seq2[hongyan.Audit, error] {
	q := values("app", string(f.App), "actor", f.Actor, "action", f.Action, "object", f.Object)
	for name, t := range map[string]time.Time{"from": f.From, "to": f.To} {
		if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	if f.PageSize > 0 {
		q.Set("limit", strconv.Itoa(f.PageSize))
	}
	return pages[hongyan.Audit](ctx, c, join("audit"), q)
}
