package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// deathsKept is how many early deaths of an app's tokens are kept.
const deathsKept = 20

// StoredToken is an app's access token as replicas share it.
type StoredToken struct {
	Token     hongyan.AccessToken // zero: none, or the last one was refused
	FetchedAt time.Time
	ExpiresAt time.Time
	// Forced says that somebody wanted another token than there was.
	Forced bool
}

// AccessToken reads the shared token; the zero value where there never was one.
func (l *Ledger) AccessToken(ctx context.Context, id hongyan.AppID) (StoredToken, error) {
	e, err := l.app(id)
	if err != nil {
		return StoredToken{}, err
	}
	var sealed []byte
	var fetched, expires int64
	err = l.rdb.QueryRowContext(ctx, `/* ledger.AccessToken */ SELECT token, fetched_at, expires_at FROM access_tokens WHERE app_no = ?`, e.no).Scan(&sealed, &fetched, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return StoredToken{}, nil
	}
	if err != nil {
		return StoredToken{}, fmt.Errorf("read access token: %w", err)
	}
	clear, err := l.openToken(sealed, id)
	return StoredToken{Token: hongyan.NewAccessToken(clear), FetchedAt: at(fetched), ExpiresAt: at(expires)}, err
}

func (l *Ledger) openToken(sealed []byte, id hongyan.AppID) (string, error) {
	if sealed == nil {
		return "", nil
	}
	return l.key.open(sealed, "access_tokens", "token", string(id))
}

// LeaseTokenFetch makes this process the one that fetches the app's token, for at most d,
// unless another token was stored since the one that was fetched at seen. false: read again
// in a moment.
func (l *Ledger) LeaseTokenFetch(ctx context.Context, id hongyan.AppID, seen time.Time, d time.Duration) (bool, error) {
	got := false
	err := l.leaseToken(ctx, id, func(t *txn, appNo int64) error {
		n, err := t.exec(`/* ledger.LeaseTokenFetch */ UPDATE access_tokens SET lease_owner = ?, lease_until = ? WHERE app_no = ? AND (lease_owner = ? OR lease_until < ?) AND fetched_at = ?`,
			l.owner, t.now+d.Milliseconds(), appNo, l.owner, t.now, ms(seen))
		got = n == 1
		return err
	})
	return got, err
}

// LeaseTokenRefresh is LeaseTokenFetch for a forced refresh, which is not made sooner than
// spacing after the one before. wait is how long that still is.
func (l *Ledger) LeaseTokenRefresh(ctx context.Context, id hongyan.AppID, spacing, d time.Duration) (got bool, wait time.Duration, err error) {
	err = l.leaseToken(ctx, id, func(t *txn, appNo int64) error {
		got, wait = false, 0
		var forced int64
		if err := t.row(`/* ledger.LeaseTokenRefresh */ SELECT forced_at FROM access_tokens WHERE app_no = ?`+t.l.d.lock, []any{appNo}, &forced); err != nil {
			return err
		}
		if wait = time.Duration(forced-t.now)*time.Millisecond + spacing; forced > 0 && wait > 0 {
			return nil
		}
		wait = 0
		n, err := t.exec(`/* ledger.LeaseTokenRefresh */ UPDATE access_tokens SET lease_owner = ?, lease_until = ?, forced_at = ? WHERE app_no = ? AND (lease_owner = ? OR lease_until < ?)`,
			l.owner, t.now+d.Milliseconds(), t.now, appNo, l.owner, t.now)
		got = n == 1
		return err
	})
	return got, wait, err
}

func (l *Ledger) leaseToken(ctx context.Context, id hongyan.AppID, lease func(t *txn, appNo int64) error) error {
	e, err := l.app(id)
	if err != nil {
		return err
	}
	return l.write(ctx, "lease token fetch", func(t *txn) error {
		if _, err := t.exec(`/* ledger.leaseToken */ INSERT INTO access_tokens (app_no, token, fetched_at, expires_at, lease_owner, lease_until, forced_at, failure) VALUES (?, NULL, 0, 0, 0, 0, 0, '') ON CONFLICT (app_no) DO NOTHING`, e.no); err != nil {
			return err
		}
		return lease(t, e.no)
	})
}

