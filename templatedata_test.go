package hongyan_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hongyan-push/hongyan"
)

// family is one emoji to the eye, 4 emoji and 3 joiners inside: 11 UTF-16 units.
const family = "👨‍👩‍👧‍👦"

// rooms are the values of the enums in these tests.
var rooms = []string{"客厅", "厨房"}

// oneField is a template with a single keyword of the type.
func oneField(typ string) *hongyan.Template {
	k := hongyan.Keyword{Key: typ + "1", Type: typ, Label: "标签"}
	if typ == "enum_string" {
		k.Enum = rooms
	}
	return &hongyan.Template{Keywords: []hongyan.Keyword{k}}
}

// faultsOf validates one value of a type and says "code" for each error and "code?" for each warning.
func faultsOf(typ, value string) (short []string, faults []hongyan.DataFault) {
	faults = hongyan.ValidateData(oneField(typ), map[string]string{typ + "1": value})
	for _, f := range faults {
		if f.Level == hongyan.LevelWarning {
			f.Rule += "?"
		}
		short = append(short, f.Rule)
	}
	return short, faults
}

func TestValidateDataValues(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, typ, value, want string }{
		// The accepted column of the type table, the samples of WeChat's page, and the gotchas.
		{"sample", "thing", "TIT会议室", ""},
		{"20 Han", "thing", strings.Repeat("汉", 20), ""},
		{"20 ASCII", "thing", strings.Repeat("a", 20), ""},
		{"10 emoji are 20 units", "thing", strings.Repeat("😀", 10), ""},
		{"a family is 11 units", "thing", family + "123456789", ""},
		{"full-width punctuation", "thing", "已发货，请查收！", ""},
		{"spaces inside and around", "thing", " 已 发货 ", ""},
		{"digits", "number", "339208499", ""},
		{"decimals", "number", "12.50", ""},
		{"32 digits", "number", strings.Repeat("9", 32), ""},
		{"letters", "letter", "abcXYZ", ""},
		{"32 letters", "letter", strings.Repeat("z", 32), ""},
		{"symbols", "symbol", "!@#￥%", ""},
		{"order number", "character_string", "NO-2024/07#24_a", ""},
		{"32 characters", "character_string", strings.Repeat("x", 32), ""},
		{"space in a string", "character_string", "AB 12", ""},
		{"hour and minute", "time", "15:01", ""},
		{"one-digit hour", "time", "9:05", ""},
		{"with seconds", "time", "15:01:59", ""},
		{"sample with date", "time", "2019年10月1日 15:01", ""},
		{"ISO date, seconds", "time", "2023-03-24 11:50:00", ""},
		{"sample with seconds", "time", "2021年10月21日 12:00:00", ""},
		{"range after one date", "time", "2024-07-24 08:00~12:00", ""},
		{"range of full points", "time", "2024-07-24 08:00 ~ 2024-07-25 12:00", ""},
		{"range over midnight", "time", "22:00~06:00", ""},
		{"no space after 日", "time", "2019年10月1日15:01", ""},
		{"sample", "date", "2016年8月8日", ""},
		{"with time", "date", "2019-12-25 09:42", ""},
		{"year and month", "date", "2019年10月", ""},
		{"month and day", "date", "10月1日", ""},
		{"hyphens", "date", "2018-01-01", ""},
		{"slashes", "date", "2018/01/01", ""},
		{"points", "date", "2018.01.01", ""},
		{"hyphens, month", "date", "2018-01", ""},
		{"hyphens, no year", "date", "01-01", ""},
		{"range", "date", "2019年10月1日~2019年10月7日", ""},
		{"leap day", "date", "2024年2月29日", ""},
		{"leap day without a year", "date", "2月29日", ""},
		{"for ever", "date", "9999-12-31", ""},
		{"sign and 元", "amount", "¥12.3元", ""},
		{"sign", "amount", "¥0.01", ""},
		{"full-width sign", "amount", "￥0.01", ""},
		{"元", "amount", "0.02元", ""},
		{"bare", "amount", "6000.00", ""},
		{"bare small", "amount", "0.05", ""},
		{"10 digits and decimals", "amount", "1234567890.12", ""},
		{"sample", "phone_number", "+86-0766-66888866", ""},
		{"mobile", "phone_number", "13800138000", ""},
		{"masked with asterisks", "phone_number", "138****8000", ""},
		{"sample", "car_number", "粤A8Z888挂", ""},
		{"new energy", "car_number", "粤AD12345", ""},
		{"no Han", "car_number", "ABC123", ""},
		{"Chinese", "name", "张三丰", ""},
		{"10 Chinese", "name", strings.Repeat("张", 10), ""},
		{"20 letters", "name", "Maximilian von Habsb", ""},
		{"minority name", "name", "阿凡提·买买提", ""},
		{"sample", "phrase", "配送中", ""},
		{"four", "phrase", "审核通过", ""},
		{"five", "phrase", "正在配送中", ""},
		{"member", "enum_string", "客厅", ""},

		// Every type.
		{"empty", "thing", "", "empty"},
		{"blank", "thing", " \u3000\u00a0", "empty"},
		{"only a line break", "thing", "\n", "empty"},
		{"only control characters", "thing", "\x00\x7f", "empty"},
		{"line feed", "thing", "第一行\n第二行", "newline"},
		{"carriage return", "thing", "a\r\nb", "newline"},
		{"tab", "thing", "a\tb", "control_character"},
		{"NUL", "thing", "a\x00", "control_character"},
		{"C1 control", "thing", "a\u0085b", "control_character"},
		{"line separator", "thing", "a\u2028b", "line_separator?"},
		{"replacement character", "thing", "订单\ufffd\ufffd", "mis_encoded?"},
		{"GBK bytes", "thing", "\xb6\xa9\xb5\xa5", "mis_encoded?"},
		{"21 Han", "thing", strings.Repeat("汉", 21), "too_long"},
		{"22 characters", "thing", "您的订单已经由顺丰快递发出，预计明天送达哦", "too_long"},
		{"11 emoji", "thing", strings.Repeat("😀", 11), "too_long"},
		{"two families", "thing", family + family, "too_long"},
		{"all at once", "thing", strings.Repeat("汉", 21) + "\n\t\u2029\ufffd", "too_long newline control_character line_separator? mis_encoded?"},
		{"all at once, typed", "phrase", "abcdef\nx\t", "too_long newline control_character not_han"},
		{"empty is all there is to say", "phrase", " ", "empty"},

		{"text", "number", "三百", "not_numeric"},
		{"plus", "number", "+10", "not_numeric"},
		{"scientific", "number", "1e5", "not_numeric"},
		{"two points", "number", "1.2.3", "not_numeric"},
		{"no digit", "number", "-", "not_numeric"},
		{"minus", "number", "-5", "format?"},
		{"separators", "number", "1,234", "format?"},
		{"space around", "number", " 12", "format?"},
		{"full-width", "number", "１２", "format?"},
		{"point first", "number", ".5", "format?"},
		{"33 digits", "number", strings.Repeat("9", 33), "too_long"},
		{"digit", "letter", "abc1", "charset?"},
		{"33 letters", "letter", strings.Repeat("z", 33), "too_long"},
		{"letter", "symbol", "!a", "charset?"},
		{"Han", "symbol", "!汉", "charset?"},
		{"6 symbols", "symbol", "!!!!!!", "too_long"},
		{"Han", "character_string", "订单123", "charset?"},
		{"33 characters", "character_string", strings.Repeat("x", 33), "too_long"},
		{"Han in 33", "character_string", strings.Repeat("汉", 33), "too_long charset?"},

		{"hours only", "time", "08~12", "format?"},
		{"full-width tilde", "time", "08:00～12:00", "format?"},
		{"timestamp", "time", "1696118400", "format?"},
		{"Date string", "time", "Thu Mar 24 2023 11:50:00 GMT+0800 (中国标准时间)", "format?"},
		{"dates alone", "time", "2025年03月13日~2025年03月14日", "format?"},
		{"date alone", "time", "2019年10月1日", "format?"},
		{"hyphen for range", "time", "08:00-12:00", "format?"},
		{"three points", "time", "08:00~09:00~10:00", "format?"},
		{"open range", "time", "08:00~", "format?"},
		{"one-digit minute", "time", "8:5", "format?"},
		{"afternoon", "time", "下午3:00", "format?"},
		{"midnight as 24:00", "time", "24:00", "format?"},
		{"leap second", "time", "23:59:60", "format?"},
		{"25:61", "time", "25:61", "impossible_time"},
		{"minute 60", "time", "10:60", "impossible_time"},
		{"24:01", "time", "24:01", "impossible_time"},
		{"second 61", "time", "10:00:61", "impossible_time"},
		{"impossible end of a range", "time", "22:00~26:00", "impossible_time"},
		{"impossible date before a time", "time", "2月30日 10:00", "impossible_date"},
		{"full-width 25:61", "time", "２５：６１", "impossible_time"},
		{"time and line break", "time", "15:01\n", "newline"},
		{"which day?", "date", "2019-10-115:01", "format?"},
		{"malformed clock", "time", "123:00", "format?"},
		{"malformed seconds", "time", "10:00:5", "format?"},
		{"malformed month", "date", "2019年123月", "format?"},
		{"malformed date", "date", "123-10-01", "format?"},
		{"malformed fraction", "date", "2019-10-01T07:01:09.Z", "format?"},
		{"malformed zone", "date", "2019-10-01T07:01:09+8", "format?"},
		{"malformed zone minutes", "date", "2019-10-01T07:01:09+08:0", "format?"},
		{"no time after T", "date", "2019-10-01T", "format?"},
		{"no date", "date", "明天", "format?"},
		{"time alone", "date", "15:01", "format?"},
		{"timestamp", "date", "1696118400000", "format?"},
		{"RFC 3339", "date", "2019-10-01T15:01:00+08:00", "format?"},
		{"ISO Z", "date", "2019-10-01T07:01:00.000Z", "format?"},
		{"mixed separators", "date", "2019-10/01", "format?"},
		{"American", "date", "10/01/2019", "format?"},
		{"8 digits", "date", "20191001", "format?"},
		{"号", "date", "10月1号", "format?"},
		{"day of three digits", "date", "2019年10月123", "format?"},
		{"huge number", "date", strings.Repeat("1", 40) + "-01", "format?"},
		{"month 56", "date", "2019年56月1日", "impossible_date"},
		{"month 13", "date", "2019-13", "impossible_date"},
		{"month 0", "date", "2019-00-10", "impossible_date"},
		{"day 0", "date", "2019-01-00", "impossible_date"},
		{"31 April", "date", "4月31日", "impossible_date"},
		{"30 February", "date", "2月30日", "impossible_date"},
		{"29 February of no leap year", "date", "2023-02-29", "impossible_date"},
		{"29 February 1900", "date", "1900-02-29", "impossible_date"},
		{"Go's zero time", "date", "0001-01-01 00:00:00", "impossible_date"},
		{"impossible end of a range", "date", "2019-01-01~2019-02-30", "impossible_date"},
		{"impossible start of a range", "date", "2019-02-30~2019-03-01", "impossible_date"},
		{"impossible time after a date", "date", "2019-01-01 25:00", "impossible_time"},
		{"impossible RFC 3339", "date", "2019-13-01T00:00:00Z", "impossible_date"},
		{"shape is not certain", "date", "2019-02-30 大概", "format?"},

		{"11 digits", "amount", "¥12345678901", "too_long"},
		{"separators", "amount", "1,000.00", "format?"},
		{"minus", "amount", "-1.00", "format?"},
		{"unit first", "amount", "RMB 12", "format?"},
		{"no digit", "amount", "¥", "format?"},
		{"point last", "amount", "12.", "format?"},
		{"masked in Chinese", "phone_number", "15隐私保护7851", "charset?"},
		{"letters", "phone_number", "ext.12", "charset?"},
		{"18 characters", "phone_number", "+86-0766-668888660", "too_long"},
		{"9 characters", "car_number", "粤A8Z8888挂", "too_long"},
		{"Han inside", "car_number", "粤A港123", "format?"},
		{"dot", "car_number", "粤B·1234", "format?"},
		{"too short", "car_number", "粤A", "format?"},
		{"digits", "name", "用户410774", "charset?"},
		{"11 with Han", "name", "张三abcdefghi", "too_long"},
		{"21 letters", "name", strings.Repeat("a", 21), "too_long"},
		{"30 with Han: one limit", "name", strings.Repeat("张", 30), "too_long"},
		{"6 Han", "phrase", "审核已经通过", "too_long"},
		{"Latin", "phrase", "OK", "not_han"},
		{"punctuation", "phrase", "通过！", "not_han"},
		{"digits", "phrase", "第1名", "not_han"},
		{"mis-encoded", "phrase", "\ufffd", "mis_encoded? not_han"},
		{"no member", "enum_string", "花园", "not_in_enum"},
		{"member and space", "enum_string", "客厅 ", "not_in_enum"},
		{"unknown type", "short_thing", strings.Repeat("x", 99), "unknown_type?"},
		{"unknown type, line break", "short_thing", "a\nb", "unknown_type? newline"},
	}
	for _, tt := range tests {
		t.Run(tt.typ+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			got, faults := faultsOf(tt.typ, tt.value)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("ValidateData(%s %q) = %q, want %q", tt.typ, tt.value, got, tt.want)
			}
			for _, f := range faults {
				checkWords(t, f)
			}
		})
	}
}

