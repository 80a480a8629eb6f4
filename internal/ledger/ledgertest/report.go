package ledgertest

import (
	"context"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func testReport(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	// One tap, and one message sent without a known grant: whichever is told first, it counts once.
	cases(t, open, fresh, map[string]func(*Env){
		"before the submit": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Second)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"while it is queued": func(e *Env) {
			m := e.Send("u1")
			e.Tap("u1", OneTime, "accept", time.Second)
			if got := e.Get(m.ID); got.Reserved != 1 {
				e.TB.Errorf("reserved %d, want 1", got.Reserved)
			}
			e.Attempt(hongyan.OutcomeOK)
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"while it is being sent": func(e *Env) {
			e.Send("u1")
			j := e.ClaimOne()
			o := e.Outcome(hongyan.OutcomeOK)
			e.Clock.Advance(time.Second)
			e.Tap("u1", OneTime, "accept", time.Second) // not later than the attempt
			e.WantCount("u1", OneTime, Count{Reserved: 1, Exact: true})
			e.Record(j, o)
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"while it is being sent, of a later tap": func(e *Env) {
			e.Send("u1")
			j := e.ClaimOne()
			o := e.Outcome(hongyan.OutcomeOK)
			e.Clock.Advance(5 * time.Second)
			e.Tap("u1", OneTime, "accept", 0)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
			e.Record(j, o)
			e.WantCount("u1", OneTime, Count{Available: 1, Spent: 1, Exact: true})
		},
		"between the claim and the call": func(e *Env) {
			e.Send("u1")
			j := e.ClaimOne()
			e.Clock.Advance(time.Second)
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Second)
			e.Record(j, e.Outcome(hongyan.OutcomeOK)) // it began after the tap: that grant was spent
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"after it was accepted": func(e *Env) {
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.WantCount("u1", OneTime, Count{Spent: 1}) // inferred; the baseline is still unknown
			e.Clock.Advance(time.Second)
			if r := e.Tap("u1", OneTime, "accept", 2*time.Second); r.Note != "inferred" || r.Counted != 0 {
				e.TB.Errorf("report %+v, want inferred", r)
			}
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
			if r := e.Tap("u1", OneTime, "accept", 0); r.Counted != 1 { // matched once only
				e.TB.Errorf("report %+v, want counted", r)
			}
		},
		"after it was accepted, of a later tap": func(e *Env) {
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Clock.Advance(5 * time.Second)
			if r := e.Tap("u1", OneTime, "accept", time.Second); r.Counted != 1 {
				e.TB.Errorf("report %+v, want counted", r)
			}
			e.WantCount("u1", OneTime, Count{Available: 1, Spent: 1, Exact: true})
		},
		"after 43101, of an older tap": func(e *Env) {
			e.Send("u1")
			e.Clock.Advance(time.Second)
			e.Attempt(hongyan.OutcomeRecipient)
			e.Clock.Advance(time.Second)
			if r := e.Tap("u1", OneTime, "accept", 90*time.Second); r.Note != "already_gone" || r.Counted != 0 {
				e.TB.Errorf("report %+v, want already_gone", r)
			}
			e.WantCount("u1", OneTime, Count{Voided: 1, Exact: true})
			if r := e.Tap("u1", OneTime, "accept", 0); r.Counted != 1 {
				e.TB.Errorf("report %+v, want counted", r)
			}
		},
		"a tap that 43101 disproved takes no later spend": func(e *Env) {
			e.Clock.Advance(time.Hour)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeRecipient)
			e.Clock.Advance(time.Minute)
			e.Send("u1", onNoGrant(hongyan.OnNoGrantSend))
			e.Attempt(hongyan.OutcomeOK) // of a tap nobody has reported yet
			e.Clock.Advance(time.Second)
			if r := e.Tap("u1", OneTime, "accept", time.Hour); r.Note != "already_gone" {
				e.TB.Errorf("the old tap: %+v, want already_gone", r)
			}
			if r := e.Tap("u1", OneTime, "accept", 2*time.Second); r.Note != "inferred" {
				e.TB.Errorf("the tap that was spent: %+v, want inferred", r)
			}
			e.WantCount("u1", OneTime, Count{Spent: 1, Voided: 1, Exact: true})
		},
		"the same id again": func(e *Env) {
			e.Repeat("r1", "u1", OneTime, "accept", 0)
			r := e.Repeat("r1", "u1", OneTime, "accept", 0)
			if r.Note != "duplicate" || r.Counted != 0 || r.Subscription.Available != 1 {
				e.TB.Errorf("report %+v, want duplicate", r)
			}
		},
		"at most 20 outstanding": func(e *Env) {
			for range hongyan.MaxOutstanding {
				e.Tap("u1", OneTime, "accept", 0)
			}
			e.Send("u1") // reserved counts as outstanding
			if r := e.Tap("u1", OneTime, "accept", 0); r.Note != "limit" || r.Counted != 0 {
				e.TB.Errorf("report %+v, want limit", r)
			}
			e.Attempt(hongyan.OutcomeOK)
			if r := e.Tap("u1", OneTime, "accept", 0); r.Counted != 1 {
				e.TB.Errorf("report %+v, want counted", r)
			}
			e.WantCount("u1", OneTime, Count{Available: 20, Spent: 1, Exact: true})
		},
		"the first accept makes exact": func(e *Env) {
			if s := e.Sub("u1", OneTime); s.Baseline != hongyan.BaselineUnknown {
				e.TB.Errorf("baseline %s", s.Baseline)
			}
			e.Tap("u1", OneTime, "reject", 0)
			if s := e.Sub("u1", OneTime); s.Baseline != hongyan.BaselineUnknown || s.Standing != hongyan.StandingReject {
				e.TB.Errorf("after a reject: %s, %s", s.Baseline, s.Standing)
			}
			e.Tap("u1", OneTime, "accept", 0)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
		},
		"standing": func(e *Env) {
			for _, c := range []struct {
				choice string
				age    time.Duration
				want   hongyan.Standing
			}{
				{"accept", 0, hongyan.StandingAccept}, {"reject", time.Hour, hongyan.StandingAccept}, {"filter", 0, hongyan.StandingAccept},
				{"reject", 0, hongyan.StandingReject}, {"acceptWithAlert", time.Hour, hongyan.StandingReject}, {"ban", 0, hongyan.StandingBan},
				{"acceptWithForcePush", 0, hongyan.StandingAccept},
			} {
				e.Clock.Advance(time.Second)
				if r := e.Tap("u1", OneTime, c.choice, c.age); r.Subscription.Standing != c.want {
					e.TB.Errorf("after %s %s ago: %s, want %s", c.choice, c.age, r.Subscription.Standing, c.want)
				}
			}
			e.WantCount("u1", OneTime, Count{Available: 3, Exact: true}) // a reject in the dialog voids nothing
		},
		"serves unbacked by due time, held by age, then available": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			h1 := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold), sendAt(Start.Add(9*time.Hour)))
			h2 := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			late := e.Send("u1", onNoGrant(hongyan.OnNoGrantSend), sendAt(Start.Add(2*time.Hour)))
			soon := e.Send("u1", onNoGrant(hongyan.OnNoGrantSend), sendAt(Start.Add(time.Hour)))
			for i, m := range []*hongyan.Message{soon, late, h1, h2} {
				e.Tap("u1", OneTime, "accept", 0)
				if got := e.Get(m.ID); got.Reserved != 1 || got.Status == hongyan.StateHeld {
					e.TB.Errorf("accept %d did not serve the one whose turn it was: %s, %d reserved", i+1, got.Status, got.Reserved)
				}
			}
			e.Tap("u1", OneTime, "accept", 0)
			e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 4, Exact: true})
			if got := e.Get(h1.ID); got.Status != hongyan.StateScheduled || !got.ExpiresAt.Equal(Start.Add(9*time.Hour+hongyan.DefaultExpiry)) {
				e.TB.Errorf("released: %s, expires %s", got.Status, got.ExpiresAt)
			}
		},
		"several in one call": func(e *Env) {
			rs, err := e.Report(ctx, App, []hongyan.Report{{ID: "a", OpenID: "u1", Template: Alias, Choice: "accept"}, {ID: "b", OpenID: "u1", Template: Other, Choice: "reject"}, {ID: "a", OpenID: "u1", Template: OneTime, Choice: "accept"}})
			e.must(err)
			if rs[0].Counted != 1 || rs[1].Note != "not_accept" || rs[2].Note != "duplicate" || rs[2].Subscription.Available != 1 {
				e.TB.Errorf("results: %+v", rs)
			}
			_, err = e.Report(ctx, App, []hongyan.Report{{ID: "c", OpenID: "u1", Template: OneTime, Choice: "accept"}, {ID: "d", OpenID: "u1", Template: "nope", Choice: "accept"}})
			wantCode(e.TB, err, hongyan.CodeTemplateNotFound)
			_, err = e.Report(ctx, App, []hongyan.Report{{ID: "c", OpenID: "u1", Template: OneTime, Choice: "yes"}})
			wantCode(e.TB, err, hongyan.CodeInvalid)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
		},
		"adjust": func(e *Env) {
			adjust := func(delta int64) error {
				_, err := e.Adjust(ctx, App, ledger.Adjustment{OpenID: "u1", Template: OneTime, Delta: delta, Reason: "counted by hand", Source: hongyan.SourceAdjust})
				return err
			}
			e.must(adjust(3))
			e.Send("u1")
			e.must(adjust(-2))
			wantCode(e.TB, adjust(-1), hongyan.CodeInvalid) // what messages hold stays
			e.WantCount("u1", OneTime, Count{Reserved: 1, Voided: 2})
			s := e.Sub("u1", OneTime)
			if len(s.Entries) != 2 || s.Entries[0].Ref != "counted by hand" || s.Entries[0].Source != hongyan.SourceAdjust {
				e.TB.Errorf("entries: %+v", s.Entries)
			}
			_, err := e.Adjust(ctx, App, ledger.Adjustment{OpenID: "u1", Template: LongTerm, Delta: 1, Reason: "x"})
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
	})
	void := fresh
	void.DialogReject = hongyan.DialogRejectVoid
	cases(t, open, void, map[string]func(*Env){
		"dialog_reject void": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1", sendAt(Start.Add(time.Hour)))
			e.Clock.Advance(time.Minute)
			e.Tap("u1", OneTime, "accept", 0)
			e.Tap("u1", OneTime, "reject", 30*time.Second) // told after the younger accept
			e.WantCount("u1", OneTime, Count{Reserved: 1, Voided: 2, Exact: true})
			e.Clock.Advance(time.Second)
			e.Tap("u1", OneTime, "reject", 0)
			e.WantCount("u1", OneTime, Count{Voided: 3, Exact: true})
			if got := e.Get(m.ID); got.Reserved != 0 || got.Status != hongyan.StateScheduled {
				e.TB.Errorf("message: %s, %d reserved", got.Status, got.Reserved)
			}
			if r := e.Tap("u1", OneTime, "accept", 20*time.Second); r.Note != "already_gone" {
				e.TB.Errorf("a tap from before the reject: %+v", r)
			}
		},
		"a reject alone does not make exact": func(e *Env) {
			e.Tap("u1", OneTime, "reject", 0)
			e.WantCount("u1", OneTime, Count{})
		},
	})
}
