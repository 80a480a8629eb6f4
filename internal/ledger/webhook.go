package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hongyan-push/hongyan"
)

const webhookColumns = `no, id, url, events, apps, description, previous_until, disabled_at, disabled_reason, failing_since, created_at, updated_at`

func scanWebhook(r scanner, more ...any) (no int64, w hongyan.Webhook, err error) {
	var events, apps string
	var previous, disabled, failing, created, updated int64
	if err = r.Scan(append([]any{&no, &w.ID, &w.URL, &events, &apps, &w.Description, &previous, &disabled, &w.DisabledReason, &failing, &created, &updated}, more...)...); err != nil {
		return no, w, err
	}
	w.Enabled = disabled == 0
	w.PreviousSecretUntil, w.DisabledAt, w.FailingSince, w.CreatedAt, w.UpdatedAt = at(previous), at(disabled), at(failing), at(created), at(updated)
	return no, w, errors.Join(json.Unmarshal([]byte(events), &w.Events), json.Unmarshal([]byte(apps), &w.Apps))
}

func newWebhookSecret() string {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	return hongyan.NewWebhookKey(raw[:]).Reveal()
}

// CreateWebhook makes a webhook and answers it with its secret, which is not shown again.
func (l *Ledger) CreateWebhook(ctx context.Context, w hongyan.Webhook, idem *Idempotency) (hongyan.Webhook, error) {
	if err := l.checkWebhook(&w); err != nil {
		return hongyan.Webhook{}, err
	}
	w.CreatedAt = l.Now().UTC()
	w.ID, w.Secret = hongyan.NewWebhookID(w.CreatedAt), newWebhookSecret()
	secret := w.Secret
	events, _ := json.Marshal(w.Events)
	apps, _ := json.Marshal(w.Apps)
	err := l.change(ctx, "create webhook", func(t *txn) error {
		var n int64
		if err := t.row(`/* ledger.CreateWebhook */ SELECT COUNT(*) FROM webhooks WHERE deleted_at = 0`, nil, &n); err != nil {
			return err
		}
		if n >= hongyan.MaxWebhooks {
			return hongyan.Errorf(hongyan.CodeConflict, "There are %d webhooks, which is the most; delete one first.", n)
		}
		no, err := t.nextNo("webhooks")
		if err != nil {
			return err
		}
		if _, err := t.exec(`/* ledger.CreateWebhook */ INSERT INTO webhooks (no, id, url, events, apps, description, secret, previous, previous_until, disabled_at, disabled_reason, failing_since, created_at, updated_at, deleted_at) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, 0, 0, '', 0, ?, ?, 0)`,
			no, string(w.ID), w.URL, string(events), string(apps), w.Description, l.key.seal(secret, "webhooks", "secret", string(w.ID)), t.now, t.now); err != nil {
			return err
		}
		if err := t.auditDiff(onlyApp(w.Apps), "webhook", string(w.ID), nil, webhookFacts(w, true), hongyan.ChangedSecret("/secret", false, true)); err != nil {
			return err
		}
		return t.remember(idem, 201, string(w.ID))
	})
	if err != nil {
		return hongyan.Webhook{}, err
	}
	w, err = l.Webhook(ctx, w.ID)
	w.Secret = secret
	return w, err
}

// webhookFacts are what the audit log compares of a webhook.
func webhookFacts(w hongyan.Webhook, enabled bool) any {
	return map[string]any{"url": w.URL, "events": w.Events, "apps": w.Apps, "description": w.Description, "enabled": enabled}
}

func (l *Ledger) checkWebhook(w *hongyan.Webhook) error {
	f := w.Check()
	for i, id := range w.Apps {
		if _, err := l.app(id); err != nil {
			f = append(f, hongyan.FieldError{Pointer: fmt.Sprintf("/apps/%d", i), Code: "not_found", Detail: fmt.Sprintf("There is no app %q here.", clipped(string(id)))})
		}
	}
	if len(f) > 0 {
		return &hongyan.Error{Code: hongyan.CodeInvalid, Message: f[0].Detail, Fields: f}
	}
	return nil
}

func noWebhook(id hongyan.WebhookID) error {
	return hongyan.Errorf(hongyan.CodeNotFound, "There is no webhook %.40s here.", string(id))
}

// Webhook is one webhook, without its secret.
func (l *Ledger) Webhook(ctx context.Context, id hongyan.WebhookID) (hongyan.Webhook, error) {
	_, w, err := l.webhook(ctx, id)
	return w, err
}

