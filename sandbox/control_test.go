package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// control makes a control call and returns status and answer.
func (e *env) control(method, path string, body any) (int, map[string]any) {
	e.t.Helper()
	r := e.must(method, "/_sandbox/"+path, body)
	return r.status, r.fields(e.t)
}

// wantProblem fails the test unless the call is refused like this.
func (e *env) wantProblem(status int, code, method, path string, body any) map[string]any {
	e.t.Helper()
	r := e.must(method, "/_sandbox/"+path, body)
	m := r.fields(e.t)
	if r.status != status || m["code"] != code || r.header.Get("Content-Type") != "application/problem+json" ||
		m["title"] != http.StatusText(status) || fmt.Sprint(m["status"]) != fmt.Sprint(status) || m["type"] == "" || m["detail"] == "" {
		e.t.Errorf("%s %s: %d %s, want %d %s", method, path, r.status, r.raw, status, code)
	}
	return m
}

// The control surface as scripts use it: every call of the table, over HTTP.
func TestControlSurface(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.Reset()
	ok := func(method, path string, body any) map[string]any {
		t.Helper()
		status, m := e.control(method, path, body)
		if status != 200 {
			t.Fatalf("%s %s: %d %v", method, path, status, m)
		}
		return m
	}
	app := ok("POST", "apps", "{}")
	id, _ := app["appid"].(string)
	secret, _ := app["secret"].(string)
	if !regexp.MustCompile(`^wx[0-9a-f]{16}$`).MatchString(id) || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(secret) || app["name"] == "" {
		t.Errorf("app = %v", app)
	}
	e.app = App{AppID: id, Secret: secret}
	tmpl := ok("POST", "templates", map[string]any{"appid": id})
	tid, _ := tmpl["template_id"].(string)
	example, _ := tmpl["example"].(map[string]any)
	if len(tid) != 43 || len(example) != 5 {
		t.Errorf("template = %v", tmpl)
	}
	ok("POST", "templates", map[string]any{"appid": id, "tid": 401, "kids": []int{1, 2}, "type": 2})
	users := ok("POST", "users", map[string]any{"appid": id, "openid": "oTester"})
	if users["openid"] != "oTester" || len(users["openids"].([]any)) != 1 {
		t.Errorf("users = %v", users)
	}
	if code, _ := ok("POST", "login", map[string]any{"appid": id, "openid": "oTester"})["code"].(string); len(code) != 32 {
		t.Errorf("code = %q", code)
	}
	tap := ok("POST", "taps", map[string]any{"appid": id, "openid": "oTester", "template_ids": []string{tid}, "times": 3})
	if s, _ := tap["success"].(map[string]any); s[tid] != "accept" || s["errMsg"] != "requestSubscribeMessage:ok" {
		t.Errorf("tap = %v", tap)
	}
	grants := "grants?appid=" + id + "&openid=oTester&template_id=" + tid
	if n := ok("GET", grants, nil)["available"]; fmt.Sprint(n) != "3" {
		t.Errorf("available = %v", n)
	}
	data := map[string]any{}
	for k, v := range example {
		data[k] = map[string]any{"value": v}
	}
	send := func() reply {
		t.Helper()
		return e.send(e.token(), map[string]any{"touser": "oTester", "template_id": tid, "data": data})
	}
	e.want(0, send())
	card := ok("GET", "outbox?appid="+id+"&openid=oTester", nil)["items"].([]any)[0].(map[string]any)
	for _, name := range []string{"msgid", "appid", "openid", "template_id", "page", "miniprogram_state", "lang", "data", "at"} {
		if _, ok := card[name]; !ok {
			t.Errorf("card lacks %s: %v", name, card)
		}
	}
	if _, err := time.Parse(time.RFC3339, fmt.Sprint(card["at"])); err != nil {
		t.Error(err)
	}
	calls := ok("GET", "calls?path="+pathSend+"&appid="+id, nil)["items"].([]any)
	if c := calls[0].(map[string]any); len(calls) != 1 || fmt.Sprint(c["errcode"]) != "0" || c["openid"] != "oTester" || c["duration_ms"] == nil {
		t.Errorf("calls = %v", calls)
	}
	stats := ok("GET", "stats", nil)
	if fmt.Sprint(stats["calls"]) != "2" || fmt.Sprint(stats["accepted"]) != "1" ||
		fmt.Sprint(stats["by_path"]) != "map[/cgi-bin/message/subscribe/send:1 /cgi-bin/stable_token:1]" || fmt.Sprint(stats["by_errcode"]) != "map[0:2]" {
		t.Errorf("stats = %v", stats)
	}
	fault := ok("POST", "faults", map[string]any{"path": pathSend, "errcode": 45009, "count": 1})
	if fault["id"] == nil || fmt.Sprint(fault["left"]) != "1" || fault["when"] != "before" {
		t.Errorf("fault = %v", fault)
	}
	e.want(45009, send())
	if list := ok("GET", "faults", nil)["items"].([]any); len(list) != 1 {
		t.Errorf("faults = %v", list)
	}
	ok("DELETE", "faults?id="+fmt.Sprint(fault["id"]), nil)
	ok("POST", "refuse", map[string]any{"appid": id, "openid": "oTester", "template_id": tid, "where": "card"})
	e.want(43101, send())
	ok("PUT", "apps/"+id+"/rules", map[string]any{"max_grants": 1, "quotas": map[string]int{pathSend: 5}})
	if r := ok("GET", "apps/"+id+"/rules", nil); fmt.Sprint(r["max_grants"]) != "1" || r["dialog_reject"] != "keep" || r["ip_whitelist"] == nil {
		t.Errorf("rules = %v", r)
	}
	clock := ok("POST", "clock", map[string]any{"advance_s": 3600.5})
	if want := start.Add(3600*time.Second + 500*time.Millisecond).UTC().Format(time.RFC3339Nano); clock["now"] != want {
		t.Errorf("clock = %v, want %s", clock, want)
	}
	ok("POST", "tokens", map[string]any{"appid": id, "action": "supersede"})
	ok("POST", "reset", "{}")
	e.wantProblem(404, "unknown_app", "POST", "login", map[string]any{"appid": id, "openid": "oTester"})
	if s := ok("GET", "stats", nil); fmt.Sprint(s["calls"]) != "0" {
		t.Errorf("after reset: %v", s)
	}
	if c := ok("GET", "clock", nil); fmt.Sprint(c["offset_s"]) != "3600.5" {
		t.Errorf("the clock after reset = %v", c)
	}
}

