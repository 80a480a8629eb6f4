package token_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
	"github.com/hongyan-push/hongyan/internal/outbound"
	"github.com/hongyan-push/hongyan/internal/token"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		dbserver.Stop()
		os.Exit(code)
	}))
}

type rig struct {
	sb     *sandbox.Sandbox
	ledger *ledger.Ledger
	source *token.Source
	app    sandbox.App
	clock  *clock
	client *wechat.Client
	// external calls token_urls, which here are on loopback.
	external *http.Client
	url      string
}

type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// newRig has an app; wrap may stand between the source and the sandbox.
func newRig(t testing.TB, mode hongyan.TokenMode, wrap func(http.Handler) http.Handler) *rig {
	t.Helper()
	c := &clock{}
	sb := sandbox.New(sandbox.Config{Now: c.now})
	var h http.Handler = sb
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	key, err := ledger.NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(context.Background(), ledger.Config{DB: "sqlite:" + filepath.Join(t.TempDir(), "hongyan.db"), MasterKey: key, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	client, err := wechat.New(wechat.Config{BaseURL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		_ = l.Close()
		_ = sb.Close()
		srv.Close()
	})
	app, err := sb.CreateApp(sandbox.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.CreateApp(context.Background(), hongyan.App{AppID: hongyan.AppID(app.AppID), Settings: hongyan.AppSettings{TokenMode: mode}}, hongyan.NewAppSecret(app.Secret), nil); err != nil {
		t.Fatal(err)
	}
	r := &rig{sb: sb, ledger: l, app: app, clock: c, client: client, url: srv.URL,
		external: outbound.New(outbound.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})}
	t.Cleanup(r.external.CloseIdleConnections)
	r.source = r.newSource()
	return r
}

// newSource is another process's source on the same database, as far as memory goes.
func (r *rig) newSource() *token.Source {
	return token.New(token.Config{Ledger: r.ledger, Clients: []*wechat.Client{r.client}, External: r.external, Now: r.clock.now})
}

func (r *rig) get(t testing.TB, s *token.Source) string {
	t.Helper()
	tok, err := s.AccessToken(context.Background(), r.app.AppID)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func (r *rig) fetches(path string) int { return r.sb.Stats().ByPath[path] }

const (
	stable = "/cgi-bin/stable_token"
	legacy = "/cgi-bin/token"
)

func TestStampede(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	first := stampede(t, r.sb, r.app.AppID, r.source)
	r.clock.advance(3 * time.Hour)
	if stampede(t, r.sb, r.app.AppID, r.source) == first {
		t.Error("the token that has ended came back")
	}
}

func TestSharedThroughTheDatabase(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	if a, b := r.get(t, r.source), r.get(t, r.newSource()); a != b || r.fetches(stable) != 1 {
		t.Errorf("the second source fetched again: %d calls", r.fetches(stable))
	}
}

func TestRenewedEarly(t *testing.T) {
	t.Parallel()
	for mode, path := range map[hongyan.TokenMode]string{hongyan.TokenStable: stable, hongyan.TokenLegacy: legacy} {
		r := newRig(t, mode, nil)
		first := r.get(t, r.source)
		r.clock.advance(2*time.Hour - 6*time.Minute)
		if got := r.get(t, r.source); got != first {
			t.Errorf("%s: renewed too early", mode)
		}
		r.clock.advance(2 * time.Minute)
		if got := r.get(t, r.source); got == first || r.fetches(path) != 2 {
			t.Errorf("%s: not renewed five minutes before its end: %d calls", mode, r.fetches(path))
		}
	}
}

func TestRefusedIsCompareAndSwap(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	ctx := context.Background()
	first := r.get(t, r.source)
	if _, err := r.sb.Tokens(sandbox.TokensSpec{AppID: r.app.AppID, Action: "supersede"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			_ = r.source.Refused(ctx, r.app.AppID, first, 40001)
			if tok, err := r.source.AccessToken(ctx, r.app.AppID); err != nil || tok == first {
				t.Errorf("got the refused token again, or %v", err)
			}
		})
	}
	wg.Wait()
	if n := r.fetches(stable); n != 2 {
		t.Errorf("%d calls, want 2: two hundred refusals of one token are one refresh", n)
	}
	if st := r.source.Stats(); st.EarlyDeaths != 1 {
		t.Errorf("%d early deaths, want 1", st.EarlyDeaths)
	}
}

// TestSameTokenAgain: WeChat hands out the very token that it refuses.
func TestSameTokenAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	ctx := context.Background()
	first := r.get(t, r.source)
	_ = r.source.Refused(ctx, r.app.AppID, first, 40001)
	if _, err := r.source.AccessToken(ctx, r.app.AppID); hongyan.CodeOf(err) != hongyan.CodeTokenRejected {
		t.Fatalf("got %v, want token_rejected", err)
	}
	for range 100 {
		r.clock.advance(500 * time.Millisecond)
		if _, err := r.source.AccessToken(ctx, r.app.AppID); err == nil {
			t.Fatal("the refused token was given out")
		}
	}
	r.clock.advance(time.Minute)
	if got := r.get(t, r.source); got != first {
		t.Error("after a minute it is not tried once more")
	}
}

func TestFailureIsSharedAndShort(t *testing.T) {
	t.Parallel()
	var refusing atomic.Bool
	var calls atomic.Int64
	r := newRig(t, "", func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == stable {
				calls.Add(1)
				if refusing.Load() {
					_, _ = w.Write([]byte(`{"errcode":40125,"errmsg":"invalid appsecret rid: 6aac005a-01bfdbee-79769285"}`))
					return
				}
			}
			h.ServeHTTP(w, q)
		})
	})
	refusing.Store(true)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			_, err := r.source.AccessToken(context.Background(), r.app.AppID)
			var we *wechat.Error
			if !errors.As(err, &we) || we.Errcode != 40125 {
				t.Errorf("got %v, want 40125", err)
			}
		})
	}
	wg.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls within a second of failing, want 1", n)
	}
	refusing.Store(false)
	r.clock.advance(1100 * time.Millisecond)
	r.get(t, r.source)
}

// TestEndOfCallerIsNotEndOfFlight: the first caller gives up, the others still get a token.
func TestEndOfCallerIsNotEndOfFlight(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, "", func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == stable {
				close(arrived)
				<-release
			}
			h.ServeHTTP(w, q)
		})
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = r.source.AccessToken(ctx, r.app.AppID) })
	<-arrived
	waiting := make(chan error, 1)
	wctx, wcancel := context.WithCancel(context.Background())
	go func() {
		_, err := r.source.AccessToken(wctx, r.app.AppID)
		waiting <- err
	}()
	cancel()
	wcancel()
	if err := <-waiting; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter whose context ended got %v", err)
	}
	close(release)
	wg.Wait()
	r.get(t, r.source)
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, hongyan.TokenNone, nil)
	if tok := r.get(t, r.source); tok != "" || r.fetches(stable)+r.fetches(legacy) != 0 {
		t.Errorf("got %q and %d calls for an app that needs no token", tok, r.fetches(stable))
	}
}

func BenchmarkHit(b *testing.B) {
	r := newRig(b, "", nil)
	r.get(b, r.source)
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if _, err := r.source.AccessToken(ctx, r.app.AppID); err != nil {
			b.Fatal(err)
		}
	}
}
