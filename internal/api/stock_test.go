package api

import (
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func TestStock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app := t.Context(), w.appID()
	item := hongyan.ImportItem{OpenID: "oA", Template: w.template.TemplateID, Count: 2, Exact: true}
	for range 2 {
		subs, err := w.admin.ImportGrants(ctx, app, []hongyan.ImportItem{item}, "old program")
		if err != nil || len(subs) != 1 || subs[0].Available != 2 || subs[0].Baseline != hongyan.BaselineExact {
			t.Fatalf("import: %+v %v", subs, err)
		}
	}
	_, err := w.admin.ImportGrants(ctx, app, []hongyan.ImportItem{item, {OpenID: "oB", Template: "none", Count: 1}}, "")
	if e := wantCode(t, err, hongyan.CodeInvalid); e.Fields[0].Pointer != "/items/1/template" {
		t.Errorf("got %+v", e.Fields)
	}
	subs, err := w.key(nil, hongyan.ScopeRead).QueryGrants(ctx, app, []hongyan.OpenID{"oA", "oNobody"}, w.template.TemplateID)
	if err != nil || len(subs) != 2 || subs[0].Available != 2 || subs[1].Available != 0 {
		t.Errorf("query: %+v %v", subs, err)
	}
	why, err := w.admin.ExplainGrant(ctx, app, "oA", w.template.TemplateID)
	if err != nil || why.Reasons[0].Code != "available" || why.Next.ZH == "" {
		t.Errorf("explain: %+v %v", why, err)
	}
	m, err := w.admin.Submit(ctx, w.submission("oA"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.admin.ExportUser(ctx, app, "oA")
	if err != nil || len(out.Messages) != 1 || len(out.Messages[0].Data) == 0 || len(out.Subscriptions) != 1 {
		t.Errorf("export: %+v %v", out, err)
	}
	wantCode(t, w.key(nil, hongyan.ScopeSend, hongyan.ScopeRead).EraseUser(ctx, app, "oA"), hongyan.CodeForbidden)
	if err := w.admin.EraseUser(ctx, app, "oA"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.admin.EraseUser(ctx, app, "oA"), hongyan.CodeUserNotFound)
	got, err := w.admin.Message(ctx, m.ID)
	if err != nil || got.Status != hongyan.StateCanceled && got.Status != hongyan.StateSending || got.Status == hongyan.StateCanceled && !strings.HasPrefix(string(got.To), "erased:") {
		t.Errorf("message: %+v %v", got, err)
	}
}
