package cli

import (
	"context"
	"strconv"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type statsCmd struct {
	By       string        `name:"by" own:"" enum:"hour,day,template,app,reason" default:"day" help:"What figures are told apart by: hour, day (of Beijing time), template, app or reason."`
	App      hongyan.AppID `name:"app" placeholder:"APPID" help:"The mini program's AppID."`
	Template string        `name:"template" own:"" help:"Only this template of the app: template_id or alias."`
	From     string        `name:"from" own:"" help:"Begin: a time, or how long ago, such as 36h. Default: a day ago by hour, else six days ago."`
	To       string        `name:"to" own:"" help:"End, likewise. Default: now."`
	apiFlags
}

// Run implements the command.
func (c *statsCmd) Run(ctx context.Context, p *program) error {
	q := client.StatsQuery{App: c.App, Template: c.Template, By: hongyan.StatsBy(c.By)}
	var err error
	if c.From != "" {
		if q.From, err = p.past("--from", c.From); err != nil {
			return err
		}
	}
	if c.To != "" {
		if q.To, err = p.past("--to", c.To); err != nil {
			return err
		}
	}
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	s, err := api.Stats(ctx, q)
	if err != nil {
		return err
	}
	switch c.format() {
	case "json":
		return printJSON(p.stdout, s, "  ")
	case "table":
		if len(s.Items) > 0 {
			s.Items = append(s.Items, hongyan.StatsItem{Day: p.say("total"), Reason: hongyan.Code(p.say("total")), App: hongyan.AppID(p.say("total")), Counts: s.Totals})
		}
	}
	return printList(p, c.outputFlags, s.Items, p.statsColumns(s.By))
}

func (p *program) statsColumns(by hongyan.StatsBy) []column[hongyan.StatsItem] {
	type item = hongyan.StatsItem
	n := func(title string, of func(item) int64) column[item] {
		return column[item]{title, func(i item) string { return strconv.FormatInt(of(i), 10) }}
	}
	failed := n("FAILED", func(i item) int64 { return i.Failed })
	undelivered := n("UNDELIVERED", func(i item) int64 { return i.Undelivered })
	if by == hongyan.ByReason {
		return []column[item]{{"REASON", func(i item) string { return string(i.Reason) }},
			{"ERRCODE", func(i item) string {
				if i.Errcode == 0 {
					return ""
				}
				return strconv.Itoa(i.Errcode)
			}}, failed, undelivered}
	}
	var first []column[item]
	switch by {
	case hongyan.ByHour:
		first = []column[item]{{"HOUR", func(i item) string {
			if i.Hour.IsZero() {
				return i.Day
			}
			return p.when(i.Hour)
		}}}
	case hongyan.ByDay:
		first = []column[item]{{"DAY", func(i item) string { return i.Day }}}
	default:
		first = []column[item]{{"APP", func(i item) string { return string(i.App) }}}
		if by == hongyan.ByTemplate {
			first = append(first, column[item]{"TEMPLATE", func(i item) string { return i.TemplateID }})
		}
	}
	return append(first,
		n("SUBMITTED", func(i item) int64 { return i.Submitted }), n("ACCEPTED", func(i item) int64 { return i.Accepted }),
		n("DELIVERED", func(i item) int64 { return i.Delivered }), undelivered, failed, n("UNCERTAIN", func(i item) int64 { return i.Uncertain }),
		n("HELD", func(i item) int64 { return i.Held }), n("CANCELED", func(i item) int64 { return i.Canceled }), n("EXPIRED", func(i item) int64 { return i.Expired }),
		n("GRANTED", func(i item) int64 { return i.Granted }), n("REJECTED", func(i item) int64 { return i.Rejected }), n("VOIDED", func(i item) int64 { return i.Voided }))
}
