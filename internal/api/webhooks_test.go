package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// happen records events as what happens in the app would.
func (w *world) happen(n int) {
	w.t.Helper()
	for i := range n {
		if err := w.l.Announce(w.t.Context(), hongyan.EventUserErased, w.appID(), i); err != nil {
			w.t.Fatal(err)
		}
	}
}

// open connects a reader of the stream, which is closed with the test at the latest.
func (w *world) open(f client.EventFilter, after hongyan.EventID) *client.EventStream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	s, err := w.admin.StreamEvents(ctx, f, after)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cancel(); _ = s.Close() })
	return s
}

func read(t *testing.T, s *client.EventStream, n int) (out []string) {
	t.Helper()
	for range n {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e.Data))
	}
	return out
}

// TestStreamResume: a reader that comes again misses nothing and gets nothing twice, also of
// what happened while it was away.
func TestStreamResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open(client.EventFilter{Types: []hongyan.EventPattern{"user.*"}}, "")
	w.happen(3)
	if got := read(t, s, 2); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("read %q", got)
	}
	last := s.LastID()
	_ = s.Close()
	w.happen(2)
	s = w.open(client.EventFilter{Types: []hongyan.EventPattern{"user.*"}}, last)
	if got := read(t, s, 3); !slices.Equal(got, []string{"2", "0", "1"}) {
		t.Errorf("after coming again: %q", got)
	}
	// One that has seen no event yet can come again too.
	s = w.open(client.EventFilter{App: w.appID()}, "")
	w.happen(1)
	if _, err := s.Next(); err != nil || s.LastID() == "" {
		t.Errorf("no place to go on from: %v", err)
	}
	// Many, in order, while they happen.
	s = w.open(client.EventFilter{Types: []hongyan.EventPattern{"user.erased"}}, "")
	var all sync.WaitGroup
	all.Go(func() {
		for i := range 700 {
			if err := w.l.Announce(context.Background(), hongyan.EventUserErased, w.appID(), i); err != nil {
				t.Errorf("announce: %v", err)
			}
		}
	})
	defer all.Wait()
	for i, got := range read(t, s, 700) {
		if got != fmt.Sprint(i) {
			t.Fatalf("event %d is %s", i, got)
		}
	}
}

func TestStreamRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		filter client.EventFilter
		after  hongyan.EventID
		want   hongyan.Code
	}{
		"type": {client.EventFilter{Types: []hongyan.EventPattern{"nothing.*"}}, "", hongyan.CodeInvalid},
		"id":   {client.EventFilter{}, "17", hongyan.CodeInvalid},
	} {
		if _, err := w.admin.StreamEvents(t.Context(), c.filter, c.after); hongyan.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	limited := w.key([]hongyan.AppID{w.appID()}, hongyan.ScopeRead)
	if _, err := limited.StreamEvents(t.Context(), client.EventFilter{App: "wxother"}, ""); hongyan.CodeOf(err) != hongyan.CodeAppNotFound {
		t.Errorf("another app: %v", err)
	}
	s, err := limited.StreamEvents(t.Context(), client.EventFilter{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := w.l.CreateApp(t.Context(), hongyan.App{AppID: "wx2"}, hongyan.AppSecret{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.l.ListenTo(t.Context(), ledger.EventFilter{}); err != nil {
		t.Fatal(err)
	}
	if err := w.l.Announce(t.Context(), hongyan.EventUserErased, "wx2", "not for it"); err != nil {
		t.Fatal(err)
	}
	w.happen(1)
	if got := read(t, s, 1); got[0] != "0" {
		t.Errorf("a key limited to one app hears %q", got)
	}
	var seen []hongyan.Event
	for e, err := range limited.Events(t.Context(), client.EventFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, e)
	}
	if len(seen) != 1 {
		t.Errorf("and lists %+v", seen)
	}
	if _, err := w.key(nil, hongyan.ScopeSend).StreamEvents(t.Context(), client.EventFilter{}, ""); hongyan.CodeOf(err) != hongyan.CodeForbidden {
		t.Errorf("a key that only sends: %v", err)
	}
}

func TestStreamEndsWithServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open(client.EventFilter{}, "")
	close(w.stopping)
	if _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v, want EOF", err)
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	in := client.WebhookCreate{URL: "https://shop.example/hook", Events: []hongyan.EventPattern{"message.*"}, Description: "shop"}
	made, err := w.admin.CreateWebhook(ctx, in, client.Options{IdempotencyKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.Secret, "whsec_") || !strings.HasPrefix(string(made.ID), "whk_") || !made.Enabled {
		t.Errorf("made: %+v", made)
	}
	if _, err := w.admin.CreateWebhook(ctx, in, client.Options{IdempotencyKey: "k"}); hongyan.CodeOf(err) != hongyan.CodeSecretShownOnce {
		t.Errorf("a repeat: %v", err)
	}
	all, err := w.admin.Webhooks(ctx)
	if err != nil || len(all) != 1 || all[0].Secret != "" {
		t.Errorf("list: %+v, %v", all, err)
	}
	no, url := false, "https://shop.example/other"
	changed, err := w.admin.UpdateWebhook(ctx, made.ID, client.WebhookUpdate{Enabled: &no, URL: &url})
	if err != nil || changed.Enabled || changed.DisabledReason != hongyan.DisabledManual || changed.URL != url || changed.Description != "shop" {
		t.Errorf("changed: %+v, %v", changed, err)
	}
	if _, err := w.admin.TestWebhook(ctx, made.ID); hongyan.CodeOf(err) != hongyan.CodeConflict {
		t.Errorf("test of a disabled one: %v", err)
	}
	yes := true
	if _, err = w.admin.UpdateWebhook(ctx, made.ID, client.WebhookUpdate{Enabled: &yes}); err != nil {
		t.Fatal(err)
	}
	d, err := w.admin.TestWebhook(ctx, made.ID)
	if err != nil || d.Type != hongyan.EventWebhookTest {
		t.Fatalf("test: %+v, %v", d, err)
	}
	for got, err := range w.admin.Deliveries(ctx, made.ID, client.DeliveryFilter{Status: hongyan.DeliveryPending, Event: d.Event, Type: hongyan.EventWebhookTest}) {
		if err != nil || got.ID != d.ID {
			t.Errorf("delivery: %+v, %v", got, err)
		}
	}
	if again, err := w.admin.ResendDelivery(ctx, made.ID, d.ID); err != nil || again.ID != d.ID {
		t.Errorf("resend: %+v, %v", again, err)
	}
	rotated, err := w.admin.RotateWebhookSecret(ctx, made.ID)
	if err != nil || rotated.Secret == "" || rotated.Secret == made.Secret || rotated.PreviousSecretUntil.IsZero() {
		t.Errorf("rotated: %v", err)
	}
	if types, err := w.admin.EventTypes(ctx); err != nil || len(types) != len(hongyan.EventTypes()) {
		t.Errorf("types: %v, %v", types, err)
	}
	limited := w.key([]hongyan.AppID{w.appID()}, hongyan.ScopeManage)
	if _, err := limited.Webhook(ctx, made.ID); hongyan.CodeOf(err) != hongyan.CodeNotFound {
		t.Errorf("a key limited to one app sees a webhook for all: %v", err)
	}
	if _, err := limited.CreateWebhook(ctx, in, client.Options{}); hongyan.CodeOf(err) != hongyan.CodeForbidden {
		t.Errorf("and makes one: %v", err)
	}
	in.Apps = []hongyan.AppID{w.appID()}
	if _, err := limited.CreateWebhook(ctx, in, client.Options{}); err != nil {
		t.Errorf("but not one for its app: %v", err)
	}
	if err := w.admin.DeleteWebhook(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.DeleteWebhook(ctx, made.ID); hongyan.CodeOf(err) != hongyan.CodeNotFound {
		t.Errorf("deleted twice: %v", err)
	}
	if strings.Contains(w.logs.String(), made.Secret) || strings.Contains(w.logs.String(), rotated.Secret) {
		t.Error("a secret is in the log")
	}
}
