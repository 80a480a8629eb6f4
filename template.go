package hongyan

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// TemplateKind says what an accept of the template allows: one send, or sends until the user rejects.
type TemplateKind string

// The kinds of template.
const (
	KindOneTime  TemplateKind = "one_time"  // 一次性订阅: one send per accept
	KindLongTerm TemplateKind = "long_term" // 长期订阅: on or off, nothing is counted
	// KindUnknown is a template that was never synced. It is counted like a one-time one.
	KindUnknown TemplateKind = "unknown"
)

// TemplateKindOf reads the number that WeChat's template lists call type: 2 one-time, 3 long-term.
func TemplateKindOf(wechatType int) TemplateKind {
	switch wechatType {
	case 2:
		return KindOneTime
	case 3:
		return KindLongTerm
	}
	return KindUnknown
}

// Template is one private template (订阅消息模板) of an app, as the last sync found it.
type Template struct {
	App        AppID        `json:"app"`
	TemplateID string       `json:"template_id"` // WeChat's priTmplId, case-sensitive
	Alias      string       `json:"alias,omitempty"`
	Title      string       `json:"title"`
	Kind       TemplateKind `json:"kind" enum:"one_time,long_term,unknown"`
	// Content is WeChat's text with {{thing1.DATA}} in it, Example the same lines with sample values.
	Content string `json:"content"`
	Example string `json:"example"`
	// Keywords are the fields that data must fill, in display order.
	// Empty means that they are not known: the template was never synced.
	Keywords []Keyword `json:"keywords"`
	// SyncedAt is when WeChat last listed the template; zero if it never did.
	SyncedAt time.Time `json:"synced_at,omitzero"`
	// Stale says that something since the last sync, such as errcode 40037, speaks against this copy.
	Stale bool `json:"stale"`
	// GoneAt is when a sync first missed the template; zero while WeChat lists it.
	// Messages that name it keep their history, so it is marked and not removed.
	GoneAt time.Time `json:"gone_at,omitzero"`
}

// Keyword is one field (关键词) of a template.
type Keyword struct {
	Key     string `json:"key"`   // type and number, such as thing1; the name of the value in data
	Type    string `json:"type"`  // the key without its number: thing, enum_string, or one this version does not know
	Label   string `json:"label"` // what the user reads before the value
	Example string `json:"example,omitempty"`
	// Enum lists the allowed values of an enum_string; empty if WeChat sent none.
	Enum []string `json:"enum,omitempty"`
	// Rule says in words which values the type takes.
	Rule Text `json:"rule"`
}

// keywordMark finds the data keys. No field of WeChat's answer lists them; the content is their only source.
var keywordMark = regexp.MustCompile(`\{\{\s*([A-Za-z_]+\d+)\.DATA\s*\}\}`)

// ParseKeywords reads the fields of a template in display order from the content, example and
// keywordEnumValueList of 获取已有模板列表 (api_getwxapubnewtemplate). Keys of enums may carry WeChat's ".DATA".
// Types this version does not know are kept; a key that appears twice counts once.
func ParseKeywords(content, example string, enums map[string][]string) []Keyword {
	var keywords []Keyword
	samples := strings.Split(example, "\n")
	for i, line := range strings.Split(content, "\n") {
		from := 0
		for _, m := range keywordMark.FindAllStringSubmatchIndex(line, -1) {
			key, label := line[m[2]:m[3]], trimLabel(line[from:m[0]])
			from = m[1]
			if slices.ContainsFunc(keywords, func(k Keyword) bool { return k.Key == key }) {
				continue
			}
			keywords = append(keywords, Keyword{
				Key:     key,
				Type:    keywordType(key),
				Label:   label,
				Example: takeSample(samples, i, label),
				Enum:    enumOf(enums, key),
				Rule:    ruleText(keywordType(key)),
			})
		}
	}
	return keywords
}

func keywordType(key string) string { return strings.TrimRight(key, "0123456789") }

func trimLabel(s string) string {
	return strings.TrimSpace(strings.TrimRight(strings.TrimSpace(s), ":："))
}

func enumOf(enums map[string][]string, key string) []string {
	if values, ok := enums[key+".DATA"]; ok {
		return slices.Clone(values)
	}
	return slices.Clone(enums[key])
}

// takeSample finds the example line of a label and blanks it, so that two fields with one label get a line each.
// The line at the field's own position goes first: a label may be the beginning of another.
func takeSample(samples []string, at int, label string) string {
	if label == "" {
		return ""
	}
	if at < len(samples) {
		if value, ok := sampleOf(samples[at], label); ok {
			samples[at] = ""
			return value
		}
	}
	for i, line := range samples {
		if value, ok := sampleOf(line, label); ok {
			samples[i] = ""
			return value
		}
	}
	return ""
}