// checkWords looks for sentences in both languages without forgotten placeholders.
func checkWords(t testing.TB, f hongyan.DataFault) {
	t.Helper()
	for _, s := range []string{f.Detail, f.DetailZH} {
		if s == "" || strings.Contains(s, "{") || strings.Contains(s, "()") {
			t.Errorf("%s: odd detail %q", f.Rule, s)
		}
	}
}

func TestValidateDataOrder(t *testing.T) {
	t.Parallel()
	tpl := &hongyan.Template{Keywords: []hongyan.Keyword{
		{Key: "thing18", Type: "thing", Label: "地点"}, {Key: "date2", Type: "date"}, {Key: "phrase1", Type: "phrase"}}}
	faults := hongyan.ValidateData(tpl, map[string]string{"phrase1": "OK", "thing18": "a\nb", "thing4": "x", "a/b~c": "x", "": "x"})
	var got []string
	for _, f := range faults {
		checkWords(t, f)
		got = append(got, f.Level+" "+f.Rule+" "+f.Pointer)
	}
	want := []string{
		"error newline /data/thing18",
		"error missing /data/date2",
		"error not_han /data/phrase1",
		"warning unknown_key /data/",
		"warning unknown_key /data/a~1b~0c",
		"warning unknown_key /data/thing4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if d := faults[5].Detail; !strings.Contains(d, "thing18 (地点), date2, phrase1") {
		t.Errorf("the detail of an unknown key does not name the known ones: %s", d)
	}
}

