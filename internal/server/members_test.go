package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
	"github.com/hongyan-push/hongyan/internal/server"
)

const password = "correct horse battery staple"

// house is a server with members and nothing else, and a clock that can be moved.
type house struct {
	t      *testing.T
	cfg    config.Config
	url    string
	server *server.Server
	log    *lockedBuffer
	offset *atomic.Int64
	stop   func()
}

func newHouse(t *testing.T, opts ...func(*config.Config)) *house {
	t.Helper()
	h := &house{t: t, log: &lockedBuffer{}, offset: &atomic.Int64{}, cfg: config.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", AdminKey: adminKey,
		WeChatURL: "http://127.0.0.1:1", Senders: 1, StopTimeout: 10 * time.Second}}
	for _, o := range opts {
		o(&h.cfg)
	}
	h.start()
	return h
}

func (h *house) start() {
	h.t.Helper()
	srv, err := server.New(h.t.Context(), h.cfg, server.Options{Logger: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "v0-test",
		Now: func() time.Time { return time.Now().Add(time.Duration(h.offset.Load())) }})
	if err != nil {
		h.t.Fatal(err)
	}
	h.server, h.url = srv, srv.URL()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("server: %v", err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	h.t.Cleanup(h.stop)
}

// owner makes the first owner by the link of the first run.
func (h *house) owner() *browser {
	h.t.Helper()
	b := h.browser()
	b.want(200, "POST", "/v1/setup", object{"token": h.link(), "name": "owner", "password": password})
	return b
}

func (h *house) link() string {
	h.t.Helper()
	link := must(h.server.FirstRunLink(h.t.Context()))
	token, ok := strings.CutPrefix(link, h.url+hongyan.SetupPath)
	if !ok {
		h.t.Fatalf("link %q", link)
	}
	return token
}

// member makes a member who has a password and is signed in.
func (h *house) member(owner *browser, name, role string) *browser {
	h.t.Helper()
	m := owner.want(201, "POST", "/v1/members", object{"name": name, "role": role})
	b := h.browser()
	b.want(200, "POST", "/v1/setup", object{"token": tokenOf(m), "password": password})
	return b
}

func tokenOf(member object) string {
	return strings.TrimPrefix(member["link"].(string), hongyan.SetupPath)
}

// browser keeps one cookie, as a browser does for one site.
type browser struct {
	t      *testing.T
	url    string
	cookie string
	header http.Header
	last   *http.Response // its body is read
}

func (h *house) browser() *browser {
	return &browser{t: h.t, url: h.url, header: http.Header{}}
}

func (b *browser) signIn(name, pw string) (int, object) {
	b.t.Helper()
	return b.do("POST", "/v1/session", object{"name": name, "password": pw})
}

func (b *browser) request(method, path string, body any) *http.Request {
	b.t.Helper()
	var r io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(v)
	default:
		r = bytes.NewReader(must(json.Marshal(v)))
	}
	req := must(http.NewRequestWithContext(b.t.Context(), method, b.url+path, r))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range b.header {
		req.Header[k] = v
	}
	if b.cookie != "" {
		req.AddCookie(&http.Cookie{Name: "hongyan_session", Value: b.cookie})
	}
	return req
}

func (b *browser) do(method, path string, body any) (int, object) {
	b.t.Helper()
	res, err := http.DefaultTransport.RoundTrip(b.request(method, path, body)) // follows no redirects
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text := must(io.ReadAll(res.Body))
	b.last = res
	for _, c := range res.Cookies() {
		if b.cookie = c.Value; c.MaxAge < 0 {
			b.cookie = ""
		}
	}
	out := object{}
	_ = json.Unmarshal(text, &out)
	out["body"] = string(text)
	return res.StatusCode, out
}

func (b *browser) want(status int, method, path string, body any) object {
	b.t.Helper()
	got, out := b.do(method, path, body)
	if got != status {
		b.t.Fatalf("%s %s: status %d, want %d: %v", method, path, got, status, out["body"])
	}
	return out
}

func (b *browser) wantCode(status int, code hongyan.Code, method, path string, body any) {
	b.t.Helper()
	got, out := b.do(method, path, body)
	if got != status || out["code"] != string(code) {
		b.t.Errorf("%s %s: %d %v, want %d %s", method, path, got, out["code"], status, code)
	}
}

