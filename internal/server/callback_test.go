package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

// receive lets the sandbox push to the server, as WeChat's console is set up.
func (e *env) receive(setup object, spec sandbox.PushSpec) {
	e.t.Helper()
	keys := e.call("PUT", "/v1/apps/"+e.appid+"/callback", setup, 200)
	spec.URL = e.server.PublicURL() + keys["path"].(string)
	spec.Token = keys["token"].(string)
	spec.AESKey, _ = keys["encoding_aes_key"].(string)
	must(e.sb.SetPush(e.t.Context(), e.appid, spec))
}

// counts waits until a subscription has these numbers.
func (e *env) counts(openid string, available, spent, voided int) {
	e.t.Helper()
	var g object
	e.until(15*time.Second, func() bool {
		status, body := e.try("GET", "/v1/apps/"+e.appid+"/grants/"+openid+"/"+e.tmpl, nil)
		g = body
		return status == 200 && g["available"] == float64(available) && g["spent"] == float64(spent) && g["voided"] == float64(voided)
	}, func() string {
		return fmt.Sprintf("grants %v, want %d available, %d spent, %d voided", g, available, spent, voided)
	})
}

// TestWhatWeChatTells walks step 7 in each mode and format: a tap nobody reported counts, a
// send is told to have arrived or not, and a refusal voids.
func TestWhatWeChatTells(t *testing.T) {
	t.Parallel()
	for _, mode := range []wechat.CallbackMode{wechat.CallbackCompatible, wechat.CallbackSecure} {
		for _, format := range []wechat.CallbackFormat{wechat.CallbackJSON, wechat.CallbackXML} {
			t.Run(string(mode)+" "+string(format), func(t *testing.T) {
				t.Parallel()
				e := newEnv(t)
				e.receive(object{}, sandbox.PushSpec{Mode: mode, Format: format})
				u := must(e.sb.AddUsers(sandbox.UsersSpec{AppID: e.appid, Count: 1})).OpenIDs[0]
				tap := func() {
					must(e.sb.Tap(sandbox.TapSpec{AppID: e.appid, OpenID: u, TemplateIDs: []string{e.tmpl}}))
					e.advance(5 * time.Second) // one clock: a push from then is not stale now
				}
				tap()
				e.counts(u, 1, 0, 0)
				e.await(e.submit(u, nil), "delivered")
				e.counts(u, 0, 1, 0)

				must(e.sb.AddFault(sandbox.FaultSpec{Push: "failed", Count: ptr(1)}))
				tap()
				e.counts(u, 1, 1, 0)
				e.await(e.submit(u, nil), "undelivered")

				tap()
				e.counts(u, 1, 2, 0)
				e.advance(time.Hour)
				must(e.sb.Refuse(sandbox.RefuseSpec{AppID: e.appid, OpenID: u, TemplateID: e.tmpl, Where: "card"}))
				e.counts(u, 0, 2, 1)

				if list := e.call("GET", "/v1/apps/"+e.appid+"/callbacks", nil, 200)["items"].([]any); len(list) != 6 {
					t.Errorf("%d callbacks, want 3 taps, 2 sends and a refusal: %v", len(list), list)
				}
			})
		}
	}
}

// TestForwardTo: the handler that was there before hears everything, through the client that
// keeps away from addresses which are not allowed.
func TestForwardTo(t *testing.T) {
	t.Parallel()
	const text = `{"FromUserName":"oX","CreateTime":1714112445,"MsgType":"text","Content":"hello","MsgId":1}`
	for _, tt := range []struct {
		name   string
		allow  []string
		answer string
		status int
	}{
		{"allowed", []string{"127.0.0.0/8"}, "an answer", 200},
		{"not allowed", nil, "stored here, but forward_to did not answer\n", 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			heard := make(chan string, 10)
			old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				heard <- string(body)
				_, _ = io.WriteString(w, "an answer")
			}))
			t.Cleanup(old.Close)
			e := newEnv(t, func(_ *env, cfg *config.Config) { cfg.OutboundAllow = tt.allow })
			e.receive(object{"plain": true, "forward_to": old.URL}, sandbox.PushSpec{})
			must(e.sb.PushEvent(sandbox.EventSpec{AppID: e.appid, Message: text}))
			if err := e.sb.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			tries := must(e.sb.Pushes(sandbox.PushQuery{})).Items[0].Tries
			if last := tries[len(tries)-1]; last.HTTPStatus != tt.status || last.Answer != tt.answer {
				t.Errorf("WeChat got %+v", last)
			}
			if tt.allow == nil {
				if len(heard) != 0 {
					t.Errorf("an address that is not allowed heard %q", <-heard)
				}
			} else if got := <-heard; got != text {
				t.Errorf("it heard %q", got)
			}
			if list := e.call("GET", "/v1/apps/"+e.appid+"/callbacks", nil, 200)["items"].([]any); len(list) != 1 {
				t.Errorf("%d callbacks, want 1", len(list))
			}
		})
	}
}

// TestDoors: with a public listener nothing goes through both.
func TestDoors(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(_ *env, cfg *config.Config) { cfg.PublicListen = "127.0.0.1:0" })
	if e.server.PublicURL() == e.url {
		t.Fatal("there is no second listener")
	}
	e.receive(object{}, sandbox.PushSpec{}) // the check of the URL goes through the public door
	status := func(base, method, path string) int {
		t.Helper()
		req, err := http.NewRequest(method, base+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + req.URL.Host + path // as it stands
		req.Header.Set("Authorization", "Bearer "+adminKey)
		client := &http.Client{Transport: http.DefaultTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	for _, path := range []string{"/", "/v1/apps", "/v1/messages", "/metrics", "/healthz", "/readyz", "/docs", "/openapi.json", "/mp/v1/../../v1/apps", "/mp/v1/%2e%2e/%2e%2e/v1/apps", "//v1/apps", "/callback/../v1/apps", "/callback/..%2fv1/apps", "/mp/v1/..%2f..%2fv1/apps"} {
		for _, method := range []string{"GET", "POST"} {
			if got := status(e.server.PublicURL(), method, path); got != 404 && got/100 != 3 {
				t.Errorf("%s %s through the public door: %d", method, path, got)
			}
		}
	}
	if got := status(e.server.PublicURL(), "POST", "/callback/"+e.appid); got != 401 {
		t.Errorf("a forged push through the public door: %d", got)
	}
	for _, path := range []string{"/callback/" + e.appid, "/mp/v1/session"} {
		if got := status(e.url, "POST", path); got != 404 {
			t.Errorf("POST %s through the private door: %d", path, got)
		}
	}
	if got := status(e.url, "GET", "/v1/apps"); got != 200 {
		t.Errorf("the API through its own door: %d", got)
	}
}

// TestCallbackMetrics: pushes are counted where operators look.
func TestCallbackMetrics(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.receive(object{}, sandbox.PushSpec{})
	res, err := http.Post(e.url+"/callback/"+e.appid, "text/xml", strings.NewReader("<xml></xml>"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	_, b, err := requestErr(e.url, adminKey, "GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`hongyan_callbacks_total{event="url_check",result="taken"} 1`, `hongyan_callbacks_total{event="unknown",result="refused"} 1`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
}
