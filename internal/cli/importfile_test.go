package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
)

func TestReadImport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text string }{
		{"csv", "openid,template,count,exact\noA,t,2,true\noB,t,0,\n"},
		{"columns in another order", "Count, exact ,OpenID,template\n2,1,oA,t\n0,false,oB,t\n"},
		{"from a spreadsheet", "\xef\xbb\xbfopenid,template,count,exact\r\noA,\"t\",2,TRUE\r\noB,t,0,FALSE\r\n"},
		{"json lines", `{"openid":"oA","template":"t","count":2,"exact":true}` + "\n" + `{"openid":"oB","template":"t","count":0}`},
	} {
		f, err := (&program{}).readImport(strings.NewReader(c.text))
		want := []hongyan.ImportItem{{OpenID: "oA", Template: "t", Count: 2, Exact: true}, {OpenID: "oB", Template: "t"}}
		if err != nil || !slices.Equal(f.items, want) {
			t.Errorf("%s: got %+v %v, want %+v", c.name, f.items, err, want)
		}
	}
	// An empty line is no item, but it is counted.
	f, err := (&program{}).readImport(strings.NewReader("openid,template,count\noA,t,1\n\noB,t,1\n"))
	if err != nil || !slices.Equal(f.lines, []int{2, 4}) {
		t.Errorf("lines: got %v %v, want 2 and 4", f.lines, err)
	}
}

// TestReadImportRefuses names the line of what it does not understand, in both languages.
func TestReadImportRefuses(t *testing.T) {
	t.Parallel()
	const head, object = "openid,template,count,exact\n", `{"openid":"oA","template":"t","count":1}`
	for _, c := range []struct{ text, en, zh string }{
		{"", "line 1: the file is empty", "第 1 行：文件为空"},
		{"openid,count\noA,1\n", "line 1: the header has no column template; it is openid,template,count,exact", "第 1 行：表头缺少列 template；应为 openid,template,count,exact"},
		{"openid,template,count,exakt\n", `line 1: column "exakt" is there twice or unknown; they are openid,template,count,exact`, `第 1 行：列 "exakt" 重复或未知；应为 openid,template,count,exact`},
		{"openid,template,count,count\n", `line 1: column "count" is there twice or unknown; they are openid,template,count,exact`, `第 1 行：列 "count" 重复或未知；应为 openid,template,count,exact`},
		{head + "oA,t,1,\noB,t,many,\n", `line 3: count "many" is no number`, `第 3 行：count "many" 不是数字`},
		{head + "oA,t,1,maybe\n", `line 2: exact "maybe" is neither true nor false`, `第 2 行：exact "maybe" 不是 true 或 false`},
		{head + "oA,t,1\n", "line 2: it has not as many fields as the header", "第 2 行：字段数与表头不一致"},
		{head + "oA,t,1,\no\"B,t,1,\n", "line 3: a quotation mark is out of place", "第 3 行：引号位置不正确"},
		{head + "\"oA,t,1,\n", "line 2: a quotation mark is out of place", "第 2 行：引号位置不正确"},
		{object + "\n" + object + object, "line 2: something follows the object; write one a line", "第 2 行：对象之后还有内容；每行只写一个"},
		{object + " rest", "line 1: something follows the object; write one a line", "第 1 行：对象之后还有内容；每行只写一个"},
		{object + "\n\n" + `{"openid":"oB","template":"t","exact":true}`, "line 3: there is no count", "第 3 行：缺少 count"},
		{object + "\n" + `{"openid":"oB","template":"t","count":1,"exakt":true}`, `line 2: unknown field "exakt"`, `第 2 行：unknown field "exakt"`},
		{object + "\n" + `{"openid":"` + strings.Repeat("o", 64<<10) + `"}`, "line 2: the line is longer than 64 KiB", "第 2 行：该行超过 64 KiB"},
	} {
		for lang, want := range map[string]string{"en": c.en, "zh": c.zh} {
			f, err := (&program{lang: lang}).readImport(strings.NewReader(c.text))
			if err == nil || err.Error() != want {
				t.Errorf("%.80q: got %+v %v, want %s", c.text, f.items, err, want)
			}
		}
	}
}
