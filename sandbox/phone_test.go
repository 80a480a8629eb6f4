package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan/wechat"
)

// The screens of a phone, over HTTP.
func TestPhone(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	app, user := "appid="+e.app.AppID, "&openid="+e.openID
	ok := func(path string) map[string]any {
		t.Helper()
		status, m := e.control("GET", path, nil)
		if status != 200 {
			t.Fatalf("%s: %d %v", path, status, m)
		}
		return m
	}
	r := e.must("GET", "/_sandbox/apps", nil)
	if !strings.Contains(string(r.raw), e.app.AppID) || strings.Contains(string(r.raw), e.app.Secret) {
		t.Errorf("apps: %s", r.raw)
	}
	if _, err := e.AddUsers(UsersSpec{AppID: e.app.AppID, OpenIDs: []string{"pA", "qA", "pB", "pC"}}); err != nil {
		t.Fatal(err)
	}
	var found []string
	for cursor := ""; ; {
		page := ok("users?" + app + "&prefix=p&limit=2" + cursor)
		for _, u := range page["items"].([]any) {
			found = append(found, u.(map[string]any)["openid"].(string))
		}
		if page["next_cursor"] == nil {
			break
		}
		cursor = "&cursor=" + page["next_cursor"].(string)
	}
	if fmt.Sprint(found) != "[pA pB pC]" {
		t.Errorf("users: %v", found)
	}

	// Cards come newest first, and read as on the phone.
	tid := e.tmpl.TemplateID
	e.taps(TapSpec{TemplateIDs: []string{tid}, Times: 3})
	data := make(map[string]any)
	for k, v := range e.tmpl.Example {
		data[k] = map[string]any{"value": v}
	}
	for i := range 3 {
		e.want(0, e.send(e.token(), map[string]any{"touser": e.openID, "template_id": tid, "data": data, "page": fmt.Sprint("p", i)}))
	}
	var pages []string
	for cursor := ""; ; {
		page := ok("inbox?" + app + user + "&limit=2" + cursor)
		for _, c := range page["items"].([]any) {
			card := c.(map[string]any)
			pages = append(pages, card["page"].(string))
			lines := card["lines"].([]any)
			first := lines[0].(map[string]any)
			if card["title"] != e.tmpl.Title || len(lines) != len(data) || first["label"] == "" || first["value"] != e.tmpl.Example[first["key"].(string)] {
				t.Errorf("card: %v", card)
			}
		}
		if page["next_cursor"] == nil {
			break
		}
		cursor = "&cursor=" + page["next_cursor"].(string)
	}
	if fmt.Sprint(pages) != "[p2 p1 p0]" {
		t.Errorf("inbox: %v", pages)
	}
	if n := len(ok("inbox?" + app + "&openid=pA")["items"].([]any)); n != 0 {
		t.Errorf("another user has %d cards", n)
	}
	settings := ok("settings?" + app + user)
	row := settings["templates"].([]any)[0].(map[string]any)
	if settings["main_switch"] != true || row["template_id"] != tid || fmt.Sprint(row["spent"]) != "3" || row["title"] != e.tmpl.Title {
		t.Errorf("settings: %v", settings)
	}
	e.wantProblem(404, "unknown_user", "GET", "inbox?"+app+"&openid=nobody", nil)
	e.wantProblem(404, "unknown_user", "GET", "settings?"+app+"&openid=nobody", nil)
	e.wantProblem(404, "unknown_app", "GET", "users?appid=nothing", nil)
	e.wantProblem(400, "unknown_parameter", "GET", "sheet?"+app+user+"&template_id="+tid, nil)
	e.wantProblem(400, "bad_cursor", "GET", "inbox?"+app+user+"&cursor=o1", nil)
}

func TestSheet(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	other := e.add(TemplateSpec{})
	long := e.add(TemplateSpec{Type: wechat.TemplateLongTerm})
	sheet := func(ids ...string) Sheet {
		t.Helper()
		s, err := e.Sheet(SheetQuery{AppID: e.app.AppID, OpenID: e.openID, TemplateIDs: ids})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := sheet(e.tmpl.TemplateID, other)
	if s.Silent || s.Fail != nil || len(s.Templates) != 2 || s.Templates[0].Title != e.tmpl.Title || len(s.Templates[0].Example) != len(e.tmpl.Example) || s.Templates[0].Always != "" {
		t.Errorf("before any tap: %+v", s)
	}
	e.taps(TapSpec{TemplateIDs: []string{other}, Always: true, Choices: map[string]string{other: "reject"}})
	if s := sheet(e.tmpl.TemplateID, other); s.Silent || s.Templates[1].Always != "reject" {
		t.Errorf("one is remembered: %+v", s)
	}
	if s := sheet(other); !s.Silent {
		t.Errorf("all are remembered: %+v", s)
	}
	if _, err := e.SetRules(e.app.AppID, Rules{BannedTemplates: []string{e.tmpl.TemplateID}}); err != nil {
		t.Fatal(err)
	}
	if s := sheet(e.tmpl.TemplateID); !s.Silent || s.Templates[0].Settled != "ban" {
		t.Errorf("banned: %+v", s)
	}
	// It fails as the tap would.
	for _, ids := range [][]string{nil, {"nonsense"}, {other, long}} {
		if s, r := sheet(ids...), e.taps(TapSpec{TemplateIDs: ids}); s.Fail == nil || r.Fail == nil || *s.Fail != *r.Fail || s.Silent {
			t.Errorf("%v: sheet %+v, tap %+v", ids, s.Fail, r.Fail)
		}
	}
	if _, err := e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, Where: "main_switch"}); err != nil {
		t.Fatal(err)
	}
	if s := sheet(other); s.Fail == nil || s.Fail.ErrCode != 20004 {
		t.Errorf("switched off: %+v", s)
	}
	// Looking changed nothing.
	if g, err := e.Grants(GrantQuery{AppID: e.app.AppID, OpenID: e.openID, TemplateID: e.tmpl.TemplateID}); err != nil || g.Granted != 0 {
		t.Errorf("grants: %+v %v", g, err)
	}
}
