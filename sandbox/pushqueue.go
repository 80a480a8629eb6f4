package sandbox

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// What became of a push.
const (
	pushPending  = "pending"
	pushTaken    = "taken"     // answered 200 with "success" or nothing
	pushNotTaken = "not_taken" // never answered so
	pushLost     = "lost"      // by a fault
	pushDropped  = "dropped"   // too many were pending
	pushEnded    = "ended"     // the configuration, the world or the sandbox ended first
)

const (
	// pushRetries come after the first try. WeChat says "three times in total",
	// which may mean three or four requests; four is the less comfortable.
	pushRetries = 3
	// maxPending pushes may wait; the next ones are dropped.
	maxPending = 100_000
	// keptPushes are listed, the newest ones.
	keptPushes = 10_000
	// overtakeWait is how long a push waits to be overtaken.
	overtakeWait = 5 * time.Second
	// clockLook is how often the sandbox's clock is looked at while a push waits
	// for it: the base clock may jump.
	clockLook = time.Second
)

// Push is one event pushed, with all tries.
type Push struct {
	ID     string `json:"id"`
	AppID  string `json:"appid"`
	OpenID string `json:"openid"`
	Event  string `json:"event"` // empty: a message given as it stands
	// Status is pending, taken, not_taken, lost, dropped or ended.
	Status string `json:"status"`
	// Message is the clear text; empty before the first try.
	Message string `json:"message"`
	// At is the event's CreateTime.
	At    time.Time `json:"at"`
	Tries []PushTry `json:"tries"`
	// Fault is the kind of the fault that acted on it.
	Fault string `json:"fault,omitempty"`
}

// PushTry is one request of a push.
type PushTry struct {
	At         time.Time `json:"at"`
	DurationMS float64   `json:"duration_ms"`
	// HTTPStatus is 0 if there was no answer; Err says why.
	HTTPStatus int    `json:"http_status"`
	Err        string `json:"err,omitempty"`
	// Answer is what came, the first 1000 bytes. With any other text than
	// "success" it is a reply, which subscription events must not have.
	Answer string `json:"answer"`
}

// PushStats counts pushes since the start or the last reset.
type PushStats struct {
	Made     int `json:"made"`
	Pending  int `json:"pending"`
	Taken    int `json:"taken"`
	NotTaken int `json:"not_taken"`
	Lost     int `json:"lost"`
	Dropped  int `json:"dropped"`
	Ended    int `json:"ended"`
	Tries    int `json:"tries"`
}

// push is a Push on its way.
type push struct {
	Push  // guarded by pusher.mu
	app   *app
	seq   int
	event pushEvent
	lanes int

	// What a parked push waits for: the sandbox's clock, or real time, in which
	// it may be overtaken.
	clock, real time.Time
}

// pusher has the pushes of a world. It starts goroutines when there is something
// to push and none otherwise.
type pusher struct {
	s      *Sandbox
	faults *faultSet
	seed   maphash.Seed

	mu      sync.Mutex
	ring    []*push // the newest ones by seq
	stats   PushStats
	byState map[string]*int
	lanes   map[laneKey]*pushLane
	parked  []*push
	behind  int         // parked to be overtaken
	timer   *time.Timer // for the parked; nil: none
	timerAt time.Time
	busy    int // pending without those that wait for the clock
	quiet   chan struct{}
	closed  bool
	running sync.WaitGroup
}

// laneKey names pushes that come one after the other.
type laneKey struct {
	app  *app
	lane uint64
}

type pushLane struct {
	queue  []*push
	cancel context.CancelFunc
}

func newPusher(s *Sandbox, faults *faultSet) *pusher {
	p := &pusher{s: s, faults: faults, seed: maphash.MakeSeed(), lanes: make(map[laneKey]*pushLane)}
	p.byState = map[string]*int{pushPending: &p.stats.Pending, pushTaken: &p.stats.Taken, pushNotTaken: &p.stats.NotTaken,
		pushLost: &p.stats.Lost, pushDropped: &p.stats.Dropped, pushEnded: &p.stats.Ended}
	return p
}

// fault picks the fault for an event that is about to be pushed.
func (p *pusher) fault(event string, a *app) *firedFault { return p.faults.pickPush(event, a) }

// add pushes an event of an app that has a configuration; the caller holds a.mu.
// It does not wait.
func (p *pusher) add(a *app, e pushEvent) Push { return p.addFaulty(a, e, p.fault(e.name, a)) }