func TestValidateDataWords(t *testing.T) {
	t.Parallel()
	_, faults := faultsOf("thing", "第一行\n"+strings.Repeat("汉", 30))
	raw, err := json.MarshalIndent(faults, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `[
 {
  "pointer": "/data/thing1",
  "code": "too_long",
  "level": "error",
  "detail": "thing1 (标签) is too long: 34 where 20 are allowed, counted like .length in JavaScript (most emoji are 2 or more). Shorten it. At most 20 characters of any kind, in one line. The repair would pass; \"fit\": \"truncate\" makes it for you.",
  "repair": "第一行 汉汉汉汉汉汉汉汉汉汉汉汉汉汉汉…"
 },
 {
  "pointer": "/data/thing1",
  "code": "newline",
  "level": "error",
  "detail": "thing1 (标签) contains a line break (U+000A); WeChat allows none. Put a space there. The repair would pass; \"fit\": \"truncate\" makes it for you.",
  "char": "\n",
  "repair": "第一行 汉汉汉汉汉汉汉汉汉汉汉汉汉汉汉…"
 }
]`
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if zh := faults[1].DetailZH; zh != "thing1 (标签) 含有换行符（U+000A），微信不允许，请换成空格。可改用 repair 的值，或设置 \"fit\": \"truncate\" 由服务自动修正。" {
		t.Errorf("Chinese detail: %s", zh)
	}
}

func TestValidateDataChar(t *testing.T) {
	t.Parallel()
	tests := []struct{ typ, value, want string }{
		{"phrase", "已OK", "O"}, {"number", "12元", "元"}, {"character_string", "a😀", "😀"}, {"name", "用户4", "4"},
		{"time", "08:00～12:00", "～"}, {"car_number", "粤B·1234", "·"}, {"phone_number", "1a", "a"}, {"thing", "a\xff", "\ufffd"},
		{"date", "2019-10-01T00:00:00Z", "T"}, {"amount", "1,000", ","}, {"date", "2月30日", ""}, {"enum_string", "x", ""},
	}
	for _, tt := range tests {
		_, faults := faultsOf(tt.typ, tt.value)
		if len(faults) != 1 || faults[0].Char != tt.want {
			t.Errorf("%s %q: got %+v, want the character %q", tt.typ, tt.value, faults, tt.want)
		}
	}
	_, faults := faultsOf("date", "2019-01-01~2月30日 8:00")
	if len(faults) != 1 || !strings.Contains(faults[0].Detail, "holds 2月30日 8:00,") {
		t.Errorf("the impossible date is not named: %+v", faults)
	}
}

func TestValidateDataUnknownEnum(t *testing.T) {
	t.Parallel()
	tpl := &hongyan.Template{Keywords: []hongyan.Keyword{{Key: "enum_string1", Type: "enum_string"}}}
	if faults := hongyan.ValidateData(tpl, map[string]string{"enum_string1": "花园"}); len(faults) > 0 {
		t.Errorf("without the list of values nothing is certain: %+v", faults)
	}
	tpl.Keywords[0].Enum = strings.Split(strings.Repeat("值 ", 30), " ")
	faults := hongyan.ValidateData(tpl, map[string]string{"enum_string1": "花园"})
	if len(faults) != 1 || !strings.Contains(faults[0].Detail, "值, …") {
		t.Errorf("a long list of values is not cut: %+v", faults)
	}
}

// A template that was never synced: the keys say their types, nothing says which keys there are.
func TestValidateDataWithoutKeywords(t *testing.T) {
	t.Parallel()
	data := map[string]string{"thing3": "x", "phrase2": "OK", "date1": "2月30日", "enum_string4": "x", "first": "x"}
	for _, tpl := range []*hongyan.Template{nil, {}} {
		var got []string
		for _, f := range hongyan.ValidateData(tpl, data) {
			got = append(got, f.Pointer+" "+f.Rule)
		}
		want := []string{"/data/date1 impossible_date", "/data/first unknown_type", "/data/phrase2 not_han"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
	}
}

func TestValidateDataBoundsUnknownKeys(t *testing.T) {
	t.Parallel()
	data := map[string]string{"thing1": "x"}
	for i := range 1000 {
		data[strings.Repeat("k", i+1)] = "x"
	}
	if n := len(hongyan.ValidateData(oneField("thing"), data)); n != 50 {
		t.Errorf("got %d faults, want 50", n)
	}
}

func TestNotAString(t *testing.T) {
	t.Parallel()
	f := hongyan.NotAString("number1")
	checkWords(t, f)
	if f.Pointer != "/data/number1" || f.Rule != "not_a_string" || f.Level != hongyan.LevelError {
		t.Errorf("got %+v", f)
	}
}

func TestValidationRefuses(t *testing.T) {
	t.Parallel()
	warning := []hongyan.DataFault{{Level: hongyan.LevelWarning}}
	both := append(slices.Clone(warning), hongyan.DataFault{Level: hongyan.LevelError})
	tests := []struct {
		v      hongyan.Validation
		faults []hongyan.DataFault
		want   bool
	}{
		{"", nil, false}, {"", warning, false}, {"", both, true},
		{hongyan.ValidationNormal, warning, false}, {hongyan.ValidationNormal, both, true},
		{hongyan.ValidationStrict, nil, false}, {hongyan.ValidationStrict, warning, true},
	}
	for _, tt := range tests {
		if got := tt.v.Refuses(tt.faults); got != tt.want {
			t.Errorf("%q refuses %v: got %v, want %v", tt.v, tt.faults, got, tt.want)
		}
	}
}

// goodMessages are valid data of three fields each, for what runs hot.
func goodMessages() (*hongyan.Template, []map[string]string) {
	tpl := &hongyan.Template{Keywords: hongyan.ParseKeywords("事项:{{thing1.DATA}}\n时间:{{time2.DATA}}\n金额:{{amount3.DATA}}\n", "", nil)}
	return tpl, []map[string]string{
		{"thing1": "您的订单已发货，请留意", "time2": "2024年07月24日 08:00", "amount3": "¥128.00元"},
		{"thing1": "Order shipped 😀", "time2": "2024-07-24 08:00~12:00", "amount3": "0.05"},
	}
}

func TestValidateDataAllocatesNothing(t *testing.T) {
	tpl, messages := goodMessages()
	everyType := &hongyan.Template{}
	all := map[string]string{"number1": "12.5", "letter1": "ab", "symbol1": "!", "character_string1": "A-1", "date1": "2018-01", "phone_number1": "138",
		"car_number1": "粤A8Z888挂", "name1": "张三", "phrase1": "配送中", "enum_string1": "客厅"}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		everyType.Keywords = append(everyType.Keywords, hongyan.Keyword{Key: key, Type: strings.TrimSuffix(key, "1"), Enum: rooms})
	}
	check := func(name string, tpl *hongyan.Template, data map[string]string) {
		if faults := hongyan.ValidateData(tpl, data); len(faults) > 0 {
			t.Fatalf("%s: not valid: %+v", name, faults)
		}
		if n := testing.AllocsPerRun(100, func() { hongyan.ValidateData(tpl, data) }); n != 0 {
			t.Errorf("%s: ValidateData allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { hongyan.FitData(tpl, data, hongyan.FitTruncate) }); n != 0 {
			t.Errorf("%s: FitData allocates %v times", name, n)
		}
	}
	check("Chinese", tpl, messages[0])
	check("English", tpl, messages[1])
	check("not synced", nil, messages[0])
	check("every type", everyType, all)
}

func BenchmarkValidateData(b *testing.B) {
	tpl, messages := goodMessages()
	for i, name := range []string{"chinese", "english"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hongyan.ValidateData(tpl, messages[i])
			}
		})
	}
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		data := map[string]string{"thing1": strings.Repeat("汉", 30), "time2": "25:61", "amount3": "1,000"}
		for b.Loop() {
			hongyan.ValidateData(tpl, data)
		}
	})
}

