package hongyan

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Webhook is an address of an integrator's to which events are posted, signed as Standard
// Webhooks has it.
type Webhook struct {
	ID  WebhookID `json:"id"`
	URL string    `json:"url"`
	// Events are the event types that it wants.
	Events []EventPattern `json:"events" doc:"Event types such as message.failed, kinds such as message.*, or *."`
	// Apps limits it to events of these apps; empty means all.
	Apps        []AppID `json:"apps,omitempty"`
	Description string  `json:"description,omitempty"`
	Enabled     bool    `json:"enabled"`
	// DisabledAt and DisabledReason say since when and why nothing is sent there.
	DisabledAt     time.Time      `json:"disabled_at,omitzero"`
	DisabledReason DisabledReason `json:"disabled_reason,omitempty" enum:"manual,gone,failing" doc:"manual: by a person; gone: it answered 410; failing: every delivery failed for 5 days."`
	// FailingSince is when the first of the failures in a row was; zero while deliveries succeed.
	FailingSince time.Time `json:"failing_since,omitzero"`
	// PreviousSecretUntil is until when deliveries are signed with the secret before, too.
	PreviousSecretUntil time.Time `json:"previous_secret_until,omitzero"`
	CreatedAt           time.Time `json:"created_at"`
	UpdatedAt           time.Time `json:"updated_at"`
	// Secret is the clear secret, in the answer that makes it and nowhere else.
	Secret string `json:"secret,omitempty" doc:"whsec_ and base64; in the answers of create and rotate-secret alone."`
}

// DisabledReason says why nothing is sent to a webhook.
type DisabledReason string

// The reasons.
const (
	DisabledManual  DisabledReason = "manual"
	DisabledGone    DisabledReason = "gone"
	DisabledFailing DisabledReason = "failing"
)

// Limits of webhooks.
const (
	MaxWebhooks           = 100
	MaxWebhookURL         = 2048
	MaxWebhookDescription = 500
	// WebhookFailingFor is how long a webhook may only fail before it is disabled.
	WebhookFailingFor = 5 * 24 * time.Hour
	// PreviousSecretFor is how long the secret before a rotation still signs.
	PreviousSecretFor = 24 * time.Hour
)

// Check names every fault of what a person sets.
func (w *Webhook) Check() []FieldError {
	f := checkWebhookURL(w.URL)
	if len(w.Events) == 0 {
		f = append(f, FieldError{Pointer: "/events", Code: "missing", Detail: "Name the event types, such as message.*; GET /v1/event-types lists all."})
	}
	f = append(f, CheckEventPatterns("/events", w.Events)...)
	if len(w.Description) > MaxWebhookDescription || !storable(w.Description) {
		f = append(f, FieldError{Pointer: "/description", Code: "length", Detail: fmt.Sprintf("A description is UTF-8 of at most %d bytes.", MaxWebhookDescription)})
	}
	return f
}

func checkWebhookURL(s string) []FieldError {
	fault := func(format string, args ...any) []FieldError {
		return []FieldError{{Pointer: "/url", Code: "url", Detail: fmt.Sprintf(format, args...)}}
	}
	u, err := url.Parse(s)
	switch {
	case s == "":
		return []FieldError{{Pointer: "/url", Code: "missing", Detail: "Name the URL to which events are posted."}}
	case len(s) > MaxWebhookURL || !storable(s):
		return fault("A URL is UTF-8 of at most %d bytes.", MaxWebhookURL)
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "":
		return fault("%q is not a URL such as https://shop.example/hooks/hongyan.", clip(s))
	case u.User != nil:
		return fault("The URL must not hold a user or password; deliveries are signed instead.")
	case u.Fragment != "":
		return fault("The URL must not have a fragment (#…); it would not be sent.")
	}
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return fault("The URL must not hold spaces or control characters.")
		}
	}
	return nil
}

// webhookSecretPrefix marks a webhook secret; base64 of the key follows.
const webhookSecretPrefix = "whsec_"

// NewWebhookKey is the secret of a key, in the form that Standard Webhooks has for it.
func NewWebhookKey(key []byte) WebhookSecret {
	return NewWebhookSecret(webhookSecretPrefix + base64.StdEncoding.EncodeToString(key))
}

// Sign is the signature of a delivery as the header webhook-signature has it: "v1," and
// base64 of HMAC-SHA256 over the event's id, the time of posting and the body.
func (s WebhookSecret) Sign(id EventID, posted time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Reveal(), webhookSecretPrefix))
	if err != nil || len(key) == 0 {
		return "", Errorf(CodeInvalid, "The webhook secret is not %s and base64.", webhookSecretPrefix)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, strconv.FormatInt(posted.Unix(), 10))
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// DeliveryState is where a delivery stands; JSON calls it status.
type DeliveryState string

// The states.
const (
	DeliveryPending   DeliveryState = "pending"   // waits for its next try
	DeliveryDelivered DeliveryState = "delivered" // the webhook answered 2xx
	DeliveryFailed    DeliveryState = "failed"    // every try failed
)

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID       DeliveryID    `json:"id"`
	Webhook  WebhookID     `json:"webhook"`
	Event    EventID       `json:"event"`
	Type     EventType     `json:"type"`
	App      AppID         `json:"app,omitempty"`
	Status   DeliveryState `json:"status" enum:"pending,delivered,failed"`
	Attempts int           `json:"attempts" doc:"How often it was posted so far."`
	// NextAt is when it is posted next, for pending ones.
	NextAt time.Time `json:"next_at,omitzero"`
	// HTTPStatus, Error and Response are what the latest try came to.
	HTTPStatus int       `json:"http_status,omitempty" doc:"The latest answer's status; absent where there was no answer."`
	Error      string    `json:"error,omitempty" doc:"Why the latest try failed."`
	Response   string    `json:"response,omitempty" doc:"The beginning of the latest answer's body, at most 1 KiB."`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

// MaxWebhookResponse is how much of an answer is kept.
const MaxWebhookResponse = 1 << 10
