package miniprogram_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan/internal/nodetest"
)

// Every code and reason that a page can meet is explained in the guide, in both languages.
func TestGuides(t *testing.T) {
	t.Parallel()
	types, faults := read(t, "src/types.ts"), read(t, "src/fault.ts")
	_, reasons, _ := strings.Cut(types, "export type Reason =")
	reasons, _, _ = strings.Cut(reasons, "export interface")
	words := regexp.MustCompile(`'(\w+)'`).FindAllStringSubmatch(reasons, -1)
	codes := regexp.MustCompile(`(?m)^[^|\n]+\|(\w+)\|`).FindAllStringSubmatch(strings.ReplaceAll(faults, "const table = `", ""), -1)
	if len(words) < 8 || len(codes) < 15 {
		t.Fatalf("found %d reasons and %d codes in the source", len(words), len(codes))
	}
	for _, guide := range []string{"../../docs/guides/miniprogram.md", "../../docs/guides/miniprogram.zh-CN.md"} {
		text := read(t, guide)
		for _, m := range append(words, codes...) {
			if !strings.Contains(text, "`"+m[1]+"`") {
				t.Errorf("%s does not explain %s", guide, m[1])
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The tests of the SDK are TypeScript, under test/; this runs them with everything else.
func TestSDK(t *testing.T) {
	t.Parallel()
	dir := nodetest.Project(t, ".")
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "check")
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "test")
}
