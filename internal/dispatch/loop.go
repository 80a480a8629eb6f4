package dispatch

import (
	"context"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// pollEvery bounds how late a due message is noticed when no hint came: one that another
// replica queued, a pace that allows the next. With nothing to do the loop looks less and
// less often, down to what the ledger says.
const pollEvery = 250 * time.Millisecond

// Run claims and sends until ctx ends; then it gives unwritten rows back, waits for the
// calls that are under way and returns. The ledger must run on until after.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer d.drain()
	defer d.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	idle := pollEvery
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
			idle = pollEvery / 2
		case <-timer.C:
		}
		var wait time.Duration
		if next, err := d.RunOnce(ctx); err != nil {
			if ctx.Err() == nil {
				d.log.ErrorContext(ctx, "claim failed, trying again", "err", err)
			}
			wait = time.Second
		} else {
			wait, idle = nextLook(next, idle, d.cfg.Ledger.PollMost())
		}
		timer.Reset(wait)
	}
}

// nextLook is how long to wait until the next look: twice as long as before while nothing is
// due, at most what is allowed, and never past the time that is known.
func nextLook(next, idle, most time.Duration) (wait, idleNow time.Duration) {
	if next <= pollEvery {
		return next, pollEvery / 2
	}
	idle = min(2*idle, most)
	return min(next, idle), idle
}

// drain waits until every place is free: every call answered or timed out, every result on
// disk. A call takes 8 s at most; a database that does not come back ends the wait.
func (d *Dispatcher) drain() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(drainTime)
	for d.taken() > 0 && time.Now().Before(end) {
		<-tick.C
	}
	if n := d.taken(); n > 0 {
		d.log.Error("stopped before every result was on disk; they will be uncertain at the next start", "count", n)
		return
	}
	d.wg.Wait()
}

const drainTime = ledger.CallTimeout + 1500*time.Millisecond

func (d *Dispatcher) taken() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, l := range d.lanes {
		n += l.taken()
	}
	return n
}

// RunOnce claims what is due for every app with free senders, and answers how long the
// loop may wait before it looks again.
func (d *Dispatcher) RunOnce(ctx context.Context) (time.Duration, error) {
	wait := time.Minute
	if d.stopping.Load() || d.cfg.Ledger.Stalled() {
		return pollEvery, nil
	}
	due, next, err := d.cfg.Ledger.DueApps(ctx)
	if err != nil {
		return 0, err
	}
	if !next.IsZero() {
		wait = min(wait, max(next.Sub(d.now()), time.Millisecond))
	}
	if len(due) > 0 { // and perhaps not all of it can be claimed now
		wait = min(wait, pollEvery)
	}
	for _, id := range due {
		if err := d.claimFor(ctx, id); err != nil {
			return 0, err
		}
	}
	return wait, nil
}

// claimFor fills an app's idle senders, or lets one message probe a pause.
func (d *Dispatcher) claimFor(ctx context.Context, id hongyan.AppID) error {
	app, err := d.cfg.Ledger.App(id)
	if err != nil {
		return err
	}
	l := d.lane(id)
	if l.probeUnderWay() {
		return nil
	}
	req, probe := ledger.ClaimRequest{App: id, Max: 2 * d.cfg.Senders}, d.probeDue(app)
	switch {
	case probe == nil && blocked(app):
		return nil
	case probe != nil && probe.Scope == hongyan.PauseTemplate:
		if err := d.claim(ctx, l, ledger.ClaimRequest{App: id, Max: 1, ProbeTemplate: probe.Key}); err != nil {
			return err
		}
		if blocked(app) {
			return nil
		}
	case probe != nil:
		req.Max, req.Probe = 1, true
	}
	return d.claim(ctx, l, req)
}

// claim takes places first and gives back those for which nothing was due.
func (d *Dispatcher) claim(ctx context.Context, l *lane, req ledger.ClaimRequest) error {
	n := l.reserve(req.Max, 2*d.cfg.Senders)
	if n == 0 {
		return nil
	}
	req.Max = n
	jobs, err := d.cfg.Ledger.ClaimSends(ctx, req)
	l.giveUp(n - len(jobs))
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.hungry = len(jobs) == n // there may be more
	l.probing = l.probing || len(jobs) > 0 && (req.Probe || req.ProbeTemplate != "")
	l.mu.Unlock()
	d.deliver(jobs)
	return nil
}

// blocked reports whether the app as a whole sends nothing.
func blocked(app hongyan.App) bool {
	for _, p := range app.Pauses {
		if p.Scope == hongyan.PauseApp || p.Scope == hongyan.PausePath && p.Key == hongyan.SendPath {
			return true
		}
	}
	return false
}

// probeDue is the pause whose time has come to be tested, the widest first. A pause made
// by hand is never tested, nor anything below it.
func (d *Dispatcher) probeDue(app hongyan.App) *hongyan.Pause {
	now := d.now()
	var found *hongyan.Pause
	for i := range app.Pauses {
		p := &app.Pauses[i]
		if p.Scope != hongyan.PauseTemplate && (p.Manual() || p.ProbeAt.After(now)) {
			if p.Scope == hongyan.PauseApp || p.Key == hongyan.SendPath {
				return nil
			}
			continue
		}
		if p.Manual() || p.ProbeAt.After(now) || p.Scope == hongyan.PausePath && p.Key != hongyan.SendPath {
			continue
		}
		if found == nil || found.Scope == hongyan.PauseTemplate {
			found = p
		}
	}
	return found
}
