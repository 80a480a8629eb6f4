package cli

import (
	"context"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// auditCmd lists what people and keys changed. HONGYAN_APP does not narrow it: what is done to
// members and keys would be missing, and nobody would see that.
type auditCmd struct {
	App    hongyan.AppID `name:"app" own:"" placeholder:"APPID" help:"Only of this app."`
	Actor  string        `name:"actor" own:"" placeholder:"ID" help:"Only by this key or member; admin is the key of the configuration."`
	Action string        `name:"action" own:"" placeholder:"OPERATION" help:"Only this operation, such as update-app."`
	Object string        `name:"object" own:"" placeholder:"ID" help:"Only what was done to this thing."`
	From   string        `name:"from" own:"" placeholder:"TIME" help:"Only at or after this time; 2h means two hours ago."`
	To     string        `name:"to" own:"" placeholder:"TIME" help:"Only before this time."`
	limitFlag
	apiFlags
}

// Run implements the command.
func (c *auditCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	f := client.AuditFilter{App: c.App, Actor: c.Actor, Action: c.Action, Object: c.Object}
	if f.From, err = p.past("--from", c.From); err != nil {
		return err
	}
	if f.To, err = p.past("--to", c.To); err != nil {
		return err
	}
	if c.Limit == 0 || c.Limit > 50 {
		f.PageSize = 500
	}
	rows, err := take(p, c.Limit, api.Audit(ctx, f))
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, rows, p.auditColumns())
}

func (p *program) auditColumns() []column[hongyan.Audit] {
	return []column[hongyan.Audit]{
		{"AT", func(a hongyan.Audit) string { return p.when(a.At) }},
		{"ACTOR", func(a hongyan.Audit) string { return a.Actor.Name }},
		{"ADDRESS", func(a hongyan.Audit) string { return a.Address }},
		{"ACTION", func(a hongyan.Audit) string { return a.Action }},
		{"APP", func(a hongyan.Audit) string { return string(a.App) }},
		{"OBJECT", func(a hongyan.Audit) string { return a.Object.Kind + " " + a.Object.ID }},
		{"CHANGES", func(a hongyan.Audit) string {
			words := make([]string, len(a.Changes))
			for i, c := range a.Changes {
				words[i] = c.Pointer + ": " + string(c.Before) + " → " + string(c.After)
			}
			return clipped(strings.Join(words, "; "), 120)
		}},
	}
}
