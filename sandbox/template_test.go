package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hongyan-push/hongyan/wechat"
)

// golden reads an official sample.
func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// decoded is JSON without its formatting.
func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m
}

func (e *env) template(method, name, token, query string, body any) reply {
	e.t.Helper()
	return e.must(method, pathTemplates+name+"?access_token="+token+query, body)
}

// The samples on WeChat's pages come out of the sandbox as they stand, but for
// ids and counts.
func TestOfficialTemplateSamples(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.Reset()
	e.app = must(e.CreateApp(AppSpec{}))
	token := e.token()

	must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID, TID: "401", KIDs: []int{2, 1}}))
	must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID, TID: "10207", KIDs: []int{1, 2, 3}}))
	ids := regexp.MustCompile(`"priTmplId":"[A-Za-z0-9_-]{43}"`)
	const noID = `"priTmplId":"x"`
	got := e.want(0, e.template("GET", "gettemplate", token, "", nil))
	want := ids.ReplaceAllString(golden(t, "gettemplate_answer.json"), noID)
	if diff := cmp.Diff(decoded(t, want), decoded(t, ids.ReplaceAllString(string(got.raw), noID))); diff != "" {
		t.Errorf("gettemplate (-want +got):\n%s", diff)
	}

	titles := decoded(t, string(e.template("GET", "getpubtemplatetitles", token, "&ids=2,616&start=0&limit=1", nil).raw))
	sample := decoded(t, golden(t, "getpubtemplatetitles_answer.json"))
	sample["count"] = titles["count"]
	if diff := cmp.Diff(sample, titles); diff != "" {
		t.Errorf("getpubtemplatetitles (-want +got):\n%s", diff)
	}

	keywords := decoded(t, string(e.template("GET", "getpubtemplatekeywords", token, "&tid=99", nil).raw))
	first := keywords["data"].([]any)[0]
	if diff := cmp.Diff(decoded(t, golden(t, "getpubtemplatekeywords_answer.json"))["data"].([]any)[0], first); diff != "" {
		t.Errorf("getpubtemplatekeywords (-want +got):\n%s", diff)
	}

	categories := decoded(t, string(e.template("GET", "getcategory", token, "", nil).raw))
	if diff := cmp.Diff(decoded(t, golden(t, "getcategory_answer.json"))["data"].([]any)[0], categories["data"].([]any)[0]); diff != "" {
		t.Errorf("getcategory (-want +got):\n%s", diff)
	}
}

func TestAddTemplate(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	r := e.want(0, e.template("POST", "addtemplate", token, "", golden(t, "addtemplate_request.json")))
	id, _ := r.fields(t)["priTmplId"].(string)
	if len(id) != 43 || !strings.HasPrefix(string(r.raw), `{"errmsg":"ok","priTmplId":"`) {
		t.Errorf("answer %s", r.raw)
	}
	for _, body := range []string{`{"tid":"401","kidList":[1,2],"sceneDesc":"又一次"}`, `{"tid":"401","kidList":[2,1],"sceneDesc":"换了顺序"}`} {
		r = e.want(200022, e.template("POST", "addtemplate", token, "", body))
		m := r.fields(t)
		rid, _ := m["rid"].(string)
		if m["priTmplId"] != id || r.Errmsg != "template has added already rid: "+rid {
			t.Errorf("repeat: %s", r.raw)
		}
		checkRid(t, rid, start)
	}
	for body, code := range map[string]int{
		`{"tid":401,"kidList":[1,2],"sceneDesc":"a"}`:       47001,
		`{"tid":"401","kidList":["1","2"],"sceneDesc":"a"}`: 47001,
		`tid=401`: 47001,
		`{"tid":"","kidList":[1,2],"sceneDesc":"a"}`:                   200014,
		`{"tid":"987654","kidList":[1,2],"sceneDesc":"a"}`:             200014,
		`{"tid":"401","kidList":[1],"sceneDesc":"a"}`:                  200020,
		`{"tid":"401","kidList":[1,77],"sceneDesc":"a"}`:               200020,
		`{"tid":"401","kidList":[1,1],"sceneDesc":"a"}`:                200020,
		`{"tid":"2001","kidList":[1,2,3,4,6,9],"sceneDesc":"a"}`:       200020,
		`{"tid":"401","kidList":[1,3],"sceneDesc":""}`:                 200021,
		`{"tid":"401","kidList":[1,3],"sceneDesc":"一二三四五六七八九十一二三四五六"}`: 200021,
		`{"tid":"401","kidList":[1,3],"sceneDesc":"一二三四五六七八九十一二三四五"}`:  0,
	} {
		if got := e.template("POST", "addtemplate", token, "", body); got.Errcode != code {
			t.Errorf("%s: %s, want %d", body, got.raw, code)
		}
	}
	e.want(404, e.template("GET", "addtemplate", token, "", nil))
	e.want(404, e.template("POST", "gettemplate", token, "", "{}"))
}

func TestAddTemplateForm(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	req := must(http.NewRequest("POST", e.url+pathTemplates+"addtemplate?access_token="+e.token(),
		strings.NewReader("tid=401&kidList=4&kidList=2&sceneDesc=%E6%B5%8B%E8%AF%95")))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	e.want(0, must(e.perform(req)))
	a := e.world.Load().app(e.app.AppID)
	if got := a.templates[1].wire().Content; got != "报名人:{{name4.DATA}}\n会议时间:{{date2.DATA}}\n" {
		t.Errorf("content %q", got)
	}
}

