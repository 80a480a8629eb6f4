package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func sqliteDialect() *dialect {
	return &dialect{
		name: "sqlite", goose: goose.DialectSQLite3, alone: true, begin: "BEGIN IMMEDIATE", most: 64,
		rewrite:  failing,
		insert:   insertValues,
		list:     listOf,
		accepted: acceptedRow, chunk: 1,
		upsert:      onConflict,
		recount:     recountSQL,
		due:         "template_no = ? AND state IN (2, 3)",
		live:        liveApart,
		leased:      "state = 4 AND lease_until <= ?",
		expires:     "state < 4 AND expires_at <= ?",
		rest:        "state NOT BETWEEN 4 AND 6 AND state = ?",
		dueDelivery: "webhook_no = ? AND state = 1",
		folded:      "folded",
		hasTag:      "EXISTS (SELECT 1 FROM json_each(m.options, '$.t') j WHERE j.value = json_extract(?, '$'))",
		purge:       purgeBySelect,
		addSpent:    addSpent, addStats: addStats, unlist: unlistBySelect,
		duplicate: func(err error) bool {
			var e *sqlite.Error
			return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
		},
	}
}

// acceptedRow writes one result: for several SQLite would make two tables, of the rows and
// of what becomes of them.
func acceptedRow(owner int64, rows [][]any) (string, []any) {
	r := rows[0]
	seq, attempt, need, msgid, started, ended := r[0], r[1], r[2], r[3], r[4], r[5]
	return `/* ledger.recordAccepted */ ` + pastJournal + `UPDATE messages SET state = 5, reason = '', class = 'ok', errcode = 0, errmsg = NULL, msgid = NULLIF(?, 0), started_at = ?, ended_at = ?, updated_at = ?
		WHERE seq = ? AND state + 0 = 4 AND owner = ? AND attempt = ? AND reserved >= ?`, []any{msgid, started, ended, ended, seq, owner, attempt, need}
}

// failing makes a statement that fails leave what it did so far to the rollback of its
// transaction, which follows every failure. Else SQLite copies each page before a statement
// of several rows first touches it.
func failing(query string) string {
	query = strings.Replace(query, "*/ INSERT INTO", "*/ INSERT OR FAIL INTO", 1)
	return strings.Replace(query, "*/ UPDATE ", "*/ UPDATE OR FAIL ", 1)
}

// walPages is how large the log grows before its pages go home to the database file: the
// fewer times, the more of them have been written over meanwhile.
const walPages = 20_000

// worthWAL is from how many bytes on a database, or its log, is in such use that the log
// gets its full size.
const worthWAL = 4 << 20

// growWAL gives the log of a database that is in use its size beforehand: syncing a file
// that has grown costs more than syncing what was written into it. Zeros at its end are no
// frames to SQLite, as long as nobody writes some meanwhile. A disk that has no room for it
// does without. It answers whether that is settled.
func growWAL(path string) (settled bool, err error) {
	var db, wal int64
	for name, size := range map[string]*int64{path: &db, path + "-wal": &wal} {
		info, err := os.Stat(name)
		if err != nil {
			return false, fmt.Errorf("grow the write-ahead log: %w", err)
		}
		*size = info.Size()
	}
	const full = walPages * (4096 + 24)
	if max(db, wal) < worthWAL {
		return false, nil
	}
	f, err := os.OpenFile(path+"-wal", os.O_WRONLY, 0)
	if err != nil {
		return false, fmt.Errorf("grow the write-ahead log: %w", err)
	}
	defer f.Close()
	for at, zeros := wal, make([]byte, 1<<20); at < full; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return true, f.Truncate(wal)
		}
	}
	return true, f.Sync()
}

// openSQLite opens the file for the one writer or for the pool of readers. Every commit
// is a full fsync; there is no faster mode that could lose an accepted message.
func openSQLite(path string, writer bool) (*sql.DB, error) {
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(10000)")
	q.Add("_pragma", "journal_mode(WAL)")
	q.Add("_pragma", "synchronous(FULL)")
	q.Add("_pragma", fmt.Sprintf("wal_autocheckpoint(%d)", walPages))
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
