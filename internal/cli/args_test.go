package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestDashes: ids and numbers that begin with a dash are values wherever they stand, and
// flags stay flags.
func TestDashes(t *testing.T) {
	t.Parallel()
	const id = "-E4ICNAhPRk_ytZM4VzbhzEi5W7QJHJwJYPwxtWg6tE"
	const twoDashes = "--4ICNAhPRk_ytZM4VzbhzEi5W7QJHJwJYPwxtWg6tE"
	rows := []struct {
		args string
		got  func(*grammar) string
		want string
	}{
		{"templates get " + id + " --app wx1", func(g *grammar) string { return g.Templates.Get.Template }, id},
		{"templates get --app wx1 " + twoDashes, func(g *grammar) string { return g.Templates.Get.Template }, twoDashes},
		{"send --template " + id, func(g *grammar) string { return g.Send.Template }, id},
		{"send --template=" + id, func(g *grammar) string { return g.Send.Template }, id},
		{"grants get o1 " + id + " --app wx1 --json", func(g *grammar) string { return g.Grants.Get.Template }, id},
		{"errcode -1 --json", func(g *grammar) string { return g.Errcode.Errcode }, "-1"},
		{"errcode -- -1", func(g *grammar) string { return g.Errcode.Errcode }, "-1"},
		{"users get -tooshort", nil, "unknown flag -t"},
		{"users get --no-such-flag-and-a-long-one=1", nil, "unknown flag --no-such-flag-and-a-long-one"},
		{"send -ojson -dthing1=12345678901234567890", func(g *grammar) string { return g.Send.Output + strings.Join(g.Send.Data, "") }, "jsonthing1=12345678901234567890"},
	}
	for _, r := range rows {
		var g grammar
		k, err := kong.New(&g, kong.Name("hongyan"), kong.WithHyphenPrefixedParameters(true), kong.Writers(io.Discard, io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		ctx, err := k.Parse(guardArgs(k, strings.Fields(r.args)))
		if err != nil {
			if r.got != nil || !strings.Contains(err.Error(), r.want) {
				t.Errorf("%s: %v, want %q", r.args, err, r.want)
			}
			continue
		}
		unguard(ctx)
		if r.got == nil {
			t.Errorf("%s: passed", r.args)
		} else if got := r.got(&g); got != r.want {
			t.Errorf("%s: got %q, want %q", r.args, got, r.want)
		}
	}
}

// TestNumbersAsFlagValues: a negative number after its flag is that flag's value.
func TestNumbersAsFlagValues(t *testing.T) {
	t.Parallel()
	var g grammar
	k, err := kong.New(&g, kong.Name("hongyan"), kong.WithHyphenPrefixedParameters(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Parse(guardArgs(k, strings.Fields("grants adjust o1 t1 --app wx1 --reason x --delta -1"))); err != nil || g.Grants.Adjust.Delta != -1 {
		t.Errorf("got %d, %v", g.Grants.Adjust.Delta, err)
	}
}