func (p *pusher) addFaulty(a *app, e pushEvent, fault *firedFault) Push {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := &push{app: a, seq: p.stats.Made, event: e, lanes: a.push.Parallel, Push: Push{
		ID: fmt.Sprintf("p%d", p.stats.Made+1), AppID: a.id, OpenID: e.user, Event: e.name, At: e.at.Truncate(time.Second).UTC(), Tries: []PushTry{}}}
	if len(p.ring) < keptPushes {
		p.ring = append(p.ring, u)
	} else {
		p.ring[u.seq%keptPushes] = u
	}
	p.stats.Made++
	kind := ""
	if fault != nil {
		kind = fault.Push
	}
	u.Fault = kind
	switch {
	case p.closed || p.s.isClosed():
		u.Status = pushEnded
	case kind == pushFaultLost:
		u.Status = pushLost
	case p.stats.Pending >= maxPending:
		u.Status = pushDropped
	default:
		u.Status = pushPending
	}
	*p.byState[u.Status]++
	switch {
	case u.Status != pushPending:
		return u.snapshot()
	case kind == pushFaultLate && fault.DelayS > 0:
		u.clock = p.s.Now().Add(time.Duration(fault.DelayS * float64(time.Second)))
	case kind == pushFaultLate:
		u.real = time.Now().Add(fault.latency)
	case kind == pushFaultOrder:
		u.real = time.Now().Add(overtakeWait)
	default:
		p.busy++
		p.enqueue(u)
		return u.snapshot()
	}
	if u.clock.IsZero() {
		p.busy++
	}
	if kind == pushFaultOrder {
		p.behind++
	}
	p.parked = append(p.parked, u)
	p.arm(u.wait(p.s.Now(), time.Now()))
	return u.snapshot()
}

// enqueue puts a push at the end of its lane. The caller holds mu.
func (p *pusher) enqueue(u *push) {
	key := laneKey{app: u.app}
	if u.lanes > 1 {
		key.lane = maphash.String(p.seed, u.OpenID) % uint64(u.lanes)
	}
	lane := p.lanes[key]
	if lane == nil {
		ctx, cancel := context.WithCancel(context.Background())
		lane = &pushLane{cancel: cancel}
		p.lanes[key] = lane
		p.running.Go(func() { p.run(ctx, key, lane) })
	}
	lane.queue = append(lane.queue, u)
}

// run empties a lane.
func (p *pusher) run(ctx context.Context, key laneKey, lane *pushLane) {
	defer lane.cancel()
	for {
		p.mu.Lock()
		if len(lane.queue) == 0 {
			delete(p.lanes, key)
			p.mu.Unlock()
			return
		}
		u := lane.queue[0]
		lane.queue[0], lane.queue = nil, lane.queue[1:]
		p.mu.Unlock()
		p.settle(u, p.deliver(ctx, u))
	}
}

// deliver tries until the push is taken or has used up its tries.
func (p *pusher) deliver(ctx context.Context, u *push) string {
	var msg []byte
	status := pushNotTaken
	for tries := 0; tries <= pushRetries && status == pushNotTaken; tries++ {
		cfg := u.app.pushConfig()
		if cfg == nil || ctx.Err() != nil {
			return pushEnded
		}
		if msg == nil {
			msg = u.event.write(cfg)
		}
		status = p.try(ctx, u, cfg, msg)
	}
	if cfg := u.app.pushConfig(); status == pushTaken && u.Fault == pushFaultRepeated && cfg != nil {
		p.try(ctx, u, cfg, msg)
	}
	return status
}

// try makes one request and notes it. It is sealed anew each time.
func (p *pusher) try(ctx context.Context, u *push, cfg *PushConfig, msg []byte) string {
	keys := cfg.keys(u.AppID)
	switch {
	case u.Fault == pushFaultSignature:
		keys.Token = randomText(alphanumeric, 16)
	case u.Fault == pushFaultOldKey && cfg.PreviousAESKey != "":
		keys.AESKey = cfg.PreviousAESKey
	}
	t := PushTry{At: p.s.Now().UTC()}
	status := pushNotTaken
	began := time.Now()
	q, body, err := keys.Seal(msg, cfg.Mode, p.s.Now())
	if err == nil {
		var a pushAnswer
		a, err = p.s.ask(ctx, http.MethodPost, cfg.URL, q, body, contentTypes[cfg.Format])
		t.HTTPStatus, t.Answer = a.status, a.body[:min(len(a.body), keptAnswer)]
		if err == nil && a.status == http.StatusOK && (a.body == "success" || a.body == "") {
			status = pushTaken
		}
	}
	if err != nil {
		t.Err = err.Error()
	}
	if ctx.Err() != nil && status != pushTaken {
		status = pushEnded
	}
	t.DurationMS = float64(time.Since(began).Microseconds()) / 1000
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Tries++
	u.Message = string(msg)
	u.Tries = append(u.Tries, t)
	return status
}

// contentTypes are guesses: what WeChat sends is not known.
var contentTypes = map[wechat.CallbackFormat]string{
	wechat.CallbackJSON: "application/json",
	wechat.CallbackXML:  "text/xml",
}

