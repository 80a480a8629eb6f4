package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// Errcodes that speak of the user's session_key and nothing else.
const (
	errcodeNoSessionKey  = 87007
	errcodeBadSessionKey = 87009
)

// sessionKeyError knows the refusals that a new login mends.
func sessionKeyError(err error) error {
	if e, ok := err.(*hongyan.Error); ok && e.WeChat != nil && (e.WeChat.Errcode == errcodeNoSessionKey || e.WeChat.Errcode == errcodeBadSessionKey) {
		return &hongyan.Error{Code: hongyan.CodeInvalidSessionKey, Message: "WeChat has another session_key of this user than the one kept here, or none.", WeChat: e.WeChat}
	}
	return err
}

func (s *server) checkSessionKey(ctx context.Context, in *inUser) (hongyan.SessionKeyState, error) {
	out := hongyan.SessionKeyState{App: in.App, OpenID: in.OpenID}
	key, err := s.l.SessionKey(ctx, in.App, in.OpenID)
	if err != nil {
		return out, err
	}
	err = s.withToken(ctx, in.App, func(token string) error {
		return s.WeChat.CheckSessionKey(ctx, token, string(in.OpenID), key.Reveal())
	})
	out.Valid = err == nil
	return out, sessionKeyError(err)
}

func (s *server) resetSessionKey(ctx context.Context, in *inUser) (hongyan.SessionKeyState, error) {
	out := hongyan.SessionKeyState{App: in.App, OpenID: in.OpenID}
	key, err := s.l.SessionKey(ctx, in.App, in.OpenID)
	if err != nil {
		return out, err
	}
	var next wechat.Session
	err = s.withToken(ctx, in.App, func(token string) (err error) {
		next, err = s.WeChat.ResetUserSessionKey(ctx, token, string(in.OpenID), key.Reveal())
		return err
	})
	if err != nil {
		return out, sessionKeyError(err)
	}
	out.Valid, out.Reset = true, true
	// The old key is dead: whether the caller still waits no longer matters.
	return out, s.l.ReplaceSessionKey(context.WithoutCancel(ctx), in.App, in.OpenID, key, hongyan.NewSessionKey(next.SessionKey))
}

type encryptedData struct {
	IV            string `json:"iv" minLength:"24" maxLength:"24" doc:"Base64 of 16 bytes."`
	EncryptedData string `json:"encrypted_data" minLength:"1" doc:"Base64, as the mini program got it."`
}

func (b *encryptedData) check() error {
	var f []hongyan.FieldError
	if v, err := base64.StdEncoding.DecodeString(b.IV); err != nil || len(v) != 16 {
		f = append(f, hongyan.FieldError{Pointer: "/iv", Code: "base64", Detail: "iv is base64 of 16 bytes, as the mini program got it; a + in a query turns into a space."})
	}
	if v, err := base64.StdEncoding.DecodeString(b.EncryptedData); err != nil || len(v) == 0 || len(v)%16 != 0 {
		f = append(f, hongyan.FieldError{Pointer: "/encrypted_data", Code: "base64", Detail: "encrypted_data is base64 of whole blocks of 16 bytes, as the mini program got it; a + in a query turns into a space."})
	}
	return faults(f)
}

func (s *server) decryptUserData(ctx context.Context, in *inUser, b *encryptedData) (hongyan.UserData, error) {
	if err := b.check(); err != nil {
		return hongyan.UserData{}, err
	}
	key, err := s.l.SessionKey(ctx, in.App, in.OpenID)
	if err != nil {
		return hongyan.UserData{}, err
	}
	plain, err := wechat.DecryptUserData(key.Reveal(), b.IV, b.EncryptedData, string(in.App))
	switch {
	case errors.Is(err, wechat.ErrForeignUserData):
		return hongyan.UserData{}, hongyan.Invalid("/encrypted_data", "foreign", "The data was made for another app.")
	case err != nil:
		return hongyan.UserData{}, hongyan.Errorf(hongyan.CodeInvalidSessionKey, "The session_key kept here does not open this data: it was encrypted with another, or it is damaged.")
	}
	var v struct {
		Watermark struct {
			Timestamp int64 `json:"timestamp"`
		} `json:"watermark"`
	}
	out := hongyan.UserData{Data: plain}
	if json.Unmarshal(plain, &v) == nil && v.Watermark.Timestamp > 0 {
		out.MadeAt = time.Unix(v.Watermark.Timestamp, 0).UTC()
	}
	return out, nil
}
