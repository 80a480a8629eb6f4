package api

import (
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app := t.Context(), w.appID()
	users, err := w.box.AddUsers(usersSpec(w, 2))
	if err != nil {
		t.Fatal(err)
	}
	code, err := w.box.Login(loginSpec(w, users.OpenIDs[0]))
	if err != nil {
		t.Fatal(err)
	}
	r := w.call("POST", "/v1/apps/"+w.app.AppID+"/login", `{"code":"`+code.Code+`","external_id":"c1"}`)
	if r.Status != 200 || !strings.Contains(r.Body, users.OpenIDs[0]) || strings.Contains(r.Body, "session_key") {
		t.Fatalf("got %d %s", r.Status, r.Body)
	}
	if key, err := w.l.SessionKey(ctx, app, hongyan.OpenID(users.OpenIDs[0])); err != nil || key.IsZero() {
		t.Errorf("got no session key: %v", err)
	}
	_, err = w.admin.Login(ctx, app, code.Code, "")
	if e := wantCode(t, err, hongyan.CodeInvalidCode); e.WeChat == nil || e.WeChat.Errcode != 40163 || e.Fields[0].Pointer != "/code" {
		t.Errorf("got %+v, want 40163 at /code", e)
	}
	_, err = w.admin.Login(ctx, app, "081aBcDe0Fg1Hi2Jk3Lm", "")
	if e := wantCode(t, err, hongyan.CodeInvalidCode); e.WeChat.Errcode != 40029 {
		t.Errorf("got %+v, want 40029", e.WeChat)
	}
	other, err := w.box.Login(loginSpec(w, users.OpenIDs[1]))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.admin.Login(ctx, app, other.Code, "c1")
	wantCode(t, err, hongyan.CodeConflict)

	u, err := w.admin.User(ctx, app, hongyan.OpenID(users.OpenIDs[0]))
	if err != nil || u.ExternalID != "c1" || u.LastLoginAt.IsZero() {
		t.Errorf("got %+v %v", u, err)
	}
	_, err = w.admin.User(ctx, app, "oNobody")
	wantCode(t, err, hongyan.CodeUserNotFound)
	for external, want := range map[string]int{"c1": 1, "c2": 0} {
		n := 0
		for _, err := range w.admin.Users(ctx, app, external) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("external id %s: got %d users, want %d", external, n, want)
		}
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app, tid := t.Context(), w.appID(), w.template.TemplateID
	res, err := w.admin.Report(ctx, app,
		hongyan.Report{ID: "1", OpenID: "oA", Template: tid, Choice: "accept"},
		hongyan.Report{ID: "2", OpenID: "oA", Template: tid, Choice: "acceptWithAudio"},
		hongyan.Report{ID: "1", OpenID: "oA", Template: tid, Choice: "accept"},
		hongyan.Report{ID: "3", OpenID: "oB", Template: tid, Choice: "reject"})
	if err != nil || len(res) != 4 || res[0].Counted != 1 || res[2].Note != "duplicate" || res[3].Subscription.Standing != hongyan.StandingReject {
		t.Fatalf("got %+v %v", res, err)
	}
	one := w.call("POST", "/v1/apps/"+w.app.AppID+"/grants/report", `{"id":"4","openid":"oC","template":"`+tid+`","choice":"accept","age_ms":5}`)
	if one.Status != 200 || !strings.Contains(one.Body, `"counted":1`) {
		t.Errorf("single report: got %d %s", one.Status, one.Body)
	}
	g, err := w.admin.Adjust(ctx, app, "oA", tid, client.Adjustment{Delta: 3, Exact: true, Reason: "import"})
	if err != nil || g.Available != 5 {
		t.Errorf("got %+v %v, want 5", g, err)
	}
	_, err = w.admin.Adjust(ctx, app, "oA", tid, client.Adjustment{Delta: -6, Reason: "x"})
	if e := wantCode(t, err, hongyan.CodeInvalid); e.Fields[0].Pointer != "/delta" {
		t.Errorf("got %+v", e.Fields)
	}
	if g, err = w.admin.Grant(ctx, app, "oA", tid); err != nil || len(g.Entries) != 3 || g.Entries[0].Ref != "import" {
		t.Errorf("got %+v %v, want its history", g, err)
	}
	_, err = w.admin.Grant(ctx, app, "a b", tid)
	wantCode(t, err, hongyan.CodeInvalid)
	for openid, want := range map[hongyan.OpenID]int{"": 3, "oB": 1, "oZ": 0} {
		n := 0
		for _, err := range w.admin.Grants(ctx, app, openid, tid) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("%q: got %d, want %d", openid, n, want)
		}
	}
}
