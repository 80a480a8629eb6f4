package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// lookUp asks for a rid with an app's token.
func (e *env) lookUp(token, rid string) reply {
	e.t.Helper()
	return e.must("POST", "/cgi-bin/openapi/rid/get?access_token="+token, map[string]string{"rid": rid})
}

// ridOf is the rid of a refusal.
func ridOf(r reply) string { return r.Errmsg[len(r.Errmsg)-26:] }

func TestRid(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	body := `{"touser":"oNobody","template_id":"x","data":{}}`
	refused := e.want(40003, e.must("POST", pathSend+"?access_token="+token, body))
	got := e.want(0, e.lookUp(token, ridOf(refused))).fields(t)["request"].(map[string]any)
	want := map[string]string{
		"invoke_time": fmt.Sprint(start.Unix()), "request_url": "access_token=" + token, "request_body": body,
		"response_body": string(refused.raw), "client_ip": "127.0.0.1",
	}
	for name, v := range want {
		if fmt.Sprint(got[name]) != v {
			t.Errorf("%s = %v, want %s", name, got[name], v)
		}
	}
	if _, ok := got["cost_in_ms"]; !ok {
		t.Errorf("no cost_in_ms in %v", got)
	}

	// With a comma before it, and beside the errmsg.
	login := e.want(40029, e.login("nonsense"))
	e.want(0, e.lookUp(token, ridOf(login)))
	first := e.addTemplate(token)
	e.want(0, first)
	again := e.want(200022, e.addTemplate(token))
	if again.fields(t)["rid"] != ridOf(again) {
		t.Errorf("rids differ: %s", again.raw)
	}
	e.want(0, e.lookUp(token, ridOf(again)))

	other := must(e.CreateApp(AppSpec{}))
	e.want(76003, e.lookUp(e.tokenFor(other), ridOf(refused)))
	for rid, code := range map[string]int{
		"": 76002, "61725984": 76002, strings.ToUpper(ridOf(refused)) + "0": 76002,
		newRid(start): 76001, newRid(start.Add(-ridLife + time.Minute)): 76001,
		newRid(start.Add(-ridLife - time.Minute)): 76004, newRid(start.Add(time.Hour)): 76004,
	} {
		if r := e.lookUp(token, rid); r.Errcode != code {
			t.Errorf("%q: errcode %d, want %d", rid, r.Errcode, code)
		}
	}
	e.want(47001, e.must("POST", "/cgi-bin/openapi/rid/get?access_token="+token, `{"rid":5}`))

	e.advance(ridLife + time.Minute)
	e.want(76004, e.lookUp(e.token(), ridOf(refused)))
}

func (e *env) addTemplate(token string) reply {
	e.t.Helper()
	return e.must("POST", pathTemplates+"addtemplate?access_token="+token, `{"tid":"1822","kidList":[1,6],"sceneDesc":"取餐"}`)
}

func (e *env) tokenFor(a App) string {
	e.t.Helper()
	r := e.must("POST", pathStableToken, map[string]any{"grant_type": "client_credential", "appid": a.AppID, "secret": a.Secret})
	return r.fields(e.t)["access_token"].(string)
}

// A rid that nobody was given cannot be looked up: the fault put something else in its place.
func TestRidOfLostAnswer(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	must(e.AddFault(FaultSpec{Path: pathSend, When: "after", HTTPStatus: 502}))
	e.must("POST", pathSend+"?access_token="+token, `{"touser":"oNobody"}`)
	l := &e.world.Load().rids
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) != 0 {
		t.Errorf("kept %d calls", len(l.calls))
	}
}

func TestRidsAreBounded(t *testing.T) {
	t.Parallel()
	var l ridLog
	rids := make([]string, keepRids+10)
	for i := range rids {
		rids[i] = fmt.Sprintf("%026d", i)
		l.add(rids[i], ridCall{})
	}
	_, first := l.find(rids[9])
	_, kept := l.find(rids[10])
	if first || !kept || len(l.calls) != keepRids || len(l.order) != keepRids {
		t.Errorf("oldest kept: %v, next: %v, %d calls", first, kept, len(l.calls))
	}
	if long := head(strings.Repeat("x", 2*ridText)); len(long) != ridText {
		t.Errorf("a text of %d bytes", len(long))
	}
}

