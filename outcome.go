package hongyan

import (
	"time"
)

// OutcomeClass sorts what one attempt came to. Which errcode belongs to which class
// is dispatch's table; what a class means for the message is [Message.Apply].
type OutcomeClass string

// The classes, in the order of the outcome table in docs/architecture.md.
const (
	OutcomeOK        OutcomeClass = "ok"        // errcode 0
	OutcomeRecipient OutcomeClass = "recipient" // 43101
	OutcomeOpenID    OutcomeClass = "openid"    // 40003
	OutcomeCaller    OutcomeClass = "caller"    // the request itself is wrong
	OutcomeTemplate  OutcomeClass = "template"  // 40037: the template is gone
	OutcomeBanned    OutcomeClass = "banned"    // 43107: the template or account may not send
	OutcomeToken     OutcomeClass = "token"     // the access token was refused, and so was its successor
	OutcomeBusy      OutcomeClass = "busy"      // -1
	OutcomePace      OutcomeClass = "pace"      // 45011
	OutcomeSameUser  OutcomeClass = "same_user" // 43108
	OutcomeQuota     OutcomeClass = "quota"     // 45009
	OutcomeAccount   OutcomeClass = "account"   // the app's credentials, IP or rights
	OutcomeLimited   OutcomeClass = "limited"   // 50002, before a third user shows that it is the account
	OutcomeUnsent    OutcomeClass = "unsent"    // failed before the first byte
	OutcomeUnclear   OutcomeClass = "unclear"   // failed after it, or no proper answer
	OutcomeUnknown   OutcomeClass = "unknown"   // an errcode nobody knows
	OutcomeExpired   OutcomeClass = "expired"   // the last check before the call found it too late
	OutcomeGiveBack  OutcomeClass = "give_back" // not tried: lease, pause, breaker, stop or a full lane
)

// Limits of counted retries.
const (
	MaxBusyRetries     = 3
	MaxSameUserRetries = 20
	MaxUnsentRetries   = 10
	maxBackoff         = 5 * time.Minute
	paceRest           = time.Minute
)

// Outcome is what one attempt came to.
type Outcome struct {
	Class   OutcomeClass
	Errcode int    // meaningful where WeChat answered
	Errmsg  string // WeChat's words, or the transport's; secrets already cut
	Rid     string // WeChat's id of a call that it refused
	MsgID   int64
	// Uncounted: the failure does not use up a retry (a probe, or the breaker was not closed).
	Uncounted bool
	// RetryAt asks that it is not tried before then; zero leaves it to the class.
	RetryAt time.Time
	// Jitter in [0,1) spreads retries; given from outside so that Apply stays pure.
	Jitter    float64
	StartedAt time.Time // when the call began
	EndedAt   time.Time
}

// Answered reports whether Errcode is WeChat's own.
func (o Outcome) Answered() bool {
	switch o.Class {
	case OutcomeUnsent, OutcomeUnclear, OutcomeExpired, OutcomeGiveBack, "":
		return false
	case OutcomeToken, OutcomeAccount: // of which the token source may have said it alone
		return o.Errcode != 0
	}
	return true
}

// Called reports whether a request went out, or may have: only then was there an attempt.
func (o Outcome) Called() bool { return o.Class != OutcomeExpired && o.Class != OutcomeGiveBack }

// GrantEffect is what an outcome does to the grants a message holds.
type GrantEffect int

// The effects.
const (
	GrantKeep   GrantEffect = iota // they stay reserved
	GrantSpend                     // used: reserved becomes spent; without reservation, inferred +1/−1
	GrantReturn                    // reserved becomes available
	GrantVoid                      // WeChat knows none: these and all obtained before the attempt are voided
)

// Change is what an outcome makes of a message.
type Change struct {
	State    State
	Reason   Code
	DueAt    time.Time // for queued: not before then
	HoldTo   time.Time // for held: when it expires
	Grant    GrantEffect
	Progress Progress
	// Resend: it becomes queued once more after the lease and a minute have passed.
	Resend bool
}

