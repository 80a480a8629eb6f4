package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
)

// TestUnknownCommit cuts the connection to PostgreSQL just before or just after the COMMIT
// of a submit: whether it happened or not, the message is there once, and is sent once.
func TestUnknownCommit(t *testing.T) {
	t.Parallel()
	for name, at := range map[string][]cutAt{
		"it happened":                              {{commit, passed}},
		"it did not":                               {{commit, dropped}},
		"it happens later":                         {{commit, late}},
		"it happens later, dedup key":              {{commit, late}},
		"it happened, and the next try dies too":   {{commit, passed}, {look, dropped}, {look, passed}},
		"it did not, and the next try dies too":    {{commit, dropped}, {look, passed}},
		"the second commit is not answered either": {{commit, dropped}, {commit, passed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, cut := openCut(t)
			e.Lane.Room(10)
			cut.arm(at)
			s, opt := ledgertest.Submission("u1"), ledger.SubmitOptions{}
			if strings.HasSuffix(name, "dedup key") {
				s.DedupKey = "d"
			} else {
				opt.Idem = &ledger.Idempotency{Owner: "o", Route: "r", Key: "k"}
			}
			rs, err := e.Submit(context.Background(), []hongyan.Submission{s}, opt)
			if err != nil || rs[0].Err != nil {
				t.Fatalf("submit: %v, %+v", err, rs)
			}
			m := rs[0].Message
			if m.Duplicate {
				t.Error("it was taken for another")
			}
			if n := int(cut.cuts.Load()); n != len(at) {
				t.Fatalf("%d connections were cut, want %d", n, len(at))
			}
			list, _, err := e.Messages(context.Background(), ledger.MessageFilter{App: ledgertest.App})
			if err != nil || len(list) != 1 || list[0].ID != m.ID {
				t.Fatalf("the ledger has %v, %v", list, err)
			}
			// What happened unseen has no sender: it goes back to the queue, and a claim finds it.
			jobs := e.Lane.Jobs()
			for end := time.Now().Add(10 * time.Second); len(jobs) == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if jobs, err = e.ClaimSends(context.Background(), ledger.ClaimRequest{App: ledgertest.App, Max: 1}); err != nil {
					t.Fatal(err)
				}
			}
			if len(jobs) != 1 || jobs[0].Message.ID != m.ID || jobs[0].Message.Attempt != 1 {
				t.Fatalf("jobs: %+v", jobs)
			}
			e.Record(jobs[0], e.Outcome(hongyan.OutcomeOK))
			e.WantState(m.ID, hongyan.StateAccepted, "")
			e.WantIdle()
			if e.Lane.Free() != 9 && e.Lane.Free() != 10 {
				t.Errorf("%d places are free", e.Lane.Free())
			}
		})
	}
}

// TestUnknownCommitSync is the same for a message whose caller waits and that tests a pause:
// nobody sends it, the caller hears so, and the place and the test are free again.
func TestUnknownCommitSync(t *testing.T) {
	t.Parallel()
	for name, at := range map[string][]cutAt{
		"it happened":      {{commit, passed}},
		"it happens later": {{commit, late}},
		"it did not":       {{commit, dropped}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, cut := openCut(t)
			e.Exact("u1", ledgertest.OneTime, 1)
			if err := e.Pause(context.Background(), ledgertest.App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseIPNotAllowed, Errcode: 40164, ProbeAt: ledgertest.Start}); err != nil {
				t.Fatal(err)
			}
			e.Lane.Room(1)
			cut.arm(at)
			var res ledger.SyncResult
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				res, err = e.SendSync(ledgertest.Submission("u1"), ledger.Joining{Uncertain: time.Minute})
			}()
			want, reason, free := hongyan.StateFailed, hongyan.CodeNotStarted, 1
			if at[0].fate == dropped {
				want, reason, free = hongyan.StateAccepted, "", 0
				var jobs []*ledger.Job
				for end := time.Now().Add(10 * time.Second); len(jobs) == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					jobs = e.Lane.Jobs()
				}
				if len(jobs) != 1 || !jobs[0].Probe() {
					t.Fatalf("jobs: %+v", jobs)
				}
				e.Record(jobs[0], e.Outcome(hongyan.OutcomeOK))
			}
			<-done
			if err != nil || res.Message.Status != want || res.Message.Reason != reason || res.Joined {
				t.Errorf("it is %s (%q), joined: %v, err: %v", res.Message.Status, res.Message.Reason, res.Joined, err)
			}
			e.WantState(res.Message.ID, want, reason)
			if want == hongyan.StateFailed && e.Lane.Probing() {
				t.Error("the message that nobody sends still tests the pause")
			}
			if jobs := e.Lane.Jobs(); len(jobs) != 0 {
				t.Errorf("a sender has it too: %+v", jobs)
			}
			if got := e.Lane.Free(); got != free {
				t.Errorf("%d places are free, want %d", got, free)
			}
			e.WantIdle()
		})
	}
}

