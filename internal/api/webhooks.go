package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

type webhookCreate struct {
	URL         string                 `json:"url" format:"uri" maxLength:"2048" doc:"Where events are posted. Over http anybody on the way can read them: use https beyond your own machines."`
	Events      []hongyan.EventPattern `json:"events" doc:"Event types such as message.failed, kinds such as message.*, or *."`
	Apps        []hongyan.AppID        `json:"apps,omitempty" doc:"Only events of these apps; empty means all."`
	Description string                 `json:"description,omitempty" maxLength:"500"`
}

func (s *server) createWebhook(ctx context.Context, _ *none, b *webhookCreate) (hongyan.Webhook, error) {
	x := exchangeOf(ctx)
	if err := appsWithin(x.key, b.Apps); err != nil {
		return hongyan.Webhook{}, err
	}
	w, err := s.l.CreateWebhook(ctx, hongyan.Webhook{URL: b.URL, Events: b.Events, Apps: b.Apps, Description: b.Description}, x.idem)
	if err == nil {
		x.Header().Set("Location", "/v1/webhooks/"+string(w.ID))
	}
	return w, err
}

// appsWithin keeps a key limited to some apps from hearing of others.
func appsWithin(key hongyan.APIKey, apps []hongyan.AppID) error {
	if len(key.Apps) > 0 && len(apps) == 0 {
		return &hongyan.Error{Code: hongyan.CodeForbidden, Message: "This key is limited to some apps and cannot subscribe to all.",
			Fields: []hongyan.FieldError{{Pointer: "/apps", Code: "missing", Detail: "Name the apps, among: " + words(key.Apps, ", ") + "."}}}
	}
	for i, app := range apps {
		if err := seesApp(key, app); err != nil {
			return at(err, fmt.Sprintf("/apps/%d", i))
		}
	}
	return nil
}

// replayWebhook: the secret was in the first answer and is not shown again.
func (s *server) replayWebhook(_ context.Context, _ *none, id string) (hongyan.Webhook, error) {
	return hongyan.Webhook{}, hongyan.Errorf(hongyan.CodeSecretShownOnce, "Webhook %s was made by the first request with this Idempotency-Key.", id)
}

func (s *server) listWebhooks(ctx context.Context, _ *none) (list[hongyan.Webhook], error) {
	all, err := s.l.Webhooks(ctx)
	key := exchangeOf(ctx).key
	all = slices.DeleteFunc(all, func(w hongyan.Webhook) bool { return appsWithin(key, w.Apps) != nil })
	return list[hongyan.Webhook]{Items: all}, err
}

// InWebhook is the webhook in a path; exported because huma reads embedded structs only so.
type InWebhook struct {
	ID hongyan.WebhookID `path:"id"`
}

func (s *server) getWebhook(ctx context.Context, in *InWebhook) (hongyan.Webhook, error) {
	w, err := s.l.Webhook(ctx, in.ID)
	if err == nil && appsWithin(exchangeOf(ctx).key, w.Apps) != nil {
		w, err = hongyan.Webhook{}, hongyan.Errorf(hongyan.CodeNotFound, "There is no webhook %.40s here.", string(in.ID))
	}
	return w, err
}

type webhookUpdate struct {
	URL         *string                 `json:"url,omitempty" format:"uri" maxLength:"2048"`
	Events      *[]hongyan.EventPattern `json:"events,omitempty"`
	Apps        *[]hongyan.AppID        `json:"apps,omitempty" doc:"An empty list means all."`
	Description *string                 `json:"description,omitempty" maxLength:"500"`
	Enabled     *bool                   `json:"enabled,omitempty"`
}

func (s *server) updateWebhook(ctx context.Context, in *InWebhook, b *webhookUpdate) (hongyan.Webhook, error) {
	if _, err := s.getWebhook(ctx, in); err != nil {
		return hongyan.Webhook{}, err
	}
	if b.Apps != nil {
		if err := appsWithin(exchangeOf(ctx).key, *b.Apps); err != nil {
			return hongyan.Webhook{}, err
		}
	}
	return s.l.UpdateWebhook(ctx, in.ID, ledger.WebhookUpdate{URL: b.URL, Events: b.Events, Apps: b.Apps, Description: b.Description, Enabled: b.Enabled})
}

func (s *server) deleteWebhook(ctx context.Context, in *InWebhook) error {
	if _, err := s.getWebhook(ctx, in); err != nil {
		return err
	}
	return s.l.DeleteWebhook(ctx, in.ID)
}

func (s *server) rotateWebhookSecret(ctx context.Context, in *InWebhook) (hongyan.Webhook, error) {
	if _, err := s.getWebhook(ctx, in); err != nil {
		return hongyan.Webhook{}, err
	}
	return s.l.RotateWebhookSecret(ctx, in.ID)
}

func (s *server) testWebhook(ctx context.Context, in *InWebhook) (hongyan.Delivery, error) {
	if _, err := s.getWebhook(ctx, in); err != nil {
		return hongyan.Delivery{}, err
	}
	return s.l.TestWebhook(ctx, in.ID)
}

type inDeliveries struct {
	InWebhook
	Status hongyan.DeliveryState `query:"status" enum:"pending,delivered,failed"`
	Event  hongyan.EventID       `query:"event" maxLength:"64" doc:"Only of this event."`
	Type   hongyan.EventType     `query:"type" maxLength:"64" doc:"Only of this event type."`
	Page
}

func (s *server) listDeliveries(ctx context.Context, in *inDeliveries) (list[hongyan.Delivery], error) {
	if _, err := s.getWebhook(ctx, &in.InWebhook); err != nil {
		return list[hongyan.Delivery]{}, err
	}
	items, next, err := s.l.Deliveries(ctx, in.ID, ledger.DeliveryFilter{Status: in.Status, Event: in.Event, Type: in.Type, Limit: in.Limit, Cursor: in.Cursor})
	return list[hongyan.Delivery]{items, next}, err
}

type inDelivery struct {
	InWebhook
	Delivery hongyan.DeliveryID `path:"delivery"`
}

func (s *server) resendDelivery(ctx context.Context, in *inDelivery) (hongyan.Delivery, error) {
	if _, err := s.getWebhook(ctx, &in.InWebhook); err != nil {
		return hongyan.Delivery{}, err
	}
	return s.l.ResendDelivery(ctx, in.ID, in.Delivery)
}
