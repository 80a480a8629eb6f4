package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func sqliteDialect() *dialect {
	return &dialect{
		name: "sqlite", goose: goose.DialectSQLite3, alone: true, begin: "BEGIN IMMEDIATE", prepare: true, most: 64,
		rewrite: func(q string) string { return q },
		insert:  insertValues,
		list:    listOf,
		values: func(alias string, cols []column, rows [][]any) (string, []any) {
			as := make([]string, len(cols))
			for i, c := range cols {
				as[i] = fmt.Sprintf("column%d AS %s", i+1, c.name)
			}
			return "(SELECT " + strings.Join(as, ", ") + " FROM (VALUES " + tuples(len(rows), len(cols)) + ")) " + alias, flat(rows)
		},
		accepted: recordAccepted, chunk: 64,
		upsert:  onConflict,
		due:     "template_no = ? AND state IN (2, 3)",
		live:    liveApart,
		leased:  "state = 4 AND lease_until <= ?",
		expires: "state IN (1, 2, 3) AND expires_at <= ?",
		rest:    "state NOT IN (4, 5, 6) AND state = ?",
		hasTag:  "EXISTS (SELECT 1 FROM json_each(m.options, '$.t') j WHERE j.value = json_extract(?, '$'))",
		purge:   purgeBySelect,
		duplicate: func(err error) bool {
			var e *sqlite.Error
			return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
		},
	}
}

// openSQLite opens the file for the one writer or for the pool of readers. Every commit
// is a full fsync; there is no faster mode that could lose an accepted message.
func openSQLite(path string, writer bool) (*sql.DB, error) {
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(10000)")
	q.Add("_pragma", "journal_mode(WAL)")
	q.Add("_pragma", "synchronous(FULL)")
	q.Add("_pragma", "wal_autocheckpoint(20000)")
	q.Add("_pragma", "cache_size(-65536)")
	q.Add("_pragma", "temp_store(MEMORY)")
	if !writer {
		q.Add("_pragma", "query_only(1)")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if writer {
		db.SetMaxOpenConns(1)
	} else {
		db.SetMaxOpenConns(4)
	}
	db.SetMaxIdleConns(4)
	return db, nil
}
