package ledgertest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

func testOpen(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"reopen": func(e *Env) {
			m := e.Send("u1")
			for range 2 {
				e.Restart()
			}
			if got := e.Get(m.ID); got.Status != hongyan.StateQueued {
				e.TB.Errorf("after reopening: %+v", got)
			}
			if apps := e.Apps(); len(apps) != 1 || !apps[0].HasSecret {
				e.TB.Errorf("apps: %+v", apps)
			}
			e.Attempt(hongyan.OutcomeOK)
		},
		"a second process is refused": func(e *Env) {
			if e.DB.Shared {
				return
			}
			if l, err := ledger.Open(ctx, e.DB.Config); err == nil {
				_ = l.Close()
				e.TB.Errorf("opened twice")
			}
			e.Send("u1")
		},
		"another master key is refused": func(e *Env) {
			e.Stop()
			cfg := e.DB.Config
			var err error
			cfg.MasterKey, err = ledger.NewMasterKey(bytes.Repeat([]byte{7}, 32))
			e.must(err)
			if l, err := ledger.Open(ctx, cfg); err == nil || !strings.Contains(err.Error(), "master key") {
				if err == nil {
					_ = l.Close()
				}
				e.TB.Errorf("opened with another key: %v", err)
			}
			cfg.MasterKey = nil
			if l, err := ledger.Open(ctx, cfg); err == nil {
				_ = l.Close()
				e.TB.Errorf("opened without a key")
			}
			e.open() // nothing is left locked
		},
		"a newer schema is refused": func(e *Env) {
			e.DB.Exec(e.TB, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)`)
			e.Stop()
			l, err := ledger.Open(ctx, e.DB.Config)
			if err == nil {
				_ = l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "9999") {
				e.TB.Errorf("opened a newer schema: %v", err)
			}
			e.DB.Exec(e.TB, `DELETE FROM goose_db_version WHERE version_id = 9999`)
			e.open()
		},
		"close without run": func(e *Env) {
			e.Stop()
			l, err := ledger.Open(ctx, e.DB.Config)
			e.must(err)
			e.must(l.Close())
			e.open()
		},
		"secrets are sealed on disk": func(e *Env) {
			_, err := e.RecordLogin(ctx, App, ledger.Login{OpenID: "u1", SessionKey: hongyan.NewSessionKey("session-key-in-clear")})
			e.must(err)
			if ok, err := e.LeaseTokenFetch(ctx, App, time.Time{}, time.Minute); err != nil || !ok {
				e.TB.Fatalf("lease: %v, %v", ok, err)
			}
			e.must(e.StoreToken(ctx, App, ledger.StoredToken{Token: hongyan.NewAccessToken("access-token-in-clear"), FetchedAt: Start, ExpiresAt: Start.Add(time.Hour)}))
			k, err := e.CreateKey(ctx, hongyan.APIKey{Name: "k", Scopes: hongyan.Scopes()}, nil)
			e.must(err)
			secrets := []string{Secret, "session-key-in-clear", "access-token-in-clear", k.Key, k.Key[len("hyk_"):]}
			check := func(when string) {
				disk := e.DB.Bytes(e.TB)
				if !bytes.Contains(disk, []byte(App)) {
					e.TB.Fatalf("%s: the database's files are not what was read", when)
				}
				for _, s := range secrets {
					if bytes.Contains(disk, []byte(s)) {
						e.TB.Errorf("%s: %q is on disk", when, s)
					}
				}
			}
			check("open")
			e.Restart()
			check("after a restart")
			if s, err := e.AppSecret(ctx, App); err != nil || s.Reveal() != Secret {
				e.TB.Errorf("AppSecret: %v", err)
			}
			if s, err := e.SessionKey(ctx, App, "u1"); err != nil || s.Reveal() != "session-key-in-clear" {
				e.TB.Errorf("session_key: %v", err)
			}
			if s, err := e.AccessToken(ctx, App); err != nil || s.Token.Reveal() != "access-token-in-clear" || !s.ExpiresAt.Equal(Start.Add(time.Hour)) {
				e.TB.Errorf("access token: %v", err)
			}
			if got, err := e.Authenticate(k.Key); err != nil || got.ID != k.ID {
				e.TB.Errorf("API key: %v", err)
			}
			// A sealed value cannot be moved to another row.
			e.must(err)
			_, err = e.CreateApp(ctx, hongyan.App{AppID: "wx2", Name: "x"}, hongyan.NewAppSecret("other"), nil)
			e.must(err)
			e.DB.Exec(e.TB, `UPDATE apps SET secret = (SELECT s.secret FROM (SELECT secret FROM apps WHERE appid = '`+string(App)+`') s) WHERE appid = 'wx2'`)
			if s, err := e.AppSecret(ctx, "wx2"); err == nil || s.Reveal() != "" {
				e.TB.Errorf("another app's secret was opened")
			}
		},
	})
}

func testVocabulary(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"apps": func(e *Env) {
			_, err := e.CreateApp(ctx, hongyan.App{AppID: App}, hongyan.AppSecret{}, nil)
			wantCode(e.TB, err, hongyan.CodeConflict)
			_, err = e.CreateApp(ctx, hongyan.App{AppID: "wx2", Settings: hongyan.AppSettings{History: "never"}}, hongyan.AppSecret{}, nil)
			wantCode(e.TB, err, hongyan.CodeInvalid)
			a, err := e.CreateApp(ctx, hongyan.App{AppID: "wx2", Name: "b"}, hongyan.AppSecret{}, nil)
			e.must(err)
			if a.HasSecret || a.Pauses == nil {
				e.TB.Errorf("app: %+v", a)
			}
			_, err = e.AppSecret(ctx, "wx2")
			wantCode(e.TB, err, hongyan.CodeTokenUnavailable)
			s := hongyan.NewAppSecret("new")
			name := "c"
			a, err = e.UpdateApp(ctx, "wx2", ledger.AppUpdate{Name: &name, Secret: &s})
			e.must(err)
			if a.Name != "c" || !a.HasSecret {
				e.TB.Errorf("updated: %+v", a)
			}
			_, err = e.App("nope")
			wantCode(e.TB, err, hongyan.CodeAppNotFound)
			if apps := e.Apps(); len(apps) != 2 || apps[0].AppID > apps[1].AppID {
				e.TB.Errorf("apps: %+v", apps)
			}
		},
		"a new secret drops the token": func(e *Env) {
			_, err := e.LeaseTokenFetch(ctx, App, time.Time{}, time.Minute)
			e.must(err)
			tok := ledger.StoredToken{Token: hongyan.NewAccessToken("t"), FetchedAt: Start, ExpiresAt: Start.Add(time.Hour)}
			e.must(e.StoreToken(ctx, App, tok))
			s := hongyan.NewAppSecret("new")
			_, err = e.UpdateApp(ctx, App, ledger.AppUpdate{Secret: &s})
			e.must(err)
			if got, err := e.AccessToken(ctx, App); err != nil || !got.Token.IsZero() {
				e.TB.Errorf("the old secret's token is still there: %v", err)
			}
			e.must(e.StoreToken(ctx, App, tok)) // fetched with the old secret, come back late
			if got, _ := e.AccessToken(ctx, App); !got.Token.IsZero() {
				e.TB.Errorf("the old secret's token came back")
			}
		},
		"templates": func(e *Env) {
			e.must(e.SaveTemplates(ctx, App, Templates(hongyan.KindOneTime)[:2]))
			list, err := e.Templates(App)
			e.must(err)
			gone := 0
			for _, te := range list {
				if !te.GoneAt.IsZero() {
					gone++
				}
			}
			if len(list) != 4 || gone != 2 || list[0].GoneAt.IsZero() == list[3].GoneAt.IsZero() {
				e.TB.Errorf("templates: %+v", list)
			}
			e.must(e.SaveTemplates(ctx, App, Templates(hongyan.KindOneTime)))
			if te, err := e.Template(App, Alias); err != nil || te.TemplateID != OneTime || !te.GoneAt.IsZero() || len(te.Keywords) != 1 {
				e.TB.Errorf("by alias: %+v, %v", te, err)
			}
			_, err = e.SetAlias(ctx, App, Other, Alias)
			wantCode(e.TB, err, hongyan.CodeConflict)
			_, err = e.SetAlias(ctx, App, Other, OneTime)
			wantCode(e.TB, err, hongyan.CodeInvalid)
			e.must(e.MarkTemplate(ctx, App, Other, false))
			if te, _ := e.Template(App, Other); !te.Stale {
				e.TB.Errorf("not stale")
			}
			e.must(e.MarkTemplate(ctx, App, Other, true))
			if te, _ := e.Template(App, Other); te.GoneAt.IsZero() {
				e.TB.Errorf("not gone")
			}
		},
		"two syncs at once": func(e *Env) {
			more := append(Templates(hongyan.KindOneTime), ledger.SyncedTemplate{TemplateID: "new", Kind: hongyan.KindOneTime, Content: "a:{{thing1.DATA}}"})
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if err := e.SaveTemplates(ctx, App, more); err != nil {
						e.TB.Errorf("sync: %v", err)
					}
				})
			}
			wg.Wait()
		},
		"changes at once leave memory as the disk": func(e *Env) {
			var wg sync.WaitGroup
			keys := make([]hongyan.APIKey, 8)
			for i := range 8 {
				wg.Go(func() {
					scope, key := hongyan.PauseTemplate, fmt.Sprint("t", i)
					for range 5 {
						if err := e.Pause(ctx, App, hongyan.Pause{Scope: scope, Key: key, Reason: hongyan.PauseManual}); err != nil {
							e.TB.Errorf("pause: %v", err)
						}
						if err := e.Resume(ctx, App, scope, key, ledger.ResumeByPerson); err != nil {
							e.TB.Errorf("resume: %v", err)
						}
						if app, err := e.App(App); err != nil || paused(app, key) {
							e.TB.Errorf("%s is paused after it was resumed", key)
						}
					}
					var err error
					if keys[i], err = e.CreateKey(ctx, hongyan.APIKey{Name: "k", Scopes: []hongyan.Scope{hongyan.ScopeRead}}, nil); err != nil {
						e.TB.Errorf("key: %v", err)
					}
					if err := e.RevokeKey(ctx, keys[i].ID); err != nil {
						e.TB.Errorf("revoke: %v", err)
					}
				})
			}
			wg.Wait()
			for _, k := range keys {
				_, err := e.Authenticate(k.Key)
				wantCode(e.TB, err, hongyan.CodeUnauthorized)
			}
			wantCode(e.TB, e.RevokeKey(ctx, "key_nope"), hongyan.CodeNotFound)
			if list, err := e.Keys(ctx); err != nil || len(list) != 8 || list[0].Key != "" {
				e.TB.Errorf("keys: %+v, %v", list, err)
			}
		},
		"keys": func(e *Env) {
			_, err := e.CreateKey(ctx, hongyan.APIKey{Scopes: []hongyan.Scope{"fly"}}, nil)
			wantCode(e.TB, err, hongyan.CodeInvalid)
			k, err := e.CreateKey(ctx, hongyan.APIKey{Name: "k", Scopes: []hongyan.Scope{hongyan.ScopeSend}, Apps: []hongyan.AppID{App}}, nil)
			e.must(err)
			got, err := e.Authenticate(k.Key)
			e.must(err)
			if !got.May(hongyan.ScopeSend, App) || got.May(hongyan.ScopeRead, App) || got.May(hongyan.ScopeSend, "wx2") || got.Key != "" {
				e.TB.Errorf("key: %+v", got)
			}
			for _, bad := range []string{"", "hyk_", k.Key + "x", strings.TrimPrefix(k.Key, "hyk_")} {
				_, err := e.Authenticate(bad)
				wantCode(e.TB, err, hongyan.CodeUnauthorized)
			}
		},
		"logins": func(e *Env) {
			_, err := e.SessionKey(ctx, App, "u1")
			wantCode(e.TB, err, hongyan.CodeUserNotFound)
			u, err := e.RecordLogin(ctx, App, ledger.Login{OpenID: "u1", UnionID: "union", SessionKey: hongyan.NewSessionKey("a"), ExternalID: "7"})
			e.must(err)
			e.Clock.Advance(time.Hour)
			v, err := e.RecordLogin(ctx, App, ledger.Login{OpenID: "u1", SessionKey: hongyan.NewSessionKey("b")})
			e.must(err)
			if !v.FirstLoginAt.Equal(u.FirstLoginAt) || !v.LastLoginAt.Equal(e.Clock.Now()) || v.UnionID != "union" || v.ExternalID != "7" {
				e.TB.Errorf("second login: %+v", v)
			}
			if s, _ := e.SessionKey(ctx, App, "u1"); s.Reveal() != "b" {
				e.TB.Errorf("the older session_key is kept")
			}
			_, err = e.RecordLogin(ctx, App, ledger.Login{OpenID: "u2", ExternalID: "7"})
			wantCode(e.TB, err, hongyan.CodeConflict)
			// 40003 marks a user; a login shows that the openid is right after all.
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOpenID)
			v, err = e.RecordLogin(ctx, App, ledger.Login{OpenID: "u1"})
			e.must(err)
			if !v.InvalidAt.IsZero() {
				e.TB.Errorf("still invalid")
			}
		},
	})
}

func paused(app hongyan.App, key string) bool {
	for _, p := range app.Pauses {
		if p.Key == key {
			return true
		}
	}
	return false
}
