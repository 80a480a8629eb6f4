package server_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestChaosServerKilled kills the one server at random moments. On SQLite the next start
// voids its leases at once; on a shared database nobody may before they run out.
func TestChaosServerKilled(t *testing.T) {
	everywhere(t, func(t *testing.T, db string) {
		kills, messages := rounds(3, 30), rounds(800, 12_000)
		if db == "" {
			kills, messages = rounds(20, 100), rounds(3000, 20_000)
		}
		r := newRun(t, setting{db: db, messages: messages})
		r.submit()
		uncertain, worst := 0, 0
		for i := range kills {
			// Spread over the run: a few per cent of the messages between two kills.
			r.reach(messages*i/kills + rand.IntN(messages/kills))
			r.kill()
			r.start()
			if db != "" {
				continue
			}
			n := len(r.all("/v1/messages?app=" + r.appid + "&status=uncertain"))
			uncertain, worst = n, max(worst, n-uncertain)
		}
		if worst > bound {
			t.Errorf("one kill made %d messages uncertain, the bound is %d", worst, bound)
		}
		t.Logf("%d kills; most uncertain by one, where that can be seen: %d", kills, worst)
		r.verify(0, kills*bound)
	})
}

// TestChaosReplicaKilled kills one of two servers: the other takes its leases over and does
// the rest.
func TestChaosReplicaKilled(t *testing.T) {
	t.Parallel()
	onShared(t, func(t *testing.T, db string) {
		kills, messages := rounds(1, 30), rounds(800, 12_000)
		r := newRun(t, setting{db: db, messages: messages})
		second := r.replica()
		r.submit()
		for i := range kills {
			r.reach(messages * (i + 1) / (kills + 1))
			second.kill()
			second.start()
		}
		r.verify(0, kills*bound)
	})
}

// TestChaosServerFrozen stops the one server for longer than a lease and its takeover last,
// and lets it go on: what it was about to write does not fit its lease any more.
func TestChaosServerFrozen(t *testing.T) {
	everywhere(t, func(t *testing.T, db string) {
		r := newRun(t, setting{db: db, messages: 800})
		r.submit()
		times := rounds(1, 3)
		for i := range times {
			r.reach(800 * (i + 1) / (times + 1))
			r.freeze()
			time.Sleep(42 * time.Second)
			r.thaw()
		}
		r.verify(0, times*bound)
	})
}

// TestChaosReplicaFrozen stops one of two servers for longer than its leases last: the other
// takes them over and does the rest. Then the first goes on, and what it knows settles
// what it had under way.
func TestChaosReplicaFrozen(t *testing.T) {
	t.Parallel()
	onShared(t, func(t *testing.T, db string) {
		times, messages := rounds(1, 3), rounds(800, 2400)
		r := newRun(t, setting{db: db, messages: messages})
		second := r.replica()
		r.submit()
		for i := range times {
			r.reach(messages * (i + 1) / (times + 1))
			second.freeze()
			r.overtake(messages)
			second.thaw()
		}
		r.verify(0, times*bound)
	})
}
