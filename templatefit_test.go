package hongyan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
	"pgregory.net/rapid"

	"github.com/hongyan-push/hongyan"
)

func TestFitData(t *testing.T) {
	t.Parallel()
	const none, rep, trunc = hongyan.FitNone, hongyan.FitRepair, hongyan.FitTruncate
	tests := []struct {
		name, typ   string
		fit         hongyan.Fit
		value, want string
	}{
		{"none leaves all", "thing", none, "a\nb", "a\nb"},
		{"no value is none", "thing", "", "a\nb", "a\nb"},
		{"valid stays to the byte", "thing", trunc, "  a  ", "  a  "},

		{"line feed", "thing", rep, "第一行\n第二行", "第一行 第二行"},
		{"breaks and spaces become one space", "thing", rep, "a \r\n\n b", "a b"},
		{"break at the end", "thing", rep, "a\n", "a"},
		{"tab", "thing", rep, "a\tb", "a b"},
		{"control characters", "thing", rep, "a\x00\u0090b", "ab"},
		{"line separator", "thing", rep, "a\u2028b", "a b"},
		{"space that makes it too long", "thing", rep, " " + strings.Repeat("汉", 20) + " ", strings.Repeat("汉", 20)},
		{"nothing would be left", "thing", rep, "\x00\n", "\x00\n"},
		{"repair does not cut", "thing", rep, strings.Repeat("汉", 21), strings.Repeat("汉", 21)},
		{"repairs what it can", "thing", rep, strings.Repeat("汉", 21) + "\n", strings.Repeat("汉", 21)},
		{"broken bytes", "thing", rep, "a\xff\nb", "a\ufffd b"},
		{"broken bytes do not join", "thing", rep, "\xc2\x1c\x8f", "\ufffd\ufffd"},
		{"unknown type", "short_thing", trunc, strings.Repeat("x", 40) + "\nb", strings.Repeat("x", 40) + " b"},

		{"21 Han", "thing", trunc, strings.Repeat("汉", 21), strings.Repeat("汉", 19) + "…"},
		{"mixed", "thing", trunc, "您的订单 A1234567890 已经发出请查收", "您的订单 A1234567890 已经…"},
		{"no space before the ellipsis", "thing", trunc, strings.Repeat("汉", 18) + " 汉汉", strings.Repeat("汉", 18) + "…"},
		{"emoji of 2 units", "thing", trunc, strings.Repeat("😀", 11), strings.Repeat("😀", 9) + "…"},
		{"family kept whole", "thing", trunc, "abcdefgh" + family + "xyz", "abcdefgh" + family + "…"},
		{"family dropped whole", "thing", trunc, "abcdefghi" + family + "xyz", "abcdefghi…"},
		{"combining accent", "thing", trunc, strings.Repeat("e\u0301", 11), strings.Repeat("e\u0301", 9) + "…"},
		{"flags", "thing", trunc, strings.Repeat("🇨🇳", 6), strings.Repeat("🇨🇳", 4) + "…"},
		{"skin tone", "thing", trunc, strings.Repeat("汉", 16) + "👍🏽汉", strings.Repeat("汉", 16) + "…"},
		{"one cluster longer than all", "thing", trunc, "a" + strings.Repeat("\u0301", 30), "a" + strings.Repeat("\u0301", 30)},
		{"line break and too long", "thing", trunc, "一\n" + strings.Repeat("汉", 30), "一 " + strings.Repeat("汉", 17) + "…"},
		{"order number is not cut", "character_string", trunc, strings.Repeat("x", 33), strings.Repeat("x", 33)},
		{"name is not cut", "name", trunc, strings.Repeat("张", 11), strings.Repeat("张", 11)},
		{"phrase is not cut", "phrase", trunc, "审核已经通过", "审核已经通过"},

		{"number, full-width", "number", rep, "１２．５", "12.5"},
		{"number, space", "number", rep, " 12 ", "12"},
		{"number, minus is meant", "number", rep, "-5", "-5"},
		{"number, separators may be a decimal comma", "number", rep, "1,234", "1,234"},
		{"amount, full-width", "amount", rep, "￥１２．５元", "￥12.5元"},
		{"amount, still odd", "amount", rep, "１，０００", "１，０００"},
		{"phone, full-width", "phone_number", rep, "＋８６－１３８", "+86-138"},
		{"thing keeps full-width", "thing", rep, "１２\n３", "１２ ３"},
		{"phrase, space", "phrase", rep, " 配送中 ", "配送中"},
		{"phrase, line break", "phrase", rep, "配送中\n", "配送中"},
		{"enum, line break", "enum_string", rep, "客厅\n", "客厅"},

		{"range tilde", "time", rep, "08:00～12:00", "08:00~12:00"},
		{"wave dash", "time", rep, "08:00〜12:00", "08:00~12:00"},
		{"full-width time", "time", rep, "１５：０１", "15:01"},
		{"full-width space", "time", rep, "2019年10月1日　15:01", "2019年10月1日 15:01"},
		{"RFC 3339 keeps the clock reading", "time", rep, "2019-10-01T15:01:00+08:00", "2019年10月01日 15:01"},
		{"RFC 3339 in UTC", "date", rep, "2019-10-01T07:01:00Z", "2019年10月01日 07:01"},
		{"seconds are kept", "date", rep, "2019-10-01T07:01:09Z", "2019年10月01日 07:01:09"},
		{"fractions are not", "date", rep, "2019-10-01T07:01:09.123Z", "2019年10月01日 07:01:09"},
		{"no zone", "date", rep, "2019-10-01T07:01", "2019年10月01日 07:01"},
		{"zone without colon", "date", rep, "2019-10-01T07:01:00+0800", "2019年10月01日 07:01"},
		{"zone behind minus", "date", rep, "2019-10-01T07:01:00-05:00", "2019年10月01日 07:01"},
		{"space for T", "date", rep, "2019-10-01 07:01:00+08", "2019年10月01日 07:01"},
		{"a range is no zone", "time", rep, "2019-10-01 08:00-12:00", "2019-10-01 08:00-12:00"},
		{"ISO range", "date", rep, "2019-10-01T07:01:00Z ～ 2019-10-02T07:01:00Z", "2019年10月01日 07:01~2019年10月02日 07:01"},
		{"half an ISO range", "date", rep, "2019-10-01T07:01:00Z~2019-10-02", "2019年10月01日 07:01~2019-10-02"},
		{"impossible ISO", "date", rep, "2019-02-30T07:01:00Z", "2019-02-30T07:01:00Z"},
		{"timestamp", "date", rep, "1696118400", "1696118400"},
		{"accepted forms stay", "date", rep, "2019/1/1", "2019/1/1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key := tt.typ + "1"
			data := map[string]string{key: tt.value, "extra": "a\nb"}
			got, changed := hongyan.FitData(oneField(tt.typ), data, tt.fit)
			if got[key] != tt.want {
				t.Errorf("FitData(%q, %s) = %q, want %q", tt.value, tt.fit, got[key], tt.want)
			}
			if (len(changed) > 0) != (tt.want != tt.value) {
				t.Errorf("changed = %v", changed)
			}
			if data[key] != tt.value || got["extra"] != "a\nb" {
				t.Errorf("data was modified or an unknown key changed: %q, %q", data, got)
			}
		})
	}
}