// TestSession: what the cookie is, and what ends it.
func TestSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *config.Config) { c.TrustedProxies = []string{"127.0.0.0/8"} })
	b := h.owner()
	c := b.last.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Secure || c.Domain != "" || c.MaxAge != 12*3600 || len(c.Value) != 43 {
		t.Errorf("cookie %+v", c)
	}
	got := b.want(200, "GET", "/v1/session", nil)
	if m := got["member"].(object); m["name"] != "owner" || m["role"] != "owner" || fmt.Sprint(got["scopes"]) != fmt.Sprint(hongyan.RoleOwner.Scopes()) || got["sandbox"] != false || got["expires_at"] == nil {
		t.Errorf("session %v", got)
	}
	b.want(200, "GET", "/v1/apps", nil)
	h.browser().wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/session", nil)
	h.browser().wantCode(401, hongyan.CodeUnauthorized, "GET", "/v1/apps", nil)

	// Behind a proxy that speaks https the cookie goes no other way.
	far := h.browser()
	far.header.Set("X-Forwarded-Proto", "https")
	far.signIn("OWNER", password)
	if c := far.last.Cookies()[0]; !c.Secure {
		t.Errorf("behind https: cookie %+v", c)
	}

	// A header beside the cookie decides alone.
	b.header.Set("Authorization", "Bearer wrong")
	b.wantCode(401, hongyan.CodeUnauthorized, "GET", "/v1/apps", nil)
	b.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/session", nil)
	b.header.Set("Authorization", "Bearer "+adminKey)
	b.want(200, "GET", "/v1/apps", nil)
	b.header.Del("Authorization")

	// Another password ends all others, and this one goes on as another.
	before := b.cookie
	b.wantCode(401, hongyan.CodeSignInFailed, "POST", "/v1/session/password", object{"old": "not the password", "new": "another long password"})
	b.wantCode(400, hongyan.CodeInvalid, "POST", "/v1/session/password", object{"old": password, "new": "short"})
	b.want(200, "POST", "/v1/session/password", object{"old": password, "new": "another long password"})
	if b.cookie == before {
		t.Error("the session kept its token with another password")
	}
	b.want(200, "GET", "/v1/session", nil)
	far.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/session", nil)
	if status, _ := far.signIn("owner", password); status != 401 {
		t.Errorf("the old password: %d", status)
	}

	// So do another role, disabling and removing.
	m := h.member(b, "bo", "viewer")
	id := m.want(200, "GET", "/v1/session", nil)["member"].(object)["id"].(string)
	b.want(200, "PATCH", "/v1/members/"+id, object{"role": "owner"})
	m.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/apps", nil)
	m.signIn("bo", password)
	m.want(200, "GET", "/v1/members", nil)
	b.want(200, "PATCH", "/v1/members/"+id, object{"disabled": true})
	m.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/apps", nil)
	if status, out := m.signIn("bo", password); status != 401 || out["code"] != "sign_in_failed" {
		t.Errorf("a disabled member: %d %v", status, out)
	}
	b.want(200, "PATCH", "/v1/members/"+id, object{"disabled": false})
	m.signIn("bo", password)
	b.want(204, "DELETE", "/v1/members/"+id, nil)
	m.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/apps", nil)

	token := b.cookie
	b.want(204, "DELETE", "/v1/session", nil)
	if b.cookie != "" {
		t.Error("the browser keeps its cookie after signing out")
	}
	b.cookie = token
	b.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/session", nil)
}

// TestSessionFixation: what a browser held before it signs in is worth nothing afterwards.
func TestSessionFixation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mine := h.owner().cookie
	for name, planted := range map[string]string{"made up": strings.Repeat("A", 43), "another session": mine} {
		b := h.browser()
		b.cookie = planted
		if status, out := b.signIn("owner", password); status != 200 {
			t.Fatalf("%s: %d %v", name, status, out)
		}
		if b.cookie == planted || b.cookie == "" {
			t.Errorf("%s: the session has the token that was there before", name)
		}
		b.want(200, "GET", "/v1/session", nil)
		b.cookie = planted
		b.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/session", nil)
	}
}

