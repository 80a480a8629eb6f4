package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

// newPhones is a world whose app serves phones, with n users.
func newPhones(t *testing.T, n int) (*world, []string) {
	t.Helper()
	w := newWorld(t)
	if _, err := w.admin.UpdateApp(t.Context(), w.appID(), client.AppUpdate{Settings: map[string]any{"mp": "on"}}); err != nil {
		t.Fatal(err)
	}
	users, err := w.box.AddUsers(usersSpec(w, n))
	if err != nil {
		t.Fatal(err)
	}
	return w, users.OpenIDs
}

func (w *world) mpCode(openid string) string {
	w.t.Helper()
	code, err := w.box.Login(loginSpec(w, openid))
	if err != nil {
		w.t.Fatal(err)
	}
	return code.Code
}

// signIn logs a phone in and answers its header.
func (w *world) signIn(openid string) string {
	w.t.Helper()
	r := w.call("POST", "/mp/v1/session", fmt.Sprintf(`{"appid":%q,"code":%q}`, w.app.AppID, w.mpCode(openid)), "Authorization: none")
	var s mpSession
	if r.Status != 200 || json.Unmarshal([]byte(r.Body), &s) != nil || len(s.Token) != 43 || s.ExpiresIn != 7200 || strings.Contains(r.Body, openid) {
		w.t.Fatalf("session: %d %s", r.Status, r.Body)
	}
	return "Authorization: Bearer " + s.Token
}

func TestPhone(t *testing.T) {
	t.Parallel()
	w, users := newPhones(t, 2)
	ctx, app := t.Context(), w.appID()
	if _, err := w.admin.SetScene(ctx, app, hongyan.Scene{Name: "order_paid", Templates: []hongyan.SceneTemplate{{Template: w.template.TemplateID, Wanted: 3}}}); err != nil {
		t.Fatal(err)
	}
	a, b := w.signIn(users[0]), w.signIn(users[1])
	wantScenes := func(phone string, available int64, standing hongyan.Standing) {
		t.Helper()
		var got items[mpScene]
		r := w.call("GET", "/mp/v1/scenes", "", phone)
		if r.Status != 200 || json.Unmarshal([]byte(r.Body), &got) != nil || len(got.Items) != 1 || len(got.Items[0].Templates) != 1 {
			t.Fatalf("scenes: %d %s", r.Status, r.Body)
		}
		if x := got.Items[0].Templates[0]; x.TemplateID != w.template.TemplateID || x.Title != w.template.Title || x.Kind != hongyan.KindOneTime || x.Wanted != 3 || x.Available != available || x.Standing != standing {
			t.Errorf("scene template: %+v", x)
		}
	}
	wantScenes(a, 0, hongyan.StandingUnknown)

	report := fmt.Sprintf(`{"reports":[{"id":"r1","template":%q,"choice":"accept","age_ms":1500,"silent":false}]}`, w.template.TemplateID)
	for i, want := range []string{`{"items":[{"id":"r1","counted":1}]}`, `{"items":[{"id":"r1","counted":0,"note":"duplicate"}]}`} {
		if r := w.call("POST", "/mp/v1/grants", report, a); r.Status != 200 || strings.TrimSpace(r.Body) != want {
			t.Errorf("report %d: %d %s, want %s", i, r.Status, r.Body, want)
		}
	}
	wantScenes(a, 1, hongyan.StandingAccept)
	// The same id of another user is another report.
	if r := w.call("POST", "/mp/v1/grants", report, b); !strings.Contains(r.Body, `"counted":1`) {
		t.Errorf("report of the other: %s", r.Body)
	}
	// The same report by the team's back end is the same.
	if rs, err := w.admin.Report(ctx, app, hongyan.Report{ID: "r1", OpenID: hongyan.OpenID(users[0]), Template: w.template.TemplateID, Choice: "accept"}); err != nil || rs[0].Note != "duplicate" {
		t.Errorf("got %+v %v", rs, err)
	}
	if r := w.call("GET", "/mp/v1/grants", "", b); r.Status != 200 || !strings.Contains(r.Body, `"available":1`) || !strings.Contains(r.Body, `"baseline":"exact"`) || strings.Contains(r.Body, users[1]) {
		t.Errorf("grants: %d %s", r.Status, r.Body)
	}
	sub, err := w.admin.Grant(ctx, app, hongyan.OpenID(users[0]), w.template.TemplateID)
	if err != nil || sub.Available != 1 || len(sub.Entries) != 1 {
		t.Errorf("got %+v %v", sub, err)
	}
}

