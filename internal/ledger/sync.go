package ledger

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// SyncResult is what became of a message whose caller waited.
type SyncResult struct {
	// Message is final or uncertain; `sending`, with no more than its id, if not even that could
	// be learned in time.
	Message hongyan.Message
	// Joined: another that says the same was under way, and this is that one.
	Joined bool
	// Heard must be told, once the answer was written, for how long a repeat is to be answered
	// with this message: not at all if the caller has the answer for certain. Only then is it
	// recorded that WeChat took the message: of a kill in between uncertainty is left, which a
	// repeat joins.
	Heard func(keep time.Duration)
	// Forget ends that time: the caller has shown that it has the answer.
	Forget func()
}

const (
	// syncStart is how long a caller that waits may wait for a sender's place.
	syncStart = 3 * time.Second
	// syncAgain is how often a user who is busy is asked about.
	syncAgain = 20 * time.Millisecond
	// syncLook is how often another process's message is looked at.
	syncLook = 100 * time.Millisecond
	// syncTell is how long an answer may take to be written.
	syncTell = time.Second
)

// syncSend is what a submit needs to know of a message whose caller waits.
type syncSend struct {
	probe    bool // it tests the pauses that hold others back
	gone     func() bool
	done     func(syncOutcome)
	recorded func() // an accept is on disk
}

// syncOutcome is what a call came to. record, where there is one, writes it down once the
// caller has been answered; otherwise it is on disk.
type syncOutcome struct {
	hongyan.Outcome
	record func(keep time.Duration)
}

// SendSync has one message sent by this process at once, past whatever is queued, and waits
// for what it comes to. It is stored as `sending` before WeChat is called, and never queued:
// what cannot begin within three seconds is not stored (not_started, or app_paused with
// WeChat's own words), and a refusal that would queue it again fails it. Its submission
// cannot hold or be scheduled. For a caller who has gone WeChat is not called, for that one has
// perhaps asked another replica since; what has begun goes on.
func (l *Ledger) SendSync(s hongyan.Submission, join Joining) (SyncResult, error) {
	s.OnNoGrant, s.SendAt, s.OnUncertain = hongyan.OnNoGrantSend, time.Time{}, hongyan.OnUncertainKeep
	it, err := l.prepare(context.Background(), &s)
	if err != nil {
		return SyncResult{}, err
	}
	it.message.Once = true
	it.join = &join
	key := syncKey{it.app.no, it.template.no, it.message.To, it.data, it.options}
	c, mine, over := l.syncs.begin(key, join.Gone)
	for over { // it is known what became of that one, and in a moment on disk
		select {
		case <-c.recorded:
		case <-time.After(syncStart):
			return SyncResult{}, notStarted()
		}
		c, mine, over = l.syncs.begin(key, join.Gone)
	}
	if !mine {
		<-c.done
		res := c.res
		res.Joined, res.Heard = true, c.hearing.tell
		return res, c.err
	}
	func() {
		defer l.syncs.end(key, c) // whatever happens, nobody may wait for ever
		gone := func() bool { return l.syncs.abandoned(c) }
		c.res, c.err = l.sendSync(it, gone, func() { l.syncs.forget(key, c) })
		c.res.Forget = func() {
			select {
			case <-c.recorded:
				l.forgetUnheard(it.app.no, it.twinKey().unheard())
			case <-time.After(syncStart):
			}
		}
	}()
	res := c.res
	res.Heard = c.hearing.tell
	return res, c.err
}

// syncCalls are the messages of this process whose callers wait, by what they say.
type syncCalls struct {
	mu sync.Mutex
	m  map[syncKey]*syncCall
}

// syncKey is what [twinKey] is, before the user's row is known.
type syncKey struct {
	app, template int64
	to            hongyan.OpenID
	data, options string
}

type syncCall struct {
	done    chan struct{}
	callers []func() bool // each says whether it has gone
	res     SyncResult
	err     error
	hearing hearing
	// answered: no more callers join it. Its accept is on disk once recorded is closed.
	answered bool
	recorded chan struct{}
}

// hearing waits until one of an answer's callers has heard it, or all have said what they know.
type hearing struct {
	mu   sync.Mutex
	left int
	keep time.Duration
	told func(keep time.Duration) // nil once it was
}

func (h *hearing) tell(keep time.Duration) {
	h.mu.Lock()
	h.left--
	h.keep = min(h.keep, keep)
	keep = h.keep
	told := h.told
	if keep == 0 || h.left <= 0 {
		h.told = nil
	} else {
		told = nil
	}
	h.mu.Unlock()
	if told != nil {
		told(keep)
	}
}