func TestCallbackCheck(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	check := func(action, operator string) reply {
		return e.must("POST", "/cgi-bin/callback/check?access_token="+e.token(), map[string]string{"action": action, "check_operator": operator})
	}
	e.want(40201, check("all", "DEFAULT"))
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Query().Get("echostr"))
	}))
	defer receiver.Close()
	must(e.SetPush(t.Context(), e.app.AppID, PushSpec{URL: receiver.URL, Token: "AAAAA"}))
	e.want(40202, check("trace", "DEFAULT"))
	e.want(40202, check("", "DEFAULT"))
	e.want(40203, check("all", ""))
	e.want(47001, e.must("POST", "/cgi-bin/callback/check?access_token="+e.token(), `{"action":1}`))

	c := must(wechat.New(wechat.Config{BaseURL: e.url}))
	defer c.Close()
	for action, want := range map[string][2]int{wechat.CheckAll: {1, 1}, wechat.CheckDNS: {1, 0}, wechat.CheckPing: {0, 1}} {
		got, err := c.CallbackCheck(t.Context(), e.token(), action, wechat.OperatorTencent)
		if err != nil || len(got.DNS) != want[0] || len(got.Ping) != want[1] {
			t.Errorf("%s: got %+v, %v", action, got, err)
		}
		for _, p := range got.Ping {
			if p.IP != "127.0.0.1" || p.FromOperator != "CAP" {
				t.Errorf("got %+v", p)
			}
		}
	}
}

// The wechat package reads quotas, rids and addresses.
func TestOpenAPIThroughClient(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	ctx, token := t.Context(), e.token()
	c := must(wechat.New(wechat.Config{BaseURL: e.url}))
	defer c.Close()
	quota, err := c.GetAPIQuota(ctx, token, pathStableToken)
	if err != nil || *quota.Quota != (wechat.DailyQuota{DailyLimit: 500_000, Used: 1, Remain: 499_999}) || quota.RateLimit != nil {
		t.Errorf("got %+v, %v", quota.Quota, err)
	}
	if err := c.ClearAPIQuota(ctx, token, pathStableToken); err != nil {
		t.Error(err)
	}
	if err := c.ClearQuota(ctx, token, e.app.AppID); err != nil {
		t.Error(err)
	}
	for range clearsPerMonth - 1 {
		if err := c.ClearQuotaByAppSecret(ctx, e.app.AppID, e.app.Secret); err != nil {
			t.Fatal(err)
		}
	}
	refused, _ := c.ClearQuotaByAppSecret(ctx, e.app.AppID, e.app.Secret).(*wechat.Error)
	if refused == nil || refused.Errcode != 48006 {
		t.Fatalf("got %v, want 48006", refused)
	}
	info, err := c.GetRidInfo(ctx, token, refused.Rid)
	if err != nil || !info.InvokeTime.Equal(start) || info.ClientIP != "127.0.0.1" || !strings.Contains(info.ResponseBody, "48006") {
		t.Errorf("got %+v, %v", info, err)
	}
	if shown := fmt.Sprintf("%+v", info); strings.Contains(shown, e.app.Secret) || !strings.Contains(shown, e.app.AppID) {
		t.Errorf("got %s", shown)
	}
	for _, list := range []func() ([]string, error){
		func() ([]string, error) { return c.GetAPIDomainIP(ctx, token) }, func() ([]string, error) { return c.GetCallbackIP(ctx, token) },
	} {
		if ips, err := list(); err != nil || len(ips) != 1 || ips[0] != "127.0.0.1" {
			t.Errorf("got %v, %v", ips, err)
		}
	}

	session, err := c.Code2Session(ctx, e.app.AppID, e.app.Secret, e.code())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckSessionKey(ctx, token, e.openID, session.SessionKey); err != nil {
		t.Error(err)
	}
	fresh, err := c.ResetUserSessionKey(ctx, token, e.openID, session.SessionKey)
	if err != nil || fresh.SessionKey == session.SessionKey {
		t.Fatalf("reset: %v", err)
	}
	stale, _ := c.CheckSessionKey(ctx, token, e.openID, session.SessionKey).(*wechat.Error)
	if stale == nil || stale.Errcode != 87009 || c.CheckSessionKey(ctx, token, e.openID, fresh.SessionKey) != nil {
		t.Errorf("after a reset: %v", stale)
	}
}
