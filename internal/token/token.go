// Package token keeps one valid access token per app, whoever asks and how often: in
// memory for this process, sealed in the database for its neighbours. It hides fetching,
// renewal before expiry, single flight and the exchange of a refused token. It promises
// that a stampede costs one call to WeChat, and that a failure is never remembered for
// longer than a second. What to do about an app whose token cannot be had is dispatch's
// and the operator's business.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// Config is what a source needs.
type Config struct {
	Ledger *ledger.Ledger
	// Clients are tried in order: the general host, then the one for disaster recovery.
	Clients []*wechat.Client
	Now     func() time.Time
	Logger  *slog.Logger
}

const (
	// renewEarly is a little under the five minutes before expiry in which WeChat itself renews.
	renewEarly = 290 * time.Second
	// failureKept is how long the waiters of a failed fetch share its error.
	failureKept = time.Second
	// refusedKept is how long a token that WeChat refused is not taken again, even if WeChat
	// hands it out again: after that one more try shows whether it was a passing error.
	refusedKept = 55 * time.Second
	fetchTime   = 15 * time.Second
)

// Source is the server's wechat.TokenSource.
type Source struct {
	cfg  Config
	mu   sync.Mutex
	apps map[string]*app

	fetches, earlyDeaths atomic.Int64
}

var _ wechat.TokenSource = (*Source)(nil)

// New makes a source.
func New(cfg Config) *Source {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Source{cfg: cfg, apps: make(map[string]*app)}
}

// app is one app's token and the flight that fetches its next.
type app struct {
	current atomic.Pointer[current]

	mu        sync.Mutex
	flight    *flight // running, or failed less than a second ago
	refused   string  // the last token that WeChat refused
	refusedAt time.Time
}

type current struct {
	token              string
	fetchedAt, expires time.Time
	renewAt            time.Time
}

// flight is one fetch that everybody waits for.
type flight struct {
	done    chan struct{}
	token   string
	err     error
	failed  time.Time
	settled bool
}

func (s *Source) app(id string) *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[id]
	if a == nil {
		a = &app{}
		s.apps[id] = a
	}
	return a
}

// AccessToken gives the app's current token, fetching one if there is none. While a token
// is renewed before its end, callers but the first go on with the old one.
func (s *Source) AccessToken(ctx context.Context, appID string) (string, error) {
	a := s.app(appID)
	now := s.cfg.Now()
	c := a.current.Load()
	if c != nil && now.Before(c.renewAt) {
		return c.token, nil
	}
	valid := c != nil && now.Before(c.expires)
	a.mu.Lock()
	if c2 := a.current.Load(); c2 != c { // somebody was faster
		a.mu.Unlock()
		if c2 != nil && now.Before(c2.expires) {
			return c2.token, nil
		}
		return s.AccessToken(ctx, appID)
	}
	f := a.flight
	if f != nil && !(f.settled && now.Sub(f.failed) > failureKept) {
		a.mu.Unlock()
		if valid {
			return c.token, nil
		}
		return f.wait(ctx)
	}
	f = &flight{done: make(chan struct{})}
	a.flight = f
	refused := a.refused
	if now.Sub(a.refusedAt) > refusedKept {
		refused = ""
	}
	a.mu.Unlock()
	s.fly(ctx, a, f, hongyan.AppID(appID), refused)
	if f.err != nil && valid {
		return c.token, nil // renewal failed; the old token is good for some minutes yet
	}
	return f.token, f.err
}

func (f *flight) wait(ctx context.Context) (string, error) {
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// fly fetches for everybody: the first caller's own end must not fail the others.
func (s *Source) fly(ctx context.Context, a *app, f *flight, id hongyan.AppID, refused string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	c, err := s.obtain(ctx, id, refused)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.current.Store(c)
		f.token = c.token
		a.flight = nil
	} else {
		f.err, f.failed, f.settled = err, s.cfg.Now(), true
	}
	close(f.done)
}

// Refused takes a token out of use, if it is still the current one.
func (s *Source) Refused(ctx context.Context, appID, token string, errcode int) error {
	c := s.drop(appID, token)
	if c == nil || !s.cfg.Now().Before(c.expires) {
		return nil
	}
	s.earlyDeaths.Add(1)
	s.cfg.Logger.WarnContext(ctx, "access token died early: another program may fetch tokens for this app, or its AppSecret was reset",
		"appid", appID, "errcode", errcode, "fetched_at", c.fetchedAt, "expires_at", c.expires)
	// The call goes on with another token whether or not somebody hears of it.
	if err := s.cfg.Ledger.Announce(ctx, hongyan.EventTokenClobbered, hongyan.AppID(appID), hongyan.TokenEvent{Errcode: errcode, FetchedAt: c.fetchedAt, ExpiresAt: c.expires}); err != nil {
		s.cfg.Logger.ErrorContext(ctx, "event not recorded", "appid", appID, "err", err)
	}
	return nil
}

