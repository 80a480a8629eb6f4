package api

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// InApp are the parameters of everything that belongs to one app.
type InApp struct {
	App hongyan.AppID `path:"appid" doc:"The mini program's AppID, case-sensitive."`
}

type appCreate struct {
	AppID    string              `json:"appid" doc:"The mini program's AppID, case-sensitive."`
	Secret   string              `json:"secret,omitempty" doc:"Its AppSecret; sealed here and never shown. With token_mode external only logins need it, with none nothing does."`
	Name     string              `json:"name,omitempty" maxLength:"100" doc:"A name for people."`
	Settings hongyan.AppSettings `json:"settings,omitzero"`
	// TokenSecret goes with settings.token_url.
	TokenSecret string `json:"token_secret,omitempty" maxLength:"512" doc:"What the service at token_url wants to be shown, as Authorization: Bearer; sealed here and never shown."`
	SkipCheck   bool   `json:"skip_check,omitempty" doc:"Add it without trying AppSecret and token_url."`
}

func (s *server) createApp(ctx context.Context, _ *none, b *appCreate) (hongyan.App, error) {
	app := hongyan.App{AppID: hongyan.AppID(b.AppID), Name: b.Name, Settings: b.Settings}
	if err := b.check(); err != nil {
		return app, err
	}
	x := exchangeOf(ctx)
	if len(x.key.Apps) > 0 && !slices.Contains(x.key.Apps, app.AppID) {
		return app, hongyan.Errorf(hongyan.CodeForbidden, "This key is limited to other apps and cannot add %s.", app.AppID)
	}
	if _, err := s.l.App(app.AppID); err == nil {
		return app, hongyan.Errorf(hongyan.CodeConflict, "App %s is already here.", app.AppID)
	}
	if !b.SkipCheck {
		if err := s.trySecret(ctx, app, b.Secret); err != nil {
			return app, err
		}
		if app.Settings.TokenMode == hongyan.TokenExternal {
			if err := s.tryTokenURL(ctx, app, hongyan.NewTokenSecret(b.TokenSecret)); err != nil {
				return app, err
			}
		}
	}
	x.Header().Set("Location", "/v1/apps/"+b.AppID)
	return s.l.AddApp(ctx, app, ledger.AppSecrets{App: hongyan.NewAppSecret(b.Secret), Token: hongyan.NewTokenSecret(b.TokenSecret)}, x.idem)
}

func (s *server) replayApp(_ context.Context, _ *none, appid string) (hongyan.App, error) {
	return s.l.App(hongyan.AppID(appid))
}

func (b *appCreate) check() error {
	var f []hongyan.FieldError
	if !validAppID(b.AppID) {
		f = append(f, hongyan.FieldError{Pointer: "/appid", Code: "appid", Detail: "Give the mini program's AppID: 1 to 64 letters and digits, such as wx and 16 hex digits (mp.weixin.qq.com, 开发管理)."})
	}
	if b.Secret == "" && b.Settings.TokenMode != hongyan.TokenNone && b.Settings.TokenMode != hongyan.TokenExternal && !b.SkipCheck {
		f = append(f, hongyan.FieldError{Pointer: "/secret", Code: "missing", Detail: "Give the mini program's AppSecret, or settings.token_mode external with a token_url, or none inside WeChat cloud hosting."})
	}
	if len(b.Name) > 100 {
		f = append(f, longName)
	}
	f = append(f, tokenSecretFault(b.TokenSecret)...)
	return faults(append(f, settingsFaults(b.Settings)...))
}

var longName = hongyan.FieldError{Pointer: "/name", Code: "length", Detail: "A name is at most 100 bytes."}

func settingsFaults(s hongyan.AppSettings) []hongyan.FieldError {
	if e, ok := s.Check().(*hongyan.Error); ok {
		return e.Fields
	}
	return nil
}

// faults is a list of them as an error; nil for none.
func faults(f []hongyan.FieldError) error {
	if len(f) == 0 {
		return nil
	}
	return &hongyan.Error{Code: codeOfFaults(f), Message: f[0].Detail, Fields: f}
}

func validAppID(id string) bool {
	return len(id) > 0 && len(id) <= 64 && strings.IndexFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' && r != '-'
	}) < 0
}

