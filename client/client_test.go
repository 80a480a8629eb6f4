package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan"
)

// What the operations do is tested against the real API in internal/api.

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"no URL": {}, "other scheme": {BaseURL: "ftp://h"}, "no host": {BaseURL: "http://"}, "user": {BaseURL: "http://u:p@h"},
		"query": {BaseURL: "http://h?x=1"}, "key of two lines": {BaseURL: "http://h", APIKey: "a\nb"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "a\nb") {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	if c, err := New(Config{BaseURL: "https://h:1/prefix/"}); err != nil || c.base != "https://h:1/prefix" {
		t.Errorf("got %+v %v", c, err)
	}
}

// serving is a client of a handler.
func serving(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := New(Config{BaseURL: srv.URL + "/p", APIKey: "hyk_x", HTTPClient: srv.Client(), Lang: "zh", UserAgent: "ua", Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		_, _ = io.WriteString(w, `{"id":"msg_1","status":"queued"}`)
	})
	m, err := c.Submit(t.Context(), hongyan.Submission{App: "wx1", To: hongyan.Recipient{User: "u"}, Template: "t", Data: map[string]string{"thing1": "<x>"}},
		Options{IdempotencyKey: "k", Wait: 1500 * time.Millisecond})
	if err != nil || m.ID != "msg_1" {
		t.Fatalf("got %+v %v", m, err)
	}
	want := map[string]string{"Authorization": "Bearer hyk_x", "Content-Type": "application/json", "Idempotency-Key": "k", "Prefer": "wait=1", "Accept-Language": "zh", "User-Agent": "ua"}
	for name, v := range want {
		if got.Header.Get(name) != v {
			t.Errorf("%s: got %q, want %q", name, got.Header.Get(name), v)
		}
	}
	if got.URL.Path != "/p/v1/messages" || !strings.Contains(body, `"to":{"user":"u"}`) {
		t.Errorf("got %s %s", got.URL, body)
	}
	if _, err := c.Template(t.Context(), "wx1", "a/b ?"); err != nil || got.URL.EscapedPath() != "/p/v1/apps/wx1/templates/a%2Fb%20%3F" {
		t.Errorf("got %s %v, want each step escaped", got.URL.EscapedPath(), err)
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	c := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
		_, _ = io.WriteString(w, `{"title":"T","status":429,"detail":"D","code":"backlog_full","hint":"H","request_id":"req_1","errors":[{"pointer":"/app","code":"c","detail":"d","repair":"r"}],"wechat":{"errcode":45009,"errmsg":"m"}}`)
	})
	_, err := c.App(t.Context(), "wx1")
	var e *hongyan.Error
	var p *Problem
	if hongyan.CodeOf(err) != hongyan.CodeBacklogFull || !errors.As(err, &e) || !errors.As(err, &p) {
		t.Fatalf("got %v", err)
	}
	repair := "r"
	want := &hongyan.Error{Code: "backlog_full", Message: "D", Fields: []hongyan.FieldError{{Pointer: "/app", Code: "c", Detail: "d", Repair: &repair}},
		WeChat: &hongyan.WeChatError{Errcode: 45009, Errmsg: "m"}, RetryAfter: 7 * time.Second}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p.Hint != "H" || p.RequestID != "req_1" || p.Status != 429 || !strings.Contains(err.Error(), "D") || !strings.Contains(err.Error(), "H") {
		t.Errorf("got %+v %v", p, err)
	}
}

func TestForeignAnswers(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"gateway page": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); _, _ = io.WriteString(w, "<html>") },
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"empty problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(400)
		},
		"nothing": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		_, err := serving(t, h).User(t.Context(), "wx1", "oPrivateOpenID")
		if err == nil || hongyan.CodeOf(err) != hongyan.CodeInternal {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c := serving(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, err := range c.Grants(t.Context(), "wx1", "oPrivateOpenID", "") {
		if err == nil || strings.Contains(err.Error(), "oPrivateOpenID") {
			t.Errorf("got %v, want an error without the query", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Apps(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	var asked []string
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		switch r.URL.Query().Get("cursor") {
		case "":
			_, _ = io.WriteString(w, `{"items":[{"openid":"a"},{"openid":"b"}],"next_cursor":"2"}`)
		case "2":
			_, _ = io.WriteString(w, `{"items":[],"next_cursor":"3"}`)
		default:
			_, _ = io.WriteString(w, `{"items":[{"openid":"c"}],"next_cursor":""}`)
		}
	})
	var got []string
	users := c.Users(t.Context(), "wx1", "x")
	for range 2 { // an iterator starts anew each time
		for u, err := range users {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(u.OpenID))
		}
	}
	if strings.Join(got, "") != "abcabc" || asked[1] != "cursor=2&external_id=x" {
		t.Errorf("got %v by %v", got, asked)
	}
	for range users {
		break
	}
	if len(asked) != 7 {
		t.Errorf("got %d calls, want none after the break", len(asked))
	}
}

func TestBatchItemJSON(t *testing.T) {
	t.Parallel()
	items := []BatchItem{{Status: 202, Message: &hongyan.Message{ID: "msg_1"}}, {Status: 409, Err: &hongyan.Error{Code: "no_grant", Message: "m", Fields: []hongyan.FieldError{{Pointer: "/to"}}}}}
	b, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	var again []BatchItem
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(items, again); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