func TestControlProblems(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	id := e.app.AppID
	if m := e.wantProblem(400, "unknown_field", "POST", "apps", `{"app_id":"x"}`); !strings.Contains(fmt.Sprint(m["detail"]), `"app_id"`) {
		t.Errorf("detail %v does not name the field", m["detail"])
	}
	if m := e.wantProblem(400, "wrong_type", "POST", "users", `{"appid":"x","openids":"y"}`); !strings.Contains(fmt.Sprint(m["detail"]), "openids") {
		t.Errorf("detail %v does not name the field", m["detail"])
	}
	e.wantProblem(400, "unknown_field", "POST", "taps", `{"appid":"`+id+`","templates":[]}`)
	e.wantProblem(400, "unknown_field", "PUT", "apps/"+id+"/rules", `{"quota":{}}`)
	e.wantProblem(400, "bad_json", "POST", "apps", `{`)
	e.wantProblem(400, "bad_json", "POST", "apps", `[]`)
	e.wantProblem(400, "bad_json", "POST", "apps", `{} {}`)
	e.wantProblem(400, "bad_json", "POST", "apps", `{}}`)
	e.wantProblem(400, "bad_json", "POST", "apps", nil)
	e.wantProblem(409, "app_exists", "POST", "apps", map[string]any{"appid": id})
	e.wantProblem(400, "bad_request", "POST", "apps", `{"appid":"a b"}`)
	e.wantProblem(404, "unknown_user", "POST", "login", map[string]any{"appid": id, "openid": "oNobody"})
	e.wantProblem(400, "bad_request", "POST", "login", map[string]any{"appid": id})
	e.wantProblem(404, "unknown_template", "GET", "grants?appid="+id+"&openid="+e.openID+"&template_id=x", nil)
	e.wantProblem(400, "bad_request", "GET", "grants?appid="+id+"&openid="+e.openID, nil)
	e.wantProblem(400, "unknown_parameter", "GET", "outbox?app_id="+id, nil)
	e.wantProblem(400, "bad_cursor", "GET", "outbox?cursor=zzz!", nil)
	e.wantProblem(400, "bad_cursor", "GET", "calls?cursor=o1", nil) // another list's
	for _, limit := range []string{"0", "-1", "1001", "x"} {
		e.wantProblem(400, "bad_request", "GET", "outbox?limit="+limit, nil)
	}
	e.wantProblem(404, "not_found", "GET", "nothing", nil)
	e.wantProblem(404, "not_found", "GET", "apps/a/b/rules", nil)
	e.wantProblem(405, "method_not_allowed", "PUT", "apps", "{}")
	e.wantProblem(400, "bad_request", "POST", "clock", "{}")
	e.wantProblem(400, "bad_request", "POST", "clock", `{"advance_s":-1}`)
	e.wantProblem(400, "bad_request", "POST", "clock", `{"advance_s":1e30}`)
	e.wantProblem(400, "bad_request", "POST", "tokens", map[string]any{"appid": id, "action": "kill"})
	e.wantProblem(404, "unknown_fault", "DELETE", "faults?id=f99", nil)
	e.wantProblem(413, "too_large", "POST", "users", `{"appid":"`+strings.Repeat("x", maxControlBody)+`"}`)
	for _, rules := range []Rules{
		{DialogReject: "maybe"}, {IPWhitelist: []string{"localhost"}}, {IPWhitelist: []string{"10.0.0.0/99"}}, {MaxGrants: -1}, {MaxPerCall: 4},
		{Quotas: map[string]int{"/x": 1}}, {Quotas: map[string]int{pathSend: -1}}, {Blacklist: []string{""}},
		{AccountErrcode: map[string]int{pathSend: 0}}, {AccountErrcode: map[string]int{"/x": 1}},
	} {
		if _, err := e.SetRules(id, rules); err == nil {
			t.Errorf("%+v was taken", rules)
		}
	}
	for _, spec := range []UsersSpec{
		{OpenID: "a b"}, {OpenID: "a", OpenIDs: []string{"b"}}, {OpenID: "a", Count: 2}, {Count: -1}, {Count: 2, UnionID: "u"},
	} {
		spec.AppID = id
		if _, err := e.AddUsers(spec); err == nil {
			t.Errorf("%+v was taken", spec)
		}
	}
}