// drop ends the current token if it is this one, and answers it.
func (s *Source) drop(appID, token string) *current {
	a := s.app(appID)
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.current.Load()
	if token == "" || c == nil || c.token != token {
		return nil
	}
	a.refused, a.refusedAt = token, s.cfg.Now()
	a.current.Store(nil)
	return c
}

// obtain reads the shared token, or fetches one as the only process that does.
func (s *Source) obtain(ctx context.Context, id hongyan.AppID, refused string) (*current, error) {
	settings, err := s.cfg.Ledger.App(id)
	if err != nil {
		return nil, err
	}
	if settings.Settings.TokenMode == hongyan.TokenNone {
		far := s.cfg.Now().Add(24 * time.Hour)
		return &current{expires: far, renewAt: far}, nil
	}
	for {
		if c, err := s.shared(ctx, id, refused); c != nil || err != nil {
			return c, err
		}
		mine, err := s.cfg.Ledger.LeaseTokenFetch(ctx, id, fetchTime)
		if err != nil {
			return nil, err
		}
		if mine {
			return s.fetch(ctx, id, settings.Settings.TokenMode, refused)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, hongyan.Errorf(hongyan.CodeTokenUnavailable, "Another replica did not finish fetching the access token in time.")
		}
	}
}

// shared is the token in the database, if it is neither old nor the refused one.
func (s *Source) shared(ctx context.Context, id hongyan.AppID, refused string) (*current, error) {
	t, err := s.cfg.Ledger.AccessToken(ctx, id)
	if err != nil || t.Token.IsZero() {
		return nil, err
	}
	clear := t.Token.Reveal()
	c := s.newCurrent(clear, t.FetchedAt, t.ExpiresAt)
	if clear == refused || !s.cfg.Now().Before(c.renewAt) {
		return nil, nil
	}
	return c, nil
}

func (s *Source) newCurrent(token string, fetched, expires time.Time) *current {
	c := &current{token: token, fetchedAt: fetched, expires: expires, renewAt: expires.Add(-renewEarly)}
	if !c.renewAt.After(fetched) {
		// WeChat handed out a token in its last minutes. Ask again soon, not at once.
		c.renewAt = fetched.Add(max(expires.Sub(fetched)/2, time.Second))
	}
	return c
}

func (s *Source) fetch(ctx context.Context, id hongyan.AppID, mode hongyan.TokenMode, refused string) (*current, error) {
	secret, err := s.cfg.Ledger.AppSecret(ctx, id)
	if err != nil {
		return nil, errors.Join(err, s.cfg.Ledger.StoreToken(ctx, id, ledger.StoredToken{}))
	}
	fetched := s.cfg.Now()
	t, err := s.call(ctx, id, mode, secret)
	if err != nil {
		return nil, errors.Join(err, s.cfg.Ledger.StoreToken(ctx, id, ledger.StoredToken{}))
	}
	c := s.newCurrent(t.AccessToken, fetched, fetched.Add(t.ExpiresIn))
	err = s.cfg.Ledger.StoreToken(ctx, id, ledger.StoredToken{Token: hongyan.NewAccessToken(c.token), FetchedAt: fetched, ExpiresAt: c.expires})
	if c.token == refused {
		return nil, hongyan.Errorf(hongyan.CodeTokenRejected, "WeChat refuses the very token that it has just handed out again.")
	}
	return c, err
}

// call asks WeChat, on the second host if the first gives no answer: asking for a token
// twice spends nothing.
func (s *Source) call(ctx context.Context, id hongyan.AppID, mode hongyan.TokenMode, secret hongyan.AppSecret) (t wechat.AccessToken, err error) {
	for _, c := range s.cfg.Clients {
		s.fetches.Add(1)
		if mode == hongyan.TokenLegacy {
			t, err = c.GetAccessToken(ctx, string(id), secret.Reveal())
		} else {
			t, err = c.GetStableAccessToken(ctx, string(id), secret.Reveal(), false)
		}
		var te *wechat.TransportError
		if !errors.As(err, &te) {
			return t, err
		}
	}
	return t, fmt.Errorf("fetch access token: %w", err)
}

// Stats are counters since the start.
type Stats struct{ Fetches, EarlyDeaths int64 }

// Stats reads the counters.
func (s *Source) Stats() Stats {
	return Stats{Fetches: s.fetches.Load(), EarlyDeaths: s.earlyDeaths.Load()}
}
