package api

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hongyan-push/hongyan"
)

// maxFaults is how many faults one body is told; the rest are more of the same.
const maxFaults = 100

// decode reads one JSON text into v, a pointer to a struct, and names every fault at once:
// unknown and repeated fields, wrong types, broken text. Fields that the text does not name
// keep their values, null empties them; what is required is for the caller to check.
// Strings of v share src's memory.
func decode(src string, v any) error { return decodeInto(src, "", v) }

// decodeInto is decode for a text that stood at base in a larger one.
func decodeInto(src, base string, v any) error {
	d := &decoder{lexer: newLexer(src), base: base}
	d.path = d.steps[:0]
	if d.peek() == 0 && d.pos == len(src) {
		return hongyan.Invalid(base, "missing", "The body is empty; send a JSON object.")
	}
	if strings.HasPrefix(src, "\ufeff") {
		return hongyan.Invalid(base, "encoding", "The body begins with a byte order mark; send plain UTF-8 without one.")
	}
	target := reflect.ValueOf(v).Elem()
	readerOf(target.Type())(d, target)
	if d.peek(); d.broken == "" && d.pos < len(src) {
		d.fail("something follows after its end")
	}
	return d.err()
}

// decoder reads a JSON text along the shape of Go values.
type decoder struct {
	lexer
	base   string
	path   []step
	steps  [8]step
	faults []hongyan.FieldError
}

// step is one level of the path to the value that is read: a member, or an item of a list.
type step struct {
	name string
	item int // counted from 1; 0 for a member
}

// err is all faults as one error; nil without any.
func (d *decoder) err() error {
	if d.broken != "" {
		d.faults = append(d.faults, hongyan.FieldError{Pointer: d.pointer(), Code: "syntax", Detail: d.broken})
	}
	if len(d.faults) == 0 {
		return nil
	}
	return &hongyan.Error{Code: codeOfFaults(d.faults), Message: d.faults[0].Detail, Fields: d.faults}
}

// codeOfFaults is the most telling code for a list of faults.
func codeOfFaults(faults []hongyan.FieldError) hongyan.Code {
	unknown, data := true, true
	for _, f := range faults {
		unknown = unknown && f.Code == faultUnknownField
		data = data && strings.HasPrefix(f.Pointer, "/data/")
	}
	switch {
	case data:
		return hongyan.CodeInvalidData
	case unknown:
		return hongyan.CodeUnknownField
	}
	return hongyan.CodeInvalid
}

const faultUnknownField = "unknown_field"

func (d *decoder) fault(code, format string, args ...any) {
	d.add(hongyan.FieldError{Pointer: d.pointer(), Code: code, Detail: fmt.Sprintf(format, args...)})
}

func (d *decoder) add(f hongyan.FieldError) {
	if len(d.faults) < maxFaults {
		d.faults = append(d.faults, f)
	}
}

