package cli

import (
	"errors"
	"strings"

	"github.com/hongyan-push/hongyan/internal/config"
)

// settings are the server's, for the commands that need them all.
type settings struct {
	ConfigFile string `name:"config" type:"path" placeholder:"FILE" help:"YAML file with settings; docs/config.md lists them."`
	config.Config
}

// load adds the secrets and refuses contradictions, all at once.
func (s *settings) load(p *program) (config.Config, error) {
	cfg := s.Config
	if err := errors.Join(p.source.ReadSecrets(&cfg), cfg.Check()); err != nil {
		return config.Config{}, p.badSettings(err)
	}
	return cfg, nil
}

// badSettings reports everything that is wrong with the settings.
func (p *program) badSettings(err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", "\n  ")
	return &fault{exit: exitUsage, text: text, hint: p.say("See docs/config.md, or `hongyan config show` for the values in force.")}
}
