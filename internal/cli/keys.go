package cli

import (
	"context"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the API keys, revoked ones too."`
	Create keysCreateCmd `cmd:"" help:"Make an API key and print it, this once."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key at once."`
}

func (p *program) keyColumns() []column[hongyan.APIKey] {
	return []column[hongyan.APIKey]{
		{"ID", func(k hongyan.APIKey) string { return string(k.ID) }},
		{"NAME", func(k hongyan.APIKey) string { return k.Name }},
		{"SCOPES", func(k hongyan.APIKey) string { return joined(k.Scopes) }},
		{"APPS", func(k hongyan.APIKey) string {
			if len(k.Apps) == 0 {
				return p.say("all")
			}
			return joined(k.Apps)
		}},
		{"CREATED", func(k hongyan.APIKey) string { return p.when(k.CreatedAt) }},
		{"REVOKED", func(k hongyan.APIKey) string { return p.when(k.RevokedAt) }},
	}
}

func joined[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return strings.Join(words, ",")
}

type keysListCmd struct{ apiFlags }

// Run implements the command.
func (c *keysListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	keys, err := api.Keys(ctx)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, keys, p.keyColumns())
}

type keysCreateCmd struct {
	Name   string          `name:"name" own:"" required:"" help:"What uses it."`
	Scopes []hongyan.Scope `name:"scopes" own:"" required:"" help:"What it may do: send, read, manage, token, gateway, gateway_templates, gateway_quota, gateway_relay, sandbox."`
	Apps   []hongyan.AppID `name:"apps" own:"" placeholder:"APPID,..." help:"Limit it to these apps; by default it may see all."`
	apiFlags
}

// Run implements the command. This is the one place where a key is printed.
func (c *keysCreateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	k, err := api.CreateKey(ctx, client.KeyCreate{Name: c.Name, Scopes: c.Scopes, Apps: c.Apps}, client.Options{})
	if err != nil {
		return err
	}
	p.tell("Keep the key now: it is not stored and cannot be shown again.")
	return printOne(p, c.outputFlags, k, append(p.keyColumns(), column[hongyan.APIKey]{"KEY", func(k hongyan.APIKey) string { return k.Key }}))
}

type keysRevokeCmd struct {
	ID hongyan.APIKeyID `arg:"" name:"id" help:"The key's id."`
	apiFlags
}

// Run implements the command.
func (c *keysRevokeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if err := api.RevokeKey(ctx, c.ID); err != nil {
		return err
	}
	p.tell("Key %s is revoked.", c.ID)
	return nil
}
