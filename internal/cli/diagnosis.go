package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type appsQuotaCmd struct {
	AppID hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	Path  string        `arg:"" name:"path" default:"/cgi-bin/message/subscribe/send" help:"API path of WeChat's. Default: that of sending."`
	apiFlags
}

// Run implements the command.
func (c *appsQuotaCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	q, err := api.Quota(ctx, c.AppID, c.Path)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, q, []column[hongyan.Quota]{
		{"PATH", func(q hongyan.Quota) string { return q.CGIPath }},
		{"TODAY", func(q hongyan.Quota) string {
			if q.Daily == nil {
				return ""
			}
			return p.say("%d of %d used, %d left", q.Daily.Used, q.Daily.Limit, q.Daily.Remain)
		}},
		{"RATE", func(q hongyan.Quota) string {
			if q.RateLimit == nil {
				return ""
			}
			return p.say("%d in %d s", q.RateLimit.Calls, q.RateLimit.Seconds)
		}},
	})
}

type appsClearQuotaCmd struct {
	AppID hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	Path  string        `name:"path" own:"" help:"Only this API path of WeChat's, 50 times a month; without it all of them, 10 times a month."`
	apiFlags
}

// Run implements the command.
func (c *appsClearQuotaCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	q, err := api.ClearQuota(ctx, c.AppID, c.Path)
	if err != nil {
		return err
	}
	if q.BySecret {
		p.tell("No access token could be had; the AppSecret did it.")
	}
	return printOne(p, c.outputFlags, q, []column[hongyan.QuotaCleared]{
		{"CLEARED", func(q hongyan.QuotaCleared) string {
			if q.CGIPath == "" {
				return p.say("all")
			}
			return q.CGIPath
		}},
		{"RESUMED", func(q hongyan.QuotaCleared) string { return pauseWords(q.Resumed) }},
	})
}

type appsRidCmd struct {
	AppID hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	Rid   string        `arg:"" name:"rid" help:"As it stands in an errmsg; good for 7 days."`
	apiFlags
}

// Run implements the command.
func (c *appsRidCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	call, err := api.Call(ctx, c.AppID, c.Rid)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, call, []column[hongyan.CallInfo]{
		{"RID", func(c hongyan.CallInfo) string { return c.Rid }},
		{"AT", func(c hongyan.CallInfo) string { return p.when(c.InvokedAt) }},
		{"TOOK", func(c hongyan.CallInfo) string { return fmt.Sprintf("%d ms", c.CostMS) }},
		{"FROM", func(c hongyan.CallInfo) string { return c.ClientIP }},
		{"QUERY", func(c hongyan.CallInfo) string { return c.RequestURL }},
		{"REQUEST", func(c hongyan.CallInfo) string { return c.RequestBody }},
		{"ANSWER", func(c hongyan.CallInfo) string { return c.ResponseBody }},
	})
}

type callbacksCheckCmd struct {
	Action   string `name:"action" own:"" enum:"all,dns,ping" default:"all" help:"What WeChat is to try: all, dns or ping."`
	Operator string `name:"operator" own:"" enum:"DEFAULT,CHINANET,UNICOM,CAP" default:"DEFAULT" help:"From whose network: CHINANET (电信), UNICOM (联通), CAP (腾讯), or DEFAULT for WeChat's choice."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *callbacksCheckCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	r, err := api.CheckCallback(ctx, c.App, client.Reach{Action: c.Action, Operator: c.Operator})
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, r, []column[hongyan.CallbackReach]{
		{"DNS", func(r hongyan.CallbackReach) string {
			var words []string
			for _, d := range r.DNS {
				words = append(words, d.IP+" "+d.Operator)
			}
			return strings.Join(words, ", ")
		}},
		{"PING", func(r hongyan.CallbackReach) string {
			var words []string
			for _, d := range r.Ping {
				words = append(words, p.say("%s from %s: %s, lost %s", d.IP, d.From, d.Time, d.PackageLoss))
			}
			return strings.Join(words, ", ")
		}},
	})
}

type usersSessionCmd struct {
	OpenID hongyan.OpenID `arg:"" name:"openid" help:"The user's openid in this app."`
	Reset  bool           `name:"reset" own:"" help:"Have WeChat replace the key; the one before dies at once."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *usersSessionCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	ask := api.CheckSessionKey
	if c.Reset {
		ask = api.ResetSessionKey
	}
	state, err := ask(ctx, c.App, c.OpenID)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, state, []column[hongyan.SessionKeyState]{
		{"OPENID", func(s hongyan.SessionKeyState) string { return string(s.OpenID) }},
		{"VALID", func(s hongyan.SessionKeyState) string { return p.yes(s.Valid) }},
		{"RESET", func(s hongyan.SessionKeyState) string { return p.yes(s.Reset) }},
	})
}

type usersDecryptCmd struct {
	OpenID hongyan.OpenID `arg:"" name:"openid" help:"The user's openid in this app."`
	IV     string         `name:"iv" own:"" required:"" help:"iv as the mini program got it."`
	File   string         `name:"file" own:"" required:"" placeholder:"FILE" help:"File with the encryptedData; a dash is standard input."`
	appFlag
	apiFlags
}

// maxEncrypted is as much as a request may hold.
const maxEncrypted = 1 << 20

// Run implements the command. What was in the data is JSON, so it is printed as it is.
func (c *usersDecryptCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	in := p.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return p.usage(err.Error(), "")
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxEncrypted))
	if err != nil {
		return fmt.Errorf("read the encrypted data: %w", err)
	}
	d, err := api.DecryptUserData(ctx, c.App, c.OpenID, client.EncryptedData{IV: c.IV, EncryptedData: strings.TrimSpace(string(text))})
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, d, []column[hongyan.UserData]{
		{"MADE", func(d hongyan.UserData) string { return p.when(d.MadeAt) }},
		{"DATA", func(d hongyan.UserData) string { return string(d.Data) }},
	})
}
