package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

// listed is the one path that the apps of the hostile test have relayed.
const listed = "/wxa/getwxacodeunlimit"

// known are the paths that may reach WeChat.
var known = []string{"/cgi-bin/stable_token", "/sns/jscode2session", sendPath, "/wxa/checksession", "/wxa/resetusersessionkey", "/wxaapi/newtmpl/gettemplate",
	"/wxaapi/newtmpl/getcategory", "/wxaapi/newtmpl/addtemplate", "/wxaapi/newtmpl/deltemplate", "/cgi-bin/openapi/quota/get", "/cgi-bin/openapi/rid/get",
	"/cgi-bin/clear_quota", "/cgi-bin/clear_quota/v2", "/cgi-bin/get_api_domain_ip", "/cgi-bin/callback/check", listed}

// TestHostile sends a thousand requests that somebody with a key of one app, or with none,
// could try. No key reaches another app, and nothing reaches a path or host that is not allowed.
func TestHostile(t *testing.T) {
	t.Parallel()
	settings := hongyan.AppSettings{GatewayRelay: []string{listed}}
	w := newWorld(t, settings)
	victim := w.app
	victimUser := w.user(50)
	victimToken := w.token(w.gateway)

	foe, err := w.box.CreateApp(sandbox.AppSpec{})
	w.must(err)
	_, err = w.admin.CreateApp(t.Context(), client.AppCreate{AppID: hongyan.AppID(foe.AppID), Secret: foe.Secret, Name: "foe", Settings: settings}, client.Options{})
	w.must(err)
	all := w.newKey(hongyan.AppID(foe.AppID), allRights...)
	narrow := w.newKey(hongyan.AppID(foe.AppID), hongyan.ScopeGateway)
	reader, err := w.admin.CreateKey(t.Context(), client.KeyCreate{Name: "reader", Scopes: []hongyan.Scope{hongyan.ScopeRead, hongyan.ScopeSend}}, client.Options{})
	w.must(err)
	token := w.token(target{w.gateway.url, foe.AppID, all.Key})
	narrowToken := w.token(target{w.gateway.url, foe.AppID, narrow.Key})
	w.must(w.warm(target{w.gateway.url, foe.AppID, all.Key}, token))

	w.upstream.take()
	callsBefore := w.callsOf(victim.AppID)
	h := &hostile{w: w, t: t, addr: strings.TrimPrefix(w.gateway.url, "http://")}
	h.foreignKeys(victim.AppID, foe.AppID, all.Key, narrow.Key, reader.Key, adminKey, victim.Secret, foe.Secret)
	h.foreignTokens(token, victim.AppID, w.message(victimUser))
	h.paths(token, narrowToken, "", "80_x", strings.Repeat("A", 5000))
	h.headers(token)
	h.bodies(token)

	if h.n < 1000 {
		t.Errorf("%d requests, want a thousand", h.n)
	}
	if n := w.callsOf(victim.AppID); n != callsBefore {
		t.Errorf("%d calls reached the other app", n-callsBefore)
	}
	if n := w.cards()[victimUser]; n != 0 {
		t.Errorf("%d cards arrived at the other app's user", n)
	}
	for _, a := range w.upstream.take() {
		if !slices.Contains(known, a.path) {
			t.Errorf("%s %s reached WeChat", a.method, a.path)
		}
		if a.host != strings.TrimPrefix(w.direct.url, "http://") {
			t.Errorf("%s was called at the host %q", a.path, a.host)
		}
		for name, v := range a.header {
			if !slices.Contains([]string{"User-Agent", "Content-Type", "Content-Length", "Accept-Encoding"}, name) || strings.Contains(strings.Join(v, ""), "evil") {
				t.Errorf("%s was called with the header %s: %q", a.path, name, v)
			}
		}
	}
	// The other app works on.
	if got := w.send(w.gateway, victimToken, w.message(victimUser)); got != "0" {
		t.Errorf("afterwards a send of the other app answers %s", got)
	}
	t.Logf("%d requests: %d refused with an errcode, %d with a status, %d closed", h.n, h.refused, h.status, h.closed)
}

