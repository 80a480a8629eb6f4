package cli

import (
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
)

// languageOf is zh where the environment asks for Chinese, else en. LC_ALL decides over LANG.
func languageOf(env *config.Source) string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := env.Env(name); v != "" {
			return hongyan.Text{EN: "en", ZH: "zh"}.In(v)
		}
	}
	return "en"
}

// say is a sentence of ours in the user's language. The English one is its name in the
// table; a sentence that is missing there stays English, and a test fails.
func (p *program) say(en string, args ...any) string {
	if p.lang == "zh" {
		if zh := chineseOf(en); zh != "" {
			en = zh
		}
	}
	if len(args) == 0 {
		return en
	}
	return fmt.Sprintf(en, args...)
}

// chineseOf is a sentence in Chinese; what settings mean is said where they are.
func chineseOf(en string) string {
	if zh, ok := chinese[en]; ok {
		return zh
	}
	for _, f := range config.Fields() {
		if f.Help == en {
			return f.HelpZH
		}
	}
	return ""
}

// tell writes one line of talk.
func (p *program) tell(en string, args ...any) {
	fmt.Fprintln(p.stderr, p.say(en, args...))
}

// translateHelp puts the help of commands, flags and arguments into the user's language.
func (p *program) translateHelp(k *kong.Kong) error {
	return kong.Visit(k.Model, func(v kong.Visitable, next kong.Next) error {
		switch n := v.(type) {
		case *kong.Application:
			translateFlags(p, n.Flags)
		case *kong.Node:
			n.Help = p.say(n.Help)
			translateFlags(p, n.Flags)
			for _, arg := range n.Positional {
				arg.Help = p.say(arg.Help)
			}
		}
		return next(nil)
	})
}

func translateFlags(p *program, flags []*kong.Flag) {
	for _, f := range flags {
		f.Help = p.say(f.Help)
	}
}
