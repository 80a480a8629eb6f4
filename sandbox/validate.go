package sandbox

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ruleEnum is the type whose values the template lists.
const ruleEnum = "enum"

// Patterns of the types, from the derived checks of wechat-api.md, section 5.4.
// WeChat publishes limits in words only.
const (
	timePattern = `(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?`
	datePattern = `(?:\d{4}年\d{1,2}月(?:\d{1,2}日)?|\d{1,2}月\d{1,2}日|\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2})`
)

var patterns = map[string]*regexp.Regexp{
	"number":           regexp.MustCompile(`^-?\d+(\.\d+)?$`),
	"letter":           regexp.MustCompile(`^[A-Za-z]{1,32}$`),
	"symbol":           regexp.MustCompile(`^[^\p{Han}A-Za-z0-9\s\p{Cc}]{1,5}$`),
	"character_string": regexp.MustCompile(`^[\x20-\x7E]{1,32}$`),
	"time":             regexp.MustCompile(`^(?:(` + datePattern + `)\s*)?` + timePattern + `(?:\s*~\s*(?:(` + datePattern + `)\s*)?` + timePattern + `)?$`),
	"date":             regexp.MustCompile(`^(` + datePattern + `)(?:\s*` + timePattern + `)?(?:\s*~\s*(` + datePattern + `)(?:\s*` + timePattern + `)?)?$`),
	"amount":           regexp.MustCompile(`^[¥￥$€£]?\d{1,10}(\.\d+)?元?$`),
	"phone_number":     regexp.MustCompile(`^[0-9+\-()*# ]{1,17}$`),
	"car_number":       regexp.MustCompile(`^[\p{Han}A-Za-z0-9][A-Za-z0-9]{1,6}[\p{Han}A-Za-z0-9]$`),
	"phrase":           regexp.MustCompile(`^\p{Han}{1,5}$`),
}

// Lengths in UTF-16 units, as JavaScript counts.
const (
	maxThing     = 20
	maxNumber    = 32
	maxHanName   = 10
	maxLatinName = 20
)

// checkData returns the values of the template's keys in its order, or WeChat's
// complaint about the first bad one. Keys the template lacks are ignored.
func (p *template) checkData(raw json.RawMessage) ([]string, string) {
	data, _ := parseObject(raw) // what is no object has no key
	values := make([]string, len(p.fields))
	for i, f := range p.fields {
		value, isText := entryValue(data[f.key])
		switch {
		case isText && strings.TrimSpace(value) == "":
			return nil, "data." + f.key + ".value is empty"
		case !isText || !validValue(f.Rule, value, f.Enum):
			return nil, "data." + f.key + ".value invalid"
		}
		values[i] = value
	}
	return values, ""
}

// entryValue is the value of one key. An entry that is missing or no object, and
// a value that is missing or null, are empty texts; a value of another type is
// no text.
func entryValue(raw json.RawMessage) (value string, isText bool) {
	if inner, ok := bytes.CutPrefix(raw, []byte(`{"value":`)); ok {
		inner, _ = bytes.CutSuffix(inner, []byte("}"))
		if value, ok = plainText(bytes.TrimSpace(inner)); ok {
			return value, true
		}
	}
	entry, ok := parseObject(raw)
	if !ok {
		return "", true
	}
	return value, entry.text("value", &value)
}

// validValue reports whether a value keeps the rule of its type.
func validValue(rule, value string, members []string) bool {
	// U+FFFD stands where the text was not UTF-8.
	if strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return false
	}
	switch rule {
	case "thing":
		return units(value) <= maxThing
	case "name":
		return validName(value)
	case ruleEnum:
		return slices.Contains(members, value)
	case "number":
		return len(value) <= maxNumber && patterns[rule].MatchString(value)
	case "time", "date":
		return validDates(patterns[rule].FindStringSubmatch(value))
	}
	pattern := patterns[rule]
	return pattern == nil || pattern.MatchString(value)
}

// validName counts a name with Chinese as a Chinese one.
func validName(value string) bool {
	limit := maxLatinName
	if strings.ContainsFunc(value, isHan) {
		limit = maxHanName
	}
	return units(value) <= limit && !strings.ContainsAny(value, "0123456789")
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

// units counts UTF-16 units without making any.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// validDates checks a match of the time or date pattern: its groups are dates or
// empty.
func validDates(match []string) bool {
	return len(match) > 0 && !slices.ContainsFunc(match[1:], func(d string) bool { return d != "" && !inCalendar(d) })
}

// inCalendar reports whether a date that fits the pattern exists. Without a year
// 29 February does; without a day the month is enough.
func inCalendar(date string) bool {
	parts := strings.FieldsFunc(date, func(r rune) bool { return r < '0' || r > '9' })
	if strings.ContainsAny(date, "-/.") && len(parts) == 3 && strings.Count(date, string(date[4])) != 2 {
		return false // 2026-11/22
	}
	year, month, dayOfMonth := 2000, 0, 1 // a leap year
	if len(parts[0]) == 4 {
		year, _ = strconv.Atoi(parts[0])
		parts = parts[1:]
	}
	month, _ = strconv.Atoi(parts[0])
	if len(parts) > 1 {
		dayOfMonth, _ = strconv.Atoi(parts[1])
	}
	if month < 1 || month > 12 {
		return false
	}
	return dayOfMonth >= 1 && dayOfMonth <= daysIn(year, month)
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
