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

// Retention is how long final messages are kept, counted from their last change. Zero is for
// ever. Whatever may still change is kept: held, scheduled, queued, sending and uncertain ones.
type Retention struct {
	// Messages is how long the message itself stays.
	Messages time.Duration
	// Data is how long its data stays in it.
	Data time.Duration
	// Events is how long events and their deliveries stay, counted from when they happened.
	Events time.Duration
}

func (r Retention) erases() bool { return r.Data > 0 && (r.Messages == 0 || r.Data < r.Messages) }

const (
	retainEvery    = time.Minute
	leftoversEvery = time.Hour
	// retainSlack is how far the walks stay behind, so that what ends soon after its submit
	// is looked at once.
	retainSlack = time.Hour
	// A batch may keep the one writer of SQLite for about holdAlone; its size follows from
	// that. Afterwards the writer is left to others for restAlone times as long. Where there
	// are several, it is enough not to keep the database busy.
	retainFew, retainMost = 32, 512
	holdAlone, holdShared = 10 * time.Millisecond, 50 * time.Millisecond
	restAlone, restShared = 9, 3
)

// retention erases and deletes what has had its day, until ctx ends.
func (l *Ledger) retention(ctx context.Context) {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		leftovers := time.Since(looked) > leftoversEvery
		if leftovers {
			looked = time.Now()
		}
		if err := l.retain(ctx, leftovers); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "retention failed, trying again", "err", err)
		}
	}
}

// Retain erases and deletes everything whose time has come. The server does so by itself;
// tests that move the clock call it to see the effect at once.
func (l *Ledger) Retain(ctx context.Context) error { return l.retain(ctx, true) }

