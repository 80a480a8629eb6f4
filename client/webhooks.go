package client

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
)

// WebhookCreate adds a webhook.
type WebhookCreate struct {
	URL         string                 `json:"url"`
	Events      []hongyan.EventPattern `json:"events"`
	Apps        []hongyan.AppID        `json:"apps,omitempty"`
	Description string                 `json:"description,omitempty"`
}

// CreateWebhook adds a webhook. Its secret is in this answer and nowhere else.
func (c *Client) CreateWebhook(ctx context.Context, in WebhookCreate, opt Options) (hongyan.Webhook, error) {
	return create[hongyan.Webhook](ctx, c, join("webhooks"), in, opt)
}

// Webhooks lists the webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]hongyan.Webhook, error) {
	return whole[hongyan.Webhook](ctx, c, join("webhooks"), nil)
}

// Webhook reads a webhook.
func (c *Client) Webhook(ctx context.Context, id hongyan.WebhookID) (hongyan.Webhook, error) {
	return get[hongyan.Webhook](ctx, c, join("webhooks", string(id)), nil)
}

// WebhookUpdate changes what is not nil.
type WebhookUpdate struct {
	URL         *string                 `json:"url,omitempty"`
	Events      *[]hongyan.EventPattern `json:"events,omitempty"`
	Apps        *[]hongyan.AppID        `json:"apps,omitempty"`
	Description *string                 `json:"description,omitempty"`
	Enabled     *bool                   `json:"enabled,omitempty"`
}

// UpdateWebhook changes a webhook.
func (c *Client) UpdateWebhook(ctx context.Context, id hongyan.WebhookID, in WebhookUpdate) (hongyan.Webhook, error) {
	return send[hongyan.Webhook](ctx, c, "PATCH", join("webhooks", string(id)), in, Options{})
}

// DeleteWebhook ends a webhook and everything that waits for it.
func (c *Client) DeleteWebhook(ctx context.Context, id hongyan.WebhookID) error {
	return c.do(ctx, call{method: "DELETE", path: join("webhooks", string(id))}, nil)
}

// RotateWebhookSecret makes a new secret, which is in this answer and nowhere else. The one
// before signs too for another 24 hours.
func (c *Client) RotateWebhookSecret(ctx context.Context, id hongyan.WebhookID) (hongyan.Webhook, error) {
	return send[hongyan.Webhook](ctx, c, "POST", join("webhooks", string(id), "rotate-secret"), nil, Options{})
}

// TestWebhook sends a webhook.test event and answers its delivery, which is still to be made.
func (c *Client) TestWebhook(ctx context.Context, id hongyan.WebhookID) (hongyan.Delivery, error) {
	return send[hongyan.Delivery](ctx, c, "POST", join("webhooks", string(id), "test"), nil, Options{})
}

// DeliveryFilter narrows a list; zero fields do not.
type DeliveryFilter struct {
	Status   hongyan.DeliveryState
	Event    hongyan.EventID
	Type     hongyan.EventType
	PageSize int // at most 500. Default 50
}

// Deliveries goes through a webhook's deliveries, newest first.
func (c *Client) Deliveries(ctx context.Context, id hongyan.WebhookID, f DeliveryFilter) iter.Seq2[hongyan.Delivery, error] {
	q := values("status", string(f.Status), "event", string(f.Event), "type", string(f.Type))
	if f.PageSize > 0 {
		q.Set("limit", strconv.Itoa(f.PageSize))
	}
	return pages[hongyan.Delivery](ctx, c, join("webhooks", string(id), "deliveries"), q)
}

// ResendDelivery makes a delivery again, whatever it came to.
func (c *Client) ResendDelivery(ctx context.Context, id hongyan.WebhookID, delivery hongyan.DeliveryID) (hongyan.Delivery, error) {
	return send[hongyan.Delivery](ctx, c, "POST", join("webhooks", string(id), "deliveries", string(delivery), "resend"), nil, Options{})
}

// WebhookHandler receives a webhook's deliveries: it verifies each, and calls handle with its
// event, whose [hongyan.Event.Payload] is typed. secret is the one that [Client.CreateWebhook]
// answered; while it is changed over, deliveries fit the old and the new one.
//
// nil from handle is answered 204. An error is answered 500, so that the event comes again:
// log it in handle. An event may also come again though it was handled, and in another order:
// leave those whose ID you have seen. Return within 15 s.
func WebhookHandler(secret string, handle func(context.Context, hongyan.Event) error) (http.Handler, error) {
	if _, err := hongyan.NewWebhookSecret(secret).Sign("", time.Time{}, nil); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "Deliveries are posted here.", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDelivery))
		if err != nil {
			http.Error(w, "The body is too large or has ended early.", http.StatusBadRequest)
			return
		}
		e, err := VerifyWebhook(secret, r.Header, body, time.Now())
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case handle(r.Context(), e) != nil:
			http.Error(w, "The event was not handled; send it again.", http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}), nil
}

// maxDelivery is more than any event has.
const maxDelivery = 1 << 20

// webhookTolerance is how far the time of a delivery may be from the receiver's clock.
const webhookTolerance = 5 * time.Minute

// VerifyWebhook checks that a delivery comes from the server that has the secret, and within
// the last minutes, and reads its event. body is the request's body as it came. A delivery
// may come again: leave events whose id you have seen.
func VerifyWebhook(secret string, header http.Header, body []byte, now time.Time) (hongyan.Event, error) {
	var e hongyan.Event
	refused := func(format string, args ...any) (hongyan.Event, error) {
		return hongyan.Event{}, hongyan.Errorf(hongyan.CodeUnauthorized, format, args...)
	}
	id := header.Get("webhook-id")
	seconds, err := strconv.ParseInt(header.Get("webhook-timestamp"), 10, 64)
	if id == "" || err != nil {
		return refused("This is no webhook delivery: webhook-id or webhook-timestamp is missing.")
	}
	posted := time.Unix(seconds, 0)
	if now.Sub(posted).Abs() > webhookTolerance {
		return refused("The delivery was posted at %s, which is too far from now.", posted.UTC().Format(time.RFC3339))
	}
	want, err := hongyan.NewWebhookSecret(secret).Sign(hongyan.EventID(id), posted, body)
	if err != nil {
		return e, err
	}
	valid := false
	for s := range strings.FieldsSeq(header.Get("webhook-signature")) { // two while a secret is changed over
		valid = hmac.Equal([]byte(s), []byte(want)) || valid
	}
	if !valid {
		return refused("No signature of the delivery is right: the secret is another one, or the body was changed on its way.")
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return hongyan.Event{}, fmt.Errorf("decode the event: %w", err)
	}
	return e, nil
}
