package hongyan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// TestApply is the outcome table of docs/architecture.md, row by row.
func TestApply(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) time.Time { return t0.Add(d) }
	for name, c := range map[string]struct {
		m    Message
		o    Outcome
		want Change
	}{
		"ok":        {Message{}, Outcome{Class: OutcomeOK}, Change{State: StateAccepted, DueAt: t0, Grant: GrantSpend}},
		"43101":     {Message{}, Outcome{Class: OutcomeRecipient, Errcode: 43101}, Change{State: StateFailed, Reason: CodeNotSubscribed, DueAt: t0, Grant: GrantVoid}},
		"40003":     {Message{}, Outcome{Class: OutcomeOpenID}, Change{State: StateFailed, Reason: CodeInvalidOpenID, DueAt: t0, Grant: GrantVoid}},
		"47003":     {Message{}, Outcome{Class: OutcomeCaller, Errcode: 47003}, Change{State: StateFailed, Reason: CodeInvalidData, DueAt: t0, Grant: GrantReturn}},
		"45168":     {Message{}, Outcome{Class: OutcomeCaller, Errcode: 45168}, Change{State: StateFailed, Reason: CodeSensitiveWord, DueAt: t0, Grant: GrantReturn}},
		"41030":     {Message{}, Outcome{Class: OutcomeCaller, Errcode: 41030}, Change{State: StateFailed, Reason: CodeInvalidPage, DueAt: t0, Grant: GrantReturn}},
		"40036":     {Message{}, Outcome{Class: OutcomeCaller, Errcode: 40036}, Change{State: StateFailed, Reason: CodeWeChatRefused, DueAt: t0, Grant: GrantReturn}},
		"40037":     {Message{}, Outcome{Class: OutcomeTemplate}, Change{State: StateFailed, Reason: CodeInvalidTemplate, DueAt: t0, Grant: GrantReturn}},
		"50002":     {Message{}, Outcome{Class: OutcomeLimited}, Change{State: StateFailed, Reason: CodeUserLimited, DueAt: t0, Grant: GrantReturn}},
		"unknown":   {Message{}, Outcome{Class: OutcomeUnknown, Errcode: 12345}, Change{State: StateFailed, Reason: CodeWeChatRefused, DueAt: t0, Grant: GrantReturn}},
		"43107":     {Message{}, Outcome{Class: OutcomeBanned}, Change{State: StateQueued, DueAt: t0}},
		"token":     {Message{}, Outcome{Class: OutcomeToken}, Change{State: StateQueued, DueAt: t0}},
		"quota":     {Message{}, Outcome{Class: OutcomeQuota, RetryAt: in(time.Hour)}, Change{State: StateQueued, DueAt: in(time.Hour)}},
		"account":   {Message{}, Outcome{Class: OutcomeAccount}, Change{State: StateQueued, DueAt: t0}},
		"give back": {Message{}, Outcome{Class: OutcomeGiveBack}, Change{State: StateQueued, DueAt: t0}},
		"past RetryAt": {Message{}, Outcome{Class: OutcomeGiveBack, RetryAt: in(-time.Hour)},
			Change{State: StateQueued, DueAt: t0}},
		"expired": {Message{}, Outcome{Class: OutcomeExpired}, Change{State: StateExpired, DueAt: t0, Grant: GrantReturn}},
		"unclear": {Message{}, Outcome{Class: OutcomeUnclear},
			Change{State: StateUncertain, Reason: CodeWeChatUnclear, DueAt: t0, Progress: Progress{EarlierUnclear: true}}},
		"unclear, resend": {Message{OnUncertain: OnUncertainResend}, Outcome{Class: OutcomeUnclear},
			Change{State: StateUncertain, Reason: CodeWeChatUnclear, DueAt: t0, Progress: Progress{EarlierUnclear: true}, Resend: true}},
		"unclear, resent already": {Message{OnUncertain: OnUncertainResend, Progress: Progress{EarlierUnclear: true, Resent: true}}, Outcome{Class: OutcomeUnclear},
			Change{State: StateUncertain, Reason: CodeWeChatUnclear, DueAt: t0, Progress: Progress{EarlierUnclear: true, Resent: true}}},
		"a class nobody decided about": {Message{}, Outcome{Class: "new"},
			Change{State: StateUncertain, Reason: CodeWeChatUnclear, DueAt: t0, Progress: Progress{EarlierUnclear: true}}},

		"busy":                  {Message{}, Outcome{Class: OutcomeBusy, Jitter: 0.5}, Change{State: StateQueued, DueAt: in(time.Second), Progress: Progress{Busy: 1}}},
		"busy, third":           {Message{Progress: Progress{Busy: 2}}, Outcome{Class: OutcomeBusy, Jitter: 0.5}, Change{State: StateQueued, DueAt: in(4 * time.Second), Progress: Progress{Busy: 3}}},
		"busy, used up":         {Message{Progress: Progress{Busy: 3}}, Outcome{Class: OutcomeBusy}, Change{State: StateFailed, Reason: CodeWeChatBusy, DueAt: t0, Grant: GrantReturn, Progress: Progress{Busy: 3}}},
		"busy, uncounted":       {Message{Progress: Progress{Busy: 3}}, Outcome{Class: OutcomeBusy, Uncounted: true, Jitter: 0.5}, Change{State: StateQueued, DueAt: in(8 * time.Second), Progress: Progress{Busy: 3}}},
		"busy, on_busy unclear": {Message{OnBusy: OnBusyUncertain}, Outcome{Class: OutcomeBusy}, Change{State: StateUncertain, Reason: CodeWeChatBusy, DueAt: t0, Progress: Progress{EarlierUnclear: true}}},
		"busy, RetryAt later":   {Message{}, Outcome{Class: OutcomeBusy, RetryAt: in(time.Hour)}, Change{State: StateQueued, DueAt: in(time.Hour), Progress: Progress{Busy: 1}}},
		"same user, soonest":    {Message{}, Outcome{Class: OutcomeSameUser}, Change{State: StateQueued, DueAt: in(500 * time.Millisecond), Progress: Progress{SameUser: 1}}},
		"same user, latest":     {Message{Progress: Progress{SameUser: 19}}, Outcome{Class: OutcomeSameUser, Jitter: 1}, Change{State: StateQueued, DueAt: in(3 * time.Second), Progress: Progress{SameUser: 20}}},
		"same user, used up":    {Message{Progress: Progress{SameUser: 20}}, Outcome{Class: OutcomeSameUser}, Change{State: StateFailed, Reason: CodeSameUserBusy, DueAt: t0, Grant: GrantReturn, Progress: Progress{SameUser: 20}}},
		"unsent":                {Message{}, Outcome{Class: OutcomeUnsent}, Change{State: StateQueued, DueAt: in(500 * time.Millisecond), Progress: Progress{Unsent: 1}}},
		"unsent, used up":       {Message{Progress: Progress{Unsent: 10}}, Outcome{Class: OutcomeUnsent}, Change{State: StateFailed, Reason: CodeWeChatUnreachable, DueAt: t0, Grant: GrantReturn, Progress: Progress{Unsent: 10}}},
		"unsent, uncounted":     {Message{Progress: Progress{Unsent: 10}}, Outcome{Class: OutcomeUnsent, Uncounted: true, Jitter: 0.5}, Change{State: StateQueued, DueAt: in(5 * time.Minute), Progress: Progress{Unsent: 10}}},
		"pace":                  {Message{}, Outcome{Class: OutcomePace}, Change{State: StateQueued, DueAt: in(time.Minute)}},
		"pace, spread":          {Message{}, Outcome{Class: OutcomePace, Jitter: 1}, Change{State: StateQueued, DueAt: in(70 * time.Second)}},

		"43101, hold": {Message{OnNoGrant: OnNoGrantHold}, Outcome{Class: OutcomeRecipient},
			Change{State: StateHeld, DueAt: t0, HoldTo: in(DefaultHoldFor), Grant: GrantVoid, Progress: Progress{HeldOnce: true}}},
		"43101, hold for": {Message{OnNoGrant: OnNoGrantHold, HoldForS: 60}, Outcome{Class: OutcomeRecipient},
			Change{State: StateHeld, DueAt: t0, HoldTo: in(time.Minute), Grant: GrantVoid, Progress: Progress{HeldOnce: true}}},
		"43101, held before": {Message{OnNoGrant: OnNoGrantHold, Progress: Progress{HeldOnce: true}}, Outcome{Class: OutcomeRecipient},
			Change{State: StateFailed, Reason: CodeNotSubscribed, DueAt: t0, Grant: GrantVoid, Progress: Progress{HeldOnce: true}}},
		"40003 is not held": {Message{OnNoGrant: OnNoGrantHold}, Outcome{Class: OutcomeOpenID},
			Change{State: StateFailed, Reason: CodeInvalidOpenID, DueAt: t0, Grant: GrantVoid}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := c.m
			if d := cmp.Diff(c.want, c.m.Apply(c.o, t0)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, c.m); d != "" {
				t.Errorf("Apply changed the message:\n%s", d)
			}
		})
	}
}

