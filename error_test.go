package hongyan

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

func TestCodeOf(t *testing.T) {
	t.Parallel()
	e := Errorf(CodeNoGrant, "no %s", "grant")
	for err, want := range map[error]Code{nil: "", e: CodeNoGrant, fmt.Errorf("submit: %w", e): CodeNoGrant, errors.New("disk"): CodeInternal} {
		if got := CodeOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
	if !errors.Is(fmt.Errorf("submit: %w", e), CodeNoGrant) || errors.Is(e, CodeTooLate) || errors.Is(nil, CodeNoGrant) {
		t.Error("errors.Is does not compare codes")
	}
	e.WeChat = &WeChatError{Errcode: 43101, Errmsg: "user refuse"}
	if got := e.Error(); !strings.Contains(got, "no_grant: no grant") || !strings.Contains(got, "43101") {
		t.Errorf("error %q", got)
	}
	if in := Invalid("/a", "rule", "bad %d", 7); in.Code != CodeInvalid || in.Fields[0] != (FieldError{Pointer: "/a", Code: "rule", Detail: "bad 7"}) {
		t.Errorf("invalid: %+v", in)
	}
}

// TestCodes shows that every code has its row, in both languages, with what to do next.
func TestCodes(t *testing.T) {
	t.Parallel()
	seen := make(map[Code]bool)
	for _, c := range Codes() {
		if seen[c.Code] {
			t.Errorf("%s is there twice", c.Code)
		}
		seen[c.Code] = true
		for what, text := range map[string]Text{"title": c.Title, "hint": c.Hint} {
			if text.EN == "" || text.ZH == "" || text.In("zh-CN") != text.ZH || text.In("en") != text.EN {
				t.Errorf("%s: its %s is %+v", c.Code, what, text)
			}
		}
		if c.Status != 0 && (c.Status < 400 || c.Status > 599) || LookupCode(c.Code) != c {
			t.Errorf("%s: status %d", c.Code, c.Status)
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || fmt.Sprint(v.Type) != "Code" {
			return true
		}
		s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil || !seen[Code(s)] {
			t.Errorf("%s = %q has no row in the table", v.Names[0], s)
		}
		return true
	})
	if LookupCode("nonsense").Code != CodeInternal {
		t.Error("an unknown code is not internal")
	}
}
