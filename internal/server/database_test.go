package server_test

import (
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

// outage is how long a database stays away where that matters: as long as a lease.
const outage = 30 * time.Second

// quiet expects that no call begins while no result can be written. What was under way has
// been answered after a moment.
func (r *run) quiet(d time.Duration) {
	r.t.Helper()
	time.Sleep(3 * time.Second)
	before := r.sb.accepted()
	time.Sleep(d - 3*time.Second)
	if after := r.sb.accepted(); before != after {
		r.t.Errorf("%d calls began while no result could be written", after-before)
	}
}

// TestChaosDatabase does to a database server under load what happens to one. A result
// waits for the database, so it is not lost with it.
func TestChaosDatabase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		times  int
		strike func(*run, *dbserver.Server)
	}{
		"killed": {rounds(2, 10), func(r *run, db *dbserver.Server) {
			db.Kill()
			time.Sleep(2 * time.Second)
			db.Start(r.t)
		}},
		"restarted": {rounds(2, 10), func(r *run, db *dbserver.Server) {
			db.Stop(r.t)
			db.Start(r.t)
		}},
		"frozen": {rounds(1, 3), func(r *run, db *dbserver.Server) {
			db.Freeze()
			r.quiet(outage)
			db.Thaw()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onServers(t, 1, func(t *testing.T, db *dbserver.Server) {
				messages := 200 + 100*c.times
				r := newRun(t, setting{db: db.Create(t), messages: messages})
				r.submit()
				for i := range c.times {
					r.reach(messages * (i + 1) / (c.times + 1))
					c.strike(r, db)
				}
				t.Logf("%d times", c.times)
				r.verify(0, bound)
			})
		})
	}
}

// TestChaosDatabaseUnreachable takes the network between the server and its database away:
// connections end and new ones are refused, or nothing comes through any more.
func TestChaosDatabaseUnreachable(t *testing.T) {
	t.Parallel()
	for name, strike := range map[string]func(*link){"cut": (*link).cut, "silent": (*link).stall} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onShared(t, 3, func(t *testing.T, db string) {
				net, db := linkURL(t, db)
				r := newRun(t, setting{db: db, messages: 250})
				r.submit()
				r.reach(120)
				strike(net)
				r.quiet(outage)
				net.mend()
				r.verify(0, bound)
			})
		})
	}
}