var allClasses = []OutcomeClass{OutcomeOK, OutcomeRecipient, OutcomeOpenID, OutcomeCaller, OutcomeTemplate, OutcomeBanned, OutcomeToken, OutcomeBusy,
	OutcomePace, OutcomeSameUser, OutcomeQuota, OutcomeAccount, OutcomeLimited, OutcomeUnsent, OutcomeUnclear, OutcomeUnknown, OutcomeExpired, OutcomeGiveBack, "new"}

// TestApplyAfterUnclear shows that once an attempt was unclear nothing says that the message
// was not delivered.
func TestApplyAfterUnclear(t *testing.T) {
	t.Parallel()
	for _, class := range allClasses {
		for _, p := range []Progress{{}, {Busy: 3, SameUser: 20, Unsent: 10}} {
			for _, policy := range []OnNoGrant{OnNoGrantFail, OnNoGrantSend, OnNoGrantHold} {
				p.EarlierUnclear, p.Resent = true, true
				m := Message{OnNoGrant: policy, OnUncertain: OnUncertainResend, Progress: p}
				c := m.Apply(Outcome{Class: class}, t0)
				switch c.State {
				case StateAccepted, StateUncertain, StateQueued:
				default:
					t.Errorf("%s after an unclear attempt: %s", class, c.State)
				}
				if c.State == StateUncertain && class != OutcomeUnclear && c.Reason == "" {
					t.Errorf("%s after an unclear attempt: uncertain without a reason", class)
				}
				if !c.Progress.EarlierUnclear || c.Resend {
					t.Errorf("%s after an unclear attempt: %+v", class, c)
				}
			}
		}
	}
}

