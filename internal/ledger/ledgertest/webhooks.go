package ledgertest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// hook makes a webhook for all events.
func (e *Env) hook(events ...hongyan.EventPattern) hongyan.Webhook {
	e.TB.Helper()
	if len(events) == 0 {
		events = []hongyan.EventPattern{"*"}
	}
	w, err := e.CreateWebhook(context.Background(), hongyan.Webhook{URL: "https://shop.example/hook", Events: events}, nil)
	e.must(err)
	return w
}

func (e *Env) happen(n int) {
	e.TB.Helper()
	for i := range n {
		e.must(e.Announce(context.Background(), hongyan.EventUserErased, App, i))
	}
}

// due claims up to n deliveries of every webhook that has some.
func (e *Env) due(n int) []*ledger.DeliveryJob {
	e.TB.Helper()
	due, _, err := e.DueDeliveries(context.Background())
	e.must(err)
	want := make(map[int64]int)
	for _, no := range due {
		want[no] = n
	}
	jobs, err := e.ClaimDeliveries(context.Background(), want)
	e.must(err)
	return jobs
}

// dueOne claims the one delivery that must be due.
func (e *Env) dueOne() *ledger.DeliveryJob {
	e.TB.Helper()
	jobs := e.due(10)
	if len(jobs) != 1 {
		e.TB.Fatalf("%d deliveries are due, want 1", len(jobs))
	}
	return jobs[0]
}

// came records what a try came to and waits until it is on disk.
func (e *Env) came(j *ledger.DeliveryJob, r ledger.DeliveryResult) {
	e.TB.Helper()
	done := make(chan struct{})
	e.RecordDelivery(j, r, func() { close(done) })
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		e.TB.Fatalf("the result of %s was not written", j.ID)
	}
}

func (e *Env) deliveries(w hongyan.Webhook, f ledger.DeliveryFilter) []hongyan.Delivery {
	e.TB.Helper()
	list, _, err := e.Deliveries(context.Background(), w.ID, f)
	e.must(err)
	return list
}

var (
	answered = ledger.DeliveryResult{Status: 204}
	refused  = ledger.DeliveryResult{Status: 500, Error: "answered 500", Response: "oh\x00no\xff", RetryIn: time.Minute}
)

