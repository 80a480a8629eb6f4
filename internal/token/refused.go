package token

import (
	"context"
	"errors"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// Refused takes a token out of use, if it is still the current one.
func (s *Source) Refused(ctx context.Context, appID, token string, errcode int) error {
	return s.RefusedBy(ctx, hongyan.AppID(appID), token, hongyan.TokenRefusal{Errcode: errcode})
}

// RefusedBy is Refused for those who know more. The token is named by whoever found it bad:
// if another has taken its place meanwhile, here or on another replica, nothing happens.
func (s *Source) RefusedBy(ctx context.Context, id hongyan.AppID, token string, r hongyan.TokenRefusal) error {
	if token == "" {
		return nil // an app without tokens
	}
	a := s.app(string(id))
	if r.Hearsay {
		// This replica may not have used the token at all yet.
		if _, err := s.get(ctx, string(id)); err != nil {
			return err
		}
	}
	f, dropped := s.drop(a, token, r.Hearsay)
	if !dropped {
		return nil
	}
	// The call goes on with another token whether or not its death can be written down.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	death, died, err := s.cfg.Ledger.RefuseToken(ctx, id, hongyan.NewAccessToken(token), r)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "refused access token not recorded", "appid", id, "err", err)
	}
	if died {
		s.earlyDeaths.Add(1)
		a.mu.Lock()
		a.death, a.deathToken = death, token
		a.mu.Unlock()
		s.cfg.Logger.WarnContext(ctx, "access token died early", "appid", id, "errcode", r.Errcode, "by", r.By)
	}
	if f != nil {
		s.land(a, f, nil, nil)
	}
	return nil
}

// drop ends the current token if it is this one. Until the death is written down nobody
// fetches: the flight that it leaves is for the caller to land.
func (s *Source) drop(a *app, token string, hearsay bool) (f *flight, dropped bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := s.cfg.Now()
	c := a.current.Load()
	if c == nil || c.token != token {
		return nil, false
	}
	if hearsay {
		if now.Sub(a.hearsayAt) < hearsayEvery {
			return nil, false
		}
		a.hearsayAt = now
	} else {
		a.refused, a.refusedAt = token, now
	}
	a.current.Store(nil)
	if a.flight != nil && !a.flight.ended {
		return nil, true // a renewal is on its way
	}
	a.flight = &flight{done: make(chan struct{})}
	return a.flight, true
}

// explain replaces the guess about the last death by what the fetch after it has shown.
func (s *Source) explain(ctx context.Context, a *app, mode hongyan.TokenMode, t wechat.AccessToken, err error) {
	a.mu.Lock()
	death, dead := a.death, a.deathToken
	a.death, a.deathToken = ulid.ULID{}, ""
	a.mu.Unlock()
	var refused *wechat.Error
	var reason hongyan.DeathReason
	switch {
	case dead == "":
		return
	case errors.As(err, &refused) && secretRefused(refused.Errcode):
		reason = hongyan.DeathSecretReset
	case t.AccessToken == dead && mode != hongyan.TokenExternal:
		reason = hongyan.DeathStillCurrent
	default:
		return // the guess stands
	}
	if err := s.cfg.Ledger.ExplainDeath(ctx, death, reason); err != nil {
		s.cfg.Logger.ErrorContext(ctx, "early death not explained", "err", err)
	}
}

// secretRefused reports whether a token endpoint does not take the AppSecret.
func secretRefused(errcode int) bool {
	switch errcode {
	case wechat.ErrcodeInvalidCredential, wechat.ErrcodeInvalidAppSecret, wechat.ErrcodeAppSecretFrozen:
		return true
	}
	return false
}
