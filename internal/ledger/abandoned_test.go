package ledger

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

// TestAbandonedTransaction: a replica that stands still in the middle of a transaction does not
// keep its locks from the others for longer than a few seconds.
func TestAbandonedTransaction(t *testing.T) {
	t.Parallel()
	for _, k := range []dbserver.Kind{dbserver.Postgres, dbserver.MySQL} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			d, source, err := dialectOf(dbserver.Shared(t, k).Create(t))
			if err != nil {
				t.Fatal(err)
			}
			open := func() *sql.DB {
				db, _, err := openDB(d, source)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = db.Close() })
				return db
			}
			exec := func(c *sql.Conn, queries ...string) {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), txnTime)
				defer cancel()
				for _, q := range queries {
					if _, err := c.ExecContext(ctx, q); err != nil {
						t.Fatalf("%s: %v", q, err)
					}
				}
			}
			conn := func() *sql.Conn {
				c, err := open().Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			still, other := conn(), conn()
			var version string
			if err := other.QueryRowContext(t.Context(), "SELECT version()").Scan(&version); err != nil {
				t.Fatal(err)
			}
			if k == dbserver.MySQL && !strings.Contains(version, "MariaDB") {
				t.Skip("MySQL has no such setting")
			}
			exec(other, "CREATE TABLE x (n INT PRIMARY KEY)", "INSERT INTO x VALUES (1)")
			exec(still, d.begin, "UPDATE x SET n = 2")
			begun := time.Now()
			exec(other, d.begin, "UPDATE x SET n = 3", "COMMIT")
			if took := time.Since(begun); took < time.Second {
				t.Errorf("the lock was not held: the other one waited for %v", took)
			}
		})
	}
}
