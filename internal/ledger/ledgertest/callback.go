package ledgertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// Push records an event of WeChat's and applies what is due.
func (e *Env) Push(cb hongyan.Callback) {
	e.TB.Helper()
	e.must(e.RecordCallback(context.Background(), App, cb))
	e.must(e.ApplyCallbacks(context.Background()))
}

// popup is a dialog answered at a time, to be told as an event.
func popup(openid hongyan.OpenID, at time.Time, choices ...string) hongyan.Callback {
	cb := hongyan.Callback{Event: hongyan.CallbackPopup, OpenID: openid, Encrypted: true, SentAt: at.Truncate(time.Second)}
	for i := 0; i < len(choices); i += 2 {
		cb.Items = append(cb.Items, hongyan.CallbackItem{TemplateID: choices[i], Choice: choices[i+1]})
	}
	return cb
}

func change(openid hongyan.OpenID, at time.Time, tmpl string) hongyan.Callback {
	cb := popup(openid, at, tmpl, "reject")
	cb.Event = hongyan.CallbackChange
	return cb
}

func sent(openid hongyan.OpenID, at time.Time, msgid int64, errorCode string) hongyan.Callback {
	status := "success"
	if errorCode != "0" {
		status = "failed: system failed"
	}
	return hongyan.Callback{Event: hongyan.CallbackSent, OpenID: openid, Encrypted: true, SentAt: at.Truncate(time.Second),
		Items: []hongyan.CallbackItem{{TemplateID: OneTime, MsgID: fmt.Sprint(msgid), ErrorCode: errorCode, ErrorStatus: status}}}
}

// silently reports an accept that no dialog was shown for.
func (e *Env) silently(id string, openid hongyan.OpenID, age time.Duration) hongyan.ReportResult {
	e.TB.Helper()
	silent := true
	rs, err := e.Report(context.Background(), App, []hongyan.Report{{ID: id, OpenID: openid, Template: OneTime, Choice: "accept", AgeMS: age.Milliseconds(), Silent: &silent}})
	e.must(err)
	return rs[0]
}

func (e *Env) callbacks() []hongyan.Callback {
	e.TB.Helper()
	all, _, err := e.Callbacks(context.Background(), App, ledger.CallbackFilter{})
	e.must(err)
	return all
}

// notes are what became of the latest callback.
func (e *Env) notes() string {
	e.TB.Helper()
	all := e.callbacks()
	if len(all) == 0 {
		e.TB.Fatalf("no callback is there")
	}
	return strings.Join(all[0].Notes, "; ")
}

func testCallback(t *testing.T, open func(testing.TB) *Database) {
	cases(t, open, fresh, callbackCases())
	cases(t, open, fresh, sentCases())
	for name, c := range map[string]struct {
		sources        hongyan.GrantSources
		report, pushed int64
	}{"both": {"both", 1, 1}, "events": {"events", 0, 1}, "reports": {"reports", 1, 1}} {
		settings := fresh
		settings.GrantSources = c.sources
		cases(t, open, settings, map[string]func(*Env){"grant_sources " + name: func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			if n := e.Sub("u1", OneTime).Available; n != c.report {
				e.TB.Errorf("after the report %d are available, want %d", n, c.report)
			}
			e.Push(popup("u1", e.Clock.Now(), OneTime, "accept"))
			if n := e.Sub("u1", OneTime).Available; n != c.pushed {
				e.TB.Errorf("after the event %d are available, want %d", n, c.pushed)
			}
		}})
	}
	void := fresh
	void.DialogReject = hongyan.DialogRejectVoid
	cases(t, open, void, map[string]func(*Env){
		"a reject voids once, whoever tells": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			rejected := e.Clock.Now()
			e.Clock.Advance(10 * time.Second)
			e.Tap("u1", OneTime, "accept", 0)
			e.Push(popup("u1", rejected, OneTime, "reject"))
			e.Tap("u1", OneTime, "reject", 10*time.Second)
			e.WantCount("u1", OneTime, Count{Available: 1, Voided: 1, Exact: true})
		},
		"a plain reject voids nothing": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			cb := popup("u1", e.Clock.Now(), OneTime, "reject")
			cb.Encrypted = false
			e.Push(cb)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
		},
	})
	t.Run("two replicas hear of one tap", func(t *testing.T) {
		t.Parallel()
		db := open(t)
		if !db.Shared {
			t.Skip("one process writes here")
		}
		testTwoWitnesses(t, db)
	})
}

