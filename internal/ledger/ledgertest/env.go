// Package ledgertest has test databases for the ledger and the conformance suite that every
// database must pass ([Run]). Tests of other packages open a ledger with [SQLite] and [Open].
package ledgertest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// TB is what the helpers need of a test: *testing.T, or *rapid.T.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Database is one empty database of its own.
type Database struct {
	Config ledger.Config
	// Bytes is everything the database has on disk now.
	Bytes func(t TB) []byte
	// Exec runs a statement beside the ledger, on a connection of its own.
	Exec func(t TB, query string)
	// Count is how many rows a table has.
	Count func(t TB, table string) int
	// Poison makes every INSERT into or UPDATE of messages fail whose column has the word
	// poison; Cure ends that.
	Poison func(t TB, event, column string)
	Cure   func(t TB)
	// Watch begins to write down what messages and grants come to; Miscounted lists where the
	// figures differ from that.
	Watch      func(t TB)
	Miscounted func(t TB) []string
	// Shared: other processes may use the database too, so nothing is known of a lease whose
	// owner has gone.
	Shared bool
	// Hold keeps every writer out until release is called.
	Hold func(t TB) (release func())
	// Drop removes the database, closed before, earlier than the end of the test.
	Drop func()
}

// SQLite makes an empty SQLite database in a directory of the test's.
func SQLite(t testing.TB) *Database {
	t.Helper()
	dir := t.TempDir()
	sum := sha256.Sum256([]byte(t.Name()))
	key, err := ledger.NewMasterKey(sum[:])
	if err != nil {
		t.Fatalf("master key: %v", err)
	}
	d := &Database{Config: ledger.Config{DB: "sqlite:" + filepath.Join(dir, "hongyan.db"), MasterKey: key}}
	d.Drop = func() { _ = os.RemoveAll(dir) }
	d.Bytes = func(t TB) []byte {
		var all []byte
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatalf("read database: %v", err)
			}
			all = append(all, b...)
		}
		return all
	}
	conn := func(t TB) *sql.DB {
		db, err := sql.Open("sqlite", "file:"+ledger.SQLiteFile(d.Config.DB)+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatalf("open a second connection: %v", err)
		}
		db.SetMaxOpenConns(1)
		return db
	}
	d.Exec = func(t TB, query string) {
		t.Helper()
		db := conn(t)
		defer db.Close()
		if _, err := db.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	d.Count = func(t TB, table string) int {
		t.Helper()
		db := conn(t)
		defer db.Close()
		return count(t, db, table)
	}
	d.Watch = func(t TB) {
		db := conn(t)
		defer db.Close()
		watch(t, db, "sqlite")
	}
	d.Miscounted = func(t TB) []string {
		db := conn(t)
		defer db.Close()
		return miscounted(t, db)
	}
	d.Poison = func(t TB, event, column string) {
		d.Exec(t, `CREATE TRIGGER poison BEFORE `+event+` ON messages WHEN NEW.`+column+` LIKE '%poison%' BEGIN SELECT RAISE(ABORT, 'poison'); END`)
		if event == "INSERT" {
			d.Exec(t, `CREATE TRIGGER poison_journal BEFORE INSERT ON journal WHEN instr(NEW.body, CAST('poison' AS BLOB)) > 0 BEGIN SELECT RAISE(ABORT, 'poison'); END`)
		}
	}
	d.Cure = func(t TB) {
		d.Exec(t, `DROP TRIGGER poison`)
		d.Exec(t, `DROP TRIGGER IF EXISTS poison_journal`)
	}
	d.Hold = func(t TB) func() {
		db := conn(t)
		if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
			t.Fatalf("hold the database: %v", err)
		}
		return func() {
			_, _ = db.Exec("ROLLBACK")
			_ = db.Close()
		}
	}
	return d
}

func count(t TB, db *sql.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
		t.Fatalf("count %s: %v", table, err)
	}
	return n
}

