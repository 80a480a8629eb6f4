package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
	"github.com/hongyan-push/hongyan/internal/outbound"
)

// hooked is a ledger with a running webhook lane.
type hooked struct {
	*ledgertest.Env
	t    *testing.T
	lane *Webhooks
	stop func()
}

func newHooked(t *testing.T, allow ...netip.Prefix) *hooked {
	t.Helper()
	e := ledgertest.Open(t, ledgertest.SQLite(t), hongyan.AppSettings{})
	h := &hooked{Env: e, t: t}
	c := outbound.New(outbound.Config{Allow: allow})
	t.Cleanup(c.CloseIdleConnections)
	lane, err := NewWebhooks(WebhooksConfig{Ledger: e.Ledger, Client: c, UserAgent: "hongyan/test"})
	if err != nil {
		t.Fatal(err)
	}
	h.lane = lane
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lane.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

var thisMachine = netip.MustParsePrefix("127.0.0.0/8")

func (h *hooked) hook(url string) hongyan.Webhook {
	h.t.Helper()
	w, err := h.CreateWebhook(h.t.Context(), hongyan.Webhook{URL: url, Events: []hongyan.EventPattern{"*"}}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

func (h *hooked) happen(n int) {
	h.t.Helper()
	for i := range n {
		if err := h.Announce(h.t.Context(), hongyan.EventUserErased, ledgertest.App, map[string]int{"n": i}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// until waits until the webhook's newest delivery is as ok says.
func (h *hooked) until(w hongyan.Webhook, what string, ok func(hongyan.Delivery) bool) hongyan.Delivery {
	h.t.Helper()
	var last []hongyan.Delivery
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		if last, _, err = h.Deliveries(h.t.Context(), w.ID, ledger.DeliveryFilter{Limit: 1}); err != nil {
			h.t.Fatal(err)
		}
		if len(last) == 1 && ok(last[0]) {
			return last[0]
		}
	}
	h.t.Fatalf("never %s: %+v", what, last)
	return hongyan.Delivery{}
}

func delivered(d hongyan.Delivery) bool { return d.Status == hongyan.DeliveryDelivered }

// tried: a try is on disk, and what it came to.
func tried(n, status int) func(hongyan.Delivery) bool {
	return func(d hongyan.Delivery) bool { return d.Attempts == n && d.Error != "" && d.HTTPStatus == status }
}

// receiver keeps what is posted to it and answers as told, 204 once it is told no more.
type receiver struct {
	*httptest.Server
	posts   chan post
	answers chan http.HandlerFunc
}

type post struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{posts: make(chan post, 100), answers: make(chan http.HandlerFunc, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.posts <- post{req.Header, body}
		select {
		case f := <-r.answers:
			f(w, req)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
	}
}

// verified checks a post with the official library and our own client.
func verified(t *testing.T, p post, secret string) hongyan.Event {
	t.Helper()
	official, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := official.Verify(p.body, p.header); err != nil {
		t.Errorf("the official library refuses it: %v", err)
	}
	e, err := client.VerifyWebhook(secret, p.header, p.body, time.Now())
	if err != nil {
		t.Errorf("the client refuses it: %v", err)
	}
	changed := append([]byte(" "), p.body...)
	if _, err := client.VerifyWebhook(secret, p.header, changed, time.Now()); hongyan.CodeOf(err) != hongyan.CodeUnauthorized {
		t.Errorf("a changed body passes: %v", err)
	}
	if _, err := client.VerifyWebhook(secret, p.header, p.body, time.Now().Add(time.Hour)); hongyan.CodeOf(err) != hongyan.CodeUnauthorized {
		t.Errorf("an old delivery passes: %v", err)
	}
	return e
}

func TestWebhookDelivered(t *testing.T) {
	t.Parallel()
	h, r := newHooked(t, thisMachine), newReceiver(t)
	w := h.hook(r.URL)
	h.happen(1)
	d := h.until(w, "delivered", delivered)
	p := <-r.posts
	e := verified(t, p, w.Secret)
	if e.ID != d.Event || e.Type != hongyan.EventUserErased || e.App != ledgertest.App || string(e.Data) != `{"n":0}` || !e.At.Equal(ledgertest.Start) {
		t.Errorf("event: %+v", e)
	}
	var raw map[string]any
	if err := json.Unmarshal(p.body, &raw); err != nil || raw["timestamp"] != "2026-11-22T08:00:00Z" || len(raw) != 5 {
		t.Errorf("body: %s", p.body)
	}
	if p.header.Get("User-Agent") != "hongyan/test" || p.header.Get("webhook-id") != string(d.Event) || p.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers: %v", p.header)
	}
	rotated, err := h.RotateWebhookSecret(t.Context(), w.ID)
	if err != nil {
		t.Fatal(err)
	}
	h.happen(1)
	p = <-r.posts
	verified(t, p, w.Secret)
	verified(t, p, rotated.Secret)
	if other, _ := standardwebhooks.NewWebhook("whsec_" + strings.Repeat("A", 44)); other.Verify(p.body, p.header) == nil {
		t.Error("another secret passes")
	}
}

func TestWebhookRetries(t *testing.T) {
	t.Parallel()
	h, r := newHooked(t, thisMachine), newReceiver(t)
	w := h.hook(r.URL)
	r.answers <- status(500)
	r.answers <- status(503, "Retry-After", "600")
	r.answers <- status(302, "Location", r.URL+"/elsewhere")
	h.happen(1)
	within := func(d hongyan.Delivery, least, most time.Duration) {
		t.Helper()
		if wait := d.NextAt.Sub(h.Clock.Now()); wait < least || wait > most {
			t.Errorf("try %d: again in %v, want %v to %v", d.Attempts, wait, least, most)
		}
	}
	d := h.until(w, "tried", tried(1, 500))
	within(d, 4*time.Second, 6*time.Second)
	if d.HTTPStatus != 500 || len(d.Response) != hongyan.MaxWebhookResponse {
		t.Errorf("answer: %d, %d bytes", d.HTTPStatus, len(d.Response))
	}
	h.Clock.Advance(6 * time.Second)
	within(h.until(w, "tried again", tried(2, 503)), 10*time.Minute, 10*time.Minute)
	h.Clock.Advance(10 * time.Minute)
	if d = h.until(w, "tried a third time", tried(3, 302)); !strings.Contains(d.Error, "redirects") {
		t.Errorf("error: %q", d.Error)
	}
	h.Clock.Advance(6 * time.Minute)
	h.until(w, "delivered", delivered)
	ids := make(map[string]bool)
	for range 4 {
		ids[(<-r.posts).header.Get("webhook-id")] = true
	}
	if len(ids) != 1 || len(r.posts) != 0 {
		t.Errorf("%d ids, %d further posts", len(ids), len(r.posts))
	}
	var all time.Duration
	j := &ledger.DeliveryJob{}
	for j.Attempt = 1; ; j.Attempt++ {
		res := failedTry(j, 0, "x", "")
		if res.RetryIn == 0 {
			break
		}
		all += res.RetryIn
	}
	if j.Attempt != 8 || all < 16*time.Hour || all > 25*time.Hour {
		t.Errorf("%d tries over %v", j.Attempt, all)
	}
}

func TestWebhookGone(t *testing.T) {
	t.Parallel()
	h, r := newHooked(t, thisMachine), newReceiver(t)
	w := h.hook(r.URL)
	r.answers <- status(410)
	h.happen(1)
	h.until(w, "failed", func(d hongyan.Delivery) bool { return d.Status == hongyan.DeliveryFailed })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, err := h.Webhook(t.Context(), w.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.DisabledReason == hongyan.DisabledGone {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not disabled: %+v", got)
		}
	}
}

func TestWebhookNotPublic(t *testing.T) {
	t.Parallel()
	h, r := newHooked(t), newReceiver(t)
	w := h.hook(r.URL)
	h.happen(1)
	if d := h.until(w, "tried", tried(1, 0)); !strings.Contains(d.Error, "outbound-allow") || d.HTTPStatus != 0 || strings.Contains(d.Error, "http://") {
		t.Errorf("error: %q", d.Error)
	}
	if len(r.posts) != 0 {
		t.Error("it was called")
	}
}

// TestWebhookSlow: one that does not answer has its places, and the others theirs.
func TestWebhookSlow(t *testing.T) {
	t.Parallel()
	h, slow, quick := newHooked(t, thisMachine), newReceiver(t), newReceiver(t)
	release := make(chan struct{})
	for range 3 * webhookPlaces {
		slow.answers <- func(w http.ResponseWriter, _ *http.Request) { <-release }
	}
	ws, wq := h.hook(slow.URL), h.hook(quick.URL)
	h.happen(3 * webhookPlaces)
	for range 3 * webhookPlaces {
		<-quick.posts
	}
	h.until(wq, "delivered", delivered)
	if n := len(slow.posts); n > webhookPlaces {
		t.Errorf("%d posts at once to one webhook, want %d at most", n, webhookPlaces)
	}
	close(release)
	h.until(ws, "delivered", delivered)
}

// TestWebhookStop: what is under way at the stop and takes too long is made again.
func TestWebhookStop(t *testing.T) {
	t.Parallel()
	h, r := newHooked(t, thisMachine), newReceiver(t)
	release := make(chan struct{})
	defer close(release)
	r.answers <- func(http.ResponseWriter, *http.Request) { <-release }
	w := h.hook(r.URL)
	h.happen(1)
	<-r.posts
	begun := time.Now()
	h.stop()
	if took := time.Since(begun); took > webhookStop+5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	d := h.until(w, "given back", func(d hongyan.Delivery) bool { return d.Attempts == 0 })
	if d.Status != hongyan.DeliveryPending || d.NextAt.After(h.Clock.Now()) {
		t.Errorf("delivery: %+v", d)
	}
}

// TestVerifyOfficial: the client takes what the official library signs.
func TestVerifyOfficial(t *testing.T) {
	t.Parallel()
	secret := hongyan.NewWebhookKey([]byte("0123456789abcdef0123456789abcdef")).Reveal()
	official, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	body := []byte(`{"id":"evt_1","type":"message.failed","timestamp":"2026-11-22T08:00:00Z","data":{}}`)
	s, err := official.Sign("evt_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("webhook-id", "evt_1")
	h.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
	h.Set("webhook-signature", "v1,AAAA "+s)
	if e, err := client.VerifyWebhook(secret, h, body, now); err != nil || e.Type != hongyan.EventMessageFailed {
		t.Errorf("%+v, %v", e, err)
	}
	for name, change := range map[string]func(http.Header){
		"no id":        func(h http.Header) { h.Del("webhook-id") },
		"no time":      func(h http.Header) { h.Del("webhook-timestamp") },
		"another time": func(h http.Header) { h.Set("webhook-timestamp", fmt.Sprint(now.Unix()+1)) },
		"no signature": func(h http.Header) { h.Del("webhook-signature") },
		"another":      func(h http.Header) { h.Set("webhook-signature", "v1,AAAA") },
	} {
		other := h.Clone()
		change(other)
		if _, err := client.VerifyWebhook(secret, other, body, now); hongyan.CodeOf(err) != hongyan.CodeUnauthorized {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client.VerifyWebhook("whsec_", h, body, now); err == nil {
		t.Error("an empty secret passes")
	}
}
