package hongyan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a template's data may hold is written in the table of 发送订阅消息,
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_sendmessage.html
// ("订阅消息参数值内容限制说明"). WeChat publishes limits and samples, no grammar: what the table settles is an error
// here, what we derived from it and from refusals in the field is a warning.

// Validation says which faults of the data refuse a message. Empty means normal.
type Validation string

// The validations.
const (
	ValidationNormal Validation = "normal" // errors refuse, warnings are only reported
	ValidationStrict Validation = "strict" // warnings refuse too
)

// Refuses reports whether a message with these faults must not be sent.
func (v Validation) Refuses(faults []DataFault) bool {
	if v == ValidationStrict {
		return len(faults) > 0
	}
	return slices.ContainsFunc(faults, func(f DataFault) bool { return f.Level == LevelError })
}

// The levels of a fault.
const (
	LevelError   = "error"   // WeChat is certain to refuse the message with 47003
	LevelWarning = "warning" // WeChat may refuse it, or take it: its own checks are not published
)

// DataFault is one thing wrong with one value of data.
type DataFault struct {
	// Pointer is the JSON pointer (RFC 6901) of the value, such as /data/thing1.
	Pointer string `json:"pointer"`
	// Rule is the rule broken. Errors: missing, not_a_string, empty, too_long, newline, control_character, not_han,
	// not_in_enum, not_numeric, impossible_date, impossible_time. Warnings: charset, format, line_separator,
	// mis_encoded, unknown_key, unknown_type.
	Rule  string `json:"code"`
	Level string `json:"level" enum:"error,warning"`
	// Detail and DetailZH say in a sentence what is wrong and what to do.
	Detail   string `json:"detail"`
	DetailZH string `json:"-"`
	// Char is the first offending character, where one can be named.
	Char string `json:"char,omitempty"`
	// Repair is a value without this fault and without any error; nil if there is none to be had without guessing.
	Repair *string `json:"repair,omitempty"`
}

// maxUnknownKeys bounds the faults that a body full of foreign keys can cause.
const maxUnknownKeys = 50

// ValidateData finds every fault of data at once: in the template's order, then keys the template does not have,
// sorted, at most 50 of them. It is pure, never panics, and allocates nothing when there is no fault.
//
// Of a template without keywords (nil, or never synced) the keys are not known: each value is held to the type its
// key names, and nothing is missing or unknown.
func ValidateData(t *Template, data map[string]string) []DataFault {
	if t == nil || len(t.Keywords) == 0 {
		return validateByKey(data)
	}
	var faults []DataFault
	present := 0
	for i := range t.Keywords {
		k := &t.Keywords[i]
		v, ok := data[k.Key]
		if !ok {
			faults = append(faults, missing(*k))
			continue
		}
		present++
		if f := inspect(k.Type, k.Enum, v); f.n > 0 {
			faults = report(faults, *k, v, f)
		}
	}
	if present < len(data) {
		faults = append(faults, unknownKeys(t, data)...)
	}
	return faults
}

// NotAString is the fault of a value that is not a JSON string. The decoder finds it; [ValidateData] sees strings only.
func NotAString(key string) DataFault {
	return fault(faultNotAString, key, "{name}", clip(key))
}

func validateByKey(data map[string]string) []DataFault {
	var faults []DataFault
	for key, v := range data {
		typ := keywordType(key)
		if f := inspect(typ, nil, v); f.n > 0 {
			faults = report(faults, Keyword{Key: key, Type: typ}, v, f)
		}
	}
	slices.SortStableFunc(faults, func(a, b DataFault) int { return strings.Compare(a.Pointer, b.Pointer) })
	return faults
}

// inspect finds the faults of one value. It is the hot path: no allocation unless something is odd.
func inspect(typ string, enum []string, v string) (f findings) {
	s := scanText(v)
	if s.blank {
		f.add(finding{code: faultEmpty})
		return f
	}
	rule := typeRules[typ]
	if rule == nil {
		f.add(finding{code: faultUnknownType})
	} else if limit := rule.limitOf(v); limit > 0 && s.units > limit {
		f.add(finding{code: faultTooLong, got: s.units, limit: limit})
	}
	for code, at := range s.at {
		if at != "" {
			f.add(finding{code: textFaults[code], at: at})
		}
	}
	if rule != nil && rule.check != nil {
		if s.at[textNewline] != "" || s.at[textControl] != "" {
			v = flatten(v) // those are reported already; the type is judged on the text without them
		}
		f.add(rule.check(v, enum))
	}
	return f
}

