package cli

import (
	"context"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type membersCmd struct {
	List    membersListCmd    `cmd:"" help:"List the members."`
	Create  membersCreateCmd  `cmd:"" help:"Add a member and print the link to set a password, this once."`
	Reset   membersResetCmd   `cmd:"" help:"Print a link for a new password, this once; for who has forgotten it."`
	Update  membersUpdateCmd  `cmd:"" help:"Give a member another role."`
	Disable membersDisableCmd `cmd:"" help:"Keep a member out; signs out everywhere."`
	Enable  membersEnableCmd  `cmd:"" help:"Let a disabled member in again."`
	Remove  membersRemoveCmd  `cmd:"" help:"Remove a member."`
}

func (p *program) memberColumns() []column[hongyan.Member] {
	return []column[hongyan.Member]{
		{"ID", func(m hongyan.Member) string { return string(m.ID) }},
		{"NAME", func(m hongyan.Member) string { return m.Name }},
		{"ROLE", func(m hongyan.Member) string { return string(m.Role) }},
		{"STATUS", func(m hongyan.Member) string {
			switch {
			case !m.DisabledAt.IsZero():
				return p.say("disabled")
			case !m.HasPassword:
				return p.say("no password yet")
			}
			return p.say("active")
		}},
		{"CREATED", func(m hongyan.Member) string { return p.when(m.CreatedAt) }},
		{"LAST SIGN-IN", func(m hongyan.Member) string { return p.when(m.LastSignInAt) }},
	}
}

// memberFlags name a member, and the server.
type memberFlags struct {
	Member string `arg:"" name:"member" help:"The member's name or id."`
	apiFlags
}

// find connects and finds the member.
func (f *memberFlags) find(ctx context.Context, p *program) (*client.Client, hongyan.MemberID, error) {
	api, err := f.connect(p)
	if err != nil {
		return nil, "", err
	}
	members, err := api.Members(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, m := range members {
		if string(m.ID) == f.Member || hongyan.FoldMemberName(m.Name) == hongyan.FoldMemberName(f.Member) {
			return api, m.ID, nil
		}
	}
	return nil, "", &fault{exit: exitNotFound, text: p.say("there is no member %s", f.Member), hint: p.say("`hongyan members list` has them all.")}
}

type membersListCmd struct{ apiFlags }

// Run implements the command.
func (c *membersListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	members, err := api.Members(ctx)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, members, p.memberColumns())
}

type membersCreateCmd struct {
	Name string       `arg:"" name:"name" help:"What the member signs in with."`
	Role hongyan.Role `name:"role" own:"" enum:"owner,viewer" default:"viewer" help:"owner may do everything; viewer may look."`
	apiFlags
}

// Run implements the command.
func (c *membersCreateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	m, err := api.CreateMember(ctx, client.MemberCreate{Name: c.Name, Role: c.Role}, client.Options{})
	if err != nil {
		return err
	}
	return p.printLink(c.apiFlags, m)
}

type membersResetCmd struct{ memberFlags }

// Run implements the command.
func (c *membersResetCmd) Run(ctx context.Context, p *program) error {
	api, id, err := c.find(ctx, p)
	if err != nil {
		return err
	}
	m, err := api.ResetMember(ctx, id)
	if err != nil {
		return err
	}
	return p.printLink(c.apiFlags, m)
}

// printLink prints a member with the link for a browser.
func (p *program) printLink(f apiFlags, m hongyan.Member) error {
	m.Link = strings.TrimSuffix(f.API, "/") + m.Link
	p.tell("Give the link to the member alone: whoever opens it first sets the password. It works once, until %s.", p.when(m.LinkExpires))
	return printOne(p, f.outputFlags, m, append(p.memberColumns(), column[hongyan.Member]{"LINK", func(m hongyan.Member) string { return m.Link }}))
}

type membersUpdateCmd struct {
	memberFlags
	Role hongyan.Role `name:"role" own:"" required:"" enum:"owner,viewer" help:"owner may do everything; viewer may look."`
}

// Run implements the command.
func (c *membersUpdateCmd) Run(ctx context.Context, p *program) error {
	return c.change(ctx, p, client.MemberUpdate{Role: &c.Role})
}

type membersDisableCmd struct{ memberFlags }

// Run implements the command.
func (c *membersDisableCmd) Run(ctx context.Context, p *program) error {
	disabled := true
	return c.change(ctx, p, client.MemberUpdate{Disabled: &disabled})
}

type membersEnableCmd struct{ memberFlags }

// Run implements the command.
func (c *membersEnableCmd) Run(ctx context.Context, p *program) error {
	disabled := false
	return c.change(ctx, p, client.MemberUpdate{Disabled: &disabled})
}

func (f *memberFlags) change(ctx context.Context, p *program, u client.MemberUpdate) error {
	api, id, err := f.find(ctx, p)
	if err != nil {
		return err
	}
	m, err := api.UpdateMember(ctx, id, u)
	if err != nil {
		return err
	}
	return printOne(p, f.outputFlags, m, p.memberColumns())
}

type membersRemoveCmd struct{ memberFlags }

// Run implements the command.
func (c *membersRemoveCmd) Run(ctx context.Context, p *program) error {
	api, id, err := c.find(ctx, p)
	if err != nil {
		return err
	}
	if err := api.DeleteMember(ctx, id); err != nil {
		return err
	}
	p.tell("Member %s is removed.", c.Member)
	return nil
}
