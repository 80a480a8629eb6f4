package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Where one process writes (SQLite), a submit that only takes a grant does not write the
// grant's row: rows of grants lie far apart, and each would cost a page of its own. The
// message's row says that it holds one, and that is enough: a count is the grant's row less
// what messages hold that are younger than the row's column folded. These are pledges; in
// memory they are at hand, at start they are read from the messages again. Whatever else
// changes a grant writes its row, with folded moved up to now, and so does the upkeep, for
// many grants at once and in the order of their keys (docs/decisions/0003).
type pledges struct {
	mu  sync.Mutex
	now map[grantKey]pledge
	// before are those that were folded lately: a reader may still see a row from before that.
	before map[grantKey]pledge
	// through: every pledge of a message up to this seq is in its grant's row.
	through atomic.Int64
	folded  time.Time // when it was last done
}

// pledge is n grants that messages hold, the youngest of them seq.
type pledge struct{ n, seq int64 }

// of is how many grants of a row that was folded up to a seq are pledged.
func (p *pledges) of(k grantKey, folded int64) (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range []map[grantKey]pledge{p.now, p.before} {
		if x := m[k]; x.seq > folded {
			n += x.n
		}
	}
	return n
}

// get is what is pledged of a grant, nothing if its row has been written.
func (p *pledges) get(k grantKey) pledge {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now[k]
}

// add enters the grant that the message seq holds.
func (p *pledges) add(k grantKey, n, seq int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		p.now = make(map[grantKey]pledge)
	}
	p.now[k] = pledge{p.now[k].n + n, seq}
}

// done says that the rows of these grants have been written.
func (p *pledges) done(keys []grantKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.before == nil {
		p.before = make(map[grantKey]pledge)
	}
	for _, k := range keys {
		if x, ok := p.now[k]; ok {
			p.before[k] = x
			delete(p.now, k)
		}
	}
}

// begin lists the grants that are to be folded.
func (p *pledges) begin() []grantKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.folded = nil, time.Now()
	return slices.SortedFunc(maps.Keys(p.now), byGrantKey)
}

func (p *pledges) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.now) >= pledgesMost || time.Since(p.folded) > pledgesAge
}

const (
	// pledgesMost bounds the memory that pledges take, and what a start has to read again.
	pledgesMost = 200_000
	pledgesAge  = 30 * time.Second
	// pledgesChunk is how many grants are written in one transaction; the messages wait as long.
	pledgesChunk = 500
)

// readPledges reads what the grants' rows do not say yet.
func (l *Ledger) readPledges(ctx context.Context) error {
	if !l.d.alone {
		return nil
	}
	var through int64
	err := l.rdb.QueryRowContext(ctx, `/* ledger.readPledges */ SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'grants_folded'`).Scan(&through)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read pledges: %w", err)
	}
	// Whatever changes what a message holds after its submit writes the grant's row too.
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.readPledges */ SELECT m.user_no, m.template_no, SUM(m.reserved), MAX(m.seq) FROM messages m JOIN grants g ON g.user_no = m.user_no AND g.template_no = m.template_no
		WHERE m.seq > ? AND m.seq > g.folded AND m.reserved > 0 GROUP BY m.user_no, m.template_no`, through)
	if err != nil {
		return fmt.Errorf("read pledges: %w", err)
	}
	found := make(map[grantKey]pledge)
	err = eachRow(rs, func(r scanner) error {
		var k grantKey
		var p pledge
		err := r.Scan(&k.user, &k.template, &p.n, &p.seq)
		found[k] = p
		return err
	})
	if err != nil {
		return fmt.Errorf("read pledges: %w", err)
	}
	l.pledges.mu.Lock()
	defer l.pledges.mu.Unlock()
	l.pledges.now, l.pledges.before = found, nil
	l.pledges.through.Store(through)
	return nil
}

// foldPledges writes the rows of the grants that messages hold.
func (l *Ledger) foldPledges(ctx context.Context) error {
	if !l.d.alone {
		return nil
	}
	var through int64
	var keys []grantKey
	if err := l.write(ctx, "fold pledges", func(t *txn) error {
		// What is pledged after this transaction is younger.
		through, keys = t.l.seqs.last(), t.l.pledges.begin()
		return nil
	}); err != nil {
		return err
	}
	for part := range slices.Chunk(keys, pledgesChunk) {
		if err := l.write(ctx, "fold pledges", func(t *txn) error { return t.foldPledges(part) }); err != nil {
			return err
		}
	}
	if through == l.pledges.through.Load() {
		return nil
	}
	if err := l.write(ctx, "fold pledges", func(t *txn) error { return t.setThrough(through) }); err != nil {
		return err
	}
	l.pledges.through.Store(through)
	return nil
}

// foldPledges writes what is pledged of these grants into their rows, which then say so up to
// now: those of a template of which as many are pledged, mostly one, in one statement.
func (t *txn) foldPledges(keys []grantKey) error {
	type alike struct{ template, n int64 }
	users := make(map[alike][]any)
	var folded []grantKey
	for _, k := range slices.Compact(slices.SortedFunc(slices.Values(keys), byGrantKey)) {
		if p := t.l.pledges.get(k); p.n > 0 {
			users[alike{k.template, p.n}] = append(users[alike{k.template, p.n}], k.user)
			folded = append(folded, k)
			t.learned.changed(k)
		}
	}
	for x, all := range users {
		for part := range slices.Chunk(all, t.l.d.most) {
			list, args := t.l.d.list(part, kindInt)
			if _, err := t.exec(`/* ledger.foldPledges */ `+told+`UPDATE grants SET available = available - ?, taken = taken + ?, folded = ?, updated_at = ? WHERE template_no = ? AND user_no `+list,
				append([]any{x.n, x.n, t.l.seqs.last(), t.now, x.template}, args...)...); err != nil {
				return err
			}
		}
	}
	t.after = append(t.after, func() { t.l.pledges.done(folded) })
	return nil
}

// setThrough says that no message up to this one has a pledge any more.
func (t *txn) setThrough(seq int64) error {
	_, err := t.exec(`/* ledger.setThrough */ INSERT INTO meta (name, value) VALUES ('grants_folded', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, []byte(strconv.FormatInt(seq, 10)))
	return err
}
