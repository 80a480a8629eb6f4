package ledgertest

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// Model runs random histories against a model of WeChat's own count.
//
// Let O be what the ledger says is outstanding (available and reserved), P the taps nobody
// has reported yet, S the calls that WeChat took a grant for and the ledger has not settled
// yet, and T WeChat's own count. The slip O + P − S − T may only change where the ledger
// has to guess, and by what that guess is worth; and WeChat's word that none is left
// (43101) sets it right, whatever was guessed before. Where there was no guess and no unknown
// past, the count is therefore equal to WeChat's.
//
// At most most histories are run, for databases on which each takes long; 0 is no bound.
func Model(t *testing.T, open func(testing.TB) *Database, most int) {
	done := 0
	rapid.Check(t, func(rt *rapid.T) {
		if done++; most > 0 && done > most {
			return
		}
		db := open(t)
		defer db.Drop()
		db.Config.Retention = modelKept
		settings := rapid.SampledFrom([]hongyan.AppSettings{fresh, existing}).Draw(rt, "settings")
		e := New(rt, db, settings)
		defer e.Stop()
		m := &model{Env: e, rt: rt, truth: map[pair]int64{}, slip: map[pair]int64{}, messages: map[hongyan.MessageID]*modelMessage{}, folded: map[pair]int64{}, claimed: map[hongyan.MessageID]*modelJob{}}
		for _, u := range modelUsers {
			for _, tmpl := range modelTemplates {
				k := pair{u, tmpl}
				m.pairs = append(m.pairs, k)
				if settings.History != hongyan.HistoryNew {
					m.truth[k] = rapid.Int64Range(0, 2).Draw(rt, "banked before")
					m.slip[k] = -m.truth[k]
				}
			}
		}
		m.settle("start", nil)
		rt.Repeat(map[string]func(*rapid.T){
			"tap": m.tap, "report": m.report, "repeat report": m.reportAgain, "reject": m.reject, "adjust": m.adjust,
			"submit": m.submit, "submit ": m.submit, "claim": m.claim, "claim ": m.claim, "call": m.call, "call ": m.call, "record": m.record, "record ": m.record,
			"give back": m.giveBack, "cancel": m.cancel, "resolve": m.resolve, "wait": m.wait, "crash": m.crash, "fold": m.fold, "retain": m.retain,
		})
		m.finish()
	})
}

var (
	modelUsers     = []hongyan.OpenID{"alice", "bob"}
	modelTemplates = []string{OneTime, Other}
	modelKept      = ledger.Retention{Messages: 3 * day, Data: day}
)

// moment lies between two steps: more than what the time of a tap may be off.
const moment = 3 * time.Second

type pair struct {
	openid hongyan.OpenID
	tmpl   string
}

// modelTap is an accept that the mini program has not reported yet.
type modelTap struct {
	id string
	at time.Time
	k  pair
}

type modelCall struct {
	start time.Time
	spent bool // WeChat took a grant, and the ledger has not accounted for it
}

type modelMessage struct {
	k     pair
	calls []*modelCall
	last  hongyan.State
}

// modelJob is a job of this process with what became of its call.
type modelJob struct {
	job     *ledger.Job
	message *modelMessage
	call    *modelCall // nil until the call is made
	outcome hongyan.Outcome
	taken   bool // the lease was taken over
}

type model struct {
	*Env
	rt       *rapid.T
	pairs    []pair
	truth    map[pair]int64 // T
	slip     map[pair]int64
	taps     []modelTap // P
	known    []modelTap // reported
	adjusted []modelAdjust
	limited  map[pair]time.Time
	messages map[hongyan.MessageID]*modelMessage
	order    []hongyan.MessageID
	folded   map[pair]int64 // spends of messages that retention has deleted
	jobs     []*modelJob
	claimed  map[hongyan.MessageID]*modelJob
	shot     snapshot
}

type modelAdjust struct {
	k     pair
	at    time.Time
	delta int64
}

type snapshot struct {
	subs     map[pair]hongyan.Subscription
	messages map[hongyan.MessageID]hongyan.Message
}

