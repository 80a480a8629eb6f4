package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

// demoReady is the line of `demo --json`.
type demoReady struct {
	API         string             `json:"api"`
	Console     string             `json:"console"`
	Name        string             `json:"console_name"`
	Password    string             `json:"console_password"`
	Gateway     string             `json:"gateway"`
	Sandbox     string             `json:"sandbox"`
	AppID       hongyan.AppID      `json:"appid"`
	AppSecret   string             `json:"appsecret"`
	APIKey      string             `json:"api_key"`
	GatewayKey  string             `json:"gateway_key"`
	TemplateIDs []string           `json:"template_ids"`
	OpenIDs     []string           `json:"openids"`
	Example     hongyan.Submission `json:"example"`
}

const (
	demoUsers = 3
	demoTaps  = 3
)

// demoTemplates are titles of the sandbox's library, by tid, with the keywords chosen.
var demoTemplates = []client.TemplateAdd{
	{TID: "2001", KIDs: []int{1, 2, 3, 4, 11}, SceneDesc: "支付成功后通知买家"},
	{TID: "1458", KIDs: []int{2, 3, 5, 8, 12}, SceneDesc: "发货后通知买家"},
}

// prepare goes the way of every integrator: what is WeChat's it does in the sandbox, what
// is ours through the public API.
func (d *demo) prepare(ctx context.Context, key string) (demoReady, error) {
	url := d.server.URL()
	r := demoReady{API: url, Console: url + "/console/", Name: demoMember, Password: d.password, Sandbox: d.sandboxURL, APIKey: key}
	c, err := client.New(client.Config{BaseURL: url, APIKey: key, UserAgent: "hongyan-demo"})
	if err != nil {
		return r, err
	}
	app, err := d.sandbox.CreateApp(sandbox.AppSpec{Name: "鸿雁演示小程序"})
	if err != nil {
		return r, err
	}
	r.AppID, r.AppSecret = hongyan.AppID(app.AppID), app.Secret
	if _, err := c.CreateApp(ctx, client.AppCreate{AppID: r.AppID, Secret: app.Secret, Name: app.Name,
		Settings: hongyan.AppSettings{History: hongyan.HistoryNew, MP: hongyan.SwitchOn}}, client.Options{}); err != nil {
		return r, fmt.Errorf("add the app: %w", err)
	}
	gateway, err := c.CreateKey(ctx, client.KeyCreate{Name: "demo gateway", Apps: []hongyan.AppID{r.AppID}, Scopes: []hongyan.Scope{
		hongyan.ScopeGateway, hongyan.ScopeGatewayTemplates, hongyan.ScopeGatewayQuota, hongyan.ScopeGatewayRelay}}, client.Options{})
	if err != nil {
		return r, fmt.Errorf("make a gateway key: %w", err)
	}
	r.Gateway, r.GatewayKey = d.server.GatewayURL(), gateway.Key
	if r.TemplateIDs, r.Example.Data, err = d.addTemplates(ctx, c, r.AppID); err != nil {
		return r, err
	}
	if err := d.receive(ctx, c, r.AppID); err != nil {
		return r, err
	}
	// What the sample mini program asks for once an order is paid.
	scene := hongyan.Scene{Name: "order_paid"}
	for _, id := range r.TemplateIDs {
		scene.Templates = append(scene.Templates, hongyan.SceneTemplate{Template: id, Wanted: 3})
	}
	if _, err := c.SetScene(ctx, r.AppID, scene); err != nil {
		return r, fmt.Errorf("set the scene: %w", err)
	}
	if r.OpenIDs, err = d.logIn(ctx, c, r.AppID); err != nil {
		return r, err
	}
	r.Example.App, r.Example.Template = r.AppID, r.TemplateIDs[0]
	r.Example.To.OpenID = hongyan.OpenID(r.OpenIDs[0])
	return r, d.subscribe(ctx, c, r.Example)
}

// addTemplates answers the ids, and data that the first one takes.
func (d *demo) addTemplates(ctx context.Context, c *client.Client, app hongyan.AppID) ([]string, map[string]string, error) {
	var ids []string
	for _, t := range demoTemplates {
		added, err := c.AddTemplate(ctx, app, t, client.Options{})
		if err != nil {
			return nil, nil, fmt.Errorf("add template %s: %w", t.TID, err)
		}
		ids = append(ids, added.TemplateID)
	}
	synced, err := c.SyncTemplates(ctx, app)
	if err != nil {
		return nil, nil, fmt.Errorf("sync the templates: %w", err)
	}
	data := make(map[string]string)
	for _, t := range synced {
		if t.TemplateID != ids[0] {
			continue
		}
		for _, k := range t.Keywords {
			data[k.Key] = k.Example
		}
	}
	return ids, data, nil
}

