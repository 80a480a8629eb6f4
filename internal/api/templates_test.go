package api

import (
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

const (
	listPath     = "/wxaapi/newtmpl/gettemplate"
	categoryPath = "/wxaapi/newtmpl/getcategory"
)

// From the library to a template that messages can use, as the first of the six steps goes.
func TestChooseTemplate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app := t.Context(), w.appID()
	categories, err := w.admin.Categories(ctx, app)
	if err != nil || len(categories) == 0 {
		t.Fatalf("got %v %v", categories, err)
	}
	titles, total, err := w.admin.Titles(ctx, app, []int{categories[0].ID}, 0, 10)
	if err != nil || len(titles) == 0 || total < len(titles) || titles[0].TID == "" {
		t.Fatalf("got %v %d %v", titles, total, err)
	}
	keywords, err := w.admin.Keywords(ctx, app, titles[0].TID)
	if err != nil || len(keywords) < 2 || keywords[0].Type == "" {
		t.Fatalf("got %v %v", keywords, err)
	}
	added, err := w.admin.AddTemplate(ctx, app, client.TemplateAdd{TID: titles[0].TID, KIDs: []int{keywords[0].KID, keywords[1].KID}, SceneDesc: "测试"}, client.Options{})
	if err != nil || len(added.Keywords) != 2 || added.Title != titles[0].Title || added.Kind != titles[0].Kind {
		t.Fatalf("got %+v %v", added, err)
	}

	if added, err = w.admin.SetAlias(ctx, app, added.TemplateID, "mine"); err != nil || added.Alias != "mine" {
		t.Fatalf("got %+v %v", added, err)
	}
	_, err = w.admin.SetAlias(ctx, app, w.template.TemplateID, "mine")
	wantCode(t, err, hongyan.CodeConflict)
	if list, err := w.admin.Templates(ctx, app); err != nil || len(list) != 2 {
		t.Errorf("got %d %v, want 2", len(list), err)
	}
	if err := w.admin.DeleteTemplate(ctx, app, "mine"); err != nil {
		t.Fatal(err)
	}
	if got, err := w.admin.Template(ctx, app, added.TemplateID); err != nil || got.GoneAt.IsZero() {
		t.Errorf("got %+v %v, want it gone", got, err)
	}
	_, err = w.admin.Template(ctx, app, "none")
	wantCode(t, err, hongyan.CodeTemplateNotFound)
}

// The library is asked once a day: WeChat's quota is tiny.
func TestLibraryIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		if _, err := w.admin.Categories(t.Context(), w.appID()); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.box.Stats().ByPath[categoryPath]; n != 1 {
		t.Errorf("got %d calls, want 1", n)
	}
}

// A template is not lost when its content cannot be learned.
func TestAddTemplateWhileTheListIsSpent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app := t.Context(), w.appID()
	titles, _, err := w.admin.Titles(ctx, app, []int{307}, 0, 30)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.box.SetRules(w.app.AppID, sandbox.Rules{Quotas: map[string]int{listPath: 0}}); err != nil {
		t.Fatal(err)
	}
	errcode := 45009
	if _, err := w.box.AddFault(sandbox.FaultSpec{Path: listPath, Errcode: &errcode}); err != nil {
		t.Fatal(err)
	}
	added, err := w.admin.AddTemplate(ctx, app, client.TemplateAdd{TID: titles[1].TID, KIDs: []int{1, 2}, SceneDesc: "x"}, client.Options{})
	if err != nil || added.TemplateID == "" || added.Title != titles[1].Title || added.Keywords == nil || len(added.Keywords) != 0 {
		t.Errorf("got %+v %v, want what is known", added, err)
	}
	_, err = w.admin.SyncTemplates(ctx, app)
	if e := wantCode(t, err, hongyan.CodeWeChatRefused); e.WeChat.Errcode != 45009 {
		t.Errorf("got %+v", e.WeChat)
	}
}

// A dead access token costs one report and one more call, and the caller nothing.
func TestTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.box.Tokens(sandbox.TokensSpec{AppID: w.app.AppID, Action: "expire"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.SyncTemplates(t.Context(), w.appID()); err != nil {
		t.Error(err)
	}
	if d := w.deaths(); len(d) != 1 || d[0].Errcode != 42001 || d[0].By != listPath || d[0].Rid == "" {
		t.Errorf("got %+v, want one of 42001 by this call", d)
	}
	errcode := 40001
	if _, err := w.box.AddFault(sandbox.FaultSpec{Path: listPath, Errcode: &errcode}); err != nil {
		t.Fatal(err)
	}
	// The stable endpoint hands out the same token again, as WeChat's would.
	_, err := w.admin.SyncTemplates(t.Context(), w.appID())
	wantCode(t, err, hongyan.CodeTokenRejected)
}

func TestWeChatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := 1
	if _, err := w.box.AddFault(sandbox.FaultSpec{Path: listPath, Drop: true, Count: &one}); err != nil {
		t.Fatal(err)
	}
	_, err := w.admin.SyncTemplates(t.Context(), w.appID())
	wantCode(t, err, hongyan.CodeWeChatUnclear)
	w.wx.Close()
	_, err = w.admin.SyncTemplates(t.Context(), w.appID())
	wantCode(t, err, hongyan.CodeWeChatUnreachable)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app := t.Context(), w.appID()
	v, err := w.admin.Validate(ctx, app, w.template.TemplateID, client.DataCheck{Data: w.template.Example})
	if err != nil || !v.Valid || len(v.Faults) != 0 || v.Fitted != nil {
		t.Fatalf("got %+v %v", v, err)
	}
	long := make(map[string]string)
	for k, val := range w.template.Example {
		long[k] = val
		if strings.HasPrefix(k, "thing") {
			long[k] = strings.Repeat("很", 30)
		}
	}
	if v, err = w.admin.Validate(ctx, app, w.template.TemplateID, client.DataCheck{Data: long}); err != nil || v.Valid || len(v.Faults) == 0 || v.Faults[0].Pointer == "" {
		t.Errorf("got %+v %v, want too long", v, err)
	}
	if v, err = w.admin.Validate(ctx, app, w.template.TemplateID, client.DataCheck{Data: long, Fit: hongyan.FitTruncate}); err != nil || !v.Valid || v.Fitted == nil {
		t.Errorf("got %+v %v, want it fitted", v, err)
	}
	_, err = w.admin.Validate(ctx, app, w.template.TemplateID, client.DataCheck{Data: long, Fit: "all"})
	wantCode(t, err, hongyan.CodeInvalid)
}
