package hongyan

import "time"

// Reach is how many users of an app can be sent a template now, as far as the ledger knows.
// Who was erased, or has an openid that WeChat refuses, is left out of all of it.
type Reach struct {
	App        AppID        `json:"app"`
	TemplateID string       `json:"template_id"`
	Kind       TemplateKind `json:"kind" enum:"unknown,one_time,long_term"`
	// UsersKnown have ever been heard of together with the template.
	UsersKnown int64 `json:"users_known" doc:"Users of whom anything is known about this template."`
	// Reachable have a grant that no message holds, or the long-term template on.
	Reachable  int64       `json:"reachable" doc:"Users with a grant that no message holds, or with the long-term template on."`
	WithGrants GrantSpread `json:"with_grants"`
	LongTermOn int64       `json:"long_term_on" doc:"Of a long-term template: users who have it on."`
	Refused    int64       `json:"refused" doc:"Users whose last word was a refusal. They may hold grants from before."`
	Banned     int64       `json:"banned" doc:"Users for whom WeChat has banned the template."`
	// UnknownBaseline may hold grants from before we looked: a message is tried, WeChat decides.
	UnknownBaseline int64 `json:"unknown_baseline" doc:"Users without a grant known here who may hold one from before: a message to them is tried, and WeChat decides."`
	// CountedAt is when counting ended. A count that takes more than two seconds serves for a minute.
	CountedAt time.Time `json:"counted_at" doc:"When it was counted. A count that takes longer than two seconds serves for a minute."`
	// AtLeast says that counting goes on: every number is a lower bound.
	AtLeast bool `json:"at_least,omitempty" doc:"Counting takes longer than two seconds and goes on: every number is a lower bound. Ask again in some seconds."`
}

// GrantSpread counts users by how many grants they have.
type GrantSpread struct {
	One   int64 `json:"1"`
	Two   int64 `json:"2"`
	Three int64 `json:"3+"`
}
