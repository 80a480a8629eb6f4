package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// TestReaderStatements: reads keep their statements prepared, whoever comes at once, and no
// more of them than the bound; those beyond it run all the same.
func TestReaderStatements(t *testing.T) {
	t.Parallel()
	db, err := openSQLite(filepath.Join(t.TempDir(), "hongyan.db"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := sqliteDialect()
	rd := newReader(db, &Ledger{d: d, texts: &texts{d: d}})
	read := func(want int) {
		var got int
		if err := rd.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %d", want)).Scan(&got); err != nil || got != want {
			t.Errorf("read %d, %v, want %d", got, err, want)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range maxStmts + 20 {
				read(i)
			}
		})
	}
	wg.Wait()
	if len(rd.stmts) != maxStmts || rd.stmts["SELECT 0"] == nil {
		t.Errorf("%d statements are kept, want %d and the first among them", len(rd.stmts), maxStmts)
	}
	if _, err := rd.QueryContext(t.Context(), "SELECT nonsense FROM nowhere"); err == nil {
		t.Error("a statement that cannot be prepared was not refused")
	}
}

// TestSessions: the connection that was used last goes first, and one that rested for long is closed.
func TestSessions(t *testing.T) {
	t.Parallel()
	db, err := openSQLite(filepath.Join(t.TempDir(), "hongyan.db"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := sqliteDialect()
	d.alone = false
	p := newSessions(db, d)
	take := func() *session {
		t.Helper()
		s, err := p.take(t.Context(), &texts{d: d})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, c := take(), take(), take()
	p.put(a, true)
	p.put(b, true)
	p.put(c, true)
	if s := take(); s != c {
		t.Error("another connection than the one that was used last")
	}
	p.put(c, true)
	a.rested = a.rested.Add(-2 * restMost)
	if s := take(); s != c || !errors.Is(a.conn.PingContext(t.Context()), sql.ErrConnDone) || b.conn.PingContext(t.Context()) != nil {
		t.Error("what rested for long is open, or what did not is closed")
	}
	p.put(c, false)
	if s := take(); s != b || !errors.Is(c.conn.PingContext(t.Context()), sql.ErrConnDone) {
		t.Error("a broken connection is used again")
	}
	p.put(b, true)
	p.close()
	if len(p.free) != 0 || !errors.Is(b.conn.PingContext(t.Context()), sql.ErrConnDone) {
		t.Error("it is not closed")
	}
}
