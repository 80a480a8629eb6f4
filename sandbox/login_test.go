package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
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

// The wechat package reads all of it.
func TestThroughClient(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	c := must(wechat.New(wechat.Config{BaseURL: e.url}))
	defer c.Close()
	ctx := t.Context()
	session, err := c.Code2Session(ctx, e.app.AppID, e.app.Secret, e.code())
	if err != nil || session.OpenID != e.openID || session.SessionKey == "" {
		t.Errorf("login: %v, openid %s", err, session.OpenID)
	}
	tok, err := c.GetAccessToken(ctx, e.app.AppID, e.app.Secret)
	if err != nil || tok.ExpiresIn != tokenLife {
		t.Fatalf("token for %v: %v", tok.ExpiresIn, err)
	}
	categories, err := c.GetCategory(ctx, tok.AccessToken)
	if err != nil || len(categories) < 8 {
		t.Fatalf("%d categories: %v", len(categories), err)
	}
	seen := 0
	for _, category := range categories {
		titles, count, err := c.GetPubTemplateTitles(ctx, tok.AccessToken, []int{category.ID}, 0, 30)
		if err != nil || count != len(titles) {
			t.Errorf("category %d: %d of %d titles, %v", category.ID, len(titles), count, err)
		}
		seen += count
	}
	if seen != len(theLibrary().Titles) {
		t.Errorf("%d titles, want %d", seen, len(theLibrary().Titles))
	}
	keywords, err := c.GetPubTemplateKeywords(ctx, tok.AccessToken, "1822")
	if err != nil || len(keywords) < 5 {
		t.Fatalf("keywords %v: %v", keywords, err)
	}
	id, err := c.AddTemplate(ctx, tok.AccessToken, "1822", []int{1, 6}, "取餐")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.AddTemplate(ctx, tok.AccessToken, "1822", []int{1, 6}, "取餐"); again != id || err != nil {
		t.Errorf("a repeat gave %s, %v", again, err)
	}
	list, err := c.GetTemplateList(ctx, tok.AccessToken)
	if err != nil || len(list) != 2 || list[1].PriTmplID != id || list[1].KeywordEnumValueList[0].KeywordCode != "enum_string6.DATA" {
		t.Errorf("templates %+v: %v", list, err)
	}
	if err := c.DeleteTemplate(ctx, tok.AccessToken, id); err != nil {
		t.Error(err)
	}
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
