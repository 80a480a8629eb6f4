package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type templatesCmd struct {
	List     templatesListCmd     `cmd:"" help:"List the templates."`
	Get      templatesGetCmd      `cmd:"" help:"Show a template and what its fields take."`
	Sync     templatesSyncCmd     `cmd:"" help:"Read the template list from WeChat, whose daily quota for it is tiny."`
	Add      templatesAddCmd      `cmd:"" help:"Add a template from WeChat's library."`
	Delete   templatesDeleteCmd   `cmd:"" help:"Delete a template at WeChat."`
	Alias    templatesAliasCmd    `cmd:"" help:"Name a template, so that messages can use the name."`
	Validate templatesValidateCmd `cmd:"" help:"Check data against a template without sending anything."`

	Categories templatesCategoriesCmd `cmd:"" help:"List the app's categories."`
	Titles     templatesTitlesCmd     `cmd:"" help:"List the library's titles."`
	Keywords   templatesKeywordsCmd   `cmd:"" help:"List the keywords of a title."`
}

func (p *program) templateColumns() []column[hongyan.Template] {
	return []column[hongyan.Template]{
		{"TEMPLATE_ID", func(t hongyan.Template) string { return t.TemplateID }},
		{"ALIAS", func(t hongyan.Template) string { return t.Alias }},
		{"TITLE", func(t hongyan.Template) string { return t.Title }},
		{"KIND", func(t hongyan.Template) string { return string(t.Kind) }},
		{"KEYS", func(t hongyan.Template) string {
			var keys []string
			for _, k := range t.Keywords {
				keys = append(keys, k.Key)
			}
			return strings.Join(keys, ",")
		}},
		{"SYNCED", func(t hongyan.Template) string {
			switch {
			case !t.GoneAt.IsZero():
				return p.say("gone")
			case t.Stale:
				return p.when(t.SyncedAt) + " " + p.say("(stale)")
			}
			return p.when(t.SyncedAt)
		}},
	}
}

type templatesListCmd struct {
	appFlag
	apiFlags
}

// Run implements the command.
func (c *templatesListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := api.Templates(ctx, c.App)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, p.templateColumns())
}

// templateArg names one template of an app.
type templateArg struct {
	Template string `arg:"" name:"template" help:"template_id or alias."`
	appFlag
}

type templatesGetCmd struct {
	templateArg
	apiFlags
}

// Run implements the command.
func (c *templatesGetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	t, err := api.Template(ctx, c.App, c.Template)
	if err != nil {
		return err
	}
	if c.format() != "table" {
		return printOne(p, c.outputFlags, t, nil)
	}
	if err := printOne(p, c.outputFlags, t, p.templateColumns()); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout)
	return printList(p, c.outputFlags, t.Keywords, []column[hongyan.Keyword]{
		{"KEY", func(k hongyan.Keyword) string { return k.Key }},
		{"LABEL", func(k hongyan.Keyword) string { return k.Label }},
		{"EXAMPLE", func(k hongyan.Keyword) string { return k.Example }},
		{"RULE", func(k hongyan.Keyword) string { return k.Rule.In(p.lang) + " " + strings.Join(k.Enum, " ") }},
	})
}

type templatesSyncCmd struct {
	appFlag
	apiFlags
}

// Run implements the command.
func (c *templatesSyncCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := api.SyncTemplates(ctx, c.App)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, p.templateColumns())
}

type templatesAddCmd struct {
	TID   string `arg:"" name:"tid" help:"The title's tid, from templates titles."`
	KIDs  []int  `name:"kids" own:"" required:"" help:"2 to 5 keyword ids in display order, from templates keywords."`
	Scene string `name:"scene" own:"" help:"What it is for, in at most 15 characters; reviewers and users see it."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *templatesAddCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	t, err := api.AddTemplate(ctx, c.App, client.TemplateAdd{TID: c.TID, KIDs: c.KIDs, SceneDesc: c.Scene}, client.Options{})
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, t, p.templateColumns())
}

type templatesDeleteCmd struct {
	templateArg
	apiFlags
}

// Run implements the command.
func (c *templatesDeleteCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if err := api.DeleteTemplate(ctx, c.App, c.Template); err != nil {
		return err
	}
	p.tell("Template %s is deleted at WeChat.", c.Template)
	return nil
}

type templatesAliasCmd struct {
	Template string `arg:"" name:"template" help:"template_id or alias."`
	Alias    string `arg:"" name:"alias" optional:"" help:"The name; without one the old name is taken away."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *templatesAliasCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	t, err := api.SetAlias(ctx, c.App, c.Template, c.Alias)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, t, p.templateColumns())
}

