package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EnvPrefix begins the name of every environment variable of ours.
const EnvPrefix = "HONGYAN_"

// Field is one setting, as its tags describe it.
type Field struct {
	Name    string // of the flag, without dashes in front
	Env     string
	Key     string // in the YAML file; empty for secrets
	Default string
	Help    string
	HelpZH  string
	Enum    []string
	Type    reflect.Type
	// Secret has neither flag nor key: the value comes from Env, or from the file that Name_FILE names.
	Secret bool
	// Blank is what an empty value means; without it an empty environment variable counts as unset.
	Blank string

	index int
}

// Fields lists every setting in the order of the reference page.
func Fields() []Field {
	t := reflect.TypeFor[Config]()
	out := make([]Field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag
		field := Field{
			Name: tag.Get("name"), Env: EnvName(tag.Get("name")), Default: tag.Get("default"), Help: tag.Get("help"), HelpZH: helpZH[tag.Get("name")],
			Type: f.Type, Secret: tag.Get("kong") == "-", Blank: tag.Get("blank"), index: i,
		}
		if !field.Secret {
			field.Key = strings.ReplaceAll(field.Name, "-", "_")
		}
		if enum := tag.Get("enum"); enum != "" {
			field.Enum = strings.Split(enum, ",")
		}
		out = append(out, field)
	}
	return out
}

// EnvName is the environment's twin of a flag.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Of is the field's value in c, as text; secrets are only said to be set.
func (f Field) Of(c *Config) string {
	v := reflect.ValueOf(c).Elem().Field(f.index)
	if f.Secret {
		if v.IsZero() {
			return ""
		}
		return "redacted"
	}
	switch x := v.Interface().(type) {
	case []string:
		return strings.Join(x, ",")
	case string:
		if strings.HasSuffix(f.Name, "-url") || strings.HasSuffix(f.Name, "-proxy") || f.Name == "db" {
			return WithoutPassword(x)
		}
		return x
	default:
		return fmt.Sprint(x)
	}
}

// check refuses text that the field's type cannot hold.
func (f Field) check(v string) error {
	switch {
	case len(f.Enum) > 0:
		if !slices.Contains(f.Enum, v) {
			return fmt.Errorf("%q is not one of %s", v, strings.Join(f.Enum, ", "))
		}
	case f.Type == reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(v); err != nil {
			return fmt.Errorf("%q is not a duration such as 10s or 2m", v)
		}
	case f.Type.Kind() == reflect.Int:
		if _, err := strconv.Atoi(v); err != nil {
			return fmt.Errorf("%q is not a whole number", v)
		}
	}
	return nil
}

func (f Field) isList() bool { return f.Type.Kind() == reflect.Slice }

// fieldNamed finds a setting by its flag's name.
func fieldNamed(name string) (Field, bool) {
	for _, f := range Fields() {
		if f.Name == name && !f.Secret {
			return f, true
		}
	}
	return Field{}, false
}
