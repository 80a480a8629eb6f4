package ledgertest

import (
	"context"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func (m *model) pick(rt *rapid.T) pair { return rapid.SampledFrom(m.pairs).Draw(rt, "pair") }

// tap is an accept; the phone reports it at once or later.
func (m *model) tap(rt *rapid.T) {
	m.tick(moment)
	k := m.pick(rt)
	m.truth[k]++
	m.taps = append(m.taps, modelTap{fmt.Sprintf("tap-%d", len(m.taps)+len(m.known)), m.Clock.Now(), k})
	m.settle("tap", nil)
	if rapid.IntRange(0, 3).Draw(rt, "at once") > 0 {
		m.reportTap(len(m.taps) - 1)
	}
}

func (m *model) report(rt *rapid.T) {
	if len(m.taps) == 0 {
		rt.Skip("nothing to report")
	}
	m.tick(moment)
	i := rapid.IntRange(0, len(m.taps)-1).Draw(rt, "tap")
	if m.Clock.Now().Sub(m.taps[i].at) > 29*24*time.Hour {
		rt.Skip("too old to be reported")
	}
	m.reportTap(i)
}

func (m *model) reportTap(i int) {
	t := m.taps[i]
	m.taps = append(m.taps[:i:i], m.taps[i+1:]...)
	m.known = append(m.known, t)
	r := m.Repeat(t.id, t.k.openid, t.k.tmpl, "accept", m.Clock.Now().Sub(t.at))
	may := map[pair][]int64{}
	switch r.Note {
	case "":
		if r.Counted != 1 {
			m.rt.Fatalf("report: %+v", r)
		}
	case "inferred", "already_gone", "limit":
		may[t.k] = []int64{m.slip[t.k] - 1}
		if r.Note == "limit" {
			if m.limited == nil {
				m.limited = map[pair]time.Time{}
			}
			m.limited[t.k] = t.at
		}
	default:
		m.rt.Fatalf("report: %+v", r)
	}
	m.settle("report, "+r.Note, may)
}

func (m *model) reportAgain(rt *rapid.T) {
	if len(m.known) == 0 {
		rt.Skip("nothing was reported")
	}
	m.tick(moment)
	t := rapid.SampledFrom(m.known).Draw(rt, "tap")
	if m.Clock.Now().Sub(t.at) > 29*24*time.Hour {
		rt.Skip("its witness may be purged")
	}
	if r := m.Repeat(t.id, t.k.openid, t.k.tmpl, "accept", m.Clock.Now().Sub(t.at)); r.Note != "duplicate" || r.Counted != 0 {
		rt.Fatalf("the same report again: %+v", r)
	}
	m.settle("repeated report", nil)
}

func (m *model) reject(rt *rapid.T) {
	m.tick(moment)
	k := m.pick(rt)
	m.Tap(k.openid, k.tmpl, rapid.SampledFrom([]string{"reject", "ban", "filter"}).Draw(rt, "choice"), 0)
	m.settle("reject", nil)
}

// adjust is a person who errs: the slip grows by what was added.
func (m *model) adjust(rt *rapid.T) {
	m.tick(moment)
	k := m.pick(rt)
	d := rapid.Int64Range(-1, 2).Draw(rt, "delta")
	_, err := m.Adjust(context.Background(), App, ledger.Adjustment{OpenID: k.openid, Template: k.tmpl, Delta: d, Exact: rapid.Bool().Draw(rt, "exact"), Reason: "model", Source: hongyan.SourceAdjust})
	if d < 0 && m.shot.subs[k].Available < -d {
		wantCode(rt, err, hongyan.CodeInvalid)
		d = 0
	} else {
		m.must(err)
	}
	m.adjusted = append(m.adjusted, modelAdjust{k, m.Clock.Now(), d})
	m.settle("adjust", map[pair][]int64{k: {m.slip[k] + d}})
}

func (m *model) submit(rt *rapid.T) {
	m.tick(moment)
	k := m.pick(rt)
	s := Submission(k.openid, template(k.tmpl))
	s.OnNoGrant = rapid.SampledFrom([]hongyan.OnNoGrant{"fail", "send", "hold"}).Draw(rt, "on_no_grant")
	s.OnUncertain = rapid.SampledFrom([]hongyan.OnUncertain{"keep", "resend"}).Draw(rt, "on_uncertain")
	s.OnBusy = rapid.SampledFrom([]hongyan.OnBusy{"retry", "uncertain"}).Draw(rt, "on_busy")
	s.Reserve = rapid.SampledFrom([]hongyan.ReserveAt{"submit", "send"}).Draw(rt, "reserve")
	s.Priority = rapid.SampledFrom([]hongyan.Priority{"low", "normal", "high"}).Draw(rt, "priority")
	later := rapid.Bool().Draw(rt, "later")
	if later {
		s.SendAt = m.Clock.Now().Add(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour}).Draw(rt, "in"))
	}
	if rapid.Bool().Draw(rt, "expires") {
		s.ExpiresAt = m.Clock.Now().Add(rapid.SampledFrom([]time.Duration{time.Hour + time.Minute, 3 * time.Hour}).Draw(rt, "expires in"))
	}
	m.Lane.Room(rapid.IntRange(0, 1).Draw(rt, "room"))
	before := m.shot.subs[k]
	msg, err := m.Try(s)
	exactZero := before.Available == 0 && before.Baseline == hongyan.BaselineExact && !(later && s.Reserve == hongyan.ReserveSend)
	switch {
	case exactZero && s.OnNoGrant == hongyan.OnNoGrantFail:
		wantCode(rt, err, hongyan.CodeNoGrant)
	case exactZero && s.OnNoGrant == hongyan.OnNoGrantHold:
		if hongyan.CodeOf(err) != hongyan.CodeHeldLimit {
			m.must(err)
			if msg.Status != hongyan.StateHeld {
				rt.Fatalf("submitted: %s, want held", msg.Status)
			}
		}
	default:
		m.must(err)
		want := 0
		if before.Available > 0 && !(later && s.Reserve == hongyan.ReserveSend) {
			want = 1
		}
		if msg.Reserved != want || msg.Status == hongyan.StateHeld || (msg.Status == hongyan.StateScheduled) != later {
			rt.Fatalf("submitted: %s with %d reserved, want %d", msg.Status, msg.Reserved, want)
		}
	}
	if err == nil {
		m.messages[msg.ID] = &modelMessage{k: k, last: msg.Status}
		m.order = append(m.order, msg.ID)
	}
	m.start(m.Lane.Jobs())
	if m.Lane.Free() > 1 {
		rt.Fatalf("%d places are free", m.Lane.Free())
	}
	m.settle("submit", nil)
}

