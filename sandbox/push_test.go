package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// Every mode and format, letter for letter.
func TestPushForms(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]PushSpec{
		"plain JSON":       {Mode: "plain"},
		"plain XML":        {Mode: "plain", Format: "xml"},
		"compatible JSON":  {Mode: "compatible", AESKey: pushKey, CreateTime: "number"},
		"compatible XML":   {Mode: "compatible", AESKey: pushKey, Format: "xml"},
		"secure JSON":      {AESKey: pushKey, List: "array"},
		"secure XML":       {Mode: "secure", AESKey: pushKey, Format: "xml"},
		"a URL with query": {URL: "?tenant=1&x=y", AESKey: pushKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, Config{})
			rc := newReceiver(e)
			if spec.AESKey == "" {
				rc.keys.AESKey = ""
			}
			spec.Token, spec.URL = pushToken, rc.url+spec.URL
			cfg := e.setPush(spec)
			other := e.add(TemplateSpec{})
			id := e.tmpl.TemplateID
			e.taps(TapSpec{TemplateIDs: []string{id, other}, Choices: map[string]string{other: "reject", id: "acceptWithAudio"}})
			e.want(0, e.send(e.token(), e.message()))
			e.refuse("card")
			e.flush()
			msgid := fmt.Sprint(e.wantCards(1)[0].MsgID)
			common := func(event string) string {
				at, quote := fmt.Sprint(start.Unix()), `"`
				if cfg.Format == "xml" {
					return "<xml><ToUserName><![CDATA[" + cfg.ToUserName + "]]></ToUserName><FromUserName><![CDATA[" + e.openID +
						"]]></FromUserName><CreateTime>" + at + "</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[" + event + "]]></Event>"
				}
				if cfg.CreateTime == "number" {
					quote = ""
				}
				return `{"ToUserName":"` + cfg.ToUserName + `","FromUserName":"` + e.openID + `","CreateTime":` + quote + at + quote + `,"MsgType":"event","Event":"` + event + `",`
			}
			want := []string{
				common(wechat.EventSubscribePopup) + `"List":[{"TemplateId":"` + id + `","SubscribeStatusString":"accept","PopupScene":"0"},{"TemplateId":"` + other + `","SubscribeStatusString":"reject","PopupScene":"0"}]}`,
				common(wechat.EventSubscribeSent) + `"List":{"TemplateId":"` + id + `","MsgID":"` + msgid + `","ErrorCode":"0","ErrorStatus":"success"}}`,
				common(wechat.EventSubscribeChange) + `"List":{"TemplateId":"` + id + `","SubscribeStatusString":"reject"}}`,
			}
			if cfg.List == "array" {
				for i, s := range want[1:] {
					want[i+1] = strings.Replace(s[:len(s)-1], `"List":`, `"List":[`, 1) + "]}"
				}
			}
			if cfg.Format == "xml" {
				want = []string{
					common(wechat.EventSubscribePopup) + "<SubscribeMsgPopupEvent><List><TemplateId><![CDATA[" + id + "]]></TemplateId><SubscribeStatusString><![CDATA[accept]]></SubscribeStatusString><PopupScene>0</PopupScene></List>" +
						"<List><TemplateId><![CDATA[" + other + "]]></TemplateId><SubscribeStatusString><![CDATA[reject]]></SubscribeStatusString><PopupScene>0</PopupScene></List></SubscribeMsgPopupEvent></xml>",
					common(wechat.EventSubscribeSent) + "<SubscribeMsgSentEvent><List><TemplateId><![CDATA[" + id + "]]></TemplateId><MsgID>" + msgid + "</MsgID><ErrorCode>0</ErrorCode><ErrorStatus><![CDATA[success]]></ErrorStatus></List></SubscribeMsgSentEvent></xml>",
					common(wechat.EventSubscribeChange) + "<SubscribeMsgChangeEvent><List><TemplateId><![CDATA[" + id + "]]></TemplateId><SubscribeStatusString><![CDATA[reject]]></SubscribeStatusString></List></SubscribeMsgChangeEvent></xml>",
				}
			}
			rc.want("popup", "sent", "change")
			for i, a := range rc.arrivals() {
				if a.err != nil || string(a.Raw) != want[i] || a.Encrypted != (cfg.Mode != "plain") || a.FromUserName != e.openID || !a.CreateTime.Equal(start) {
					t.Errorf("got %+v, %v\n%s\nwant\n%s", a.Callback, a.err, a.Raw, want[i])
				}
				if strings.Contains(name, "query") != strings.HasPrefix(a.query, "tenant=1&x=y&") {
					t.Errorf("query %s", a.query)
				}
			}
			for i, p := range e.pushes() {
				if p.Status != "taken" || p.Message != want[i] || len(p.Tries) != 1 || p.Tries[0].HTTPStatus != 200 || p.Tries[0].Answer != "success" || p.OpenID != e.openID {
					t.Errorf("push %+v", p)
				}
			}
		})
	}
}

