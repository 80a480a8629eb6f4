package server_test

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/config"
)

// told is a webhook's receiver, which keeps what it was told of each message.
type told struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	forged int
	events map[string]map[hongyan.EventType]map[hongyan.EventID]bool // by message
}

// newTold answers every n-th delivery with 500, but none twice.
func newTold(t *testing.T, n int) *told {
	r := &told{events: make(map[string]map[hongyan.EventType]map[hongyan.EventID]bool)}
	count, refused := 0, make(map[hongyan.EventID]bool)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		e, err := client.VerifyWebhook(r.secret, req.Header, body, time.Now())
		if err != nil {
			r.forged++
			return
		}
		if count++; count%n == 0 && !refused[e.ID] {
			refused[e.ID] = true
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, rest, _ := strings.Cut(string(e.Data), `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		if r.events[id] == nil {
			r.events[id] = make(map[hongyan.EventType]map[hongyan.EventID]bool)
		}
		if r.events[id][e.Type] == nil {
			r.events[id][e.Type] = make(map[hongyan.EventID]bool)
		}
		r.events[id][e.Type][e.ID] = true
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *told) of(id string, typ hongyan.EventType) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events[id][typ])
}

// TestChaosWebhookServerKilled kills the server while messages end and events are posted: of
// every message that ended the webhook hears, once by the event's id.
func TestChaosWebhookServerKilled(t *testing.T) {
	everywhere(t, 1, func(t *testing.T, db string) {
		kills, messages := rounds(2, 15), rounds(200, 3000)
		r := newRun(t, setting{db: db, messages: messages, slow: 20})
		receiver := newTold(t, 10)
		w := r.call("POST", "/v1/webhooks", object{"url": receiver.URL, "events": []string{"message.*"}}, 201)
		receiver.mu.Lock()
		receiver.secret = w["secret"].(string)
		receiver.mu.Unlock()
		r.submit()
		for i := range kills {
			r.reach(messages*i/kills + rand.IntN(messages/kills))
			r.kill()
			r.start()
		}
		r.verify(0, kills*bound)
		// What a kill left under way is made again after its lease.
		path := "/v1/webhooks/" + w["id"].(string) + "/deliveries?limit=1&status=pending"
		for end := time.Now().Add(3 * time.Minute); len(r.call("GET", path, nil, 200)["items"].([]any)) > 0; time.Sleep(200 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("deliveries still wait: %s", r.stderr)
			}
		}
		missing, twice := 0, 0
		for _, m := range r.all("/v1/messages?app=" + r.appid) {
			switch n := receiver.of(m["id"].(string), hongyan.EventOf(hongyan.State(m["status"].(string)))); {
			case n == 0:
				missing++
			case n > 1:
				twice++
			}
		}
		if missing != 0 || twice != 0 || receiver.forged != 0 {
			t.Errorf("of %d messages %d ended unheard and %d by two events; %d deliveries had a wrong signature", messages, missing, twice, receiver.forged)
		}
	})
}

// TestStreamEndsAtStop: a reader of the stream does not hold up the stop, and sees it as an end.
func TestStreamEndsAtStop(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "http://127.0.0.1:1", "", 4)
	p.start()
	req, err := http.NewRequestWithContext(context.Background(), "GET", p.url+"/v1/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("stream: %d %q", resp.StatusCode, lines.Text())
	}
	began := time.Now()
	p.terminate()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the stop took %v with a reader connected", took)
	}
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream broke: %v", err)
	}
}

// TestWebhookToSelf: a webhook cannot make the server call itself.
func TestWebhookToSelf(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(_ *env, cfg *config.Config) { cfg.OutboundAllow = nil })
	w := e.call("POST", "/v1/webhooks", object{"url": e.url + "/healthz", "events": []string{"*"}}, 201)
	e.call("POST", "/v1/webhooks/"+w["id"].(string)+"/test", nil, 202)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		d := e.call("GET", "/v1/webhooks/"+w["id"].(string)+"/deliveries", nil, 200)["items"].([]any)[0].(object)
		if text, _ := d["error"].(string); strings.Contains(text, "outbound-allow") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("delivery: %v", d)
		}
	}
}
