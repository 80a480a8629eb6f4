package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nesting: no body of ours needs more than five levels.
const maxDepth = 64

// lexer walks over one JSON text. encoding/json would take a key twice, a key in another case
// and broken UTF-8 without a word; each of those is a mistake that the sender should hear of.
type lexer struct {
	src string
	pos int
	// dirty: the text has invalid UTF-8 somewhere, so every string is looked at.
	dirty bool
	// broken is what stopped the walk; nothing behind it can be read.
	broken string
}

func newLexer(src string) lexer {
	return lexer{src: src, dirty: !utf8.ValidString(src)}
}

// peek skips white space and shows the next byte, 0 at the end.
func (l *lexer) peek() byte {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; c {
		case ' ', '\t', '\n', '\r':
			l.pos++
		default:
			return c
		}
	}
	return 0
}

// eat takes the next byte if it is c.
func (l *lexer) eat(c byte) bool {
	if l.peek() != c {
		return false
	}
	l.pos++
	return true
}

// fail stops the walk here.
func (l *lexer) fail(what string) {
	if l.broken != "" {
		return
	}
	line := 1 + strings.Count(l.src[:l.pos], "\n")
	column := 1 + utf8.RuneCountInString(l.src[strings.LastIndexByte(l.src[:l.pos], '\n')+1:l.pos])
	l.broken = fmt.Sprintf("The body is not JSON: %s, at line %d, column %d.", what, line, column)
	l.pos = len(l.src)
}

// unexpected stops at a byte that cannot stand here.
func (l *lexer) unexpected(want string) {
	switch c := l.peek(); {
	case l.pos >= len(l.src):
		l.fail("it ends where " + want + " should follow; it was cut off or a bracket is missing")
	case c == '\'':
		l.fail("it has a single quote; JSON strings stand in double quotes")
	case c >= utf8.RuneSelf:
		r, _ := utf8.DecodeRuneInString(l.src[l.pos:])
		l.fail(fmt.Sprintf("%q stands where %s should; outside of strings JSON is plain ASCII", r, want))
	default:
		l.fail(fmt.Sprintf("%q stands where %s should", c, want))
	}
}

// str reads a string. ok is false where the walk stopped.
func (l *lexer) str() (s string, ok bool) {
	l.pos++ // the quote
	start, escaped := l.pos, false
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == '"':
			raw := l.src[start:l.pos]
			l.pos++
			if !escaped {
				return raw, true
			}
			return l.unescape(start, raw)
		case c == '\\':
			escaped = true
			l.pos += 2
		case c < ' ':
			l.fail(fmt.Sprintf(`a string has the raw control character U+%04X; write it as \n, \t or \u%04X`, c, c))
			return "", false
		default:
			l.pos++
		}
	}
	l.pos = len(l.src)
	l.fail("a string has no closing quote")
	return "", false
}

// unescape resolves a string with backslashes.
func (l *lexer) unescape(start int, raw string) (string, bool) {
	var s string
	if l.dirty && !utf8.ValidString(raw) {
		// Its fault is named by whoever wanted the string; what it says no longer matters.
		raw = strings.ToValidUTF8(raw, "?")
	}
	if json.Unmarshal([]byte(`"`+raw+`"`), &s) != nil {
		l.pos = start
		l.fail(`a string has a backslash that starts no escape; the escapes are \" \\ \/ \b \f \n \r \t and \uXXXX`)
		return "", false
	}
	return s, true
}

// number reads a number as it is written.
func (l *lexer) number() (string, bool) {
	start := l.pos
	l.take('-')
	switch {
	case l.take('0'):
	case !l.digits():
		return l.badNumber(start)
	}
	if l.take('.') && !l.digits() {
		return l.badNumber(start)
	}
	if l.take('e') || l.take('E') {
		if !l.take('+') {
			l.take('-')
		}
		if !l.digits() {
			return l.badNumber(start)
		}
	}
	return l.src[start:l.pos], true
}

func (l *lexer) badNumber(start int) (string, bool) {
	l.pos = start
	l.unexpected("a value")
	return "", false
}

// take takes the very next byte if it is c, without skipping space.
func (l *lexer) take(c byte) bool {
	if l.pos >= len(l.src) || l.src[l.pos] != c {
		return false
	}
	l.pos++
	return true
}

func (l *lexer) digits() bool {
	start := l.pos
	for l.pos < len(l.src) && '0' <= l.src[l.pos] && l.src[l.pos] <= '9' {
		l.pos++
	}
	return l.pos > start
}

// word takes true, false or null.
func (l *lexer) word(w string) bool {
	if !strings.HasPrefix(l.src[l.pos:], w) {
		l.unexpected("a value")
		return false
	}
	l.pos += len(w)
	return true
}

// skip passes over any value and reports whether it was whole.
func (l *lexer) skip(depth int) bool {
	if depth > maxDepth {
		l.fail("it is nested too deeply")
		return false
	}
	switch c := l.peek(); {
	case c == '"':
		_, ok := l.str()
		return ok
	case c == '{':
		l.pos++
		return l.rest('}', func() bool {
			_, ok := l.key()
			return ok && l.skip(depth+1)
		})
	case c == '[':
		l.pos++
		return l.rest(']', func() bool { return l.skip(depth + 1) })
	case c == 't':
		return l.word("true")
	case c == 'f':
		return l.word("false")
	case c == 'n':
		return l.word("null")
	case c == '-' || '0' <= c && c <= '9':
		_, ok := l.number()
		return ok
	}
	l.unexpected("a value")
	return false
}

// key reads a member's name and the colon.
func (l *lexer) key() (string, bool) {
	if l.peek() != '"' {
		if l.peek() == '}' {
			l.fail("there is a comma before the closing bracket")
		} else {
			l.unexpected("a name in double quotes")
		}
		return "", false
	}
	k, ok := l.str()
	if ok && !l.eat(':') {
		l.unexpected("a colon")
		return "", false
	}
	return k, ok
}

// rest reads what follows an opening bracket: items with commas between them, and the end.
func (l *lexer) rest(end byte, item func() bool) bool {
	if l.eat(end) {
		return true
	}
	for {
		if !item() {
			return false
		}
		switch {
		case l.eat(','):
			if end == ']' && l.peek() == ']' {
				l.fail("there is a comma before the closing bracket")
				return false
			}
		case l.eat(end):
			return true
		default:
			l.unexpected("a comma or " + string(end))
			return false
		}
	}
}

// kind says in words what stands next.
func (l *lexer) kind() string {
	switch c := l.peek(); {
	case c == '"':
		return "a string"
	case c == '{':
		return "an object"
	case c == '[':
		return "a list"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || '0' <= c && c <= '9':
		return "a number"
	}
	return "nothing"
}