// pointer is the JSON pointer (RFC 6901) of where the walk is.
func (d *decoder) pointer() string {
	p := d.base
	for _, s := range d.path {
		if s.item > 0 {
			p += "/" + strconv.Itoa(s.item-1)
		} else {
			p += "/" + escapePointer(clip(s.name))
		}
	}
	return p
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escapePointer(s string) string { return pointerEscapes.Replace(s) }

// clip keeps what a stranger sent short and clean enough to repeat.
func clip(s string) string {
	const most = 60
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func (d *decoder) push(s step) { d.path = append(d.path, s) }

// pop leaves a level; after the walk broke the path stays, to say where.
func (d *decoder) pop() {
	if d.broken == "" {
		d.path = d.path[:len(d.path)-1]
	}
}

// wrong reports a value of another type and passes over it.
func (d *decoder) wrong(want string) {
	if got := d.kind(); got != "nothing" {
		d.fault("type", "Expected %s, got %s.", want, got)
	}
	d.skip(0)
}

// text reads a string and insists on UTF-8.
func (d *decoder) text() (string, bool) {
	start := d.pos
	s, ok := d.str()
	if ok && d.dirty && !utf8.ValidString(d.src[start:d.pos]) {
		d.fault("encoding", "The text is not valid UTF-8; send UTF-8, not GBK.")
		return "", false
	}
	return s, ok
}

// members reads an object and calls f at each value; f must consume it.
func (d *decoder) members(want string, f func(name string)) {
	if d.peek() != '{' {
		d.wrong(want)
		return
	}
	d.pos++
	d.rest('}', func() bool {
		start := d.pos
		name, ok := d.key()
		if !ok {
			return false
		}
		d.push(step{name: name})
		if d.dirty && !utf8.ValidString(d.src[start:d.pos]) {
			d.fault("encoding", "A name is not valid UTF-8; send UTF-8, not GBK.")
		}
		if name == "" {
			d.fault(faultUnknownField, "A field has no name.")
			d.skip(0)
		} else {
			f(name)
		}
		d.pop()
		return d.broken == ""
	})
}

// items reads a list and calls f at each value; f must consume it.
func (d *decoder) items(want string, f func()) {
	if d.peek() != '[' {
		d.wrong(want)
		return
	}
	d.pos++
	i := 0
	d.rest(']', func() bool {
		i++
		d.push(step{item: i})
		f()
		d.pop()
		return d.broken == ""
	})
}

// reader reads the next value into v.
type reader func(d *decoder, v reflect.Value)

var readers sync.Map // reflect.Type → reader

var (
	timeType      = reflect.TypeFor[time.Time]()
	recipientType = reflect.TypeFor[hongyan.Recipient]()
	dataType      = reflect.TypeFor[map[string]string]()
)

func readerOf(t reflect.Type) reader {
	if r, ok := readers.Load(t); ok {
		return r.(reader)
	}
	r := newReader(t)
	readers.Store(t, r)
	return r
}

func newReader(t reflect.Type) reader {
	switch t {
	case timeType:
		return readTime
	case recipientType:
		return readRecipient
	case reflect.TypeFor[rawSubmission](), reflect.TypeFor[rawSettings]():
		return readRaw
	case reflect.TypeFor[templateID]():
		return readTemplateID
	}
	switch t.Kind() {
	case reflect.Struct:
		return newShape(t).read
	case reflect.Pointer:
		elem := readerOf(t.Elem())
		return func(d *decoder, v reflect.Value) {
			v.Set(reflect.New(t.Elem()))
			elem(d, v.Elem())
		}
	case reflect.Slice:
		return readSlice(t)
	case reflect.Map:
		return readStringMap
	case reflect.String:
		return readString
	case reflect.Int, reflect.Int64:
		return readInt
	case reflect.Float64:
		return readFloat
	case reflect.Bool:
		return readBool
	}
	panic("api: no reader for " + t.String()) // a request type with a field nobody can fill
}

func readString(d *decoder, v reflect.Value) {
	if d.peek() != '"' {
		d.wrong("a string")
		return
	}
	if s, ok := d.text(); ok {
		v.SetString(s)
	}
}

func readInt(d *decoder, v reflect.Value) {
	const want = "a whole number"
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		d.wrong(want)
		return
	}
	s, ok := d.number()
	if !ok {
		return
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.fault("type", "Expected %s, got %s.", want, clip(s))
		return
	}
	v.SetInt(n)
}

func readFloat(d *decoder, v reflect.Value) {
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		d.wrong("a number")
		return
	}
	s, ok := d.number()
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		d.fault("type", "The number %s is out of range.", clip(s))
		return
	}
	v.SetFloat(n)
}

func readBool(d *decoder, v reflect.Value) {
	switch d.peek() {
	case 't':
		v.SetBool(d.word("true"))
	case 'f':
		d.word("false")
		v.SetBool(false)
	default:
		d.wrong("true or false")
	}
}

func readSlice(t reflect.Type) reader {
	elem := readerOf(t.Elem())
	return func(d *decoder, v reflect.Value) {
		out := reflect.MakeSlice(t, 0, 0)
		d.items("a list", func() {
			item := reflect.New(t.Elem()).Elem()
			elem(d, item)
			out = reflect.Append(out, item)
		})
		v.Set(out)
	}
}

