package hongyan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Audit is one change that somebody made through the API: who, from where, to what, and the
// difference. It was written in the transaction of the change itself. What the server does by
// itself, such as a pause after a refusal of WeChat's, is an event and no audit.
type Audit struct {
	ID AuditID   `json:"id"`
	At time.Time `json:"at"`
	// Actor is who it was, by the name that the key or member had then.
	Actor     AuditActor    `json:"actor"`
	Address   string        `json:"address,omitempty" doc:"Where the request came from."`
	RequestID RequestID     `json:"request_id,omitempty"`
	Action    string        `json:"action" doc:"The operation's id, such as update-app."`
	App       AppID         `json:"app,omitempty"`
	Object    AuditThing    `json:"object"`
	Changes   []AuditChange `json:"changes"`
}

// AuditActor is a key or a member; the key of the configuration is admin.
type AuditActor struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// AuditThing is what was changed. An erased user is named by a hash.
type AuditThing struct {
	Kind string `json:"kind" doc:"app, pause, template, scene, callback, user, message, webhook, delivery, key, token or quota."`
	ID   string `json:"id"`
}

// AuditChange is one value that is not what it was. What was not there, or is gone, is null.
type AuditChange struct {
	Pointer string          `json:"pointer" doc:"JSON pointer (RFC 6901) into the object."`
	Before  json.RawMessage `json:"before"`
	After   json.RawMessage `json:"after"`
	// Changed is set for secrets, of which both sides say redacted.
	Changed bool `json:"changed,omitempty" doc:"Of a secret, whose values say redacted: it was changed."`
}

// maxChange is how long one side of a change may be; of a longer one its beginning is shown.
const maxChange = 2000

var (
	jsonNull     = json.RawMessage("null")
	jsonRedacted = json.RawMessage(`"redacted"`)
)

// ChangedSecret is the change of a secret. had and has say whether there was one and is one.
func ChangedSecret(pointer string, had, has bool) AuditChange {
	side := func(there bool) json.RawMessage {
		if there {
			return jsonRedacted
		}
		return jsonNull
	}
	return AuditChange{Pointer: pointer, Before: side(had), After: side(has), Changed: true}
}

// Diff lists what differs between two values as JSON shows them, by pointer. Objects are
// compared key by key, anything else as a whole; nil and null are what is not there. It is
// pure; values that JSON cannot show are a mistake of the program and differ by their text.
func Diff(before, after any) []AuditChange {
	var out []AuditChange
	diff(&out, "", generic(before), generic(after))
	return out
}

// generic is a value as JSON knows it: maps, lists, text, numbers, true, false and nil.
func generic(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T: %v", v, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // 2^53 and more stay what they are
	var out any
	if err := d.Decode(&out); err != nil {
		return string(b)
	}
	return out
}

func diff(out *[]AuditChange, pointer string, before, after any) {
	b, isB := before.(map[string]any)
	a, isA := after.(map[string]any)
	// An object that is new or gone is told key by key, so that it reads like one that changed.
	if isB && isA || isB && after == nil && len(b) > 0 || isA && before == nil && len(a) > 0 {
		keys := slices.Collect(maps.Keys(b))
		for k := range a {
			if _, both := b[k]; !both {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			diff(out, pointer+"/"+pointerEscape.Replace(k), b[k], a[k])
		}
		return
	}
	x, y := compact(before), compact(after)
	if !bytes.Equal(x, y) {
		*out = append(*out, AuditChange{Pointer: pointer, Before: shown(x), After: shown(y)})
	}
}

func compact(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // generic values always encode
	return bytes.TrimSpace(b.Bytes())
}

// shown bounds one side of a change.
func shown(v json.RawMessage) json.RawMessage {
	if len(v) <= maxChange {
		return v
	}
	cut := strings.ToValidUTF8(string(v[:maxChange]), "")
	return compact(cut + "… (" + strconv.Itoa(len(v)) + " bytes)")
}
