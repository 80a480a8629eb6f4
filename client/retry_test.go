package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// weather is a proxy before a real server on which calls have accidents, one after the other.
type weather struct {
	*httptest.Server
	mu        sync.Mutex
	accidents []func(w http.ResponseWriter, pass func(http.ResponseWriter))
	methods   []string
	keys      []string
}

func newWeather(t *testing.T, to string) *weather {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	w := &weather{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.methods, w.keys = append(w.methods, r.Method), append(w.keys, r.Header.Get("Idempotency-Key"))
		pass := func(rw http.ResponseWriter) { proxy.ServeHTTP(rw, r) }
		next := func(rw http.ResponseWriter, pass func(http.ResponseWriter)) { pass(rw) }
		if len(w.accidents) > 0 {
			next, w.accidents = w.accidents[0], w.accidents[1:]
		}
		w.mu.Unlock()
		next(rw, pass)
	}))
	t.Cleanup(w.Close)
	return w
}

// next clears what was seen and sets what happens next.
func (w *weather) next(accidents ...func(http.ResponseWriter, func(http.ResponseWriter))) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accidents, w.methods, w.keys = accidents, nil, nil
}

func (w *weather) seen() (calls int, keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys = slices.Clone(w.keys)
	slices.Sort(keys)
	return len(w.methods), slices.Compact(keys)
}

// lostAnswer lets the server do its work and ends the connection before the answer.
func lostAnswer(_ http.ResponseWriter, pass func(http.ResponseWriter)) {
	pass(httptest.NewRecorder())
	panic(http.ErrAbortHandler)
}

// answering is what a proxy or a server that stops says.
func answering(status int, retryAfter string) func(http.ResponseWriter, func(http.ResponseWriter)) {
	return func(w http.ResponseWriter, _ func(http.ResponseWriter)) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	front := newWeather(t, w.url)
	c := w.client(t, client.Config{BaseURL: front.URL, HTTPClient: front.Client()})
	ctx := t.Context()

	// A message whose answers are lost three times is there once, and on the phone once.
	front.next(lostAnswer, lostAnswer, lostAnswer)
	m, err := c.SubmitAndWait(ctx, w.submission(w.openids[0]), client.Options{})
	if err != nil || m.Status != hongyan.StateAccepted {
		t.Fatalf("got %+v %v", m, err)
	}
	if calls, keys := front.seen(); calls != 4 || len(keys) != 1 || len(keys[0]) < 20 {
		t.Errorf("%d calls with the keys %v, want 4 with one", calls, keys)
	}
	all, err := client.Collect(c.Messages(ctx, client.MessageFilter{App: w.app}), 0)
	if err != nil || len(all) != 1 || w.cards(t) != 1 {
		t.Errorf("got %d messages and %d cards, %v", len(all), w.cards(t), err)
	}

	front.next(answering(502, ""), answering(503, "1"), answering(429, ""))
	began := time.Now()
	if m, err = c.Message(ctx, m.ID); err != nil {
		t.Errorf("a read: %v", err)
	}
	if time.Since(began) < time.Second {
		t.Error("Retry-After was not waited for")
	}

	// The fourth failure is told; so is every one that says no.
	front.next(answering(502, ""), answering(502, ""), answering(502, ""), answering(502, ""))
	if _, err := c.App(ctx, w.app); err == nil || hongyan.CodeOf(err) != hongyan.CodeInternal {
		t.Errorf("got %v", err)
	}
	if calls, _ := front.seen(); calls != 4 {
		t.Errorf("%d calls, want 4", calls)
	}
	front.next()
	if _, err := c.Message(ctx, "msg_x"); err == nil {
		t.Error("an id that is none")
	}
	if calls, _ := front.seen(); calls != 1 {
		t.Errorf("%d calls for a refusal, want 1", calls)
	}
	// Nor is repeated what has no key.
	front.next(lostAnswer)
	if _, err := c.Cancel(ctx, m.ID); err == nil || hongyan.CodeOf(err) != hongyan.CodeInternal {
		t.Errorf("got %v", err)
	}
	if calls, keys := front.seen(); calls != 1 || keys[0] != "" {
		t.Errorf("%d calls with %v, want one without a key", calls, keys)
	}
	// The caller's own key is the one that is used, and a client may be told not to repeat.
	front.next(lostAnswer)
	if _, err := c.Submit(ctx, w.submission(w.openids[0]), client.Options{IdempotencyKey: "order-17"}); err != nil {
		t.Error(err)
	}
	if calls, keys := front.seen(); calls != 2 || !slices.Equal(keys, []string{"order-17"}) {
		t.Errorf("%d calls with %v", calls, keys)
	}
	once := w.client(t, client.Config{BaseURL: front.URL, HTTPClient: front.Client(), Retries: -1})
	front.next(answering(502, ""))
	if _, err := once.Submit(ctx, w.submission(w.openids[0]), client.Options{}); err == nil {
		t.Error("no error")
	}
	if calls, keys := front.seen(); calls != 1 || keys[0] != "" {
		t.Errorf("%d calls with %v", calls, keys)
	}
}