func readStringMap(d *decoder, v reflect.Value) {
	m := make(map[string]string)
	d.members("an object of strings", func(name string) {
		if _, twice := m[name]; twice {
			d.fault("duplicate", "The key is there twice; keep one.")
		}
		if d.peek() != '"' {
			d.wrong("a string")
			return
		}
		m[name], _ = d.text()
	})
	v.Set(reflect.ValueOf(m))
}

// readRaw leaves a value as it is, to be decoded later; see [decodeInto].
func readRaw(d *decoder, v reflect.Value) {
	d.peek()
	start := d.pos
	if d.skip(0) {
		v.SetString(d.src[start:d.pos])
	}
}

// timeExample is shown wherever a time was wrong.
const timeExample = "2026-11-22T15:04:05+08:00"

func readTime(d *decoder, v reflect.Value) {
	if d.peek() != '"' {
		d.wrong("a time as RFC 3339 writes it, such as " + strconv.Quote(timeExample))
		return
	}
	s, ok := d.text()
	if !ok {
		return
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d.fault("time", "%q is not a time of RFC 3339 that the calendar has; send one like %q, with its offset from UTC.", clip(s), timeExample)
		return
	}
	v.Set(reflect.ValueOf(t))
}

// readRecipient reads an openid, or {"user": "…"}.
func readRecipient(d *decoder, v reflect.Value) {
	const want = `an openid, or {"user": "your own user id"}`
	to := v.Addr().Interface().(*hongyan.Recipient)
	switch d.peek() {
	case '"':
		s, _ := d.text()
		*to = hongyan.Recipient{OpenID: hongyan.OpenID(s)}
	case '{':
		*to = hongyan.Recipient{}
		var o struct {
			User string `json:"user"`
		}
		at := len(d.faults)
		readerOf(reflect.TypeOf(o))(d, reflect.ValueOf(&o).Elem())
		if o.User == "" && len(d.faults) == at {
			d.fault("missing", "Expected %s.", want)
		}
		to.User = o.User
	default:
		d.wrong(want)
	}
}

// readData reads a template's data: {"thing1": "x"} or WeChat's {"thing1": {"value": "x"}}.
func readData(d *decoder, v reflect.Value) {
	if d.peek() == '"' {
		s, ok := d.text()
		if ok && strings.HasPrefix(strings.TrimSpace(s), "{") {
			d.fault("double_encoded", `data is JSON inside a string; send the object itself: "data": {…}, not "data": "{…}" (encode it once).`)
		} else if ok {
			d.fault("type", `Expected an object such as {"thing1": "text"}, got a string.`)
		}
		return
	}
	m := make(map[string]string, 8)
	d.members(`an object such as {"thing1": "text"}`, func(name string) {
		if _, twice := m[name]; twice {
			d.fault("duplicate", "The key is there twice; keep one.")
		}
		m[name] = d.dataValue(name)
	})
	v.Set(reflect.ValueOf(m))
}

func (d *decoder) dataValue(key string) (s string) {
	switch d.peek() {
	case '"':
		s, _ = d.text()
	case '{':
		found := false
		d.members("", func(name string) {
			switch {
			case name != "value":
				d.fault(faultUnknownField, `The object of a value has the key "value" alone.`)
				d.skip(0)
			case found:
				d.fault("duplicate", "The key is there twice; keep one.")
				d.skip(0)
			case d.peek() != '"':
				found = true
				d.notAString(key)
			default:
				found = true
				s, _ = d.text()
			}
		})
		if !found && d.broken == "" {
			d.fault("missing", `Expected a string, or {"value": "text"}.`)
		}
	default:
		d.notAString(key)
	}
	return s
}

// notAString reports a value of data that is no string, with the string it probably should be.
func (d *decoder) notAString(key string) {
	f := hongyan.NotAString(key)
	fault := hongyan.FieldError{Pointer: d.pointer(), Code: f.Rule, Detail: f.Detail, Repair: f.Repair}
	d.peek()
	start, scalar := d.pos, d.kind() == "a number" || d.kind() == "a boolean"
	if d.skip(0) && scalar {
		text := clip(d.src[start:d.pos])
		fault.Repair = &text
	}
	d.add(fault)
}