// TestUnknownCommitSyncAway: while the database stays away nobody knows, and the caller must
// not hear that the message is unsent for good; a repeat joins what was stored.
func TestUnknownCommitSyncAway(t *testing.T) {
	t.Parallel()
	e, cut := openCut(t)
	e.Exact("u1", ledgertest.OneTime, 1)
	e.Lane.Room(1)
	cut.arm(append([]cutAt{{commit, passed}}, slices.Repeat([]cutAt{{look, dropped}}, 100)...))
	send := func() ledger.SyncResult {
		t.Helper()
		res, err := e.SendSync(ledgertest.Submission("u1"), ledger.Joining{Uncertain: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	first := send()
	cut.arm(nil)
	if first.Message.Status != hongyan.StateSending {
		t.Errorf("it is %s", first.Message.Status)
	}
	e.WantState(first.Message.ID, hongyan.StateSending, "")
	if jobs := e.Lane.Jobs(); len(jobs) != 0 || e.Lane.Free() != 1 {
		t.Errorf("a sender has it: %+v; %d places are free", jobs, e.Lane.Free())
	}
	e.Tick(ledger.LeaseTime + 10*time.Second)
	e.WantState(first.Message.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
	if again := send(); !again.Joined || again.Message.ID != first.Message.ID {
		t.Errorf("the repeat is %s", again.Message.ID)
	}
}

// TestUnknownCommitLent: a result that was on its way to disk with submits is accepted and counted
// once, whatever became of their commit.
func TestUnknownCommitLent(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fate{"it happened": passed, "it did not": dropped, "it happens later": late} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, cut := openCut(t)
			e.Lane.Room(8)
			user := func(k, i int) hongyan.OpenID { return hongyan.OpenID(fmt.Sprint("u", k, "-", i%10)) }
			for i := range 30 {
				e.Exact(user(i/10, i), ledgertest.OneTime, 500)
			}
			cut.arm([]cutAt{{lent, f}})
			var mu sync.Mutex
			var ids []hongyan.MessageID
			var senders sync.WaitGroup
			for k := range 3 {
				senders.Go(func() { // until a result has gone with a submit
					for i := 0; i < 500 && cut.cuts.Load() == 0; i++ {
						rs, err := e.Submit(context.Background(), []hongyan.Submission{ledgertest.Submission(user(k, i))}, ledger.SubmitOptions{})
						if err != nil || rs[0].Err != nil {
							t.Errorf("submit: %v, %+v", err, rs)
							return
						}
						mu.Lock()
						ids = append(ids, rs[0].Message.ID)
						mu.Unlock()
					}
				})
			}
			accept := func() {
				t.Helper()
				claimed, err := e.ClaimSends(context.Background(), ledger.ClaimRequest{App: ledgertest.App, Max: 8})
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range append(e.Lane.Jobs(), claimed...) {
					e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
				}
			}
			sent := make(chan struct{})
			go func() { senders.Wait(); close(sent) }()
			for all := false; !all; time.Sleep(time.Millisecond) {
				accept()
				select {
				case <-sent:
					all = true
				default:
				}
			}
			if n := cut.cuts.Load(); n != 1 {
				t.Fatalf("%d of %d commits were cut, want one", n, len(ids))
			}
			for _, id := range ids {
				for end := time.Now().Add(10 * time.Second); e.Get(id).Status != hongyan.StateAccepted && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					accept()
				}
				e.WantState(id, hongyan.StateAccepted, "")
				if m := e.Get(id); len(m.Attempts) != 1 {
					t.Errorf("%d attempts", len(m.Attempts))
				}
			}
			for _, odd := range e.DB.Miscounted(t) {
				t.Error(odd)
			}
			for end := time.Now().Add(10 * time.Second); e.Stats().UnderWay > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			}
			e.WantIdle()
		})
	}
}