// Web pages, and names that point here by trickery, are kept out.
func TestForeignCallers(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{AllowedHosts: []string{"sandbox.test", "other.test:99"}})
	own := strings.TrimPrefix(e.url, "http://")
	for _, c := range []struct {
		host, origin, contentType string
		status                    int
	}{
		{"", "", "application/json", 200},
		{"", "", "application/json; charset=utf-8", 200},
		{"", "", "text/plain", 415},
		{"", "", "", 415},
		{"", "", "application/x-www-form-urlencoded", 415},
		{"", e.url, "application/json", 200},
		{"", "http://evil.test", "application/json", 403},
		{"", "http://127.0.0.1:1", "application/json", 403},
		{"", "null", "application/json", 403},
		{"evil.test", "", "application/json", 403},
		{"evil.test", "http://evil.test", "application/json", 403},
		{"sandbox.test", "", "application/json", 200},
		{"sandbox.test:8422", "", "application/json", 200},
		{"other.test:99", "", "application/json", 200},
		{"other.test:98", "", "application/json", 403},
		{"localhost:8422", "", "application/json", 200},
		{"LOCALHOST", "", "application/json", 200},
		{"127.8.9.10", "", "application/json", 200},
		{"[::1]:8422", "", "application/json", 200},
		{"10.0.0.1", "", "application/json", 403},
		{"localhost.evil.test", "", "application/json", 403},
	} {
		req := must(http.NewRequest("POST", "http://"+own+"/_sandbox/apps", strings.NewReader("{}")))
		req.Host = c.host
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		if c.contentType != "" {
			req.Header.Set("Content-Type", c.contentType)
		}
		if r := must(e.perform(req)); r.status != c.status {
			t.Errorf("%+v: %d %s", c, r.status, r.raw)
		}
	}
	req := must(http.NewRequest("GET", "http://"+own+"/_sandbox/stats", nil))
	req.Header.Set("Origin", "http://evil.test")
	if r := must(e.perform(req)); r.status != 403 {
		t.Errorf("GET from a foreign page: %d", r.status)
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{KeepCalls: 10})
	other := must(e.AddUsers(UsersSpec{AppID: e.app.AppID})).OpenID
	e.tap(25)
	token := e.token()
	for range 25 {
		e.want(0, e.send(token, e.message()))
	}
	seen, cursor, pages := map[int64]bool{}, "", 0
	for {
		p := must(e.Outbox(OutboxQuery{AppID: e.app.AppID, OpenID: e.openID, Limit: 10, Cursor: cursor}))
		for _, card := range p.Items {
			seen[card.MsgID] = true
		}
		pages++
		if cursor = p.NextCursor; cursor == "" {
			break
		}
	}
	if len(seen) != 25 || pages != 3 {
		t.Errorf("%d cards in %d pages", len(seen), pages)
	}
	_, m := e.control("GET", "outbox?limit=25", nil)
	if cur, there := m["next_cursor"]; !there || cur != nil || fmt.Sprint(m["limit"]) != "25" {
		t.Errorf("the last page has next_cursor %v, limit %v", cur, m["limit"])
	}
	_, m = e.control("GET", "outbox?openid="+other, nil)
	if items, ok := m["items"].([]any); !ok || len(items) != 0 {
		t.Errorf("empty list: %v", m)
	}
	p := must(e.Calls(CallQuery{Limit: 4}))
	rest := must(e.Calls(CallQuery{Limit: 100, Cursor: p.NextCursor}))
	if len(p.Items) != 4 || len(rest.Items) != 6 || rest.NextCursor != "" {
		t.Errorf("%d and %d calls kept", len(p.Items), len(rest.Items))
	}
	for range 10 {
		e.send(token, e.message())
	}
	if rest = must(e.Calls(CallQuery{Limit: 100, Cursor: p.NextCursor})); len(rest.Items) != 10 {
		t.Errorf("an old cursor finds %d calls", len(rest.Items))
	}
	if s := e.Stats(); s.Calls != 36 || s.Accepted != 25 {
		t.Errorf("stats = %+v", s)
	}
	none := newEnv(t, Config{KeepCalls: -1})
	none.token()
	if p := must(none.Calls(CallQuery{})); len(p.Items) != 0 || none.Stats().Calls != 1 {
		t.Errorf("calls are kept: %+v", p)
	}
}

