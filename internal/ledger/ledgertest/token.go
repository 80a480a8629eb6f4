package ledgertest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// storeToken fetches a token as a process does that is alone.
func (e *Env) storeToken(token string, life time.Duration) {
	e.TB.Helper()
	ctx := context.Background()
	have, err := e.AccessToken(ctx, App)
	e.must(err)
	if got, err := e.LeaseTokenFetch(ctx, App, have.FetchedAt, time.Minute); err != nil || !got {
		e.TB.Fatalf("lease: %v, %v", got, err)
	}
	now := e.Clock.Now()
	e.must(e.StoreToken(ctx, App, ledger.StoredToken{Token: hongyan.NewAccessToken(token), FetchedAt: now, ExpiresAt: now.Add(life)}))
}

// refuse reports whether the token died early.
func (e *Env) refuse(token string, errcode int) bool {
	e.TB.Helper()
	_, died, err := e.RefuseToken(context.Background(), App, hongyan.NewAccessToken(token), hongyan.TokenRefusal{Errcode: errcode, By: hongyan.SendPath, Rid: "6aac0063-7ed08fb9-1250f724"})
	e.must(err)
	return died
}

func (e *Env) health() hongyan.TokenHealth {
	e.TB.Helper()
	h, err := e.TokenHealth(context.Background(), App)
	e.must(err)
	return h
}

