package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestCommitter shows the group commit without a database: what fails is tried again
// beside the others, and counts as waiting from when it was handed in.
func TestCommitter(t *testing.T) {
	t.Parallel()
	t.Run("failing items hold up no other", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var bad atomic.Bool
			bad.Store(true)
			done := make(map[string]int)
			c := newCommitter(2, func(_ context.Context, take func() []*string) (left []*string) {
				time.Sleep(10 * time.Millisecond)
				for _, s := range take() {
					if strings.HasPrefix(*s, "bad") && bad.Load() {
						left = append(left, s)
					} else {
						done[*s]++
					}
				}
				return left
			})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan int)
			go func() { ended <- c.run(ctx) }()
			for _, s := range []string{"a", "bad1", "b", "bad2", "c", "bad3"} {
				if !c.add(&s) {
					t.Fatal("refused")
				}
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if done["a"] != 1 || done["b"] != 1 || done["c"] != 1 || len(done) != 3 {
				t.Errorf("done: %v", done)
			}
			if w := c.waiting(); w < 3*time.Second || w > 4*time.Second {
				t.Errorf("waiting for %s, want since it was handed in", w)
			}
			bad.Store(false)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if len(done) != 6 || c.waiting() != 0 {
				t.Errorf("done: %v, waiting for %s", done, c.waiting())
			}
			stop()
			if left := <-ended; left != 0 || c.add(new(string)) {
				t.Errorf("ended with %d left, or takes more", left)
			}
		})
	})
	t.Run("those that are not ready stay behind, in their order", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var room atomic.Int64
			room.Store(2)
			var mu sync.Mutex
			var done []int
			wantDone := func(when string, want ...int) {
				t.Helper()
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if !slices.Equal(done, want) {
					t.Errorf("%s: done %v, want %v", when, done, want)
				}
			}
			c := newCommitter(10, func(_ context.Context, take func() []*int) []*int {
				batch := take()
				mu.Lock()
				defer mu.Unlock()
				for _, n := range batch {
					done = append(done, *n)
				}
				return nil
			})
			c.ready = func(queue []waiting[*int], _ bool) int {
				mu.Lock()
				defer mu.Unlock()
				n := max(0, min(len(queue), int(room.Load())-len(done)))
				for n < len(queue) && time.Since(time.Unix(0, queue[n].since)) >= lingerTime {
					n++
				}
				return n
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan int)
			go func() { ended <- c.run(ctx) }()
			for i := range 4 {
				c.add(&i)
			}
			wantDone("with two places", 0, 1)
			room.Store(3)
			c.nudge()
			wantDone("after a nudge", 0, 1, 2)
			time.Sleep(lingerTime)
			wantDone("after the linger", 0, 1, 2, 3)
			stop()
			if left := <-ended; left != 0 {
				t.Errorf("ended with %d left", left)
			}
		})
	})
	t.Run("the end waits, within bounds", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCommitter(2, func(_ context.Context, take func() []*int) []*int { return slices.Clone(take()) })
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan int)
			go func() { ended <- c.run(ctx) }()
			for i := range 5 {
				c.add(&i)
			}
			time.Sleep(time.Second)
			stop()
			began := time.Now()
			if left := <-ended; left != 5 {
				t.Errorf("%d left, want 5", left)
			}
			if d := time.Since(began); d < drainFor || d > drainFor+2*retryMost {
				t.Errorf("ended after %s", d)
			}
		})
	})
}

// TestCommitterLends: what goes with somebody else's transaction is done with once that is
// committed; if it fails, all of it is where it was, and goes by itself.
func TestCommitterLends(t *testing.T) {
	t.Parallel()
	var applied, followed []string
	texts := func(batch []*string) (out []string) {
		for _, s := range batch {
			out = append(out, *s)
		}
		return out
	}
	c := newCommitter(2, func(_ context.Context, take func() []*string) []*string {
		applied = append(applied, texts(take())...)
		return nil
	})
	c.body = func(_ *txn, batch []*string) error {
		if slices.Contains(texts(batch), "bad") {
			return errBegin
		}
		return nil
	}
	c.follow = func(batch []*string) { followed = append(followed, texts(batch)...) }
	add := func(list ...string) {
		for _, s := range list {
			c.add(&s)
		}
	}
	if c.lend(rankResults) != nil {
		t.Error("lent nothing")
	}
	add("a", "b", "c")
	x := c.lend(rankResults)
	if c.lend(rankResults) != nil || !c.commit(t.Context(), false) || len(applied) > 0 {
		t.Error("lent and committed at once")
	}
	x.end(x.f(nil))
	if !slices.Equal(followed, []string{"a", "b"}) || c.length.Load() != 1 || c.waiting() == 0 {
		t.Errorf("%v followed, %d wait", followed, c.length.Load())
	}
	add("bad", "d")
	x = c.lend(rankResults)
	if err := x.f(nil); err == nil {
		t.Error("the bad one went")
	} else {
		x.end(err)
	}
	if c.lend(rankResults) != nil {
		t.Error("lent again what failed")
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if left := c.run(ctx); left != 0 || !slices.Equal(applied, []string{"c", "bad", "d"}) || len(followed) != 2 {
		t.Errorf("applied %v, followed %v, left %d", applied, followed, left)
	}
}

// TestCommitterLendsSome: what may not go with others waits for a transaction of its own, and
// what is behind it; a transaction that runs again has the same items.
func TestCommitterLendsSome(t *testing.T) {
	t.Parallel()
	var lent []string
	c := newCommitter(9, func(_ context.Context, take func() []*string) []*string { return take()[:0] })
	c.mayGo = func(s *string) bool { return *s != "alone" }
	c.body = func(_ *txn, batch []*string) error {
		for _, s := range batch {
			lent = append(lent, *s)
		}
		return nil
	}
	for _, s := range []string{"a", "alone", "b"} {
		c.add(&s)
	}
	x := c.lend(rankResults)
	if errors.Join(x.f(nil), x.f(nil)) != nil || !slices.Equal(lent, []string{"a", "a"}) {
		t.Errorf("lent %v", lent)
	}
	x.end(nil)
	if c.lend(rankResults) != nil || c.length.Load() != 2 {
		t.Errorf("lent what may not go; %d wait", c.length.Load())
	}
	if !c.commit(t.Context(), false) || c.length.Load() != 0 {
		t.Errorf("%d wait", c.length.Load())
	}
}
