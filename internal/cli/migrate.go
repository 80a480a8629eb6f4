package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// migrateCmd does what the start of a server does to the schema, and nothing else.
type migrateCmd struct {
	settings
	Check bool `name:"check" own:"" help:"Only tell what would be done."`
	outputFlags
}

// migration is what was done, or would be.
type migration struct {
	Database string `json:"database"`
	From     int64  `json:"from"` // 0: there is no database yet
	To       int64  `json:"to"`
	Pending  bool   `json:"pending"` // it was only checked, and something is to be done
}

// Run implements the command.
func (c *migrateCmd) Run(ctx context.Context, p *program) error {
	cfg, err := c.load(p)
	if err != nil {
		return err
	}
	m := migration{Database: config.WithoutPassword(cfg.Database())}
	if m.From, m.To, err = ledger.SchemaVersion(ctx, cfg.Database()); err != nil {
		return err
	}
	if c.Check {
		m.Pending = m.From < m.To
		return p.printMigration(c.outputFlags, m)
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	l, err := openLedger(ctx, cfg)
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	return p.printMigration(c.outputFlags, m)
}

func (p *program) printMigration(o outputFlags, m migration) error {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	err := printOne(p, o, m, []column[migration]{
		{"DATABASE", func(m migration) string { return m.Database }},
		{"FROM VERSION", func(m migration) string { return number(m.From) }},
		{"TO VERSION", func(m migration) string { return number(m.To) }},
	})
	switch {
	case err != nil:
		return err
	case m.From > m.To:
		return &fault{exit: exitFailure, text: p.say("the database has a newer schema than this program knows"),
			hint: p.say("Use the newer program, or restore a backup made before the upgrade.")}
	case m.Pending:
		p.tell("`hongyan migrate` or the next start of the server brings the schema up to date. Make a backup first.")
	case m.From == m.To:
		p.tell("The schema is up to date.")
	default:
		p.tell("The schema was brought from version %d to %d.", m.From, m.To)
	}
	return nil
}
