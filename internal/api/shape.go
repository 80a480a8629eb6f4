package api

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hongyan-push/hongyan"
)

// shape is a struct as the decoder sees it.
type shape struct {
	fields map[string]*field
	names  []string
}

type field struct {
	index []int
	bit   uint64 // of this field among those seen
	read  reader
}

func newShape(t reflect.Type) *shape {
	s := &shape{fields: make(map[string]*field)}
	s.collect(t, nil)
	return s
}

func (s *shape) collect(t reflect.Type, path []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clone(path), i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.collect(f.Type, index)
			continue
		case name == "" || name == "-":
			continue
		}
		read := readerOf(f.Type)
		if name == "data" && f.Type == dataType {
			read = readData
		}
		s.fields[name] = &field{index: index, bit: 1 << len(s.names), read: read}
		s.names = append(s.names, name)
	}
	if len(s.names) > 64 {
		panic("api: " + t.String() + " has more than 64 fields")
	}
}

func (s *shape) read(d *decoder, v reflect.Value) {
	if d.peek() == '"' && len(d.path) == 0 {
		d.fault("double_encoded", "The body is JSON inside a string; send the object itself (encode it once).")
		d.skip(0)
		return
	}
	var seen uint64
	d.members("an object", func(name string) {
		f := s.fields[name]
		if f == nil {
			d.add(s.unknown(d.pointer(), name))
			d.skip(0)
			return
		}
		if seen&f.bit != 0 {
			d.fault("duplicate", "The field is there twice; keep one.")
		}
		seen |= f.bit
		target := v.FieldByIndex(f.index)
		if d.peek() == 'n' && d.word("null") {
			target.SetZero() // as good as leaving it out
			return
		}
		f.read(d, target)
	})
}

// unknown says what is probably meant by a name that the shape does not have.
func (s *shape) unknown(pointer, name string) hongyan.FieldError {
	f := hongyan.FieldError{Pointer: pointer, Code: faultUnknownField}
	if right := s.rightName(name); right != "" {
		f.Detail = fmt.Sprintf("There is no field %q here; did you mean %q?", clip(name), right)
		f.Repair = &right
		return f
	}
	f.Detail = fmt.Sprintf("There is no field %q here; the fields are %s.", clip(name), strings.Join(s.names, ", "))
	return f
}

// otherNames has the words that other programs, WeChat's own API among them, use for ours.
var otherNames = map[string][]string{
	"touser": {"to", "openid"}, "openid": {"to", "openid"}, "user": {"to"}, "userid": {"to", "external_id"}, "recipient": {"to"},
	"appid": {"app", "appid"}, "app": {"appid"}, "templateid": {"template"}, "tmplid": {"template", "tid"}, "pritmplid": {"template"},
	"appsecret": {"secret"}, "apptoken": {"secret"}, "url": {"page"}, "path": {"page", "key"}, "miniprogrampage": {"page"},
	"state": {"miniprogram_state", "as"}, "status": {"as"}, "envversion": {"miniprogram_state"}, "language": {"lang"},
	"at": {"send_at"}, "sendtime": {"send_at"}, "scheduledat": {"send_at"}, "scheduleat": {"send_at"}, "deliverat": {"send_at"},
	"expireat": {"expires_at"}, "expire": {"expires_at"}, "ttl": {"expires_at"}, "expiry": {"expires_at"}, "holdfor": {"hold_for_s"},
	"dedup": {"dedup_key"}, "idempotencykey": {"dedup_key"}, "tag": {"tags"}, "meta": {"metadata"}, "extra": {"metadata"},
	"values": {"data"}, "params": {"data"}, "content": {"data"}, "items": {"messages", "reports"}, "kidlist": {"kids"}, "keywords": {"kids"},
	"scenedesc": {"scene_desc"}, "jscode": {"code"}, "event": {"choice"}, "result": {"choice"}, "amount": {"delta"}, "count": {"delta"},
	"aeskey": {"encoding_aes_key"}, "encodingkey": {"encoding_aes_key"}, "forwardurl": {"forward_to"},
	"note": {"reason", "detail"}, "message": {"messages"}, "dryrun": {"dry_run"}, "permissions": {"scopes"}, "scope": {"scopes"}, "appids": {"apps"},
	"endpoint": {"url"}, "targeturl": {"url"}, "types": {"events"}, "eventtypes": {"events"}, "enabledevents": {"events"}, "disabled": {"enabled"}, "active": {"enabled"},
}

// rightName finds the field that a wrong name stands for, "" where none comes near.
func (s *shape) rightName(name string) string {
	plain := squash(name)
	for _, n := range s.names {
		if squash(n) == plain {
			return n
		}
	}
	for _, n := range otherNames[plain] {
		if s.fields[n] != nil {
			return n
		}
	}
	best, least := "", 3
	for _, n := range s.names {
		if dist := distance(plain, squash(n)); dist < least && dist*3 <= len(n) {
			best, least = n, dist
		}
	}
	return best
}

// squash takes away what naming styles differ in.
func squash(name string) string {
	if len(name) > 64 {
		name = name[:64]
	}
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "").Replace(name))
}

// distance counts the letters to add, drop or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
