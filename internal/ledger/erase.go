package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hongyan-push/hongyan"
)

// erasedName stands where an openid was. It is no openid, so nothing can be sent to it.
func erasedName(app hongyan.AppID, openid hongyan.OpenID, user int64) hongyan.OpenID {
	sum := sha256.Sum256([]byte(string(app) + "\x00" + string(openid) + "\x00" + strconv.FormatInt(user, 10)))
	return hongyan.OpenID("erased:" + hex.EncodeToString(sum[:20]))
}

const (
	eraseChunk = 500
	// eraseWait is how long a user's calls under way are waited for, and how long after its
	// beginning an erasure looks for what came in at the same time.
	eraseWait = 15 * time.Second
	eraseLast = time.Minute
)

// EraseUser forgets a user: the openid becomes a hash, keys, sessions, ids, the data of all
// messages and WeChat's pushes go, what waits is canceled. Counters and the history of
// grants stay, under the hash. When it returns the name is gone; what else there is goes at
// once, or, while a message is being sent, soon after. A crash in between does not stop it.
func (l *Ledger) EraseUser(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	var e erasure
	if err := l.write(ctx, "erase user", func(t *txn) error {
		user, err := t.userOf(a.no, openid)
		if err != nil {
			return err
		}
		if user == 0 {
			return hongyan.Errorf(hongyan.CodeUserNotFound, "App %s knows no such user.", id)
		}
		e = erasure{user: user, app: a.no, openid: openid, since: t.now}
		if err := t.forget(a, e); err != nil {
			return err
		}
		return t.auditDiff(id, "user", string(erasedName(id, openid, user)), map[string]bool{"erased": false}, map[string]bool{"erased": true})
	}); err != nil {
		return err
	}
	return l.erase(ctx, e)
}

// erasure is a user who is to be forgotten.
type erasure struct {
	user, app int64
	openid    hongyan.OpenID
	since     int64
}

// forget takes the user's name away and notes what is left to do.
func (t *txn) forget(a *appEntry, e erasure) error {
	if _, err := t.exec(`/* ledger.forget */ UPDATE users SET openid = ?, unionid = '', external_id = NULL, session_key = NULL WHERE no = ?`,
		string(erasedName(a.app.AppID, e.openid, e.user)), e.user); err != nil {
		return err
	}
	if _, err := t.exec(`/* ledger.forget */ DELETE FROM mp_sessions WHERE user_no = ?`, e.user); err != nil {
		return err
	}
	if err := t.auditErased(a.app.AppID, e.openid, erasedName(a.app.AppID, e.openid, e.user), e.since); err != nil {
		return err
	}
	t.emit(hongyan.EventUserErased, a.app.AppID, func() any { return hongyan.UserEvent{OpenID: e.openid} })
	_, err := t.exec(`/* ledger.forget */ INSERT INTO erasures (user_no, app_no, openid, since, next_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_no) DO NOTHING`,
		e.user, e.app, string(e.openid), e.since, t.now)
	return err
}

// eraseWaiting goes on with erasures that had to wait, or that a crash broke off.
func (l *Ledger) eraseWaiting(ctx context.Context) error {
	var all []erasure
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.eraseWaiting */ SELECT user_no, app_no, openid, since FROM erasures WHERE next_at <= ? ORDER BY user_no LIMIT 100`, ms(l.Now()))
	if err != nil {
		return fmt.Errorf("erase users: %w", err)
	}
	if err := eachRow(rs, func(r scanner) error {
		var e erasure
		err := r.Scan(&e.user, &e.app, &e.openid, &e.since)
		all = append(all, e)
		return err
	}); err != nil {
		return fmt.Errorf("erase users: %w", err)
	}
	var errs []error
	for _, e := range all {
		errs = append(errs, l.erase(ctx, e))
	}
	return errors.Join(errs...)
}

// erase erases what is left of a user.
func (l *Ledger) erase(ctx context.Context, e erasure) error {
	left := false
	for after := int64(0); ; {
		seqs, err := l.unerased(ctx, e.user, after)
		if err != nil {
			return err
		}
		if len(seqs) == 0 {
			break
		}
		after = seqs[len(seqs)-1].(int64)
		if err := l.sweepRows(ctx, seqs, func(t *txn, gs grants, w *row) error {
			waits, err := t.eraseMessage(gs, w)
			left = left || waits
			return err
		}); err != nil {
			return err
		}
	}
	if err := l.eraseEvents(ctx, e); err != nil {
		return err
	}
	return l.write(ctx, "erase user", func(t *txn) error {
		// Of who comes back with the same openid they are another user's.
		until := e.since + eraseLast.Milliseconds()
		if _, err := t.exec(`/* ledger.erase */ UPDATE callbacks SET openid = ?, raw = ? WHERE openid = ? AND app_no = ? AND due_at IS NULL AND received_at <= ?`,
			string(erasedName(t.l.appByNo(e.app).app.AppID, e.openid, e.user)), []byte{}, string(e.openid), e.app, until); err != nil {
			return err
		}
		// A change that was under way when the user was forgotten has left its row since.
		if err := t.auditErased(t.l.appByNo(e.app).app.AppID, e.openid, erasedName(t.l.appByNo(e.app).app.AppID, e.openid, e.user), until); err != nil {
			return err
		}
		var pending bool
		if err := t.row(`/* ledger.erase */ SELECT EXISTS (SELECT 1 FROM callbacks WHERE openid = ? AND app_no = ? AND received_at <= ?)`, []any{string(e.openid), e.app, until}, &pending); err != nil {
			return err
		}
		if left || pending || t.now-e.since < eraseLast.Milliseconds() {
			_, err := t.exec(`/* ledger.erase */ UPDATE erasures SET next_at = ? WHERE user_no = ?`, t.now+eraseWait.Milliseconds(), e.user)
			return err
		}
		_, err := t.exec(`/* ledger.erase */ DELETE FROM erasures WHERE user_no = ?`, e.user)
		return err
	})
}

// unerased lists a user's messages that still have their data.
func (l *Ledger) unerased(ctx context.Context, user, after int64) (seqs []any, err error) {
	mark, err := l.foldMark(ctx)
	if err != nil {
		return nil, fmt.Errorf("erase user: %w", err)
	}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.unerased */ SELECT m.seq FROM `+ofUser+` WHERE m.flags & 32 = 0 AND m.seq > ? ORDER BY m.seq LIMIT ?`, user, mark, user, after, eraseChunk)
	if err != nil {
		return nil, fmt.Errorf("erase user: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var seq int64
		err := r.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	})
	return seqs, err
}

