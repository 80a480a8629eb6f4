package hongyan

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	change := func(pointer, before, after string) AuditChange {
		return AuditChange{Pointer: pointer, Before: json.RawMessage(before), After: json.RawMessage(after)}
	}
	long := strings.Repeat("字", maxChange)
	for name, c := range map[string]struct {
		before, after any
		want          []AuditChange
	}{
		"nothing":             {nil, nil, nil},
		"the same":            {map[string]int{"a": 1}, map[string]int{"a": 1}, nil},
		"a value":             {map[string]any{"a": 1, "b": "x"}, map[string]any{"a": 2, "b": "x"}, []AuditChange{change("/a", "1", "2")}},
		"new":                 {nil, map[string]any{"b": true, "a": map[string]int{"c": 1}}, []AuditChange{change("/a/c", "null", "1"), change("/b", "null", "true")}},
		"gone":                {map[string]any{"a": "x"}, nil, []AuditChange{change("/a", `"x"`, "null")}},
		"null is not there":   {map[string]any{"a": nil}, map[string]any{}, nil},
		"an empty object":     {nil, struct{}{}, []AuditChange{change("", "null", "{}")}},
		"another kind":        {map[string]any{"a": 1}, map[string]any{"a": map[string]int{"b": 1}}, []AuditChange{change("/a", "1", `{"b":1}`)}},
		"lists are whole":     {[]int{1, 2}, []int{1, 3}, []AuditChange{change("", "[1,2]", "[1,3]")}},
		"keys are escaped":    {nil, map[string]int{"a/b~c": 1}, []AuditChange{change("/a~1b~0c", "null", "1")}},
		"no number is bent":   {map[string]int64{"n": 1<<62 + 1}, map[string]int64{"n": 1 << 62}, []AuditChange{change("/n", "4611686018427387905", "4611686018427387904")}},
		"secrets of a type":   {NewAppSecret("one"), NewAppSecret("two"), nil},
		"what JSON lacks":     {nil, func() {}, []AuditChange{change("", "null", `"func(): json: unsupported type: func()"`)}},
		"long ones are cut":   {nil, "x" + long, []AuditChange{change("", "null", `"\"x`+long[:1998/3*3]+`… (`+"6003"+` bytes)"`)}},
		"html stays readable": {nil, "<a>", []AuditChange{change("", "null", `"<a>"`)}},
	} {
		if d := cmp.Diff(c.want, Diff(c.before, c.after)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestChangedSecret(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal([]AuditChange{ChangedSecret("/secret", false, true), ChangedSecret("/secret", true, true)})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"pointer":"/secret","before":null,"after":"redacted","changed":true},{"pointer":"/secret","before":"redacted","after":"redacted","changed":true}]`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// FuzzDiff holds what a reader relies on: nothing differs from itself, the way back is the
// same list with its sides exchanged, and every pointer is there once, in order.
func FuzzDiff(f *testing.F) {
	for _, s := range [][2]string{{`{"a":1}`, `{"a":{"b":[1,null]}}`}, {`null`, `{}`}, {`{"a/~":1e400}`, `[]`}, {`{"a":null}`, `{"a":{}}`}, {`"\ud800"`, `"�"`}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		a, b := json.RawMessage(before), json.RawMessage(after)
		if !json.Valid(a) || !json.Valid(b) {
			return
		}
		if self := Diff(a, a); len(self) > 0 {
			t.Fatalf("differs from itself: %v", self)
		}
		there, back := Diff(a, b), Diff(b, a)
		if len(there) != len(back) {
			t.Fatalf("%d changes there, %d back", len(there), len(back))
		}
		for i, c := range there {
			if c.Pointer != back[i].Pointer || string(c.Before) != string(back[i].After) || string(c.After) != string(back[i].Before) {
				t.Fatalf("there %v, back %v", c, back[i])
			}
			if !json.Valid(c.Before) || !json.Valid(c.After) {
				t.Fatalf("no JSON: %v", c)
			}
			if len(c.Before) > 2*maxChange+100 || len(c.After) > 2*maxChange+100 {
				t.Fatalf("too long: %d, %d", len(c.Before), len(c.After))
			}
		}
		pointers := make(map[string]bool)
		for _, c := range there {
			if pointers[c.Pointer] {
				t.Fatalf("%s is there twice", c.Pointer)
			}
			pointers[c.Pointer] = true
		}
		if len(there) > 0 && slices.ContainsFunc(there, func(c AuditChange) bool { return c.Pointer == "" }) && len(there) > 1 {
			t.Fatalf("a whole value and parts of it: %v", there)
		}
	})
}
