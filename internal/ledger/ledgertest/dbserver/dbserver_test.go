package dbserver

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		Stop()
		os.Exit(code)
	}))
}

// TestServers takes one private server of each kind through all that a crash test may do.
func TestServers(t *testing.T) {
	t.Parallel()
	for _, k := range []Kind{Postgres, MySQL} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			s := Private(t, k)
			t.Logf("%s answers after %v", k, time.Since(begun).Round(time.Millisecond))
			t.Run("lives", func(t *testing.T) { testLives(t, s) })
			t.Run("cleanup", func(t *testing.T) { testCleanup(t, s) })
			t.Run("cpu", func(t *testing.T) { testCPU(t, s) })
		})
	}
}

func testLives(t *testing.T, s *Server) {
	one, two := pool(t, s.Create(t)), pool(t, s.Create(t))
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
	if err := one.PingContext(t.Context()); err == nil {
		t.Error("a killed server answers")
	}
	begun := time.Now()
	s.Start(t)
	t.Logf("it came back after %v", time.Since(begun).Round(time.Millisecond))
	holds(t, two, 3)

	s.Stop(t)
	if err := two.PingContext(t.Context()); err == nil {
		t.Error("a stopped server answers")
	}
	s.Start(t)
	holds(t, two, 3)
}

// testCleanup ends tests whose server is frozen or down by then.
func testCleanup(t *testing.T, s *Server) {
	begun := time.Now()
	t.Run("frozen", func(t *testing.T) {
		s.Create(t)
		s.Freeze()
	})
	s.Thaw()
	t.Run("down", func(t *testing.T) {
		s.Create(t)
		s.Kill()
	})
	s.Start(t)
	if d := time.Since(begun); d > 20*time.Second {
		t.Errorf("the cleanups took %v", d)
	}
}

func testCPU(t *testing.T, s *Server) {
	before := s.CPU()
	if before == 0 {
		t.Skip("this system does not say what processes spend")
	}
	db := pool(t, s.Create(t))
	for end := time.Now().Add(20 * time.Second); s.CPU() < before+20*time.Millisecond; {
		if time.Now().After(end) {
			t.Fatalf("the processor time stays at %v", s.CPU())
		}
		run(t, db, `SELECT 1`)
	}
	worked := s.CPU()
	s.Kill()
	if down := s.CPU(); down < worked {
		t.Errorf("a killed server has spent %v, and before %v", down, worked)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	for _, k := range []Kind{Postgres, MySQL} {
		t.Run(string(k), func(t *testing.T) {
			s := Shared(t, k)
			if Shared(t, k) != s {
				t.Error("the second is another server")
			}
			var at string
			t.Run("database", func(t *testing.T) {
				at = s.Create(t)
				run(t, pool(t, at), `CREATE TABLE x (n INT PRIMARY KEY)`)
			})
			if err := pool(t, at).PingContext(t.Context()); err == nil {
				t.Error("the database is there after its test")
			}
		})
	}
}

func TestGiven(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind     Kind
		at, want string
	}{
		{Postgres, "postgres://u:p@host:1/", "postgres://u:p@host:1/postgres?sslmode=disable"},
		{Postgres, "postgres://u:p@host:1/main?sslmode=require", "postgres://u:p@host:1/main?sslmode=require"},
		{MySQL, "mysql://u:p%40@host:1/", "mysql://u:p%40@host:1/"},
		{MySQL, "host:1", ""},
	} {
		s, err := open(c.kind, c.at)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s was taken", c.at)
			}
			continue
		}
		if err != nil || s.base.String() != c.want {
			t.Errorf("%s: got %v, %v, want %s", c.at, s, err, c.want)
		}
	}
}

func pool(t *testing.T, at string) *sql.DB {
	t.Helper()
	driver, source := "pgx", at
	if rest, ok := strings.CutPrefix(at, "mysql://"); ok {
		user, place, _ := strings.Cut(rest, "@")
		host, name, _ := strings.Cut(place, "/")
		c := mysql.NewConfig()
		c.User, c.Passwd, _ = strings.Cut(user, ":")
		c.Net, c.Addr, c.DBName = "tcp", host, name
		driver, source = "mysql", c.FormatDSN()
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
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// holds asks a database whose pool may still have dead connections.
func holds(t *testing.T, db *sql.DB, want int) {
	t.Helper()
	var n int
	var err error
	for range 100 {
		if err = db.QueryRowContext(t.Context(), `SELECT n FROM x`).Scan(&n); err == nil {
			break
		}
	}
	if err != nil || n != want {
		t.Errorf("what was committed is lost: got %d, %v, want %d", n, err, want)
	}
}
