package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
	"github.com/hongyan-push/hongyan/internal/server"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestMain(m *testing.M) {
	if os.Getenv("HONGYAN_TEST_SANDBOX") != "" {
		runSandbox() // the witness of the crash tests, in a process of its own
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		dbserver.Stop()
		_ = os.RemoveAll(binaryDir)
		os.Exit(code)
	}))
}

// masterKey is what replicas share.
const masterKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

const adminKey = "owner-key-for-tests-of-40-characters-000"

// env is the real server and the sandbox, both over real HTTP, in one process.
type env struct {
	t       *testing.T
	sb      *sandbox.Sandbox
	server  *server.Server
	wechat  *listener
	url     string
	dir     string
	log     *lockedBuffer
	appid   string
	secret  string
	tmpl    string            // template_id
	data    map[string]string // data that passes
	history string
}

// listener is an HTTP server that can vanish and come back at its address.
type listener struct {
	handler http.Handler
	addr    string
	srv     *http.Server
	done    chan struct{}
}

func (l *listener) start(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	l.addr = ln.Addr().String()
	l.srv, l.done = &http.Server{Handler: l.handler}, make(chan struct{})
	go func(srv *http.Server, done chan struct{}) { _ = srv.Serve(ln); close(done) }(l.srv, l.done)
}

