package server_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/sandbox"
)

// TestSixSteps walks the whole way in order, each step through its public surface.
func TestSixSteps(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	base := "/v1/apps/" + e.appid

	// 1 choose a template in the library and add it
	cats := e.call("GET", base+"/library/categories", nil, 200)["items"].([]any)
	title := object{}
	for _, c := range cats {
		id := fmt.Sprint(c.(object)["id"])
		for _, x := range e.call("GET", base+"/library/titles?category_ids="+id, nil, 200)["items"].([]any) {
			if x.(object)["kind"] == "one_time" && title["tid"] == nil {
				title = x.(object)
			}
		}
	}
	tid := fmt.Sprint(title["tid"])
	keywords := e.call("GET", base+"/library/keywords?tid="+tid, nil, 200)["items"].([]any)
	var kids []int
	data := map[string]string{}
	for _, k := range keywords[:min(3, len(keywords))] {
		kids = append(kids, int(k.(object)["kid"].(float64)))
	}
	added := e.call("POST", base+"/templates", object{"tid": tid, "kids": kids, "scene_desc": "下单后提醒"}, 201)
	tmpl := added["template_id"].(string)
	for _, k := range added["keywords"].([]any) {
		data[k.(object)["key"].(string)] = k.(object)["example"].(string)
	}
	e.call("PUT", base+"/templates/"+tmpl+"/alias", object{"alias": "order"}, 200)

	// 2 subscribe in a tap, reported by the mini program's back end
	openid := must(e.sb.AddUsers(sandbox.UsersSpec{AppID: e.appid, Count: 1, UnionID: "oUnionOfThisUser000000000001"})).OpenIDs[0]
	tap := must(e.sb.Tap(sandbox.TapSpec{AppID: e.appid, OpenID: openid, TemplateIDs: []string{tmpl}}))
	choice := tap.Success[tmpl]

	// 3 login code, 4 openid, with the user recorded
	code := must(e.sb.Login(sandbox.LoginSpec{AppID: e.appid, OpenID: openid})).Code
	login := e.call("POST", base+"/login", object{"code": code, "external_id": "customer-7"}, 200)
	if login["openid"] != openid || strings.Contains(fmt.Sprint(login), "session_key") {
		t.Fatalf("login: %v", login)
	}
	if status, p := e.try("POST", base+"/login", object{"code": code}); status != 422 || p["code"] != "invalid_login_code" {
		t.Errorf("a used code: %d %v", status, p)
	}
	if u := e.call("GET", base+"/users/"+openid, nil, 200); u["external_id"] != "customer-7" || u["unionid"] != "oUnionOfThisUser000000000001" {
		t.Errorf("user: %v", u)
	}
	e.call("POST", base+"/grants/report", object{"reports": []object{{"id": "r1", "openid": openid, "template": "order", "choice": choice}}}, 200)

	// 5 access token: fetched by itself, 6 push, seen on the phone
	sub := object{"app": e.appid, "to": object{"user": "customer-7"}, "template": "order", "data": data, "page": "/pages/order?id=1&x=2"}
	m := e.call("POST", "/v1/messages", sub, 202)
	e.await(m["id"].(string), "accepted")
	box := must(e.sb.Outbox(sandbox.OutboxQuery{AppID: e.appid, OpenID: openid})).Items
	if len(box) != 1 || box[0].Page != "pages/order?id=1&x=2" || box[0].MiniprogramState != "formal" || box[0].Lang != "zh_CN" {
		t.Fatalf("outbox: %+v", box)
	}
	for k, v := range data {
		if box[0].Data[k].Value != v {
			t.Errorf("card %s = %q, want %q", k, box[0].Data[k].Value, v)
		}
	}

	// the grant is spent: refused before WeChat is called
	calls := e.calls(openid)
	if status, p := e.try("POST", "/v1/messages", sub); status != 409 || p["code"] != "no_grant" {
		t.Errorf("without a grant: %d %v", status, p)
	}
	if e.calls(openid) != calls {
		t.Error("WeChat was called without a grant")
	}
	// and with on_no_grant: send WeChat itself refuses
	sub["on_no_grant"] = "send"
	m = e.await(e.call("POST", "/v1/messages", sub, 202)["id"].(string), "failed")
	if m["reason"] != "not_subscribed" || m["errcode"].(float64) != 43101 {
		t.Errorf("tried anyway: %v", m)
	}
}