// TestCrossOrigin: what a page of another site has a browser send does nothing.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.owner()
	make := object{"name": "x", "scopes": []string{"read"}}
	for name, header := range map[string]http.Header{
		"foreign origin": {"Origin": {"https://evil.example"}},
		"null origin":    {"Origin": {"null"}},
		"another port":   {"Origin": {"http://127.0.0.1:1"}},
		"cross-site":     {"Sec-Fetch-Site": {"cross-site"}},
		"same-site":      {"Sec-Fetch-Site": {"same-site"}, "Origin": {b.url}},
	} {
		b.header = header
		t.Log(name)
		b.wantCode(403, hongyan.CodeCrossOrigin, "POST", "/v1/keys", make)
		b.wantCode(403, hongyan.CodeCrossOrigin, "DELETE", "/v1/session", nil)
		b.wantCode(403, hongyan.CodeCrossOrigin, "POST", "/v1/session/password", object{"old": password, "new": "another long password"})
		b.wantCode(403, hongyan.CodeCrossOrigin, "POST", "/v1/session", object{"name": "owner", "password": password})
		b.wantCode(403, hongyan.CodeCrossOrigin, "POST", "/v1/setup", object{"token": "x", "password": password})
		b.wantCode(403, hongyan.CodeCrossOrigin, "POST", "/v1/setup/check", object{"token": "x"})
		b.want(200, "GET", "/v1/apps", nil) // reading changes nothing, and the other page cannot see it
	}
	// A form can send text without asking first.
	b.header = http.Header{"Content-Type": {"text/plain"}}
	b.wantCode(415, hongyan.CodeUnsupportedMedia, "POST", "/v1/keys", `{"name":"x","scopes":["read"]}`)
	b.wantCode(415, hongyan.CodeUnsupportedMedia, "POST", "/v1/session", `{"name":"owner","password":"`+password+`"}`)
	b.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	b.wantCode(415, hongyan.CodeUnsupportedMedia, "POST", "/v1/keys", `name=x`)

	b.header = http.Header{"Origin": {b.url}, "Sec-Fetch-Site": {"same-origin"}}
	b.want(201, "POST", "/v1/keys", make)
	// A program has no origin, and shows no cookie that a browser adds by itself.
	b.cookie, b.header = "", http.Header{"Authorization": {"Bearer " + adminKey}, "Origin": {"https://shop.example"}}
	b.want(201, "POST", "/v1/keys", make)
	b.header = http.Header{"Authorization": {"Bearer " + adminKey}}
	if items := b.want(200, "GET", "/v1/keys", nil)["items"].([]any); len(items) != 2 {
		t.Errorf("%d keys, want the 2 that were wanted", len(items))
	}
}

// TestConsolePages: every answer keeps the page out of frames and other people's scripts out of the page.
func TestConsolePages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 302}, {"GET", "/console", 302}, {"GET", "/console/", 200}, {"HEAD", "/console/", 200}, {"GET", "/console/messages/msg_1", 200},
		{"GET", "/console/setup", 200}, {"GET", "/console/index.html", 200}, {"GET", "/console/assets/none-12345678.js", 404}, {"POST", "/console/", 405},
	} {
		b.want(c.status, c.method, c.path, nil)
		head := b.last.Header
		for name, part := range map[string]string{
			"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Permissions-Policy": "camera=()",
		} {
			if !strings.Contains(head.Get(name), part) {
				t.Errorf("%s %s: %s is %q, want %s", c.method, c.path, name, head.Get(name), part)
			}
		}
		policy := head.Get("Content-Security-Policy")
		for _, directive := range strings.Split(policy, ";") {
			directive = strings.TrimSpace(directive)
			if strings.Contains(directive, "unsafe") && directive != "style-src-attr 'unsafe-inline'" || strings.Contains(directive, "http") || strings.Contains(directive, "*") {
				t.Errorf("%s %s: the policy allows %q", c.method, c.path, directive)
			}
		}
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") {
			t.Errorf("%s %s: policy %q", c.method, c.path, policy)
		}
		if c.status == 302 && head.Get("Location") != "/console/" {
			t.Errorf("%s leads to %q", c.path, head.Get("Location"))
		}
	}
	if status, _ := b.do("POST", "/", nil); status != 405 && status != 404 {
		t.Errorf("POST /: %d", status)
	}
}