// Without a configuration nothing is made.
func TestPushNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(1)
	e.want(0, e.send(e.token(), e.message()))
	e.refuse("card")
	if got := e.Stats().Pushes; got != (PushStats{}) || len(e.pushes()) != 0 {
		t.Errorf("pushes %+v", got)
	}
	e.flush()
	if _, err := e.PushEvent(EventSpec{AppID: e.app.AppID, Message: "{}"}); problemCode(err) != "no_push" {
		t.Errorf("event: %v", err)
	}
	if _, err := e.Push(e.app.AppID); problemCode(err) != "no_push" {
		t.Errorf("config: %v", err)
	}
	if err := e.EndPush(e.app.AppID); problemCode(err) != "no_push" {
		t.Errorf("end: %v", err)
	}
}

func problemCode(err error) string {
	if p, ok := err.(*Problem); ok {
		return p.Code
	}
	return fmt.Sprint(err)
}

// A URL that does not answer the check is not taken, and what was set stays.
func TestPushURLCheck(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	e.pushTimeout = 200 * time.Millisecond
	release := make(chan struct{})
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch echo := r.URL.Query().Get("echostr"); r.URL.Path {
		case "/newline":
			fmt.Fprintln(w, echo)
		case "/quoted":
			fmt.Fprintf(w, "%q", echo)
		case "/status":
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, echo)
		case "/success":
			io.WriteString(w, "success")
		case "/redirect":
			http.Redirect(w, r, rc.url+"?"+r.URL.RawQuery, http.StatusFound)
		case "/drop":
			panic(http.ErrAbortHandler)
		case "/slow":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer bad.Close()
	defer close(release)
	for path, want := range map[string]string{
		"/newline": "Token校验失败", "/quoted": "Token校验失败", "/status": "Token校验失败", "/success": "Token校验失败",
		"/redirect": "Token校验失败", "/empty": "Token校验失败", "/drop": "请求URL失败", "/slow": "请求URL超时",
	} {
		_, err := e.SetPush(t.Context(), e.app.AppID, PushSpec{URL: bad.URL + path, Token: "another1"})
		if problemCode(err) != "url_check_failed" || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "signature") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := e.SetPush(t.Context(), e.app.AppID, PushSpec{URL: rc.url, Token: "another1"}); problemCode(err) != "url_check_failed" {
		t.Errorf("another token: %v", err)
	}
	if cfg := must(e.Push(e.app.AppID)); cfg.URL != rc.url || cfg.Token != pushToken {
		t.Errorf("config %+v", cfg)
	}
}

func TestPushSpecProblems(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	good := PushSpec{URL: "http://127.0.0.1:1/", Token: pushToken, AESKey: pushKey}
	for want, change := range map[string]func(*PushSpec){
		"url must":                    func(s *PushSpec) { s.URL = "ftp://127.0.0.1/" },
		"url must be":                 func(s *PushSpec) { s.URL = "/callback" },
		"mode must":                   func(s *PushSpec) { s.Mode = "raw" },
		"format must":                 func(s *PushSpec) { s.Format = "yaml" },
		"create_time must":            func(s *PushSpec) { s.CreateTime = "text" },
		"list must":                   func(s *PushSpec) { s.List = "object" },
		"parallel must":               func(s *PushSpec) { s.Parallel = 65 },
		"parallel must be 1":          func(s *PushSpec) { s.Parallel = -1 },
		"encoding_aes_key is missing": func(s *PushSpec) { s.AESKey, s.Mode = "", "secure" },
		"an EncodingAESKey must":      func(s *PushSpec) { s.AESKey = "short" },
		"the token must":              func(s *PushSpec) { s.Token = "" },
	} {
		spec := good
		change(&spec)
		_, err := e.SetPush(t.Context(), e.app.AppID, spec)
		if problemCode(err) != "bad_request" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := e.SetPush(t.Context(), "wx0", good); problemCode(err) != "unknown_app" {
		t.Errorf("unknown app: %v", err)
	}
}

// Which answers push: those of a dialog that was shown, unless rules say more.
func TestPushSilentAnswers(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	id := e.tmpl.TemplateID
	banned, second := e.add(TemplateSpec{}), e.add(TemplateSpec{})
	e.setRules(Rules{BannedTemplates: []string{banned}})
	e.taps(TapSpec{TemplateIDs: []string{id, banned}, Always: true}) // asks
	e.taps(TapSpec{TemplateIDs: []string{id}})                       // silent
	e.taps(TapSpec{TemplateIDs: []string{banned}})                   // nothing to ask
	e.taps(TapSpec{TemplateIDs: []string{id, second}})               // asks about the second
	e.refuse("settings")
	e.refuse("main_switch")
	e.flush()
	rc.want("popup", "popup")
	got := rc.arrivals()
	if a, b := got[0].Items, got[1].Items; len(a) != 1 || a[0].TemplateID != id || len(b) != 1 || b[0].TemplateID != second {
		t.Errorf("items %+v, %+v", a, b)
	}
	must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, Where: "main_switch", Allow: true}))
	e.setRules(Rules{SilentPushes: true, SettingsPushes: true})
	e.taps(TapSpec{TemplateIDs: []string{id}}) // silent: the settings made it a reject
	e.refuse("settings")
	must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateID: id, Where: "settings", Allow: true}))
	e.flush()
	rc.want("popup", "popup", "popup", "change")
	if a := rc.arrivals()[2].Items; len(a) != 1 || a[0].Status != "reject" {
		t.Errorf("items %+v", a)
	}
}

