package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// committer gathers what arrives while a transaction is being synced to disk and commits
// it together with the next one: the fsync, which costs more than everything else, is shared.
type committer[T any] struct {
	max int
	// apply writes a batch and answers those that could not be written; they are tried again.
	apply func(ctx context.Context, batch []T) (left []T)

	// gather is how long a batch waits for one more, under load. Those who were answered
	// together come back together, but not at the same instant.
	gather time.Duration
	last   int // size of the batch before

	mu     sync.Mutex
	queue  []waiting[T]
	under  []waiting[T] // the batch under way
	again  []waiting[T] // those that could not be written yet
	closed bool
	wake   chan struct{}
	// oldest is when the oldest item that is not on disk was handed in, unix ns; 0 when idle.
	oldest atomic.Int64
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

func newCommitter[T any](most int, apply func(context.Context, []T) []T) *committer[T] {
	return &committer[T]{max: most, apply: apply, wake: make(chan struct{}, 1)}
}

// add hands an item in; false after run has ended.
func (c *committer[T]) add(v T) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.queue = append(c.queue, waiting[T]{v, time.Now().UnixNano()})
	c.mark()
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return true
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
}

// take makes the next items the batch under way: those of an earlier failure, or new ones.
func (c *committer[T]) take(again bool) []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := &c.queue
	if again {
		from = &c.again
	}
	n := min(len(*from), c.max)
	c.under, *from = (*from)[:n:n], (*from)[n:]
	if len(*from) == 0 {
		*from = nil // so that the items can be freed
	}
	c.mark()
	if !again {
		c.last = n
	}
	batch := make([]T, n)
	for i, w := range c.under {
		batch[i] = w.v
	}
	return batch
}

// commit applies the batch under way and keeps what could not be written. New items go on
// meanwhile, so that one bad row holds up nobody but itself.
func (c *committer[T]) commit(ctx context.Context, again bool) (all bool) {
	batch := c.take(again)
	if len(batch) == 0 {
		return true
	}
	left := c.apply(context.WithoutCancel(ctx), batch)
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
	c.under = nil
	c.mark()
	return len(left) == 0
}

// run commits until ctx ends and nothing is waiting any more. It answers how many items
// could not be written.
func (c *committer[T]) run(ctx context.Context) int {
	var retryAt, end time.Time
	wait := retryFirst
	for {
		now := time.Now()
		fresh, failed := c.pending()
		if failed > 0 && !now.Before(retryAt) {
			if c.commit(ctx, true) {
				wait = retryFirst
			} else {
				retryAt, wait = time.Now().Add(wait), min(2*wait, retryMost)
			}
		}
		if fresh > 0 {
			c.wait(fresh)
			if !c.commit(ctx, false) && failed == 0 {
				retryAt, wait = time.Now().Add(retryFirst), 2*retryFirst
			}
			continue
		}
		if fresh, failed = c.pending(); fresh > 0 {
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
			done = nil // it has ended; wait for the retry alone
		}
		var retry <-chan time.Time
		if failed > 0 {
			retry = time.After(time.Until(retryAt))
		}
		select {
		case <-c.wake:
		case <-retry:
		case <-done:
		}
	}
}

// wait lets a batch grow, under load only.
func (c *committer[T]) wait(have int) {
	if c.gather == 0 || c.last < 8 {
		return
	}
	quiet := time.NewTimer(c.gather)
	defer quiet.Stop()
	for have < c.max && have < 4*c.last {
		select {
		case <-c.wake:
			have, _ = c.pending()
			quiet.Reset(c.gather)
		case <-quiet.C:
			return
		}
	}
}

func (c *committer[T]) pending() (fresh, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue), len(c.again)
}

// close refuses further items once nothing waits, or at once if it must.
func (c *committer[T]) close(must bool) (left int, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left = len(c.queue) + len(c.again)
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
