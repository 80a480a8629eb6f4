package server_test

import (
	"strings"
	"testing"
	"time"
)

// TestChaosWeChatAway lets WeChat fail as a whole for a moment under load, in each way it
// can. Calls that were under way are unclear, those that the breaker needs to see it too;
// nothing else is lost, and all goes on after the breaker's rest.
func TestChaosWeChatAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lasts  time.Duration
		strike func(*run, *link)
	}{
		"gone":   {3 * time.Second, func(_ *run, net *link) { net.cut() }},
		"silent": {12 * time.Second, func(_ *run, net *link) { net.stall() }}, // a call's time runs out
		"halves": {time.Second, func(_ *run, net *link) { net.halve() }},
		"502": {time.Second, func(r *run, _ *link) {
			r.faults(object{"http_status": 502, "when": "before", "latency_ms": r.set.slow})
		}},
		"500 after": {time.Second, func(r *run, _ *link) { r.faults(object{"http_status": 500, "when": "after", "latency_ms": r.set.slow}) }},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			everywhere(t, func(t *testing.T, db string) {
				times, messages := rounds(1, 3), rounds(600, 1800)
				r := newRun(t, setting{db: db, messages: messages, linked: true})
				r.submit()
				for i := range times {
					r.reach(messages * (i + 1) / (times + 2))
					c.strike(r, r.net)
					time.Sleep(c.lasts)
					r.net.mend()
					r.calm()
					r.goesOn()
				}
				r.verify(0, times*(senders+5))
			})
		})
	}
}

// goesOn waits until WeChat gets messages again.
func (r *run) goesOn() {
	r.t.Helper()
	before := r.sb.accepted()
	for end := time.Now().Add(time.Minute); r.sb.accepted() < min(before+3*senders, len(r.openids)-bound); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("no calls any more: %s", r.stderr)
		}
	}
}

// TestChaosWeChatUnclear loses some answers in every way at once. Exactly the messages whose
// answer was lost are uncertain, and none of them is sent again: where the call had been
// done, a second would be on the phone.
func TestChaosWeChatUnclear(t *testing.T) {
	everywhere(t, func(t *testing.T, db string) {
		messages := rounds(600, 6000)
		r := newRun(t, setting{db: db, messages: messages})
		var list []object
		for i, f := range []object{{"drop": true, "when": "before"}, {"drop": true}, {"http_status": 502, "when": "before"}, {"http_status": 500},
			{"body": "truncated"}, {"body": "empty"}, {"body": "html", "when": "before"}} {
			f["share"], f["seed"] = 0.02, i+1
			list = append(list, f)
		}
		r.faults(list...)
		r.submit()
		r.drain()
		lost := r.sb.acted(len(list))
		r.verify(lost, lost)
	})
}

// TestChaosWeChatBusy answers -1 for moments: what was not sent is tried again and arrives
// once, and the pace recovers.
func TestChaosWeChatBusy(t *testing.T) {
	everywhere(t, func(t *testing.T, db string) {
		times, messages := rounds(2, 6), rounds(600, 1800)
		r := newRun(t, setting{db: db, messages: messages})
		r.submit()
		for i := range times {
			r.reach(messages * (i + 1) / (times + 1))
			r.faults(object{"errcode": -1, "count": 40})
		}
		r.verify(0, 0)
	})
}
