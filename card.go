package hongyan

import (
	"maps"
	"slices"
)

// CardLine is one line of a card: what the user reads before the value, the key, the value.
type CardLine struct {
	Label string `json:"label"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// CardLines are the lines of a card with this data, in the template's order. Keys that the
// template lacks are not on the card; of a template whose keywords are not known all are, by key.
func CardLines(t *Template, data map[string]string) []CardLine {
	out := []CardLine{}
	if len(t.Keywords) == 0 {
		for _, k := range slices.Sorted(maps.Keys(data)) {
			out = append(out, CardLine{Key: k, Value: data[k]})
		}
		return out
	}
	for _, k := range t.Keywords {
		out = append(out, CardLine{Label: k.Label, Key: k.Key, Value: data[k.Key]})
	}
	return out
}

// GrantBadge is what a user's grants of a template would allow a message now.
type GrantBadge struct {
	Available int64    `json:"available"`
	Baseline  Baseline `json:"baseline" enum:"unknown,exact"`
	Standing  Standing `json:"standing" enum:"unknown,accept,reject,ban"`
	// Outcome: sent with a grant; tried though no grant is known; held; or refused with no_grant.
	Outcome GrantOutcome `json:"outcome" enum:"reserved,tried,held,refused" doc:"reserved: a grant is there. tried: none is known here, and WeChat decides. held: it waits for the next accept. refused: 409 no_grant."`
}

// GrantOutcome is what a message would meet.
type GrantOutcome string

// The outcomes.
const (
	OutcomeReserved GrantOutcome = "reserved"
	OutcomeTried    GrantOutcome = "tried"
	OutcomeHeld     GrantOutcome = "held"
	OutcomeNoGrant  GrantOutcome = "refused"
)

// BadgeOf tells what a count would allow a message that asks for this; it changes nothing.
func BadgeOf(c Counters, policy OnNoGrant) *GrantBadge {
	b := &GrantBadge{Available: c.Available, Baseline: c.Baseline, Standing: c.Standing}
	switch c.Admit(policy) {
	case AdmitReserved:
		b.Outcome = OutcomeReserved
	case AdmitUnreserved:
		b.Outcome = OutcomeTried
	case AdmitHeld:
		b.Outcome = OutcomeHeld
	default:
		b.Outcome = OutcomeNoGrant
	}
	return b
}
