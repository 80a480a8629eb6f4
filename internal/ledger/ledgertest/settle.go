package ledgertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func testSettle(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, fresh, map[string]func(*Env){
		"cancel": func(e *Env) {
			e.Exact("u1", OneTime, 2)
			queued := e.Send("u1")
			scheduled := e.Send("u1", sendAt(Start.Add(time.Hour)))
			held := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			for range 2 { // a repeat is no error
				for _, m := range []*hongyan.Message{held, queued, scheduled} {
					got, err := e.Cancel(ctx, m.ID)
					e.must(err)
					if got.Status != hongyan.StateCanceled || got.Reserved != 0 {
						e.TB.Errorf("canceled %s: %s, %d reserved", m.Status, got.Status, got.Reserved)
					}
				}
			}
			e.WantCount("u1", OneTime, Count{Available: 2, Exact: true})
			if jobs := e.Claim(10); len(jobs) != 0 {
				e.TB.Errorf("claimed a canceled message")
			}
		},
		"cancel serves others": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			first := e.Send("u1")
			held := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			_, err := e.Cancel(ctx, first.ID)
			e.must(err)
			e.WantState(held.ID, hongyan.StateQueued, "")
			e.WantCount("u1", OneTime, Count{Reserved: 1, Exact: true})
		},
		"cancel too late": func(e *Env) {
			m := e.Send("u1")
			j := e.ClaimOne()
			_, err := e.Cancel(ctx, m.ID)
			wantCode(e.TB, err, hongyan.CodeTooLate)
			e.Record(j, e.Outcome(hongyan.OutcomeUnclear))
			_, err = e.Cancel(ctx, m.ID)
			wantCode(e.TB, err, hongyan.CodeTooLate)
			_, err = e.Resolve(ctx, m.ID, hongyan.StateDelivered)
			e.must(err)
			_, err = e.Cancel(ctx, m.ID)
			wantCode(e.TB, err, hongyan.CodeAlreadyFinal)
			_, err = e.Cancel(ctx, "msg_nope")
			wantCode(e.TB, err, hongyan.CodeNotFound)
			_, err = e.Cancel(ctx, hongyan.NewMessageID(Start))
			wantCode(e.TB, err, hongyan.CodeNotFound)
		},
		"cancel of a resend leaves it uncertain": func(e *Env) {
			e.Exact("u1", OneTime, 2)
			m := e.Send("u1", onUncertain(hongyan.OnUncertainResend))
			e.Attempt(hongyan.OutcomeUnclear)
			e.Tick(2 * time.Minute)
			got, err := e.Cancel(ctx, m.ID)
			e.must(err)
			if got.Status != hongyan.StateUncertain || got.Reserved != 1 {
				e.TB.Errorf("%s, %d reserved", got.Status, got.Reserved)
			}
			e.Tick(time.Hour)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 1, Exact: true})
		},
		"cancel against claim": func(e *Env) {
			for range 30 {
				m := e.Send("u1")
				var err error
				var jobs []*ledger.Job
				var wg sync.WaitGroup
				wg.Go(func() { _, err = e.Cancel(ctx, m.ID) })
				wg.Go(func() { jobs = e.Claim(1) })
				wg.Wait()
				if (err == nil) == (len(jobs) == 1) {
					e.TB.Fatalf("cancel says %v, and the claim got %d", err, len(jobs))
				}
				for _, j := range jobs {
					wantCode(e.TB, err, hongyan.CodeTooLate)
					e.Record(j, e.Outcome(hongyan.OutcomeOK))
				}
			}
		},
		"resolve": func(e *Env) {
			for _, c := range []struct {
				as    hongyan.State
				count Count
				again hongyan.State
			}{
				{hongyan.StateDelivered, Count{Spent: 1, Exact: true}, hongyan.StateFailed},
				{hongyan.StateFailed, Count{Available: 1, Exact: true}, hongyan.StateDelivered},
			} {
				u := hongyan.OpenID("of-" + c.as)
				e.Exact(u, OneTime, 1)
				m := e.Send(u)
				_, err := e.Resolve(ctx, m.ID, c.as)
				wantCode(e.TB, err, hongyan.CodeConflict)
				e.Attempt(hongyan.OutcomeUnclear)
				for range 2 { // a repeat is no error
					got, err := e.Resolve(ctx, m.ID, c.as)
					e.must(err)
					if got.Status != c.as {
						e.TB.Errorf("resolved as %s: %s", c.as, got.Status)
					}
				}
				e.WantCount(u, OneTime, c.count)
				_, err = e.Resolve(ctx, m.ID, c.again)
				wantCode(e.TB, err, hongyan.CodeAlreadyFinal)
			}
		},
		"resolve as delivered, sent without a grant": func(e *Env) {
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeUnclear)
			_, err := e.Resolve(ctx, m.ID, hongyan.StateDelivered)
			e.must(err)
			e.WantCount("u1", OneTime, Count{Spent: 1})
			e.Clock.Advance(time.Second)
			if r := e.Tap("u1", OneTime, "accept", time.Minute); r.Note != "inferred" {
				e.TB.Errorf("the tap of it: %+v", r)
			}
		},
		"resolve as queued": func(e *Env) {
			e.Exact("u1", OneTime, 2)
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeUnclear)
			got, err := e.Resolve(ctx, m.ID, hongyan.StateQueued)
			e.must(err)
			// Not before the first call can no longer be under way.
			if got.Status != hongyan.StateQueued || !got.SendAt.Equal(Start.Add(90*time.Second)) || got.Reserved != 2 {
				e.TB.Errorf("%s at %s with %d reserved", got.Status, got.SendAt, got.Reserved)
			}
			e.Clock.Advance(90 * time.Second)
			e.Attempt(hongyan.OutcomeUnclear)
			_, err = e.Resolve(ctx, m.ID, hongyan.StateQueued) // once
			wantCode(e.TB, err, hongyan.CodeConflict)
			_, err = e.Resolve(ctx, m.ID, "nonsense")
			wantCode(e.TB, err, hongyan.CodeInvalid)
			_, err = e.Resolve(ctx, m.ID, hongyan.StateFailed)
			e.must(err)
			e.WantCount("u1", OneTime, Count{Available: 2, Exact: true})
		},
		"resolve as queued, expired": func(e *Env) {
			m := e.Send("u1", expiresAt(Start.Add(time.Minute)))
			e.Attempt(hongyan.OutcomeUnclear)
			e.Tick(time.Hour)
			_, err := e.Resolve(ctx, m.ID, hongyan.StateQueued)
			wantCode(e.TB, err, hongyan.CodeConflict)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		},
	})
}

