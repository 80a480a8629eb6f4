// Package token keeps one valid access token per app, whoever asks and how often: in
// memory for this process, sealed in the database for its neighbours. It hides where tokens
// come from, renewal before expiry, single flight, the exchange of a refused token and the
// notes about those that died early. It promises that a stampede costs one call to whoever
// hands out the tokens, and that a failure is never remembered for longer than a second (five
// where the very token that WeChat has just refused came back). What to do about an app whose
// token cannot be had is dispatch's and the operator's business.
package token

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// Config is what a source needs.
type Config struct {
	Ledger *ledger.Ledger
	// Clients are tried in order: the general host, then the one for disaster recovery.
	Clients []*wechat.Client
	// External calls the token_url of apps that have one: others chose the address, so it is
	// a client that looks where it connects. Nil: such apps get no token.
	External *http.Client
	Now      func() time.Time
	Logger   *slog.Logger
}

const (
	// renewEarly is a little under the five minutes before expiry in which WeChat itself renews.
	renewEarly = 290 * time.Second
	// failureKept is how long the waiters of a failed fetch share its error.
	failureKept = time.Second
	// sameKept is failureKept where the refused token came back: asking again at once gives
	// the same.
	sameKept = 5 * time.Second
	// refusedKept is how long a token that WeChat refused is not taken again, even if it is
	// handed out again: after that one more try shows whether it was a passing error.
	refusedKept = 55 * time.Second
	// hearsayEvery is how often other services may have a token replaced. In legacy mode each
	// time costs one of 2,000 calls a day.
	hearsayEvery = time.Minute
	// forcedEvery is how far apart WeChat wants forced refreshes.
	forcedEvery = 30 * time.Second
	fetchTime   = 15 * time.Second
	// pollEvery is how often a replica looks whether another has finished fetching.
	pollEvery = 100 * time.Millisecond
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
	flight    *flight // running, or failed a moment ago
	refused   string  // the last token that WeChat refused
	refusedAt time.Time
	hearsayAt time.Time // when another service last had a token replaced
	// death is the early death that the next fetch may explain, of this token.
	death      ulid.ULID
	deathToken string
}

// current is never changed, only replaced.
type current struct {
	token              string
	fetchedAt, expires time.Time
	renewAt            time.Time
	// loads and updated say of which state of the app it is: another AppSecret or source ends it.
	loads   int64
	updated time.Time
}

// flight is one fetch that everybody waits for.
type flight struct {
	done  chan struct{}
	got   *current
	err   error
	again bool      // it fetched nothing: whoever waited begins anew
	until time.Time // a failure is shared until then
	of    time.Time // the state of the app that failed
	ended bool
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
	c, err := s.get(ctx, appID)
	if err != nil {
		return "", err
	}
	return c.token, nil
}

func (s *Source) get(ctx context.Context, appID string) (*current, error) {
	a := s.app(appID)
	for {
		now := s.cfg.Now()
		c := a.current.Load()
		if c != nil && c.loads != s.cfg.Ledger.Loads() {
			s.reconsider(a, c, appID)
			continue
		}
		if c != nil && now.Before(c.renewAt) {
			return c, nil
		}
		valid := c != nil && now.Before(c.expires)
		f, mine := s.board(a, c, appID)
		switch {
		case f == nil: // somebody was faster
			continue
		case mine:
			s.fly(ctx, a, f, hongyan.AppID(appID))
		case !valid:
			if err := f.wait(ctx); err != nil {
				return nil, err
			}
		}
		switch {
		case valid && (!mine || f.err != nil):
			return c, nil // the old token is good for some minutes yet
		case !f.again:
			return f.got, f.err
		}
	}
}

