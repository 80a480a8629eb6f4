package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// benchUsers picks the users that get messages, in the order in which they get them: at
// random, as campaigns and orders come, among those who are there already.
func benchUsers(n, there int) []uint32 {
	users := make([]uint32, n)
	for i := range users {
		if i < there {
			users[i] = uint32(scattered(int64(i), int64(there))) + 1
		} else {
			users[i] = uint32(i) + 1
		}
	}
	r := rand.New(rand.NewPCG(1, 2)) // the same order in every bench
	r.Shuffle(n, func(i, j int) { users[i], users[j] = users[j], users[i] })
	return users
}

// scatter is a prime: i × scatter mod n visits 0 to n-1 once each, far apart.
const scatter = 1_500_450_271

func scattered(i, n int64) int64 { return i * scatter % n }

// prepareBench makes the database: app, template, what is to be there already, and a grant
// for every message of every run.
func prepareBench(ctx context.Context, p *program, c *benchCmd, dir, at string) ([]uint32, error) {
	users := benchUsers(c.Messages*c.Pairs, c.Preload)
	err := withBenchLedger(ctx, dir, at, func(l *ledger.Ledger) error {
		if err := makeBenchApp(ctx, l, c); err != nil {
			return err
		}
		if c.Preload > 0 {
			p.tell("Preparing %d messages and grants that are there already.", c.Preload)
			if err := l.Preload(ctx, benchPast(c.Preload)); err != nil {
				return err
			}
		}
		if c.Cold {
			p.tell("Preparing %d users with a grant each.", len(users))
			if err := reportTaps(ctx, l, users); err != nil {
				return err
			}
		}
		return l.Analyze(ctx)
	})
	if err != nil || !c.onFile() {
		return users, err
	}
	// What is still to be written back would be written during the first run.
	f, err := os.Open(ledger.SQLiteFile(at))
	if err != nil {
		return nil, err
	}
	return users, errors.Join(f.Sync(), f.Close())
}

func withBenchLedger(ctx context.Context, dir, at string, f func(*ledger.Ledger) error) error {
	key, err := ledger.LoadOrCreateMasterKey(dir)
	if err != nil {
		return err
	}
	l, err := ledger.Open(ctx, ledger.Config{DB: at, MasterKey: key})
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return l.Run(runCtx) })
	err = f(l)
	stop()
	return errors.Join(err, g.Wait(), l.Close())
}

func makeBenchApp(ctx context.Context, l *ledger.Ledger, c *benchCmd) error {
	set := hongyan.AppSettings{History: hongyan.HistoryNew}
	if c.Mode == modeIngest {
		set.BacklogLimit = max(1_000_000, int64(c.Messages)*int64(c.Pairs+1))
	}
	if _, err := l.CreateApp(ctx, hongyan.App{AppID: benchApp, Name: "bench", Settings: set}, hongyan.NewAppSecret("0123456789abcdef0123456789abcdef"), nil); err != nil {
		return err
	}
	t := ledger.SyncedTemplate{TemplateID: benchTemplate, Title: benchTitle, Content: benchContent, Kind: hongyan.KindOneTime}
	if err := l.SaveTemplate(ctx, benchApp, t, nil); err != nil {
		return err
	}
	if faults, err := checkBenchData(l); err != nil || len(faults) > 0 {
		return errors.Join(err, fmt.Errorf("the data does not fit the template: %v", faults))
	}
	if c.Mode != modeIngest {
		return nil
	}
	return l.Pause(ctx, benchApp, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual, Detail: "bench"})
}

func checkBenchData(l *ledger.Ledger) ([]hongyan.DataFault, error) {
	t, err := l.Template(benchApp, benchTemplate)
	if err != nil {
		return nil, err
	}
	return hongyan.ValidateData(&t, benchData(time.Now())), nil
}

// reportTaps lets every user accept one message.
func reportTaps(ctx context.Context, l *ledger.Ledger, users []uint32) error {
	sorted := slices.Sorted(slices.Values(users))
	for part := range slices.Chunk(sorted, 1000) {
		reports := make([]hongyan.Report, len(part))
		for i, u := range part {
			reports[i] = hongyan.Report{ID: fmt.Sprintf("bench-%d", u), OpenID: benchOpenID(u), Template: benchTemplate, Choice: "accept"}
		}
		if _, err := l.Report(ctx, benchApp, reports); err != nil {
			return err
		}
	}
	return nil
}

// benchPast is what messages of before left behind, one for each of n users.
func benchPast(n int) ledger.Preloaded {
	s := benchSubmission(0, time.Unix(1_764_000_000, 0))
	return ledger.Preloaded{App: benchApp, Template: benchTemplate, Messages: int64(n), OpenID: benchOpenIDHead, Data: s.Data, Page: s.Page}
}