// The sent event comes also when nobody got the answer of the send, and does not
// when the send was refused or never looked at.
func TestPushSentWithoutAnswer(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	token := e.token()
	e.want(43101, e.send(token, e.message()))
	e.tap(3)
	e.fault(FaultSpec{Path: pathSend, Drop: true, When: "before", Count: ptr(1)})
	e.fault(FaultSpec{Path: pathSend, Drop: true, When: "after", Count: ptr(1)})
	for range 2 {
		if _, err := e.do("POST", pathSend+"?access_token="+token, e.message()); err == nil {
			t.Error("the answer was not lost")
		}
	}
	e.flush()
	rc.want("popup", "popup", "popup", "sent")
	card := e.wantCards(1)[0]
	if item := rc.arrivals()[3].Items[0]; item.MsgID != fmt.Sprint(card.MsgID) || item.ErrorCode != "0" {
		t.Errorf("item %+v", item)
	}
}

// A change of the key keeps the old one, and pushes may still use it.
func TestPushKeyChange(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	rc.mu.Lock()
	rc.keys.AESKey, rc.keys.PreviousAESKey = otherKey, pushKey
	rc.mu.Unlock()
	spec := PushSpec{URL: rc.url, Token: pushToken, AESKey: otherKey}
	if cfg := e.setPush(spec); cfg.PreviousAESKey != pushKey {
		t.Errorf("config %+v", cfg)
	}
	if cfg := e.setPush(spec); cfg.PreviousAESKey != pushKey { // no change
		t.Errorf("config %+v", cfg)
	}
	e.fault(FaultSpec{Push: "old_key", Count: ptr(1)})
	e.tap(2)
	e.flush()
	rc.want("popup", "popup")
	if got := rc.arrivals(); !got[0].PreviousKey || got[1].PreviousKey {
		t.Errorf("previous key: %v, %v", got[0].PreviousKey, got[1].PreviousKey)
	}
}