// textScan is what one pass over a value finds, whatever its type.
type textScan struct {
	units int  // UTF-16 code units, JavaScript's .length
	blank bool // nothing but spaces and control characters
	at    [len(textFaults)]string
}

// The places of [textScan.at] and the faults they stand for.
const (
	textNewline = iota
	textControl
	textSeparator
	textGarbled
)

var textFaults = [...]faultCode{
	textNewline:   faultNewline,
	textControl:   faultControl,
	textSeparator: faultSeparator,
	textGarbled:   faultMisEncoded,
}

// scanText counts UTF-16 units because it never undercounts: how WeChat counts emoji is not known.
func scanText(v string) textScan {
	s := textScan{blank: true}
	for i, r := range v {
		s.units++
		switch {
		case r == '\n' || r == '\r':
			s.mark(textNewline, v, i)
		case r < ' ' || 0x7f <= r && r <= 0x9f: // \p{Cc}
			s.mark(textControl, v, i)
		case r < 0x80:
			s.blank = s.blank && r == ' '
		case r == 0x2028 || r == 0x2029:
			s.mark(textSeparator, v, i)
		case r == utf8.RuneError: // U+FFFD or a byte that is not UTF-8: the traces of a wrong encoding
			s.mark(textGarbled, v, i)
			s.blank = false
		default:
			if r > 0xffff {
				s.units++
			}
			s.blank = s.blank && unicode.IsSpace(r)
		}
	}
	return s
}

func (s *textScan) mark(which int, v string, i int) {
	if s.at[which] == "" {
		s.at[which] = runeAt(v, i)
	}
}

func (r *typeRule) limitOf(v string) int {
	if r.hanLimit > 0 && strings.ContainsFunc(v, isHan) {
		return r.hanLimit
	}
	return r.limit
}

