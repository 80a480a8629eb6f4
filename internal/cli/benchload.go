package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"
)

// closedLoop does n things: each worker its next one as soon as it has done the one before.
// It answers how long each took.
func closedLoop(ctx context.Context, n int, workers []func(ctx context.Context, i int) error) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for _, do := range workers {
		g.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				begin := time.Now()
				if err := do(ctx, i); err != nil {
					return err
				}
				took[i] = time.Since(begin)
			}
			return ctx.Err()
		})
	}
	return took, g.Wait()
}

// openLoop does n things at a fixed rate, however long each takes. Times count from when a
// thing was due, so that falling behind shows.
func openLoop(ctx context.Context, n int, rate float64, do func(ctx context.Context, i int, due time.Time) error) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	g, inner := errgroup.WithContext(ctx)
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		if inner.Err() != nil {
			break
		}
		g.Go(func() error {
			err := do(inner, i, due)
			took[i] = time.Since(due)
			return err
		})
	}
	return took, errors.Join(g.Wait(), ctx.Err())
}

// patiently tries again where nothing was accepted because the server was busy or the disk
// slow, as a caller does. What it waits is part of the caller's time.
func patiently(ctx context.Context, try func() (busy bool, err error)) error {
	for end := time.Now().Add(benchPatience); ; {
		busy, err := try()
		if !busy || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// poster is a plain net/http client that posts and keeps nothing.
type poster struct {
	client http.Client
	url    string
}

func newPoster(url string, connections int) *poster {
	return &poster{url: url, client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}}
}

// post reads the answer to its end, into to if it is given.
func (p *poster) post(ctx context.Context, body []byte, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if to == nil {
		to = io.Discard
	}
	if _, err := io.Copy(to, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// target is what the load generator posts to.
type target struct {
	url, key string
	status   int    // of an answer that is as it should be
	contains string // in its body
	// writer makes a poster's own writer of bodies.
	writer func() *benchWriter
}

// generate posts the users' messages from the given number of connections. It is as light
// as it can be, and the same for both sides: what it takes of the processor would only
// bring the sides closer together.
func (t *target) generate(ctx context.Context, users []uint32, batch, connections int) ([]time.Duration, error) {
	u, err := url.Parse(t.url)
	if err != nil {
		return nil, err
	}
	client := &fasthttp.HostClient{Addr: u.Host, MaxConns: connections, MaxIdemponentCallAttempts: 1, NoDefaultUserAgentHeader: true,
		RetryIfErr: func(*fasthttp.Request, int, error) (bool, bool) { return false, false }}
	defer client.CloseIdleConnections()
	workers := make([]func(context.Context, int) error, connections)
	for k := range workers {
		w := t.writer()
		req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(req)
		defer fasthttp.ReleaseResponse(resp)
		req.SetRequestURI(t.url)
		req.Header.SetMethod(fasthttp.MethodPost)
		req.Header.SetContentType("application/json")
		if t.key != "" {
			req.Header.Set("Authorization", "Bearer "+t.key)
		}
		workers[k] = func(ctx context.Context, i int) error {
			part := users[i*batch : min((i+1)*batch, len(users))]
			req.SetBodyRaw(w.body(part, time.Now()))
			return patiently(ctx, func() (busy bool, err error) {
				if err := client.Do(req, resp); err != nil {
					return false, fmt.Errorf("post to %s: %w", u.Path, err)
				}
				if b, code := resp.Body(), resp.StatusCode(); code != t.status || !bytes.Contains(b, []byte(t.contains)) {
					busy = code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests
					return busy, fmt.Errorf("post to %s: status %d: %.300s", u.Path, code, b)
				}
				return false, nil
			})
		}
	}
	return closedLoop(ctx, (len(users)+batch-1)/batch, workers)
}