// Nobody waits longer than they have.
func TestRetriesEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	front := newWeather(t, w.url)
	c := w.client(t, client.Config{BaseURL: front.URL, HTTPClient: front.Client()})
	for _, wait := range []string{"3600", "10"} { // more than a call waits by itself; more than ctx has
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		front.next(answering(503, wait))
		began := time.Now()
		if _, err := c.Apps(ctx); err == nil || time.Since(began) > 4*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	front.next(func(w http.ResponseWriter, _ func(http.ResponseWriter)) {
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(503)
		cancel()
	})
	if _, err := c.Apps(ctx); err == nil {
		t.Error("no error")
	}
	if calls, _ := front.seen(); calls != 1 {
		t.Errorf("%d calls after the cancel", calls)
	}
}

func TestSubmitAndWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(t, client.Config{})
	ctx := t.Context()
	// A user of whom nothing is known is tried; WeChat refuses.
	m, err := c.SubmitAndWait(ctx, w.submission(w.openids[1]), client.Options{})
	var e *hongyan.Error
	if !errors.Is(err, hongyan.CodeNotSubscribed) || !errors.As(err, &e) || e.WeChat == nil || e.WeChat.Errcode != 43101 || m.Status != hongyan.StateFailed {
		t.Errorf("got %+v %v", m, err)
	}
	held := w.submission(w.openids[1])
	held.OnNoGrant = hongyan.OnNoGrantHold
	if m, err := c.SubmitAndWait(ctx, held, client.Options{}); err != nil || m.Status != hongyan.StateHeld {
		t.Errorf("got %+v %v", m, err)
	}
	dry := w.submission(w.openids[0])
	dry.DryRun = true
	if m, err := c.SubmitAndWait(ctx, dry, client.Options{}); err != nil || !m.DryRun {
		t.Errorf("got %+v %v", m, err)
	}
	// Not before its time: the message comes with the context's error.
	later := w.submission(w.openids[0])
	later.SendAt = w.box.Now().Add(time.Hour)
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m, err = c.SubmitAndWait(short, later, client.Options{})
	if !errors.Is(err, context.DeadlineExceeded) || m == nil || m.Status != hongyan.StateScheduled {
		t.Fatalf("got %+v %v", m, err)
	}
	if m, err = c.Cancel(ctx, m.ID); err != nil || !errors.Is(m.Err(), hongyan.CodeCanceled) {
		t.Errorf("got %+v %v", m, err)
	}
}