func callbackCases() map[string]func(*Env) {
	ctx := context.Background()
	return map[string]func(*Env){
		"a popup counts": func(e *Env) {
			e.Push(popup("new user", Start))
			e.Push(popup("u1", Start, OneTime, "accept", Other, "reject", "tmpl-unknown", "accept"))
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
			if s := e.Sub("u1", Other); s.Standing != hongyan.StandingReject || s.Available != 0 {
				e.TB.Errorf("the refused one: %+v", s)
			}
			if n := e.notes(); !strings.Contains(n, OneTime+": accept, counted") || !strings.Contains(n, "tmpl-unknown: the app has no such template") {
				e.TB.Errorf("notes: %s", n)
			}
			if s := e.Sub("u1", OneTime); s.Entries[0].Source != hongyan.SourceEvent || s.Entries[0].Choice != "accept" {
				e.TB.Errorf("entries: %+v", s.Entries)
			}
		},
		"a repeat changes nothing": func(e *Env) {
			cb := popup("u1", Start, OneTime, "accept", Other, "accept")
			e.Push(cb)
			slices.Reverse(cb.Items)
			e.Push(cb)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
			if n := len(e.callbacks()); n != 1 {
				e.TB.Errorf("%d callbacks are there, want 1", n)
			}
			e.Clock.Advance(time.Second) // the next second is another tap
			e.Push(popup("u1", e.Clock.Now(), OneTime, "accept", Other, "accept"))
			e.WantCount("u1", OneTime, Count{Available: 2, Exact: true})
		},
		"report, then event": func(e *Env) {
			e.Tap("u1", OneTime, "acceptWithAudio", 0)
			e.Clock.Advance(3 * time.Second)
			e.Push(popup("u1", Start.Add(time.Second), OneTime, "accept"))
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
			if n := e.notes(); !strings.Contains(n, "paired") {
				e.TB.Errorf("notes: %s", n)
			}
		},
		"event, then report of the next start": func(e *Env) {
			e.Push(popup("u1", Start, OneTime, "accept"))
			e.Clock.Advance(20 * 24 * time.Hour)
			if r := e.Tap("u1", OneTime, "accept", 20*24*time.Hour); r.Note != "paired" || r.Counted != 0 {
				e.TB.Errorf("report: %+v", r)
			}
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
		},
		"too far apart": func(e *Env) {
			e.Clock.Advance(time.Hour)
			e.Push(popup("u1", Start, OneTime, "accept"))
			e.Tap("u1", OneTime, "accept", time.Hour-121*time.Second)
			e.WantCount("u1", OneTime, Count{Available: 2, Exact: true})
		},
		"in whatever order they come": func(e *Env) {
			// Taps a minute apart: the first event waits longest, and comes after it was taken
			// for that of another.
			at := func(i int) time.Time { return Start.Add(time.Duration(i) * time.Minute) }
			e.Clock.Advance(time.Hour)
			report := func(i int) { e.Tap("u1", OneTime, "accept", e.Clock.Now().Sub(at(i))) }
			event := func(i int) { e.Push(popup("u1", at(i), OneTime, "accept")) }
			report(0)
			event(1)
			event(3)
			report(1)
			report(3)
			event(0)
			e.WantCount("u1", OneTime, Count{Available: 3, Exact: true})
			event(2)
			report(2)
			e.WantCount("u1", OneTime, Count{Available: 4, Exact: true})
		},
		"a silent accept pairs with nothing": func(e *Env) {
			e.Push(popup("u1", Start, OneTime, "accept"))
			e.silently("s1", "u1", 0)
			e.Tap("u1", OneTime, "accept", 0)
			e.WantCount("u1", OneTime, Count{Available: 2, Exact: true})
		},
		"spent ones still pair": func(e *Env) {
			e.Push(popup("u1", Start, OneTime, "accept"))
			e.Clock.Advance(10 * time.Second)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Tap("u1", OneTime, "accept", 10*time.Second)
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"a submit that outruns its witnesses": func(e *Env) {
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.WantCount("u1", OneTime, Count{Spent: 1})
			e.Clock.Advance(time.Second)
			e.Tap("u1", OneTime, "accept", 0) // a second late, as it travelled
			e.Push(popup("u1", Start, OneTime, "accept"))
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"beyond the limit the event itself counts": func(e *Env) {
			for range hongyan.MaxOutstanding {
				e.Tap("u1", OneTime, "accept", 0)
			}
			e.Clock.Advance(10 * time.Minute)
			if r := e.Tap("u1", OneTime, "accept", 0); r.Note != "limit" {
				e.TB.Errorf("report: %+v", r)
			}
			e.Push(popup("u1", e.Clock.Now(), OneTime, "accept"))
			e.WantCount("u1", OneTime, Count{Available: hongyan.MaxOutstanding + 1, Exact: true})
		},
		"a refusal voids what was there before it": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1", sendAt(Start.Add(time.Hour)))
			e.Clock.Advance(time.Minute)
			refused := e.Clock.Now()
			e.Clock.Advance(time.Minute)
			e.Tap("u1", OneTime, "accept", 0)
			e.Push(change("u1", refused, OneTime)) // told after the younger accept
			e.WantCount("u1", OneTime, Count{Reserved: 1, Voided: 2, Exact: true})
			if s := e.Sub("u1", OneTime); s.Standing != hongyan.StandingAccept {
				e.TB.Errorf("standing %s, want that of the later tap", s.Standing)
			}
			if got := e.Get(m.ID); got.Reserved != 1 { // the younger one backs it
				e.TB.Errorf("the message reserves %d", got.Reserved)
			}
			e.Clock.Advance(time.Minute)
			if r := e.Tap("u1", OneTime, "accept", 2*time.Minute+30*time.Second); r.Note != "already_gone" {
				e.TB.Errorf("a tap from before: %+v", r)
			}
			e.Push(change("u1", e.Clock.Now(), OneTime))
			if s := e.Sub("u1", OneTime); s.Standing != hongyan.StandingReject || s.Available+s.Reserved != 0 {
				e.TB.Errorf("after the second refusal: %+v", s)
			}
		},
		"a refusal and an earlier tap, applied together": func(e *Env) {
			e.Clock.Advance(time.Hour)
			for _, cb := range []hongyan.Callback{change("u1", Start.Add(time.Minute), OneTime), popup("u1", Start, OneTime, "accept")} {
				e.must(e.RecordCallback(ctx, App, cb))
			}
			e.must(e.ApplyCallbacks(ctx))
			e.WantCount("u1", OneTime, Count{Voided: 1, Exact: true})
			if s := e.Sub("u1", OneTime); s.Standing != hongyan.StandingReject {
				e.TB.Errorf("standing %s, want that of the later refusal", s.Standing)
			}
		},
		"WeChat's clock is ahead, or absent": func(e *Env) {
			e.Push(change("u1", Start.Add(time.Hour), OneTime))
			e.Clock.Advance(10 * time.Second)
			if r := e.Tap("u1", OneTime, "accept", 0); r.Counted != 1 {
				e.TB.Errorf("the tap after the refusal: %+v", r)
			}
			e.Clock.Advance(10 * time.Minute)
			cb := popup("u1", Start, OneTime, "accept")
			cb.SentAt = time.Time{}
			e.Push(cb)
			e.WantCount("u1", OneTime, Count{Available: 2, Exact: true})
		},
		"a plain refusal voids nothing": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			cb := change("u1", e.Clock.Now(), OneTime)
			cb.Encrypted = false
			e.Push(cb)
			e.WantCount("u1", OneTime, Count{Available: 1, Exact: true})
		},
		"a refused long-term template is off": func(e *Env) {
			e.Push(popup("u1", Start, LongTerm, "accept"))
			held := e.Sub("u1", LongTerm)
			e.Clock.Advance(time.Minute)
			e.Push(change("u1", e.Clock.Now(), LongTerm))
			if s := e.Sub("u1", LongTerm); held.Standing != hongyan.StandingAccept || s.Standing != hongyan.StandingReject || s.Granted != 0 {
				e.TB.Errorf("first %+v, then %+v", held, s)
			}
			_, err := e.Try(Submission("u1", template(LongTerm)))
			wantCode(e.TB, err, hongyan.CodeNoGrant)
		},
		"held messages go out": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			m := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			e.Push(popup("u1", Start, OneTime, "accept"))
			e.WantState(m.ID, hongyan.StateQueued, "")
		},
		"unknown events are kept": func(e *Env) {
			raw := "{\"Event\":\"wxa_punish_event\",\"x\":\"\x00\xff\"}"
			e.Push(hongyan.Callback{Event: "wxa_punish_event", OpenID: "u1", Raw: raw, SentAt: Start})
			e.Push(hongyan.Callback{Event: "wxa_punish_event", OpenID: "u1", Raw: raw + " ", SentAt: Start}) // says something else
			all := e.callbacks()
			if len(all) != 2 || all[0].Status != hongyan.CallbackDone {
				e.TB.Fatalf("callbacks: %+v", all)
			}
			got, err := e.Callback(ctx, App, all[1].ID)
			e.must(err)
			if got.Raw != raw {
				e.TB.Errorf("raw %q, want %q", got.Raw, raw)
			}
			_, err = e.Callback(ctx, App, "cbk_01ARZ3NDEKTSV4RRFFQ69G5FAV")
			wantCode(e.TB, err, hongyan.CodeNotFound)
		},
		"what a stranger may send": func(e *Env) {
			for _, cb := range []hongyan.Callback{
				{Event: hongyan.CallbackPopup, OpenID: "no openid\x00", Encrypted: true, Items: []hongyan.CallbackItem{{TemplateID: "\x00\xff", Choice: strings.Repeat("x", 9000)}}},
				popup("u1", Start, OneTime, "maybe", OneTime, "filter"),
				{Event: hongyan.CallbackSent, OpenID: "u1", Encrypted: true, Items: []hongyan.CallbackItem{{MsgID: "9999999999999999999999"}}},
				{Event: hongyan.CallbackSent, Encrypted: true},
				{Event: strings.Repeat("長", 200), OpenID: hongyan.OpenID(strings.Repeat("o", 500))},
			} {
				e.Push(cb)
			}
			e.Clock.Advance(2 * time.Minute)
			e.must(e.ApplyCallbacks(ctx))
			for _, cb := range e.callbacks() {
				if cb.Status != hongyan.CallbackDone {
					e.TB.Errorf("still pending: %+v", cb)
				}
			}
			err := e.RecordCallback(ctx, App, hongyan.Callback{Event: hongyan.CallbackPopup, Items: make([]hongyan.CallbackItem, 101)})
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"keys": func(e *Env) {
			_, err := e.CallbackKeys(App)
			wantCode(e.TB, err, hongyan.CodeNotFound)
			first, second := hongyan.NewCallbackSecret(strings.Repeat("a", 43)), hongyan.NewCallbackSecret(strings.Repeat("b", 43))
			tok, to := hongyan.NewCallbackSecret("callbackTokenOfTheApp"), "https://old.example/wx"
			wantCode(e.TB, e.SetCallback(ctx, App, ledger.CallbackUpdate{AESKey: &first}), hongyan.CodeInvalid)
			e.must(e.SetCallback(ctx, App, ledger.CallbackUpdate{Token: &tok, AESKey: &first, ForwardTo: &to}))
			e.must(e.SetCallback(ctx, App, ledger.CallbackUpdate{AESKey: &second}))
			k, err := e.CallbackKeys(App)
			e.must(err)
			if k.Token != tok || k.AESKey != second || k.PreviousAESKey != first || k.ForwardTo != to {
				e.TB.Errorf("keys are not as set")
			}
			e.must(e.CallbackVerified(ctx, App))
			e.Push(popup("u1", Start, OneTime, "accept"))
			c, err := e.CallbackConfig(ctx, App)
			e.must(err)
			if !c.Encrypted || !c.VerifiedAt.Equal(Start) || !c.LastAt.Equal(Start) || c.Path != "/callback/"+string(App) || c.Token != "" {
				e.TB.Errorf("config: %+v", c)
			}
			if disk := e.DB.Bytes(e.TB); bytes.Contains(disk, []byte("callbackTokenOfTheApp")) || bytes.Contains(disk, []byte(strings.Repeat("a", 43))) {
				e.TB.Errorf("a key is on disk in the clear")
			}
			e.Clock.Advance(8 * 24 * time.Hour)
			if k, err = e.CallbackKeys(App); err != nil || !k.PreviousAESKey.IsZero() {
				e.TB.Errorf("the previous key still fits after a week (%v)", err)
			}
			e.must(e.RemoveCallback(ctx, App))
			_, err = e.CallbackConfig(ctx, App)
			wantCode(e.TB, err, hongyan.CodeNotFound)
		},
		"rejections": func(e *Env) {
			for i := range 103 {
				e.must(e.RejectCallback(ctx, App, hongyan.CallbackRejection{Reason: "bad_signature", Detail: fmt.Sprint(i), Remote: "192.0.2.1"}))
			}
			all, err := e.CallbackRejections(ctx, App)
			e.must(err)
			if len(all) != 100 || all[0].Detail != "102" || all[99].Detail != "3" {
				e.TB.Errorf("%d rejections, from %+v to %+v", len(all), all[0], all[len(all)-1])
			}
		},
		"pages": func(e *Env) {
			for i := range 5 {
				e.Push(popup("u1", Start.Add(time.Duration(i)*time.Second), OneTime, "accept"))
			}
			e.Push(change("u2", Start, OneTime))
			var got []hongyan.CallbackID
			f := ledger.CallbackFilter{Event: hongyan.CallbackPopup, OpenID: "u1", Limit: 2}
			for {
				page, next, err := e.Callbacks(ctx, App, f)
				e.must(err)
				for _, cb := range page {
					got = append(got, cb.ID)
				}
				if f.Cursor = next; next == "" {
					break
				}
			}
			if len(got) != 5 || !slices.IsSortedFunc(got, func(a, b hongyan.CallbackID) int { return strings.Compare(string(b), string(a)) }) {
				e.TB.Errorf("listed: %v", got)
			}
			_, _, err := e.Callbacks(ctx, App, ledger.CallbackFilter{Cursor: "zz"})
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
	}
}

// sentCases are about what becomes of a send.
func sentCases() map[string]func(*Env) {
	ctx := context.Background()
	const msgid = 1<<60 + 7 // of every accepted attempt of the tests
	uncertain := func(e *Env, mods ...func(*hongyan.Submission)) *hongyan.Message {
		m := e.Send("u1", mods...)
		e.Attempt(hongyan.OutcomeUnclear)
		return m
	}
	judge := func(e *Env) {
		e.Clock.Advance(61 * time.Second)
		e.must(e.ApplyCallbacks(ctx))
	}
	return map[string]func(*Env){
		"delivered": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Push(sent("u1", Start, msgid, "0"))
			e.WantState(m.ID, hongyan.StateDelivered, "")
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
			e.Push(sent("u1", Start.Add(time.Second), msgid, "5")) // a contradiction changes nothing
			e.WantState(m.ID, hongyan.StateDelivered, "")
		},
		"delivered, found by the folded index": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Clock.Advance(2 * time.Minute)
			e.must(e.Fold(ctx))
			e.Push(sent("u1", Start, msgid, "0"))
			e.WantState(m.ID, hongyan.StateDelivered, "")
		},
		"undelivered": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			cb := sent("u1", Start, msgid, "7")
			cb.Encrypted = false // a plain one may say so too
			e.Push(cb)
			e.WantState(m.ID, hongyan.StateUndelivered, hongyan.CodeUndelivered)
			if got := e.Get(m.ID); got.Errmsg != "ErrorCode 7 failed: system failed" || got.MsgID != fmt.Sprint(msgid) {
				e.TB.Errorf("errmsg %q, msgid %s", got.Errmsg, got.MsgID)
			}
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
		},
		"before the answer": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1")
			j := e.ClaimOne()
			e.Push(sent("u1", Start, msgid, "0"))
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			e.WantState(m.ID, hongyan.StateAccepted, "")
			e.Clock.Advance(2 * time.Second)
			e.must(e.ApplyCallbacks(ctx))
			e.WantState(m.ID, hongyan.StateDelivered, "")
		},
		"of another user's msgid": func(e *Env) {
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Push(sent("u2", Start, msgid, "0"))
			judge(e)
			e.WantState(m.ID, hongyan.StateAccepted, "")
		},
		"settles the one uncertain message": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := uncertain(e)
			e.Push(sent("u1", Start, msgid, "0"))
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			judge(e)
			e.WantState(m.ID, hongyan.StateDelivered, hongyan.CodeSentEvent)
			e.WantCount("u1", OneTime, Count{Spent: 1, Exact: true})
			if got := e.Get(m.ID); got.MsgID != fmt.Sprint(msgid) {
				e.TB.Errorf("msgid %q", got.MsgID)
			}
		},
		"settles one that held no grant": func(e *Env) {
			m := uncertain(e)
			e.Push(sent("u1", Start, msgid, "9"))
			judge(e)
			e.WantState(m.ID, hongyan.StateUndelivered, hongyan.CodeUndelivered)
			e.WantCount("u1", OneTime, Count{Spent: 1})
		},
		"two could be it": func(e *Env) {
			a, b := uncertain(e), uncertain(e)
			e.Push(sent("u1", Start, msgid, "0"))
			judge(e)
			e.WantState(a.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.WantState(b.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			if n := e.notes(); !strings.Contains(n, "2 uncertain ones") {
				e.TB.Errorf("notes: %s", n)
			}
		},
		"without a msgid it settles nothing uncertain": func(e *Env) {
			m := uncertain(e)
			for i, msgid := range []string{"", "x", "0"} {
				cb := sent("u1", Start.Add(time.Duration(i)*time.Second), 0, "0")
				cb.Items[0].MsgID = msgid
				e.Push(cb)
			}
			judge(e)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		},
		"an earlier attempt has its msgid": func(e *Env) {
			first := e.Send("u1")
			j := e.ClaimOne()
			late := e.Outcome(hongyan.OutcomeOK)
			late.MsgID = 77
			e.Tick(ledger.LeaseTime + 11*time.Second)
			_, err := e.Resolve(ctx, first.ID, hongyan.StateQueued)
			e.must(err)
			e.Tick(5 * time.Minute)
			e.Attempt(hongyan.OutcomeOK)
			e.Record(j, late)
			m := uncertain(e)
			e.Push(sent("u1", e.Clock.Now(), 77, "0"))
			judge(e)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		},
		"nothing vouches for a plain one": func(e *Env) {
			m := uncertain(e)
			cb := sent("u1", Start, msgid, "0")
			cb.Encrypted = false
			e.Push(cb)
			judge(e)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		},
		"outside of the call's time": func(e *Env) {
			e.Clock.Advance(time.Hour)
			m := uncertain(e)
			e.Push(sent("u1", e.Clock.Now().Add(-10*time.Second), msgid, "0"))
			judge(e)
			e.Clock.Advance(16 * time.Minute)
			e.Push(sent("u1", e.Clock.Now(), msgid, "0"))
			judge(e)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		},
		"waits for a call under way": func(e *Env) {
			m := uncertain(e)
			other := e.Send("u1")
			e.Clock.Advance(50 * time.Second)
			e.Push(sent("u1", e.Clock.Now(), msgid, "0"))
			e.Clock.Advance(55 * time.Second)
			j := e.ClaimOne()
			judge(e)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.Record(j, e.Outcome(hongyan.OutcomeOK)) // it brings the msgid
			e.Clock.Advance(time.Minute)
			e.must(e.ApplyCallbacks(ctx))
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.WantState(other.ID, hongyan.StateDelivered, "")
		},
		"a late answer takes its event back": func(e *Env) {
			m := uncertain(e)
			late := e.Send("u1")
			j := e.ClaimOne()
			o := e.Outcome(hongyan.OutcomeOK)
			e.Tick(ledger.LeaseTime + 11*time.Second) // taken over: uncertain too
			e.WantState(late.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			_, err := e.Resolve(ctx, late.ID, hongyan.StateFailed) // a person errs
			e.must(err)
			e.Push(sent("u1", e.Clock.Now(), msgid, "0"))
			judge(e)
			e.WantState(m.ID, hongyan.StateDelivered, hongyan.CodeSentEvent) // the only one left
			e.Record(j, o)
			e.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
		},
		"a user who leaves is erased": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1", sendAt(Start.Add(time.Hour)))
			cb := hongyan.Callback{Event: hongyan.CallbackCancellation, OpenID: "u1", SentAt: Start, Raw: `{"OpenID":"u1"}`}
			e.Push(cb)
			e.WantState(m.ID, hongyan.StateScheduled, "") // a plain one is not acted on
			cb.Encrypted, cb.SentAt = true, Start.Add(time.Second)
			e.Push(cb)
			e.WantState(m.ID, hongyan.StateCanceled, hongyan.CodeUserErased)
			_, err := e.User(ctx, App, "u1")
			wantCode(e.TB, err, hongyan.CodeUserNotFound)
		},
	}
}

