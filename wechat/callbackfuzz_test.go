package wechat

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzCallbackOpen gives an arbitrary query and body. Nothing is taken that has no
// right msg_signature over just this Encrypt.
func FuzzCallbackOpen(f *testing.F) {
	encrypted := strings.TrimSpace(golden(f, "callback/secure_encrypt.txt"))
	q := officialQuery("046e02f8204d34f8ba5fa3b1db94908f3df2e9b3")
	f.Add(q.Encode(), secureBody(encrypted))
	f.Add(q.Encode(), []byte("<xml><Encrypt><![CDATA["+encrypted+"]]></Encrypt></xml>"))
	f.Add(q.Encode(), []byte(golden(f, "callback/plain.json")))
	f.Add(officialKeys.sign(unix(1714112445)).Encode(), []byte(golden(f, "callback/popup.xml")))
	f.Add("encrypt_type=aes&msg_signature=", []byte(`<!DOCTYPE xml [<!ENTITY a "&b;">]><xml>&a;</xml>`))
	now := unix(1714112445)
	plainKeys := CallbackKeys{Token: officialKeys.Token}
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		q, _ := url.ParseQuery(query)
		if c, err := officialKeys.Open(q, body, now); err == nil {
			m, _ := parseFields(body)
			want := officialKeys.signature(q.Get("timestamp"), q.Get("nonce"), m.text("Encrypt"))
			if !c.Encrypted || m.err != nil || q.Get("msg_signature") != want || q.Get("encrypt_type") != "aes" {
				t.Errorf("%s %q was taken", query, body)
			}
		}
		if c, err := plainKeys.Open(q, body, now); err == nil {
			if c.Encrypted || q.Get("signature") != plainKeys.signature(q.Get("timestamp"), q.Get("nonce")) {
				t.Errorf("%s %q was taken", query, body)
			}
		}
		if echo, err := officialKeys.Echo(q, now); err == nil && (echo == "" || echo != q.Get("echostr")) {
			t.Errorf("%s: echo %q", query, echo)
		}
	})
}

// FuzzCallbackPlaintext signs and encrypts whatever comes, as somebody who has the
// keys could: padding, length, appid and message are arbitrary.
func FuzzCallbackPlaintext(f *testing.F) {
	const head, appID = "0123456789abcdef\x00\x00\x00", "wxba5fad812f8e6fb9"
	f.Add(pad32(head + "\x02{}" + appID))
	f.Add(pad32(head + "\x03{}" + appID))
	f.Add(pad32(head + "\x0b<xml></xml>" + appID))
	f.Add([]byte(strings.Repeat("\x20", 32)))
	for _, file := range []string{"popup.json", "popup.xml", "change.xml", "sent.json", "revoke.xml"} {
		msg := golden(f, "callback/"+file)
		f.Add(pad32("0123456789abcdef\x00\x00" + string([]byte{byte(len(msg) >> 8), byte(len(msg))}) + msg + appID))
	}
	now := unix(1714112445)
	f.Fuzz(func(t *testing.T, plain []byte) {
		for len(plain)%16 != 0 {
			plain = append(plain, byte(len(plain)%32))
		}
		q, body := sealed(t, plain)
		c, err := officialKeys.Open(q, body, now)
		if err != nil {
			return
		}
		if !strings.Contains(string(plain), string(c.Raw)+appID) {
			t.Errorf("%q was read from %q", c.Raw, plain)
		}
		// What was read once is read again the same from what we make of it.
		for _, mode := range []CallbackMode{CallbackSecure, CallbackCompatible} {
			q, body, err := officialKeys.Seal(c.Raw, mode, now)
			if err != nil {
				t.Fatalf("seal %q: %v", c.Raw, err)
			}
			again, err := officialKeys.Open(q, body, now)
			if mode == CallbackCompatible {
				continue // a message may have an Encrypt of its own; it must not panic
			}
			if err != nil || string(again.Raw) != string(c.Raw) || len(again.Items) != len(c.Items) || again.FromUserName != c.FromUserName {
				t.Errorf("%q became %+v, %v", c.Raw, again, err)
			}
		}
	})
}