// Apply decides what an outcome makes of a message under way. It is pure: the ledger writes the result.
func (m *Message) Apply(o Outcome, now time.Time) Change {
	c := Change{State: StateQueued, DueAt: now, Progress: m.Progress}
	if o.RetryAt.After(now) {
		c.DueAt = o.RetryAt
	}
	switch o.Class {
	case OutcomeOK:
		c.State, c.Grant = StateAccepted, GrantSpend
	case OutcomeRecipient:
		m.notSubscribed(&c, now)
	case OutcomeOpenID:
		m.fail(&c, CodeInvalidOpenID, GrantVoid)
	case OutcomeCaller, OutcomeUnknown:
		m.fail(&c, reasonOf(o.Errcode), GrantReturn)
	case OutcomeLimited:
		m.fail(&c, CodeUserLimited, GrantReturn)
	case OutcomeTemplate:
		m.fail(&c, CodeInvalidTemplate, GrantReturn)
	case OutcomeBusy:
		if m.OnBusy == OnBusyUncertain {
			m.unclear(&c, CodeWeChatBusy)
		} else {
			m.retry(&c, &c.Progress.Busy, MaxBusyRetries, CodeWeChatBusy, backoff(c.Progress.Busy, o.Jitter), o, now)
		}
	case OutcomeSameUser:
		wait := 500*time.Millisecond + time.Duration(o.Jitter*float64(2500*time.Millisecond))
		m.retry(&c, &c.Progress.SameUser, MaxSameUserRetries, CodeSameUserBusy, wait, o, now)
	case OutcomeUnsent:
		m.retry(&c, &c.Progress.Unsent, MaxUnsentRetries, CodeWeChatUnreachable, backoff(c.Progress.Unsent, o.Jitter), o, now)
	case OutcomePace:
		c.DueAt = latest(c.DueAt, now.Add(paceRest+time.Duration(o.Jitter*float64(10*time.Second))))
	case OutcomeUnclear:
		m.unclear(&c, CodeWeChatUnclear)
	case OutcomeExpired:
		c.State, c.Grant = StateExpired, GrantReturn
		if c.Progress.EarlierUnclear {
			c.State, c.Reason = StateUncertain, CodeWeChatUnclear
		}
	case OutcomeBanned, OutcomeToken, OutcomeQuota, OutcomeAccount, OutcomeGiveBack:
		// Queued with its grant; the pause decides when it is tried again.
	default:
		m.unclear(&c, CodeWeChatUnclear) // a class nobody decided about: do not guess
	}
	if m.Once && c.State == StateQueued {
		m.fail(&c, reasonOnce(o), GrantReturn)
	}
	return c
}

// reasonOnce says why a message that has one attempt is not tried again.
func reasonOnce(o Outcome) Code {
	switch {
	case o.Class == OutcomeGiveBack:
		return CodeNotStarted
	case o.Class == OutcomeBusy:
		return CodeWeChatBusy
	case o.Class == OutcomeSameUser:
		return CodeSameUserBusy
	case o.Class == OutcomeUnsent:
		return CodeWeChatUnreachable
	case o.Class == OutcomeToken:
		return CodeTokenRejected
	case !o.Answered() || o.StartedAt.IsZero():
		return CodeTokenUnavailable
	}
	return CodeWeChatRefused
}

// notSubscribed is 43101: held once if the caller asked for that, else failed.
func (m *Message) notSubscribed(c *Change, now time.Time) {
	if m.OnNoGrant == OnNoGrantHold && !c.Progress.HeldOnce && !c.Progress.EarlierUnclear {
		c.State, c.Grant = StateHeld, GrantVoid
		c.Progress.HeldOnce = true
		c.HoldTo = now.Add(m.HoldFor())
		return
	}
	m.fail(c, CodeNotSubscribed, GrantVoid)
}

// fail ends the message, unless an earlier attempt may have delivered it: then it stays uncertain.
func (m *Message) fail(c *Change, reason Code, effect GrantEffect) {
	c.State, c.Reason, c.Grant = StateFailed, reason, effect
	if c.Progress.EarlierUnclear {
		c.State = StateUncertain
	}
}

func (m *Message) unclear(c *Change, reason Code) {
	c.State, c.Reason = StateUncertain, reason
	c.Resend = m.OnUncertain == OnUncertainResend && !m.Progress.Resent
	c.Progress.EarlierUnclear = true
}

func (m *Message) retry(c *Change, used *int, most int, reason Code, wait time.Duration, o Outcome, now time.Time) {
	switch {
	case o.Uncounted:
	case *used >= most:
		m.fail(c, reason, GrantReturn)
		return
	default:
		*used++
	}
	c.DueAt = latest(c.DueAt, now.Add(wait))
}

// HoldFor is how long the message may be held.
func (m *Message) HoldFor() time.Duration {
	if m.HoldForS > 0 {
		return time.Duration(m.HoldForS) * time.Second
	}
	return DefaultHoldFor
}

// backoff is 1 s · 2ⁿ ± 50 %, at most five minutes.
func backoff(n int, jitter float64) time.Duration {
	d := maxBackoff
	if n < 9 {
		d = min(time.Second<<n, maxBackoff)
	}
	return min(d/2+time.Duration(jitter*float64(d)), maxBackoff)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// reasonOf gives a refusal of WeChat the code that says what to do.
func reasonOf(errcode int) Code {
	switch errcode {
	case 47003:
		return CodeInvalidData
	case 45168:
		return CodeSensitiveWord
	case 41030:
		return CodeInvalidPage
	}
	return CodeWeChatRefused
}
