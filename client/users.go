package client

import (
	"context"
	"iter"

	"github.com/hongyan-push/hongyan"
)

// Login trades a code of wx.login for the user. externalID is your own id of the user, or empty.
func (c *Client) Login(ctx context.Context, app hongyan.AppID, code, externalID string) (hongyan.User, error) {
	in := map[string]string{"code": code}
	if externalID != "" {
		in["external_id"] = externalID
	}
	return send[hongyan.User](ctx, c, "POST", join("apps", string(app), "login"), in, Options{})
}

// Users goes through the app's users; a non-empty externalID leaves only that one.
func (c *Client) Users(ctx context.Context, app hongyan.AppID, externalID string) iter.Seq2[hongyan.User, error] {
	return pages[hongyan.User](ctx, c, join("apps", string(app), "users"), values("external_id", externalID))
}

// FindUsers goes through the app's users whose openid or external id begins with a prefix.
func (c *Client) FindUsers(ctx context.Context, app hongyan.AppID, prefix string) iter.Seq2[hongyan.User, error] {
	return pages[hongyan.User](ctx, c, join("apps", string(app), "users"), values("q", prefix))
}

// User reads a user.
func (c *Client) User(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) (hongyan.User, error) {
	return get[hongyan.User](ctx, c, join("apps", string(app), "users", string(openid)), nil)
}

// ExportUser collects everything that is known of a user.
func (c *Client) ExportUser(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) (hongyan.UserExport, error) {
	return get[hongyan.UserExport](ctx, c, join("apps", string(app), "users", string(openid), "export"), nil)
}

// EraseUser forgets a user; counts stay, under a hash.
func (c *Client) EraseUser(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) error {
	return c.do(ctx, call{method: "DELETE", path: join("apps", string(app), "users", string(openid))}, nil)
}

// CheckSessionKey asks WeChat whether the session_key that the user's login left at the
// server is still valid. One that is not is an error with code invalid_session_key.
func (c *Client) CheckSessionKey(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) (hongyan.SessionKeyState, error) {
	return send[hongyan.SessionKeyState](ctx, c, "POST", join("apps", string(app), "users", string(openid), "session-key", "check"), nil, Options{})
}

// ResetSessionKey has WeChat replace that session_key; the one before dies at once.
func (c *Client) ResetSessionKey(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) (hongyan.SessionKeyState, error) {
	return send[hongyan.SessionKeyState](ctx, c, "POST", join("apps", string(app), "users", string(openid), "session-key", "reset"), nil, Options{})
}

// EncryptedData is what an open-data function of the mini program gave.
type EncryptedData struct {
	IV            string `json:"iv"`
	EncryptedData string `json:"encrypted_data"`
}

// DecryptUserData opens it with the user's session_key.
func (c *Client) DecryptUserData(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID, in EncryptedData) (hongyan.UserData, error) {
	return send[hongyan.UserData](ctx, c, "POST", join("apps", string(app), "users", string(openid), "decrypt"), in, Options{})
}
