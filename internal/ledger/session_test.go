package ledger

import (
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
