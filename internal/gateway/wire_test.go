package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

var (
	ridText   = regexp.MustCompile(`rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}`)
	changing  = map[string]bool{"access_token": true, "expires_in": true, "msgid": true, "session_key": true, "priTmplId": true, "rid": true}
	tokenForm = regexp.MustCompile(`^\d+_[A-Za-z0-9_-]{120,}$`)
)

// plain is an answer without what differs from call to call, but with its kind.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		out := object{}
		for k, x := range v {
			out[k] = plain(x)
			if changing[k] {
				out[k] = fmt.Sprintf("a %T", x)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plain(x)
		}
		return out
	case string:
		return ridText.ReplaceAllString(v, "rid: RID")
	}
	return v
}

// TestWire makes the same calls of the sandbox and of the gateway before it: what comes back
// is the same in every field.
func TestWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	visitor := w.user(0)
	code := func() string {
		l, err := w.box.Login(sandbox.LoginSpec{AppID: w.app.AppID, OpenID: visitor})
		w.must(err)
		return l.Code
	}
	granted, none := w.user(20), w.user(0)
	with := func(m object, changes object) object {
		out := object{}
		for k, v := range m {
			out[k] = v
		}
		for k, v := range changes {
			out[k] = v
		}
		return out
	}
	data := func(key, value string) object {
		m := w.message(granted)
		d := with(m["data"].(object), object{key: object{"value": value}})
		return with(m, object{"data": d})
	}
	var first string
	for key := range w.tmpl.Example {
		if first == "" || strings.Index(w.tmpl.Content, key) < strings.Index(w.tmpl.Content, first) {
			first = key
		}
	}
	token := map[string]string{w.direct.url: w.token(w.direct), w.gateway.url: w.token(w.gateway)}
	q := func(tg target, more ...string) string {
		v := url.Values{"access_token": {token[tg.url]}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return "?" + v.Encode()
	}
	creds := func(tg target, more ...string) string {
		v := url.Values{"appid": {tg.appid}, "secret": {tg.secret}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return "?" + v.Encode()
	}
	for _, c := range []struct {
		name, method string
		path         func(target) string
		body         func(target) any
	}{
		{"token", "GET", func(tg target) string { return "/cgi-bin/token" + creds(tg, "grant_type", "client_credential") }, nil},
		{"token: no appid", "GET", func(tg target) string { return "/cgi-bin/token" }, nil},
		{"token: unknown appid", "GET", func(tg target) string { return "/cgi-bin/token?appid=wx0000000000000000" }, nil},
		{"token: grant type", "GET", func(tg target) string { return "/cgi-bin/token" + creds(tg) }, nil},
		{"token: no secret", "GET", func(tg target) string { return "/cgi-bin/token?grant_type=client_credential&appid=" + tg.appid }, nil},
		{"token: wrong secret", "GET", func(tg target) string {
			return "/cgi-bin/token" + creds(tg, "grant_type", "client_credential", "secret", "x")
		}, nil},
		{"token: POST", "POST", func(tg target) string { return "/cgi-bin/token" + creds(tg, "grant_type", "client_credential") }, func(target) any { return "{}" }},
		{"stable token", "POST", func(target) string { return "/cgi-bin/stable_token" }, func(tg target) any {
			return object{"grant_type": "client_credential", "appid": tg.appid, "secret": tg.secret}
		}},
		{"stable token: forced", "POST", func(target) string { return "/cgi-bin/stable_token" }, func(tg target) any {
			return object{"grant_type": "client_credential", "appid": tg.appid, "secret": tg.secret, "force_refresh": true}
		}},
		{"stable token: not JSON", "POST", func(target) string { return "/cgi-bin/stable_token" }, func(target) any { return "appid=x" }},
		{"stable token: a number", "POST", func(target) string { return "/cgi-bin/stable_token" }, func(target) any { return `{"appid":1}` }},
		{"stable token: empty", "POST", func(target) string { return "/cgi-bin/stable_token" }, func(target) any { return "" }},
		{"stable token: GET", "GET", func(target) string { return "/cgi-bin/stable_token" }, nil},
		{"login", "GET", func(tg target) string {
			return "/sns/jscode2session" + creds(tg, "grant_type", "authorization_code", "js_code", code())
		}, nil},
		{"login: unknown code", "GET", func(tg target) string {
			return "/sns/jscode2session" + creds(tg, "grant_type", "authorization_code", "js_code", "nope")
		}, nil},
		{"login: no code", "GET", func(tg target) string { return "/sns/jscode2session" + creds(tg, "grant_type", "authorization_code") }, nil},
		{"login: wrong secret", "GET", func(tg target) string {
			return "/sns/jscode2session" + creds(tg, "grant_type", "authorization_code", "js_code", "x", "secret", "y")
		}, nil},
		{"gettemplate", "GET", func(tg target) string { return "/wxaapi/newtmpl/gettemplate" + q(tg) }, nil},
		{"gettemplate: POST", "POST", func(tg target) string { return "/wxaapi/newtmpl/gettemplate" + q(tg) }, func(target) any { return "{}" }},
		{"getcategory", "GET", func(tg target) string { return "/wxaapi/newtmpl/getcategory" + q(tg) }, nil},
		{"getpubtemplatetitles", "GET", func(tg target) string {
			return "/wxaapi/newtmpl/getpubtemplatetitles" + q(tg, "ids", "616", "start", "0", "limit", "3")
		}, nil},
		{"getpubtemplatekeywords", "GET", func(tg target) string { return "/wxaapi/newtmpl/getpubtemplatekeywords" + q(tg, "tid", "2001") }, nil},
		{"addtemplate", "POST", func(tg target) string { return "/wxaapi/newtmpl/addtemplate" + q(tg) }, func(tg target) any {
			kids := map[string][]int{w.direct.url: {2, 3, 5}, w.gateway.url: {2, 3, 8}}[tg.url] // two templates: the app is one
			return object{"tid": "1458", "kidList": kids, "sceneDesc": "x"}
		}},
		{"addtemplate: bad kids", "POST", func(tg target) string { return "/wxaapi/newtmpl/addtemplate" + q(tg) }, func(target) any {
			return object{"tid": "1458", "kidList": []int{9999}, "sceneDesc": "x"}
		}},
		{"deltemplate: unknown", "POST", func(tg target) string { return "/wxaapi/newtmpl/deltemplate" + q(tg) }, func(target) any { return object{"priTmplId": "nope"} }},
		{"send", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return w.message(granted) }},
		{"send: with page, state and language", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any {
			return with(w.message(granted), object{"page": "pages/index?a=1&b=2", "miniprogram_state": "trial", "lang": "en_US"})
		}},
		{"send: not subscribed", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return w.message(none) }},
		{"send: a value too long", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return data(first, strings.Repeat("字", 40)) }},
		{"send: an empty value", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return data(first, "") }},
		{"send: a key missing", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any {
			return with(w.message(granted), object{"data": object{}})
		}},
		{"send: a value that is a number", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any {
			return with(w.message(granted), object{"data": object{first: object{"value": 7}}})
		}},
		{"send: unknown template", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any {
			return with(w.message(granted), object{"template_id": "nope"})
		}},
		{"send: no template", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any {
			return with(w.message(granted), object{"template_id": ""})
		}},
		{"send: unknown openid", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return w.message("oNobodyKnowsThisOne") }},
		{"send: no openid", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return w.message("") }},
		{"send: an openid of another shape", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return w.message("o/../x") }},
		{"send: unknown state", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any {
			return with(w.message(granted), object{"miniprogram_state": "x"})
		}},
		{"send: not JSON", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return "touser=x" }},
		{"send: a wrong type", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return with(w.message(granted), object{"touser": 1}) }},
		{"send: data is a list", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return with(w.message(granted), object{"data": []int{}}) }},
		{"send: empty", "POST", func(tg target) string { return sendPath + q(tg) }, func(target) any { return "" }},
		{"send: GET", "GET", func(tg target) string { return sendPath + q(tg) }, nil},
		{"send: no token", "POST", func(tg target) string { return sendPath }, func(target) any { return "{}" }},
		{"send: unknown token", "POST", func(tg target) string { return sendPath + "?access_token=80_nope" }, func(target) any { return "{}" }},
		{"quota", "POST", func(tg target) string { return "/cgi-bin/openapi/quota/get" + q(tg) }, func(target) any { return object{"cgi_path": "/cgi-bin/stable_token"} }},
		{"quota: unknown path", "POST", func(tg target) string { return "/cgi-bin/openapi/quota/get" + q(tg) }, func(target) any { return object{"cgi_path": "/nope"} }},
		{"clear quota", "POST", func(tg target) string { return "/cgi-bin/clear_quota" + q(tg) }, func(tg target) any { return object{"appid": tg.appid} }},
		{"clear quota: another app", "POST", func(tg target) string { return "/cgi-bin/clear_quota" + q(tg) }, func(tg target) any { return object{"appid": "wx0000000000000000"} }},
		{"clear quota by secret", "POST", func(tg target) string { return "/cgi-bin/clear_quota/v2" }, func(tg target) any { return object{"appid": tg.appid, "appsecret": tg.secret} }},
		{"addresses", "GET", func(tg target) string { return "/cgi-bin/get_api_domain_ip" + q(tg) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(map[string]any)
			for _, tg := range []target{w.direct, w.gateway} {
				var body any
				if c.body != nil {
					body = c.body(tg)
				}
				out := w.call(c.method, tg.url+c.path(tg), body)
				if tok, ok := out["access_token"].(string); ok && !tokenForm.MatchString(tok) {
					t.Errorf("the token has another form: %q", tok)
				}
				got[tg.url] = plain(out)
			}
			if d, g := got[w.direct.url], got[w.gateway.url]; !reflect.DeepEqual(d, g) {
				t.Errorf("the gateway answers\n%v\nthe sandbox\n%v", g, d)
			}
		})
	}
	logged := 0
	for m, err := range w.admin.Messages(t.Context(), client.MessageFilter{App: hongyan.AppID(w.app.AppID), Tag: "gateway"}) {
		w.must(err)
		logged++
		if m.Status != hongyan.StateAccepted && m.Status != hongyan.StateFailed {
			t.Errorf("message %s is %s", m.ID, m.Status)
		}
	}
	if logged < 4 {
		t.Errorf("%d messages in the log", logged)
	}
}

