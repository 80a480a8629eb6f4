package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

// TestTruth compares our count with WeChat's own, which WeChat never tells and the sandbox
// does: through random taps, refusals and sends, with witnesses that come late, twice and in
// any order. -rapid.checks=5000 is for long runs.
func TestTruth(t *testing.T) {
	for name, reject := range map[string]hongyan.DialogReject{"keep": hongyan.DialogRejectKeep, "void": hongyan.DialogRejectVoid} {
		t.Run("dialog_reject "+name, func(t *testing.T) {
			t.Parallel()
			t.Run("equal", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { runTruth(t, rt, reject, true) }) })
			t.Run("never above", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { runTruth(t, rt, reject, false) }) })
		})
	}
}

const (
	truthToken = "truthToken"
	truthKey   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	// apart is more than what a pair of witnesses may be apart, step more than what the time
	// of a tap may be off.
	apart = 125 * time.Second
	step  = 6 * time.Second
)

// truth is one history: a phone and WeChat (the sandbox), our ledger, and what is on its way
// between them.
type truth struct {
	*ledgertest.Env
	rt     *rapid.T
	wx     *sandbox.Sandbox
	client *wechat.Client
	app    sandbox.App
	tmpl   sandbox.NewTemplate
	// flagged: the phone knows of "always keep" and says so. Otherwise it cannot tell.
	flagged bool
	void    bool

	mu     sync.Mutex
	pushed []hongyan.Callback // by WeChat, not yet sorted into pending

	pending []*testimony
	told    []*testimony
	last    map[hongyan.OpenID]time.Time // the latest tap
	lonely  map[hongyan.OpenID]bool      // it had one witness only
	always  map[hongyan.OpenID]bool
	reports int
}

// testimony is a witness on its way.
type testimony struct {
	what string
	tell func()
}

var truthUsers = []hongyan.OpenID{"user-a", "user-b"}

func runTruth(t *testing.T, rt *rapid.T, reject hongyan.DialogReject, flagged bool) {
	db := ledgertest.SQLite(t)
	defer db.Drop()
	settings := hongyan.AppSettings{DialogReject: reject, History: rapid.SampledFrom([]hongyan.History{"", hongyan.HistoryNew}).Draw(rt, "history")}
	m := &truth{Env: ledgertest.New(rt, db, settings), rt: rt, flagged: flagged, void: reject == hongyan.DialogRejectVoid,
		last: map[hongyan.OpenID]time.Time{}, lonely: map[hongyan.OpenID]bool{}, always: map[hongyan.OpenID]bool{}}
	defer m.Stop()
	defer m.start(reject)()
	rt.Repeat(map[string]func(*rapid.T){
		"tap": m.tap, "tap ": m.tap, "keep the choice": m.keepChoice, "refuse": m.refuse, "submit": m.submit, "submit ": m.submit,
		"tell": m.tell, "tell ": m.tell, "tell again": m.tellAgain, "wait": m.wait,
	})
	m.rest()
}

func (m *truth) must(err error) {
	if err != nil {
		m.rt.Fatalf("unexpected error: %v", err)
	}
}

func (m *truth) start(reject hongyan.DialogReject) (stop func()) {
	ctx := context.Background()
	m.wx = sandbox.New(sandbox.Config{Now: m.Clock.Now, KeepCalls: -1})
	wx := httptest.NewServer(m.wx)
	receiver := httptest.NewServer(http.HandlerFunc(m.receive))
	var err error
	m.app, err = m.wx.CreateApp(sandbox.AppSpec{})
	m.must(err)
	_, err = m.wx.SetRules(m.app.AppID, sandbox.Rules{DialogReject: string(reject)})
	m.must(err)
	m.tmpl, err = m.wx.AddTemplate(sandbox.TemplateSpec{AppID: m.app.AppID})
	m.must(err)
	for _, u := range truthUsers {
		_, err = m.wx.AddUsers(sandbox.UsersSpec{AppID: m.app.AppID, OpenID: string(u)})
		m.must(err)
	}
	_, err = m.wx.SetPush(ctx, m.app.AppID, sandbox.PushSpec{URL: receiver.URL, Token: truthToken, AESKey: truthKey})
	m.must(err)
	m.client, err = wechat.New(wechat.Config{BaseURL: wx.URL})
	m.must(err)
	return func() {
		m.client.Close()
		m.must(m.wx.Close())
		wx.Close()
		receiver.Close()
	}
}

