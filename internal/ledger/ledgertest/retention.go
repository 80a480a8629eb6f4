package ledgertest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

const day = 24 * time.Hour

// kept is the retention of these tests.
var kept = ledger.Retention{Messages: 90 * day, Data: 30 * day}

// age moves the clock and lets retention do what is due by then.
func (e *Env) age(d time.Duration) {
	e.TB.Helper()
	e.Tick(d)
	e.must(e.Retain(context.Background()))
}

// wantGone fails unless the message is there no more.
func (e *Env) wantGone(id hongyan.MessageID) {
	e.TB.Helper()
	_, err := e.Message(context.Background(), id)
	wantCode(e.TB, err, hongyan.CodeNotFound)
}

// wantData fails unless the message has its data, or says that it was erased.
func (e *Env) wantData(id hongyan.MessageID, there bool) {
	e.TB.Helper()
	if m := e.Get(id); m.DataErased == there || (m.Data["thing1"] == "x") != there {
		e.TB.Errorf("the %s message has data %v, erased: %v", m.Status, m.Data, m.DataErased)
	}
}

// spends are what the entries say of deleted messages, by month, oldest first.
func (e *Env) spends(openid hongyan.OpenID, tmpl string) (out []string) {
	for _, en := range e.Sub(openid, tmpl).Entries {
		if en.Source == hongyan.SourceSpent {
			out = append([]string{fmt.Sprint(en.At.Format("2006-01"), " ", en.Spent)}, out...)
		}
	}
	return out
}