// TestColdStart: a thousand first sends at once cost one call of stable_token.
func TestColdStart(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(e *env, _ *config.Config) { e.history = "existing" })
	must(e.sb.Tokens(sandbox.TokensSpec{AppID: e.appid, Action: "expire"}))
	openids := make([]string, 1000)
	for i := range openids {
		openids[i] = fmt.Sprintf("oColdStartUser%014d", i)
	}
	must(e.sb.AddUsers(sandbox.UsersSpec{AppID: e.appid, OpenIDs: openids}))
	must(e.sb.Tap(sandbox.TapSpec{AppID: e.appid, OpenIDs: openids, TemplateIDs: []string{e.tmpl}}))
	before := e.sb.Stats().ByPath["/cgi-bin/stable_token"]
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < len(openids); i += 50 {
				if status, b, err := requestErr(e.url, adminKey, "POST", "/v1/messages", e.message(openids[i], nil)); status != 202 || err != nil {
					t.Errorf("submit: %d %s %v", status, b, err)
				}
			}
		})
	}
	wg.Wait()
	e.until(30*time.Second, func() bool { return e.sb.Stats().Accepted == 1000 }, func() string { return fmt.Sprintf("%d of 1000 arrived", e.sb.Stats().Accepted) })
	if n := e.sb.Stats().ByPath["/cgi-bin/stable_token"] - before; n != 1 {
		t.Errorf("%d calls of stable_token, want 1", n)
	}
	t.Logf("1000 first sends, %d call of stable_token", e.sb.Stats().ByPath["/cgi-bin/stable_token"]-before)
}

// TestTokenDiesInMidRun: one more fetch, and every message arrives once.
func TestTokenDiesInMidRun(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.fault(sandbox.FaultSpec{LatencyMS: 5, When: "before"})
	var openids []string
	for range 300 {
		openids = append(openids, e.user(1))
	}
	before := e.sb.Stats().ByPath["/cgi-bin/stable_token"]
	var ids []string
	for i, u := range openids {
		if i == 150 {
			must(e.sb.Tokens(sandbox.TokensSpec{AppID: e.appid, Action: "supersede"}))
		}
		ids = append(ids, e.submit(u, nil))
	}
	for _, id := range ids {
		e.await(id, "accepted")
	}
	if n := e.sb.Stats().ByPath["/cgi-bin/stable_token"] - before; n > 2 { // the first send's own, and one refresh
		t.Errorf("%d fetches, want one refresh", n)
	}
	if n := e.sb.Stats().Accepted; n != 300 {
		t.Errorf("%d cards, want 300", n)
	}
}

