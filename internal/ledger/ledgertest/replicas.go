package ledgertest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// testReplicas is what holds when two processes work on one database.
func testReplicas(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	pair := func(f func(a, b *Env)) func(*Env) {
		return func(a *Env) {
			if !a.DB.Shared {
				return
			}
			b := &Env{TB: a.TB, DB: a.DB, Clock: a.Clock}
			b.open()
			defer b.Stop()
			f(a, b)
			b.WantIdle()
		}
	}
	cases(t, open, fresh, map[string]func(*Env){
		"as many accepted as there are grants": pair(func(a, b *Env) {
			users, asks := 150, 6000 // ten grants each
			if os.Getenv("HONGYAN_TEST_LONG") != "" {
				users, asks = 1500, 60_000
			}
			for u := range users {
				a.Exact(hongyan.OpenID(fmt.Sprint("u", u)), OneTime, 10)
			}
			var mu sync.Mutex
			accepted, refused := 0, 0
			var wg sync.WaitGroup
			for w := range 16 {
				e := []*Env{a, b}[w%2]
				wg.Go(func() {
					for i := w * 10; i < asks; i += 160 {
						subs := make([]hongyan.Submission, 0, 10)
						for range min(10, asks-i) {
							// Forty asks a user in the mean; one with fewer than ten would take more
							// luck than there is.
							subs = append(subs, Submission(hongyan.OpenID(fmt.Sprint("u", rand.IntN(users)))))
						}
						rs, err := e.Submit(ctx, subs, ledger.SubmitOptions{})
						mu.Lock()
						for _, r := range rs {
							switch {
							case r.Err == nil:
								accepted++
							case hongyan.CodeOf(r.Err) == hongyan.CodeNoGrant:
								refused++
							default:
								a.TB.Errorf("refused for another reason: %v", r.Err)
							}
						}
						mu.Unlock()
						if err != nil {
							a.TB.Errorf("submit: %v", err)
						}
					}
				})
			}
			wg.Wait()
			if n := a.Stats().Again + b.Stats().Again; n > 0 {
				a.TB.Errorf("%d transactions ran more than once: they locked in different orders", n)
			}
			if accepted != 10*users || refused != asks-10*users {
				a.TB.Errorf("%d accepted and %d refused, want %d and %d", accepted, refused, 10*users, asks-10*users)
			}
		}),
		"keys in opposite order": pair(func(a, b *Env) {
			for round := range 20 {
				var wg sync.WaitGroup
				for w, e := range []*Env{a, b} {
					for k := range 2 {
						name := fmt.Sprintf("k%d-%d", round, (k+w)%2)
						wg.Go(func() {
							sub := Submission(hongyan.OpenID("u" + name))
							_, err := e.Submit(ctx, []hongyan.Submission{sub}, ledger.SubmitOptions{Idem: &ledger.Idempotency{Owner: "o", Route: "r", Key: name, Hash: sha256.Sum256([]byte(name))}})
							if err != nil && hongyan.CodeOf(err) != hongyan.CodeIdempotencyBusy {
								a.TB.Errorf("%s: %v", name, err)
							}
						})
					}
				}
				wg.Wait()
			}
			if list, _, err := a.Messages(ctx, ledger.MessageFilter{App: App, Limit: 1000}); err != nil || len(list) != 40 {
				a.TB.Errorf("%d messages, want one a key: %v", len(list), err)
			}
		}),
		"one dedup key, one message": pair(func(a, b *Env) {
			ids := make(map[hongyan.MessageID]bool)
			var mu sync.Mutex
			var wg sync.WaitGroup
			for w := range 20 {
				e := []*Env{a, b}[w%2]
				wg.Go(func() {
					m, err := e.Try(Submission("u1", dedup("k")))
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						a.TB.Errorf("submit: %v", err)
						return
					}
					ids[m.ID] = true
				})
			}
			wg.Wait()
			if len(ids) != 1 {
				a.TB.Errorf("%d messages", len(ids))
			}
		}),
		"a message is claimed once": pair(func(a, b *Env) {
			const n = 400
			for part := range n / 100 {
				subs := make([]hongyan.Submission, 100)
				for i := range subs {
					subs[i] = Submission(hongyan.OpenID(fmt.Sprint("u", part*100+i)))
				}
				_, err := a.Submit(ctx, subs, ledger.SubmitOptions{})
				a.must(err)
			}
			claimed := make(map[hongyan.MessageID]int)
			var mu sync.Mutex
			var wg sync.WaitGroup
			for _, e := range []*Env{a, b} {
				wg.Go(func() {
					for empty := 0; empty < 3; {
						jobs, err := e.ClaimSends(ctx, ledger.ClaimRequest{App: App, Max: 16})
						if err != nil {
							a.TB.Errorf("claim: %v", err)
							return
						}
						if len(jobs) == 0 {
							empty++
						}
						mu.Lock()
						for _, j := range jobs {
							claimed[j.Message.ID]++
						}
						mu.Unlock()
						for _, j := range jobs {
							e.RecordAttempt(j, e.Outcome(hongyan.OutcomeOK))
						}
						e.eventually("settled", func() bool { return e.Stats().UnderWay == 0 })
					}
				})
			}
			wg.Wait()
			for id, times := range claimed {
				if times != 1 {
					a.TB.Errorf("%s was claimed %d times", id, times)
				}
			}
			if len(claimed) != n {
				a.TB.Errorf("%d claimed, want %d", len(claimed), n)
			}
		}),
		"each hears of what the other changed": pair(func(a, b *Env) {
			a.must(a.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual}))
			b.eventually("the pause is known", func() bool { app, _ := b.App(App); return len(app.Pauses) == 1 })
			k, err := b.CreateKey(ctx, hongyan.APIKey{Name: "k", Scopes: hongyan.Scopes()}, nil)
			a.must(err)
			a.eventually("the key is known", func() bool { _, err := a.Authenticate(k.Key); return err == nil })
		}),
		"a dead one's lease is taken over": pair(func(a, b *Env) {
			b.Lane.Room(1)
			m, err := b.Try(Submission("u1"))
			a.must(err)
			job := b.Lane.Jobs()[0]
			a.Tick(ledger.LeaseTime + 9*time.Second)
			a.WantState(m.ID, hongyan.StateSending, "")
			a.Tick(time.Second)
			a.WantState(m.ID, hongyan.StateUncertain, hongyan.CodeWeChatUnclear)
			// It was not dead after all: what it knows settles the message.
			b.Record(job, b.Outcome(hongyan.OutcomeOK))
			a.WantState(m.ID, hongyan.StateAccepted, "")
		}),
		"both learn the same template at once": pair(func(a, b *Env) {
			for round := range 10 {
				list := append(Templates(hongyan.KindOneTime), ledger.SyncedTemplate{TemplateID: fmt.Sprint("new", round), Title: "x", Kind: hongyan.KindOneTime})
				var wg sync.WaitGroup
				for _, e := range []*Env{a, b} {
					wg.Go(func() {
						if err := e.SaveTemplates(ctx, App, list); err != nil {
							a.TB.Errorf("save templates: %v", err)
						}
					})
				}
				wg.Wait()
			}
		}),
		"the bound holds for both together": pair(func(a, b *Env) {
			_, err := a.UpdateApp(ctx, App, ledger.AppUpdate{Merge: func(s *hongyan.AppSettings) error { s.BacklogLimit = 10; return nil }})
			a.must(err)
			b.eventually("the limit is known", func() bool { app, _ := b.App(App); return app.Settings.BacklogLimit == 10 })
			for range 9 {
				a.Send("u1")
			}
			a.must(b.Recount(ctx))
			b.Send("u1")
			_, err = b.Try(Submission("u1"))
			wantFull(a.TB, err, hongyan.CodeBacklogFull)
			// Until its own recount a takes more: past the bound, by one minute's worth at most.
			a.Send("u1")
			a.must(a.Recount(ctx))
			_, err = a.Try(Submission("u1"))
			wantFull(a.TB, err, hongyan.CodeBacklogFull)
		}),
		"they count each other": pair(func(a, b *Env) {
			list, err := a.Replicas(ctx)
			a.must(err)
			if len(list) != 2 || b.Live() != 2 {
				a.TB.Errorf("replicas: %+v, live: %d", list, b.Live())
			}
		}),
	})
}

// testFirstStart opens an empty database from several processes at once.
func testFirstStart(t *testing.T, open func(testing.TB) *Database) {
	db := open(t)
	if !db.Shared {
		return
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			l, err := ledger.Open(context.Background(), db.Config)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			if err := l.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wg.Wait()
}

// testClocks shows that the database's clock counts, and what a wrong one of this machine does.
func testClocks(t *testing.T, open func(testing.TB) *Database) {
	for name, c := range map[string]struct {
		behind time.Duration
		claims bool
	}{"a little wrong": {30 * time.Second, true}, "very wrong": {-2 * time.Minute, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			if !db.Shared {
				return // the clock of the one process is the clock
			}
			cfg := db.Config
			cfg.Clock = func() time.Time { return time.Now().Add(-c.behind) }
			l, err := ledger.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if off := time.Until(l.Now()); off.Abs() > 2*time.Second {
				t.Errorf("the ledger's clock is %s from the database's", off)
			}
			if s := l.Skew(); (s - c.behind).Abs() > 2*time.Second {
				t.Errorf("skew %s, want %s", s, c.behind)
			}
			if l.Claims() != c.claims {
				t.Errorf("claims: %v, want %v", l.Claims(), c.claims)
			}
		})
	}
}