// trySecret asks WeChat for an access token, as the app's token mode does, and keeps nothing
// of it. The stable endpoint disturbs nobody, so it serves for an app with external tokens
// too; the legacy one supersedes the token in use, which is how that mode works anyway.
func (s *server) trySecret(ctx context.Context, app hongyan.App, secret string) error {
	if app.Settings.TokenMode == hongyan.TokenNone || app.Settings.TokenMode == hongyan.TokenExternal && secret == "" {
		return nil
	}
	if s.WeChat == nil {
		return hongyan.Errorf(hongyan.CodeWeChatUnreachable, "This server is not connected to WeChat; skip_check adds the app without trying its AppSecret.")
	}
	var err error
	if app.Settings.TokenMode == hongyan.TokenLegacy {
		_, err = s.WeChat.GetAccessToken(ctx, string(app.AppID), secret)
	} else {
		_, err = s.WeChat.GetStableAccessToken(ctx, string(app.AppID), secret, false)
	}
	return wechatError(secretRefused(err))
}

// secretRefused keeps a wrong AppSecret apart from a stale access token: both are 40001.
func secretRefused(err error) error {
	if refused, ok := err.(*wechat.Error); ok && refused.Errcode == wechat.ErrcodeInvalidCredential {
		e := refusal(hongyan.CodeWeChatRefused, refused)
		e.Fields = []hongyan.FieldError{{Pointer: "/secret", Code: "secret", Detail: "WeChat does not take this AppSecret for this appid."}}
		return e
	}
	return err
}

func (s *server) listApps(ctx context.Context, _ *none) (list[hongyan.App], error) {
	key := exchangeOf(ctx).key
	apps := slices.DeleteFunc(s.l.Apps(), func(a hongyan.App) bool { return seesApp(key, a.AppID) != nil })
	return list[hongyan.App]{Items: apps}, nil
}

func (s *server) getApp(_ context.Context, in *InApp) (hongyan.App, error) { return s.l.App(in.App) }

type appUpdate struct {
	Name     *string     `json:"name,omitempty" maxLength:"100"`
	Settings rawSettings `json:"settings,omitempty"`
	Secret   *string     `json:"secret,omitempty" doc:"A new AppSecret; tried at WeChat before it replaces the old one."`
	// TokenSecret goes with settings.token_url.
	TokenSecret *string `json:"token_secret,omitempty" maxLength:"512" doc:"What the service at token_url wants to be shown, as Authorization: Bearer; empty takes it away."`
	// SkipCheck is for a server that cannot reach WeChat at the moment.
	SkipCheck bool `json:"skip_check,omitempty" doc:"Do not try AppSecret and token_url first."`
}

// rawSettings are settings of which only the keys that are there count.
type rawSettings string

// Schema is for the API's description.
func (rawSettings) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[hongyan.AppSettings](), true, "")
}

func (s *server) updateApp(ctx context.Context, in *InApp, b *appUpdate) (hongyan.App, error) {
	app, err := s.l.App(in.App)
	if err != nil {
		return app, err
	}
	was := app.Settings
	u := ledger.AppUpdate{Name: b.Name}
	if b.Name != nil && len(*b.Name) > 100 {
		return app, faults([]hongyan.FieldError{longName})
	}
	if b.Settings != "" {
		// Decoding over the current ones merges; lists are replaced, not grown. It is done here
		// for an early answer, and again on what the transaction finds.
		u.Merge = func(set *hongyan.AppSettings) error { return decodeInto(string(b.Settings), "/settings", set) }
		if err := errors.Join(u.Merge(&app.Settings), app.Settings.Check()); err != nil {
			return app, err
		}
	}
	if b.Secret != nil {
		if *b.Secret == "" {
			return app, hongyan.Invalid("/secret", "missing", "A secret cannot be taken away; pause the app, or set token_mode none.")
		}
		if !b.SkipCheck {
			if err := s.trySecret(ctx, app, *b.Secret); err != nil {
				return app, err
			}
		}
		secret := hongyan.NewAppSecret(*b.Secret)
		u.Secret = &secret
	}
	if u.TokenSecret, err = s.newTokenSecret(ctx, was, app, b); err != nil {
		return app, err
	}
	return s.l.UpdateApp(ctx, in.App, u)
}