// StoreToken writes a fetched token and ends this process's lease. If the lease has passed to
// another process, or the app's AppSecret changed meanwhile, nothing is written.
func (l *Ledger) StoreToken(ctx context.Context, id hongyan.AppID, tok StoredToken) error {
	e, err := l.app(id)
	if err != nil {
		return err
	}
	return l.write(ctx, "store access token", func(t *txn) error {
		t.touch(TopicApps)
		sealed := l.key.seal(tok.Token.Reveal(), "access_tokens", "token", string(id))
		n, err := t.exec(`/* ledger.StoreToken */ UPDATE access_tokens SET token = ?, fetched_at = ?, expires_at = ?, lease_until = 0 WHERE app_no = ? AND lease_owner = ?`,
			sealed, ms(tok.FetchedAt), ms(tok.ExpiresAt), e.no, l.owner)
		if err != nil || n == 0 || !tok.Forced {
			return err
		}
		return t.audit(id, "token", string(id), hongyan.ChangedSecret("/access_token", true, true))
	})
}

// FailToken notes that a fetch failed and ends this process's lease.
func (l *Ledger) FailToken(ctx context.Context, id hongyan.AppID, f hongyan.TokenFailure) error {
	e, err := l.app(id)
	if err != nil {
		return err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode failure: %w", err)
	}
	return l.write(ctx, "note failed token fetch", func(t *txn) error {
		t.touch(TopicApps)
		_, err := t.exec(`/* ledger.FailToken */ UPDATE access_tokens SET failure = ?, lease_until = 0 WHERE app_no = ? AND lease_owner = ?`, storable(string(text)), e.no, l.owner)
		return err
	})
}

// RefuseToken takes a token that WeChat refused out of use, unless another has taken its
// place already: that is the compare-and-swap between replicas. died reports whether it was
// refused before its time, and then is kept for [Ledger.TokenHealth] and announced; id names
// it for [Ledger.ExplainDeath].
func (l *Ledger) RefuseToken(ctx context.Context, app hongyan.AppID, token hongyan.AccessToken, r hongyan.TokenRefusal) (id ulid.ULID, died bool, err error) {
	e, err := l.app(app)
	if err != nil {
		return id, false, err
	}
	err = l.write(ctx, "refuse access token", func(t *txn) error {
		id, died = ulid.ULID{}, false
		d := hongyan.TokenDeath{RefusedAt: at(t.now), Times: 1, Errcode: r.Errcode, By: word128(r.By), Rid: word128(r.Rid),
			Reason: hongyan.GuessDeath(e.app.Settings.TokenMode, r.Errcode)}
		var sealed []byte
		var fetched, expires int64
		err := t.row(`/* ledger.RefuseToken */ SELECT token, fetched_at, expires_at FROM access_tokens WHERE app_no = ?`+t.l.d.lock, []any{e.no}, &sealed, &fetched, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if clear, err := l.openToken(sealed, app); err != nil || clear == "" || clear != token.Reveal() {
			return err
		}
		if _, err := t.exec(`/* ledger.RefuseToken */ UPDATE access_tokens SET token = NULL WHERE app_no = ?`, e.no); err != nil {
			return err
		}
		if t.now >= expires {
			return nil
		}
		died = true
		d.FetchedAt, d.ExpiresAt, d.Means = at(fetched), at(expires), d.Reason.Means()
		id, err = t.recordDeath(e, token, d)
		return err
	})
	return id, died, err
}

// recordDeath keeps the death; of one and the same token it is one death, however often.
func (t *txn) recordDeath(e *appEntry, token hongyan.AccessToken, d hongyan.TokenDeath) (ulid.ULID, error) {
	t.touch(TopicApps)
	// The token has more bits than the sum, so nobody finds it from there.
	sum := sha256.Sum256([]byte(token.Reveal()))
	mark := sum[:16]
	var last, lastMark []byte
	err := t.row(`/* ledger.recordDeath */ SELECT id, mark FROM token_deaths WHERE app_no = ? ORDER BY id DESC LIMIT 1`, []any{e.no}, &last, &lastMark)
	if err == nil && string(lastMark) == string(mark) {
		_, err = t.exec(`/* ledger.recordDeath */ UPDATE token_deaths SET times = times + 1, refused_at = ? WHERE id = ?`, ms(d.RefusedAt), last)
		return ulid.ULID(last), err
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return ulid.ULID{}, err
	}
	id := t.l.newID(t.now)
	if _, err := t.exec(`/* ledger.recordDeath */ INSERT INTO token_deaths (id, app_no, mark, fetched_at, expires_at, refused_at, times, errcode, told_by, rid, reason) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)`,
		id[:], e.no, mark, ms(d.FetchedAt), ms(d.ExpiresAt), ms(d.RefusedAt), d.Errcode, d.By, d.Rid, string(d.Reason)); err != nil {
		return id, err
	}
	t.emit(hongyan.EventTokenClobbered, e.app.AppID, func() any { return d })
	err = t.row(`/* ledger.recordDeath */ SELECT id FROM token_deaths WHERE app_no = ? ORDER BY id DESC LIMIT 1 OFFSET ?`, []any{e.no, deathsKept}, &last)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return id, nil
	case err != nil:
		return id, err
	}
	_, err = t.exec(`/* ledger.recordDeath */ DELETE FROM token_deaths WHERE app_no = ? AND id <= ?`, e.no, last)
	return id, err
}

