package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type callbacksCmd struct {
	Setup      callbacksSetupCmd      `cmd:"" help:"Receive what WeChat pushes, and print the keys for its console, this once."`
	Show       callbacksShowCmd       `cmd:"" help:"Show how pushes are received."`
	Remove     callbacksRemoveCmd     `cmd:"" help:"Receive no pushes any more."`
	List       callbacksListCmd       `cmd:"" help:"List what WeChat pushed, newest first."`
	Get        callbacksGetCmd        `cmd:"" help:"Show a push as it came."`
	Rejections callbacksRejectionsCmd `cmd:"" help:"List the last calls that were refused, and why."`
	Check      callbacksCheckCmd      `cmd:"" help:"Have WeChat resolve and ping the host of the push URL in its console."`
}

func (p *program) callbackConfigColumns() []column[hongyan.CallbackConfig] {
	return []column[hongyan.CallbackConfig]{
		{"PATH", func(c hongyan.CallbackConfig) string { return c.Path }},
		{"TOKEN", func(c hongyan.CallbackConfig) string { return c.Token }},
		{"ENCODING_AES_KEY", func(c hongyan.CallbackConfig) string { return c.EncodingAESKey }},
		{"ENCRYPTED", func(c hongyan.CallbackConfig) string {
			if c.Encrypted {
				return p.say("yes")
			}
			return p.say("no: anybody who saw a push can forge another")
		}},
		{"FORWARD TO", func(c hongyan.CallbackConfig) string { return c.ForwardTo }},
		{"URL CHECKED", func(c hongyan.CallbackConfig) string { return p.when(c.VerifiedAt) }},
		{"LAST PUSH", func(c hongyan.CallbackConfig) string { return p.when(c.LastAt) }},
		{"OLD KEY UNTIL", func(c hongyan.CallbackConfig) string { return p.when(c.PreviousUntil) }},
		{"UPDATED", func(c hongyan.CallbackConfig) string { return p.when(c.UpdatedAt) }},
	}
}

type callbacksSetupCmd struct {
	TokenFile string  `name:"token-file" own:"" type:"path" placeholder:"FILE" help:"File with the Token, 3 to 32 letters and digits. Default: one is made, or stays."`
	KeyFile   string  `name:"encoding-aes-key-file" own:"" type:"path" placeholder:"FILE" help:"File with the EncodingAESKey, 43 letters and digits. Default: one is made, or stays."`
	ForwardTo *string `name:"forward-to" own:"" placeholder:"URL" help:"The handler that the app had before: it gets every push as it came. Empty ends that."`
	Plain     bool    `name:"plain" own:"" help:"Go without an EncodingAESKey: then nothing vouches for what a push says."`
	Renew     bool    `name:"renew" own:"" help:"Make a new token and key."`
	appFlag
	apiFlags
}

// Run implements the command. This is the one place where the keys are printed.
func (c *callbacksSetupCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	in := client.CallbackSetup{ForwardTo: c.ForwardTo, Plain: c.Plain, Renew: c.Renew}
	for file, to := range map[string]**string{c.TokenFile: &in.Token, c.KeyFile: &in.EncodingAESKey} {
		if file == "" {
			continue
		}
		secret, err := p.source.Secret("", file)
		if err != nil {
			return &fault{exit: exitUsage, text: err.Error()}
		}
		*to = &secret
	}
	cfg, err := api.SetCallback(ctx, c.App, in)
	if err != nil {
		return err
	}
	p.tell("In WeChat's console, 消息推送配置, the URL is this server's public address and %s.", cfg.Path)
	if cfg.Token != "" || cfg.EncodingAESKey != "" {
		p.tell("Copy the keys there now: they cannot be shown again.")
	}
	return printOne(p, c.outputFlags, cfg, p.callbackConfigColumns())
}

type callbacksShowCmd struct {
	appFlag
	apiFlags
}

// Run implements the command.
func (c *callbacksShowCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	cfg, err := api.CallbackConfig(ctx, c.App)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, cfg, p.callbackConfigColumns())
}

type callbacksRemoveCmd struct {
	appFlag
	apiFlags
}

// Run implements the command.
func (c *callbacksRemoveCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if err := api.RemoveCallback(ctx, c.App); err != nil {
		return err
	}
	p.tell("App %s receives no pushes any more; what it received stays.", c.App)
	return nil
}

func (p *program) callbackColumns() []column[hongyan.Callback] {
	return []column[hongyan.Callback]{
		{"ID", func(c hongyan.Callback) string { return string(c.ID) }},
		{"RECEIVED", func(c hongyan.Callback) string { return p.when(c.ReceivedAt) }},
		{"EVENT", func(c hongyan.Callback) string { return c.Event }},
		{"OPENID", func(c hongyan.Callback) string { return string(c.OpenID) }},
		{"STATUS", func(c hongyan.Callback) string { return string(c.Status) }},
		{"NOTES", func(c hongyan.Callback) string { return strings.Join(c.Notes, "; ") }},
	}
}

type callbacksListCmd struct {
	Event  string         `name:"event" own:"" help:"Only this event of WeChat's, such as subscribe_msg_sent_event."`
	OpenID hongyan.OpenID `name:"openid" own:"" help:"Only this user."`
	limitFlag
	appFlag
	apiFlags
}

// Run implements the command.
func (c *callbacksListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := take(p, c.Limit, api.Callbacks(ctx, c.App, c.Event, c.OpenID))
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, p.callbackColumns())
}

type callbacksGetCmd struct {
	ID hongyan.CallbackID `arg:"" name:"id" help:"The push's id."`
	appFlag
	apiFlags
}

// Run implements the command. In a table the push stands under it as it came.
func (c *callbacksGetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	cb, err := api.Callback(ctx, c.App, c.ID)
	if err != nil {
		return err
	}
	if err := printOne(p, c.outputFlags, cb, p.callbackColumns()); err != nil || c.format() != "table" || cb.Raw == "" {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "\n%s\n", printable(cb.Raw))
	return err
}

type callbacksRejectionsCmd struct {
	appFlag
	apiFlags
}

// Run implements the command.
func (c *callbacksRejectionsCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := api.CallbackRejections(ctx, c.App)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, []column[hongyan.CallbackRejection]{
		{"AT", func(r hongyan.CallbackRejection) string { return p.when(r.At) }},
		{"REASON", func(r hongyan.CallbackRejection) string { return r.Reason }},
		{"DETAIL", func(r hongyan.CallbackRejection) string { return r.Detail }},
		{"FROM", func(r hongyan.CallbackRejection) string { return r.Remote }},
	})
}
