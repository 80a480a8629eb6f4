package ledger

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// clock is the time that all replicas agree on: the database's. It is this machine's clock
// with an offset that is measured again and again.
type clock struct {
	local  func() time.Time
	query  string // empty: the local clock is the one
	offset atomic.Int64
}

func (c *clock) init(cfg Config, d *dialect) {
	c.local = cfg.Clock
	if c.local == nil {
		c.local = time.Now
	}
	if cfg.Now != nil {
		c.local = cfg.Now
		return
	}
	c.query = d.now
}

func (c *clock) now() time.Time { return c.local().Add(time.Duration(c.offset.Load())) }

// Skew is how far this machine's clock is behind the database's.
func (l *Ledger) Skew() time.Duration { return time.Duration(l.clock.offset.Load()) }

// measure compares the clocks. Half of what the question took may be wrong, so of three
// the quickest counts.
func (c *clock) measure(ctx context.Context, l *Ledger) error {
	if c.query == "" {
		return nil
	}
	best := time.Duration(-1)
	for range 3 {
		var there int64
		before, begin := c.local(), time.Now()
		if err := l.rdb.QueryRowContext(ctx, c.query).Scan(&there); err != nil {
			return fmt.Errorf("read the database's clock: %w", err)
		}
		if took := time.Since(begin); best < 0 || took < best {
			best = took
			c.offset.Store(int64(time.UnixMilli(there).Sub(before.Add(took / 2))))
		}
	}
	return nil
}

// vocabularyNo names the number that grows with every change of apps, templates, pauses and
// keys, so that other replicas notice.
const vocabularyNo = "vocabulary"

// maxSkew is how far this machine's clock may be from the database's before it claims nothing.
const maxSkew = time.Minute

// stamp says that the vocabulary has changed.
func (t *txn) stamp() error {
	if t.l.d.alone {
		return nil
	}
	if _, err := t.exec(`/* ledger.stamp */ INSERT INTO sequences (name, next) VALUES (?, 1) ON CONFLICT (name) DO NOTHING`, vocabularyNo); err != nil {
		return err
	}
	_, err := t.exec(`/* ledger.stamp */ UPDATE sequences SET next = next + 1 WHERE name = ?`, vocabularyNo)
	return err
}
