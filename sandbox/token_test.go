package sandbox

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// try makes a cheap call with a token and returns its errcode.
func (e *env) try(token string) int {
	e.t.Helper()
	return e.must("GET", "/wxaapi/newtmpl/gettemplate?access_token="+token, nil).Errcode
}

func (e *env) wantToken(token string, code int) {
	e.t.Helper()
	if got := e.try(token); got != code {
		e.t.Errorf("token answers %d, want %d", got, code)
	}
}

// expiresIn splits a token answer.
func (e *env) tokenOf(r reply) (string, string) {
	e.t.Helper()
	m := e.want(0, r).fields(e.t)
	if _, ok := m["errcode"]; ok {
		e.t.Errorf("token answer has an errcode: %s", r.raw)
	}
	return m["access_token"].(string), stringOf(m["expires_in"])
}

func stringOf(v any) string {
	if s, ok := v.(interface{ String() string }); ok {
		return s.String()
	}
	return ""
}

func (e *env) legacy() reply {
	e.t.Helper()
	return e.must("GET", "/cgi-bin/token?grant_type=client_credential&appid="+e.app.AppID+"&secret="+e.app.Secret, nil)
}

func TestStableToken(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	first, life := e.tokenOf(e.stable(false))
	if life != "7200" || len(first) < 136 {
		t.Fatalf("token of %d characters for %s s", len(first), life)
	}
	e.advance(6900 * time.Second)
	if again, life := e.tokenOf(e.stable(false)); again != first || life != "300" {
		t.Errorf("with 300 s left: same token %v, expires_in %s", again == first, life)
	}
	e.advance(time.Second)
	second, life := e.tokenOf(e.stable(false))
	if second == first || life != "7200" {
		t.Fatalf("with 299 s left there was no rotation (expires_in %s)", life)
	}
	e.wantToken(first, 0)
	e.advance(299 * time.Second)
	e.wantToken(first, 0)
	e.advance(time.Second)
	e.wantToken(first, 40001)
	e.wantToken(second, 0)
	e.advance(7200 * time.Second)
	e.wantToken(second, 42001)
}

func TestStableTokenForced(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	first, _ := e.tokenOf(e.stable(false))
	second, _ := e.tokenOf(e.stable(true))
	if second == first {
		t.Fatal("a forced refresh returned the same token")
	}
	e.wantToken(first, 40001)
	if again, _ := e.tokenOf(e.stable(true)); again != second {
		t.Error("a second forced refresh within 30 s made a new token")
	}
	seen := second
	for i := 1; i < forcedPerDay; i++ {
		e.advance(forcedSpacing)
		now, _ := e.tokenOf(e.stable(true))
		if now == seen {
			t.Fatalf("forced refresh %d made no token", i+1)
		}
		seen = now
	}
	e.advance(forcedSpacing)
	if now, _ := e.tokenOf(e.stable(true)); now != seen {
		t.Errorf("forced refresh %d of the day made a token", forcedPerDay+1)
	}
	e.advance(12 * time.Hour) // past midnight in Beijing; the token is expired
	now, _ := e.tokenOf(e.stable(false))
	if forced, _ := e.tokenOf(e.stable(true)); forced == now {
		t.Error("no forced refresh on the next day")
	}
}

func TestLegacyToken(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	stable, _ := e.tokenOf(e.stable(false))
	first, _ := e.tokenOf(e.legacy())
	second, _ := e.tokenOf(e.legacy())
	e.wantToken(first, 0)
	e.wantToken(second, 0)
	third, _ := e.tokenOf(e.legacy())
	e.wantToken(first, 40001) // only the previous one overlaps
	e.wantToken(second, 0)
	e.advance(tokenOverlap)
	e.wantToken(second, 40001)
	e.wantToken(third, 0)
	e.wantToken(stable, 0) // the endpoints do not disturb each other
}

