package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger/schema"
)

// openSQLite opens the file for the one writer or for the pool of readers. Every commit
// is a full fsync; there is no faster mode that could lose an accepted message.
func openSQLite(path string, writer bool) (*sql.DB, error) {
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(10000)")
	q.Add("_pragma", "journal_mode(WAL)")
	q.Add("_pragma", "synchronous(FULL)")
	q.Add("_pragma", "wal_autocheckpoint(20000)")
	q.Add("_pragma", "cache_size(-65536)")
	if writer {
		q.Add("_txlock", "immediate")
	} else {
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

// migrations reads a database's schema version, and the newest that this program has.
func migrations(ctx context.Context, db *sql.DB) (p *goose.Provider, have, newest int64, err error) {
	dir, err := fs.Sub(schema.FS, "sqlite")
	if err != nil {
		return nil, 0, 0, fmt.Errorf("migrations: %w", err)
	}
	if p, err = goose.NewProvider(goose.DialectSQLite3, db, dir); err != nil {
		return nil, 0, 0, fmt.Errorf("migrations: %w", err)
	}
	if have, err = p.GetDBVersion(ctx); err != nil {
		return nil, 0, 0, fmt.Errorf("read schema version: %w", err)
	}
	sources := p.ListSources()
	return p, have, sources[len(sources)-1].Version, nil
}

// SchemaVersion tells the version of the schema in a file (0: there is no file yet) and the
// newest that this program knows. It changes nothing and works beside a running server.
func SchemaVersion(ctx context.Context, path string) (have, newest int64, err error) {
	file := path
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		file = ":memory:"
	}
	db, err := openSQLite(file, file == ":memory:")
	if err != nil {
		return 0, 0, err
	}
	_, have, newest, err = migrations(ctx, db)
	return have, newest, errors.Join(err, db.Close())
}

// migrateUp brings the schema to this binary's version; a newer schema stops the start.
func migrateUp(ctx context.Context, db *sql.DB) error {
	p, have, newest, err := migrations(ctx, db)
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

// isDuplicate reports whether err is a broken unique key.
func isDuplicate(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

// stmtCache keeps prepared statements of the writer; preparing costs more than running most of them.
type stmtCache struct {
	mu sync.Mutex
	db *sql.DB
	m  map[string]*sql.Stmt
}

func (c *stmtCache) init(db *sql.DB) { c.db, c.m = db, make(map[string]*sql.Stmt) }

// take hands the statement to a transaction that already holds the writer's connection;
// preparing on the pool there would wait for that same connection for ever, so an unknown
// statement is prepared in the transaction and remembered as text for warm.
func (c *stmtCache) take(ctx context.Context, tx *sql.Tx, query string) (*sql.Stmt, func(), error) {
	c.mu.Lock()
	s, ok := c.m[query]
	if !ok {
		c.m[query] = nil
	}
	c.mu.Unlock()
	if s != nil {
		return tx.StmtContext(ctx, s), func() {}, nil
	}
	st, err := tx.PrepareContext(ctx, query)
	if err != nil {
		return nil, nil, err
	}
	return st, func() { _ = st.Close() }, nil
}

// warm prepares the statements that transactions have asked for.
func (c *stmtCache) warm(ctx context.Context) {
	c.mu.Lock()
	var missing []string
	for q, s := range c.m {
		if s == nil {
			missing = append(missing, q)
		}
	}
	c.mu.Unlock()
	for _, q := range missing {
		s, err := c.db.PrepareContext(ctx, q)
		if err != nil {
			continue // the transaction that needs it will say why
		}
		c.mu.Lock()
		c.m[q] = s
		c.mu.Unlock()
	}
}

func (c *stmtCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.m {
		if s != nil {
			_ = s.Close()
		}
	}
	c.m = make(map[string]*sql.Stmt)
}

// txn is a running write transaction. It remembers what must follow a commit.
type txn struct {
	ctx   context.Context
	l     *Ledger
	tx    *sql.Tx
	now   int64    // ms; one time for the whole transaction
	after []func() // runs once it is committed
	undo  []func() // runs if it is rolled back
}

func (t *txn) exec(query string, args ...any) (int64, error) {
	st, done, err := t.l.stmts.take(t.ctx, t.tx, query)
	if err != nil {
		return 0, err
	}
	defer done()
	res, err := st.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t *txn) row(query string, args []any, into ...any) error {
	st, done, err := t.l.stmts.take(t.ctx, t.tx, query)
	if err != nil {
		return err
	}
	defer done()
	return st.QueryRowContext(t.ctx, args...).Scan(into...)
}

// rows calls scan once a row.
func (t *txn) rows(query string, args []any, scan func(*sql.Rows) error) error {
	st, done, err := t.l.stmts.take(t.ctx, t.tx, query)
	if err != nil {
		return err
	}
	defer done()
	rs, err := st.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	return eachRow(rs, scan)
}

func eachRow(rs *sql.Rows, scan func(*sql.Rows) error) error {
	defer rs.Close()
	for rs.Next() {
		if err := scan(rs); err != nil {
			return err
		}
	}
	return rs.Err()
}

// errBegin is in the error of a transaction that could not begin: nothing in it was at fault,
// so trying its parts one by one would only wait as often.
var errBegin = errors.New("begin")

// write runs f in one transaction, commits it and then runs what f left in after.
func (l *Ledger) write(ctx context.Context, what string, f func(*txn) error) error {
	l.vocabulary.RLock()
	defer l.vocabulary.RUnlock()
	return l.transact(ctx, what, f)
}

// change is a write that apps, templates, pauses or keys are changed by. Until memory knows
// of it too, no other transaction runs: each sees the vocabulary as it was committed.
func (l *Ledger) change(ctx context.Context, what string, f func(*txn) error) error {
	l.vocabulary.Lock()
	defer l.vocabulary.Unlock()
	if err := l.transact(ctx, what, f); err != nil {
		return err
	}
	// It is committed, so the caller's patience no longer matters.
	return l.reload(context.WithoutCancel(ctx))
}

func (l *Ledger) transact(ctx context.Context, what string, f func(*txn) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, errBegin, err)
	}
	t := &txn{ctx: ctx, l: l, tx: tx, now: ms(l.now())}
	if err := f(t); err != nil {
		_ = tx.Rollback()
		t.rolledBack()
		if hongyan.CodeOf(err) != hongyan.CodeInternal {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback()
		t.rolledBack()
		return fmt.Errorf("%s: commit: %w", what, err)
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

func (t *txn) rolledBack() { t.undoTo(mark{}) }

// mark is a place in a transaction to go back to.
type mark struct{ after, undo int }

// save sets a savepoint. Only one is open at a time.
func (t *txn) save() (mark, error) {
	_, err := t.exec(`SAVEPOINT hongyan`)
	return mark{len(t.after), len(t.undo)}, err
}

func (t *txn) release() error {
	_, err := t.exec(`RELEASE SAVEPOINT hongyan`)
	return err
}

// rollbackTo takes back everything since the savepoint, in memory too.
func (t *txn) rollbackTo(m mark) error {
	if _, err := t.exec(`ROLLBACK TO SAVEPOINT hongyan`); err != nil {
		return err
	}
	t.undoTo(m)
	return t.release()
}

func (t *txn) undoTo(m mark) {
	for _, f := range t.undo[m.undo:] {
		f()
	}
	t.undo, t.after = t.undo[:m.undo], t.after[:m.after]
}

// sequences hands out integer keys in blocks, so that a key costs no statement.
type sequences struct {
	mu sync.Mutex
	m  map[string]*block
}

type block struct{ next, end int64 }

const seqBlock = 10_000

// nextNo gives the next key of a table. A rollback wastes the rest of its block, which does no harm.
func (t *txn) nextNo(name string) (int64, error) {
	s := &t.l.seqs
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[string]*block)
	}
	b := s.m[name]
	if b == nil || b.next == b.end {
		if _, err := t.exec(`/* ledger.nextNo */ INSERT INTO sequences (name, next) VALUES (?, 1) ON CONFLICT (name) DO NOTHING`, name); err != nil {
			return 0, err
		}
		if _, err := t.exec(`/* ledger.nextNo */ UPDATE sequences SET next = next + ? WHERE name = ?`, seqBlock, name); err != nil {
			return 0, err
		}
		var end int64
		if err := t.row(`/* ledger.nextNo */ SELECT next FROM sequences WHERE name = ?`, []any{name}, &end); err != nil {
			return 0, err
		}
		b = &block{next: end - seqBlock, end: end}
		s.m[name] = b
		t.undo = append(t.undo, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.m, name)
		})
	}
	v := b.next
	b.next++
	return v, nil
}