func TestTemplateLimit(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	for len(e.world.Load().app(e.app.AppID).templates) < maxTemplates {
		must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID}))
	}
	e.want(200012, e.template("POST", "addtemplate", token, "", golden(t, "addtemplate_request.json")))
	if _, err := e.AddTemplate(TemplateSpec{AppID: e.app.AppID}); err == nil {
		t.Error("the control call passed the limit")
	}
}

func TestDeleteTemplate(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(1)
	token := e.token()
	body := map[string]string{"priTmplId": e.tmpl.TemplateID}
	e.want(0, e.template("POST", "deltemplate", token, "", body))
	e.want(200014, e.template("POST", "deltemplate", token, "", body))
	e.want(47001, e.template("POST", "deltemplate", token, "", `{"priTmplId":5}`))
	e.want(40037, e.send(token, e.message()))
}

func TestBrowseLibrary(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	for query, code := range map[string]int{
		"&start=0&limit=30":                    200018,
		"&ids=%22616%22&start=0&limit=30":      200019,
		"&ids=616,99999999&start=0&limit=30":   200019,
		"&ids=616&limit=30":                    200016,
		"&ids=616&start=-1&limit=30":           200016,
		"&ids=616&start=0":                     200017,
		"&ids=616&start=0&limit=31":            200017,
		"&ids=616&start=1000&limit=30":         0,
		"&ids=616,307,612,147&start=0&limit=2": 0,
	} {
		if r := e.template("GET", "getpubtemplatetitles", token, query, nil); r.Errcode != code {
			t.Errorf("%s: %s, want %d", query, r.raw, code)
		}
	}
	e.want(200014, e.template("GET", "getpubtemplatekeywords", token, "&tid=5", nil))
	e.want(200014, e.template("GET", "getpubtemplatekeywords", token, "", nil))
}

// The library is what the brief promises, and its examples pass.
func TestLibrary(t *testing.T) {
	t.Parallel()
	l := theLibrary()
	if len(l.Titles) < 30 || len(l.Categories) < 8 {
		t.Fatalf("%d titles, %d categories", len(l.Titles), len(l.Categories))
	}
	rules, used, types := map[string]bool{}, map[int]bool{}, map[int]int{}
	tids, names := map[int]bool{}, map[string]bool{}
	for _, title := range l.Titles {
		if tids[title.TID] || names[title.Title] {
			t.Errorf("%d %s is there twice", title.TID, title.Title)
		}
		tids[title.TID], names[title.Title], used[title.Category] = true, true, true
		types[title.Type]++
		kids := map[int]bool{}
		for _, k := range title.Keywords {
			if kids[k.KID] {
				t.Errorf("%s has kid %d twice", title.Title, k.KID)
			}
			kids[k.KID], rules[k.Rule] = true, true
			if !validValue(k.Rule, k.Example, k.Enum) {
				t.Errorf("%s, %s: example %q breaks the rule %s", title.Title, k.Name, k.Example, k.Rule)
			}
			if (k.Rule == ruleEnum) != (len(k.Enum) > 0) {
				t.Errorf("%s, %s: rule %s with members %v", title.Title, k.Name, k.Rule, k.Enum)
			}
		}
		if kids := title.sampleKIDs(); !validKIDs(title, kids) {
			t.Errorf("%s has no sample", title.Title)
		}
	}
	if len(rules) != 13 || len(used) < 8 || types[wechat.TemplateLongTerm] < 3 {
		t.Errorf("rules %v, %d categories used, types %v", rules, len(used), types)
	}
}

// Each title's sample template takes its own example, by the wire.
func TestExamplesPass(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	for _, title := range theLibrary().Titles {
		app := must(e.CreateApp(AppSpec{}))
		must(e.AddUsers(UsersSpec{AppID: app.AppID, OpenID: e.openID}))
		e.app, e.tmpl = app, must(e.AddTemplate(TemplateSpec{AppID: app.AppID, TID: wechat.FlexString(fmt.Sprint(title.TID))}))
		e.tap(1)
		if r := e.send(e.token(), e.message()); r.Errcode != 0 {
			t.Errorf("%s: %s", title.Title, r.raw)
		}
	}
}

func TestSampleTemplates(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	if len(e.tmpl.Example) != 5 || e.tmpl.Type != wechat.TemplateOneTime {
		t.Errorf("sample = %+v", e.tmpl)
	}
	second := must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID}))
	if second.Title == e.tmpl.Title { // they would filter each other in a tap
		t.Errorf("two samples have the title %s", second.Title)
	}
	long := must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID, Type: wechat.TemplateLongTerm}))
	if long.Type != wechat.TemplateLongTerm || len(long.Example) != 5 {
		t.Errorf("long-term sample = %+v", long)
	}
	again := must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID, TID: wechat.FlexString(long.TID)}))
	if again.TemplateID != long.TemplateID {
		t.Error("the same template got a second id")
	}
	for _, spec := range []TemplateSpec{
		{TID: "5"}, {TID: "401", KIDs: []int{1, 99}}, {TID: "401", Type: 3}, {KIDs: []int{1, 2}}, {Type: 4},
	} {
		spec.AppID = e.app.AppID
		if _, err := e.AddTemplate(spec); err == nil {
			t.Errorf("%+v was taken", spec)
		}
	}
}