// Events that nothing in the sandbox causes.
func TestPushEvent(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	app := e.app.AppID
	p := must(e.PushEvent(EventSpec{AppID: app, Event: "user_authorization_revoke", OpenID: e.openID, RevokeInfo: "301"}))
	if p.Status != "pending" || p.OpenID != e.openID {
		t.Errorf("push %+v", p)
	}
	must(e.PushEvent(EventSpec{AppID: app, Event: "user_authorization_cancellation", OpenID: e.openID}))
	must(e.PushEvent(EventSpec{AppID: app, Event: "user_info_modified", OpenID: e.openID}))
	raw := `<xml><FromUserName>oX</FromUserName><Event><![CDATA[wxa_punish_event]]></Event></xml>`
	must(e.PushEvent(EventSpec{AppID: app, Message: raw}))
	e.flush()
	rc.want("user_authorization_revoke", "user_authorization_cancellation", "user_info_modified", "wxa_punish")
	got := rc.arrivals()
	if a := got[0]; a.OpenID != e.openID || a.FromUserName == e.openID || a.FromUserName == "" || a.AppID != app || a.RevokeInfo != "301" {
		t.Errorf("revoke %+v", a.Callback)
	}
	if a := got[3]; string(a.Raw) != raw || a.Format != "xml" {
		t.Errorf("raw %+v", a.Callback)
	}
	for want, spec := range map[string]EventSpec{
		"unknown_user": {AppID: app, Event: "user_info_modified", OpenID: "oNobody"},
		"unknown_app":  {AppID: "wx0", Event: "user_info_modified", OpenID: e.openID},
		"bad_message":  {AppID: app, Message: "success"},
		"bad_request":  {AppID: app, Event: "subscribe_msg_sent_event", OpenID: e.openID},
	} {
		if _, err := e.PushEvent(spec); problemCode(err) != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := e.PushEvent(EventSpec{AppID: app, Message: raw, OpenID: "o"}); problemCode(err) != "bad_request" {
		t.Errorf("message with openid: %v", err)
	}
}

func TestPushControl(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	rc := newReceiver(e)
	ok := func(method, path string, body any) map[string]any {
		t.Helper()
		status, m := e.control(method, path, body)
		if status != 200 {
			t.Fatalf("%s %s: %d %v", method, path, status, m)
		}
		return m
	}
	path := "apps/" + e.app.AppID + "/push"
	if status, m := e.control("GET", path, nil); status != 404 || m["code"] != "no_push" {
		t.Errorf("%d %v", status, m)
	}
	if status, m := e.control("PUT", path, map[string]any{"url": rc.url, "token": "wrongToken"}); status != 422 || m["code"] != "url_check_failed" {
		t.Errorf("%d %v", status, m)
	}
	set := ok("PUT", path, map[string]any{"url": rc.url, "token": pushToken, "encoding_aes_key": pushKey})
	if set["mode"] != "secure" || set["format"] != "json" || set["create_time"] != "string" || set["list"] != "auto" || fmt.Sprint(set["parallel"]) != "1" ||
		!strings.HasPrefix(fmt.Sprint(set["to_user_name"]), "gh_") || set["encoding_aes_key"] != pushKey {
		t.Errorf("config %v", set)
	}
	if got := ok("GET", path, nil); fmt.Sprint(got) != fmt.Sprint(set) {
		t.Errorf("config %v", got)
	}
	made := ok("POST", "pushes", map[string]any{"appid": e.app.AppID, "event": "user_info_modified", "openid": e.openID})
	if made["id"] != "p1" || made["event"] != "user_info_modified" {
		t.Errorf("made %v", made)
	}
	e.tap(1)
	if quiet := ok("POST", "pushes/flush", nil); fmt.Sprint(quiet["taken"]) != "2" || fmt.Sprint(quiet["pending"]) != "0" {
		t.Errorf("flush %v", quiet)
	}
	list := ok("GET", "pushes?appid="+e.app.AppID+"&event=subscribe_msg_popup_event&openid="+e.openID, nil)["items"].([]any)
	if len(list) != 1 {
		t.Fatalf("pushes %v", list)
	}
	p := list[0].(map[string]any)
	try := p["tries"].([]any)[0].(map[string]any)
	if p["status"] != "taken" || p["id"] != "p2" || fmt.Sprint(try["http_status"]) != "200" || try["answer"] != "success" || try["duration_ms"] == nil {
		t.Errorf("push %v", p)
	}
	if stats := ok("GET", "stats", nil)["pushes"].(map[string]any); fmt.Sprint(stats["made"]) != "2" || fmt.Sprint(stats["tries"]) != "2" {
		t.Errorf("stats %v", stats)
	}
	ok("DELETE", path, nil)
	if status, m := e.control("DELETE", path, nil); status != 404 {
		t.Errorf("%d %v", status, m)
	}
	if status, m := e.control("GET", "apps/a/b/push", nil); status != 404 || m["code"] != "not_found" {
		t.Errorf("%d %v", status, m)
	}
}

func TestPushLogsTellNoSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var mu sync.Mutex
	e := newEnv(t, Config{Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	rc := newReceiver(e)
	e.setPush(PushSpec{URL: rc.url, Token: pushToken, AESKey: pushKey})
	e.tap(1)
	e.flush()
	e.Close() // after it nothing logs
	text := log.String()
	if !strings.Contains(text, wechat.EventSubscribePopup) {
		t.Errorf("the push is not in the log: %s", text)
	}
	for _, secret := range []string{pushToken, pushKey, rc.arrivals()[0].nonce, "signature"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log tells %s: %s", secret, text)
		}
	}
}