// TestVirtualTokens: they never end each other, and end with their key or their time.
func TestVirtualTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	ask := func(token string) string {
		return errcode(w.call("GET", w.gateway.url+"/cgi-bin/get_api_domain_ip?access_token="+url.QueryEscape(token), nil))
	}
	var tokens []string
	for range 20 {
		tokens = append(tokens, w.token(w.gateway))
	}
	stable := func() object {
		return w.call("POST", w.gateway.url+"/cgi-bin/stable_token", object{"grant_type": "client_credential", "appid": w.app.AppID, "secret": w.key.Key})
	}
	first := stable()
	tokens = append(tokens, first["access_token"].(string))
	if again := stable(); again["access_token"] != first["access_token"] {
		t.Errorf("the stable token changed")
	}
	for i, tok := range tokens {
		if got := ask(tok); got != "" {
			t.Errorf("token %d of %d answers %s", i, len(tokens), got)
		}
	}
	for _, bad := range []string{tokens[0][:len(tokens[0])-1], tokens[0] + "A", strings.ToUpper(tokens[0]), "80_", "x", strings.Repeat("A", 9000)} {
		if got := ask(bad); got != "40001" {
			t.Errorf("a changed token answers %s, want 40001", got)
		}
	}
	// Near its end the next one is given out, and both work.
	left, _ := first["expires_in"].(json.Number).Int64()
	_, err := w.box.Advance(time.Duration(left-299) * time.Second)
	w.must(err)
	if next := stable()["access_token"].(string); next == first["access_token"] || ask(next) != "" || ask(first["access_token"].(string)) != "" {
		t.Errorf("at the change of stable tokens both should work")
	}
	_, err = w.box.Advance(2 * time.Hour)
	w.must(err)
	if got := ask(first["access_token"].(string)); got != "42001" {
		t.Errorf("after its time a token answers %s, want 42001", got)
	}
	fresh := w.token(w.gateway)
	w.must(w.admin.RevokeKey(t.Context(), w.key.ID))
	if got := ask(fresh); got != "40001" {
		t.Errorf("the token of a revoked key answers %s, want 40001", got)
	}
	out := w.call("GET", w.gateway.url+"/cgi-bin/token?grant_type=client_credential&appid="+w.app.AppID+"&secret="+w.key.Key, nil)
	if errcode(out) != "40125" {
		t.Errorf("a revoked key answers %v, want 40125", out)
	}
}

