package dispatch

import (
	"sync"
	"time"
)

const (
	breakerAfter   = 5
	breakerRest    = 30 * time.Second
	breakerMaxRest = 5 * time.Minute
)

// breaker rests an endpoint of an app after calls to it went unanswered five times in a
// row, so that a WeChat that stalls makes few messages uncertain and not all of them.
// After the rest one call tests it; each failed test doubles the rest.
type breaker struct {
	mu      sync.Mutex
	failed  int // in a row
	rest    time.Duration
	until   time.Time // zero while closed
	probing bool
}

// allow reports whether a call may begin; one it allows while resting is the probe.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return true
	}
	if now.Before(b.until) || b.probing {
		return false
	}
	b.probing = true
	return true
}

// wait is how long until a call may begin; 0 while closed or ready for the probe.
func (b *breaker) wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return 0
	case b.probing:
		return time.Second
	}
	return max(0, b.until.Sub(now))
}

// closed reports whether failures count against messages.
func (b *breaker) closed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until.IsZero()
}

// done takes a call's end: answered in any way, or not.
func (b *breaker) done(now time.Time, answered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if answered {
		b.failed, b.rest, b.until = 0, 0, time.Time{}
		return
	}
	b.failed++
	if b.failed < breakerAfter {
		return
	}
	if b.rest == 0 {
		b.rest = breakerRest
	} else if now.After(b.until) {
		b.rest = min(2*b.rest, breakerMaxRest)
	} else {
		return // a call that began before the rest
	}
	b.until = now.Add(b.rest)
}

// cancel takes back an allow that was not used.
func (b *breaker) cancel() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}
