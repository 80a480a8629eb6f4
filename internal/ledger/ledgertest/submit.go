package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func testSubmit(t *testing.T, open func(testing.TB) *Database) {
	cases(t, open, existing, map[string]func(*Env){
		"unknown baseline": func(e *Env) {
			m := e.Send("u1")
			if m.Status != hongyan.StateQueued || m.Reserved != 0 {
				e.TB.Errorf("first message is %s with %d reserved, want queued with 0", m.Status, m.Reserved)
			}
			e.Tap("u1", Other, "accept", 0)
			if m = e.Send("u1", template(Other)); m.Reserved != 1 {
				e.TB.Errorf("reserved %d, want 1: one grant is known", m.Reserved)
			}
			e.WantCount("u1", Other, Count{Reserved: 1})
			// An unknown count is a lower bound: the next goes out unreserved, also with fail.
			if m = e.Send("u1", template(Other), onNoGrant(hongyan.OnNoGrantFail)); m.Reserved != 0 || m.Status != hongyan.StateQueued {
				e.TB.Errorf("got %s with %d reserved, want queued with 0", m.Status, m.Reserved)
			}
		},
		"exact baseline": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			if m := e.Send("u1"); m.Reserved != 1 {
				e.TB.Errorf("reserved %d, want 1", m.Reserved)
			}
			_, err := e.Try(Submission("u1"))
			wantCode(e.TB, err, hongyan.CodeNoGrant)
			if m := e.Send("u1", onNoGrant(hongyan.OnNoGrantSend)); m.Status != hongyan.StateQueued || m.Reserved != 0 {
				e.TB.Errorf("on_no_grant send: %s, %d reserved", m.Status, m.Reserved)
			}
			m := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			if m.Status != hongyan.StateHeld || !m.ExpiresAt.Equal(Start.Add(hongyan.DefaultHoldFor)) {
				e.TB.Errorf("on_no_grant hold: %s until %s", m.Status, m.ExpiresAt)
			}
			e.WantCount("u1", OneTime, Count{Reserved: 1, Exact: true})
		},
		"scheduled": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			at := Start.Add(time.Hour)
			m := e.Send("u1", sendAt(at))
			if m.Status != hongyan.StateScheduled || m.Reserved != 1 || !m.SendAt.Equal(at) || !m.ExpiresAt.Equal(at.Add(hongyan.DefaultExpiry)) {
				e.TB.Errorf("scheduled message: %+v", m)
			}
			if jobs := e.Claim(10); len(jobs) != 0 {
				e.TB.Errorf("claimed %d before it was due", len(jobs))
			}
			e.Tick(time.Hour)
			e.WantState(m.ID, hongyan.StateQueued, "")
			if got := e.Attempt(hongyan.OutcomeOK); got.ID != m.ID || got.Status != hongyan.StateAccepted {
				e.TB.Errorf("got %s %s", got.ID, got.Status)
			}
		},
		"past send_at is now": func(e *Env) {
			m := e.Send("u1", sendAt(Start.Add(-time.Hour)))
			if m.Status != hongyan.StateQueued || !m.SendAt.Equal(Start) {
				e.TB.Errorf("got %s at %s", m.Status, m.SendAt)
			}
		},
		"hand-off within room": func(e *Env) {
			e.Lane.Room(2)
			var states []hongyan.State
			for i := range 4 {
				states = append(states, e.Send(hongyan.OpenID(fmt.Sprint("u", i))).Status)
			}
			want := fmt.Sprint([]hongyan.State{"sending", "sending", "queued", "queued"})
			if fmt.Sprint(states) != want {
				e.TB.Errorf("states %v, want %v", states, want)
			}
			jobs := e.Lane.Jobs()
			if len(jobs) != 2 || jobs[0].Message.Attempt != 1 || !jobs[0].Fresh() || !jobs[0].LeaseUntil.Equal(Start.Add(ledger.LeaseTime)) {
				e.TB.Fatalf("jobs: %+v", jobs)
			}
			if got := e.Get(jobs[0].Message.ID); got.Status != hongyan.StateSending {
				e.TB.Errorf("handed off message is %s on disk", got.Status)
			}
			for _, j := range jobs {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
			// Older rows wait: a new one must not overtake them though there is room.
			e.Lane.Room(5)
			if m := e.Send("u9"); m.Status != hongyan.StateQueued {
				e.TB.Errorf("a new message overtook older ones: %s", m.Status)
			}
			if e.Lane.Free() != 5 {
				e.TB.Errorf("%d places free, want 5", e.Lane.Free())
			}
			for _, j := range e.Claim(10) {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
			if m := e.Send("u9"); m.Status != hongyan.StateSending {
				e.TB.Errorf("with an empty queue: %s, want sending", m.Status)
			}
			e.Record(e.Lane.Jobs()[0], e.Outcome(hongyan.OutcomeOK))
		},
		"hand-off once a user": func(e *Env) {
			e.Lane.Room(10)
			a, b := e.Send("u1"), e.Send("u1", template(Other))
			if a.Status != hongyan.StateSending || b.Status != hongyan.StateQueued {
				e.TB.Errorf("states %s, %s; want sending, queued", a.Status, b.Status)
			}
			// The busy user's row cannot be claimed, so it holds up nobody.
			if c := e.Send("u2"); c.Status != hongyan.StateSending {
				e.TB.Errorf("another user's message is %s, want sending", c.Status)
			}
			for _, j := range e.Lane.Jobs() {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
			e.Attempt(hongyan.OutcomeOK)
			e.WantState(b.ID, hongyan.StateAccepted, "")
		},
		"no hand-off while paused": func(e *Env) {
			e.Lane.Room(10)
			ctx := context.Background()
			for _, p := range []hongyan.Pause{{Scope: hongyan.PauseApp}, {Scope: hongyan.PausePath, Key: hongyan.SendPath}, {Scope: hongyan.PauseTemplate, Key: OneTime}} {
				p.Reason = hongyan.PauseManual
				e.must(e.Pause(ctx, App, p))
				if m := e.Send("u1"); m.Status != hongyan.StateQueued {
					e.TB.Errorf("paused %s: %s, want queued", p.Scope, m.Status)
				}
				if p.Scope == hongyan.PauseTemplate {
					// Rows of a paused template wait for nobody else's turn.
					if m := e.Send("u2", template(Other)); m.Status != hongyan.StateSending {
						e.TB.Errorf("another template: %s, want sending", m.Status)
					}
				}
				e.must(e.Resume(ctx, App, p.Scope, p.Key, ledger.ResumeByPerson))
				for _, j := range append(e.Lane.Jobs(), e.Claim(10)...) {
					e.Record(j, e.Outcome(hongyan.OutcomeOK))
				}
			}
		},
		"long-term": func(e *Env) {
			if m := e.Send("u1", template(LongTerm)); m.Reserved != 0 || m.Status != hongyan.StateQueued {
				e.TB.Errorf("got %+v", m)
			}
			e.Attempt(hongyan.OutcomeOK)
			e.WantCount("u1", LongTerm, Count{})
			e.Tick(time.Second)
			e.Tap("u1", LongTerm, "reject", 0)
			_, err := e.Try(Submission("u1", template(LongTerm)))
			wantCode(e.TB, err, hongyan.CodeNoGrant)
			held := e.Send("u1", template(LongTerm), onNoGrant(hongyan.OnNoGrantHold))
			more := e.Send("u1", template(LongTerm), onNoGrant(hongyan.OnNoGrantHold))
			// A tap from before the reject, reported late, does not switch it on.
			if r := e.Tap("u1", LongTerm, "accept", time.Hour); r.Subscription.Standing != hongyan.StandingReject {
				e.TB.Errorf("standing %s after an older accept, want reject", r.Subscription.Standing)
			}
			e.WantState(held.ID, hongyan.StateHeld, "")
			e.Tick(time.Second)
			if r := e.Tap("u1", LongTerm, "acceptWithAudio", 0); r.Note != "long_term" || r.Subscription.Standing != hongyan.StandingAccept {
				e.TB.Errorf("report: %+v", r)
			}
			e.WantState(held.ID, hongyan.StateQueued, "")
			e.WantState(more.ID, hongyan.StateQueued, "")
			e.Attempt(hongyan.OutcomeRecipient)
			e.WantState(held.ID, hongyan.StateHeld, "") // on_no_grant hold, once
			if s := e.Sub("u1", LongTerm); s.Standing != hongyan.StandingReject {
				e.TB.Errorf("standing %s after 43101, want reject", s.Standing)
			}
		},
		"kind unknown, then long-term": func(e *Env) {
			e.Exact("u1", Unsynced, 3)
			e.Send("u1", template(Unsynced))
			done := e.Send("u1", template(Unsynced))
			e.Attempt(hongyan.OutcomeOK)
			e.Exact("u2", Unsynced, 0)
			held := e.Send("u2", template(Unsynced), onNoGrant(hongyan.OnNoGrantHold))
			e.must(e.SaveTemplates(context.Background(), App, Templates(hongyan.KindLongTerm)))
			e.WantCount("u1", Unsynced, Count{Voided: 3, Exact: true})
			s := e.Sub("u1", Unsynced)
			if s.Kind != hongyan.KindLongTerm || s.Entries[0].Source != hongyan.SourceKind || s.Entries[0].Voided != 3 {
				e.TB.Errorf("subscription: %+v", s)
			}
			e.WantState(held.ID, hongyan.StateQueued, "")
			if got := e.Get(done.ID); got.Reserved != 0 {
				e.TB.Errorf("reserved %d, want 0", got.Reserved)
			}
			for _, j := range e.Claim(10) {
				e.Record(j, e.Outcome(hongyan.OutcomeOK))
			}
			e.WantCount("u1", Unsynced, Count{Voided: 3, Exact: true})
		},
		"only_openids": func(e *Env) {
			_, err := e.UpdateApp(context.Background(), App, ledger.AppUpdate{Merge: func(s *hongyan.AppSettings) error { s.OnlyOpenIDs = []hongyan.OpenID{"u1"}; return nil }})
			e.must(err)
			e.Send("u1")
			_, err = e.Try(Submission("u2"))
			wantCode(e.TB, err, hongyan.CodeOpenIDNotAllowed)
		},
		"external id": func(e *Env) {
			_, err := e.RecordLogin(context.Background(), App, ledger.Login{OpenID: "u1", ExternalID: "42"})
			e.must(err)
			m, err := e.Try(Submission("", func(s *hongyan.Submission) { s.To = hongyan.Recipient{User: "42"} }))
			e.must(err)
			if m.To != "u1" {
				e.TB.Errorf("to %q, want u1", m.To)
			}
			_, err = e.Try(Submission("", func(s *hongyan.Submission) { s.To = hongyan.Recipient{User: "43"} }))
			wantCode(e.TB, err, hongyan.CodeUserNotFound)
		},
		"alias and unknown names": func(e *Env) {
			if m := e.Send("u1", template(Alias)); m.Template != OneTime {
				e.TB.Errorf("template %q", m.Template)
			}
			_, err := e.Try(Submission("u1", template("nope")))
			wantCode(e.TB, err, hongyan.CodeTemplateNotFound)
			_, err = e.Try(Submission("u1", func(s *hongyan.Submission) { s.App = "nope" }))
			wantCode(e.TB, err, hongyan.CodeAppNotFound)
			_, err = e.Try(Submission("u1", func(s *hongyan.Submission) { s.Data = map[string]string{} }))
			wantCode(e.TB, err, hongyan.CodeInvalidData)
			_, err = e.Try(Submission("no openid!"))
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"grant_report": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			report := func(s *hongyan.Submission) { s.GrantReport = &hongyan.Report{ID: "r1", Choice: "accept"} }
			if m := e.Send("u1", report); m.Reserved != 1 {
				e.TB.Errorf("reserved %d, want 1", m.Reserved)
			}
			_, err := e.Try(Submission("u1", report)) // the same tap again
			wantCode(e.TB, err, hongyan.CodeNoGrant)
			e.WantCount("u1", OneTime, Count{Reserved: 1, Exact: true})
			_, err = e.Try(Submission("u1", func(s *hongyan.Submission) {
				s.GrantReport = &hongyan.Report{ID: "r2", Choice: "accept", OpenID: "u2"}
			}))
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"dry run": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			dry := func(s *hongyan.Submission) { s.DryRun = true }
			if m := e.Send("u1", dry); !m.DryRun || m.Reserved != 1 || m.Status != hongyan.StateQueued {
				e.TB.Errorf("got %+v", m)
			}
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
			e.Send("u1")
			_, err := e.Try(Submission("u1", dry))
			wantCode(e.TB, err, hongyan.CodeNoGrant)
			if m := e.Send("u1", dry, onNoGrant(hongyan.OnNoGrantHold)); m.Status != hongyan.StateHeld {
				e.TB.Errorf("got %s", m.Status)
			}
		},
		"held bound": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			for range 20 {
				e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			}
			_, err := e.Try(Submission("u1", onNoGrant(hongyan.OnNoGrantHold)))
			wantFull(e.TB, err, hongyan.CodeHeldLimit)
			e.Exact("u1", Other, 0)
			e.Send("u1", onNoGrant(hongyan.OnNoGrantHold), template(Other))
			e.Exact("u2", OneTime, 0)
			e.Send("u2", onNoGrant(hongyan.OnNoGrantHold))
		},
		"backlog bound": func(e *Env) {
			_, err := e.UpdateApp(context.Background(), App, ledger.AppUpdate{Merge: func(s *hongyan.AppSettings) error { s.BacklogLimit = 3; return nil }})
			e.must(err)
			for range 3 {
				e.Send("u1")
			}
			_, err = e.Try(Submission("u1"))
			wantFull(e.TB, err, hongyan.CodeBacklogFull)
			e.Send("u1", sendAt(Start.Add(time.Hour))) // scheduled is not queued
			e.Attempt(hongyan.OutcomeOK)
			e.Send("u1")
			_, err = e.Try(Submission("u1"))
			wantCode(e.TB, err, hongyan.CodeBacklogFull)
			e.Restart() // counted again at start
			_, err = e.Try(Submission("u1"))
			wantCode(e.TB, err, hongyan.CodeBacklogFull)
		},
		"hold and explicit expiry": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			until := Start.Add(2 * time.Hour)
			a := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold), expiresAt(until))
			b := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold), func(s *hongyan.Submission) { s.HoldForS = 60 })
			if !a.ExpiresAt.Equal(until) || !b.ExpiresAt.Equal(Start.Add(time.Minute)) {
				e.TB.Errorf("expire at %s and %s", a.ExpiresAt, b.ExpiresAt)
			}
			// What is past its hold gets no grant, even before the sweep has seen it.
			e.Clock.Advance(time.Minute)
			e.Tap("u1", OneTime, "accept", 0)
			e.must(e.Sweep(context.Background()))
			e.WantState(a.ID, hongyan.StateQueued, "")
			e.WantState(b.ID, hongyan.StateExpired, "")
			if m := e.Get(a.ID); !m.ExpiresAt.Equal(until) || m.Reserved != 1 {
				e.TB.Errorf("released: %+v", m)
			}
		},
		"warnings and fit": func(e *Env) {
			m := e.Send("u1", func(s *hongyan.Submission) {
				s.Data["thing1"], s.Fit = "0123456789012345678901234", hongyan.FitTruncate
			})
			if len([]rune(m.Data["thing1"])) > 20 {
				e.TB.Errorf("data %q was not cut", m.Data["thing1"])
			}
			if got := e.Get(m.ID); got.Data["thing1"] != m.Data["thing1"] {
				e.TB.Errorf("stored %q, want %q", got.Data["thing1"], m.Data["thing1"])
			}
		},
		"every field is kept": func(e *Env) {
			m := e.Send("u1", func(s *hongyan.Submission) {
				s.Page, s.MiniprogramState, s.Lang, s.Priority = "/pages/a?x=1", "trial", "en_US", hongyan.PriorityHigh
				s.OnUncertain, s.OnBusy, s.OnNoGrant, s.Reserve = hongyan.OnUncertainResend, hongyan.OnBusyUncertain, hongyan.OnNoGrantSend, hongyan.ReserveSend
				s.DedupKey, s.Tags, s.Metadata, s.HoldForS = "k", []string{"a", "b"}, map[string]string{"x": "y"}, 77
			})
			got := e.Get(m.ID)
			got.Timeline = nil
			if d := diff(m, got); d != "" {
				e.TB.Errorf("answered and stored differ (-answered +stored):\n%s", d)
			}
		},
	})
	few := func(t testing.TB) *Database {
		db := open(t)
		db.Config.MaxScheduled = 3
		return db
	}
	cases(t, few, existing, map[string]func(*Env){
		"scheduled bound": func(e *Env) {
			later := sendAt(Start.Add(time.Hour))
			for range 2 {
				e.Send("u1", later)
			}
			rs, err := e.Submit(context.Background(), []hongyan.Submission{Submission("u1", later), Submission("u1", later)}, ledger.SubmitOptions{})
			e.must(err)
			e.must(rs[0].Err)
			wantFull(e.TB, rs[1].Err, hongyan.CodeBacklogFull) // counts what is before it in the same batch
			e.Send("u1")                                       // queued is not scheduled
			e.Restart()
			_, err = e.Try(Submission("u1", later))
			wantFull(e.TB, err, hongyan.CodeBacklogFull)
			e.Tick(time.Hour) // they are due now, and queued
			e.must(e.Recount(context.Background()))
			e.Send("u1", sendAt(Start.Add(2*time.Hour)))
		},
	})
	testDedup(t, open)
	testBatch(t, open)
}

