package server_test

import (
	"strings"
	"testing"
	"time"
)

// TestChaosWeChatAway lets WeChat fail as a whole for a moment under load, in each way it
// can. Five unclear calls in a row open the breaker, with the others under way by then;
// nothing else is lost, and all goes on after the breaker's rest. Each call from before may
// be answered so late that the row begins anew.
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
			everywhere(t, 2, func(t *testing.T, db string) {
				r := newRun(t, setting{db: db, messages: 250, linked: true})
				r.submit()
				r.reach(100)
				c.strike(r, r.net)
				time.Sleep(c.lasts)
				r.net.mend()
				r.calm()
				r.verify(0, 4*(senders+1)+senders)
			})
		})
	}
}

// TestChaosWeChatUnclear loses some answers in every way at once. Exactly the messages whose
// answer was lost are uncertain, and none of them is sent again: where the call had been
// done, a second would be on the phone.
func TestChaosWeChatUnclear(t *testing.T) {
	everywhere(t, 1, func(t *testing.T, db string) {
		r := newRun(t, setting{db: db, messages: rounds(250, 4000)})
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

// TestChaosWeChatBusy answers -1 for a moment: what was not sent is tried again and arrives
// once, and the pace recovers. It does so from the first call on, when there are more messages
// than refusals: near the end of the run one message could meet it four times, and fail.
func TestChaosWeChatBusy(t *testing.T) {
	everywhere(t, 3, func(t *testing.T, db string) {
		r := newRun(t, setting{db: db, messages: 100})
		const refused = 20
		r.faults(object{"errcode": -1, "count": refused})
		r.submit()
		r.verify(0, 0)
		if n := r.sb.acted(1); n != refused {
			t.Errorf("WeChat was busy %d times, want %d", n, refused)
		}
	})
}
