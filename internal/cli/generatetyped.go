package cli

import (
	"bytes"
	"context"
	"errors"
	"os"

	"github.com/hongyan-push/hongyan/internal/typed"
)

// typedFlags are those of `generate go` and `generate ts`.
type typedFlags struct {
	Out   string `name:"out" own:"" type:"path" xor:"file" placeholder:"FILE" help:"File to write; by default it goes to standard output."`
	Check string `name:"check" own:"" type:"path" xor:"file" placeholder:"FILE" help:"Write nothing; say what of this file is out of date, and fail if anything is."`
	appFlag
	apiFlags
}

type generateGoCmd struct {
	Package string `name:"package" own:"" default:"templates" placeholder:"NAME" help:"Name of the Go package."`
	typedFlags
}

// Run implements the command.
func (c *generateGoCmd) Run(ctx context.Context, p *program) error {
	if !typed.PackageName(c.Package) {
		return p.usage(p.say("--package: %q is no name of a Go package", c.Package), "")
	}
	return c.run(ctx, p, func(s *typed.Set) ([]byte, error) { return s.Go(c.Package) })
}

type generateTSCmd struct {
	typedFlags
}

// Run implements the command.
func (c *generateTSCmd) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, func(s *typed.Set) ([]byte, error) { return s.TypeScript(), nil })
}

func (c *typedFlags) run(ctx context.Context, p *program, write func(*typed.Set) ([]byte, error)) error {
	was, err := c.checked(p)
	if err != nil {
		return err
	}
	set, err := c.templates(ctx, p)
	if err != nil {
		return err
	}
	file, err := write(set)
	switch {
	case err != nil:
		return err
	case c.Check != "":
		return c.compare(p, was, file)
	case c.Out == "":
		_, err = p.stdout.Write(file)
	default:
		if err = os.WriteFile(c.Out, file, 0o644); err == nil {
			p.tell("Wrote %s", c.Out)
		}
	}
	return err
}

func (c *typedFlags) templates(ctx context.Context, p *program) (*typed.Set, error) {
	api, err := c.connect(p)
	if err != nil {
		return nil, err
	}
	list, err := api.Templates(ctx, c.App)
	if err != nil {
		return nil, err
	}
	set, err := typed.New(c.App, list)
	var clash *typed.Clash
	if errors.As(err, &clash) {
		return nil, &fault{exit: exitConflict, text: p.say("the templates %s and %s would both be called %s", clash.IDs[0], clash.IDs[1], clash.Name),
			hint: p.say("Give the newer one a name of its own with `hongyan templates alias`.")}
	}
	if err != nil {
		return nil, err
	}
	for _, t := range set.LeftOut {
		if t.GoneAt.IsZero() {
			p.tell("Left out %s %s: its fields are not known; run `hongyan templates sync`.", t.TemplateID, t.Title)
		}
	}
	return set, nil
}

// checked reads the file of --check.
func (c *typedFlags) checked(p *program) ([]byte, error) {
	if c.Check == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.Check)
	if err != nil {
		return nil, p.usage("--check: "+err.Error(), p.say("Write the file with --out first."))
	}
	return b, nil
}

// compare is --check.
func (c *typedFlags) compare(p *program, was, now []byte) error {
	if bytes.Equal(was, now) {
		p.tell("%s is up to date.", c.Check)
		return nil
	}
	changes := typed.Changes(was, now)
	if len(changes) > 0 || c.format() != "table" {
		if err := printList(p, c.outputFlags, changes, changeColumns(p)); err != nil {
			return err
		}
	}
	text := p.say("%s is out of date", c.Check)
	if len(changes) == 0 {
		text = p.say("%s was changed by hand, or written by another version or with another --package", c.Check)
	}
	return &fault{exit: exitFailure, text: text, hint: p.say("Write it anew with --out %s.", c.Check)}
}

func changeColumns(p *program) []column[typed.Change] {
	words := map[string]string{typed.Added: p.say("added"), typed.Gone: p.say("gone"), typed.Renamed: p.say("renamed"), typed.Changed: p.say("changed")}
	return []column[typed.Change]{
		{"CHANGE", func(c typed.Change) string { return words[c.What] }},
		{"TEMPLATE", func(c typed.Change) string { return c.Template }},
		{"FIELD", func(c typed.Change) string { return c.Field }},
		{"DETAIL", func(c typed.Change) string { return c.Detail }},
	}
}
