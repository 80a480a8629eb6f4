package ledgertest

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

// Postgres makes an empty database on the test process's PostgreSQL server.
func Postgres(t testing.TB) *Database {
	t.Helper()
	return shared(t, dbserver.Shared(t, dbserver.Postgres).Create(t))
}

// MySQL makes an empty database on the test process's MySQL or MariaDB server.
func MySQL(t testing.TB) *Database {
	t.Helper()
	return shared(t, dbserver.Shared(t, dbserver.MySQL).Create(t))
}

// Wiped gives one database again and again, emptied in between: making one on a server takes
// longer than a history of the model.
func Wiped(open func(testing.TB) *Database) func(testing.TB) *Database {
	var d *Database
	return func(t testing.TB) *Database {
		if d == nil {
			d = open(t)
			return d
		}
		db := beside(t, d.Config.DB)
		defer db.Close()
		for _, table := range tables(t, db, d.Config.DB) {
			if table == "goose_db_version" {
				continue
			}
			if _, err := db.Exec(`DELETE FROM ` + table); err != nil {
				t.Fatalf("empty %s: %v", table, err)
			}
		}
		return d
	}
}

func shared(t testing.TB, at string) *Database {
	sum := sha256.Sum256([]byte(t.Name()))
	key, err := ledger.NewMasterKey(sum[:])
	if err != nil {
		t.Fatalf("master key: %v", err)
	}
	d := &Database{Config: ledger.Config{DB: at, MasterKey: key}, Shared: true, Drop: func() {}}
	postgres := strings.HasPrefix(at, "postgres")
	d.Exec = func(t TB, query string) {
		t.Helper()
		db := beside(t, at)
		defer db.Close()
		if _, err := db.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	d.Count = func(t TB, table string) int {
		t.Helper()
		db := beside(t, at)
		defer db.Close()
		return count(t, db, table)
	}
	d.Watch = func(t TB) {
		db := beside(t, at)
		defer db.Close()
		watch(t, db, map[bool]string{true: "postgres", false: "mysql"}[postgres])
	}
	d.Miscounted = func(t TB) []string {
		db := beside(t, at)
		defer db.Close()
		return miscounted(t, db)
	}
	d.Poison = func(t TB, event, column string) {
		if postgres {
			d.Exec(t, `CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.`+column+` LIKE '%poison%' THEN RAISE 'poison'; END IF; RETURN NEW; END $$`)
			d.Exec(t, `CREATE TRIGGER poison BEFORE `+event+` ON messages FOR EACH ROW EXECUTE FUNCTION poison()`)
			return
		}
		d.Exec(t, `CREATE TRIGGER poison BEFORE `+event+` ON messages FOR EACH ROW IF NEW.`+column+` LIKE '%poison%' THEN SIGNAL SQLSTATE '45000'; END IF`)
	}
	d.Cure = func(t TB) {
		if postgres {
			d.Exec(t, `DROP TRIGGER poison ON messages`)
			return
		}
		d.Exec(t, `DROP TRIGGER poison`)
	}
	d.Hold = func(t TB) func() {
		db := beside(t, at)
		lock := `LOCK TABLES messages READ, grants READ`
		if postgres {
			lock = `BEGIN; LOCK TABLE messages, grants IN EXCLUSIVE MODE`
		}
		if _, err := db.Exec(lock); err != nil {
			t.Fatalf("hold the database: %v", err)
		}
		return func() { _ = db.Close() }
	}
	d.Bytes = func(t TB) []byte { return contents(t, at) }
	return d
}

// beside is one connection of the test's own.
func beside(t TB, at string) *sql.DB {
	u, err := url.Parse(at)
	if err != nil {
		t.Fatalf("database: %v", err)
	}
	driver, source := "pgx", at
	if u.Scheme == "mysql" {
		password, _ := u.User.Password()
		driver, source = "mysql", fmt.Sprintf("%s:%s@tcp(%s)%s", u.User.Username(), password, u.Host, u.Path)
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatalf("open a second connection: %v", err)
	}
	db.SetMaxOpenConns(1)
	return db
}

// contents is every value of every table, one after the other.
func contents(t TB, at string) []byte {
	db := beside(t, at)
	defer db.Close()
	var all []byte
	for _, table := range tables(t, db, at) {
		rows, err := db.Query(`SELECT * FROM ` + table)
		if err != nil {
			t.Fatalf("read %s: %v", table, err)
		}
		cols, _ := rows.Columns()
		values := make([]sql.RawBytes, len(cols))
		into := make([]any, len(cols))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				t.Fatalf("read %s: %v", table, err)
			}
			for _, v := range values {
				all = append(append(all, v...), 0)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatalf("read %s: %v", table, err)
		}
		rows.Close()
	}
	return all
}

func tables(t TB, db *sql.DB, at string) []string {
	u, _ := url.Parse(at)
	rows, err := db.Query(`SELECT table_name FROM information_schema.tables WHERE table_schema IN ('public', '` + strings.Trim(u.Path, "/") + `')`)
	if err != nil {
		t.Fatalf("list tables: %v", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatalf("list tables: %v", err)
		}
		out = append(out, s)
	}
	return out
}
