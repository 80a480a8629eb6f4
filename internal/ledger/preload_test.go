package ledger_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
)

// pastApp is an app whose users' first accept makes the count exact.
var pastApp = hongyan.AppSettings{History: hongyan.HistoryNew}

func TestPreload(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) *ledgertest.Database{"sqlite": ledgertest.SQLite, "postgres": ledgertest.Postgres, "mysql": ledgertest.MySQL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testPreload(t, ledgertest.Open(t, open(t), pastApp))
		})
	}
}

// testPreload reads what was written past the ledger's operations back through them.
func testPreload(t *testing.T, e *ledgertest.Env) {
	ctx := context.Background()
	const n = 3000 // more than MySQL's recursion goes by itself
	p := ledger.Preloaded{App: ledgertest.App, Template: ledgertest.OneTime, Messages: n, OpenID: "u", Data: map[string]string{"thing1": "灯笼'\\ \"?\""}, Page: "pages/a?b=c"}
	made, folded := make(chan struct{}), make(chan error, 1)
	go func() { // as upkeep does beside it
		var err error
		for err == nil {
			select {
			case <-made:
				folded <- nil
				return
			default:
				err = e.Fold(ctx)
			}
		}
		folded <- err
	}()
	err := e.Preload(ctx, p)
	close(made)
	check(t, err)
	check(t, <-folded)
	if all := listed(t, e, ledger.MessageFilter{App: ledgertest.App, Limit: 1000}); len(all) != n {
		t.Errorf("%d messages, want %d", len(all), n)
	}
	for _, u := range []int{1, 77, n} {
		user := hongyan.OpenID(fmt.Sprintf("u%09d", u))
		s, err := e.Subscription(ctx, ledgertest.App, user, ledgertest.OneTime)
		check(t, err)
		if s.Granted != 1 || s.Taken != 1 || s.Spent != 1 || s.Available != 0 || s.Reserved != 0 || s.Baseline != hongyan.BaselineExact || len(s.Entries) != 1 || s.Entries[0].Granted != 1 {
			t.Errorf("user %d: %+v, want one exact grant, spent", u, s)
		}
		list := listed(t, e, ledger.MessageFilter{App: ledgertest.App, OpenID: user})
		if len(list) != 1 {
			t.Fatalf("user %d has %d messages, want 1", u, len(list))
		}
		m, err := e.Message(ctx, list[0].ID)
		check(t, err)
		if d := cmp.Diff(p.Data, m.Data); d != "" || m.Status != hongyan.StateAccepted || m.MsgID == "" || m.Page != p.Page || len(m.Attempts) != 1 {
			t.Errorf("message %+v, want one accepted (-want +got)\n%s", m, d)
		}
	}
	checkAfterPreload(t, e)
	if err := e.Preload(ctx, p); err == nil {
		t.Errorf("a database with messages was preloaded")
	}
}

// checkAfterPreload lets a user of the past and a new one get another message each.
func checkAfterPreload(t *testing.T, e *ledgertest.Env) {
	ctx := context.Background()
	e.Lane.Room(2)
	for i, user := range []hongyan.OpenID{"u000000077", "new"} {
		_, err := e.Ledger.Report(ctx, ledgertest.App, []hongyan.Report{{ID: fmt.Sprint(i), OpenID: user, Template: ledgertest.OneTime, Choice: "accept"}})
		check(t, err)
		res, err := e.Submit(ctx, []hongyan.Submission{ledgertest.Submission(user)}, ledger.SubmitOptions{})
		check(t, err)
		check(t, res[0].Err)
		jobs := e.Lane.Jobs()
		if len(jobs) != 1 {
			t.Fatalf("%d jobs for %s, want 1", len(jobs), user)
		}
		e.Record(jobs[0], e.Outcome(hongyan.OutcomeOK))
		e.WantState(jobs[0].Message.ID, hongyan.StateAccepted, "")
	}
	e.Clock.Advance(10 * time.Minute)
	check(t, e.Fold(ctx))
	if list := listed(t, e, ledger.MessageFilter{App: ledgertest.App, OpenID: "u000000077"}); len(list) != 2 {
		t.Errorf("%d messages, want that of the past and one more", len(list))
	}
	check(t, e.Analyze(ctx))
	check(t, e.Checkpoint(ctx))
}

func listed(t *testing.T, e *ledgertest.Env, f ledger.MessageFilter) (all []hongyan.Message) {
	t.Helper()
	for {
		page, next, err := e.Messages(context.Background(), f)
		check(t, err)
		all = append(all, page...)
		if f.Cursor = next; next == "" {
			return all
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// TestCreateDatabase makes and drops one beside a database that stays.
func TestCreateDatabase(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) *ledgertest.Database{"postgres": ledgertest.Postgres, "mysql": ledgertest.MySQL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			db := open(t)
			at, drop, err := ledger.CreateDatabase(ctx, db.Config.DB)
			check(t, err)
			have, _, err := ledger.SchemaVersion(ctx, at)
			check(t, err)
			if at == db.Config.DB || have != 0 {
				t.Errorf("%s with schema version %d, want a new one", at, have)
			}
			check(t, drop(ctx))
			if _, _, err := ledger.SchemaVersion(ctx, at); err == nil {
				t.Errorf("it is still there")
			}
			_, _, err = ledger.SchemaVersion(ctx, db.Config.DB)
			check(t, err)
		})
	}
	for _, db := range []string{"sqlite:x", "oracle://h/x", "postgres://u:secret@h:port/x", "mysql://u:secret@h"} {
		if _, _, err := ledger.CreateDatabase(context.Background(), db); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", db, err)
		}
	}
}
