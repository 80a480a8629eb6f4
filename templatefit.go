package hongyan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// Fit says how far the server may change data so that WeChat takes it. Empty means none.
type Fit string

// The fits.
const (
	// FitNone sends data as it came.
	FitNone Fit = "none"
	// FitRepair makes the changes that lose nothing a person would read, see [FitData].
	FitRepair Fit = "repair"
	// FitTruncate repairs, and then cuts a thing that is still too long.
	FitTruncate Fit = "truncate"
)

// FitData repairs the values that have faults and names the keys it changed, in the template's order.
// It never modifies data: fitted is a copy, or data itself if nothing changed. It is pure and idempotent.
//
// A value without faults stays as it is to the byte, and a repair is kept only if it removes a fault and brings no new one.
// The repairs: line breaks become a space, control characters go, space around the value goes; full-width characters
// become ASCII in number, amount, phone_number, time and date (～ among them); an ISO 8601 or RFC 3339 date-time in
// time or date becomes 2006年01月02日 15:04, with its seconds if they are not 0. The clock reading stays as written:
// nobody can tell which zone the reader is in.
//
// FitTruncate also cuts a thing to 20 UTF-16 units, the last of them …, and never inside an emoji or a combined
// character. No other type is cut: half an order number, phone number, date or surname says something else.
func FitData(t *Template, data map[string]string, fit Fit) (fitted map[string]string, changed []string) {
	if fit != FitRepair && fit != FitTruncate {
		return data, nil
	}
	fitted = data
	fitOne := func(k Keyword) {
		v, ok := data[k.Key]
		if !ok {
			return
		}
		w, _ := fitValue(k, v, fit)
		if w == v {
			return
		}
		if changed == nil {
			fitted = maps.Clone(data)
		}
		fitted[k.Key] = w
		changed = append(changed, k.Key)
	}
	if t != nil && len(t.Keywords) > 0 {
		for _, k := range t.Keywords {
			fitOne(k)
		}
		return fitted, changed
	}
	for key := range data {
		fitOne(Keyword{Key: key, Type: keywordType(key)})
	}
	slices.Sort(changed)
	return fitted, changed
}

// fitValue changes v only for the better, and says what is still wrong with the result.
func fitValue(k Keyword, v string, fit Fit) (string, findings) {
	before := inspect(k.Type, k.Enum, v)
	if before.n == 0 {
		return v, before
	}
	w := mend(k.Type, v)
	if rule := typeRules[k.Type]; fit == FitTruncate && rule != nil && rule.cut {
		w = truncate(w, rule.limit)
	}
	after := inspect(k.Type, k.Enum, w)
	if had, has := before.codes(), after.codes(); has == had || has&^had != 0 {
		return v, before
	}
	return w, after
}

// repair is a value that a fit would make of a faulty one.
type repair struct {
	fit   Fit
	value string
	left  findings
}

func (r *repair) cures(code faultCode) bool {
	return r.left.codes()&(1<<code) == 0 && !r.left.hasError()
}

// repairsOf are the repairs of a value, the gentlest first.
func repairsOf(k Keyword, v string) []repair {
	var repairs []repair
	for _, fit := range []Fit{FitRepair, FitTruncate} {
		if w, left := fitValue(k, v, fit); w != v {
			repairs = append(repairs, repair{fit, w, left})
		}
	}
	return repairs
}

func mend(typ, v string) string {
	v = flatten(v)
	rule := typeRules[typ]
	if rule == nil {
		return v
	}
	if rule.narrow {
		v = narrowText(v)
	}
	if rule.moments {
		v = plainMoments(v)
	}
	return v
}

// flatten makes one line of v: a break or tab of any kind becomes one space with the breaks and spaces after it,
// other control characters go.
func flatten(v string) string {
	var b strings.Builder
	space, broken := true, false // whether b ends in a space; whether a break waits for the text after it
	for _, r := range v {
		isSpace, isControl := unicode.IsSpace(r), unicode.IsControl(r)
		switch {
		case isSpace && isControl || r == 0x2028 || r == 0x2029:
			broken = true
		case isControl || broken && isSpace:
		default:
			if broken && !space {
				b.WriteByte(' ')
			}
			broken, space = false, isSpace
			b.WriteRune(r) // a byte that is not UTF-8 becomes U+FFFD, as JSON would make it
		}
	}
	return strings.TrimSpace(b.String())
}