func TestOutboxBeyondOneChunk(t *testing.T) {
	t.Parallel()
	var o outbox
	for i := range chunkSize*2 + 5 {
		o.add(card{msgid: int64(i)})
	}
	chunks, n := o.view()
	if n != chunkSize*2+5 || len(chunks) != 3 || chunks[2][4].msgid != chunkSize*2+4 {
		t.Errorf("%d cards in %d chunks", n, len(chunks))
	}
}

// Not even a debug log has credentials, nor does a list of calls.
func TestNoSecretsInLogs(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var mu sync.Mutex
	e := newEnv(t, Config{Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	e.tap(1)
	token := e.token()
	e.legacy()
	code := e.code()
	e.login(code)
	e.want(0, e.send(token, e.message()))
	text := string(e.must("GET", "/_sandbox/calls", nil).raw)
	mu.Lock()
	defer mu.Unlock()
	text += log.String()
	if !strings.Contains(log.String(), "path="+pathSend) {
		t.Errorf("log %q lacks the send", log.String())
	}
	for _, secret := range []string{token, e.app.Secret, code} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log or in the calls", secret)
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func TestIPLists(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	for _, path := range []string{"/cgi-bin/get_api_domain_ip", "/cgi-bin/getcallbackip"} {
		if r := e.must("GET", path+"?access_token="+e.token(), nil); string(r.raw) != `{"ip_list":["127.0.0.1"]}` {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
	for addr, want := range map[string]string{
		"1.2.3.4:5":          "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist",
		"[::ffff:1.2.3.4]:5": "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist",
		"[2001:db8::1]:5":    "invalid ip 2001:db8::1 ipv6 2001:db8::1, not in whitelist",
		"1.2.3.4":            "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist",
	} {
		if got := ipText(remoteIP(addr)); got != want {
			t.Errorf("%s: %q", addr, got)
		}
	}
}

func TestCreateApp(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	defer s.Close()
	app := must(s.CreateApp(AppSpec{AppID: "wx0123456789abcdef", Secret: "s", Name: "商城"}))
	if (app != App{"wx0123456789abcdef", "s", "商城"}) {
		t.Errorf("app = %+v", app)
	}
	if _, err := s.CreateApp(AppSpec{Secret: strings.Repeat("x", 129)}); err == nil {
		t.Error("a secret of 129 bytes was taken")
	}
}
