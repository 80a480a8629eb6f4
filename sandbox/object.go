package sandbox

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// object is a JSON object whose values are looked at one by one, because the
// sandbox must see wrong types. Names are compared exactly, as WeChat does;
// package json on its own would take "ToUser" for "touser".
type object map[string]json.RawMessage

// parseObject reads one JSON object and nothing after it.
func parseObject(b []byte) (object, bool) {
	var o object
	err := json.Unmarshal(b, &o)
	return o, err == nil && o != nil
}

// text reads a string. Absent and null leave v alone; another type is false.
func (o object) text(name string, v *string) bool {
	raw, ok := o[name]
	if plain, isPlain := plainText(raw); isPlain {
		*v = plain
		return true
	}
	return !ok || json.Unmarshal(raw, v) == nil
}

// plainText is the text of a JSON string that needs no decoding, as nearly all
// of a send's strings do not. The sandbox shares the machine with what it tests,
// so package json is spared for the others.
func plainText(raw json.RawMessage) (string, bool) {
	if n := len(raw); n >= 2 && raw[0] == '"' && raw[n-1] == '"' {
		if inner := raw[1 : n-1]; !bytes.ContainsAny(inner, `"\`) && utf8.Valid(inner) {
			return string(inner), true
		}
	}
	return "", false
}

// boolean reads true or false, as text does.
func (o object) boolean(name string, v *bool) bool {
	raw, ok := o[name]
	return !ok || json.Unmarshal(raw, v) == nil
}

// integers reads an array of integers, as text does.
func (o object) integers(name string, v *[]int) bool {
	raw, ok := o[name]
	return !ok || json.Unmarshal(raw, v) == nil
}

// kind is the first byte of a JSON value, which tells its type: { [ " t f n or
// the start of a number. It is 0 for an absent value.
func kind(raw json.RawMessage) byte {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

// encode writes v with & < > as they are, like WeChat.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("sandbox: encode answer: " + err.Error()) // our own types always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
