package sandbox

import (
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/hongyan-push/hongyan/wechat"
)

// Limits of templates.
const (
	maxTemplates = 25
	minKIDs      = 2
	maxKIDs      = 5
	maxSceneDesc = 15
	maxTitles    = 30 // per page
)

// template is a private template. It does not change.
type template struct {
	id     string
	title  *title
	kids   []int
	fields []*field
}

// field is one line of a template.
type field struct {
	*keyword
	key string
}

func newTemplate(t *title, kids []int) *template {
	p := &template{id: newTemplateID(), title: t, kids: kids}
	for _, kid := range kids {
		k := t.keyword(kid)
		p.fields = append(p.fields, &field{keyword: k, key: k.key()})
	}
	return p
}

// wire is the template as gettemplate lists it.
func (p *template) wire() wechat.Template {
	v := wechat.Template{PriTmplID: p.id, Title: p.title.Title, Type: p.title.Type}
	for _, f := range p.fields {
		v.Content += f.Name + ":{{" + f.key + ".DATA}}\n"
		v.Example += f.Name + ":" + f.Example + "\n"
		if f.Rule == ruleEnum {
			v.KeywordEnumValueList = append(v.KeywordEnumValueList,
				wechat.KeywordEnum{KeywordCode: f.key + ".DATA", EnumValueList: f.Enum})
		}
	}
	return v
}

// template finds a private template. The caller holds a.mu.
func (a *app) template(id string) *template {
	for _, p := range a.templates {
		if p.id == id {
			return p
		}
	}
	return nil
}

// same finds the app's template of a title with the same keywords, in any order.
func (a *app) same(t *title, kids []int) *template {
	want := slices.Sorted(slices.Values(kids))
	for _, p := range a.templates {
		if p.title == t && slices.Equal(slices.Sorted(slices.Values(p.kids)), want) {
			return p
		}
	}
	return nil
}

// listAnswer is the shape of all reading template endpoints.
type listAnswer struct {
	status
	Count *int `json:"count,omitempty"`
	Data  any  `json:"data"`
}

// list answers with a list in data. Only some endpoints have a count.
func (c *call) list(data any, count *int) answer {
	return c.ok(listAnswer{status: status{Errmsg: "ok"}, Count: count, Data: data})
}

// getCategory is GET /wxaapi/newtmpl/getcategory.
func (c *call) getCategory() answer { return c.list(theLibrary().Categories, nil) }

// getPubTitles is GET /wxaapi/newtmpl/getpubtemplatetitles.
func (c *call) getPubTitles() answer {
	ids := c.query.Get("ids")
	if ids == "" {
		return c.refuse(errcodeMissingIDs)
	}
	want := make(map[int]bool)
	for s := range strings.SplitSeq(ids, ",") {
		id, err := strconv.Atoi(s)
		known := slices.ContainsFunc(theLibrary().Categories, func(c wechat.Category) bool { return c.ID == id })
		if err != nil || !known { // quotes around the list end here, too
			return c.refuse(errcodeInvalidIDs)
		}
		want[id] = true
	}
	start, err := strconv.Atoi(c.query.Get("start"))
	if err != nil || start < 0 {
		return c.refuse(errcodeInvalidStart)
	}
	limit, err := strconv.Atoi(c.query.Get("limit"))
	if err != nil || limit < 1 || limit > maxTitles {
		return c.refuse(errcodeInvalidLimit)
	}
	found := []wechat.PubTemplateTitle{}
	for _, t := range theLibrary().Titles {
		if want[t.Category] {
			found = append(found, wechat.PubTemplateTitle{TID: t.TID, Title: t.Title, Type: t.Type,
				CategoryID: wechat.FlexString(strconv.Itoa(t.Category))})
		}
	}
	count := len(found) // of all pages
	found = found[min(start, count):]
	return c.list(found[:min(limit, len(found))], &count)
}

