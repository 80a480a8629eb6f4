package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	if _, err := w.box.SetRules(w.app.AppID, sandbox.Rules{Quotas: map[string]int{hongyan.SendPath: 7}}); err != nil {
		t.Fatal(err)
	}
	q, err := w.key(nil, hongyan.ScopeRead).Quota(ctx, id, hongyan.SendPath)
	if err != nil || q.Daily == nil || *q.Daily != (hongyan.DailyQuota{Limit: 7, Remain: 7}) || q.CGIPath != hongyan.SendPath {
		t.Errorf("got %+v %v", q, err)
	}
	_, err = w.admin.Quota(ctx, id, "/cgi-bin/nothing")
	if e := wantCode(t, err, hongyan.CodeWeChatRefused); e.WeChat.Errcode != 76021 || e.WeChat.Rid == "" {
		t.Errorf("got %+v", e.WeChat)
	}
	for _, path := range []string{"", "cgi-bin/x", "https://api.weixin.qq.com/cgi-bin/x", "/cgi-bin/x?access_token=1"} {
		_, err := w.admin.Quota(ctx, id, path)
		if e := wantCode(t, err, hongyan.CodeInvalid); e.Fields[0].Pointer != "/cgi_path" {
			t.Errorf("%q: got %+v", path, e.Fields)
		}
	}
}

// Clearing ends the pauses for a spent quota, and needs no access token.
func TestClearQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	pause := func(scope hongyan.PauseScope, key, reason string) {
		t.Helper()
		p := hongyan.Pause{Scope: scope, Key: key, Reason: reason, Errcode: 45009}
		if reason != hongyan.PauseManual {
			p.ProbeAt = w.l.Now().Add(time.Hour)
		}
		if err := w.l.Pause(ctx, id, p); err != nil {
			t.Fatal(err)
		}
	}
	pause(hongyan.PausePath, hongyan.SendPath, hongyan.PauseDailyQuota)
	pause(hongyan.PauseApp, "", hongyan.PauseManual)
	if got, err := w.admin.ClearQuota(ctx, id, listPath); err != nil || got.BySecret || len(got.Resumed) != 0 || got.CGIPath != listPath {
		t.Errorf("another path: %+v %v", got, err)
	}
	got, err := w.admin.ClearQuota(ctx, id, "")
	if err != nil || got.BySecret || len(got.Resumed) != 1 || got.Resumed[0].Key != hongyan.SendPath {
		t.Errorf("all: %+v %v", got, err)
	}
	if app, err := w.admin.App(ctx, id); err != nil || len(app.Pauses) != 1 || app.Pauses[0].Reason != hongyan.PauseManual {
		t.Errorf("pauses %+v %v", app.Pauses, err)
	}

	// The token endpoint's own quota is spent, and the token is dead.
	if _, err := w.box.SetRules(w.app.AppID, sandbox.Rules{Quotas: map[string]int{"/cgi-bin/stable_token": 0}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.box.Tokens(sandbox.TokensSpec{AppID: w.app.AppID, Action: "expire"}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.admin.ClearQuota(ctx, id, ""); err != nil || !got.BySecret {
		t.Errorf("without a token: %+v %v", got, err)
	}
	for range 8 {
		if _, err := w.admin.ClearQuota(ctx, id, ""); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.admin.ClearQuota(ctx, id, "")
	if e := wantCode(t, err, hongyan.CodeWeChatRefused); e.WeChat.Errcode != 48006 {
		t.Errorf("the eleventh: %+v", e.WeChat)
	}
	_, err = w.key(nil, hongyan.ScopeRead).ClearQuota(ctx, id, "")
	wantCode(t, err, hongyan.CodeForbidden)
}

func TestCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	_, err := w.admin.Quota(ctx, id, "/cgi-bin/nothing")
	e := wantCode(t, err, hongyan.CodeWeChatRefused)
	for _, rid := range []string{e.WeChat.Rid, " rid: " + e.WeChat.Rid} {
		got, err := w.key(nil, hongyan.ScopeRead).Call(ctx, id, rid)
		if err != nil || got.Rid != e.WeChat.Rid || time.Since(got.InvokedAt) > time.Minute || got.RequestURL != "access_token=redacted" ||
			got.RequestBody != `{"cgi_path":"/cgi-bin/nothing"}` || !strings.Contains(got.ResponseBody, "76021") || got.ClientIP != "127.0.0.1" {
			t.Errorf("%q: got %+v %v", rid, got, err)
		}
	}
	for rid, errcode := range map[string]int{"nonsense": 76002, "00000001-00000000-00000000": 76004} {
		_, err := w.admin.Call(ctx, id, rid)
		if e := wantCode(t, err, hongyan.CodeWeChatRefused); e.WeChat.Errcode != errcode {
			t.Errorf("%s: got %+v", rid, e.WeChat)
		}
	}
	wantFaults(t, w.call("POST", "/v1/apps/"+w.app.AppID+"/rid", `{"rid":"rid:"}`), "/rid ")
}

func TestCheckCallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	_, err := w.admin.CheckCallback(ctx, id, client.Reach{})
	if e := wantCode(t, err, hongyan.CodeWeChatRefused); e.WeChat.Errcode != 40201 {
		t.Errorf("got %+v", e.WeChat)
	}
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, r.URL.Query().Get("echostr"))
	}))
	defer receiver.Close()
	if _, err := w.box.SetPush(ctx, w.app.AppID, sandbox.PushSpec{URL: receiver.URL, Token: "AAAAA"}); err != nil {
		t.Fatal(err)
	}
	got, err := w.admin.CheckCallback(ctx, id, client.Reach{Operator: "CAP"})
	if err != nil || len(got.DNS) != 1 || len(got.Ping) != 1 || got.DNS[0].IP != "127.0.0.1" || got.Ping[0].From != "CAP" {
		t.Errorf("got %+v %v", got, err)
	}
	if got, err = w.admin.CheckCallback(ctx, id, client.Reach{Action: "dns"}); err != nil || len(got.DNS) != 1 || got.Ping == nil || len(got.Ping) != 0 {
		t.Errorf("got %+v %v", got, err)
	}
	if r := w.call("POST", "/v1/apps/"+w.app.AppID+"/callback/check", ""); r.Status != 200 {
		t.Errorf("without a body: %d %s", r.Status, r.Body)
	}
	wantFaults(t, w.call("POST", "/v1/apps/"+w.app.AppID+"/callback/check", `{"action":"trace","operator":"x"}`), "/action all, dns, ping", "/operator CHINANET")
}