// reconsider drops a token of an app that has changed since, or notes that it has not.
func (s *Source) reconsider(a *app, c *current, appID string) {
	next := *c
	next.loads = s.cfg.Ledger.Loads() // before the app is read: what changes later is seen later
	settings, err := s.cfg.Ledger.App(hongyan.AppID(appID))
	if err != nil || !settings.UpdatedAt.Equal(c.updated) {
		a.current.CompareAndSwap(c, nil)
		return
	}
	a.current.CompareAndSwap(c, &next)
}

// board finds the flight to wait for, or begins one, which the caller then flies. There is
// none if the token is no longer the one that the caller saw.
func (s *Source) board(a *app, seen *current, appID string) (f *flight, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current.Load() != seen {
		return nil, false
	}
	if a.flight != nil && !s.over(a.flight, appID) {
		return a.flight, false
	}
	a.flight = &flight{done: make(chan struct{})}
	return a.flight, true
}

// over reports whether a flight has ended and its failure is not to be shared any more:
// because of its age, or because the app that failed has changed.
func (s *Source) over(f *flight, appID string) bool {
	if !f.ended || s.cfg.Now().After(f.until) {
		return f.ended
	}
	app, err := s.cfg.Ledger.App(hongyan.AppID(appID))
	return err == nil && !app.UpdatedAt.Equal(f.of)
}

// wait ends with the flight, whose outcome may be read then.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly fetches for everybody: the first caller's own end must not fail the others.
func (s *Source) fly(ctx context.Context, a *app, f *flight, id hongyan.AppID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	// An app that is not there is one whose state is the zero time.
	settings, _ := s.cfg.Ledger.App(id)
	c, err := s.obtain(ctx, a, id)
	f.of = settings.UpdatedAt
	s.land(a, f, c, err)
}

// land ends a flight with a token, a failure, or neither.
func (s *Source) land(a *app, f *flight, c *current, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.got, f.err, f.again, f.ended = c, err, c == nil && err == nil, true
	if c != nil {
		a.current.Store(c)
	}
	if err == nil {
		a.flight = nil
	} else {
		kept := failureKept
		if errors.Is(err, errSameAgain) {
			kept = sameKept
		}
		f.until = s.cfg.Now().Add(kept)
	}
	close(f.done)
}

// errSameAgain is in the error of a fetch that gave the token which WeChat has just refused.
var errSameAgain = hongyan.Errorf(hongyan.CodeTokenRejected, "WeChat refuses the very token that was handed out again.")

// skip is the token that is not to be taken, because WeChat has just refused it.
func (a *app) skip(now time.Time) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.refusedAt) > refusedKept {
		return ""
	}
	return a.refused
}

// obtain reads the shared token, or fetches one as the only process that does.
func (s *Source) obtain(ctx context.Context, a *app, id hongyan.AppID) (*current, error) {
	loads := s.cfg.Ledger.Loads() // before the app, as in reconsider
	settings, err := s.cfg.Ledger.App(id)
	if err != nil {
		return nil, err
	}
	of := func(c *current) *current {
		if c != nil {
			c.loads, c.updated = loads, settings.UpdatedAt
		}
		return c
	}
	if settings.Settings.TokenMode == hongyan.TokenNone {
		far := s.cfg.Now().Add(24 * time.Hour)
		return of(&current{expires: far, renewAt: far}), nil
	}
	refused := a.skip(s.cfg.Now())
	for {
		c, seen, err := s.shared(ctx, id, refused)
		if c != nil || err != nil {
			return of(c), err
		}
		// Between the look and the lease another replica may have stored a token: then there is
		// no lease, and the next look finds it.
		mine, err := s.cfg.Ledger.LeaseTokenFetch(ctx, id, seen, fetchTime)
		if err != nil {
			return nil, err
		}
		if mine {
			c, err := s.fetch(ctx, a, settings, refused)
			return of(c), err
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil, hongyan.Errorf(hongyan.CodeTokenUnavailable, "Another replica did not finish fetching the access token in time.")
		}
	}
}

