package token_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
	"github.com/hongyan-push/hongyan/internal/token"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

// stampede lets 10,000 callers loose at once, in turn on each source. It fails unless all
// have the same token, and one call to WeChat was made.
func stampede(t *testing.T, sb *sandbox.Sandbox, appID string, sources ...*token.Source) string {
	t.Helper()
	const callers = 10_000
	before := sb.Stats().ByPath[stable]
	got, errs := make([]string, callers), make([]error, callers)
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	ready.Add(callers)
	for i := range callers {
		done.Go(func() {
			ready.Done()
			<-start
			got[i], errs[i] = sources[i%len(sources)].AccessToken(context.Background(), appID)
		})
	}
	ready.Wait()
	began := time.Now()
	close(start)
	done.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%v", err)
	}
	for _, tok := range got {
		if tok == "" || tok != got[0] {
			t.Fatal("callers got different tokens or none")
		}
	}
	if n := sb.Stats().ByPath[stable] - before; n != 1 {
		t.Errorf("%d calls for %d callers on %d replicas, want 1", n, callers, len(sources))
	}
	t.Logf("%d callers on %d replicas: %d call, %v", callers, len(sources), sb.Stats().ByPath[stable]-before, took.Round(time.Millisecond))
	return got[0]
}

// TestStampedeOfReplicas: whenever the token ends, whoever asks and on whichever replica,
// WeChat is called once.
func TestStampedeOfReplicas(t *testing.T) {
	t.Parallel()
	for _, kind := range []dbserver.Kind{dbserver.Postgres, dbserver.MySQL} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			db := dbserver.Shared(t, kind).Create(t)
			c := &clock{}
			sb := sandbox.New(sandbox.Config{Now: c.now, Latency: 20 * time.Millisecond})
			srv := httptest.NewServer(sb)
			t.Cleanup(func() { _ = sb.Close(); srv.Close() })
			app, err := sb.CreateApp(sandbox.AppSpec{})
			if err != nil {
				t.Fatal(err)
			}
			var sources []*token.Source
			for i := range 3 {
				l := openReplica(t, db, c)
				if i == 0 {
					if _, err := l.CreateApp(t.Context(), hongyan.App{AppID: hongyan.AppID(app.AppID)}, hongyan.NewAppSecret(app.Secret), nil); err != nil {
						t.Fatal(err)
					}
				}
				wx, err := wechat.New(wechat.Config{BaseURL: srv.URL})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(wx.Close)
				sources = append(sources, token.New(token.Config{Ledger: l, Clients: []*wechat.Client{wx}, Now: c.now}))
			}
			tokens := make(map[string]bool)
			for range 5 {
				tokens[stampede(t, sb, app.AppID, sources...)] = true
				c.advance(3 * time.Hour)
			}
			// Refused on every replica at once: one death, one call.
			last := stampede(t, sb, app.AppID, sources...)
			tokens[last] = true
			if _, err := sb.Tokens(sandbox.TokensSpec{AppID: app.AppID, Action: "supersede"}); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range 300 {
				wg.Go(func() { _ = sources[i%3].Refused(context.Background(), app.AppID, last, 40001) })
			}
			wg.Wait()
			tokens[stampede(t, sb, app.AppID, sources...)] = true
			if len(tokens) != 7 {
				t.Errorf("%d different tokens, want 7", len(tokens))
			}
			deaths := int64(0)
			for _, s := range sources {
				deaths += s.Stats().EarlyDeaths
			}
			if deaths != 1 {
				t.Errorf("%d early deaths, want 1", deaths)
			}
		})
	}
}

func openReplica(t *testing.T, db string, c *clock) *ledger.Ledger {
	t.Helper()
	key, err := ledger.NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), ledger.Config{DB: db, MasterKey: key, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}