// wantFull fails unless err is a bound's refusal that says when to come again.
func wantFull(t TB, err error, code hongyan.Code) {
	t.Helper()
	wantCode(t, err, code)
	if e := (*hongyan.Error)(nil); errors.As(err, &e) && e.RetryAfter <= 0 {
		t.Errorf("%s does not say when to come again", code)
	}
}

func testDedup(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"dedup": func(e *Env) {
			first := e.Send("u1", dedup("k"))
			if again := e.Send("u2", dedup("k")); again.ID != first.ID || !again.Duplicate {
				e.TB.Errorf("got %s, duplicate %v", again.ID, again.Duplicate)
			}
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("u1", dedup("b")), Submission("u1", dedup("b"))}, ledger.SubmitOptions{Strict: true})
			e.must(err)
			if rs[0].Message.ID != rs[1].Message.ID || rs[0].Message.Duplicate || !rs[1].Message.Duplicate {
				e.TB.Errorf("two of one batch: %+v", rs)
			}
			e.Tick(24*time.Hour - time.Millisecond)
			if again := e.Send("u1", dedup("k")); !again.Duplicate {
				e.TB.Errorf("the key was free before 24 h")
			}
			e.Tick(time.Millisecond)
			if again := e.Send("u1", dedup("k")); again.Duplicate {
				e.TB.Errorf("the key was not free after 24 h")
			}
		},
		"dedup is freed": func(e *Env) {
			for name, end := range map[string]func() hongyan.MessageID{
				"canceled": func() hongyan.MessageID {
					m := e.Send("u1", dedup("k"))
					_, err := e.Cancel(ctx, m.ID)
					e.must(err)
					return m.ID
				},
				"expired": func() hongyan.MessageID {
					m := e.Send("u1", dedup("k"), expiresAt(e.Clock.Now().Add(time.Second)))
					e.Tick(time.Second)
					return m.ID
				},
				"failed without a call": func() hongyan.MessageID {
					e.Exact("u2", OneTime, 0)
					m := e.Send("u2", dedup("k"), sendAt(e.Clock.Now().Add(time.Second)), reserveAt(hongyan.ReserveSend))
					e.Tick(time.Second)
					if jobs := e.Claim(1); len(jobs) != 0 {
						e.TB.Errorf("claimed without a grant")
					}
					e.WantState(m.ID, hongyan.StateFailed, hongyan.CodeNoGrant)
					return m.ID
				},
			} {
				old := end()
				if m := e.Send("u1", dedup("k")); m.ID == old || m.Duplicate {
					e.TB.Errorf("%s did not free its key", name)
				} else {
					_, err := e.Cancel(ctx, m.ID)
					e.must(err)
				}
			}
			m := e.Send("u3", dedup("k"))
			e.Attempt(hongyan.OutcomeCaller)
			if again := e.Send("u3", dedup("k")); again.ID != m.ID {
				e.TB.Errorf("a message that WeChat refused freed its key")
			}
		},
		"idempotency": func(e *Env) {
			idem := &ledger.Idempotency{Owner: "key_1", Route: "POST /v1/messages", Key: "i1", Hash: [32]byte{1}}
			rec, done, err := e.BeginIdempotent(ctx, idem)
			e.must(err)
			if rec != nil {
				e.TB.Fatalf("a record before the first request: %+v", rec)
			}
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("u1"), Submission("u2")}, ledger.SubmitOptions{Strict: true, Idem: idem})
			e.must(err)
			done()
			rec, _, err = e.BeginIdempotent(ctx, idem)
			e.must(err)
			if want := fmt.Sprintf("%s,%s", rs[0].Message.ID, rs[1].Message.ID); rec == nil || rec.Status != 202 || rec.Resource != want {
				e.TB.Errorf("record %+v, want %s", rec, want)
			}
			_, _, err = e.BeginIdempotent(ctx, &ledger.Idempotency{Owner: "key_1", Route: "POST /v1/messages", Key: "i1", Hash: [32]byte{2}})
			wantCode(e.TB, err, hongyan.CodeIdempotencyReuse)
			// A twin that got past the look loses in the transaction, and leaves nothing.
			_, err = e.Submit(ctx, []hongyan.Submission{Submission("u3")}, ledger.SubmitOptions{Strict: true, Idem: idem})
			wantCode(e.TB, err, hongyan.CodeIdempotencyBusy)
			if list, _, err := e.Messages(ctx, ledger.MessageFilter{App: App, OpenID: "u3"}); err != nil || len(list) != 0 {
				e.TB.Errorf("the twin left %d messages, err %v", len(list), err)
			}
			e.Tick(24 * time.Hour)
			if rec, done, err = e.BeginIdempotent(ctx, idem); err != nil || rec != nil {
				e.TB.Errorf("after a day: %+v, %v", rec, err)
			}
			_, err = e.Submit(ctx, []hongyan.Submission{Submission("u3")}, ledger.SubmitOptions{Idem: idem})
			e.must(err)
			done()
		},
		"idempotency of a duplicate": func(e *Env) {
			first := e.Send("u1", dedup("k"))
			idem := &ledger.Idempotency{Owner: "key_1", Route: "r", Key: "i1"}
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("u1", dedup("k")), Submission("u2")}, ledger.SubmitOptions{Idem: idem})
			e.must(err)
			rec, _, err := e.BeginIdempotent(ctx, idem)
			e.must(err)
			if want := fmt.Sprintf("%s,%s", first.ID, rs[1].Message.ID); rec == nil || rec.Resource != want {
				e.TB.Errorf("record %+v, want %s", rec, want)
			}
		},
		"a refused message's tap is kept, with its user": func(e *Env) {
			s := Submission("new", onNoGrant(hongyan.OnNoGrantFail))
			s.GrantReport = &hongyan.Report{ID: "r1", Choice: "reject"}
			e.Exact("known", OneTime, 0)
			s.To.OpenID = "known"
			_, err := e.Try(s)
			wantCode(e.TB, err, hongyan.CodeNoGrant)
			if got := e.Sub("known", OneTime); got.Standing != hongyan.StandingReject {
				e.TB.Errorf("standing %s, want reject", got.Standing)
			}
			// The same of a user whom nobody has seen: the report makes the row.
			s.To.OpenID, s.Template, s.GrantReport = "new", LongTerm, &hongyan.Report{ID: "r2", Choice: "reject"}
			_, err = e.Try(s)
			wantCode(e.TB, err, hongyan.CodeNoGrant)
			if got := e.Sub("new", LongTerm); got.Standing != hongyan.StandingReject {
				e.TB.Errorf("standing of a new user %q, want reject", got.Standing)
			}
		},
		"idempotency of refusals": func(e *Env) {
			e.Exact("none", OneTime, 0)
			idem := &ledger.Idempotency{Owner: "key_1", Route: "r", Key: "i1"}
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("none")}, ledger.SubmitOptions{Strict: true, Idem: idem})
			e.must(err)
			wantCode(e.TB, rs[0].Err, hongyan.CodeNoGrant)
			rec, done, err := e.BeginIdempotent(ctx, idem)
			e.must(err)
			if rec != nil {
				e.TB.Errorf("a refusal was remembered: %+v", rec)
			}
			done()
			// What a permissive batch did store must not be stored again by its repeat.
			subs := []hongyan.Submission{Submission("bad openid"), Submission("u1"), Submission("none")}
			rs, err = e.Submit(ctx, subs, ledger.SubmitOptions{Idem: idem})
			e.must(err)
			rec, _, err = e.BeginIdempotent(ctx, idem)
			e.must(err)
			if want := fmt.Sprintf("!invalid_request,%s,!no_grant", rs[1].Message.ID); rec == nil || rec.Resource != want {
				e.TB.Errorf("record %+v, want %s", rec, want)
			}
		},
	})
}

