package callback

import (
	"bufio"
	"bytes"
	"encoding/base64"
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
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

// TestModes: each mode in each format arrives as what it was, and counts.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []wechat.CallbackMode{wechat.CallbackPlain, wechat.CallbackCompatible, wechat.CallbackSecure} {
		for _, format := range []wechat.CallbackFormat{wechat.CallbackJSON, wechat.CallbackXML} {
			t.Run(string(mode)+" "+string(format), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				aes := aesKey
				if mode == wechat.CallbackPlain {
					aes = ""
				}
				w.setKeys(aes, "")
				w.pushTo(sandbox.PushSpec{AESKey: aes, Mode: mode, Format: format})
				w.tap()
				w.flush()
				list := w.callbacks()
				if len(list) != 1 {
					t.Fatalf("%d callbacks, want 1: %s", len(list), w.logs)
				}
				cb := list[0]
				want := hongyan.CallbackItem{TemplateID: w.tmpl, Choice: "accept"}
				if cb.Event != hongyan.CallbackPopup || cb.OpenID != hongyan.OpenID(w.user) || cb.Encrypted != (aes != "") || !slices.Equal(cb.Items, []hongyan.CallbackItem{want}) || cb.Status != hongyan.CallbackDone {
					t.Errorf("recorded %+v", cb)
				}
				if sub := must(w.l.Subscription(t.Context(), w.app, hongyan.OpenID(w.user), w.tmpl)); sub.Available != 1 {
					t.Errorf("the tap counts %d, want 1", sub.Available)
				}
				for _, p := range must(w.box.Pushes(sandbox.PushQuery{})).Items {
					if p.Status != "taken" || len(p.Tries) != 1 || p.Tries[0].Answer != "success" {
						t.Errorf("WeChat saw %+v", p)
					}
				}
				if cfg := must(w.l.CallbackConfig(t.Context(), w.app)); cfg.VerifiedAt.IsZero() || cfg.LastAt.IsZero() {
					t.Errorf("config %+v", cfg)
				}
				if n := w.counted("hongyan_callbacks_total", hongyan.CallbackPopup, "taken") + w.counted("hongyan_callbacks_total", urlCheck, "taken"); n != 2 {
					t.Errorf("counted %v, want the check and the push", n)
				}
			})
		}
	}
}

// TestRecorded: who a push is about, and what is kept of one that nobody here acts on.
func TestRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	for _, tt := range []struct {
		name, msg, event string
		openid           hongyan.OpenID
	}{
		{"a message", string(message("你好")), "text", "oUserWhoWrites00000000000001"},
		{"an unknown event", `{"FromUserName":"oX","CreateTime":"1714112445","MsgType":"event","Event":"debug_demo","debug_str":"hello","List":{"Secret":1}}`, "debug_demo", "oX"},
		{"a revocation names its user elsewhere", `<xml><FromUserName>oNotTheUser</FromUserName><CreateTime>1626857200</CreateTime><MsgType>event</MsgType><Event>user_authorization_revoke</Event><OpenID>oTheUser</OpenID><RevokeInfo>1</RevokeInfo></xml>`, "user_authorization_revoke", "oTheUser"},
		{"a sent event", `{"FromUserName":"oX","CreateTime":1714112445,"MsgType":"event","Event":"subscribe_msg_sent_event","List":[{"TemplateId":"t","MsgID":"1864323726461255680","ErrorCode":"0","ErrorStatus":"success"}]}`, "subscribe_msg_sent_event", "oX"},
	} {
		w.wantAnswer(w.send([]byte(tt.msg), aesKey, wechat.CallbackSecure), 200, "success")
		cb := must(w.l.Callback(t.Context(), w.app, w.callbacks()[0].ID))
		if cb.Event != tt.event || cb.OpenID != tt.openid || cb.Raw != tt.msg || !cb.Encrypted {
			t.Errorf("%s: %+v", tt.name, cb)
		}
		if (cb.Event == hongyan.CallbackSent) != (len(cb.Items) == 1) {
			t.Errorf("%s: items %+v", tt.name, cb.Items)
		}
	}
	w.wantAnswer(w.send(message("你好"), aesKey, wechat.CallbackSecure), 200, "success") // sealed anew
	w.want(4)
}

// TestRepeats: WeChat's repeats and its retries change nothing.
func TestRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	w.pushTo(sandbox.PushSpec{AESKey: aesKey})
	must(w.box.AddFault(sandbox.FaultSpec{Push: "repeated"}))
	w.tap()
	w.flush()
	if n := len(must(w.box.Pushes(sandbox.PushQuery{})).Items[0].Tries); n < 2 {
		t.Fatalf("the sandbox made %d tries, want a repeat", n)
	}
	w.want(1)
}