// narrowText turns full-width forms into ASCII and trims.
func narrowText(v string) string {
	return strings.TrimSpace(strings.Map(narrowRune, v))
}

func narrowRune(r rune) rune {
	switch {
	case 0xff01 <= r && r <= 0xff5e: // ！ to ～
		return r - 0xfee0
	case r == 0x3000: // ideographic space
		return ' '
	case r == 0x301c: // 〜, what some input methods type for ～
		return '~'
	}
	return r
}

// truncate cuts v to limit UTF-16 units with … as the last, between grapheme clusters.
// If the first cluster alone is too long there is nothing left to say, and v stays.
func truncate(v string, limit int) string {
	if scanText(v).units <= limit {
		return v
	}
	end, units, state := 0, 0, -1
	for rest := v; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		units += scanText(cluster).units
		if units > limit-1 {
			break
		}
		end += len(cluster)
	}
	head := strings.TrimRightFunc(v[:end], unicode.IsSpace)
	if head == "" {
		return v
	}
	return head + "…"
}

// moment is one point in time as somebody wrote it. Absent parts are -1.
type moment struct {
	text                 string
	year, month, day     int
	hour, minute, second int
	hasDate, hasTime     bool
	iso                  bool // a T, fraction or zone: ISO 8601, which WeChat refuses
}

// parseMoments reads one point or a range of two; n is 0 if v has no such shape.
// The shapes are those of the table's notes; what they say is checked by [moment.impossible].
func parseMoments(v string) (ms [2]moment, n int) {
	c := cursor{s: v}
	for n < len(ms) {
		m, ok := c.moment()
		if !ok {
			return ms, 0
		}
		ms[n] = m
		n++
		if c.rest() == "" {
			return ms, n
		}
		c.spaces() // before a ~ only: a space at the very end is no part of the shape
		if !c.eat("~") {
			return ms, 0
		}
		c.spaces()
	}
	return ms, 0 // a third point
}

// impossible names the fault of a date no calendar or a time no clock has.
// Years begin at 1000, so that Go's zero time is caught; 9999-12-31 for "for ever" passes.
func (m moment) impossible() faultCode {
	switch {
	case m.hasDate && (m.month < 1 || m.month > 12 || m.year >= 0 && m.year < 1000):
		return faultImpossibleDate
	case m.day >= 0 && (m.day < 1 || m.day > daysIn(m.year, m.month)):
		return faultImpossibleDate
	case m.hasTime && (m.minute > 59 || m.second > 60 || m.hour > 24 || m.hour == 24 && m.minute+max(m.second, 0) > 0):
		return faultImpossibleTime
	}
	return faultNone
}

