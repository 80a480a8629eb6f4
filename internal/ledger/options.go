package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

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

// encode is the options as a message row keeps them. Most have a page and nothing else.
func (o *options) encode() (string, error) {
	if o.empty() {
		return "{}", nil
	}
	rest := *o
	if rest.Page = ""; rest.empty() {
		return string(append(appendJSON([]byte(`{"p":`), o.Page), '}')), nil
	}
	text, err := json.Marshal(o)
	return string(text), err
}

// encodeData is the data as a message row keeps it. Each message is written once, and the
// way through reflection would cost as much as its place in an index.
func encodeData(data map[string]string) string {
	keys := slices.Sorted(maps.Keys(data))
	b := make([]byte, 0, 64*len(keys)+2)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSON(b, k), ':')
		b = appendJSON(b, data[k])
	}
	return string(append(b, '}'))
}

// appendJSON appends a text as JSON.
func appendJSON(b []byte, s string) []byte {
	plain := utf8.ValidString(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] != '"' && s[i] != '\\'
	}
	if !plain {
		quoted, _ := json.Marshal(s) // of a string it cannot fail
		return append(b, quoted...)
	}
	return append(append(append(b, '"'), s...), '"')
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
