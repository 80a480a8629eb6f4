package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

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
	m := migration{Database: cfg.SQLitePath()}
	if m.From, err = schemaVersion(ctx, m.Database); err != nil {
		return err
	}
	if c.Check {
		if m.To, err = newestSchema(ctx); err != nil {
			return err
		}
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
	if m.To, err = schemaVersion(ctx, m.Database); err != nil {
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

// schemaVersion reads the version of a database without changing it; 0 if there is none.
// It works beside a running server, whose lock keeps [ledger.Open] out.
func schemaVersion(ctx context.Context, path string) (v int64, err error) {
	if !exists(path) {
		return 0, nil
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "_pragma=busy_timeout(10000)&_pragma=query_only(1)"}
	db, err := goose.OpenDBWithDriver("sqlite", dsn.String())
	if err != nil {
		return 0, fmt.Errorf("open database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := database.NewStore(goose.DialectSQLite3, goose.DefaultTablename)
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	if v, err = store.GetLatestVersion(ctx, db); err != nil {
		return 0, fmt.Errorf("read schema version of %s: %w", path, err)
	}
	return v, nil
}

// newestSchema is the version that a new database gets.
func newestSchema(ctx context.Context) (v int64, err error) {
	dir, err := os.MkdirTemp("", "hongyan-migrate-")
	if err != nil {
		return 0, fmt.Errorf("temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	key, err := ledger.NewMasterKey(make([]byte, 32)) // it seals nothing
	if err != nil {
		return 0, err
	}
	path := filepath.Join(dir, "hongyan.db")
	l, err := ledger.Open(ctx, ledger.Config{Path: path, MasterKey: key})
	if err != nil {
		return 0, err
	}
	if err := l.Close(); err != nil {
		return 0, err
	}
	return schemaVersion(ctx, path)
}
