package api

import (
	"cmp"
	"context"
	"slices"
	"unicode/utf8"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// inTemplate names one template of an app.
type inTemplate struct {
	InApp
	Ref string `path:"ref" doc:"template_id or alias"`
}

func (s *server) syncTemplates(ctx context.Context, in *InApp) (list[hongyan.Template], error) {
	found, err := s.templatesAtWeChat(ctx, in.App)
	if err != nil {
		return list[hongyan.Template]{}, err
	}
	if err := s.l.SaveTemplates(ctx, in.App, found); err != nil {
		return list[hongyan.Template]{}, err
	}
	return s.listTemplates(ctx, in)
}

func (s *server) templatesAtWeChat(ctx context.Context, app hongyan.AppID) ([]ledger.SyncedTemplate, error) {
	var out []ledger.SyncedTemplate
	err := s.withToken(ctx, app, func(token string) error {
		found, err := s.WeChat.GetTemplateList(ctx, token)
		for _, t := range found {
			out = append(out, ledger.SyncedTemplate{TemplateID: t.PriTmplID, Title: t.Title, Content: t.Content, Example: t.Example, Kind: hongyan.TemplateKindOf(t.Type), Enums: t.Enums()})
		}
		return err
	})
	return out, err
}

func (s *server) listTemplates(_ context.Context, in *InApp) (list[hongyan.Template], error) {
	items, err := s.l.Templates(in.App)
	for i := range items {
		items[i], _ = listed(items[i], nil)
	}
	return list[hongyan.Template]{Items: items}, err
}

// listed makes keywords that are not known an empty list, not null.
func listed(t hongyan.Template, err error) (hongyan.Template, error) {
	if t.Keywords == nil {
		t.Keywords = []hongyan.Keyword{}
	}
	return t, err
}

func (s *server) getTemplate(_ context.Context, in *inTemplate) (hongyan.Template, error) {
	return listed(s.l.Template(in.App, in.Ref))
}

type templateAdd struct {
	TID       templateID `json:"tid" doc:"The title's id in the library."`
	KIDs      []int      `json:"kids" doc:"2 to 5 keyword ids in display order."`
	SceneDesc string     `json:"scene_desc,omitempty" maxLength:"15" doc:"What it is for, at most 15 characters; reviewers and users see it."`
}

func (b *templateAdd) check() error {
	var f []hongyan.FieldError
	if b.TID == "" {
		f = append(f, hongyan.FieldError{Pointer: "/tid", Code: "missing", Detail: "Give the title's tid, as GET …/library/titles lists it."})
	}
	if len(b.KIDs) > 5 {
		f = append(f, hongyan.FieldError{Pointer: "/kids", Code: "length", Detail: "A template has at most 5 keywords; give their kids in display order."})
	}
	if utf8.RuneCountInString(b.SceneDesc) > 15 {
		f = append(f, hongyan.FieldError{Pointer: "/scene_desc", Code: "length", Detail: "scene_desc is at most 15 characters."})
	}
	return faults(f)
}

func (s *server) addTemplate(ctx context.Context, in *InApp, b *templateAdd) (hongyan.Template, error) {
	if err := b.check(); err != nil {
		return hongyan.Template{}, err
	}
	var id string
	err := s.withToken(ctx, in.App, func(token string) (err error) {
		id, err = s.WeChat.AddTemplate(ctx, token, string(b.TID), b.KIDs, b.SceneDesc)
		return err
	})
	if err != nil {
		return hongyan.Template{}, err
	}
	x := exchangeOf(ctx)
	if err := s.l.SaveTemplate(ctx, in.App, s.addedTemplate(ctx, in.App, id, string(b.TID)), x.idem); err != nil {
		return hongyan.Template{}, err
	}
	x.Header().Set("Location", "/v1/apps/"+string(in.App)+"/templates/"+id)
	return listed(s.l.Template(in.App, id))
}

func (s *server) replayTemplate(_ context.Context, in *InApp, id string) (hongyan.Template, error) {
	return listed(s.l.Template(in.App, id))
}

// addedTemplate is what can be learned of a template that was just added. WeChat has added
// it, so a list that cannot be had (its quota is tiny) must not lose it: the next sync fills it in.
func (s *server) addedTemplate(ctx context.Context, app hongyan.AppID, id, tid string) ledger.SyncedTemplate {
	found, err := s.templatesAtWeChat(ctx, app)
	if err != nil {
		s.log.WarnContext(ctx, "template added but not listed", "appid", string(app), "template_id", id, "err", err)
	}
	if i := slices.IndexFunc(found, func(t ledger.SyncedTemplate) bool { return t.TemplateID == id }); i >= 0 {
		return found[i]
	}
	if t, err := s.l.Template(app, id); err == nil {
		return ledger.SyncedTemplate{TemplateID: id, Title: t.Title, Content: t.Content, Example: t.Example, Kind: t.Kind, Enums: enums(t)}
	}
	known := ledger.SyncedTemplate{TemplateID: id, Kind: hongyan.KindUnknown}
	if t, ok := s.library.title(app, tid); ok {
		known.Title, known.Kind = t.Title, hongyan.TemplateKindOf(t.Type)
	}
	return known
}

func enums(t hongyan.Template) map[string][]string {
	m := make(map[string][]string)
	for _, k := range t.Keywords {
		if len(k.Enum) > 0 {
			m[k.Key] = k.Enum
		}
	}
	return m
}

func (s *server) deleteTemplate(ctx context.Context, in *inTemplate) error {
	t, err := s.l.Template(in.App, in.Ref)
	if err != nil {
		return err
	}
	err = s.withToken(ctx, in.App, func(token string) error { return s.WeChat.DeleteTemplate(ctx, token, t.TemplateID) })
	if err != nil {
		return err
	}
	return s.l.MarkTemplate(ctx, in.App, t.TemplateID, true)
}

func (s *server) reachTemplate(ctx context.Context, in *inTemplate) (hongyan.Reach, error) {
	return s.l.Reach(ctx, in.App, in.Ref)
}

type templateAlias struct {
	Alias string `json:"alias" maxLength:"64" doc:"A name of your own, unique in the app; empty takes it away."`
}

func (s *server) setAlias(ctx context.Context, in *inTemplate, b *templateAlias) (hongyan.Template, error) {
	return listed(s.l.SetAlias(ctx, in.App, in.Ref, b.Alias))
}

type dataCheck struct {
	Data       map[string]string  `json:"data"`
	Fit        hongyan.Fit        `json:"fit,omitempty" enum:"none,repair,truncate" doc:"Show what the server would make of the data."`
	Validation hongyan.Validation `json:"validation,omitempty" enum:"normal,strict"`
	OpenID     hongyan.OpenID     `json:"openid,omitempty" maxLength:"64" doc:"Tell, too, what this user's grants would allow."`
	OnNoGrant  hongyan.OnNoGrant  `json:"on_no_grant,omitempty" enum:"fail,send,hold" doc:"With openid: what the message would ask for. Default fail."`
}

type dataVerdict struct {
	Valid  bool                `json:"valid" doc:"Whether a message with this data would be taken."`
	Faults []hongyan.DataFault `json:"faults"`
	Fitted map[string]string   `json:"fitted,omitempty" doc:"The data as fit changed it."`
	Title  string              `json:"title" doc:"The card's title."`
	Lines  []hongyan.CardLine  `json:"lines" doc:"The card's lines in their order, with the data as it would be sent."`
	Grant  *hongyan.GrantBadge `json:"grant,omitempty" doc:"Where openid was given."`
}

func (s *server) validateData(ctx context.Context, in *inTemplate, b *dataCheck) (dataVerdict, error) {
	t, err := s.l.Template(in.App, in.Ref)
	if err != nil {
		return dataVerdict{}, err
	}
	sub := hongyan.Submission{App: in.App, To: hongyan.Recipient{OpenID: hongyan.OpenID(cmp.Or(string(b.OpenID), "o"))}, Template: in.Ref, Data: b.Data, Fit: b.Fit, Validation: b.Validation, OnNoGrant: b.OnNoGrant}
	if err := faults(sub.Check(s.Now())); err != nil {
		return dataVerdict{}, err
	}
	data, changed := hongyan.FitData(&t, b.Data, b.Fit)
	v := dataVerdict{Faults: localized(exchangeOf(ctx), hongyan.ValidateData(&t, data))}
	v.Valid = !b.Validation.Refuses(v.Faults)
	if len(changed) > 0 {
		v.Fitted = data
	}
	v.Title, v.Lines = t.Title, hongyan.CardLines(&t, data)
	if b.OpenID == "" {
		return v, nil
	}
	standing, err := s.l.Subscription(ctx, in.App, b.OpenID, t.TemplateID)
	if err != nil {
		return dataVerdict{}, err
	}
	v.Grant = hongyan.BadgeOf(standing.Counters, b.OnNoGrant)
	return v, nil
}

// localized tells the faults in the language asked for. It never returns nil.
func localized(x *exchange, f []hongyan.DataFault) []hongyan.DataFault {
	out := append([]hongyan.DataFault{}, f...)
	if len(out) > 0 && languageOf(x.r) == "zh" {
		for i := range out {
			if out[i].DetailZH != "" {
				out[i].Detail = out[i].DetailZH
			}
		}
	}
	return out
}
