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