func testRetention(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	retaining := func(t testing.TB) *Database {
		db := open(t)
		db.Config.Retention = kept
		return db
	}
	far := Start.Add(2*365*day - time.Hour)
	cases(t, retaining, fresh, map[string]func(*Env){
		"final messages lose their data and then go": func(e *Env) {
			end := func(id hongyan.OpenID, class hongyan.OutcomeClass, resolve hongyan.State) hongyan.MessageID {
				m := e.Send(id)
				e.Attempt(class)
				if resolve != "" {
					_, err := e.Resolve(ctx, m.ID, resolve)
					e.must(err)
				}
				return m.ID
			}
			canceled := e.Send("u4").ID
			_, err := e.Cancel(ctx, canceled)
			e.must(err)
			ended := []hongyan.MessageID{end("u1", hongyan.OutcomeOK, ""), end("u2", hongyan.OutcomeCaller, ""), end("u3", hongyan.OutcomeUnclear, hongyan.StateDelivered), canceled,
				e.Send("u5", expiresAt(Start.Add(time.Second))).ID}
			e.Tick(time.Second)
			e.must(e.Fold(ctx))
			e.age(30*day - time.Second)
			for _, id := range ended {
				e.wantData(id, true)
			}
			e.age(time.Hour + 2*time.Second)
			for _, id := range ended {
				e.wantData(id, false)
			}
			e.age(60*day - 2*time.Second)
			for _, id := range ended {
				if m := e.Get(id); !m.Status.Final() {
					e.TB.Errorf("%s", m.Status)
				}
			}
			e.age(2 * time.Second)
			for _, id := range ended {
				e.wantGone(id)
			}
			for _, table := range []string{"messages", "attempts", "user_messages", "leftovers"} {
				if n := e.DB.Count(e.TB, table); n != 0 {
					e.TB.Errorf("%d rows are left in %s", n, table)
				}
			}
			if s := e.Stats(); s.Erased != 5 || s.Deleted != 5 {
				e.TB.Errorf("erased %d and deleted %d, want 5", s.Erased, s.Deleted)
			}
		},
		"whatever may still change stays": func(e *Env) {
			e.Exact("held", OneTime, 0)
			held := e.Send("held", onNoGrant(hongyan.OnNoGrantHold), expiresAt(far), func(s *hongyan.Submission) { s.HoldForS = int64(365 * day / time.Second) })
			uncertain := e.Send("uncertain")
			e.Attempt(hongyan.OutcomeUnclear)
			scheduled := e.Send("scheduled", sendAt(Start.Add(364*day)), expiresAt(far))
			queued := e.Send("queued", expiresAt(far))
			var after []hongyan.MessageID
			for i := range 3 { // behind them
				m := e.Send(hongyan.OpenID(fmt.Sprint("u", i)), priority(hongyan.PriorityHigh))
				e.Record(e.Claim(1)[0], e.Outcome(hongyan.OutcomeOK))
				after = append(after, m.ID)
			}
			e.age(200 * day)
			for _, id := range after {
				e.wantGone(id)
			}
			for id, state := range map[hongyan.MessageID]hongyan.State{held.ID: hongyan.StateHeld, uncertain.ID: hongyan.StateUncertain, scheduled.ID: hongyan.StateScheduled, queued.ID: hongyan.StateQueued} {
				e.wantData(id, true)
				if m := e.Get(id); m.Status != state {
					e.TB.Errorf("%s, want %s", m.Status, state)
				}
			}
			// Once it has ended, its time begins: the walk does not come back, but it is not forgotten.
			_, err := e.Resolve(ctx, uncertain.ID, hongyan.StateDelivered)
			e.must(err)
			e.age(30*day - time.Second)
			e.wantData(uncertain.ID, true)
			e.age(time.Second)
			e.wantData(uncertain.ID, false)
			e.age(60*day - time.Second)
			e.Get(uncertain.ID)
			e.age(time.Second)
			e.wantGone(uncertain.ID)
			if n := e.DB.Count(e.TB, "leftovers"); n != 3 {
				e.TB.Errorf("%d are put aside, want 3", n)
			}
		},
		"the count keeps what deleted messages spent": func(e *Env) {
			e.Exact("u1", OneTime, 5)
			e.Exact("u2", OneTime, 1)
			for range 2 {
				e.Send("u1")
				e.Attempt(hongyan.OutcomeOK)
			}
			e.Send("u2")
			e.Attempt(hongyan.OutcomeOK)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeCaller) // returned
			e.Send("u3", template(LongTerm)) // has no count
			e.Attempt(hongyan.OutcomeOK)
			e.Tick(5 * day)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Tick(5 * day) // December
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			count := Count{Available: 1, Spent: 4, Exact: true}
			want := func(months ...string) {
				e.TB.Helper()
				e.WantCount("u1", OneTime, count)
				if got := e.spends("u1", OneTime); fmt.Sprint(got) != fmt.Sprint(months) {
					e.TB.Errorf("spends %q, want %q", got, months)
				}
			}
			e.age(70 * day)
			want()
			e.age(11 * day)
			want("2026-11 2")
			e.age(5 * day) // adds to the same month
			want("2026-11 3")
			e.age(5 * day)
			want("2026-11 3", "2026-12 1")
			if got := e.spends("u2", OneTime); fmt.Sprint(got) != "[2026-11 1]" {
				e.TB.Errorf("the other's spends: %q", got)
			}
			if got := e.spends("u3", LongTerm); got != nil {
				e.TB.Errorf("a long-term template's spends: %q", got)
			}
		},
		"what ended late is looked at again": func(e *Env) {
			m := e.Send("u1", sendAt(Start.Add(60*day)), expiresAt(far))
			e.age(60 * day)
			e.Attempt(hongyan.OutcomeOK)
			e.age(30*day - time.Second)
			e.wantData(m.ID, true)
			e.age(time.Second)
			e.wantData(m.ID, false)
			e.age(60 * day)
			e.wantGone(m.ID)
			if n := e.DB.Count(e.TB, "leftovers"); n != 0 {
				e.TB.Errorf("%d are still put aside", n)
			}
		},
		"settings that change": func(e *Env) {
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeUnclear)
			e.age(200 * day)
			e.DB.Config.Retention = ledger.Retention{Data: kept.Data}
			e.Restart()
			_, err := e.Resolve(ctx, m.ID, hongyan.StateDelivered)
			e.must(err)
			for range 2 { // erased, and looked at again
				e.age(200 * day)
				e.wantData(m.ID, false)
			}
			e.DB.Config.Retention = kept
			e.Restart()
			e.age(0)
			e.wantGone(m.ID)
		},
		"many": func(e *Env) {
			const n = 1000
			for range n / 1000 {
				subs := make([]hongyan.Submission, 1000)
				for i := range subs {
					subs[i] = Submission(hongyan.OpenID(fmt.Sprint("u", i)), expiresAt(Start.Add(time.Minute)))
				}
				_, err := e.Submit(ctx, subs, ledger.SubmitOptions{Strict: true})
				e.must(err)
			}
			e.Tick(time.Minute)
			e.age(91 * day)
			if s := e.Stats(); s.Deleted != n || e.DB.Count(e.TB, "messages") != 0 {
				e.TB.Errorf("deleted %d, want %d", s.Deleted, n)
			}
		},
		"not while results are stalled": func(e *Env) {
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Clock.Advance(91 * day)
			e.Lane.Room(1)
			e.Send("u2")
			release := e.DB.Hold(e.TB)
			e.RecordAttempt(e.Lane.Jobs()[0], e.Outcome(hongyan.OutcomeOK))
			e.eventually("stalled", e.Stalled)
			e.must(e.Retain(ctx)) // would wait for the writer, and on some databases for long
			if e.DB.Shared {
				e.Get(m.ID)
			} else { // what is in the journal cannot be shown
				_, err := e.Message(ctx, m.ID)
				wantCode(e.TB, err, hongyan.CodeStorageUnavailable)
				// That took as long as SQLite waits. By now nobody waits any more.
				if _, err = e.Message(ctx, m.ID); err == nil || strings.Contains(err.Error(), "locked") {
					e.TB.Errorf("%v, want an answer at once", err)
				}
			}
			release()
			e.eventually("not stalled", func() bool { return !e.Stalled() })
			e.age(0)
			e.wantGone(m.ID)
		},
		"a result for a message that is gone": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			m := e.Send("u1")
			j := e.ClaimOne()
			e.Tick(ledger.LeaseTime + time.Minute)
			_, err := e.Resolve(ctx, m.ID, hongyan.StateDelivered)
			e.must(err)
			e.age(91 * day)
			e.wantGone(m.ID)
			e.Record(j, e.Outcome(hongyan.OutcomeOK)) // holds up nobody
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"two replicas": func(a *Env) {
			if !a.DB.Shared {
				return
			}
			b := &Env{TB: a.TB, DB: a.DB, Clock: a.Clock}
			b.open()
			defer b.Stop()
			const users, each = 20, 50
			for u := range users {
				a.Exact(hongyan.OpenID(fmt.Sprint("u", u)), OneTime, each)
			}
			for range each {
				a.Lane.Room(users)
				subs := make([]hongyan.Submission, users)
				for u := range subs {
					subs[u] = Submission(hongyan.OpenID(fmt.Sprint("u", u)))
				}
				_, err := a.Submit(ctx, subs, ledger.SubmitOptions{Strict: true})
				a.must(err)
				for _, j := range a.Lane.Jobs() {
					a.RecordAttempt(j, a.Outcome(hongyan.OutcomeOK))
				}
				a.eventually("settled", func() bool { return a.Stats().UnderWay == 0 })
			}
			a.Clock.Advance(91 * day)
			var wg sync.WaitGroup
			for _, e := range []*Env{a, b, a, b} {
				wg.Go(func() {
					if err := e.Retain(ctx); err != nil {
						a.TB.Errorf("retain: %v", err)
					}
				})
			}
			wg.Wait()
			a.must(a.Retain(ctx))
			if n := a.DB.Count(a.TB, "messages"); n != 0 {
				a.TB.Errorf("%d messages are left", n)
			}
			for u := range users {
				openid := hongyan.OpenID(fmt.Sprint("u", u))
				if got := a.spends(openid, OneTime); fmt.Sprint(got) != fmt.Sprintf("[2026-11 %d]", each) {
					a.TB.Errorf("spends %q, want %d", got, each)
				}
			}
		},
	})
	cases(t, open, fresh, map[string]func(*Env){
		"kept for ever unless told otherwise": func(e *Env) {
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.age(10 * 365 * day)
			e.wantData(m.ID, true)
		},
	})
}
