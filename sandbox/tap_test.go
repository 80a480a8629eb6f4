package sandbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// taps fills app and openid in.
func (e *env) taps(spec TapSpec) TapResult {
	e.t.Helper()
	spec.AppID = e.app.AppID
	if len(spec.OpenIDs) == 0 {
		spec.OpenID = e.openID
	}
	r, err := e.Tap(spec)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e *env) add(spec TemplateSpec) string {
	e.t.Helper()
	spec.AppID = e.app.AppID
	v, err := e.AddTemplate(spec)
	if err != nil {
		e.t.Fatal(err)
	}
	return v.TemplateID
}

func TestTapFailures(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	ids := []string{e.tmpl.TemplateID}
	for range 5 {
		ids = append(ids, e.add(TemplateSpec{}))
	}
	long := e.add(TemplateSpec{Type: wechat.TemplateLongTerm})
	for name, c := range map[string]struct {
		ids  []string
		max  int
		code int
		text string
	}{
		"none":           {nil, 0, 10001, "TmplIds can't be empty"},
		"six":            {ids, 0, 20003, "Templates count out of max bounds"},
		"four of three":  {ids[:4], 3, 20003, "Templates count out of max bounds"},
		"unknown":        {[]string{ids[0], "nonsense"}, 0, 20001, "No template data return, verify the template id exist"},
		"mixed":          {[]string{ids[0], long}, 0, 20002, "Templates type must be same"},
		"five is enough": {ids[:5], 0, 0, ""},
		"three of three": {ids[1:4], 3, 0, ""},
	} {
		r := e.taps(TapSpec{TemplateIDs: c.ids, MaxPerCall: c.max})
		switch {
		case c.code == 0:
			if r.Fail != nil || r.Success["errMsg"] != "requestSubscribeMessage:ok" || len(r.Success) != len(c.ids)+1 || r.SuccessCount != 1 {
				t.Errorf("%s: %+v", name, r)
			}
		case r.Fail == nil || r.Success != nil || r.Fail.ErrCode != c.code || r.Fail.ErrMsg != "requestSubscribeMessage:fail "+c.text || r.SuccessCount != 0:
			t.Errorf("%s: %+v, want %d", name, r, c.code)
		}
	}
	e.setRules(Rules{MaxPerCall: 3})
	if r := e.taps(TapSpec{TemplateIDs: ids[:4]}); r.Fail == nil || r.Fail.ErrCode != 20003 {
		t.Errorf("rule max_per_call: %+v", r)
	}
}

func TestTapChoices(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	id := e.tmpl.TemplateID
	sameTitle := e.add(TemplateSpec{TID: wechat.FlexString(e.tmpl.TID), KIDs: []int{1, 2}})
	banned := e.add(TemplateSpec{})
	rejected := e.add(TemplateSpec{})
	e.setRules(Rules{BannedTemplates: []string{banned}})
	r := e.taps(TapSpec{TemplateIDs: []string{id, sameTitle, banned, rejected}, Choices: map[string]string{rejected: "reject"}})
	for id, want := range map[string]string{id: "accept", sameTitle: "filter", banned: "ban", rejected: "reject"} {
		if r.Success[id] != want {
			t.Errorf("%s: %q, want %q", id, r.Success[id], want)
		}
	}
	if r.Granted != 1 {
		t.Errorf("granted %d, want 1", r.Granted)
	}
	e.wantAvailable(1)
	for _, choice := range []string{"acceptWithAudio", "acceptWithAlert", "acceptWithForcePush"} {
		if r := e.taps(TapSpec{TemplateIDs: []string{id}, Choices: map[string]string{id: choice}}); r.Success[id] != choice {
			t.Errorf("%s: %+v", choice, r)
		}
	}
	e.wantAvailable(4)
	e.taps(TapSpec{TemplateIDs: []string{id}, Times: 6})
	e.wantAvailable(10)
}

func TestDialogReject(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	id := e.tmpl.TemplateID
	reject := TapSpec{TemplateIDs: []string{id}, Choices: map[string]string{id: "reject"}}
	e.tap(2)
	e.taps(reject)
	e.wantAvailable(2)
	e.setRules(Rules{DialogReject: "void"})
	e.taps(reject)
	e.wantAvailable(0)
	g := must(e.Grants(GrantQuery{e.app.AppID, e.openID, id}))
	if g.Granted != 2 || g.Voided != 2 || g.Spent != 0 {
		t.Errorf("grants = %+v", g)
	}
}