func testWebhooks(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, fresh, map[string]func(*Env){
		"a delivery": func(e *Env) {
			w := e.hook()
			e.hook("grant.*") // wants something else
			e.happen(1)
			j := e.dueOne()
			if j.Attempt != 1 || j.URL != w.URL || j.Event.Type != hongyan.EventUserErased || j.Event.App != App || string(j.Event.Data) != "0" ||
				len(j.Secrets) != 1 || j.Secrets[0].Reveal() != w.Secret {
				e.TB.Errorf("job: %+v", j)
			}
			e.came(j, answered)
			d := e.deliveries(w, ledger.DeliveryFilter{})
			if len(d) != 1 || d[0].ID != j.ID || d[0].Status != hongyan.DeliveryDelivered || d[0].Attempts != 1 || d[0].HTTPStatus != 204 || d[0].Event != j.Event.ID || !d[0].NextAt.IsZero() {
				e.TB.Errorf("deliveries: %+v", d)
			}
			if jobs := e.due(10); len(jobs) != 0 {
				e.TB.Errorf("delivered again: %+v", jobs)
			}
		},
		"tries": func(e *Env) {
			w := e.hook()
			e.happen(1)
			e.came(e.dueOne(), refused)
			if d := e.deliveries(w, ledger.DeliveryFilter{Status: hongyan.DeliveryPending}); len(d) != 1 || !d[0].NextAt.Equal(Start.Add(time.Minute)) || d[0].Error != "answered 500" || d[0].Response != "oh?no?" {
				e.TB.Errorf("deliveries: %+v", d)
			}
			if jobs := e.due(10); len(jobs) != 0 {
				e.TB.Errorf("not due yet: %+v", jobs)
			}
			if _, next, err := e.DueDeliveries(ctx); err != nil || !next.Equal(Start.Add(time.Minute)) {
				e.TB.Errorf("next at %v, %v", next, err)
			}
			e.Clock.Advance(time.Minute)
			j := e.dueOne()
			if j.Attempt != 2 {
				e.TB.Errorf("attempt %d, want 2", j.Attempt)
			}
			e.came(j, ledger.DeliveryResult{Error: "the last"})
			if d := e.deliveries(w, ledger.DeliveryFilter{Status: hongyan.DeliveryFailed}); len(d) != 1 || d[0].Attempts != 2 {
				e.TB.Errorf("deliveries: %+v", d)
			}
			d, err := e.ResendDelivery(ctx, w.ID, j.ID)
			e.must(err)
			if d.Status != hongyan.DeliveryPending || d.Attempts != 0 {
				e.TB.Errorf("resent: %+v", d)
			}
			e.came(e.dueOne(), answered)
			_, err = e.ResendDelivery(ctx, w.ID, "dlv_01ARZ3NDEKTSV4RRFFQ69G5FAV")
			wantCode(e.TB, err, hongyan.CodeNotFound)
		},
		"a claim is for one": func(e *Env) {
			e.hook()
			e.happen(5)
			first, rest := e.due(2), e.due(10)
			if len(first) != 2 || len(rest) != 3 {
				e.TB.Fatalf("claimed %d and %d, want 2 and 3", len(first), len(rest))
			}
			for _, j := range append(first, rest...)[1:] {
				e.came(j, answered)
			}
			// The first one's process has died.
			e.Clock.Advance(ledger.DeliveryLease)
			again := e.dueOne()
			if again.ID != first[0].ID || again.Attempt != 2 {
				e.TB.Errorf("taken over: %+v", again)
			}
			e.came(first[0], refused) // and did not: what it says is late
			e.came(again, answered)
			e.came(first[0], refused)
			if jobs := e.due(10); len(jobs) != 0 {
				e.TB.Errorf("due again: %+v", jobs)
			}
		},
		"not tried after all": func(e *Env) {
			e.hook()
			e.happen(1)
			e.came(e.dueOne(), ledger.DeliveryResult{Untried: true})
			if j := e.dueOne(); j.Attempt != 1 {
				e.TB.Errorf("attempt %d, want 1", j.Attempt)
			}
		},
		"a restart loses none": func(e *Env) {
			w := e.hook()
			e.happen(3)
			e.due(1) // under way at the end
			e.Restart()
			e.Clock.Advance(ledger.DeliveryLease)
			jobs := e.due(10)
			if len(jobs) != 3 || jobs[0].Secrets[0].Reveal() != w.Secret {
				e.TB.Fatalf("%d deliveries are due, want 3", len(jobs))
			}
			for _, j := range jobs {
				e.came(j, answered)
			}
		},
		"gone": func(e *Env) {
			w := e.hook()
			e.happen(2)
			jobs := e.due(10)
			e.came(jobs[0], ledger.DeliveryResult{Status: 410, Error: "answered 410", Gone: true})
			w, err := e.Webhook(ctx, w.ID)
			e.must(err)
			if w.Enabled || w.DisabledReason != hongyan.DisabledGone || !w.DisabledAt.Equal(Start) {
				e.TB.Errorf("webhook: %+v", w)
			}
			e.came(jobs[1], refused)
			e.happen(1) // is not for it
			_, err = e.TestWebhook(ctx, w.ID)
			wantCode(e.TB, err, hongyan.CodeConflict)
			_, err = e.ResendDelivery(ctx, w.ID, jobs[0].ID)
			wantCode(e.TB, err, hongyan.CodeConflict)
			e.Clock.Advance(time.Hour)
			if jobs := e.due(10); len(jobs) != 0 {
				e.TB.Errorf("due at a disabled webhook: %+v", jobs)
			}
			yes := true
			w, err = e.UpdateWebhook(ctx, w.ID, ledger.WebhookUpdate{Enabled: &yes})
			e.must(err)
			if !w.Enabled || w.DisabledReason != "" {
				e.TB.Errorf("enabled: %+v", w)
			}
			e.came(e.dueOne(), answered) // what waited
		},
		"only failures": func(e *Env) {
			w := e.hook()
			e.happen(1)
			for i, c := range []struct {
				after   time.Duration
				enabled bool
			}{{0, true}, {4 * 24 * time.Hour, true}, {24*time.Hour - time.Second, true}, {time.Second, false}} {
				e.Clock.Advance(c.after)
				e.came(e.dueOne(), ledger.DeliveryResult{Error: "refused", RetryIn: time.Second})
				got, err := e.Webhook(ctx, w.ID)
				e.must(err)
				if got.Enabled != c.enabled || !got.FailingSince.Equal(Start) {
					e.TB.Errorf("try %d: %+v", i, got)
				}
			}
			got, err := e.Webhook(ctx, w.ID)
			e.must(err)
			if got.DisabledReason != hongyan.DisabledFailing {
				e.TB.Errorf("webhook: %+v", got)
			}
		},
		"a success ends the failures": func(e *Env) {
			w := e.hook()
			e.happen(2)
			jobs := e.due(10)
			e.came(jobs[0], refused)
			e.came(jobs[1], answered)
			got, err := e.Webhook(ctx, w.ID)
			e.must(err)
			if !got.FailingSince.IsZero() {
				e.TB.Errorf("webhook: %+v", got)
			}
		},
		"two secrets": func(e *Env) {
			w := e.hook()
			e.happen(1)
			rotated, err := e.RotateWebhookSecret(ctx, w.ID)
			e.must(err)
			j := e.dueOne()
			if len(j.Secrets) != 2 || j.Secrets[0].Reveal() != rotated.Secret || j.Secrets[1].Reveal() != w.Secret || rotated.Secret == w.Secret {
				e.TB.Errorf("%d secrets sign, want the new one and the old", len(j.Secrets))
			}
			e.came(j, ledger.DeliveryResult{Untried: true})
			e.Clock.Advance(24 * time.Hour)
			if j := e.dueOne(); len(j.Secrets) != 1 || j.Secrets[0].Reveal() != rotated.Secret {
				e.TB.Errorf("%d secrets sign after a day, want the new one", len(j.Secrets))
			}
			disk := e.DB.Bytes(e.TB)
			for _, s := range []string{w.Secret, rotated.Secret} {
				if bytes.Contains(disk, []byte(s)) || bytes.Contains(disk, []byte(s[len("whsec_"):])) {
					e.TB.Errorf("a secret is on disk in clear")
				}
			}
			if w, err = e.Webhook(ctx, w.ID); err != nil || w.Secret != "" {
				e.TB.Errorf("the secret is shown again: %v", err)
			}
		},
		"a test": func(e *Env) {
			w, other := e.hook("grant.*"), e.hook()
			l := e.listen("*")
			d, err := e.TestWebhook(ctx, w.ID)
			e.must(err)
			if d.Type != hongyan.EventWebhookTest || d.Webhook != w.ID || d.Status != hongyan.DeliveryPending {
				e.TB.Errorf("test: %+v", d)
			}
			if j := e.dueOne(); j.ID != d.ID {
				e.TB.Errorf("due is %s, want %s", j.ID, d.ID)
			}
			if got := l.next(); len(got) != 0 || len(e.deliveries(other, ledger.DeliveryFilter{})) != 0 {
				e.TB.Errorf("others heard of it: %+v", got)
			}
		},
		"only some apps": func(e *Env) {
			_, err := e.CreateApp(ctx, hongyan.App{AppID: "wx2"}, hongyan.AppSecret{}, nil)
			e.must(err)
			_, err = e.CreateWebhook(ctx, hongyan.Webhook{URL: "https://x.example", Events: []hongyan.EventPattern{"*"}, Apps: []hongyan.AppID{"wx2"}}, nil)
			e.must(err)
			e.happen(1)
			if n := e.DB.Count(e.TB, "events"); n != 0 {
				e.TB.Errorf("%d events of an app that nobody asked about", n)
			}
			e.must(e.Announce(ctx, hongyan.EventUserErased, "wx2", 1))
			e.dueOne()
		},
		"faults": func(e *Env) {
			for _, w := range []hongyan.Webhook{
				{URL: "", Events: []hongyan.EventPattern{"*"}},
				{URL: "ftp://x.example", Events: []hongyan.EventPattern{"*"}},
				{URL: "https://user:pw@x.example", Events: []hongyan.EventPattern{"*"}},
				{URL: "https://x.example/#f", Events: []hongyan.EventPattern{"*"}},
				{URL: "https://x.example"},
				{URL: "https://x.example", Events: []hongyan.EventPattern{"message"}},
				{URL: "https://x.example", Events: []hongyan.EventPattern{"mess*"}},
				{URL: "https://x.example", Events: []hongyan.EventPattern{"webhook.test"}},
				{URL: "https://x.example", Events: []hongyan.EventPattern{"*"}, Apps: []hongyan.AppID{"nobody"}},
			} {
				_, err := e.CreateWebhook(ctx, w, nil)
				wantCode(e.TB, err, hongyan.CodeInvalid)
			}
			w := e.hook()
			bad := "https://x.example/#f"
			_, err := e.UpdateWebhook(ctx, w.ID, ledger.WebhookUpdate{URL: &bad})
			wantCode(e.TB, err, hongyan.CodeInvalid)
			_, err = e.UpdateWebhook(ctx, "whk_x", ledger.WebhookUpdate{})
			wantCode(e.TB, err, hongyan.CodeNotFound)
			_, _, err = e.Deliveries(ctx, w.ID, ledger.DeliveryFilter{Cursor: "x"})
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"a page at a time": func(e *Env) {
			w := e.hook()
			e.happen(7)
			var all []hongyan.DeliveryID
			for cursor := ""; ; {
				list, next, err := e.Deliveries(ctx, w.ID, ledger.DeliveryFilter{Limit: 3, Cursor: cursor})
				e.must(err)
				for _, d := range list {
					all = append(all, d.ID)
				}
				if cursor = next; next == "" {
					break
				}
			}
			if len(all) != 7 || all[0] < all[6] {
				e.TB.Errorf("listed %v", all)
			}
		},
	})
	week := func(t testing.TB) *Database {
		db := open(t)
		db.Config.Retention = ledger.Retention{Events: 7 * 24 * time.Hour}
		return db
	}
	cases(t, week, fresh, map[string]func(*Env){
		"what has had its day goes": func(e *Env) {
			w, dropped := e.hook(), e.hook()
			e.happen(3)
			e.Clock.Advance(6 * 24 * time.Hour)
			e.happen(2)
			e.must(e.DeleteWebhook(ctx, dropped.ID))
			wantCode(e.TB, e.DeleteWebhook(ctx, dropped.ID), hongyan.CodeNotFound)
			e.must(e.Retain(ctx))
			if n := len(e.deliveries(w, ledger.DeliveryFilter{})); n != 5 || e.DB.Count(e.TB, "events") != 5 || e.DB.Count(e.TB, "deliveries") != 5 || e.DB.Count(e.TB, "webhooks") != 1 {
				e.TB.Errorf("%d deliveries are there, want 5, and nothing of what was deleted", n)
			}
			e.Clock.Advance(24*time.Hour + time.Second)
			e.must(e.Retain(ctx))
			if n := len(e.deliveries(w, ledger.DeliveryFilter{})); n != 2 || e.DB.Count(e.TB, "events") != 2 {
				e.TB.Errorf("%d deliveries are there, want 2", n)
			}
		},
	})
	cases(t, open, fresh, map[string]func(*Env){
		"two replicas": func(a *Env) {
			if !a.DB.Shared {
				return
			}
			b := &Env{TB: a.TB, DB: a.DB, Clock: a.Clock}
			b.open()
			defer b.Stop()
			w := a.hook()
			b.eventually("b knows the webhook", func() bool {
				b.must(b.Announce(ctx, hongyan.EventGrantAccepted, App, 1))
				return b.DB.Count(b.TB, "events") > 0
			})
			a.happen(60)
			var mu sync.Mutex
			seen := make(map[hongyan.DeliveryID]bool)
			var wg sync.WaitGroup
			for _, e := range []*Env{a, b, a, b} {
				wg.Go(func() {
					for {
						jobs := e.due(7)
						if len(jobs) == 0 {
							return
						}
						mu.Lock()
						for _, j := range jobs {
							if seen[j.ID] {
								e.TB.Errorf("%s was claimed twice", j.ID)
							}
							seen[j.ID] = true
						}
						mu.Unlock()
						for _, j := range jobs {
							e.came(j, answered)
						}
					}
				})
			}
			wg.Wait()
			// One whose rows others had locked may have seen none.
			for _, j := range a.due(100) {
				seen[j.ID] = true
				a.came(j, answered)
			}
			if n := len(a.deliveries(w, ledger.DeliveryFilter{Status: hongyan.DeliveryDelivered, Limit: 500})); n != len(seen) || n < 61 {
				a.TB.Errorf("%d delivered of %d claimed", n, len(seen))
			}
		},
	})
}