func isHan(r rune) bool {
	return 0x4e00 <= r && r <= 0x9fff || r > 0x7f && unicode.Is(unicode.Han, r)
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

func isAlphanumeric(r rune) bool { return isDigit(r) || 'a' <= r|0x20 && r|0x20 <= 'z' }

// only faults the first character that is not allowed.
func only(code faultCode, v string, allowed func(rune) bool) finding {
	for i, r := range v {
		if !allowed(r) {
			return finding{code: code, at: runeAt(v, i)}
		}
	}
	return finding{}
}

func checkLetter(v string, _ []string) finding {
	return only(faultCharset, v, func(r rune) bool { return isAlphanumeric(r) && !isDigit(r) })
}

func checkSymbol(v string, _ []string) finding {
	return only(faultCharset, v, func(r rune) bool { return !isHan(r) && !isAlphanumeric(r) && !unicode.IsSpace(r) })
}

// checkCharacterString: whether symbols that are neither ASCII nor Chinese pass is not known either.
func checkCharacterString(v string, _ []string) finding {
	return only(faultCharset, v, func(r rune) bool { return ' ' <= r && r <= '~' })
}

func checkPhone(v string, _ []string) finding {
	return only(faultCharset, v, func(r rune) bool { return isDigit(r) || r < 0x80 && strings.IndexByte("+-()*# ", byte(r)) >= 0 })
}

func checkName(v string, _ []string) finding {
	return only(faultCharset, v, func(r rune) bool { return !unicode.IsDigit(r) })
}

func checkPhrase(v string, _ []string) finding { return only(faultNotHan, v, isHan) }

func checkEnum(v string, enum []string) finding {
	if len(enum) == 0 || slices.Contains(enum, v) {
		return finding{}
	}
	return finding{code: faultNotInEnum}
}

// checkNumber: text is not a number. A minus, separators, spaces around, full-width digits and a point at an end
// are numbers in a form WeChat may or may not take; a plus was refused.
func checkNumber(v string, _ []string) finding {
	if whole, rest := cutDigits(v); whole != "" && (rest == "" || isFraction(rest)) {
		return finding{}
	}
	t := strings.TrimSpace(v)
	digits, point := false, false
	for i, r := range t {
		switch n := narrowRune(r); {
		case isDigit(n):
			digits = true
		case n == '.' && !point:
			point = true
		case n == '-' && i == 0, n == ',' && digits:
		default:
			return finding{code: faultNotNumeric, at: runeAt(t, i)}
		}
	}
	if !digits {
		return finding{code: faultNotNumeric, at: runeAt(t, 0)}
	}
	return finding{code: faultFormat, at: firstOutside(v, "0123456789.")}
}

// maxAmountDigits is the limit of an amount before its decimal point.
const maxAmountDigits = 10

func checkAmount(v string, _ []string) finding {
	rest := v
	if r, w := utf8.DecodeRuneInString(v); strings.ContainsRune("¥￥$€£", r) {
		rest = v[w:]
	}
	whole, rest := cutDigits(rest)
	rest = strings.TrimSuffix(rest, "元")
	switch {
	case whole == "" || rest != "" && !isFraction(rest):
		return finding{code: faultFormat, at: firstOutside(v, "0123456789.¥￥$€£元")}
	case len(whole) > maxAmountDigits:
		return finding{code: faultTooLong, got: len(whole), limit: maxAmountDigits}
	}
	return finding{}
}

func checkCarNumber(v string, _ []string) finding {
	n := 0
	for i, r := range v {
		n++
		inner := i > 0 && i+utf8.RuneLen(r) < len(v)
		if !isAlphanumeric(r) && (inner || !isHan(r)) {
			return finding{code: faultFormat, at: runeAt(v, i)}
		}
	}
	if n < 3 {
		return finding{code: faultFormat}
	}
	return finding{}
}

func checkTime(v string, _ []string) finding {
	return checkMoments(v, func(m moment) bool { return m.hasTime })
}

func checkDate(v string, _ []string) finding {
	return checkMoments(v, func(m moment) bool { return m.hasDate })
}

// checkMoments looks through full-width characters and spaces around: ２５：６１ is on no clock either.
func checkMoments(v string, complete func(moment) bool) finding {
	f := judgeMoments(v, complete)
	if f.code == faultFormat {
		if g := judgeMoments(narrowText(v), complete); g.code != faultNone {
			f.code, f.at = g.code, g.at
		}
		if f.code == faultFormat {
			f.at = firstOutside(v, "0123456789年月日-/.:~ ")
		}
	}
	return f
}

func judgeMoments(v string, complete func(moment) bool) finding {
	ms, n := parseMoments(v)
	known := n > 0
	for i := range n {
		m := ms[i] // by value: what goes to a func by address is allocated
		if code := m.impossible(); code != faultNone {
			return finding{code: code, at: m.text}
		}
		known = known && complete(m) && !m.iso && !m.unusual()
	}
	if !known {
		return finding{code: faultFormat}
	}
	return finding{}
}

func cutDigits(s string) (digits, rest string) {
	i := 0
	for i < len(s) && isDigit(rune(s[i])) {
		i++
	}
	return s[:i], s[i:]
}

// isFraction reports whether s is a point and digits.
func isFraction(s string) bool {
	if s == "" || s[0] != '.' {
		return false
	}
	digits, rest := cutDigits(s[1:])
	return digits != "" && rest == ""
}

func runeAt(v string, i int) string {
	_, w := utf8.DecodeRuneInString(v[i:])
	return v[i : i+w]
}

func firstOutside(v, usual string) string {
	for i, r := range v {
		if !strings.ContainsRune(usual, r) {
			return runeAt(v, i)
		}
	}
	return ""
}

// finding is a fault before it is put into words. The zero value is no fault.
type finding struct {
	code       faultCode
	at         string // the offending character, or the impossible date or time; part of the value
	got, limit int    // of faultTooLong
}

// findings has room for one of each kind a value can have at once: type, length, four of the text.
type findings struct {
	list [6]finding
	n    int
}

func (f *findings) add(g finding) {
	if g.code != faultNone {
		f.list[f.n] = g
		f.n++
	}
}

func (f *findings) all() []finding { return f.list[:f.n] }

// codes is the set of faults, one bit each.
func (f *findings) codes() (set uint32) {
	for _, g := range f.all() {
		set |= 1 << g.code
	}
	return set
}

func (f *findings) hasError() bool {
	return slices.ContainsFunc(f.all(), func(g finding) bool { return faultTable[g.code].level == LevelError })
}

// report puts the findings of one value into words and offers a repair where one helps.
func report(faults []DataFault, k Keyword, v string, f findings) []DataFault {
	repairs := repairsOf(k, v)
	for _, g := range f.all() {
		d := fault(g.code, k.Key,
			"{name}", nameOf(k), "{type}", k.Type, "{char}", describe(g.at), "{part}", clip(g.at),
			"{got}", strconv.Itoa(g.got), "{limit}", strconv.Itoa(g.limit), "{values}", listSome(k.Enum),
			"{rule.en}", ruleText(k.Type).EN, "{rule.zh}", ruleText(k.Type).ZH)
		if g.code != faultImpossibleDate && g.code != faultImpossibleTime {
			d.Char = strings.ToValidUTF8(g.at, "\uFFFD")
		}
		for _, r := range repairs {
			if r.cures(g.code) {
				d.Repair = &r.value
				d.Detail += fmt.Sprintf(" The repair would pass; \"fit\": %q makes it for you.", r.fit)
				d.DetailZH += fmt.Sprintf("可改用 repair 的值，或设置 \"fit\": %q 由服务自动修正。", r.fit)
				break
			}
		}
		faults = append(faults, d)
	}
	return faults
}

func missing(k Keyword) DataFault {
	return fault(faultMissing, k.Key, "{name}", nameOf(k), "{rule.en}", ruleText(k.Type).EN, "{rule.zh}", ruleText(k.Type).ZH)
}

func unknownKeys(t *Template, data map[string]string) []DataFault {
	var extra []string
	var known []string
	for _, k := range t.Keywords {
		known = append(known, nameOf(k))
	}
	for key := range data {
		if !slices.ContainsFunc(t.Keywords, func(k Keyword) bool { return k.Key == key }) {
			extra = append(extra, key)
		}
	}
	slices.Sort(extra)
	var faults []DataFault
	for _, key := range extra[:min(len(extra), maxUnknownKeys)] {
		faults = append(faults, fault(faultUnknownKey, key, "{name}", clip(key), "{values}", listSome(known)))
	}
	return faults
}

// fault fills the words of a rule in; pairs are placeholders and what they stand for.
func fault(code faultCode, key string, pairs ...string) DataFault {
	row := faultTable[code]
	words := strings.NewReplacer(pairs...)
	return DataFault{
		Pointer:  "/data/" + pointerEscape.Replace(key),
		Rule:     row.rule,
		Level:    row.level,
		Detail:   words.Replace(row.text.EN),
		DetailZH: words.Replace(row.text.ZH),
	}
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1") // RFC 6901

func nameOf(k Keyword) string {
	if k.Label == "" {
		return clip(k.Key)
	}
	return clip(k.Key) + " (" + clip(k.Label) + ")"
}

// describe names a character so that an invisible one can be told too.
func describe(char string) string {
	r, _ := utf8.DecodeRuneInString(char)
	if char == "" || r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.IsSpace(r) {
		return fmt.Sprintf("U+%04X", r)
	}
	return fmt.Sprintf("%c (U+%04X)", r, r)
}

func listSome(values []string) string {
	const most = 12
	if len(values) <= most {
		return strings.Join(values, ", ")
	}
	return strings.Join(values[:most], ", ") + ", …"
}

type faultCode uint8

const (
	faultNone faultCode = iota
	faultMissing
	faultNotAString
	faultEmpty
	faultTooLong
	faultNewline
	faultControl
	faultNotHan
	faultNotInEnum
	faultNotNumeric
	faultImpossibleDate
	faultImpossibleTime
	faultCharset
	faultFormat
	faultSeparator
	faultMisEncoded
	faultUnknownKey
	faultUnknownType
)

var faultTable = [...]struct {
	rule, level string
	text        Text
}{
	faultMissing: {"missing", LevelError, Text{
		"{name} is missing; WeChat refuses a message that leaves a key of the template out. Add it. {rule.en}",
		"缺少 {name}：模板的每个字段都必须有值，否则微信会拒绝，请补上。{rule.zh}"}},
	faultNotAString: {"not_a_string", LevelError, Text{
		"{name} must be a JSON string. Put the value in quotes.",
		"{name} 必须是 JSON 字符串，请给值加上引号。"}},
	faultEmpty: {"empty", LevelError, Text{
		"{name} is empty or blank; WeChat refuses that. Give it a visible value. {rule.en}",
		"{name} 为空或只有空白，微信会拒绝，请填写可见的内容。{rule.zh}"}},
	faultTooLong: {"too_long", LevelError, Text{
		"{name} is too long: {got} where {limit} are allowed, counted like .length in JavaScript (most emoji are 2 or more). Shorten it. {rule.en}",
		"{name} 过长：{got}，上限 {limit}，按 JavaScript 的 .length 计数（多数表情符号计 2 或更多），请缩短。{rule.zh}"}},
	faultNewline: {"newline", LevelError, Text{
		"{name} contains a line break ({char}); WeChat allows none. Put a space there.",
		"{name} 含有换行符（{char}），微信不允许，请换成空格。"}},
	faultControl: {"control_character", LevelError, Text{
		"{name} contains the control character {char}; WeChat allows none. Remove it.",
		"{name} 含有控制字符 {char}，微信不允许，请删除。"}},
	faultNotHan: {"not_han", LevelError, Text{
		"{name} contains {char}. {rule.en}",
		"{name} 含有 {char}。{rule.zh}"}},
	faultNotInEnum: {"not_in_enum", LevelError, Text{
		"{name} is not one of the template's values. Use one of: {values}.",
		"{name} 不是模板的枚举值，请使用其中之一：{values}。"}},
	faultNotNumeric: {"not_numeric", LevelError, Text{
		"{name} contains {char}, which is not part of a number. {rule.en} A template with a character_string takes other text.",
		"{name} 含有 {char}，不是数字的一部分。{rule.zh}如需其他字符，请选用 character_string 类型的关键词。"}},
	faultImpossibleDate: {"impossible_date", LevelError, Text{
		"{name} holds {part}, and no calendar has that date (years 1000 to 9999). Correct it. {rule.en}",
		"{name} 中的 {part} 不是存在的日期（年份须在 1000 至 9999 之间），请更正。{rule.zh}"}},
	faultImpossibleTime: {"impossible_time", LevelError, Text{
		"{name} holds {part}, and no clock shows that time. Correct it. {rule.en}",
		"{name} 中的 {part} 不是存在的时间，请更正。{rule.zh}"}},
	faultCharset: {"charset", LevelWarning, Text{
		"{name} contains {char}, which WeChat may refuse. {rule.en}",
		"{name} 含有 {char}，微信可能拒绝。{rule.zh}"}},
	faultFormat: {"format", LevelWarning, Text{
		"{name} is not in a form that WeChat is known to take. {rule.en}",
		"{name} 的格式不在已知可用之列，微信可能拒绝。{rule.zh}"}},
	faultSeparator: {"line_separator", LevelWarning, Text{
		"{name} contains the invisible separator {char}, which WeChat may refuse as a line break. Put a space there.",
		"{name} 含有不可见的分隔符 {char}，微信可能视为换行而拒绝，请换成空格。"}},
	faultMisEncoded: {"mis_encoded", LevelWarning, Text{
		"{name} contains U+FFFD or bytes that are not UTF-8: the text was damaged by a wrong encoding. Send the original as UTF-8.",
		"{name} 含有 U+FFFD 或非 UTF-8 字节，文字已因编码错误而损坏，请以 UTF-8 重新发送原文。"}},
	faultUnknownKey: {"unknown_key", LevelWarning, Text{
		"The template has no key {name}. Remove it, or use one of: {values}.",
		"模板没有字段 {name}，请删除，或改用：{values}。"}},
	faultUnknownType: {"unknown_type", LevelWarning, Text{
		"{name} is of the type {type}, whose rule this version does not know; only what holds for every type was checked.",
		"{name} 的类型 {type} 规则未知，仅做了通用检查。"}},
}
