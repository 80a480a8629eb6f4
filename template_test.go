package hongyan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hongyan-push/hongyan"
)

var updateTemplates = flag.Bool("update", false, "rewrite the golden files")

// officialTemplates reads the sample answer of 获取已有模板列表, as WeChat's page prints it.
func officialTemplates(t testing.TB) []hongyan.Template {
	t.Helper()
	raw, err := os.ReadFile("testdata/gettemplate.json")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data []struct {
			PriTmplID            string `json:"priTmplId"`
			Title                string `json:"title"`
			Content              string `json:"content"`
			Example              string `json:"example"`
			Type                 int    `json:"type"`
			KeywordEnumValueList []struct {
				EnumValueList []string `json:"enumValueList"`
				KeywordCode   string   `json:"keywordCode"`
			} `json:"keywordEnumValueList"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	var templates []hongyan.Template
	for _, d := range answer.Data {
		enums := map[string][]string{}
		for _, e := range d.KeywordEnumValueList {
			enums[e.KeywordCode] = e.EnumValueList
		}
		templates = append(templates, hongyan.Template{
			App: "wx0000000000000001", TemplateID: d.PriTmplID, Title: d.Title, Kind: hongyan.TemplateKindOf(d.Type),
			Content: d.Content, Example: d.Example, Keywords: hongyan.ParseKeywords(d.Content, d.Example, enums),
		})
	}
	return templates
}

func TestOfficialTemplates(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(officialTemplates(t)); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/gettemplate.golden.json"
	if *updateTemplates {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("templates differ from %s, rewrite it with -update if that is meant (-want +got):\n%s", golden, diff)
	}
}

func TestOfficialExamplesAreValid(t *testing.T) {
	t.Parallel()
	for _, tpl := range officialTemplates(t) {
		data := map[string]string{}
		for _, k := range tpl.Keywords {
			data[k.Key] = k.Example
		}
		if faults := hongyan.ValidateData(&tpl, data); len(faults) > 0 {
			t.Errorf("%s: faults in WeChat's own example: %+v", tpl.Title, faults)
		}
	}
}

func TestParseKeywords(t *testing.T) {
	t.Parallel()
	type row struct{ Key, Type, Label, Example string }
	tests := []struct {
		name, content, example string
		want                   []row
	}{
		{"empty", "", "", nil},
		{"text without keys", "您好\n", "您好\n", nil},
		{"display order, not the order of numbers", "地点:{{thing18.DATA}}\n编号:{{character_string3.DATA}}\n", "地点:北京\n编号:A1\n",
			[]row{{"thing18", "thing", "地点", "北京"}, {"character_string3", "character_string", "编号", "A1"}}},
		{"spaces in the braces", "地点:{{ thing1.DATA }}", "", []row{{"thing1", "thing", "地点", ""}}},
		{"full-width colon", "地点：{{thing1.DATA}}\n", "地点：北京\n", []row{{"thing1", "thing", "地点", "北京"}}},
		{"colon in the sample", "时间:{{time1.DATA}}\n", "时间:15:01\n", []row{{"time1", "time", "时间", "15:01"}}},
		{"carriage returns", "甲:{{thing1.DATA}}\r\n乙:{{thing2.DATA}}\r\n", "甲:一\r\n乙:二\r\n",
			[]row{{"thing1", "thing", "甲", "一"}, {"thing2", "thing", "乙", "二"}}},
		{"example in another order", "甲:{{thing1.DATA}}\n乙:{{thing2.DATA}}\n", "乙:二\n甲:一\n",
			[]row{{"thing1", "thing", "甲", "一"}, {"thing2", "thing", "乙", "二"}}},
		{"example with a greeting first", "甲:{{thing1.DATA}}\n", "您好\n甲:一\n", []row{{"thing1", "thing", "甲", "一"}}},
		{"one label twice", "备注:{{thing1.DATA}}\n备注:{{thing2.DATA}}\n", "备注:一\n备注:二\n",
			[]row{{"thing1", "thing", "备注", "一"}, {"thing2", "thing", "备注", "二"}}},
		{"a label that begins another", "时间:备用:{{thing1.DATA}}\n时间:{{thing2.DATA}}\n", "时间:备用:一\n时间:二\n",
			[]row{{"thing1", "thing", "时间:备用", "一"}, {"thing2", "thing", "时间", "二"}}},
		{"no example", "甲:{{thing1.DATA}}\n", "", []row{{"thing1", "thing", "甲", ""}}},
		{"no label", "{{thing1.DATA}}\n", "北京\n", []row{{"thing1", "thing", "", ""}}},
		{"two keys in a line", "从:{{time1.DATA}} 到:{{time2.DATA}}\n", "", []row{{"time1", "time", "从", ""}, {"time2", "time", "到", ""}}},
		{"a key twice", "甲:{{thing1.DATA}}\n乙:{{thing1.DATA}}\n", "", []row{{"thing1", "thing", "甲", ""}}},
		{"unknown types are kept", "甲:{{short_thing1.DATA}}\n乙:{{const12.DATA}}\n", "",
			[]row{{"short_thing1", "short_thing", "甲", ""}, {"const12", "const", "乙", ""}}},
		{"not a key", "甲:{{thing.DATA}}\n乙:{{thing1}}\n丙:{thing1.DATA}\n", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []row
			for _, k := range hongyan.ParseKeywords(tt.content, tt.example, nil) {
				got = append(got, row{k.Key, k.Type, k.Label, k.Example})
				if k.Rule.EN == "" || k.Rule.ZH == "" {
					t.Errorf("%s has no rule in words: %+v", k.Key, k.Rule)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("keywords (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseKeywordsEnums(t *testing.T) {
	t.Parallel()
	rooms := []string{"客厅", "厨房"}
	for _, key := range []string{"enum_string2.DATA", "enum_string2"} {
		got := hongyan.ParseKeywords("所在位置:{{enum_string2.DATA}}\n", "", map[string][]string{key: rooms})
		if len(got) != 1 || !cmp.Equal(got[0].Enum, rooms) {
			t.Errorf("enums under %q: got %+v", key, got)
		}
	}
}

func TestTemplateKindOf(t *testing.T) {
	t.Parallel()
	for typ, want := range map[int]hongyan.TemplateKind{2: hongyan.KindOneTime, 3: hongyan.KindLongTerm, 0: hongyan.KindUnknown, 9: hongyan.KindUnknown} {
		if got := hongyan.TemplateKindOf(typ); got != want {
			t.Errorf("TemplateKindOf(%d) = %s, want %s", typ, got, want)
		}
	}
}

func TestParseKeywordsFindsWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,8}(_[a-z]{1,8})?[1-9][0-9]?`), 1, 5, rapid.ID[string]).Draw(t, "keys")
		labels := rapid.SliceOfN(rapid.StringMatching(`[会议时间地点名称]{1,6}`), len(keys), len(keys)).Draw(t, "labels")
		samples := rapid.SliceOfN(rapid.StringMatching(`[0-9a-z年月]{1,9}`), len(keys), len(keys)).Draw(t, "samples")
		var content, example strings.Builder
		for i, key := range keys {
			content.WriteString(labels[i] + ":{{" + key + ".DATA}}\n")
			example.WriteString(labels[i] + ":" + samples[i] + "\n")
		}
		got := hongyan.ParseKeywords(content.String(), example.String(), nil)
		if len(got) != len(keys) {
			t.Fatalf("got %d keywords, want %d: %+v", len(got), len(keys), got)
		}
		for i, k := range got {
			if k.Key != keys[i] || k.Label != labels[i] || k.Example != samples[i] {
				t.Fatalf("keyword %d: got %+v, want %s %s %s", i, k, keys[i], labels[i], samples[i])
			}
		}
	})
}

func FuzzParseKeywords(f *testing.F) {
	for _, tpl := range officialTemplates(f) {
		f.Add(tpl.Content, tpl.Example, "enum_string2.DATA")
	}
	f.Add("：{{a1.DATA}}{{b2.DATA}}\r\n{{a1.DATA}}", "：", "a1")
	shape := regexp.MustCompile(`^[A-Za-z_]+\d+$`)
	f.Fuzz(func(t *testing.T, content, example, enumKey string) {
		seen := map[string]bool{}
		for _, k := range hongyan.ParseKeywords(content, example, map[string][]string{enumKey: {"x"}}) {
			if !shape.MatchString(k.Key) || !strings.HasPrefix(k.Key, k.Type) || seen[k.Key] {
				t.Errorf("odd or repeated key: %+v", k)
			}
			if !strings.Contains(content, k.Label) || !strings.Contains(example, k.Example) {
				t.Errorf("label or example from nowhere: %+v", k)
			}
			seen[k.Key] = true
		}
	})
}