// getPubKeywords is GET /wxaapi/newtmpl/getpubtemplatekeywords.
func (c *call) getPubKeywords() answer {
	t := theLibrary().byTID[c.query.Get("tid")]
	if t == nil {
		return c.refuse(errcodeInvalidTID)
	}
	list := make([]wechat.PubTemplateKeyword, 0, len(t.Keywords))
	for _, k := range t.Keywords {
		list = append(list, wechat.PubTemplateKeyword{KID: k.KID, Name: k.Name, Example: k.Example, Rule: k.Rule})
	}
	count := len(list)
	return c.list(list, &count)
}

// getTemplates is GET /wxaapi/newtmpl/gettemplate.
func (c *call) getTemplates() answer {
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	list := make([]wechat.Template, 0, len(c.app.templates))
	for _, p := range c.app.templates {
		list = append(list, p.wire())
	}
	return c.list(list, nil)
}

// addTemplateAnswer has errmsg first, as was seen.
type addTemplateAnswer struct {
	Errmsg    string `json:"errmsg"`
	PriTmplID string `json:"priTmplId"`
	Errcode   int    `json:"errcode"`
	Rid       string `json:"rid,omitempty"`
}

// addTemplate is POST /wxaapi/newtmpl/addtemplate.
func (c *call) addTemplate() answer {
	tid, kids, sceneDesc, ok := c.parseAddTemplate()
	if !ok {
		return c.refuse(wechat.ErrcodeDataFormat)
	}
	t := theLibrary().byTID[tid]
	sceneLength := len(utf16.Encode([]rune(sceneDesc)))
	switch {
	case t == nil:
		return c.refuse(errcodeInvalidTID)
	case !validKIDs(t, kids):
		return c.refuse(errcodeInvalidKIDs)
	case sceneLength == 0 || sceneLength > maxSceneDesc:
		return c.refuse(errcodeInvalidSceneDesc)
	}
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	// A repeat is told before the limit: the app has the template, full or not.
	if p := c.app.same(t, kids); p != nil {
		v := addTemplateAnswer{Errmsg: errmsgOf(wechat.ErrcodeTemplateExists) + c.rid(),
			PriTmplID: p.id, Errcode: wechat.ErrcodeTemplateExists, Rid: c.ridOut}
		a := c.ok(v)
		a.errcode = v.Errcode
		return a
	}
	if len(c.app.templates) >= maxTemplates {
		return c.refuse(wechat.ErrcodeTemplateCount)
	}
	p := newTemplate(t, kids)
	c.app.templates = append(c.app.templates, p)
	return c.ok(addTemplateAnswer{Errmsg: "ok", PriTmplID: p.id})
}

// parseAddTemplate reads JSON, as the current page shows, or a form, as the page
// of 2019 said and several SDKs still post.
func (c *call) parseAddTemplate() (tid string, kids []int, sceneDesc string, ok bool) {
	mediaType, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind(c.body) != '{' && mediaType == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(c.body))
		if err != nil {
			return "", nil, "", false
		}
		for _, v := range form["kidList"] {
			kid, err := strconv.Atoi(v)
			if err != nil {
				return "", nil, "", false
			}
			kids = append(kids, kid)
		}
		return form.Get("tid"), kids, form.Get("sceneDesc"), true
	}
	o, ok := parseObject(c.body)
	ok = ok && o.text("tid", &tid) && o.integers("kidList", &kids) && o.text("sceneDesc", &sceneDesc)
	return tid, kids, sceneDesc, ok
}

// validKIDs wants 2 to 5 different keywords of the title.
func validKIDs(t *title, kids []int) bool {
	if len(kids) < minKIDs || len(kids) > maxKIDs {
		return false
	}
	for i, kid := range kids {
		if t.keyword(kid) == nil || slices.Contains(kids[:i], kid) {
			return false
		}
	}
	return true
}

// deleteTemplate is POST /wxaapi/newtmpl/deltemplate. Grants of the template are
// gone with it.
func (c *call) deleteTemplate() answer {
	var id string
	o, ok := parseObject(c.body)
	if !ok || !o.text("priTmplId", &id) {
		return c.refuse(wechat.ErrcodeDataFormat)
	}
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	if c.app.template(id) == nil {
		return c.refuse(errcodeInvalidTID)
	}
	c.app.templates = slices.DeleteFunc(c.app.templates, func(p *template) bool { return p.id == id })
	return c.ok(struct {
		Errmsg  string `json:"errmsg"`
		Errcode int    `json:"errcode"`
	}{Errmsg: "ok"})
}

