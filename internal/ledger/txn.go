package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger/schema"
)

// conns is how many connections this process has to a shared database; of them, writers
// run transactions. More would only wait for each other's locks.
const (
	conns   = 16
	writers = 8
)

// txnTime bounds a transaction on a shared database, whose network may be gone.
const txnTime = 10 * time.Second

// openDB opens the database for writing (SQLite: the one writer) and for reading.
func openDB(d *dialect, source string) (w, r *sql.DB, err error) {
	switch d.name {
	case "sqlite":
		if w, err = openSQLite(source, true); err != nil {
			return nil, nil, err
		}
		r, err = openSQLite(source, false)
	case "postgres":
		w, err = openPostgres(source, conns)
		r = w
	default:
		w, err = openMySQL(source, conns)
		r = w
	}
	return w, r, err
}

// reader runs statements outside transactions.
type reader struct {
	db    *sql.DB
	texts *texts
}

func (r *reader) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return r.db.QueryContext(ctx, r.texts.of(q), args...)
}

func (r *reader) QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row {
	return r.db.QueryRowContext(ctx, r.texts.of(q), args...)
}

// session is one connection of a writer with its prepared statements: preparing costs more
// than running most of them.
type session struct {
	texts   *texts
	conn    *sql.Conn
	prepare bool
	stmts   map[string]*sql.Stmt
}

// maxStmts bounds what a connection keeps prepared.
const maxStmts = 400

func (s *session) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := s.stmts[query]; st != nil {
		return st, nil
	}
	if len(s.stmts) >= maxStmts {
		s.forget()
	}
	st, err := s.conn.PrepareContext(ctx, s.texts.of(query))
	if err != nil {
		return nil, err
	}
	if s.stmts == nil {
		s.stmts = make(map[string]*sql.Stmt)
	}
	s.stmts[query] = st
	return st, nil
}

func (s *session) forget() {
	for _, st := range s.stmts {
		_ = st.Close()
	}
	clear(s.stmts)
}

func (s *session) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if !s.prepare {
		return s.conn.ExecContext(ctx, s.texts.of(query), args...)
	}
	st, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, args...)
}

func (s *session) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if !s.prepare {
		return s.conn.QueryContext(ctx, s.texts.of(query), args...)
	}
	st, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

func (s *session) close() {
	s.forget()
	_ = s.conn.Close()
}

// sessions are the writers' connections: those that are free wait in the channel.
type sessions struct {
	db   *sql.DB
	d    *dialect
	free chan *session // nil stands for one that is not connected
}

func newSessions(db *sql.DB, d *dialect) *sessions {
	n := writers
	if d.alone {
		n = 1
	}
	p := &sessions{db: db, d: d, free: make(chan *session, n)}
	for range n {
		p.free <- nil
	}
	return p
}