// TestApplySane shows what must hold of every class.
func TestApplySane(t *testing.T) {
	t.Parallel()
	for _, class := range allClasses {
		for _, jitter := range []float64{0, 0.5, 0.999} {
			o := Outcome{Class: class, Jitter: jitter}
			c := (&Message{}).Apply(o, t0)
			switch {
			case c.State == StateQueued && c.DueAt.Before(t0):
				t.Errorf("%s: due in the past", class)
			case c.State == StateQueued && c.Grant != GrantKeep:
				t.Errorf("%s: queued, but its grant is %d", class, c.Grant)
			case c.State == StateHeld && !c.HoldTo.After(t0):
				t.Errorf("%s: held until the past", class)
			case c.State == StateFailed && c.Reason == "":
				t.Errorf("%s: failed without a reason", class)
			case (c.Grant == GrantSpend) != (c.State == StateAccepted):
				t.Errorf("%s: %s with grant effect %d", class, c.State, c.Grant)
			case !o.Called() && o.Answered():
				t.Errorf("%s: answered without a call", class)
			}
			if c.Reason != "" && LookupCode(c.Reason).Code != c.Reason {
				t.Errorf("%s: reason %q is not in the table of codes", class, c.Reason)
			}
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n := range 100 {
		lo, mid, hi := backoff(n, 0), backoff(n, 0.5), backoff(n, 1)
		if lo <= 0 || mid < lo || hi < mid || hi > 5*time.Minute {
			t.Errorf("%d: %s, %s, %s", n, lo, mid, hi)
		}
		if want := time.Second << n; n < 8 && mid != want {
			t.Errorf("%d: %s, want %s", n, mid, want)
		}
	}
}
