package api

import (
	"context"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

type tokenRequest struct {
	Refused string `json:"refused,omitempty" maxLength:"4096" doc:"The token that WeChat refused."`
	Errcode int    `json:"errcode,omitempty" doc:"What WeChat refused it with: 40001 (default), 40014, 41001 or 42001."`
}

func (b *tokenRequest) check() error {
	switch {
	case b.Errcode != 0 && b.Refused == "":
		return hongyan.Invalid("/refused", "missing", "Name the token that WeChat refused with this errcode, exactly as it was handed out.")
	case b.Errcode != 0 && !wechat.IsTokenRefused(b.Errcode):
		return hongyan.Invalid("/errcode", "not_in_list", "errcode %d is not about the token; another one would not help. Those that are: 40001, 40014, 41001, 42001.", b.Errcode)
	}
	return nil
}

// getToken is the compare-and-swap for other services: a token that is no longer the current
// one is answered with the current one.
func (s *server) getToken(ctx context.Context, in *InApp, b *tokenRequest) (hongyan.IssuedToken, error) {
	if err := b.check(); err != nil {
		return hongyan.IssuedToken{}, err
	}
	if err := s.mayIssue(in.App); err != nil {
		return hongyan.IssuedToken{}, err
	}
	if b.Refused != "" {
		r := hongyan.TokenRefusal{Errcode: b.Errcode, By: string(exchangeOf(ctx).key.ID), Hearsay: true}
		if r.Errcode == 0 {
			r.Errcode = wechat.ErrcodeInvalidCredential
		}
		if err := s.Tokens.RefusedBy(ctx, in.App, b.Refused, r); err != nil {
			return hongyan.IssuedToken{}, tokenError(err)
		}
	}
	t, err := s.Tokens.Issue(ctx, in.App)
	return t, tokenError(err)
}

// mayIssue answers for what cannot come by a token at all.
func (s *server) mayIssue(app hongyan.AppID) error {
	if s.Tokens == nil {
		return hongyan.Errorf(hongyan.CodeTokenUnavailable, "This server is not connected to WeChat.")
	}
	_, err := s.l.App(app)
	return err
}

func (s *server) getTokenHealth(ctx context.Context, in *InApp) (hongyan.TokenHealth, error) {
	return s.l.TokenHealth(ctx, in.App)
}

func (s *server) refreshToken(ctx context.Context, in *InApp) (hongyan.TokenRefresh, error) {
	if err := s.mayIssue(in.App); err != nil {
		return hongyan.TokenRefresh{}, err
	}
	out, err := s.Tokens.Refresh(ctx, in.App)
	return out, tokenError(err)
}

// tryTokenURL asks the service at an app's token_url, and WeChat whether it takes what came.
func (s *server) tryTokenURL(ctx context.Context, app hongyan.App, secret hongyan.TokenSecret) error {
	if s.WeChat == nil || s.Tokens == nil {
		return hongyan.Errorf(hongyan.CodeWeChatUnreachable, "This server is not connected to WeChat; skip_check sets the token_url without trying it.")
	}
	t, err := s.Tokens.TryURL(ctx, app.Settings.TokenURL, secret)
	if err != nil {
		return at(err, "/settings/token_url")
	}
	_, err = s.WeChat.GetAPIDomainIP(ctx, t.AccessToken)
	refused, ok := err.(*wechat.Error)
	switch {
	case ok && wechat.IsTokenRefused(refused.Errcode):
		e := refusal(hongyan.CodeTokenUnavailable, refused)
		e.Fields = []hongyan.FieldError{{Pointer: "/settings/token_url", Code: "refused", Detail: "WeChat does not take the token that this URL answers with."}}
		return e
	case ok:
		return nil // it is not about the token
	}
	return wechatError(err)
}

// tokenSecretFault refuses what cannot stand in a header.
func tokenSecretFault(secret string) []hongyan.FieldError {
	if len(secret) > 512 || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return []hongyan.FieldError{{Pointer: "/token_secret", Code: "format", Detail: "A token_secret is sent as Authorization: Bearer; it is at most 512 visible ASCII characters."}}
	}
	return nil
}
