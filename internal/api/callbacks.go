package api

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

type callbackSetup struct {
	Token     *string `json:"token,omitempty" minLength:"3" maxLength:"32" doc:"Letters and digits."`
	AESKey    *string `json:"encoding_aes_key,omitempty" minLength:"43" maxLength:"43" doc:"Letters and digits. The one before fits for a week."`
	ForwardTo *string `json:"forward_to,omitempty" maxLength:"1024" doc:"URL of the handler that the app had before: it gets every verified push as it came. Empty ends that."`
	Plain     bool    `json:"plain,omitempty" doc:"Go without an EncodingAESKey (明文模式): then nothing vouches for what a push says."`
	Renew     bool    `json:"renew,omitempty" doc:"Make a new token and EncodingAESKey where none is given."`
}

func (b *callbackSetup) check() error {
	var f []hongyan.FieldError
	bad := func(pointer string, keys wechat.CallbackKeys) {
		var refused *wechat.CallbackError
		if errors.As(keys.Check(), &refused) {
			f = append(f, hongyan.FieldError{Pointer: pointer, Code: "format", Detail: "WeChat's console would not take it: " + refused.Detail + "."})
		}
	}
	if b.Token != nil {
		bad("/token", wechat.CallbackKeys{Token: *b.Token})
	}
	switch {
	case b.AESKey == nil:
	case *b.AESKey == "":
		f = append(f, hongyan.FieldError{Pointer: "/encoding_aes_key", Code: "missing", Detail: "Leave it out, or set plain to go without one."})
	default:
		bad("/encoding_aes_key", wechat.CallbackKeys{Token: "token", AESKey: *b.AESKey})
	}
	if b.Plain && b.AESKey != nil {
		f = append(f, hongyan.FieldError{Pointer: "/plain", Code: "contradiction", Detail: "plain is to go without an encoding_aes_key; leave one of the two out."})
	}
	if b.ForwardTo != nil {
		var refused *hongyan.Error
		if errors.As(hongyan.CheckForwardTo(*b.ForwardTo), &refused) {
			f = append(f, refused.Fields...)
		}
	}
	return faults(f)
}

// setCallback makes what an app needs and has not. What it has stays, because WeChat's
// console has it too.
func (s *server) setCallback(ctx context.Context, in *InApp, b *callbackSetup) (hongyan.CallbackConfig, error) {
	if err := b.check(); err != nil {
		return hongyan.CallbackConfig{}, err
	}
	_, err := s.l.CallbackKeys(in.App)
	first := hongyan.CodeOf(err) == hongyan.CodeNotFound
	if err != nil && !first {
		return hongyan.CallbackConfig{}, err
	}
	if first || b.Renew {
		b.fill()
	}
	u := ledger.CallbackUpdate{Token: secretOf(b.Token), AESKey: secretOf(b.AESKey), ForwardTo: b.ForwardTo}
	if b.Plain {
		u.AESKey = &hongyan.CallbackSecret{}
	}
	if err := s.l.SetCallback(ctx, in.App, u); err != nil {
		return hongyan.CallbackConfig{}, err
	}
	out, err := s.l.CallbackConfig(ctx, in.App)
	if b.Token != nil {
		out.Token = *b.Token
	}
	if b.AESKey != nil {
		out.EncodingAESKey = *b.AESKey
	}
	return out, err
}

func secretOf(clear *string) *hongyan.CallbackSecret {
	if clear == nil {
		return nil
	}
	secret := hongyan.NewCallbackSecret(*clear)
	return &secret
}

// fill makes what is left out, as WeChat's console would.
func (b *callbackSetup) fill() {
	if b.Token == nil {
		b.Token = ptr(lettersAndDigits(32))
	}
	if b.AESKey == nil && !b.Plain {
		b.AESKey = ptr(lettersAndDigits(43))
	}
}

// lettersAndDigits is random text of n characters, each as likely as any other.
func lettersAndDigits(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 0, n)
	var b [64]byte
	for len(out) < n {
		rand.Read(b[:]) // never fails
		for _, x := range b {
			if x &= 63; int(x) < len(alphabet) && len(out) < n {
				out = append(out, alphabet[x])
			}
		}
	}
	return string(out)
}

func (s *server) getCallbackConfig(ctx context.Context, in *InApp) (hongyan.CallbackConfig, error) {
	return s.l.CallbackConfig(ctx, in.App)
}

func (s *server) removeCallback(ctx context.Context, in *InApp) error {
	return s.l.RemoveCallback(ctx, in.App)
}

type inCallbacks struct {
	InApp
	Event  string         `query:"event" maxLength:"128" doc:"Only this event of WeChat's, such as subscribe_msg_sent_event, or this MsgType."`
	OpenID hongyan.OpenID `query:"openid" maxLength:"64" doc:"Only what is about this user."`
	Page
}

func (s *server) listCallbacks(ctx context.Context, in *inCallbacks) (list[hongyan.Callback], error) {
	items, next, err := s.l.Callbacks(ctx, in.App, ledger.CallbackFilter{Event: in.Event, OpenID: in.OpenID, Limit: in.Limit, Cursor: in.Cursor})
	return list[hongyan.Callback]{items, next}, err
}

type inCallback struct {
	InApp
	ID hongyan.CallbackID `path:"id"`
}

func (s *server) getCallback(ctx context.Context, in *inCallback) (hongyan.Callback, error) {
	return s.l.Callback(ctx, in.App, in.ID)
}

func (s *server) listCallbackRejections(ctx context.Context, in *InApp) (list[hongyan.CallbackRejection], error) {
	items, err := s.l.CallbackRejections(ctx, in.App)
	return list[hongyan.CallbackRejection]{Items: items}, err
}