func TestPhoneRefusals(t *testing.T) {
	t.Parallel()
	w, users := newPhones(t, 1)
	phone := w.signIn(users[0])
	good := fmt.Sprintf(`{"id":"ok","template":%q,"choice":"accept"}`, w.template.TemplateID)
	for name, c := range map[string]struct {
		method, path, body, header string
		status                     int
		has                        string
	}{
		"no session":           {"GET", "/mp/v1/scenes", "", "X: y", 401, "session_expired"},
		"an unknown session":   {"GET", "/mp/v1/grants", "", "Authorization: Bearer " + strings.Repeat("x", 43), 401, "session_expired"},
		"an API key":           {"GET", "/mp/v1/grants", "", "Authorization: Bearer " + adminKey, 401, "session_expired"},
		"a session at /v1":     {"GET", "/v1/apps", "", phone, 401, "unauthorized"},
		"an openid of its own": {"POST", "/mp/v1/grants", `{"reports":[{"id":"x","openid":"oOther","template":"t","choice":"accept"}]}`, phone, 400, "unknown_field"},
		"no report":            {"POST", "/mp/v1/grants", `{"reports":[]}`, phone, 400, "/reports"},
		"too many":             {"POST", "/mp/v1/grants", `{"reports":[` + strings.TrimSuffix(strings.Repeat(good+",", 51), ",") + `]}`, phone, 400, "/reports"},
		"a large body":         {"POST", "/mp/v1/grants", `{"reports":[{"id":"` + strings.Repeat("x", 70_000) + `"}]}`, phone, 413, "64 KiB"},
		"a bad choice":         {"POST", "/mp/v1/grants", `{"reports":[` + good + `,{"id":"b","template":"t","choice":"yes"}]}`, phone, 422, "/reports/1/choice"},
		"no id":                {"POST", "/mp/v1/grants", `{"reports":[{"id":"","template":"t","choice":"accept"}]}`, phone, 422, "/reports/0/id"},
		"no such template":     {"POST", "/mp/v1/grants", `{"reports":[` + good + `,{"id":"b","template":"none","choice":"accept"}]}`, phone, 422, "/reports/1/template"},
		"a used code":          {"POST", "/mp/v1/session", `{"appid":"` + w.app.AppID + `","code":"081aBcDe0Fg1Hi2Jk3Lm"}`, "X: y", 0, "invalid_login_code"},
		"an unknown app":       {"POST", "/mp/v1/session", `{"appid":"wxnone","code":"x"}`, "X: y", 403, "mp_disabled"},
	} {
		r := w.call(c.method, c.path, c.body, c.header)
		if r.Status == 401 && !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: no WWW-Authenticate", name)
		}
		if c.status != 0 && r.Status != c.status || !strings.Contains(r.Body, c.has) {
			t.Errorf("%s: got %d %s, want %d and %s", name, r.Status, r.Body, c.status, c.has)
		}
	}
	// A refused post has stored none of its reports.
	if sub, err := w.admin.Grant(t.Context(), w.appID(), hongyan.OpenID(users[0]), w.template.TemplateID); err != nil || sub.Granted != 0 {
		t.Errorf("granted %d, %v", sub.Granted, err)
	}
	if _, err := w.admin.UpdateApp(t.Context(), w.appID(), client.AppUpdate{Settings: map[string]any{"mp": "off"}}); err != nil {
		t.Fatal(err)
	}
	if r := w.call("GET", "/mp/v1/scenes", "", phone); r.Status != 403 || !strings.Contains(r.Body, "mp_disabled") {
		t.Errorf("switched off: %d %s", r.Status, r.Body)
	}
}

func TestVouchedSession(t *testing.T) {
	t.Parallel()
	w, users := newPhones(t, 1)
	ctx, app := t.Context(), w.appID()
	s, err := w.key(nil, hongyan.ScopeSend).CreateSession(ctx, app, hongyan.OpenID(users[0]))
	if err != nil || s.ExpiresIn != 7200 || time.Until(s.ExpiresAt) > 2*time.Hour {
		t.Fatalf("got %+v %v", s, err)
	}
	phone := "Authorization: Bearer " + s.Token
	if r := w.call("GET", "/mp/v1/grants", "", phone); r.Status != 200 {
		t.Errorf("got %d %s", r.Status, r.Body)
	}
	if n, err := w.admin.EndSessions(ctx, app, hongyan.OpenID(users[0])); err != nil || n != 1 {
		t.Errorf("ended %d, %v", n, err)
	}
	if r := w.call("GET", "/mp/v1/grants", "", phone); r.Status != 401 {
		t.Errorf("after the end: %d", r.Status)
	}
	if strings.Contains(w.logs.String(), s.Token) {
		t.Error("the session is in the log")
	}
	_, err = w.admin.CreateSession(ctx, app, "no openid")
	wantCode(t, err, hongyan.CodeInvalid)
}

// While WeChat stalls, a bounded number of logins waits for it, and whoever has a session goes on.
func TestStalledLogins(t *testing.T) {
	t.Parallel()
	w, users := newPhones(t, 1)
	phone := w.signIn(users[0])
	if _, err := w.box.AddFault(sandbox.FaultSpec{Path: "/sns/jscode2session", Count: ptr(1000), LatencyMS: 1500}); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"appid":%q,"code":"081aBcDe0Fg1Hi2Jk3Lm"}`, w.app.AppID)
	var mu sync.Mutex
	refused := 0
	var wg sync.WaitGroup
	for range maxLogins + 20 {
		wg.Go(func() {
			if r := w.call("POST", "/mp/v1/session", body, "X: y"); r.Status == http.StatusTooManyRequests {
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
	}
	for range 10 {
		if r := w.call("GET", "/mp/v1/grants", "", phone); r.Status != 200 {
			t.Errorf("with a session: %d %s", r.Status, r.Body)
		}
	}
	wg.Wait()
	if refused < 15 { // a slow machine may let some of them come later
		t.Errorf("%d logins were refused, want about 20", refused)
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	b := newBuckets(0.001, 2)
	for i, want := range []bool{true, true, false} {
		if err := b.take("address", "192.0.2.1"); (err == nil) != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
	err := b.take("address", "192.0.2.1")
	if e, ok := err.(*hongyan.Error); !ok || e.Code != hongyan.CodeRateLimited || e.RetryAfter < time.Second {
		t.Errorf("got %v", err)
	}
	if err := b.take("address", "192.0.2.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	for i := range 2 * maxBuckets {
		_ = b.take("address", fmt.Sprint(i))
	}
	if len(b.m) > maxBuckets || len(b.m) < maxBuckets/2 {
		t.Errorf("%d buckets", len(b.m))
	}
	for addr, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "x": "x"} {
		if got := network(addr); got != want {
			t.Errorf("network of %s is %s, want %s", addr, got, want)
		}
	}
}