// TestRealTokens: a key with the scope token gets the real one, for programs that call WeChat
// themselves; if it dies, whoever asks again gets another.
func TestRealTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	key := w.newKey(hongyan.AppID(w.app.AppID), hongyan.ScopeGateway, hongyan.ScopeToken)
	tg := w.gateway
	tg.secret = key.Key
	token := w.token(tg)
	if again := w.token(tg); again != token {
		t.Errorf("another token, though the first is good")
	}
	user := w.user(3)
	if got := w.send(w.direct, token, w.message(user)); got != "0" {
		t.Fatalf("the sandbox answers the token with %s", got)
	}
	_, err := w.box.Tokens(sandbox.TokensSpec{AppID: w.app.AppID, Action: "supersede"})
	w.must(err)
	_, err = w.box.Advance(time.Minute)
	w.must(err)
	if got := w.send(w.direct, token, w.message(user)); got != "40001" {
		t.Fatalf("the dead token answers %s", got)
	}
	next := w.token(tg)
	if got := w.send(w.direct, next, w.message(user)); got != "0" {
		t.Errorf("the token that was given next answers %s", got)
	}
	if got := w.send(w.gateway, next, w.message(user)); got != "40001" {
		t.Errorf("the gateway takes a real token: %s", got)
	}
}

