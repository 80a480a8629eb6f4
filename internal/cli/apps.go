package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type appsCmd struct {
	List   appsListCmd   `cmd:"" help:"List the apps."`
	Get    appsGetCmd    `cmd:"" help:"Show an app with its pauses."`
	Add    appsAddCmd    `cmd:"" help:"Add an app. Its AppSecret comes from standard input, a file or HONGYAN_APPSECRET."`
	Update appsUpdateCmd `cmd:"" help:"Change an app's name, settings or AppSecret."`
	Pause  appsPauseCmd  `cmd:"" help:"Hold sending back until somebody resumes it."`
	Resume appsResumeCmd `cmd:"" help:"End a pause."`

	Quota      appsQuotaCmd      `cmd:"" help:"Show how much of one of WeChat's APIs the app may use."`
	ClearQuota appsClearQuotaCmd `cmd:"" help:"Set used quotas at WeChat back to nothing."`
	Rid        appsRidCmd        `cmd:"" help:"Show a refused call as WeChat saw it, by the rid of its errmsg."`
}

func (p *program) appColumns() []column[hongyan.App] {
	return []column[hongyan.App]{
		{"APPID", func(a hongyan.App) string { return string(a.AppID) }},
		{"NAME", func(a hongyan.App) string { return a.Name }},
		{"SECRET", func(a hongyan.App) string {
			if a.HasSecret {
				return p.say("yes")
			}
			return p.say("no")
		}},
		{"PAUSES", func(a hongyan.App) string { return pauseWords(a.Pauses) }},
		{"CREATED", func(a hongyan.App) string { return p.when(a.CreatedAt) }},
	}
}

func pauseWords(pauses []hongyan.Pause) string {
	var words []string
	for _, ps := range pauses {
		w := string(ps.Scope)
		if ps.Key != "" {
			w += " " + ps.Key
		}
		words = append(words, w+": "+ps.Reason)
	}
	return strings.Join(words, ", ")
}

type appsListCmd struct{ apiFlags }

// Run implements the command.
func (c *appsListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	apps, err := api.Apps(ctx)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, apps, p.appColumns())
}

type appsGetCmd struct {
	AppID hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	apiFlags
}

// Run implements the command.
func (c *appsGetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	app, err := api.App(ctx, c.AppID)
	if err != nil {
		return err
	}
	return p.printApp(c.outputFlags, app)
}

// printApp shows an app with its settings, and with what ends each pause.
func (p *program) printApp(o outputFlags, app hongyan.App) error {
	cols := append(p.appColumns(), column[hongyan.App]{"SETTINGS", func(a hongyan.App) string {
		b, _ := json.Marshal(a.Settings)
		if string(b) == "{}" {
			return ""
		}
		return string(b)
	}})
	if err := printOne(p, o, app, cols); err != nil || o.format() != "table" {
		return err
	}
	for _, ps := range app.Pauses {
		fmt.Fprintln(p.stderr, printable("! "+pauseWords([]hongyan.Pause{ps})+" "+ps.Detail+"\n  "+ps.Remedy.In(p.lang)))
	}
	return nil
}

// settingFlags change settings by the names that the API has for them.
type settingFlags struct {
	Set []string `name:"set" own:"" sep:"none" placeholder:"KEY=VALUE" help:"A setting, such as history=new or pace_per_second=50; an empty value restores the default. May be repeated."`
}

// values reads them: JSON where it is JSON, text otherwise.
func (f settingFlags) values(p *program) (map[string]any, error) {
	pairs, err := p.pairs("--set", f.Set)
	if err != nil || pairs == nil {
		return nil, err
	}
	out := make(map[string]any, len(pairs))
	for k, v := range pairs {
		var parsed any
		switch {
		case v == "":
			out[k] = nil
		case json.Unmarshal([]byte(v), &parsed) == nil:
			out[k] = parsed
		default:
			out[k] = v
		}
	}
	return out, nil
}

// tokenSecretFlag is for apps with a token_url.
type tokenSecretFlag struct {
	TokenSecretFile string `name:"token-secret-file" own:"" type:"path" placeholder:"FILE" help:"File with what the service at token_url wants to be shown; an empty one takes it away."`
}

