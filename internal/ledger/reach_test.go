package ledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
)

// TestReachTakesLong: a count that takes longer than its callers wait is shared by all of
// them, tells what it has, and serves for a while once it has ended.
func TestReachTakesLong(t *testing.T) {
	t.Parallel()
	l := planLedger(t)
	l.reaches.wait = time.Millisecond
	_, te, err := l.template("a", "t")
	if err != nil {
		t.Fatal(err)
	}
	no := te.no
	ask := func(want int64, atLeast bool) {
		t.Helper()
		r, err := l.Reach(context.Background(), "a", "t")
		if err != nil {
			t.Fatal(err)
		}
		if r.UsersKnown != want || r.AtLeast != atLeast || r.App != "a" || r.TemplateID != "t" || r.Kind != hongyan.KindOneTime || r.CountedAt.IsZero() {
			t.Errorf("got %+v, want %d users known, at least: %v", r, want, atLeast)
		}
	}
	// begin puts a count of ours in place, as if a caller had asked for it.
	begin := func() (end func(n int64, err error)) {
		goOn := make(chan error)
		out := hongyan.Reach{App: "a", TemplateID: "t", Kind: hongyan.KindOneTime, CountedAt: l.Now()}
		mine := false
		c := l.reaches.join(no, func(_ context.Context, c *reachCount) error {
			mine = true
			out.UsersKnown = 3
			l.reaches.show(c, out)
			goOn <- nil
			err := <-goOn
			l.reaches.show(c, out)
			return err
		})
		<-goOn
		return func(n int64, err error) {
			out.UsersKnown = n
			goOn <- err
			<-c.done
			if !mine {
				t.Error("another count served")
			}
		}
	}
	later := func() { // than a count is kept
		l.reaches.mu.Lock()
		defer l.reaches.mu.Unlock()
		c := l.reaches.m[no]
		c.began, c.ended = c.began.Add(-2*reachKept), c.ended.Add(-2*reachKept)
	}

	end := begin()
	ask(3, true)
	ask(3, true)
	time.Sleep(2 * l.reaches.wait)
	end(7, nil)
	ask(7, false) // kept
	later()
	end = begin()
	ask(7, false) // the one before
	end(0, errors.New("the database has gone"))
	end = begin() // at once: that one does not serve
	ask(7, false)
	end(8, nil)
	later()
	l.reaches.wait = time.Minute
	ask(1, false) // what is there: one user
	r, err := l.Reach(context.Background(), "a", "t")
	if err != nil || r.UsersKnown != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestReachEnds: a count under way ends with the ledger.
func TestReachEnds(t *testing.T) {
	t.Parallel()
	var r reachCounts
	r.init()
	c := r.join(1, func(ctx context.Context, _ *reachCount) error {
		<-ctx.Done()
		return ctx.Err()
	})
	r.close()
	if <-c.done; !errors.Is(c.err, context.Canceled) {
		t.Errorf("it ended with %v", c.err)
	}
}
