package cli

import (
	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
)

// configCmd has what there is to say about settings.
type configCmd struct {
	Show configShowCmd `cmd:"" help:"Print the settings in force and where each came from."`
}

type configShowCmd struct {
	settings
	outputFlags
}

// Run implements the command. Values that contradict each other are shown, then refused.
func (c *configShowCmd) Run(p *program) error {
	cfg := c.Config
	secretErr := p.source.ReadSecrets(&cfg)
	err := printList(p, c.outputFlags, config.Settings(&cfg, p.originOf, p.lang), []column[hongyan.Setting]{
		{"SETTING", func(s hongyan.Setting) string { return s.Key }},
		{"VALUE", func(s hongyan.Setting) string { return s.Value }},
		{"FROM", func(s hongyan.Setting) string { return s.Origin }},
	})
	if err != nil {
		return err
	}
	if secretErr != nil {
		return p.badSettings(secretErr)
	}
	_, err = c.load(p)
	return err
}

func (p *program) originOf(f config.Field) config.Origin { return p.source.Origin(f, p.given) }
