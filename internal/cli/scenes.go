package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/hongyan-push/hongyan"
)

type scenesCmd struct {
	List   scenesListCmd   `cmd:"" help:"List the scenes of an app."`
	Set    scenesSetCmd    `cmd:"" help:"Make a scene or replace it."`
	Delete scenesDeleteCmd `cmd:"" help:"Delete a scene."`
}

func sceneColumns() []column[hongyan.Scene] {
	return []column[hongyan.Scene]{
		{"NAME", func(s hongyan.Scene) string { return s.Name }},
		{"TEMPLATES", func(s hongyan.Scene) string {
			words := make([]string, len(s.Templates))
			for i, t := range s.Templates {
				words[i] = fmt.Sprintf("%s=%d", t.Template, t.Wanted)
			}
			return strings.Join(words, " ")
		}},
	}
}

type scenesListCmd struct {
	appFlag
	apiFlags
}

// Run implements the command.
func (c *scenesListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	scenes, err := api.Scenes(ctx, c.App)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, scenes, sceneColumns())
}

type scenesSetCmd struct {
	Name      string   `arg:"" name:"name" help:"The scene's name: a-z 0-9 _ and -."`
	Templates []string `arg:"" name:"templates" help:"Templates by id or alias, each with =N for N grants wanted in stock (default 1)."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *scenesSetCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	s := hongyan.Scene{Name: c.Name}
	for _, word := range c.Templates {
		t := hongyan.SceneTemplate{Template: word}
		if ref, wanted, ok := strings.Cut(word, "="); ok {
			n, err := strconv.Atoi(wanted)
			if err != nil {
				return p.usage(p.say("%q does not end in a number", word), p.say("Write a template as ORDER=3: three grants are wanted in stock."))
			}
			t = hongyan.SceneTemplate{Template: ref, Wanted: n}
		}
		s.Templates = append(s.Templates, t)
	}
	s, err = api.SetScene(ctx, c.App, s)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, s, sceneColumns())
}

type scenesDeleteCmd struct {
	Name string `arg:"" name:"name" help:"The scene's name: a-z 0-9 _ and -."`
	appFlag
	apiFlags
}

// Run implements the command.
func (c *scenesDeleteCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if err := api.DeleteScene(ctx, c.App, c.Name); err != nil {
		return err
	}
	p.tell("Scene %s is deleted.", c.Name)
	return nil
}
