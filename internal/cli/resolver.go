package cli

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/hongyan-push/hongyan/internal/config"
)

// resolver gives flags that the command line leaves open their value: from the
// environment, and for the server's settings from the file that --config names.
type resolver struct {
	p    *program
	read bool
}

// Validate implements [kong.Resolver].
func (r *resolver) Validate(*kong.Application) error { return nil }

// Resolve implements [kong.Resolver].
func (r *resolver) Resolve(ctx *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if file := flagNamed(parent.Flags, "config"); file != nil && flag != file {
		if err := r.readFile(ctx, file); err != nil {
			return nil, r.p.badSettings(err)
		}
		v, origin, err := r.p.source.Lookup(flag.Name)
		if err != nil {
			return nil, r.p.badSettings(err)
		}
		if origin != "" { // it is one of the server's settings
			return v, nil
		}
	}
	env := twinOf(flag)
	if env == "" {
		return nil, nil
	}
	if v := r.p.source.Env(env); v != "" {
		return v, nil
	}
	return nil, nil
}

func (r *resolver) readFile(ctx *kong.Context, flag *kong.Flag) error {
	if r.read {
		return nil
	}
	r.read = true
	path, _ := ctx.FlagValue(flag).(string)
	if path == "" {
		path = r.p.source.Env(twinOf(flag))
	}
	if path == "" {
		return nil
	}
	return r.p.source.ReadFile(path)
}

// twinOf is the environment variable of a flag. The tag twin names another one where the
// same word means different things in two commands; a dash means there is none.
func twinOf(flag *kong.Flag) string {
	switch twin := flag.Tag.Get("twin"); {
	case twin == "-" || flag.Name == "help":
		return ""
	case twin != "":
		return twin
	}
	return config.EnvName(flag.Name)
}

func flagNamed(flags []*kong.Flag, name string) *kong.Flag {
	for _, f := range flags {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// flagHelp names a flag's twin behind its help.
func (p *program) flagHelp(v *kong.Value) string {
	if v.Flag == nil {
		return v.Help
	}
	env := twinOf(v.Flag)
	if env == "" {
		return v.Help
	}
	if p.lang == "zh" {
		return strings.TrimSuffix(v.Help, "。") + fmt.Sprintf("（%s）。", env)
	}
	return strings.TrimSuffix(v.Help, ".") + fmt.Sprintf(" (%s).", env)
}
