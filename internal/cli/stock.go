package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hongyan-push/hongyan"
)

type grantsImportCmd struct {
	File   string `arg:"" name:"file" type:"path" help:"CSV with a header (openid,template,count,exact) or JSON lines of the same; a dash is standard input."`
	Reason string `name:"reason" own:"" default:"import" help:"Where the counts come from; the history shows it."`
	appFlag
	apiFlags
}

// Run implements the command. The whole file is read and checked before the first part is
// sent; each part is stored whole or not at all, and importing again changes nothing.
func (c *grantsImportCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	var in io.Reader = p.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return p.usage(err.Error(), "")
		}
		defer f.Close()
		in = f
	}
	file, err := p.readImport(in)
	if err != nil {
		return err
	}
	items, lines := file.items, file.lines
	var done []hongyan.Subscription
	for len(items) > 0 {
		n := min(len(items), hongyan.MaxStockItems)
		part, err := api.ImportGrants(ctx, c.App, items[:n], c.Reason)
		if err != nil {
			p.tell("%d lines are imported; those from line %d on are not. Correct the file and import it again: what is there already stays as it is.", len(done), lines[0])
			return p.atLine(err, lines)
		}
		done = append(done, part...)
		items, lines = items[n:], lines[n:]
	}
	p.tell("%d lines are imported.", len(done))
	if c.format() == "table" {
		return nil
	}
	return printList(p, c.outputFlags, done, p.grantColumns())
}

// atLine names the line of the file in what the server says of an item.
func (p *program) atLine(err error, lines []int) error {
	var e *hongyan.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return err
	}
	var item int
	if _, scan := fmt.Sscanf(e.Fields[0].Pointer, "/items/%d/", &item); scan != nil || item >= len(lines) {
		return err
	}
	moved := *e
	moved.Message = p.say("line %d: %s", lines[item], e.Message)
	return &moved
}

type grantsQueryCmd struct {
	OpenIDs  []hongyan.OpenID `arg:"" name:"openids" help:"Up to 1,000 openids."`
	Template string           `name:"template" own:"" help:"Only this template, by id or alias."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *grantsQueryCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	subs, err := api.QueryGrants(ctx, c.App, c.OpenIDs, c.Template)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, subs, p.grantColumns())
}

type grantsExplainCmd struct {
	grantArgs
	apiFlags
}

// Run implements the command.
func (c *grantsExplainCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	e, err := api.ExplainGrant(ctx, c.App, c.OpenID, c.Template)
	if err != nil {
		return err
	}
	if c.format() != "table" {
		return printOne(p, c.outputFlags, e, nil)
	}
	for _, r := range e.Reasons {
		when := ""
		if !r.At.IsZero() {
			when = p.when(r.At) + "  "
		}
		fmt.Fprintf(p.stdout, "%s%s\n", when, r.Text.In(p.lang))
	}
	fmt.Fprintf(p.stdout, "→ %s\n", e.Next.In(p.lang))
	return nil
}

type usersExportCmd struct {
	OpenID hongyan.OpenID `arg:"" name:"openid" help:"The user's openid in this app."`
	appFlag
	apiFlags
}

// Run implements the command. It is JSON in every form: there is no table of everything.
func (c *usersExportCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	out, err := api.ExportUser(ctx, c.App, c.OpenID)
	if err != nil {
		return err
	}
	e := json.NewEncoder(p.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

type usersEraseCmd struct {
	OpenID hongyan.OpenID `arg:"" name:"openid" help:"The user's openid in this app."`
	Yes    bool           `name:"yes" own:"" help:"Really erase: it cannot be undone."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *usersEraseCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if !c.Yes {
		return p.usage(p.say("erasing a user cannot be undone"), p.say("Export the user first if you need to (hongyan users export), then give --yes."))
	}
	if err := api.EraseUser(ctx, c.App, c.OpenID); err != nil {
		return err
	}
	p.tell("The user is erased: messages that waited are canceled, and nothing is sent to this openid any more.")
	return nil
}
