package hongyan

import (
	"slices"
	"strings"
	"testing"
)

func TestMemberName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"anna": true, "李雷": true, "Anna Lee": true, strings.Repeat("名", 64): true,
		"": false, " anna": false, "anna ": false, "an\nna": false, "an\u200bna": false, "an\u202ena": false, strings.Repeat("a", 65): false, "a\xff": false, "\u3000": false,
	} {
		if err := CheckMemberName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, other := range []string{"anna", "ANNA", "ａｎｎａ"} {
		if FoldMemberName(other) != FoldMemberName("Anna") {
			t.Errorf("%q is another name than Anna", other)
		}
	}
	if FoldMemberName("anna") == FoldMemberName("ann a") {
		t.Error("names that differ fold to one")
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	for v, rule := range map[string]string{
		"correct horse battery": "", "密码要足够长才能用吧": "", strings.Repeat("ab", 128): "",
		"": "length", "ninechars": "length", strings.Repeat("ab", 129): "length", "bad\xffutf8bytes": "length",
		"longer.name.than.ten": "name", "LONGER.name.than.ten": "name",
		"1234567890": "guessable", "Password123": "guessable", "aaaaaaaaaaaa": "guessable", "密密密密密密密密密密": "guessable",
	} {
		err := CheckPassword("/password", "longer.name.than.ten", NewPassword(v))
		got := ""
		if e, ok := err.(*Error); ok {
			got = e.Fields[0].Code
			if v != "" && strings.Contains(e.Error(), v) {
				t.Errorf("the error repeats the password: %v", e)
			}
		}
		if got != rule {
			t.Errorf("%q: rule %q, want %q", v, got, rule)
		}
	}
}

// TestRoles: an owner can give any key its scopes, a viewer only looks.
func TestRoles(t *testing.T) {
	t.Parallel()
	for _, r := range Roles() {
		for _, s := range r.Scopes() {
			if !slices.Contains(Scopes(), s) {
				t.Errorf("%s has the unknown scope %s", r, s)
			}
		}
		if err := CheckRole(r); err != nil {
			t.Error(err)
		}
	}
	if got := RoleOwner.Scopes(); !slices.Equal(got, Scopes()) {
		t.Errorf("an owner has %v", got)
	}
	if got := RoleViewer.Scopes(); !slices.Equal(got, []Scope{ScopeRead}) {
		t.Errorf("a viewer has %v", got)
	}
	if CheckRole("admin") == nil {
		t.Error("a role was taken that there is not")
	}
}
