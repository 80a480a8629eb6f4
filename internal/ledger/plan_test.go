package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

// TestPlans asks SQLite how it runs every statement that the hot paths have used, and fails
// for one that reads a whole table: a partial index is only used if the statement repeats
// its condition word for word, and the cost of forgetting that grows with the table.
func TestPlans(t *testing.T) {
	t.Parallel()
	l := planLedger(t)
	var queries []string
	l.texts.m.Range(func(q, _ any) bool {
		queries = append(queries, q.(string))
		return true
	})
	if len(queries) < 30 {
		t.Fatalf("only %d statements were used", len(queries))
	}
	for _, q := range queries {
		if !strings.HasPrefix(q, "/*") {
			continue
		}
		rs, err := l.rdb.db.Query("EXPLAIN QUERY PLAN "+q, make([]any, strings.Count(q, "?"))...)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		err = eachRow(rs, func(r scanner) error {
			var id, parent, unused int
			var step string
			err := r.Scan(&id, &parent, &unused, &step)
			if strings.HasPrefix(step, "SCAN ") && !mayScan(q, step) {
				t.Errorf("%s\nreads a whole table: %s", q, step)
			}
			if strings.Contains(q, "ledger.head") && strings.Contains(step, "messages_due") && !strings.Contains(step, "COVERING") {
				t.Errorf("%s\nreads rows it passes over: %s", q, step)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func mayScan(query, step string) bool {
	if strings.HasSuffix(step, "-ROW VALUES CLAUSE") {
		return true
	}
	switch step {
	case "SCAN CONSTANT ROW", "SCAN v", "SCAN um", "SCAN x", // of what a subselect gives, by an index of its own
		"SCAN stat_deltas", // a few seconds' worth
		"SCAN messages USING COVERING INDEX messages_sending", "SCAN messages USING INDEX messages_sending":
		return true
	}
	for _, name := range []string{
		"clearCounters",                                                                                                                                    // once in a template's life
		"reload ", "reloadTemplates", "reloadKeys", "reloadPauses", "reloadAudience", "enabledWebhooks", "reloadCallbacks", "reloadScenes", "eraseWaiting", // whole tables of a few rows, into memory
		"retainDeliveries", "dropReaders", "Webhooks", "CreateWebhook", // tables of a few rows too
		"retainEvents", "EventsFrom", // from one end, up to a limit
		"endLinks",     // one-time links of a day
		"readJournal",  // once at a start, some hundred messages
		"overviewApps", // an app's rows by its number
		"otherPlace",   // from one end, one row
		"recount",      // once a minute, over the index of what waits
	} {
		if strings.Contains(query, "ledger."+name) {
			return true
		}
	}
	return false
}

// planLedger is a ledger that has used what messages and results use.
func planLedger(t *testing.T) *Ledger {
	t.Helper()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	key, err := NewMasterKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	l, err := Open(context.Background(), Config{DB: "sqlite:" + filepath.Join(t.TempDir(), "hongyan.db"), MasterKey: key,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, Retention: Retention{Messages: 48 * time.Hour, Data: 24 * time.Hour, Events: 24 * time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	settled := make(chan int, 8)
	l.HandOffTo(Lane{Reserve: func(hongyan.AppID, int, int) int { return 0 }, Release: func(hongyan.AppID, int) {}, Settled: func(hongyan.AppID, int) { settled <- 1 }})
	_, err = l.CreateApp(ctx, hongyan.App{AppID: "a"}, hongyan.AppSecret{}, nil)
	must(err)
	must(l.SaveTemplates(ctx, "a", []SyncedTemplate{{TemplateID: "t", Content: "{{thing1.DATA}}", Kind: hongyan.KindOneTime}}))
	_, err = l.Adjust(ctx, "a", Adjustment{OpenID: "u", Template: "t", Delta: 2, Exact: true, Reason: "x", Source: hongyan.SourceImport})
	must(err)
	sub := hongyan.Submission{App: "a", Template: "t", To: hongyan.Recipient{OpenID: "u"}, Data: map[string]string{"thing1": "x"}, OnNoGrant: hongyan.OnNoGrantHold}
	withKey := sub
	withKey.DedupKey = "k"
	_, err = l.Submit(ctx, []hongyan.Submission{sub, withKey, sub, withKey}, SubmitOptions{Idem: &Idempotency{}})
	must(err)
	_, err = l.Report(ctx, "a", []hongyan.Report{{ID: "1", OpenID: "u", Template: "t", Choice: "accept"}, {ID: "2", OpenID: "u", Template: "t", Choice: "reject"}})
	must(err)
	for _, class := range []hongyan.OutcomeClass{hongyan.OutcomeBusy, hongyan.OutcomeGiveBack, hongyan.OutcomeRecipient} {
		jobs, err := l.ClaimSends(ctx, ClaimRequest{App: "a", Max: 1})
		must(err)
		if len(jobs) != 1 {
			t.Fatalf("claimed %d", len(jobs))
		}
		l.RecordAttempt(jobs[0], hongyan.Outcome{Class: class, Errcode: 43101, StartedAt: time.Now()})
		<-settled
	}
	must(useJoins(ctx, l, sub))
	must(useEvents(ctx, l))
	must(useAudit(ctx, l))
	must(useCallbacks(ctx, l, &ahead))
	must(useFigures(ctx, l))
	must(l.Sweep(ctx))
	must(l.purge(ctx))
	// The data of what has ended goes first, then the messages, and what waits is put aside.
	for range 4 {
		ahead.Add(int64(26 * time.Hour))
		must(l.Sweep(ctx))
		must(l.Retain(ctx))
	}
	if s := l.Stats(); s.Erased == 0 || s.Deleted == 0 {
		t.Fatalf("retention did nothing: %+v", s)
	}
	return l
}

// useFigures uses what figures and the overview use.
func useFigures(ctx context.Context, l *Ledger) error {
	now := l.Now()
	for _, by := range []hongyan.StatsBy{hongyan.ByHour, hongyan.ByDay, hongyan.ByTemplate, hongyan.ByReason} {
		if _, err := l.Figures(ctx, FiguresQuery{From: now.Add(-time.Hour), To: now.Add(time.Hour), By: by}); err != nil {
			return err
		}
	}
	if err := l.FoldStats(ctx); err != nil {
		return err
	}
	if _, err := l.otherPlace(ctx); err != nil {
		return err
	}
	_, err := l.Overview(ctx, "", nil)
	return err
}

// useJoins uses what looks for messages that say the same, and for those nobody heard of.
func useJoins(ctx context.Context, l *Ledger, s hongyan.Submission) error {
	opt := SubmitOptions{Strict: true, Join: &Joining{Uncertain: time.Minute}}
	for _, keep := range []time.Duration{time.Minute, 0} {
		rs, err := l.Submit(ctx, []hongyan.Submission{s}, opt)
		if err != nil || rs[0].Err != nil {
			return errors.Join(err, rs[0].Err)
		}
		rs[0].Heard(keep)
	}
	a, err := l.app(s.App)
	if err == nil {
		l.forgetUnheard(a.no, "nothing")
	}
	return err
}

// useCallbacks uses what WeChat's pushes, imports, explanations and erasures use.
func useCallbacks(ctx context.Context, l *Ledger, ahead *atomic.Int64) error {
	now := l.Now()
	for _, cb := range []hongyan.Callback{
		{Event: hongyan.CallbackPopup, OpenID: "u", Items: []hongyan.CallbackItem{{TemplateID: "t", Choice: "accept"}}},
		{Event: hongyan.CallbackChange, OpenID: "u", Items: []hongyan.CallbackItem{{TemplateID: "t", Choice: "reject"}}},
		{Event: hongyan.CallbackSent, OpenID: "u", Items: []hongyan.CallbackItem{{TemplateID: "t", MsgID: "7", ErrorCode: "0"}}},
	} {
		cb.Encrypted, cb.SentAt = true, now
		if err := l.RecordCallback(ctx, "a", cb); err != nil {
			return err
		}
	}
	if err := l.ApplyCallbacks(ctx); err != nil {
		return err
	}
	ahead.Add(int64(2 * time.Minute)) // the sent event is judged
	if err := l.ApplyCallbacks(ctx); err != nil {
		return err
	}
	if err := l.RejectCallback(ctx, "a", hongyan.CallbackRejection{Reason: "stale"}); err != nil {
		return err
	}
	if _, err := l.ImportGrants(ctx, "a", []hongyan.ImportItem{{OpenID: "v", Template: "t", Count: 1}}, "x"); err != nil {
		return err
	}
	for _, template := range []string{"", "t"} {
		if _, err := l.QueryGrants(ctx, "a", []hongyan.OpenID{"u", "v", "nobody"}, template); err != nil {
			return err
		}
	}
	if _, err := l.Submit(ctx, []hongyan.Submission{{App: "a", Template: "t", To: hongyan.Recipient{OpenID: "v"}, Data: map[string]string{"thing1": "x"}, SendAt: now.Add(time.Hour)}}, SubmitOptions{}); err != nil {
		return err
	}
	if _, err := l.ExplainGrant(ctx, "a", "v", "t"); err != nil {
		return err
	}
	s, err := l.CreateMPSession(ctx, "a", "v")
	if err != nil {
		return err
	}
	if _, err := l.MPSession(ctx, s.Token.Reveal()); err != nil {
		return err
	}
	if _, err := l.ExportUser(ctx, "a", "v"); err != nil {
		return err
	}
	return l.EraseUser(ctx, "a", "v")
}

// useEvents uses what events and their deliveries use.
func useEvents(ctx context.Context, l *Ledger) error {
	w, err := l.CreateWebhook(ctx, hongyan.Webhook{URL: "https://x.example", Events: []hongyan.EventPattern{"*"}}, nil)
	if err != nil {
		return err
	}
	f := EventFilter{App: "a", Types: []hongyan.EventPattern{"message.*"}, Since: time.UnixMilli(1)}
	if err := l.ListenTo(ctx, f); err != nil {
		return err
	}
	if err := l.Announce(ctx, hongyan.EventUserErased, "a", 1); err != nil {
		return err
	}
	if _, err := l.TestWebhook(ctx, w.ID); err != nil {
		return err
	}
	due, _, err := l.DueDeliveries(ctx)
	if err != nil || len(due) != 1 {
		return fmt.Errorf("due: %v, %w", due, err)
	}
	jobs, err := l.ClaimDeliveries(ctx, map[int64]int{due[0]: 1})
	if err != nil || len(jobs) != 1 {
		return fmt.Errorf("claimed %d: %w", len(jobs), err)
	}
	settled := make(chan struct{})
	l.RecordDelivery(jobs[0], DeliveryResult{Error: "x"}, func() { close(settled) })
	<-settled
	if _, err := l.ResendDelivery(ctx, w.ID, jobs[0].ID); err != nil {
		return err
	}
	for _, use := range []func() error{
		func() error { _, _, err := l.Events(ctx, f); return err },
		func() error { _, _, err := l.Deliveries(ctx, w.ID, DeliveryFilter{Type: "x"}); return err },
		func() error { _, _, _, err := l.EventsAfter(ctx, EventPlace{}, f); return err },
		func() error { _, err := l.EventsFrom(ctx, ""); return err },
		func() error { _, err := l.EventsFrom(ctx, "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV"); return err },
	} {
		if err := use(); err != nil {
			return err
		}
	}
	return nil
}

// TestMySQLRecount: a condition on the state itself would read the whole table there.
func TestMySQLRecount(t *testing.T) {
	t.Parallel()
	key, err := NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), Config{DB: dbserver.Shared(t, dbserver.MySQL).Create(t), MasterKey: key})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var plan string
	if err := l.rdb.QueryRowContext(t.Context(), "EXPLAIN FORMAT=JSON "+l.d.recount, int64(0)).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, `"key": "messages_due"`) || strings.Contains(plan, `"access_type": "ALL"`) {
		t.Errorf("the count does not use the index of what waits: %s", plan)
	}
}

// useAudit writes and reads the audit log, and what members use.
func useAudit(ctx context.Context, l *Ledger) error {
	_, err := l.SetAlias(WithActor(ctx, Actor{ID: "key_1"}), "a", "t", "order")
	now := l.Now()
	for _, f := range []AuditFilter{{}, {App: "a"}, {Actor: "key_1", Action: "x"}, {Action: "x"}, {Object: "t"}, {Apps: []hongyan.AppID{"a"}}, {From: now, To: now},
		{App: "a", Actor: "key_1", Object: "t"}, {Cursor: encodeAuditCursor(l.newID(ms(now)))}} {
		_, _, e := l.Audit(ctx, f)
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	m, err := l.CreateMember(ctx, "anna", hongyan.RoleViewer, nil)
	if err != nil {
		return err
	}
	c, err := l.BeginSignIn(ctx, "anna")
	if err == nil {
		err = l.EndSignIn(ctx, c)
	}
	for _, kept := range []bool{false, true} {
		err = errors.Join(err, l.SaveMemberSession(ctx, "token", MemberSession{Member: m.ID, Data: []byte("x")}, time.Hour, time.Hour, kept))
	}
	if err == nil {
		_, err = l.MemberSession(ctx, "token")
	}
	if err != nil {
		return err
	}
	token := hongyan.NewSetupToken(m.Link[len(hongyan.SetupPath):])
	if c, err = l.SetupMember(ctx, token); err == nil {
		_, err = l.SetUp(ctx, token, c, "", "hash")
	}
	_, again := l.ResetMember(ctx, m.ID, nil)
	return errors.Join(err, again, l.DeleteMemberSession(ctx, "token"), l.DeleteMember(ctx, m.ID, nil))
}
