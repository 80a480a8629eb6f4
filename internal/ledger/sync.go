package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Joining lets a message that says the same as another (recipient, template, data, page) be
// answered with that one, while it is under way: a caller that got no answer asks again.
type Joining struct {
	// Uncertain is for how long one whose outcome is unclear takes in those that say the same.
	Uncertain time.Duration
}

// SyncResult is what became of a message whose caller waited.
type SyncResult struct {
	// Message is final or uncertain; `sending` if not even that could be learned in time.
	Message hongyan.Message
	// Joined: another that says the same was under way, and this is that one.
	Joined bool
}

const (
	// syncStart is how long a caller that waits may wait for a sender's place.
	syncStart = 3 * time.Second
	// syncAgain is how often a user who is busy is asked about.
	syncAgain = 20 * time.Millisecond
	// syncLook is how often another process's message is looked at.
	syncLook = 100 * time.Millisecond
)

// syncSend is what a submit needs to know of a message whose caller waits.
type syncSend struct {
	probe bool // it tests the pauses that hold others back
	done  func(hongyan.Outcome)
}

// SendSync has one message sent by this process at once, past whatever is queued, and waits
// for what it comes to. It is stored as `sending` before WeChat is called, and never queued:
// what cannot begin within three seconds is not stored (not_started, or app_paused with
// WeChat's own words), and a refusal that would queue it again fails it. Its submission
// cannot hold or be scheduled. That ctx is done does not end the wait: it says that the caller
// has gone, so that an accepted message is kept for one that says the same, who is most likely
// the same caller again.
func (l *Ledger) SendSync(ctx context.Context, s hongyan.Submission, join Joining) (SyncResult, error) {
	s.OnNoGrant, s.SendAt, s.OnUncertain = hongyan.OnNoGrantSend, time.Time{}, hongyan.OnUncertainKeep
	it, err := l.prepare(context.Background(), &s)
	if err != nil {
		return SyncResult{}, err
	}
	it.message.Once = true
	it.joins(&s, join)
	key := strconv.FormatInt(it.app.no, 10) + it.message.DedupKey
	c, mine := l.syncs.begin(key)
	if !mine {
		<-c.done
		res := c.res // which others read too
		res.Joined = true
		if ctx.Err() == nil { // and so has been told
			l.syncs.forget(key, c)
		}
		return res, c.err
	}
	c.res, c.err = l.sendSync(it)
	if ctx.Err() != nil && c.err == nil && c.res.Message.Status == hongyan.StateAccepted {
		time.AfterFunc(join.Uncertain, func() { l.syncs.forget(key, c) })
	} else {
		l.syncs.forget(key, c)
	}
	close(c.done)
	return c.res, c.err
}

// joins gives the item a key of what it says, which finds others that say the same.
func (it *submitItem) joins(s *hongyan.Submission, rule Joining) {
	var b []byte
	add := func(v string) {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	add(string(it.message.To))
	add(it.message.Template)
	add(it.message.Page)
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		add(k)
		add(s.Data[k])
	}
	sum := sha256.Sum256(b)
	it.message.DedupKey = joinKeys + base64.RawURLEncoding.EncodeToString(sum[:])
	it.join = &rule
}

// joinKeys are among an app's dedup keys, and no caller's.
const joinKeys = "\x01same:"

// syncCalls are the messages of this process whose callers wait, by what they say.
type syncCalls struct {
	mu sync.Mutex
	m  map[string]*syncCall
}

type syncCall struct {
	done chan struct{}
	res  SyncResult
	err  error
}

func (s *syncCalls) begin(key string) (c *syncCall, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.m[key]; c != nil {
		return c, false
	}
	if s.m == nil {
		s.m = make(map[string]*syncCall)
	}
	c = &syncCall{done: make(chan struct{})}
	s.m[key] = c
	return c, true
}

// forget lets no more callers join.
func (s *syncCalls) forget(key string, c *syncCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[key] == c {
		delete(s.m, key)
	}
}

// sendSync tries until the message is on its way, or its time to begin is over.
func (l *Ledger) sendSync(it *submitItem) (SyncResult, error) {
	end := time.Now().Add(syncStart)
	for {
		probe, err := l.syncMay(it)
		if err != nil {
			return SyncResult{}, err
		}
		if !l.syncPlace(it.app, end) {
			l.syncOver(it, probe)
			return SyncResult{}, notStarted()
		}
		outcome := make(chan hongyan.Outcome, 1)
		it.sync = &syncSend{probe: probe, done: func(o hongyan.Outcome) {
			select {
			case outcome <- o:
			default: // a second result of one attempt
			}
		}}
		res, err := l.submitSync(it)
		switch {
		case err == nil && res.Joined:
			l.syncOver(it, probe)
			return l.syncOther(res), nil
		case err == nil:
			if it.row == nil { // stored by a commit that was not answered: no sender has it
				l.syncOver(it, probe)
			}
			return l.syncWait(res, outcome), nil
		}
		l.syncOver(it, probe)
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
func (l *Ledger) syncPlace(a *appEntry, end time.Time) bool {
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
	for l.lane.Reserve(a.app.AppID, 1) == 0 {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(time.Millisecond) // only the first in the line does
	}
	return true
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

// syncWait waits for the outcome, which is on disk when it comes.
func (l *Ledger) syncWait(res SyncResult, outcome <-chan hongyan.Outcome) SyncResult {
	select {
	case o := <-outcome:
		if o.Class == hongyan.OutcomeOK {
			code := 0
			res.Message.Status, res.Message.Errcode, res.Message.MsgID = hongyan.StateAccepted, &code, strconv.FormatInt(o.MsgID, 10)
			return res
		}
	case <-time.After(LeaseTime):
	case <-l.over:
		return res
	}
	return l.syncRead(res)
}

// syncOther waits for the outcome of a message that another process may be sending.
func (l *Ledger) syncOther(res SyncResult) SyncResult {
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