// knownTypes are the types that keys of these tests have.
var knownTypes = []string{"thing", "number", "letter", "symbol", "character_string", "time", "date", "amount", "phone_number",
	"car_number", "name", "phrase", "enum_string", "short_thing"}

// anyValue mixes what breaks rules: digits and marks of dates, wide forms, emoji, breaks, broken bytes.
func anyValue() *rapid.Generator[string] {
	pieces := []string{"1", "2", "12", "30", "2024", "年", "月", "日", "-", "/", ".", ":", "~", "～", "：", "１", "３０", " ", "　", "T", "Z",
		"+08:00", "15:01", "2024-02-29", "2024-02-30T25:00:00Z", "2019-10-01T15:01:02.5+08:00", "¥", "元", "a", "张", "客厅", "配送中", "!",
		"\n", "\r\n", "\t", "\x00", "\u2028", "\ufffd", "\xff", "😀", family, "e\u0301", "🇨🇳", "，", "·", strings.Repeat("x", 15)}
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "pieces"), "")
	})
}

func TestRepairsPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		checkRepairs(t, rapid.SampledFrom(knownTypes).Draw(t, "type"), anyValue().Draw(t, "value"))
	})
}

// derivedChecks are what was derived from WeChat's table, as regular expressions: an oracle for the scanners.
var derivedChecks = func() map[string]*regexp.Regexp {
	const clock = `(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?`
	const day = `(?:\d{4}年\d{1,2}月(?:\d{1,2}日)?|\d{1,2}月\d{1,2}日|\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2})`
	checks := map[string]*regexp.Regexp{}
	for typ, expr := range map[string]string{
		"thing":            `^[^\p{Cc}\p{Zl}\p{Zp}]{1,20}$`,
		"number":           `^-?\d+(\.\d+)?$`,
		"letter":           `^[A-Za-z]{1,32}$`,
		"symbol":           `^[^\p{Han}A-Za-z0-9\s\p{Cc}]{1,5}$`,
		"character_string": `^[\x20-\x7E]{1,32}$`,
		"time":             `^(?:` + day + `\s*)?` + clock + `(?:\s*~\s*(?:` + day + `\s*)?` + clock + `)?$`,
		"date":             `^` + day + `(?:\s*` + clock + `)?(?:\s*~\s*` + day + `(?:\s*` + clock + `)?)?$`,
		"amount":           `^[¥￥$€£]?\d{1,10}(\.\d+)?元?$`,
		"phone_number":     `^[0-9+\-()*# ]{1,17}$`,
		"car_number":       `^[\p{Han}A-Za-z0-9][A-Za-z0-9]{1,6}[\p{Han}A-Za-z0-9]$`,
		"name":             `^[^0-9\p{Cc}]{1,20}$`,
		"phrase":           `^\p{Han}{1,5}$`,
	} {
		checks[typ] = regexp.MustCompile(expr)
	}
	return checks
}()

