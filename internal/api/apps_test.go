package api

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestCreateApp(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	box, err := w.box.CreateApp(sandbox.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	id := hongyan.AppID(box.AppID)

	e := wantCode(t, create1(w, client.AppCreate{AppID: id, Secret: "0123456789abcdef0123456789abcdef"}), hongyan.CodeWeChatRefused)
	if e.WeChat == nil || e.WeChat.Errcode != 40125 && e.WeChat.Errcode != 40001 {
		t.Errorf("got WeChat %+v, want its refusal of the secret", e.WeChat)
	}
	wantCode(t, create1(w, client.AppCreate{AppID: "wx0000000000000000", Secret: box.Secret}), hongyan.CodeWeChatRefused)
	wantCode(t, create1(w, client.AppCreate{AppID: id}), hongyan.CodeInvalid)
	if apps, err := w.admin.Apps(t.Context()); err != nil || len(apps) != 0 {
		t.Fatalf("got %v %v, want nothing stored after refusals", apps, err)
	}

	app, err := w.admin.CreateApp(t.Context(), client.AppCreate{AppID: id, Secret: box.Secret, Name: "店"}, client.Options{})
	if err != nil || !app.HasSecret || app.Name != "店" {
		t.Fatalf("got %+v %v", app, err)
	}
	wantCode(t, create1(w, client.AppCreate{AppID: id, Secret: box.Secret}), hongyan.CodeConflict)
	if err := create1(w, client.AppCreate{AppID: "wx1111111111111111", Secret: "not tried", SkipCheck: true}); err != nil {
		t.Error(err)
	}
	if err := create1(w, client.AppCreate{AppID: "wx2222222222222222", Settings: hongyan.AppSettings{TokenMode: hongyan.TokenNone}}); err != nil {
		t.Error(err)
	}
}

func create1(w *world, in client.AppCreate) error {
	_, err := w.admin.CreateApp(w.t.Context(), in, client.Options{})
	return err
}

func TestCreateAppNamesTheAddressToWhitelist(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	box, err := w.box.CreateApp(sandbox.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.box.SetRules(box.AppID, sandbox.Rules{IPWhitelist: []string{"203.0.113.7"}}); err != nil {
		t.Fatal(err)
	}
	body := `{"appid":"` + box.AppID + `","secret":"` + box.Secret + `"}`
	for lang, word := range map[string]string{"en": "whitelist", "zh-CN,zh;q=0.9": "白名单"} {
		r := w.call("POST", "/v1/apps", body, "Accept-Language: "+lang)
		if r.Status != 422 || r.Problem.Code != hongyan.CodeWeChatRefused || r.Problem.WeChat.Errcode != 40164 {
			t.Fatalf("got %d %s", r.Status, r.Body)
		}
		if !strings.Contains(r.Problem.Detail, "127.0.0.1") || !strings.Contains(r.Problem.Hint, "127.0.0.1") || !strings.Contains(r.Problem.Hint, word) {
			t.Errorf("%s: got detail %q hint %q, want the IP and the remedy", lang, r.Problem.Detail, r.Problem.Hint)
		}
	}
}

func TestCreateAppUnreachable(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	w.wx.Close()
	wantCode(t, create1(w, client.AppCreate{AppID: "wx1111111111111111", Secret: "s"}), hongyan.CodeWeChatUnreachable)
	if r := w.call("GET", "/v1/apps", ""); strings.Contains(r.Body, "wx1111") {
		t.Error("stored an app whose secret could not be tried")
	}
}

func TestUpdateApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.appID()
	app, err := w.admin.UpdateApp(t.Context(), id, client.AppUpdate{Settings: map[string]any{"on_busy": "uncertain", "only_openids": []string{"oA"}}})
	if err != nil || app.Settings.OnBusy != hongyan.OnBusyUncertain || app.Settings.History != hongyan.HistoryNew || len(app.Settings.OnlyOpenIDs) != 1 {
		t.Fatalf("got %+v %v, want on_busy changed and history kept", app.Settings, err)
	}
	name := "new"
	app, err = w.admin.UpdateApp(t.Context(), id, client.AppUpdate{Name: &name, Settings: map[string]any{"on_busy": nil, "only_openids": []string{}}})
	if err != nil || app.Name != "new" || app.Settings.OnBusy != "" || len(app.Settings.OnlyOpenIDs) != 0 {
		t.Fatalf("got %+v %v, want defaults again", app, err)
	}

	bad, good := "0123456789abcdef0123456789abcdef", w.app.Secret
	_, err = w.admin.UpdateApp(t.Context(), id, client.AppUpdate{Secret: &bad})
	wantCode(t, err, hongyan.CodeWeChatRefused)
	if secret, err := w.l.AppSecret(t.Context(), id); err != nil || secret.Reveal() != good {
		t.Error("a refused secret replaced the good one")
	}
	if _, err = w.admin.UpdateApp(t.Context(), id, client.AppUpdate{Secret: &good}); err != nil {
		t.Error(err)
	}
	r := w.call("PATCH", "/v1/apps/"+w.app.AppID, `{"settings":{"onBusy":"retry","history":"old"}}`)
	wantFaults(t, r, "/settings/onBusy on_busy")
	r = w.call("PATCH", "/v1/apps/"+w.app.AppID, `{"settings":{"history":"old"}}`)
	wantFaults(t, r, "/settings/history existing, new")
	r = w.call("PATCH", "/v1/apps/wxnone", `{}`)
	if r.Status != 404 || r.Problem.Code != hongyan.CodeAppNotFound {
		t.Errorf("got %d %s", r.Status, r.Body)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	if _, err := w.admin.SetAlias(ctx, id, w.template.TemplateID, "paid"); err != nil {
		t.Fatal(err)
	}
	app, err := w.admin.Pause(ctx, id, client.Pause{Scope: hongyan.PauseTemplate, Key: "paid", Detail: "wrong text"})
	if err != nil || len(app.Pauses) != 1 || app.Pauses[0].Key != w.template.TemplateID || app.Pauses[0].Reason != hongyan.PauseManual || app.Pauses[0].Detail != "wrong text" {
		t.Fatalf("got %+v %v", app.Pauses, err)
	}
	if app, err = w.admin.Pause(ctx, id, client.Pause{Scope: hongyan.PauseApp}); err != nil || len(app.Pauses) != 2 {
		t.Fatalf("got %+v %v", app.Pauses, err)
	}
	if app, err = w.admin.Pause(ctx, id, client.Pause{Scope: hongyan.PausePath, Key: hongyan.SendPath}); err != nil || len(app.Pauses) != 3 {
		t.Fatalf("got %+v %v", app.Pauses, err)
	}
	for _, p := range []client.Pause{{Scope: "all"}, {Scope: hongyan.PauseTemplate}, {Scope: hongyan.PauseApp, Key: "x"}, {Scope: hongyan.PausePath, Key: "send"}} {
		_, err := w.admin.Pause(ctx, id, p)
		if e := wantCode(t, err, hongyan.CodeInvalid); len(e.Fields) != 1 {
			t.Errorf("%+v: got %+v, want one field", p, e.Fields)
		}
	}
	_, err = w.admin.Pause(ctx, id, client.Pause{Scope: hongyan.PauseTemplate, Key: "nothing"})
	if e := wantCode(t, err, hongyan.CodeTemplateNotFound); e.Fields[0].Pointer != "/key" {
		t.Errorf("got %+v, want /key", e.Fields)
	}
	for _, p := range []client.Pause{{Scope: hongyan.PauseTemplate, Key: "paid"}, {Scope: hongyan.PauseApp}, {Scope: hongyan.PausePath, Key: hongyan.SendPath}, {Scope: hongyan.PauseApp}} {
		if app, err = w.admin.Resume(ctx, id, p); err != nil {
			t.Fatal(err)
		}
	}
	if len(app.Pauses) != 0 {
		t.Errorf("got %+v, want none", app.Pauses)
	}
}

// wantFaults checks a 4xx problem: one fault for each "pointer words of its detail".
func wantFaults(t *testing.T, r reply, wants ...string) {
	t.Helper()
	if r.Status < 400 || r.Status > 499 || r.Header.Get("Content-Type") != problemType {
		t.Errorf("got %d %s, want a 4xx problem", r.Status, r.Body)
		return
	}
	p := r.Problem
	if p.Status != r.Status || p.Title == "" || p.Hint == "" || p.Detail == "" || p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-Id") || !strings.HasSuffix(p.Type, "#"+string(p.Code)) {
		t.Errorf("incomplete problem %s", r.Body)
	}
	if info := hongyan.LookupCode(p.Code); info.Status != r.Status || http.StatusText(r.Status) == "" {
		t.Errorf("status %d does not belong to %s", r.Status, p.Code)
	}
next:
	for _, want := range wants {
		pointer, text, _ := strings.Cut(want, " ")
		if pointer == "-" {
			pointer = ""
		}
		for _, f := range p.Errors {
			if f.Pointer == pointer && strings.Contains(f.Detail, text) {
				continue next
			}
		}
		t.Errorf("no fault at %q with %q in %s", pointer, text, r.Body)
	}
}

// TestSettingsMergeTogether: two changes at once, of different keys, both stay.
func TestSettingsMergeTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	for round := range 10 {
		var wg sync.WaitGroup
		for key, value := range map[string]any{"default_expiry_s": 100 + round, "backlog_limit": 200 + round, "pace_per_second": 300 + round} {
			wg.Go(func() {
				if _, err := w.admin.UpdateApp(ctx, w.appID(), client.AppUpdate{Settings: map[string]any{key: value}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		app, err := w.admin.App(ctx, w.appID())
		if s := app.Settings; err != nil || s.DefaultExpiryS != int64(100+round) || s.BacklogLimit != int64(200+round) || s.PacePerSecond != float64(300+round) {
			t.Fatalf("after three changes at once: %+v, %v", s, err)
		}
	}
}