func TestFitDataNamesWhatChanged(t *testing.T) {
	t.Parallel()
	tpl := &hongyan.Template{Keywords: []hongyan.Keyword{
		{Key: "time9", Type: "time"}, {Key: "phrase1", Type: "phrase"}, {Key: "thing2", Type: "thing"}, {Key: "thing3", Type: "thing"}}}
	data := map[string]string{"thing2": "a\nb", "time9": "１５：０１", "phrase1": "OK"} // thing3 is missing
	sent := maps.Clone(data)

	got, changed := hongyan.FitData(tpl, data, hongyan.FitRepair)
	if diff := cmp.Diff(map[string]string{"thing2": "a b", "time9": "15:01", "phrase1": "OK"}, got); diff != "" {
		t.Errorf("fitted (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"time9", "thing2"}, changed); diff != "" {
		t.Errorf("changed, in the template's order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sent, data); diff != "" {
		t.Errorf("FitData modified its argument (-want +got):\n%s", diff)
	}

	_, changed = hongyan.FitData(nil, data, hongyan.FitRepair)
	if diff := cmp.Diff([]string{"thing2", "time9"}, changed); diff != "" {
		t.Errorf("changed without keywords, sorted (-want +got):\n%s", diff)
	}
}

func TestFitDataProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		checkFit(t, rapid.SampledFrom(knownTypes).Draw(t, "type"), anyValue().Draw(t, "value"))
	})
}

// checkFit holds FitData to its promises for one value.
func checkFit(t errorf, typ, value string) {
	tpl, key := oneField(typ), typ+"1"
	before, _ := faultsOf(typ, value)
	for _, fit := range []hongyan.Fit{hongyan.FitRepair, hongyan.FitTruncate} {
		fitted, changed := hongyan.FitData(tpl, map[string]string{key: value}, fit)
		got := fitted[key]
		after, _ := faultsOf(typ, got)
		if len(before) == 0 && got != value {
			t.Errorf("%s %q was valid and became %q", typ, value, got)
		}
		if got != value && len(after) >= len(before) || !subset(after, before) {
			t.Errorf("%s %s %q → %q: faults %v became %v", fit, typ, value, got, before, after)
		}
		if (got != value) != (len(changed) == 1) {
			t.Errorf("%s %s %q → %q: changed is %v", fit, typ, value, got, changed)
		}
		if again, _ := hongyan.FitData(tpl, fitted, fit); again[key] != got {
			t.Errorf("%s %s is not idempotent: %q → %q → %q", fit, typ, value, got, again[key])
		}
		if typ == "thing" && fit == hongyan.FitTruncate {
			checkCut(t, value, got)
		}
	}
}

// checkCut: a thing ends up within its limit, unless its first character alone is longer.
func checkCut(t errorf, value, got string) {
	short, _ := faultsOf("thing", got)
	first, _, _, _ := uniseg.FirstGraphemeClusterInString(strings.TrimSpace(got), -1)
	if slices.Contains(short, "too_long") && units(first) < 20 {
		t.Errorf("thing %q → %q is still %d units", value, got, units(got))
	}
}

func units(s string) int { return len(utf16.Encode([]rune(s))) }

func subset(a, b []string) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}