func (m *model) start(jobs []*ledger.Job) {
	for _, j := range jobs {
		mj := &modelJob{job: j, message: m.messages[j.Message.ID]}
		m.jobs = append(m.jobs, mj)
		m.claimed[j.Message.ID] = mj
	}
}

func (m *model) claim(rt *rapid.T) {
	m.tick(moment)
	m.start(m.Claim(rapid.IntRange(1, 3).Draw(rt, "most")))
	m.settle("claim", nil)
}

func (m *model) pickJob(rt *rapid.T, called bool) *modelJob {
	var some []*modelJob
	for _, j := range m.jobs {
		if (j.call != nil) == called {
			some = append(some, j)
		}
	}
	if len(some) == 0 {
		rt.Skip("no such job")
	}
	return rapid.SampledFrom(some).Draw(rt, "job")
}

var modelClasses = []hongyan.OutcomeClass{"caller", "template", "limited", "unknown", "banned", "token", "quota", "account", "busy", "pace", "same_user", "unsent"}

// call is what WeChat does with a job; the result is on its way.
func (m *model) call(rt *rapid.T) {
	m.tick(moment)
	j := m.pickJob(rt, false)
	if j.taken {
		// The last check before the call sees that the lease is over.
		m.finishJob(j, m.Outcome(hongyan.OutcomeGiveBack))
		m.settle("give back after the lease", nil)
		return
	}
	k := j.message.k
	class, spent := hongyan.OutcomeClass(""), false
	switch rapid.IntRange(0, 5).Draw(rt, "fate") {
	case 0:
		class = rapid.SampledFrom(modelClasses).Draw(rt, "class")
	case 1: // no clear answer, whatever happened
		class, spent = hongyan.OutcomeUnclear, m.truth[k] > 0 && rapid.Bool().Draw(rt, "spent")
	default:
		class = hongyan.OutcomeRecipient
		if m.truth[k] > 0 {
			class, spent = hongyan.OutcomeOK, true
		}
	}
	j.outcome = m.Outcome(class)
	j.call = &modelCall{start: m.Clock.Now(), spent: spent}
	j.message.calls = append(j.message.calls, j.call)
	if spent {
		m.truth[k]--
	}
	m.settle("call", nil)
}

