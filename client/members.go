package client

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// MemberCreate adds a member of the console. It can have no more scopes than the key that makes it.
type MemberCreate struct {
	Name string       `json:"name"`
	Role hongyan.Role `json:"role"`
}

// MemberUpdate changes a member; nil stays as it is.
type MemberUpdate struct {
	Role     *hongyan.Role `json:"role,omitempty"`
	Disabled *bool         `json:"disabled,omitempty"`
}

// CreateMember adds a member. The link in the answer, below the server's URL, is where the
// member sets a password; it is there and nowhere else.
func (c *Client) CreateMember(ctx context.Context, in MemberCreate, opt Options) (hongyan.Member, error) {
	return create[hongyan.Member](ctx, c, join("members"), in, opt)
}

// Members lists the members.
func (c *Client) Members(ctx context.Context) ([]hongyan.Member, error) {
	return whole[hongyan.Member](ctx, c, join("members"), nil)
}

// UpdateMember changes a member, whose sessions end.
func (c *Client) UpdateMember(ctx context.Context, id hongyan.MemberID, in MemberUpdate) (hongyan.Member, error) {
	return send[hongyan.Member](ctx, c, "PATCH", join("members", string(id)), in, Options{})
}

// DeleteMember removes a member.
func (c *Client) DeleteMember(ctx context.Context, id hongyan.MemberID) error {
	return c.do(ctx, call{method: "DELETE", path: join("members", string(id))}, nil)
}

// ResetMember makes a link by which the member sets another password, as [Client.CreateMember] does.
func (c *Client) ResetMember(ctx context.Context, id hongyan.MemberID) (hongyan.Member, error) {
	return send[hongyan.Member](ctx, c, "POST", join("members", string(id), "reset"), nil, Options{})
}
