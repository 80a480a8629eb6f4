package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan/internal/nodetest"
	"github.com/hongyan-push/hongyan/internal/progtest"
)

// clients are in the order of the pages.
var clients = []struct {
	name  string
	title string // with its version, where the lockfile decides that
	note  note
	start func(t *testing.T, w *world) driver
}{
	{"node-easywechat", "node-easywechat 3.6.2", note{
		"npm package, unmodified. It has methods for login and tokens; the other calls are made with its own client (`getClient()`), which adds its token. " +
			"It keeps a token that died until it would have expired: the program that uses it calls `getAccessToken().refresh()`. " +
			"A fresh install brings node-socialite 1.5.3, which lacks a file that it needs, so our lockfile holds that at 1.4.1.",
		"npm 包，未作修改。登录与 token 用它自己的方法；其余接口用它自带的客户端（`getClient()`）调用，由它附加 token。" +
			"token 提前失效后它仍会用到过期为止：由使用它的程序调用 `getAccessToken().refresh()`。" +
			"全新安装会带来 node-socialite 1.5.3，其中缺少它需要的一个文件，因此我们的锁文件固定为 1.4.1。",
	}, node("node-easywechat.mjs")},
	{"co-wechat-api", "co-wechat-api 3.11.0", note{
		"npm package, unmodified. It has methods for login, token and send; stable_token and the template calls are made with its `request()` and its token. Refusals are thrown. It fetches another token itself.",
		"npm 包，未作修改。登录、token、发送用它自己的方法；stable_token 与模板接口用它的 `request()` 和它的 token 调用。被拒绝时抛出异常。token 失效时它自己重新获取。",
	}, node("co-wechat-api.mjs")},
	{"fetch", "fetch (Node)", plainNote, node("fetch.mjs")},
	{"urllib", "urllib (Python)", plainNote, program("python3", "urllib_client.py")},
	{"HttpClient", "java.net.http.HttpClient (Java)", plainNote, program("java", "HttpClientClient.java", "javac")},
	{"net/http", "net/http (Go)", note{
		"No SDK. It calls `https://api.weixin.qq.com`, and its transport sends that elsewhere. On 40001 or 42001 it fetches a token and repeats the call once.",
		"不用 SDK。它调用 `https://api.weixin.qq.com`，由它的 transport 转到别处。遇到 40001 或 42001 时重新获取 token，并把调用重复一次。",
	}, startGo},
	{"curl", "curl (sh)", plainNote, program("sh", "curl_client.sh", "curl")},
}

// note is a remark in both languages.
type note struct{ en, zh string }

var plainNote = note{
	"No SDK. On 40001 or 42001 it fetches a token and repeats the call once.",
	"不用 SDK。遇到 40001 或 42001 时重新获取 token，并把调用重复一次。",
}

// driver makes a client do something and tells what came of it.
type driver func(t *testing.T, operation string, args ...string) reply

// reply is a line of a client.
type reply struct {
	Client    string `json:"client"`
	Operation string `json:"operation"`
	Result    struct {
		Returned any `json:"returned,omitempty"`
		Thrown   any `json:"thrown,omitempty"`
	} `json:"result"`
	// Refreshed says that the client met a dead token and got another one.
	Refreshed bool `json:"refreshed"`
}

// program is a client in testdata that the language's own tool runs.
func program(name, file string, also ...string) func(*testing.T, *world) driver {
	return func(t *testing.T, w *world) driver {
		progtest.Require(t, append([]string{name}, also...)...)
		return lines(progtest.Start(t, "testdata", w.env(t), name, file))
	}
}

// node is a client among those that share npm packages.
func node(file string) func(*testing.T, *world) driver {
	return func(t *testing.T, w *world) driver {
		dir := nodetest.Project(t, filepath.Join("testdata", "node"))
		return lines(progtest.Start(t, dir, w.env(t), "node", file))
	}
}

func (w *world) env(t *testing.T) []string {
	return []string{"WECHAT_BASE=" + w.base, "WECHAT_APPID=" + w.appid, "WECHAT_SECRET=" + w.secret, "WECHAT_CACHE=" + t.TempDir()}
}