func (m *model) finishJob(j *modelJob, o hongyan.Outcome) {
	for i := range m.jobs {
		if m.jobs[i] == j {
			m.jobs = append(m.jobs[:i:i], m.jobs[i+1:]...)
			break
		}
	}
	if m.claimed[j.job.Message.ID] == j {
		delete(m.claimed, j.job.Message.ID)
	}
	m.Record(j.job, o)
	if mm := j.message; mm.last == hongyan.StateUncertain && o.Class != hongyan.OutcomeUnclear {
		// It is known now, so it may wait again, and the ledger's own upkeep may already have
		// found that it has expired.
		mm.last = hongyan.StateQueued
	}
}

// record is the result reaching the ledger, maybe after its lease was taken over.
func (m *model) record(rt *rapid.T) {
	m.tick(moment)
	j := m.pickJob(rt, true)
	mm, k, id := j.message, j.message.k, j.job.Message.ID
	before := m.shot.messages[id]
	m.finishJob(j, j.outcome)
	if _, there := m.messages[id]; !there {
		m.settle("record on a message that is gone", nil)
		return
	}
	after := m.Get(id)
	may := map[pair][]int64{}
	reserved, unsettled := int64(before.Reserved), m.unsettled(k, mm)
	switch j.outcome.Class {
	case hongyan.OutcomeOK:
		switch {
		case after.Status != hongyan.StateAccepted || before.Status.Final():
			// Evidence of an attempt whose message has moved on: one more spend, at most.
			may[k] = []int64{m.slip[k], m.slip[k] - 1}
		case reserved == 0:
			may[k] = []int64{m.slip[k] + unsettled, m.slip[k] + unsettled - 1}
			mm.forget()
		case before.Status == hongyan.StateQueued: // a resend that is not needed any more
			may[k] = []int64{m.slip[k] + unsettled - 1}
			mm.forget()
		default:
			may[k] = []int64{m.slip[k] + unsettled - reserved}
			mm.forget()
		}
	case hongyan.OutcomeRecipient:
		if after.Errcode == nil || *after.Errcode != 43101 || after.Attempt != j.job.Message.Attempt || before.Status.Final() || before.Status == hongyan.StateQueued {
			break // it came too late to say anything
		}
		may[k] = m.none(k, j, before, after)
	}
	m.settle(fmt.Sprintf("record %s on a message %s", j.outcome.Class, before.Status), may)
	m.wantOutcome(j, before, after)
}

// none is what 43101 leaves: WeChat had no grant when the call began, so what the ledger has
// is what was earned since, and a grant that stays with a message that is uncertain.
func (m *model) none(k pair, j *modelJob, before hongyan.Message, after *hongyan.Message) []int64 {
	for _, mm := range m.messages {
		if mm.k == k {
			for _, c := range mm.calls {
				if !c.start.After(j.call.start) {
					c.spent = false
				}
			}
		}
	}
	if before.Status != hongyan.StateSending || !m.limited[k].IsZero() {
		return nil // others may have spent younger ones meanwhile
	}
	var n int64
	for _, t := range m.taps {
		if t.k == k && !t.at.After(j.call.start) {
			n++ // its report will find it gone
		}
	}
	for _, a := range m.adjusted {
		if a.k == k && a.at.After(j.call.start) {
			if a.delta < 0 {
				return nil // nobody knows which one it took away
			}
			n += a.delta
		}
	}
	if after.Status == hongyan.StateUncertain {
		n += int64(min(before.Reserved, 1))
	}
	return []int64{n}
}

