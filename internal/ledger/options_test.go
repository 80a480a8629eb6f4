package ledger

import (
	"encoding/json"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestEncodeData: what is written by hand reads back as it was, whatever the text.
func TestEncodeData(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		data := rapid.MapOfN(rapid.String(), rapid.String(), 0, 5).Draw(rt, "data")
		var got map[string]string
		if err := json.Unmarshal([]byte(encodeData(data)), &got); err != nil || !maps.Equal(got, data) {
			rt.Errorf("%q became %q: %v", data, got, err)
		}
		o := options{Page: rapid.String().Draw(rt, "page")}
		text, err := o.encode()
		if err != nil {
			rt.Fatal(err)
		}
		if back, err := parseOptions(text); err != nil || back.Page != o.Page {
			rt.Errorf("page %q became %q: %v", o.Page, back.Page, err)
		}
	})
}