// TestKeyRotation: for a week WeChat may go on with the key before.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	w.pushTo(sandbox.PushSpec{AESKey: aesKey})
	w.setKeys(otherKey, "")
	w.pushTo(sandbox.PushSpec{AESKey: otherKey})
	must(w.box.AddFault(sandbox.FaultSpec{Push: "old_key"}))
	w.tap()
	w.flush()
	w.want(1)
	if p := must(w.box.Pushes(sandbox.PushQuery{})).Items[0]; p.Fault != "old_key" || p.Status != "taken" {
		t.Errorf("%+v", p)
	}
	// Going back to plain forgets it: what is encrypted is not taken any more.
	w.setKeys("", "")
	w.wantAnswer(w.send(message("a"), otherKey, wechat.CallbackSecure), 401, "")
	w.wantAnswer(w.send(message("b"), "", wechat.CallbackPlain), 200, "success")
}

// sealed is a push as WeChat makes it, to be spoilt by a test.
func (w *world) sealed(keys wechat.CallbackKeys, msg []byte, mode wechat.CallbackMode, ago time.Duration) (url.Values, []byte) {
	w.t.Helper()
	q, body, err := keys.Seal(msg, mode, w.box.Now().Add(-ago))
	if err != nil {
		w.t.Fatal(err)
	}
	return q, body
}

