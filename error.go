package hongyan

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Text is one sentence in the two languages of the product.
type Text struct {
	EN string `json:"en"`
	ZH string `json:"zh"`
}

// In picks a language: "zh" for any tag that starts with zh, English otherwise.
func (t Text) In(lang string) string {
	if len(lang) >= 2 && (lang[0]|0x20) == 'z' && (lang[1]|0x20) == 'h' {
		return t.ZH
	}
	return t.EN
}

// Code names a failure that a caller can act on. Codes never change their meaning. A code is
// an error itself, so that errors.Is(err, hongyan.CodeNoGrant) asks for it.
type Code string

// Error is the code as a word.
func (c Code) Error() string { return string(c) }

// The codes. What each one means, its HTTP status and its hint stand in [Codes].
const (
	CodeInvalid            Code = "invalid_request"
	CodeInvalidData        Code = "invalid_data"
	CodeUnknownField       Code = "unknown_field"
	CodeBodyTooLarge       Code = "body_too_large"
	CodeUnsupportedMedia   Code = "unsupported_media_type"
	CodeUnauthorized       Code = "unauthorized"
	CodeForbidden          Code = "forbidden"
	CodeNotFound           Code = "not_found"
	CodeMethodNotAllowed   Code = "method_not_allowed"
	CodeConflict           Code = "conflict"
	CodeAppNotFound        Code = "app_not_found"
	CodeTemplateNotFound   Code = "template_not_found"
	CodeUserNotFound       Code = "user_not_found"
	CodeInvalidOpenID      Code = "invalid_openid"
	CodeOpenIDNotAllowed   Code = "openid_not_allowed"
	CodeNoGrant            Code = "no_grant"
	CodeNotSubscribed      Code = "not_subscribed"
	CodeNotStarted         Code = "not_started"
	CodeTooLate            Code = "too_late"
	CodeAlreadyFinal       Code = "already_final"
	CodeHeldLimit          Code = "held_limit"
	CodeBacklogFull        Code = "backlog_full"
	CodeRateLimited        Code = "rate_limited"
	CodeIdempotencyReuse   Code = "idempotency_key_reused"
	CodeIdempotencyBusy    Code = "idempotency_key_in_use"
	CodeSecretShownOnce    Code = "secret_shown_once"
	CodeStorageUnavailable Code = "storage_unavailable"
	CodeShuttingDown       Code = "shutting_down"
	CodeSandboxUnavailable Code = "sandbox_unavailable"
	CodeAppPaused          Code = "app_paused"
	CodeWeChatRefused      Code = "wechat_refused"
	CodeWeChatUnreachable  Code = "wechat_unreachable"
	CodeWeChatUnclear      Code = "wechat_unclear"
	CodeWeChatBusy         Code = "wechat_busy"
	CodeSameUserBusy       Code = "same_user_busy"
	CodeTokenUnavailable   Code = "token_unavailable"
	CodeTokenRejected      Code = "token_rejected"
	CodeInvalidCode        Code = "invalid_login_code"
	CodeInvalidSessionKey  Code = "invalid_session_key"
	CodeInvalidTemplate    Code = "invalid_template"
	CodeInvalidPage        Code = "invalid_page"
	CodeSensitiveWord      Code = "sensitive_word"
	CodeUserLimited        Code = "user_limited"
	CodeMPDisabled         Code = "mp_disabled"
	CodeInvalidReports     Code = "invalid_reports"
	CodeSessionExpired     Code = "session_expired"
	CodeSignedOut          Code = "signed_out"
	CodeSignInFailed       Code = "sign_in_failed"
	CodeLinkEnded          Code = "link_ended"
	CodeCrossOrigin        Code = "cross_origin"
	CodeUndelivered        Code = "undelivered"
	CodeSentEvent          Code = "sent_event"
	CodeUserErased         Code = "user_erased"
	CodeExpired            Code = "expired"
	CodeCanceled           Code = "canceled"
	CodeInternal           Code = "internal"
)

// FieldError is one fault of a request body. Pointer is a JSON pointer (RFC 6901).
type FieldError struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	// Repair is a value that would have passed, where there is one.
	Repair *string `json:"repair,omitempty"`
}

// WeChatError is what WeChat itself said, verbatim but for secrets.
type WeChatError struct {
	Errcode int    `json:"errcode"`
	Errmsg  string `json:"errmsg"`
	Rid     string `json:"rid,omitempty"`
}

// Error is a failure a caller can act on. Anything else is internal: logged once, never shown.
type Error struct {
	Code    Code
	Message string // English, specific to this occurrence; never holds a secret
	Fields  []FieldError
	WeChat  *WeChatError
	// RetryAfter is how long to wait before the same request may pass; 0 where waiting does not help.
	RetryAfter time.Duration
}

// Errorf makes an [Error] without fields.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes a [CodeInvalid] error about one field.
func Invalid(pointer, rule, format string, args ...any) *Error {
	detail := fmt.Sprintf(format, args...)
	return &Error{Code: CodeInvalid, Message: detail, Fields: []FieldError{{Pointer: pointer, Code: rule, Detail: detail}}}
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.WeChat != nil {
		s += fmt.Sprintf(" (WeChat errcode %d: %s)", e.WeChat.Errcode, e.WeChat.Errmsg)
	}
	return s
}

// LogValue logs code and message only.
func (e *Error) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// Unwrap is the code, for errors.Is.
func (e *Error) Unwrap() error { return e.Code }

// CodeOf is the code of err, "" for nil and [CodeInternal] for an error that is not ours.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
