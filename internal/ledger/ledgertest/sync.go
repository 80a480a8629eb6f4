package ledgertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// repeats is how long the tests' unclear messages take in those that say the same.
const repeats = 10 * time.Minute

// waiting is a call of SendSync that is under way.
type waiting struct {
	res  ledger.SyncResult
	err  error
	done chan struct{}
	deaf bool // it has left when the answer comes
	ctx  context.Context
}

func (w *waiting) wait(t TB) *waiting {
	t.Helper()
	select {
	case <-w.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("the caller still waits")
	}
	return w
}

// sync sends a message whose caller waits and hears the answer.
func (e *Env) sync(s hongyan.Submission) *waiting {
	return e.call(s, &waiting{done: make(chan struct{})})
}

// deaf sends a message whose caller has left when the answer comes.
func (e *Env) deaf(s hongyan.Submission) *waiting {
	return e.call(s, &waiting{done: make(chan struct{}), deaf: true})
}

func (e *Env) call(s hongyan.Submission, w *waiting) *waiting {
	if w.ctx == nil {
		w.ctx = context.Background()
	}
	go func() {
		defer close(w.done)
		if w.res, w.err = e.SendSync(s, ledger.Joining{Uncertain: repeats, Gone: func() bool { return w.ctx.Err() != nil }}); w.err == nil {
			keep := time.Duration(0)
			if w.deaf {
				keep = repeats
			}
			w.res.Heard(keep)
		}
	}()
	return w
}

// handed waits for the one job that goes to a sender.
func (e *Env) handed() *ledger.Job {
	e.TB.Helper()
	var j *ledger.Job
	e.eventually("a sender has the message", func() bool {
		if jobs := e.Lane.Jobs(); len(jobs) > 0 {
			j = jobs[0]
		}
		return j != nil
	})
	return j
}

// text is a submission that says v.
func text(openid hongyan.OpenID, v string) hongyan.Submission {
	return Submission(openid, func(s *hongyan.Submission) { s.Data["thing1"] = v })
}

func (w *waiting) want(t TB, state hongyan.State, reason hongyan.Code) hongyan.MessageID {
	t.Helper()
	if w.wait(t); w.err != nil {
		t.Fatalf("send and wait: %v", w.err)
	}
	if m := w.res.Message; m.Status != state || m.Reason != reason {
		t.Errorf("it is %s (%q), want %s (%q)", m.Status, m.Reason, state, reason)
	}
	return w.res.Message.ID
}

func testSync(t *testing.T, open func(testing.TB) *Database) {
	cases(t, open, fresh, syncCases())
	cases(t, open, fresh, joinCases())
	t.Run("two processes", func(t *testing.T) {
		t.Parallel()
		db := open(t)
		if !db.Shared {
			t.Skip("one process has this database alone")
		}
		a := Open(t, db, fresh)
		b := &Env{TB: t, DB: db, Clock: a.Clock}
		b.open()
		t.Cleanup(b.Stop)
		testJoinAcross(a, b)
	})
}

