package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/hongyan-push/hongyan/internal/config"
)

// TestChinese finds sentences of ours that have no Chinese, and Chinese that nothing says.
func TestChinese(t *testing.T) {
	t.Parallel()
	said := append(helpSentences(t), sourceSentences(t)...)
	for _, en := range said {
		if chineseOf(en) == "" {
			t.Errorf("no Chinese for %q", en)
		}
	}
	for en, zh := range chinese {
		if !slices.Contains(said, en) {
			t.Errorf("nothing says %q", en)
		}
		if a, b := verbs(en), verbs(zh); !slices.Equal(a, b) {
			t.Errorf("%q: verbs %v, in Chinese %v", en, a, b)
		}
		if strings.HasSuffix(en, ".") != strings.HasSuffix(zh, "。") {
			t.Errorf("%q: one of the two ends like a sentence: %q", en, zh)
		}
	}
}

var verb = regexp.MustCompile(`%(\[\d\])?[a-z]`)

func verbs(s string) []string { return verb.FindAllString(s, -1) }

// helpSentences are the help texts of the grammar.
func helpSentences(t *testing.T) []string {
	t.Helper()
	var g grammar
	k, err := kong.New(&g, kong.Name("hongyan"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	add := func(s string) {
		if s != "" {
			out = append(out, s)
		}
	}
	_ = kong.Visit(k.Model, func(v kong.Visitable, next kong.Next) error {
		var n *kong.Node
		switch v := v.(type) {
		case *kong.Application:
			n = v.Node
		case *kong.Node:
			n = v
		default:
			return next(nil)
		}
		add(n.Help)
		for _, f := range n.Flags {
			add(f.Help)
		}
		for _, a := range n.Positional {
			add(a.Help)
		}
		return next(nil)
	})
	return out
}

// sourceSentences are the texts given to say and tell, and the titles of columns.
func sourceSentences(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source: %v", err)
	}
	var out []string
	text := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
	}
	inspect := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				name = f.Sel.Name
			case *ast.Ident:
				name = f.Name
			}
			if (name == "say" || name == "tell") && len(n.Args) > 0 {
				text(n.Args[0])
			}
		case *ast.CompositeLit:
			if len(n.Elts) == 2 {
				if _, isCell := n.Elts[1].(*ast.FuncLit); isCell {
					text(n.Elts[0])
				}
			}
		}
		return true
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, inspect)
	}
	return out
}

func TestLanguage(t *testing.T) {
	t.Parallel()
	rows := []struct{ env, want string }{
		{"", "en"}, {"LANG=C", "en"}, {"LANG=zh_CN.UTF-8", "zh"}, {"LC_ALL=zh_TW", "zh"}, {"LC_ALL=en_US LANG=zh_CN", "en"},
		{"LC_ALL= LANG=ZH", "zh"}, {"LC_MESSAGES=zh_CN LANG=en_US", "zh"},
	}
	for _, r := range rows {
		if got := languageOf(config.NewSource(strings.Fields(r.env))); got != r.want {
			t.Errorf("%s: got %s, want %s", r.env, got, r.want)
		}
	}
}
