package hongyan_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/hongyan-push/hongyan"

// mayImport is the import table of docs/architecture.md. A new edge changes both, with the
// reason in the commit. "sql" stands for database/sql.
var mayImport = map[string][]string{
	"":                                    {},
	"wechat":                              {},
	"sandbox":                             {"wechat"},
	"client":                              {""},
	"internal/ledger":                     {"", "internal/ledger/schema", "sql"},
	"internal/ledger/schema":              {},
	"internal/ledger/ledgertest":          {"", "internal/ledger", "internal/ledger/ledgertest/dbserver", "sql"},
	"internal/ledger/ledgertest/dbserver": {"sql"},
	"internal/outbound":                   {},
	"internal/token":                      {"", "internal/ledger", "wechat"},
	"internal/dispatch":                   {"", "internal/ledger", "wechat"},
	"internal/callback":                   {"", "internal/ledger", "wechat"},
	"internal/api":                        {"", "internal/ledger", "wechat"},
	"internal/gateway":                    {"", "internal/ledger", "wechat"},
	"internal/config":                     {""},
	"internal/console":                    {"", "internal/ledger"},
	"internal/server":                     {"", "wechat", "internal/api", "internal/callback", "internal/config", "internal/console", "internal/dispatch", "internal/gateway", "internal/ledger", "internal/outbound", "internal/token"},
	"internal/typed":                      {""},
	"internal/nodetest":                   {},
	"internal/progtest":                   {"", "internal/cli"},
	"internal/cli":                        {"", "wechat", "client", "sandbox", "internal/config", "internal/server", "internal/ledger", "internal/typed"},
	"cmd/hongyan":                         {"internal/cli"},
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if name := e.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "examples" || name == "tools") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir == "." {
			dir = ""
		}
		seen[dir] = true
		allowed, known := mayImport[dir]
		if !known {
			t.Errorf("package %q is not in the import table", dir)
			return nil
		}
		for _, imp := range importsOf(t, path) {
			if !slices.Contains(allowed, imp) {
				t.Errorf("%s imports %q, which the import table does not allow", path, imp)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("package %q is in the import table but not in the tree", dir)
		}
	}
}

// importsOf lists what a file imports of ours, and "sql".
func importsOf(t *testing.T, path string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range f.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case p == "database/sql":
			out = append(out, "sql")
		case p == module:
			out = append(out, "")
		case strings.HasPrefix(p, module+"/"):
			out = append(out, strings.TrimPrefix(p, module+"/"))
		}
	}
	return out
}
