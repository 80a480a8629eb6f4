package hongyan

import (
	"fmt"
	"log/slog"
	"unique"
)

const redacted = "redacted"

// secret keeps a value out of every printed form; only Reveal hands it out. The value stands
// behind a handle because fmt calls no method of an unexported field: printed as a part of
// another struct, a string would show. Two secrets are == if their values are.
type secret struct{ v unique.Handle[string] }

func newSecret(v string) secret {
	if v == "" {
		return secret{}
	}
	return secret{unique.Make(v)}
}

// Reveal is the one way to the clear value. Call it where the value leaves for its purpose, never to print.
func (s secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.v.Value()
}

// IsZero reports whether there is no value.
func (s secret) IsZero() bool { return s == secret{} }

func (s secret) String() string               { return redacted }
func (s secret) GoString() string             { return redacted }
func (s secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// AppSecret is a mini program's AppSecret (小程序密钥).
type AppSecret struct{ secret }

// AccessToken is WeChat's credential for one app (接口调用凭据).
type AccessToken struct{ secret }

// SessionKey is the session_key of a login; it never leaves the server.
type SessionKey struct{ secret }

// APIKeySecret is the clear form of one of our API keys; it is shown once.
type APIKeySecret struct{ secret }

// WebhookSecret signs deliveries to a webhook; it is shown once.
type WebhookSecret struct{ secret }

// CallbackSecret is the Token or EncodingAESKey of an app's event pushes.
type CallbackSecret struct{ secret }

// MPToken is what a phone that has logged in shows; it is opaque and not kept.
type MPToken struct{ secret }

// TokenSecret is what the service at an app's token_url wants to be shown.
type TokenSecret struct{ secret }

// Password is what a member signs in with.
type Password struct{ secret }

// SetupToken is the secret part of a one-time link, by which a member sets a password.
type SetupToken struct{ secret }

// NewAppSecret wraps a clear AppSecret.
func NewAppSecret(v string) AppSecret { return AppSecret{newSecret(v)} }

// NewAccessToken wraps a clear access token.
func NewAccessToken(v string) AccessToken { return AccessToken{newSecret(v)} }

// NewSessionKey wraps a clear session_key.
func NewSessionKey(v string) SessionKey { return SessionKey{newSecret(v)} }

// NewAPIKeySecret wraps a clear API key.
func NewAPIKeySecret(v string) APIKeySecret { return APIKeySecret{newSecret(v)} }

// NewWebhookSecret wraps a clear webhook secret, "whsec_" and base64.
func NewWebhookSecret(v string) WebhookSecret { return WebhookSecret{newSecret(v)} }

// NewCallbackSecret wraps a clear Token or EncodingAESKey.
func NewCallbackSecret(v string) CallbackSecret { return CallbackSecret{newSecret(v)} }

// NewMPToken wraps a clear session token of a phone.
func NewMPToken(v string) MPToken { return MPToken{newSecret(v)} }

// NewTokenSecret wraps a clear secret of a token_url.
func NewTokenSecret(v string) TokenSecret { return TokenSecret{newSecret(v)} }

// NewPassword wraps a clear password.
func NewPassword(v string) Password { return Password{newSecret(v)} }

// NewSetupToken wraps the clear token of a one-time link.
func NewSetupToken(v string) SetupToken { return SetupToken{newSecret(v)} }
