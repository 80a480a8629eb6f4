package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// withToken calls WeChat with the app's access token. A token that WeChat refuses is
// reported and replaced once.
func (s *server) withToken(ctx context.Context, app hongyan.AppID, call func(token string) error) error {
	if s.WeChat == nil || s.Tokens == nil {
		return hongyan.Errorf(hongyan.CodeTokenUnavailable, "This server is not connected to WeChat.")
	}
	if _, err := s.l.App(app); err != nil {
		return err
	}
	for again := false; ; again = true {
		token, err := s.Tokens.AccessToken(ctx, string(app))
		if err != nil {
			return tokenError(err)
		}
		err = call(token)
		var refused *wechat.Error
		if !errors.As(err, &refused) || !wechat.IsTokenRefused(refused.Errcode) {
			return wechatError(err)
		}
		if again {
			return tokenError(err)
		}
		if err := s.Tokens.RefusedBy(ctx, app, token, hongyan.TokenRefusal{Errcode: refused.Errcode, By: refused.Path, Rid: refused.Rid}); err != nil {
			return tokenError(err)
		}
	}
}

// wechatError translates what the wechat package reports into our words.
func wechatError(err error) error {
	var refused *wechat.Error
	var transport *wechat.TransportError
	switch {
	case errors.As(err, &refused):
		return refusal(hongyan.CodeWeChatRefused, refused)
	case errors.As(err, &transport) && transport.Kind == wechat.Unsent:
		return hongyan.Errorf(hongyan.CodeWeChatUnreachable, "%s was not called: %v", transport.Path, transport.Err)
	case errors.As(err, &transport):
		return hongyan.Errorf(hongyan.CodeWeChatUnclear, "%s was called and gave no answer: %v", transport.Path, transport.Err)
	}
	return err
}

// tokenError says that there is no access token, with WeChat's reason where it gave one.
func tokenError(err error) error {
	var own *hongyan.Error
	var refused *wechat.Error
	var transport *wechat.TransportError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		return refusal(hongyan.CodeTokenUnavailable, refused)
	case errors.As(err, &transport):
		return hongyan.Errorf(hongyan.CodeTokenUnavailable, "%s: %v", transport.Path, transport.Err)
	}
	return err
}

// loginError knows the refusals that mean the code and nothing else.
func loginError(err error) error {
	var refused *wechat.Error
	if errors.As(err, &refused) && (refused.Errcode == wechat.ErrcodeInvalidCode || refused.Errcode == wechat.ErrcodeCodeUsed) {
		e := refusal(hongyan.CodeInvalidCode, refused)
		e.Fields = []hongyan.FieldError{{Pointer: "/code", Code: "login_code", Detail: "WeChat does not take this code (any more); call wx.login again."}}
		return e
	}
	return wechatError(err)
}

func refusal(code hongyan.Code, refused *wechat.Error) *hongyan.Error {
	detail := fmt.Sprintf("WeChat answered errcode %d.", refused.Errcode)
	if info, ok := wechat.LookupErrcode(refused.Errcode); ok {
		detail = fmt.Sprintf("WeChat answered errcode %d: %s", refused.Errcode, info.EN)
	}
	if ip := refused.ClientIP(); ip != "" {
		detail += " The address to add to the IP whitelist is " + ip + "."
	}
	return &hongyan.Error{Code: code, Message: detail, WeChat: &hongyan.WeChatError{Errcode: refused.Errcode, Errmsg: refused.Errmsg, Rid: refused.Rid}}
}