func syncCases() map[string]func(*Env) {
	tests := map[string]func(*Env){
		"accepted": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			e.Lane.Room(1)
			w := e.sync(Submission("u1"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			id := w.want(e.TB, hongyan.StateAccepted, "")
			if got := w.res.Message; got.MsgID != fmt.Sprint(1<<60+7) || got.Errcode == nil || *got.Errcode != 0 || w.res.Joined {
				e.TB.Errorf("answer: %+v", w.res)
			}
			e.WantState(id, hongyan.StateAccepted, "")
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"no count keeps it back": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			e.Lane.Room(1)
			w := e.sync(Submission("u1"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeRecipient))
			w.want(e.TB, hongyan.StateFailed, hongyan.CodeNotSubscribed)
		},
		"it goes past what is queued": func(e *Env) {
			old := e.Send("u1")
			e.Lane.Room(1)
			w := e.sync(Submission("u2"))
			j := e.handed()
			if j.Message.ID == old.ID {
				e.TB.Errorf("the older message was handed to the sender")
			}
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			w.want(e.TB, hongyan.StateAccepted, "")
			e.WantState(old.ID, hongyan.StateQueued, "")
		},
		"without a place nothing is stored": func(e *Env) {
			e.Exact("u1", OneTime, 1)
			w := e.sync(Submission("u1")).wait(e.TB)
			wantCode(e.TB, w.err, hongyan.CodeNotStarted)
			if n := e.DB.Count(e.TB, "messages"); n != 0 {
				e.TB.Errorf("%d messages are stored, want none", n)
			}
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
		},
		"for a caller who has gone nothing is begun": func(e *Env) {
			ctx, leave := context.WithCancel(context.Background())
			w := e.call(Submission("u1"), &waiting{done: make(chan struct{}), ctx: ctx})
			leave()
			e.Lane.Room(1)
			wantCode(e.TB, w.wait(e.TB).err, hongyan.CodeNotStarted)
			if n := e.DB.Count(e.TB, "messages"); n != 0 {
				e.TB.Errorf("%d messages are stored, want none", n)
			}
		},
		"callers who say the same and have all gone": func(e *Env) {
			ctx, leave := context.WithCancel(context.Background())
			first := e.call(Submission("u1"), &waiting{done: make(chan struct{}), ctx: ctx})
			second := e.call(Submission("u1"), &waiting{done: make(chan struct{}), ctx: ctx})
			e.eventually("the second has joined", func() bool { return e.Waiting() == 2 })
			leave()
			e.Lane.Room(1)
			wantCode(e.TB, first.wait(e.TB).err, hongyan.CodeNotStarted)
			wantCode(e.TB, second.wait(e.TB).err, hongyan.CodeNotStarted)
			if n := e.DB.Count(e.TB, "messages"); n != 0 {
				e.TB.Errorf("%d messages are stored, want none", n)
			}
		},
		"callers who say the same, one of whom stays": func(e *Env) {
			ctx, leave := context.WithCancel(context.Background())
			first := e.call(Submission("u1"), &waiting{done: make(chan struct{}), ctx: ctx})
			e.eventually("the first waits", func() bool { return e.Waiting() == 1 })
			second := e.sync(Submission("u1"))
			e.eventually("the second has joined", func() bool { return e.Waiting() == 2 })
			leave()
			e.Lane.Room(1)
			j := e.handed()
			if j.Abandoned() {
				e.TB.Errorf("a sender is told that nobody waits")
			}
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			first.want(e.TB, hongyan.StateAccepted, "")
			second.want(e.TB, hongyan.StateAccepted, "")
		},
		"a caller who goes while a sender has the message": func(e *Env) {
			ctx, leave := context.WithCancel(context.Background())
			e.Lane.Room(1)
			w := e.call(Submission("u1"), &waiting{done: make(chan struct{}), ctx: ctx})
			j := e.handed()
			if j.Abandoned() {
				e.TB.Errorf("a sender is told that nobody waits")
			}
			leave()
			if !j.Abandoned() {
				e.TB.Errorf("a sender is not told that nobody waits")
			}
			e.Record(j, e.Outcome(hongyan.OutcomeGiveBack))
			w.want(e.TB, hongyan.StateFailed, hongyan.CodeNotStarted)
			e.WantIdle()
		},
		"a place that comes free in time": func(e *Env) {
			w := e.sync(Submission("u1"))
			e.Lane.Room(1)
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			w.want(e.TB, hongyan.StateAccepted, "")
		},
		"one call at a time for a user": func(e *Env) {
			e.Lane.Room(2)
			first := e.sync(text("u1", "one"))
			j := e.handed()
			second := e.sync(text("u1", "two"))
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			first.want(e.TB, hongyan.StateAccepted, "")
			e.Lane.Room(2)
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			second.want(e.TB, hongyan.StateAccepted, "")
		},
		"a user who stays busy": func(e *Env) {
			e.Lane.Room(5)
			first := e.sync(text("u1", "one"))
			j := e.handed()
			wantCode(e.TB, e.sync(text("u1", "two")).wait(e.TB).err, hongyan.CodeNotStarted)
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			first.want(e.TB, hongyan.StateAccepted, "")
			if n := e.DB.Count(e.TB, "messages"); n != 1 {
				e.TB.Errorf("%d messages are stored, want 1", n)
			}
		},
		"a manual pause": func(e *Env) {
			e.Lane.Room(1)
			e.must(e.Pause(context.Background(), App, hongyan.Pause{Scope: hongyan.PauseTemplate, Key: OneTime, Reason: hongyan.PauseManual}))
			wantCode(e.TB, e.sync(Submission("u1")).wait(e.TB).err, hongyan.CodeAppPaused)
		},
		"a pause says WeChat's own code until its time to be tested": func(e *Env) {
			e.Lane.Room(1)
			e.must(e.Pause(context.Background(), App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseIPNotAllowed, Errcode: 40164, Detail: "invalid ip 192.0.2.7", ProbeAt: Start.Add(time.Minute)}))
			w := e.sync(Submission("u1")).wait(e.TB)
			wantCode(e.TB, w.err, hongyan.CodeAppPaused)
			if he, ok := w.err.(*hongyan.Error); !ok || he.WeChat == nil || he.WeChat.Errcode != 40164 || he.WeChat.Errmsg != "invalid ip 192.0.2.7" {
				e.TB.Errorf("the pause: %#v", w.err)
			}
			e.Clock.Advance(time.Minute)
			e.Lane.Room(2)
			w = e.sync(Submission("u1"))
			j := e.handed()
			if !j.Probe() {
				e.TB.Errorf("the message does not test the pause")
			}
			wantCode(e.TB, e.sync(Submission("u2")).wait(e.TB).err, hongyan.CodeAppPaused) // one at a time
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			w.want(e.TB, hongyan.StateAccepted, "")
		},
		"a pause that is not over, under one that is to be tested": func(e *Env) {
			e.Lane.Room(1)
			e.must(e.Pause(context.Background(), App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseIPNotAllowed, Errcode: 40164, Detail: "invalid ip", ProbeAt: Start}))
			e.must(e.Pause(context.Background(), App, hongyan.Pause{Scope: hongyan.PauseTemplate, Key: OneTime, Reason: hongyan.PauseManual}))
			wantCode(e.TB, e.sync(Submission("u1")).wait(e.TB).err, hongyan.CodeAppPaused)
			if e.Lane.Probing() {
				e.TB.Errorf("a message that was not stored still tests the pause: nothing else of the app is claimed")
			}
		},
		"many at once": func(e *Env) {
			e.Lane.Room(100)
			var calls []*waiting
			for i := range 100 {
				calls = append(calls, e.sync(Submission(hongyan.OpenID(fmt.Sprint("u", i)))))
			}
			for range calls {
				var jobs []*ledger.Job
				e.eventually("jobs", func() bool { jobs = e.Lane.Jobs(); return len(jobs) > 0 || e.Lane.settled() == 100 })
				for _, j := range jobs {
					e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
				}
				if e.Lane.settled() == 100 {
					break
				}
			}
			for _, w := range calls {
				w.want(e.TB, hongyan.StateAccepted, "")
			}
			if n := e.DB.Count(e.TB, "messages"); n != 100 {
				e.TB.Errorf("%d messages are stored, want 100", n)
			}
		},
		"bad data": func(e *Env) {
			e.Lane.Room(1)
			wantCode(e.TB, e.sync(text("u1", "")).wait(e.TB).err, hongyan.CodeInvalidData)
		},
	}
	for class, reason := range map[hongyan.OutcomeClass]hongyan.Code{
		hongyan.OutcomeBusy: hongyan.CodeWeChatBusy, hongyan.OutcomeSameUser: hongyan.CodeSameUserBusy, hongyan.OutcomePace: hongyan.CodeWeChatRefused,
		hongyan.OutcomeQuota: hongyan.CodeWeChatRefused, hongyan.OutcomeAccount: hongyan.CodeWeChatRefused, hongyan.OutcomeBanned: hongyan.CodeWeChatRefused,
		hongyan.OutcomeToken: hongyan.CodeTokenRejected, hongyan.OutcomeUnsent: hongyan.CodeWeChatUnreachable, hongyan.OutcomeGiveBack: hongyan.CodeNotStarted,
	} {
		tests["what would queue it fails it: "+string(class)] = func(e *Env) {
			e.Exact("u1", OneTime, 1)
			e.Lane.Room(1)
			w := e.sync(Submission("u1"))
			e.Record(e.handed(), e.Outcome(class))
			id := w.want(e.TB, hongyan.StateFailed, reason)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
			e.Tick(2 * time.Hour)
			if jobs := e.Claim(10); len(jobs) > 0 {
				e.TB.Errorf("it was claimed once more")
			}
			e.WantState(id, hongyan.StateFailed, reason)
		}
	}
	return tests
}

