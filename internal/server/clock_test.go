package server_test

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/server"
)

// TestChaosClockJumps moves the clock that leases, due times and tokens go by, under load: past
// leases and their takeover, past a token's life, and back. A call that is under way is
// judged by the other clock too, the one that never jumps.
func TestChaosClockJumps(t *testing.T) {
	everywhere(t, 1, func(t *testing.T, db string) {
		times, messages := rounds(1, 5), rounds(250, 4000)
		r := newRun(t, setting{db: db, messages: messages, unborn: true})
		var offset atomic.Int64
		r.startHere(server.Options{Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
		r.setup()
		r.submit()
		jumps := []time.Duration{45 * time.Second, -20 * time.Second, 10 * time.Minute, -5 * time.Minute, 3 * time.Hour}
		for i := range times * len(jumps) {
			r.reach(messages * (i + 1) / (times*len(jumps) + 1))
			jump := jumps[i%len(jumps)]
			offset.Add(int64(jump))
			if jump > 0 {
				r.sb.control("POST", "clock", object{"advance_s": jump.Seconds()}) // tokens age there too
			}
		}
		// A lease that seems to have run out makes its message uncertain, until the answer comes.
		r.verify(0, 0)
	})
}

// TestChaosSkewedReplicas: of three servers one has a clock that is half a minute slow and does
// its share, and one is two minutes fast: it takes messages in and sends none.
func TestChaosSkewedReplicas(t *testing.T) {
	t.Parallel()
	onShared(t, 1, func(t *testing.T, db string) {
		r := newRun(t, setting{db: db, messages: rounds(250, 4000)})
		off := func(d time.Duration) *process {
			p := r.server()
			p.startHere(server.Options{Clock: func() time.Time { return time.Now().Add(d) }})
			r.also = append(r.also, p)
			return p
		}
		slow, fast := off(-30*time.Second), off(2*time.Minute)
		r.submit()
		r.verify(0, 0)
		good, late, wrong := r.attempts(), slow.attempts(), fast.attempts()
		if good == 0 || late == 0 || wrong != 0 {
			t.Errorf("%d attempts by the one with the right time, %d by the slow one, %d by the one whose clock is too wrong", good, late, wrong)
		}
		t.Logf("attempts: %d right, %d slow by 30 s, %d fast by 2 min", good, late, wrong)
	})
}

// attempts is how many calls the server itself has made.
func (p *process) attempts() int {
	p.t.Helper()
	status, text, err := requestErr(p.url, adminKey, "GET", "/metrics", nil)
	if err != nil || status != 200 {
		p.t.Fatalf("metrics: %d %v", status, err)
	}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(name, "hongyan_attempts_total{") && !strings.Contains(name, "give_back") {
			k, err := strconv.ParseFloat(value, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			n += int(k)
		}
	}
	return n
}
