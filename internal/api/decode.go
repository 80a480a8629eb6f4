package api

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
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
