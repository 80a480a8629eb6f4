package client

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/hongyan-push/hongyan"
)

const (
	// defaultRetries are enough for a server that restarts and for a proxy that changes over.
	defaultRetries = 3
	firstPause     = 200 * time.Millisecond
	// maxPause is the longest that a server can make a call wait by itself. Of a longer one the
	// caller hears: it knows better what to do with a minute.
	maxPause = 15 * time.Second
)

// do performs a call and decodes its answer into out, unless out is nil. What may be repeated
// is repeated: see [Config.Retries].
func (c *Client) do(ctx context.Context, q call, out any) error {
	if q.creates && q.opt.IdempotencyKey == "" && c.cfg.Retries > 0 {
		q.opt.IdempotencyKey = crand.Text()
	}
	repeatable := q.method == http.MethodGet || q.opt.IdempotencyKey != ""
	for n := 0; ; n++ {
		err := c.once(ctx, q, out)
		if err == nil || !repeatable || n >= c.cfg.Retries || !mayPass(err) {
			return err
		}
		if d := pauseOf(n, err); !worthWaiting(ctx, d) || sleep(ctx, d) != nil {
			return err
		}
	}
}

// mayPass reports whether the same call may come to something else in a moment.
func mayPass(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var p *Problem
	if errors.As(err, &p) {
		switch p.Err.Code {
		case hongyan.CodeStorageUnavailable, hongyan.CodeShuttingDown, hongyan.CodeRateLimited, hongyan.CodeBacklogFull,
			hongyan.CodeIdempotencyBusy: // the try before, whose answer was lost, is still at work
			return true
		}
		return false
	}
	var f *foreign
	if errors.As(err, &f) {
		switch f.status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var t *transport
	return errors.As(err, &t)
}

// pauseOf is how long to wait after the n-th failure: what the server asks for, else twice as
// long each time, spread so that callers who failed together do not come back together.
func pauseOf(n int, err error) time.Duration {
	d := firstPause << n
	d = d/2 + rand.N(d)
	var e *hongyan.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		return max(d, e.RetryAfter)
	}
	var f *foreign
	if errors.As(err, &f) {
		return max(d, f.retryAfter)
	}
	return d
}

// worthWaiting reports whether a pause is neither longer than a call waits by itself nor than
// the caller has.
func worthWaiting(ctx context.Context, d time.Duration) bool {
	end, ends := ctx.Deadline()
	return d <= maxPause && (!ends || time.Until(end) > d)
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// transport is a call that came to no answer.
type transport struct {
	doing string
	err   error
}

func (t *transport) Error() string { return t.doing + ": " + t.err.Error() }
func (t *transport) Unwrap() error { return t.err }

// foreign is an answer of something that is not a Hongyan server.
type foreign struct {
	status     int
	text       string
	retryAfter time.Duration
}

func (f *foreign) Error() string {
	return fmt.Sprintf("status %s from something that is not a Hongyan server, or stands in front of it", f.text)
}
