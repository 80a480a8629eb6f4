package ledgertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func testClaim(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"priority, then due order": func(e *Env) {
			var want []hongyan.MessageID
			later := e.Send("u1", sendAt(Start.Add(2*time.Second))).ID
			sooner := e.Send("u2", sendAt(Start.Add(time.Second)), template(Other)).ID
			low := e.Send("u3", priority(hongyan.PriorityLow)).ID
			high := e.Send("u4", sendAt(Start.Add(3*time.Second)), priority(hongyan.PriorityHigh)).ID
			want = append(want, high, sooner, later, low)
			e.Tick(time.Minute)
			var got []hongyan.MessageID
			for range 4 {
				jobs := e.Claim(1)
				if len(jobs) != 1 || jobs[0].Fresh() {
					e.TB.Fatalf("jobs: %+v", jobs)
				}
				got = append(got, jobs[0].Message.ID)
				e.Record(jobs[0], e.Outcome(hongyan.OutcomeOK))
			}
			if d := diff(want, got); d != "" {
				e.TB.Errorf("claimed in another order (-want +got):\n%s", d)
			}
		},
		"one of a user at a time": func(e *Env) {
			a, b := e.Send("u1").ID, e.Send("u1", template(Other)).ID
			jobs := e.Claim(10)
			if len(jobs) != 1 || jobs[0].Message.ID != a {
				e.TB.Fatalf("claimed %d", len(jobs))
			}
			if more := e.Claim(10); len(more) != 0 {
				e.TB.Errorf("claimed a second message of a busy user")
			}
			e.Record(jobs[0], e.Outcome(hongyan.OutcomeUnclear)) // uncertain is settled
			if j := e.ClaimOne(); j.Message.ID != b {
				e.TB.Errorf("claimed %s, want %s", j.Message.ID, b)
			} else {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
		},
		"a long queue hides nobody": func(e *Env) {
			subs := make([]hongyan.Submission, 1000)
			for i := range subs {
				subs[i] = Submission("greedy")
			}
			for range 5 {
				_, err := e.Submit(ctx, subs, ledger.SubmitOptions{Strict: true})
				e.must(err)
			}
			e.Tick(time.Second)
			m := e.Send("patient")
			jobs := e.Claim(2)
			if len(jobs) != 2 || jobs[0].Message.To != "greedy" || jobs[1].Message.ID != m.ID {
				e.TB.Fatalf("claimed %d", len(jobs))
			}
			// Nor does it let a younger message overtake one that waits behind it.
			second := e.Send("second")
			e.Lane.Room(5)
			if late := e.Send("late"); late.Status != hongyan.StateQueued {
				e.TB.Errorf("a message overtook %s by hand-off", second.ID)
			}
			for _, j := range append(jobs, e.Claim(10)...) {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
		},
		"pauses": func(e *Env) {
			e.Send("u1")
			for _, p := range []hongyan.Pause{{Scope: hongyan.PauseApp}, {Scope: hongyan.PausePath, Key: hongyan.SendPath}, {Scope: hongyan.PauseTemplate, Key: OneTime}} {
				p.Reason, p.ProbeAt = hongyan.PauseDailyQuota, Start.Add(time.Minute)
				e.must(e.Pause(ctx, App, p))
				if jobs := e.Claim(10); len(jobs) != 0 {
					e.TB.Errorf("claimed while paused: %s", p.Scope)
				}
				due, next, err := e.DueApps(ctx)
				e.must(err)
				if len(due) != 0 || !next.Equal(Start.Add(time.Minute)) {
					e.TB.Errorf("paused %s: due %v, next %s; want the probe", p.Scope, due, next)
				}
				req := ledger.ClaimRequest{App: App, Max: 1, Probe: p.Scope != hongyan.PauseTemplate}
				if !req.Probe {
					req.ProbeTemplate = OneTime
				}
				jobs, err := e.ClaimSends(ctx, req)
				e.must(err)
				if len(jobs) != 1 || !jobs[0].Probe() {
					e.TB.Fatalf("probe of %s claimed %d", p.Scope, len(jobs))
				}
				e.Record(jobs[0], e.Outcome(hongyan.OutcomeQuota))
				e.must(e.Resume(ctx, App, p.Scope, p.Key, ledger.ResumeBySystem))
			}
			e.must(e.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual}))
			e.must(e.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseDailyQuota, ProbeAt: Start}))
			e.must(e.Resume(ctx, App, hongyan.PauseApp, "", ledger.ResumeBySystem))
			if app, _ := e.App(App); len(app.Pauses) != 1 || app.Pauses[0].Reason != hongyan.PauseManual || app.Pauses[0].Remedy.ZH == "" {
				e.TB.Errorf("the system changed a pause made by hand: %+v", app.Pauses)
			}
			if due, next, _ := e.DueApps(ctx); len(due) != 0 || !next.IsZero() {
				e.TB.Errorf("paused by hand: due %v, next %s", due, next)
			}
			e.must(e.Resume(ctx, App, hongyan.PauseApp, "", ledger.ResumeByPerson))
			e.Attempt(hongyan.OutcomeOK)
		},
		"a paused template hides no other": func(e *Env) {
			e.must(e.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseTemplate, Key: OneTime, Reason: hongyan.PauseManual}))
			for i := range 50 {
				e.Send(hongyan.OpenID(fmt.Sprint("u", i)))
			}
			m := e.Send("u1", template(Other))
			if j := e.ClaimOne(); j.Message.ID != m.ID {
				e.TB.Errorf("claimed %s", j.Message.ID)
			} else {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
		},
		"what has expired is settled": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			m := e.Send("u1", expiresAt(Start.Add(time.Minute)))
			other := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			e.Clock.Advance(time.Minute)
			for range 3 { // the upkeep may have seen to it before
				for _, j := range e.Claim(1) {
					if j.Message.ID == m.ID {
						e.TB.Errorf("claimed an expired message")
					}
					e.Record(j, e.Outcome(hongyan.OutcomeOK))
				}
			}
			e.WantState(m.ID, hongyan.StateExpired, "")
			e.WantState(other.ID, hongyan.StateAccepted, "") // its grant served the held one
		},
		"reserve: send": func(e *Env) {
			later := []func(*hongyan.Submission){reserveAt(hongyan.ReserveSend), sendAt(Start.Add(time.Hour)), template(Other)}
			fail := e.Send("u1", append(later, onNoGrant(hongyan.OnNoGrantFail))...)
			hold := e.Send("u2", append(later, onNoGrant(hongyan.OnNoGrantHold))...)
			send := e.Send("u3", append(later, onNoGrant(hongyan.OnNoGrantSend))...)
			lucky := e.Send("u4", later...)
			for _, u := range []hongyan.OpenID{"u1", "u2", "u3", "u4"} {
				e.Exact(u, Other, 0)
			}
			// It declined to reserve: a new grant is not kept for it.
			e.Tap("u4", Other, "accept", 0)
			e.WantCount("u4", Other, Count{Available: 1, Exact: true})
			e.Tick(time.Hour)
			if jobs := e.Claim(10); len(jobs) != 2 {
				e.TB.Errorf("claimed %d, want 2", len(jobs))
			} else {
				for _, j := range jobs {
					e.Record(j, e.Outcome(hongyan.OutcomeOK))
				}
			}
			e.WantState(fail.ID, hongyan.StateFailed, hongyan.CodeNoGrant)
			e.WantState(hold.ID, hongyan.StateHeld, "")
			e.WantState(send.ID, hongyan.StateAccepted, "")
			e.WantState(lucky.ID, hongyan.StateAccepted, "")
			e.WantCount("u4", Other, Count{Spent: 1, Exact: true})
			e.WantCount("u3", Other, Count{Spent: 1, Exact: true}) // inferred
			if m := e.Get(fail.ID); m.Attempt != 0 || len(m.Attempts) != 0 {
				e.TB.Errorf("failed without a call, but has attempts: %+v", m)
			}
			if m := e.Send("u4", reserveAt(hongyan.ReserveSend), template(LongTerm)); m.Status != hongyan.StateQueued {
				e.TB.Errorf("due now: %s", m.Status)
			}
			e.Attempt(hongyan.OutcomeOK)
		},
		"lease": func(e *Env) {
			m := e.Send("u1")
			j := e.ClaimOne()
			if !j.LeaseUntil.Equal(Start.Add(ledger.LeaseTime)) || time.Until(j.Deadline) > ledger.LeaseTime || time.Until(j.Deadline) < ledger.LeaseMargin {
				e.TB.Errorf("lease until %s, deadline in %s", j.LeaseUntil, time.Until(j.Deadline))
			}
			if j.Message.Attempt != 1 || j.Message.Status != hongyan.StateSending || j.Message.Data["thing1"] != "x" {
				e.TB.Errorf("job: %+v", j.Message)
			}
			e.Tick(ledger.LeaseTime + 9*time.Second)
			e.WantState(m.ID, hongyan.StateSending, "")
			e.Tick(time.Second)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.WantIdle() // settled: the user's next message may go
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			e.WantState(m.ID, hongyan.StateAccepted, "")
		},
		"an app nobody knows": func(e *Env) {
			_, err := e.ClaimSends(ctx, ledger.ClaimRequest{App: "nope", Max: 1})
			wantCode(e.TB, err, hongyan.CodeAppNotFound)
		},
		"a canceled caller leaves nobody busy": func(e *Env) {
			e.Send("u1")
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if _, err := e.ClaimSends(gone, ledger.ClaimRequest{App: App, Max: 1}); err == nil {
				e.TB.Errorf("claimed for a caller that is gone")
			}
			e.WantIdle()
			e.Attempt(hongyan.OutcomeOK)
		},
	})
}
