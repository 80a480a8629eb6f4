package ledgertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
)

func testRecord(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	tests := map[string]func(*Env){}
	// One reserved message, one attempt.
	for _, c := range []struct {
		class  hongyan.OutcomeClass
		state  hongyan.State
		reason hongyan.Code
		count  Count
		due    time.Duration // from the attempt; for queued
	}{
		{hongyan.OutcomeOK, hongyan.StateAccepted, "", Count{Spent: 1}, 0},
		{hongyan.OutcomeRecipient, hongyan.StateFailed, hongyan.CodeNotSubscribed, Count{Voided: 1, Exact: true}, 0},
		{hongyan.OutcomeOpenID, hongyan.StateFailed, hongyan.CodeInvalidOpenID, Count{Voided: 1, Exact: true}, 0},
		{hongyan.OutcomeCaller, hongyan.StateFailed, hongyan.CodeInvalidData, Count{Available: 1}, 0},
		{hongyan.OutcomeTemplate, hongyan.StateFailed, hongyan.CodeInvalidTemplate, Count{Available: 1}, 0},
		{hongyan.OutcomeLimited, hongyan.StateFailed, hongyan.CodeUserLimited, Count{Available: 1}, 0},
		{hongyan.OutcomeUnknown, hongyan.StateFailed, hongyan.CodeWeChatRefused, Count{Available: 1}, 0},
		{hongyan.OutcomeBanned, hongyan.StateQueued, "", Count{Reserved: 1}, 0},
		{hongyan.OutcomeToken, hongyan.StateQueued, "", Count{Reserved: 1}, 0},
		{hongyan.OutcomeQuota, hongyan.StateQueued, "", Count{Reserved: 1}, 0},
		{hongyan.OutcomeAccount, hongyan.StateQueued, "", Count{Reserved: 1}, 0},
		{hongyan.OutcomeBusy, hongyan.StateQueued, "", Count{Reserved: 1}, time.Second},
		{hongyan.OutcomeSameUser, hongyan.StateQueued, "", Count{Reserved: 1}, 1750 * time.Millisecond},
		{hongyan.OutcomeUnsent, hongyan.StateQueued, "", Count{Reserved: 1}, time.Second},
		{hongyan.OutcomePace, hongyan.StateQueued, "", Count{Reserved: 1}, 65 * time.Second},
		{hongyan.OutcomeUnclear, hongyan.StateUncertain, hongyan.CodeWeChatUnclear, Count{Reserved: 1}, 0},
		{hongyan.OutcomeExpired, hongyan.StateExpired, "", Count{Available: 1}, 0},
		{hongyan.OutcomeGiveBack, hongyan.StateQueued, "", Count{Reserved: 1}, 0},
	} {
		tests["reserved "+string(c.class)] = func(e *Env) {
			e.Tap("u1", OneTime, "accept", time.Minute)
			m := e.Send("u1")
			j := e.ClaimOne()
			o := e.Outcome(c.class)
			e.Record(j, o)
			e.WantState(m.ID, c.state, c.reason)
			e.WantCount("u1", OneTime, c.count)
			got := e.Get(m.ID)
			if c.state == hongyan.StateQueued && !got.SendAt.Equal(Start.Add(c.due)) {
				e.TB.Errorf("due %s after the attempt, want %s", got.SendAt.Sub(Start), c.due)
			}
			e.wantAttempts(got, o)
		}
		tests["unreserved "+string(c.class)] = func(e *Env) {
			e.Exact("u1", OneTime, 0)
			m := e.Send("u1", onNoGrant(hongyan.OnNoGrantSend))
			e.Record(e.ClaimOne(), e.Outcome(c.class))
			e.WantState(m.ID, c.state, c.reason)
			want := Count{Exact: true}
			if c.class == hongyan.OutcomeOK {
				want.Spent = 1 // inferred
			}
			e.WantCount("u1", OneTime, want)
		}
	}
	tests["retries are counted"] = func(e *Env) {
		for _, c := range []struct {
			class  hongyan.OutcomeClass
			most   int
			reason hongyan.Code
		}{
			{hongyan.OutcomeBusy, hongyan.MaxBusyRetries, hongyan.CodeWeChatBusy},
			{hongyan.OutcomeSameUser, hongyan.MaxSameUserRetries, hongyan.CodeSameUserBusy},
			{hongyan.OutcomeUnsent, hongyan.MaxUnsentRetries, hongyan.CodeWeChatUnreachable},
		} {
			u := hongyan.OpenID("of-" + c.class)
			e.Exact(u, OneTime, 1)
			m := e.Send(u)
			for i := range c.most {
				if got := e.Attempt(c.class); got.Status != hongyan.StateQueued || got.Attempt != i+1 {
					e.TB.Fatalf("%s, try %d: %s, attempt %d", c.class, i+1, got.Status, got.Attempt)
				}
				e.Clock.Advance(6 * time.Minute)
			}
			got := e.Attempt(c.class)
			e.WantState(m.ID, hongyan.StateFailed, c.reason)
			e.WantCount(u, OneTime, Count{Available: 1, Exact: true})
			if len(got.Attempts) != c.most+1 {
				e.TB.Errorf("%s: %d attempts are kept, want %d", c.class, len(got.Attempts), c.most+1)
			}
			for i, a := range got.Attempts {
				if a.Number != i+1 || a.Class != c.class {
					e.TB.Errorf("attempt %d is %+v", i+1, a)
				}
			}
		}
	}
	tests["uncounted failures are not"] = func(e *Env) {
		e.Send("u1")
		for range 15 {
			j := e.ClaimOne()
			o := e.Outcome(hongyan.OutcomeUnsent)
			o.Uncounted = true
			e.Record(j, o)
			e.Clock.Advance(6 * time.Minute)
		}
		e.Attempt(hongyan.OutcomeOK)
	}
	tests["on_busy uncertain"] = func(e *Env) {
		m := e.Send("u1", func(s *hongyan.Submission) { s.OnBusy = hongyan.OnBusyUncertain })
		e.Attempt(hongyan.OutcomeBusy)
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatBusy)
	}
	tests["never due past expiry"] = func(e *Env) {
		m := e.Send("u1", expiresAt(Start.Add(30*time.Second)))
		e.Attempt(hongyan.OutcomePace)
		if got := e.Get(m.ID); !got.SendAt.Equal(Start.Add(30 * time.Second)) {
			e.TB.Errorf("due %s, after it expires", got.SendAt)
		}
		e.Tick(30 * time.Second)
		e.WantState(m.ID, hongyan.StateExpired, "")
	}
	tests["a result stands though the message expired meanwhile"] = func(e *Env) {
		m := e.Send("u1", expiresAt(Start.Add(5*time.Second)))
		j := e.ClaimOne()
		e.Tick(6 * time.Second)
		e.Record(j, e.Outcome(hongyan.OutcomeOK))
		e.WantState(m.ID, hongyan.StateAccepted, "")
	}
	tests["RetryAt"] = func(e *Env) {
		m := e.Send("u1")
		o := e.Outcome(hongyan.OutcomeQuota)
		o.RetryAt = Start.Add(time.Hour)
		e.Record(e.ClaimOne(), o)
		if got := e.Get(m.ID); !got.SendAt.Equal(o.RetryAt) {
			e.TB.Errorf("due %s, want %s", got.SendAt, o.RetryAt)
		}
	}
	tests["give-back"] = func(e *Env) {
		m := e.Send("u1")
		second := func() { e.Clock.Advance(time.Minute) }
		e.Attempt(hongyan.OutcomeBusy)
		before := e.Get(m.ID)
		second()
		j := e.ClaimOne()
		if j.Message.Attempt != 2 {
			e.TB.Errorf("attempt %d, want 2", j.Message.Attempt)
		}
		e.Record(j, e.Outcome(hongyan.OutcomeGiveBack))
		got := e.Get(m.ID)
		got.UpdatedAt, got.Timeline, before.Timeline = before.UpdatedAt, nil, nil
		// As if it had not been claimed: the same number, place in the queue and last answer.
		before.Status = hongyan.StateQueued
		if d := diff(before, got); d != "" {
			e.TB.Errorf("a row given back differs (-before +after):\n%s", d)
		}
		e.Attempt(hongyan.OutcomeOK)
		if got = e.Get(m.ID); got.Attempt != 2 || len(got.Attempts) != 2 || got.Attempts[0].Class != hongyan.OutcomeBusy {
			e.TB.Errorf("attempts: %+v", got.Attempts)
		}
	}
	tests["give-back keeps the order of a user's messages"] = func(e *Env) {
		a := e.Send("u1")
		j := e.ClaimOne()
		e.Clock.Advance(time.Second)
		e.Send("u1")
		e.Clock.Advance(time.Second)
		e.Record(j, e.Outcome(hongyan.OutcomeGiveBack))
		if j = e.ClaimOne(); j.Message.ID != a.ID {
			e.TB.Errorf("the younger message went first")
		}
		e.Record(j, e.Outcome(hongyan.OutcomeOK))
	}
	tests["a second result of one attempt changes nothing"] = func(e *Env) {
		e.Tap("u1", OneTime, "accept", 0)
		m, next := e.Send("u1"), e.Send("u1", template(Other))
		j := e.ClaimOne()
		e.Record(j, e.Outcome(hongyan.OutcomeOK))
		k := e.ClaimOne() // the user's next call is under way
		e.Record(j, e.Outcome(hongyan.OutcomeOK))
		if n := e.Stats().UnderWay; n != 1 {
			e.TB.Errorf("%d users busy, want 1", n)
		}
		e.Record(j, e.Outcome(hongyan.OutcomeRecipient))
		e.WantState(m.ID, hongyan.StateAccepted, "")
		e.WantCount("u1", OneTime, Count{Spent: 1})
		e.Record(k, e.Outcome(hongyan.OutcomeOK))
		e.WantState(next.ID, hongyan.StateAccepted, "")
		if n := len(e.Get(m.ID).Attempts); n != 1 {
			e.TB.Errorf("%d attempts, want 1", n)
		}
	}
	for _, class := range []hongyan.OutcomeClass{hongyan.OutcomeOK, hongyan.OutcomeRecipient, hongyan.OutcomeCaller, hongyan.OutcomeUnsent, hongyan.OutcomeGiveBack, hongyan.OutcomeUnclear} {
		tests["late "+string(class)+" settles an uncertain message"] = func(e *Env) {
			e.Exact("u1", OneTime, 1)
			m := e.Send("u1")
			j := e.ClaimOne()
			start := e.Outcome(class)
			e.Tick(time.Minute)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.Record(j, start)
			got := e.Get(m.ID)
			want := map[hongyan.OutcomeClass]hongyan.State{hongyan.OutcomeOK: hongyan.StateAccepted, hongyan.OutcomeRecipient: hongyan.StateFailed,
				hongyan.OutcomeCaller: hongyan.StateFailed, hongyan.OutcomeUnsent: hongyan.StateQueued, hongyan.OutcomeGiveBack: hongyan.StateQueued, hongyan.OutcomeUnclear: hongyan.StateUncertain}[class]
			if got.Status != want {
				e.TB.Errorf("%s, want %s", got.Status, want)
			}
			e.wantAttempts(got, start)
		}
	}
	tests["late ok before the resend"] = func(e *Env) {
		e.Exact("u1", OneTime, 2)
		m := e.Send("u1", onUncertain(hongyan.OnUncertainResend))
		j := e.ClaimOne()
		o := e.Outcome(hongyan.OutcomeOK)
		e.Tick(time.Minute) // taken over
		e.Tick(time.Minute) // to be sent again, with a second grant
		e.WantState(m.ID, hongyan.StateQueued, "")
		e.WantCount("u1", OneTime, Count{Reserved: 2, Exact: true})
		e.Record(j, o)
		e.WantState(m.ID, hongyan.StateAccepted, "")
		e.WantCount("u1", OneTime, Count{Available: 1, Spent: 1, Exact: true})
		if jobs := e.Claim(1); len(jobs) != 0 {
			e.TB.Errorf("a delivered message is sent again")
		}
	}
	tests["late ok after the resend"] = func(e *Env) {
		for i, n := range []int64{1, 2} { // grants
			u := hongyan.OpenID(fmt.Sprint("u", i))
			e.Exact(u, OneTime, n)
			m := e.Send(u, onUncertain(hongyan.OnUncertainResend))
			j := e.ClaimOne()
			o := e.Outcome(hongyan.OutcomeOK)
			e.Tick(time.Minute)
			e.Tick(time.Minute)
			e.Tick(time.Minute)
			k := e.ClaimOne()
			e.Record(k, e.Outcome(hongyan.OutcomeOK))
			e.Record(j, o)
			e.WantState(m.ID, hongyan.StateAccepted, "")
			e.WantCount(u, OneTime, Count{Spent: 2, Exact: true}) // both calls spent one
			if a := e.Get(m.ID).Attempts; len(a) != 2 || a[0].Class != hongyan.OutcomeOK || a[1].Class != hongyan.OutcomeOK {
				e.TB.Errorf("attempts: %+v", a)
			}
		}
	}
	tests["late ok of the first call proves both unclear ones"] = func(e *Env) {
		e.Exact("u1", OneTime, 2)
		m := e.Send("u1", onUncertain(hongyan.OnUncertainResend))
		j := e.ClaimOne()
		o := e.Outcome(hongyan.OutcomeOK)
		e.Tick(time.Minute)
		e.Tick(time.Minute)
		e.Tick(time.Minute)
		e.Attempt(hongyan.OutcomeUnclear)
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		e.Record(j, o)
		e.WantState(m.ID, hongyan.StateAccepted, "")
		if a := e.Get(m.ID).Attempts; len(a) != 2 || a[0].Class != hongyan.OutcomeOK || a[1].Class != hongyan.OutcomeUnclear {
			e.TB.Errorf("attempts: %+v", a)
		}
	}
	tests["late ok after a person said failed"] = func(e *Env) {
		e.Exact("u1", OneTime, 1)
		m := e.Send("u1")
		j := e.ClaimOne()
		o := e.Outcome(hongyan.OutcomeOK)
		e.Tick(time.Minute)
		_, err := e.Resolve(ctx, m.ID, hongyan.StateFailed)
		e.must(err)
		e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
		e.Record(j, o)
		e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true}) // it was not left after all
	}
	tests["resend"] = func(e *Env) {
		e.Exact("u1", OneTime, 2)
		m := e.Send("u1", onUncertain(hongyan.OnUncertainResend))
		e.Attempt(hongyan.OutcomeUnclear)
		e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 1, Exact: true})
		e.Tick(89 * time.Second)
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		e.Tick(time.Second) // the lease and a minute
		e.WantState(m.ID, hongyan.StateQueued, "")
		e.WantCount("u1", OneTime, Count{Reserved: 2, Exact: true})
		e.Attempt(hongyan.OutcomeUnclear)
		e.Tick(10 * time.Minute) // once only
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		if got := e.Get(m.ID); got.Attempt != 2 || len(got.Attempts) != 2 || got.Reserved != 2 {
			e.TB.Errorf("after the resend: %+v", got)
		}
	}
	tests["43101 on the resend leaves it uncertain"] = func(e *Env) {
		e.Exact("u1", OneTime, 2)
		m := e.Send("u1", onUncertain(hongyan.OnUncertainResend), onNoGrant(hongyan.OnNoGrantHold))
		e.Attempt(hongyan.OutcomeUnclear)
		e.Tick(2 * time.Minute)
		e.Attempt(hongyan.OutcomeRecipient)
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeNotSubscribed)
		e.WantCount("u1", OneTime, Count{Reserved: 1, Voided: 1, Exact: true})
	}
	tests["a failed resend gives one grant back"] = func(e *Env) {
		e.Exact("u1", OneTime, 2)
		m := e.Send("u1", onUncertain(hongyan.OnUncertainResend))
		e.Attempt(hongyan.OutcomeUnclear)
		e.Tick(2 * time.Minute)
		e.Attempt(hongyan.OutcomeCaller)
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeInvalidData)
		e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 1, Exact: true})
	}
	tests["no resend after expiry"] = func(e *Env) {
		m := e.Send("u1", onUncertain(hongyan.OnUncertainResend), expiresAt(Start.Add(time.Minute)))
		e.Attempt(hongyan.OutcomeUnclear)
		e.Tick(10 * time.Minute)
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		e.Tick(10 * time.Minute)
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
	}
	tests["expiry of a resend leaves it uncertain"] = func(e *Env) {
		e.Exact("u1", OneTime, 2)
		m := e.Send("u1", onUncertain(hongyan.OnUncertainResend), expiresAt(Start.Add(2*time.Minute)))
		e.Attempt(hongyan.OutcomeUnclear)
		e.Tick(90 * time.Second)
		e.WantState(m.ID, hongyan.StateQueued, "")
		e.Record(e.ClaimOne(), e.Outcome(hongyan.OutcomeExpired)) // the last check
		e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 1, Exact: true})
		if got := e.Get(m.ID); got.Attempt != 1 || len(got.Attempts) != 1 || got.Attempts[0].Class != hongyan.OutcomeUnclear {
			e.TB.Errorf("attempts: %+v", got.Attempts)
		}
	}
	tests["43101 voids what is older and keeps what is younger"] = func(e *Env) {
		e.Exact("u1", OneTime, 4)
		first := e.Send("u1")
		a := e.Send("u1", sendAt(Start.Add(time.Hour)))
		b := e.Send("u1", sendAt(Start.Add(2*time.Hour)))
		e.Clock.Advance(time.Second)
		j := e.ClaimOne()
		o := e.Outcome(hongyan.OutcomeRecipient)
		e.Clock.Advance(time.Second)
		e.Tap("u1", OneTime, "accept", 0) // after the attempt began
		e.WantCount("u1", OneTime, Count{Available: 2, Reserved: 3, Exact: true})
		e.Record(j, o)
		e.WantState(first.ID, hongyan.StateFailed, hongyan.CodeNotSubscribed)
		// One grant is left, and it backs the message that is due first.
		e.WantCount("u1", OneTime, Count{Reserved: 1, Voided: 4, Exact: true})
		if x, y := e.Get(a.ID), e.Get(b.ID); x.Reserved != 1 || y.Reserved != 0 {
			e.TB.Errorf("reserved %d and %d, want 1 and 0", x.Reserved, y.Reserved)
		}
		// The unbacked one is tried, or backed by the next accept.
		e.Clock.Advance(time.Second)
		e.Tap("u1", OneTime, "accept", 0)
		if y := e.Get(b.ID); y.Reserved != 1 {
			e.TB.Errorf("the next accept did not back it")
		}
	}
	tests["43101 with hold takes a younger grant at once"] = func(e *Env) {
		e.Exact("u1", OneTime, 1)
		e.Clock.Advance(time.Second)
		m := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
		j := e.ClaimOne()
		o := e.Outcome(hongyan.OutcomeRecipient)
		e.Clock.Advance(time.Second)
		e.Tap("u1", OneTime, "accept", 0)
		e.Record(j, o)
		e.WantState(m.ID, hongyan.StateQueued, "")
		e.WantCount("u1", OneTime, Count{Reserved: 1, Voided: 1, Exact: true})
		e.Attempt(hongyan.OutcomeRecipient) // held once only
		e.WantState(m.ID, hongyan.StateFailed, hongyan.CodeNotSubscribed)
	}
	tests["43101 with hold waits, within its expiry"] = func(e *Env) {
		m := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold), expiresAt(Start.Add(time.Hour)))
		e.Attempt(hongyan.OutcomeRecipient)
		e.WantState(m.ID, hongyan.StateHeld, "")
		if got := e.Get(m.ID); !got.ExpiresAt.Equal(Start.Add(time.Hour)) {
			e.TB.Errorf("held until %s, past its expiry", got.ExpiresAt)
		}
		e.Clock.Advance(time.Second)
		e.Tap("u1", OneTime, "accept", 0)
		e.Attempt(hongyan.OutcomeOK)
		e.WantState(m.ID, hongyan.StateAccepted, "")
		e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
	}
	tests["40003 marks the user"] = func(e *Env) {
		e.Send("u1")
		e.Attempt(hongyan.OutcomeOpenID)
		if u, err := e.User(ctx, App, "u1"); err != nil || !u.InvalidAt.Equal(Start) {
			e.TB.Errorf("user %+v, %v", u, err)
		}
	}
	cases(t, open, existing, tests)
}

// wantAttempts checks the history of a message with one attempt.
func (e *Env) wantAttempts(m *hongyan.Message, o hongyan.Outcome) {
	e.TB.Helper()
	if !o.Called() {
		if m.Attempt != 0 || len(m.Attempts) != 0 {
			e.TB.Errorf("no call was made, but there are attempts: %d, %+v", m.Attempt, m.Attempts)
		}
		return
	}
	want := hongyan.Attempt{Number: 1, Class: o.Class, StartedAt: o.StartedAt, EndedAt: o.EndedAt}
	if o.Answered() {
		want.Errcode = &o.Errcode
	}
	want.Errmsg = o.Errmsg
	if o.MsgID != 0 {
		want.MsgID = fmt.Sprint(o.MsgID)
	}
	if d := diff([]hongyan.Attempt{want}, m.Attempts); d != "" {
		e.TB.Errorf("attempts (-want +got):\n%s", d)
	}
	if m.Attempt != 1 {
		e.TB.Errorf("attempt %d, want 1", m.Attempt)
	}
}
