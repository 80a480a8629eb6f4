package api

import (
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// TestBacklogFull shows the bounds as a caller meets them.
func TestBacklogFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := "/v1/apps/" + w.app.AppID
	post := func(body string, status int, code hongyan.Code, retry string) {
		t.Helper()
		r := w.call("POST", "/v1/messages", body)
		if r.Status != status || r.Problem.Code != code || r.Header.Get("Retry-After") != retry {
			t.Errorf("status %d, Retry-After %q, want %d and %q: %s", r.Status, r.Header.Get("Retry-After"), status, retry, r.Body)
		}
	}
	must := func(r reply) {
		t.Helper()
		if r.Status != 200 {
			t.Fatal(r.Body)
		}
	}
	must(w.call("PATCH", app, `{"settings":{"backlog_limit":2}}`))
	for range 2 {
		post(w.body("oA"), 202, "", "")
	}
	post(w.body("oA"), 429, hongyan.CodeBacklogFull, "10")
	r := w.call("POST", "/v1/messages/batch", `{"messages":[`+w.body("oA")+`]}`)
	if r.Status != 429 || r.Problem.Code != hongyan.CodeBacklogFull || r.Header.Get("Retry-After") != "10" {
		t.Errorf("batch: status %d, Retry-After %q: %s", r.Status, r.Header.Get("Retry-After"), r.Body)
	}
	later := w.submission("oA")
	later.SendAt = time.Now().Add(time.Hour)
	if _, err := w.admin.Submit(t.Context(), later, client.Options{}); err != nil {
		t.Errorf("scheduled is not queued: %v", err)
	}
	must(w.call("POST", app+"/grants/oB/"+w.template.TemplateID+"/adjust", `{"delta":0,"exact":true,"reason":"none"}`))
	held := strings.TrimSuffix(w.body("oB"), "}") + `,"on_no_grant":"hold"}`
	must(w.call("PATCH", app, `{"settings":{"backlog_limit":100}}`))
	for range 20 {
		post(held, 202, "", "")
	}
	post(held, 429, hongyan.CodeHeldLimit, "3600")
}
