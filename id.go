package hongyan

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// MessageID names a message: "msg_" and a ULID, so ids sort by the time they were made.
type MessageID string

// APIKeyID names an API key: "key_" and a ULID. It is public; the key itself is not.
type APIKeyID string

// EntryID names an entry of a grant's history: "ent_" and a ULID.
type EntryID string

// EventID names an event: "evt_" and a ULID.
type EventID string

// WebhookID names a webhook: "whk_" and a ULID.
type WebhookID string

// DeliveryID names a delivery of an event to a webhook: "dlv_" and a ULID.
type DeliveryID string

// CallbackID names a push of WeChat's: "cbk_" and a ULID.
type CallbackID string

// AuditID names a row of the audit log: "aud_" and a ULID.
type AuditID string

// RequestID names one request to the API in the server's log; the header X-Request-Id of
// every answer has it.
type RequestID string

const (
	messagePrefix  = "msg_"
	apiKeyPrefix   = "key_"
	eventPrefix    = "evt_"
	webhookPrefix  = "whk_"
	deliveryPrefix = "dlv_"
	callbackPrefix = "cbk_"
	auditPrefix    = "aud_"
)

// NewMessageID makes an id at now. Ids made in one millisecond are not ordered among themselves.
func NewMessageID(now time.Time) MessageID { return MessageID(messagePrefix + newULID(now).String()) }

// NewAPIKeyID makes an id at now.
func NewAPIKeyID(now time.Time) APIKeyID { return APIKeyID(apiKeyPrefix + newULID(now).String()) }

// NewWebhookID makes an id at now.
func NewWebhookID(now time.Time) WebhookID { return WebhookID(webhookPrefix + newULID(now).String()) }

func newULID(now time.Time) ulid.ULID {
	return ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy())
}

// ULID is the id without its prefix; an error says what a message id looks like.
func (id MessageID) ULID() (ulid.ULID, error) { return parseID(string(id), messagePrefix) }

// MessageIDOf is the id of a stored ULID.
func MessageIDOf(u ulid.ULID) MessageID { return MessageID(messagePrefix + u.String()) }

// ULID is the id without its prefix.
func (id EventID) ULID() (ulid.ULID, error) { return parseID(string(id), eventPrefix) }

// EventIDOf is the id of a stored ULID.
func EventIDOf(u ulid.ULID) EventID { return EventID(eventPrefix + u.String()) }

// ULID is the id without its prefix.
func (id DeliveryID) ULID() (ulid.ULID, error) { return parseID(string(id), deliveryPrefix) }

// DeliveryIDOf is the id of a stored ULID.
func DeliveryIDOf(u ulid.ULID) DeliveryID { return DeliveryID(deliveryPrefix + u.String()) }

// ULID is the id without its prefix.
func (id CallbackID) ULID() (ulid.ULID, error) { return parseID(string(id), callbackPrefix) }

// CallbackIDOf is the id of a stored ULID.
func CallbackIDOf(u ulid.ULID) CallbackID { return CallbackID(callbackPrefix + u.String()) }

// ULID is the id without its prefix.
func (id AuditID) ULID() (ulid.ULID, error) { return parseID(string(id), auditPrefix) }

// AuditIDOf is the id of a stored ULID.
func AuditIDOf(u ulid.ULID) AuditID { return AuditID(auditPrefix + u.String()) }

func parseID(s, prefix string) (ulid.ULID, error) {
	rest, ok := strings.CutPrefix(s, prefix)
	u, err := ulid.ParseStrict(rest)
	if !ok || err != nil {
		return ulid.ULID{}, fmt.Errorf("%q is not an id of the form %s and 26 characters", s, prefix)
	}
	return u, nil
}

// OpenID is a user within one app. It is personal data and case-sensitive.
type OpenID string

// Valid reports whether it has the shape we accept: 1 to 64 of A-Z a-z 0-9 _ -.
// WeChat's own are 28 characters, but nothing promises that.
func (o OpenID) Valid() bool {
	if len(o) == 0 || len(o) > 64 {
		return false
	}
	for i := range len(o) {
		c := o[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// LogValue shows only the ends, enough to tell two users apart while reading a log.
func (o OpenID) LogValue() slog.Value {
	if len(o) < 12 {
		return slog.StringValue("…")
	}
	return slog.StringValue(string(o[:4]) + "…" + string(o[len(o)-4:]))
}
