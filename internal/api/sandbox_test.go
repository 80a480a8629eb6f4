package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// relayTo is a world's API whose sandbox is at an address.
func relayTo(t *testing.T, w *world, base string) {
	t.Helper()
	h, err := New(Config{Ledger: w.l, AdminKey: adminKey, SandboxURL: base})
	if err != nil {
		t.Fatal(err)
	}
	w.srv.Close()
	w.srv = httptest.NewServer(h)
	t.Cleanup(w.srv.Close)
}

func TestRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relayTo(t, w, w.wx.URL+"/")
	user := "?appid=" + w.app.AppID + "&openid=phone"
	for _, c := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"POST", "users", `{"appid":"` + w.app.AppID + `","openid":"phone"}`, 200, `"openid":"phone"`},
		{"GET", "users?appid=" + w.app.AppID, "", 200, `"phone"`},
		{"GET", "sheet" + user + "&template_ids=" + w.template.TemplateID, "", 200, `"silent":false`},
		{"POST", "taps", `{"appid":"` + w.app.AppID + `","openid":"phone","template_ids":["` + w.template.TemplateID + `"]}`, 200, `"granted":1`},
		{"GET", "settings" + user, "", 200, `"available":1`},
		{"GET", "inbox" + user, "", 200, `"items":[]`},
		{"POST", "refuse", `{"appid":"` + w.app.AppID + `","openid":"phone","template_id":"` + w.template.TemplateID + `","where":"card"}`, 200, `"voided":1`},
		{"PUT", "apps/" + w.app.AppID + "/rules", `{"max_grants":3}`, 200, `"max_grants":3`},
		{"GET", "apps/" + w.app.AppID + "/rules", "", 200, `"max_grants":3`},
		{"POST", "faults", `{"path":"/cgi-bin/message/subscribe/send","errcode":45009,"count":1}`, 200, `"id"`},
		{"DELETE", "faults", "", 200, `"cleared":1`},
		{"POST", "clock", `{"advance_s":60}`, 200, `"offset_s":60`},
		{"POST", "pushes/flush", "", 200, `"pending":0`},
		// What the sandbox refuses comes back as it said it.
		{"GET", "inbox?appid=" + w.app.AppID + "&openid=nobody", "", 404, `"code":"unknown_user"`},
		{"POST", "taps", `{"nonsense":1}`, 400, `"code":"unknown_field"`},
	} {
		r := w.call(c.method, "/v1/sandbox/"+c.path, c.body)
		if r.Status != c.status || !strings.Contains(r.Body, c.contains) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.path, r.Status, r.Body, c.status, c.contains)
		}
	}
	if r := w.call("GET", "/v1/sandbox/apps", ""); strings.Contains(r.Body, w.app.Secret) {
		t.Errorf("the list of apps has the secret")
	}
}

func TestRelayRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := make(chan *http.Request, 10)
	spy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen <- r
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte("{}"))
	}))
	defer spy.Close()
	relayTo(t, w, spy.URL)
	for _, c := range []struct {
		method, path, body string
		code               hongyan.Code
	}{
		{"GET", "nothing", "", hongyan.CodeNotFound},
		{"GET", "", "", hongyan.CodeNotFound},
		{"GET", "apps/a/b/c", "", hongyan.CodeNotFound},
		{"GET", "..%2F..%2Fcgi-bin%2Ftoken", "", hongyan.CodeNotFound},
		{"GET", "apps/a%2F..%2F..%2Fx/rules", "", hongyan.CodeNotFound},
		{"GET", "apps/a%3Fb/rules", "", hongyan.CodeInvalid},
		{"DELETE", "apps", "", hongyan.CodeMethodNotAllowed},
		{"POST", "taps", strings.Repeat(" ", relayBody+1), hongyan.CodeBodyTooLarge},
	} {
		if r := w.call(c.method, "/v1/sandbox/"+c.path, c.body); r.Problem.Code != c.code {
			t.Errorf("%s %s: %d %s, want %s", c.method, c.path, r.Status, r.Body, c.code)
		}
	}
	if r := w.call("POST", "/v1/sandbox/taps", "a=b", "Content-Type: application/x-www-form-urlencoded"); r.Problem.Code != hongyan.CodeUnsupportedMedia {
		t.Errorf("a form: %d %s", r.Status, r.Body)
	}
	if len(seen) > 0 {
		t.Fatalf("%s went through", (<-seen).URL)
	}
	// Of the caller's headers none goes along.
	w.call("POST", "/v1/sandbox/taps", "{}", "Cookie: session=1", "X-Other: 1", "Origin: http://evil.example")
	r := <-seen
	for _, name := range []string{"Authorization", "Cookie", "X-Other", "Origin"} {
		if r.Header.Get(name) != "" {
			t.Errorf("%s went through: %q", name, r.Header.Get(name))
		}
	}
	if u, _ := url.Parse(spy.URL); r.Host != u.Host || r.URL.Path != "/_sandbox/taps" {
		t.Errorf("asked %s%s", r.Host, r.URL)
	}

	w.admin = w.client(adminKey, "")
	if _, err := w.admin.Sandbox(t.Context(), "GET", "apps/wx1/rules", nil, nil); err != nil || (<-seen).URL.Path != "/_sandbox/apps/wx1/rules" {
		t.Errorf("by the client: %v", err)
	}
	for _, k := range []*client.Client{w.key(nil, hongyan.ScopeRead, hongyan.ScopeManage), w.key([]hongyan.AppID{w.appID()}, hongyan.ScopeSandbox)} {
		_, err := k.Sandbox(t.Context(), "GET", "stats", nil, nil)
		wantCode(t, err, hongyan.CodeForbidden)
	}
}

func TestRelayWithoutSandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if r := w.call("GET", "/v1/sandbox/apps", ""); r.Status != 404 || !strings.Contains(r.Problem.Detail, "--sandbox-url") {
		t.Errorf("without the setting: %d %s", r.Status, r.Body)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	relayTo(t, w, gone.URL)
	if r := w.call("GET", "/v1/sandbox/apps", ""); r.Status != 502 || r.Problem.Code != hongyan.CodeSandboxUnavailable {
		t.Errorf("something else answers: %d %s", r.Status, r.Body)
	}
	gone.Close()
	if r := w.call("GET", "/v1/sandbox/grants?openid=secretuser", ""); r.Problem.Code != hongyan.CodeSandboxUnavailable || strings.Contains(r.Body, "secretuser") {
		t.Errorf("nothing answers: %d %s", r.Status, r.Body)
	}
}

// TestRelayedCalls holds the list of calls against the sandbox's own: it knows every one.
func TestRelayedCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, methods := range relayed {
		for _, m := range methods {
			req, err := http.NewRequestWithContext(t.Context(), m, w.wx.URL+"/_sandbox"+strings.Replace(path, "{appid}", "wxnone", 1), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := w.wx.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode == 405 || resp.StatusCode == 404 && path != "/apps/{appid}/rules" && path != "/apps/{appid}/push" {
				t.Errorf("%s %s: the sandbox answers %d", m, path, resp.StatusCode)
			}
		}
	}
}
