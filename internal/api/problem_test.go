package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func operationOrNil(v any) *huma.Operation {
	op, _ := v.(*huma.Operation)
	return op
}

func TestProblemLanguage(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	for accept, chinese := range map[string]bool{"": false, "en": false, "zh": true, "zh-CN,zh;q=0.9,en;q=0.8": true, "en;q=0.9,zh;q=0.1": false,
		"zh-TW": true, "fr": false, "*": false, ";;": false} {
		r := w.call("GET", "/v1/apps/wx-none", "", "Accept-Language: "+accept)
		info := hongyan.LookupCode(hongyan.CodeAppNotFound)
		want := info.Hint.EN
		if chinese {
			want = info.Hint.ZH
		}
		if r.Status != 404 || r.Problem.Hint != want {
			t.Errorf("%q: got %q, want %q", accept, r.Problem.Hint, want)
		}
	}
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""}, {"GET", "/v1", 404, ""}, {"POST", "/v2/messages", 404, ""}, {"GET", "/docs/none.js", 404, ""}, {"GET", "/metrics", 404, ""},
		{"PUT", "/v1/messages", 405, "GET, POST"}, {"DELETE", "/v1/apps/wx1", 405, "GET, PATCH"}, {"POST", "/healthz", 405, "GET"}, {"BREW", "/v1/apps", 405, "GET, POST"},
	} {
		r := w.call(tt.method, tt.path, "")
		if r.Status != tt.status || r.Header.Get("Allow") != tt.allow || r.Header.Get("Content-Type") != problemType {
			t.Errorf("%s %s: got %d %q %s", tt.method, tt.path, r.Status, r.Header.Get("Allow"), r.Body)
		}
	}
}

// What nobody planned for is logged once with its id and shown to nobody.
func TestInternalErrors(t *testing.T) {
	t.Parallel()
	logs := &logBuffer{}
	s := &server{log: slog.New(slog.NewTextHandler(logs, nil)), mux: http.NewServeMux()}
	s.mux.HandleFunc("/err", s.open(func(x *exchange, _ *http.Request) { x.fail(errors.New("the disk's private words")) }))
	s.mux.HandleFunc("/panic", s.open(func(*exchange, *http.Request) { panic("private words too") }))
	s.mux.HandleFunc("/late", s.open(func(x *exchange, _ *http.Request) { _, _ = x.Write([]byte("half")); panic("private") }))
	for _, path := range []string{"/err", "/panic"} {
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != 500 || strings.Contains(rec.Body.String(), "private") || !strings.Contains(rec.Body.String(), `"code":"internal"`) {
			t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
		}
		if id := rec.Header().Get("X-Request-Id"); strings.Count(logs.String(), id) != 1 {
			t.Errorf("%s: the log has not one line of %s: %s", path, id, logs)
		}
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest("GET", "/late", nil))
	if rec.Body.String() != "half" {
		t.Errorf("got %q, want nothing behind a half answer", rec.Body)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	anybody := w.client("", "")
	if h, err := anybody.Health(t.Context()); err != nil || h.Status != "ok" || h.Version != "v0-test" {
		t.Errorf("got %+v %v", h, err)
	}
	if h, err := anybody.Ready(t.Context()); err != nil || h.Status != "ready" {
		t.Errorf("got %+v %v", h, err)
	}
	for name, notReady := range map[string]error{"ours": hongyan.Errorf(hongyan.CodeShuttingDown, "The server is stopping."), "other": errors.New("private"), "no 503": hongyan.Errorf(hongyan.CodeAppPaused, "x")} {
		h, err := New(Config{Ledger: w.l, Ready: func(context.Context) error { return notReady }, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })})
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
		if rec.Code != 503 || strings.Contains(rec.Body.String(), "private") {
			t.Errorf("%s: got %d %s", name, rec.Code, rec.Body)
		}
		rec = httptest.NewRecorder()
		if h.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil)); rec.Body.String() != "metrics" {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	ctx := t.Context()
	if e, err := w.admin.Errcode(ctx, 43101); err != nil || e.Meaning.EN == "" || e.Meaning.ZH == "" || e.URL == "" {
		t.Errorf("got %+v %v", e, err)
	}
	if e, err := w.admin.Errcode(ctx, -1); err != nil || !e.MayPass {
		t.Errorf("got %+v %v", e, err)
	}
	_, err := w.admin.Errcode(ctx, 1)
	wantCode(t, err, hongyan.CodeNotFound)
	if list, err := w.admin.Errcodes(ctx); err != nil || len(list) < 100 {
		t.Errorf("got %d %v", len(list), err)
	}
	if list, err := w.admin.Codes(ctx); err != nil || len(list) != len(hongyan.Codes()) {
		t.Errorf("got %d %v", len(list), err)
	}
	for path, ct := range map[string]string{"/openapi.json": "application/openapi+json", "/openapi.yaml": "application/openapi+yaml", "/docs": "text/html; charset=utf-8",
		"/docs/docs.js": "text/javascript; charset=utf-8", "/docs/docs.css": "text/css; charset=utf-8"} {
		r := w.call("GET", path, "", "Authorization: ")
		if r.Status != 200 || r.Header.Get("Content-Type") != ct || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Body == "" {
			t.Errorf("%s: got %d %v", path, r.Status, r.Header)
		}
		if strings.HasPrefix(path, "/docs") && (!strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(r.Body, "https://")) {
			t.Errorf("%s: may load from elsewhere", path)
		}
	}
}

// A log at debug level has no secret and no openid, whatever came in.
func TestLogsHaveNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.grant("oSecretUserForLogs", 1)
	k, err := w.admin.CreateKey(ctx, client.KeyCreate{Name: "x", Scopes: []hongyan.Scope{hongyan.ScopeSend}}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := w.client(k.Key, "")
	_, _ = c.Submit(ctx, w.submission("oSecretUserForLogs"), client.Options{})
	_, _ = c.Apps(ctx)
	_, _ = w.client("hyk_wrongwrongwrongwrongwrong", "").Apps(ctx)
	_, _ = w.admin.User(ctx, w.appID(), "oSecretUserForLogs")
	for range w.admin.Messages(ctx, client.MessageFilter{App: w.appID(), OpenID: "oSecretUserForLogs"}) {
	}
	bad := "0123456789abcdef0123456789abcdef"
	_, _ = w.admin.UpdateApp(ctx, w.appID(), client.AppUpdate{Secret: &bad})
	logs := w.logs.String()
	if !strings.Contains(logs, "GET /v1/apps/{appid}/users/{openid}") {
		t.Fatal("the access log has no routes")
	}
	for name, secret := range map[string]string{"API key": k.Key, "admin key": adminKey, "wrong key": "wrongwrong", "AppSecret": w.app.Secret, "tried AppSecret": bad, "openid": "oSecretUserForLogs", "access token": w.token()} {
		if strings.Contains(logs, secret) {
			t.Errorf("the log has the %s", name)
		}
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	s := &server{Config: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"[::ffff:10.0.0.1]:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "junk", "10.0.0.1"},
		{"10.0.0.1:1", "10.0.0.3", "10.0.0.3"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		r.Header.Set("X-Forwarded-For", tt.forwarded)
		if got := s.client(r); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}
