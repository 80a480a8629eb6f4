package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// topics are kinds of things that change, as bits.
type topics uint32

// The topics that readers may want to look at again.
const (
	TopicMessages topics = 1 << iota
	TopicGrants
	TopicCallbacks
	TopicApps // their settings, pauses and tokens too
	TopicTemplates
	TopicWebhooks // their deliveries too
)

var topicWords = []string{"messages", "grants", "callbacks", "apps", "templates", "webhooks"}

// TopicWords lists all topics by name.
func TopicWords() []string { return append([]string(nil), topicWords...) }

// touch says what the transaction changes.
func (t *txn) touch(what topics) { t.topics |= what }

// pulse counts changes in memory. While nobody looks, a commit costs it a few additions.
type pulse struct {
	counts  [6]atomic.Uint64
	readers atomic.Int64
	bell    bell
	others  others
}

// others is what this process last saw of other replicas' work: one look serves all readers,
// and what it finds is told once, however many there are.
type others struct {
	mu    sync.Mutex
	at    time.Time // of the last look
	place *otherPlace
}

// lookEvery is how often the database is asked at most.
const lookEvery = time.Second

func (p *pulse) changed(what topics) {
	if what == 0 {
		return
	}
	for i := range p.counts {
		if what&(1<<i) != 0 {
			p.counts[i].Add(1)
		}
	}
	if p.readers.Load() > 0 {
		p.bell.ring()
	}
}

// Changes is a reader's view of what changes. It is for one goroutine; close it.
type Changes struct {
	l    *Ledger
	seen [6]uint64
}

// Changes begins to look: what changed before does not count.
func (l *Ledger) Changes() *Changes {
	if l.pulse.readers.Add(1) == 1 {
		l.pulse.others.forget() // what happened while nobody looked is news to nobody
	}
	c := &Changes{l: l}
	c.Take()
	return c
}

// Close ends it.
func (c *Changes) Close() { c.l.pulse.readers.Add(-1) }

// Next is closed when something has changed since; ask for it before Take, and nothing is missed.
func (c *Changes) Next() <-chan struct{} { return c.l.pulse.bell.next() }

// Take tells the topics that changed since the last call.
func (c *Changes) Take() []string {
	var out []string
	for i := range c.seen {
		if n := c.l.pulse.counts[i].Load(); n != c.seen[i] {
			c.seen[i] = n
			out = append(out, topicWords[i])
		}
	}
	return out
}

// otherPlace is how far the database has come, as far as it shows.
type otherPlace struct {
	delta, callback []byte
	event           int64
}

func (o *others) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at, o.place = time.Time{}, nil
}

// LookAround asks the database what other replicas have changed, where there are any; then
// Take tells it, to all readers. If one of them has asked within a second it does nothing.
// What others do to apps, templates and webhooks this process notices anyway.
func (c *Changes) LookAround(ctx context.Context) error {
	o := &c.l.pulse.others
	if !o.mu.TryLock() { // another reader asks just now
		return nil
	}
	defer o.mu.Unlock()
	now := c.l.Now()
	if now.Sub(o.at).Abs() < lookEvery {
		return nil
	}
	o.at = now
	return c.l.lookAround(ctx, o)
}

func (l *Ledger) lookAround(ctx context.Context, o *others) error {
	if l.Live() <= 1 {
		o.place = nil
		return nil
	}
	now, err := l.otherPlace(ctx)
	if err != nil {
		return err
	}
	was := o.place
	o.place = &now
	if was == nil {
		return nil
	}
	var what topics
	if mine := l.stats.mine.Load(); !bytes.Equal(was.delta, now.delta) && (mine == nil || !bytes.Equal(mine[:], now.delta)) {
		what |= TopicMessages | TopicGrants
	}
	if !bytes.Equal(was.callback, now.callback) {
		what |= TopicCallbacks
	}
	if was.event != now.event {
		what |= TopicWebhooks
	}
	l.pulse.changed(what)
	return nil
}

func (l *Ledger) otherPlace(ctx context.Context) (p otherPlace, err error) {
	var delta, folded []byte
	for _, x := range []struct {
		query string
		into  any
	}{
		{`/* ledger.otherPlace */ SELECT id FROM stat_deltas ORDER BY id DESC LIMIT 1`, &delta},
		{`/* ledger.otherPlace */ SELECT value FROM meta WHERE name = 'stats'`, &folded},
		{`/* ledger.otherPlace */ SELECT id FROM callbacks ORDER BY id DESC LIMIT 1`, &p.callback},
		{`/* ledger.otherPlace */ SELECT no FROM events ORDER BY no DESC LIMIT 1`, &p.event},
	} {
		if err := l.rdb.QueryRowContext(ctx, x.query).Scan(x.into); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return p, fmt.Errorf("look what changed: %w", err)
		}
	}
	p.delta = delta
	if bytes.Compare(folded, delta) > 0 {
		p.delta = folded
	}
	return p, nil
}