type templatesValidateCmd struct {
	templateArg
	Data       []string           `name:"data" own:"" sep:"none" placeholder:"KEY=VALUE" help:"A value of the template's data. May be repeated."`
	Fit        hongyan.Fit        `name:"fit" own:"" enum:",none,repair,truncate" default:"" placeholder:"WORD" help:"Change what does not fit: none, repair, truncate."`
	Validation hongyan.Validation `name:"validation" own:"" enum:",normal,strict" default:"" placeholder:"WORD" help:"normal, or strict to refuse doubtful data too."`
	apiFlags
}

// Run implements the command. Data that does not fit ends it like a refused message.
func (c *templatesValidateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	data, err := p.pairs("--data", c.Data)
	if err != nil {
		return err
	}
	verdict, err := api.Validate(ctx, c.App, c.Template, client.DataCheck{Data: data, Fit: c.Fit, Validation: c.Validation})
	if err != nil {
		return err
	}
	if err := p.printVerdict(c.outputFlags, verdict); err != nil {
		return err
	}
	if !verdict.Valid {
		return hongyan.Errorf(hongyan.CodeInvalidData, "%s", hongyan.LookupCode(hongyan.CodeInvalidData).Title.EN)
	}
	return nil
}

func (p *program) printVerdict(o outputFlags, v client.DataVerdict) error {
	if o.format() != "table" {
		return printOne(p, o, v, nil)
	}
	if v.Valid && len(v.Faults) == 0 {
		p.tell("The data fits the template.")
	}
	if len(v.Faults) == 0 {
		return nil
	}
	return p.printFaults(v.Faults)
}

type templatesCategoriesCmd struct {
	appFlag
	apiFlags
}

// Run implements the command.
func (c *templatesCategoriesCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := api.Categories(ctx, c.App)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, []column[client.Category]{
		{"ID", func(v client.Category) string { return strconv.Itoa(v.ID) }},
		{"NAME", func(v client.Category) string { return v.Name }},
	})
}

type templatesTitlesCmd struct {
	Categories []int `arg:"" name:"category" help:"Category ids, from templates categories."`
	Start      int   `name:"start" own:"" help:"How many titles to leave out at the beginning."`
	Limit      int   `name:"limit" own:"" default:"30" help:"Most titles to print, 1 to 30."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *templatesTitlesCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, total, err := api.Titles(ctx, c.App, c.Categories, c.Start, c.Limit)
	if err != nil {
		return err
	}
	if next := c.Start + len(list); next < total {
		p.tell("%d titles in all; go on with --start %d.", total, next)
	}
	return printList(p, c.outputFlags, list, []column[client.LibraryTitle]{
		{"TID", func(t client.LibraryTitle) string { return t.TID }},
		{"TITLE", func(t client.LibraryTitle) string { return t.Title }},
		{"KIND", func(t client.LibraryTitle) string { return string(t.Kind) }},
		{"CATEGORY", func(t client.LibraryTitle) string { return t.CategoryID }},
	})
}

type templatesKeywordsCmd struct {
	TID string `arg:"" name:"tid" help:"The title's tid, from templates titles."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *templatesKeywordsCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := api.Keywords(ctx, c.App, c.TID)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, []column[client.LibraryKeyword]{
		{"KID", func(k client.LibraryKeyword) string { return strconv.Itoa(k.KID) }},
		{"NAME", func(k client.LibraryKeyword) string { return k.Name }},
		{"TYPE", func(k client.LibraryKeyword) string { return k.Type }},
		{"EXAMPLE", func(k client.LibraryKeyword) string { return k.Example }},
	})
}