// shared is the token in the database, if it is neither old nor the refused one. seen is
// when the one that stands there was fetched.
func (s *Source) shared(ctx context.Context, id hongyan.AppID, refused string) (c *current, seen time.Time, err error) {
	t, err := s.cfg.Ledger.AccessToken(ctx, id)
	if err != nil || t.Token.IsZero() {
		return nil, t.FetchedAt, err
	}
	clear := t.Token.Reveal()
	c = newCurrent(clear, t.FetchedAt, t.ExpiresAt)
	if clear == refused || !s.cfg.Now().Before(c.renewAt) {
		return nil, t.FetchedAt, nil
	}
	return c, t.FetchedAt, nil
}

func newCurrent(token string, fetched, expires time.Time) *current {
	c := &current{token: token, fetchedAt: fetched, expires: expires, renewAt: expires.Add(-renewEarly)}
	if !c.renewAt.After(fetched) {
		// It was handed out in its last minutes. Ask again soon, not at once.
		c.renewAt = fetched.Add(max(expires.Sub(fetched)/2, time.Second))
	}
	return c
}

// fetch asks for a token and stores it, or notes the failure; either ends the lease.
func (s *Source) fetch(ctx context.Context, a *app, settings hongyan.App, refused string) (*current, error) {
	fetched := s.cfg.Now()
	t, err := s.ask(ctx, settings, false)
	if err == nil && t.AccessToken == refused {
		err = errSameAgain
	}
	s.explain(ctx, a, settings.Settings.Mode(), t, err)
	if err != nil {
		return nil, errors.Join(err, s.cfg.Ledger.FailToken(ctx, settings.AppID, failureOf(err, s.cfg.Now())))
	}
	return s.store(ctx, settings.AppID, t, fetched, false)
}