func (l *Ledger) retain(ctx context.Context, leftovers bool) error {
	r := l.cfg.Retention
	var steps []retainStep
	if r.erases() {
		steps = append(steps, l.walk(r.Data, false))
	}
	if r.Messages > 0 {
		steps = append(steps, l.walk(r.Messages, true))
	}
	if leftovers && len(steps) > 0 {
		steps = append(steps, l.leftovers())
	}
	var errs []error
	for _, step := range steps {
		errs = append(errs, l.retainAll(ctx, step))
	}
	errs = append(errs, l.retainEvents(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	return nil
}

// retainStep does one batch of about n messages and says whether there is more.
type retainStep func(ctx context.Context, n int) (more bool, err error)

// retainAll repeats a step, in batches so small and with pauses so long that nobody else
// waits for it. While results cannot be written it stays out of the way altogether.
func (l *Ledger) retainAll(ctx context.Context, step retainStep) error {
	hold, rest := holdShared, time.Duration(restShared)
	if l.d.alone {
		hold, rest = holdAlone, restAlone
	}
	for n := retainFew; ; {
		if l.Stalled() {
			return nil
		}
		begun := time.Now()
		more, err := step(ctx, n)
		if err != nil || !more {
			return err
		}
		took := time.Since(begun)
		switch {
		case took > hold:
			n = max(n/2, retainFew)
		case took < hold/2:
			n = min(2*n, retainMost)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest * took):
		}
	}
}

// marks say how far the walks have come. Ids are ordered by time, so the walks read what is
// new in the old part of the table and nothing twice, however many rows stay behind them.
type marks struct{ erased, deleted ulid.ULID }

const marksName = "retention"

func (m *marks) of(deletes bool) *ulid.ULID {
	if deletes {
		return &m.deleted
	}
	return &m.erased
}

func (m *marks) read(value []byte) error {
	if len(value) != 32 {
		return fmt.Errorf("the marks have %d bytes", len(value))
	}
	copy(m.erased[:], value)
	copy(m.deleted[:], value[16:])
	return nil
}

func (m *marks) value() []byte { return append(m.erased[:], m.deleted[:]...) }

// marks reads them without a lock, and makes them at the first time.
func (l *Ledger) marks(ctx context.Context) (m marks, err error) {
	var value []byte
	err = l.rdb.QueryRowContext(ctx, `/* ledger.marks */ SELECT value FROM meta WHERE name = ?`, marksName).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return m, l.write(ctx, "begin retention", func(t *txn) error {
			_, err := t.exec(`/* ledger.marks */ INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, marksName, m.value())
			return err
		})
	}
	if err != nil {
		return m, err
	}
	return m, m.read(value)
}

// lockMarks is what every batch begins with: of several replicas one works, and the others
// leave it to that one.
func (t *txn) lockMarks() (m marks, mine bool, err error) {
	var value []byte
	err = t.row(`/* ledger.lockMarks */ SELECT value FROM meta WHERE name = ?`+t.l.d.skip, []any{marksName}, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	return m, true, m.read(value)
}

func (t *txn) saveMarks(m marks) error {
	_, err := t.exec(`/* ledger.saveMarks */ UPDATE meta SET value = ? WHERE name = ?`, m.value(), marksName)
	return err
}

// oldMessage is what retention needs to know of a message.
type oldMessage struct {
	seq, user, template, app               int64
	id                                     ulid.ULID
	state, flags, reserved, updated, ended int64
}

func (m *oldMessage) final() bool { return word(stateWords, m.state).Final() }

// finalStates are the states of the messages that retention may touch.
const finalStates = `(5, 6, 7, 8, 10, 11)`

// walk goes through all messages once, from the oldest on, as they grow old. What cannot go
// yet when it comes by becomes a leftover.
func (l *Ledger) walk(keep time.Duration, deletes bool) retainStep {
	return func(ctx context.Context, n int) (more bool, err error) {
		var limit ulid.ULID
		_ = limit.SetTime(uint64(max(ms(l.Now().Add(-keep-retainSlack)), 0)))
		m, err := l.marks(ctx)
		if err != nil {
			return false, err
		}
		var some bool
		err = l.rdb.QueryRowContext(ctx, `/* ledger.walk */ SELECT EXISTS (SELECT 1 FROM messages WHERE id > ? AND id < ?)`, m.of(deletes)[:], limit[:]).Scan(&some)
		if err != nil || !some {
			return false, err
		}
		err = l.write(ctx, "retain messages", func(t *txn) error {
			m, mine, err := t.lockMarks()
			if err != nil || !mine {
				more = false
				return err
			}
			page, err := t.walkPage(m.of(deletes)[:], limit[:], n)
			if more = len(page) == n; err != nil || len(page) == 0 {
				return err
			}
			*m.of(deletes) = page[len(page)-1].id
			before := t.now - keep.Milliseconds()
			done, err := t.retire(page, before, deletes)
			if err != nil {
				return err
			}
			page = slices.DeleteFunc(page, func(o *oldMessage) bool { return done[o.seq] })
			if err := t.leave(page); err != nil {
				return err
			}
			return t.saveMarks(m)
		})
		return more, err
	}
}

func (t *txn) walkPage(after, limit []byte, n int) ([]*oldMessage, error) {
	var out []*oldMessage
	err := t.rows(`/* ledger.walk */ SELECT seq, id, state, flags, updated_at FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?`, []any{after, limit, n}, func(r scanner) error {
		var o oldMessage
		var id []byte
		err := r.Scan(&o.seq, &id, &o.state, &o.flags, &o.updated)
		copy(o.id[:], id)
		out = append(out, &o)
		return err
	})
	return out, err
}

// leave puts messages aside to be looked at again.
func (t *txn) leave(some []*oldMessage) error {
	rows := make([][]any, len(some))
	for i, o := range some {
		rows[i] = []any{o.id[:]}
	}
	return t.insertRows(`/* ledger.leave */ INSERT INTO leftovers`, []column{{"id", kindBytes}}, rows, ` ON CONFLICT (id) DO NOTHING`)
}

// leftovers looks at the messages that the walks have passed by: those that waited long, were
// uncertain, or ended long after their submit.
func (l *Ledger) leftovers() retainStep {
	var after ulid.ULID
	return func(ctx context.Context, n int) (more bool, err error) {
		page, err := l.leftoverPage(ctx, after[:], n)
		if err != nil || len(page) == 0 {
			return false, err
		}
		after, more = page[len(page)-1].id, len(page) == n
		now, r := ms(l.Now()), l.cfg.Retention
		m, err := l.marks(ctx)
		if err != nil {
			return false, err
		}
		old := func(o *oldMessage, keep time.Duration) bool {
			return keep > 0 && o.final() && o.updated <= now-keep.Milliseconds()
		}
		var gone, deleted, erased []*oldMessage
		for _, o := range page {
			// The walk that deletes will come by those before it; they need not be put aside.
			walked := bytes.Compare(o.id[:], m.deleted[:]) <= 0
			switch {
			case o.seq == 0, o.flags&flagErased != 0 && !walked:
				gone = append(gone, o)
			case old(o, r.Messages):
				deleted = append(deleted, o)
			case r.erases() && o.flags&flagErased == 0 && old(o, r.Data):
				erased = append(erased, o)
			}
		}
		if len(gone)+len(deleted)+len(erased) == 0 {
			return more, nil
		}
		err = l.write(ctx, "retain leftovers", func(t *txn) error {
			if _, mine, err := t.lockMarks(); err != nil || !mine {
				more = false
				return err
			}
			if _, err := t.retire(deleted, now-r.Messages.Milliseconds(), true); err != nil {
				return err
			}
			if _, err := t.retire(erased, now-r.Data.Milliseconds(), false); err != nil {
				return err
			}
			return t.dropLeftovers(gone)
		})
		return more, err
	}
}

func (l *Ledger) leftoverPage(ctx context.Context, after []byte, n int) ([]*oldMessage, error) {
	var out []*oldMessage
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.leftovers */ SELECT l.id, m.seq, m.state, m.flags, m.updated_at FROM leftovers l LEFT JOIN messages m ON m.id = l.id WHERE l.id > ? ORDER BY l.id LIMIT ?`, after, n)
	if err != nil {
		return nil, err
	}
	err = eachRow(rs, func(r scanner) error {
		var o oldMessage
		var id []byte
		var seq, state, flags, updated sql.NullInt64
		err := r.Scan(&id, &seq, &state, &flags, &updated)
		copy(o.id[:], id)
		o.seq, o.state, o.flags, o.updated = seq.Int64, state.Int64, flags.Int64, updated.Int64
		out = append(out, &o)
		return err
	})
	return out, err
}

func (t *txn) dropLeftovers(some []*oldMessage) error {
	if len(some) == 0 {
		return nil
	}
	ids := make([]any, len(some))
	for i, o := range some {
		ids[i] = o.id[:]
	}
	list, args := t.l.d.list(ids, kindBytes)
	_, err := t.exec(`/* ledger.dropLeftovers */ DELETE FROM leftovers WHERE id `+list, args...)
	return err
}

// retire deletes those of the messages that are final since before a moment, or erases their
// data, and says which.
func (t *txn) retire(some []*oldMessage, before int64, deletes bool) (map[int64]bool, error) {
	some, err := t.lockOld(some, before)
	if err != nil || len(some) == 0 {
		return nil, err
	}
	done := make(map[int64]bool, len(some))
	seqs := make([]any, len(some))
	for i, o := range some {
		seqs[i], done[o.seq] = o.seq, true
	}
	list, args := t.l.d.list(seqs, kindInt)
	if !deletes {
		n, err := t.exec(`/* ledger.erase */ UPDATE messages SET data = '{}', flags = flags | 32 WHERE seq `+list, args...)
		t.after = append(t.after, func() { t.l.erased.Add(n) })
		return done, err
	}
	if err := t.foldSpends(some); err != nil {
		return nil, err
	}
	held := make([]grantKey, len(some))
	for i, o := range some {
		held[i] = grantKey{o.user, o.template}
	}
	if err := t.foldPledges(held); err != nil { // only the message says what it holds
		return nil, err
	}
	for _, q := range []string{
		`/* ledger.delete */ DELETE FROM attempts WHERE seq ` + list,
		t.l.d.unlist(list),
		`/* ledger.delete */ DELETE FROM messages WHERE seq ` + list,
	} {
		if _, err := t.exec(q, args...); err != nil {
			return nil, err
		}
	}
	t.after = append(t.after, func() { t.l.deleted.Add(int64(len(some))) })
	return done, t.dropLeftovers(some)
}

// lockOld locks the messages that may go and leaves out what has changed since it was read.
func (t *txn) lockOld(some []*oldMessage, before int64) ([]*oldMessage, error) {
	var seqs []any
	for _, o := range some {
		if o.final() && o.updated <= before {
			seqs = append(seqs, o.seq)
		}
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	var out []*oldMessage
	list, args := t.l.d.list(seqs, kindInt)
	err := t.rows(`/* ledger.lockOld */ SELECT seq, id, app_no, user_no, template_no, reserved, ended_at, updated_at FROM messages WHERE seq `+list+` AND state IN `+finalStates+` AND updated_at <= ? ORDER BY seq`+t.l.d.lock,
		append(args, before), func(r scanner) error {
			var o oldMessage
			var id []byte
			err := r.Scan(&o.seq, &id, &o.app, &o.user, &o.template, &o.reserved, &o.ended, &o.updated)
			copy(o.id[:], id)
			out = append(out, &o)
			return err
		})
	return out, err
}

type spendKey struct {
	grantKey
	month int64
}

var spendColumns = []column{{"user_no", kindInt}, {"template_no", kindInt}, {"at", kindInt}, {"id", kindBytes}, {"source", kindText}, {"granted", kindInt},
	{"voided", kindInt}, {"spent", kindInt}, {"choice", kindText}, {"ref", kindText}, {"open", kindInt}, {"recorded_at", kindInt}}

// foldSpends keeps what messages say of grants that were spent, for they are about to go:
// one entry a month for each subscription. A long-term template has no count.
func (t *txn) foldSpends(some []*oldMessage) error {
	spent := make(map[spendKey]int64)
	for _, o := range some {
		if o.reserved == 0 || t.l.appByNo(o.app).kindOf(o.template) == hongyan.KindLongTerm {
			continue
		}
		spent[spendKey{grantKey{o.user, o.template}, monthOf(or(o.ended, o.updated))}] += o.reserved
	}
	if len(spent) == 0 {
		return nil
	}
	rows := make([][]any, 0, len(spent))
	for k, n := range spent {
		var id ulid.ULID // always the same, so that the month's entry is found again
		_ = id.SetTime(uint64(k.month))
		rows = append(rows, []any{k.user, k.template, k.month, id[:], string(hongyan.SourceSpent), int64(0), int64(0), n, "", "", int64(0), t.now})
	}
	slices.SortFunc(rows, func(x, y []any) int {
		return cmp.Or(cmp.Compare(x[0].(int64), y[0].(int64)), cmp.Compare(x[1].(int64), y[1].(int64)), cmp.Compare(x[2].(int64), y[2].(int64)))
	})
	return t.insertRows(`/* ledger.foldSpends */ INSERT INTO grant_entries`, spendColumns, rows, t.l.d.addSpent)
}

// monthOf is the begin of a moment's month, in UTC.
func monthOf(v int64) int64 {
	y, m, _ := time.UnixMilli(v).UTC().Date()
	return ms(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC))
}