// eraseMessage cancels what waits and erases the data; a message that is being sent waits.
func (t *txn) eraseMessage(gs grants, w *row) (waits bool, err error) {
	switch {
	case w.state == stSending:
		return true, nil
	case !w.message.Status.Cancelable():
	case w.flags&flagEarlierUnclear != 0:
		err = t.uncertainAgain(gs, w)
	default:
		err = t.end(gs, w, stCanceled, hongyan.CodeUserErased)
	}
	if err != nil {
		return false, err
	}
	_, err = t.exec(`/* ledger.eraseMessage */ UPDATE messages SET data = '{}', options = '{}', resend_at = NULL, flags = flags | 32 WHERE seq = ?`, w.seq)
	return false, err
}

// eraseEvents erases the data of events that name the user, a part of the table at a time.
func (l *Ledger) eraseEvents(ctx context.Context, e erasure) error {
	const part = 2000
	var last int64
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.eraseEvents */ SELECT COALESCE(MAX(no), 0) FROM events`).Scan(&last); err != nil {
		return fmt.Errorf("erase events: %w", err)
	}
	for no := int64(-1); no < last; {
		var end, found int64
		if err := l.rdb.QueryRowContext(ctx, `/* ledger.eraseEvents */ SELECT COALESCE(MAX(no), 0), COALESCE(SUM(CASE WHEN app_no = ? AND type <> 'user.erased' AND data LIKE ? THEN 1 ELSE 0 END), 0)
			FROM (SELECT no, app_no, type, data FROM events WHERE no > ? ORDER BY no LIMIT ?) x`, e.app, eventLike(e.openid), no, part).Scan(&end, &found); err != nil {
			return fmt.Errorf("erase events: %w", err)
		}
		if end <= no {
			return nil
		}
		if found > 0 {
			if err := l.write(ctx, "erase events", func(t *txn) error {
				_, err := t.exec(`/* ledger.eraseEvents */ UPDATE events SET data = '{}' WHERE no > ? AND no <= ? AND app_no = ? AND type <> 'user.erased' AND data LIKE ?`, no, end, e.app, eventLike(e.openid))
				return err
			}); err != nil {
				return err
			}
		}
		no = end
	}
	return nil
}

// eventLike finds an openid in an event's JSON. Its underscores match any character: an
// event too many loses its data, none too few.
func eventLike(o hongyan.OpenID) string { return `%"` + string(o) + `"%` }

// ExportUser collects everything that is known of one user; secrets stay here.
func (l *Ledger) ExportUser(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID) (out hongyan.UserExport, err error) {
	if out.User, err = l.User(ctx, id, openid); err != nil {
		return out, err
	}
	out.ExportedAt = l.Now().UTC()
	out.Messages, out.Callbacks = []hongyan.Message{}, []hongyan.Callback{}
	if out.Subscriptions, _, err = l.Subscriptions(ctx, id, openid, "", maxPage, ""); err != nil {
		return out, err
	}
	for i, s := range out.Subscriptions {
		if out.Subscriptions[i], err = l.Subscription(ctx, id, openid, s.TemplateID); err != nil {
			return out, err
		}
	}
	f := MessageFilter{App: id, OpenID: openid, Limit: maxPage}
	for {
		page, next, err := l.Messages(ctx, f)
		if err != nil {
			return out, err
		}
		out.Messages = append(out.Messages, page...)
		if f.Cursor = next; next == "" {
			break
		}
	}
	c := CallbackFilter{OpenID: openid, Limit: maxPage}
	for {
		page, next, err := l.Callbacks(ctx, id, c)
		if err != nil {
			return out, err
		}
		out.Callbacks = append(out.Callbacks, page...)
		if c.Cursor = next; next == "" {
			return out, nil
		}
	}
}
