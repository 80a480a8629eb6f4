package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type messagesCmd struct {
	List    messagesListCmd    `cmd:"" help:"List messages, newest first."`
	Get     messagesGetCmd     `cmd:"" help:"Show a message and what happened to it."`
	Cancel  messagesCancelCmd  `cmd:"" help:"Cancel messages that are not on their way yet."`
	Resolve messagesResolveCmd `cmd:"" help:"Settle an uncertain message by your evidence."`
}

func (p *program) messageColumns() []column[hongyan.Message] {
	return []column[hongyan.Message]{
		{"ID", func(m hongyan.Message) string { return string(m.ID) }},
		{"STATUS", func(m hongyan.Message) string { return string(m.Status) }},
		{"REASON", func(m hongyan.Message) string { return string(m.Reason) }},
		{"ERRCODE", func(m hongyan.Message) string {
			if m.Errcode == nil {
				return ""
			}
			return strconv.Itoa(*m.Errcode)
		}},
		{"TO", func(m hongyan.Message) string { return string(m.To) }},
		{"TEMPLATE_ID", func(m hongyan.Message) string { return m.Template }},
		{"CREATED", func(m hongyan.Message) string { return p.when(m.CreatedAt) }},
	}
}

type messagesListCmd struct {
	App      hongyan.AppID   `name:"app" placeholder:"APPID" help:"Only of this app."`
	OpenID   hongyan.OpenID  `name:"openid" own:"" help:"Only to this user; needs --app."`
	Template string          `name:"template" own:"" help:"Only of this template, by id or alias; needs --app."`
	External string          `name:"external-id" own:"" help:"Only to the user with this id of yours; needs --app."`
	Status   []hongyan.State `name:"status" own:"" enum:"held,scheduled,queued,sending,accepted,delivered,undelivered,failed,uncertain,canceled,expired" placeholder:"WORD,..." help:"Only in these states."`
	Errcode  *int            `name:"errcode" own:"" placeholder:"N" help:"Only those that WeChat answered with this errcode last."`
	Reason   hongyan.Code    `name:"reason" own:"" placeholder:"CODE" help:"Only those with this reason, such as no_grant."`
	Tag      string          `name:"tag" own:"" help:"Only with this tag."`
	Since    string          `name:"since" own:"" placeholder:"TIME" help:"Only created at or after this time; 2h means two hours ago."`
	Until    string          `name:"until" own:"" placeholder:"TIME" help:"Only created before this time."`
	limitFlag
	apiFlags
}

// Run implements the command.
func (c *messagesListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	f := client.MessageFilter{App: c.App, OpenID: c.OpenID, Template: c.Template, External: c.External, Status: c.Status, Errcode: c.Errcode, Reason: c.Reason, Tag: c.Tag}
	if f.Since, err = p.past("--since", c.Since); err != nil {
		return err
	}
	if f.Until, err = p.past("--until", c.Until); err != nil {
		return err
	}
	if c.Limit == 0 || c.Limit > 50 {
		f.PageSize = 500
	}
	list, err := take(p, c.Limit, api.Messages(ctx, f))
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, p.messageColumns())
}

type messagesGetCmd struct {
	ID hongyan.MessageID `arg:"" name:"id" help:"The message's id."`
	apiFlags
}

// Run implements the command.
func (c *messagesGetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	m, err := api.Message(ctx, c.ID)
	if err != nil {
		return err
	}
	return p.printMessage(c.outputFlags, m)
}

// printMessage shows a message and, in a table, its history under it.
func (p *program) printMessage(o outputFlags, m *hongyan.Message) error {
	cols := append(p.messageColumns(),
		column[hongyan.Message]{"ERRMSG", func(m hongyan.Message) string { return m.Errmsg }},
		column[hongyan.Message]{"MSGID", func(m hongyan.Message) string { return m.MsgID }},
		column[hongyan.Message]{"DATA", func(m hongyan.Message) string {
			if m.DataErased {
				return p.say("(erased because of its age)")
			}
			return words(m.Data)
		}},
		column[hongyan.Message]{"PAGE", func(m hongyan.Message) string { return m.Page }},
		column[hongyan.Message]{"SEND AT", func(m hongyan.Message) string { return p.when(m.SendAt) }},
		column[hongyan.Message]{"EXPIRES AT", func(m hongyan.Message) string { return p.when(m.ExpiresAt) }},
		column[hongyan.Message]{"RESERVED", func(m hongyan.Message) string { return strconv.Itoa(m.Reserved) }},
		column[hongyan.Message]{"TAGS", func(m hongyan.Message) string { return strings.Join(m.Tags, ",") }},
	)
	if err := printOne(p, o, *m, cols); err != nil || o.format() != "table" {
		return err
	}
	if len(m.Warnings) > 0 {
		fmt.Fprintln(p.stdout)
		if err := p.printFaults(m.Warnings); err != nil {
			return err
		}
	}
	if len(m.Timeline) == 0 {
		return nil
	}
	fmt.Fprintln(p.stdout)
	return printList(p, o, m.Timeline, []column[hongyan.TimelineItem]{
		{"AT", func(i hongyan.TimelineItem) string { return p.when(i.At) }},
		{"WHAT", func(i hongyan.TimelineItem) string { return i.Text.In(p.lang) }},
	})
}

// words are pairs in the order of their keys.
func words(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, "  ")
}

// printFaults is a table of what is wrong with data, as the server explained it.
func (p *program) printFaults(faults []hongyan.DataFault) error {
	return printList(p, outputFlags{}, faults, []column[hongyan.DataFault]{
		{"LEVEL", func(f hongyan.DataFault) string { return f.Level }},
		{"FIELD", func(f hongyan.DataFault) string { return f.Pointer }},
		{"DETAIL", func(f hongyan.DataFault) string { return f.Detail }},
		{"REPAIR", func(f hongyan.DataFault) string {
			if f.Repair == nil {
				return ""
			}
			return *f.Repair
		}},
	})
}

type messagesCancelCmd struct {
	IDs []hongyan.MessageID `arg:"" name:"id" help:"The messages' ids."`
	apiFlags
}

// Run implements the command. It goes on after a refusal and ends with the last one's code.
func (c *messagesCancelCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	var done []hongyan.Message
	exit := exitOK
	for _, id := range c.IDs {
		m, err := api.Cancel(ctx, id)
		if err != nil {
			exit = p.finish(ctx, err)
			continue
		}
		done = append(done, *m)
	}
	if len(done) > 0 {
		if err := printList(p, c.outputFlags, done, p.messageColumns()); err != nil {
			return err
		}
	}
	if exit != exitOK {
		return errReported(exit)
	}
	return nil
}

type messagesResolveCmd struct {
	ID hongyan.MessageID `arg:"" name:"id" help:"The message's id."`
	As hongyan.State     `name:"as" own:"" required:"" enum:"delivered,failed,queued" help:"delivered spends its grant, failed returns it, queued sends it again though the user may get it twice."`
	apiFlags
}

// Run implements the command.
func (c *messagesResolveCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	m, err := api.Resolve(ctx, c.ID, c.As)
	if err != nil {
		return err
	}
	return p.printMessage(c.outputFlags, m)
}
