package ledgertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// testJournal is about messages that go straight to their senders and are looked at by nobody
// before they are over. On SQLite they are in the journal for as long.
func testJournal(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	name := func(i int) hongyan.OpenID { return hongyan.OpenID(fmt.Sprint("u", i)) }
	// send hands off n messages to users from first on, a hundred a call.
	send := func(e *Env, first, n int) (ids []hongyan.MessageID, jobs map[hongyan.MessageID]*ledger.Job) {
		e.TB.Helper()
		e.Lane.Room(n)
		for from := first; from < first+n; from += 100 {
			var subs []hongyan.Submission
			for i := from; i < min(from+100, first+n); i++ {
				subs = append(subs, Submission(name(i)))
			}
			rs, err := e.Submit(ctx, subs, ledger.SubmitOptions{Strict: true})
			e.must(err)
			for _, r := range rs {
				ids = append(ids, r.Message.ID)
			}
		}
		jobs = make(map[hongyan.MessageID]*ledger.Job)
		for _, j := range e.Lane.Jobs() {
			jobs[j.Message.ID] = j
		}
		if len(jobs) != n {
			e.TB.Fatalf("%d of %d were handed off", len(jobs), n)
		}
		return ids, jobs
	}
	accept := func(e *Env, jobs ...*ledger.Job) {
		e.TB.Helper()
		n := e.Lane.settled()
		for _, j := range jobs {
			e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
		}
		if !e.Lane.wait(n+len(jobs), 30*time.Second) {
			e.TB.Fatalf("results were not written")
		}
	}
	cases(t, open, fresh, map[string]func(*Env){
		"more than it holds, and a stop": func(e *Env) {
			const n = 700
			for i := range n {
				e.Exact(name(i), OneTime, 2)
			}
			ids, jobs := send(e, 0, n)
			for i, id := range ids {
				if i%7 != 0 {
					accept(e, jobs[id])
				}
			}
			e.Restart()
			for i, id := range ids {
				count := Count{Available: 1, Spent: 1, Exact: true}
				if i%7 == 0 {
					e.WantState(id, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
					count = Count{Available: 1, Reserved: 1, Exact: true}
				} else if m := e.Get(id); m.Status != hongyan.StateAccepted || m.MsgID != "1152921504606846983" || len(m.Attempts) != 1 || m.Attempts[0].Class != hongyan.OutcomeOK {
					e.TB.Fatalf("message %d: %+v", i, m)
				}
				e.WantCount(name(i), OneTime, count)
			}
		},
		"a strict call that is undone beside them": func(e *Env) {
			e.Exact("u0", OneTime, 1)
			ids, jobs := send(e, 0, 3)
			accept(e, jobs[ids[0]])
			e.Exact("u2", OneTime, 0)
			e.Repeat("r2", "u9", OneTime, "accept", 0)
			// The first is handed off, and written before the second's tap, which is known and asks for
			// no messages; the third is refused.
			e.Lane.Room(2)
			subs := []hongyan.Submission{Submission("u8"), Submission("u9"), Submission("u2", onNoGrant(hongyan.OnNoGrantFail))}
			subs[0].GrantReport = &hongyan.Report{ID: "r1", Choice: "accept"}
			subs[1].GrantReport = &hongyan.Report{ID: "r2", Choice: "accept"}
			rs, err := e.Submit(ctx, subs, ledger.SubmitOptions{Strict: true})
			e.must(err)
			wantCode(e.TB, rs[2].Err, hongyan.CodeNoGrant)
			accept(e, jobs[ids[1]])
			for i, want := range []hongyan.State{hongyan.StateAccepted, hongyan.StateAccepted, hongyan.StateSending} {
				e.WantState(ids[i], want, "")
			}
			accept(e, jobs[ids[2]])
			if jobs := e.Lane.Jobs(); len(jobs) != 0 || e.DB.Count(e.TB, "messages") != 3 {
				e.TB.Errorf("%d jobs and %d messages; what was undone is there", len(jobs), e.DB.Count(e.TB, "messages"))
			}
			e.Lane.Room(0)
			if m := e.Get(e.Send("u8").ID); m.To != "u8" { // whose row was undone too
				e.TB.Errorf("sent to %q", m.To)
			}
		},
		"a result that comes twice": func(e *Env) {
			e.Exact("u0", OneTime, 1)
			ids, jobs := send(e, 0, 2)
			accept(e, jobs[ids[0]])
			accept(e, jobs[ids[0]])
			accept(e, jobs[ids[1]])
			e.WantState(ids[0], hongyan.StateAccepted, "")
		},
	})
}