// warm lets the app have its token, so that what reaches WeChat later is known.
func (w *world) warm(tg target, token string) error {
	_, err := w.do("GET", tg.url+"/cgi-bin/get_api_domain_ip?access_token="+url.QueryEscape(token), nil)
	return err
}

func (w *world) callsOf(appid string) (n int) {
	w.t.Helper()
	for cursor := ""; ; {
		page, err := w.box.Calls(sandbox.CallQuery{AppID: appid, Limit: 1000, Cursor: cursor})
		w.must(err)
		n += len(page.Items)
		if cursor = page.NextCursor; cursor == "" {
			return n
		}
	}
}

type hostile struct {
	w                          *world
	t                          *testing.T
	addr                       string
	n, refused, status, closed int
}

// raw sends bytes as they are and judges the answer: an errcode other than 0, an HTTP error,
// or a closed connection.
func (h *hostile) raw(what, request string) {
	h.t.Helper()
	h.n++
	conn, err := net.Dial("tcp", h.addr)
	h.w.must(err)
	defer conn.Close()
	h.w.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	if _, err := io.WriteString(conn, request); err != nil {
		h.closed++
		return
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if strings.Contains(err.Error(), "timeout") {
			h.t.Errorf("%s: no answer: %v", what, err)
		}
		h.closed++
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	for _, secret := range []string{h.w.app.Secret, h.w.key.Key} {
		if strings.Contains(string(body), secret) {
			h.t.Errorf("%s: the answer holds a secret", what)
		}
	}
	switch {
	case res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented:
		h.t.Errorf("%s: status %d: %s", what, res.StatusCode, body)
	case res.StatusCode >= 300:
		h.status++
	default:
		var out struct {
			Errcode     *int   `json:"errcode"`
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal(body, &out); err != nil || out.Errcode == nil || *out.Errcode == 0 || out.AccessToken != "" {
			h.t.Errorf("%s: was answered %q", what, body)
		}
		h.refused++
	}
}

// request is a request as a program writes it.
func (h *hostile) request(method, target, body string, headers ...string) {
	h.t.Helper()
	b := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, target, h.addr)
	for _, l := range headers {
		b += l + "\r\n"
	}
	if method == "POST" {
		b += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	h.raw(fmt.Sprintf("%s %.200s %q", method, target, headers), b+"\r\n"+body)
}

// foreignKeys tries every credential there is as another app's.
func (h *hostile) foreignKeys(victim, foe string, secrets ...string) {
	more := append([]string{"", "x", "hyk_", strings.Repeat("A", 43), "' OR 1=1 --", "\x00", "hyk_" + strings.Repeat("A", 43), victim, "null"}, secrets...)
	for _, s := range more {
		q := url.Values{"appid": {victim}, "secret": {s}, "grant_type": {"client_credential"}}
		h.request("GET", "/cgi-bin/token?"+q.Encode(), "")
		h.request("GET", "/cgi-bin/token?"+q.Encode()+"&appid="+foe, "")
		h.request("GET", "//cgi-bin/../cgi-bin/token?"+q.Encode(), "")
		q.Set("grant_type", "authorization_code")
		q.Set("js_code", "x")
		h.request("GET", "/sns/jscode2session?"+q.Encode(), "")
		body, _ := json.Marshal(map[string]string{"appid": victim, "secret": s, "appsecret": s, "grant_type": "client_credential"})
		h.request("POST", "/cgi-bin/stable_token", string(body))
		h.request("POST", "/cgi-bin/clear_quota/v2", string(body))
		h.request("POST", "/cgi-bin/clear_quota/v2?"+url.Values{"appid": {victim}, "appsecret": {s}}.Encode(), "")
		for _, appid := range []string{strings.ToUpper(victim), victim + " ", victim + "\x00", victim + "," + foe, "*", "%", foe + victim} {
			h.request("GET", "/cgi-bin/token?"+url.Values{"appid": {appid}, "secret": {s}, "grant_type": {"client_credential"}}.Encode(), "")
		}
	}
}

// foreignTokens uses a good token for another app's things.
func (h *hostile) foreignTokens(token, victim string, message object) {
	body, _ := json.Marshal(message)
	q := "?access_token=" + token
	for range 5 {
		h.request("POST", sendPath+q, string(body))
		h.request("POST", sendPath+q+"&appid="+victim, string(body))
		h.request("POST", sendPath+"?appid="+victim+"&access_token="+token, string(body), "X-Appid: "+victim)
		h.request("POST", "/cgi-bin/clear_quota"+q, `{"appid":"`+victim+`"}`)
		h.request("POST", "/wxaapi/newtmpl/deltemplate"+q, `{"priTmplId":"`+message["template_id"].(string)+`"}`)
	}
}

// paths tries to reach what is not allowed, with every token.
func (h *hostile) paths(tokens ...string) {
	var paths []string
	for _, p := range []string{"/cgi-bin/user/get", "/wxa/business/getuserphonenumber", "/cgi-bin/component/api_component_token", "/cgi-bin/ticket/getticket",
		"/sns/component/jscode2session", "/_sandbox/apps", "/_sandbox/tokens", "/v1/apps", "/metrics", "/healthz", "/", "/wxaapi/newtmpl/nope"} {
		paths = append(paths, p, "/"+p, p+"/", p+"/.", p+"%2f", strings.Replace(p, "/", "/./", 1), listed+"/.."+"/.."+p, listed+"/..%2f..%2f"+p[1:], "/%2e%2e"+p,
			listed+"%2f..%2f.."+p, "http://evil.example"+p, "http://evil.example:80"+listed+"/../.."+p, "//evil.example"+p, p+"?x="+listed, p+"#"+listed, p+";"+listed)
	}
	paths = append(paths, listed+"/", listed+"/.", listed+"//", "/wxa//getwxacodeunlimit", "//wxa/getwxacodeunlimit", "/wxa/./getwxacodeunlimit", "/wxa/x/../getwxacodeunlimit",
		"/wxa/getwxacode%75nlimit", "/wxa%2fgetwxacodeunlimit", strings.ToUpper(listed), listed+"%00", listed+"%20", listed+";x", listed+"%3Fa=b", "/wxa\\getwxacodeunlimit")
	for _, p := range paths {
		sep := "?"
		if strings.ContainsAny(p, "?") {
			sep = "&"
		}
		for i, token := range tokens {
			if i > 1 && len(p)%3 > 0 { // bad tokens on a third of them
				continue
			}
			h.request("GET", p+sep+"access_token="+token, "")
			h.request("POST", p+sep+"access_token="+token, "{}")
		}
	}
	for _, method := range []string{"PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "X"} {
		if method != "HEAD" { // which has no body to judge
			h.request(method, listed+"?access_token="+tokens[0], "")
			h.request(method, sendPath+"?access_token="+tokens[0], "")
		}
	}
}

// headers tries to put headers, hosts and parameters into the call to WeChat. These may
// pass, as an ordinary call of a listed path: what reached WeChat is looked at afterwards.
func (h *hostile) headers(token string) {
	for _, l := range []string{"Host: evil.example", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "Content-Type: text/plain; x=evil", "Transfer-Encoding: identity, evil",
		"Content-Type: a\rX-Evil: evil", "Content-Type: a\nX-Evil: evil", "Proxy-Authorization: evil", "Authorization: Bearer evil", "Cookie: evil", "Expect: evil", "Upgrade: evil"} {
		h.request("POST", sendPath+"?access_token="+token, "not json", l)
		h.request("POST", "/wxa/nope?access_token="+token, "not json", l)
	}
	for _, q := range []string{"access_token=" + token + "&access_token=evil", "%61ccess_token=" + token, "access_token=" + token + "%0d%0aX-Evil:%20evil", "access_token=" + token + "%00",
		"ACCESS_TOKEN=" + token, "access_token[]=" + token, "access_token=evil&access_token=" + token} {
		h.request("POST", sendPath+"?"+q, "not json")
		h.request("GET", "/wxa/nope?"+q, "")
	}
}

// bodies are too large, too deep, or never end.
func (h *hostile) bodies(token string) {
	q := "?access_token=" + token
	big := strings.Repeat("x", 2<<20)
	for _, p := range []string{sendPath, "/wxaapi/newtmpl/addtemplate", "/cgi-bin/openapi/quota/get"} {
		h.request("POST", p+q, `{"touser":"`+big+`"}`)
		h.request("POST", p+q, strings.Repeat(`{"a":`, 20_000))
		h.request("POST", p+q, strings.Repeat(`[`, 100_000))
		h.raw("a length below zero", fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}", p+q))
		h.raw("two lengths", fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", p+q))
		h.raw("a bad chunk", fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n", p+q))
	}
	h.request("POST", "/cgi-bin/stable_token", `{"appid":"`+big+`"}`)
	h.request("POST", listed+q, strings.Repeat("x", 11<<20))
	h.request("GET", "/cgi-bin/token?appid="+strings.Repeat("x", 60_000), "")
}

// TestCredentialsStay: whatever an answer of WeChat's looks like, the real token and secret in
// it do not come through.
func TestCredentialsStay(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/getcallbackip"
	w := newWorld(t, hongyan.AppSettings{GatewayRelay: []string{path}})
	token := url.QueryEscape(w.token(w.gateway))
	type answer struct {
		status            int
		contentType, text string
	}
	answers, real := make(chan answer, 1), make(chan string, 1)
	w.upstream.instead(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path && r.URL.Path != "/cgi-bin/clear_quota/v2" {
			w.box.ServeHTTP(rw, r)
			return
		}
		answer, secret := <-answers, r.URL.Query().Get("access_token")+r.URL.Query().Get("appsecret")
		rw.Header().Set("Content-Type", answer.contentType)
		rw.WriteHeader(answer.status)
		_, _ = io.WriteString(rw, strings.ReplaceAll(answer.text, "TOKEN", secret))
		real <- secret
	})
	for _, a := range []answer{
		{200, "application/json", `{"errcode":0,"url":"/x?access_token=TOKEN&a=b"}`},
		{200, "application/json", `{"errcode":0,"url":"/x?access_token\u003dTOKEN\u0026a=b"}`},
		{200, "application/json", `{"errcode":0,"invalid":"TOKEN"}`},
		{200, "text/html", `<a href="/x?access_token=TOKEN">`},
		{302, "text/html", `<a href="https://elsewhere.example/x?access_token=TOKEN">moved</a>`},
		{502, "text/plain", `GET /x?a=b&access_token=TOKEN: connection refused`},
	} {
		for _, call := range []func() (*http.Response, error){
			func() (*http.Response, error) { return w.http.Get(w.gateway.url + path + "?access_token=" + token) },
			func() (*http.Response, error) {
				return w.http.Post(w.gateway.url+"/cgi-bin/clear_quota/v2?"+url.Values{"appid": {w.app.AppID}, "appsecret": {w.key.Key}}.Encode(), "", nil)
			},
		} {
			answers <- a
			res, err := call()
			w.must(err)
			body, err := io.ReadAll(res.Body)
			w.must(err)
			_ = res.Body.Close()
			secret := <-real
			if secret == "" || strings.Contains(string(body), secret) {
				t.Errorf("%d %s %s: the answer holds %q: %s", a.status, a.contentType, a.text, secret, body)
			}
			if res.StatusCode != a.status {
				t.Errorf("status %d, want %d", res.StatusCode, a.status)
			}
		}
	}
}
