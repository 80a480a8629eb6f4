package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// comparePages compares what the clients got with what is committed, or writes it. A client
// that could not run here, because its language is not installed, is left as it was.
func comparePages(t *testing.T, got [][]result) {
	t.Helper()
	const file = "testdata/results.jsonl"
	before := readResults(t, file)
	var all []result
	for i, c := range clients {
		if got[i] == nil {
			if *update {
				t.Errorf("%s did not run: -update needs every client", c.name)
			}
			got[i] = before[c.name]
		}
		all = append(all, got[i]...)
	}
	if t.Failed() {
		return
	}
	var lines bytes.Buffer
	for _, r := range all {
		if err := encode(&lines, r); err != nil {
			t.Fatal(err)
		}
	}
	compareFile(t, file, lines.String())
	compareFile(t, "../../docs/compatibility.md", page(got, false))
	compareFile(t, "../../docs/compatibility.zh-CN.md", page(got, true))
}

func encode(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// readResults reads what was written before, by client.
func readResults(t *testing.T, file string) map[string][]result {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	list := make(map[string][]result)
	for line := range bytes.Lines(src) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list[r.Client] = append(list[r.Client], r)
	}
	return list
}

func compareFile(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(got), want); d != "" {
		t.Errorf("%s is stale; go test ./internal/conformance -update writes it (-committed +now):\n%s", filepath.Base(file), d)
	}
}

// page is docs/compatibility.md, or its Chinese twin.
func page(got [][]result, zh bool) string {
	pick := func(n note) string {
		if zh {
			return n.zh
		}
		return n.en
	}
	var b strings.Builder
	b.WriteString(pick(head))
	for i, c := range clients {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s", c.title, pick(c.note), pick(columns))
		for _, s := range steps {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", pick(s.title), cellOf(got[i], "sandbox", s.name, zh), cellOf(got[i], "gateway", s.name, zh))
		}
	}
	return b.String()
}

// cellOf is what a client got for a step at a target, if it went there.
func cellOf(list []result, target, step string, zh bool) string {
	for _, r := range list {
		if r.Target == target && r.Operation == step {
			return r.cell(zh)
		}
	}
	return "–"
}

var columns = note{
	"| operation | WeChat (sandbox) | gateway |\n| --- | --- | --- |\n",
	"| 操作 | 微信（沙箱） | 网关 |\n| --- | --- | --- |\n",
}

var head = note{`<!-- Written by go test ./internal/conformance -update. Do not edit. -->
# Compatibility

Which programs made for WeChat work with Hongyan as they are. Each goes the whole way twice: against the sandbox, which is
the local WeChat, with the AppSecret; and through the gateway, behind which the sandbox is, with a gateway key in place of
the AppSecret. Nothing else changes: [examples/change-one-line](../examples/change-one-line/README.md) shows the lines. What
a client made of every answer is compared: it must be the same to the letter, but for tokens, msgids and rids. Nothing here
calls api.weixin.qq.com. The full results are in
` + "`internal/conformance/testdata/results.jsonl`" + `. 中文：[compatibility.zh-CN.md](compatibility.zh-CN.md)

A cell names the members of the answer as the client's user gets it, or the errcode. In the last row WeChat's
token was ended in mid-run: the sandbox's client must fetch a new one, the gateway's has the gateway's, which lives on.
`, `<!-- 由 go test ./internal/conformance -update 生成，请勿手改。 -->
# 兼容性

哪些为微信编写的程序无需改动就能与鸿雁一起工作。每个客户端把全程走两遍：一遍直连沙箱，也就是本地微信，使用 AppSecret；
一遍经过网关，网关背后仍是沙箱，AppSecret 处填网关密钥。其余一概不变，要改的几行见 [examples/change-one-line](../examples/change-one-line/README.zh-CN.md)。客户端对每个应答的
解析结果逐一比较：除 token、msgid、rid 之外必须逐字一致。这里没有任何调用到达 api.weixin.qq.com。完整结果见
` + "`internal/conformance/testdata/results.jsonl`" + `。English: [compatibility.md](compatibility.md)

单元格列出客户端使用者得到的应答中的字段名，或 errcode。最后一行：运行途中微信使 token 失效，
直连时客户端必须重新获取；经过网关时客户端拿的是网关的 token，仍然有效。
`}
