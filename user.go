package hongyan

import (
	"encoding/json"
	"time"
)

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

// SessionKeyState is what WeChat says of the session_key that is kept here for a user.
type SessionKeyState struct {
	App    AppID  `json:"app"`
	OpenID OpenID `json:"openid"`
	Valid  bool   `json:"valid"`
	// Reset: the key was replaced; the one before is dead.
	Reset bool `json:"reset,omitempty"`
}

// UserData is what was in an encryptedData of the mini program's.
type UserData struct {
	// MadeAt is the time of its watermark: judge by it whether it is fresh enough.
	MadeAt time.Time `json:"made_at,omitzero" doc:"The time of its watermark: judge by it whether it is fresh enough."`
	// Data is the JSON as WeChat wrote it; its watermark's appid has been compared.
	Data json.RawMessage `json:"data" doc:"The JSON as WeChat wrote it."`
}
