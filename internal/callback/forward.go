package callback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// WeChat knows one URL an app. A team that had a handler there before gives its address as
// forward_to: it gets every push as it came, and answers those that it must.

const (
	// maxForwards are passed on beside answers at once.
	maxForwards = 256
	// maxForwardAnswer is the largest answer of an old handler that is given to WeChat.
	maxForwardAnswer = 1 << 20
	// forwardAgain is how long after a failure a push is passed on again, if WeChat has its answer.
	forwardAgain = time.Second
)

// forward is a verified push as it came, on its way to the app's old handler.
type forward struct {
	app   hongyan.AppID
	event string

	to, query          string
	contentType, agent string
	client             string
	body               []byte
}

// later has the pushes that were answered already and are still to be passed on. Who has a
// place may put one there without waiting.
type later struct {
	places chan struct{}
	queue  chan *forward
}

func newLater() later {
	return later{places: make(chan struct{}, maxForwards), queue: make(chan *forward, maxForwards)}
}

// Run passes on what was answered already, until ctx ends and the last one is through. End
// it after the last request was answered.
func (rc *Receiver) Run(ctx context.Context) error {
	var under sync.WaitGroup
	defer under.Wait()
	begin := func(f *forward) {
		under.Go(func() {
			defer func() { <-rc.later.places }()
			rc.passBeside(ctx, f)
		})
	}
	for {
		select {
		case f := <-rc.later.queue:
			begin(f)
			continue
		case <-ctx.Done():
		}
		select {
		case f := <-rc.later.queue:
			begin(f)
		default:
			return nil
		}
	}
}

// passBeside asks the old handler until it answers, three times at most: WeChat would have come
// as often. A stop ends the waits, not a call.
func (rc *Receiver) passBeside(ctx context.Context, f *forward) {
	keep := context.WithoutCancel(ctx)
	for _, wait := range []time.Duration{forwardAgain, 5 * forwardAgain, 0} {
		call, cancel := context.WithTimeout(keep, answerTime)
		_, ok := rc.pass(call, f)
		cancel()
		if ok || wait == 0 {
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// passLater leaves a push to Run, or drops it: it is stored here, and an old handler that
// stands still must not fill the memory.
func (rc *Receiver) passLater(ctx context.Context, f *forward) {
	select {
	case rc.later.places <- struct{}{}:
		rc.later.queue <- f
	default:
		rc.failed(ctx, f, "dropped", fmt.Errorf("%d others are under way", maxForwards))
	}
}

// pass asks the old handler. Its answer is WeChat's; without one (not ok) WeChat is to try again.
func (rc *Receiver) pass(ctx context.Context, f *forward) (_ reply, ok bool) {
	answer, err := f.ask(ctx, rc.cfg.Forward)
	switch {
	case err == nil:
		rc.forward.WithLabelValues("ok").Inc()
		return answer, true
	case errors.Is(err, context.DeadlineExceeded):
		rc.failed(ctx, f, "timeout", err)
		return text(http.StatusGatewayTimeout, "stored here, but forward_to did not answer in time\n"), false
	}
	rc.failed(ctx, f, "failed", err)
	return text(http.StatusBadGateway, "stored here, but forward_to did not answer\n"), false
}

func (rc *Receiver) failed(ctx context.Context, f *forward, result string, err error) {
	rc.forward.WithLabelValues(result).Inc()
	if rc.told.may(f.app, rc.cfg.Now()) {
		rc.log.WarnContext(ctx, "callback not forwarded", "appid", string(f.app), "event", f.event, "result", result, "err", err)
	}
}

// ask makes the call. Its errors do not show the URL, whose query has signatures.
func (f *forward) ask(ctx context.Context, client *http.Client) (reply, error) {
	at := f.to
	if f.query != "" {
		mark := "?"
		if strings.Contains(at, "?") {
			mark = "&"
		}
		at += mark + f.query
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(f.body))
	if err != nil {
		return reply{}, errors.New("forward_to cannot be asked")
	}
	if f.contentType != "" {
		req.Header.Set("Content-Type", f.contentType)
	}
	req.Header.Set("User-Agent", f.agent) // none stays none
	req.Header.Set("X-Forwarded-For", f.client)
	res, err := client.Do(req)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return reply{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return reply{}, fmt.Errorf("it answered with status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxForwardAnswer+1))
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("read its answer: %w", err)
	case len(body) > maxForwardAnswer:
		return reply{}, errors.New("its answer is larger than 1 MiB")
	}
	answer := text(http.StatusOK, string(body))
	if given := res.Header.Get("Content-Type"); given != "" {
		answer.contentType = given
	}
	return answer, nil
}
