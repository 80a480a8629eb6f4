package ledger

import (
	"encoding/json"
	"fmt"

	"github.com/hongyan-push/hongyan"
)

// options is what a message row keeps as JSON: what is read only when it is sent or shown.
type options struct {
	Page        string            `json:"p,omitempty"`
	State       string            `json:"m,omitempty"`
	Lang        string            `json:"l,omitempty"`
	Reserve     string            `json:"r,omitempty"`
	OnNoGrant   string            `json:"g,omitempty"`
	OnUncertain string            `json:"u,omitempty"`
	OnBusy      string            `json:"b,omitempty"`
	HoldForS    int64             `json:"h,omitempty"`
	ExpiresAt   int64             `json:"x,omitempty"` // as asked for; the row's moves while held
	Dedup       string            `json:"d,omitempty"`
	Tags        []string          `json:"t,omitempty"`
	Metadata    map[string]string `json:"a,omitempty"`
}

func (o *options) empty() bool {
	return o.Page == "" && o.State == "" && o.Lang == "" && o.Reserve == "" && o.OnNoGrant == "" && o.OnUncertain == "" && o.OnBusy == "" &&
		o.HoldForS == 0 && o.ExpiresAt == 0 && o.Dedup == "" && len(o.Tags) == 0 && len(o.Metadata) == 0
}

// encode is the options as a message row keeps them.
func (o *options) encode() (string, error) {
	if o.empty() {
		return "{}", nil
	}
	text, err := json.Marshal(o)
	return string(text), err
}

func parseOptions(s string) (options, error) {
	var o options
	if s == "{}" {
		return o, nil
	}
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		return o, fmt.Errorf("decode message options: %w", err)
	}
	return o, nil
}

func optionsOf(m *hongyan.Message, explicit int64) options {
	o := options{Page: m.Page, HoldForS: m.HoldForS, ExpiresAt: explicit, Dedup: m.DedupKey, Tags: m.Tags, Metadata: m.Metadata}
	o.State = unless(m.MiniprogramState, "formal")
	o.Lang = unless(m.Lang, "zh_CN")
	o.Reserve = unless(string(m.Reserve), string(hongyan.ReserveSubmit))
	o.OnNoGrant = unless(string(m.OnNoGrant), string(hongyan.OnNoGrantFail))
	o.OnUncertain = unless(string(m.OnUncertain), string(hongyan.OnUncertainKeep))
	o.OnBusy = unless(string(m.OnBusy), string(hongyan.OnBusyRetry))
	return o
}

func (o options) into(m *hongyan.Message) {
	m.Page, m.MiniprogramState, m.Lang = o.Page, or(o.State, "formal"), or(o.Lang, "zh_CN")
	m.Reserve = or(hongyan.ReserveAt(o.Reserve), hongyan.ReserveSubmit)
	m.OnNoGrant = or(hongyan.OnNoGrant(o.OnNoGrant), hongyan.OnNoGrantFail)
	m.OnUncertain = or(hongyan.OnUncertain(o.OnUncertain), hongyan.OnUncertainKeep)
	m.OnBusy = or(hongyan.OnBusy(o.OnBusy), hongyan.OnBusyRetry)
	m.HoldForS, m.DedupKey, m.Tags, m.Metadata = o.HoldForS, o.Dedup, o.Tags, o.Metadata
}

// or is the first value that is not zero.
func or[T comparable](vs ...T) T {
	var zero T
	for _, v := range vs {
		if v != zero {
			return v
		}
	}
	return zero
}

func unless(v, def string) string {
	if v == def {
		return ""
	}
	return v
}
