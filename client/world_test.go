package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/server"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a real server on SQLite before a real sandbox, with an app, a template and users.
type world struct {
	url      string
	key      string
	app      hongyan.AppID
	template string // has the alias order_paid and the fields thing2 and amount3
	box      *sandbox.Sandbox
	openids  []hongyan.OpenID
	close    func()
}

// startWorld is for examples; tests use [newWorld].
func startWorld() (*world, error) {
	w := &world{key: "owner-key-for-tests-of-40-characters-000", box: sandbox.New(sandbox.Config{})}
	wx := httptest.NewServer(w.box)
	dir, err := os.MkdirTemp("", "hongyan-client-")
	if err != nil {
		return nil, err
	}
	srv, err := server.New(context.Background(), config.Config{Data: dir, Listen: "127.0.0.1:0", AdminKey: w.key, WeChatURL: wx.URL,
		OutboundAllow: []string{"127.0.0.0/8"}, Senders: 4, StopTimeout: 10 * time.Second}, server.Options{Now: w.box.Now})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	w.close = func() {
		cancel()
		<-done
		_ = w.box.Close()
		wx.Close()
		_ = os.RemoveAll(dir)
	}
	w.url = srv.URL()
	return w, w.prepare(context.Background())
}

func (w *world) prepare(ctx context.Context) error {
	c, err := client.New(client.Config{BaseURL: w.url, APIKey: w.key})
	if err != nil {
		return err
	}
	app, err := w.box.CreateApp(sandbox.AppSpec{Name: "书店"})
	if err != nil {
		return err
	}
	w.app = hongyan.AppID(app.AppID)
	users, err := w.box.AddUsers(sandbox.UsersSpec{AppID: app.AppID, Count: 3})
	if err != nil {
		return err
	}
	for _, id := range users.OpenIDs {
		w.openids = append(w.openids, hongyan.OpenID(id))
	}
	if _, err := c.CreateApp(ctx, client.AppCreate{AppID: w.app, Secret: app.Secret, Settings: hongyan.AppSettings{History: hongyan.HistoryNew}}, client.Options{}); err != nil {
		return err
	}
	t, err := c.AddTemplate(ctx, w.app, client.TemplateAdd{TID: "2001", KIDs: []int{2, 3}, SceneDesc: "支付后通知"}, client.Options{})
	if err != nil {
		return err
	}
	w.template = t.TemplateID
	_, err1 := c.SyncTemplates(ctx, w.app)
	_, err2 := c.SetAlias(ctx, w.app, t.TemplateID, "order_paid")
	return errors.Join(err1, err2, w.accept(ctx, w.openids[0], 2))
}

// accept lets a user tap accept n times, and reports it.
func (w *world) accept(ctx context.Context, to hongyan.OpenID, n int) error {
	c, err := client.New(client.Config{BaseURL: w.url, APIKey: w.key})
	if err != nil {
		return err
	}
	for i := range n {
		if _, err := w.box.Tap(sandbox.TapSpec{AppID: string(w.app), OpenID: string(to), TemplateIDs: []string{w.template}}); err != nil {
			return err
		}
		if _, err := c.Report(ctx, w.app, hongyan.Report{ID: string(to) + string(rune('a'+i)), OpenID: to, Template: w.template, Choice: "accept"}); err != nil {
			return err
		}
	}
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := startWorld()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// client is one whose connections end with the test.
func (w *world) client(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	if cfg.BaseURL == "" {
		cfg.BaseURL = w.url
	}
	cfg.APIKey = w.key
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) submission(to hongyan.OpenID) hongyan.Submission {
	return hongyan.Submission{App: w.app, To: hongyan.Recipient{OpenID: to}, Template: "order_paid", Data: map[string]string{"thing2": "红楼梦", "amount3": "¥59.80"}}
}

// cards counts what phones received.
func (w *world) cards(t *testing.T) int {
	t.Helper()
	page, err := w.box.Outbox(sandbox.OutboxQuery{AppID: string(w.app)})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Items)
}

// signed is a webhook delivery.
func signed(t *testing.T, secret hongyan.WebhookSecret, method string, body []byte) *http.Request {
	t.Helper()
	now := time.Now()
	signature, err := secret.Sign("evt_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, "/", bytes.NewReader(body))
	for name, v := range map[string]string{"webhook-id": "evt_1", "webhook-timestamp": strconv.FormatInt(now.Unix(), 10), "webhook-signature": signature} {
		r.Header.Set(name, v)
	}
	return r
}