// What the official demo of encryptedData has.
const (
	demoKey  = "tiihtNczf5v6AKRyjwEUhQ=="
	demoIV   = "r7BXXKkLb8qrSNn05n0qiA=="
	demoData = "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYVoKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)

func TestSessionKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	users, err := w.box.AddUsers(usersSpec(w, 1))
	if err != nil {
		t.Fatal(err)
	}
	openid := hongyan.OpenID(users.OpenIDs[0])
	login := func() {
		t.Helper()
		code, err := w.box.Login(loginSpec(w, string(openid)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin.Login(ctx, id, code.Code, ""); err != nil {
			t.Fatal(err)
		}
	}
	key := func() string {
		t.Helper()
		k, err := w.l.SessionKey(ctx, id, openid)
		if err != nil {
			t.Fatal(err)
		}
		return k.Reveal()
	}
	_, err = w.admin.CheckSessionKey(ctx, id, openid)
	wantCode(t, err, hongyan.CodeUserNotFound)
	w.grant(openid, 1) // known, and without a key
	for _, call := range []func() error{
		func() error { _, err := w.admin.CheckSessionKey(ctx, id, openid); return err },
		func() error { _, err := w.admin.ResetSessionKey(ctx, id, openid); return err },
		func() error {
			_, err := w.admin.DecryptUserData(ctx, id, openid, client.EncryptedData{IV: demoIV, EncryptedData: demoData})
			return err
		},
	} {
		wantCode(t, call(), hongyan.CodeInvalidSessionKey)
	}

	login()
	sender := w.key(nil, hongyan.ScopeSend)
	if got, err := sender.CheckSessionKey(ctx, id, openid); err != nil || !got.Valid || got.OpenID != openid {
		t.Errorf("got %+v %v", got, err)
	}
	before := key()
	got, err := sender.ResetSessionKey(ctx, id, openid)
	if err != nil || !got.Reset || key() == before {
		t.Errorf("got %+v %v", got, err)
	}
	if got, err := sender.CheckSessionKey(ctx, id, openid); err != nil || !got.Valid {
		t.Errorf("the new key: %+v %v", got, err)
	}
	// Another back end logs the user in: our key is stale.
	code, err := w.box.Login(loginSpec(w, string(openid)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(w.wx.URL + "/sns/jscode2session?grant_type=authorization_code&appid=" + w.app.AppID + "&secret=" + w.app.Secret + "&js_code=" + code.Code)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for _, call := range []func() error{
		func() error { _, err := sender.CheckSessionKey(ctx, id, openid); return err },
		func() error { _, err := sender.ResetSessionKey(ctx, id, openid); return err },
	} {
		err := call()
		var p *client.Problem
		if e := wantCode(t, err, hongyan.CodeInvalidSessionKey); e.WeChat == nil || e.WeChat.Errcode != 87009 || !errors.As(err, &p) || p.Hint == "" {
			t.Errorf("got %+v %v", e, p)
		}
	}
	if logs := w.logs.String(); strings.Contains(logs, before) || strings.Contains(logs, key()) || strings.Contains(logs, string(openid)) {
		t.Error("the log has a session_key or an openid")
	}
}

func demoLogin(openid hongyan.OpenID, key string) ledger.Login {
	return ledger.Login{OpenID: openid, SessionKey: hongyan.NewSessionKey(key)}
}

func TestDecrypt(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	ctx := t.Context()
	const id, openid = hongyan.AppID("wx4f4bc4dec97d474b"), hongyan.OpenID("oGZUI0egBJY1zhBYw2KhdUfwVJJE")
	for _, app := range []hongyan.AppID{id, "wx0000000000000000"} {
		if err := create1(w, client.AppCreate{AppID: app, Secret: "s", SkipCheck: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.l.RecordLogin(ctx, app, demoLogin(openid, demoKey)); err != nil {
			t.Fatal(err)
		}
	}
	demo := client.EncryptedData{IV: demoIV, EncryptedData: demoData}
	got, err := w.key(nil, hongyan.ScopeSend).DecryptUserData(ctx, id, openid, demo)
	if err != nil || !got.MadeAt.Equal(time.Unix(1477314187, 0)) || !strings.Contains(string(got.Data), `"nickName":"Band"`) {
		t.Errorf("got %s at %v, %v", got.Data, got.MadeAt, err)
	}
	_, err = w.admin.DecryptUserData(ctx, "wx0000000000000000", openid, demo)
	if e := wantCode(t, err, hongyan.CodeInvalid); e.Fields[0].Pointer != "/encrypted_data" {
		t.Errorf("another app's: %+v", e.Fields)
	}
	_, err = w.admin.DecryptUserData(ctx, id, openid, client.EncryptedData{IV: "AAAA", EncryptedData: "not base64"})
	if e := wantCode(t, err, hongyan.CodeInvalid); len(e.Fields) != 2 {
		t.Errorf("got %+v", e.Fields)
	}
	if _, err := w.l.RecordLogin(ctx, id, demoLogin(openid, "o0q0otL8aEzpcZL/FT9WsQ==")); err != nil {
		t.Fatal(err)
	}
	_, err = w.admin.DecryptUserData(ctx, id, openid, demo)
	var p *client.Problem
	if wantCode(t, err, hongyan.CodeInvalidSessionKey); !errors.As(err, &p) || !strings.Contains(p.Hint, "wx.login") {
		t.Errorf("another key: %v", err)
	}
	if logs := w.logs.String(); strings.Contains(logs, "Band") || strings.Contains(logs, demoKey) {
		t.Error("the log has what was decrypted, or the key")
	}
}
