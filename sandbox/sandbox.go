package sandbox

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a sandbox behaves. The zero value works.
type Config struct {
	// Now is the base clock, default [time.Now]. What [Sandbox.Advance] was told
	// is added on top.
	Now func() time.Time
	// Logger gets one line per call, at level Debug, without credentials. Nil
	// is silent.
	Logger *slog.Logger
	// Latency is added to every emulated call, before it is processed.
	Latency time.Duration
	// AllowedHosts are Host header values that the control surface accepts
	// besides loopback names and addresses, with or without a port.
	AllowedHosts []string
	// KeepCalls is how many calls are kept for [Sandbox.Calls], the newest ones.
	// Default 100,000; negative keeps none. The outbox keeps everything.
	KeepCalls int
}

const defaultKeepCalls = 100_000

// Sandbox is a local WeChat. Make it with [New]. All methods may be used from
// many goroutines at once.
type Sandbox struct {
	cfg     Config
	log     *slog.Logger
	routes  map[string]*route
	control map[string]map[string]endpoint // path → method
	client  *http.Client                   // for pushes

	pushTimeout time.Duration

	offset  atomic.Int64 // nanoseconds the clock was moved
	msgid   atomic.Int64 // the last one given out
	faultID atomic.Int64
	// world is everything that Reset throws away. A call works with the world it
	// found when it arrived, so a reset never leaves half of its effects behind.
	world atomic.Pointer[world]

	done      chan struct{}
	closeOnce sync.Once
}

// world is the state of one WeChat.
type world struct {
	mu     sync.RWMutex
	apps   map[string]*app
	tokens map[string]*accessToken // by value, retired ones among them

	outbox outbox
	calls  callLog
	rids   ridLog
	faults faultSet
	pushes *pusher
}

// New returns a sandbox without apps.
func New(cfg Config) *Sandbox {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.KeepCalls == 0 {
		cfg.KeepCalls = defaultKeepCalls
	}
	s := &Sandbox{cfg: cfg, log: cfg.Logger, client: newPushClient(), pushTimeout: pushTimeout, done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.routes = routeTable()
	s.control = controlTable()
	// 19 digits, like WeChat's. Neighbours are one apart on purpose: whoever
	// reads msgids as floating-point numbers sees several turn into one.
	s.msgid.Store(1_900_000_000_000_000_000 + rand.Int64N(90_000_000_000_000_000))
	s.world.Store(s.newWorld())
	return s
}

func (s *Sandbox) newWorld() *world {
	w := &world{
		apps:   make(map[string]*app),
		tokens: make(map[string]*accessToken),
		calls:  callLog{keep: max(s.cfg.KeepCalls, 0)},
	}
	w.pushes = newPusher(s, &w.faults)
	return w
}

// Reset throws away apps, users, templates, grants, tokens, faults, rules, calls,
// pushes and the outbox. The clock stays where it is: moving it back would make the
// times that others have stored lie in the future.
func (s *Sandbox) Reset() {
	s.world.Swap(s.newWorld()).pushes.close()
	if s.isClosed() {
		s.world.Load().pushes.close()
	}
}

// Close ends every delay in progress: those calls get no answer, and what was
// not processed yet never will be. It ends pushes too, for good. Call it before
// closing an HTTP server that waits for its handlers. The sandbox itself stays
// usable.
func (s *Sandbox) Close() error {
	s.closeOnce.Do(func() { close(s.done) })
	s.world.Load().pushes.close()
	s.client.CloseIdleConnections()
	return nil
}

func (s *Sandbox) isClosed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// app finds an app by its appid.
func (w *world) app(id string) *app {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.apps[id]
}