func (l *listener) stop() {
	_ = l.srv.Close()
	<-l.done
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type envOption func(*env, *config.Config)

// newEnv has an app with history new, a template, and no users yet.
func newEnv(t *testing.T, opts ...envOption) *env {
	t.Helper()
	e := &env{t: t, sb: sandbox.New(sandbox.Config{}), dir: t.TempDir(), log: &lockedBuffer{}, history: "new"}
	e.wechat = &listener{handler: e.sb, addr: "127.0.0.1:0"}
	e.wechat.start(t)
	cfg := config.Config{Data: e.dir, Listen: "127.0.0.1:0", AdminKey: adminKey, WeChatURL: "http://" + e.wechat.addr, Senders: 64, StopTimeout: 10 * time.Second}
	for _, o := range opts {
		o(e, &cfg)
	}
	srv, err := server.New(t.Context(), cfg, server.Options{Now: e.sb.Now, Logger: slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	e.server, e.url = srv, srv.URL()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
		e.wechat.stop()
		_ = e.sb.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	e.setup()
	return e
}

func (e *env) setup() {
	e.t.Helper()
	app := must(e.sb.CreateApp(sandbox.AppSpec{Name: "shop"}))
	e.appid, e.secret = app.AppID, app.Secret
	tm := must(e.sb.AddTemplate(sandbox.TemplateSpec{AppID: e.appid}))
	e.tmpl, e.data = tm.TemplateID, tm.Example
	e.call("POST", "/v1/apps", map[string]any{"appid": app.AppID, "secret": app.Secret, "name": "shop", "settings": map[string]any{"history": e.history}}, 201)
	e.call("POST", "/v1/apps/"+e.appid+"/templates/sync", map[string]any{}, 200)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type object = map[string]any

// call makes one request of the API and fails the test on another status.
func (e *env) call(method, path string, body any, want int) object {
	e.t.Helper()
	status, out := insist(func() (int, object) { return e.try(method, path, body) })
	if status != want {
		e.t.Fatalf("%s %s: status %d, want %d: %v", method, path, status, want, out)
	}
	return out
}

// insist repeats what was refused because the database was slow for a moment, as a client
// would: the tests share the machine's disk.
func insist(try func() (int, object)) (status int, out object) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		status, out = try()
		if out["code"] != "storage_unavailable" || time.Now().After(end) {
			return status, out
		}
	}
}

func (e *env) try(method, path string, body any) (int, object) {
	e.t.Helper()
	return request(e.t, e.url, adminKey, method, path, body)
}

func request(t *testing.T, url, key, method, path string, body any) (int, object) {
	t.Helper()
	status, b, err := requestErr(url, key, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	var out object
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s %s: not JSON: %q", method, path, b)
		}
	}
	return status, out
}

func requestErr(url, key, method, path string, body any) (int, []byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url+path, r)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

var users struct {
	sync.Mutex
	n int
}

// user makes a user who has tapped accept n times, each tap reported to the server.
func (e *env) user(n int) string {
	e.t.Helper()
	u := must(e.sb.AddUsers(sandbox.UsersSpec{AppID: e.appid, Count: 1})).OpenIDs[0]
	e.accept(u, n)
	return u
}

// accept taps n times and reports it.
func (e *env) accept(openid string, n int) {
	e.t.Helper()
	for range n {
		must(e.sb.Tap(sandbox.TapSpec{AppID: e.appid, OpenID: openid, TemplateIDs: []string{e.tmpl}}))
		users.Lock()
		users.n++
		id := fmt.Sprintf("tap-%d", users.n)
		users.Unlock()
		e.call("POST", "/v1/apps/"+e.appid+"/grants/report", object{"reports": []object{{"id": id, "openid": openid, "template": e.tmpl, "choice": "accept"}}}, 200)
	}
}

// message is a body for the user, with more fields on top.
func (e *env) message(openid string, more object) object {
	m := object{"app": e.appid, "to": openid, "template": e.tmpl, "data": e.data}
	for k, v := range more {
		m[k] = v
	}
	return m
}

func (e *env) submit(openid string, more object) string {
	e.t.Helper()
	return e.call("POST", "/v1/messages", e.message(openid, more), 202)["id"].(string)
}

func (e *env) get(id string) object {
	e.t.Helper()
	return e.call("GET", "/v1/messages/"+id, nil, 200)
}

// await polls until the message has the status.
func (e *env) await(id, status string) object {
	e.t.Helper()
	var m object
	e.until(15*time.Second, func() bool {
		m = e.get(id)
		return m["status"] == status
	}, func() string { return fmt.Sprintf("message is %v, want %s", m, status) })
	return m
}

// until polls a condition; tests that need no waiting pass at once.
func (e *env) until(most time.Duration, ok func() bool, why func() string) {
	e.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(most); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	e.t.Fatal(why())
}

func (e *env) grant(openid string) object {
	e.t.Helper()
	return e.call("GET", "/v1/apps/"+e.appid+"/grants/"+openid+"/"+e.tmpl, nil, 200)
}

// wantGrant compares the arithmetic of a subscription.
func (e *env) wantGrant(openid string, available, reserved, spent, voided int) {
	e.t.Helper()
	g := e.grant(openid)
	for name, want := range map[string]int{"available": available, "reserved": reserved, "spent": spent, "voided": voided, "granted": available + reserved + spent + voided} {
		if got, _ := g[name].(float64); int(got) != want {
			e.t.Errorf("grant of %s: %s = %v, want %d (%v)", openid, name, g[name], want, g)
		}
	}
}

// wantMetric looks for a line where operators do.
func (e *env) wantMetric(line string) {
	e.t.Helper()
	_, b, err := requestErr(e.url, adminKey, "GET", "/metrics", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("\n"+line+"\n")) {
		e.t.Errorf("metrics do not say %s", line)
	}
}

func (e *env) pauses() []string {
	e.t.Helper()
	var out []string
	for _, p := range e.call("GET", "/v1/apps/"+e.appid, nil, 200)["pauses"].([]any) {
		out = append(out, p.(object)["scope"].(string)+":"+p.(object)["reason"].(string))
	}
	return out
}

// awaitPause waits for one pause, or for none with "".
func (e *env) awaitPause(want string) {
	e.t.Helper()
	var got []string
	e.until(10*time.Second, func() bool {
		got = e.pauses()
		return want == "" && len(got) == 0 || len(got) == 1 && got[0] == want
	}, func() string { return fmt.Sprintf("pauses %v, want %q", got, want) })
}

func (e *env) fault(f sandbox.FaultSpec) {
	e.t.Helper()
	if f.Path == "" {
		f.Path = sendPath
	}
	must(e.sb.AddFault(f))
}

func (e *env) refuse(errcode, count int) {
	e.t.Helper()
	e.fault(sandbox.FaultSpec{Errcode: &errcode, Count: &count})
}

func (e *env) advance(d time.Duration) {
	e.t.Helper()
	must(e.sb.Advance(d))
}

// cards counts what a phone received.
func (e *env) cards(openid string) int {
	e.t.Helper()
	return len(must(e.sb.Outbox(sandbox.OutboxQuery{AppID: e.appid, OpenID: openid})).Items)
}

// calls counts the calls of send for a user.
func (e *env) calls(openid string) int {
	e.t.Helper()
	n, cursor := 0, ""
	for {
		p := must(e.sb.Calls(sandbox.CallQuery{Path: sendPath, AppID: e.appid, Limit: 1000, Cursor: cursor}))
		for _, c := range p.Items {
			if c.OpenID == openid {
				n++
			}
		}
		if cursor = p.NextCursor; cursor == "" {
			return n
		}
	}
}

const sendPath = "/cgi-bin/message/subscribe/send"

func ptr[T any](v T) *T { return &v }

func dbFiles(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "hongyan.db*"))
	if err != nil || len(all) == 0 {
		t.Fatal("no database files", err)
	}
	return all
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		out = append(out, f.Name())
	}
	return out
}