// TestTokenDies kills the real token in mid-run: nobody at the gateway notices.
func TestTokenDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := w.token(w.gateway)
	for i := range 30 {
		if i%10 == 5 {
			_, err := w.box.Tokens(sandbox.TokensSpec{AppID: w.app.AppID, Action: []string{"expire", "supersede"}[i/10%2]})
			w.must(err)
		}
		if got := w.send(w.gateway, token, w.message(w.user(1))); got != "0" {
			t.Errorf("send %d answers %s", i, got)
		}
		if got := errcode(w.call("GET", w.gateway.url+"/wxaapi/newtmpl/getcategory?access_token="+url.QueryEscape(token), nil)); got != "0" {
			t.Errorf("getcategory answers %s", got)
		}
	}
}

// TestTolerance: what WeChat's users meet is taken.
func TestTolerance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := url.QueryEscape(w.token(w.gateway))
	user := w.user(10)
	body, err := json.Marshal(w.message(user))
	w.must(err)
	post := func(path, contentType, body string) object {
		t.Helper()
		req, err := http.NewRequest("POST", w.gateway.url+path+"?access_token="+token, strings.NewReader(body))
		w.must(err)
		req.Header.Set("Content-Type", contentType)
		if contentType == "" {
			req.Header["Content-Type"] = nil
		}
		res, err := w.http.Do(req)
		w.must(err)
		defer res.Body.Close()
		var out object
		w.must(json.NewDecoder(res.Body).Decode(&out))
		return out
	}
	inner, err := json.Marshal(w.message(user)["data"])
	w.must(err)
	twice := w.message(user)
	twice["data"] = string(inner)
	encoded, err := json.Marshal(twice)
	w.must(err)
	for name, c := range map[string]struct{ path, contentType, body string }{
		"no content type":    {sendPath, "", string(body)},
		"form content type":  {sendPath, "application/x-www-form-urlencoded", string(body)},
		"double slashes":     {"//cgi-bin//message/subscribe/send", "application/json", string(body)},
		"byte order mark":    {sendPath, "application/json", "\ufeff" + string(body)},
		"data encoded twice": {sendPath, "application/json", string(encoded)},
	} {
		if out := post(c.path, c.contentType, c.body); out["errcode"] != 0.0 {
			t.Errorf("%s: %v", name, out)
		}
	}
	out := post("/wxaapi/newtmpl/addtemplate", "application/x-www-form-urlencoded", url.Values{"tid": {"1458"}, "kidList": {"2,3,5"}, "sceneDesc": {"x"}}.Encode())
	id, _ := out["priTmplId"].(string)
	if id == "" {
		t.Fatalf("addtemplate with a form: %v", out)
	}
	// What was added through the gateway is known, and can be sent.
	tm, err := w.admin.Template(t.Context(), hongyan.AppID(w.app.AppID), id)
	w.must(err)
	if len(tm.Keywords) != 3 {
		t.Errorf("the template has the keywords %v, want 3", tm.Keywords)
	}
	if out := post("/wxaapi/newtmpl/deltemplate", "application/json", `{"priTmplId":"`+id+`"}`); out["errcode"] != 0.0 {
		t.Errorf("deltemplate: %v", out)
	}
}

