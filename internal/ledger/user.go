package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/hongyan-push/hongyan"
)

// user finds or makes the row of an openid.
func (t *txn) user(appNo int64, openid hongyan.OpenID) (int64, error) {
	found, err := t.users(appNo, []hongyan.OpenID{openid})
	return found[openid], err
}

var userInsert = []column{{"no", kindInt}, {"app_no", kindInt}, {"openid", kindText}, {"created_at", kindInt}}

// users finds or makes the rows of openids, which are sorted.
func (t *txn) users(appNo int64, openids []hongyan.OpenID) (map[hongyan.OpenID]int64, error) {
	found := make(map[hongyan.OpenID]int64, len(openids))
	for {
		if err := t.findUsers(appNo, openids, found, ""); err != nil || len(found) == len(openids) {
			return found, err
		}
		var rows [][]any
		for _, o := range openids {
			if found[o] != 0 {
				continue
			}
			no, err := t.nextNo("users")
			if err != nil {
				return nil, err
			}
			rows = append(rows, []any{no, appNo, string(o), t.now})
		}
		// Another replica may be making the same: then its row is found in the next round.
		if err := t.insertRows(`/* ledger.users */ INSERT INTO users`, userInsert, rows, ` ON CONFLICT (app_no, openid) DO NOTHING`); err != nil {
			return nil, err
		}
		if t.l.d.alone {
			for _, r := range rows {
				o, no := hongyan.OpenID(r[2].(string)), r[0].(int64)
				found[o] = no
				t.learned.isUser(userKey{appNo, o}, no)
			}
			return found, nil
		}
	}
}

// findUsers looks for the rows of openids; suffix orders and locks them.
func (t *txn) findUsers(appNo int64, openids []hongyan.OpenID, found map[hongyan.OpenID]int64, suffix string) error {
	if suffix == "" {
		if openids = t.findKnown(appNo, openids, found); len(openids) == 0 {
			return nil
		}
	}
	vs := make([]any, len(openids))
	for i, o := range openids {
		vs[i] = string(o)
	}
	list, args := t.l.d.list(vs, kindText)
	return t.rows(`/* ledger.users */ SELECT openid, no FROM users WHERE app_no = ? AND openid `+list+suffix, append([]any{appNo}, args...), func(r scanner) error {
		var o hongyan.OpenID
		var no int64
		err := r.Scan(&o, &no)
		found[o] = no
		t.learned.isUser(userKey{appNo, o}, no)
		return err
	})
}

// userNo is the key of a user, 0 for one never seen.
func (l *Ledger) userNo(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID) (int64, error) {
	a, err := l.app(id)
	if err != nil {
		return 0, err
	}
	var no int64
	err = l.rdb.QueryRowContext(ctx, `/* ledger.userNo */ SELECT no FROM users WHERE app_no = ? AND openid = ?`, a.no, openid).Scan(&no)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read user: %w", err)
	}
	return no, nil
}

// userNamed is userNo for a user who is named by openid, by external id or by both.
func (l *Ledger) userNamed(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID, external string) (int64, error) {
	if external == "" {
		return l.userNo(ctx, id, openid)
	}
	a, err := l.app(id)
	if err != nil {
		return 0, err
	}
	var no int64
	var found hongyan.OpenID
	err = l.rdb.QueryRowContext(ctx, `/* ledger.userNamed */ SELECT no, openid FROM users WHERE external_id = ? AND app_no = ?`, external, a.no).Scan(&no, &found)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read user: %w", err)
	}
	if openid != "" && openid != found {
		return 0, nil
	}
	return no, nil
}