// receive is where WeChat pushes to: it opens the push and keeps it, to be told to the ledger later.
func (m *truth) receive(w http.ResponseWriter, r *http.Request) {
	keys := wechat.CallbackKeys{AppID: m.app.AppID, Token: truthToken, AESKey: truthKey}
	if r.Method == http.MethodGet {
		echo, err := keys.Echo(r.URL.Query(), m.Clock.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
		_, _ = io.WriteString(w, echo)
		return
	}
	body, _ := io.ReadAll(r.Body)
	cb, err := keys.Open(r.URL.Query(), body, m.Clock.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	out := hongyan.Callback{Event: cb.Event, OpenID: hongyan.OpenID(cb.FromUserName), Encrypted: cb.Encrypted, SentAt: cb.CreateTime, Raw: string(cb.Raw)}
	for _, i := range cb.Items {
		out.Items = append(out.Items, hongyan.CallbackItem{TemplateID: ledgertest.OneTime, Choice: i.Status, MsgID: i.MsgID, ErrorCode: i.ErrorCode, ErrorStatus: i.ErrorStatus})
	}
	m.mu.Lock()
	m.pushed = append(m.pushed, out)
	m.mu.Unlock()
	_, _ = io.WriteString(w, "success")
}

// events takes what WeChat has pushed since.
func (m *truth) events() []hongyan.Callback {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m.must(m.wx.Flush(ctx))
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.pushed
	m.pushed = nil
	return out
}

func (m *truth) later(what string, tell func()) {
	m.pending = append(m.pending, &testimony{what, tell})
}

func (m *truth) laterEvent(cb hongyan.Callback) {
	m.later(fmt.Sprintf("%s of %s at %s %v", cb.Event, cb.OpenID, cb.SentAt.Format(time.TimeOnly), cb.Items), func() {
		m.must(m.RecordCallback(context.Background(), ledgertest.App, cb))
		m.must(m.ApplyCallbacks(context.Background()))
	})
}

// tap lets a user answer the dialog, or WeChat answer in its place.
func (m *truth) tap(rt *rapid.T) {
	u := rapid.SampledFrom(truthUsers).Draw(rt, "user")
	choice := rapid.SampledFrom([]string{"accept", "accept", "reject"}).Draw(rt, "choice")
	fate := rapid.SampledFrom([]string{"both", "both", "report", "event"}).Draw(rt, "witnesses")
	m.Clock.Advance(step)
	// Two taps near each other, of which one is only reported and the other only pushed, cannot
	// be told from one.
	if near := m.Clock.Now().Sub(m.last[u]) < apart; near && (m.lonely[u] || fate != "both") {
		m.Clock.Advance(apart)
	}
	m.answer(u, choice, fate)
}

func (m *truth) answer(u hongyan.OpenID, choice, fate string) {
	at := m.Clock.Now()
	silent := m.always[u]
	res, err := m.wx.Tap(sandbox.TapSpec{AppID: m.app.AppID, OpenID: string(u), TemplateIDs: []string{m.tmpl.TemplateID}, Choices: map[string]string{m.tmpl.TemplateID: choice}})
	m.must(err)
	if choice = res.Success[m.tmpl.TemplateID]; choice == "" {
		m.rt.Fatalf("the tap failed: %+v", res)
	}
	events := m.events()
	if silent == (len(events) > 0) {
		m.rt.Fatalf("silent %v, and WeChat pushed %v", silent, events)
	}
	if silent {
		fate = "report" // nobody else can tell of it
	}
	if !silent || !m.flagged {
		m.last[u], m.lonely[u] = at, fate != "both"
	}
	if fate != "report" {
		for _, cb := range events {
			m.laterEvent(cb)
		}
	}
	if fate == "event" {
		return
	}
	m.reports++
	r := hongyan.Report{ID: fmt.Sprintf("r%d", m.reports), OpenID: u, Template: ledgertest.OneTime, Choice: choice}
	if m.flagged {
		r.Silent = &silent
	}
	travels := time.Duration(rapid.IntRange(0, 1000).Draw(m.rt, "travels")) * time.Millisecond
	m.later(fmt.Sprintf("report of %s at %s: %s", u, at.Format(time.TimeOnly), choice), func() {
		m.Clock.Advance(travels)
		r.AgeMS = m.Clock.Now().Sub(at).Milliseconds() - travels.Milliseconds()
		_, err := m.Report(context.Background(), ledgertest.App, []hongyan.Report{r})
		m.must(err)
	})
}

// keepChoice ticks "always keep my choice" in a dialog that all witnesses tell of.
func (m *truth) keepChoice(rt *rapid.T) {
	u := rapid.SampledFrom(truthUsers).Draw(rt, "user")
	if m.always[u] {
		rt.Skip("it is kept")
	}
	m.Clock.Advance(step + apart)
	_, err := m.wx.Tap(sandbox.TapSpec{AppID: m.app.AppID, OpenID: string(u), TemplateIDs: []string{m.tmpl.TemplateID}, Always: true})
	m.must(err)
	for _, cb := range m.events() {
		m.laterEvent(cb)
	}
	m.last[u], m.lonely[u] = m.Clock.Now(), true
	m.always[u] = true
}

// refuse is the user's word in the card's menu.
func (m *truth) refuse(rt *rapid.T) {
	u := rapid.SampledFrom(truthUsers).Draw(rt, "user")
	m.Clock.Advance(step)
	_, err := m.wx.Refuse(sandbox.RefuseSpec{AppID: m.app.AppID, OpenID: string(u), TemplateID: m.tmpl.TemplateID, Where: "card"})
	m.must(err)
	m.always[u] = m.remembered(u)
	for _, cb := range m.events() {
		m.laterEvent(cb)
	}
	m.Clock.Advance(step)
}

func (m *truth) remembered(u hongyan.OpenID) bool { return m.grants(u).Always != "" }

func (m *truth) grants(u hongyan.OpenID) sandbox.Grants {
	g, err := m.wx.Grants(sandbox.GrantQuery{AppID: m.app.AppID, OpenID: string(u), TemplateID: m.tmpl.TemplateID})
	m.must(err)
	return g
}

// submit sends at once, whether or not the ledger has heard of the tap.
func (m *truth) submit(rt *rapid.T) {
	u := rapid.SampledFrom(truthUsers).Draw(rt, "user")
	policy := rapid.SampledFrom([]hongyan.OnNoGrant{hongyan.OnNoGrantSend, hongyan.OnNoGrantFail, hongyan.OnNoGrantHold}).Draw(rt, "on_no_grant")
	if rapid.Bool().Draw(rt, "a while after the tap") {
		m.Clock.Advance(step)
	}
	_, err := m.Try(ledgertest.Submission(u, func(s *hongyan.Submission) { s.OnNoGrant = policy }))
	if c := hongyan.CodeOf(err); c != "" && c != hongyan.CodeNoGrant && c != hongyan.CodeHeldLimit {
		m.must(err)
	}
	m.sendAll()
}

// sendAll calls WeChat for everything that is due.
func (m *truth) sendAll() {
	ctx := context.Background()
	for jobs := m.Claim(100); len(jobs) > 0; jobs = m.Claim(100) {
		for _, j := range jobs {
			tok, err := m.client.GetStableAccessToken(ctx, m.app.AppID, m.app.Secret, false)
			m.must(err)
			msg := &wechat.SubscribeMessage{ToUser: string(j.Message.To), TemplateID: m.tmpl.TemplateID, Data: map[string]wechat.DataValue{}}
			for k, v := range m.tmpl.Example {
				msg.Data[k] = wechat.DataValue{Value: v}
			}
			o := m.Outcome(hongyan.OutcomeOK)
			res, err := m.client.SendSubscribeMessage(ctx, tok.AccessToken, msg)
			o.MsgID = res.MsgID
			var refused *wechat.Error
			if errors.As(err, &refused) && refused.Errcode == 43101 {
				o = m.Outcome(hongyan.OutcomeRecipient)
			} else {
				m.must(err)
			}
			m.Record(j, o)
		}
	}
	for _, cb := range m.events() { // what became of the sends
		m.laterEvent(cb)
	}
}

func (m *truth) tell(rt *rapid.T) {
	if len(m.pending) == 0 {
		rt.Skip("nothing to tell")
	}
	i := rapid.IntRange(0, len(m.pending)-1).Draw(rt, "witness")
	x := m.pending[i]
	m.pending = slices.Delete(m.pending, i, i+1)
	m.told = append(m.told, x)
	rt.Logf("told: %s", x.what)
	x.tell()
	m.sendAll() // held ones may go now
}

func (m *truth) tellAgain(rt *rapid.T) {
	if len(m.told) == 0 {
		rt.Skip("nothing was told")
	}
	x := rapid.SampledFrom(m.told).Draw(rt, "witness")
	rt.Logf("told again: %s", x.what)
	x.tell()
	m.sendAll()
}

func (m *truth) wait(rt *rapid.T) {
	m.Clock.Advance(rapid.SampledFrom([]time.Duration{step, time.Minute, time.Hour}).Draw(rt, "wait"))
	m.must(m.Sweep(context.Background()))
}

// rest tells everything that is still on its way, and compares.
func (m *truth) rest() {
	for len(m.pending) > 0 {
		x := m.pending[0]
		m.pending = m.pending[1:]
		m.rt.Logf("told at last: %s", x.what)
		x.tell()
		m.sendAll()
	}
	for _, u := range truthUsers {
		ours, theirs := m.Sub(u, ledgertest.OneTime), m.grants(u)
		if got := ours.Available + ours.Reserved; got > int64(theirs.Available) || m.flagged && got != int64(theirs.Available) {
			var history []string
			for _, e := range slices.Backward(ours.Entries) {
				history = append(history, fmt.Sprintf("%s %s +%d -%d %s %s", e.At.Format("15:04:05.000"), e.Source, e.Granted, e.Voided, e.Choice, e.Ref))
			}
			m.rt.Fatalf("%s: we count %d available and %d reserved (%s), WeChat has %d of %d, %d spent:\n%s", u, ours.Available, ours.Reserved, ours.Baseline, theirs.Available, theirs.Granted, theirs.Spent, strings.Join(history, "\n"))
		}
	}
}
