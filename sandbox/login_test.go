package sandbox

import (
	"strings"
	"testing"
	"time"
)

func (e *env) login(code string) reply {
	e.t.Helper()
	return e.must("GET", pathCode2Session+"?grant_type=authorization_code&appid="+e.app.AppID+"&secret="+e.app.Secret+"&js_code="+code, nil)
}

func (e *env) code() string {
	e.t.Helper()
	v, err := e.Login(LoginSpec{AppID: e.app.AppID, OpenID: e.openID})
	if err != nil {
		e.t.Fatal(err)
	}
	return v.Code
}

func TestLogin(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	must(e.AddUsers(UsersSpec{AppID: e.app.AppID, OpenID: e.openID, UnionID: "oUnion"}))
	code := e.code()
	if len(code) != 32 {
		t.Errorf("code %q has not 32 characters", code)
	}
	m := e.want(0, e.login(code)).fields(t)
	if key, _ := m["session_key"].(string); m["openid"] != e.openID || m["unionid"] != "oUnion" || len(key) != 24 || m["errcode"] != nil {
		t.Errorf("login = %v", m)
	}
	r := e.want(40163, e.login(code))
	if !strings.HasPrefix(r.Errmsg, "code been used, rid: ") {
		t.Errorf("errmsg %q", r.Errmsg)
	}
	checkRid(t, r.Errmsg[len("code been used, rid: "):], start)

	late := e.code()
	e.advance(codeLife)
	if r := e.want(40029, e.login(late)); !strings.HasPrefix(r.Errmsg, "invalid code, rid: ") {
		t.Errorf("errmsg %q", r.Errmsg)
	}
	e.want(40029, e.login("nonsense"))
	e.want(41008, e.login(""))
	e.setRules(Rules{BlockedUsers: []string{e.openID}})
	e.want(40226, e.login(e.code()))
}

func TestLoginCredentials(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	other := must(e.CreateApp(AppSpec{}))
	code := e.code()
	for query, want := range map[string]int{
		"": 41002,
		"appid=wxunknown&secret=" + e.app.Secret + "&grant_type=authorization_code":                           40013,
		"appid=" + e.app.AppID + "&secret=" + e.app.Secret + "&js_code=" + code:                               40002,
		"appid=" + e.app.AppID + "&secret=wrong&grant_type=authorization_code&js_code=" + code:                40125,
		"appid=" + other.AppID + "&secret=" + other.Secret + "&grant_type=authorization_code&js_code=" + code: 40029,
	} {
		r := e.want(want, e.must("GET", pathCode2Session+"?"+query, nil))
		if !strings.Contains(r.Errmsg, ", rid: ") {
			t.Errorf("errmsg %q has no comma before its rid", r.Errmsg)
		}
	}
	e.want(0, e.login(code)) // none of that used the code up
}

func TestSessionKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	q := "?access_token=" + token + "&openid=" + e.openID + "&sig_method=hmac_sha256&signature="
	e.want(87007, e.must("GET", "/wxa/checksession"+q, nil))
	e.want(0, e.login(e.code()))

	// The vector of wechat-api.md, section 2.2.
	e.world.Load().app(e.app.AppID).users[e.openID].sessionKey = "o0q0otL8aEzpcZL/FT9WsQ=="
	const sig = "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"
	e.want(0, e.must("GET", "/wxa/checksession"+q+sig, nil))
	e.want(87009, e.must("GET", "/wxa/checksession"+q+"00", nil))
	e.want(87008, e.must("GET", "/wxa/checksession?access_token="+token+"&openid="+e.openID+"&signature="+sig, nil))
	e.want(40003, e.must("GET", "/wxa/checksession?access_token="+token+"&signature="+sig, nil))

	m := e.want(0, e.must("GET", "/wxa/resetusersessionkey"+q+sig, nil)).fields(t)
	if m["session_key"] == "o0q0otL8aEzpcZL/FT9WsQ==" || m["openid"] != e.openID {
		t.Errorf("reset = %v", m)
	}
	e.want(87009, e.must("GET", "/wxa/checksession"+q+sig, nil))
}

func TestOldCodesAreSwept(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	for range sweepCodes {
		e.code()
	}
	e.advance(codeLife + time.Second)
	e.code()
	if n := len(e.world.Load().app(e.app.AppID).codes); n != 1 {
		t.Errorf("%d codes are kept, want 1", n)
	}
}
