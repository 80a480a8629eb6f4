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
	env := r.p.twins[flag]
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
		path = r.p.source.Env(r.p.twins[flag])
	}
	if path == "" {
		return nil
	}
	return r.p.source.ReadFile(path)
}

// nameTwins gives every flag its environment variable. HONGYAN_ and the flag's name for
// what means the same everywhere; with the command's name between (tag own) for what is
// about one command alone, so that a server's HONGYAN_DATA says nothing to `send --data`;
// and the name that the tag twin gives.
func (p *program) nameTwins(k *kong.Kong) error {
	p.twins = make(map[*kong.Flag]string)
	return kong.Visit(k.Model, func(v kong.Visitable, next kong.Next) error {
		n, ok := v.(*kong.Node)
		if !ok {
			return next(nil)
		}
		command := strings.TrimPrefix(n.FullPath(), k.Model.Name+" ")
		for _, f := range n.Flags {
			switch {
			case f.Name == "help":
			case f.Tag.Has("twin"):
				p.twins[f] = f.Tag.Get("twin")
			case f.Tag.Has("own"):
				p.twins[f] = config.EnvName(strings.ReplaceAll(command, " ", "-") + "-" + f.Name)
			default:
				p.twins[f] = config.EnvName(f.Name)
			}
		}
		return next(nil)
	})
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
	env := p.twins[v.Flag]
	if env == "" {
		return v.Help
	}
	if p.lang == "zh" {
		return strings.TrimSuffix(v.Help, "。") + fmt.Sprintf("（%s）。", env)
	}
	return strings.TrimSuffix(v.Help, ".") + fmt.Sprintf(" (%s).", env)
}
