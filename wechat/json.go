package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// requestBuffer is memory for a request, used again and again.
type requestBuffer struct{ b []byte }

var requestBuffers = sync.Pool{New: func() any { return &requestBuffer{b: make([]byte, 0, 2<<10)} }}

// release gives the buffer back, unless one huge request made it too large to keep.
func (w *requestBuffer) release() {
	if cap(w.b) <= 64<<10 {
		requestBuffers.Put(w)
	}
}

// encode is the JSON of v in the form WeChat takes: real UTF-8, with & < > as
// they are. Some endpoints refuse \u escapes (40033, 47002).
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// appendString writes s as a JSON string. It escapes only what JSON demands;
// bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
	}
	return append(b, '"')
}

// answer is the part all of WeChat's answers share.
type answer struct {
	fields     map[string]json.RawMessage
	errcode    int
	hasErrcode bool
}

// parseAnswer reads the body of an answer. It wants one JSON object and nothing
// after it; an errcode, if there is one, is an integer. Names are compared
// exactly, so that an "ErrCode" of some gateway is not taken for WeChat's.
func parseAnswer(body []byte) (answer, error) {
	var a answer
	if json.Unmarshal(body, &a.fields) != nil || a.fields == nil {
		// The cause is not passed on: it may quote the body.
		return answer{}, errors.New("answer is not one JSON object")
	}
	raw, ok := a.fields["errcode"]
	if !ok {
		return a, nil
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return answer{}, errors.New("answer has an errcode that is not an integer")
	}
	a.errcode, a.hasErrcode = n, true
	return a, nil
}

// text is a field that should be a string, or empty.
func (a *answer) text(name string) string {
	var s string
	if json.Unmarshal(a.fields[name], &s) != nil {
		return ""
	}
	return s
}

// refusal is WeChat's refusal as an error. What the answer itself holds as a
// secret is cut too, should errmsg repeat it.
func (a *answer) refusal(q *call) *Error {
	secrets := append(slices.Clone(q.secrets), a.text("access_token"), a.text("session_key"))
	e := &Error{Errcode: a.errcode, Errmsg: scrub(a.text("errmsg"), secrets), Path: q.path}
	e.Rid = ridIn(e.Errmsg)
	if e.Rid == "" {
		e.Rid = ridIn("rid: " + a.text("rid"))
	}
	return e
}

// errShape stands for the errors of package json, which may quote the answer.
var errShape = errors.New("answer has not the documented form")

// flexInt is an integer that WeChat writes as a number or as a string.
type flexInt int64

// int is the value, and 0 of nil: the field was absent or null.
func (n *flexInt) int() int {
	if n == nil {
		return 0
	}
	return int(*n)
}

func (n *flexInt) UnmarshalJSON(b []byte) error {
	s, err := unquote(b)
	if err != nil || s == "" {
		return err
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return errors.New("not an integer")
	}
	*n = flexInt(v)
	return nil
}

// FlexString is text that WeChat writes as a string in one place and as a number
// in another. It decodes from both and encodes as a string.
type FlexString string

// UnmarshalJSON takes a JSON string or number; null leaves the value alone.
func (s *FlexString) UnmarshalJSON(b []byte) error {
	v, err := unquote(b)
	if err != nil || string(b) == "null" {
		return err
	}
	*s = FlexString(v)
	return nil
}

// unquote is the text of a JSON string or number, and "" of null.
func unquote(b []byte) (string, error) {
	switch {
	case string(b) == "null":
		return "", nil
	case len(b) > 0 && b[0] == '"':
		var s string
		err := json.Unmarshal(b, &s)
		return s, err
	case len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9'):
		return string(b), nil
	}
	return "", errors.New("neither number nor string")
}
