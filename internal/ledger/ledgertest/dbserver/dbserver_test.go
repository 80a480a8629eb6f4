package dbserver

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		Stop()
		os.Exit(code)
	}))
}

func TestServers(t *testing.T) {
	t.Parallel()
	for _, k := range []Kind{Postgres, MySQL} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			s := Private(t, k)
			one, two := open(t, s.Create(t)), open(t, s.Create(t))
			run(t, one, `CREATE TABLE x (n INT PRIMARY KEY)`)
			run(t, two, `CREATE TABLE x (n INT PRIMARY KEY)`)
			run(t, one, `INSERT INTO x VALUES (1)`)
			s.Freeze()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := one.ExecContext(ctx, `INSERT INTO x VALUES (2)`); err == nil {
				t.Error("a frozen server wrote")
			}
			s.Thaw()
			run(t, two, `INSERT INTO x VALUES (3)`)
			s.Kill()
			if err := one.Ping(); err == nil {
				t.Error("a killed server answers")
			}
			s.Start(t)
			for range 100 { // the pool may hold dead connections still
				if one.Ping() == nil && two.Ping() == nil {
					break
				}
			}
			var n int
			if err := two.QueryRow(`SELECT n FROM x`).Scan(&n); err != nil || n != 3 {
				t.Errorf("what was committed is lost: %d, %v", n, err)
			}
		})
	}
}

func open(t *testing.T, at string) *sql.DB {
	t.Helper()
	driver, source := "pgx", at
	if rest, ok := strings.CutPrefix(at, "mysql://"); ok {
		user, place, _ := strings.Cut(rest, "@")
		host, name, _ := strings.Cut(place, "/")
		driver, source = "mysql", user+"@tcp("+host+")/"+name
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func run(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