// settle ends a push.
func (p *pusher) settle(u *push, status string) {
	p.mu.Lock()
	p.setStatus(u, status)
	p.busy--
	if p.behind > 0 {
		p.release(func(other *push) bool { return other.app == u.app && other.seq < u.seq })
	}
	p.tellQuiet()
	tries := len(u.Tries)
	p.mu.Unlock()
	p.s.log.Debug("push", slog.String("appid", u.AppID), slog.String("event", u.Event),
		slog.String("status", status), slog.Int("tries", tries))
}

func (p *pusher) setStatus(u *push, status string) {
	*p.byState[u.Status]--
	*p.byState[status]++
	u.Status = status
	u.event = pushEvent{}
}

func (p *pusher) tellQuiet() {
	if p.busy == 0 && p.quiet != nil {
		close(p.quiet)
		p.quiet = nil
	}
}

// wait is how long a parked push waits at most before it is looked at again; 0 and
// less is no longer.
func (u *push) wait(clock, now time.Time) time.Duration {
	if u.clock.IsZero() {
		return u.real.Sub(now)
	}
	return min(u.clock.Sub(clock), clockLook)
}

// release sends parked pushes on their way whose time has come or that are
// overtaken, and sets the timer for the others. It looks at all: call it when
// something happened that they may wait for.
func (p *pusher) release(overtaken func(*push) bool) {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	clock, now := p.s.Now(), time.Now()
	next := time.Duration(math.MaxInt64)
	p.parked = slices.DeleteFunc(p.parked, func(u *push) bool {
		if wait := u.wait(clock, now); wait > 0 && !(u.Fault == pushFaultOrder && overtaken(u)) {
			next = min(next, wait)
			return false
		}
		if !u.clock.IsZero() {
			p.busy++
		}
		if u.Fault == pushFaultOrder {
			p.behind--
		}
		p.enqueue(u)
		return true
	})
	if len(p.parked) > 0 {
		p.arm(next)
	}
}

func nobody(*push) bool    { return false }
func everybody(*push) bool { return true }

// arm sets the timer, unless it comes sooner anyway.
func (p *pusher) arm(d time.Duration) {
	at := time.Now().Add(d)
	if p.timer != nil {
		if !at.Before(p.timerAt) {
			return
		}
		p.timer.Stop()
	}
	p.timerAt, p.timer = at, time.AfterFunc(d, p.look)
}

// look releases what is due; it is called when the clock moved, and by the timer.
func (p *pusher) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && len(p.parked) > 0 {
		p.release(nobody)
	}
}

// close ends all pushes and waits for their goroutines.
func (p *pusher) close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, u := range p.parked {
		p.setStatus(u, pushEnded)
		if u.clock.IsZero() {
			p.busy--
		}
	}
	p.parked, p.behind = nil, 0
	for _, lane := range p.lanes {
		lane.cancel()
	}
	p.tellQuiet()
	p.mu.Unlock()
	p.running.Wait()
}

// snapshot copies the push for the outside. The caller holds mu.
func (u *push) snapshot() Push {
	v := u.Push
	v.Tries = slices.Clone(v.Tries)
	return v
}

// Flush waits until no push is pending. Those that a fault made late by the
// sandbox's clock do not count until the clock has got there; those that wait to
// be overtaken do not wait any longer.
func (s *Sandbox) Flush(ctx context.Context) error {
	p := s.world.Load().pushes
	for {
		p.mu.Lock()
		if !p.closed && len(p.parked) > 0 {
			p.release(everybody)
		}
		if p.busy == 0 {
			p.mu.Unlock()
			return nil
		}
		if p.quiet == nil {
			p.quiet = make(chan struct{})
		}
		quiet := p.quiet
		p.mu.Unlock()
		select {
		case <-quiet:
		case <-ctx.Done():
			return fmt.Errorf("flush pushes: %w", ctx.Err())
		}
	}
}

// PushQuery selects pushes; empty fields select all.
type PushQuery struct {
	AppID, OpenID, Event string
	Limit                int // default 100, at most 1000
	Cursor               string
}

// Pushes lists the newest 10,000 pushes, oldest first.
func (s *Sandbox) Pushes(q PushQuery) (Page[Push], error) {
	i, limit, err := place("p", q.Cursor, q.Limit)
	if err != nil {
		return Page[Push]{}, err
	}
	page := Page[Push]{Items: []Push{}, Limit: limit}
	p := s.world.Load().pushes
	p.mu.Lock()
	defer p.mu.Unlock()
	for i = max(i, p.stats.Made-len(p.ring)); i < p.stats.Made; i++ {
		u := p.ring[i%keptPushes]
		if q.AppID != "" && u.AppID != q.AppID || q.OpenID != "" && u.OpenID != q.OpenID || q.Event != "" && u.Event != q.Event {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorAt("p", i)
			break
		}
		page.Items = append(page.Items, u.snapshot())
	}
	return page, nil
}

// pushStats returns the counts.
func (p *pusher) pushStats() PushStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}