// TestRefusals: each way of not being WeChat is answered, noted, and stored nowhere.
func TestRefusals(t *testing.T) {
	t.Parallel()
	secure := func(w *world) (url.Values, []byte) {
		return w.sealed(w.keys(aesKey), message("x"), wechat.CallbackSecure, 0)
	}
	// resealed signs another text in place of what was encrypted, as only a holder of the token can.
	resealed := func(w *world, change func([]byte) string) (url.Values, []byte) {
		_, body := secure(w)
		var encrypted string
		_, _ = fmt.Sscanf(string(body[bytes.Index(body, []byte(`"Encrypt":"`))+11:]), "%s", &encrypted)
		raw := must(base64.StdEncoding.DecodeString(strings.TrimSuffix(encrypted, `"}`)))
		return w.signed(change(raw))
	}
	for _, tt := range []struct {
		name   string
		plain  bool
		get    bool
		status int
		reason wechat.CallbackReason
		make   func(w *world) (url.Values, []byte)
	}{
		{"no msg_signature", false, false, 401, wechat.CallbackUnsigned, func(w *world) (url.Values, []byte) {
			q, b := secure(w)
			q.Del("msg_signature")
			return q, b
		}},
		{"signature alone, and a clear body", false, false, 401, wechat.CallbackNotEncrypted, func(w *world) (url.Values, []byte) {
			return w.sealed(w.keys(""), message("x"), wechat.CallbackPlain, 0)
		}},
		{"encrypt_type=aes with a clear body", false, false, 401, wechat.CallbackNotEncrypted, func(w *world) (url.Values, []byte) {
			q, _ := secure(w)
			return q, message("x")
		}},
		{"encrypt_type=raw", false, false, 401, wechat.CallbackNotEncrypted, func(w *world) (url.Values, []byte) {
			q, b := secure(w)
			q.Set("encrypt_type", "raw")
			return q, b
		}},
		{"another token", false, false, 401, wechat.CallbackBadSignature, func(w *world) (url.Values, []byte) {
			return w.sealed(wechat.CallbackKeys{AppID: string(w.app), Token: "another", AESKey: aesKey}, message("x"), wechat.CallbackSecure, 0)
		}},
		{"the same signature with another body", false, false, 401, wechat.CallbackBadSignature, func(w *world) (url.Values, []byte) {
			q, _ := secure(w)
			_, b := w.sealed(w.keys(aesKey), message("y"), wechat.CallbackSecure, 0)
			return q, b
		}},
		{"a parameter twice", false, false, 400, wechat.CallbackBadQuery, func(w *world) (url.Values, []byte) {
			q, b := secure(w)
			q.Add("nonce", "2")
			return q, b
		}},
		{"stale", false, false, 401, wechat.CallbackStale, func(w *world) (url.Values, []byte) {
			return w.sealed(w.keys(aesKey), message("x"), wechat.CallbackSecure, 11*time.Minute)
		}},
		{"from the future", false, false, 401, wechat.CallbackStale, func(w *world) (url.Values, []byte) {
			return w.sealed(w.keys(aesKey), message("x"), wechat.CallbackSecure, -11*time.Minute)
		}},
		{"for another app", false, false, 401, wechat.CallbackForeignApp, func(w *world) (url.Values, []byte) {
			return w.sealed(wechat.CallbackKeys{AppID: "wxffffffffffffffff", Token: token, AESKey: aesKey}, message("x"), wechat.CallbackSecure, 0)
		}},
		{"another key", false, false, 401, "", func(w *world) (url.Values, []byte) {
			return w.sealed(w.keys(otherKey), message("x"), wechat.CallbackSecure, 0)
		}},
		{"bad base64", false, false, 401, wechat.CallbackBadBase64, func(w *world) (url.Values, []byte) { return w.signed("%%%") }},
		{"truncated", false, false, 401, wechat.CallbackBadLength, func(w *world) (url.Values, []byte) {
			return resealed(w, func(b []byte) string { return base64.StdEncoding.EncodeToString(b[:len(b)-5]) })
		}},
		{"bad padding", false, false, 401, wechat.CallbackBadPadding, func(w *world) (url.Values, []byte) {
			return resealed(w, func(b []byte) string { return base64.StdEncoding.EncodeToString(b[:len(b)-32]) })
		}},
		{"length beyond the buffer", false, false, 401, wechat.CallbackBadLength, func(w *world) (url.Values, []byte) {
			// In CBC a changed bit of one block changes that bit of the next: here, of the length.
			return resealed(w, func(b []byte) string { b[0] ^= 0x40; return base64.StdEncoding.EncodeToString(b) })
		}},
		{"half the body", false, false, 401, wechat.CallbackBadBody, func(w *world) (url.Values, []byte) {
			q, b := secure(w)
			return q, b[:len(b)/2]
		}},
		{"oversized", false, false, 413, wechat.CallbackTooLarge, func(w *world) (url.Values, []byte) {
			q, b := secure(w)
			return q, append(b, bytes.Repeat([]byte(" "), wechat.MaxCallbackBody)...)
		}},
		{"a DTD", false, false, 401, wechat.CallbackDTD, func(w *world) (url.Values, []byte) {
			q, _ := secure(w)
			return q, []byte(`<!DOCTYPE xml [<!ENTITY a "b">]><xml><Encrypt>&a;</Encrypt></xml>`)
		}},
		{"a DTD in plain mode", true, false, 401, wechat.CallbackDTD, func(w *world) (url.Values, []byte) {
			q, _ := w.sealed(w.keys(""), message("x"), wechat.CallbackPlain, 0)
			return q, []byte(`<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml></xml>`)
		}},
		{"encrypted without a key", true, false, 401, wechat.CallbackNoKey, secure},
		{"neither JSON nor XML", true, false, 401, wechat.CallbackBadBody, func(w *world) (url.Values, []byte) {
			q, _ := w.sealed(w.keys(""), message("x"), wechat.CallbackPlain, 0)
			return q, []byte("hello")
		}},
		{"too many items", true, false, 401, wechat.CallbackBadBody, func(w *world) (url.Values, []byte) {
			list := strings.Repeat(`{"TemplateId":"t","SubscribeStatusString":"accept"},`, 101)
			return w.sealed(w.keys(""), []byte(`{"FromUserName":"oX","CreateTime":"1","MsgType":"event","Event":"subscribe_msg_popup_event","List":[`+strings.TrimSuffix(list, ",")+`]}`), wechat.CallbackPlain, 0)
		}},
		{"an empty body", true, false, 401, wechat.CallbackBadBody, func(w *world) (url.Values, []byte) {
			q, _ := w.sealed(w.keys(""), message("x"), wechat.CallbackPlain, 0)
			return q, nil
		}},
		{"no query", false, false, 401, wechat.CallbackNotEncrypted, func(*world) (url.Values, []byte) { return nil, nil }},
		{"echostr with a bad signature", false, true, 401, wechat.CallbackBadSignature, func(w *world) (url.Values, []byte) {
			q := w.keys("").SignEcho("123", w.box.Now())
			q.Set("signature", strings.Repeat("0", 40))
			return q, nil
		}},
		{"no echostr", false, true, 400, wechat.CallbackBadQuery, func(w *world) (url.Values, []byte) {
			q := w.keys("").SignEcho("123", w.box.Now())
			q.Del("echostr")
			return q, nil
		}},
		{"a stale echostr", false, true, 401, wechat.CallbackStale, func(w *world) (url.Values, []byte) {
			return w.keys("").SignEcho("123", w.box.Now().Add(-time.Hour)), nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			aes, method := aesKey, "POST"
			if tt.plain {
				aes = ""
			}
			if tt.get {
				method = "GET"
			}
			w.setKeys(aes, "")
			q, body := tt.make(w)
			got := w.call(method, q, body)
			if got.status != tt.status || strings.Count(got.body, "\n") != 1 || !strings.HasPrefix(got.contentType, "text/plain") || got.took > time.Second {
				t.Errorf("answered %+v, want %d", got, tt.status)
			}
			for _, secret := range []string{token, aes, q.Get("signature"), q.Get("echostr")} {
				if secret != "" && strings.Contains(got.body, secret) {
					t.Errorf("the answer shows %q", secret)
				}
			}
			notes := w.rejections()
			if len(notes) != 1 || tt.reason != "" && notes[0].Reason != string(tt.reason) || notes[0].Remote != "127.0.0.1" || notes[0].Detail == "" {
				t.Errorf("noted %+v, want %s", notes, tt.reason)
			}
			w.want(0)
			if cfg := must(w.l.CallbackConfig(t.Context(), w.app)); !cfg.VerifiedAt.IsZero() {
				t.Error("it passed as a check of the URL")
			}
		})
	}
}

