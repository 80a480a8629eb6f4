package ledgertest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// figures reads what was counted from hours ago until an hour from now.
func (e *Env) figures(by hongyan.StatsBy, hours int, mods ...func(*ledger.FiguresQuery)) hongyan.Stats {
	e.TB.Helper()
	now := e.Clock.Now().Truncate(time.Hour)
	q := ledger.FiguresQuery{From: now.Add(-time.Duration(hours) * time.Hour), To: now.Add(time.Hour), By: by}
	for _, m := range mods {
		m(&q)
	}
	s, err := e.Figures(context.Background(), q)
	e.must(err)
	return s
}

// testStats is about reading figures; that they are right every other test of the suite checks.
func testStats(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, fresh, map[string]func(*Env){
		"by everything, folded or not": func(e *Env) {
			e.Exact("alice", OneTime, 2)
			e.Exact("bob", OneTime, 1)
			e.Send("alice")
			e.Attempt(hongyan.OutcomeOK)
			e.Send("bob")
			e.Attempt(hongyan.OutcomeRecipient) // voids its grant
			e.must(e.FoldStats(ctx))
			e.Tick(20 * time.Hour) // 04:00 UTC: the next day in Beijing
			e.Send("alice")
			e.Attempt(hongyan.OutcomeUnclear)
			e.Send("bob", onNoGrant(hongyan.OnNoGrantHold))
			for range 2 { // not folded, and folded
				want := hongyan.Counts{Submitted: 4, Accepted: 1, Failed: 1, Uncertain: 1, Held: 1, Granted: 3, Voided: 1}
				for _, by := range []hongyan.StatsBy{hongyan.ByHour, hongyan.ByDay, hongyan.ByTemplate, hongyan.ByApp} {
					s := e.figures(by, 24)
					var sum hongyan.Counts
					for _, i := range s.Items {
						sum.Add(i.Counts)
					}
					if sum != want || s.Totals != want {
						e.TB.Errorf("by %s: %+v, totals %+v, want %+v", by, sum, s.Totals, want)
					}
				}
				days := e.figures(hongyan.ByDay, 24).Items
				if len(days) != 2 || days[0].Day != "2026-11-22" || days[1].Day != "2026-11-23" || days[0].Submitted != 2 || days[1].Submitted != 2 {
					e.TB.Errorf("by day: %+v", days)
				}
				if hours := e.figures(hongyan.ByHour, 24).Items; len(hours) != 25 || hours[4].Submitted != 2 || hours[24].Held != 1 || !hours[24].Hour.Equal(e.Clock.Now().Truncate(time.Hour)) {
					e.TB.Errorf("by hour: %+v", hours)
				}
				reasons := []hongyan.StatsItem{{Reason: hongyan.CodeNotSubscribed, Errcode: 43101, Counts: hongyan.Counts{Failed: 1}}}
				if d := cmp.Diff(reasons, e.figures(hongyan.ByReason, 24).Items); d != "" {
					e.TB.Errorf("by reason (-want +got)\n%s", d)
				}
				if s := e.figures(hongyan.ByTemplate, 24, func(q *ledger.FiguresQuery) { q.App, q.Template = App, Alias }); len(s.Items) != 1 || s.Items[0].TemplateID != OneTime || s.Items[0].App != App {
					e.TB.Errorf("by template: %+v", s.Items)
				}
				if s := e.figures(hongyan.ByApp, 24, func(q *ledger.FiguresQuery) { q.Apps = []hongyan.AppID{"another"} }); len(s.Items) != 0 || s.Totals != (hongyan.Counts{}) {
					e.TB.Errorf("of another app: %+v", s)
				}
				e.must(e.FoldStats(ctx))
				if n := e.DB.Count(e.TB, "stat_deltas"); n != 0 {
					e.TB.Errorf("%d deltas are left", n)
				}
			}
		},
		"a refused strict call counts nothing": func(e *Env) {
			e.Exact("alice", OneTime, 1)
			s := Submission("alice")
			r := hongyan.Report{ID: "r", OpenID: "alice", Template: OneTime, Choice: "accept"}
			s.GrantReport = &r
			_, err := e.Submit(ctx, []hongyan.Submission{s, Submission("bob"), Submission("carol", template(LongTerm)), Submission("alice"), Submission("alice")}, ledger.SubmitOptions{Strict: true})
			e.must(err)
			e.must(e.FoldStats(ctx))
			e.wantCounted()
		},
		"they stay 400 days": func(e *Env) {
			e.Exact("alice", OneTime, 1)
			e.Send("alice")
			e.Attempt(hongyan.OutcomeOK) // nothing follows
			e.must(e.FoldStats(ctx))
			e.Clock.Advance(399 * day)
			e.must(e.Purge(ctx))
			if s := e.figures(hongyan.ByApp, 400*24); s.Totals.Submitted != 1 {
				e.TB.Errorf("after 399 days: %+v", s.Totals)
			}
			e.Clock.Advance(2 * day)
			e.must(e.Purge(ctx))
			if n := e.DB.Count(e.TB, "stats"); n != 0 {
				e.TB.Errorf("%d figures are left after 401 days", n)
			}
			e.DB.Exec(e.TB, `DELETE FROM watched`)
		},
		"overview": func(e *Env) {
			e.Exact("alice", OneTime, 3)
			e.Send("alice")
			e.Attempt(hongyan.OutcomeOK)
			e.Tick(24*time.Hour + 30*time.Minute) // of yesterday's hour half counts
			e.Send("alice")
			e.Attempt(hongyan.OutcomeUnclear)
			e.Send("alice", sendAt(e.Clock.Now().Add(time.Hour)))
			e.Send("bob", onNoGrant(hongyan.OnNoGrantSend))
			e.Clock.Advance(6 * time.Minute)
			o, err := e.Ledger.Overview(ctx, "", nil)
			e.must(err)
			if o.Today.Submitted != 3 || o.Yesterday.Accepted != 1 || len(o.Hours) != 24 || o.Hours[23].Uncertain != 1 || len(o.Apps) != 1 {
				e.TB.Errorf("%+v", o)
			}
			if want := (hongyan.Queue{Queued: 1, Scheduled: 1, Uncertain: 1, OldestQueuedAt: o.Queue.OldestQueuedAt}); o.Queue != want || e.Clock.Now().Sub(o.Queue.OldestQueuedAt) != 6*time.Minute {
				e.TB.Errorf("queue %+v", o.Queue)
			}
			if a := o.Apps[0]; a.Facts.Recent.Uncertain != 1 || a.Facts.Day.Accepted != 0 || !a.LastAcceptedHour.Equal(Start) || a.Facts.Receives {
				e.TB.Errorf("app %+v", a)
			}
			if o, err := e.Ledger.Overview(ctx, "", []hongyan.AppID{"another"}); err != nil || o.Today.Submitted != 0 || len(o.Apps) != 0 || o.Queue != (hongyan.Queue{}) {
				e.TB.Errorf("of another app: %+v, %v", o, err)
			}
			e.must(e.FoldStats(ctx))
		},
		"overview, read again and again": func(e *Env) {
			e.Exact("alice", OneTime, 9)
			for hour := range 7 { // until 23:00 in Beijing
				for n := range 2 { // both before and after something happens
					o, err := e.Ledger.Overview(ctx, "", nil)
					e.must(err)
					if want := int64(2*hour + n); o.Today.Submitted != want || o.Apps[0].Today.Submitted != want || o.Hours[23].Submitted != int64(n) || hour > 0 && o.Hours[22].Submitted != 2 {
						e.TB.Errorf("hour %d, look %d: today %+v, hours %+v", hour, n, o.Today, o.Hours[21:])
					}
					e.Send("alice", template(OneTime), onNoGrant(hongyan.OnNoGrantSend))
				}
				if hour == 3 { // a template that nobody has seen before
					e.must(e.SaveTemplates(ctx, App, append(Templates(hongyan.KindUnknown), ledger.SyncedTemplate{TemplateID: "new", Content: "name:{{thing1.DATA}}"})))
				}
				e.Clock.Advance(time.Hour)
			}
			e.must(e.FoldStats(ctx))
		},
		"another replica's work is seen": func(e *Env) {
			if !e.DB.Shared {
				return
			}
			b := &Env{TB: e.TB, DB: e.DB, Clock: e.Clock}
			b.open()
			defer b.Stop()
			c, d := b.Changes(), b.Changes() // of who came second, which knows of both
			defer c.Close()
			defer d.Close()
			look := func(c *ledger.Changes) {
				e.TB.Helper()
				e.Clock.Advance(time.Second)
				e.must(c.LookAround(ctx))
			}
			look(c)
			look(d)
			c.Take()
			d.Take()
			e.Exact("alice", OneTime, 1)
			e.must(e.FoldStats(ctx)) // what it wrote is gone again
			look(c)
			for _, reader := range []*ledger.Changes{c, d} { // one look is for all
				if got := reader.Take(); !cmp.Equal(got, []string{"messages", "grants"}) {
					e.TB.Errorf("topics %v", got)
				}
			}
			for _, reader := range []*ledger.Changes{d, c} { // and nobody tells it once more
				look(reader)
				if got := append(c.Take(), d.Take()...); len(got) != 0 {
					e.TB.Errorf("topics %v though nothing changed", got)
				}
			}
		},
	})
}
