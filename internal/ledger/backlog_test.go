package ledger_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest"
)

// TestBacklogMemory queues many messages behind a pause and sends some of them: what waits is
// on disk alone.
func TestBacklogMemory(t *testing.T) {
	// The first fill what is known of users and grants, which is bounded by itself.
	before, messages := 140_000, 200_000
	if raceEnabled {
		before, messages = 5000, 10_000
	}
	const most = 4 << 20
	e := ledgertest.Open(t, ledgertest.SQLite(t), hongyan.AppSettings{})
	ctx := t.Context()
	if err := e.Pause(ctx, ledgertest.App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual}); err != nil {
		t.Fatal(err)
	}
	queue := func(first, n int) {
		t.Helper()
		for ; n > 0; first, n = first+1000, n-1000 {
			subs := make([]hongyan.Submission, 1000)
			for i := range subs {
				subs[i] = ledgertest.Submission(hongyan.OpenID(fmt.Sprint("u", first+i)))
			}
			if rs, err := e.Submit(ctx, subs, ledger.SubmitOptions{Strict: true}); err != nil || rs[0].Err != nil {
				t.Fatal(err, rs)
			}
		}
	}
	queue(0, before) // statements and pools are there afterwards too
	was := heap()
	queue(before, messages)
	grown := heap() - was
	t.Logf("%d KB for %d queued messages", grown>>10, messages)
	if grown > most {
		t.Errorf("the heap has grown by %d KB", grown>>10)
	}
	if err := e.Resume(ctx, ledgertest.App, hongyan.PauseApp, "", ledger.ResumeByPerson); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for range 20 {
		for _, j := range e.Claim(128) {
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			sent++
		}
	}
	if grown = heap() - was; sent != 20*128 || grown > most {
		t.Errorf("the heap has grown by %d KB after %d were sent", grown>>10, sent)
	}
	if n := e.Stats().Backlog[ledgertest.App]; n != int64(before+messages-sent) {
		t.Errorf("backlog %d, want %d", n, before+messages-sent)
	}
}

// heap is what is in use once the garbage is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
