package cli

import (
	"slices"

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

// setting is one line of `config show`.
type setting struct {
	Key    string        `json:"key"`
	Value  string        `json:"value"`
	Origin config.Origin `json:"origin"`
}

// Run implements the command. Values that contradict each other are shown, then refused.
func (c *configShowCmd) Run(p *program) error {
	cfg := c.Config
	secretErr := p.source.ReadSecrets(&cfg)
	list := make([]setting, 0, len(config.Fields()))
	for _, f := range config.Fields() {
		s := setting{Key: f.Key, Value: f.Of(&cfg), Origin: p.originOf(f)}
		if f.Secret {
			s.Key = f.Env
		}
		if f.Name == "db" && s.Value == "" {
			s.Value = cfg.Database()
		}
		list = append(list, s)
	}
	err := printList(p, c.outputFlags, list, []column[setting]{
		{"SETTING", func(s setting) string { return s.Key }},
		{"VALUE", func(s setting) string { return s.Value }},
		{"FROM", func(s setting) string { return string(s.Origin) }},
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

func (p *program) originOf(f config.Field) config.Origin {
	if f.Secret {
		return p.secretOrigin(f)
	}
	if p.given(f.Name) {
		return config.OriginFlag
	}
	_, origin, err := p.source.Lookup(f.Name)
	if err != nil {
		return config.OriginDefault
	}
	return origin
}

// secretOrigin is the variable, the setting that names the file, or nothing.
func (p *program) secretOrigin(f config.Field) config.Origin {
	if p.source.Env(f.Env) != "" {
		return config.Origin(f.Env)
	}
	all := config.Fields()
	if i := slices.IndexFunc(all, func(g config.Field) bool { return g.Name == f.Name+"-file" }); i >= 0 {
		return p.originOf(all[i])
	}
	return config.OriginDefault
}
