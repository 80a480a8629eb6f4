package ledgertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// listener reads the stream of events as a connected reader does.
type listener struct {
	e      *Env
	filter ledger.EventFilter
	place  ledger.EventPlace
}

func (e *Env) listen(types ...hongyan.EventPattern) *listener {
	e.TB.Helper()
	l := &listener{e: e, filter: ledger.EventFilter{Types: types}}
	e.must(e.ListenTo(context.Background(), l.filter))
	e.reading = append(e.reading, l.filter)
	var err error
	l.place, err = e.EventsFrom(context.Background(), "")
	e.must(err)
	return l
}

// next is what has come since the last call.
func (l *listener) next() (out []hongyan.Event) {
	l.e.TB.Helper()
	for more := true; more; {
		var some []hongyan.Event
		var err error
		some, l.place, more, err = l.e.EventsAfter(context.Background(), l.place, l.filter)
		l.e.must(err)
		out = append(out, some...)
	}
	return out
}

// want fails unless exactly these have come, each as "type status"; a message's data must not.
func (l *listener) want(want ...string) {
	l.e.TB.Helper()
	var got []string
	for _, e := range l.next() {
		var m hongyan.Message
		l.e.must(json.Unmarshal(e.Data, &m))
		if len(m.Data) > 0 || m.ID == "" || m.App != App || e.App != App || !e.At.Equal(l.e.Clock.Now()) {
			l.e.TB.Errorf("event: %+v, %s", e, e.Data)
		}
		got = append(got, strings.TrimPrefix(string(e.Type), "message.")+" "+string(m.Status))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		l.e.TB.Errorf("events %q, want %q", got, want)
	}
}

