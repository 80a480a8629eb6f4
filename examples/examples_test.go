// Package examples_test runs the examples: each shop takes orders, sends by way of a real
// server to the local WeChat, and hears of it by signed webhooks.
package examples_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/progtest"
)

var shops = []struct {
	dir     string
	needs   string
	command []string
}{
	{"go", "go", []string{"go", "run", "."}},
	{"node", "node", []string{"node", "shop.mjs"}},
	{"python", "python3", []string{"python3", "shop.py"}},
	{"java", "javac", []string{"java", "Shop.java"}}, // a JDK: java runs the source
	// PHP's own server writes where it listens to standard error.
	{"php", "php", []string{"sh", "-c", "exec php -S 127.0.0.1:0 shop.php 2>&1"}},
}

func TestShops(t *testing.T) {
	t.Parallel()
	for _, s := range shops {
		t.Run(s.dir, func(t *testing.T) {
			t.Parallel()
			progtest.Require(t, s.needs)
			newShop(t, s.dir, s.command).test(t)
		})
	}
}

// shop is a running example and the server that it uses.
type shop struct {
	demo    progtest.Demo
	program *progtest.Program
	url     string
	hook    *relay
	secret  string
	told    map[string]int // what it printed
}

var urlIn = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

func newShop(t *testing.T, dir string, command []string) *shop {
	t.Helper()
	s := &shop{demo: progtest.StartDemo(t), hook: newRelay(t), told: make(map[string]int)}
	c, err := client.New(client.Config{BaseURL: s.demo.API, APIKey: s.demo.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetAlias(t.Context(), s.demo.AppID, s.demo.TemplateIDs[0], "order_paid"); err != nil {
		t.Fatal(err)
	}
	hook, err := c.CreateWebhook(t.Context(), client.WebhookCreate{URL: s.hook.url, Events: []hongyan.EventPattern{"message.*"}}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.secret = hook.Secret
	s.program = progtest.Start(t, dir, []string{"PORT=0", "SHOP_SEEN=" + t.TempDir(), "HONGYAN_API=" + s.demo.API, "HONGYAN_API_KEY=" + s.demo.APIKey,
		"HONGYAN_APP=" + string(s.demo.AppID), "HONGYAN_WEBHOOK_SECRET=" + s.secret}, command[0], command[1:]...)
	s.url = urlIn.FindString(s.program.Line(t))
	s.hook.forwardTo(s.url + "/hook")
	return s
}

func (s *shop) test(t *testing.T) {
	first := s.order(t, "1001")
	if again := s.order(t, "1001"); again.Message != first.Message || first.Message == "" {
		t.Errorf("the same order again: got %+v, want the message of %+v", again, first)
	}
	s.await(t, "message.delivered "+first.Message+" order 1001")
	s.order(t, "1002")
	s.order(t, "1003") // the last of three grants
	if none := s.order(t, "1004"); none.Status != "not_told" || none.Reason != "no_grant" {
		t.Errorf("an order without a grant: got %+v, want it not told for no_grant", none)
	}
	if cards := s.cards(t); cards != 3 {
		t.Errorf("%d cards are on the phone, want 3", cards)
	}
	if status, body := s.post(t, "/orders", `{"code":"no code of wx.login","number":"1005","item":"x","amount":"¥1","paid_at":"2026年11月27日"}`, nil); status != 502 || !strings.Contains(body, "invalid_login_code") {
		t.Errorf("a wrong login code: %d %s, want 502 and invalid_login_code", status, body)
	}
	s.testHook(t)
}

// testHook posts to the webhook's receiver what Hongyan did, and what it never would.
func (s *shop) testHook(t *testing.T) {
	seen := s.hook.first(t)
	if status, _ := s.post(t, "/hook", string(seen.body), seen.header); status != 204 {
		t.Errorf("the same delivery again: %d, want 204", status)
	}
	if status, _ := s.post(t, "/hook", strings.Replace(string(seen.body), "msg_", "MSG_", 1), seen.header); status != 401 {
		t.Errorf("another body: %d, want 401", status)
	}
	if status, _ := s.post(t, "/hook", "{}", nil); status != 401 {
		t.Errorf("no signature: %d, want 401", status)
	}
	const last = `{"id":"evt_last","type":"message.failed","data":{"id":"msg_last","metadata":{"order":"9"}}}`
	if status, _ := s.post(t, "/hook", last, s.sign(t, "evt_last", last, time.Now().Add(-10*time.Minute))); status != 401 {
		t.Errorf("ten minutes old: %d, want 401", status)
	}
	if status, _ := s.post(t, "/hook", last, s.sign(t, "evt_last", last, time.Now())); status != 204 {
		t.Errorf("signed now: %d, want 204", status)
	}
	s.await(t, "message.failed msg_last order 9")
	for line, n := range s.told {
		if n != 1 {
			t.Errorf("%q was told %d times", line, n)
		}
	}
}

func (s *shop) sign(t *testing.T, id, body string, at time.Time) http.Header {
	t.Helper()
	signature, err := hongyan.NewWebhookSecret(s.secret).Sign(hongyan.EventID(id), at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {unix(at)}, "Webhook-Signature": {signature}}
}

type outcome struct{ Message, Status, Reason string }

// order is one of the demo's first user.
func (s *shop) order(t *testing.T, number string) outcome {
	t.Helper()
	var login struct{ Code string }
	s.sandbox(t, "POST", "/login", map[string]any{"appid": s.demo.AppID, "openid": s.demo.OpenIDs[0]}, &login)
	body, err := json.Marshal(map[string]string{"code": login.Code, "number": number, "item": `咖啡豆 "深烘" 500g`, "amount": "¥68.00", "paid_at": "2026年11月27日 10:30"})
	if err != nil {
		t.Fatal(err)
	}
	status, answer := s.post(t, "/orders", string(body), nil)
	var o outcome
	if err := json.Unmarshal([]byte(answer), &o); err != nil || status != 200 {
		t.Fatalf("order %s: %d %s %v", number, status, answer, err)
	}
	return o
}

// await reads what the shop prints up to a line.
func (s *shop) await(t *testing.T, want string) {
	t.Helper()
	for s.told[want] == 0 {
		if line := s.program.Line(t); strings.HasPrefix(line, "message.") { // PHP's server prints others
			s.told[line]++
		}
	}
}

func (s *shop) cards(t *testing.T) int {
	t.Helper()
	s.sandbox(t, "POST", "/pushes/flush", nil, nil)
	var box struct{ Items []json.RawMessage }
	s.sandbox(t, "GET", "/outbox", nil, &box)
	return len(box.Items)
}

func (s *shop) sandbox(t *testing.T, method, path string, in, out any) {
	t.Helper()
	var body []byte
	if in != nil {
		body, _ = json.Marshal(in)
	}
	status, answer := call(t, method, s.demo.Sandbox+"/_sandbox"+path, string(body), nil)
	if status != 200 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(answer), out); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
	}
}

func (s *shop) post(t *testing.T, path, body string, header http.Header) (int, string) {
	t.Helper()
	return call(t, "POST", s.url+path, body, header)
}

func call(t *testing.T, method, url, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// relay stands between the server and a shop, whose address is known only after the secret
// that it starts with, and keeps what went through.
type relay struct {
	url   string
	ready chan struct{} // closed once to is set
	to    string

	mu   sync.Mutex
	seen []delivery
}

type delivery struct {
	header http.Header
	body   []byte
}

func newRelay(t *testing.T) *relay {
	r := &relay{ready: make(chan struct{})}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.url = srv.URL + "/hook"
	return r
}

func (r *relay) forwardTo(url string) {
	r.to = url
	close(r.ready)
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	select {
	case <-r.ready:
	case <-req.Context().Done():
		return
	}
	out, err := http.NewRequestWithContext(req.Context(), "POST", r.to, bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	out.Header = req.Header.Clone()
	r.mu.Lock()
	r.seen = append(r.seen, delivery{req.Header.Clone(), body})
	r.mu.Unlock()
	res, err := http.DefaultClient.Do(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	w.WriteHeader(res.StatusCode)
}

func (r *relay) first(t *testing.T) delivery {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		t.Fatal("no delivery went through")
	}
	return r.seen[0]
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