// TestSecretsStayInside greps logs at debug level, every answer and the database files of
// a full run for secrets in clear.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	secrets := map[string]string{} // value → what it is
	e := newEnv(t, func(e *env, cfg *config.Config) {
		// A witness between server and sandbox learns what only the two of them know.
		inner := e.wechat.handler
		e.wechat.stop()
		e.wechat.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			inner.ServeHTTP(rec, r)
			var v struct {
				AccessToken string `json:"access_token"`
				SessionKey  string `json:"session_key"`
			}
			_ = json.Unmarshal(rec.Body.Bytes(), &v)
			mu.Lock()
			if v.AccessToken != "" {
				secrets[v.AccessToken] = "access token"
			}
			if v.SessionKey != "" {
				secrets[v.SessionKey] = "session_key"
			}
			mu.Unlock()
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
		e.wechat.start(e.t)
	})
	var answers bytes.Buffer
	do := func(key, method, path string, body any) object {
		_, b, err := requestErr(e.url, key, method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		var o object
		_ = json.Unmarshal(b, &o)
		if o["key"] == nil && o["token"] == nil { // the answers that show new keys
			answers.Write(b)
		}
		return o
	}
	base := "/v1/apps/" + e.appid
	u := e.user(3)
	key := do(adminKey, "POST", "/v1/keys", object{"name": "shop", "scopes": []string{"send", "read"}})["key"].(string)
	code := must(e.sb.Login(sandbox.LoginSpec{AppID: e.appid, OpenID: u})).Code
	do(key, "POST", base+"/login", object{"code": code})
	do(key, "POST", base+"/login", object{"code": code})
	id := do(key, "POST", "/v1/messages", e.message(u, nil))["id"].(string)
	e.await(id, "accepted")
	must(e.sb.Tokens(sandbox.TokensSpec{AppID: e.appid, Action: "supersede"}))
	e.await(e.submit(u, nil), "accepted")
	e.fault(sandbox.FaultSpec{Drop: true, Count: ptr(1)})
	e.await(e.submit(u, nil), "uncertain")
	wrong := "0123456789abcdef0123456789abcdef"
	do(adminKey, "PATCH", base, object{"secret": wrong})
	do(adminKey, "POST", "/v1/apps", object{"appid": "wx0000000000000000", "secret": wrong, "name": "x"})
	keys := do(adminKey, "PUT", base+"/callback", object{"forward_to": "http://127.0.0.1:1/"})
	must(e.sb.SetPush(t.Context(), e.appid, sandbox.PushSpec{URL: e.url + keys["path"].(string), Token: keys["token"].(string), AESKey: keys["encoding_aes_key"].(string)}))
	e.accept(u, 1)
	if err := e.sb.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(adminKey, "GET", base+"/callback", nil)
	do(adminKey, "GET", base+"/callbacks", nil)
	do("hyk_"+strings.Repeat("x", 43), "GET", base, nil)
	do(key, "GET", "/v1/keys", nil)
	do(adminKey, "GET", "/v1/keys", nil)
	do(adminKey, "GET", "/v1/apps", nil)
	do(adminKey, "GET", "/v1/settings", nil)
	do(adminKey, "GET", "/v1/messages/"+id, nil)
	do(adminKey, "GET", base+"/users", nil)
	// A member, with all that signing in moves.
	first := strings.TrimPrefix(must(e.server.FirstRunLink(t.Context())), e.url+hongyan.SetupPath)
	b := &browser{t: t, url: e.url}
	see := func(method, path string, body any) object {
		_, o := b.do(method, path, body)
		if o["link"] == nil {
			answers.WriteString(o["body"].(string))
		}
		mu.Lock()
		secrets[b.cookie] = "session token"
		mu.Unlock()
		return o
	}
	see("POST", "/v1/setup", object{"token": first, "name": "owner", "password": password})
	see("POST", "/v1/session", object{"name": "owner", "password": "a wrong password"})
	see("POST", "/v1/session", object{"name": "owner", "password": password})
	see("POST", "/v1/session/password", object{"old": password, "new": "short pw"})
	see("POST", "/v1/session/password", object{"old": password, "new": "another long password"})
	see("GET", "/v1/session", nil)
	link := tokenOf(see("POST", "/v1/members", object{"name": "bo", "role": "viewer"}))
	see("GET", "/v1/members", nil)
	see("POST", "/v1/setup", object{"token": link, "password": "short pw"})
	see("POST", "/v1/setup/check", object{"token": link})
	if len(b.cookie) != 43 {
		t.Fatalf("nobody is signed in: %q", b.cookie)
	}
	_, metrics, err := requestErr(e.url, adminKey, "GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	secrets[first], secrets[link] = "link of the first run", "link"
	for _, p := range []string{password, "a wrong password", "another long password", "short pw"} {
		secrets[p] = "password"
	}
	delete(secrets, "")
	kinds := map[string]bool{}
	for _, kind := range secrets {
		kinds[kind] = true
	}
	if !kinds["access token"] || !kinds["session_key"] {
		t.Fatalf("the witness saw %v", kinds)
	}
	secrets[e.secret], secrets[wrong], secrets[key], secrets[adminKey], secrets[code] = "AppSecret", "wrong AppSecret", "API key", "owner's key", "login code"
	secrets[keys["token"].(string)], secrets[keys["encoding_aes_key"].(string)] = "callback token", "EncodingAESKey"
	places := map[string][]byte{"log": []byte(e.log.String()), "answers": answers.Bytes(), "metrics": metrics}
	for _, f := range dbFiles(t, e.dir) {
		places[f] = readFile(t, f)
	}
	for value, kind := range secrets {
		for place, b := range places {
			if bytes.Contains(b, []byte(value)) {
				t.Errorf("%s stands in clear in the %s", kind, place)
			}
		}
	}
	if !strings.Contains(e.log.String(), "level=DEBUG") {
		t.Error("the log is not at debug level: nothing was shown")
	}
	t.Logf("looked for %d secrets in %d places", len(secrets), len(places))
}

// TestWrongMasterKey: a database sealed with another key stops the start and loses nothing.
func TestMasterKeyFromEnvironment(t *testing.T) {
	t.Parallel()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	e := newEnv(t, func(_ *env, cfg *config.Config) { cfg.MasterKey = base64.StdEncoding.EncodeToString(raw) })
	u := e.user(1)
	e.await(e.submit(u, nil), "accepted")
	if strings.Contains(fmt.Sprint(dirNames(t, e.dir)), "master.key") {
		t.Error("a master key file was made although one was given")
	}
}

// TestGracefulStop: what was accepted before the stop is there after the next start, and
// nothing that was under way became uncertain.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	r := newRun(t, setting{messages: 300, slow: 100})
	r.submit()
	<-r.submitted
	r.terminate()
	r.calm()
	r.start()
	r.verify(0, 0)
}
