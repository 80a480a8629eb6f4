package api

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The description in docs is what the code says; `go generate ./internal/api` rewrites it.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	const golden = "../../docs/openapi.yaml"
	got, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/openapi.yaml is stale, run go generate ./internal/api (-want +got):\n%s", diff)
	}
	for _, leak := range []string{"ErrorModel", "ErrorDetail"} {
		if strings.Contains(string(got), leak) {
			t.Errorf("the description has %s", leak)
		}
	}
}