func (p *sessions) take(ctx context.Context, x *texts) (*session, error) {
	select {
	case s := <-p.free:
		if s != nil {
			return s, nil
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := p.db.Conn(ctx)
	if err == nil && p.d.name == "mysql" {
		if _, err = conn.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"); err != nil {
			_ = conn.Close()
		}
	}
	if err != nil {
		p.free <- nil
		return nil, err
	}
	return &session{texts: x, conn: conn, prepare: p.d.prepare}, nil
}

// put gives a session back. One whose transaction may still be open is not used again.
func (p *sessions) put(s *session, sound bool) {
	if !sound {
		s.forget()                                           // SQLite does not let go of a connection with statements
		_ = s.conn.Raw(func(any) error { return errBroken }) // so that the pool does not reuse it either
		s.close()
		s = nil
	}
	p.free <- s
}

var errBroken = fmt.Errorf("the transaction could not be ended: %w", driver.ErrBadConn)

func (p *sessions) close() {
	for range cap(p.free) {
		if s := <-p.free; s != nil {
			s.close()
		}
	}
}

// txn is a running write transaction. It remembers what must follow a commit. What runs in
// it may run again from its beginning, and may share the transaction with others, so it
// changes memory through after and undo alone.
type txn struct {
	ctx   context.Context
	l     *Ledger
	s     *session
	now   int64    // ms; one time for the whole transaction
	after []func() // runs once it is committed
	undo  []func() // runs if it is rolled back
}

func (t *txn) exec(query string, args ...any) (int64, error) {
	res, err := t.s.exec(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// row reads one row; sql.ErrNoRows if there is none.
func (t *txn) row(query string, args []any, into ...any) error {
	found := false
	err := t.rows(query, args, func(r *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(into...)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}

// rows calls scan once a row.
func (t *txn) rows(query string, args []any, scan func(*sql.Rows) error) error {
	rs, err := t.s.query(t.ctx, query, args...)
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

// errCommit is in the error of a transaction whose commit was not answered: it may have
// happened all the same.
var errCommit = errors.New("commit")

// write runs f in one transaction, commits it and then runs what f left in after.
func (l *Ledger) write(ctx context.Context, what string, f func(*txn) error) error {
	l.vocabulary.RLock()
	defer l.vocabulary.RUnlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return l.transact(ctx, what, f)
}

// change is a write that apps, templates, pauses or keys are changed by. Until memory knows
// of it too, no other transaction runs: each sees the vocabulary as it was committed.
func (l *Ledger) change(ctx context.Context, what string, f func(*txn) error) error {
	l.vocabulary.Lock()
	defer l.vocabulary.Unlock()
	for {
		err := l.transact(ctx, what, func(t *txn) error {
			if err := t.stamp(); err != nil {
				return err
			}
			return f(t)
		})
		if err != nil && !errors.Is(err, errOutdated) {
			return err
		}
		// What is committed counts, so the caller's patience no longer matters.
		if again := l.reload(context.WithoutCancel(ctx)); again != nil || err == nil {
			return again
		}
	}
}

// turns are transactions that wait for the one writer. They share one commit, and so one
// fsync, which costs more than most of what they do.
type turns struct {
	mu     sync.Mutex // the queue
	queue  []*turn
	writer sync.Mutex // whoever holds it runs transactions
	// submitted is when a transaction of submits ended, unix ns; arrived wakes results that
	// wait for the next one.
	submitted atomic.Int64
	arrived   chan struct{}
}

// shareTime is how long results may wait for submits to share a commit with. Under load
// the two would take turns otherwise, each paying for an fsync of its own.
const shareTime = time.Millisecond

// share waits for the submits that are about to come.
func (q *turns) share() {
	if time.Since(time.Unix(0, q.submitted.Load())) > 2*shareTime {
		return
	}
	end := time.NewTimer(shareTime)
	defer end.Stop()
	select {
	case <-q.arrived:
	case <-end.C:
	}
}

type turn struct {
	what string
	rank rank
	f    func(*txn) error
	err  error
	done bool // with the writer's mutex held
}

// rank is the order of those that share a transaction: results free places and grants that
// submits in the same transaction can use.
type rank int

const (
	rankResults rank = iota
	rankClaims
	rankSubmits
)

// together is write for the parts that run all the time and hardly ever fail: where one
// connection writes, those that wait for it share a transaction.
func (l *Ledger) together(ctx context.Context, r rank, what string, f func(*txn) error) error {
	if !l.d.alone {
		return l.write(ctx, what, f)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	l.vocabulary.RLock()
	defer l.vocabulary.RUnlock()
	mine := &turn{what: what, rank: r, f: f}
	switch r {
	case rankResults:
		l.turns.share()
	case rankSubmits:
		defer func() { l.turns.submitted.Store(time.Now().UnixNano()) }()
		select {
		case l.turns.arrived <- struct{}{}:
		default:
		}
	}
	l.turns.mu.Lock()
	l.turns.queue = append(l.turns.queue, mine)
	l.turns.mu.Unlock()
	l.turns.writer.Lock()
	defer l.turns.writer.Unlock()
	if mine.done {
		return mine.err
	}
	l.turns.mu.Lock()
	batch := l.turns.queue
	l.turns.queue = nil
	l.turns.mu.Unlock()
	slices.SortStableFunc(batch, func(x, y *turn) int { return int(x.rank - y.rank) })
	fs := make([]func(*txn) error, len(batch))
	for i, x := range batch {
		fs[i] = x.f
	}
	err := l.once(context.WithoutCancel(ctx), "write", fs...)
	for _, x := range batch {
		x.done, x.err = true, err
		if err != nil && len(batch) > 1 && !errors.Is(err, errBegin) {
			x.err = l.once(context.WithoutCancel(ctx), x.what, x.f)
		}
	}
	return mine.err
}

// transact runs f, again if it fell victim to another transaction.
func (l *Ledger) transact(ctx context.Context, what string, f func(*txn) error) error {
	if l.d.alone {
		l.turns.writer.Lock()
		defer l.turns.writer.Unlock()
		// A statement that is cut off in the middle saves nothing, and costs a goroutine each.
		return l.once(context.WithoutCancel(ctx), what, f)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), txnTime)
	defer cancel()
	for try := 1; ; try++ {
		err := l.once(ctx, what, f)
		if err == nil || try == maxTries || !l.mayRunAgain(err) {
			return err
		}
		l.again.Add(1)
		time.Sleep(time.Duration(rand.Int64N(int64(try) * int64(5*time.Millisecond))))
	}
}

// maxTries is how often a transaction runs that deadlocks with others.
const maxTries = 20

// once runs fs in one transaction; each has its own memory of what follows.
func (l *Ledger) once(ctx context.Context, what string, fs ...func(*txn) error) (err error) {
	s, err := l.sessions.take(ctx, l.texts)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, errBegin, err)
	}
	sound := true
	defer func() { l.sessions.put(s, sound) }()
	if _, err := s.exec(ctx, l.d.begin); err != nil {
		sound = l.d.alone
		return fmt.Errorf("%s: %w: %w", what, errBegin, err)
	}
	now := ms(l.Now())
	ts := make([]*txn, 0, len(fs))
	for _, f := range fs {
		t := &txn{ctx: ctx, l: l, s: s, now: now}
		ts = append(ts, t)
		if err = f(t); err != nil {
			break
		}
	}
	if err == nil {
		if _, err = s.exec(ctx, "COMMIT"); err != nil {
			err = fmt.Errorf("%w: %w", errCommit, err)
		}
	}
	if err != nil {
		if _, rerr := s.exec(ctx, "ROLLBACK"); rerr != nil {
			// SQLite ends some transactions by itself; elsewhere the connection is done for.
			sound = l.d.alone
		}
		for _, t := range ts {
			t.undoTo(mark{})
		}
		if hongyan.CodeOf(err) != hongyan.CodeInternal {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, t := range ts {
		for _, f := range t.after {
			f()
		}
	}
	return nil
}

// apart runs f in a transaction of its own beside the one that is running.
func (l *Ledger) apart(ctx context.Context, f func(*txn) error) (err error) {
	conn, err := l.rdb.db.Conn(ctx)
	if err != nil {
		return err
	}
	s := &session{texts: l.texts, conn: conn}
	defer s.close()
	if _, err = s.exec(ctx, l.d.begin); err != nil {
		return err
	}
	if err = f(&txn{ctx: ctx, l: l, s: s}); err == nil {
		_, err = s.exec(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = s.exec(ctx, "ROLLBACK")
	}
	return err
}

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
	b := s.m[name]
	if b == nil || b.next == b.end {
		var err error
		if b, err = t.nextBlock(name); err != nil {
			return 0, err
		}
		if s.m == nil {
			s.m = make(map[string]*block)
		}
		s.m[name] = b
		t.undo = append(t.undo, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.m[name] == b { // another transaction may have taken the next one since
				delete(s.m, name)
			}
		})
	}
	v := b.next
	b.next++
	return v, nil
}

// nextBlock takes keys for this process. Where several transactions run at once, one that
// fails must not take back a block that another is using by then, so it has its own.
func (t *txn) nextBlock(name string) (b *block, err error) {
	if !t.l.d.alone {
		err = t.l.apart(t.ctx, func(apart *txn) error {
			b, err = apart.takeBlock(name)
			return err
		})
		return b, err
	}
	return t.takeBlock(name)
}

func (t *txn) takeBlock(name string) (*block, error) {
	if _, err := t.exec(`/* ledger.nextNo */ INSERT INTO sequences (name, next) VALUES (?, 1) ON CONFLICT (name) DO NOTHING`, name); err != nil {
		return nil, err
	}
	if _, err := t.exec(`/* ledger.nextNo */ UPDATE sequences SET next = next + ? WHERE name = ?`, seqBlock, name); err != nil {
		return nil, err
	}
	var end int64
	err := t.row(`/* ledger.nextNo */ SELECT next FROM sequences WHERE name = ?`, []any{name}, &end)
	return &block{next: end - seqBlock, end: end}, err
}

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
