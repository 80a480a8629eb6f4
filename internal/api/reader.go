package api

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

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
