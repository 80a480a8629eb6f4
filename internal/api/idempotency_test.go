package api

import (
	"sync"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestIdempotentSubmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("oA", 3)
	body := w.body("oA")
	first := w.call("POST", "/v1/messages", body, "Idempotency-Key: k1")
	again := w.call("POST", "/v1/messages", body, "Idempotency-Key: k1")
	if first.Status != 202 || again.Status != 202 || again.Header.Get("Idempotent-Replayed") != "true" || again.Header.Get("Location") != first.Header.Get("Location") {
		t.Fatalf("got %d %s then %d %s", first.Status, first.Body, again.Status, again.Body)
	}
	if again.Body != first.Body {
		t.Errorf("got %s, want the first answer %s", again.Body, first.Body)
	}
	if r := w.call("POST", "/v1/messages", body+" ", "Idempotency-Key: k1"); r.Status != 422 || r.Problem.Code != hongyan.CodeIdempotencyReuse {
		t.Errorf("other body: got %d %s", r.Status, r.Body)
	}
	if r := w.call("POST", "/v1/messages", body, "Idempotency-Key: k2"); r.Status != 202 || r.Header.Get("Location") == first.Header.Get("Location") {
		t.Errorf("other key: got %d %s", r.Status, r.Body)
	}
	// Another caller's key of the same name is another key.
	m, err := w.key(nil, hongyan.ScopeSend).Submit(t.Context(), w.submission("oA"), client.Options{IdempotencyKey: "k1"})
	if err != nil || "/v1/messages/"+string(m.ID) == first.Header.Get("Location") {
		t.Errorf("other caller: got %+v %v", m, err)
	}
	if g, err := w.admin.Grant(t.Context(), w.appID(), "oA", w.template.TemplateID); err != nil || g.Reserved != 3 || g.Available != 0 {
		t.Errorf("got %+v %v, want three reserved by three messages", g, err)
	}
}

// A refusal is not remembered: the same request may pass later.
func TestIdempotencyRemembersOnlySuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("oA", 1)
	if r := w.call("POST", "/v1/messages", w.body("oA")); r.Status != 202 {
		t.Fatal(r.Body)
	}
	if r := w.call("POST", "/v1/messages", w.body("oA"), "Idempotency-Key: k"); r.Status != 409 || r.Problem.Code != hongyan.CodeNoGrant {
		t.Fatalf("got %d %s", r.Status, r.Body)
	}
	if _, err := w.admin.Report(t.Context(), w.appID(), hongyan.Report{ID: "later", OpenID: "oA", Template: w.template.TemplateID, Choice: "accept"}); err != nil {
		t.Fatal(err)
	}
	if r := w.call("POST", "/v1/messages", w.body("oA"), "Idempotency-Key: k"); r.Status != 202 || r.Header.Get("Idempotent-Replayed") != "" {
		t.Errorf("got %d %s, want it accepted now", r.Status, r.Body)
	}
}

// Twins that run at once make one message.
func TestIdempotentTwins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("oA", 20)
	sub := w.submission("oA")
	var mu sync.Mutex
	ids := make(map[hongyan.MessageID]int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			m, err := w.admin.Submit(t.Context(), sub, client.Options{IdempotencyKey: "twin"})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			ids[m.ID]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("got %d messages, want 1", len(ids))
	}
}

func TestIdempotentCreates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	opt := client.Options{IdempotencyKey: "make"}

	in := client.KeyCreate{Name: "shop", Scopes: []hongyan.Scope{hongyan.ScopeSend}}
	k, err := w.admin.CreateKey(ctx, in, opt)
	if err != nil || k.Key == "" {
		t.Fatalf("got %+v %v", k, err)
	}
	_, err = w.admin.CreateKey(ctx, in, opt)
	wantCode(t, err, hongyan.CodeSecretShownOnce)

	box, err := w.box.CreateApp(sandbox.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	app := client.AppCreate{AppID: hongyan.AppID(box.AppID), Secret: box.Secret}
	for range 2 {
		if got, err := w.admin.CreateApp(ctx, app, opt); err != nil || got.AppID != app.AppID {
			t.Fatalf("got %+v %v", got, err)
		}
	}

	add := client.TemplateAdd{TID: "1458", KIDs: []int{1, 2}, SceneDesc: "发货"}
	first, err := w.admin.AddTemplate(ctx, w.appID(), add, opt)
	if err != nil {
		t.Fatal(err)
	}
	before := w.box.Stats().ByPath["/wxaapi/newtmpl/addtemplate"]
	again, err := w.admin.AddTemplate(ctx, w.appID(), add, opt)
	if err != nil || again.TemplateID != first.TemplateID || w.box.Stats().ByPath["/wxaapi/newtmpl/addtemplate"] != before {
		t.Errorf("got %+v %v, want the first template without a call", again, err)
	}
}