// ExplainDeath replaces the guess about a death by what the next fetch has shown.
func (l *Ledger) ExplainDeath(ctx context.Context, id ulid.ULID, reason hongyan.DeathReason) error {
	return l.write(ctx, "explain token death", func(t *txn) error {
		_, err := t.exec(`/* ledger.ExplainDeath */ UPDATE token_deaths SET reason = ? WHERE id = ?`, string(reason), id[:])
		return err
	})
}

// TokenHealth is how an app comes by its tokens, as all replicas have noted it.
func (l *Ledger) TokenHealth(ctx context.Context, id hongyan.AppID) (hongyan.TokenHealth, error) {
	e, err := l.app(id)
	if err != nil {
		return hongyan.TokenHealth{}, err
	}
	h := hongyan.TokenHealth{App: id, Mode: e.app.Settings.Mode(), EarlyDeaths: []hongyan.TokenDeath{}}
	var has bool
	var fetched, expires, forced int64
	var failure string
	err = l.rdb.QueryRowContext(ctx, `/* ledger.TokenHealth */ SELECT token IS NOT NULL, fetched_at, expires_at, forced_at, failure FROM access_tokens WHERE app_no = ?`, e.no).Scan(&has, &fetched, &expires, &forced, &failure)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return h, fmt.Errorf("read token health: %w", err)
	}
	if has {
		h.FetchedAt, h.ExpiresAt = at(fetched), at(expires)
	}
	h.RefreshedAt = at(forced)
	if failure != "" {
		h.LastFailure = new(hongyan.TokenFailure)
		if err := json.Unmarshal([]byte(failure), h.LastFailure); err != nil {
			return h, fmt.Errorf("read token failure: %w", err)
		}
	}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.TokenHealth */ SELECT fetched_at, expires_at, refused_at, times, errcode, told_by, rid, reason FROM token_deaths WHERE app_no = ? ORDER BY id DESC`, e.no)
	if err != nil {
		return h, fmt.Errorf("read token deaths: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var d hongyan.TokenDeath
		var fetched, expires, refused int64
		err := r.Scan(&fetched, &expires, &refused, &d.Times, &d.Errcode, &d.By, &d.Rid, &d.Reason)
		d.FetchedAt, d.ExpiresAt, d.RefusedAt, d.Means = at(fetched), at(expires), at(refused), d.Reason.Means()
		h.EarlyDeaths = append(h.EarlyDeaths, d)
		return err
	})
	return h, err
}

// TokenSecret opens what the app shows to the service at its token_url; zero where there is none.
func (l *Ledger) TokenSecret(ctx context.Context, id hongyan.AppID) (hongyan.TokenSecret, error) {
	e, err := l.app(id)
	if err != nil {
		return hongyan.TokenSecret{}, err
	}
	var sealed []byte
	err = l.rdb.QueryRowContext(ctx, `/* ledger.TokenSecret */ SELECT token_secret FROM apps WHERE no = ?`, e.no).Scan(&sealed)
	if err != nil {
		return hongyan.TokenSecret{}, fmt.Errorf("read token secret: %w", err)
	}
	if sealed == nil {
		return hongyan.TokenSecret{}, nil
	}
	clear, err := l.key.open(sealed, "apps", "token_secret", string(id))
	return hongyan.NewTokenSecret(clear), err
}
