package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Source answers for the settings that the command line leaves open: from the
// environment first, then from the file.
type Source struct {
	env  map[string]string
	file map[string]entry // by flag name
	path string
}

// entry is one line of the file.
type entry struct {
	value any // string, or []any of strings
	line  int
}

// Origin says where a value stood.
type Origin string

// OriginDefault is the origin of a value that nobody gave, OriginFlag of one on the command line,
// OriginProgram of one that the program which runs the server chose, as demo does.
const (
	OriginDefault Origin = "default"
	OriginFlag    Origin = "flag"
	OriginProgram Origin = "program"
)

// NewSource reads the environment, in the form of [os.Environ].
func NewSource(env []string) *Source {
	s := &Source{env: make(map[string]string)}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			s.env[k] = v
		}
	}
	return s
}

// Env is one environment variable, "" if it is unset.
func (s *Source) Env(name string) string { return s.env[name] }

// Lookup finds the value of a setting, by its flag's name, as kong takes it: a string, or
// a list for a setting that holds several. It answers nil where neither environment nor
// file has it.
func (s *Source) Lookup(name string) (any, Origin, error) {
	f, ok := fieldNamed(name)
	if !ok {
		return nil, "", nil
	}
	if v, set := s.env[f.Env]; set && (v != "" || f.Blank != "") {
		if err := f.check(v); err != nil && v != "" {
			return nil, "", fmt.Errorf("%s: %w", f.Env, err)
		}
		return v, Origin(f.Env), nil
	}
	if e, set := s.file[name]; set {
		return e.value, Origin(fmt.Sprintf("%s:%d", s.path, e.line)), nil
	}
	return nil, OriginDefault, nil
}

// Secret reads a secret from an environment variable or from a file; neither gives "".
// Both at once is refused, because one of them is not what its owner believes.
func (s *Source) Secret(env, path string) (string, error) {
	v := strings.TrimSpace(s.env[env])
	if path == "" {
		return v, nil
	}
	if v != "" {
		return "", fmt.Errorf("%s and %s_FILE are both set: keep one of them", env, env)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	if v = strings.TrimSpace(string(text)); v == "" {
		return "", fmt.Errorf("%s is empty: write the secret into it", path)
	}
	return v, nil
}

// ReadSecrets fills in the keys, which no flag can carry.
func (s *Source) ReadSecrets(c *Config) (err error) {
	if c.AdminKey, err = s.Secret("HONGYAN_ADMIN_KEY", c.AdminKeyFile); err != nil {
		return err
	}
	if c.MasterKey, err = s.Secret("HONGYAN_MASTER_KEY", c.MasterKeyFile); err != nil || c.DBFile == "" {
		return err
	}
	if c.DB != "" {
		return errors.New("db and db_file are both set: keep one of them")
	}
	c.DB, err = s.Secret("", c.DBFile)
	return err
}