// TestKeywordOrder: a form's keywords come in the order of their numbers, and white space
// before an object does not make a form of it.
func TestKeywordOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	q := "?access_token=" + url.QueryEscape(w.token(w.gateway))
	for _, c := range []struct {
		body string
		want []string
	}{
		{"tid=1458&kidList[0]=5&kidList[1]=3&kidList[2]=2&sceneDesc=x", []string{"5", "3", "2"}},
		{"kidList[2]=2&sceneDesc=x&kidList[1]=5&kidList[0]=3&tid=1458", []string{"3", "5", "2"}},
		{"tid=1458&kidList[]=2&kidList[]=5&kidList[]=3&sceneDesc=x", []string{"2", "5", "3"}},
		{"\n {\"tid\":\"1458\",\"kidList\":[3,2,5],\"sceneDesc\":\"x\"}", []string{"3", "2", "5"}},
	} {
		for range 8 {
			out := w.call("POST", w.gateway.url+"/wxaapi/newtmpl/addtemplate"+q, c.body)
			id, _ := out["priTmplId"].(string)
			if id == "" {
				t.Fatalf("%q is answered %v", c.body, out)
			}
			tmpl, err := w.admin.Template(t.Context(), hongyan.AppID(w.app.AppID), id)
			w.must(err)
			var got []string
			for _, k := range tmpl.Keywords {
				got = append(got, strings.TrimLeft(k.Key, "abcdefghijklmnopqrstuvwxyz_"))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q: the keywords are %v, want %v", c.body, got, c.want)
			}
			w.call("POST", w.gateway.url+"/wxaapi/newtmpl/deltemplate"+q, object{"priTmplId": id})
		}
	}
}

// TestTemplateNotDeleted: an error page in place of WeChat's answer deletes no template here.
func TestTemplateNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := w.token(w.gateway)
	user := w.user(2)
	if got := w.send(w.gateway, token, w.message(user)); got != "0" {
		t.Fatalf("answered %s", got)
	}
	for _, page := range []struct {
		status int
		text   string
	}{{502, "<html>bad gateway"}, {200, "<html>maintenance"}, {500, `{"error":"x"}`}} {
		w.upstream.instead(func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(page.status)
			_, _ = io.WriteString(rw, page.text)
		})
		res, err := w.http.Post(w.gateway.url+"/wxaapi/newtmpl/deltemplate?access_token="+url.QueryEscape(token), "application/json", strings.NewReader(`{"priTmplId":"`+w.tmpl.TemplateID+`"}`))
		w.must(err)
		_ = res.Body.Close()
		if res.StatusCode != page.status {
			t.Errorf("status %d, want %d", res.StatusCode, page.status)
		}
		tm, err := w.admin.Template(t.Context(), hongyan.AppID(w.app.AppID), w.tmpl.TemplateID)
		w.must(err)
		if !tm.GoneAt.IsZero() {
			t.Fatalf("after %d %q the template is gone", page.status, page.text)
		}
	}
	w.upstream.instead(w.box.ServeHTTP)
	if got := w.send(w.gateway, token, w.message(user)); got != "0" {
		t.Errorf("afterwards a send is answered %s", got)
	}
}
