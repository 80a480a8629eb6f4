package cli

import (
	"context"
)

type migrateCmd struct {
	settings
	Check bool `name:"check" twin:"-" help:"Only tell what would be done."`
	outputFlags
}

// Run implements the command.
func (c *migrateCmd) Run(ctx context.Context, p *program) error {
	return nil
}
