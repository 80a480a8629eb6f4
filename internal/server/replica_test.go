package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

// onServers runs a crash test on each database that replicas share, each with a server of
// its own to be killed and frozen.
func onServers(t *testing.T, test func(*testing.T, *dbserver.Server)) {
	for _, k := range []dbserver.Kind{dbserver.Postgres, dbserver.MySQL} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			test(t, dbserver.Private(t, k))
		})
	}
}

// run is a load of messages through one server, or several.
type run struct {
	t         *testing.T
	p         *process
	sb        *witness
	done      atomic.Int64
	ids       []string
	submitted chan struct{}
}

func startRun(t *testing.T, db string, messages, senders int) *run {
	t.Helper()
	r := &run{t: t, sb: startSandbox(t), submitted: make(chan struct{})}
	r.p = newProcess(t, r.sb.url, senders)
	r.p.db = db
	r.p.start()
	r.p.setup(messages)
	r.sb.fault(object{"path": sendPath, "latency_ms": 20, "when": "before"})
	return r
}

func (r *run) submit(workers int) {
	go func() {
		r.ids = r.p.submitAll(workers, &r.done)
		close(r.submitted)
	}()
}

// reach waits until n messages were promised.
func (r *run) reach(n int64) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); r.done.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("only %d messages were accepted: %s", r.done.Load(), r.p.stderr)
		}
	}
}

// verify asks the ledger and the phones: nothing lost, nothing twice, and no more uncertain
// than the bound says.
func (r *run) verify(what string, uncertain int) {
	r.t.Helper()
	<-r.submitted
	r.p.drained()
	n := len(r.p.openids)
	count := r.p.statuses(r.ids)
	box := r.sb.outbox(r.p.appid)
	if count["LOST"] != 0 || count["accepted"]+count["uncertain"] != n || count["uncertain"] > uncertain {
		r.t.Errorf("%s: of %d promised messages %v, at most %d may be uncertain", what, n, count, uncertain)
	}
	if box.twice != 0 || box.total < count["accepted"] || box.total > n {
		r.t.Errorf("%s: the phones received %+v for %v", what, box, count)
	}
	if all := len(r.p.allIDs()); all != n {
		r.t.Errorf("%s: the ledger has %d messages, want %d: a repeated submit made another one", what, all, n)
	}
	r.t.Logf("%s: %d messages: %v; phones received %d, %d twice; bound %d uncertain", what, n, count, box.total, box.twice, uncertain)
}

// TestReplicaKilled kills one of two servers in the middle of the load: the other takes its
// leases over and does the rest.
func TestReplicaKilled(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, db *dbserver.Server) {
		kills, senders := rounds(1, 30), 16
		r := startRun(t, db.Create(t), rounds(1500, 15_000), senders)
		second := newProcess(t, r.sb.url, senders)
		second.db = r.p.db
		second.start()
		r.p.also = []string{second.url}
		r.submit(32)
		step := int64(len(r.p.openids) / (kills + 1))
		for i := range kills {
			r.reach(step * int64(i+1))
			second.kill()
			second.start()
		}
		r.verify("a replica killed", 2*senders*kills)
	})
}

// TestServerKilled kills the only server on a shared database, where nobody may void its
// leases before they run out.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, db *dbserver.Server) {
		kills, senders := rounds(3, 30), 16
		r := startRun(t, db.Create(t), rounds(1500, 15_000), senders)
		r.submit(32)
		step := int64(len(r.p.openids) / (kills + 1))
		for i := range kills {
			r.reach(step * int64(i+1))
			r.p.kill()
			r.p.start()
		}
		r.verify("the server killed", 2*senders*kills)
	})
}

// TestDatabaseKilled kills the database server under load, and starts it again.
func TestDatabaseKilled(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, db *dbserver.Server) {
		senders := 16
		r := startRun(t, db.Create(t), 1500, senders)
		r.submit(32)
		for i := range rounds(2, 10) {
			r.reach(int64(400 + 100*i))
			db.Kill()
			time.Sleep(2 * time.Second)
			db.Start(t)
		}
		// A result waits for the database, so it is not lost with it.
		r.verify("the database killed", 2*senders)
	})
}

// TestDatabaseFrozen lets the database stand still for longer than a lease: no call begins
// while its result could not be written, so no message becomes uncertain by it but those
// whose lease ran out meanwhile, and their results settle them.
func TestDatabaseFrozen(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, db *dbserver.Server) {
		senders := 16
		r := startRun(t, db.Create(t), 1500, senders)
		r.submit(32)
		r.reach(500)
		db.Freeze()
		time.Sleep(3 * time.Second) // what was under way has been answered by now
		before := r.sb.outbox(r.p.appid).total
		time.Sleep(27 * time.Second)
		after := r.sb.outbox(r.p.appid).total
		db.Thaw()
		if before != after {
			t.Errorf("%d calls began while no result could be written", after-before)
		}
		r.verify("the database frozen for 30 s", 2*senders)
	})
}
