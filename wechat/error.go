package wechat

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Error is a refusal: WeChat answered, with an errcode other than 0.
// [LookupErrcode] explains it. Branch on Errcode; Errmsg is for people.
type Error struct {
	Errcode int
	// Errmsg is WeChat's text as it came, rid and all. Only credentials that it
	// repeats are cut out.
	Errmsg string
	// Rid is WeChat's id of the request, three groups of 8 hex digits, or empty.
	// WeChat explains it for 7 days (查询rid信息); see also [RidTime].
	Rid string
	// Path is the API's path, without host and query.
	Path string
}

// Error gives path, errcode and errmsg in one line.
func (e *Error) Error() string {
	if e.Errmsg == "" {
		return fmt.Sprintf("%s: errcode %d", e.Path, e.Errcode)
	}
	return fmt.Sprintf("%s: errcode %d: %s", e.Path, e.Errcode, e.Errmsg)
}

var (
	fieldPattern = regexp.MustCompile(`data\.([A-Za-z_]+\d+)`)
	ipPattern    = regexp.MustCompile(`\b(?:ip|ipv6) ([0-9A-Fa-f.:]+)`)
	ridPattern   = regexp.MustCompile(`\brid: ?([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})(?:[^0-9A-Za-z-]|$)`)
)

// Field is the data key that errcode 47003 complains of, such as "thing18", or
// empty. WeChat names only the first bad one.
func (e *Error) Field() string {
	if e.Errcode != ErrcodeArgumentInvalid {
		return ""
	}
	// Only the key is relied on: WeChat cuts its sentence after 30 characters.
	if m := fieldPattern.FindStringSubmatch(e.Errmsg); m != nil {
		return m[1]
	}
	return ""
}

// ClientIP is the address WeChat saw, told by errcode 40164: the one to add to
// the app's IP whitelist (IP白名单). It is empty when WeChat does not tell.
func (e *Error) ClientIP() string {
	if e.Errcode != ErrcodeIPNotAllowed {
		return ""
	}
	// The text gives the same address twice: "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4".
	for _, m := range ipPattern.FindAllStringSubmatch(e.Errmsg, -1) {
		if ip, err := netip.ParseAddr(strings.TrimRight(m[1], ".:")); err == nil {
			return ip.Unmap().String()
		}
	}
	return ""
}

// Kind says what is certain about a call that got no answer.
type Kind int

const (
	// Unsent: the error came before the first byte of the request was written.
	// WeChat did nothing; the call may be repeated.
	Unsent Kind = iota + 1
	// Unclear: at least a byte was written and no complete answer came. WeChat
	// may have done it or not. Repeating a send may notify a person twice.
	Unclear
)

func (k Kind) String() string {
	switch k {
	case Unsent:
		return "unsent"
	case Unclear:
		return "unclear"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// TransportError is a call without an answer from WeChat. It unwraps to its
// cause: [context.Canceled] and [context.DeadlineExceeded] when the caller's
// context ended it, [os.ErrDeadlineExceeded] when a time-out of [Config] did.
type TransportError struct {
	Kind Kind
	// Path is the API's path, without host and query.
	Path string
	Err  error
}

// Error gives path, kind and cause; no query, no credential.
func (e *TransportError) Error() string {
	return fmt.Sprintf("%s: %v: %v", e.Path, e.Kind, e.Err)
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// ridIn finds the request id in an errmsg. "/sns" has a comma before "rid:", the
// others have a space.
func ridIn(errmsg string) string {
	if m := ridPattern.FindStringSubmatch(errmsg); m != nil {
		return m[1]
	}
	return ""
}

// RidTime is when WeChat saw the request of a rid, to the second: the first
// group of hex digits is a Unix time. It is not documented; the official example
// of 查询rid信息 shows it, with the rid and its invoke_time side by side.
func RidTime(rid string) (time.Time, bool) {
	head, _, _ := strings.Cut(rid, "-")
	if len(head) != 8 {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseUint(head, 16, 32)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}
