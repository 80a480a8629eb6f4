package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

const (
	sweepEvery     = 500 * time.Millisecond
	recountEvery   = time.Minute
	sweepBatch     = 500
	uncertainGiven = 7 * 24 * time.Hour // after this an uncertain message's grant is given up
)

// upkeep does what time alone asks for: expiry, the one resend, keys and witnesses that
// have had their day, the folded index.
func (l *Ledger) upkeep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	recounted, slow := time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.stmts.warm(ctx)
		if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "upkeep failed, trying again", "err", err)
		}
		if time.Since(slow) > 10*time.Second {
			slow = time.Now()
			if err := l.purge(ctx); err != nil && ctx.Err() == nil {
				l.log.ErrorContext(ctx, "upkeep failed, trying again", "err", err)
			}
		}
		if time.Since(recounted) > recountEvery {
			recounted = time.Now()
			if err := l.recount(ctx); err != nil && ctx.Err() == nil {
				l.log.ErrorContext(ctx, "recount failed, trying again", "err", err)
			}
		}
	}
}

// What time has come for. Conditions of partial indexes are repeated word for word: only
// then are they used.
const (
	sweepLeases  = `/* ledger.takeOver */ SELECT id FROM messages WHERE state = 4 AND lease_until <= ? ORDER BY lease_until LIMIT ?`
	sweepExpired = `/* ledger.expire */ SELECT id FROM messages WHERE state IN (1, 2, 3) AND expires_at <= ? ORDER BY expires_at LIMIT ?`
	sweepResend  = `/* ledger.resend */ SELECT id FROM messages WHERE resend_at IS NOT NULL AND resend_at <= ? LIMIT ?`
	sweepGiveUp  = `/* ledger.giveUp */ SELECT id FROM messages WHERE state = 9 AND state NOT IN (4, 5, 6) AND flags & 16 = 0 AND updated_at <= ? LIMIT ?`
)