func TestTokensControl(t *testing.T) {
	t.Parallel()
	for action, code := range map[string]int{"expire": 42001, "supersede": 40001} {
		e := newEnv(t, Config{})
		old, _ := e.tokenOf(e.legacy())
		legacy, _ := e.tokenOf(e.legacy())
		stable, _ := e.tokenOf(e.stable(false))
		r := must(e.Tokens(TokensSpec{AppID: e.app.AppID, Action: action}))
		if r.Tokens != 3 {
			t.Errorf("%s ended %d tokens, want 3", action, r.Tokens)
		}
		for _, token := range []string{old, legacy, stable} {
			e.wantToken(token, code)
		}
		fresh, life := e.tokenOf(e.stable(false))
		if fresh == stable || life != "7200" {
			t.Errorf("%s: the next stable token is the old one", action)
		}
		e.wantToken(fresh, 0)
		e.wantToken(stable, code)
	}
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	id, secret := e.app.AppID, e.app.Secret
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		text                     string
	}{
		{"no appid", "GET", "/cgi-bin/token?grant_type=client_credential", "", 41002, "appid missing"},
		{"wrong appid before grant_type", "GET", "/cgi-bin/token?appid=wx0", "", 40013, "invalid appid"},
		{"appid in other case", "GET", "/cgi-bin/token?appid=" + strings.ToUpper(id), "", 40013, "invalid appid"},
		{"no grant_type", "GET", "/cgi-bin/token?appid=" + id, "", 40002, "invalid grant_type"},
		{"no secret", "GET", "/cgi-bin/token?grant_type=client_credential&appid=" + id, "", 41004, "appsecret missing"},
		{"wrong secret", "GET", "/cgi-bin/token?grant_type=client_credential&appid=" + id + "&secret=x", "", 40125, "invalid appsecret"},
		{"token by POST", "POST", "/cgi-bin/token?grant_type=client_credential&appid=" + id + "&secret=" + secret, "{}", 43001, "require GET method"},
		{"stable by GET", "GET", "/cgi-bin/stable_token", "", 43002, "require POST method"},
		{"stable empty", "POST", "/cgi-bin/stable_token", "", 44002, "empty post data"},
		{"stable as form", "POST", "/cgi-bin/stable_token", "grant_type=client_credential&appid=" + id, 47001, "data format error"},
		{"stable wrong type", "POST", "/cgi-bin/stable_token", `{"appid":"` + id + `","secret":"` + secret + `","grant_type":"client_credential","force_refresh":"false"}`, 47001, "data format error"},
		{"stable wrong secret", "POST", "/cgi-bin/stable_token", `{"appid":"` + id + `","secret":"` + id + `","grant_type":"client_credential"}`, 40125, "invalid appsecret"},
		{"token missing", "GET", "/wxaapi/newtmpl/gettemplate", "", 41001, "access_token missing"},
		{"token garbage", "GET", "/wxaapi/newtmpl/gettemplate?access_token=x", "", 40001, "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"},
		{"token garbage before method and body", "PUT", pathSend + "?access_token=x", "{", 40001, ""},
	} {
		r := e.want(c.code, e.must(c.method, c.path, c.body))
		if r.status != 200 {
			t.Errorf("%s: status %d", c.name, r.status)
		}
		text, rid, ok := strings.Cut(r.Errmsg, " rid: ")
		if !ok || c.text != "" && text != c.text {
			t.Errorf("%s: errmsg %q, want %q", c.name, r.Errmsg, c.text)
		}
		checkRid(t, rid, start)
	}
}

// checkRid wants three groups of eight hex digits, the first one being the time.
func checkRid(t *testing.T, rid string, at time.Time) {
	t.Helper()
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`).MatchString(rid) {
		t.Errorf("rid %q has another form", rid)
		return
	}
	if sec, _ := strconv.ParseInt(rid[:8], 16, 64); sec != at.Unix() {
		t.Errorf("rid %s is of %d, want %d", rid, sec, at.Unix())
	}
}

func TestIPWhitelist(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	e.setRules(Rules{IPWhitelist: []string{"10.1.0.0/16", "192.0.2.7"}})
	for _, r := range []reply{e.stable(false), e.legacy()} {
		e.want(40164, r)
		if want := "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "; !strings.HasPrefix(r.Errmsg, want) {
			t.Errorf("errmsg %q, want %q…", r.Errmsg, want)
		}
	}
	e.want(43101, e.send(token, e.message())) // other endpoints do not check it
	e.setRules(Rules{IPWhitelist: []string{"127.0.0.0/8"}})
	e.want(0, e.stable(false))
}

func TestRetiredTokensAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	for range 3 * keepRetired {
		e.legacy()
	}
	if n := len(e.world.Load().tokens); n > keepRetired+2 {
		t.Errorf("%d tokens are kept", n)
	}
}

func TestAccountErrcode(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(1)
	token := e.token()
	e.setRules(Rules{AccountErrcode: map[string]int{pathSend: 48001, pathStableToken: 50007}})
	r := e.want(48001, e.send(token, e.message()))
	if !strings.HasPrefix(r.Errmsg, "api unauthorized rid: ") {
		t.Errorf("errmsg %q", r.Errmsg)
	}
	e.want(50007, e.stable(false))
	e.setRules(Rules{AccountErrcode: map[string]int{"*": 50002}})
	e.want(50002, e.send(token, e.message()))
	e.wantToken(token, 50002)
	e.wantAvailable(1)
}
