package ledgertest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func messageFilter(s hongyan.State) ledger.MessageFilter {
	return ledger.MessageFilter{App: App, Status: []hongyan.State{s}}
}

// list reads every page and checks that none repeats or breaks the order.
func (e *Env) list(f ledger.MessageFilter) []hongyan.MessageID {
	e.TB.Helper()
	var out []hongyan.MessageID
	for range 1000 {
		page, next, err := e.Messages(context.Background(), f)
		e.must(err)
		for _, m := range page {
			if n := len(out); n > 0 && out[n-1] <= m.ID {
				e.TB.Fatalf("%s after %s", m.ID, out[n-1])
			}
			out = append(out, m.ID)
		}
		if f.Cursor = next; next == "" {
			return out
		}
	}
	e.TB.Fatalf("the list never ends")
	return nil
}

func testList(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"filters": func(e *Env) {
			e.Exact("held", OneTime, 0)
			byState := map[hongyan.State]hongyan.MessageID{}
			add := func(s hongyan.State, id hongyan.MessageID) { byState[s] = id; e.Clock.Advance(time.Millisecond) }
			add(hongyan.StateHeld, e.Send("held", onNoGrant(hongyan.OnNoGrantHold)).ID)
			for s, class := range map[hongyan.State]hongyan.OutcomeClass{hongyan.StateAccepted: hongyan.OutcomeOK, hongyan.StateFailed: hongyan.OutcomeCaller, hongyan.StateUncertain: hongyan.OutcomeUnclear} {
				e.Send(hongyan.OpenID(s))
				add(s, e.Attempt(class).ID)
			}
			e.Send("delivered")
			m := e.Attempt(hongyan.OutcomeUnclear)
			_, err := e.Resolve(ctx, m.ID, hongyan.StateDelivered)
			e.must(err)
			add(hongyan.StateDelivered, m.ID)
			m = e.Send("canceled")
			_, err = e.Cancel(ctx, m.ID)
			e.must(err)
			add(hongyan.StateCanceled, m.ID)
			add(hongyan.StateExpired, e.Send("expired", expiresAt(e.Clock.Now().Add(time.Millisecond))).ID)
			e.must(e.Sweep(ctx))
			add(hongyan.StateScheduled, e.Send("scheduled", sendAt(Start.Add(time.Hour))).ID)
			e.Lane.Room(1)
			add(hongyan.StateSending, e.Send("sending").ID)
			add(hongyan.StateQueued, e.Send("queued", template(Other), func(s *hongyan.Submission) { s.Tags = []string{"a", "b"} }).ID)
			for s, id := range byState {
				if got := e.list(messageFilter(s)); len(got) != 1 || got[0] != id {
					e.TB.Errorf("status %s: %v, want %s", s, got, id)
				}
			}
			if all := e.list(ledger.MessageFilter{App: App, Limit: 3}); len(all) != len(byState) {
				e.TB.Errorf("%d in all, want %d", len(all), len(byState))
			}
			queued := byState[hongyan.StateQueued]
			for name, f := range map[string]ledger.MessageFilter{
				"tag": {App: App, Tag: "b"}, "template": {App: App, Template: Other}, "openid": {App: App, OpenID: "queued"},
				"since": {App: App, Since: e.Clock.Now().Add(-time.Millisecond)}, "apps": {Apps: []hongyan.AppID{App, "nope"}, Tag: "a"},
			} {
				if got := e.list(f); len(got) != 1 || got[0] != queued {
					e.TB.Errorf("by %s: %v, want %s", name, got, queued)
				}
			}
			if got := e.list(ledger.MessageFilter{App: App, Until: Start.Add(time.Millisecond)}); len(got) != 1 {
				e.TB.Errorf("until: %v", got)
			}
			for _, f := range []ledger.MessageFilter{{App: App, OpenID: "nobody"}, {Apps: []hongyan.AppID{}}, {App: App, Tag: "c"}, {App: App, Status: []hongyan.State{hongyan.StateUndelivered}}} {
				if got := e.list(f); len(got) != 0 {
					e.TB.Errorf("%+v: %v, want none", f, got)
				}
			}
			for _, f := range []ledger.MessageFilter{{OpenID: "queued"}, {Template: Other}, {App: App, Status: []hongyan.State{"nonsense"}}, {App: App, Template: "nope"}, {App: "nope"}} {
				_, _, err := e.Messages(ctx, f)
				if c := hongyan.CodeOf(err); c == "" || c == hongyan.CodeInternal {
					e.TB.Errorf("%+v: %v", f, err)
				}
			}
			// What is due is queued for the reader, though no write says so.
			e.Clock.Advance(2 * time.Hour)
			if got := e.list(messageFilter(hongyan.StateQueued)); len(got) != 2 {
				e.TB.Errorf("queued: %v, want the scheduled one too", got)
			}
			if got := e.list(messageFilter(hongyan.StateScheduled)); len(got) != 0 {
				e.TB.Errorf("scheduled: %v, want none", got)
			}
			e.Record(e.Lane.Jobs()[0], e.Outcome(hongyan.OutcomeOK))
		},
		"pages stand while messages arrive": func(e *Env) {
			var want []hongyan.MessageID
			for range 25 {
				want = append(want, e.Send("u1").ID)
				e.Clock.Advance(time.Millisecond)
			}
			slices.Reverse(want)
			var got []hongyan.MessageID
			f := ledger.MessageFilter{App: App, Limit: 4}
			for {
				page, next, err := e.Messages(ctx, f)
				e.must(err)
				for _, m := range page {
					got = append(got, m.ID)
				}
				if f.Cursor = next; next == "" {
					break
				}
				e.Send("u2")
				e.Clock.Advance(time.Millisecond)
			}
			if d := diff(want, got); d != "" {
				e.TB.Errorf("pages (-want +got):\n%s", d)
			}
		},
		"by openid, folded and young": func(e *Env) {
			var want []hongyan.MessageID
			add := func() {
				for i := range 10 {
					m := e.Send(hongyan.OpenID(fmt.Sprint("u", i%3)), func(s *hongyan.Submission) { s.Priority = hongyan.PriorityLow })
					if i%3 == 1 {
						want = append([]hongyan.MessageID{m.ID}, want...)
					}
					e.Clock.Advance(time.Millisecond)
				}
			}
			check := func(when string) {
				e.TB.Helper()
				for _, limit := range []int{2, 100} {
					if d := diff(want, e.list(ledger.MessageFilter{App: App, OpenID: "u1", Limit: limit})); d != "" {
						e.TB.Errorf("%s, by %d (-want +got):\n%s", when, limit, d)
					}
				}
			}
			add()
			check("young")
			e.Clock.Advance(time.Minute)
			e.must(e.Fold(ctx))
			check("folded")
			add()
			check("both")
			e.must(e.Fold(ctx)) // they are too young still
			check("both, after a fold that took none")
			// A clock that steps back must not hide what comes next.
			e.Clock.Advance(time.Minute)
			e.must(e.Fold(ctx))
			e.Clock.Advance(-time.Hour)
			before := len(want)
			want = append([]hongyan.MessageID{e.Send("u1").ID}, want...)
			if got := e.list(ledger.MessageFilter{App: App, OpenID: "u1"}); len(got) != before+1 {
				e.TB.Errorf("after the clock stepped back %d are listed, want %d", len(got), before+1)
			}
			e.Restart()
			want = append([]hongyan.MessageID{e.Send("u1").ID}, want...)
			if got := e.list(ledger.MessageFilter{App: App, OpenID: "u1"}); len(got) != before+2 {
				e.TB.Errorf("after a restart %d are listed, want %d", len(got), before+2)
			}
		},
		"one openid in two apps": func(e *Env) {
			_, err := e.CreateApp(ctx, hongyan.App{AppID: "wx2", Name: "second"}, hongyan.NewAppSecret("s"), nil)
			e.must(err)
			e.must(e.SaveTemplates(ctx, "wx2", Templates(hongyan.KindOneTime)))
			a := e.Send("u1")
			b := e.Send("u1", func(s *hongyan.Submission) { s.App = "wx2" })
			if got := e.list(ledger.MessageFilter{App: "wx2", OpenID: "u1"}); len(got) != 1 || got[0] != b.ID {
				e.TB.Errorf("got %v, want %s and not %s", got, b.ID, a.ID)
			}
		},
		"subscriptions and users": func(e *Env) {
			for i := range 7 {
				u := hongyan.OpenID(fmt.Sprint("u", i))
				e.Tap(u, OneTime, "accept", 0)
				e.Tap(u, Other, "accept", 0)
			}
			n, cursor := 0, ""
			for {
				subs, next, err := e.Subscriptions(ctx, App, "", "", 3, cursor)
				e.must(err)
				if n += len(subs); next == "" {
					break
				}
				cursor = next
			}
			if n != 14 {
				e.TB.Errorf("%d subscriptions, want 14", n)
			}
			if subs, _, err := e.Subscriptions(ctx, App, "u3", Other, 0, ""); err != nil || len(subs) != 1 || subs[0].Available != 1 {
				e.TB.Errorf("one subscription: %+v, %v", subs, err)
			}
			n, cursor = 0, ""
			for {
				users, next, err := e.Users(ctx, App, "", 2, cursor)
				e.must(err)
				if n += len(users); next == "" {
					break
				}
				cursor = next
			}
			if n != 7 {
				e.TB.Errorf("%d users, want 7", n)
			}
		},
		"bad cursors": func(e *Env) {
			for _, c := range []string{"x", "bQ", "bXh4", "!!!", "bg", "bjEuMi4z", "\xff\xfe"} {
				_, _, err := e.Messages(ctx, ledger.MessageFilter{App: App, Cursor: c})
				wantCode(e.TB, err, hongyan.CodeInvalid)
				_, _, err = e.Users(ctx, App, "", 1, c)
				wantCode(e.TB, err, hongyan.CodeInvalid)
				_, _, err = e.Subscriptions(ctx, App, "", "", 1, c)
				wantCode(e.TB, err, hongyan.CodeInvalid)
			}
		},
		"limits": func(e *Env) {
			e.Send("u1")
			for _, n := range []int{-1, 0, 1, 1 << 40} {
				if page, _, err := e.Messages(ctx, ledger.MessageFilter{App: App, Limit: n}); err != nil || len(page) != 1 {
					e.TB.Errorf("limit %d: %d, %v", n, len(page), err)
				}
			}
		},
	})
}
