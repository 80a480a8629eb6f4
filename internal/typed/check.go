package typed

import (
	"slices"
	"strings"
)

// Change is one difference between a file and the templates as they are now.
type Change struct {
	What     string `json:"change"` // added, gone, renamed or changed
	Template string `json:"template"`
	Field    string `json:"field,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// The words of [Change.What].
const (
	Added   = "added"
	Gone    = "gone"
	Renamed = "renamed"
	Changed = "changed"
)

// entry is a line of a manifest: a template, a field, or a value of an enum.
type entry struct {
	key    string // by which it is the same thing in another manifest
	parent string
	name   string
	rest   string // what else the line says
}

// Changes compares two files of one language. Files that differ have none if what differs is
// not what they say of the templates, such as the text of another version.
func Changes(was, now []byte) []Change {
	old, next := manifestOf(was), manifestOf(now)
	var out []Change
	for _, e := range next.list {
		o, there := old.by[e.key]
		switch {
		case !there && next.news(old, e):
			out = append(out, next.change(Added, e, ""))
		case there && o.name != e.name:
			out = append(out, next.change(Renamed, e, o.name+" → "+e.name))
		case there && o.rest != e.rest:
			out = append(out, next.change(Changed, e, o.rest+" → "+e.rest))
		}
	}
	for _, e := range old.list {
		if _, there := next.by[e.key]; !there && old.news(next, e) {
			out = append(out, old.change(Gone, e, ""))
		}
	}
	return out
}

type manifest struct {
	list []entry
	by   map[string]entry
}

func manifestOf(file []byte) manifest {
	m := manifest{by: make(map[string]entry)}
	for line := range strings.Lines(string(file)) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "//hongyan:")
		if !ok {
			continue
		}
		w := strings.SplitN(rest, " ", 5)
		var e entry
		switch {
		case len(w) >= 4 && w[0] == "template":
			e = entry{key: w[1], name: w[2], rest: strings.Join(w[3:], " ")}
		case len(w) == 5 && w[0] == "field":
			e = entry{key: w[1] + " " + w[2], parent: w[1], name: w[3], rest: w[4]}
		case len(w) == 5 && w[0] == "value": // its text is what it is, its name follows from it
			e = entry{key: w[1] + " " + w[2] + " " + w[4], parent: w[1] + " " + w[2], name: w[4]}
		default:
			continue
		}
		m.list, m.by[e.key] = append(m.list, e), e
	}
	return m
}

// news reports whether the other manifest has what e belongs to: of a template that is added
// or gone its fields are not told.
func (m manifest) news(other manifest, e entry) bool {
	if e.parent == "" {
		return true
	}
	_, there := other.by[e.parent]
	return there
}

// change names an entry by the template and field in which it is.
func (m manifest) change(what string, e entry, detail string) Change {
	path := []string{e.name}
	for p := e; p.parent != ""; {
		p = m.by[p.parent]
		path = append(path, p.name)
	}
	slices.Reverse(path)
	c := Change{What: what, Template: path[0], Detail: detail}
	if len(path) > 1 {
		c.Field = strings.Join(path[1:], " ")
	}
	return c
}
