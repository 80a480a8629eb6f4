package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is a fixed Sunday noon in Beijing.
var start = time.Date(2026, 11, 22, 12, 0, 0, 0, beijing)

// env is a sandbox behind a real server, with one app, user and template.
type env struct {
	*Sandbox
	t      *testing.T
	url    string
	client *http.Client
	app    App
	openID string
	tmpl   NewTemplate
}

func newEnv(t *testing.T, cfg Config) *env {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return start }
	}
	s := New(cfg)
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		srv.Close()
	})
	e := &env{Sandbox: s, t: t, url: srv.URL, client: srv.Client()}
	e.app = must(s.CreateApp(AppSpec{}))
	e.openID = must(s.AddUsers(UsersSpec{AppID: e.app.AppID})).OpenID
	e.tmpl = must(s.AddTemplate(TemplateSpec{AppID: e.app.AppID}))
	return e
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// reply is a JSON answer of WeChat.
type reply struct {
	Errcode int    `json:"errcode"`
	Errmsg  string `json:"errmsg"`
	raw     []byte
	status  int
	header  http.Header
}

// fields decodes the answer into a map, numbers as they are.
func (r reply) fields(t *testing.T) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(r.raw))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("answer %q: %v", r.raw, err)
	}
	return m
}

// do performs a request; body may be a string (sent as it is) or a value.
func (e *env) do(method, pathAndQuery string, body any) (reply, error) {
	e.t.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	default:
		rd = bytes.NewReader(must(json.Marshal(b)))
	}
	req := must(http.NewRequestWithContext(e.t.Context(), method, e.url+pathAndQuery, rd))
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return e.perform(req)
}

func (e *env) perform(req *http.Request) (reply, error) {
	e.t.Helper()
	res, err := e.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	r := reply{status: res.StatusCode, header: res.Header}
	r.raw, err = io.ReadAll(res.Body)
	json.Unmarshal(r.raw, &r)
	return r, err
}

// must performs a request that gets an answer.
func (e *env) must(method, pathAndQuery string, body any) reply {
	e.t.Helper()
	r, err := e.do(method, pathAndQuery, body)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, pathAndQuery, err)
	}
	return r
}

// want fails the test unless the errcode is this one.
func (e *env) want(code int, r reply) reply {
	e.t.Helper()
	if r.Errcode != code {
		e.t.Fatalf("errcode = %d (%s), want %d", r.Errcode, r.raw, code)
	}
	return r
}

// token fetches the stable token.
func (e *env) token() string {
	e.t.Helper()
	r := e.stable(false)
	return r.fields(e.t)["access_token"].(string)
}

func (e *env) stable(force bool) reply {
	e.t.Helper()
	return e.must("POST", pathStableToken, map[string]any{"grant_type": "client_credential",
		"appid": e.app.AppID, "secret": e.app.Secret, "force_refresh": force})
}

// wireData is data in the form of a send.
func wireData(values map[string]string) map[string]any {
	m := make(map[string]any)
	for k, v := range values {
		m[k] = map[string]string{"value": v}
	}
	return m
}

// message is a send that passes, given a grant.
func (e *env) message() map[string]any {
	return map[string]any{"touser": e.openID, "template_id": e.tmpl.TemplateID, "data": wireData(e.tmpl.Example)}
}

func (e *env) send(token string, body any) reply {
	e.t.Helper()
	return e.must("POST", pathSend+"?access_token="+token, body)
}

// tap accepts the template n times.
func (e *env) tap(n int) {
	e.t.Helper()
	if _, err := e.Tap(TapSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateIDs: []string{e.tmpl.TemplateID}, Times: n}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) available() int {
	e.t.Helper()
	g, err := e.Grants(GrantQuery{AppID: e.app.AppID, OpenID: e.openID, TemplateID: e.tmpl.TemplateID})
	if err != nil {
		e.t.Fatal(err)
	}
	return g.Available
}

// wantAvailable checks WeChat's count of grants.
func (e *env) wantAvailable(n int) {
	e.t.Helper()
	if got := e.available(); got != n {
		e.t.Errorf("available = %d, want %d", got, n)
	}
}

// wantCards checks how many cards arrived.
func (e *env) wantCards(n int) []Card {
	e.t.Helper()
	p, err := e.Outbox(OutboxQuery{AppID: e.app.AppID, Limit: 1000})
	if err != nil {
		e.t.Fatal(err)
	}
	if len(p.Items) != n {
		e.t.Errorf("%d cards, want %d", len(p.Items), n)
	}
	return p.Items
}

func (e *env) setRules(r Rules) {
	e.t.Helper()
	if _, err := e.SetRules(e.app.AppID, r); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) advance(d time.Duration) {
	e.t.Helper()
	if _, err := e.Advance(d); err != nil {
		e.t.Fatal(err)
	}
}

// The whole way of one message, as an integrator walks it.
func TestWholeWay(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	code := must(e.Login(LoginSpec{AppID: e.app.AppID, OpenID: e.openID})).Code
	login := e.must("GET", pathCode2Session+"?grant_type=authorization_code&appid="+e.app.AppID+"&secret="+e.app.Secret+"&js_code="+code, nil)
	if got := login.fields(t)["openid"]; got != e.openID {
		t.Fatalf("login: %s", login.raw)
	}
	token := e.token()
	e.want(43101, e.send(token, e.message()))
	e.tap(2)
	m := e.message()
	m["page"] = "pages/order?id=7&from=card"
	r := e.want(0, e.send(token, m))
	msgid := r.fields(t)["msgid"].(json.Number).String()
	if len(msgid) != 19 {
		t.Errorf("msgid %s has not 19 digits", msgid)
	}
	e.wantAvailable(1)
	card := e.wantCards(1)[0]
	if got := must(json.Marshal(card)); !strings.Contains(string(got), `"msgid":"`+msgid+`"`) {
		t.Errorf("card %s lacks msgid %s", got, msgid)
	}
	if card.Page != m["page"] || card.MiniprogramState != "formal" || card.Lang != "zh_CN" || !card.At.Equal(start) {
		t.Errorf("card = %+v", card)
	}
	for k, v := range e.tmpl.Example {
		if card.Data[k].Value != v {
			t.Errorf("card has %s = %q, want %q", k, card.Data[k].Value, v)
		}
	}
	stats := e.Stats()
	if stats.Calls != 4 || stats.Accepted != 1 || stats.ByPath[pathSend] != 2 || stats.ByErrcode[0] != 3 || stats.ByErrcode[43101] != 1 {
		t.Errorf("stats = %+v", stats)
	}
}
