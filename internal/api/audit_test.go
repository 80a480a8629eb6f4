package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

// unaudited are operations of people who manage that leave no row, and why.
var unaudited = map[string]string{
	"check-callback": "it asks WeChat and changes nothing",
	"test-webhook":   "it posts an event and changes nothing",
}

// audits makes each change that the scope manage allows succeed once. Each gets a world of
// its own kind of state: one app with a template, a user with a grant, and what it asks for.
func audits(w *world) map[string]func() reply {
	app := "/v1/apps/" + w.app.AppID
	tmpl := app + "/templates/" + w.template.TemplateID
	ok := func(r reply) reply {
		w.t.Helper()
		if r.Status >= 300 {
			w.t.Fatalf("prepare: %d %s", r.Status, r.Body)
		}
		return r
	}
	id := func(r reply) string {
		_, rest, _ := strings.Cut(r.Body, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		return id
	}
	webhook := func() string {
		return "/v1/webhooks/" + id(ok(w.call("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/","events":["*"]}`)))
	}
	message := func() string {
		m, err := w.admin.Submit(w.t.Context(), hongyan.Submission{App: w.appID(), To: hongyan.Recipient{OpenID: "held"}, Template: w.template.TemplateID,
			Data: w.template.Example, OnNoGrant: hongyan.OnNoGrantHold}, client.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		return "/v1/messages/" + string(m.ID)
	}
	return map[string]func() reply{
		"create-app": func() reply {
			other, err := w.box.CreateApp(sandbox.AppSpec{})
			if err != nil {
				w.t.Fatal(err)
			}
			return w.call("POST", "/v1/apps", `{"appid":"`+other.AppID+`","secret":"`+other.Secret+`"}`)
		},
		"update-app":     func() reply { return w.call("PATCH", app, `{"name":"renamed","secret":"`+w.app.Secret+`"}`) },
		"pause-app":      func() reply { return w.call("POST", app+"/pause", `{"scope":"app","detail":"a break"}`) },
		"resume-app":     func() reply { return w.call("POST", app+"/resume", `{"scope":"app"}`) },
		"refresh-token":  func() reply { return w.call("POST", app+"/token/refresh", "") },
		"clear-quota":    func() reply { return w.call("POST", app+"/quota/clear", "") },
		"check-callback": nil, // see unaudited; it has nothing to look at here
		"sync-templates": func() reply {
			if _, err := w.box.AddTemplate(sandbox.TemplateSpec{AppID: w.app.AppID}); err != nil {
				w.t.Fatal(err)
			}
			return w.call("POST", app+"/templates/sync", "")
		},
		"add-template": func() reply {
			return w.call("POST", app+"/templates", `{"tid":"`+w.template.TID+`","kids":[`+kids(w)+`],"scene_desc":"x"}`)
		},
		"set-template-alias": func() reply { return w.call("PUT", tmpl+"/alias", `{"alias":"order"}`) },
		"end-sessions": func() reply {
			ok(w.call("POST", app+"/sessions", `{"openid":"visitor"}`))
			return w.call("DELETE", app+"/users/visitor/sessions", "")
		},
		"erase-user": func() reply {
			w.grant("leaver", 1)
			return w.call("DELETE", app+"/users/leaver", "")
		},
		"import-grants": func() reply {
			return w.call("POST", app+"/grants/import", `{"items":[{"openid":"old","template":"`+w.template.TemplateID+`","count":3}]}`)
		},
		"adjust-grant": func() reply {
			return w.call("POST", app+"/grants/someone/"+w.template.TemplateID+"/adjust", `{"delta":2,"reason":"asked by phone"}`)
		},
		"set-scene": func() reply {
			return w.call("PUT", app+"/scenes/checkout", `{"templates":[{"template":"`+w.template.TemplateID+`"}]}`)
		},
		"delete-scene": func() reply {
			ok(w.call("PUT", app+"/scenes/gone", `{"templates":[{"template":"`+w.template.TemplateID+`"}]}`))
			return w.call("DELETE", app+"/scenes/gone", "")
		},
		"set-callback": func() reply { return w.call("PUT", app+"/callback", `{"renew":true}`) },
		"remove-callback": func() reply {
			ok(w.call("PUT", app+"/callback", `{}`))
			return w.call("DELETE", app+"/callback", "")
		},
		"resolve-message": nil, // see testAudit of the ledger: only an attempt makes a message uncertain
		"cancel-message":  func() reply { return w.call("POST", message()+"/cancel", "") },
		"create-webhook": func() reply {
			return w.call("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/","events":["message.*"]}`)
		},
		"update-webhook":        func() reply { return w.call("PATCH", webhook(), `{"enabled":false}`) },
		"delete-webhook":        func() reply { return w.call("DELETE", webhook(), "") },
		"rotate-webhook-secret": func() reply { return w.call("POST", webhook()+"/rotate-secret", "") },
		"test-webhook":          func() reply { return w.call("POST", webhook()+"/test", "") },
		"resend-delivery":       nil, // see testAudit of the ledger: only a delivery that was made is made again
		"create-key":            func() reply { return w.call("POST", "/v1/keys", `{"name":"shop","scopes":["send"]}`) },
		"revoke-key": func() reply {
			return w.call("DELETE", "/v1/keys/"+id(ok(w.call("POST", "/v1/keys", `{"name":"old","scopes":["send"]}`))), "")
		},
		"delete-template": func() reply { return w.call("DELETE", tmpl, "") },
	}
}

// kids are two keywords of the world's template's title, as the library lists them, of which
// no template was made yet.
func kids(w *world) string {
	found, err := w.admin.Keywords(w.t.Context(), w.appID(), w.template.TID)
	if err != nil || len(found) < 2 {
		w.t.Fatal(found, err)
	}
	return strings.Join([]string{itoa(found[0].KID), itoa(found[1].KID)}, ",")
}

// TestAuditEveryRoute walks the table of routes: whatever the scope manage lets somebody
// change leaves exactly one row.
func TestAuditEveryRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	do := audits(w)
	s, err := newServer(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, item := range s.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil && strings.HasPrefix(op.Path, "/v1/") && changesByManage(op) {
				order = append(order, op.OperationID)
			}
		}
	}
	// What takes something away that others need comes last.
	last := []string{"delete-template"}
	slices.SortFunc(order, func(a, b string) int {
		if x, y := slices.Contains(last, a), slices.Contains(last, b); x != y {
			if x {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	if len(order) < 25 {
		t.Fatalf("only %d routes", len(order))
	}
	for _, op := range order {
		act, known := do[op]
		if !known {
			t.Errorf("%s: say in audits how it succeeds", op)
			continue
		}
		if act == nil {
			continue
		}
		r := act()
		if r.Status >= 300 {
			t.Errorf("%s: %d %s", op, r.Status, r.Body)
			continue
		}
		rows, err := client.Collect(w.admin.Audit(t.Context(), client.AuditFilter{Action: op}), 0)
		if err != nil {
			t.Fatal(err)
		}
		rows = slices.DeleteFunc(rows, func(a hongyan.Audit) bool { return string(a.RequestID) != r.Header.Get("X-Request-Id") })
		want := 1
		if unaudited[op] != "" {
			want = 0
		}
		if len(rows) != want {
			t.Errorf("%s: %d rows, want %d: %+v", op, len(rows), want, rows)
			continue
		}
		for _, a := range rows {
			if a.Actor.ID != "admin" || a.Address != "127.0.0.1" || a.Object.ID == "" || len(a.Changes) == 0 {
				t.Errorf("%s: %+v", op, a)
			}
		}
	}
	for op := range do {
		if !slices.Contains(order, op) {
			t.Errorf("%s is no route that manages", op)
		}
	}
}

func changesByManage(op *huma.Operation) bool {
	sc, _ := op.Metadata["scopes"].(scopes)
	return op.Method != http.MethodGet && (slices.Contains(sc, hongyan.ScopeManage) || op.OperationID == "cancel-message")
}

// TestAuditHidesSecrets looks for every secret that went in or out in the whole log.
func TestAuditHidesSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, err := w.admin.CreateKey(t.Context(), client.KeyCreate{Name: "shop", Scopes: []hongyan.Scope{hongyan.ScopeSend}}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hook, err := w.admin.CreateWebhook(t.Context(), client.WebhookCreate{URL: "http://127.0.0.1:9/", Events: []hongyan.EventPattern{"*"}}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	token, aes := "token0123456789", strings.Repeat("k", 43)
	if r := w.call("PUT", "/v1/apps/"+w.app.AppID+"/callback", `{"token":"`+token+`","encoding_aes_key":"`+aes+`"}`); r.Status != 200 {
		t.Fatal(r.Body)
	}
	w.call("PATCH", "/v1/apps/"+w.app.AppID, `{"secret":"`+w.app.Secret+`","token_secret":"tokensecret0123"}`)
	w.call("POST", "/v1/apps/"+w.app.AppID+"/token/refresh", "")
	r := w.call("GET", "/v1/audit", "")
	for _, secret := range []string{w.app.Secret, k.Key, hook.Secret, token, aes, "tokensecret0123", w.token(), adminKey} {
		if strings.Contains(r.Body, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if n := strings.Count(r.Body, `"changed":true`); n < 7 {
		t.Errorf("%d secrets are said to be changed: %s", n, r.Body)
	}
}

func TestAuditByApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.admin.CreateApp(t.Context(), client.AppCreate{AppID: "wxother", SkipCheck: true}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	limited := w.key([]hongyan.AppID{"wxother"}, hongyan.ScopeManage)
	rows, err := client.Collect(limited.Audit(t.Context(), client.AuditFilter{}), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Action != "create-key" || rows[1].Action != "create-app" || rows[1].App != "wxother" {
		t.Errorf("a key for one app sees %+v", rows)
	}
	_, err = client.Collect(limited.Audit(t.Context(), client.AuditFilter{App: w.appID()}), 0)
	wantCode(t, err, hongyan.CodeAppNotFound)
	reader := w.key(nil, hongyan.ScopeRead)
	_, err = client.Collect(reader.Audit(t.Context(), client.AuditFilter{}), 0)
	wantCode(t, err, hongyan.CodeForbidden)
	for i, f := range []client.AuditFilter{{Object: "wxother"}, {App: "wxother", Action: "create-app"}, {Actor: "admin", Action: "create-app", App: "wxother", PageSize: 1}} {
		rows, err := client.Collect(w.admin.Audit(t.Context(), f), 0)
		if err != nil || len(rows) != 1 {
			t.Errorf("filter %d: %v, %v", i, rows, err)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