// testEvents: every end of a message is announced once, with the change itself.
func testEvents(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	heard := func(f func(*Env, *listener)) func(*Env) {
		return func(e *Env) { f(e, e.listen("message.*")) }
	}
	ends := func(class hongyan.OutcomeClass, want ...string) func(*Env) {
		return heard(func(e *Env, l *listener) {
			e.Send("u1")
			l.want()
			e.Attempt(class)
			l.want(want...)
		})
	}
	cases(t, open, fresh, map[string]func(*Env){
		"nobody listens": func(e *Env) {
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.must(e.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual}))
			e.must(e.Announce(ctx, hongyan.EventUserErased, App, 1))
			e.listen("message.failed")
			e.must(e.Resume(ctx, App, hongyan.PauseApp, "", ledger.ResumeByPerson))
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			if n := e.DB.Count(e.TB, "events"); n != 0 {
				e.TB.Errorf("%d events were recorded", n)
			}
		},
		"accepted":                 ends(hongyan.OutcomeOK, "accepted accepted"),
		"refused":                  ends(hongyan.OutcomeCaller, "failed failed"),
		"not subscribed":           ends(hongyan.OutcomeRecipient, "failed failed"),
		"no clear answer":          ends(hongyan.OutcomeUnclear, "uncertain uncertain"),
		"given back":               ends(hongyan.OutcomeGiveBack),
		"tried again":              ends(hongyan.OutcomeBusy),
		"expired before the write": ends(hongyan.OutcomeExpired, "expired expired"),
		"many accepted at once": heard(func(e *Env, l *listener) {
			e.Lane.Room(100)
			for i := range 100 {
				e.Send(hongyan.OpenID(fmt.Sprint("u", i)))
			}
			n := e.Lane.settled()
			for _, j := range e.Lane.Jobs() {
				e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
			}
			if !e.Lane.wait(n+100, 30*time.Second) {
				e.TB.Fatalf("the results were not written")
			}
			l.want(slices.Repeat([]string{"accepted accepted"}, 100)...)
		}),
		"what it says": heard(func(e *Env, l *listener) {
			m := e.Send("u1", dedup("k"), func(s *hongyan.Submission) {
				s.Tags, s.Metadata = []string{"t"}, map[string]string{"order": "<7>"}
			})
			e.Attempt(hongyan.OutcomeCaller)
			got := l.next()
			if len(got) != 1 {
				e.TB.Fatalf("%d events, want 1", len(got))
			}
			var told, want hongyan.Message
			e.must(json.Unmarshal(got[0].Data, &told))
			now := e.Get(m.ID)
			now.Data, now.Attempts, now.Timeline = nil, nil, nil
			b, _ := json.Marshal(now)
			e.must(json.Unmarshal(b, &want))
			if a, b := eventJSON(told), eventJSON(want); a != b {
				e.TB.Errorf("told %s, want %s", a, b)
			}
			if told.Errcode == nil || *told.Errcode != 47003 || told.Metadata["order"] != "<7>" || !bytes.Contains(got[0].Data, []byte(`"<7>"`)) {
				e.TB.Errorf("data: %s", got[0].Data)
			}
		}),
		"a result written twice": heard(func(e *Env, l *listener) {
			e.Send("u1")
			j := e.ClaimOne()
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			e.Record(j, e.Outcome(hongyan.OutcomeOK)) // as after a commit that was not answered
			l.want("accepted accepted")
			e.Send("u2")
			j = e.ClaimOne()
			e.Record(j, e.Outcome(hongyan.OutcomeUnclear))
			e.Record(j, e.Outcome(hongyan.OutcomeUnclear))
			l.want("uncertain uncertain")
		}),
		"held": heard(func(e *Env, l *listener) {
			e.Exact("u1", OneTime, 0)
			e.Send("u1", onNoGrant(hongyan.OnNoGrantHold))
			l.want("held held")
			e.Tick(hongyan.DefaultHoldFor)
			l.want("expired expired")
			e.Exact("u2", OneTime, 1)
			e.Send("u2", onNoGrant(hongyan.OnNoGrantHold))
			e.Attempt(hongyan.OutcomeRecipient)
			l.want("held held")
		}),
		"canceled": heard(func(e *Env, l *listener) {
			m := e.Send("u1", sendAt(Start.Add(time.Hour)))
			for range 2 {
				_, err := e.Cancel(ctx, m.ID)
				e.must(err)
			}
			l.want("canceled canceled")
		}),
		"ends in the claim": heard(func(e *Env, l *listener) {
			e.Exact("u1", OneTime, 0)
			e.Send("u1", reserveAt(hongyan.ReserveSend), sendAt(Start.Add(time.Hour)))
			e.Send("u2", expiresAt(Start.Add(time.Hour)))
			e.Exact("u3", OneTime, 0)
			e.Send("u3", reserveAt(hongyan.ReserveSend), sendAt(Start.Add(time.Hour)), onNoGrant(hongyan.OnNoGrantHold))
			e.pass(time.Hour) // no sweep
			e.Claim(10)
			e.must(e.Sweep(ctx)) // finds nothing more
			l.want("expired expired", "failed failed", "held held")
		}),
		"taken over, then answered": heard(func(e *Env, l *listener) {
			e.Send("u1")
			j := e.ClaimOne()
			e.Tick(ledger.LeaseTime + 10*time.Second)
			l.want("uncertain uncertain")
			e.Record(j, e.Outcome(hongyan.OutcomeOK))
			l.want("accepted accepted")
		}),
		"settled by a person": heard(func(e *Env, l *listener) {
			for as, want := range map[hongyan.State]string{hongyan.StateDelivered: "uncertain_closed delivered", hongyan.StateFailed: "uncertain_closed failed"} {
				m := e.Send("u1")
				e.Attempt(hongyan.OutcomeUnclear)
				l.want("uncertain uncertain")
				for range 2 {
					_, err := e.Resolve(ctx, m.ID, as)
					e.must(err)
				}
				l.want(want)
			}
			m := e.Send("u1")
			e.Attempt(hongyan.OutcomeUnclear)
			l.want("uncertain uncertain")
			_, err := e.Resolve(ctx, m.ID, hongyan.StateQueued)
			e.must(err)
			l.want()
			e.Tick(2 * time.Minute)
			e.Attempt(hongyan.OutcomeOK)
			l.want("accepted accepted")
		}),
		"given up after a week": heard(func(e *Env, l *listener) {
			e.Send("u1")
			e.Attempt(hongyan.OutcomeUnclear)
			l.want("uncertain uncertain")
			e.Tick(7 * 24 * time.Hour)
			e.Tick(24 * time.Hour)
			got := l.next()
			if len(got) != 1 || got[0].Type != hongyan.EventMessageUncertainClosed {
				e.TB.Errorf("events: %+v", got)
			}
		}),
		"a repeat that is stopped": heard(func(e *Env, l *listener) {
			m := e.Send("u1", onUncertain(hongyan.OnUncertainResend))
			e.Attempt(hongyan.OutcomeUnclear)
			l.want("uncertain uncertain")
			e.Tick(2 * time.Minute) // queued again
			e.WantState(m.ID, hongyan.StateQueued, "")
			_, err := e.Cancel(ctx, m.ID)
			e.must(err)
			l.want("uncertain uncertain")
		}),
		"left behind by a stop": func(e *Env) {
			e.listen("message.*")
			e.Send("u1")
			e.ClaimOne()
			place, err := e.EventsFrom(ctx, "")
			e.must(err)
			e.Restart()
			e.must(e.Sweep(ctx))
			l := &listener{e: e, filter: ledger.EventFilter{Types: []hongyan.EventPattern{"message.*"}}, place: place}
			l.want("uncertain uncertain")
		},
		"rolled back with its change": func(e *Env) {
			l := e.listen("*")
			e.DB.Poison(e.TB, "UPDATE", "errmsg")
			e.Send("u1")
			j := e.ClaimOne()
			o := e.Outcome(hongyan.OutcomeCaller)
			o.Errmsg = "poison"
			n := e.Lane.settled()
			e.RecordAttempt(j, o)
			e.Send("u2")
			other := e.ClaimOne()
			e.RecordAttempt(other, e.Outcome(hongyan.OutcomeOK))
			if !e.Lane.wait(n+1, 30*time.Second) {
				e.TB.Fatalf("the good result was not written")
			}
			l.want("accepted accepted")
			e.DB.Cure(e.TB)
			if !e.Lane.wait(n+2, 30*time.Second) {
				e.TB.Fatalf("the bad result was not written")
			}
			l.want("failed failed")
		},
		"pauses": func(e *Env) {
			l := e.listen("app.*", "template.stale")
			p := hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseAppSecret, Detail: "words", ProbeAt: Start.Add(time.Minute)}
			e.must(e.Pause(ctx, App, p))
			e.must(e.Pause(ctx, App, p)) // the probe failed
			e.must(e.Resume(ctx, App, hongyan.PauseApp, "", ledger.ResumeBySystem))
			e.must(e.Resume(ctx, App, hongyan.PauseApp, "", ledger.ResumeBySystem))
			for range 2 {
				e.must(e.MarkTemplate(ctx, App, OneTime, false))
			}
			var got []hongyan.EventType
			for _, x := range l.next() {
				got = append(got, x.Type)
				if x.Type == hongyan.EventAppPaused && !bytes.Contains(x.Data, []byte(`"remedy"`)) {
					e.TB.Errorf("data: %s", x.Data)
				}
			}
			if want := []hongyan.EventType{hongyan.EventAppPaused, hongyan.EventAppResumed, hongyan.EventTemplateStale}; !slices.Equal(got, want) {
				e.TB.Errorf("events %v, want %v", got, want)
			}
		},
		"a reader that goes": func(e *Env) {
			l := e.listen("message.*")
			e.reading = nil // it says so itself
			e.Tick(9 * time.Minute)
			e.must(e.ListenTo(ctx, l.filter)) // still there
			e.Tick(9 * time.Minute)
			e.purged(1)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			l.want("accepted accepted")
			e.Tick(11 * time.Minute)
			e.purged(0)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			if got := l.next(); len(got) != 0 {
				e.TB.Errorf("recorded for nobody: %+v", got)
			}
		},
		"list": func(e *Env) {
			e.listen("*")
			for i := range 5 {
				e.must(e.Announce(ctx, hongyan.EventUserErased, App, i))
				e.must(e.Announce(ctx, hongyan.EventGrantAccepted, App, i))
				e.Clock.Advance(time.Minute)
			}
			list := func(f ledger.EventFilter) (out []string) {
				for {
					some, next, err := e.Events(ctx, f)
					e.must(err)
					for _, x := range some {
						out = append(out, fmt.Sprint(x.Type, x.Data[0]-'0'))
					}
					if f.Cursor = next; next == "" {
						return out
					}
				}
			}
			all := list(ledger.EventFilter{})
			if len(all) != 10 || all[0] != "grant.accepted4" || !slices.Equal(all, list(ledger.EventFilter{Limit: 3})) {
				e.TB.Errorf("all: %q, by three: %q", all, list(ledger.EventFilter{Limit: 3}))
			}
			if got := list(ledger.EventFilter{Types: []hongyan.EventPattern{"user.*"}, Since: Start.Add(3 * time.Minute), Apps: []hongyan.AppID{App, "other"}}); !slices.Equal(got, []string{"user.erased4", "user.erased3"}) {
				e.TB.Errorf("filtered: %q", got)
			}
			if got := list(ledger.EventFilter{Apps: []hongyan.AppID{"other"}}); len(got) != 0 {
				e.TB.Errorf("of an app that is not here: %q", got)
			}
			_, _, err := e.Events(ctx, ledger.EventFilter{Cursor: "x"})
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"going on": func(e *Env) {
			l := e.listen("user.erased")
			for i := range 3 {
				e.must(e.Announce(ctx, hongyan.EventUserErased, App, i))
				e.pass(time.Hour)
			}
			all := l.next()
			place, err := e.EventsFrom(ctx, all[0].ID)
			e.must(err)
			if again := (&listener{e, l.filter, place}).next(); len(again) != 2 || again[0].ID != all[1].ID {
				e.TB.Errorf("behind the first: %+v", again)
			}
			e.DB.Exec(e.TB, `DELETE FROM events WHERE data = '0'`)
			if place, err = e.EventsFrom(ctx, all[0].ID); err != nil {
				e.TB.Fatalf("of one that is not kept: %v", err)
			}
			if again := (&listener{e, l.filter, place}).next(); len(again) != 2 {
				e.TB.Errorf("behind one that is not kept: %+v", again)
			}
			_, err = e.EventsFrom(ctx, "evt_x")
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
	})
	cases(t, open, fresh, map[string]func(*Env){
		"numbers are the order of the commits": func(e *Env) {
			l := e.listen("user.erased")
			const writers, each = 8, 40
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for i := range each {
						if err := e.Announce(ctx, hongyan.EventUserErased, App, i); err != nil {
							e.TB.Errorf("announce: %v", err)
						}
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			seen := make(map[hongyan.EventID]bool)
			read := func() {
				for _, x := range l.next() {
					if seen[x.ID] {
						e.TB.Errorf("%s came twice", x.ID)
					}
					seen[x.ID] = true
				}
			}
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				read()
			}
			read()
			if len(seen) != writers*each {
				e.TB.Errorf("%d events were read, want %d", len(seen), writers*each)
			}
		},
	})
}

func eventJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// purged lets the upkeep come by, and fails unless n readers are left.
func (e *Env) purged(n int) {
	e.TB.Helper()
	e.must(e.Purge(context.Background()))
	if got := e.DB.Count(e.TB, "event_readers"); got != n {
		e.TB.Errorf("%d readers are left, want %d", got, n)
	}
}
