package ledgertest

import (
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// Lane stands for the senders: it takes jobs and keeps them until the test asks.
type Lane struct {
	mu     sync.Mutex
	cond   *sync.Cond
	room   int // places that are free
	places int // reserved, released or delivered ones included
	jobs   []*ledger.Job
	put    int // delivered so far
	done   int // settled so far
	back   int // released so far
	probe  bool
}

func newLane() *Lane {
	l := &Lane{}
	l.cond = sync.NewCond(&l.mu)
	return l
}

// Room sets how many places are free.
func (l *Lane) Room(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room = n
}

// Free is how many places are free.
func (l *Lane) Free() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room
}

// Jobs takes what was handed off since the last call.
func (l *Lane) Jobs() []*ledger.Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	jobs := l.jobs
	l.jobs = nil
	return jobs
}

func (l *Lane) settled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// given is how many places were given back so far.
func (l *Lane) given() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.back
}

// Probing reports whether a message tests a pause.
func (l *Lane) Probing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.probe
}

// wait returns once n jobs are settled in all; false after a while.
func (l *Lane) wait(n int, most time.Duration) bool {
	late := time.AfterFunc(most, func() { l.mu.Lock(); defer l.mu.Unlock(); l.cond.Broadcast() })
	defer late.Stop()
	end := time.Now().Add(most)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.done < n && time.Now().Before(end) {
		l.cond.Wait()
	}
	return l.done >= n
}

func (l *Lane) ledger() ledger.Lane {
	return ledger.Lane{
		Reserve: func(_ hongyan.AppID, want, ending int) int {
			l.mu.Lock()
			defer l.mu.Unlock()
			n := max(0, min(want, l.room+ending))
			l.room -= n
			l.places += n
			return n
		},
		Release: func(_ hongyan.AppID, n int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.room += n
			l.places -= n
			l.back += n
		},
		Deliver: func(jobs []*ledger.Job) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.jobs = append(l.jobs, jobs...)
			l.put += len(jobs)
		},
		Probe: func(_ hongyan.AppID, begin bool) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			if begin && l.probe {
				return false
			}
			l.probe = begin
			return true
		},
		Settled: func(_ hongyan.AppID, n int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.done += n
			l.cond.Broadcast()
		},
	}
}