func (s *Source) store(ctx context.Context, id hongyan.AppID, t wechat.AccessToken, fetched time.Time, forced bool) (*current, error) {
	c := newCurrent(t.AccessToken, fetched, fetched.Add(t.ExpiresIn))
	err := s.cfg.Ledger.StoreToken(ctx, id, ledger.StoredToken{Token: hongyan.NewAccessToken(c.token), FetchedAt: fetched, ExpiresAt: c.expires, Forced: forced})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Issue is AccessToken for another service of the team, with the token's end.
func (s *Source) Issue(ctx context.Context, id hongyan.AppID) (hongyan.IssuedToken, error) {
	settings, err := s.cfg.Ledger.App(id)
	if err != nil {
		return hongyan.IssuedToken{}, err
	}
	if settings.Settings.TokenMode == hongyan.TokenNone {
		return hongyan.IssuedToken{}, noToken(id)
	}
	c, err := s.get(ctx, string(id))
	if err != nil {
		return hongyan.IssuedToken{}, err
	}
	return hongyan.IssuedToken{AccessToken: c.token, ExpiresAt: c.expires.UTC(), ExpiresIn: max(int64(c.expires.Sub(s.cfg.Now())/time.Second), 0)}, nil
}

func noToken(id hongyan.AppID) error {
	return hongyan.Errorf(hongyan.CodeConflict, "App %s has token_mode none: WeChat's cloud hosting authenticates its calls, and there is no token. Choose another token_mode if there should be one.", id)
}

// Refresh makes WeChat replace the app's token now; the one before dies at once in stable
// mode. It is for a token that has leaked, or that WeChat keeps refusing.
func (s *Source) Refresh(ctx context.Context, id hongyan.AppID) (hongyan.TokenRefresh, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	loads := s.cfg.Ledger.Loads()
	settings, err := s.cfg.Ledger.App(id)
	if err != nil {
		return hongyan.TokenRefresh{}, err
	}
	if settings.Settings.TokenMode == hongyan.TokenNone {
		return hongyan.TokenRefresh{}, noToken(id)
	}
	a := s.app(string(id))
	f, err := a.boardAlone(ctx)
	if err != nil {
		return hongyan.TokenRefresh{}, err
	}
	before, c, err := s.force(ctx, settings)
	if err != nil {
		s.land(a, f, nil, nil) // whoever waited may still get the token there was
		return hongyan.TokenRefresh{}, err
	}
	c.loads, c.updated = loads, settings.UpdatedAt
	s.land(a, f, c, nil)
	out := hongyan.TokenRefresh{Replaced: c.token != before, FetchedAt: c.fetchedAt.UTC(), ExpiresAt: c.expires.UTC()}
	out.Note = refreshNote(settings.Settings.Mode(), out.Replaced)
	return out, nil
}

// boardAlone begins a flight once none is running.
func (a *app) boardAlone(ctx context.Context) (*flight, error) {
	for {
		a.mu.Lock()
		running := a.flight
		if running == nil || running.ended {
			f := &flight{done: make(chan struct{})}
			a.flight = f
			a.mu.Unlock()
			return f, nil
		}
		a.mu.Unlock()
		if err := running.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// force asks for a new token as the only process that does.
func (s *Source) force(ctx context.Context, settings hongyan.App) (before string, c *current, err error) {
	got, wait, err := s.cfg.Ledger.LeaseTokenRefresh(ctx, settings.AppID, forcedEvery, fetchTime)
	switch {
	case err != nil:
		return "", nil, err
	case wait > 0:
		e := hongyan.Errorf(hongyan.CodeRateLimited, "The token was refreshed a moment ago; WeChat wants forced refreshes %d seconds apart.", int(forcedEvery.Seconds()))
		e.RetryAfter = wait
		return "", nil, e
	case !got:
		e := hongyan.Errorf(hongyan.CodeRateLimited, "Another replica is fetching the token just now.")
		e.RetryAfter = time.Second
		return "", nil, e
	}
	old, err := s.cfg.Ledger.AccessToken(ctx, settings.AppID)
	if err != nil {
		return "", nil, err
	}
	fetched := s.cfg.Now()
	t, err := s.ask(ctx, settings, true)
	if err != nil {
		return "", nil, errors.Join(err, s.cfg.Ledger.FailToken(ctx, settings.AppID, failureOf(err, s.cfg.Now())))
	}
	c, err = s.store(ctx, settings.AppID, t, fetched, true)
	return old.Token.Reveal(), c, err
}

func refreshNote(mode hongyan.TokenMode, replaced bool) hongyan.Text {
	switch {
	case !replaced && mode == hongyan.TokenExternal:
		return hongyan.Text{EN: "The service at token_url answered with the same token: it is there that it would have to be replaced.", ZH: "token_url 处的服务返回了同一个 token：需要在该服务处更换。"}
	case !replaced:
		return hongyan.Text{EN: "WeChat answered with the same token: it makes at most 20 forced refreshes a day, at least 30 seconds apart, and somebody else may have used them.", ZH: "微信返回了同一个 token：强制刷新每天最多 20 次，间隔至少 30 秒，次数可能已被其他程序用掉。"}
	case mode == hongyan.TokenStable:
		return hongyan.Text{EN: "The token before is dead. To be rid of one that leaked, refresh once more after 30 seconds.", ZH: "之前的 token 已失效。若因泄露而刷新，请在 30 秒后再刷新一次。"}
	case mode == hongyan.TokenLegacy:
		return hongyan.Text{EN: "The token before works for five more minutes.", ZH: "之前的 token 还能使用五分钟。"}
	}
	return hongyan.Text{EN: "The service at token_url has handed out another token.", ZH: "token_url 处的服务给出了新的 token。"}
}

// Stats are counters since the start.
type Stats struct{ Fetches, EarlyDeaths int64 }

// Stats reads the counters.
func (s *Source) Stats() Stats {
	return Stats{Fetches: s.fetches.Load(), EarlyDeaths: s.earlyDeaths.Load()}
}
