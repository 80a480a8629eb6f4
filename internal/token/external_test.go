package token_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/outbound"
	"github.com/hongyan-push/hongyan/internal/token"
)

const tokenSecret = "what-the-owner-wants-to-see"

// owner is a service of the team's that owns the tokens.
type owner struct {
	url    string
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

// newOwner answers with WeChat's own stable token, as such a service does.
func newOwner(t *testing.T, r *rig) *owner {
	t.Helper()
	o := &owner{}
	o.set(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer "+tokenSecret || q.Method != "GET" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		tok, err := r.client.GetStableAccessToken(q.Context(), r.app.AppID, r.app.Secret, false)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":%d}`, tok.AccessToken, int(tok.ExpiresIn.Seconds()))
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		o.asked.Add(1)
		(*o.answer.Load())(w, q)
	}))
	t.Cleanup(srv.Close)
	o.url = srv.URL + "/wx?app=1"
	secret := hongyan.NewTokenSecret(tokenSecret)
	if _, err := r.ledger.UpdateApp(context.Background(), r.id(), ledger.AppUpdate{TokenSecret: &secret, Merge: func(s *hongyan.AppSettings) error {
		s.TokenMode, s.TokenURL = hongyan.TokenExternal, o.url
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *owner) set(h http.HandlerFunc) { o.answer.Store(&h) }

func (o *owner) say(status int, body string) {
	o.set(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func TestExternal(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	o := newOwner(t, r)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() { r.get(t, r.source) })
	}
	wg.Wait()
	first := r.get(t, r.newSource())
	if n := o.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if _, err := r.client.GetTemplateList(t.Context(), first); err != nil {
		t.Error(err)
	}
	// Refused: asked again at once, and taken if it is another one.
	r.tokens(t, "supersede")
	_ = r.source.Refused(t.Context(), r.app.AppID, first, 40001)
	if second := r.get(t, r.source); second == first || o.asked.Load() != 2 {
		t.Errorf("asked %d times", o.asked.Load())
	}
	r.wantDeaths(t, hongyan.DeathSourceStale)
	r.clock.advance(2*time.Hour - 4*time.Minute)
	r.get(t, r.source)
	if n := o.asked.Load(); n != 3 {
		t.Errorf("asked %d times, want a renewal before the end", n)
	}
	if got, err := r.source.Refresh(t.Context(), r.id()); err != nil || got.Replaced || !strings.Contains(got.Note.EN, "token_url") {
		t.Errorf("refresh: %+v, %v", got, err)
	}
}

// The owner goes on handing out what WeChat refuses: it is not asked in a loop.
func TestExternalHandsOutTheDeadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	o := newOwner(t, r)
	first := r.get(t, r.source)
	o.say(200, `{"access_token":"`+first+`","expires_in":7000}`)
	_ = r.source.Refused(t.Context(), r.app.AppID, first, 40001)
	for range 40 {
		if _, err := r.source.AccessToken(t.Context(), r.app.AppID); hongyan.CodeOf(err) != hongyan.CodeTokenRejected {
			t.Fatalf("got %v", err)
		}
		r.clock.advance(250 * time.Millisecond)
	}
	if n := o.asked.Load(); n < 3 || n > 4 {
		t.Errorf("asked %d times in 10 s, want at once and then every 5 s", n)
	}
	r.wantDeaths(t, hongyan.DeathSourceStale)
}

// Nothing but a token with some life left is taken, and a failure is not kept.
func TestExternalFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	o := newOwner(t, r)
	const private = "private-text-of-the-owner"
	for name, row := range map[string]struct {
		status int
		body   string
	}{
		"status":         {500, `{"access_token":"t","expires_in":7200}`},
		"not allowed":    {401, private},
		"redirect":       {302, ""},
		"HTML":           {200, "<html>" + private},
		"list":           {200, `[]`},
		"empty":          {200, ""},
		"no token":       {200, `{"expires_in":7200}`},
		"empty token":    {200, `{"access_token":"","expires_in":7200}`},
		"odd token":      {200, `{"access_token":"` + private + ` x","expires_in":7200}`},
		"long token":     {200, `{"access_token":"` + strings.Repeat("t", 5000) + `","expires_in":7200}`},
		"no life":        {200, `{"access_token":"t"}`},
		"zero":           {200, `{"access_token":"t","expires_in":0}`},
		"negative":       {200, `{"access_token":"t","expires_in":-5}`},
		"half":           {200, `{"access_token":"t","expires_in":0.5}`},
		"words":          {200, `{"access_token":"t","expires_in":"soon"}`},
		"WeChat's error": {200, `{"errcode":40125,"errmsg":"` + private + `"}`},
		"odd errcode":    {200, `{"errcode":"` + private + `","access_token":"t","expires_in":7200}`},
		"too long":       {200, `{"access_token":"t","expires_in":7200,"x":"` + strings.Repeat("x", 70<<10) + `"}`},
	} {
		o.say(row.status, row.body)
		r.clock.advance(2 * time.Second)
		tok, err := r.source.AccessToken(t.Context(), r.app.AppID)
		if hongyan.CodeOf(err) != hongyan.CodeTokenUnavailable || tok != "" {
			t.Errorf("%s: got %q, %v", name, tok, err)
		}
		f := r.health(t).LastFailure
		if f == nil || f.Code != hongyan.CodeTokenUnavailable || f.Means.ZH == "" {
			t.Fatalf("%s: failure %+v", name, f)
		}
		for _, text := range []string{err.Error(), f.Detail} {
			if strings.Contains(text, private) || strings.Contains(text, tokenSecret) || strings.Contains(text, "app=1") {
				t.Errorf("%s: tells %s", name, text)
			}
		}
	}
	if h := r.health(t); !h.FetchedAt.IsZero() {
		t.Errorf("a failure was kept: %+v", h)
	}
	o.say(200, `{"access_token":"t","expires_in":"90","errcode":0}`)
	r.clock.advance(2 * time.Second)
	if got := r.get(t, r.source); got != "t" {
		t.Errorf("got %q", got)
	}
	// What says that it lives longer than a token can is not believed.
	o.say(200, `{"access_token":"u","expires_in":86400}`)
	r.clock.advance(90 * time.Second)
	if got := r.get(t, r.source); got != "u" || r.health(t).ExpiresAt.Sub(r.health(t).FetchedAt) != 2*time.Hour {
		t.Errorf("got %q until %v", got, r.health(t).ExpiresAt)
	}
}

// An address within the network is not called unless the operator allows it, and one that
// does not answer is given up.
func TestExternalIsGuarded(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", nil)
	o := newOwner(t, r)
	guarded := outbound.New(outbound.Config{})
	defer guarded.CloseIdleConnections()
	s := token.New(token.Config{Ledger: r.ledger, External: guarded, Now: r.clock.now})
	_, err := s.AccessToken(t.Context(), r.app.AppID)
	if hongyan.CodeOf(err) != hongyan.CodeTokenUnavailable || !strings.Contains(err.Error(), "outbound-allow") || o.asked.Load() != 0 {
		t.Errorf("got %v", err)
	}
	if _, err := token.New(token.Config{Ledger: r.ledger, Now: r.clock.now}).AccessToken(t.Context(), r.app.AppID); hongyan.CodeOf(err) != hongyan.CodeTokenUnavailable {
		t.Errorf("without a client: %v", err)
	}
	tried, err := r.source.TryURL(t.Context(), o.url, hongyan.NewTokenSecret("wrong"))
	if hongyan.CodeOf(err) != hongyan.CodeTokenUnavailable || tried.AccessToken != "" {
		t.Errorf("the wrong secret: %v", err)
	}
	if tried, err = r.source.TryURL(t.Context(), o.url, hongyan.NewTokenSecret(tokenSecret)); err != nil || tried.AccessToken == "" || !r.health(t).FetchedAt.IsZero() {
		t.Errorf("the right one: %v", err)
	}
}
