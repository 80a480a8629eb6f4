package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
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

// From shownSkew on a difference between the clocks is logged; from maxSkew on this process
// sends nothing. What its leases compare with is the database's clock all the same, but a
// machine whose clock is that wrong has more that is wrong.
const (
	shownSkew = 2 * time.Second
	maxSkew   = time.Minute
)

// Claims reports whether this process may send: its clock is near the database's.
func (l *Ledger) Claims() bool { return l.Skew().Abs() <= maxSkew }

const (
	heartbeatEvery = 5 * time.Second
	// A replica that said nothing for this long does not count any more.
	heartbeatLost = 3 * heartbeatEvery
	noticeTick    = 250 * time.Millisecond
)

// Replica is a process that works on this database.
type Replica struct {
	Name   string
	SeenAt time.Time
	Skew   time.Duration
	Self   bool
}

// replicas says that this process lives and notices what others did, until ctx ends. Then
// it signs off, so that the others need not wait for its silence.
func (l *Ledger) replicas(ctx context.Context) {
	if l.d.alone {
		return
	}
	beat, notice := time.NewTicker(heartbeatEvery), time.NewTicker(noticeTick)
	defer beat.Stop()
	defer notice.Stop()
	var said, noticed time.Time
	away := func(err error) {
		if err != nil && ctx.Err() == nil && time.Since(said) > quietFor {
			said = time.Now()
			l.log.WarnContext(ctx, "the database does not answer, trying again", "err", err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = l.apart(end, func(t *txn) error {
				_, err := t.exec(`/* ledger.signOff */ DELETE FROM replicas WHERE owner = ?`, l.owner)
				return err
			})
			return
		case <-beat.C:
			away(l.heartbeat(ctx))
		case <-l.wake.counted:
			away(l.heartbeat(ctx))
		case <-l.wake.changed:
			away(l.notice(ctx))
		case <-notice.C:
			if time.Since(noticed) > l.noticeEvery()-noticeTick/2 { // ticks are not that regular
				noticed = time.Now()
				away(l.notice(ctx))
			}
		}
	}
}

// quietFor is how long a database that stays away is not mentioned again.
const quietFor = 10 * time.Second

// heartbeat measures the clock, says that this process lives and counts the others.
func (l *Ledger) heartbeat(ctx context.Context) error {
	if l.d.alone {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	if err := l.clock.measure(ctx, l); err != nil {
		return err
	}
	if s := l.Skew(); s.Abs() > shownSkew {
		l.log.WarnContext(ctx, "this machine's clock differs from the database's; set it by NTP", "skew_ms", s.Milliseconds(), "claiming", l.Claims())
	}
	host, _ := os.Hostname()
	now := ms(l.Now())
	var live int64
	err := l.apart(ctx, func(t *txn) error {
		q, args := l.d.insert(`/* ledger.heartbeat */ INSERT INTO replicas`, []column{{"owner", kindInt}, {"name", kindText}, {"seen_at", kindInt}, {"skew_ms", kindInt}},
			[][]any{{l.owner, fmt.Sprintf("%.200s/%d", host, os.Getpid()), now, l.Skew().Milliseconds()}})
		if _, err := t.exec(q+l.d.upsert([]string{"owner"}, []string{"seen_at", "skew_ms"}), args...); err != nil {
			return err
		}
		if _, err := t.exec(`/* ledger.heartbeat */ DELETE FROM replicas WHERE seen_at < ?`, now-time.Hour.Milliseconds()); err != nil {
			return err
		}
		return t.row(`/* ledger.heartbeat */ SELECT COUNT(*) FROM replicas WHERE seen_at >= ?`, []any{now - heartbeatLost.Milliseconds()}, &live)
	})
	if err == nil {
		l.live.Store(max(live, 1))
	}
	return err
}

// Live is how many processes work on this database now, this one included.
func (l *Ledger) Live() int { return int(max(l.live.Load(), 1)) }

// Replicas lists the processes that were seen within the last hour.
func (l *Ledger) Replicas(ctx context.Context) ([]Replica, error) {
	out := []Replica{}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Replicas */ SELECT owner, name, seen_at, skew_ms FROM replicas ORDER BY seen_at DESC`)
	if err != nil {
		return nil, fmt.Errorf("read replicas: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var owner, seen, skew int64
		var x Replica
		err := r.Scan(&owner, &x.Name, &seen, &skew)
		x.SeenAt, x.Skew, x.Self = at(seen), time.Duration(skew)*time.Millisecond, owner == l.owner
		out = append(out, x)
		return err
	})
	return out, err
}

// vocabularyNo names the number that grows with every change of apps, templates, pauses and
// keys, so that other replicas notice.
const vocabularyNo = "vocabulary"

// errOutdated says that another replica has changed the vocabulary since memory read it.
var errOutdated = errors.New("the vocabulary has changed")

// stamp says that the vocabulary changes. Whoever does it first is alone with it until the
// commit, and what is decided from memory is decided from what is in the database.
func (t *txn) stamp() error {
	if t.l.d.alone {
		return nil
	}
	if _, err := t.exec(`/* ledger.stamp */ INSERT INTO sequences (name, next) VALUES (?, 0) ON CONFLICT (name) DO NOTHING`, vocabularyNo); err != nil {
		return err
	}
	if _, err := t.exec(`/* ledger.stamp */ UPDATE sequences SET next = next + 1 WHERE name = ?`, vocabularyNo); err != nil {
		return err
	}
	var no int64
	if err := t.row(`/* ledger.stamp */ SELECT next FROM sequences WHERE name = ?`, []any{vocabularyNo}, &no); err != nil {
		return err
	}
	if no != t.l.seen.Load()+1 {
		return errOutdated
	}
	t.after = append(t.after, func() { t.l.tell(&t.l.wake.vocabulary) })
	return nil
}

// notice reads the vocabulary again if another replica has changed it.
func (l *Ledger) notice(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	no, err := l.vocabularyStamp(ctx)
	if err != nil || no == l.seen.Load() {
		return err
	}
	l.vocabulary.Lock()
	defer l.vocabulary.Unlock()
	if err := l.reload(ctx); err != nil {
		return err
	}
	l.nudgeHere() // a pause may be over
	return nil
}

func (l *Ledger) vocabularyStamp(ctx context.Context) (int64, error) {
	if l.d.alone {
		return 0, nil
	}
	var no int64
	err := l.rdb.QueryRowContext(ctx, `/* ledger.notice */ SELECT next FROM sequences WHERE name = ?`, vocabularyNo).Scan(&no)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return no, err
}
