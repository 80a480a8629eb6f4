package dispatch

import (
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// lane is one app's way out: its places, its senders, and what it has learned of WeChat
// lately. Everything in it may be forgotten by a restart.
type lane struct {
	d        *Dispatcher
	id       hongyan.AppID
	pace     *pace
	breakers []*breaker

	mu      sync.Mutex
	queue   []*ledger.Job
	places  int       // reserved, waiting, being called, or not on disk yet
	senders int       // goroutines
	hungry  bool      // the last claim left rows behind
	probing bool      // a message is testing a pause; nothing else is claimed meanwhile
	restTo  time.Time // no call before then
	streak  streaks
	synced  time.Time // when gettemplate was last asked for because of 40037
}

func newLane(d *Dispatcher, id hongyan.AppID) *lane {
	l := &lane{d: d, id: id, pace: newPace()}
	for range d.cfg.Clients {
		l.breakers = append(l.breakers, &breaker{})
	}
	return l
}

// reserve takes up to want places, such that no more than most are taken in all.
func (l *lane) reserve(want, most int) int {
	now := l.d.now()
	if l.breakerWait(now) > 0 {
		return 0
	}
	app, err := l.d.cfg.Ledger.App(l.id)
	if err != nil {
		return 0
	}
	// Replicas share the app's pace evenly.
	want = l.pace.allowance(now, app.Settings.PacePerSecond/float64(l.d.cfg.Ledger.Live()), want)
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.restTo) {
		return 0
	}
	n := max(0, min(want, most-l.places))
	l.places += n
	return n
}

// breakerWait is how long no endpoint may be called.
func (l *lane) breakerWait(now time.Time) time.Duration {
	wait := l.breakers[0].wait(now)
	for _, b := range l.breakers[1:] {
		wait = min(wait, b.wait(now))
	}
	return wait
}

// release gives places back.
func (l *lane) release(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places -= n
}

// wantsMore reports whether the last claim left rows behind.
func (l *lane) wantsMore() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hungry
}

// put queues a job for the senders and starts one more while there are few: a goroutine
// costs less than keeping idle ones for every app.
func (l *lane) put(j *ledger.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, j)
	if l.senders < l.d.cfg.Senders {
		l.senders++
		l.d.wg.Add(1) // waited for in Dispatcher.drain
		go l.send()
	}
}

// send is one sender. It ends when the queue is empty.
func (l *lane) send() {
	defer l.d.wg.Done()
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.senders--
			l.queue = nil
			l.mu.Unlock()
			return
		}
		j := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		l.process(j)
	}
}

func (l *lane) probeUnderWay() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.probing
}

// probe lets one message at a time test a pause, or ends that.
func (l *lane) probe(begin bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if begin && l.probing {
		return false
	}
	l.probing = begin
	return true
}

func (l *lane) probeDone() {
	l.mu.Lock()
	l.probing = false
	l.mu.Unlock()
	l.d.nudge()
}

// taken is how many places are in use.
func (l *lane) taken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.places
}

// rest keeps the lane from calling for a while.
func (l *lane) rest(t time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if to := l.d.now().Add(t); to.After(l.restTo) {
		l.restTo = to
	}
}

func (l *lane) resting() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.restTo.Sub(l.d.now()))
}
