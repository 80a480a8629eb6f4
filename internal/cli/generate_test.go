package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// TestGeneratedDocs keeps what is committed equal to what the code says.
func TestGeneratedDocs(t *testing.T) {
	t.Parallel()
	for name, write := range generated {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		committed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(committed), got.String()); d != "" {
			t.Errorf("%s is stale: run `make generate` (-committed +generated)\n%s", path, d)
		}
	}
}

// TestErrorAnchors: the type URL of a problem document ends with #code.
func TestErrorAnchors(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeErrorReference(&b); err != nil {
		t.Fatal(err)
	}
	headings := regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(b.String(), -1)
	if len(headings) != len(hongyan.Codes()) {
		t.Errorf("%d headings for %d codes", len(headings), len(hongyan.Codes()))
	}
	for _, h := range headings {
		if anchor := strings.ToLower(strings.ReplaceAll(h[1], " ", "-")); hongyan.LookupCode(hongyan.Code(anchor)).Code != hongyan.Code(anchor) {
			t.Errorf("heading %q leads to no code", h[1])
		}
	}
}
