package callback

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// FuzzReceiver sends any query and any body to an app in secure mode and to one in plain
// mode, as they are and signed as only WeChat can. Whatever comes, the answer is one of a
// few, what is answered with success is stored as it was, and nothing else is.
func FuzzReceiver(f *testing.F) {
	w := newWorld(f)
	plain := hongyan.AppID("wxplain000000000")
	must(w.l.CreateApp(f.Context(), hongyan.App{AppID: plain, Name: "plain", Settings: hongyan.AppSettings{TokenMode: hongyan.TokenNone}}, hongyan.AppSecret{}, nil))
	tok := hongyan.NewCallbackSecret(token)
	w.setKeys(aesKey, "")
	if err := w.l.SetCallback(f.Context(), plain, ledger.CallbackUpdate{Token: &tok}); err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1714112445, 0)
	w.rc.cfg.Now = func() time.Time { return now }
	for _, mode := range []wechat.CallbackMode{wechat.CallbackPlain, wechat.CallbackCompatible, wechat.CallbackSecure} {
		for _, msg := range []string{string(message("hello")), `<xml><FromUserName>oX</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType><Event>subscribe_msg_popup_event</Event><SubscribeMsgPopupEvent><List><TemplateId>t</TemplateId><SubscribeStatusString>accept</SubscribeStatusString></List></SubscribeMsgPopupEvent></xml>`,
			`{"FromUserName":"oX","CreateTime":1,"MsgType":"event","Event":"subscribe_msg_sent_event","List":{"MsgID":"1","ErrorCode":"0"}}`} {
			q, body, err := w.keys(aesKey).Seal([]byte(msg), mode, now)
			if err != nil {
				f.Fatal(err)
			}
			f.Add("POST", q.Encode(), body, false)
			f.Add("POST", q.Encode(), body, true)
		}
	}
	f.Add("GET", w.keys(aesKey).SignEcho("123", now).Encode(), []byte(nil), true)
	f.Add("GET", "echostr=%3Cscript%3E&a=1;b", []byte(nil), true)

	f.Fuzz(func(t *testing.T, method, query string, body []byte, sign bool) {
		if method != "GET" {
			method = "POST"
		}
		for _, app := range []hongyan.AppID{w.app, plain} {
			msg, q := body, query
			if sign {
				q, msg = signedAs(app == plain, w, query, body, now)
			}
			r := httptest.NewRequest(method, "/callback/"+string(app), bytes.NewReader(msg))
			r.URL.RawQuery = q
			rec := httptest.NewRecorder()
			before := stored(t, w.l, app)
			w.rc.ServeHTTP(rec, r)
			if !slices.Contains([]int{200, 400, 401, 413}, rec.Code) || rec.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/plain") {
				t.Fatalf("answered %d %v", rec.Code, rec.Header())
			}
			after := stored(t, w.l, app)
			if rec.Code != 200 || method == "GET" {
				if after.ID != before.ID {
					t.Fatalf("answered %d to a %s, and stored %+v", rec.Code, method, after)
				}
				continue
			}
			if rec.Body.String() != "success" {
				t.Fatalf("answered %q", rec.Body)
			}
			if !sign && app == w.app && after.ID != before.ID && !slices.ContainsFunc([]string{"hello", "accept", "sent"}, func(s string) bool { return strings.Contains(after.Raw, s) }) {
				t.Fatalf("took what WeChat never sealed: %q", after.Raw)
			}
			if after.ID != before.ID && (after.Encrypted != (app == w.app) || sign && !bytes.Equal([]byte(after.Raw), body)) {
				t.Fatalf("stored %+v for %q", after, body)
			}
		}
	})
}

// signedAs is a push of a body with any query, signed by who has the keys. A body that
// cannot be sealed goes as it is.
func signedAs(plain bool, w *world, query string, body []byte, now time.Time) (string, []byte) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return query, body
	}
	keys, mode := w.keys(aesKey), wechat.CallbackSecure
	if plain {
		keys, mode = w.keys(""), wechat.CallbackPlain
	}
	sealed, msg, err := keys.Seal(body, mode, now)
	if err != nil {
		// Only the signature over what cannot be read is right.
		msg = body
		sealed = url.Values{"timestamp": {fmt.Sprint(now.Unix())}, "nonce": {"1"}}
		sealed.Set("signature", signature(token, sealed.Get("timestamp"), "1"))
	}
	for k, v := range sealed {
		q[k] = v
	}
	return q.Encode(), msg
}

// stored is the newest callback of an app, if there is one.
func stored(t *testing.T, l *ledger.Ledger, app hongyan.AppID) hongyan.Callback {
	t.Helper()
	list, _, err := l.Callbacks(t.Context(), app, ledger.CallbackFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		return hongyan.Callback{}
	}
	return must(l.Callback(t.Context(), app, list[0].ID))
}
