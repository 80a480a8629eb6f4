package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// WebhooksConfig is what the webhook lane needs.
type WebhooksConfig struct {
	Ledger *ledger.Ledger
	// Client posts; it must keep away from addresses that integrators may not name.
	Client    *http.Client
	UserAgent string
	// Now is this machine's clock, which receivers compare signatures with. Default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Webhooks is the lane to integrators: it posts events to their webhooks. It promises that a
// delivery is made until the webhook answers 2xx or all tries are used up, perhaps more than
// once; that a slow webhook holds up no other; and no order.
type Webhooks struct {
	cfg   WebhooksConfig
	log   *slog.Logger
	freed chan struct{} // a place has become free

	mu   sync.Mutex
	busy map[int64]int // by webhook: deliveries that are made or not on disk yet
	wg   sync.WaitGroup

	tries *prometheus.CounterVec
}

const (
	// webhookPlaces is how many deliveries of one webhook are made at once.
	webhookPlaces = 16
	webhookTime   = 15 * time.Second
	// webhookStop is how long deliveries under way may take once the lane is to stop; then
	// they are made again later.
	webhookStop   = 3 * time.Second
	maxRetryAfter = 6 * time.Hour
)

// webhookRetries are the waits between tries. After the last the delivery has failed.
var webhookRetries = []time.Duration{5 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour}

// NewWebhooks makes the lane.
func NewWebhooks(cfg WebhooksConfig) (*Webhooks, error) {
	if cfg.Ledger == nil || cfg.Client == nil {
		return nil, errors.New("dispatch: webhooks need a ledger and a client")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Webhooks{cfg: cfg, log: cfg.Logger, freed: make(chan struct{}, 1), busy: make(map[int64]int),
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hongyan_webhook_tries_total", Help: "Posts to webhooks by what they came to: delivered, failed."}, []string{"outcome"})}, nil
}

// Collectors are the lane's metrics.
func (w *Webhooks) Collectors() []prometheus.Collector { return []prometheus.Collector{w.tries} }

// Run makes deliveries until ctx ends; then it waits for those under way, gives back what
// takes too long, and returns. The ledger must run on until after.
func (w *Webhooks) Run(ctx context.Context) error {
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		news := w.cfg.Ledger.News() // before the look, so that nothing comes unnoticed in between
		wait, err := w.RunOnce(ctx, calls)
		if err != nil && ctx.Err() == nil {
			w.log.ErrorContext(ctx, "claim of deliveries failed, trying again", "err", err)
			wait, news = time.Second, nil
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			late := time.AfterFunc(webhookStop, cut)
			defer late.Stop()
			w.wg.Wait()
			return nil
		case <-news:
		case <-w.freed:
		case <-timer.C:
		}
	}
}

// RunOnce claims what is due for webhooks with free places, begins to make it, and answers
// how long the loop may wait before it looks again. calls ends the deliveries themselves.
func (w *Webhooks) RunOnce(ctx, calls context.Context) (time.Duration, error) {
	wait := w.cfg.Ledger.PollMost()
	due, next, err := w.cfg.Ledger.DueDeliveries(ctx)
	if err != nil {
		return 0, err
	}
	if !next.IsZero() {
		wait = min(wait, max(next.Sub(w.cfg.Ledger.Now()), time.Millisecond))
	}
	want := make(map[int64]int)
	w.mu.Lock()
	for _, no := range due {
		if n := webhookPlaces - w.busy[no]; n > 0 {
			want[no] = n
		}
	}
	w.mu.Unlock()
	if len(want) == 0 {
		return wait, nil
	}
	jobs, err := w.cfg.Ledger.ClaimDeliveries(ctx, want)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range jobs {
		w.busy[j.Webhook()]++
		w.wg.Go(func() { w.deliver(calls, j) }) // waited for in Run
	}
	return wait, nil
}

func (w *Webhooks) deliver(ctx context.Context, j *ledger.DeliveryJob) {
	r := w.try(ctx, j)
	switch {
	case r.Untried:
	case r.Error == "":
		w.tries.WithLabelValues("delivered").Inc()
	default:
		w.tries.WithLabelValues("failed").Inc()
		w.log.DebugContext(ctx, "delivery failed", "event_id", string(j.Event.ID), "attempt", j.Attempt, "err", r.Error)
	}
	w.cfg.Ledger.RecordDelivery(j, r, func() {
		w.mu.Lock()
		if w.busy[j.Webhook()]--; w.busy[j.Webhook()] == 0 {
			delete(w.busy, j.Webhook())
		}
		w.mu.Unlock()
		select {
		case w.freed <- struct{}{}:
		default:
		}
	})
}

// try posts the event once.
func (w *Webhooks) try(ctx context.Context, j *ledger.DeliveryJob) ledger.DeliveryResult {
	call, cancel := context.WithTimeout(ctx, webhookTime)
	defer cancel()
	req, err := w.request(call, j)
	if err != nil {
		return failedTry(j, 0, err.Error(), "")
	}
	resp, err := w.cfg.Client.Do(req)
	if err != nil {
		return w.unanswered(ctx, j, err)
	}
	defer resp.Body.Close()
	// A connection is not worth reading on for: what a receiver says is for people.
	body, err := io.ReadAll(io.LimitReader(resp.Body, hongyan.MaxWebhookResponse))
	if err != nil {
		return w.unanswered(ctx, j, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return ledger.DeliveryResult{Status: resp.StatusCode, Response: string(body)}
	}
	text := fmt.Sprintf("answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		text += "; redirects are not followed"
	}
	r := failedTry(j, resp.StatusCode, text, string(body))
	switch resp.StatusCode {
	case http.StatusGone:
		r.Gone, r.RetryIn = true, 0
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if r.RetryIn > 0 {
			r.RetryIn = max(r.RetryIn, min(w.retryAfter(resp.Header.Get("Retry-After")), maxRetryAfter))
		}
	}
	return r
}

// request is the delivery as Standard Webhooks has it.
func (w *Webhooks) request(ctx context.Context, j *ledger.DeliveryJob) (*http.Request, error) {
	body, err := json.Marshal(j.Event)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.URL, bytes.NewReader(body))
	if err != nil {
		return nil, withoutURL(err)
	}
	posted := w.cfg.Now()
	var signatures []string
	for _, secret := range j.Secrets {
		s, err := secret.Sign(j.Event.ID, posted, body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, s)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", w.cfg.UserAgent)
	req.Header.Set("Webhook-Id", string(j.Event.ID))
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(posted.Unix(), 10))
	req.Header.Set("Webhook-Signature", strings.Join(signatures, " "))
	return req, nil
}

// unanswered is a try without a whole answer. One that the stop has cut off is made again.
func (w *Webhooks) unanswered(ctx context.Context, j *ledger.DeliveryJob, err error) ledger.DeliveryResult {
	switch {
	case ctx.Err() != nil:
		return ledger.DeliveryResult{Untried: true}
	case errors.Is(err, context.DeadlineExceeded):
		return failedTry(j, 0, "no answer within "+webhookTime.String(), "")
	}
	return failedTry(j, 0, withoutURL(err).Error(), "")
}

func failedTry(j *ledger.DeliveryJob, status int, text, response string) ledger.DeliveryResult {
	r := ledger.DeliveryResult{Status: status, Error: text, Response: response}
	if j.Attempt <= len(webhookRetries) {
		wait := webhookRetries[j.Attempt-1]
		r.RetryIn = wait - wait/5 + time.Duration(jitter()*float64(2*wait/5)) // ± 20 %
	}
	return r
}

// retryAfter reads the header's two forms; 0 for neither.
func (w *Webhooks) retryAfter(v string) time.Duration {
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return time.Duration(min(s, int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(w.cfg.Now()), 0)
	}
	return 0
}

// withoutURL takes the URL out of a transport's error: a query may hold a secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
