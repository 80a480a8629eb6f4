package cli

import (
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// One template id of WeChat's in 64 begins with a dash, and so does errcode -1; kong takes
// both for flags. They pass it behind a guard that no argument can hold.
const guard = "\x00"

var (
	idLike = regexp.MustCompile(`^-[A-Za-z0-9_-]{20,}$`)
	number = regexp.MustCompile(`^-\d+$`)
)

// guardArgs hides the dash of what is no flag.
func guardArgs(k *kong.Kong, args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		// Elsewhere a number with a dash is the value of a flag that takes one.
		if args[0] == "errcode" && number.MatchString(a) || idLike.MatchString(a) && !isFlag(k.Model.Node, a) {
			a = guard + a
		}
		out[i] = a
	}
	return out
}

// isFlag reports whether any command has the long flag.
func isFlag(n *kong.Node, arg string) bool {
	for _, f := range n.Flags {
		if "--"+f.Name == arg {
			return true
		}
	}
	for _, child := range n.Children {
		if isFlag(child, arg) {
			return true
		}
	}
	return false
}

// unguard gives values their dash back.
func unguard(ctx *kong.Context) {
	for _, path := range ctx.Path {
		var v *kong.Value
		switch {
		case path.Positional != nil:
			v = path.Positional
		case path.Flag != nil:
			v = path.Flag.Value
		default:
			continue
		}
		unguardValue(v.Target)
	}
}

func unguardValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.TrimPrefix(v.String(), guard))
	case reflect.Slice:
		for i := range v.Len() {
			unguardValue(v.Index(i))
		}
	}
}
