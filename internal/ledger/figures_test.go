package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
)

// BenchmarkOverview reads an overview over few and many messages: it must cost the same. Two
// days of figures of ten templates are there, some messages wait, some are uncertain.
// With HONGYAN_TEST_LONG it also opens over ten million messages.
func BenchmarkOverview(b *testing.B) {
	sizes := []int64{10_000, 1_000_000}
	if os.Getenv("HONGYAN_TEST_LONG") != "" {
		sizes = append(sizes, 10_000_000)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("%dk", n/1000), func(b *testing.B) {
			ctx := context.Background()
			l := overviewLedger(b, n)
			b.ResetTimer()
			for range b.N {
				o, err := l.Overview(ctx, "", nil)
				if err != nil || o.Today.Accepted == 0 || o.Queue.Queued != 10 || o.Queue.Held != 10 || len(o.Apps) != 1 {
					b.Fatalf("%+v, %v", o, err)
				}
			}
		})
	}
}

func overviewLedger(b *testing.B, n int64) *Ledger {
	b.Helper()
	ctx := context.Background()
	key, err := NewMasterKey(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	l, err := Open(ctx, Config{DB: "sqlite:" + filepath.Join(b.TempDir(), "hongyan.db"), MasterKey: key})
	if err != nil {
		b.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- l.Run(run) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	_, err = l.CreateApp(ctx, hongyan.App{AppID: "a"}, hongyan.AppSecret{}, nil)
	must(err)
	var list []SyncedTemplate
	for i := range 10 {
		list = append(list, SyncedTemplate{TemplateID: fmt.Sprint("t", i), Content: "{{thing1.DATA}}", Kind: hongyan.KindOneTime})
	}
	must(l.SaveTemplates(ctx, "a", list))
	must(l.Preload(ctx, Preloaded{App: "a", Template: "t0", Messages: n, OpenID: "u", Data: map[string]string{"thing1": "x"}}))
	must(l.write(ctx, "fill", func(t *txn) error {
		sums := make(map[statKey]int64)
		for _, te := range l.appByNo(1).templates {
			for h := range int64(48) {
				for _, what := range []int64{whatSubmitted, stAccepted, stDelivered, whatGranted} {
					sums[statKey{template: te.no, hour: t.now/hourMS - h, what: what}] = 7
				}
				sums[statKey{template: te.no, hour: t.now/hourMS - h, what: stFailed, reason: string(hongyan.CodeNotSubscribed), errcode: 43101}] = 1
			}
		}
		return t.addStats(sums)
	}))
	for i := range 20 {
		policy := hongyan.OnNoGrantSend
		if i%2 == 0 {
			policy = hongyan.OnNoGrantHold
			_, err := l.Adjust(ctx, "a", Adjustment{OpenID: hongyan.OpenID(fmt.Sprint("new", i)), Template: "t1", Exact: true, Reason: "x", Source: hongyan.SourceAdjust})
			must(err)
		}
		rs, err := l.Submit(ctx, []hongyan.Submission{{App: "a", Template: "t1", To: hongyan.Recipient{OpenID: hongyan.OpenID(fmt.Sprint("new", i))}, Data: map[string]string{"thing1": "x"}, OnNoGrant: policy}}, SubmitOptions{})
		must(err)
		must(rs[0].Err)
	}
	must(l.FoldStats(ctx))
	return l
}

// TestFiguresOfRetriedAccept: a result whose commit was not answered is written again, and
// counts once.
func TestFiguresOfRetriedAccept(t *testing.T) {
	t.Parallel()
	l := planLedger(t)
	ctx := t.Context()
	if _, err := l.Adjust(ctx, "a", Adjustment{OpenID: "w", Template: "t", Delta: 1, Exact: true, Reason: "x", Source: hongyan.SourceAdjust}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Submit(ctx, []hongyan.Submission{{App: "a", Template: "t", To: hongyan.Recipient{OpenID: "w"}, Data: map[string]string{"thing1": "x"}}}, SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	var job *Job
	jobs, err := l.ClaimSends(ctx, ClaimRequest{App: "a", Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Message.To == "w" {
			job = j
		}
	}
	if job == nil {
		t.Fatalf("claimed %d, none of w", len(jobs))
	}
	accepted := func() int64 {
		t.Helper()
		now := l.Now().Truncate(time.Hour)
		s, err := l.Figures(ctx, FiguresQuery{From: now.Add(-2 * time.Hour), To: now.Add(2 * time.Hour), By: hongyan.ByApp})
		if err != nil {
			t.Fatal(err)
		}
		return s.Totals.Accepted
	}
	before := accepted()
	r := &result{job: job, o: hongyan.Outcome{Class: hongyan.OutcomeOK, MsgID: 77, StartedAt: l.Now(), EndedAt: l.Now()}}
	for _, again := range []bool{false, false, true} {
		r.again = again
		if err := l.writeResults(ctx, func() []*result { return []*result{r} }); err != nil {
			t.Fatal(err)
		}
		if n := accepted() - before; n != 1 {
			t.Errorf("counted %d times", n)
		}
	}
}

// TestOverviewOfMany: beyond the bound the numbers say that they are no exact ones, also for
// an app that has few.
func TestOverviewOfMany(t *testing.T) {
	t.Parallel()
	l := planLedger(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.CreateApp(ctx, hongyan.App{AppID: "few"}, hongyan.AppSecret{}, nil)
	must(err)
	must(l.SaveTemplates(ctx, "few", []SyncedTemplate{{TemplateID: "t", Content: "{{thing1.DATA}}", Kind: hongyan.KindOneTime}}))
	users := 0
	hold := func(app hongyan.AppID, n int64) {
		t.Helper()
		list := make([]hongyan.Submission, n)
		var openid hongyan.OpenID
		for i := range list {
			if i%20 == 0 { // more are not held of one user
				users++
				openid = hongyan.OpenID(fmt.Sprint("holds", users))
				_, err := l.Adjust(ctx, app, Adjustment{OpenID: openid, Template: "t", Exact: true, Reason: "x", Source: hongyan.SourceAdjust})
				must(err)
			}
			list[i] = hongyan.Submission{App: app, Template: "t", To: hongyan.Recipient{OpenID: openid}, Data: map[string]string{"thing1": "x"}, OnNoGrant: hongyan.OnNoGrantHold}
		}
		rs, err := l.Submit(ctx, list, SubmitOptions{})
		must(err)
		for _, r := range rs {
			must(r.Err)
		}
	}
	want := func(app hongyan.AppID, held int64, more bool) {
		t.Helper()
		o, err := l.Overview(ctx, app, nil)
		must(err)
		if o.Queue.Held != held || o.Queue.HeldAtLeast != more || o.Queue.UncertainAtLeast {
			t.Errorf("app %q: %+v, want %d held, at least: %t", app, o.Queue, held, more)
		}
	}
	o, err := l.Overview(ctx, "", nil)
	must(err)
	there := o.Queue.Held // planLedger's own
	hold("few", 3)
	want("few", 3, false)
	hold("a", fewStates-3-there)
	want("", fewStates, false) // exactly the bound
	want("few", 3, false)
	hold("a", 1)
	want("", fewStates, true)
	want("few", 3, true)
	hold("a", there+1)
	want("few", 2, true) // the oldest of them is beyond
	if o, err := l.Overview(ctx, "", []hongyan.AppID{"another"}); err != nil || o.Queue != (hongyan.Queue{}) {
		t.Errorf("of no app: %+v, %v", o.Queue, err)
	}
}
