package wechat

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The whole request, byte for byte: above all, nothing that makes somebody on
// the way repeat it (Idempotency-Key) and no \u escapes.
func TestSendRequestBytes(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	p := newPeer(t, func(c *net.TCPConn) {
		b := make([]byte, 4<<10)
		n, _ := c.Read(b)
		got <- string(b[:n])
		io.WriteString(c, ok(`{"errcode":0}`))
	})
	c := newClient(t, Config{BaseURL: p.url() + "/some/prefix/", UserAgent: "probe/1"})
	m := testMessage()
	m.Page = "/pages/a?x=1&y=<2>"
	m.Data["thing1"] = DataValue{"a\"b\\c\n\t\u2028\U0001F600&<>'"}
	if _, err := c.SendSubscribeMessage(t.Context(), testToken, m); err != nil {
		t.Fatal(err)
	}
	body := `{"touser":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","template_id":"9Aw5ZV1j9xdWTFEkqCpZ7mIBbSC34khK55OtzUPl0rU",` +
		`"page":"pages/a?x=1&y=<2>","data":{"date2":{"value":"2016年8月8日"},"thing1":{"value":"a\"b\\c\n\t` + "\u2028\U0001F600" + `&<>'"}}}`
	want := "POST /some/prefix/cgi-bin/message/subscribe/send?access_token=" + escapedToken + " HTTP/1.1\r\n" +
		"Host: " + p.Addr().String() + "\r\nUser-Agent: probe/1\r\nContent-Type: application/json\r\n" +
		"Content-Length: " + string(appendInt(nil, len(body))) + "\r\n\r\n" + body
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Error(diff)
	}
}

// Without a token there is no query: WeChat's cloud hosting adds its own.
func TestNoToken(t *testing.T) {
	t.Parallel()
	c, requests := serving(t, `{"errcode":0,"data":null}`)
	if _, err := c.SendSubscribeMessage(t.Context(), "", &SubscribeMessage{}); err != nil {
		t.Fatal(err)
	}
	if got := <-requests; got.line != "POST "+pathSend || got.body != `{"touser":"","template_id":"","data":{}}` {
		t.Errorf("sent %s %s", got.line, got.body)
	}
	if _, err := c.GetPubTemplateKeywords(t.Context(), "", "9 9"); err != nil {
		t.Fatal(err)
	}
	if got := <-requests; got.line != "GET "+pathGetPubKeywords+"?tid=9+9" {
		t.Errorf("sent %s", got.line)
	}
}

// The hand-written body means the same as package json's.
func TestSendBodyIsTheStructsJSON(t *testing.T) {
	t.Parallel()
	for _, m := range []*SubscribeMessage{
		{}, testMessage(), {ToUser: "\xff\xc3(", Lang: "zh_CN", MiniprogramState: "trial", Data: map[string]DataValue{"": {}, "\x00\x1f\x7f": {"\b\f\r"}}},
	} {
		var got, want any
		if err := json.Unmarshal(appendSubscribeMessage(nil, m), &got); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(m)
		if err != nil || json.Unmarshal(b, &want) != nil {
			t.Fatal(err)
		}
		if m.Data == nil { // data must be an object
			want.(map[string]any)["data"] = map[string]any{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := []Config{
		{},
		{BaseURL: FallbackBaseURL},
		{BaseURL: "https://example.com:8443/we/chat/"},
		{BaseURL: "http://localhost:1"}, {BaseURL: "http://127.8.8.8"}, {BaseURL: "http://[::1]:2"},
		{BaseURL: "http://api.weixin.qq.com", AllowInsecure: true},
		{Proxy: "http://user:p%40ss@proxy:3128/"}, {Proxy: "https://proxy"},
	}
	for _, cfg := range good {
		c, err := New(cfg)
		if err != nil {
			t.Errorf("%+v: %v", cfg, err)
			continue
		}
		c.Close()
	}
	bad := map[string]Config{
		"plain http":     {BaseURL: "http://api.weixin.qq.com"},
		"want https":     {BaseURL: "api.weixin.qq.com"},
		"want https:":    {BaseURL: "ftp://api.weixin.qq.com"},
		"host":           {BaseURL: "https://"},
		"no user":        {BaseURL: "https://u:hunter2@api.weixin.qq.com"},
		"query":          {BaseURL: "https://api.weixin.qq.com?access_token=hunter2"},
		"fragment":       {BaseURL: "https://api.weixin.qq.com#x"},
		"not a URL":      {BaseURL: "https://api.weixin.qq.com/%zz?hunter2"},
		"proxy: not":     {Proxy: "http://u:hunter2@pro xy"},
		"proxy: want":    {Proxy: "socks5://u:hunter2@proxy"},
		"proxy: want no": {Proxy: "http://u:hunter2@proxy/path"},
		"time-out":       {CallTimeout: -1},
		"a time-out":     {ConnectTimeout: -time.Second},
		"connections":    {MaxConns: -1},
		"user agent":     {UserAgent: "a\r\nIdempotency-Key: 1"},
	}
	for want, cfg := range bad {
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: got %v, want %q", cfg, err, want)
		}
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for i := range 0x300 {
		checkString(t, string(rune(i)))
		checkString(t, string([]byte{byte(i), 'x', byte(i >> 1)}))
	}
}

// checkString compares appendString with package json and holds it to its word:
// no escapes but those that JSON demands.
func checkString(t *testing.T, s string) {
	t.Helper()
	b := appendString(nil, s)
	ref, _ := json.Marshal(s)
	var got, want string
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%q: %v in %s", s, err, b)
	}
	if json.Unmarshal(ref, &want); got != want {
		t.Errorf("%q reads as %q, want %q", s, got, want)
	}
	for _, escape := range []string{`\u0026`, `\u003c`, `\u003e`, `\u2028`, `\u2029`} {
		if bytes.Contains(b, []byte(escape)) && !strings.Contains(s, escape[1:]) {
			t.Errorf("%q is written %s", s, b)
		}
	}
}
