package token_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/token"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

func (r *rig) id() hongyan.AppID { return hongyan.AppID(r.app.AppID) }

func (r *rig) health(t testing.TB) hongyan.TokenHealth {
	t.Helper()
	h, err := r.ledger.TokenHealth(context.Background(), r.id())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wantDeaths fails unless these are the reasons of all early deaths, newest first.
func (r *rig) wantDeaths(t testing.TB, want ...hongyan.DeathReason) {
	t.Helper()
	got := r.health(t).EarlyDeaths
	if len(got) != len(want) {
		t.Fatalf("%d early deaths, want %v: %+v", len(got), want, got)
	}
	for i, d := range got {
		if d.Reason != want[i] || d.Means.EN == "" || d.Means.ZH == "" {
			t.Errorf("death %d: %+v, want %s", i, d, want[i])
		}
	}
}

func (r *rig) tokens(t testing.TB, action string) {
	t.Helper()
	if _, err := r.sb.Tokens(sandbox.TokensSpec{AppID: r.app.AppID, Action: action}); err != nil {
		t.Fatal(err)
	}
}

func TestDeathOfStableToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	ctx := t.Context()
	first := r.get(t, r.source)
	fetched := r.health(t).FetchedAt
	r.clock.advance(10 * time.Minute)
	// Another program forces a refresh: WeChat refuses ours from then on.
	if _, err := r.client.GetStableAccessToken(ctx, r.app.AppID, r.app.Secret, true); err != nil {
		t.Fatal(err)
	}
	_, err := r.client.GetTemplateList(ctx, first)
	refused, ok := err.(*wechat.Error)
	if !ok {
		t.Fatalf("got %v", err)
	}
	if err := r.source.RefusedBy(ctx, r.id(), first, hongyan.TokenRefusal{Errcode: refused.Errcode, By: refused.Path, Rid: refused.Rid}); err != nil {
		t.Fatal(err)
	}
	if r.get(t, r.source) == first {
		t.Error("got the dead token")
	}
	r.wantDeaths(t, hongyan.DeathForcedElsewhere)
	d := r.health(t).EarlyDeaths[0]
	if !d.FetchedAt.Equal(fetched) || d.ExpiresAt.Sub(fetched) != 2*time.Hour || d.RefusedAt.Sub(fetched) < 10*time.Minute || d.Errcode != 40001 || d.By != refused.Path || d.Rid != refused.Rid {
		t.Errorf("death %+v", d)
	}
}

// The legacy endpoint ends the token before with each call, after five minutes.
func TestDeathOfLegacyToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, hongyan.TokenLegacy, nil)
	ctx := t.Context()
	first := r.get(t, r.source)
	for range 2 {
		if _, err := r.client.GetAccessToken(ctx, r.app.AppID, r.app.Secret); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.client.GetTemplateList(ctx, first); err == nil {
		t.Fatal("the token is still good")
	}
	if err := r.source.Refused(ctx, r.app.AppID, first, 40001); err != nil {
		t.Fatal(err)
	}
	r.get(t, r.source)
	r.wantDeaths(t, hongyan.DeathOtherFetch)
}

