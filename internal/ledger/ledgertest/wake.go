package ledgertest

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
)

// hints counts how often a ledger says that something may be due.
func (e *Env) hints() *atomic.Int64 {
	n := new(atomic.Int64)
	e.OnDue(func() { n.Add(1) })
	return n
}

// testWake is how replicas hear of each other's work. There is no claim loop here, so nothing
// that is heard comes from a poll. MySQL cannot tell; its replicas poll.
func testWake(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	pair := func(f func(a, b *Env)) func(*Env) {
		return func(a *Env) {
			if !strings.HasPrefix(a.DB.Config.DB, "postgres") {
				return
			}
			b := &Env{TB: a.TB, DB: a.DB, Clock: a.Clock}
			b.open()
			defer b.Stop()
			a.eventually("both listen and know of each other", func() bool { return a.Listens() && b.Listens() && a.Live() == 2 })
			f(a, b)
		}
	}
	cases(t, open, fresh, map[string]func(*Env){
		"what one queues the other hears": pair(func(a, b *Env) {
			heard := b.hints()
			m := a.Send("u1") // no sender is free here
			a.eventually("b has heard of it", func() bool { return heard.Load() > 0 })
			if j := b.ClaimOne(); j.Message.ID != m.ID {
				a.TB.Errorf("claimed %s, want %s", j.Message.ID, m.ID)
			} else {
				b.Record(j, b.Outcome(hongyan.OutcomeOK))
			}
		}),
		"what is handed off nobody needs to hear": pair(func(a, b *Env) {
			a.Lane.Room(5)
			heard := b.hints()
			for _, u := range []hongyan.OpenID{"u1", "u2", "u3", "u4", "u5"} {
				a.Send(u)
				a.Record(a.Lane.Jobs()[0], a.Outcome(hongyan.OutcomeOK))
			}
			a.Lane.Room(0)
			a.Send("u6")
			a.eventually("b has heard of the last", func() bool { return heard.Load() > 0 && a.Stats().Told > 0 })
			if told := a.Stats().Told; told != 1 || heard.Load() != 1 {
				a.TB.Errorf("told %d times and heard %d times, want once", told, heard.Load())
			}
		}),
		"many in short order are few hints": pair(func(a, b *Env) {
			told, begun := a.Stats().Told, time.Now()
			for range 100 {
				a.Send("u1")
			}
			heard := b.hints()
			a.Send("u1")
			a.eventually("b has heard", func() bool { return heard.Load() > 0 })
			if got, most := a.Stats().Told-told, int64(time.Since(begun)/(20*time.Millisecond))+2; got > most {
				a.TB.Errorf("told %d times, want %d at most", got, most)
			}
		}),
		"a change is known at once": pair(func(a, b *Env) {
			heard := b.hints()
			a.must(a.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual}))
			b.eventually("the pause is known", func() bool { app, _ := b.App(App); return len(app.Pauses) == 1 && heard.Load() > 0 })
		}),
		"a lost connection is made again": pair(func(a, b *Env) {
			for range 3 {
				heard := b.hints()
				// The one that listens alone; what else b does goes on.
				a.DB.Exec(a.TB, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'hongyan listens'`)
				a.eventually("b looks for what it has missed", func() bool { return heard.Load() > 0 && b.Listens() })
				before := heard.Load()
				a.Send("u1")
				a.eventually("b hears again", func() bool { return heard.Load() > before })
			}
		}),
	})
	cases(t, open, fresh, map[string]func(*Env){
		"one that is alone tells nobody": func(e *Env) {
			for range 5 {
				e.Send("u1")
			}
			e.Attempt(hongyan.OutcomeBusy) // queued again
			if n := e.Stats().Told; n != 0 {
				e.TB.Errorf("told %d times", n)
			}
		},
	})
}