type appsAddCmd struct {
	AppID      hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	Name       string        `name:"name" own:"" help:"A name for people."`
	SecretFile string        `name:"secret-file" twin:"HONGYAN_APPSECRET_FILE" type:"path" placeholder:"FILE" help:"File with the AppSecret; a dash is standard input."`
	NoSecret   bool          `name:"no-secret" own:"" help:"Add it without an AppSecret, for token_mode none or external."`
	SkipCheck  bool          `name:"skip-check" own:"" help:"Do not try AppSecret and token_url first."`
	tokenSecretFlag
	settingFlags
	apiFlags
}

// Run implements the command.
func (c *appsAddCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	in := client.AppCreate{AppID: c.AppID, Name: c.Name, SkipCheck: c.SkipCheck}
	set, err := c.values(p)
	if err != nil {
		return err
	}
	if in.Settings, err = p.appSettings(set); err != nil {
		return err
	}
	if !c.NoSecret {
		if in.Secret, err = p.secret("HONGYAN_APPSECRET", c.SecretFile); err != nil {
			return err
		}
	}
	if c.TokenSecretFile != "" {
		if in.TokenSecret, err = p.secret("", c.TokenSecretFile); err != nil {
			return err
		}
	}
	app, err := api.CreateApp(ctx, in, client.Options{})
	if err != nil {
		return err
	}
	return p.printApp(c.outputFlags, app)
}

func (p *program) appSettings(set map[string]any) (hongyan.AppSettings, error) {
	var s hongyan.AppSettings
	b, err := json.Marshal(set)
	if err != nil {
		return s, fmt.Errorf("--set: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, p.usage("--set: "+strings.TrimPrefix(err.Error(), "json: "), p.say("The settings stand in the API reference at /docs, under AppSettings."))
	}
	return s, nil
}

type appsUpdateCmd struct {
	AppID      hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	Name       *string       `name:"name" own:"" help:"A name for people."`
	SecretFile string        `name:"secret-file" own:"" type:"path" placeholder:"FILE" help:"File with a new AppSecret; a dash is standard input. It is tried before it replaces the old one."`
	SkipCheck  bool          `name:"skip-check" own:"" help:"Do not try AppSecret and token_url first."`
	tokenSecretFlag
	settingFlags
	apiFlags
}

// Run implements the command.
func (c *appsUpdateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	in := client.AppUpdate{Name: c.Name, SkipCheck: c.SkipCheck}
	set, err := c.values(p)
	if err != nil {
		return err
	}
	if set != nil {
		in.Settings = set
	}
	if c.SecretFile != "" {
		secret, err := p.secret("", c.SecretFile)
		if err != nil {
			return err
		}
		in.Secret = &secret
	}
	if c.TokenSecretFile != "" {
		secret, err := p.secret("", c.TokenSecretFile)
		if err != nil {
			return err
		}
		in.TokenSecret = &secret
	}
	if in.Name == nil && in.Settings == nil && in.Secret == nil && in.TokenSecret == nil {
		return p.usage(p.say("nothing to change"), p.say("Give --name, --set, --secret-file or --token-secret-file."))
	}
	app, err := api.UpdateApp(ctx, c.AppID, in)
	if err != nil {
		return err
	}
	return p.printApp(c.outputFlags, app)
}

// pauseFlags name what is held back; without them it is the app.
type pauseFlags struct {
	AppID    hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	Template string        `name:"template" own:"" xor:"scope" help:"Only this template, by id or alias."`
	Path     string        `name:"path" own:"" xor:"scope" help:"Only this API path of WeChat's."`
}

func (f pauseFlags) pause() client.Pause {
	switch {
	case f.Template != "":
		return client.Pause{Scope: hongyan.PauseTemplate, Key: f.Template}
	case f.Path != "":
		return client.Pause{Scope: hongyan.PausePath, Key: f.Path}
	}
	return client.Pause{Scope: hongyan.PauseApp}
}

type appsPauseCmd struct {
	pauseFlags
	Reason string `name:"reason" own:"" help:"Why, for the people who find the pause."`
	apiFlags
}

// Run implements the command.
func (c *appsPauseCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	ps := c.pause()
	ps.Detail = c.Reason
	app, err := api.Pause(ctx, c.AppID, ps)
	if err != nil {
		return err
	}
	return p.printApp(c.outputFlags, app)
}

type appsResumeCmd struct {
	pauseFlags
	apiFlags
}

// Run implements the command.
func (c *appsResumeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	app, err := api.Resume(ctx, c.AppID, c.pause())
	if err != nil {
		return err
	}
	return p.printApp(c.outputFlags, app)
}
