package wechat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Why the pool is our own: a call that fails must know whether a byte of *its*
// request was written, on the connection it really used. Here a connection
// belongs to one call at a time and that call does the writing, so the answer is
// the difference of one counter. HTTP clients that choose, re-dial and replay
// behind an interface cannot say it.

// maxIdle is how long an unused connection is kept. A server that closes an idle
// connection just as a request arrives makes an unclear send out of nothing;
// servers wait longer than this before they do.
const maxIdle = 4 * time.Second

// pool keeps connections to one address, newest first, and limits how many are
// in use.
type pool struct {
	dialer  *dialer
	slots   chan struct{} // one element per call under way
	maxIdle time.Duration

	mu     sync.Mutex
	idle   []*conn // oldest first
	timer  *time.Timer
	armed  bool // timer will fire
	closed bool
}

func newPool(d *dialer, maxConns int) *pool {
	return &pool{dialer: d, slots: make(chan struct{}, maxConns), maxIdle: maxIdle}
}

// exchange writes req and reads the answer into resp, within timeout and ctx.
// wrote says whether any byte went out: an error without it is harmless. It is
// true for every nil error.
func (p *pool) exchange(ctx context.Context, timeout time.Duration, req []byte, resp *fasthttp.Response) (wrote bool, err error) {
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := p.acquire(ctx, deadline); err != nil {
		return false, err
	}
	defer p.release()
	cn, err := p.get(ctx, deadline)
	if err != nil {
		return false, err
	}
	before := cn.raw.written
	keep, err := cn.exchange(ctx, req, resp)
	wrote = cn.raw.written != before
	if keep {
		p.put(cn)
	} else {
		cn.close()
	}
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && contextError(ctx) == nil {
		err = fmt.Errorf("no answer within %v: %w", timeout, os.ErrDeadlineExceeded)
	}
	return wrote, err
}

func (p *pool) acquire(ctx context.Context, deadline time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		if err := contextError(ctx); err != nil {
			return err
		}
		return fmt.Errorf("all %d connections stayed busy: %w", cap(p.slots), os.ErrDeadlineExceeded)
	}
}

func (p *pool) release() { <-p.slots }

// get returns a connection with this deadline that nobody else uses and that looked alive a
// moment ago, or a new one.
func (p *pool) get(ctx context.Context, deadline time.Time) (*conn, error) {
	for {
		cn := p.pop()
		if cn == nil {
			cn, err := p.dialer.dial(ctx, deadline)
			if err != nil {
				return nil, err
			}
			if err := cn.raw.SetDeadline(deadline); err != nil {
				cn.close()
				return nil, err
			}
			return cn, nil
		}
		if cn.quiet(deadline) {
			return cn, nil
		}
		cn.close()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	cn := p.idle[n-1]
	if time.Since(cn.idleSince) >= p.maxIdle {
		p.closeIdle(n) // the rest are older still
		return nil
	}
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return cn
}

func (p *pool) put(cn *conn) {
	cn.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		cn.close()
		return
	}
	p.idle = append(p.idle, cn)
	if !p.armed {
		p.arm(p.maxIdle)
	}
}

// arm starts the timer that closes what a burst leaves behind.
func (p *pool) arm(d time.Duration) {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.prune)
		return
	}
	p.timer.Reset(d)
}

func (p *pool) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	stale := 0
	for stale < len(p.idle) && time.Since(p.idle[stale].idleSince) >= p.maxIdle {
		stale++
	}
	p.closeIdle(stale)
	p.armed = false
	if len(p.idle) > 0 {
		p.arm(p.maxIdle - time.Since(p.idle[0].idleSince))
	}
}

// closeIdle closes the n oldest idle connections.
func (p *pool) closeIdle(n int) {
	for _, cn := range p.idle[:n] {
		cn.close()
	}
	kept := copy(p.idle, p.idle[n:])
	clear(p.idle[kept:])
	p.idle = p.idle[:kept]
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.closeIdle(len(p.idle))
	if p.timer != nil {
		p.timer.Stop()
	}
}
