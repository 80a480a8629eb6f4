package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/progtest"
)

// target is something that a client takes for WeChat.
type target struct {
	name string
	base string
	// admit lets a world's app in and answers what the client gives as its AppSecret.
	admit func(t *testing.T, w *world) string
}

func targets(demo progtest.Demo) []target { return []target{sandboxOf(demo), gatewayOf(demo)} }

func sandboxOf(demo progtest.Demo) target {
	return target{"sandbox", demo.Sandbox, func(_ *testing.T, w *world) string { return w.appSecret }}
}

func gatewayOf(demo progtest.Demo) target { return target{"gateway", demo.Gateway, admitToGateway} }

// world is an app of a client's own, so that clients do not meet: two users, of whom the
// first has accepted two messages of the only template, and a login code of hers.
type world struct {
	demo                     progtest.Demo
	base, secret             string
	appid, appSecret         string
	user, stranger, template string
	code                     string
}

func newWorld(t *testing.T, demo progtest.Demo, to target) *world {
	t.Helper()
	w := &world{demo: demo, base: to.base}
	var app struct{ AppID, Secret string }
	w.control(t, "POST", "/apps", object{}, &app)
	w.appid, w.appSecret = app.AppID, app.Secret
	var tmpl struct {
		TemplateID string `json:"template_id"`
	}
	w.control(t, "POST", "/templates", object{"appid": w.appid, "tid": "5033", "kids": []int{1, 2, 3}}, &tmpl)
	w.template = tmpl.TemplateID
	var users struct{ OpenIDs []string }
	w.control(t, "POST", "/users", object{"appid": w.appid, "count": 2}, &users)
	w.user, w.stranger = users.OpenIDs[0], users.OpenIDs[1]
	w.secret = to.admit(t, w)
	w.control(t, "POST", "/taps", object{"appid": w.appid, "openid": w.user, "template_ids": []string{w.template}, "times": 2}, nil)
	w.control(t, "POST", "/pushes/flush", nil, nil)
	var login struct{ Code string }
	w.control(t, "POST", "/login", object{"appid": w.appid, "openid": w.user}, &login)
	w.code = login.Code
	return w
}

// admitToGateway adds the app to the server, as its operator would, and makes a key for it.
func admitToGateway(t *testing.T, w *world) string {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: w.demo.API, APIKey: w.demo.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	ctx, app := t.Context(), hongyan.AppID(w.appid)
	if _, err := c.CreateApp(ctx, client.AppCreate{AppID: app, Secret: w.appSecret, Name: "conformance"}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SyncTemplates(ctx, app); err != nil {
		t.Fatal(err)
	}
	keys, err := c.SetCallback(ctx, app, client.CallbackSetup{})
	if err != nil {
		t.Fatal(err)
	}
	w.control(t, "PUT", "/apps/"+w.appid+"/push", object{"url": w.demo.API + keys.Path, "token": keys.Token, "encoding_aes_key": keys.EncodingAESKey}, nil)
	key, err := c.CreateKey(ctx, client.KeyCreate{Name: "sdk", Scopes: []hongyan.Scope{hongyan.ScopeGateway, hongyan.ScopeGatewayTemplates}, Apps: []hongyan.AppID{app}}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return key.Key
}

// killTokens ends every token that WeChat has given out for the app.
func (w *world) killTokens(t *testing.T) {
	t.Helper()
	w.control(t, "POST", "/tokens", object{"appid": w.appid, "action": "supersede"}, nil)
}

// sends is how often WeChat was asked to send a message of the app.
func (w *world) sends(t *testing.T) int {
	t.Helper()
	var calls struct{ Items []json.RawMessage }
	w.control(t, "GET", "/calls?path=/cgi-bin/message/subscribe/send&appid="+w.appid, nil, &calls)
	return len(calls.Items)
}

// cards is how many arrived on the phones of the app's users.
func (w *world) cards(t *testing.T) int {
	t.Helper()
	var box struct{ Items []json.RawMessage }
	w.control(t, "GET", "/outbox?appid="+w.appid, nil, &box)
	return len(box.Items)
}

type object = map[string]any

// control makes a call to the sandbox's control surface.
func (w *world) control(t *testing.T, method, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if in == nil {
		body = nil
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.demo.Sandbox+"/_sandbox"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, answer)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
}