// Clock is a clock that tests move.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Start is where every clock begins.
var Start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// The app and templates that every Env has.
const (
	App = hongyan.AppID("wx0123456789abcdef")

	OneTime  = "tmpl-one-time"
	Other    = "tmpl-other"
	LongTerm = "tmpl-long-term"
	Unsynced = "tmpl-unknown-kind"
	Alias    = "order"
)

// Env is an open ledger with a clock, a lane, one app and its templates.
type Env struct {
	*ledger.Ledger
	TB    TB
	DB    *Database
	Clock *Clock
	// reading is what the test's readers of events want.
	reading []ledger.EventFilter
	Lane    *Lane

	stop    context.CancelFunc
	stopped chan error
	reports int
}

// Open opens the database, with an app of these settings if it is empty.
func Open(t testing.TB, db *Database, settings hongyan.AppSettings) *Env {
	t.Helper()
	e := New(t, db, settings)
	t.Cleanup(func() { e.Stop() })
	return e
}

// New is Open for whoever calls Stop.
func New(t TB, db *Database, settings hongyan.AppSettings) *Env {
	t.Helper()
	e := &Env{TB: t, DB: db, Clock: &Clock{now: Start}}
	e.open()
	db.Watch(t)
	if len(e.Apps()) == 0 {
		e.populate(settings)
	}
	return e
}

func (e *Env) open() {
	e.TB.Helper()
	cfg := e.DB.Config
	cfg.Now = e.Clock.Now
	l, err := ledger.Open(context.Background(), cfg)
	if err != nil {
		e.TB.Fatalf("open: %v", err)
	}
	e.Ledger, e.Lane = l, newLane()
	l.HandOffTo(e.Lane.ledger())
	ctx, stop := context.WithCancel(context.Background())
	e.stop, e.stopped = stop, make(chan error, 1)
	go func() { e.stopped <- l.Run(ctx) }()
}

// Stop ends and closes the ledger. Jobs that have no result stay `sending` on disk, as a
// kill would leave them.
func (e *Env) Stop() {
	if e.stop == nil {
		return
	}
	e.stop()
	if err := <-e.stopped; err != nil {
		e.TB.Errorf("run: %v", err)
	}
	if err := e.Close(); err != nil {
		e.TB.Errorf("close: %v", err)
	}
	e.stop = nil
}

// Restart stops the ledger and opens it again. On a shared database the leases it left run
// out first.
func (e *Env) Restart() {
	e.TB.Helper()
	e.Stop()
	e.open()
	if e.DB.Shared {
		e.Tick(ledger.LeaseTime + 10*time.Second)
	}
}

func (e *Env) populate(settings hongyan.AppSettings) {
	ctx := context.Background()
	_, err := e.CreateApp(ctx, hongyan.App{AppID: App, Name: "test", Settings: settings}, hongyan.NewAppSecret(Secret), nil)
	e.must(err)
	e.must(e.SaveTemplates(ctx, App, Templates(hongyan.KindUnknown)))
	_, err = e.SetAlias(ctx, App, OneTime, Alias)
	e.must(err)
}

// Secret is the app's AppSecret.
const Secret = "0123456789abcdef0123456789abcdef"

// Templates are the app's templates; Unsynced is of the given kind.
func Templates(kind hongyan.TemplateKind) []ledger.SyncedTemplate {
	kinds := map[string]hongyan.TemplateKind{OneTime: hongyan.KindOneTime, Other: hongyan.KindOneTime, LongTerm: hongyan.KindLongTerm, Unsynced: kind}
	var out []ledger.SyncedTemplate
	for _, id := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, ledger.SyncedTemplate{TemplateID: id, Title: "title of " + id, Content: "name:{{thing1.DATA}}\n", Example: "name:x\n", Kind: kinds[id]})
	}
	return out
}

func (e *Env) must(err error) {
	e.TB.Helper()
	if err != nil {
		e.TB.Fatalf("unexpected error: %v", err)
	}
}

// Submission is a valid message to openid, changed by mods.
func Submission(openid hongyan.OpenID, mods ...func(*hongyan.Submission)) hongyan.Submission {
	s := hongyan.Submission{App: App, To: hongyan.Recipient{OpenID: openid}, Template: OneTime, Data: map[string]string{"thing1": "x"}}
	for _, m := range mods {
		m(&s)
	}
	return s
}

