//go:build unix

package ledger_test

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

var benchDB = flag.String("bench.db", "", "benchmark this database instead of a SQLite file")

// BenchmarkWay is what a message costs in the database, with nothing beside it: 64 callers
// submit, each message's result comes at once.
func BenchmarkWay(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	key, err := ledger.LoadOrCreateMasterKey(dir)
	if err != nil {
		b.Fatal(err)
	}
	db := "sqlite:" + filepath.Join(dir, "hongyan.db")
	if *benchDB != "" {
		var drop func(context.Context) error
		if db, drop, err = ledger.CreateDatabase(ctx, *benchDB); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = drop(ctx) }()
	}
	l, err := ledger.Open(ctx, ledger.Config{DB: db, MasterKey: key})
	if err != nil {
		b.Fatal(err)
	}
	const app, template, places = "wx0123456789abcdef", "benchmark-template", 128
	free := atomic.Int64{}
	free.Store(places)
	jobs := make(chan *ledger.Job, places)
	var settled atomic.Int64
	l.HandOffTo(ledger.Lane{
		Reserve: func(_ hongyan.AppID, want, _ int) int {
			n := min(int64(want), free.Load())
			free.Add(-n)
			return int(n)
		},
		Release: func(_ hongyan.AppID, n int) { free.Add(int64(n)) },
		Places:  func(hongyan.AppID) int { return int(free.Load()) },
		Freed:   func(_ hongyan.AppID, n int) { free.Add(int64(n)) },
		Settled: func(_ hongyan.AppID, n int) { settled.Add(int64(n)) },
		Deliver: func(js []*ledger.Job) {
			for _, j := range js {
				jobs <- j
			}
		},
	})
	runCtx, stop := context.WithCancel(ctx)
	var run, senders, callers sync.WaitGroup
	run.Go(func() { _ = l.Run(runCtx) })
	if _, err := l.CreateApp(ctx, hongyan.App{AppID: app, Settings: hongyan.AppSettings{History: hongyan.HistoryNew}}, hongyan.NewAppSecret("0123456789abcdef0123456789abcdef"), nil); err != nil {
		b.Fatal(err)
	}
	if err := l.SaveTemplate(ctx, app, ledger.SyncedTemplate{TemplateID: template, Title: "t", Content: "单号:{{character_string1.DATA}}\n商品:{{thing2.DATA}}\n", Kind: hongyan.KindOneTime}, nil); err != nil {
		b.Fatal(err)
	}
	openid := func(i int) hongyan.OpenID { return hongyan.OpenID(fmt.Sprintf("oBench-%020d", (i*7919)%b.N)) }
	for i := 0; i < b.N; i += 1000 {
		var reports []hongyan.Report
		for k := i; k < min(i+1000, b.N); k++ {
			reports = append(reports, hongyan.Report{ID: fmt.Sprintf("r%d", k), OpenID: hongyan.OpenID(fmt.Sprintf("oBench-%020d", k)), Template: template, Choice: "accept"})
		}
		if _, err := l.Report(ctx, app, reports); err != nil {
			b.Fatal(err)
		}
	}
	began := cpu(b)
	b.ResetTimer()
	for range 8 {
		senders.Go(func() {
			for j := range jobs {
				now := time.Now()
				l.RecordAttempt(j, hongyan.Outcome{Class: hongyan.OutcomeOK, MsgID: 4e18, StartedAt: now, EndedAt: now})
			}
		})
	}
	var next atomic.Int64
	for range 64 {
		callers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				res, err := l.Submit(ctx, []hongyan.Submission{{App: app, To: hongyan.Recipient{OpenID: openid(i)}, Template: template, Page: "pages/order/detail?from=notice",
					Data: map[string]string{"character_string1": "1234567890123456789", "thing2": "鸿雁牌手工竹编灯笼（大号）"}}}, ledger.SubmitOptions{})
				if err != nil || res[0].Err != nil {
					b.Error(err, res)
				}
			}
		})
	}
	callers.Wait()
	for settled.Load() < int64(b.N) && !b.Failed() {
		for range 10 {
			jobs, err := l.ClaimSends(ctx, ledger.ClaimRequest{App: app, Max: int(free.Load())})
			if err != nil {
				b.Fatal(err)
			}
			free.Add(-int64(len(jobs)))
			for _, j := range jobs {
				l.RecordAttempt(j, hongyan.Outcome{Class: hongyan.OutcomeOK, MsgID: 4e18, StartedAt: time.Now(), EndedAt: time.Now()})
			}
		}
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-µs/op")
	close(jobs)
	senders.Wait()
	stop()
	run.Wait()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpu is the processor time this process has spent.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