// wantOutcome checks the state that a result of a call under way leads to.
func (m *model) wantOutcome(j *modelJob, before hongyan.Message, after *hongyan.Message) {
	if before.Status != hongyan.StateSending || before.Attempt != j.job.Message.Attempt {
		return
	}
	unclear := j.job.Message.Progress.EarlierUnclear
	want := map[hongyan.OutcomeClass][]hongyan.State{
		"ok": {hongyan.StateAccepted}, "unclear": {hongyan.StateUncertain}, "busy": {hongyan.StateQueued, hongyan.StateFailed}, "same_user": {hongyan.StateQueued},
		"banned": {hongyan.StateQueued}, "token": {hongyan.StateQueued}, "quota": {hongyan.StateQueued}, "account": {hongyan.StateQueued}, "pace": {hongyan.StateQueued},
		"unsent": {hongyan.StateQueued, hongyan.StateFailed}, "recipient": {hongyan.StateFailed},
		"caller": {hongyan.StateFailed}, "template": {hongyan.StateFailed}, "limited": {hongyan.StateFailed}, "unknown": {hongyan.StateFailed},
	}[j.outcome.Class]
	if before.OnBusy == hongyan.OnBusyUncertain && j.outcome.Class == hongyan.OutcomeBusy {
		want = []hongyan.State{hongyan.StateUncertain}
	}
	if before.OnNoGrant == hongyan.OnNoGrantHold && j.outcome.Class == hongyan.OutcomeRecipient {
		// Held, or let go at once by a grant earned meanwhile.
		want = append(want, hongyan.StateHeld, hongyan.StateQueued)
	}
	for _, s := range want {
		if unclear && s == hongyan.StateFailed {
			s = hongyan.StateUncertain
		}
		if after.Status == s {
			return
		}
	}
	m.rt.Fatalf("after %s (earlier unclear: %v): %s, want one of %s", j.outcome.Class, unclear, after.Status, want)
}

func (m *model) giveBack(rt *rapid.T) {
	m.tick(moment)
	j := m.pickJob(rt, false)
	before := m.shot.messages[j.job.Message.ID]
	class := hongyan.OutcomeGiveBack
	if !before.ExpiresAt.After(m.Clock.Now()) {
		class = hongyan.OutcomeExpired
	}
	m.finishJob(j, m.Outcome(class))
	if _, there := m.messages[j.job.Message.ID]; !there {
		m.settle("give back a message that is gone", nil)
		return
	}
	after := m.Get(j.job.Message.ID)
	if !j.taken && after.Attempt != j.job.Message.Attempt-1 {
		rt.Fatalf("%s: attempt %d, want %d", class, after.Attempt, j.job.Message.Attempt-1)
	}
	m.settle("give back", nil)
}

func (m *model) pickMessage(rt *rapid.T) hongyan.MessageID {
	if len(m.order) == 0 {
		rt.Skip("no message")
	}
	return rapid.SampledFrom(m.order).Draw(rt, "message")
}

func (m *model) cancel(rt *rapid.T) {
	id := m.pickMessage(rt)
	m.tick(moment)
	before := m.shot.messages[id]
	_, err := m.Cancel(context.Background(), id)
	switch {
	case before.Status == hongyan.StateCanceled, before.Status.Cancelable():
		m.must(err)
	case before.Status.Final():
		wantCode(rt, err, hongyan.CodeAlreadyFinal)
	default:
		wantCode(rt, err, hongyan.CodeTooLate)
	}
	m.settle("cancel", nil)
}