func (l *Ledger) webhook(ctx context.Context, id hongyan.WebhookID) (int64, hongyan.Webhook, error) {
	no, w, err := scanWebhook(l.rdb.QueryRowContext(ctx, `/* ledger.Webhook */ SELECT `+webhookColumns+` FROM webhooks WHERE id = ? AND deleted_at = 0`, string(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return 0, w, noWebhook(id)
	}
	if err != nil {
		return 0, w, fmt.Errorf("read webhook: %w", err)
	}
	return no, w, nil
}

// Webhooks lists every webhook, oldest first.
func (l *Ledger) Webhooks(ctx context.Context) ([]hongyan.Webhook, error) {
	out := []hongyan.Webhook{}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Webhooks */ SELECT `+webhookColumns+` FROM webhooks WHERE deleted_at = 0 ORDER BY no`)
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		_, w, err := scanWebhook(r)
		out = append(out, w)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	return out, nil
}

// enabledWebhooks reads those that get deliveries, with their secrets.
func (l *Ledger) enabledWebhooks(ctx context.Context) ([]*listener, error) {
	var out []*listener
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.enabledWebhooks */ SELECT `+webhookColumns+`, secret, previous FROM webhooks WHERE disabled_at = 0 AND deleted_at = 0`)
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var secret, previous []byte
		no, w, err := scanWebhook(r, &secret, &previous)
		if err != nil {
			return err
		}
		x := &listener{no: no, events: w.Events, apps: w.Apps, webhook: w}
		clear, err := l.key.open(secret, "webhooks", "secret", string(w.ID))
		if err == nil && previous != nil {
			var old string
			old, err = l.key.open(previous, "webhooks", "previous", string(w.ID))
			x.previous = hongyan.NewWebhookSecret(old)
		}
		x.secret = hongyan.NewWebhookSecret(clear)
		out = append(out, x)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	return out, nil
}

// WebhookUpdate changes what is not nil.
type WebhookUpdate struct {
	URL         *string
	Events      *[]hongyan.EventPattern
	Apps        *[]hongyan.AppID
	Description *string
	// Enabled true begins anew, whatever it was disabled for: what waits for it is posted.
	Enabled *bool
}

// UpdateWebhook changes a webhook.
func (l *Ledger) UpdateWebhook(ctx context.Context, id hongyan.WebhookID, u WebhookUpdate) (hongyan.Webhook, error) {
	err := l.change(ctx, "update webhook", func(t *txn) error {
		no, w, err := t.webhook(id)
		if err != nil {
			return err
		}
		was, enabled := w, w.Enabled
		set(&enabled, u.Enabled)
		set(&w.URL, u.URL)
		set(&w.Events, u.Events)
		set(&w.Apps, u.Apps)
		set(&w.Description, u.Description)
		if err := l.checkWebhook(&w); err != nil {
			return err
		}
		if err := t.auditDiff(onlyApp(was.Apps), "webhook", string(id), webhookFacts(was, was.Enabled), webhookFacts(w, enabled)); err != nil {
			return err
		}
		events, _ := json.Marshal(w.Events)
		apps, _ := json.Marshal(w.Apps)
		if _, err := t.exec(`/* ledger.UpdateWebhook */ UPDATE webhooks SET url = ?, events = ?, apps = ?, description = ?, updated_at = ? WHERE no = ?`,
			w.URL, string(events), string(apps), w.Description, t.now, no); err != nil || u.Enabled == nil || *u.Enabled == w.Enabled {
			return err
		}
		if !*u.Enabled {
			return t.disable(no, hongyan.DisabledManual)
		}
		t.after = append(t.after, l.bell.ring)
		_, err = t.exec(`/* ledger.UpdateWebhook */ UPDATE webhooks SET disabled_at = 0, disabled_reason = '', failing_since = 0 WHERE no = ?`, no)
		return err
	})
	if err != nil {
		return hongyan.Webhook{}, err
	}
	return l.Webhook(ctx, id)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// webhook reads and locks one.
func (t *txn) webhook(id hongyan.WebhookID) (no int64, w hongyan.Webhook, err error) {
	err = t.rows(`/* ledger.webhook */ SELECT `+webhookColumns+` FROM webhooks WHERE id = ? AND deleted_at = 0`+t.l.d.lock, []any{string(id)}, func(r scanner) (err error) {
		no, w, err = scanWebhook(r)
		return err
	})
	if err == nil && no == 0 {
		err = noWebhook(id)
	}
	return no, w, err
}

func (t *txn) disable(no int64, why hongyan.DisabledReason) error {
	_, err := t.exec(`/* ledger.disable */ UPDATE webhooks SET disabled_at = ?, disabled_reason = ?, updated_at = ? WHERE no = ? AND disabled_at = 0`, t.now, string(why), t.now, no)
	return err
}

// DeleteWebhook ends a webhook and everything that waits for it.
func (l *Ledger) DeleteWebhook(ctx context.Context, id hongyan.WebhookID) error {
	return l.change(ctx, "delete webhook", func(t *txn) error {
		_, w, err := t.webhook(id)
		if err != nil {
			return err
		}
		if _, err := t.exec(`/* ledger.DeleteWebhook */ UPDATE webhooks SET deleted_at = ? WHERE id = ? AND deleted_at = 0`, t.now, string(id)); err != nil {
			return err
		}
		return t.auditDiff(onlyApp(w.Apps), "webhook", string(id), webhookFacts(w, w.Enabled), nil)
	})
}

// RotateWebhookSecret makes a new secret and answers it. The one before signs too for a day,
// so that receivers can change over; one before that ends at once.
func (l *Ledger) RotateWebhookSecret(ctx context.Context, id hongyan.WebhookID) (hongyan.Webhook, error) {
	secret := newWebhookSecret()
	err := l.change(ctx, "rotate webhook secret", func(t *txn) error {
		no, w, err := t.webhook(id)
		if err != nil {
			return err
		}
		if err := t.audit(onlyApp(w.Apps), "webhook", string(id), hongyan.ChangedSecret("/secret", true, true)); err != nil {
			return err
		}
		var sealed []byte
		if err := t.row(`/* ledger.RotateWebhookSecret */ SELECT secret FROM webhooks WHERE no = ?`, []any{no}, &sealed); err != nil {
			return err
		}
		old, err := l.key.open(sealed, "webhooks", "secret", string(id))
		if err != nil {
			return err
		}
		_, err = t.exec(`/* ledger.RotateWebhookSecret */ UPDATE webhooks SET secret = ?, previous = ?, previous_until = ?, updated_at = ? WHERE no = ?`,
			l.key.seal(secret, "webhooks", "secret", string(id)), l.key.seal(old, "webhooks", "previous", string(id)),
			t.now+hongyan.PreviousSecretFor.Milliseconds(), t.now, no)
		return err
	})
	if err != nil {
		return hongyan.Webhook{}, err
	}
	w, err := l.Webhook(ctx, id)
	w.Secret = secret
	return w, err
}

// disableWebhooks ends webhooks that nobody answers at any more, and tells the operator.
func (l *Ledger) disableWebhooks(ctx context.Context, why map[int64]hongyan.DisabledReason) error {
	if len(why) == 0 {
		return nil
	}
	err := l.change(ctx, "disable webhooks", func(t *txn) error {
		for _, no := range sortedKeys(why) {
			if err := t.disable(no, why[no]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, no := range sortedKeys(why) {
		l.log.WarnContext(ctx, "webhook disabled; nothing is sent there until a person enables it", "webhook_no", no, "reason", string(why[no]))
	}
	return nil
}

// webhookTest is the data of a test.
type webhookTest struct {
	Webhook hongyan.WebhookID `json:"webhook"`
	Text    hongyan.Text      `json:"text"`
}

// TestWebhook sends a webhook.test event to one webhook, whatever it subscribed to.
func (l *Ledger) TestWebhook(ctx context.Context, id hongyan.WebhookID) (hongyan.Delivery, error) {
	no, w, err := l.webhook(ctx, id)
	if err != nil {
		return hongyan.Delivery{}, err
	}
	if !w.Enabled {
		return hongyan.Delivery{}, hongyan.Errorf(hongyan.CodeConflict, "The webhook is disabled (%s); enable it first.", w.DisabledReason)
	}
	begun := l.newID(ms(l.Now()))
	err = l.write(ctx, "test webhook", func(t *txn) error {
		info, _ := hongyan.LookupEventType(hongyan.EventWebhookTest)
		t.news = append(t.news, news{typ: hongyan.EventWebhookTest, data: eventData(webhookTest{id, info.Text}), only: &listener{no: no}})
		return nil
	})
	if err != nil {
		return hongyan.Delivery{}, err
	}
	list, _, err := l.deliveries(ctx, no, w, DeliveryFilter{after: begun[:], Type: hongyan.EventWebhookTest, Limit: 1})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("test webhook: its delivery is not there")
	}
	if err != nil {
		return hongyan.Delivery{}, err
	}
	return list[0], nil
}

// signingSecrets are the secrets that sign now, the newest first.
func (x *listener) signingSecrets(now time.Time) []hongyan.WebhookSecret {
	out := []hongyan.WebhookSecret{x.secret}
	if !x.previous.IsZero() && now.Before(x.webhook.PreviousSecretUntil) {
		out = append(out, x.previous)
	}
	return out
}