// FindUsers lists an app's users whose openid or external id begins like this: first those by
// openid, then the others by external id.
func (l *Ledger) FindUsers(ctx context.Context, id hongyan.AppID, prefix string, limit int, cursor string) ([]hongyan.User, string, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, "", err
	}
	limit = pageSize(limit)
	by, from, err := decodeUserCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	out := []hongyan.User{}
	// No character of an openid sorts behind the last one of Unicode, nor does one of an external id.
	end := prefix + "\U0010ffff"
	if by == "o" {
		q := `/* ledger.FindUsers */ SELECT ` + userColumns + ` FROM users WHERE openid >= ? AND openid <= ? AND openid > ? AND app_no = ? ORDER BY openid LIMIT ?`
		if out, err = l.usersOf(ctx, id, out, q, prefix, end, from, a.no, limit+1); err != nil {
			return nil, "", err
		}
		if len(out) > limit {
			return out[:limit], encodeUserCursor("o", string(out[limit-1].OpenID)), nil
		}
		from = ""
	}
	q := `/* ledger.FindUsers */ SELECT ` + userColumns + ` FROM users WHERE external_id >= ? AND external_id <= ? AND external_id > ? AND app_no = ? AND NOT (openid >= ? AND openid <= ?) ORDER BY external_id LIMIT ?`
	n := len(out)
	if out, err = l.usersOf(ctx, id, out, q, prefix, end, from, a.no, prefix, end, limit+1-n); err != nil {
		return nil, "", err
	}
	switch {
	case len(out) <= limit:
		return out, "", nil
	case limit == n: // none by external id fits on this page any more
		return out[:limit], encodeUserCursor("e", ""), nil
	}
	return out[:limit], encodeUserCursor("e", out[limit-1].ExternalID), nil
}

func (l *Ledger) usersOf(ctx context.Context, id hongyan.AppID, out []hongyan.User, q string, args ...any) ([]hongyan.User, error) {
	rs, err := l.rdb.QueryContext(ctx, q, args...)
	if err == nil {
		err = eachRow(rs, func(r scanner) error {
			u, _, err := scanUser(r, id)
			out = append(out, u)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("find users: %w", err)
	}
	return out, nil
}

func encodeUserCursor(by, from string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("f" + by + from))
}

func decodeUserCursor(c string) (by, from string, err error) {
	if c == "" {
		return "o", "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil || len(b) < 2 || b[0] != 'f' || b[1] != 'o' && b[1] != 'e' || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return "", "", badCursor(c)
	}
	return string(b[1:2]), string(b[2:]), nil
}

// Login is what code2Session said about a user.
type Login struct {
	OpenID     hongyan.OpenID
	UnionID    string
	SessionKey hongyan.SessionKey
	ExternalID string // the integrator's own id; empty leaves it as it is
}

// RecordLogin records a user and the session_key, sealed. It clears an earlier mark of an
// invalid openid: WeChat has just given it to us.
func (l *Ledger) RecordLogin(ctx context.Context, id hongyan.AppID, in Login) (hongyan.User, error) {
	a, err := l.app(id)
	if err != nil {
		return hongyan.User{}, err
	}
	if len(in.ExternalID) > hongyan.MaxExternalID {
		return hongyan.User{}, hongyan.Invalid("/external_id", "length", "external_id is at most %d bytes.", hongyan.MaxExternalID)
	}
	err = l.write(ctx, "record login", func(t *txn) error {
		no, err := t.user(a.no, in.OpenID)
		if err != nil {
			return err
		}
		var sealed []byte
		if !in.SessionKey.IsZero() {
			sealed = l.key.seal(in.SessionKey.Reveal(), "users", "session_key", sessionKeyRow(id, in.OpenID))
		}
		_, err = t.exec(`/* ledger.RecordLogin */ UPDATE users SET unionid = CASE WHEN ? = '' THEN unionid ELSE ? END, session_key = COALESCE(?, session_key), invalid_at = 0,
			first_login_at = CASE WHEN first_login_at = 0 THEN ? ELSE first_login_at END, last_login_at = ? WHERE no = ?`, in.UnionID, in.UnionID, sealed, t.now, t.now, no)
		if err != nil || in.ExternalID == "" {
			return err
		}
		_, err = t.exec(`/* ledger.RecordLogin */ UPDATE users SET external_id = ? WHERE no = ?`, in.ExternalID, no)
		if err != nil && t.l.isDuplicate(err) {
			return hongyan.Errorf(hongyan.CodeConflict, "Another openid of this app already has the external id %q.", clipped(in.ExternalID))
		}
		return err
	})
	if err != nil {
		return hongyan.User{}, err
	}
	return l.User(ctx, id, in.OpenID)
}

// SessionKey opens the user's sealed session_key.
func (l *Ledger) SessionKey(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID) (hongyan.SessionKey, error) {
	a, err := l.app(id)
	if err != nil {
		return hongyan.SessionKey{}, err
	}
	var sealed []byte
	err = l.rdb.QueryRowContext(ctx, `/* ledger.SessionKey */ SELECT session_key FROM users WHERE app_no = ? AND openid = ?`, a.no, openid).Scan(&sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return hongyan.SessionKey{}, hongyan.Errorf(hongyan.CodeUserNotFound, "This user has not logged in here.")
	case err != nil:
		return hongyan.SessionKey{}, fmt.Errorf("read session_key: %w", err)
	case sealed == nil:
		return hongyan.SessionKey{}, hongyan.Errorf(hongyan.CodeInvalidSessionKey, "This user has not logged in here: no session_key is kept.")
	}
	clear, err := l.key.open(sealed, "users", "session_key", sessionKeyRow(id, openid))
	return hongyan.NewSessionKey(clear), err
}

func sessionKeyRow(id hongyan.AppID, openid hongyan.OpenID) string {
	return string(id) + "\x00" + string(openid)
}

// ReplaceSessionKey writes the key that WeChat made in place of old. A login meanwhile brought
// a later one, which stays.
func (l *Ledger) ReplaceSessionKey(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID, old, next hongyan.SessionKey) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	return l.write(ctx, "replace session_key", func(t *txn) error {
		var sealed []byte
		err := t.row(`/* ledger.ReplaceSessionKey */ SELECT session_key FROM users WHERE app_no = ? AND openid = ?`+t.l.d.lock, []any{a.no, openid}, &sealed)
		if errors.Is(err, sql.ErrNoRows) || err == nil && sealed == nil {
			return nil // erased meanwhile
		}
		if err != nil {
			return err
		}
		if clear, err := l.key.open(sealed, "users", "session_key", sessionKeyRow(id, openid)); err != nil || clear != old.Reveal() {
			return err
		}
		_, err = t.exec(`/* ledger.ReplaceSessionKey */ UPDATE users SET session_key = ? WHERE app_no = ? AND openid = ?`,
			l.key.seal(next.Reveal(), "users", "session_key", sessionKeyRow(id, openid)), a.no, string(openid))
		return err
	})
}

