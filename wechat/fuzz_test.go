package wechat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// FuzzSendAnswer gives arbitrary bytes for an answer. Whatever they are, success
// takes status 200 and one whole JSON object with the integer errcode 0, as the
// standard library reads them.
func FuzzSendAnswer(f *testing.F) {
	const good = `{"errcode":0,"errmsg":"ok","msgid":1988810812324364291}`
	for _, raw := range []string{
		ok(good), ok(`{"errcode":43101,"errmsg":"user refuse to accept the msg"}`), ok(`{}`), ok(`[]`), ok(`null`),
		ok(`{"errcode":"0"}`), ok(`{"errcode":0.0}`), ok(`{"errcode":-0}`), ok(`{"errcode":0}x`), ok(`{"errcode":1,"errcode":0}`),
		ok(`{"errcode":0,"msgid":"1"}`), ok(`{"errcode":0,"msgid":1e3}`), ok("<html>"),
		"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + good,
		"HTTP/1.1 200 OK\r\n\r\n" + good,
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + good,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n37\r\n" + good + "\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n37\r\n" + good + "\r\n",
		"HTTP/1.1 000 OK\r\nContent-Length: 55\r\n\r\n" + good,
		"HTTP/1.1 100 Continue\r\n\r\n" + ok(good),
		"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 55\r\n\r\n" + good,
		"\r\n\r\n" + ok(good),
		"",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		cn := &conn{in: readNoter{from: bytes.NewReader(raw)}}
		cn.r = bufio.NewReaderSize(&cn.in, headerBuffer)
		resp := fasthttp.AcquireResponse()
		defer fasthttp.ReleaseResponse(resp)
		if err := cn.read(resp); err != nil {
			return
		}
		body := bytes.Clone(resp.Body())
		res, err := readSend(&call{path: pathSend, secrets: []string{testToken}}, body)
		if refused, ok := err.(*Error); ok && refused.Errcode == ErrcodeOK {
			t.Errorf("refused with errcode 0: %v", refused)
		}
		if err == nil {
			checkAccepted(t, raw, body, res)
		}
	})
}

func checkAccepted(t *testing.T, raw, body []byte, res SendResult) {
	if !bytes.HasPrefix(raw, []byte("HTTP/1.")) || string(raw[8:12]) != " 200" {
		t.Errorf("accepted by %q", raw)
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&object) != nil || object == nil || d.Decode(new(any)) != io.EOF {
		t.Fatalf("accepted by %q", body)
	}
	if n, ok := object["errcode"].(json.Number); !ok || strings.Trim(n.String(), "-0") != "" {
		t.Errorf("accepted by %q", body)
	}
	if _, ok := object["msgid"]; !ok && res.MsgID != 0 {
		t.Errorf("msgid %d of %q", res.MsgID, body)
	}
	// Where net/http can read the answer at all, it must read the same body.
	std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		return
	}
	want, err := io.ReadAll(std.Body)
	if err != nil || std.StatusCode != 200 || !bytes.Equal(want, body) {
		t.Errorf("%q was read as %q, net/http says %d %q %v", raw, body, std.StatusCode, want, err)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("TIT会议室\u2028<&>\"\\\x00\xff")
	f.Fuzz(checkString)
}
