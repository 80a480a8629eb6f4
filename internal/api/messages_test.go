package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func TestSubmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.grant("oA", 1)

	dry := w.submission("oA")
	dry.DryRun = true
	m, err := w.admin.Submit(ctx, dry, client.Options{})
	if err != nil || !m.DryRun || m.ID != "" || m.Reserved != 1 {
		t.Fatalf("dry run: got %+v %v", m, err)
	}

	sub := w.submission("oA")
	sub.DedupKey, sub.Tags, sub.Metadata = "order-1", []string{"a"}, map[string]string{"order": "1"}
	r := w.call("POST", "/v1/messages", mustJSON(sub))
	if r.Status != 202 || !strings.HasPrefix(r.Header.Get("Location"), "/v1/messages/msg_") || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %v %s", r.Status, r.Header, r.Body)
	}
	m, err = w.admin.Submit(ctx, sub, client.Options{})
	if err != nil || !m.Duplicate || !strings.HasSuffix(r.Header.Get("Location"), string(m.ID)) {
		t.Fatalf("duplicate: got %+v %v, want the first message", m, err)
	}
	if r := w.call("POST", "/v1/messages", mustJSON(sub)); r.Status != 200 {
		t.Errorf("duplicate: got status %d, want 200", r.Status)
	}

	_, err = w.admin.Submit(ctx, w.submission("oA"), client.Options{})
	if e := wantCode(t, err, hongyan.CodeNoGrant); len(e.Fields) == 0 || e.Fields[0].Pointer != "/to" {
		t.Errorf("got %+v, want /to", e.Fields)
	}

	got, err := w.admin.Message(ctx, m.ID)
	if err != nil || got.Status != hongyan.StateQueued || len(got.Timeline) == 0 || got.Metadata["order"] != "1" {
		t.Fatalf("got %+v %v", got, err)
	}
	if got, err = w.admin.Cancel(ctx, m.ID); err != nil || got.Status != hongyan.StateCanceled {
		t.Fatalf("got %+v %v", got, err)
	}
	if _, err = w.admin.Cancel(ctx, m.ID); err != nil {
		t.Errorf("cancel again: %v", err)
	}
	_, err = w.admin.Resolve(ctx, m.ID, hongyan.StateFailed)
	wantCode(t, err, hongyan.CodeAlreadyFinal)
	_, err = w.admin.Resolve(ctx, m.ID, "lost")
	wantCode(t, err, hongyan.CodeInvalid)
	_, err = w.admin.Message(ctx, "msg_nothing")
	wantCode(t, err, hongyan.CodeNotFound)
}

func TestSubmitByExternalIDWithReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	users, err := w.box.AddUsers(usersSpec(w, 1))
	if err != nil {
		t.Fatal(err)
	}
	code, err := w.box.Login(loginSpec(w, users.OpenIDs[0]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.Login(ctx, w.appID(), code.Code, "customer-7"); err != nil {
		t.Fatal(err)
	}
	sub := w.submission("")
	sub.To = hongyan.Recipient{User: "customer-7"}
	sub.GrantReport = &hongyan.Report{ID: "tap-1", Choice: "accept"}
	m, err := w.admin.Submit(ctx, sub, client.Options{})
	if err != nil || string(m.To) != users.OpenIDs[0] || m.Reserved != 1 {
		t.Fatalf("got %+v %v, want it reserved with the grant it brought", m, err)
	}
}

func TestWarningsAreInTheLanguageAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("oA", 2)
	for _, lang := range []string{"en", "zh"} {
		sub := w.submission("oA")
		sub.Data = map[string]string{"extra9": "x"}
		for k, v := range w.template.Example {
			sub.Data[k] = v
		}
		m, err := w.client(adminKey, lang).Submit(t.Context(), sub, client.Options{})
		if err != nil || len(m.Warnings) != 1 {
			t.Fatalf("got %+v %v, want one warning", m, err)
		}
		if english := strings.HasPrefix(m.Warnings[0].Detail, "The template"); english != (lang == "en") {
			t.Errorf("%s: got %q", lang, m.Warnings[0].Detail)
		}
	}
}

func TestPreferWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("oA", 1)

	held := w.submission("oB")
	held.OnNoGrant = hongyan.OnNoGrantHold
	w.grant("oB", 1)
	if _, err := w.admin.Submit(t.Context(), held, client.Options{}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m, err := w.admin.Submit(t.Context(), held, client.Options{Wait: 20 * time.Second})
	if err != nil || m.Status != hongyan.StateHeld || time.Since(start) > 5*time.Second {
		t.Fatalf("got %+v %v after %v, want held at once", m, err, time.Since(start))
	}

	// Nothing sends here: only the cancel ends the second call's wait.
	sub, key := w.submission("oA"), client.Options{IdempotencyKey: "wait"}
	if m, err = w.admin.Submit(t.Context(), sub, key); err != nil {
		t.Fatal(err)
	}
	answer := make(chan *hongyan.Message)
	go func() {
		m, _ := w.admin.Submit(t.Context(), sub, client.Options{IdempotencyKey: "wait", Wait: 30 * time.Second})
		answer <- m
	}()
	if _, err = w.admin.Cancel(t.Context(), m.ID); err != nil {
		t.Error(err)
	}
	if m := <-answer; m == nil || m.Status != hongyan.StateCanceled {
		t.Errorf("got %+v, want canceled", m)
	}

	w.grant("oC", 1)
	r := w.call("POST", "/v1/messages", w.body("oC"), `Prefer: respond-async, wait="1"`)
	if r.Status != 202 || r.Header.Get("Preference-Applied") != "wait=1" || !strings.Contains(r.Body, `"queued"`) {
		t.Errorf("got %d %v %s", r.Status, r.Header, r.Body)
	}
}

func TestPreferredWait(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{"wait=5": 5 * time.Second, "wait=100": 30 * time.Second, "Wait = 2": 2 * time.Second,
		"return=minimal, wait=1": time.Second, "wait=-1": 0, "wait=x": 0, "": 0, "wait": 0} {
		if got := preferredWait(requestWith("Prefer", header)); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.grant("oA", 1)
	w.grant("oB", 1)

	// Strict: the second for oB has no grant, so nothing is stored and no grant is touched.
	three := []hongyan.Submission{w.submission("oA"), w.submission("oB"), w.submission("oB")}
	_, err := w.admin.SubmitBatch(ctx, client.Batch{Messages: three}, client.Options{IdempotencyKey: "b1"})
	e := wantCode(t, err, hongyan.CodeNoGrant)
	if len(e.Fields) != 1 || e.Fields[0].Pointer != "/messages/2/to" {
		t.Errorf("got %+v, want /messages/2/to", e.Fields)
	}
	if g, err := w.admin.Grant(ctx, w.appID(), "oA", w.template.TemplateID); err != nil || g.Available != 1 {
		t.Fatalf("got %+v %v, want the grant untouched", g, err)
	}

	res, err := w.admin.SubmitBatch(ctx, client.Batch{Messages: three, Mode: client.BatchPermissive}, client.Options{})
	if err != nil || res.Accepted != 2 || res.Refused != 1 || len(res.Items) != 3 {
		t.Fatalf("got %+v %v", res, err)
	}
	if res.Items[2].Status != 409 || res.Items[2].Err.Code != hongyan.CodeNoGrant || res.Items[0].Status != 202 || res.Items[1].Message.To != "oB" {
		t.Errorf("got %+v, want the items in order", res.Items)
	}

	// Every fault of a strict batch at once: one that cannot be read, one that the template refuses.
	bad := w.submission("oA")
	bad.Data = map[string]string{}
	r := w.call("POST", "/v1/messages/batch", `{"messages":[`+strings.Replace(w.body("oA"), `"to"`, `"touser"`, 1)+`,`+mustJSON(bad)+`]}`)
	if r.Status != 400 || r.Problem.Code != hongyan.CodeInvalid || len(r.Problem.Errors) < 2 {
		t.Errorf("got %d %s", r.Status, r.Body)
	}
	wantFaults(t, r, "/messages/0/touser \"to\"")
	if !slices.ContainsFunc(r.Problem.Errors, func(f hongyan.FieldError) bool { return strings.HasPrefix(f.Pointer, "/messages/1/data/") }) {
		t.Errorf("no fault of the data in %s", r.Body)
	}
}

// A repeat of a permissive batch sends nothing again and answers place by place.
func TestBatchReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("oA", 2)
	for _, mode := range []string{"strict", "permissive"} {
		messages := []string{w.body("oA")}
		if mode == "permissive" {
			w.grant("oB", 1)
			messages = []string{`{"touser":"o"}`, w.body("oB"), w.body("oB"), `[]`, w.body("oA")}
		}
		body := `{"mode":"` + mode + `","messages":[` + strings.Join(messages, ",") + `]}`
		first := w.call("POST", "/v1/messages/batch", body, "Idempotency-Key: "+mode)
		again := w.call("POST", "/v1/messages/batch", body, "Idempotency-Key: "+mode)
		if first.Status != 202 || again.Status != 202 || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Fatalf("%s: got %d %s then %d %s", mode, first.Status, first.Body, again.Status, again.Body)
		}
		var one, two client.BatchResult
		if err := errors.Join(json.Unmarshal([]byte(first.Body), &one), json.Unmarshal([]byte(again.Body), &two)); err != nil {
			t.Fatal(err)
		}
		if len(one.Items) != len(messages) || len(two.Items) != len(messages) || one.Accepted != two.Accepted {
			t.Fatalf("%s: got %+v then %+v", mode, one, two)
		}
		for i := range one.Items {
			a, b := one.Items[i], two.Items[i]
			if a.Status != b.Status || (a.Message == nil) != (b.Message == nil) || a.Message != nil && a.Message.ID != b.Message.ID {
				t.Errorf("%s: item %d: got %+v then %+v", mode, i, a, b)
			}
		}
	}
}

func TestListMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	before := time.Now().Add(-time.Second)
	for i := range 7 {
		sub := w.submission(hongyan.OpenID(fmt.Sprintf("oU%d", i%2)))
		sub.OnNoGrant, sub.Tags = hongyan.OnNoGrantSend, []string{fmt.Sprintf("t%d", i%3)}
		if i == 6 {
			sub.SendAt = time.Now().Add(time.Hour)
		}
		if _, err := w.admin.Submit(ctx, sub, client.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		f    client.MessageFilter
		want int
	}{
		"all":       {client.MessageFilter{}, 7},
		"by twos":   {client.MessageFilter{PageSize: 2}, 7},
		"app":       {client.MessageFilter{App: w.appID(), PageSize: 3}, 7},
		"user":      {client.MessageFilter{App: w.appID(), OpenID: "oU1", PageSize: 1}, 3},
		"template":  {client.MessageFilter{App: w.appID(), Template: w.template.TemplateID}, 7},
		"scheduled": {client.MessageFilter{Status: []hongyan.State{hongyan.StateScheduled}}, 1},
		"tag":       {client.MessageFilter{Tag: "t0", PageSize: 2}, 3},
		"since":     {client.MessageFilter{Since: before}, 7},
		"until":     {client.MessageFilter{Until: before}, 0},
		"failed":    {client.MessageFilter{Status: []hongyan.State{hongyan.StateFailed}}, 0},
	} {
		seen := make(map[hongyan.MessageID]bool)
		var last time.Time
		for m, err := range w.admin.Messages(ctx, tt.f) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if seen[m.ID] || !last.IsZero() && m.CreatedAt.After(last) {
				t.Errorf("%s: %s twice or out of order", name, m.ID)
			}
			seen[m.ID], last = true, m.CreatedAt
		}
		if len(seen) != tt.want {
			t.Errorf("%s: got %d, want %d", name, len(seen), tt.want)
		}
	}
	for _, f := range []client.MessageFilter{{App: "wx-none"}, {App: w.appID(), Template: "none"}} {
		for _, err := range w.admin.Messages(ctx, f) {
			if err == nil {
				t.Errorf("%+v: got messages of what is not there", f)
			}
		}
	}
}

// FuzzCursor: whatever a caller passes as a cursor is a page or a 400, never worse.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "abc", "bW1zZ18wMU04Mk5OMzE5QUMySEpYNEU1WE5INEoyOQ", "bjEuMg", "bjE", "bi0x", "bg", "\xff", "bnp6enp6enp6enp6eg", "bjEuMi4z"} {
		f.Add(seed)
	}
	l := openLedger(f)
	if _, err := l.CreateApp(f.Context(), hongyan.App{AppID: "wx1"}, hongyan.AppSecret{}, nil); err != nil {
		f.Fatal(err)
	}
	h, err := New(Config{Ledger: l, AdminKey: adminKey})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, path := range []string{"/v1/messages", "/v1/apps/wx1/users", "/v1/apps/wx1/grants"} {
			if rec := serve(h, path, cursor); rec.Code != 200 && rec.Code != 400 {
				t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
			}
		}
	})
}