// cutter stands between the ledger and PostgreSQL and cuts connections where it is told to.
type cutter struct {
	url  string
	mu   sync.Mutex
	at   []cutAt
	cuts atomic.Int64
}

// cutAt is where a connection ends: with a statement of a submit, whose answer reaches nobody.
type cutAt struct {
	word string
	fate fate
}

// fate is what becomes of the statement: it never reaches the database, does so at once, or
// when the next try is under way.
type fate int

const (
	dropped fate = iota
	passed
	late
)

const (
	commit = "COMMIT\x00"
	look   = "ledger.look"
	lent   = "COMMIT\x00 " // of a submit with results
)

func (c *cutter) arm(at []cutAt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// take reports whether to cut now, and what becomes of the statement.
func (c *cutter) take(b []byte, inserted, accepted bool) (cut bool, f fate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.at) == 0 || !bytes.Contains(b, []byte(strings.TrimRight(c.at[0].word, " "))) || c.at[0].word != look && !inserted || c.at[0].word == lent && !accepted {
		return false, dropped
	}
	f, c.at = c.at[0].fate, c.at[1:]
	c.cuts.Add(1)
	return true, f
}

// openCut opens a ledger behind a cutter.
func openCut(t *testing.T) (*ledgertest.Env, *cutter) {
	db := ledgertest.Postgres(t)
	cut := startCutter(t, db.Config.DB)
	db.Config.DB = cut.url
	e := ledgertest.Open(t, db, hongyan.AppSettings{})
	t.Cleanup(e.Stop) // before the cutter's
	return e, cut
}

func startCutter(t *testing.T, at string) *cutter {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = ln.Addr().String()
	c := &cutter{url: u.String()}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := c.pass(client, server); err != nil {
					t.Error(err)
				}
			})
		}
	})
	return c
}

func (c *cutter) pass(client net.Conn, server string) error {
	defer client.Close()
	up, err := net.Dial("tcp", server)
	if err != nil {
		return fmt.Errorf("cutter: %w", err)
	}
	defer up.Close()
	done := make(chan struct{})
	go func() { _, _ = io.Copy(client, up); _ = client.Close(); close(done) }()
	defer func() { _ = up.Close(); <-done }()
	inserted, accepted := ran("ledger.Submit"), ran("ledger.recordAccepted")
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return nil // the ledger has closed it
		}
		b := buf[:n]
		if cut, f := c.take(b, inserted(b), accepted(b)); cut {
			if f != dropped {
				_ = client.Close() // nobody hears the answer
				if f == late {
					time.Sleep(500 * time.Millisecond)
				}
				_, _ = up.Write(b)
				time.Sleep(300 * time.Millisecond)
			}
			return nil
		}
		if _, err := up.Write(b); err != nil {
			return nil
		}
	}
}

// ran tells of each part of a connection whether a statement has run in the transaction that it
// belongs to. The text comes once, later the name that it was prepared by.
func ran(statement string) func(b []byte) bool {
	text := regexp.MustCompile(`(stmtcache_\w+)\x00[^\x00]*` + regexp.QuoteMeta(statement))
	var name []byte
	has := false
	return func(b []byte) bool {
		if m := text.FindSubmatch(b); m != nil {
			name = bytes.Clone(m[1])
		}
		has = has || name != nil && bytes.Contains(b, name)
		was := has
		if bytes.Contains(b, []byte(commit)) {
			has = false
		}
		return was
	}
}