// Follow goes on behind the last event when the connection is lost.
func TestFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	front := newWeather(t, w.url)
	through := w.client(t, client.Config{BaseURL: front.URL, HTTPClient: front.Client()})
	direct := w.client(t, client.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := direct.StreamEvents(ctx, client.EventFilter{Types: []hongyan.EventPattern{"message.*"}}, "") // from here on events are recorded
	if err != nil {
		t.Fatal(err)
	}
	first, err := direct.Submit(ctx, w.submission(w.openids[0]), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	start := s.LastID()
	_ = s.Close()
	second, err := direct.Submit(ctx, w.submission(w.openids[0]), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range through.Follow(ctx, client.EventFilter{Types: []hongyan.EventPattern{"message.*"}}, start) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		data, err := e.Payload()
		m, ok := data.(*hongyan.Message)
		if !ok || err != nil {
			t.Fatalf("got %T %v", data, err)
		}
		switch n++; n {
		case 1:
			if m.ID != second.ID {
				t.Errorf("got %s, want %s and nothing of %s", m.ID, second.ID, first.ID)
			}
			front.CloseClientConnections() // which Follow survives
			front.next(answering(502, ""))
			if _, err := direct.SubmitAndWait(ctx, w.submission(w.openids[1]), client.Options{}); !errors.Is(err, hongyan.CodeNotSubscribed) {
				t.Fatal(err)
			}
		case 2:
			if e.Type != hongyan.EventMessageFailed {
				t.Errorf("got %s", e.Type)
			}
			cancel()
		default:
			t.Errorf("got %s too", e.Type)
		}
	}
	for _, err := range direct.Follow(t.Context(), client.EventFilter{Types: []hongyan.EventPattern{"nothing.*"}}, "") {
		if !errors.Is(err, hongyan.CodeInvalid) {
			t.Errorf("got %v", err)
		}
	}
}

func TestWebhookHandlerRefuses(t *testing.T) {
	t.Parallel()
	if _, err := client.WebhookHandler("secret", nil); !errors.Is(err, hongyan.CodeInvalid) {
		t.Errorf("got %v", err)
	}
	secret := hongyan.NewWebhookKey([]byte("0123456789abcdef0123456789abcdef"))
	var failure error
	handled := 0
	h, err := client.WebhookHandler(secret.Reveal(), func(context.Context, hongyan.Event) error { handled++; return failure })
	if err != nil {
		t.Fatal(err)
	}
	post := func(method string, change func(*http.Request)) int {
		body := []byte(`{"id":"evt_1","type":"message.failed","timestamp":"2026-11-22T08:00:00Z","data":{"id":"msg_1"}}`)
		r := signed(t, secret, method, body)
		change(r)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code
	}
	for name, row := range map[string]struct {
		method string
		change func(*http.Request)
		want   int
	}{
		"good":         {"POST", func(*http.Request) {}, 204},
		"read":         {"GET", func(*http.Request) {}, 405},
		"no signature": {"POST", func(r *http.Request) { r.Header.Del("webhook-signature") }, 401},
		"old":          {"POST", func(r *http.Request) { r.Header.Set("webhook-timestamp", "1") }, 401},
		"large":        {"POST", func(r *http.Request) { r.Body = http.MaxBytesReader(nil, r.Body, 3) }, 400},
	} {
		if got := post(row.method, row.change); got != row.want {
			t.Errorf("%s: got %d, want %d", name, got, row.want)
		}
	}
	failure = errors.New("disk full")
	if got := post("POST", func(*http.Request) {}); got != 500 || handled != 2 {
		t.Errorf("got %d after %d calls, want the event to come again", got, handled)
	}
}

func TestTitles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(t, client.Config{})
	_, total, err := c.Titles(t.Context(), w.app, []int{307, 147, 155, 2, 287, 128, 741, 229, 386, 616, 321, 612, 670}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.Collect(c.AllTitles(t.Context(), w.app, 307, 147, 155, 2, 287, 128, 741, 229, 386, 616, 321, 612, 670), 0)
	if err != nil || len(all) != total || total <= 30 {
		t.Errorf("got %d of %d titles, %v", len(all), total, err)
	}
	if some, err := client.Collect(c.AllTitles(t.Context(), w.app, 307), 2); err != nil || len(some) != 2 {
		t.Errorf("got %v %v", some, err)
	}
}