func TestReasonsThatTheNextFetchShows(t *testing.T) {
	t.Parallel()
	var errcode atomic.Int64
	r := newRig(t, "", func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if n := errcode.Load(); n != 0 && q.URL.Path == stable {
				_, _ = w.Write([]byte(`{"errcode":40125,"errmsg":"invalid appsecret rid: 6aac005a-01bfdbee-79769285"}`))
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	ctx := t.Context()
	refuse := func(errcode int) {
		t.Helper()
		if err := r.source.Refused(ctx, r.app.AppID, r.get(t, r.source), errcode); err != nil {
			t.Fatal(err)
		}
	}
	next := func() {
		r.clock.advance(2 * time.Minute)
		r.tokens(t, "supersede") // so that another one comes
		r.get(t, r.source)
	}
	refuse(40001) // and WeChat hands out the same one
	if _, err := r.source.AccessToken(ctx, r.app.AppID); hongyan.CodeOf(err) != hongyan.CodeTokenRejected {
		t.Fatalf("got %v", err)
	}
	r.wantDeaths(t, hongyan.DeathStillCurrent)
	next()
	refuse(42001)
	next()
	r.wantDeaths(t, hongyan.DeathExpiredEarly, hongyan.DeathStillCurrent)
	refuse(40014)
	next()
	r.wantDeaths(t, hongyan.DeathDamaged, hongyan.DeathExpiredEarly, hongyan.DeathStillCurrent)
	refuse(40001)
	errcode.Store(40125)
	if _, err := r.source.AccessToken(ctx, r.app.AppID); err == nil {
		t.Fatal("got a token")
	}
	r.wantDeaths(t, hongyan.DeathSecretReset, hongyan.DeathDamaged, hongyan.DeathExpiredEarly, hongyan.DeathStillCurrent)
	f := r.health(t).LastFailure
	if f == nil || f.WeChat == nil || f.WeChat.Errcode != 40125 || f.Means.ZH == "" || strings.Contains(f.Detail+f.WeChat.Errmsg, r.app.Secret) {
		t.Errorf("failure %+v", f)
	}
}

// A replica that finds a token refused which another one has replaced takes that one's.
func TestReplacedByAnotherReplica(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	ctx := t.Context()
	other := r.newSource()
	first := r.get(t, r.source)
	if r.get(t, other) != first {
		t.Fatal("the replicas have different tokens")
	}
	r.tokens(t, "supersede")
	_ = r.source.Refused(ctx, r.app.AppID, first, 40001)
	second := r.get(t, r.source)
	if got := r.get(t, other); got != first {
		t.Fatalf("the other replica could know of it already: %v", got == second)
	}
	_ = other.Refused(ctx, r.app.AppID, first, 40001)
	if got := r.get(t, other); got != second {
		t.Error("the other replica has a token of its own")
	}
	r.wantDeaths(t, hongyan.DeathForcedElsewhere)
	if n := r.fetches(stable); n != 2 || other.Stats().EarlyDeaths != 0 {
		t.Errorf("%d calls, %d deaths at the other replica", n, other.Stats().EarlyDeaths)
	}
}

// What another service says is believed with care.
func TestHearsay(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	ctx := t.Context()
	say := func(s *token.Source, tok string) string {
		t.Helper()
		if err := s.RefusedBy(ctx, r.id(), tok, hongyan.TokenRefusal{Errcode: 40001, By: "key_x", Hearsay: true}); err != nil {
			t.Fatal(err)
		}
		return r.get(t, s)
	}
	first := r.get(t, r.source)
	if got := say(r.source, "never was one"); got != first {
		t.Error("a token was replaced that is not the current one")
	}
	// It is wrong: WeChat vouches for the token, so nobody loses it.
	if got := say(r.source, first); got != first {
		t.Error("a good token was replaced")
	}
	for range 100 {
		if say(r.source, first) != first {
			t.Fatal("a good token was replaced")
		}
	}
	if n := r.fetches(stable); n != 2 {
		t.Errorf("%d calls, want 2: a broken service must not make more", n)
	}
	r.wantDeaths(t, hongyan.DeathStillCurrent)
	// It is right, and asks a replica that has not used the token yet.
	r.clock.advance(2 * time.Minute)
	r.tokens(t, "supersede")
	second := say(r.newSource(), first)
	if second == first {
		t.Error("the dead token was given out again")
	}
	if d := r.health(t).EarlyDeaths; len(d) != 1 || d[0].Times != 2 || d[0].By != "key_x" {
		t.Errorf("deaths %+v", d)
	}
	if got := say(r.source, first); got != second {
		t.Error("the old replica did not take the new token")
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	ctx := t.Context()
	first := r.get(t, r.source)
	if _, err := r.client.GetTemplateList(ctx, first); err != nil {
		t.Fatal(err)
	}
	got, err := r.source.Refresh(ctx, r.id())
	if err != nil || !got.Replaced || got.ExpiresAt.Sub(got.FetchedAt) != 2*time.Hour || got.Note.EN == "" || got.Note.ZH == "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if second := r.get(t, r.source); second == first || second != r.get(t, r.newSource()) {
		t.Error("the new token is not the one in use")
	}
	if _, err := r.client.GetTemplateList(ctx, first); err == nil {
		t.Error("the token before still works")
	}
	var e *hongyan.Error
	_, err = r.newSource().Refresh(ctx, r.id())
	if e, _ = err.(*hongyan.Error); e == nil || e.Code != hongyan.CodeRateLimited || e.RetryAfter < 25*time.Second || e.RetryAfter > 30*time.Second {
		t.Errorf("another at once: %v", err)
	}
	r.wantDeaths(t) // the old one was replaced on purpose
	for range 19 {
		r.clock.advance(31 * time.Second)
		if got, err := r.source.Refresh(ctx, r.id()); err != nil || !got.Replaced {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	r.clock.advance(31 * time.Second)
	got, err = r.source.Refresh(ctx, r.id())
	if err != nil || got.Replaced || !strings.Contains(got.Note.EN, "20") || !strings.Contains(got.Note.ZH, "20") {
		t.Errorf("the 21st: %+v, %v", got, err)
	}
	r.get(t, r.source)
}

// A refresh that fails leaves the token there was.
func TestFailedRefresh(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	first := r.get(t, r.source)
	if _, err := r.sb.AddFault(sandbox.FaultSpec{Path: stable, Drop: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.source.Refresh(t.Context(), r.id()); err == nil {
		t.Fatal("no error")
	}
	if got := r.get(t, r.source); got != first {
		t.Error("the token is gone")
	}
	if n := r.fetches(stable); n != 2 {
		t.Errorf("%d calls, want 2: a refresh whose answer is lost is not asked for again", n)
	}
	if f := r.health(t).LastFailure; f == nil || f.Code != hongyan.CodeWeChatUnreachable {
		t.Errorf("failure %+v", f)
	}
}

func TestRefreshOfOtherModes(t *testing.T) {
	t.Parallel()
	r := newRig(t, hongyan.TokenLegacy, nil)
	first := r.get(t, r.source)
	got, err := r.source.Refresh(t.Context(), r.id())
	if err != nil || !got.Replaced || r.get(t, r.source) == first {
		t.Errorf("legacy: %+v, %v", got, err)
	}
	none := newRig(t, hongyan.TokenNone, nil)
	_, err = none.source.Refresh(t.Context(), none.id())
	_, err2 := none.source.Issue(t.Context(), none.id())
	if hongyan.CodeOf(err) != hongyan.CodeConflict || hongyan.CodeOf(err2) != hongyan.CodeConflict {
		t.Errorf("none: %v, %v", err, err2)
	}
}

// A token does not outlive what it was fetched with.
func TestChangeOfApp(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	ctx := t.Context()
	first := r.get(t, r.source)
	update := func(u ledger.AppUpdate) {
		t.Helper()
		r.clock.advance(time.Second)
		if _, err := r.ledger.UpdateApp(ctx, r.id(), u); err != nil {
			t.Fatal(err)
		}
	}
	name := "other"
	update(ledger.AppUpdate{Name: &name})
	if r.get(t, r.source) != first || r.fetches(stable) != 1 {
		t.Error("another name made another token")
	}
	update(ledger.AppUpdate{Merge: func(s *hongyan.AppSettings) error { s.TokenMode = hongyan.TokenLegacy; return nil }})
	if r.get(t, r.source) == first || r.fetches(legacy) != 1 {
		t.Error("the token of the other mode stayed in use")
	}
	update(ledger.AppUpdate{Merge: func(s *hongyan.AppSettings) error { s.TokenMode = hongyan.TokenNone; return nil }})
	if r.get(t, r.source) != "" {
		t.Error("an app without tokens has one")
	}
	wrong := hongyan.NewAppSecret("0123456789abcdef0123456789abcdef")
	update(ledger.AppUpdate{Secret: &wrong, Merge: func(s *hongyan.AppSettings) error { s.TokenMode = ""; return nil }})
	if _, err := r.source.AccessToken(ctx, r.app.AppID); err == nil {
		t.Error("got a token without the right AppSecret")
	}
}

func TestIssue(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	first := r.get(t, r.source)
	r.clock.advance(time.Hour)
	got, err := r.source.Issue(t.Context(), r.id())
	if err != nil || got.AccessToken != first || got.ExpiresIn < 3590 || got.ExpiresIn > 3600 || got.ExpiresAt.Sub(r.clock.now()) > time.Hour {
		t.Errorf("expires in %d, at %v, %v", got.ExpiresIn, got.ExpiresAt, err)
	}
}

// The log tells of early deaths, and of no token.
func TestLogTellsNoToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	var mu sync.Mutex
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return b.Write(p) }), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := token.New(token.Config{Ledger: r.ledger, Clients: []*wechat.Client{r.client}, Now: r.clock.now, Logger: log})
	first := r.get(t, s)
	_ = s.Refused(t.Context(), r.app.AppID, first, 40001)
	if text := b.String(); !strings.Contains(text, "died early") || strings.Contains(text, first) {
		t.Errorf("got %s", text)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
