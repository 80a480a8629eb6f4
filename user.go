package hongyan

import "time"

// User is one person within one app, recorded at login or when first sent to.
type User struct {
	App     AppID  `json:"app"`
	OpenID  OpenID `json:"openid"`
	UnionID string `json:"unionid,omitempty"`
	// ExternalID is the integrator's own name for the user, unique per app.
	ExternalID string `json:"external_id,omitempty"`
	// Invalid is when WeChat said the openid is not of this app (40003).
	InvalidAt    time.Time `json:"invalid_at,omitzero"`
	FirstLoginAt time.Time `json:"first_login_at,omitzero"`
	LastLoginAt  time.Time `json:"last_login_at,omitzero"`
	CreatedAt    time.Time `json:"created_at"`
}

// UserExport is everything that is known of one user; secrets are not part of it.
type UserExport struct {
	User          User           `json:"user"`
	Subscriptions []Subscription `json:"subscriptions" doc:"With the history of each."`
	Messages      []Message      `json:"messages" doc:"Newest first."`
	Callbacks     []Callback     `json:"callbacks" doc:"What WeChat told of the user, newest first."`
	ExportedAt    time.Time      `json:"exported_at"`
}