func testCrash(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, fresh, map[string]func(*Env){
		"what was being sent is uncertain": func(e *Env) {
			e.Lane.Room(3)
			e.Exact("u1", OneTime, 2)
			handed := e.Send("u1")
			again := e.Send("u2", onUncertain(hongyan.OnUncertainResend))
			done := e.Send("u3")
			waiting := e.Send("u4")
			for _, j := range e.Lane.Jobs() {
				if j.Message.ID == done.ID {
					e.Record(j, e.Outcome(hongyan.OutcomeOK))
				}
			}
			claimed := e.Send("u5")
			jobs := e.Claim(2)
			if len(jobs) != 2 {
				e.TB.Fatalf("claimed %d", len(jobs))
			}
			e.Restart()
			for _, m := range []*hongyan.Message{handed, again, waiting, claimed} {
				e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			}
			e.WantState(done.ID, hongyan.StateAccepted, "")
			e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 1, Exact: true})
			if got := e.Get(handed.ID); got.Attempt != 1 || len(got.Attempts) != 1 || got.Attempts[0].Class != hongyan.OutcomeUnclear {
				e.TB.Errorf("attempts: %+v", got.Attempts)
			}
			e.WantIdle()
			wait := 90 * time.Second // what is left of the lease, and a minute
			if e.DB.Shared {
				wait = time.Minute
			}
			e.Tick(wait - time.Second)
			e.WantState(again.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.Tick(time.Second)
			e.WantState(again.ID, hongyan.StateQueued, "")
			if j := e.ClaimOne(); j.Message.ID != again.ID || j.Message.Attempt != 2 || !j.Message.Progress.EarlierUnclear {
				e.TB.Errorf("the resend: %+v", j.Message)
			} else {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
			e.WantState(again.ID, hongyan.StateAccepted, "")
		},
		"a second crash sends nothing a third time": func(e *Env) {
			m := e.Send("u1", onUncertain(hongyan.OnUncertainResend))
			e.ClaimOne()
			e.Restart()
			e.Tick(2 * time.Minute)
			e.ClaimOne()
			e.Restart()
			e.Tick(time.Hour)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			if got := e.Get(m.ID); len(got.Attempts) != 2 {
				e.TB.Errorf("%d attempts", len(got.Attempts))
			}
		},
		"results that were handed in are there after a stop": func(e *Env) {
			e.Lane.Room(100)
			var subs []hongyan.Submission
			for i := range 100 {
				subs = append(subs, Submission(hongyan.OpenID([]byte{'u', byte('a' + i/26), byte('a' + i%26)})))
			}
			rs, err := e.Submit(ctx, subs, ledger.SubmitOptions{Strict: true})
			e.must(err)
			for _, j := range e.Lane.Jobs() {
				e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
			}
			e.Restart()
			for _, r := range rs {
				e.WantState(r.Message.ID, hongyan.StateAccepted, "")
			}
		},
		"everything else goes on": func(e *Env) {
			e.Exact("u1", OneTime, 3)
			queued := e.Send("u1", dedup("k"))
			scheduled := e.Send("u1", sendAt(Start.Add(time.Hour)))
			e.Exact("u2", OneTime, 0)
			held := e.Send("u2", onNoGrant(hongyan.OnNoGrantHold))
			retry := e.Send("u3")
			e.must(e.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseTemplate, Key: Other, Reason: hongyan.PauseManual}))
			for range 3 {
				e.Restart()
			}
			if again := e.Send("u1", dedup("k")); again.ID != queued.ID {
				e.TB.Errorf("the dedup key was lost")
			}
			if app, err := e.App(App); err != nil || len(app.Pauses) != 1 {
				e.TB.Errorf("pauses: %+v, %v", app.Pauses, err)
			}
			e.WantState(scheduled.ID, hongyan.StateScheduled, "")
			e.WantState(held.ID, hongyan.StateHeld, "")
			if jobs := e.Claim(10); len(jobs) != 2 {
				e.TB.Errorf("claimed %d, want 2", len(jobs))
			} else {
				for _, j := range jobs {
					e.Record(j, e.Outcome(hongyan.OutcomeOK))
				}
			}
			e.WantState(retry.ID, hongyan.StateAccepted, "")
			e.Send("u9") // new keys do not meet old ones
		},
	})
}
