package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/outbound"
	"github.com/hongyan-push/hongyan/internal/token"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const adminKey = "test-admin-key-0123456789abcdefghij"

// world is an API over a real ledger, with a sandbox as WeChat.
type world struct {
	t      *testing.T
	l      *ledger.Ledger
	box    *sandbox.Sandbox
	wx     *httptest.Server
	srv    *httptest.Server
	admin  *client.Client
	tokens *token.Source
	logs   *logBuffer
	// stopping ends streams when a test closes it.
	stopping chan struct{}

	app      sandbox.App
	template sandbox.NewTemplate // of the app, known to the ledger
}

// newWorld has one app with history new, one user and one template of three grants' worth.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	var err error
	if w.app, err = w.box.CreateApp(sandbox.AppSpec{}); err != nil {
		t.Fatal(err)
	}
	if w.template, err = w.box.AddTemplate(sandbox.TemplateSpec{AppID: w.app.AppID}); err != nil {
		t.Fatal(err)
	}
	if _, err = w.admin.CreateApp(t.Context(), client.AppCreate{AppID: w.appID(), Secret: w.app.Secret, Name: "test",
		Settings: hongyan.AppSettings{History: hongyan.HistoryNew}}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err = w.admin.SyncTemplates(t.Context(), w.appID()); err != nil {
		t.Fatal(err)
	}
	return w
}

func emptyWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, logs: &logBuffer{}, stopping: make(chan struct{})}
	log := slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.l = openLedger(t)
	w.box = sandbox.New(sandbox.Config{})
	w.wx = httptest.NewServer(w.box)
	wx, err := wechat.New(wechat.Config{BaseURL: w.wx.URL})
	if err != nil {
		t.Fatal(err)
	}
	w.tokens = token.New(token.Config{Ledger: w.l, Clients: []*wechat.Client{wx}, External: external(t)})
	h, err := New(Config{Ledger: w.l, WeChat: wx, Tokens: w.tokens, AdminKey: adminKey, Logger: log, Version: "v0-test", Stopping: w.stopping})
	if err != nil {
		t.Fatal(err)
	}
	w.srv = httptest.NewServer(h)
	w.admin = w.client(adminKey, "")
	t.Cleanup(func() {
		w.srv.Close()
		wx.Close()
		_ = w.box.Close()
		w.wx.Close()
	})
	return w
}

func openLedger(t testing.TB) *ledger.Ledger {
	t.Helper()
	key, err := ledger.NewMasterKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := ledger.Open(ctx, ledger.Config{DB: "sqlite:" + filepath.Join(t.TempDir(), "hongyan.db"), MasterKey: key})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, l.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (w *world) appID() hongyan.AppID { return hongyan.AppID(w.app.AppID) }

// client is a Go client with some key. Its connections end with the server.
func (w *world) client(key, lang string) *client.Client {
	w.t.Helper()
	c, err := client.New(client.Config{BaseURL: w.srv.URL, APIKey: key, HTTPClient: w.srv.Client(), Lang: lang})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// key makes an API key and a client with it.
func (w *world) key(apps []hongyan.AppID, scopes ...hongyan.Scope) *client.Client {
	w.t.Helper()
	k, err := w.admin.CreateKey(w.t.Context(), client.KeyCreate{Name: "test", Scopes: scopes, Apps: apps}, client.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.client(k.Key, "")
}

// grant lets a user bank n grants of the template, by reports.
func (w *world) grant(openid hongyan.OpenID, n int) {
	w.t.Helper()
	for i := range n {
		_, err := w.admin.Report(w.t.Context(), w.appID(), hongyan.Report{ID: string(openid) + "-" + string(rune('a'+i)), OpenID: openid, Template: w.template.TemplateID, Choice: "accept"})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// submission is a good one.
func (w *world) submission(openid hongyan.OpenID) hongyan.Submission {
	return hongyan.Submission{App: w.appID(), To: hongyan.Recipient{OpenID: openid}, Template: w.template.TemplateID, Data: w.template.Example}
}

// body is a good submission as JSON.
func (w *world) body(openid hongyan.OpenID) string {
	b, err := json.Marshal(w.submission(openid))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// reply is an answer as it came over the wire.
type reply struct {
	Status  int
	Header  http.Header
	Body    string
	Problem problem
}

// call makes any request with the admin key; headers are "Name: value".
func (w *world) call(method, path, body string, headers ...string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.srv.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			req.Header.Del(name)
		} else {
			req.Header.Set(name, value)
		}
	}
	resp, err := w.srv.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	r := reply{Status: resp.StatusCode, Header: resp.Header, Body: string(b)}
	if resp.Header.Get("Content-Type") == problemType {
		if err := json.Unmarshal(b, &r.Problem); err != nil {
			w.t.Fatalf("problem is not JSON: %v: %s", err, b)
		}
	}
	return r
}

// wantCode fails unless err has the code.
func wantCode(t *testing.T, err error, want hongyan.Code) *hongyan.Error {
	t.Helper()
	if got := hongyan.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
	var e *hongyan.Error
	errors.As(err, &e)
	return e
}

// external is the client for token_urls, which here are on loopback.
func external(t *testing.T) *http.Client {
	c := outbound.New(outbound.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// token is the app's current access token.
func (w *world) token() string {
	w.t.Helper()
	tok, err := w.tokens.AccessToken(w.t.Context(), w.app.AppID)
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// deaths are the early deaths of the app's tokens.
func (w *world) deaths() []hongyan.TokenDeath {
	w.t.Helper()
	h, err := w.admin.TokenHealth(w.t.Context(), w.appID())
	if err != nil {
		w.t.Fatal(err)
	}
	return h.EarlyDeaths
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func usersSpec(w *world, n int) sandbox.UsersSpec {
	return sandbox.UsersSpec{AppID: w.app.AppID, Count: n}
}

func loginSpec(w *world, openid string) sandbox.LoginSpec {
	return sandbox.LoginSpec{AppID: w.app.AppID, OpenID: openid}
}

func requestWith(header, value string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set(header, value)
	return r
}

// serve asks a handler for a list with a cursor.
func serve(h http.Handler, path, cursor string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path+"?"+url.Values{"cursor": {cursor}}.Encode(), nil)
	r.Header.Set("Authorization", "Bearer "+adminKey)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}
