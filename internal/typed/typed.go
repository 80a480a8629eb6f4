// Package typed writes a type for each template of an app, in Go and in TypeScript, so that a
// wrong field does not compile. What it writes depends on the templates alone: the same ones
// give the same bytes, and what is added changes no name that was there.
//
// Start: [New], then [Set.Go] or [Set.TypeScript]; [Changes] compares what was written with
// what would be.
package typed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/hongyan-push/hongyan"
)

// Set is the templates of an app with the names they have in programs.
type Set struct {
	app       hongyan.AppID
	templates []template
	// LeftOut are templates that have no type: WeChat does not list them any more, or their
	// fields are not known.
	LeftOut []hongyan.Template
}

type template struct {
	hongyan.Template
	name   string
	fields []field
}

// ref is how messages name it: an alias stays when the template is chosen again, and is the
// same in an app for tests.
func (t *template) ref() string { return cmp.Or(t.Alias, t.TemplateID) }

type field struct {
	hongyan.Keyword
	name   string
	kind   kind
	layout string // of moments and periods
	values []value
}

// kind is how a field looks in a program.
type kind string

const (
	kindText   kind = "text"
	kindNumber kind = "number"
	kindAmount kind = "amount"
	kindTime   kind = "time"
	kindPeriod kind = "period"
	kindEnum   kind = "enum"
)

// value is one of an enum's.
type value struct{ name, text string }

// Clash is the error of two templates that would get the same name.
type Clash struct {
	Name string
	IDs  [2]string // template_id
}

// Error names both.
func (c *Clash) Error() string {
	return fmt.Sprintf("the templates %s and %s would both be %s; give one an alias", c.IDs[0], c.IDs[1], c.Name)
}

// New names the templates of an app. The error is a [*Clash].
func New(app hongyan.AppID, templates []hongyan.Template) (*Set, error) {
	s := &Set{app: app}
	for _, t := range templates {
		if !t.GoneAt.IsZero() || len(t.Keywords) == 0 {
			s.LeftOut = append(s.LeftOut, t)
			continue
		}
		s.templates = append(s.templates, template{Template: t, name: typeName(t), fields: fieldsOf(t.Keywords)})
	}
	slices.SortFunc(s.templates, func(a, b template) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.TemplateID, b.TemplateID))
	})
	for i := 1; i < len(s.templates); i++ {
		if a, b := s.templates[i-1], s.templates[i]; a.name == b.name {
			return nil, &Clash{a.name, [2]string{a.TemplateID, b.TemplateID}}
		}
	}
	return s, nil
}

func fieldsOf(keywords []hongyan.Keyword) []field {
	taken := map[string]bool{"TemplateID": true, "Data": true, "Validate": true, "Message": true} // the methods
	var fields []field
	for _, k := range keywords {
		f := field{Keyword: k, name: fieldName(k, taken), kind: kindText}
		taken[f.name] = true
		switch k.Type {
		case "number":
			f.kind = kindNumber
		case "amount":
			f.kind = kindAmount
		case "date", "time":
			f.kind = kindTime
			var period bool
			if f.layout, period = k.TimeLayout(); period {
				f.kind = kindPeriod
			}
		case "enum", "enum_string":
			if len(k.Enum) > 0 {
				f.kind = kindEnum
			}
			f.Enum = nil // each value once
			for _, text := range k.Enum {
				if !slices.Contains(f.Enum, text) {
					f.Enum = append(f.Enum, text)
					f.values = append(f.values, value{valueName(text), text})
				}
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// enumName is the name of a field's own type. No other name has an underscore.
func (t *template) enumName(f *field) string { return t.name + "_" + f.name }

// about is a field in a sentence of its own, for the comment above it.
func (f *field) about() string {
	var b strings.Builder
	b.WriteString(cmp.Or(f.Label, f.Key))
	if f.Label != "" {
		b.WriteString(" (" + f.Key + ")")
	}
	b.WriteString(": " + strings.TrimSuffix(f.Rule.EN, "."))
	if f.Example != "" {
		b.WriteString(". Example: " + f.Example)
	}
	return plain(b.String())
}

// plain keeps text that others wrote inside a comment.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Cf, r) { // Cf: what turns lines around, and byte order marks
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "*/", "* /"))
}

// manifest is what [Changes] reads: a line each for templates, fields and values of enums.
func (s *Set) manifest() string {
	var b strings.Builder
	line := func(what string, words ...string) {
		b.WriteString("//hongyan:" + what + " " + plain(strings.Join(words, " ")) + "\n")
	}
	for _, t := range s.templates {
		line("template", t.TemplateID, t.name, t.ref(), t.Title)
		for _, f := range t.fields {
			line("field", t.TemplateID, f.Key, f.name, string(f.kind), f.layout, f.Label)
			for _, v := range f.values {
				line("value", t.TemplateID, f.Key, v.name, v.text)
			}
		}
	}
	return b.String()
}