// signed is a secure push of any text as Encrypt, with a right signature.
func (w *world) signed(encrypted string) (url.Values, []byte) {
	w.t.Helper()
	q, _ := w.sealed(w.keys(aesKey), message("x"), wechat.CallbackSecure, 0)
	q.Set("msg_signature", signature(token, q.Get("timestamp"), q.Get("nonce"), encrypted))
	return q, fmt.Appendf(nil, `{"ToUserName":"gh_1","Encrypt":%q}`, encrypted)
}

// TestAnswersTellNothing: what was decrypted to what cannot be told apart by its answer.
func TestAnswersTellNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	_, body := w.sealed(w.keys(aesKey), message("x"), wechat.CallbackSecure, 0)
	raw := must(base64.StdEncoding.DecodeString(string(body[bytes.Index(body, []byte(`"Encrypt":"`))+11 : len(body)-2])))
	answers := map[string]bool{}
	for i := range len(raw) {
		spoilt := slices.Clone(raw)
		spoilt[i] ^= 0xff
		q, body := w.signed(base64.StdEncoding.EncodeToString(spoilt))
		got := w.call("POST", q, body)
		if got.status == 200 {
			continue // the random bytes and some of the text may be anything
		}
		answers[fmt.Sprint(got.status, got.body)] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
}

// TestNotedSeldom: a flood of refusals is one note a second.
func TestNotedSeldom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	began := time.Now()
	for range 200 {
		w.wantAnswer(w.call("POST", nil, nil), 401, "")
	}
	most := 1 + int(time.Since(began)/time.Second)
	if n := len(w.rejections()); n < 1 || n > most {
		t.Errorf("%d notes, want 1 to %d", n, most)
	}
	if n := w.counted("hongyan_callbacks_total", "unknown", "refused"); n != 200 {
		t.Errorf("%v counted, want 200", n)
	}
}

// TestNotHere: an app without keys, one that is not here and other paths look alike.
func TestNotHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.do("POST", w.url, nil), w.do("POST", w.srv.URL+"/callback/wxNobody", nil)
	if a.status != 404 || a.body != b.body || a.status != b.status || a.contentType != b.contentType {
		t.Errorf("without keys %+v, unknown %+v", a, b)
	}
	w.setKeys(aesKey, "")
	if got := w.do("PUT", w.url, nil); got.status != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %+v", got)
	}
	if err := w.l.RemoveCallback(t.Context(), w.app); err != nil {
		t.Fatal(err)
	}
	w.wantAnswer(w.send(message("x"), aesKey, wechat.CallbackSecure), 404, a.body)
	w.want(0)
}

// TestStorageAway: what is not on disk is not taken, so WeChat comes again.
func TestStorageAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	w.stop()
	got := w.send(message("x"), aesKey, wechat.CallbackSecure)
	w.wantAnswer(got, 503, "not stored; try again\n")
	if n := w.counted("hongyan_callbacks_total", "other", "failed"); n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
}

// TestSlowBody: who sends half a body and waits is let go in time.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	q, body := w.sealed(w.keys(aesKey), message("x"), wechat.CallbackSecure, 0)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	fmt.Fprintf(conn, "POST /callback/%s?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", w.app, q.Encode(), len(body), body[:len(body)/2])
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if took := time.Since(began); res.StatusCode != http.StatusRequestTimeout || took > answerTime+time.Second {
		t.Errorf("%d after %v, want 408 after %v", res.StatusCode, took, answerTime)
	}
	if notes := w.rejections(); len(notes) != 1 || notes[0].Detail != errSlow.Error() {
		t.Errorf("noted %+v", notes)
	}
	w.want(0)
}

// TestEndlessBody: a body without a length is read as far as the limit.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setKeys(aesKey, "")
	got := w.do("POST", w.url, io.MultiReader(strings.NewReader(strings.Repeat(" ", wechat.MaxCallbackBody)), strings.NewReader(" ")))
	w.wantAnswer(got, 413, "")
}