// TemplateSpec describes a private template to add.
type TemplateSpec struct {
	AppID string `json:"appid"`
	// TID is a title of the library. Without it the next title that the app does
	// not have yet is taken. JSON takes it as a string or a number.
	TID wechat.FlexString `json:"tid"`
	// KIDs are 2 to 5 keywords of the title, in display order. Without them up
	// to five of different types are taken.
	KIDs []int `json:"kids"`
	// Type is [wechat.TemplateOneTime] (default without TID) or
	// [wechat.TemplateLongTerm]. With TID it must be the title's.
	Type int `json:"type"`
}

// NewTemplate is a private template, and data that passes.
type NewTemplate struct {
	TemplateID string            `json:"template_id"`
	TID        string            `json:"tid"`
	Title      string            `json:"title"`
	Type       int               `json:"type"`
	Content    string            `json:"content"`
	Example    map[string]string `json:"example"`
}

// AddTemplate gives an app a private template without a call to WeChat. If the
// app has the same already, that one is returned.
func (s *Sandbox) AddTemplate(spec TemplateSpec) (NewTemplate, error) {
	_, a, err := s.find(spec.AppID)
	if err != nil {
		return NewTemplate{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t, err := a.chooseTitle(spec)
	if err != nil {
		return NewTemplate{}, err
	}
	kids := slices.Clone(spec.KIDs)
	if len(kids) == 0 {
		kids = t.sampleKIDs()
	}
	if !validKIDs(t, kids) {
		return NewTemplate{}, badRequest(fmt.Sprintf("kids must be 2 to 5 different keywords of %s (%d).", t.Title, t.TID))
	}
	p := a.same(t, kids)
	if p == nil {
		if len(a.templates) >= maxTemplates {
			return NewTemplate{}, &Problem{Status: 409, Code: "template_limit", Detail: fmt.Sprintf("App %s has %d templates, as many as WeChat allows.", a.id, maxTemplates)}
		}
		p = newTemplate(t, kids)
		a.templates = append(a.templates, p)
	}
	v := NewTemplate{TemplateID: p.id, TID: strconv.Itoa(t.TID), Title: t.Title, Type: t.Type,
		Content: p.wire().Content, Example: make(map[string]string)}
	for _, f := range p.fields {
		v.Example[f.key] = f.Example
	}
	return v, nil
}

// chooseTitle finds the title that a control call means. The caller holds a.mu.
func (a *app) chooseTitle(spec TemplateSpec) (*title, error) {
	if spec.Type != 0 && spec.Type != wechat.TemplateOneTime && spec.Type != wechat.TemplateLongTerm {
		return nil, badRequest("type must be 2 (one-time) or 3 (long-term).")
	}
	if spec.TID != "" {
		t := theLibrary().byTID[string(spec.TID)]
		if t == nil {
			return nil, &Problem{Status: 404, Code: "unknown_tid", Detail: fmt.Sprintf("The library has no title %q.", spec.TID)}
		}
		if spec.Type != 0 && spec.Type != t.Type {
			return nil, badRequest(fmt.Sprintf("%s (%d) is of type %d.", t.Title, t.TID, t.Type))
		}
		return t, nil
	}
	if len(spec.KIDs) > 0 {
		return nil, badRequest("kids need a tid.")
	}
	kind := spec.Type
	if kind == 0 {
		kind = wechat.TemplateOneTime
	}
	for _, t := range theLibrary().Titles {
		// Another template of the same title would be filtered out of a tap.
		taken := slices.ContainsFunc(a.templates, func(p *template) bool { return p.title == t })
		if t.Type == kind && !taken && len(t.sampleKIDs()) == maxKIDs {
			return t, nil
		}
	}
	return nil, &Problem{Status: 409, Code: "template_limit", Detail: "The app has a template of every title of this type; name a tid and kids."}
}
