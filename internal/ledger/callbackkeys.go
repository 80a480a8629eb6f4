package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/hongyan-push/hongyan"
)

// previousKeyFits is how long the EncodingAESKey before the latest is still tried.
const previousKeyFits = 7 * 24 * time.Hour

// rejectionsKept is how many refused calls of an app's callback URL are kept.
const rejectionsKept = 100

// callbackEntry is how an app receives pushes, as the receiver needs it: in memory, with the
// keys as they are on disk.
type callbackEntry struct {
	token, aesKey, previous []byte
	previousUntil           int64
	forwardTo               string
	updatedAt               int64
}

// CallbackKeys are an app's keys for WeChat's pushes, in the clear.
type CallbackKeys struct {
	Token, AESKey, PreviousAESKey hongyan.CallbackSecret
	ForwardTo                     string
}

func (l *Ledger) reloadCallbacks(ctx context.Context, byNo map[int64]*appEntry) error {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.reloadCallbacks */ SELECT app_no, token, aes_key, previous_key, previous_until, forward_to, updated_at FROM callback_keys`)
	if err != nil {
		return fmt.Errorf("read callback keys: %w", err)
	}
	return eachRow(rs, func(r scanner) error {
		var no int64
		c := &callbackEntry{}
		err := r.Scan(&no, &c.token, &c.aesKey, &c.previous, &c.previousUntil, &c.forwardTo, &c.updatedAt)
		if a := byNo[no]; a != nil {
			a.callback = c
		}
		return err
	})
}

// CallbackKeys opens an app's keys; not found is the error of an app that has none.
func (l *Ledger) CallbackKeys(id hongyan.AppID) (k CallbackKeys, err error) {
	a, err := l.app(id)
	if err != nil {
		return k, err
	}
	c := a.callback
	if c == nil {
		return k, hongyan.Errorf(hongyan.CodeNotFound, "App %s does not receive callbacks; set them up with PUT /v1/apps/%s/callback.", id, id)
	}
	open := func(sealed []byte, column string) (hongyan.CallbackSecret, error) {
		if sealed == nil {
			return hongyan.CallbackSecret{}, nil
		}
		clear, err := l.key.open(sealed, "callback_keys", column, string(id))
		return hongyan.NewCallbackSecret(clear), err
	}
	var errs [3]error
	k.ForwardTo = c.forwardTo
	k.Token, errs[0] = open(c.token, "token")
	k.AESKey, errs[1] = open(c.aesKey, "aes_key")
	if c.previousUntil > ms(l.Now()) {
		k.PreviousAESKey, errs[2] = open(c.previous, "aes_key")
	}
	return k, errors.Join(errs[:]...)
}

// CallbackUpdate changes what is not nil.
type CallbackUpdate struct {
	Token, AESKey *hongyan.CallbackSecret
	ForwardTo     *string
}

// SetCallback sets an app up to receive WeChat's pushes, or changes that. The key before
// fits for a week: WeChat may go on with it for a while.
func (l *Ledger) SetCallback(ctx context.Context, id hongyan.AppID, u CallbackUpdate) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	return l.change(ctx, "set callback", func(t *txn) error {
		c := callbackEntry{}
		found := false
		if err := t.rows(`/* ledger.SetCallback */ SELECT token, aes_key, previous_key, previous_until, forward_to FROM callback_keys WHERE app_no = ?`+t.l.d.lock, []any{a.no}, func(r scanner) error {
			found = true
			return r.Scan(&c.token, &c.aesKey, &c.previous, &c.previousUntil, &c.forwardTo)
		}); err != nil {
			return err
		}
		seal := func(s hongyan.CallbackSecret, column string) []byte {
			if s.IsZero() {
				return nil
			}
			return t.l.key.seal(s.Reveal(), "callback_keys", column, string(id))
		}
		was := c
		if u.Token != nil {
			c.token = seal(*u.Token, "token")
		}
		if u.AESKey != nil {
			if c.aesKey != nil {
				c.previous, c.previousUntil = c.aesKey, t.now+previousKeyFits.Milliseconds()
			}
			c.aesKey = seal(*u.AESKey, "aes_key")
		}
		if u.ForwardTo != nil {
			c.forwardTo = *u.ForwardTo
		}
		if c.token == nil {
			return hongyan.Invalid("/token", "missing", "An app needs a token to receive callbacks.")
		}
		if err := t.auditDiff(id, "callback", string(id), was.facts(), c.facts(), u.secrets(&was)...); err != nil {
			return err
		}
		if found {
			_, err := t.exec(`/* ledger.SetCallback */ UPDATE callback_keys SET token = ?, aes_key = ?, previous_key = ?, previous_until = ?, forward_to = ?, updated_at = ? WHERE app_no = ?`,
				c.token, orNull(c.aesKey), orNull(c.previous), c.previousUntil, c.forwardTo, t.now, a.no)
			return err
		}
		_, err := t.exec(`/* ledger.SetCallback */ INSERT INTO callback_keys (app_no, token, aes_key, previous_key, previous_until, forward_to, verified_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 0, ?)`,
			a.no, c.token, orNull(c.aesKey), orNull(c.previous), c.previousUntil, c.forwardTo, t.now)
		return err
	})
}

// facts are what the audit log compares; nil where nothing is set up.
func (c *callbackEntry) facts() any {
	if c.token == nil {
		return nil
	}
	return map[string]any{"forward_to": c.forwardTo, "encrypted": c.aesKey != nil}
}

// secrets are those that an update brings, as the audit log shows them.
func (u *CallbackUpdate) secrets(was *callbackEntry) (out []hongyan.AuditChange) {
	if u.Token != nil {
		out = append(out, hongyan.ChangedSecret("/token", was.token != nil, !u.Token.IsZero()))
	}
	if u.AESKey != nil {
		out = append(out, hongyan.ChangedSecret("/encoding_aes_key", was.aesKey != nil, !u.AESKey.IsZero()))
	}
	return out
}

func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// RemoveCallback ends that an app receives pushes. What was received stays.
func (l *Ledger) RemoveCallback(ctx context.Context, id hongyan.AppID) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	return l.change(ctx, "remove callback", func(t *txn) error {
		n, err := t.exec(`/* ledger.RemoveCallback */ DELETE FROM callback_keys WHERE app_no = ?`, a.no)
		if err == nil && n == 0 {
			return hongyan.Errorf(hongyan.CodeNotFound, "App %s does not receive callbacks.", id)
		}
		was := t.l.appByNo(a.no).callback
		if err != nil || was == nil {
			return err
		}
		return t.auditDiff(id, "callback", string(id), was.facts(), nil, hongyan.ChangedSecret("/token", true, false))
	})
}

// CallbackConfig shows how an app receives pushes, without its keys.
func (l *Ledger) CallbackConfig(ctx context.Context, id hongyan.AppID) (hongyan.CallbackConfig, error) {
	a, err := l.app(id)
	if err != nil {
		return hongyan.CallbackConfig{}, err
	}
	if _, err := l.CallbackKeys(id); err != nil {
		return hongyan.CallbackConfig{}, err
	}
	out := hongyan.CallbackConfig{Path: "/callback/" + string(id), Encrypted: a.callback.aesKey != nil, ForwardTo: a.callback.forwardTo, UpdatedAt: at(a.callback.updatedAt)}
	if a.callback.previousUntil > ms(l.Now()) {
		out.PreviousUntil = at(a.callback.previousUntil)
	}
	var verified, last int64
	err = l.rdb.QueryRowContext(ctx, `/* ledger.CallbackConfig */ SELECT verified_at FROM callback_keys WHERE app_no = ?`, a.no).Scan(&verified)
	if err == nil {
		err = l.rdb.QueryRowContext(ctx, `/* ledger.CallbackConfig */ SELECT received_at FROM callbacks WHERE app_no = ? ORDER BY id DESC LIMIT 1`, a.no).Scan(&last)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return out, fmt.Errorf("read callback: %w", err)
	}
	out.VerifiedAt, out.LastAt = at(verified), at(last)
	var rejected int64
	err = l.rdb.QueryRowContext(ctx, `/* ledger.CallbackConfig */ SELECT at, reason FROM callback_rejections WHERE app_no = ? ORDER BY id DESC LIMIT 1`, a.no).Scan(&rejected, &out.LastRejection)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return out, fmt.Errorf("read rejected callback: %w", err)
	}
	out.LastRejectedAt = at(rejected)
	return out, nil
}

// CallbackVerified notes that WeChat's check of the URL has passed.
func (l *Ledger) CallbackVerified(ctx context.Context, id hongyan.AppID) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	return l.write(ctx, "note callback check", func(t *txn) error {
		_, err := t.exec(`/* ledger.CallbackVerified */ UPDATE callback_keys SET verified_at = ? WHERE app_no = ?`, t.now, a.no)
		return err
	})
}

// RejectCallback notes a call of the callback URL that was refused. The last hundred stay.
func (l *Ledger) RejectCallback(ctx context.Context, id hongyan.AppID, r hongyan.CallbackRejection) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	return l.write(ctx, "note rejected callback", func(t *txn) error {
		id := t.l.newID(t.now)
		if _, err := t.exec(`/* ledger.RejectCallback */ INSERT INTO callback_rejections (id, app_no, at, reason, detail, remote) VALUES (?, ?, ?, ?, ?, ?)`,
			id[:], a.no, t.now, word128(r.Reason), storable(r.Detail), word128(r.Remote)); err != nil {
			return err
		}
		var last []byte
		err := t.row(`/* ledger.RejectCallback */ SELECT id FROM callback_rejections WHERE app_no = ? ORDER BY id DESC LIMIT 1 OFFSET ?`, []any{a.no, rejectionsKept}, &last)
		if err != nil {
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			return err
		}
		_, err = t.exec(`/* ledger.RejectCallback */ DELETE FROM callback_rejections WHERE app_no = ? AND id <= ?`, a.no, last)
		return err
	})
}

// CallbackRejections lists the last calls of an app's callback URL that were refused.
func (l *Ledger) CallbackRejections(ctx context.Context, id hongyan.AppID) ([]hongyan.CallbackRejection, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, err
	}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.CallbackRejections */ SELECT at, reason, detail, remote FROM callback_rejections WHERE app_no = ? ORDER BY id DESC`, a.no)
	if err != nil {
		return nil, fmt.Errorf("list rejected callbacks: %w", err)
	}
	out := []hongyan.CallbackRejection{}
	err = eachRow(rs, func(r scanner) error {
		var x hongyan.CallbackRejection
		var when int64
		err := r.Scan(&when, &x.Reason, &x.Detail, &x.Remote)
		x.At = at(when)
		out = append(out, x)
		return err
	})
	return out, err
}
