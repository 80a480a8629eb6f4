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
	max   int
	apply func(ctx context.Context, batch []T)

	mu     sync.Mutex
	queue  []T
	closed bool
	wake   chan struct{}
	// oldest is when the oldest item of the batch under way was handed in, unix ns; 0 when idle.
	oldest atomic.Int64
}

// One transaction's worth. Larger batches no longer gain and keep others waiting.
const (
	maxSubmitBatch = 512
	maxResultBatch = 512
)

func newCommitter[T any](most int, apply func(context.Context, []T)) *committer[T] {
	return &committer[T]{max: most, apply: apply, wake: make(chan struct{}, 1)}
}

// add hands an item in; false after run has ended.
func (c *committer[T]) add(v T) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.queue = append(c.queue, v)
	c.oldest.CompareAndSwap(0, time.Now().UnixNano())
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return true
}

func (c *committer[T]) take() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.queue), c.max)
	if n == 0 {
		c.oldest.Store(0)
		return nil
	}
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	return batch
}

// run commits until ctx ends and nothing is waiting any more. apply must settle every
// item of its batch before it returns, whatever happens.
func (c *committer[T]) run(ctx context.Context) {
	for {
		batch := c.take()
		if batch != nil {
			c.oldest.Store(time.Now().UnixNano())
			c.apply(context.WithoutCancel(ctx), batch)
			continue
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			c.mu.Lock()
			done := len(c.queue) == 0
			c.closed = done
			c.mu.Unlock()
			if done {
				return
			}
		}
	}
}

// waiting is how long the batch under way has been waiting for its commit.
func (c *committer[T]) waiting() time.Duration {
	if o := c.oldest.Load(); o != 0 {
		return time.Since(time.Unix(0, o))
	}
	return 0
}
