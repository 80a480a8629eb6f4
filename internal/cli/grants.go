package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type grantsCmd struct {
	List   grantsListCmd   `cmd:"" help:"List subscriptions and their counts."`
	Get    grantsGetCmd    `cmd:"" help:"Show one subscription with its history."`
	Report grantsReportCmd `cmd:"" help:"Report what a user chose in wx.requestSubscribeMessage."`
	Adjust grantsAdjustCmd `cmd:"" help:"Correct a count, with a reason."`

	Explain grantsExplainCmd `cmd:"" help:"Tell why a user can or cannot be sent a template."`
	Import  grantsImportCmd  `cmd:"" help:"Take over counts from another program."`
	Query   grantsQueryCmd   `cmd:"" help:"Show the counts of several users."`
}

func (p *program) grantColumns() []column[hongyan.Subscription] {
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []column[hongyan.Subscription]{
		{"OPENID", func(s hongyan.Subscription) string { return string(s.OpenID) }},
		{"TEMPLATE_ID", func(s hongyan.Subscription) string { return s.TemplateID }},
		{"AVAILABLE", func(s hongyan.Subscription) string {
			if s.Baseline != hongyan.BaselineExact && s.Kind != hongyan.KindLongTerm {
				return "≥" + count(s.Available) // grants from before we looked are not known
			}
			return count(s.Available)
		}},
		{"RESERVED", func(s hongyan.Subscription) string { return count(s.Reserved) }},
		{"SPENT", func(s hongyan.Subscription) string { return count(s.Spent) }},
		{"VOIDED", func(s hongyan.Subscription) string { return count(s.Voided) }},
		{"STANDING", func(s hongyan.Subscription) string { return string(s.Standing) }},
		{"KIND", func(s hongyan.Subscription) string { return string(s.Kind) }},
		{"UPDATED", func(s hongyan.Subscription) string { return p.when(s.UpdatedAt) }},
	}
}

type grantsListCmd struct {
	OpenID   hongyan.OpenID `name:"openid" own:"" help:"Only this user."`
	Template string         `name:"template" own:"" help:"Only this template, by id or alias."`
	limitFlag
	appFlag
	apiFlags
}

// Run implements the command.
func (c *grantsListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := take(p, c.Limit, api.Grants(ctx, c.App, c.OpenID, c.Template))
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, p.grantColumns())
}

// grantArgs name one subscription.
type grantArgs struct {
	OpenID   hongyan.OpenID `arg:"" name:"openid" help:"The user's openid in this app."`
	Template string         `arg:"" name:"template" help:"template_id or alias."`
	appFlag
}

type grantsGetCmd struct {
	grantArgs
	apiFlags
}

// Run implements the command.
func (c *grantsGetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	sub, err := api.Grant(ctx, c.App, c.OpenID, c.Template)
	if err != nil {
		return err
	}
	return p.printGrant(c.outputFlags, sub)
}

// printGrant shows a subscription and, in a table, its history under it.
func (p *program) printGrant(o outputFlags, sub hongyan.Subscription) error {
	if err := printOne(p, o, sub, p.grantColumns()); err != nil || o.format() != "table" || len(sub.Entries) == 0 {
		return err
	}
	fmt.Fprintln(p.stdout)
	return printList(p, o, sub.Entries, []column[hongyan.Entry]{
		{"AT", func(e hongyan.Entry) string { return p.when(e.At) }},
		{"SOURCE", func(e hongyan.Entry) string { return string(e.Source) }},
		{"CHANGE", func(e hongyan.Entry) string { return change(e) }},
		{"CHOICE", func(e hongyan.Entry) string { return e.Choice }},
		{"REFERENCE", func(e hongyan.Entry) string { return clipped(e.Ref, 60) }},
	})
}

func change(e hongyan.Entry) string {
	var parts []string
	if e.Granted != 0 {
		parts = append(parts, fmt.Sprintf("%+d", e.Granted))
	}
	if e.Voided != 0 {
		parts = append(parts, fmt.Sprintf("%+d", -e.Voided))
	}
	if e.Spent != 0 {
		parts = append(parts, fmt.Sprintf("%+d", -e.Spent))
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, " ")
}

type grantsReportCmd struct {
	grantArgs
	Choice string        `arg:"" name:"choice" help:"WeChat's word: accept, reject, ban, filter, acceptWithAudio and so on."`
	ID     string        `name:"id" own:"" help:"Your id of this report; sending it again changes nothing. Default: a random one."`
	Age    time.Duration `name:"age" own:"" help:"How long ago the tap was."`
	Silent *bool         `name:"silent" own:"" help:"Whether \"always keep\" was on before the tap."`
	apiFlags
}

// Run implements the command.
func (c *grantsReportCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if c.ID == "" {
		c.ID = rand.Text()
	}
	results, err := api.Report(ctx, c.App, hongyan.Report{ID: c.ID, OpenID: c.OpenID, Template: c.Template,
		Choice: c.Choice, AgeMS: c.Age.Milliseconds(), Silent: c.Silent})
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, results, []column[hongyan.ReportResult]{
		{"ID", func(r hongyan.ReportResult) string { return r.ID }},
		{"COUNTED", func(r hongyan.ReportResult) string { return strconv.FormatInt(r.Counted, 10) }},
		{"NOTE", func(r hongyan.ReportResult) string { return r.Note }},
		{"AVAILABLE", func(r hongyan.ReportResult) string { return strconv.FormatInt(r.Subscription.Available, 10) }},
		{"STANDING", func(r hongyan.ReportResult) string { return string(r.Subscription.Standing) }},
	})
}

type grantsAdjustCmd struct {
	grantArgs
	Delta  int64  `name:"delta" own:"" help:"Grants to add; negative takes available ones away."`
	Exact  bool   `name:"exact" own:"" help:"The count is known to be exact now."`
	Reason string `name:"reason" own:"" required:"" help:"Why; the history shows it."`
	apiFlags
}

// Run implements the command.
func (c *grantsAdjustCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	sub, err := api.Adjust(ctx, c.App, c.OpenID, c.Template, client.Adjustment{Delta: c.Delta, Exact: c.Exact, Reason: c.Reason})
	if err != nil {
		return err
	}
	return p.printGrant(c.outputFlags, sub)
}
