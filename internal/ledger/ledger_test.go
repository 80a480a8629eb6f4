package ledger_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSQLite(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, ledgertest.SQLite)
}

// TestSQLiteModel takes a few seconds; -rapid.checks=20000 is for long runs.
func TestSQLiteModel(t *testing.T) {
	t.Parallel()
	ledgertest.Model(t, ledgertest.SQLite)
}