// The usual changes of a submission.
func onNoGrant(p hongyan.OnNoGrant) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.OnNoGrant = p }
}
func reserveAt(p hongyan.ReserveAt) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.Reserve = p }
}
func onUncertain(p hongyan.OnUncertain) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.OnUncertain = p }
}
func template(id string) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.Template = id }
}
func sendAt(t time.Time) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.SendAt = t }
}
func expiresAt(t time.Time) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.ExpiresAt = t }
}
func priority(p hongyan.Priority) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.Priority = p }
}
func dedup(key string) func(*hongyan.Submission) {
	return func(s *hongyan.Submission) { s.DedupKey = key }
}

// Try submits one message.
func (e *Env) Try(s hongyan.Submission) (*hongyan.Message, error) {
	e.TB.Helper()
	rs, err := e.Submit(context.Background(), []hongyan.Submission{s}, ledger.SubmitOptions{Strict: true})
	if err != nil {
		return nil, err
	}
	return rs[0].Message, rs[0].Err
}

// Send submits one message that must be taken.
func (e *Env) Send(openid hongyan.OpenID, mods ...func(*hongyan.Submission)) *hongyan.Message {
	e.TB.Helper()
	m, err := e.Try(Submission(openid, mods...))
	e.must(err)
	return m
}

// Tap reports a choice made age ago.
func (e *Env) Tap(openid hongyan.OpenID, tmpl, choice string, age time.Duration) hongyan.ReportResult {
	e.TB.Helper()
	e.reports++
	return e.Repeat(fmt.Sprintf("report-%d", e.reports), openid, tmpl, choice, age)
}

// Repeat reports a choice under an id of the caller's.
func (e *Env) Repeat(id string, openid hongyan.OpenID, tmpl, choice string, age time.Duration) hongyan.ReportResult {
	e.TB.Helper()
	rs, err := e.Report(context.Background(), App, []hongyan.Report{{ID: id, OpenID: openid, Template: tmpl, Choice: choice, AgeMS: age.Milliseconds()}})
	e.must(err)
	return rs[0]
}

// Exact makes the count of (openid, template) exact, with n grants available.
func (e *Env) Exact(openid hongyan.OpenID, tmpl string, n int64) {
	e.TB.Helper()
	_, err := e.Adjust(context.Background(), App, ledger.Adjustment{OpenID: openid, Template: tmpl, Delta: n, Exact: true, Reason: "test", Source: hongyan.SourceImport})
	e.must(err)
}

// Claim leases up to n messages.
func (e *Env) Claim(n int) []*ledger.Job {
	e.TB.Helper()
	jobs, err := e.ClaimSends(context.Background(), ledger.ClaimRequest{App: App, Max: n})
	e.must(err)
	return jobs
}

// ClaimOne leases the one message that must be there.
func (e *Env) ClaimOne() *ledger.Job {
	e.TB.Helper()
	jobs := e.Claim(10)
	if len(jobs) != 1 {
		e.TB.Fatalf("claimed %d messages, want 1", len(jobs))
	}
	return jobs[0]
}

// Outcome is an outcome of a class, of a call that ran from the clock's time on.
func (e *Env) Outcome(class hongyan.OutcomeClass) hongyan.Outcome {
	o := hongyan.Outcome{Class: class, StartedAt: e.Clock.Now(), EndedAt: e.Clock.Now(), Jitter: 0.5}
	switch class {
	case hongyan.OutcomeOK:
		o.MsgID = 1<<60 + 7
	case hongyan.OutcomeUnsent, hongyan.OutcomeUnclear:
		o.Errmsg = "connection reset"
	default:
		o.Errcode, o.Errmsg = errcodes[class], "words of WeChat rid: 1"
	}
	return o
}

