// Package dispatch is the way out: it leases due messages from the ledger, calls WeChat
// and hands every outcome back. It hides lanes, order per user, pace, breakers, pauses and
// the fence of the lease. It promises that a call is made only for a message that is
// durably `sending` under this process's lease with time enough left, that a user has one
// call at a time, and that an outcome without a clear answer is never repeated by itself.
// What an outcome means for a message is hongyan.Message.Apply; writing it is the ledger's.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// Config is what a dispatcher needs.
type Config struct {
	Ledger *ledger.Ledger
	// Clients are the endpoints in order: api, then api2. The next one is tried only when
	// the one before could not be reached at all.
	Clients []*wechat.Client
	Tokens  Tokens
	// Senders is how many calls one app may have under way. Default 64.
	Senders int
	Now     func() time.Time
	Logger  *slog.Logger
}

// Tokens are the apps' access tokens. Whoever finds one refused says by which call.
type Tokens interface {
	wechat.TokenSource
	RefusedBy(ctx context.Context, app hongyan.AppID, token string, r hongyan.TokenRefusal) error
}

// Dispatcher owns the lanes of all apps.
type Dispatcher struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	wake     chan struct{}
	stopping atomic.Bool

	mu    sync.Mutex
	lanes map[hongyan.AppID]*lane
	wg    sync.WaitGroup // senders

	metrics metrics
}

type metrics struct {
	outcomes *prometheus.CounterVec
	seconds  prometheus.Histogram
}

// New makes a dispatcher and connects it to the ledger's hand-off.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.Ledger == nil || cfg.Tokens == nil || len(cfg.Clients) == 0 {
		return nil, errors.New("dispatch: ledger, tokens and at least one client are needed")
	}
	if cfg.Senders <= 0 {
		cfg.Senders = 64
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Dispatcher{cfg: cfg, log: cfg.Logger, now: cfg.Now, wake: make(chan struct{}, 1), lanes: make(map[hongyan.AppID]*lane)}
	d.metrics.outcomes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hongyan_attempts_total", Help: "Attempts by outcome class."}, []string{"outcome"})
	d.metrics.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hongyan_wechat_call_seconds", Help: "Duration of subscribeMessage.send.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 4, 8}})
	cfg.Ledger.HandOffTo(ledger.Lane{Reserve: d.reserve, Release: d.release, Deliver: d.deliver, Freed: d.freed, Settled: d.settled, Places: d.places, Probe: d.probe})
	cfg.Ledger.OnDue(d.nudge)
	return d, nil
}

// Collectors are the dispatcher's metrics.
func (d *Dispatcher) Collectors() []prometheus.Collector {
	return []prometheus.Collector{d.metrics.outcomes, d.metrics.seconds}
}

// Stop ends the hand-off at once: from here on new messages are queued. Run's end waits
// for what is under way. Calling it again changes nothing.
func (d *Dispatcher) Stop() {
	d.stopping.Store(true)
	d.nudge()
}

func (d *Dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Dispatcher) lane(id hongyan.AppID) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[id]
	if l == nil {
		l = newLane(d, id)
		d.lanes[id] = l
	}
	return l
}

// reserve gives the hand-off places among twice the senders; what is out there and not on
// disk as settled counts, so a crash leaves at most that many uncertain.
func (d *Dispatcher) reserve(id hongyan.AppID, want, ending int) int {
	if d.stopping.Load() || d.cfg.Ledger.Stalled() {
		return 0
	}
	return d.lane(id).reserve(want, 2*d.cfg.Senders+ending)
}

func (d *Dispatcher) release(id hongyan.AppID, n int) { d.lane(id).giveUp(n) }

func (d *Dispatcher) deliver(jobs []*ledger.Job) {
	for _, j := range jobs {
		d.lane(j.Message.App).put(j)
	}
}

func (d *Dispatcher) places(id hongyan.AppID) int { return 2*d.cfg.Senders - d.lane(id).taken() }

func (d *Dispatcher) probe(id hongyan.AppID, begin bool) bool { return d.lane(id).probe(begin) }

func (d *Dispatcher) freed(id hongyan.AppID, n int) { d.lane(id).release(n) }

// settled follows the commit of results: if the last claim left rows behind, there is room now.
func (d *Dispatcher) settled(id hongyan.AppID, _ int) {
	if d.lane(id).wantsMore() {
		d.nudge()
	}
}

func jitter() float64 { return rand.Float64() }