const userColumns = `no, openid, unionid, COALESCE(external_id, ''), invalid_at, first_login_at, last_login_at, created_at`

func scanUser(r scanner, app hongyan.AppID) (hongyan.User, int64, error) {
	u := hongyan.User{App: app}
	var no, invalid, first, last, created int64
	err := r.Scan(&no, &u.OpenID, &u.UnionID, &u.ExternalID, &invalid, &first, &last, &created)
	u.InvalidAt, u.FirstLoginAt, u.LastLoginAt, u.CreatedAt = at(invalid), at(first), at(last), at(created)
	return u, no, err
}

// User is one user of an app.
func (l *Ledger) User(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID) (hongyan.User, error) {
	a, err := l.app(id)
	if err != nil {
		return hongyan.User{}, err
	}
	u, _, err := scanUser(l.rdb.QueryRowContext(ctx, `/* ledger.User */ SELECT `+userColumns+` FROM users WHERE app_no = ? AND openid = ?`, a.no, openid), id)
	if errors.Is(err, sql.ErrNoRows) {
		return u, hongyan.Errorf(hongyan.CodeUserNotFound, "App %s knows no such user.", id)
	}
	if err != nil {
		return u, fmt.Errorf("read user: %w", err)
	}
	return u, nil
}

// Users lists an app's users in the order they were first seen, optionally by external id.
func (l *Ledger) Users(ctx context.Context, id hongyan.AppID, external string, limit int, cursor string) ([]hongyan.User, string, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, "", err
	}
	limit = pageSize(limit)
	var after int64
	if cursor != "" {
		if err := decodeCursor(cursor, &after); err != nil {
			return nil, "", err
		}
	}
	q, args := `/* ledger.Users */ SELECT `+userColumns+` FROM users WHERE app_no = ? AND no > ?`, []any{a.no, after}
	if external != "" {
		q, args = q+` AND external_id = ?`, append(args, external)
	}
	rs, err := l.rdb.QueryContext(ctx, q+` ORDER BY no LIMIT ?`, append(args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list users: %w", err)
	}
	out, next := []hongyan.User{}, ""
	var last int64
	err = eachRow(rs, func(r scanner) error {
		u, no, err := scanUser(r, id)
		if err != nil {
			return err
		}
		if len(out) == limit {
			next = encodeCursor(last)
			return nil
		}
		out, last = append(out, u), no
		return nil
	})
	return out, next, err
}