// TestGuessing: from the fifth wrong password in a row on a name waits, everywhere, and the
// right one is no exception. Others go on.
func TestGuessing(t *testing.T) {
	t.Parallel()
	db := ledgertest.Postgres(t)
	shared := func(c *config.Config) { c.DB, c.MasterKey = db.Config.DB, masterKey }
	h := newHouse(t, shared)
	owner := h.owner()
	bo := h.member(owner, "bo", "viewer")
	b := h.browser()
	refused := func(b *browser, what, pw string) int {
		t.Helper()
		status, out := b.signIn("owner", pw)
		wait, _ := strconv.Atoi(b.last.Header.Get("Retry-After"))
		if status != 429 || out["code"] != "rate_limited" || wait == 0 {
			t.Errorf("%s: %d %v, wait %d", what, status, out["code"], wait)
		}
		if len(b.last.Cookies()) > 0 {
			t.Errorf("%s: a cookie was set", what)
		}
		return wait
	}
	for range 5 {
		if status, out := b.signIn("owner", "wrong password"); status != 401 || out["code"] != "sign_in_failed" {
			t.Fatalf("a wrong password: %d %v", status, out)
		}
	}
	h.offset.Add(int64(time.Second))
	if status, _ := b.signIn("owner", "wrong password"); status != 401 {
		t.Fatalf("after the wait: %d", status)
	}
	h.offset.Add(int64(2 * time.Second))
	b.signIn("owner", "wrong password")
	h.offset.Add(int64(4 * time.Second))
	b.signIn("owner", "wrong password")
	if wait := refused(b, "a wrong password", "wrong password"); wait > 8 {
		t.Errorf("after the eighth one waits %d s, want 8", wait)
	}
	for wait := 8; wait < 512; wait *= 2 { // the tests that follow may take a while
		h.offset.Add(int64(time.Duration(wait) * time.Second))
		b.signIn("owner", "wrong password")
	}
	if wait := refused(b, "a wrong password", "wrong password"); wait < 256 || wait > 512 {
		t.Errorf("after the fourteenth one waits %d s, want 512", wait)
	}
	right, wrong := h.browser(), h.browser()
	refused(right, "the right password", password)
	_, a := right.signIn("owner", password)
	_, z := wrong.signIn("owner", "wrong password")
	if a["detail"] != z["detail"] || a["hint"] != z["hint"] {
		t.Errorf("the answers tell right from wrong: %v, %v", a, z)
	}
	owner.want(200, "GET", "/v1/apps", nil) // who is in stays in
	bo.want(204, "DELETE", "/v1/session", nil)
	if status, out := bo.signIn("bo", password); status != 200 {
		t.Errorf("somebody else: %d %v", status, out)
	}

	other := newHouse(t, shared)
	other.offset.Store(h.offset.Load())
	refused(other.browser(), "another replica", password)
	h.stop()
	h.start()
	refused(h.browser(), "after a restart", password)
	h.offset.Add(int64(512 * time.Second))
	if status, out := h.browser().signIn("owner", password); status != 200 {
		t.Errorf("the right password after the wait: %d %v", status, out)
	}

	// One address gets only so many tries, whatever the names.
	limited := false
	for i := range 60 {
		status, _ := b.doAt(h.url, "POST", "/v1/session", object{"name": fmt.Sprint("name ", i), "password": "wrong password"})
		limited = limited || status == 429
	}
	if !limited {
		t.Error("an address may try without end")
	}
}

// doAt is do at another address: a server that was started again has another.
func (b *browser) doAt(url, method, path string, body any) (int, object) {
	b.t.Helper()
	b.url = url
	return b.do(method, path, body)
}

// TestSessionExpires by the server's clock: unused, and however much it is used.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b, idle := h.owner(), h.browser()
	idle.signIn("owner", password)
	hours := 0
	for hours = 0; hours < 11; hours++ {
		h.offset.Add(int64(time.Hour))
		b.want(200, "GET", "/v1/session", nil)
	}
	h.offset.Add(int64(time.Hour + time.Second))
	idle.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/session", nil)
	for ; hours < 8*24; hours++ {
		if status, _ := b.do("GET", "/v1/apps", nil); status != 200 {
			break
		}
		h.offset.Add(int64(time.Hour))
	}
	if hours < 7*24-3 || hours > 7*24 {
		t.Errorf("a session that is used each hour ends after %d hours, want %d", hours, 7*24)
	}
	b.wantCode(401, hongyan.CodeSignedOut, "GET", "/v1/apps", nil)
	b.signIn("owner", password)
	b.want(200, "GET", "/v1/apps", nil)
}

