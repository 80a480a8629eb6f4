package ledger

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// committer gathers what arrives while a transaction is being synced to disk and commits
// it together with the next one: the fsync, which costs more than everything else, is shared.
type committer[T any] struct {
	max int
	// apply writes a batch and answers those that could not be written; they are tried again.
	// What the batch is take says, the same at each call: the later it is asked, the more
	// have come.
	apply func(ctx context.Context, take func() []T) (left []T)
	// ready, if set, is how many at the head of the queue need wait for nothing, or for nothing more
	// in a transaction that goes anyway. The others are asked about again after a nudge, or after
	// lingerTime.
	ready func(queue []waiting[T], going bool) int
	// body is what a batch does in somebody else's transaction, of items that may go there (nil: all
	// may), and follow what follows its commit.
	body   func(t *txn, batch []T) error
	mayGo  func(v T) bool
	follow func(batch []T)

	mu     sync.Mutex
	queue  []waiting[T]
	under  []waiting[T] // the batch under way
	again  []waiting[T] // those that could not be written yet
	busy   bool         // a batch is under way, or in somebody else's transaction
	shy    bool         // somebody else's transaction failed: the next batch goes by itself
	closed bool
	wake   chan struct{}
	// oldest is when the oldest item that is not on disk was handed in, unix ns; 0 when idle.
	oldest atomic.Int64
	length atomic.Int64 // of the queue
	added  atomic.Int64 // when the newest item was handed in, unix ns
}

type waiting[T any] struct {
	v     T
	since int64 // unix ns
}

// One transaction's worth. Larger batches no longer gain and keep others waiting.
const (
	maxSubmitBatch = 512
	maxResultBatch = 512
)

const (
	retryFirst = 10 * time.Millisecond
	retryMost  = time.Second
	// drainFor bounds how long run keeps trying after its end was asked for. What cannot be
	// written by then stays `sending` on disk and is uncertain at the next start, as it is.
	drainFor = 8 * time.Second
)

func newCommitter[T any](most int, apply func(context.Context, func() []T) []T) *committer[T] {
	return &committer[T]{max: most, apply: apply, wake: make(chan struct{}, 1)}
}

// add hands an item in; false after run has ended.
func (c *committer[T]) add(v T) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	now := time.Now().UnixNano()
	c.queue = append(c.queue, waiting[T]{v, now})
	c.added.Store(now)
	c.mark()
	c.mu.Unlock()
	c.nudge()
	return true
}

// nudge makes run look again.
func (c *committer[T]) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// mark keeps oldest true; call it with the lock held.
func (c *committer[T]) mark() {
	var oldest int64
	older := func(w waiting[T]) {
		if oldest == 0 || w.since < oldest {
			oldest = w.since
		}
	}
	for _, w := range c.again { // empty, or the disk is in trouble
		older(w)
	}
	for _, s := range [][]waiting[T]{c.under, c.queue} {
		if len(s) > 0 {
			older(s[0])
		}
	}
	c.oldest.Store(oldest)
	c.length.Store(int64(len(c.queue)))
}

// take makes the next items the batch under way: those of an earlier failure, or new ones, as
// far as they may go.
func (c *committer[T]) take(again bool, mayGo func(T) bool) []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := &c.queue
	if again {
		from = &c.again
	}
	n := min(len(*from), c.max)
	if !again && c.ready != nil {
		n = c.ready((*from)[:n], true)
	}
	if mayGo != nil {
		if k := slices.IndexFunc((*from)[:n], func(w waiting[T]) bool { return !mayGo(w.v) }); k >= 0 {
			n = k
		}
	}
	c.under, *from = (*from)[:n:n], (*from)[n:]
	if len(*from) == 0 {
		*from = nil // so that the items can be freed
	}
	c.mark()
	batch := make([]T, n)
	for i, w := range c.under {
		batch[i] = w.v
	}
	return batch
}

