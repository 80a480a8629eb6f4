package hongyan

import (
	"slices"
	"time"
)

// Scope is one right of an API key.
type Scope string

// The scopes.
const (
	ScopeSend    Scope = "send"    // log users in, report grants, submit, cancel and resolve messages
	ScopeRead    Scope = "read"    // read everything but secrets
	ScopeManage  Scope = "manage"  // change apps, templates and keys
	ScopeToken   Scope = "token"   // read access tokens
	ScopeGateway Scope = "gateway" // log in, get a virtual token and send through the gateway
	// What a gateway key may do there besides.
	ScopeGatewayTemplates Scope = "gateway_templates" // list, add and delete templates
	ScopeGatewayQuota     Scope = "gateway_quota"     // read and clear quotas, look up a rid, check the callback
	ScopeGatewayRelay     Scope = "gateway_relay"     // call the paths that the app's setting gateway_relay lists
	ScopeSandbox          Scope = "sandbox"           // drive the sandbox through the server
)

// Scopes lists every scope.
var scopes = []Scope{ScopeSend, ScopeRead, ScopeManage, ScopeToken, ScopeGateway, ScopeGatewayTemplates, ScopeGatewayQuota, ScopeGatewayRelay, ScopeSandbox}

// Scopes lists every scope there is.
func Scopes() []Scope { return slices.Clone(scopes) }

// APIKey is our credential for an integrator. The key itself is shown once and stored as a hash.
type APIKey struct {
	ID     APIKeyID `json:"id"`
	Name   string   `json:"name"`
	Scopes []Scope  `json:"scopes"`
	// Apps limits the key to these apps; empty means all.
	Apps      []AppID   `json:"apps,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	// Key is the clear key, in the answer that creates it and nowhere else.
	Key string `json:"key,omitempty"`
}

// May reports whether the key has the scope for the app; an empty app asks about no app in particular.
func (k APIKey) May(s Scope, app AppID) bool {
	return slices.Contains(k.Scopes, s) && (app == "" || len(k.Apps) == 0 || slices.Contains(k.Apps, app))
}