// look reads counts and messages as they are at one moment: the ledger's own upkeep may
// change both in between, and then they are read again.
func (m *model) look() snapshot {
	for {
		s := m.read()
		same := true
		for _, k := range m.pairs {
			same = same && reflect.DeepEqual(s.subs[k], m.Sub(k.openid, k.tmpl))
		}
		if same {
			return s
		}
	}
}

func (m *model) read() snapshot {
	s := snapshot{map[pair]hongyan.Subscription{}, map[hongyan.MessageID]hongyan.Message{}}
	for _, k := range m.pairs {
		s.subs[k] = m.Sub(k.openid, k.tmpl)
	}
	f := ledger.MessageFilter{App: App, Limit: 1000}
	for {
		page, next, err := m.Messages(context.Background(), f)
		m.must(err)
		for _, msg := range page {
			s.messages[msg.ID] = msg
		}
		if f.Cursor = next; next == "" {
			return s
		}
	}
}

// unsettled is S for one message or, with nil, for the pair.
func (m *model) unsettled(k pair, of *modelMessage) int64 {
	var n int64
	for _, msg := range m.messages {
		if msg.k == k && (of == nil || of == msg) {
			for _, c := range msg.calls {
				if c.spent {
					n++
				}
			}
		}
	}
	return n
}

func (m *model) slipOf(k pair, s snapshot) int64 {
	n := s.subs[k].Available + s.subs[k].Reserved - m.unsettled(k, nil) - m.truth[k]
	for _, t := range m.taps {
		if t.k == k {
			n++
		}
	}
	return n
}

// settle checks everything after a step; may gives the slips that the step may have led to.
func (m *model) settle(what string, may map[pair][]int64) {
	now := m.look()
	m.retired(what, now)
	reserved, spent := map[pair]int64{}, map[pair]int64{}
	sending := map[hongyan.OpenID]int{}
	for id, msg := range now.messages {
		k := pair{msg.To, msg.Template}
		if msg.Status.Live() {
			reserved[k] += int64(msg.Reserved)
		} else {
			spent[k] += int64(msg.Reserved)
		}
		if old := m.Clock.Now().Sub(msg.UpdatedAt) >= modelKept.Data; msg.DataErased && !(msg.Status.Final() && old) || msg.DataErased == (len(msg.Data) > 0) {
			m.rt.Fatalf("%s: %s message of %s has data %v, erased: %v", what, msg.Status, msg.UpdatedAt, msg.Data, msg.DataErased)
		}
		if msg.Status == hongyan.StateHeld && msg.Reserved != 0 || msg.Reserved < 0 || msg.Reserved > 2 {
			m.rt.Fatalf("%s: %s message reserves %d", what, msg.Status, msg.Reserved)
		}
		if msg.Status == hongyan.StateSending {
			sending[msg.To]++
			if m.claimed[id] == nil {
				m.rt.Fatalf("%s: %s is being sent, by nobody", what, id)
			}
		}
		mm := m.messages[id]
		if mm.last != msg.Status && (mm.last.Final() || mm.last == hongyan.StateUncertain && (msg.Status == hongyan.StateExpired || msg.Status == hongyan.StateCanceled)) {
			m.rt.Fatalf("%s: %s went from %s to %s", what, id, mm.last, msg.Status)
		}
		mm.last = msg.Status
	}
	if len(now.messages) != len(m.messages) {
		m.rt.Fatalf("%s: %d messages, want %d", what, len(now.messages), len(m.messages))
	}
	live := 0
	for u, n := range sending {
		live += n
		if n > 1 {
			m.rt.Fatalf("%s: %d messages of %s are being sent at once", what, n, u)
		}
	}
	if n := m.Stats().UnderWay; n != live {
		m.rt.Fatalf("%s: %d users are busy, and %d messages are being sent", what, n, live)
	}
	for _, k := range m.pairs {
		s := now.subs[k]
		m.wantSoundCount(s)
		if s.Reserved != reserved[k] {
			m.rt.Fatalf("%s: %v reserved %d, messages hold %d", what, k, s.Reserved, reserved[k])
		}
		m.wantSpent(what, k, s, spent[k])
		got, ok := m.slipOf(k, now), false
		want, listed := may[k]
		if !listed {
			want = []int64{m.slip[k]}
		}
		for _, w := range want {
			ok = ok || w == got
		}
		if !ok && want != nil {
			for id, msg := range now.messages {
				if m.messages[id].k == k {
					old := m.shot.messages[id]
					m.rt.Logf("%s: %s with %d, before %s with %d; attempt %d, updated %s", id, msg.Status, msg.Reserved, old.Status, old.Reserved, msg.Attempt, msg.UpdatedAt)
				}
			}
			m.rt.Fatalf("%s: %v: available %d + reserved %d + unreported − unsettled %d − WeChat's own %d is off by %d, want one of %d; entries: %+v", what, k, s.Available, s.Reserved, m.unsettled(k, nil), m.truth[k], got, want, s.Entries)
		}
		m.slip[k] = got
	}
	if m.rt.Failed() {
		m.rt.Fatalf("%s: see above", what)
	}
	m.shot = now
}