func joinCases() map[string]func(*Env) {
	return map[string]func(*Env){
		"one that says the same joins the first": func(e *Env) {
			e.Lane.Room(5)
			first := e.sync(text("u1", "x"))
			j := e.handed()
			var calls []*waiting
			for range 5 {
				calls = append(calls, e.sync(text("u1", "x")))
			}
			e.eventually("all have joined", func() bool { return e.Waiting() == 6 })
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			id := first.want(e.TB, hongyan.StateAccepted, "")
			for _, w := range calls {
				if got := w.want(e.TB, hongyan.StateAccepted, ""); got != id || !w.res.Joined {
					e.TB.Errorf("it is %s (joined: %v), want %s", got, w.res.Joined, id)
				}
			}
			if first.res.Joined {
				e.TB.Errorf("the first is taken for one of those that joined it")
			}
		},
		"after its end the same is sent again": func(e *Env) {
			for _, class := range []hongyan.OutcomeClass{hongyan.OutcomeOK, hongyan.OutcomeBusy, hongyan.OutcomeRecipient, hongyan.OutcomeOK} {
				e.Lane.Room(1)
				w := e.sync(text("u1", "x"))
				e.Record(e.handed(), e.Outcome(class))
				if w.wait(e.TB); w.err != nil || w.res.Joined {
					e.TB.Errorf("after %s: joined %v, err %v", class, w.res.Joined, w.err)
				}
			}
			if n := e.DB.Count(e.TB, "messages"); n != 4 {
				e.TB.Errorf("%d messages, want 4", n)
			}
		},
		"an unclear one takes in the same for its time": func(e *Env) {
			e.Lane.Room(1)
			w := e.sync(text("u1", "x"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeUnclear))
			id := w.want(e.TB, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.Lane.Room(1)
			for range 3 {
				again := e.sync(text("u1", "x"))
				if got := again.want(e.TB, hongyan.StateUncertain, hongyan.CodeWeChatUnclear); got != id || !again.res.Joined {
					e.TB.Errorf("the repeat is %s (joined: %v), want %s", got, again.res.Joined, id)
				}
				e.Clock.Advance(3 * time.Minute)
			}
			other := e.sync(text("u1", "y")) // says something else
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			other.want(e.TB, hongyan.StateAccepted, "")
			e.Lane.Room(1)
			e.Clock.Advance(2 * time.Minute)
			late := e.sync(text("u1", "x"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			if got := late.want(e.TB, hongyan.StateAccepted, ""); got == id || late.res.Joined {
				e.TB.Errorf("after its time it was still taken for a repeat")
			}
		},
		"one that nobody heard of is the answer to a repeat": func(e *Env) {
			e.Exact("u1", OneTime, 5)
			e.Lane.Room(1)
			w := e.deaf(text("u1", "x"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			id := w.want(e.TB, hongyan.StateAccepted, "")
			for i := range 2 { // it may be deaf again
				e.Lane.Room(1)
				again := e.call(text("u1", "x"), &waiting{done: make(chan struct{}), deaf: i == 0})
				if got := again.want(e.TB, hongyan.StateAccepted, ""); got != id || again.res.Message.MsgID == "" {
					e.TB.Errorf("the repeat is %s with msgid %q, want %s", got, again.res.Message.MsgID, id)
				}
			}
			e.Lane.Room(1)
			anew := e.sync(text("u1", "x")) // that one was heard
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			if got := anew.want(e.TB, hongyan.StateAccepted, ""); got == id {
				e.TB.Errorf("after somebody had heard of it the same was not sent anew")
			}
			e.WantCount("u1", OneTime, Count{Available: 3, Spent: 2, Exact: true})
		},
		"one that nobody heard of is so after a restart": func(e *Env) {
			e.Lane.Room(1)
			w := e.deaf(text("u1", "x"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			id := w.want(e.TB, hongyan.StateAccepted, "")
			e.Restart()
			e.Lane.Room(1)
			if got := e.sync(text("u1", "x")).want(e.TB, hongyan.StateAccepted, ""); got != id {
				e.TB.Errorf("the repeat is %s, want %s", got, id)
			}
			e.Lane.Room(1)
			e.Clock.Advance(repeats + time.Minute)
			late := e.sync(text("u1", "x"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			if got := late.want(e.TB, hongyan.StateAccepted, ""); got == id {
				e.TB.Errorf("after its time it was still taken for a repeat")
			}
		},
		"one of those who joined heard of it": func(e *Env) {
			e.Lane.Room(1)
			first := e.deaf(text("u1", "x"))
			j := e.handed()
			second := e.sync(text("u1", "x"))
			e.eventually("the second has joined", func() bool { return e.Waiting() == 2 })
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			id := first.want(e.TB, hongyan.StateAccepted, "")
			second.want(e.TB, hongyan.StateAccepted, "")
			e.Lane.Room(1)
			anew := e.sync(text("u1", "x"))
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK))
			if got := anew.want(e.TB, hongyan.StateAccepted, ""); got == id {
				e.TB.Errorf("the same was not sent anew")
			}
		},
		"who never says that it was heard": func(e *Env) {
			e.Lane.Room(1)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = e.SendSync(text("u1", "x"), ledger.Joining{Uncertain: repeats})
			}()
			e.Record(e.handed(), e.Outcome(hongyan.OutcomeOK)) // written by itself
			<-done
		},
		"what a kill left joins too": func(e *Env) {
			e.Lane.Room(1)
			w := e.sync(text("u1", "x"))
			id := e.handed().Message.ID
			e.Restart() // the call's result is lost
			<-w.done
			e.Lane.Room(1)
			again := e.sync(text("u1", "x"))
			if got := again.want(e.TB, hongyan.StateUncertain, hongyan.CodeWeChatUnclear); got != id {
				e.TB.Errorf("the repeat is %s, want %s", got, id)
			}
		},
		"a stop ends the wait for one that is queued": func(e *Env) {
			s := text("u1", "x")
			s.OnNoGrant = hongyan.OnNoGrantSend // as the caller's that waits
			_, err := e.Submit(context.Background(), []hongyan.Submission{s}, ledger.SubmitOptions{Strict: true, Join: &ledger.Joining{Uncertain: repeats}})
			e.must(err)
			e.Lane.Room(1)
			w := e.sync(text("u1", "x"))
			e.eventually("the place is given back", func() bool { return e.Lane.given() == 1 })
			e.Stop()
			select {
			case <-w.done:
			case <-time.After(5 * time.Second):
				e.TB.Errorf("the caller still waits, and asks a database that is closed")
			}
			if w.wait(e.TB); w.err != nil || !w.res.Joined || w.res.Message.Status != hongyan.StateQueued {
				e.TB.Errorf("joined %v, %s, err %v", w.res.Joined, w.res.Message.Status, w.err)
			}
		},
		"queued ones join each other": func(e *Env) {
			join := ledger.SubmitOptions{Strict: true, Join: &ledger.Joining{Uncertain: repeats}}
			submit := func(v string) *hongyan.Message {
				rs, err := e.Submit(context.Background(), []hongyan.Submission{text("u1", v)}, join)
				e.must(err)
				e.must(rs[0].Err)
				return rs[0].Message
			}
			first := submit("x")
			if again := submit("x"); again.ID != first.ID || !again.Duplicate {
				e.TB.Errorf("the repeat is %s", again.ID)
			}
			if other := submit("y"); other.Duplicate {
				e.TB.Errorf("another text was taken for a repeat")
			}
			e.Record(e.ClaimOne(), e.Outcome(hongyan.OutcomeOK))
			if again := submit("x"); again.ID == first.ID {
				e.TB.Errorf("after its end the same was not stored")
			}
			if m := e.Get(first.ID); m.DedupKey != "" {
				e.TB.Errorf("it shows the dedup key %q, which nobody gave", m.DedupKey)
			}
		},
	}
}

// testJoinAcross lets a caller come to b while a sends what it says.
func testJoinAcross(a, b *Env) {
	a.Lane.Room(1)
	b.Lane.Room(1)
	first := a.sync(text("u1", "x"))
	j := a.handed()
	second := b.sync(text("u1", "x"))
	b.eventually("b has found it and given its place back", func() bool { return b.Lane.given() == 1 })
	a.Record(j, a.Outcome(hongyan.OutcomeOK))
	id := first.want(a.TB, hongyan.StateAccepted, "")
	if got := second.want(b.TB, hongyan.StateAccepted, ""); got != id || !second.res.Joined {
		b.TB.Errorf("at the other process it is %s (joined: %v), want %s", got, second.res.Joined, id)
	}
}
