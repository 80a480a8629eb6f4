package ledger_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

func TestMain(m *testing.M) {
	// Before the flags are parsed, so that the command line has the last word.
	if err := flag.Set("rapid.checks", defaultChecks); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		dbserver.Stop()
		os.Exit(code)
	}))
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, ledgertest.Postgres)
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, ledgertest.MySQL)
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, ledgertest.SQLite)
}

func TestPostgresModel(t *testing.T) {
	t.Parallel()
	ledgertest.Model(t, ledgertest.Wiped(ledgertest.Postgres), 10)
}

func TestMySQLModel(t *testing.T) {
	t.Parallel()
	ledgertest.Model(t, ledgertest.Wiped(ledgertest.MySQL), 10)
}

// TestSQLiteModel takes a few seconds; -rapid.checks=20000 is for long runs.
func TestSQLiteModel(t *testing.T) {
	t.Parallel()
	ledgertest.Model(t, ledgertest.SQLite, 0)
}

// TestDamagedJournal: a start says what is wrong, and changes nothing.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	// Of no version; cut off; a result of a message that is not there.
	for _, body := range []string{"", "ff", "0105", "01000102040608"} {
		d := ledgertest.SQLite(t)
		ledgertest.Open(t, d, hongyan.AppSettings{}).Stop()
		d.Exec(t, `INSERT INTO journal (body) VALUES (x'`+body+`')`)
		l, err := ledger.Open(t.Context(), d.Config)
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "journal is damaged") || d.Count(t, "journal") != 1 {
			t.Errorf("%q: %v, %d rows", body, err, d.Count(t, "journal"))
		}
	}
}
