package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/hongyan-push/hongyan"
)

type keyCreate struct {
	Name   string          `json:"name" minLength:"1" maxLength:"100" doc:"What uses it."`
	Scopes []hongyan.Scope `json:"scopes" enum:"send,read,manage,token,gateway,gateway_templates,gateway_quota,gateway_relay,sandbox"`
	Apps   []hongyan.AppID `json:"apps,omitempty" doc:"Limit the key to these apps; empty means all."`
}

func (s *server) createKey(ctx context.Context, _ *none, b *keyCreate) (hongyan.APIKey, error) {
	x := exchangeOf(ctx)
	if err := b.within(x.key); err != nil {
		return hongyan.APIKey{}, err
	}
	k, err := s.l.CreateKey(ctx, hongyan.APIKey{Name: b.Name, Scopes: b.Scopes, Apps: b.Apps}, x.idem)
	if err == nil {
		x.Header().Set("Location", "/v1/keys/"+string(k.ID))
	}
	return k, err
}

// within keeps a key from giving more than it has.
func (b *keyCreate) within(maker hongyan.APIKey) error {
	for i, sc := range b.Scopes {
		if slices.Contains(hongyan.Scopes(), sc) && !slices.Contains(maker.Scopes, sc) {
			return &hongyan.Error{Code: hongyan.CodeForbidden, Message: fmt.Sprintf("The scope %s is not yours to give.", sc),
				Fields: []hongyan.FieldError{{Pointer: fmt.Sprintf("/scopes/%d", i), Code: "scope", Detail: "Whoever makes a key can give the scopes that they have: " + words(maker.Scopes, ", ") + "."}}}
		}
	}
	if len(maker.Apps) > 0 && len(b.Apps) == 0 {
		return &hongyan.Error{Code: hongyan.CodeForbidden, Message: "This key is limited to some apps and cannot make one for all.",
			Fields: []hongyan.FieldError{{Pointer: "/apps", Code: "missing", Detail: "Name the apps, among: " + words(maker.Apps, ", ") + "."}}}
	}
	for i, app := range b.Apps {
		if !validAppID(string(app)) {
			return hongyan.Invalid(fmt.Sprintf("/apps/%d", i), "appid", "%q is not an AppID.", clip(string(app)))
		}
		if err := seesApp(maker, app); err != nil {
			return at(err, fmt.Sprintf("/apps/%d", i))
		}
	}
	return nil
}

// replayKey: the clear key was in the first answer and is stored nowhere.
func (s *server) replayKey(_ context.Context, _ *none, id string) (hongyan.APIKey, error) {
	return hongyan.APIKey{}, hongyan.Errorf(hongyan.CodeSecretShownOnce, "Key %s was made by the first request with this Idempotency-Key.", id)
}

func (s *server) listKeys(ctx context.Context, _ *none) (list[hongyan.APIKey], error) {
	keys, err := s.l.Keys(ctx)
	maker := exchangeOf(ctx).key
	keys = slices.DeleteFunc(keys, func(k hongyan.APIKey) bool { return !rules(maker, k) })
	return list[hongyan.APIKey]{Items: keys}, err
}

type inKey struct {
	ID hongyan.APIKeyID `path:"id"`
}

func (s *server) revokeKey(ctx context.Context, in *inKey) error {
	keys, err := s.l.Keys(ctx)
	if err != nil {
		return err
	}
	maker := exchangeOf(ctx).key
	if !slices.ContainsFunc(keys, func(k hongyan.APIKey) bool { return k.ID == in.ID && rules(maker, k) }) {
		return hongyan.Errorf(hongyan.CodeNotFound, "There is no API key %.40s.", string(in.ID))
	}
	return s.l.RevokeKey(ctx, in.ID)
}

// rules reports whether a key limited to some apps may see and end another: one that is
// limited to no other apps.
func rules(maker, k hongyan.APIKey) bool {
	if len(maker.Apps) == 0 {
		return true
	}
	return len(k.Apps) > 0 && !slices.ContainsFunc(k.Apps, func(a hongyan.AppID) bool { return !slices.Contains(maker.Apps, a) })
}