// commit applies the batch under way and keeps what could not be written. New items go on
// meanwhile, so that one bad row holds up nobody but itself.
func (c *committer[T]) commit(ctx context.Context, again bool) (all bool) {
	if !c.begin() {
		return true // whoever has them nudges
	}
	take := sync.OnceValue(func() []T { return c.take(again, nil) })
	left := c.apply(context.WithoutCancel(ctx), take)
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := 0
	for _, w := range c.under {
		// left keeps the order of the batch.
		if kept < len(left) && any(w.v) == any(left[kept]) {
			c.again = append(c.again, w)
			kept++
		}
	}
	c.under, c.busy = nil, false
	c.mark()
	return len(left) == 0
}

// begin is false while the items are in somebody else's transaction.
func (c *committer[T]) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.busy
	c.busy, c.shy = true, false
	return !was
}

// lend lets what waits go with somebody else's transaction: a commit less. If that fails, the
// items are where they were. nil: nothing waits, or is about to go by itself.
func (c *committer[T]) lend(r rank) *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || c.shy || len(c.queue) == 0 || len(c.again) > 0 {
		return nil
	}
	if c.mayGo != nil && !c.mayGo(c.queue[0].v) {
		return nil
	}
	c.busy = true
	var batch []T
	take := sync.OnceFunc(func() { batch = c.take(false, c.mayGo) }) // the transaction may run again
	return &turn{rank: r,
		f: func(t *txn) error {
			take()
			if len(batch) == 0 {
				return nil
			}
			return c.body(t, batch)
		},
		end: func(err error) {
			if err == nil && c.follow != nil {
				c.follow(batch)
			}
			c.mu.Lock()
			if err != nil {
				c.queue, c.shy = append(c.under, c.queue...), true
			}
			c.under, c.busy = nil, false
			c.mark()
			c.mu.Unlock()
			c.nudge()
		}}
}

// run commits until ctx ends and nothing is waiting any more. It answers how many items
// could not be written.
func (c *committer[T]) run(ctx context.Context) int {
	var retryAt, end time.Time
	wait := retryFirst
	for {
		now := time.Now()
		fresh, _, failed := c.pending()
		if failed > 0 && !now.Before(retryAt) {
			if c.commit(ctx, true) {
				wait = retryFirst
			} else {
				retryAt, wait = time.Now().Add(wait), min(2*wait, retryMost)
			}
		}
		if fresh > 0 {
			if !c.commit(ctx, false) && failed == 0 {
				retryAt, wait = time.Now().Add(retryFirst), 2*retryFirst
			}
			continue
		}
		fresh, held, failed := c.pending()
		if fresh > 0 {
			continue
		}
		done := ctx.Done()
		if ctx.Err() != nil {
			if end.IsZero() {
				end = now.Add(drainFor)
			}
			if left, ok := c.close(!now.Before(end)); ok {
				return left
			}
			done = nil // it has ended; wait for the others alone
		}
		var retry, linger <-chan time.Time
		if failed > 0 {
			retry = time.After(time.Until(retryAt))
		}
		if held > 0 {
			linger = time.After(lingerTime)
		}
		select {
		case <-c.wake:
		case <-retry:
		case <-linger:
		case <-done:
		}
	}
}

// pending counts what can be committed now, what waits a moment longer, and what failed.
func (c *committer[T]) pending() (fresh, held, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy {
		return 0, 0, 0
	}
	fresh = len(c.queue)
	if c.ready != nil && fresh > 0 {
		fresh = c.ready(c.queue, false)
	}
	return fresh, len(c.queue) - fresh, len(c.again)
}

// close refuses further items once nothing waits, or at once if it must.
func (c *committer[T]) close(must bool) (left int, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left = len(c.queue) + len(c.again)
	if c.busy && !must {
		return left, false
	}
	c.closed = left == 0 || must
	return left, c.closed
}

// waiting is how long the oldest item has been waiting for its commit.
func (c *committer[T]) waiting() time.Duration {
	if o := c.oldest.Load(); o != 0 {
		return time.Since(time.Unix(0, o))
	}
	return 0
}