// retired checks the messages that are gone: only retention takes them away, and only those
// that were final long enough.
func (m *model) retired(what string, now snapshot) {
	for id, mm := range m.messages {
		if _, there := now.messages[id]; there {
			continue
		}
		old := m.shot.messages[id]
		if !old.Status.Final() || m.Clock.Now().Sub(old.UpdatedAt) < modelKept.Messages {
			m.rt.Fatalf("%s: %s, %s since %s, is gone", what, id, old.Status, old.UpdatedAt)
		}
		m.folded[mm.k] += int64(old.Reserved)
		m.slip[mm.k] += m.unsettled(mm.k, mm) // nobody will account for its calls any more
		delete(m.messages, id)
		m.order = slices.DeleteFunc(m.order, func(o hongyan.MessageID) bool { return o == id })
	}
}

// wantSpent checks that the history adds up: messages that were sent, those that retention
// has deleted, and what had to be entered because no message held a grant for it.
func (m *model) wantSpent(what string, k pair, s hongyan.Subscription, sent int64) {
	if len(s.Entries) == 100 {
		return // not all of them
	}
	var folded, inferred int64
	for _, en := range s.Entries {
		folded += en.Spent
		if en.Source == hongyan.SourceInferred || en.Source == hongyan.SourceResolved {
			inferred += en.Granted
		}
	}
	if folded != m.folded[k] || s.Spent != sent+folded+inferred {
		m.rt.Fatalf("%s: %v: spent %d; messages say %d, entries %d of deleted ones, which spent %d, and %d inferred: %+v", what, k, s.Spent, sent, folded, m.folded[k], inferred, s.Entries)
	}
}

// tick lets a little time pass, so that no two steps share a moment, and does what is due.
func (m *model) tick(d time.Duration) {
	before := m.shot
	m.Tick(d)
	now := m.look()
	may := map[pair][]int64{}
	for id, old := range before.messages {
		got, mm := now.messages[id], m.messages[id]
		if j := m.claimed[id]; j != nil && got.Status != hongyan.StateSending {
			j.taken = true
			delete(m.claimed, id)
		}
		if old.Status == hongyan.StateUncertain && got.Status == hongyan.StateUncertain && old.Reserved > got.Reserved {
			// Given up after a week: a guess.
			if m.Clock.Now().Sub(old.UpdatedAt) < 7*24*time.Hour {
				m.rt.Fatalf("%s lost its grant after %s", id, m.Clock.Now().Sub(old.UpdatedAt))
			}
			m.slip[mm.k] += m.unsettled(mm.k, mm) - int64(old.Reserved-got.Reserved)
			mm.forget()
		}
	}
	m.settle("tick", may)
}

// forget says that the ledger has accounted for the message's calls.
func (mm *modelMessage) forget() {
	for _, c := range mm.calls {
		c.spent = false
	}
}