func sampleOf(line, label string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), label)
	if !ok {
		return "", false
	}
	rest = strings.TrimSpace(rest)
	for _, colon := range []string{":", "："} {
		if value, ok := strings.CutPrefix(rest, colon); ok {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// typeRule is what a type allows beyond what every value must keep to, and how [FitData] may change its values.
type typeRule struct {
	limit    int  // UTF-16 code units; 0 if the type sets no length
	hanLimit int  // instead of limit, if the value holds a Chinese character
	narrow   bool // full-width characters may become ASCII
	moments  bool // ISO date-times may be rewritten
	cut      bool // may be cut to limit: what is left still means the same
	check    func(v string, enum []string) finding
	text     Text
}

// typeRules is the table of parameter values in 发送订阅消息 (api_sendmessage), each type under the prefix its keys have.
var typeRules = map[string]*typeRule{
	"thing": {limit: 20, cut: true, text: Text{
		"At most 20 characters of any kind, in one line.",
		"20 个以内字符，汉字、数字、字母、符号均可，不能换行。"}},
	"number": {limit: 32, narrow: true, check: checkNumber, text: Text{
		"At most 32 digits, with a decimal point if needed; no sign, no separators.",
		"32 位以内数字，可带小数，不能有正负号和千分位。"}},
	"letter": {limit: 32, check: checkLetter, text: Text{
		"At most 32 letters A-Z, a-z.",
		"32 个以内英文字母。"}},
	"symbol": {limit: 5, check: checkSymbol, text: Text{
		"At most 5 symbols; no letters, digits or Chinese characters.",
		"5 个以内符号，不能有汉字、字母、数字。"}},
	"character_string": {limit: 32, check: checkCharacterString, text: Text{
		"At most 32 digits, letters or ASCII symbols; no Chinese characters.",
		"32 个以内数字、字母或半角符号，不能有汉字。"}},
	"time": {narrow: true, moments: true, check: checkTime, text: Text{
		"A 24-hour time, a date before it if needed, such as 15:01 or 2019年10月1日 15:01; two of them joined by an ASCII ~ make a range.",
		"24 小时制时间，前面可带日期，如 15:01、2019年10月1日 15:01；时间段用半角 ~ 连接两个完整的时间点。"}},
	"date": {narrow: true, moments: true, check: checkDate, text: Text{
		"A date, a 24-hour time after it if needed, such as 2019年10月1日, 2019-10-01 or 2019年10月1日 15:01; two of them joined by an ASCII ~ make a range.",
		"年月日，后面可带 24 小时制时间，如 2019年10月1日、2019-10-01、2019年10月1日 15:01；时间段用半角 ~ 连接两个完整的日期。"}},
	"amount": {narrow: true, check: checkAmount, text: Text{
		"One currency sign if needed, up to 10 digits, decimals if needed, and 元 at the end if needed, such as ¥12.3元; no separators.",
		"可带 1 个币种符号，10 位以内数字，可带小数，可以“元”结尾，如 ¥12.3元，不能有千分位。"}},
	"phone_number": {limit: 17, narrow: true, check: checkPhone, text: Text{
		"At most 17 digits and symbols, such as +86-0766-66888866.",
		"17 位以内数字和符号，如 +86-0766-66888866。"}},
	"car_number": {limit: 8, check: checkCarNumber, text: Text{
		"At most 8 characters: the first and last may be Chinese, the others are letters or digits, such as 粤A8Z888挂.",
		"8 位以内，首位和末位可为汉字，其余为字母或数字，如 粤A8Z888挂。"}},
	"name": {limit: 20, hanLimit: 10, check: checkName, text: Text{
		"At most 10 characters if one of them is Chinese, otherwise at most 20 letters or symbols; no digits.",
		"含汉字时 10 个以内字符，否则 20 个以内字母或符号，不能有数字。"}},
	"phrase":      {limit: 5, check: checkPhrase, text: Text{"At most 5 Chinese characters and nothing else, such as 配送中.", "5 个以内汉字，如 配送中，不能有其他字符。"}},
	"enum_string": enumRule,
	"enum":        enumRule, // the name in WeChat's table
}

var enumRule = &typeRule{check: checkEnum, text: Text{"One of the template's own values, exactly.", "模板枚举值之一，须完全一致。"}}

func ruleText(typ string) Text {
	if r := typeRules[typ]; r != nil {
		return r.text
	}
	return Text{"Text in one line; the rule of this type is not known to this version.", "单行文本；当前版本不了解该类型的规则。"}
}
