package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/hongyan-push/hongyan"
)

// MPSessionTime is how long a phone stays logged in; then wx.login is asked again.
const MPSessionTime = 2 * time.Hour

// MPSession is a phone that has logged in: one user of one app.
type MPSession struct {
	App       hongyan.AppID
	OpenID    hongyan.OpenID
	Token     hongyan.MPToken // only when it was made
	ExpiresAt time.Time
}

// CreateMPSession logs a phone in as a user whom somebody vouched for: WeChat by a login
// code, or the team's own back end. Its token is opaque, random and not kept.
func (l *Ledger) CreateMPSession(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID) (MPSession, error) {
	a, err := l.app(id)
	if err != nil {
		return MPSession{}, err
	}
	if !openid.Valid() {
		return MPSession{}, hongyan.Invalid("/openid", "openid", "%q is not an openid: 1 to 64 characters of A-Z a-z 0-9 _ and -.", clipped(string(openid)))
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	token := base64.RawURLEncoding.EncodeToString(raw[:])
	hash := sha256.Sum256([]byte(token))
	s := MPSession{App: id, OpenID: openid, Token: hongyan.NewMPToken(token)}
	err = l.write(ctx, "create session", func(t *txn) error {
		user, err := t.user(a.no, openid)
		if err != nil {
			return err
		}
		s.ExpiresAt = at(t.now + MPSessionTime.Milliseconds())
		_, err = t.exec(`/* ledger.CreateMPSession */ INSERT INTO mp_sessions (hash, app_no, user_no, expires_at) VALUES (?, ?, ?, ?)`, hash[:], a.no, user, ms(s.ExpiresAt))
		return err
	})
	return s, err
}

// MPSession finds the session of a token.
func (l *Ledger) MPSession(ctx context.Context, token string) (MPSession, error) {
	refused := hongyan.Errorf(hongyan.CodeSessionExpired, "The session is not known or has ended.")
	if len(token) == 0 || len(token) > 64 {
		return MPSession{}, refused
	}
	hash := sha256.Sum256([]byte(token))
	var appNo, expires int64
	var s MPSession
	err := l.rdb.QueryRowContext(ctx, `/* ledger.MPSession */ SELECT s.app_no, u.openid, s.expires_at FROM mp_sessions s JOIN users u ON u.no = s.user_no WHERE s.hash = ?`, hash[:]).Scan(&appNo, &s.OpenID, &expires)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (expires <= ms(l.Now()) || !s.OpenID.Valid()) {
		return MPSession{}, refused
	}
	if err != nil {
		return MPSession{}, fmt.Errorf("read session: %w", err)
	}
	a := l.appByNo(appNo)
	if a == nil {
		return MPSession{}, refused
	}
	s.App, s.ExpiresAt = a.app.AppID, at(expires)
	return s, nil
}

// EndMPSessions logs a user's phones out and tells how many there were.
func (l *Ledger) EndMPSessions(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID) (n int64, err error) {
	user, err := l.userNo(ctx, id, openid)
	if err != nil || user == 0 {
		return 0, err
	}
	err = l.write(ctx, "end sessions", func(t *txn) (err error) {
		if n, err = t.exec(`/* ledger.EndMPSessions */ DELETE FROM mp_sessions WHERE user_no = ?`, user); err != nil {
			return err
		}
		return t.auditDiff(id, "user", string(openid), map[string]int64{"sessions": n}, map[string]int64{"sessions": 0})
	})
	return n, err
}