func testToken(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"who saw an old one gets no lease": func(e *Env) {
			e.storeToken("first", time.Hour)
			old, err := e.AccessToken(ctx, App)
			e.must(err)
			e.Clock.Advance(time.Second)
			e.storeToken("second", time.Hour)
			for seen, want := range map[time.Time]bool{old.FetchedAt: false, {}: false, e.Clock.Now(): true} {
				if got, err := e.LeaseTokenFetch(ctx, App, seen, time.Minute); err != nil || got != want {
					e.TB.Errorf("seen %v: lease %v, %v, want %v", seen, got, err, want)
				}
			}
		},
		"a refused token is compared and swapped": func(e *Env) {
			if e.refuse("first", 40001) {
				e.TB.Errorf("a token died that never was")
			}
			e.storeToken("first", 2*time.Hour)
			if e.refuse("other", 40001) || e.refuse("", 40001) {
				e.TB.Errorf("another token than the current one died")
			}
			if have, err := e.AccessToken(ctx, App); err != nil || have.Token.Reveal() != "first" {
				e.TB.Fatalf("the current one is gone: %v", err)
			}
			fetched := e.Clock.Now()
			e.pass(20 * time.Minute)
			l := e.listen("token.*")
			if !e.refuse("first", 40001) {
				e.TB.Fatalf("it did not die")
			}
			if have, err := e.AccessToken(ctx, App); err != nil || !have.Token.IsZero() || !have.FetchedAt.Equal(fetched) {
				e.TB.Errorf("it is still there: %v, fetched %v", err, have.FetchedAt)
			}
			want := hongyan.TokenDeath{FetchedAt: fetched, ExpiresAt: fetched.Add(2 * time.Hour), RefusedAt: e.Clock.Now(), Times: 1, Errcode: 40001,
				By: hongyan.SendPath, Rid: "6aac0063-7ed08fb9-1250f724", Reason: hongyan.DeathForcedElsewhere, Means: hongyan.DeathForcedElsewhere.Means()}
			if h := e.health(); len(h.EarlyDeaths) != 1 || h.EarlyDeaths[0] != want || !h.FetchedAt.IsZero() || h.Mode != hongyan.TokenStable {
				e.TB.Errorf("health %+v", h)
			}
			if news := l.next(); len(news) != 1 || news[0].Type != hongyan.EventTokenClobbered || !bytes.Contains(news[0].Data, []byte(`"errcode":40001`)) || bytes.Contains(news[0].Data, []byte("first")) {
				e.TB.Errorf("events %+v", news)
			}
			if e.refuse("first", 40001) {
				e.TB.Errorf("it died twice")
			}
			// Handed out again: the same death, once more.
			e.storeToken("first", time.Hour)
			if !e.refuse("first", 42001) {
				e.TB.Errorf("it did not die again")
			}
			if h := e.health(); len(h.EarlyDeaths) != 1 || h.EarlyDeaths[0].Times != 2 || len(l.next()) != 0 {
				e.TB.Errorf("health %+v", h)
			}
		},
		"one of many is told that it died": func(e *Env) {
			e.storeToken("first", time.Hour)
			var died atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					if e.refuse("first", 40001) {
						died.Add(1)
					}
				})
			}
			wg.Wait()
			if died.Load() != 1 {
				e.TB.Errorf("it died %d times", died.Load())
			}
		},
		"the end of its time is no early death": func(e *Env) {
			e.storeToken("first", time.Hour)
			e.Clock.Advance(time.Hour)
			if e.refuse("first", 42001) || len(e.health().EarlyDeaths) != 0 {
				e.TB.Errorf("it died early")
			}
		},
		"deaths are explained, bounded and kept": func(e *Env) {
			e.storeToken("explained", time.Hour)
			id, _, err := e.RefuseToken(ctx, App, hongyan.NewAccessToken("explained"), hongyan.TokenRefusal{Errcode: 40001})
			e.must(err)
			e.must(e.ExplainDeath(ctx, id, hongyan.DeathSecretReset))
			if d := e.health().EarlyDeaths; len(d) != 1 || d[0].Reason != hongyan.DeathSecretReset || d[0].Means.ZH == "" || d[0].Means.EN == "" {
				e.TB.Errorf("deaths %+v", d)
			}
			for i := range 25 {
				e.Clock.Advance(time.Second)
				e.storeToken(fmt.Sprint("token ", i), time.Hour)
				e.refuse(fmt.Sprint("token ", i), 40001+i)
			}
			e.Restart()
			d := e.health().EarlyDeaths
			if len(d) != 20 || d[0].Errcode != 40025 || d[19].Errcode != 40006 {
				e.TB.Errorf("%d deaths, %+v", len(d), d)
			}
			if n := e.DB.Count(e.TB, "token_deaths"); n != 20 {
				e.TB.Errorf("%d rows", n)
			}
		},
		"a forced refresh has its distance": func(e *Env) {
			lease := func() (bool, time.Duration) {
				got, wait, err := e.LeaseTokenRefresh(ctx, App, 30*time.Second, time.Minute)
				e.must(err)
				return got, wait
			}
			if got, wait := lease(); !got || wait != 0 {
				e.TB.Errorf("the first: %v, %v", got, wait)
			}
			e.Clock.Advance(10 * time.Second)
			if got, wait := lease(); got || wait != 20*time.Second {
				e.TB.Errorf("too soon: %v, %v", got, wait)
			}
			if h := e.health(); !h.RefreshedAt.Equal(e.Clock.Now().Add(-10 * time.Second)) {
				e.TB.Errorf("refreshed at %v", h.RefreshedAt)
			}
			e.Clock.Advance(20 * time.Second)
			if got, wait := lease(); !got || wait != 0 {
				e.TB.Errorf("in time: %v, %v", got, wait)
			}
		},
		"a failure is noted and ends the lease": func(e *Env) {
			if _, err := e.LeaseTokenFetch(ctx, App, time.Time{}, time.Minute); err != nil {
				e.TB.Fatalf("lease: %v", err)
			}
			f := hongyan.TokenFailure{At: e.Clock.Now(), Code: hongyan.CodeTokenUnavailable, Detail: "d", Means: hongyan.Text{EN: "e", ZH: "中"},
				WeChat: &hongyan.WeChatError{Errcode: 40125, Errmsg: "invalid appsecret"}}
			e.must(e.FailToken(ctx, App, f))
			got := e.health().LastFailure
			if got == nil || got.WeChat == nil || *got.WeChat != *f.WeChat || got.Means != f.Means || !got.At.Equal(f.At) {
				e.TB.Fatalf("failure %+v", got)
			}
			e.storeToken("first", time.Hour)
			if h := e.health(); h.LastFailure == nil || h.FetchedAt.Before(h.LastFailure.At) {
				e.TB.Errorf("health %+v", h)
			}
		},
		"where tokens come from decides which are kept": func(e *Env) {
			set := func(f func(*hongyan.AppSettings)) ledger.AppUpdate {
				return ledger.AppUpdate{Merge: func(s *hongyan.AppSettings) error { f(s); return nil }}
			}
			secret := hongyan.NewTokenSecret("token-secret-in-clear")
			rows := []struct {
				name  string
				u     ledger.AppUpdate
				stays bool
			}{
				{"another setting", set(func(s *hongyan.AppSettings) { s.PacePerSecond = 5 }), true},
				{"the default by name", set(func(s *hongyan.AppSettings) { s.TokenMode = hongyan.TokenStable }), true},
				{"mode", set(func(s *hongyan.AppSettings) {
					s.TokenMode, s.TokenURL = hongyan.TokenExternal, "https://a.example/"
				}), false},
				{"URL", set(func(s *hongyan.AppSettings) { s.TokenURL = "https://b.example/" }), false},
				{"secret", ledger.AppUpdate{TokenSecret: &secret}, false},
			}
			for _, r := range rows {
				e.storeToken("kept?", time.Hour)
				before := e.Loads()
				app, err := e.UpdateApp(ctx, App, r.u)
				e.must(err)
				if have, err := e.AccessToken(ctx, App); err != nil || have.Token.IsZero() == r.stays {
					e.TB.Errorf("%s: token kept: %v, %v", r.name, !have.Token.IsZero(), err)
				}
				if e.Loads() == before {
					e.TB.Errorf("%s: nobody can tell that the app has changed", r.name)
				}
				if app.HasTokenSecret != (r.name == "secret") {
					e.TB.Errorf("%s: %+v", r.name, app)
				}
			}
			if s, err := e.TokenSecret(ctx, App); err != nil || s.Reveal() != "token-secret-in-clear" {
				e.TB.Errorf("token secret: %v", err)
			}
			if bytes.Contains(e.DB.Bytes(e.TB), []byte("token-secret-in-clear")) {
				e.TB.Errorf("the token secret is on disk in the clear")
			}
			none := hongyan.TokenSecret{}
			app, err := e.UpdateApp(ctx, App, ledger.AppUpdate{TokenSecret: &none})
			e.must(err)
			if s, err := e.TokenSecret(ctx, App); err != nil || !s.IsZero() || app.HasTokenSecret {
				e.TB.Errorf("the secret was not taken away: %v", err)
			}
			_, err = e.UpdateApp(ctx, App, set(func(s *hongyan.AppSettings) { s.TokenURL = "" }))
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"a session_key is replaced, unless a login was later": func(e *Env) {
			key := func(s string) hongyan.SessionKey { return hongyan.NewSessionKey(s) }
			_, err := e.SessionKey(ctx, App, "u1")
			wantCode(e.TB, err, hongyan.CodeUserNotFound)
			_, err = e.RecordLogin(ctx, App, ledger.Login{OpenID: "u1"})
			e.must(err)
			_, err = e.SessionKey(ctx, App, "u1")
			wantCode(e.TB, err, hongyan.CodeInvalidSessionKey)
			e.must(e.ReplaceSessionKey(ctx, App, "u1", key("a"), key("b"))) // there is none to replace
			_, err = e.RecordLogin(ctx, App, ledger.Login{OpenID: "u1", SessionKey: key("a")})
			e.must(err)
			e.must(e.ReplaceSessionKey(ctx, App, "u1", key("a"), key("b")))
			e.must(e.ReplaceSessionKey(ctx, App, "u1", key("a"), key("c")))
			e.must(e.ReplaceSessionKey(ctx, App, "nobody", key("a"), key("c")))
			if s, err := e.SessionKey(ctx, App, "u1"); err != nil || s.Reveal() != "b" {
				e.TB.Errorf("session_key: %v", err)
			}
		},
	})
}