// unusual times exist (midnight as 24:00, leap seconds), but nobody has seen WeChat take one.
func (m moment) unusual() bool { return m.hasTime && (m.hour == 24 || m.second == 60) }

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year < 0 || year%4 == 0 && (year%100 != 0 || year%400 == 0) { // without a year the 29th may exist
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// plainMoments rewrites ISO date-times in the form of WeChat's own samples.
func plainMoments(v string) string {
	ms, n := parseMoments(v)
	texts := make([]string, 0, len(ms))
	iso := false
	for _, m := range ms[:n] {
		iso = iso || m.iso
		texts = append(texts, m.plain())
	}
	if !iso {
		return v
	}
	return strings.Join(texts, "~")
}

func (m moment) plain() string {
	if !m.iso {
		return m.text
	}
	s := fmt.Sprintf("%04d年%02d月%02d日 %02d:%02d", m.year, m.month, m.day, m.hour, m.minute)
	if m.second > 0 {
		s += fmt.Sprintf(":%02d", m.second)
	}
	return s
}

// cursor reads s from i on.
type cursor struct {
	s string
	i int
}

func (c *cursor) rest() string { return c.s[c.i:] }

func (c *cursor) moment() (m moment, ok bool) {
	m = moment{year: -1, month: -1, day: -1, hour: -1, minute: -1, second: -1}
	start := c.i
	n, w := c.number()
	switch {
	case w == 0:
		return m, false
	case strings.HasPrefix(c.rest(), ":"):
		ok = c.clock(&m, n, w)
	default:
		ok = c.date(&m, n, w) && c.clockAfterDate(&m)
	}
	m.text = strings.TrimRight(c.s[start:c.i], " ")
	return m, ok
}

// date reads y年m月d日, y年m月 or m月d日 after its first number, or the same in digits.
func (c *cursor) date(m *moment, n, w int) (ok bool) {
	m.hasDate = true
	switch {
	case w == 4 && c.eat("年"):
		m.year = n
		if m.month, ok = c.short(); !ok || !c.eat("月") {
			return false
		}
		d, w := c.number()
		if w > 0 {
			m.day = d
		}
		return w == 0 || w <= 2 && c.eat("日")
	case w <= 2 && c.eat("月"):
		m.month = n
		m.day, ok = c.short()
		return ok && c.eat("日")
	}
	return c.digitDate(m, n, w)
}

// digitDate reads y-m-d, y-m or m-d, also with / or . but not with two of them.
func (c *cursor) digitDate(m *moment, n, w int) bool {
	separator := c.eatOneOf("-/.")
	second, ok := c.short()
	if separator == "" || !ok {
		return false
	}
	switch w {
	case 1, 2:
		m.month, m.day = n, second
		return true
	case 4:
		m.year, m.month = n, second
		if c.eat(separator) {
			m.day, ok = c.short()
		}
		return ok
	}
	return false
}

// clockAfterDate reads the time after a date, if there is one. A date that ends in a digit needs a space before it:
// 2019-10-115:01 may be the 1st or the 11th.
func (c *cursor) clockAfterDate(m *moment) bool {
	if m.year >= 0 && m.day >= 0 && (c.eat("T") || c.eat("t")) {
		m.iso = true
		n, w := c.number()
		return c.clock(m, n, w)
	}
	endsInDigit := isDigit(rune(c.s[c.i-1]))
	gap := c.spaces()
	n, w := c.number()
	if w == 0 {
		return true
	}
	return (gap || !endsInDigit) && c.clock(m, n, w)
}

// clock reads h:mm or h:mm:ss after its hour, and what ISO puts behind it if there is a date before it.
func (c *cursor) clock(m *moment, hour, w int) bool {
	m.hasTime, m.hour = true, hour
	if w < 1 || w > 2 || !c.eat(":") {
		return false
	}
	if m.minute, w = c.number(); w != 2 {
		return false
	}
	if c.eat(":") {
		if m.second, w = c.number(); w != 2 {
			return false
		}
		if m.year >= 0 && m.day >= 0 && c.eat(".") {
			m.iso = true
			if _, w = c.number(); w == 0 {
				return false
			}
		}
	}
	return m.year < 0 || m.day < 0 || c.zone(m)
}

// zone reads Z, +08:00, +0800, +08, and such with a minus behind a T: without one, 08:00-12:00 means a range.
func (c *cursor) zone(m *moment) bool {
	switch {
	case c.eat("Z") || c.eat("z"):
	case c.eat("+") || m.iso && c.eat("-"):
		if _, w := c.number(); w == 2 && c.eat(":") {
			if _, w = c.number(); w != 2 {
				return false
			}
		} else if w != 2 && w != 4 {
			return false
		}
	default:
		return true
	}
	m.iso = true
	return true
}

// number reads ASCII digits: their value and how many there are. More than 9 cannot be part of a moment.
func (c *cursor) number() (n, width int) {
	digits, _ := cutDigits(c.rest())
	c.i += len(digits)
	if len(digits) > 9 {
		return 0, len(digits)
	}
	for i := range len(digits) {
		n = n*10 + int(digits[i]-'0')
	}
	return n, len(digits)
}

// short reads one or two digits.
func (c *cursor) short() (n int, ok bool) {
	n, w := c.number()
	return n, 1 <= w && w <= 2
}

func (c *cursor) eat(token string) bool {
	if !strings.HasPrefix(c.rest(), token) {
		return false
	}
	c.i += len(token)
	return true
}

// eatOneOf reads one of some ASCII characters, "" if none of them is next.
func (c *cursor) eatOneOf(chars string) string {
	if c.i == len(c.s) || strings.IndexByte(chars, c.s[c.i]) < 0 {
		return ""
	}
	c.i++
	return c.s[c.i-1 : c.i]
}

// spaces skips spaces and reports whether there were any.
func (c *cursor) spaces() bool {
	start := c.i
	for c.i < len(c.s) && c.s[c.i] == ' ' {
		c.i++
	}
	return c.i > start
}
