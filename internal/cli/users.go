package cli

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

type usersCmd struct {
	List  usersListCmd  `cmd:"" help:"List the users."`
	Get   usersGetCmd   `cmd:"" help:"Show a user."`
	Login usersLoginCmd `cmd:"" help:"Trade a code of wx.login for the user."`

	Session usersSessionCmd `cmd:"" help:"Ask WeChat whether the session_key that login left here is still valid."`
	Decrypt usersDecryptCmd `cmd:"" help:"Open encryptedData of the mini program's with that key."`

	Logout usersLogoutCmd `cmd:"" help:"End all of a user's sessions at /mp/v1."`
	Export usersExportCmd `cmd:"" help:"Print everything that is known of a user, as JSON."`
	Erase  usersEraseCmd  `cmd:"" help:"Forget a user; counts stay, under a hash."`
}

type usersLogoutCmd struct {
	OpenID hongyan.OpenID `arg:"" name:"openid" help:"The user's openid in this app."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *usersLogoutCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	n, err := api.EndSessions(ctx, c.App, c.OpenID)
	if err != nil {
		return err
	}
	p.tell("%d sessions have ended.", n)
	return nil
}

func (p *program) userColumns() []column[hongyan.User] {
	return []column[hongyan.User]{
		{"OPENID", func(u hongyan.User) string { return string(u.OpenID) }},
		{"UNIONID", func(u hongyan.User) string { return u.UnionID }},
		{"EXTERNAL_ID", func(u hongyan.User) string { return u.ExternalID }},
		{"FIRST LOGIN", func(u hongyan.User) string { return p.when(u.FirstLoginAt) }},
		{"LAST LOGIN", func(u hongyan.User) string { return p.when(u.LastLoginAt) }},
		{"INVALID", func(u hongyan.User) string { return p.when(u.InvalidAt) }},
	}
}

type usersListCmd struct {
	ExternalID string `name:"external-id" own:"" help:"Only the user with this id of yours."`
	limitFlag
	appFlag
	apiFlags
}

// Run implements the command.
func (c *usersListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	users, err := take(p, c.Limit, api.Users(ctx, c.App, c.ExternalID))
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, users, p.userColumns())
}

type usersGetCmd struct {
	OpenID hongyan.OpenID `arg:"" name:"openid" help:"The user's openid in this app."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *usersGetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	user, err := api.User(ctx, c.App, c.OpenID)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, user, p.userColumns())
}

type usersLoginCmd struct {
	Code       string `arg:"" name:"code" help:"What wx.login gave; it works once, within 5 minutes."`
	ExternalID string `name:"external-id" own:"" help:"Your own id of this user, to send to in place of the openid."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *usersLoginCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	user, err := api.Login(ctx, c.App, c.Code, c.ExternalID)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, user, p.userColumns())
}
