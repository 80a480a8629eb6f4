package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type tokenCmd struct {
	Get     tokenGetCmd     `cmd:"" help:"Print the app's access token, for a service that has no client of its own."`
	Health  tokenHealthCmd  `cmd:"" help:"Show how the app comes by its tokens, and which died early of what."`
	Refresh tokenRefreshCmd `cmd:"" help:"Have the token replaced now: 20 times a day, 30 seconds apart."`
}

type tokenGetCmd struct {
	AppID       hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	RefusedFile string        `name:"refused-file" own:"" type:"path" placeholder:"FILE" help:"File with a token that WeChat refused; a dash is standard input. If it still is the current one it is replaced."`
	Errcode     int           `name:"errcode" own:"" help:"What WeChat refused it with. Default: 40001."`
	apiFlags
}

// Run implements the command. This is the one place where a token is printed.
func (c *tokenGetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	in := client.RefusedToken{Errcode: c.Errcode}
	if c.RefusedFile != "" {
		if in.Token, err = p.secret("", c.RefusedFile); err != nil {
			return err
		}
	}
	t, err := api.TokenAfter(ctx, c.AppID, in)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, t, []column[hongyan.IssuedToken]{
		{"ACCESS TOKEN", func(t hongyan.IssuedToken) string { return t.AccessToken }},
		{"EXPIRES AT", func(t hongyan.IssuedToken) string { return p.when(t.ExpiresAt) }},
	})
}

type tokenHealthCmd struct {
	AppID hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	apiFlags
}

// Run implements the command. In a table the early deaths stand under it, and what the last
// one means beside it.
func (c *tokenHealthCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	h, err := api.TokenHealth(ctx, c.AppID)
	if err != nil {
		return err
	}
	err = printOne(p, c.outputFlags, h, []column[hongyan.TokenHealth]{
		{"APPID", func(h hongyan.TokenHealth) string { return string(h.App) }},
		{"MODE", func(h hongyan.TokenHealth) string { return string(h.Mode) }},
		{"FETCHED", func(h hongyan.TokenHealth) string { return p.when(h.FetchedAt) }},
		{"EXPIRES AT", func(h hongyan.TokenHealth) string { return p.when(h.ExpiresAt) }},
		{"REFRESHED", func(h hongyan.TokenHealth) string { return p.when(h.RefreshedAt) }},
		{"LAST FAILURE", func(h hongyan.TokenHealth) string { return p.lastFailure(h.LastFailure, h.FetchedAt) }},
		{"EARLY DEATHS", func(h hongyan.TokenHealth) string { return strconv.Itoa(len(h.EarlyDeaths)) }},
	})
	if err != nil || c.format() != "table" || len(h.EarlyDeaths) == 0 {
		return err
	}
	fmt.Fprintln(p.stdout)
	if err := printList(p, c.outputFlags, h.EarlyDeaths, p.deathColumns()); err != nil {
		return err
	}
	fmt.Fprintln(p.stderr, printable("! "+h.EarlyDeaths[0].Means.In(p.lang)))
	return nil
}

func (p *program) lastFailure(f *hongyan.TokenFailure, fetched time.Time) string {
	if f == nil {
		return ""
	}
	words := []string{p.when(f.At)}
	if fetched.After(f.At) {
		words = append(words, p.say("(over)"))
	}
	return strings.Join(append(words, f.Detail, f.Means.In(p.lang)), " ")
}

func (p *program) deathColumns() []column[hongyan.TokenDeath] {
	return []column[hongyan.TokenDeath]{
		{"REFUSED", func(d hongyan.TokenDeath) string { return p.when(d.RefusedAt) }},
		{"ERRCODE", func(d hongyan.TokenDeath) string { return strconv.Itoa(d.Errcode) }},
		{"TIMES", func(d hongyan.TokenDeath) string { return strconv.Itoa(d.Times) }},
		{"FETCHED", func(d hongyan.TokenDeath) string { return p.when(d.FetchedAt) }},
		{"EXPIRES AT", func(d hongyan.TokenDeath) string { return p.when(d.ExpiresAt) }},
		{"REASON", func(d hongyan.TokenDeath) string { return string(d.Reason) }},
		{"BY", func(d hongyan.TokenDeath) string { return d.By }},
	}
}

type tokenRefreshCmd struct {
	AppID hongyan.AppID `arg:"" name:"appid" help:"The mini program's AppID."`
	apiFlags
}

// Run implements the command.
func (c *tokenRefreshCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	r, err := api.RefreshToken(ctx, c.AppID)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stderr, printable(r.Note.In(p.lang)))
	return printOne(p, c.outputFlags, r, []column[hongyan.TokenRefresh]{
		{"REPLACED", func(r hongyan.TokenRefresh) string { return p.yes(r.Replaced) }},
		{"FETCHED", func(r hongyan.TokenRefresh) string { return p.when(r.FetchedAt) }},
		{"EXPIRES AT", func(r hongyan.TokenRefresh) string { return p.when(r.ExpiresAt) }},
	})
}

func (p *program) yes(v bool) string {
	if v {
		return p.say("yes")
	}
	return p.say("no")
}
