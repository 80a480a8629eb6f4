package api

import (
	"context"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

type loginRequest struct {
	Code       string `json:"code" doc:"What wx.login gave; it works once, within 5 minutes."`
	ExternalID string `json:"external_id,omitempty" maxLength:"128" doc:"Your own id of this user, to send to in place of the openid."`
}

func (s *server) login(ctx context.Context, in *InApp, b *loginRequest) (hongyan.User, error) {
	return s.trade(ctx, in.App, b.Code, b.ExternalID)
}

// trade trades a login code for the user, who is recorded.
func (s *server) trade(ctx context.Context, app hongyan.AppID, code, external string) (hongyan.User, error) {
	switch {
	case code == "" || len(code) > 256:
		return hongyan.User{}, hongyan.Invalid("/code", "missing", "Give the code that wx.login handed to the mini program.")
	case len(external) > hongyan.MaxExternalID:
		return hongyan.User{}, hongyan.Invalid("/external_id", "length", "external_id is at most %d bytes.", hongyan.MaxExternalID)
	case s.WeChat == nil:
		return hongyan.User{}, hongyan.Errorf(hongyan.CodeWeChatUnreachable, "This server is not connected to WeChat.")
	}
	secret, err := s.l.AppSecret(ctx, app)
	if err != nil {
		return hongyan.User{}, err
	}
	session, err := s.WeChat.Code2Session(ctx, string(app), secret.Reveal(), code)
	if err != nil {
		return hongyan.User{}, loginError(err)
	}
	return s.l.RecordLogin(ctx, app, ledger.Login{OpenID: hongyan.OpenID(session.OpenID), UnionID: session.UnionID,
		SessionKey: hongyan.NewSessionKey(session.SessionKey), ExternalID: external})
}

// Page are the parameters of every list that has pages.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"200" doc:"next_cursor of the page before."`
}

type inUsers struct {
	InApp
	ExternalID string `query:"external_id" maxLength:"128" doc:"Only the user with this id of yours."`
	Q          string `query:"q" maxLength:"128" doc:"What the openid, or your own id, begins with: those by openid come first."`
	Page
}

func (s *server) listUsers(ctx context.Context, in *inUsers) (list[hongyan.User], error) {
	if in.Q != "" {
		if in.ExternalID != "" {
			return list[hongyan.User]{}, hongyan.Invalid("/q", "contradiction", "external_id names one user; leave it or q out.")
		}
		users, next, err := s.l.FindUsers(ctx, in.App, in.Q, in.Limit, in.Cursor)
		return list[hongyan.User]{users, next}, err
	}
	users, next, err := s.l.Users(ctx, in.App, in.ExternalID, in.Limit, in.Cursor)
	return list[hongyan.User]{users, next}, err
}

type inUser struct {
	InApp
	OpenID hongyan.OpenID `path:"openid"`
}

func (s *server) getUser(ctx context.Context, in *inUser) (hongyan.User, error) {
	return s.l.User(ctx, in.App, in.OpenID)
}
