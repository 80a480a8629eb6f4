package ledgertest

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func testStock(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	take := func(e *Env, items ...hongyan.ImportItem) {
		e.TB.Helper()
		_, err := e.ImportGrants(ctx, App, items, "old program")
		e.must(err)
	}
	cases(t, open, existing, map[string]func(*Env){
		"import, and again": func(e *Env) {
			for range 2 {
				take(e, hongyan.ImportItem{OpenID: "u1", Template: Alias, Count: 3}, hongyan.ImportItem{OpenID: "u2", Template: OneTime, Count: 2, Exact: true})
				e.WantCount("u1", OneTime, Count{Available: 3})
				e.WantCount("u2", OneTime, Count{Available: 2, Exact: true})
			}
			take(e, hongyan.ImportItem{OpenID: "u1", Template: OneTime, Count: 1}) // a lower bound takes nothing away
			e.WantCount("u1", OneTime, Count{Available: 3})
			take(e, hongyan.ImportItem{OpenID: "u1", Template: OneTime, Count: 1, Exact: true})
			e.WantCount("u1", OneTime, Count{Available: 1, Voided: 2, Exact: true})
			if en := e.Sub("u1", OneTime).Entries[0]; en.Source != hongyan.SourceImport || en.Ref != "old program" {
				e.TB.Errorf("entry: %+v", en)
			}
		},
		"what messages hold is part of the count": func(e *Env) {
			take(e, hongyan.ImportItem{OpenID: "u1", Template: OneTime, Count: 2})
			e.Send("u1", sendAt(Start.Add(time.Hour)))
			take(e, hongyan.ImportItem{OpenID: "u1", Template: OneTime, Count: 2, Exact: true})
			e.WantCount("u1", OneTime, Count{Available: 1, Reserved: 1, Exact: true})
		},
		"held ones go": func(e *Env) {
			e.Exact("u1", OneTime, 0)
			m := e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			take(e, hongyan.ImportItem{OpenID: "u1", Template: OneTime, Count: 1, Exact: true})
			e.WantState(m.ID, hongyan.StateQueued, "")
		},
		"refused as a whole": func(e *Env) {
			_, err := e.ImportGrants(ctx, App, []hongyan.ImportItem{{OpenID: "u1", Template: OneTime, Count: 1}, {OpenID: "no openid", Template: OneTime}, {OpenID: "u1", Template: LongTerm}, {OpenID: "u1", Template: "none"}}, "")
			wantCode(e.TB, err, hongyan.CodeInvalid)
			if f := err.(*hongyan.Error).Fields; len(f) != 3 || f[0].Pointer != "/items/1/openid" || f[1].Code != "long_term" || f[2].Pointer != "/items/3/template" {
				e.TB.Errorf("fields: %+v", f)
			}
			e.WantCount("u1", OneTime, Count{})
		},
		"query": func(e *Env) {
			take(e, hongyan.ImportItem{OpenID: "u1", Template: OneTime, Count: 3}, hongyan.ImportItem{OpenID: "u1", Template: Other, Count: 1})
			got, err := e.QueryGrants(ctx, App, []hongyan.OpenID{"u1", "nobody", "u1"}, Alias)
			e.must(err)
			if len(got) != 2 || got[0].Available != 3 || got[1].OpenID != "nobody" || got[1].Available != 0 || got[1].Kind != hongyan.KindOneTime {
				e.TB.Errorf("of one template: %+v", got)
			}
			if got, err = e.QueryGrants(ctx, App, []hongyan.OpenID{"u1", "nobody"}, ""); err != nil || len(got) != 2 || got[0].TemplateID == got[1].TemplateID {
				e.TB.Errorf("of all: %+v %v", got, err)
			}
			_, err = e.QueryGrants(ctx, App, nil, "")
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"drift": func(e *Env) {
			want := func(what string, refused, inferred int64) {
				e.TB.Helper()
				if st := e.Stats(); st.Refused != refused || st.Inferred != inferred {
					e.TB.Errorf("%s: %d refused and %d inferred, want %d and %d", what, st.Refused, st.Inferred, refused, inferred)
				}
			}
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			want("a grant that nobody told of", 0, 1)
			e.Clock.Advance(time.Minute)
			for range 3 {
				e.Tap("u2", OneTime, "accept", 0)
			}
			e.Clock.Advance(time.Minute)
			e.Send("u2")
			e.Attempt(hongyan.OutcomeOK)
			want("as we counted", 0, 1)
			e.Clock.Advance(time.Minute)
			e.Send("u2")
			e.Attempt(hongyan.OutcomeRecipient)
			want("two that WeChat did not have", 2, 1)
			e.Send("u3")
			e.Attempt(hongyan.OutcomeRecipient)
			want("none counted, none there", 2, 1)
			e.Tap("u4", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Push(change("u4", e.Clock.Now(), OneTime))
			want("a refusal that WeChat told of", 2, 1)
			e.Tap("u5", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Send("u5")
			e.Attempt(hongyan.OutcomeOpenID)
			want("another app's openid", 2, 1)
		},
		"scenes": func(e *Env) {
			s, err := e.SetScene(ctx, App, hongyan.Scene{Name: "paid", Templates: []hongyan.SceneTemplate{{Template: Alias, Wanted: 3}, {Template: Other}}})
			e.must(err)
			if s.Templates[0].Template != OneTime || s.Templates[1].Wanted != 1 {
				e.TB.Errorf("scene: %+v", s)
			}
			_, err = e.SetScene(ctx, App, hongyan.Scene{Name: "paid", Templates: []hongyan.SceneTemplate{{Template: Other}}})
			e.must(err)
			if all, err := e.Scenes(App); err != nil || len(all) != 1 || len(all[0].Templates) != 1 {
				e.TB.Errorf("scenes: %+v %v", all, err)
			}
			_, err = e.SetScene(ctx, App, hongyan.Scene{Name: "Bad name", Templates: []hongyan.SceneTemplate{{Template: Other}}})
			wantCode(e.TB, err, hongyan.CodeInvalid)
			_, err = e.SetScene(ctx, App, hongyan.Scene{Name: "x", Templates: []hongyan.SceneTemplate{{Template: Other}, {Template: Other}}})
			wantCode(e.TB, err, hongyan.CodeInvalid)
			e.must(e.DeleteScene(ctx, App, "paid"))
			wantCode(e.TB, e.DeleteScene(ctx, App, "paid"), hongyan.CodeNotFound)
		},
		"sessions": func(e *Env) {
			s, err := e.CreateMPSession(ctx, App, "u1")
			e.must(err)
			got, err := e.MPSession(ctx, s.Token.Reveal())
			if err != nil || got.App != App || got.OpenID != "u1" {
				e.TB.Errorf("session: %+v %v", got, err)
			}
			if bytes.Contains(e.DB.Bytes(e.TB), []byte(s.Token.Reveal())) {
				e.TB.Errorf("the session's token is on disk")
			}
			e.Clock.Advance(ledger.MPSessionTime + time.Second)
			_, err = e.MPSession(ctx, s.Token.Reveal())
			wantCode(e.TB, err, hongyan.CodeSessionExpired)
		},
	})
	cases(t, open, fresh, eraseCases())
}

func eraseCases() map[string]func(*Env) {
	ctx := context.Background()
	secret := func(s *hongyan.Submission) {
		s.Data = map[string]string{"thing1": "words-of-a-letter"}
		s.Metadata = map[string]string{"order": "number-of-an-order"}
	}
	return map[string]func(*Env){
		"erase": func(e *Env) {
			_, err := e.CreateWebhook(ctx, hongyan.Webhook{URL: "https://example.com/hook", Events: []hongyan.EventPattern{"*"}, Enabled: true}, nil)
			e.must(err)
			user := hongyan.OpenID("oUserWhoIsErased_0123456789a")
			_, err = e.RecordLogin(ctx, App, ledger.Login{OpenID: user, UnionID: "union-of-the-user", ExternalID: "customer-7", SessionKey: hongyan.NewSessionKey("c2Vzc2lvbg==")})
			e.must(err)
			s, err := e.CreateMPSession(ctx, App, user)
			e.must(err)
			cb := popup(user, Start, OneTime, "accept")
			cb.Raw = `{"FromUserName":"` + string(user) + `"}`
			e.Push(cb)
			for range 3 {
				e.Clock.Advance(10 * time.Minute)
				e.Tap(user, OneTime, "accept", 0)
			}
			sent := e.Send(user, secret)
			e.Attempt(hongyan.OutcomeOK)
			unclear := e.Send(user, secret)
			e.Attempt(hongyan.OutcomeUnclear)
			waits := e.Send(user, secret, sendAt(Start.Add(24*time.Hour)))

			out, err := e.ExportUser(ctx, App, user)
			e.must(err)
			if len(out.Messages) != 3 || len(out.Subscriptions) != 1 || len(out.Subscriptions[0].Entries) != 4 || len(out.Callbacks) != 1 || out.User.ExternalID != "customer-7" {
				e.TB.Errorf("export: %d messages, %+v, %d callbacks, %+v", len(out.Messages), out.Subscriptions, len(out.Callbacks), out.User)
			}

			e.must(e.EraseUser(ctx, App, user))
			wantCode(e.TB, e.EraseUser(ctx, App, user), hongyan.CodeUserNotFound)
			_, err = e.User(ctx, App, user)
			wantCode(e.TB, err, hongyan.CodeUserNotFound)
			_, err = e.MPSession(ctx, s.Token.Reveal())
			wantCode(e.TB, err, hongyan.CodeSessionExpired)
			e.WantState(sent.ID, hongyan.StateAccepted, "")
			e.WantState(unclear.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			e.WantState(waits.ID, hongyan.StateCanceled, hongyan.CodeUserErased)
			for _, m := range []*hongyan.Message{sent, unclear, waits} {
				if got := e.Get(m.ID); len(got.Data) != 0 || len(got.Metadata) != 0 || !got.DataErased || got.To.Valid() {
					e.TB.Errorf("%s still has %v %v, to %s", got.Status, got.Data, got.Metadata, got.To)
				}
			}
			// Counts stay, under the hash.
			subs, _, err := e.Subscriptions(ctx, App, "", OneTime, 10, "")
			e.must(err)
			if len(subs) != 1 || subs[0].Available != 2 || subs[0].Spent != 1 || subs[0].Reserved != 1 || !strings.HasPrefix(string(subs[0].OpenID), "erased:") {
				e.TB.Errorf("subscriptions: %+v", subs)
			}
			all, _, err := e.Events(ctx, ledger.EventFilter{Limit: 100})
			e.must(err)
			told := false
			for _, ev := range all {
				if ev.Type == hongyan.EventUserErased {
					told = strings.Contains(string(ev.Data), string(user))
				} else if strings.Contains(string(ev.Data), string(user)) {
					e.TB.Errorf("%s still names the user", ev.Type)
				}
			}
			if !told {
				e.TB.Errorf("no event tells that the user was erased: %+v", all)
			}
			for _, cb := range e.callbacks() {
				full, err := e.Callback(ctx, App, cb.ID)
				e.must(err)
				if cb.OpenID == user || full.Raw != "" {
					e.TB.Errorf("the callback still has %s: %q", cb.OpenID, full.Raw)
				}
			}
			// Who comes back is a new user.
			e.Tap(user, OneTime, "accept", 0)
			e.WantCount(user, OneTime, Count{Available: 1, Exact: true})
		},
		"one that is being sent has its result first": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1", secret)
			j := e.ClaimOne()
			e.must(e.EraseUser(ctx, App, "u1"))
			if got := e.Get(m.ID); got.Status != hongyan.StateSending || len(got.Data) == 0 {
				e.TB.Errorf("%s with %v", got.Status, got.Data)
			}
			e.Record(j, e.Outcome(hongyan.OutcomeBusy)) // to be tried again
			e.Clock.Advance(time.Hour)
			if jobs := e.Claim(10); len(jobs) != 0 {
				e.TB.Errorf("claimed %+v of an erased user", jobs[0].Message)
			}
			e.WantState(m.ID, hongyan.StateCanceled, hongyan.CodeUserErased)
			if got := e.Get(m.ID); len(got.Data) != 0 {
				e.TB.Errorf("data: %v", got.Data)
			}
		},
		"a push that still waits keeps it open": func(e *Env) {
			cb := popup("u1", Start, OneTime, "accept")
			cb.Raw = "what WeChat said"
			e.Push(cb)
			e.DB.Exec(e.TB, `UPDATE callbacks SET due_at = 9999999999999`)
			e.must(e.EraseUser(ctx, App, "u1"))
			e.Clock.Advance(2 * time.Minute)
			e.must(e.Purge(ctx))
			if n := e.DB.Count(e.TB, "erasures"); n != 1 {
				e.TB.Errorf("%d erasures are left, want 1", n)
			}
			e.DB.Exec(e.TB, `UPDATE callbacks SET due_at = NULL`)
			e.Clock.Advance(20 * time.Second)
			e.must(e.Purge(ctx))
			if got, err := e.Callback(ctx, App, e.callbacks()[0].ID); err != nil || got.Raw != "" || got.OpenID.Valid() {
				e.TB.Errorf("the push: %+v %v", got, err)
			}
			if n := e.DB.Count(e.TB, "erasures"); n != 0 {
				e.TB.Errorf("%d erasures are left", n)
			}
		},
		"a crash does not stop it": func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			m := e.Send("u1", secret, sendAt(Start.Add(time.Hour)))
			j := e.Send("u1", secret, onNoGrant(hongyan.OnNoGrantSend))
			e.ClaimOne() // being sent, so the erasure waits for it
			e.must(e.EraseUser(ctx, App, "u1"))
			e.Stop()
			e.Clock.Advance(ledger.LeaseTime + time.Minute)
			e.open()
			e.must(e.Sweep(ctx))
			e.must(e.Purge(ctx))
			for _, id := range []hongyan.MessageID{m.ID, j.ID} {
				if got := e.Get(id); len(got.Data) != 0 || !got.DataErased {
					e.TB.Errorf("%s still has %v", got.Status, got.Data)
				}
			}
			e.Clock.Advance(2 * time.Minute)
			e.must(e.Purge(ctx))
			if n := e.DB.Count(e.TB, "erasures"); n != 0 {
				e.TB.Errorf("%d erasures are left", n)
			}
		},
	}
}