// The scanners may know more than the expressions (calendars, ambiguous days), never less.
func TestNoFaultMeansTheDerivedChecksPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		checkDerived(t, rapid.SampledFrom(knownTypes).Draw(t, "type"), anyValue().Draw(t, "value"))
	})
}

func checkDerived(t errorf, typ, value string) {
	expr := derivedChecks[typ]
	if short, _ := faultsOf(typ, value); expr != nil && len(short) == 0 && !expr.MatchString(value) {
		t.Errorf("%s %q has no fault, but is not %s", typ, value, expr)
	}
}

type errorf interface{ Errorf(string, ...any) }

// checkRepairs holds ValidateData to its promise: a repair has no error left and does not break the rule it is for.
func checkRepairs(t errorf, typ, value string) {
	short, faults := faultsOf(typ, value)
	for _, f := range faults {
		if f.Repair == nil {
			continue
		}
		_, left := faultsOf(typ, *f.Repair)
		if hongyan.ValidationNormal.Refuses(left) || slices.ContainsFunc(left, func(l hongyan.DataFault) bool { return l.Rule == f.Rule }) {
			t.Errorf("%s %q (%v): the repair %q for %s leaves %+v", typ, value, short, *f.Repair, f.Rule, left)
		}
	}
}

func FuzzValidateData(f *testing.F) {
	for i := range knownTypes {
		f.Add(i, "2024-02-30T25:00:00Z~２５：６１\n\xff"+family)
		f.Add(i, "客厅 ")
		f.Add(i, "0:00 ")
	}
	f.Fuzz(func(t *testing.T, which int, value string) {
		typ := knownTypes[uint(which)%uint(len(knownTypes))]
		checkRepairs(t, typ, value)
		checkFit(t, typ, value)
		checkDerived(t, typ, value)
		hongyan.ValidateData(oneField(typ), map[string]string{value: value})
		hongyan.ValidateData(nil, map[string]string{value: value})
	})
}
