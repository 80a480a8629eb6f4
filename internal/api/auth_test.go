package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestUnauthorized(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	for name, header := range map[string]string{
		"none": "", "other scheme": "Basic dGVzdDp0ZXN0", "no key": "Bearer ", "unknown": "Bearer hyk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"nearly the admin's": "Bearer " + adminKey + "x", "bare": adminKey,
	} {
		r := w.call("GET", "/v1/apps", "", "Authorization: "+header)
		if r.Status != 401 || r.Problem.Code != hongyan.CodeUnauthorized || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: got %d %v %s", name, r.Status, r.Header, r.Body)
		}
	}
	if r := w.call("GET", "/v1/apps", "", "Authorization: bearer "+adminKey); r.Status != 200 {
		t.Errorf("lower case scheme: got %d", r.Status)
	}
	if _, err := New(Config{Ledger: w.l, AdminKey: "short"}); err == nil {
		t.Error("took an admin key that can be guessed")
	}
	none, err := New(Config{Ledger: w.l})
	if err != nil {
		t.Fatal(err)
	}
	if rec := serve(none, "/v1/keys", ""); rec.Code != 401 {
		t.Errorf("no admin key set: got %d", rec.Code)
	}
}

// scopeKey is a key with one scope. Those of the gateway are for one app, and go with its own.
func (w *world) scopeKey(sc hongyan.Scope) string {
	w.t.Helper()
	in := client.KeyCreate{Name: "x", Scopes: []hongyan.Scope{sc}}
	if strings.HasPrefix(string(sc), string(hongyan.ScopeGateway)) {
		in.Apps = []hongyan.AppID{w.appID()}
		if sc != hongyan.ScopeGateway {
			in.Scopes = append(in.Scopes, hongyan.ScopeGateway)
		}
	}
	k, err := w.admin.CreateKey(w.t.Context(), in, client.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return k.Key
}

// Every operation asks for the scope that the table says, before anything else.
func TestScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	close(w.stopping) // a stream would not end
	s, err := newServer(Config{Ledger: w.l, AdminKey: adminKey})
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[hongyan.Scope]string)
	for _, sc := range hongyan.Scopes() {
		keys[sc] = w.scopeKey(sc)
	}
	n := 0
	for path, item := range s.api.OpenAPI().Paths {
		for method, op := range map[string]any{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete} {
			o := operationOrNil(op)
			if o == nil || strings.HasPrefix(path, "/callback/") { // WeChat has no key
				continue
			}
			n++
			if strings.HasPrefix(path, "/mp/v1/") { // for phones, who have no key
				if r := w.call(method, path, "", "Authorization: Bearer "+adminKey); r.Status != 401 && path != "/mp/v1/session" {
					t.Errorf("%s %s with an API key: got %d, want 401", method, path, r.Status)
				}
				continue
			}
			allowed, ofKeys := o.Extensions["x-scopes"].([]hongyan.Scope)
			if !ofKeys { // of the console's visitors and members, see TestRolesEverywhere of server
				if r := w.call(method, path, "", "Authorization: Bearer "+adminKey); r.Status == 403 || r.Status < 300 && path != "/v1/console" {
					t.Errorf("%s %s with an API key: got %d", method, path, r.Status)
				}
				continue
			}
			target := strings.NewReplacer("{appid}", w.app.AppID, "{ref}", "none", "{openid}", "oNone", "{template}", "none", "{id}", "none", "{name}", "none", "{path}", "clock", "{errcode}", "40001").Replace(path)
			for _, sc := range hongyan.Scopes() {
				r := w.call(method, target, "", "Authorization: Bearer "+keys[sc])
				may := len(allowed) == 0 || slices.Contains(allowed, sc)
				if (r.Status == 403) == may || r.Status == 401 {
					t.Errorf("%s %s with scope %s: got %d, allowed are %v", method, path, sc, r.Status, allowed)
				}
			}
		}
	}
	if n < 35 {
		t.Errorf("looked at %d operations only", n)
	}
}