// newTokenSecret is the secret to set, if any. What the app would ask from now on is tried.
func (s *server) newTokenSecret(ctx context.Context, was hongyan.AppSettings, app hongyan.App, b *appUpdate) (*hongyan.TokenSecret, error) {
	var next *hongyan.TokenSecret
	if b.TokenSecret != nil {
		if err := faults(tokenSecretFault(*b.TokenSecret)); err != nil {
			return nil, err
		}
		secret := hongyan.NewTokenSecret(*b.TokenSecret)
		next = &secret
	}
	set := app.Settings
	if set.TokenMode != hongyan.TokenExternal || next == nil && set.TokenURL == was.TokenURL && set.TokenMode == was.TokenMode {
		return next, nil
	}
	// A secret is for the service it was given for: another one does not get to see it.
	shown := hongyan.TokenSecret{}
	switch {
	case next != nil:
		shown = *next
	case app.HasTokenSecret && !sameHost(set.TokenURL, was.TokenURL):
		return nil, hongyan.Invalid("/token_secret", "missing", "The token_secret was given for another host. Give the one of this host, or an empty one.")
	default:
		var err error
		if shown, err = s.l.TokenSecret(ctx, app.AppID); err != nil {
			return nil, err
		}
	}
	if b.SkipCheck {
		return next, nil
	}
	return next, s.tryTokenURL(ctx, app, shown)
}

func sameHost(a, b string) bool {
	x, err := url.Parse(a)
	y, err2 := url.Parse(b)
	return err == nil && err2 == nil && x.Scheme == y.Scheme && x.Host == y.Host
}

type appPause struct {
	Scope hongyan.PauseScope `json:"scope" enum:"app,template,path" doc:"What is held back."`
	Key   string             `json:"key,omitempty" doc:"The template (template_id or alias) or the API path; none for scope app."`
	// Detail is for the people who find the pause later.
	Detail string `json:"detail,omitempty" maxLength:"500" doc:"Why, in your words."`
}

func (s *server) pauseApp(ctx context.Context, in *InApp, b *appPause) (hongyan.App, error) {
	key, err := s.pauseKey(in.App, b.Scope, b.Key)
	if err != nil {
		return hongyan.App{}, err
	}
	if len(b.Detail) > 500 {
		return hongyan.App{}, hongyan.Invalid("/detail", "length", "A detail is at most 500 bytes.")
	}
	if err := s.l.Pause(ctx, in.App, hongyan.Pause{Scope: b.Scope, Key: key, Reason: hongyan.PauseManual, Detail: b.Detail}); err != nil {
		return hongyan.App{}, err
	}
	return s.l.App(in.App)
}

type appResume struct {
	Scope hongyan.PauseScope `json:"scope" enum:"app,template,path"`
	Key   string             `json:"key,omitempty" doc:"The template (template_id or alias) or the API path; none for scope app."`
}

func (s *server) resumeApp(ctx context.Context, in *InApp, b *appResume) (hongyan.App, error) {
	key, err := s.pauseKey(in.App, b.Scope, b.Key)
	if err != nil {
		return hongyan.App{}, err
	}
	if err := s.l.Resume(ctx, in.App, b.Scope, key, ledger.ResumeByPerson); err != nil {
		return hongyan.App{}, err
	}
	return s.l.App(in.App)
}

// pauseKey is the key of a pause as the ledger has it: a template by its id.
func (s *server) pauseKey(app hongyan.AppID, scope hongyan.PauseScope, key string) (string, error) {
	switch scope {
	case hongyan.PauseApp:
		if key != "" {
			return "", hongyan.Invalid("/key", "unexpected", "A pause of the app itself has no key; leave it out or choose scope template or path.")
		}
		return "", nil
	case hongyan.PauseTemplate:
		if key == "" {
			return "", hongyan.Invalid("/key", "missing", "Name the template by its template_id or alias.")
		}
		t, err := s.l.Template(app, key)
		return t.TemplateID, at(err, "/key")
	case hongyan.PausePath:
		if !strings.HasPrefix(key, "/") || len(key) > 200 {
			return "", hongyan.Invalid("/key", "path", "Name the API path, such as %s.", hongyan.SendPath)
		}
		return key, nil
	}
	return "", hongyan.Invalid("/scope", "not_in_list", "%q is no scope of a pause; use one of: app, template, path.", clip(string(scope)))
}

// at moves the faults of an error to the field of this request that they are about.
func at(err error, pointer string) error {
	e, ok := err.(*hongyan.Error)
	if !ok {
		return err
	}
	moved := *e
	moved.Fields = slices.Clone(e.Fields)
	for i := range moved.Fields {
		moved.Fields[i].Pointer = pointer
	}
	if len(moved.Fields) == 0 {
		moved.Fields = []hongyan.FieldError{{Pointer: pointer, Code: string(e.Code), Detail: fmt.Sprint(e.Message)}}
	}
	return &moved
}
