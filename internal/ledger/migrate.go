package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pressly/goose/v3"

	"github.com/hongyan-push/hongyan/internal/ledger/schema"
)

// migrations reads a database's schema version, and the newest that this program has.
func migrations(ctx context.Context, d *dialect, db *sql.DB) (p *goose.Provider, have, newest int64, err error) {
	dir, err := fs.Sub(schema.FS, d.name)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("migrations: %w", err)
	}
	if p, err = goose.NewProvider(d.goose, db, dir); err != nil {
		return nil, 0, 0, fmt.Errorf("migrations: %w", err)
	}
	if have, err = p.GetDBVersion(ctx); err != nil {
		return nil, 0, 0, fmt.Errorf("read schema version: %w", err)
	}
	sources := p.ListSources()
	return p, have, sources[len(sources)-1].Version, nil
}

// SchemaVersion tells the version of the schema in a database (0: there is none yet) and the
// newest that this program knows. It works beside a running server and changes nothing, but
// that an empty shared database gets the table of versions.
func SchemaVersion(ctx context.Context, db string) (have, newest int64, err error) {
	d, source, err := dialectOf(db)
	if err != nil {
		return 0, 0, err
	}
	if d.alone {
		if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
			source = ":memory:"
		}
	}
	w, r, err := openDB(d, source)
	if err != nil {
		return 0, 0, err
	}
	defer w.Close()
	defer r.Close()
	if source == ":memory:" {
		r = w
	}
	_, have, newest, err = migrations(ctx, d, r)
	return have, newest, err
}

// migrateUp brings the schema to this binary's version; a newer schema stops the start.
// Of several replicas that start at once, one migrates and the others wait for it.
func migrateUp(ctx context.Context, d *dialect, db *sql.DB) error {
	if d.guard != "" {
		conn, err := db.Conn(ctx)
		if err != nil {
			return fmt.Errorf("connect to the database: %w", err)
		}
		defer conn.Close()
		var got int
		if err := conn.QueryRowContext(ctx, d.guard).Scan(&got); err != nil || got != 1 {
			return fmt.Errorf("another replica's migration has not ended: %w", errors.Join(err, ctx.Err()))
		}
		defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), d.unguard) }()
	}
	p, have, newest, err := migrations(ctx, d, db)
	if err != nil {
		return err
	}
	if have > newest {
		return fmt.Errorf("the database has schema version %d, this program knows %d: start the newer program, or restore a backup made before the upgrade", have, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