var errcodes = map[hongyan.OutcomeClass]int{
	hongyan.OutcomeRecipient: 43101, hongyan.OutcomeOpenID: 40003, hongyan.OutcomeCaller: 47003, hongyan.OutcomeTemplate: 40037,
	hongyan.OutcomeBanned: 43107, hongyan.OutcomeToken: 40001, hongyan.OutcomeBusy: -1, hongyan.OutcomePace: 45011, hongyan.OutcomeSameUser: 43108,
	hongyan.OutcomeQuota: 45009, hongyan.OutcomeAccount: 40164, hongyan.OutcomeLimited: 50002, hongyan.OutcomeUnknown: 99999,
}

// Record records the outcome and waits until it is on disk.
func (e *Env) Record(j *ledger.Job, o hongyan.Outcome) {
	e.TB.Helper()
	n := e.Lane.settled()
	e.RecordAttempt(j, o)
	if !e.Lane.wait(n+1, 30*time.Second) {
		e.TB.Fatalf("the result of %s was not written", j.Message.ID)
	}
}

// Attempt claims the one due message and records an outcome of the class.
func (e *Env) Attempt(class hongyan.OutcomeClass) *hongyan.Message {
	e.TB.Helper()
	j := e.ClaimOne()
	e.Record(j, e.Outcome(class))
	return e.Get(j.Message.ID)
}

// Get reads a message.
func (e *Env) Get(id hongyan.MessageID) *hongyan.Message {
	e.TB.Helper()
	m, err := e.Message(context.Background(), id)
	e.must(err)
	return m
}

// Sub reads a subscription.
func (e *Env) Sub(openid hongyan.OpenID, tmpl string) hongyan.Subscription {
	e.TB.Helper()
	s, err := e.Subscription(context.Background(), App, openid, tmpl)
	e.must(err)
	return s
}

// Tick moves the clock and does what is due by then.
func (e *Env) Tick(d time.Duration) {
	e.TB.Helper()
	e.pass(d)
	e.must(e.Sweep(context.Background()))
}

// pass lets time go by. Readers of events that are connected say so again, as they do all the
// time: the ledger's own upkeep ends those that have not for a while.
func (e *Env) pass(d time.Duration) {
	e.TB.Helper()
	e.Clock.Advance(d)
	for _, f := range e.reading {
		e.must(e.ListenTo(context.Background(), f))
	}
}

// WantState fails unless the message has the state and reason.
func (e *Env) WantState(id hongyan.MessageID, state hongyan.State, reason hongyan.Code) {
	e.TB.Helper()
	if m := e.Get(id); m.Status != state || m.Reason != reason {
		e.TB.Errorf("message is %s (%q), want %s (%q)", m.Status, m.Reason, state, reason)
	}
}

// Count is a subscription's numbers in short.
type Count struct {
	Available, Reserved, Spent, Voided int64
	Exact                              bool
}

// WantCount fails unless the subscription has these numbers.
func (e *Env) WantCount(openid hongyan.OpenID, tmpl string, want Count) {
	e.TB.Helper()
	s := e.Sub(openid, tmpl)
	got := Count{s.Available, s.Reserved, s.Spent, s.Voided, s.Baseline == hongyan.BaselineExact}
	if got != want {
		e.TB.Errorf("count of %s is %+v, want %+v; entries: %+v", tmpl, got, want, s.Entries)
	}
	if s.Granted != s.Available+s.Reserved+s.Spent+s.Voided {
		e.TB.Errorf("granted %d is not the sum of %+v", s.Granted, got)
	}
}

// WantIdle fails if a user is still taken for busy, or a place of the lane is.
func (e *Env) WantIdle() {
	e.TB.Helper()
	if n := e.Stats().UnderWay; n != 0 {
		e.TB.Errorf("%d users are busy, want none", n)
	}
	e.Lane.mu.Lock()
	defer e.Lane.mu.Unlock()
	if e.Lane.places != e.Lane.put {
		e.TB.Errorf("%d places are taken for %d jobs delivered", e.Lane.places, e.Lane.put)
	}
}

// wantCode fails unless err has the code.
func wantCode(t TB, err error, code hongyan.Code) {
	t.Helper()
	if got := hongyan.CodeOf(err); got != code {
		t.Errorf("error %q (%v), want %q", got, err, code)
	}
}
