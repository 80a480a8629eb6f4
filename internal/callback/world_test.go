package callback

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/outbound"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token    = "callbackToken1"
	aesKey   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	otherKey = "ABCDEFGabcdefghijklmnopqrstuvwxyz0123456789"
)

// world is a receiver over a real ledger, with a sandbox as WeChat that pushes over HTTP.
type world struct {
	t    testing.TB
	l    *ledger.Ledger
	box  *sandbox.Sandbox
	rc   *Receiver
	srv  *httptest.Server
	url  string // of the app's callback
	app  hongyan.AppID
	tmpl string
	user string
	logs *logBuffer
	stop context.CancelFunc // of the ledger
}

// newWorld has an app with one user and one template that both sides know, and keys only
// after setKeys.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, box: sandbox.New(sandbox.Config{}), logs: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(w.logs, nil))
	w.openLedger(log)
	client := outbound.New(outbound.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	var err error
	w.rc, err = New(Config{Ledger: w.l, Forward: client, Logger: log, Now: w.box.Now, Client: func(r *http.Request) string {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		return host
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.rc.Run(ctx) }()
	w.srv = httptest.NewServer(w.rc)
	t.Cleanup(func() {
		_ = w.box.Close()
		w.srv.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.CloseIdleConnections()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	app := must(w.box.CreateApp(sandbox.AppSpec{}))
	w.app, w.url = hongyan.AppID(app.AppID), w.srv.URL+"/callback/"+app.AppID
	w.tmpl = must(w.box.AddTemplate(sandbox.TemplateSpec{AppID: app.AppID})).TemplateID
	w.user = must(w.box.AddUsers(sandbox.UsersSpec{AppID: app.AppID, Count: 1})).OpenIDs[0]
	must(w.l.CreateApp(t.Context(), hongyan.App{AppID: w.app, Name: "shop", Settings: hongyan.AppSettings{History: hongyan.HistoryNew}}, hongyan.NewAppSecret(app.Secret), nil))
	if err := w.l.SaveTemplates(t.Context(), w.app, []ledger.SyncedTemplate{{TemplateID: w.tmpl, Title: "t", Content: "{{thing1.DATA}}", Kind: hongyan.KindOneTime}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) openLedger(log *slog.Logger) {
	w.t.Helper()
	key, err := ledger.NewMasterKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.l, err = ledger.Open(ctx, ledger.Config{DB: "sqlite:" + filepath.Join(w.t.TempDir(), "hongyan.db"), MasterKey: key, Logger: log})
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.l.Run(ctx); close(done) }()
	w.stop = func() { cancel(); <-done }
	w.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, w.l.Close()); err != nil {
			w.t.Error(err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// setKeys gives the app its keys; no aes is the plain mode.
func (w *world) setKeys(aes, forwardTo string) {
	w.t.Helper()
	tok, key := hongyan.NewCallbackSecret(token), hongyan.NewCallbackSecret(aes)
	if err := w.l.SetCallback(w.t.Context(), w.app, ledger.CallbackUpdate{Token: &tok, AESKey: &key, ForwardTo: &forwardTo}); err != nil {
		w.t.Fatal(err)
	}
}

// keys are WeChat's side of setKeys.
func (w *world) keys(aes string) wechat.CallbackKeys {
	return wechat.CallbackKeys{AppID: string(w.app), Token: token, AESKey: aes}
}

// pushTo lets the sandbox push to the receiver; it checks the URL first.
func (w *world) pushTo(spec sandbox.PushSpec) {
	w.t.Helper()
	spec.URL, spec.Token = w.url, token
	if _, err := w.box.SetPush(w.t.Context(), string(w.app), spec); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tap() {
	w.t.Helper()
	must(w.box.Tap(sandbox.TapSpec{AppID: string(w.app), OpenID: w.user, TemplateIDs: []string{w.tmpl}}))
}

func (w *world) flush() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.box.Flush(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// callbacks are what the ledger has, newest first, applied.
func (w *world) callbacks() []hongyan.Callback {
	w.t.Helper()
	if err := w.l.ApplyCallbacks(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	list, _, err := w.l.Callbacks(w.t.Context(), w.app, ledger.CallbackFilter{Limit: 500})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) want(n int) {
	w.t.Helper()
	if got := w.callbacks(); len(got) != n {
		w.t.Errorf("%d callbacks are stored, want %d: %+v", len(got), n, got)
	}
}

func (w *world) rejections() []hongyan.CallbackRejection {
	w.t.Helper()
	return must(w.l.CallbackRejections(w.t.Context(), w.app))
}

// answer is what came back.
type answer struct {
	status      int
	contentType string
	body        string
	took        time.Duration
}

func (w *world) call(method string, q url.Values, body []byte) answer {
	w.t.Helper()
	return w.do(method, w.url+"?"+q.Encode(), bytes.NewReader(body))
}

func (w *world) do(method, at string, body io.Reader) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, at, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.Header.Get("X-Content-Type-Options") != "nosniff" {
		w.t.Errorf("%s answered without nosniff", method)
	}
	return answer{res.StatusCode, res.Header.Get("Content-Type"), string(b), time.Since(began)}
}

// signature is WeChat's, written down a second time.
func signature(parts ...string) string {
	sum := sha1.Sum([]byte(strings.Join(slices.Sorted(slices.Values(parts)), "")))
	return hex.EncodeToString(sum[:])
}

// message is a push in clear: a message of a user's, unlike any other.
func message(content string) []byte {
	return []byte(`{"ToUserName":"gh_1","FromUserName":"oUserWhoWrites00000000000001","CreateTime":1714112445,"MsgType":"text","Content":"` + content + `","MsgId":42}`)
}

// send seals a message and pushes it.
func (w *world) send(msg []byte, aes string, mode wechat.CallbackMode) answer {
	w.t.Helper()
	q, body, err := w.keys(aes).Seal(msg, mode, w.box.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.call("POST", q, body)
}

func (w *world) wantAnswer(got answer, status int, body string) {
	w.t.Helper()
	if got.status != status || body != "" && got.body != body {
		w.t.Errorf("answered %d %.200q, want %d %.200q", got.status, got.body, status, body)
	}
}

// counted is the value of a metric with these labels.
func (w *world) counted(name string, labels ...string) float64 {
	w.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(w.rc.Collectors()...)
	sum := 0.0
	for _, f := range must(reg.Gather()) {
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if f.GetName() == name && strings.Join(have, " ") == strings.Join(labels, " ") {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// ended is a context that is over.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
