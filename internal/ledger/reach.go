package ledger

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

const (
	// reachWait is how long a caller waits for a count. It goes on without the caller.
	reachWait = 2 * time.Second
	// reachMost is how long a count may take.
	reachMost = 5 * time.Minute
	// reachKept is for how long a count that took longer than callers wait serves them all.
	reachKept = time.Minute
	// reachPart is how many numbers of users one statement goes over.
	reachPart = 50_000
)

// reachSQL counts one part of the users. Grants lie by user and have no index by template: it
// would be written with every grant, and this is read when a person looks at a page. Users
// and grants are both read in the order of their keys.
const reachSQL = `/* ledger.Reach */ SELECT COUNT(*),
	COALESCE(SUM(CASE WHEN g.available = 1 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.available = 2 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.available > 2 THEN 1 ELSE 0 END), 0),
	COALESCE(SUM(CASE WHEN g.standing = ? THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.standing = ? THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.standing = ? THEN 1 ELSE 0 END), 0),
	COALESCE(SUM(CASE WHEN g.exact = 0 AND g.available < 1 AND g.standing <> ? AND g.standing <> ? THEN 1 ELSE 0 END), 0)
	FROM users u JOIN grants g ON g.user_no = u.no AND g.template_no = ?
	WHERE u.no > ? AND u.no <= ? AND u.app_no = ? AND u.invalid_at = 0 AND u.openid NOT LIKE 'erased:%'`

// reachCounts are the counts of users, by the number of the template.
type reachCounts struct {
	mu   sync.Mutex
	m    map[int64]*reachCount
	wait time.Duration // reachWait
	// ctx ends with the ledger, and under is what still reads then.
	ctx   context.Context
	end   context.CancelFunc
	under sync.WaitGroup
}

// reachCount is one count; what it has is guarded by the mutex of them all.
type reachCount struct {
	done   chan struct{}
	began  time.Time // monotonic
	ended  time.Time
	out    hongyan.Reach  // so far
	err    error          // it ended early
	before *hongyan.Reach // the last whole one
}

func (r *reachCounts) init() {
	r.m, r.wait = make(map[int64]*reachCount), reachWait
	r.ctx, r.end = context.WithCancel(context.Background())
}

func (r *reachCounts) close() {
	r.end()
	r.under.Wait()
}

// join answers the template's count that is under way, one that took so long that it serves
// for a while, or a new one.
func (r *reachCounts) join(template int64, count func(context.Context, *reachCount) error) *reachCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &reachCount{done: make(chan struct{}), began: time.Now()}
	if last := r.m[template]; last != nil {
		long := last.err == nil && last.ended.Sub(last.began) > r.wait && time.Since(last.ended) < reachKept
		if last.ended.IsZero() || long {
			return last
		}
		if c.before = last.before; last.err == nil {
			whole := last.out // a copy: a pointer into it would keep all counts before it
			c.before = &whole
		}
	}
	r.m[template] = c
	r.under.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, reachMost)
		defer cancel()
		err := count(ctx, c)
		r.mu.Lock()
		defer r.mu.Unlock()
		c.ended, c.err = time.Now(), err
		close(c.done)
	})
	return c
}

func (r *reachCounts) show(c *reachCount, out hongyan.Reach) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.out = out
}

// Reach counts the users whom a template can be sent to now. It is exact, but for what changes
// while it counts. A count that takes longer than two seconds goes on by itself: until it has
// ended the answer is the one before, or what is counted so far, and then it serves for a minute.
func (l *Ledger) Reach(ctx context.Context, id hongyan.AppID, ref string) (hongyan.Reach, error) {
	a, te, err := l.template(id, ref)
	if err != nil {
		return hongyan.Reach{}, err
	}
	c := l.reaches.join(te.no, func(ctx context.Context, c *reachCount) error {
		if err := l.countReach(ctx, a, te, c); err != nil {
			return fmt.Errorf("count reach: %w", err)
		}
		return nil
	})
	select {
	case <-c.done:
	case <-time.After(l.reaches.wait):
	case <-ctx.Done():
		return hongyan.Reach{}, fmt.Errorf("count reach: %w", ctx.Err())
	}
	l.reaches.mu.Lock()
	defer l.reaches.mu.Unlock()
	switch {
	case !c.ended.IsZero():
		return c.out, c.err
	case c.before != nil:
		return *c.before, nil
	}
	out := c.out
	out.App, out.TemplateID, out.Kind, out.AtLeast, out.CountedAt = id, te.template.TemplateID, te.template.Kind, true, at(ms(l.Now()))
	return out, nil
}

func (l *Ledger) countReach(ctx context.Context, a *appEntry, te *templateEntry, c *reachCount) error {
	if l.d.alone {
		// What messages hold is written into the grants' rows first, so that they say it all.
		if err := l.foldPledges(ctx); err != nil {
			return err
		}
	}
	out := hongyan.Reach{App: a.app.AppID, TemplateID: te.template.TemplateID, Kind: te.template.Kind}
	var last int64
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.Reach */ SELECT COALESCE(MAX(no), 0) FROM users`).Scan(&last); err != nil {
		return err
	}
	accept, reject, ban := code(standingWords, hongyan.StandingAccept), code(standingWords, hongyan.StandingReject), code(standingWords, hongyan.StandingBan)
	for from := int64(0); from < last; from += reachPart {
		var n, one, two, three, on, refused, banned, unknown int64
		err := l.rdb.QueryRowContext(ctx, reachSQL, accept, reject, ban, reject, ban, te.no, from, from+reachPart, a.no).Scan(&n, &one, &two, &three, &on, &refused, &banned, &unknown)
		if err != nil {
			return err
		}
		out.UsersKnown, out.Refused, out.Banned = out.UsersKnown+n, out.Refused+refused, out.Banned+banned
		if te.template.Kind == hongyan.KindLongTerm {
			out.LongTermOn, out.UnknownBaseline = out.LongTermOn+on, out.UnknownBaseline+n-on-refused-banned
		} else {
			out.WithGrants.One, out.WithGrants.Two, out.WithGrants.Three = out.WithGrants.One+one, out.WithGrants.Two+two, out.WithGrants.Three+three
			out.UnknownBaseline += unknown
		}
		out.Reachable = out.WithGrants.One + out.WithGrants.Two + out.WithGrants.Three + out.LongTermOn
		l.reaches.show(c, out)
	}
	out.CountedAt = at(ms(l.Now()))
	l.reaches.show(c, out)
	return nil
}