func TestAlways(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	id := e.tmpl.TemplateID
	e.taps(TapSpec{TemplateIDs: []string{id}, Always: true})
	r := e.taps(TapSpec{TemplateIDs: []string{id}, Choices: map[string]string{id: "reject"}})
	if r.Success[id] != "accept" {
		t.Errorf("the remembered accept was not used: %+v", r)
	}
	e.wantAvailable(2)

	must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateID: id, Where: "settings"}))
	e.wantAvailable(0)
	if r := e.taps(TapSpec{TemplateIDs: []string{id}}); r.Success[id] != "reject" {
		t.Errorf("settings did not turn the remembered answer: %+v", r)
	}
	g := must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateID: id, Where: "settings", Allow: true}))
	if g.Always != "accept" || g.Available != 0 {
		t.Errorf("after allow: %+v", g)
	}
	e.tap(1)
	e.wantAvailable(1)

	must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateID: id, Where: "card"}))
	if r := e.taps(TapSpec{TemplateIDs: []string{id}, Choices: map[string]string{id: "reject"}}); r.Success[id] != "reject" {
		t.Errorf("after a refusal on the card the dialog did not ask: %+v", r)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	other := e.add(TemplateSpec{})
	token := e.token()
	refuse := func(where string, allow bool) {
		t.Helper()
		must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateID: e.tmpl.TemplateID, Where: where, Allow: allow}))
	}
	for _, where := range []string{"card", "settings"} {
		e.tap(2)
		e.taps(TapSpec{TemplateIDs: []string{other}})
		refuse(where, false)
		e.want(43101, e.send(token, e.message()))
		if g := must(e.Grants(GrantQuery{e.app.AppID, e.openID, other})); g.Available == 0 {
			t.Errorf("%s of one template voided another", where)
		}
		e.tap(1)
		e.want(0, e.send(token, e.message()))
	}
	e.tap(2)
	refuse("main_switch", false)
	e.want(43101, e.send(token, e.message()))
	if r := e.taps(TapSpec{TemplateIDs: []string{other}}); r.Fail == nil || r.Fail.ErrCode != 20004 {
		t.Errorf("tap with the main switch off: %+v", r)
	}
	if g := must(e.Grants(GrantQuery{e.app.AppID, e.openID, other})); g.Available != 0 || g.MainSwitch {
		t.Errorf("main switch off: %+v", g)
	}
	refuse("main_switch", true)
	e.want(43101, e.send(token, e.message()))
	e.tap(1)
	e.want(0, e.send(token, e.message()))
	if _, err := e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateID: other, Where: "phone"}); err == nil {
		t.Error("where: phone was taken")
	}
}

func TestLongTerm(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tmpl = must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID, Type: wechat.TemplateLongTerm}))
	id := e.tmpl.TemplateID
	token := e.token()
	on := func() bool {
		g := must(e.Grants(GrantQuery{e.app.AppID, e.openID, id}))
		return g.LongTerm != nil && *g.LongTerm
	}
	e.want(43101, e.send(token, e.message()))
	e.tap(1)
	for range 3 {
		e.want(0, e.send(token, e.message()))
	}
	e.wantAvailable(0)
	if !on() {
		t.Error("the template is off after sends")
	}
	e.taps(TapSpec{TemplateIDs: []string{id}, Choices: map[string]string{id: "reject"}})
	if on() {
		t.Error("the template is on after a reject")
	}
	e.want(43101, e.send(token, e.message()))
}

func TestMaxGrants(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.setRules(Rules{MaxGrants: 3})
	if r := e.taps(TapSpec{TemplateIDs: []string{e.tmpl.TemplateID}, Times: 5}); r.Granted != 3 || r.SuccessCount != 5 {
		t.Errorf("taps = %+v", r)
	}
	e.wantAvailable(3)
}

func TestTapsRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	id := e.tmpl.TemplateID
	for name, spec := range map[string]TapSpec{
		"nobody":           {TemplateIDs: []string{id}},
		"both":             {OpenID: e.openID, OpenIDs: []string{e.openID}, TemplateIDs: []string{id}},
		"unknown user":     {OpenIDs: []string{e.openID, "oNobody"}, TemplateIDs: []string{id}},
		"choice elsewhere": {OpenID: e.openID, TemplateIDs: []string{id}, Choices: map[string]string{"x": "accept"}},
		"odd choice":       {OpenID: e.openID, TemplateIDs: []string{id}, Choices: map[string]string{id: "ban"}},
		"times":            {OpenID: e.openID, TemplateIDs: []string{id}, Times: -1},
		"max_per_call":     {OpenID: e.openID, TemplateIDs: []string{id}, MaxPerCall: 4},
	} {
		spec.AppID = e.app.AppID
		if _, err := e.Tap(spec); err == nil {
			t.Errorf("%s: taken", name)
		} else if name == "unknown user" && !strings.Contains(err.Error(), "POST /_sandbox/users") {
			t.Errorf("%s: %v does not say what to do", name, err)
		}
	}
	e.wantAvailable(0) // a call with an unknown user taps for nobody
}

// A load test prepares its users with two calls.
func TestManyTaps(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	openIDs := make([]string, 100_000)
	for i := range openIDs {
		openIDs[i] = fmt.Sprintf("oLoad%023d", i)
	}
	began := time.Now()
	must(e.AddUsers(UsersSpec{AppID: e.app.AppID, OpenIDs: openIDs}))
	r := e.must("POST", "/_sandbox/taps", map[string]any{"appid": e.app.AppID, "openids": openIDs,
		"template_ids": []string{e.tmpl.TemplateID}, "times": 2})
	if m := r.fields(t); stringOf(m["count"]) != "200000" || stringOf(m["success_count"]) != "200000" || m["success"] != nil {
		t.Errorf("taps = %s", r.raw)
	}
	if took := time.Since(began); took > 20*time.Second { // a slow machine under -race, and no worse
		t.Errorf("took %v", took)
	}
	e.openID = openIDs[len(openIDs)-1]
	e.wantAvailable(2)
	if _, err := e.AddUsers(UsersSpec{AppID: e.app.AppID, OpenIDs: append(openIDs, "oOne")}); err == nil {
		t.Error("100,001 openids were taken")
	}
}