// testTwoWitnesses lets two replicas hear of the same taps in the same moment.
func testTwoWitnesses(t *testing.T, db *Database) {
	ctx := context.Background()
	a := Open(t, db, fresh)
	b := &Env{TB: t, DB: db, Clock: a.Clock}
	b.open()
	t.Cleanup(b.Stop)
	const users = 30
	var wg sync.WaitGroup
	for i := range users {
		openid := hongyan.OpenID(fmt.Sprintf("user-%d", i))
		wg.Go(func() { a.Tap2(openid, i) })
		wg.Go(func() {
			if err := b.RecordCallback(ctx, App, popup(openid, Start, OneTime, "accept")); err != nil {
				t.Errorf("record: %v", err)
			}
			if err := b.ApplyCallbacks(ctx); err != nil {
				t.Errorf("apply: %v", err)
			}
		})
	}
	wg.Wait()
	for _, e := range []*Env{a, b} {
		e.must(e.ApplyCallbacks(ctx))
	}
	for i := range users {
		a.WantCount(hongyan.OpenID(fmt.Sprintf("user-%d", i)), OneTime, Count{Available: 1, Exact: true})
	}
}

// Tap2 is Tap for several goroutines.
func (e *Env) Tap2(openid hongyan.OpenID, i int) {
	if _, err := e.Report(context.Background(), App, []hongyan.Report{{ID: fmt.Sprintf("r%d", i), OpenID: openid, Template: OneTime, Choice: "accept"}}); err != nil {
		e.TB.Errorf("report: %v", err)
	}
}