// To a key that is limited to some apps the others do not exist.
func TestAppLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	box, err := w.box.CreateApp(sandbox.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	other := hongyan.AppID(box.AppID)
	if _, err := w.admin.CreateApp(ctx, client.AppCreate{AppID: other, Secret: box.Secret}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	w.grant("oA", 2)
	m, err := w.admin.Submit(ctx, w.submission("oA"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	limited := w.key([]hongyan.AppID{other}, hongyan.ScopeSend, hongyan.ScopeRead, hongyan.ScopeManage)

	if apps, err := limited.Apps(ctx); err != nil || len(apps) != 1 || apps[0].AppID != other {
		t.Errorf("got %+v %v, want its own app alone", apps, err)
	}
	_, err = limited.App(ctx, w.appID())
	wantCode(t, err, hongyan.CodeAppNotFound)
	_, err = limited.Templates(ctx, w.appID())
	wantCode(t, err, hongyan.CodeAppNotFound)
	_, err = limited.Submit(ctx, w.submission("oA"), client.Options{})
	if e := wantCode(t, err, hongyan.CodeAppNotFound); e.Fields[0].Pointer != "/app" {
		t.Errorf("got %+v", e.Fields)
	}
	_, err = limited.SubmitBatch(ctx, client.Batch{Messages: []hongyan.Submission{w.submission("oA")}}, client.Options{})
	wantCode(t, err, hongyan.CodeAppNotFound)
	_, err = limited.Message(ctx, m.ID)
	wantCode(t, err, hongyan.CodeNotFound)
	_, err = limited.Cancel(ctx, m.ID)
	wantCode(t, err, hongyan.CodeNotFound)
	_, err = limited.Resolve(ctx, m.ID, hongyan.StateFailed)
	wantCode(t, err, hongyan.CodeNotFound)
	for _, err := range limited.Messages(ctx, client.MessageFilter{}) {
		t.Errorf("got a message of another app, %v", err)
	}
	for _, err := range limited.Messages(ctx, client.MessageFilter{App: w.appID()}) {
		wantCode(t, err, hongyan.CodeAppNotFound)
	}
	_, err = limited.CreateApp(ctx, client.AppCreate{AppID: "wx9", Secret: "s"}, client.Options{})
	wantCode(t, err, hongyan.CodeForbidden)
}

func TestKeysGiveNoMoreThanTheyHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	manager := w.key([]hongyan.AppID{"wx1", "wx2"}, hongyan.ScopeManage, hongyan.ScopeSend)
	send := []hongyan.Scope{hongyan.ScopeSend}
	for name, in := range map[string]client.KeyCreate{
		"scope": {Name: "x", Scopes: []hongyan.Scope{hongyan.ScopeRead}, Apps: []hongyan.AppID{"wx1"}},
		"all":   {Name: "x", Scopes: send},
	} {
		_, err := manager.CreateKey(ctx, in, client.Options{})
		if e := wantCode(t, err, hongyan.CodeForbidden); len(e.Fields) != 1 {
			t.Errorf("%s: got %+v", name, e.Fields)
		}
	}
	_, err := manager.CreateKey(ctx, client.KeyCreate{Name: "x", Scopes: send, Apps: []hongyan.AppID{"wx3"}}, client.Options{})
	wantCode(t, err, hongyan.CodeAppNotFound)
	k, err := manager.CreateKey(ctx, client.KeyCreate{Name: "x", Scopes: send, Apps: []hongyan.AppID{"wx2"}}, client.Options{})
	if err != nil || !strings.HasPrefix(k.Key, "hyk_") {
		t.Fatalf("got %+v %v", k, err)
	}

	all, err := w.admin.Keys(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("got %+v %v", all, err)
	}
	for _, k := range all {
		if k.Key != "" {
			t.Error("a list shows a key")
		}
	}
	w.key(nil, hongyan.ScopeSend)
	if all, err = w.admin.Keys(ctx); err != nil {
		t.Fatal(err)
	}
	if mine, err := manager.Keys(ctx); err != nil || len(mine) != 2 || len(all) != 3 {
		t.Errorf("got %d of %d keys %v, want those of its apps", len(mine), len(all), err)
	}
	wantCode(t, manager.RevokeKey(ctx, all[2].ID), hongyan.CodeNotFound)
	if err := manager.RevokeKey(ctx, k.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.client(k.Key, "").Login(ctx, "wx2", "c", "")
	wantCode(t, err, hongyan.CodeUnauthorized)
	wantCode(t, w.admin.RevokeKey(ctx, "key_none"), hongyan.CodeNotFound)
}

// TestGatewayKeys: a gateway key is for one app, and its rights add to the scope gateway.
func TestGatewayKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, want := range map[string]string{
		`{"name":"x","scopes":["gateway"]}`:                                                "/apps name that app",
		`{"name":"x","scopes":["gateway"],"apps":["` + w.app.AppID + `","wxother"]}`:       "/apps name that app",
		`{"name":"x","scopes":["gateway_quota"],"apps":["` + w.app.AppID + `"]}`:           "/scopes name that too",
		`{"name":"x","scopes":["gateway","gateway_all"],"apps":["` + w.app.AppID + `"]}`:   "/scopes/1 The scopes are",
		`{"name":"x","scopes":["gateway","gateway_relay"],"apps":["` + w.app.AppID + `"]}`: "",
	} {
		r := w.call("POST", "/v1/keys", body)
		if want == "" {
			if r.Status != 201 {
				t.Errorf("%s: got %d, want 201", body, r.Status)
			}
			continue
		}
		wantFaults(t, r, want)
	}
}
