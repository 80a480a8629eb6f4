package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
)

// CreateScratch makes an empty database with a name of its own on the server of a
// postgres:// or mysql:// URL, for a benchmark. It answers its URL and how to drop it. The
// database that the URL names is only connected to.
func CreateScratch(ctx context.Context, at string) (scratch string, drop func(context.Context) error, err error) {
	d, source, err := dialectOf(at)
	if err != nil {
		return "", nil, err
	}
	u, err := url.Parse(at)
	if d.alone || err != nil {
		return "", nil, errors.New("the database is no postgres:// or mysql:// URL")
	}
	var b [6]byte
	_, _ = rand.Read(b[:])
	name := "hongyan_bench_" + hex.EncodeToString(b[:])
	run := func(ctx context.Context, query string) error {
		db, _, err := openDB(d, source)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, query)
		return errors.Join(err, db.Close())
	}
	if err := run(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, fmt.Errorf("create a scratch database: %w", err)
	}
	u.Path = "/" + name
	return u.String(), func(ctx context.Context) error {
		if err := run(ctx, "DROP DATABASE "+name); err != nil {
			return fmt.Errorf("drop the scratch database %s: %w", name, err)
		}
		return nil
	}, nil
}
