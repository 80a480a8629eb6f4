package typed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/nodetest"
)

// alike has a field of every type that a program gives as text; moments has the others.
func alike() []hongyan.Template {
	types := []string{"thing", "number", "letter", "symbol", "character_string", "amount", "phone_number", "car_number", "name", "phrase", "riddle"}
	all := hongyan.Template{TemplateID: "t1", Alias: "alike"}
	for i, typ := range types {
		all.Keywords = append(all.Keywords, hongyan.Keyword{Key: fmt.Sprintf("%s%d", typ, i+1), Type: typ})
	}
	all.Keywords = append(all.Keywords, hongyan.Keyword{Key: "enum_string99", Type: "enum_string", Enum: []string{"甲", "乙 | 丙"}})
	moments := hongyan.Template{TemplateID: "t2", Alias: "moments"}
	for i, example := range []string{"15:01", "15:01:02", "2019年10月1日 15:01", "2019-10-01 15:01:00", "08:00~12:00", "", "now"} {
		moments.Keywords = append(moments.Keywords,
			hongyan.Keyword{Key: fmt.Sprintf("time%d", i), Type: "time", Example: example},
			hongyan.Keyword{Key: fmt.Sprintf("date%d", i), Type: "date", Example: example})
	}
	return []hongyan.Template{all, moments}
}

// What TypeScript refuses, package hongyan refuses, and for the same first reason; and it
// writes the same data.
func TestTypeScript(t *testing.T) {
	t.Parallel()
	dir := nodetest.Project(t, "testdata/node")
	set := newSet(t, alike())
	for name, file := range map[string][]byte{"templates.ts": newSet(t, everyType()).TypeScript(), "cases.ts": set.TypeScript()} {
		if err := os.WriteFile(filepath.Join(dir, name), file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nodetest.Run(t, dir, nil, "npx", "tsc", "-p", ".")

	var in bytes.Buffer
	var want []string
	for _, v := range textValues {
		data, values := make(map[string]string), make(map[string]any)
		for _, f := range set.templates[0].fields {
			data[f.Key], values[f.tsName()] = v, v
		}
		want = append(want, answer(t, &set.templates[0], data))
		addCase(t, &in, "Alike", values)
	}
	for _, at := range []time.Time{time.Unix(0, 0), time.Date(2026, 12, 31, 16, 5, 9, 0, time.UTC), time.Date(2024, 2, 29, 15, 59, 59, 0, time.UTC), time.Date(900, 1, 1, 0, 0, 0, 0, time.UTC), {}} {
		data, values := make(map[string]string), make(map[string]any)
		for _, f := range set.templates[1].fields {
			var date any = map[string]any{"$date": at.UnixMilli()}
			if at.IsZero() {
				date = map[string]any{"$date": "no date"}
			}
			if values[f.tsName()] = date; f.kind == kindPeriod {
				values[f.tsName()] = map[string]any{"from": date, "to": date}
				data[f.Key] = hongyan.Period{From: at, To: at}.Format(f.layout)
			} else {
				data[f.Key] = hongyan.FormatTime(at, f.layout)
			}
		}
		want = append(want, answer(t, &set.templates[1], data))
		addCase(t, &in, "Moments", values)
	}
	got := strings.Split(strings.TrimSpace(string(nodetest.Run(t, dir, in.Bytes(), "node", "compare.mjs"))), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d answers to %d cases", len(got), len(want))
	}
	cases := strings.Split(in.String(), "\n")
	for i := range got {
		if first(t, got[i]) != want[i] {
			t.Errorf("case %s\n got %s\nwant %s", cases[i], first(t, got[i]), want[i])
		}
	}
}

func addCase(t *testing.T, in *bytes.Buffer, template string, values map[string]any) {
	t.Helper()
	if err := json.NewEncoder(in).Encode(map[string]any{"template": template, "values": values}); err != nil {
		t.Fatal(err)
	}
}

// answer is what package hongyan says of data: the first fault of each field, or the data.
func answer(t *testing.T, tm *template, data map[string]string) string {
	var faults []string
	for _, f := range hongyan.ValidateData(&tm.Template, data) {
		if f.Level == hongyan.LevelError {
			faults = append(faults, f.Pointer+" "+f.Rule)
		}
	}
	b, err := json.Marshal(map[string]any{"data": data})
	if len(faults) > 0 {
		b, err = json.Marshal(map[string]any{"faults": faults})
	}
	if err != nil {
		t.Fatal(err)
	}
	return first(t, string(b))
}

// first leaves the first fault of each field.
func first(t *testing.T, line string) string {
	var v struct {
		Data   map[string]string `json:"data,omitempty"`
		Faults []string          `json:"faults,omitempty"`
	}
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	v.Faults = slices.CompactFunc(v.Faults, func(a, b string) bool { return strings.Fields(a)[0] == strings.Fields(b)[0] })
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// textValues are given to every type, whatever it is.
var textValues = []string{
	"", " ", "\u3000\t", "\u00a0\u2028", "\ufeff", "a", "ABC", "已支付", "配送中", "一二三四五", "一二三四五六", "甲", "乙 | 丙", "乙", "甲 ",
	"12", "12.5", "-1", "+1", "1,000", "1,0.5,", ",1", ".5", "5.", "1.2.3", "--1", "1-", "１２", "－３．５", "1 2", " 7 ", "1e5", "٣", "12元", "¥12.3元",
	"¥12345678901", "12345678901", "12345678901.00元", "$1234567890", "¥¥12345678901", "￥12345678901元", "1234567890123456789012345678901234",
	"粤A8Z888挂", "+86-0766-66888866", "400-800-1234-5678901", "林晓雨", "林晓雨林晓雨林晓雨林晓", "a林晓雨林晓雨林晓雨林", "Alexander Montgomery III", "★★★", "★★★★★★",
	"a\nb", "a\r\nb", "\n", "一\n二", "1\n2", "a\u0000b", "a\u0085b", "\u0085", "已\u007f", "一二三四五六七八九十一二三四五六七八九十", "一二三四五六七八九十一二三四五六七八九十一", "🙂🙂🙂", "👨‍👩‍👧", "𠮷", "𠮷𠮷𠮷",
	"\u2028", "a\u2028b", "〇", "々", "ㄅ", "あ", "鿿", "豈", "~", "！", "1！", "20261122", "https://x.example/?a=1&b=2", "\"'`${x}</script>*/",
}
