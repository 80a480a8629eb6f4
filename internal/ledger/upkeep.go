package ledger

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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
	recounted, slow, folded := time.Now(), time.Time{}, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "upkeep failed, trying again", "err", err)
		}
		if err := l.growWAL(); err != nil {
			l.log.ErrorContext(ctx, "upkeep failed, trying again", "err", err)
		}
		if l.pledges.due() {
			if err := l.foldPledges(ctx); err != nil && ctx.Err() == nil {
				l.log.ErrorContext(ctx, "upkeep failed, trying again", "err", err)
			}
		}
		if wrote := l.stats.some.Load(); wrote && time.Since(folded) > foldStatsEvery || time.Since(folded) > foldStatsIdle {
			folded = time.Now()
			if err := l.FoldStats(ctx); err != nil && ctx.Err() == nil {
				l.log.ErrorContext(ctx, "upkeep failed, trying again", "err", err)
			}
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

// growWAL gives SQLite's log its full size, once it is in use.
func (l *Ledger) growWAL() (err error) {
	if !l.d.alone || l.grown {
		return nil
	}
	l.turns.writer.Lock()
	defer l.turns.writer.Unlock()
	l.grown, err = growWAL(l.source)
	return err
}

// sweeps are what time comes for. Their conditions are those of the partial indexes, word for
// word: only then are they used.
func (d *dialect) sweeps(now int64) []sweepOf {
	return []sweepOf{
		{`/* ledger.takeOver */ SELECT seq FROM messages WHERE ` + d.leased + ` LIMIT ?`, now - takeoverAfter.Milliseconds(), func(t *txn, _ grants, w *row) error { return t.takeOver(w) }},
		// Before expiry: what that returns must not go to a message that is given up.
		{`/* ledger.giveUp */ SELECT seq FROM messages WHERE ` + d.resting(stUncertain) + ` AND flags & 16 = 0 AND updated_at <= ? LIMIT ?`, now - uncertainGiven.Milliseconds(), (*txn).giveUp},
		{`/* ledger.expire */ SELECT seq FROM messages WHERE ` + d.expires + ` LIMIT ?`, now, (*txn).expire},
		{`/* ledger.resend */ SELECT seq FROM messages WHERE resend_at IS NOT NULL AND resend_at <= ? LIMIT ?`, now, (*txn).resend},
	}
}

type sweepOf struct {
	find string
	arg  int64
	do   func(*txn, grants, *row) error
}

// Sweep ends what has expired and sends again what asked for it. The server calls it by
// itself; tests that move the clock call it to see the effect at once.
func (l *Ledger) Sweep(ctx context.Context) error {
	// One at a time: rows that a second sweep has locked for nothing are passed over by claims.
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	var errs []error
	for _, s := range l.d.sweeps(ms(l.Now())) {
		for {
			n, err := l.sweep(ctx, s)
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
func (l *Ledger) sweep(ctx context.Context, s sweepOf) (int, error) {
	var seqs []any
	rs, err := l.rdb.QueryContext(ctx, s.find, s.arg, sweepBatch)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var seq int64
		err := r.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	})
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	if err = l.sweepRows(ctx, seqs, s.do); err == nil || len(seqs) == 1 || errors.Is(err, errBegin) {
		return len(seqs), err
	}
	var errs []error
	for _, seq := range seqs {
		errs = append(errs, l.sweepRows(ctx, []any{seq}, s.do))
	}
	return len(seqs), errors.Join(errs...)
}

func (l *Ledger) sweepRows(ctx context.Context, seqs []any, do func(*txn, grants, *row) error) error {
	return l.write(ctx, "sweep", func(t *txn) error {
		gs := make(grants)
		keys, err := t.places(seqs)
		if err != nil {
			return err
		}
		rows, err := t.lockRows(gs, keys)
		if err != nil {
			return err
		}
		for _, w := range rows {
			// What one gives back may serve the next: each is looked at as it is by then.
			if w, err = t.rowAt(w.seq); err != nil {
				return err
			}
			if err := do(t, gs, w); err != nil {
				return err
			}
		}
		return t.flush(gs)
	})
}

// places reads what rows' locks are named by, in the order of their keys.
func (t *txn) places(seqs []any) ([]*row, error) {
	var out []*row
	list, args := t.l.d.list(seqs, kindInt)
	err := t.rows(`/* ledger.places */ SELECT seq, app_no, user_no, template_no FROM messages WHERE seq `+list+` ORDER BY seq`, args, func(r scanner) error {
		var w row
		err := r.Scan(&w.seq, &w.app, &w.user, &w.template)
		out = append(out, &w)
		return err
	})
	return out, err
}

// takeoverAfter is how long after the end of its lease a call can no longer be under way.
const takeoverAfter = 10 * time.Second

// takeOver ends a lease whose result never came: what became of the call is not known. A
// result that comes later still settles the message.
func (t *txn) takeOver(w *row) error {
	if w.state != stSending {
		return nil
	}
	var resend any
	if w.message.OnUncertain == hongyan.OnUncertainResend && w.flags&flagResent == 0 {
		resend = t.now + resendAfter.Milliseconds()
	}
	n, err := t.exec(`/* ledger.takeOver */ UPDATE messages SET state = 9, reason = ?, class = ?, errmsg = 'no result came before the lease ended', ended_at = ?,
		resend_at = ?, flags = flags | 1, updated_at = ? WHERE seq = ? AND state + 0 = 4 AND lease_until <= ?`,
		string(hongyan.CodeWeChatUnclear), string(hongyan.OutcomeUnclear), t.now, resend, t.now, w.seq, t.now-takeoverAfter.Milliseconds())
	if err == nil && n > 0 {
		t.after = append(t.after, func() { t.l.busy.drop(w.user) }) // settled: the user's next message may go
		t.countState(w.template, stUncertain, "", 0)
		t.emitMessage(hongyan.EventMessageUncertain, w.app, w.seq)
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
	t.countState(w.template, stUncertain, "", 0)
	t.emitMessage(hongyan.EventMessageUncertain, w.app, w.seq)
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
		g, err := t.grant(gs, k, t.l.appByNo(w.app).kindOf(w.template))
		if err != nil {
			return err
		}
		g.VoidTaken(n)
		g.dirty = true
		if err := t.addEntry(k, entry{source: hongyan.SourceTimeout, voided: n, ref: string(w.message.ID), at: t.now}); err != nil {
			return err
		}
	}
	if w.flags&flagGivenUp == 0 {
		t.emitMessage(hongyan.EventMessageUncertainClosed, w.app, w.seq)
	}
	_, err := t.exec(`/* ledger.giveUp */ UPDATE messages SET reserved = 0, flags = flags | 16 WHERE seq = ?`, w.seq)
	return err
}

// voidOldLeases turns every `sending` into `uncertain` at start: the process that held the
// lease is gone (the directory's lock says so), and nobody knows how far its calls came.
// Replicas of a shared database wait for each other's leases to run out instead.
func (l *Ledger) voidOldLeases(ctx context.Context) error {
	if !l.d.alone {
		return nil
	}
	n := int64(0)
	err := l.write(ctx, "void old leases", func(t *txn) error {
		err := t.rows(`/* ledger.voidOldLeases */ SELECT app_no, template_no, seq FROM messages WHERE state = 4`, nil, func(r scanner) error {
			var app, template, seq int64
			err := r.Scan(&app, &template, &seq)
			t.countState(template, stUncertain, "", 0)
			t.emitMessage(hongyan.EventMessageUncertain, app, seq)
			return err
		})
		if err != nil {
			return err
		}
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

// Purge deletes keys, witnesses and readers that have had their day. The server does so by
// itself; tests that move the clock call it to see the effect at once.
func (l *Ledger) Purge(ctx context.Context) error { return l.purge(ctx) }

// purge deletes what has had its day, a batch at a time, and folds the index by user.
func (l *Ledger) purge(ctx context.Context) error {
	now := ms(l.Now())
	for _, p := range []struct {
		table, keys, cond string
		before            any
	}{
		{"dedup_keys", "app_no, dedup_key", "until <= ?", now},
		{"idempotency_keys", "owner, route, idem_key", "until <= ?", now},
		{"witnesses", "app_no, source, ref", "recorded_at <= ?", now - hongyan.MaxReportAge.Milliseconds()},
		{"evidence", "app_no, msgid", "recorded_at <= ?", now - hongyan.MaxReportAge.Milliseconds()},
		{"mp_sessions", "hash", "expires_at <= ?", now},
		{"member_sessions", "hash", "expires_at <= ?", now},
		{"setup_tokens", "hash", "until <= ?", now},
		{"sign_in_tries", "name", "until <= ?", now},
		{"audit", "id", "id < ?", idBefore(now - AuditKept.Milliseconds())},
		{"stats", "template_no, hour, what, reason, errcode", "hour < ?", now/hourMS - statsKept},
		{"callbacks", "id", "id < ? AND due_at IS NULL", idBefore(now - hongyan.MaxReportAge.Milliseconds())},
	} {
		for {
			var some bool
			if err := l.rdb.QueryRowContext(ctx, `/* ledger.purge */ SELECT EXISTS (SELECT 1 FROM `+p.table+` WHERE `+p.cond+`)`, p.before).Scan(&some); err != nil {
				return fmt.Errorf("purge: %w", err)
			}
			if !some {
				break
			}
			if err := l.write(ctx, "purge", func(t *txn) error {
				_, err := t.exec(l.d.purge(p.table, p.keys, p.cond), p.before)
				return err
			}); err != nil {
				return err
			}
		}
	}
	return errors.Join(l.dropReaders(ctx), l.eraseWaiting(ctx), l.fold(ctx))
}

// idBefore is less than every id that was made at a time or later.
func idBefore(when int64) []byte {
	var u ulid.ULID
	_ = u.SetTime(uint64(max(when, 0)))
	return u[:]
}

// Fold brings what is written in sorted batches up to date: the index by user, grants that
// messages hold, and figures. The server calls it by itself; tests and benchmarks see both sides of it.
func (l *Ledger) Fold(ctx context.Context) error {
	return errors.Join(l.foldPledges(ctx), l.fold(ctx), l.FoldStats(ctx))
}

// readMarks reads how far the keys of messages, the pledges and the index by user have come.
func (l *Ledger) readMarks(ctx context.Context) error {
	for _, read := range []func(context.Context) error{l.readLast, l.readPledges, l.readFolded} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// readFolded reads how far the index by user has come.
func (l *Ledger) readFolded(ctx context.Context) error {
	mark, err := l.foldMark(ctx)
	if err != nil {
		return fmt.Errorf("read the index by user: %w", err)
	}
	if len(mark) == 16 {
		l.folded.Store(int64(ulid.ULID(mark).Time()))
	}
	return nil
}

func (l *Ledger) foldMark(ctx context.Context) ([]byte, error) {
	var mark []byte
	err := l.rdb.QueryRowContext(ctx, `/* ledger.foldMark */ SELECT value FROM meta WHERE name = 'user_messages'`).Scan(&mark)
	if errors.Is(err, sql.ErrNoRows) {
		return make([]byte, 16), nil
	}
	return mark, err
}

// foldMark reads in the transaction how far it has come.
func (t *txn) foldMark() ([]byte, error) {
	mark := make([]byte, 16)
	err := t.row(`/* ledger.foldMark */ SELECT value FROM meta WHERE name = 'user_messages'`, nil, &mark)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return mark, err
}

const (
	// foldMost is how many messages are sorted at once: the more, the more of them share a page.
	foldMost = 20_000
	// foldChunk is how many are written in one transaction; the messages wait as long.
	foldChunk = 512
)

// fold moves the index by user forward over the messages that came since, in sorted batches.
func (l *Ledger) fold(ctx context.Context) error {
	for {
		n, err := l.foldBatch(ctx)
		if err != nil {
			return fmt.Errorf("fold the index by user: %w", err)
		}
		if n < foldMost {
			return nil
		}
	}
}

var userMessageColumns = []column{{"user_no", kindInt}, {"id", kindBytes}}

func (l *Ledger) foldBatch(ctx context.Context) (int, error) {
	mark, err := l.foldMark(ctx)
	if err != nil {
		return 0, err
	}
	// The last seconds stay out: ids of one batch are made before it is committed, and the
	// clocks of replicas differ.
	back := 10 * time.Second
	if !l.d.alone {
		back += maxSkew
	}
	var limit ulid.ULID
	_ = limit.SetTime(uint64(max(ms(l.Now().Add(-back)), 0)))
	rows, err := l.unfolded(ctx, mark, limit[:])
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	end := rows[len(rows)-1][1].([]byte)
	l.folded.Store(int64(ulid.ULID(end).Time())) // no submit after this may be older
	slices.SortFunc(rows, func(x, y []any) int {
		return cmp.Or(cmp.Compare(x[0].(int64), y[0].(int64)), bytes.Compare(x[1].([]byte), y[1].([]byte)))
	})
	for part := range slices.Chunk(rows, foldChunk) {
		// Another replica may be at it too, and after a crash the batch begins again.
		if err := l.write(ctx, "fold user messages", func(t *txn) error {
			return t.insertRows(`/* ledger.fold */ INSERT INTO user_messages`, userMessageColumns, part, ` ON CONFLICT (user_no, id) DO NOTHING`)
		}); err != nil {
			return 0, err
		}
	}
	return len(rows), l.write(ctx, "fold user messages", func(t *txn) error {
		if _, err := t.exec(`/* ledger.fold */ INSERT INTO meta (name, value) VALUES ('user_messages', ?) ON CONFLICT (name) DO NOTHING`, make([]byte, 16)); err != nil {
			return err
		}
		_, err := t.exec(`/* ledger.fold */ UPDATE meta SET value = ? WHERE name = 'user_messages' AND value = ?`, end, mark)
		return err
	})
}

// unfolded reads the oldest messages that the index by user does not have.
func (l *Ledger) unfolded(ctx context.Context, mark, limit []byte) (rows [][]any, err error) {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.unfolded */ SELECT user_no, id FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?`, mark, limit, foldMost)
	if err != nil {
		return nil, err
	}
	err = eachRow(rs, func(r scanner) error {
		var user int64
		var id []byte
		err := r.Scan(&user, &id)
		rows = append(rows, []any{user, id})
		return err
	})
	return rows, err
}

// Recount sets every app's backlog to what the table says. The server does so by itself
// every minute; tests of several replicas call it to see the effect at once.
func (l *Ledger) Recount(ctx context.Context) error { return l.recount(ctx) }

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
	rs, err := l.rdb.QueryContext(ctx, l.d.recount, ms(l.Now()))
	if err != nil {
		return fmt.Errorf("count the backlog: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
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
	// Again is how many transactions ran once more, because of a deadlock or a change in between.
	Again int64
	// Told is how many hints of waiting messages went to other replicas.
	Told int64
	// Refused is how many grants that we counted WeChat did not have (43101), Inferred how many it
	// had that we did not know of, since the start.
	Refused, Inferred int64
	// Erased and Deleted are what retention did since the start.
	Erased, Deleted int64
}

// Stats are read from memory.
func (l *Ledger) Stats() Stats {
	s := Stats{Backlog: make(map[hongyan.AppID]int64), UnderWay: len(l.busy.snapshot()), Stalled: l.Stalled(), Again: l.again.Load(), Told: l.wake.told.Load(), Erased: l.erased.Load(), Deleted: l.deleted.Load(), Refused: l.drift.refused.Load(), Inferred: l.drift.inferred.Load()}
	l.cache.mu.RLock()
	defer l.cache.mu.RUnlock()
	for no, a := range l.cache.byNo {
		s.Backlog[a.app.AppID] = l.backlog.of(no).queued
	}
	return s
}