// TestRolesEverywhere asks every operation that there is as a viewer and as an owner.
func TestRolesEverywhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner := h.owner()
	viewer := h.member(owner, "viewer", "viewer")
	var doc struct {
		Paths map[string]map[string]struct {
			Scopes *[]string `json:"x-scopes"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(owner.want(200, "GET", "/openapi.json", nil)["body"].(string)), &doc); err != nil {
		t.Fatal(err)
	}
	asked, refused := 0, 0
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if op.Scopes == nil || path == "/v1/events/stream" || path == "/v1/live" { // for no key; without end
				continue
			}
			asked++
			may := len(*op.Scopes) == 0
			for _, s := range *op.Scopes {
				may = may || s == "read"
			}
			var body any
			if method != "get" && method != "delete" {
				body = object{}
			}
			status, out := viewer.do(strings.ToUpper(method), path, body)
			if !may {
				refused++
				if status != 403 || out["code"] != "forbidden" || !strings.Contains(out["detail"].(string), "role viewer") {
					t.Errorf("a viewer may %s %s: %d %v", method, path, status, out["detail"])
				}
			} else if status == 401 || status == 403 {
				t.Errorf("a viewer may not %s %s: %d %v", method, path, status, out["detail"])
			}
			if status, out := owner.do(strings.ToUpper(method), path, body); out["code"] == "forbidden" {
				t.Errorf("an owner may not %s %s: %d %v", method, path, status, out["detail"])
			}
		}
	}
	if asked < 60 || refused < 30 {
		t.Errorf("asked %d operations, %d of them refused", asked, refused)
	}
	t.Logf("asked %d operations, %d of them refused", asked, refused)

	// Nobody gives away more than they have, by a key or by somebody else's link.
	owner.want(201, "POST", "/v1/keys", object{"name": "x", "scopes": []string{"token"}}) // an owner has all
	owner.want(201, "POST", "/v1/keys", object{"name": "x", "scopes": []string{"send"}})
	key := owner.want(201, "POST", "/v1/keys", object{"name": "x", "scopes": []string{"manage"}})["key"].(string)
	program := h.browser()
	program.header.Set("Authorization", "Bearer "+key)
	id := owner.want(200, "GET", "/v1/session", nil)["member"].(object)["id"].(string)
	program.wantCode(403, hongyan.CodeForbidden, "POST", "/v1/members", object{"name": "eve", "role": "owner"})
	program.wantCode(403, hongyan.CodeForbidden, "POST", "/v1/members/"+id+"/reset", nil)
	program.wantCode(403, hongyan.CodeForbidden, "PATCH", "/v1/members/"+id, object{"disabled": true})
	program.wantCode(403, hongyan.CodeForbidden, "DELETE", "/v1/members/"+id, nil)
	owner.wantCode(409, hongyan.CodeConflict, "DELETE", "/v1/members/"+id, nil)
	owner.wantCode(409, hongyan.CodeConflict, "PATCH", "/v1/members/"+id, object{"role": "viewer"})
}

// TestStreamsEndWithTheirRight: what lasts looks again whether it still may, of a member and
// of a key.
func TestStreamsEndWithTheirRight(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner := h.owner()
	viewer := h.member(owner, "viewer", "viewer")
	id := viewer.want(200, "GET", "/v1/session", nil)["member"].(object)["id"].(string)
	key := owner.want(201, "POST", "/v1/keys", object{"name": "reader", "scopes": []string{"read"}})
	program := h.browser()
	program.header.Set("Authorization", "Bearer "+key["key"].(string))
	streams := make(map[string]*bufio.Scanner)
	for name, b := range map[string]*browser{"a member's": viewer, "a key's": program} {
		for _, path := range []string{"/v1/events/stream", "/v1/live"} {
			res, err := http.DefaultTransport.RoundTrip(b.request("GET", path, nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			lines := bufio.NewScanner(res.Body)
			if res.StatusCode != 200 || !lines.Scan() {
				t.Fatalf("%s %s: %d", name, path, res.StatusCode)
			}
			late := time.AfterFunc(20*time.Second, func() { _ = res.Body.Close() })
			defer late.Stop()
			streams[name+" "+path] = lines
		}
	}
	owner.want(200, "PATCH", "/v1/members/"+id, object{"disabled": true})
	owner.want(204, "DELETE", "/v1/keys/"+key["id"].(string), nil)
	for name, lines := range streams {
		for lines.Scan() {
		}
		if err := lines.Err(); err != nil {
			t.Errorf("%s goes on without its right: %v", name, err)
		}
	}
}