// Sweep ends what has expired and sends again what asked for it. The server calls it by
// itself; tests that move the clock call it to see the effect at once.
func (l *Ledger) Sweep(ctx context.Context) error {
	now := ms(l.now())
	var errs []error
	for _, s := range []struct {
		find string
		arg  int64
		do   func(t *txn, gs grants, w *row) error
	}{
		{sweepLeases, now - takeoverAfter.Milliseconds(),
			func(t *txn, _ grants, w *row) error { return t.takeOver(w) }},
		// Before expiry: what that returns must not go to a message that is given up.
		{sweepGiveUp, now - uncertainGiven.Milliseconds(),
			func(t *txn, gs grants, w *row) error { return t.giveUp(gs, w) }},
		{sweepExpired, now,
			func(t *txn, gs grants, w *row) error { return t.expire(gs, w) }},
		{sweepResend, now,
			func(t *txn, gs grants, w *row) error { return t.resend(gs, w) }},
	} {
		for {
			n, err := l.sweep(ctx, s.find, s.arg, s.do)
			if err != nil {
				errs = append(errs, err)
			}
			if n < sweepBatch || err != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// sweep looks with a reader first, so that an idle server takes no write lock. If the rows
// cannot be written together, each is tried alone, so that one bad row stops no other.
func (l *Ledger) sweep(ctx context.Context, find string, arg int64, do func(*txn, grants, *row) error) (int, error) {
	var ids [][]byte
	rs, err := l.rdb.QueryContext(ctx, find, arg, sweepBatch)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	err = eachRow(rs, func(r *sql.Rows) error {
		var id []byte
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	if err = l.sweepRows(ctx, ids, do); err == nil || len(ids) == 1 || errors.Is(err, errBegin) {
		return len(ids), err
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, l.sweepRows(ctx, [][]byte{id}, do))
	}
	return len(ids), errors.Join(errs...)
}

func (l *Ledger) sweepRows(ctx context.Context, ids [][]byte, do func(*txn, grants, *row) error) error {
	return l.write(ctx, "sweep", func(t *txn) error {
		gs := make(grants)
		for _, id := range ids {
			w, err := t.messageRow([16]byte(id))
			if err != nil {
				return err
			}
			if err := do(t, gs, w); err != nil {
				return err
			}
		}
		return t.flush(gs)
	})
}

// takeoverAfter is how long after the end of its lease a call can no longer be under way.
const takeoverAfter = 10 * time.Second

// takeOver ends a lease whose result never came: what became of the call is not known. A
// result that comes later still settles the message.
func (t *txn) takeOver(w *row) error {
	if w.state != stSending {
		return nil
	}
	n, err := t.exec(`/* ledger.takeOver */ UPDATE messages SET state = 9, reason = ?, class = ?, errmsg = 'no result came before the lease ended', ended_at = ?,
		resend_at = CASE WHEN ? THEN ? ELSE NULL END, flags = flags | 1, updated_at = ? WHERE seq = ? AND state = 4 AND lease_until <= ?`,
		string(hongyan.CodeWeChatUnclear), string(hongyan.OutcomeUnclear), t.now,
		w.message.OnUncertain == hongyan.OnUncertainResend && w.flags&flagResent == 0, t.now+resendAfter.Milliseconds(), t.now, w.seq, t.now-takeoverAfter.Milliseconds())
	if err == nil && n > 0 {
		t.after = append(t.after, func() { t.l.busy.drop(w.user) }) // settled: the user's next message may go
	}
	return err
}

func (t *txn) expire(gs grants, w *row) error {
	if !w.message.Status.Cancelable() || ms(w.message.ExpiresAt) > t.now {
		return nil // it moved on since the look
	}
	if w.flags&flagEarlierUnclear != 0 {
		// Its first attempt may have been delivered: expired would say that it was not.
		return t.uncertainAgain(gs, w)
	}
	return t.end(gs, w, stExpired, "")
}

// uncertainAgain takes a message that was to be sent again back to uncertain, and returns
// the second grant it had reserved for that.
func (t *txn) uncertainAgain(gs grants, w *row) error {
	keep := min(int64(w.message.Reserved), 1)
	if _, err := t.exec(`/* ledger.uncertainAgain */ UPDATE messages SET state = 9, reason = ?, reserved = ?, resend_at = NULL, updated_at = ? WHERE seq = ? AND state = ?`,
		string(hongyan.CodeWeChatUnclear), keep, t.now, w.seq, w.state); err != nil {
		return err
	}
	return t.giveGrants(gs, w, int64(w.message.Reserved)-keep)
}

func (t *txn) resend(gs grants, w *row) error {
	if w.message.Status != hongyan.StateUncertain || ms(w.message.ExpiresAt) <= t.now {
		_, err := t.exec(`/* ledger.resend */ UPDATE messages SET resend_at = NULL WHERE seq = ?`, w.seq)
		return err
	}
	return t.sendAgain(gs, w)
}

// giveUp voids the grant of a message that nothing resolved in a week. It stays uncertain,
// and takes no other grant.
func (t *txn) giveUp(gs grants, w *row) error {
	if w.message.Status != hongyan.StateUncertain {
		return nil
	}
	if n := int64(w.message.Reserved); n > 0 {
		k := grantKey{w.user, w.template}
		g, err := t.grant(gs, k, t.kindOf(t.l.appByNo(w.app), w.template))
		if err != nil {
			return err
		}
		g.VoidTaken(n)
		g.dirty = true
		if err := t.addEntry(k, entry{source: hongyan.SourceTimeout, voided: n, ref: string(w.message.ID), at: t.now}); err != nil {
			return err
		}
	}
	_, err := t.exec(`/* ledger.giveUp */ UPDATE messages SET reserved = 0, flags = flags | 16 WHERE seq = ?`, w.seq)
	return err
}

// voidOldLeases turns every `sending` into `uncertain` at start: the process that held the
// lease is gone (the directory's lock says so), and nobody knows how far its calls came.
func (l *Ledger) voidOldLeases(ctx context.Context) error {
	n := int64(0)
	err := l.write(ctx, "void old leases", func(t *txn) error {
		var err error
		// A caller who asked for a resend gets it here too; options is JSON, and only `u` names it.
		n, err = t.exec(`/* ledger.voidOldLeases */ UPDATE messages SET state = 9, reason = ?, class = ?, errmsg = 'the server stopped during the call', ended_at = ?,
			resend_at = CASE WHEN json_extract(options, '$.u') = 'resend' AND flags & 4 = 0 THEN max(lease_until, ?) + 60000 ELSE NULL END,
			flags = flags | 1, updated_at = ? WHERE state = 4`, string(hongyan.CodeWeChatUnclear), string(hongyan.OutcomeUnclear), t.now, t.now, t.now)
		return err
	})
	if err == nil && n > 0 {
		l.log.WarnContext(ctx, "messages were being sent when the server stopped and are uncertain now", "count", n)
	}
	return err
}

// purge deletes what has had its day, a batch at a time, and folds the index by user.
func (l *Ledger) purge(ctx context.Context) error {
	now := ms(l.now())
	for _, p := range []struct {
		look, drop string
		before     int64
	}{
		{`/* ledger.purge */ SELECT EXISTS (SELECT 1 FROM dedup_keys WHERE until <= ?)`,
			`/* ledger.purge */ DELETE FROM dedup_keys WHERE (app_no, key) IN (SELECT app_no, key FROM dedup_keys WHERE until <= ? LIMIT 1000)`, now},
		{`/* ledger.purge */ SELECT EXISTS (SELECT 1 FROM idempotency_keys WHERE until <= ?)`,
			`/* ledger.purge */ DELETE FROM idempotency_keys WHERE (owner, route, key) IN (SELECT owner, route, key FROM idempotency_keys WHERE until <= ? LIMIT 1000)`, now},
		{`/* ledger.purge */ SELECT EXISTS (SELECT 1 FROM witnesses WHERE recorded_at <= ?)`,
			`/* ledger.purge */ DELETE FROM witnesses WHERE (app_no, source, ref) IN (SELECT app_no, source, ref FROM witnesses WHERE recorded_at <= ? LIMIT 1000)`, now - hongyan.MaxReportAge.Milliseconds()},
	} {
		for {
			var some bool
			if err := l.rdb.QueryRowContext(ctx, p.look, p.before).Scan(&some); err != nil {
				return fmt.Errorf("purge: %w", err)
			}
			if !some {
				break
			}
			if err := l.write(ctx, "purge", func(t *txn) error {
				_, err := t.exec(p.drop, p.before)
				return err
			}); err != nil {
				return err
			}
		}
	}
	return l.fold(ctx)
}

// Fold brings the index by user up to date. The server calls it by itself; tests that list
// by openid call it to see both sides of its watermark.
func (l *Ledger) Fold(ctx context.Context) error { return l.fold(ctx) }

// readFolded reads how far the index by user has come.
func (l *Ledger) readFolded(ctx context.Context) error {
	var mark []byte
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.readFolded */ SELECT COALESCE(MAX(value), x'') FROM meta WHERE name = 'user_messages'`).Scan(&mark); err != nil {
		return fmt.Errorf("read the index by user: %w", err)
	}
	if len(mark) == 16 {
		l.folded.Store(int64(ulid.ULID(mark).Time()))
	}
	return nil
}

// fold moves the index by user forward over the messages that came since, in one sorted batch.
func (l *Ledger) fold(ctx context.Context) error {
	const most = 20_000
	for {
		n := int64(0)
		err := l.write(ctx, "fold user messages", func(t *txn) error {
			var mark, end []byte
			if err := t.row(`/* ledger.fold */ SELECT COALESCE(MAX(value), x'') FROM meta WHERE name = 'user_messages'`, nil, &mark); err != nil {
				return err
			}
			// The last seconds stay out: ids of one batch are made before it is committed.
			limit := newID(t.now - 10_000)
			if err := t.row(`/* ledger.fold */ SELECT COALESCE(MAX(id), x''), COUNT(*) FROM (SELECT id FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?)`, []any{mark, limit[:], most}, &end, &n); err != nil || n == 0 {
				return err
			}
			if _, err := t.exec(`/* ledger.fold */ INSERT INTO user_messages (user_no, id) SELECT user_no, id FROM messages WHERE id > ? AND id <= ? ORDER BY user_no, id ON CONFLICT (user_no, id) DO NOTHING`, mark, end); err != nil {
				return err
			}
			_, err := t.exec(`/* ledger.fold */ INSERT INTO meta (name, value) VALUES ('user_messages', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, end)
			// Before the commit, so that no submit after it can be older.
			l.folded.Store(int64(ulid.ULID(end).Time()))
			return err
		})
		if err != nil || n < most {
			return err
		}
	}
}

// recount sets every app's backlog to what the table says.
func (l *Ledger) recount(ctx context.Context) error {
	apps := make(map[int64]int64) // by template
	l.cache.mu.RLock()
	for no, a := range l.cache.byNo {
		for _, te := range a.templates {
			apps[te.no] = no
		}
	}
	l.cache.mu.RUnlock()
	counts := make(map[int64]waitingCount)
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.recount */ SELECT template_no, SUM(due_at <= ?), COUNT(*) FROM messages WHERE state IN (2, 3) GROUP BY template_no`, ms(l.now()))
	if err != nil {
		return fmt.Errorf("count the backlog: %w", err)
	}
	err = eachRow(rs, func(r *sql.Rows) error {
		var template, due, all int64
		err := r.Scan(&template, &due, &all)
		no := apps[template]
		c := counts[no]
		counts[no] = waitingCount{c.queued + due, c.scheduled + all - due}
		return err
	})
	if err != nil {
		return fmt.Errorf("count the backlog: %w", err)
	}
	l.backlog.set(counts)
	return nil
}

// Stats are the numbers that /metrics and readiness show.
type Stats struct {
	Backlog map[hongyan.AppID]int64
	// UnderWay is how many users have a message handed out or claimed and not settled yet.
	UnderWay int
	Stalled  bool
}

// Stats are read from memory.
func (l *Ledger) Stats() Stats {
	s := Stats{Backlog: make(map[hongyan.AppID]int64), UnderWay: len(l.busy.snapshot()), Stalled: l.Stalled()}
	l.cache.mu.RLock()
	defer l.cache.mu.RUnlock()
	for no, a := range l.cache.byNo {
		s.Backlog[a.app.AppID] = l.backlog.of(no).queued
	}
	return s
}