func testBatch(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"strict batch rolls back": func(e *Env) {
			e.Lane.Room(10)
			e.Exact("u1", OneTime, 1)
			e.Exact("none", OneTime, 0)
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("u1"), Submission("new"), Submission("u1", dedup("k"), template(Other)), Submission("none")}, ledger.SubmitOptions{Strict: true})
			e.must(err)
			for i, r := range rs[:3] {
				if r.Message != nil || hongyan.CodeOf(r.Err) != hongyan.CodeConflict {
					e.TB.Errorf("item %d: %+v", i, r)
				}
			}
			wantCode(e.TB, rs[3].Err, hongyan.CodeNoGrant)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
			if list, _, err := e.Messages(ctx, ledger.MessageFilter{App: App}); err != nil || len(list) != 0 {
				e.TB.Errorf("%d messages are left, err %v", len(list), err)
			}
			if _, err := e.User(ctx, App, "new"); hongyan.CodeOf(err) != hongyan.CodeUserNotFound {
				e.TB.Errorf("a user is left: %v", err)
			}
			if e.Lane.Free() != 10 || len(e.Lane.Jobs()) != 0 {
				e.TB.Errorf("%d places free, want 10", e.Lane.Free())
			}
			e.WantIdle()
			// The keys that the rolled back rows would have had are free again, and unique.
			m := e.Send("u1", dedup("k"))
			if m.Duplicate || m.Status != hongyan.StateSending {
				e.TB.Errorf("after the roll-back: %+v", m)
			}
			e.Record(e.Lane.Jobs()[0], e.Outcome(hongyan.OutcomeOK))
			e.Restart()
			e.Send("after")
		},
		"strict refusal before the transaction": func(e *Env) {
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("u1"), Submission("bad openid")}, ledger.SubmitOptions{Strict: true})
			e.must(err)
			wantCode(e.TB, rs[0].Err, hongyan.CodeConflict)
			wantCode(e.TB, rs[1].Err, hongyan.CodeInvalid)
		},
		"permissive in input order": func(e *Env) {
			e.Exact("u1", OneTime, 2)
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("bad openid"), Submission("u1"), Submission("u1"), Submission("u1"), Submission("u1", onNoGrant(hongyan.OnNoGrantHold))}, ledger.SubmitOptions{})
			e.must(err)
			wantCode(e.TB, rs[0].Err, hongyan.CodeInvalid)
			wantCode(e.TB, rs[3].Err, hongyan.CodeNoGrant)
			if rs[1].Message.Reserved != 1 || rs[2].Message.Reserved != 1 || rs[4].Message.Status != hongyan.StateHeld {
				e.TB.Errorf("results: %+v", rs)
			}
			e.WantCount("u1", OneTime, Count{Reserved: 2, Exact: true})
		},
		"a report in a batch serves what stands before it": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			report := func(s *hongyan.Submission) { s.GrantReport = &hongyan.Report{ID: "r1", Choice: "accept"} }
			rs, err := e.Submit(ctx, []hongyan.Submission{Submission("u1", onNoGrant(hongyan.OnNoGrantHold)), Submission("u1", report, onNoGrant(hongyan.OnNoGrantHold))}, ledger.SubmitOptions{})
			e.must(err)
			e.WantState(rs[0].Message.ID, hongyan.StateQueued, "")
			e.WantState(rs[1].Message.ID, hongyan.StateHeld, "")
		},
		"the last grant": func(e *Env) {
			const racers = 200
			e.Exact("u1", OneTime, 1)
			var wg sync.WaitGroup
			errs := make([]error, racers)
			for i := range racers {
				wg.Go(func() { _, errs[i] = e.Try(Submission("u1")) })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else {
					wantCode(e.TB, err, hongyan.CodeNoGrant)
				}
			}
			if won != 1 {
				e.TB.Errorf("%d submits got the last grant, want 1", won)
			}
			e.WantCount("u1", OneTime, Count{Reserved: 1, Exact: true})
		},
		"many at once": func(e *Env) {
			const each, goroutines = 25, 40
			e.Lane.Room(30)
			var wg sync.WaitGroup
			for i := range goroutines {
				wg.Go(func() {
					for range each {
						if _, err := e.Try(Submission(hongyan.OpenID(fmt.Sprint("u", i)))); err != nil {
							e.TB.Errorf("submit: %v", err)
						}
					}
				})
			}
			wg.Wait()
			sent := 0
			for {
				jobs := append(e.Lane.Jobs(), e.Claim(64)...)
				if len(jobs) == 0 {
					break
				}
				for _, j := range jobs {
					e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
				}
				sent += len(jobs)
				if !e.Lane.wait(sent, 30*time.Second) {
					e.TB.Fatalf("results were not written")
				}
			}
			if sent != each*goroutines {
				e.TB.Errorf("%d messages were sent, want %d", sent, each*goroutines)
			}
		},
	})
}
