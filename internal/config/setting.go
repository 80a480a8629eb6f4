package config

import (
	"strings"

	"github.com/hongyan-push/hongyan"
)

// Settings lists every setting as it is in force in c, explained in a language (zh, en). This
// is the one list that leaves the process: secrets stay, and passwords are cut out of URLs.
func Settings(c *Config, origin func(Field) Origin, lang string) []hongyan.Setting {
	out := make([]hongyan.Setting, 0, len(Fields()))
	for _, f := range Fields() {
		s := hongyan.Setting{Key: f.Key, Value: f.Of(c), Origin: string(origin(f)), Env: f.Env, Help: hongyan.Text{EN: f.Help, ZH: f.HelpZH}.In(lang)}
		if f.Secret {
			s.Key = f.Env
		}
		if f.Name == "db" && s.Value == "" {
			s.Value = c.Database()
		}
		out = append(out, s)
	}
	return out
}

// Origin says where a setting stood. onLine reports whether a flag was on the command line.
func (s *Source) Origin(f Field, onLine func(flag string) bool) Origin {
	switch {
	case f.Secret:
		if strings.TrimSpace(s.env[f.Env]) != "" {
			return Origin(f.Env)
		}
	case onLine(f.Name):
		return OriginFlag
	default:
		if _, o, err := s.Lookup(f.Name); err == nil && o != OriginDefault {
			return o
		}
	}
	if file, ok := fieldNamed(f.Name + "-file"); ok { // its value was read from there, if from anywhere
		return s.Origin(file, onLine)
	}
	return OriginDefault
}

// OriginIn tells where settings come from whose Config a program made by itself.
func OriginIn(c *Config) func(Field) Origin {
	return func(f Field) Origin {
		if v := f.Of(c); v == "" || v == f.Default {
			return OriginDefault
		}
		return OriginProgram
	}
}
