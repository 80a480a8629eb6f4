package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"time"
)

// conns is how many connections this process has to a shared database; of them, writers
// run transactions. More would only wait for each other's locks.
const (
	conns   = 16
	writers = 8
)

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

// reader runs statements outside transactions. Where the driver keeps none prepared, it does:
// SQLite needs longer to read most statements than to run them.
type reader struct {
	db    *sql.DB
	texts *texts
	keep  bool
	// settle makes true what a statement is about to read.
	settle func(ctx context.Context, query string) error
	mu     sync.RWMutex
	stmts  map[string]*sql.Stmt
}

func newReader(db *sql.DB, l *Ledger) *reader {
	return &reader{db: db, texts: l.texts, keep: l.d.alone, settle: l.settle, stmts: make(map[string]*sql.Stmt)}
}

// firstRow is the first row of an answer.
type firstRow struct {
	row *sql.Row
	err error
}

func (r firstRow) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.row.Scan(into...)
}

func (r *reader) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if err := r.settle(ctx, q); err != nil {
		return nil, err
	}
	if st := r.stmt(ctx, q); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return r.db.QueryContext(ctx, r.texts.of(q), args...)
}

func (r *reader) QueryRowContext(ctx context.Context, q string, args ...any) firstRow {
	if err := r.settle(ctx, q); err != nil {
		return firstRow{err: err}
	}
	if st := r.stmt(ctx, q); st != nil {
		return firstRow{row: st.QueryRowContext(ctx, args...)}
	}
	return firstRow{row: r.db.QueryRowContext(ctx, r.texts.of(q), args...)}
}

// stmt is the prepared statement; nil if it is to run as it stands, which then says what is
// wrong with it. The first maxStmts stay: all that run often come soon, those that come late
// are made for a filter or a list of its own length.
func (r *reader) stmt(ctx context.Context, q string) *sql.Stmt {
	if !r.keep {
		return nil
	}
	r.mu.RLock()
	st, full := r.stmts[q], len(r.stmts) >= maxStmts
	r.mu.RUnlock()
	if st != nil || full {
		return st
	}
	st, err := r.db.PrepareContext(ctx, r.texts.of(q))
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.stmts[q]; other != nil || len(r.stmts) >= maxStmts {
		_ = st.Close()
		return other
	}
	r.stmts[q] = st
	return st
}

// session is one connection of a writer with its prepared statements: preparing costs more
// than running most of them.
type session struct {
	texts   *texts
	conn    *sql.Conn
	direct  *direct // past database/sql, where one connection writes
	prepare bool
	stmts   map[string]*sql.Stmt
	rested  time.Time // since when nobody uses it
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
	if s.direct != nil {
		s.direct.close()
	}
}

// exec answers how many rows the statement changed.
func (s *session) exec(ctx context.Context, query string, args ...any) (int64, error) {
	var res sql.Result
	var err error
	switch {
	case s.direct != nil:
		st, err := s.direct.stmt(ctx, query, s.texts.of)
		if err != nil {
			return 0, err
		}
		return s.direct.exec(ctx, st, args)
	case s.prepare:
		var st *sql.Stmt
		if st, err = s.stmt(ctx, query); err == nil {
			res, err = st.ExecContext(ctx, args...)
		}
	default:
		res, err = s.conn.ExecContext(ctx, s.texts.of(query), args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// rows calls scan once a row.
func (s *session) rows(ctx context.Context, query string, args []any, scan func(scanner) error) error {
	var rs *sql.Rows
	var err error
	switch {
	case s.direct != nil:
		st, err := s.direct.stmt(ctx, query, s.texts.of)
		if err != nil {
			return err
		}
		return s.direct.rows(ctx, st, args, scan)
	case s.prepare:
		var st *sql.Stmt
		if st, err = s.stmt(ctx, query); err == nil {
			rs, err = st.QueryContext(ctx, args...)
		}
	default:
		rs, err = s.conn.QueryContext(ctx, s.texts.of(query), args...)
	}
	if err != nil {
		return err
	}
	return eachRow(rs, scan)
}

func (s *session) close() {
	s.forget()
	_ = s.conn.Close()
}

// sessions are the writers' connections. The one that was used last goes first: its server
// process has its plans and the tables' newest pages at hand. The others are closed in time.
type sessions struct {
	db   *sql.DB
	d    *dialect
	free chan struct{} // one for each that may be taken
	mu   sync.Mutex
	open []*session // those that are connected and free, the newest last
}

func newSessions(db *sql.DB, d *dialect) *sessions {
	n := writers
	if d.alone {
		n = 1
	}
	p := &sessions{db: db, d: d, free: make(chan struct{}, n)}
	for range n {
		p.free <- struct{}{}
	}
	return p
}

// restMost is how long a connection to a shared database stays unused: networks and servers drop
// those that are silent for long, without a word.
const restMost = 2 * time.Minute

// oldest is a connection that has rested for too long, nil if none has.
func (p *sessions) oldest() (s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.d.alone && len(p.open) > 0 && time.Since(p.open[0].rested) > restMost {
		s, p.open = p.open[0], p.open[1:]
	}
	return s
}

// newest is the connection that was used last, nil if none is free.
func (p *sessions) newest() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.open)
	if n == 0 {
		return nil
	}
	s := p.open[n-1]
	p.open = p.open[:n-1]
	return s
}

func (p *sessions) take(ctx context.Context, x *texts) (*session, error) {
	select {
	case <-p.free:
		for s := p.oldest(); s != nil; s = p.oldest() {
			s.drop()
		}
		if s := p.newest(); s != nil {
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
		p.free <- struct{}{}
		return nil, err
	}
	s := &session{texts: x, conn: conn, prepare: p.d.prepare}
	if p.d.alone {
		if s.direct, err = newDirect(conn); err != nil {
			_ = conn.Close()
			p.free <- struct{}{}
			return nil, err
		}
	}
	return s, nil
}

// put gives a session back. One whose transaction may still be open is not used again.
func (p *sessions) put(s *session, sound bool) {
	if !sound {
		s.drop()
	} else {
		s.rested = time.Now()
		p.mu.Lock()
		p.open = append(p.open, s)
		p.mu.Unlock()
	}
	p.free <- struct{}{}
}

// drop closes a connection that nobody is to use again.
func (s *session) drop() {
	s.forget()                                         // SQLite does not let go of a connection with statements
	_ = s.conn.Raw(func(any) error { return errDrop }) // so that the pool does not reuse it either
	s.close()
}

var errDrop = fmt.Errorf("not to be used again: %w", driver.ErrBadConn)

func (p *sessions) close() {
	for range cap(p.free) {
		<-p.free
	}
	for s := p.newest(); s != nil; s = p.newest() {
		s.close()
	}
}