// lines drives a program by lines.
func lines(p *progtest.Program) driver {
	return func(t *testing.T, operation string, args ...string) reply {
		t.Helper()
		p.Say(t, strings.Join(append([]string{operation}, args...), "\t"))
		return decodeReply(t, []byte(p.Line(t)))
	}
}

// decodeReply keeps numbers as they stand: a msgid is more than a float holds.
func decodeReply(t *testing.T, line []byte) reply {
	t.Helper()
	var r reply
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return r
}

// redirect sends what is meant for WeChat to another host.
type redirect struct{ to *url.URL }

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "api.weixin.qq.com" {
		req = req.Clone(req.Context())
		req.URL.Scheme, req.URL.Host, req.Host = r.to.Scheme, r.to.Host, r.to.Host
	}
	return http.DefaultTransport.RoundTrip(req)
}

// goClient is what a Go program without an SDK does.
type goClient struct {
	w      *world
	http   *http.Client
	token  string
	header http.Header // of the latest answer
}

func startGo(t *testing.T, w *world) driver { return newGoClient(t, w).do }

func newGoClient(t *testing.T, w *world) *goClient {
	t.Helper()
	to, err := url.Parse(w.base)
	if err != nil {
		t.Fatal(err)
	}
	return &goClient{w: w, http: &http.Client{Transport: redirect{to}}}
}

func (c *goClient) do(t *testing.T, operation string, args ...string) reply {
	t.Helper()
	w, r := c.w, reply{Client: "net/http", Operation: operation}
	credentials := object{"grant_type": "client_credential", "appid": w.appid, "secret": w.secret}
	switch operation {
	case "login":
		r.Result.Returned = c.call(t, "/sns/jscode2session", url.Values{"appid": {w.appid}, "secret": {w.secret}, "js_code": {args[0]}, "grant_type": {"authorization_code"}}, nil)
	case "token":
		r.Result.Returned = c.fetchToken(t)
	case "stable_token":
		r.Result.Returned = c.keep(c.call(t, "/cgi-bin/stable_token", nil, credentials))
	case "gettemplate":
		r.Result.Returned = c.call(t, "/wxaapi/newtmpl/gettemplate", url.Values{"access_token": {c.token}}, nil)
	case "addtemplate":
		r.Result.Returned = c.call(t, "/wxaapi/newtmpl/addtemplate", url.Values{"access_token": {c.token}},
			object{"tid": args[0], "kidList": json.RawMessage("[" + args[1] + "]"), "sceneDesc": args[2]})
	case "send":
		r.Result.Returned, r.Refreshed = c.send(t, object{"touser": args[0], "template_id": args[1], "data": json.RawMessage(args[2])})
	}
	return r
}

func (c *goClient) send(t *testing.T, body object) (answer object, refreshed bool) {
	const path = "/cgi-bin/message/subscribe/send"
	answer = c.call(t, path, url.Values{"access_token": {c.token}}, body)
	if code := answer["errcode"]; code != json.Number("40001") && code != json.Number("42001") {
		return answer, false
	}
	c.fetchToken(t)
	return c.call(t, path, url.Values{"access_token": {c.token}}, body), true
}

func (c *goClient) fetchToken(t *testing.T) object {
	return c.keep(c.call(t, "/cgi-bin/token", url.Values{"grant_type": {"client_credential"}, "appid": {c.w.appid}, "secret": {c.w.secret}}, nil))
}

func (c *goClient) keep(answer object) object {
	c.token, _ = answer["access_token"].(string)
	return answer
}

// call is a GET, or a POST if there is a body.
func (c *goClient) call(t *testing.T, path string, query url.Values, body any) object {
	t.Helper()
	method, src := "GET", io.Reader(nil)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		method, src = "POST", bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://api.weixin.qq.com"+path+"?"+query.Encode(), src)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	c.header = res.Header
	dec := json.NewDecoder(res.Body)
	dec.UseNumber()
	answer := object{}
	if err := dec.Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}