// begin makes a call, or joins one that says the same. over: that one has been answered.
func (s *syncCalls) begin(key syncKey, gone func() bool) (c *syncCall, mine, over bool) {
	if gone == nil {
		gone = func() bool { return false }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.m[key]; c != nil {
		if !c.answered {
			c.callers = append(c.callers, gone)
		}
		return c, false, c.answered
	}
	if s.m == nil {
		s.m = make(map[syncKey]*syncCall)
	}
	c = &syncCall{done: make(chan struct{}), recorded: make(chan struct{}), callers: []func() bool{gone}, hearing: hearing{keep: math.MaxInt64}}
	s.m[key] = c
	return c, true, false
}

// Waiting is how many callers of SendSync wait for an outcome.
func (l *Ledger) Waiting() (n int) {
	l.syncs.mu.Lock()
	defer l.syncs.mu.Unlock()
	for _, c := range l.syncs.m {
		n += len(c.callers)
	}
	return n
}

// abandoned reports whether all callers have gone.
func (s *syncCalls) abandoned(c *syncCall) bool {
	s.mu.Lock()
	callers := c.callers
	s.mu.Unlock()
	return !slices.ContainsFunc(callers, func(gone func() bool) bool { return !gone() })
}

// forget is for a call whose outcome is on disk.
func (s *syncCalls) forget(key syncKey, c *syncCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[key] == c {
		delete(s.m, key)
		close(c.recorded)
	}
}

// end lets the callers go: those that come from here on make a call of their own.
func (s *syncCalls) end(key syncKey, c *syncCall) {
	s.mu.Lock()
	c.hearing.left, c.hearing.told = len(c.callers), c.res.Heard
	c.answered = true
	s.mu.Unlock()
	if c.res.Heard == nil || c.res.Joined { // it is on disk
		s.forget(key, c)
	}
	close(c.done)
}

// sendSync tries until the message is on its way, or its time to begin is over.
func (l *Ledger) sendSync(it *submitItem, gone func() bool, recorded func()) (SyncResult, error) {
	end := time.Now().Add(syncStart)
	for {
		probe, err := l.syncMay(it)
		if err != nil {
			return SyncResult{}, err
		}
		if !l.syncPlace(it.app, end, gone) {
			l.syncOver(it, probe)
			return SyncResult{}, notStarted()
		}
		outcome := make(chan syncOutcome, 1)
		it.sync = &syncSend{probe: probe, gone: gone, recorded: recorded, done: func(o syncOutcome) {
			select {
			case outcome <- o:
			default: // a second result of one attempt
			}
		}}
		res, err := l.submitSync(it)
		switch {
		case err == nil && res.Joined:
			l.syncOver(it, probe)
			return l.syncOther(it, res), nil
		case err == nil:
			if it.row == nil { // stored by a commit that was not answered: no sender has it
				l.syncOver(it, probe)
			}
			return l.syncWait(res, outcome), nil
		}
		l.syncOver(it, probe)
		if errors.Is(err, errUnknown) { // perhaps a row that no sender has, and that others join
			return SyncResult{Message: hongyan.Message{ID: hongyan.MessageIDOf(it.id), Status: hongyan.StateSending}}, nil
		}
		if hongyan.CodeOf(err) != hongyan.CodeNotStarted || time.Now().Add(syncAgain).After(end) {
			return SyncResult{}, err
		}
		time.Sleep(syncAgain)
	}
}

func notStarted() error {
	return &hongyan.Error{Code: hongyan.CodeNotStarted, Message: "No sender was free for this message within three seconds; it was not stored.", RetryAfter: time.Second}
}

// syncMay answers whether a pause keeps the message back. One whose time to be tested has
// come is tested by this message, if no other is at it: nothing may be queued that could.
func (l *Ledger) syncMay(it *submitItem) (probe bool, err error) {
	a := l.appByNo(it.app.no)
	now := l.Now()
	var test *hongyan.Pause
	for _, p := range []*hongyan.Pause{a.paused(hongyan.PauseApp, ""), a.paused(hongyan.PausePath, hongyan.SendPath), a.paused(hongyan.PauseTemplate, it.message.Template)} {
		switch {
		case p == nil:
		case p.Manual() || now.Before(p.ProbeAt):
			return false, syncPaused(p)
		case test == nil:
			test = p
		}
	}
	// Only now: whoever is the one must be stored, or say that it is over.
	if test == nil || l.lane.Probe != nil && l.lane.Probe(it.app.app.AppID, true) {
		return test != nil, nil
	}
	return false, syncPaused(test)
}

func syncPaused(p *hongyan.Pause) error {
	e := &hongyan.Error{Code: hongyan.CodeAppPaused, Message: "Sending is paused (" + p.Reason + "); the message was not stored.", RetryAfter: time.Minute}
	// What these two say of is other people's openids and other messages' data.
	others := p.Reason == hongyan.PauseManyInvalidUsers || p.Reason == hongyan.PauseManyRefused
	if p.Errcode != 0 && !others {
		e.WeChat = &hongyan.WeChatError{Errcode: p.Errcode, Errmsg: p.Detail}
	}
	return e
}

// syncOver ends what was begun for a message that was not stored.
func (l *Ledger) syncOver(it *submitItem, probe bool) {
	if probe {
		l.lane.Probe(it.app.app.AppID, false)
	}
}

// syncPlace waits for a place among the app's senders, in the order of arrival.
func (l *Ledger) syncPlace(a *appEntry, end time.Time, gone func() bool) bool {
	if l.lane.Reserve == nil {
		return false
	}
	v, _ := l.gates.LoadOrStore(a.no, make(chan struct{}, 1))
	gate := v.(chan struct{})
	select {
	case gate <- struct{}{}:
	case <-time.After(time.Until(end)):
		return false
	}
	defer func() { <-gate }()
	for !gone() {
		if l.lane.Reserve(a.app.AppID, 1, 0) == 1 {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(time.Millisecond) // only the first in the line does
	}
	return false
}

// submitSync stores the message, which has a place. If it is not handed to a sender the
// place is given back.
func (l *Ledger) submitSync(it *submitItem) (SyncResult, error) {
	op := &submitOp{items: []*submitItem{it}, results: make([]SubmitResult, 1), done: make(chan struct{})}
	if !l.submits.add(op) {
		l.lane.Release(it.app.app.AppID, 1)
		return SyncResult{}, hongyan.Errorf(hongyan.CodeShuttingDown, "The server is stopping; nothing was accepted.")
	}
	<-op.done
	if op.err != nil || it.row == nil || it.row.job == nil {
		l.lane.Release(it.app.app.AppID, 1)
	}
	err := op.err
	if err == nil {
		err = it.result.Err
	}
	if err != nil {
		return SyncResult{}, err
	}
	return SyncResult{Message: *it.result.Message, Joined: it.result.Message.Duplicate}, nil
}

// syncWait waits for the outcome. It is on disk when it comes, but for an accept, which waits
// for Heard.
func (l *Ledger) syncWait(res SyncResult, outcome <-chan syncOutcome) SyncResult {
	select {
	case o := <-outcome:
		if o.Class == hongyan.OutcomeOK {
			code := 0
			res.Message.Status, res.Message.Errcode, res.Message.MsgID = hongyan.StateAccepted, &code, strconv.FormatInt(o.MsgID, 10)
			res.Heard = o.record
			return res
		}
	case <-time.After(LeaseTime):
	case <-l.over:
		return res
	}
	return l.syncRead(res)
}

// syncOther waits for the outcome of a message that another process may be sending.
func (l *Ledger) syncOther(it *submitItem, res SyncResult) SyncResult {
	if key := it.unheard; key != "" {
		res.Heard = func(keep time.Duration) {
			if keep == 0 {
				l.forgetUnheard(it.app.no, key)
			}
		}
	}
	for end := time.Now().Add(LeaseTime); underWay(res.Message.Status) && time.Now().Before(end); {
		select {
		case <-time.After(syncLook):
		case <-l.over:
			return res
		}
		res = l.syncRead(res)
	}
	return res
}

// syncRead looks the message up; what cannot be read stays as it was.
func (l *Ledger) syncRead(res SyncResult) SyncResult {
	ctx, cancel := context.WithTimeout(context.Background(), txnTime)
	defer cancel()
	if m, err := l.Message(ctx, res.Message.ID); err == nil {
		res.Message = *m
	} else {
		l.log.Error("the outcome of a message could not be read", "message_id", res.Message.ID, "err", err)
	}
	return res
}

// underWay reports whether a message in this state is still to be sent, or being sent.
func underWay(s hongyan.State) bool {
	return s == hongyan.StateHeld || s == hongyan.StateScheduled || s == hongyan.StateQueued || s == hongyan.StateSending
}
