package ledgertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
)

// eventually polls, because how long a database takes is not the test's to say.
func (e *Env) eventually(what string, ok func() bool) {
	e.TB.Helper()
	end := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			e.TB.Fatalf("never came true: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func testStorage(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"a database that cannot write": func(e *Env) {
			e.Lane.Room(10)
			var ids []hongyan.MessageID
			for i := range 5 {
				ids = append(ids, e.Send(hongyan.OpenID(fmt.Sprint("u", i))).ID)
			}
			jobs := e.Lane.Jobs()
			release := e.DB.Hold(e.TB)
			for _, j := range jobs {
				e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
			}
			e.eventually("stalled", e.Stalled)
			_, err := e.Try(Submission("u9"))
			wantCode(e.TB, err, hongyan.CodeStorageUnavailable)
			wantCode(e.TB, e.Ping(ctx), hongyan.CodeStorageUnavailable)
			if !e.Stats().Stalled {
				e.TB.Errorf("the numbers do not say so")
			}
			release()
			if !e.Lane.wait(len(jobs), 30*time.Second) {
				e.TB.Fatalf("the results were not written")
			}
			for _, id := range ids {
				e.WantState(id, hongyan.StateAccepted, "")
			}
			e.eventually("not stalled", func() bool { return !e.Stalled() })
			e.Send("u9")
			e.Record(e.Lane.Jobs()[0], e.Outcome(hongyan.OutcomeOK))
			e.must(e.Ping(ctx))
		},
		"one bad submit fails alone": func(e *Env) {
			e.Lane.Room(1000)
			e.DB.Poison(e.TB, "INSERT", "data")
			type fate struct {
				bad bool
				err error
			}
			fates := make(chan fate)
			for i := range 60 {
				go func() {
					s := Submission(hongyan.OpenID(fmt.Sprint("u", i)))
					if i%20 == 7 {
						s.Data = map[string]string{"thing1": "poison"}
					}
					_, err := e.Try(s)
					fates <- fate{i%20 == 7, err}
				}()
			}
			for range 60 {
				if f := <-fates; f.bad {
					wantCode(e.TB, f.err, hongyan.CodeStorageUnavailable)
				} else if f.err != nil {
					e.TB.Errorf("a good submit failed: %v", f.err)
				}
			}
			jobs := e.Lane.Jobs()
			if len(jobs) != 57 || e.Lane.Free() != 1000-57 || e.Stats().UnderWay != 57 {
				e.TB.Errorf("%d jobs, %d places free, %d busy", len(jobs), e.Lane.Free(), e.Stats().UnderWay)
			}
			for _, j := range jobs {
				e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
			}
			if !e.Lane.wait(57, 30*time.Second) {
				e.TB.Errorf("results were not written")
			}
		},
		"one bad result holds up no other": func(e *Env) {
			e.Lane.Room(1000)
			var ids []hongyan.MessageID
			for i := range 30 {
				ids = append(ids, e.Send(hongyan.OpenID(fmt.Sprint("u", i))).ID)
			}
			jobs := e.Lane.Jobs()
			e.DB.Poison(e.TB, "UPDATE", "errmsg")
			for i, j := range jobs {
				o := e.Outcome(hongyan.OutcomeCaller)
				if i == 3 {
					o.Errmsg = "poison"
				}
				e.RecordAttempt(j, o)
			}
			if !e.Lane.wait(29, 30*time.Second) {
				e.TB.Fatalf("a bad result held up the others")
			}
			e.eventually("stalled", e.Stalled) // no new call while one result is not on disk
			for _, id := range ids {
				if id != jobs[3].Message.ID {
					e.WantState(id, hongyan.StateFailed, hongyan.CodeInvalidData)
				}
			}
			e.WantState(jobs[3].Message.ID, hongyan.StateSending, "")
			e.DB.Cure(e.TB)
			if !e.Lane.wait(30, 30*time.Second) {
				e.TB.Fatalf("the bad result was dropped")
			}
			e.WantState(jobs[3].Message.ID, hongyan.StateFailed, hongyan.CodeInvalidData)
			e.eventually("not stalled", func() bool { return !e.Stalled() })
		},
		"words that a database cannot hold": func(e *Env) {
			e.Lane.Room(1)
			m := e.Send("u1")
			o := e.Outcome(hongyan.OutcomeCaller)
			o.Errmsg = "a\x00b\xff" + strings.Repeat("长", 10_000)
			e.Record(e.Lane.Jobs()[0], o)
			e.WantState(m.ID, hongyan.StateFailed, hongyan.CodeInvalidData)
			if got := e.Get(m.ID).Errmsg; !strings.HasPrefix(got, "a?b?长") || len(got) > 4096 {
				e.TB.Errorf("kept as %.20q, %d bytes", got, len(got))
			}
			_, err := e.Try(Submission("u2", dedup("a\x00b")))
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"one bad row stops no other's expiry": func(e *Env) {
			for i := range 5 {
				e.Send(hongyan.OpenID(fmt.Sprint("u", i)), expiresAt(Start.Add(time.Minute)))
			}
			bad := e.Send("u9", expiresAt(Start.Add(time.Minute)), func(s *hongyan.Submission) { s.Data = map[string]string{"thing1": "poison"} })
			e.DB.Poison(e.TB, "UPDATE", "data")
			e.Clock.Advance(time.Minute)
			if err := e.Sweep(ctx); err == nil {
				e.TB.Errorf("the failure was hidden")
			}
			list, _, err := e.Messages(ctx, messageFilter(hongyan.StateExpired))
			e.must(err)
			if len(list) != 5 {
				e.TB.Errorf("%d expired, want 5", len(list))
			}
			e.DB.Cure(e.TB)
			e.must(e.Sweep(ctx))
			e.WantState(bad.ID, hongyan.StateExpired, "")
		},
		"after the stop": func(e *Env) {
			e.stop()
			e.eventually("submits are refused", func() bool {
				_, err := e.Try(Submission("u1"))
				return hongyan.CodeOf(err) == hongyan.CodeShuttingDown
			})
			e.stopped <- <-e.stopped
		},
	})
}
