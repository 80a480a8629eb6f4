package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/server"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const adminKey = "owner-key-for-tests-of-40-characters-000"

type object = map[string]any

// target is one of the two that speak WeChat's wire: the sandbox, or the gateway before it.
type target struct{ url, appid, secret string }

// world is the whole server before a sandbox, both over real HTTP.
type world struct {
	t       *testing.T
	box     *sandbox.Sandbox
	srv     *server.Server
	admin   *client.Client
	app     sandbox.App
	tmpl    sandbox.NewTemplate
	direct  target
	gateway target
	key     hongyan.APIKey // of the gateway target, with every right
	http    *http.Client
	stop    context.CancelFunc // begins the server's stop
	// upstream is what stands at WeChat's address: the sandbox, with somebody who takes down
	// what reaches it.
	upstream recorder
}

// recorder takes down what reaches WeChat.
type recorder struct {
	next http.Handler
	mu   sync.Mutex
	seen []arrival
}

type arrival struct {
	method, path, host string
	header             http.Header
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.seen = append(r.seen, arrival{q.Method, q.URL.EscapedPath(), q.Host, q.Header.Clone()})
	next := r.next
	r.mu.Unlock()
	next.ServeHTTP(w, q)
}

// instead lets f answer in the sandbox's place.
func (r *recorder) instead(f http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = f
}

func (r *recorder) take() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

var allRights = []hongyan.Scope{hongyan.ScopeGateway, hongyan.ScopeGatewayTemplates, hongyan.ScopeGatewayQuota, hongyan.ScopeGatewayRelay}

func newWorld(t *testing.T, settings hongyan.AppSettings) *world {
	t.Helper()
	w := &world{t: t, box: sandbox.New(sandbox.Config{}), http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	wx := &http.Server{Handler: &w.upstream}
	w.upstream.next = w.box
	served := make(chan struct{})
	go func() { _ = wx.Serve(l); close(served) }()
	w.srv, err = server.New(t.Context(), config.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", GatewayListen: "127.0.0.1:0", AdminKey: adminKey,
		WeChatURL: "http://" + l.Addr().String(), Senders: 16, StopTimeout: 10 * time.Second},
		server.Options{Now: w.box.Now, Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	gateway := w.srv.GatewayURL()
	w.admin, err = client.New(client.Config{BaseURL: w.srv.URL(), APIKey: adminKey})
	w.must(err)
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	done := make(chan error, 1)
	go func() { done <- w.srv.Run(ctx) }()
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
		_ = w.box.Close()
		_ = wx.Close()
		<-served
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	w.app, err = w.box.CreateApp(sandbox.AppSpec{})
	w.must(err)
	w.tmpl, err = w.box.AddTemplate(sandbox.TemplateSpec{AppID: w.app.AppID})
	w.must(err)
	_, err = w.admin.CreateApp(t.Context(), client.AppCreate{AppID: hongyan.AppID(w.app.AppID), Secret: w.app.Secret, Name: "shop", Settings: settings}, client.Options{})
	w.must(err)
	w.key = w.newKey(hongyan.AppID(w.app.AppID), allRights...)
	w.direct = target{"http://" + l.Addr().String(), w.app.AppID, w.app.Secret}
	w.gateway = target{gateway, w.app.AppID, w.key.Key}
	return w
}

func (w *world) newKey(app hongyan.AppID, scopes ...hongyan.Scope) hongyan.APIKey {
	w.t.Helper()
	k, err := w.admin.CreateKey(w.t.Context(), client.KeyCreate{Name: "sdk", Scopes: scopes, Apps: []hongyan.AppID{app}}, client.Options{})
	w.must(err)
	return k
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// user makes a user with so many grants of the template.
func (w *world) user(grants int) string {
	w.t.Helper()
	u, err := w.box.AddUsers(sandbox.UsersSpec{AppID: w.app.AppID})
	w.must(err)
	for range grants {
		_, err := w.box.Tap(sandbox.TapSpec{AppID: w.app.AppID, OpenID: u.OpenID, TemplateIDs: []string{w.tmpl.TemplateID}})
		w.must(err)
	}
	return u.OpenID
}

// do makes a call; the body is nil, a string as it is, or JSON.
func (w *world) do(method, target string, body any) (object, error) {
	return w.by(w.http, method, target, body)
}

// by is do by another client.
func (w *world) by(c *http.Client, method, target string, body any) (object, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		r = strings.NewReader(string(text))
	}
	req, err := http.NewRequest(method, target, r)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var out object
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		w.t.Errorf("%s %s: status %d, not JSON: %q", method, req.URL.Path, res.StatusCode, text)
	}
	return out, nil
}

func (w *world) call(method, target string, body any) object {
	w.t.Helper()
	out, err := w.do(method, target, body)
	w.must(err)
	return out
}

// token asks a target for a token of /cgi-bin/token.
func (w *world) token(tg target) string {
	w.t.Helper()
	out := w.call("GET", tg.url+"/cgi-bin/token?"+url.Values{"grant_type": {"client_credential"}, "appid": {tg.appid}, "secret": {tg.secret}}.Encode(), nil)
	token, _ := out["access_token"].(string)
	if token == "" {
		w.t.Fatalf("no token: %v", out)
	}
	return token
}

// message is the body of a send that passes.
func (w *world) message(openid string) object {
	data := object{}
	for k, v := range w.tmpl.Example {
		data[k] = object{"value": v}
	}
	return object{"touser": openid, "template_id": w.tmpl.TemplateID, "data": data}
}

// send posts a message to a target and answers the errcode.
func (w *world) send(tg target, token string, body any) string {
	w.t.Helper()
	return errcode(w.call("POST", tg.url+sendPath+"?access_token="+url.QueryEscape(token), body))
}

const sendPath = "/cgi-bin/message/subscribe/send"

func errcode(o object) string {
	n, _ := o["errcode"].(json.Number)
	return n.String()
}

// cards counts what arrived on the phones, by openid.
func (w *world) cards() map[string]int {
	w.t.Helper()
	box, err := w.box.Outbox(sandbox.OutboxQuery{AppID: w.app.AppID, Limit: 1000})
	w.must(err)
	out := make(map[string]int)
	for _, c := range box.Items {
		out[c.OpenID]++
	}
	return out
}