// resolve is a person who may be wrong.
func (m *model) resolve(rt *rapid.T) {
	id := m.pickMessage(rt)
	m.tick(moment)
	before, mm := m.shot.messages[id], m.messages[id]
	as := rapid.SampledFrom([]hongyan.State{hongyan.StateDelivered, hongyan.StateFailed, hongyan.StateQueued}).Draw(rt, "as")
	_, err := m.Resolve(context.Background(), id, as)
	may := map[pair][]int64{}
	if before.Status == hongyan.StateUncertain && err == nil {
		reserved, unsettled := int64(before.Reserved), m.unsettled(mm.k, mm)
		switch {
		case as == hongyan.StateFailed:
			may[mm.k] = []int64{m.slip[mm.k] + unsettled}
			mm.forget()
		case as == hongyan.StateDelivered && reserved == 0:
			may[mm.k] = []int64{m.slip[mm.k] + unsettled, m.slip[mm.k] + unsettled - 1}
			mm.forget()
		case as == hongyan.StateDelivered:
			may[mm.k] = []int64{m.slip[mm.k] + unsettled - reserved}
			mm.forget()
		}
	}
	m.settle("resolve as "+string(as), may)
}

func (m *model) wait(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Second, 35 * time.Second, 2 * time.Minute, time.Hour, 25 * time.Hour, 8 * 24 * time.Hour}).Draw(rt, "wait")
	if d > time.Hour && rapid.IntRange(0, 2).Draw(rt, "long") > 0 {
		d = time.Minute
	}
	m.tick(d)
}

// fold writes what submits left to be written in sorted batches, which nobody may notice.
func (m *model) fold(*rapid.T) {
	m.must(m.Fold(context.Background()))
	m.settle("fold", nil)
}

// retain deletes what has been final for long, after a time in which some may have become so.
func (m *model) retain(rt *rapid.T) {
	m.tick(rapid.SampledFrom([]time.Duration{time.Millisecond, 25 * time.Hour, 4 * day}).Draw(rt, "after"))
	m.must(m.Retain(context.Background()))
	m.settle("retain", nil)
}

// crash kills the process: calls under way are forgotten, what they spent is not.
func (m *model) crash(rt *rapid.T) {
	if rapid.IntRange(0, 2).Draw(rt, "really") > 0 {
		rt.Skip("not this time")
	}
	m.tick(moment)
	m.Restart()
	m.jobs, m.claimed = nil, map[hongyan.MessageID]*modelJob{}
	m.settle("crash", nil)
}

// finish lets everything come to its end: nothing may be stuck.
func (m *model) finish() {
	for range 40 {
		for len(m.jobs) > 0 {
			j := m.jobs[0]
			if j.call == nil {
				j.outcome = m.Outcome(hongyan.OutcomeGiveBack)
				if j.job.Message.Attempt > 1 || rapid.Bool().Draw(m.rt, "refused") {
					j.outcome = m.Outcome(hongyan.OutcomeCaller)
				}
			}
			m.finishJob(j, j.outcome)
		}
		m.Tick(time.Minute)
		m.start(m.Claim(4))
	}
	for len(m.jobs) > 0 {
		m.finishJob(m.jobs[0], m.Outcome(hongyan.OutcomeGiveBack))
	}
	m.WantIdle()
	m.Tick(10 * 24 * time.Hour)
	m.Tick(time.Minute)
	m.wantCounted()
	m.must(m.FoldStats(context.Background()))
	m.wantCounted()
	for id, msg := range m.look().messages {
		if !msg.Status.Final() && msg.Status != hongyan.StateUncertain {
			m.rt.Fatalf("%s is %s for ever", id, msg.Status)
		}
	}
	for _, k := range m.pairs {
		if s := m.Sub(k.openid, k.tmpl); s.Reserved != 0 {
			m.rt.Fatalf("%v still reserves %d", k, s.Reserved)
		}
	}
	m.shot = m.look()
	m.Tick(modelKept.Messages + time.Hour)
	m.must(m.Retain(context.Background()))
	now := m.look()
	m.retired("the end", now)
	for id, msg := range now.messages {
		if msg.Status.Final() {
			m.rt.Fatalf("%s is %s since %s and still there", id, msg.Status, msg.UpdatedAt)
		}
	}
	for _, k := range m.pairs {
		m.wantSpent("the end", k, now.subs[k], 0)
	}
}