// receive lets the sandbox push to the server what WeChat would: taps, and what became of sends.
func (d *demo) receive(ctx context.Context, c *client.Client, app hongyan.AppID) error {
	keys, err := c.SetCallback(ctx, app, client.CallbackSetup{})
	if err != nil {
		return fmt.Errorf("receive callbacks: %w", err)
	}
	if _, err := d.sandbox.SetPush(ctx, string(app), sandbox.PushSpec{URL: d.server.PublicURL() + keys.Path, Token: keys.Token, AESKey: keys.EncodingAESKey}); err != nil {
		return fmt.Errorf("receive callbacks: %w", err)
	}
	return nil
}

// logIn makes users who open the mini program.
func (d *demo) logIn(ctx context.Context, c *client.Client, app hongyan.AppID) ([]string, error) {
	users, err := d.sandbox.AddUsers(sandbox.UsersSpec{AppID: string(app), Count: demoUsers})
	if err != nil {
		return nil, err
	}
	for _, openid := range users.OpenIDs {
		login, err := d.sandbox.Login(sandbox.LoginSpec{AppID: string(app), OpenID: openid})
		if err != nil {
			return nil, err
		}
		if _, err := c.Login(ctx, app, login.Code, ""); err != nil {
			return nil, fmt.Errorf("log a user in: %w", err)
		}
	}
	return users.OpenIDs, nil
}

// subscribe lets the user of the example tap accept, and reports it as a mini program does.
func (d *demo) subscribe(ctx context.Context, c *client.Client, ex hongyan.Submission) error {
	for i := range demoTaps {
		tap, err := d.sandbox.Tap(sandbox.TapSpec{AppID: string(ex.App), OpenID: string(ex.To.OpenID), TemplateIDs: []string{ex.Template}})
		if err != nil {
			return err
		}
		choice := tap.Success[ex.Template]
		if _, err := c.Report(ctx, ex.App, hongyan.Report{ID: fmt.Sprintf("demo-%d", i+1), OpenID: ex.To.OpenID, Template: ex.Template, Choice: choice}); err != nil {
			return fmt.Errorf("report a tap: %w", err)
		}
	}
	return nil
}

// tell prints what runs where, and lines that work when they are pasted.
func (d *demo) tell(r demoReady) error {
	body, err := shellJSON(r.Example)
	if err != nil {
		return err
	}
	say := d.p.say
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", say("Hongyan is running with a local WeChat; nothing leaves this machine."))
	line("")
	line("  API      %s   %s", r.API, say("(reference: %s/docs)", r.API))
	line("  %s  %s   %s", say("console"), r.Console, say("(name %s, password %s)", r.Name, r.Password))
	line("  WeChat   %s   %s", r.Sandbox, say("(the sandbox)"))
	line("  %s  %s   %s", say("gateway"), r.Gateway, say("(WeChat's own paths for SDKs; in place of the AppSecret: %s)", r.GatewayKey))
	line("  %s", say("app      %s with %d templates and %d users; the first user has accepted %d messages", r.AppID, len(r.TemplateIDs), len(r.OpenIDs), demoTaps))
	line("")
	line("%s", say("What to do next. Send a message to the first user:"))
	line("")
	line("curl -sS %s/v1/messages -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '%s'", r.API, r.APIKey, body)
	line("")
	line("%s", say("See what arrived on the phone:"))
	line("")
	line("curl -sS '%s/_sandbox/outbox?appid=%s'", r.Sandbox, r.AppID)
	line("")
	line("%s", say("Or use this program in another terminal:"))
	line("")
	line("export HONGYAN_API=%s HONGYAN_API_KEY=%s HONGYAN_APP=%s", r.API, r.APIKey, r.AppID)
	line("hongyan messages list")
	line("")
	if d.cmd.Data == "" {
		line("%s", say("Ctrl-C ends it and removes its data."))
	} else {
		line("%s", say("Ctrl-C ends it; its data stays in %s.", d.cmd.Data))
	}
	_, err = io.WriteString(d.p.stdout, b.String())
	return err
}

// shellJSON is JSON on one line that stands between single quotes in a shell.
func shellJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("print: %w", err)
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "'", `\u0027`), nil
}
