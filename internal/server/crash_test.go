package server_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestChaosServerKilled kills the one server at random moments. On SQLite the next start
// voids its leases at once; on a shared database nobody may before they run out.
func TestChaosServerKilled(t *testing.T) {
	everywhere(t, 1, func(t *testing.T, db string) {
		kills, messages := rounds(3, 30), rounds(250, 6000)
		if db == "" {
			kills, messages = rounds(20, 100), rounds(2000, 20_000)
		}
		r := newRun(t, setting{db: db, messages: messages, slow: 20})
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
	onShared(t, 1, func(t *testing.T, db string) {
		kills, messages := rounds(1, 30), rounds(250, 6000)
		r := newRun(t, setting{db: db, messages: messages, slow: 20})
		second := r.replica()
		r.submit()
		for i := range kills {
			r.reach(messages * (i + 1) / (kills + 1))
			second.kill()
			second.start()
		}
		t.Logf("%d kills", kills)
		r.verify(0, kills*bound)
	})
}

// overtaken is how long a lease and its takeover last, and some time for the rest.
const overtaken = 44 * time.Second

// TestChaosServerFrozen stops the one server for longer than a lease and its takeover last,
// and lets it go on: what it was about to write does not fit its lease any more.
func TestChaosServerFrozen(t *testing.T) {
	everywhere(t, 3, func(t *testing.T, db string) {
		r := newRun(t, setting{db: db, messages: 250})
		r.submit()
		r.reach(120)
		r.freeze()
		time.Sleep(overtaken)
		r.thaw()
		r.verify(0, bound)
	})
}

// TestChaosReplicaFrozen stops one of two servers for longer than its leases last: the other
// takes them over and does the rest. Then the first goes on, and what it knows settles
// what it had under way.
func TestChaosReplicaFrozen(t *testing.T) {
	t.Parallel()
	onShared(t, 3, func(t *testing.T, db string) {
		r := newRun(t, setting{db: db, messages: 250})
		second := r.replica()
		r.submit()
		r.reach(100)
		second.freeze()
		r.overtake()
		second.thaw()
		r.settle()
		r.verify(0, bound)
	})
}

// TestChaosReplicaCutOff takes the network to the database away from one of two servers, for
// longer than its leases last. The database does not hear that it is gone: what it was in
// the middle of stays open and must not hold the other up.
func TestChaosReplicaCutOff(t *testing.T) {
	t.Parallel()
	onShared(t, 3, func(t *testing.T, db string) {
		r := newRun(t, setting{db: db, messages: 250})
		net, through := linkURL(t, db)
		r.set.db = through
		r.replica()
		r.submit()
		r.reach(100)
		net.stall()
		r.overtake()
		net.mend()
		r.settle()
		r.verify(0, bound)
	})
}

// overtake waits until the leases of another server have been taken over, and expects that
// the first one has done all the rest meanwhile.
func (r *run) overtake() {
	r.t.Helper()
	before := r.sb.accepted()
	time.Sleep(overtaken)
	after, rest := r.sb.accepted(), len(r.openids)-bound
	if after < rest {
		r.t.Errorf("there were %d cards, and %d after the other server's leases were taken over; want %d at least: %s", before, after, rest, r.stderr)
	}
	r.t.Logf("%d cards before and %d after the takeover, %d messages uncertain by then", before, after, r.some("uncertain", 500))
}

// settle gives a server that is back the time to say what it knows.
func (r *run) settle() {
	time.Sleep(3 * time.Second)
}
