package ledgertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func testSweep(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, fresh, map[string]func(*Env){
		"expiry returns grants and serves others": func(e *Env) {
			e.Exact("u1", OneTime, 3)
			for range 3 {
				e.Send("u1", sendAt(Start.Add(time.Minute)), expiresAt(Start.Add(time.Hour)))
			}
			held := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			unbacked := e.Send("u1", onNoGrant(hongyan.OnNoGrantSend), sendAt(Start.Add(2*time.Hour)))
			e.Tick(time.Hour)
			for _, m := range []*hongyan.Message{held, unbacked} {
				if got := e.Get(m.ID); got.Reserved != 1 || got.Status == hongyan.StateHeld {
					e.TB.Errorf("a returned grant did not serve: %s, %d reserved", got.Status, got.Reserved)
				}
			}
			e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 2, Exact: true})
		},
		"held messages expire": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			m := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			e.Tick(hongyan.DefaultHoldFor - time.Millisecond)
			e.WantState(m.ID, hongyan.StateHeld, "")
			e.Tick(time.Millisecond)
			e.WantState(m.ID, hongyan.StateExpired, "")
		},
		"many at once": func(e *Env) {
			var subs []hongyan.Submission
			for i := range 1000 {
				subs = append(subs, Submission(hongyan.OpenID(fmt.Sprint("u", i)), expiresAt(Start.Add(time.Minute))))
			}
			subs = append(subs, subs[:200]...)
			_, err := e.Submit(ctx, subs, ledger.SubmitOptions{Strict: true})
			e.must(err)
			e.Tick(time.Minute)
			n, cursor := 0, ""
			for {
				list, next, err := e.Messages(ctx, ledger.MessageFilter{App: App, Status: []hongyan.State{hongyan.StateExpired}, Limit: 500, Cursor: cursor})
				e.must(err)
				if n += len(list); next == "" {
					break
				}
				cursor = next
			}
			if n != 1200 {
				e.TB.Errorf("%d expired, want 1200", n)
			}
		},
		"uncertain never expires, and gives its grant up after a week": func(e *Env) {
			e.Exact("u1", OneTime, 2)
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeUnclear)
			other := e.Send("u1", sendAt(Start.Add(30*24*time.Hour)))
			e.Tick(7*24*time.Hour - time.Second)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.WantCount("u1", OneTime, Count{Reserved: 2, Exact: true})
			e.Tick(time.Second)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.WantCount("u1", OneTime, Count{Reserved: 1, Voided: 1, Exact: true})
			if s := e.Sub("u1", OneTime); s.Entries[0].Source != hongyan.SourceTimeout || s.Entries[0].Ref != string(m.ID) {
				e.TB.Errorf("entries: %+v", s.Entries)
			}
			// It takes no other grant: a returned one stays for those who can use it.
			_, err := e.Cancel(ctx, other.ID)
			e.must(err)
			e.Tick(time.Hour)
			e.WantCount("u1", OneTime, Count{Available: 1, Voided: 1, Exact: true})
			_, err = e.Resolve(ctx, m.ID, hongyan.StateDelivered)
			e.must(err)
			e.WantState(m.ID, hongyan.StateDelivered, "resolved")
		},
		"an idle ledger stays quiet": func(e *Env) {
			release := e.DB.Hold(e.TB)
			defer release()
			e.must(e.Sweep(ctx)) // takes no write lock when there is nothing to do
		},
		"scheduled past its expiry": func(e *Env) {
			m := e.Send("u1", sendAt(Start.Add(time.Hour)), expiresAt(Start.Add(time.Hour)))
			e.Tick(time.Hour)
			e.WantState(m.ID, hongyan.StateExpired, "")
		},
	})
}
