package cli

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
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
	path := filepath.Join(dir, "hongyan.db")
	if c.Preload > 0 {
		p.tell("Preparing %d messages and grants that are there already.", c.Preload)
		if err := withBenchLedger(ctx, dir, at, func(l *ledger.Ledger) error { return makeBenchApp(ctx, l, c) }); err != nil {
			return nil, err
		}
		if err := preload(ctx, path, int64(c.Preload)); err != nil {
			return nil, fmt.Errorf("preload: %w", err)
		}
	}
	p.tell("Preparing %d users with a grant each.", len(users))
	err := withBenchLedger(ctx, dir, at, func(l *ledger.Ledger) error {
		if c.Preload == 0 {
			if err := makeBenchApp(ctx, l, c); err != nil {
				return err
			}
		}
		return reportTaps(ctx, l, users)
	})
	if err != nil {
		return nil, err
	}
	if c.kind() != "sqlite" {
		return users, nil
	}
	// What is still to be written back would be written during the first run.
	f, err := os.Open(path)
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

// preloadChunk is how many rows of a table one statement makes.
const preloadChunk = 200_000

// What n past messages leave behind, one for each of n users: made by the database itself,
// because no operation of the ledger makes a past, and sending ten million messages would
// take half an hour. This is the one place outside ledger that knows the schema; it writes
// to scratch databases alone, and the bench's tests fail when it no longer fits.
//
// ?1 and ?2 are the first and the last number; ?3 is n, ?4 the factor that leads from a
// message to its user or back, ?5 when it began, ?6 how long it went on (ms). app and
// template are the only ones, number 1.
var preloadTables = []struct {
	sql     string
	inverse bool // ?4 leads from users to their messages
}{
	{sql: `INSERT INTO users (no, app_no, openid, created_at) WITH ` + preloadNumbers + `
		SELECT i, 1, '` + benchOpenIDHead + `' || printf('%09d', i), ?5 FROM n`},
	{sql: `INSERT INTO grants (user_no, template_no, exact, standing, available, taken, voided, zero_at, updated_at) WITH ` + preloadNumbers + `
		SELECT i, 1, 1, 1, 0, 1, 0, 0, ?5 FROM n`},
	{sql: `INSERT INTO grant_entries (user_no, template_no, at, id, source, granted, voided, choice, ref, open, recorded_at) WITH ` + preloadNumbers + `
		SELECT i, 1, ?5, unhex(printf('%012x%020x', ?5, i)), 'report', 1, 0, 'accept', printf('past-%d', i), 0, ?5 FROM n`},
	{sql: `INSERT INTO messages (seq, id, app_no, template_no, user_no, state, reason, priority, due_at, expires_at, reserved, busy, same_user, unsent, flags,
			attempt, owner, lease_until, class, errcode, msgid, started_at, ended_at, data, options, created_at, updated_at) WITH ` + preloadNumbers + `,
		m(i, at) AS (SELECT i, ?5 + i * ?6 / ?3 FROM n)
		SELECT i, unhex(printf('%012x%020x', at, i)), 1, 1, (i - 1) * ?4 % ?3 + 1, 5, '', 1, at, at + 86400000, 1, 0, 0, 0, 0,
			1, 1, at + 30000, 'ok', 0, 3000000000000000000 + i, at, at + 50,
			'{"amount3":"¥128.50","character_string1":"1764000000000000000","thing2":"鸿雁牌手工竹编灯笼（大号）","thing5":"预计三天内送达，请保持电话畅通","time4":"2026-11-22 10:30:00"}',
			'{"p":"pages/order/detail?from=notice"}', at, at + 60 FROM m`},
	{sql: `INSERT INTO user_messages (user_no, id) WITH ` + preloadNumbers + `, m(i, seq) AS (SELECT i, (i - 1) * ?4 % ?3 + 1 FROM n)
		SELECT i, unhex(printf('%012x%020x', ?5 + seq * ?6 / ?3, seq)) FROM m`, inverse: true},
}

const preloadNumbers = `RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)`

// What ends it: the next keys, and how far the index by user has come.
var preloadEnd = []string{
	`INSERT INTO sequences (name, next) VALUES ('users', ?1 + 1), ('messages', ?1 + 1) ON CONFLICT (name) DO UPDATE SET next = excluded.next`,
	`INSERT INTO meta (name, value) SELECT 'user_messages', MAX(id) FROM messages WHERE ?1 > 0 ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
}

// preload fills the tables directly.
func preload(ctx context.Context, path string, n int64) (err error) {
	q := url.Values{"_pragma": {"journal_mode(MEMORY)", "synchronous(OFF)", "cache_size(-262144)", "temp_store(MEMORY)"}}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	db, err := goose.OpenDBWithDriver("sqlite", dsn.String())
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	const day = 24 * time.Hour
	begin, span := time.Now().Add(-90*day).UnixMilli(), (59 * day).Milliseconds() // reports are forgotten after 30 days
	inverse := new(big.Int).ModInverse(big.NewInt(scatter), big.NewInt(n)).Int64()
	for _, t := range preloadTables {
		factor := int64(scatter)
		if t.inverse {
			factor = inverse
		}
		for first := int64(1); first <= n; first += preloadChunk {
			if _, err := db.ExecContext(ctx, t.sql, first, min(first+preloadChunk-1, n), n, factor, begin, span); err != nil {
				return err
			}
		}
	}
	for _, q := range preloadEnd {
		if _, err := db.ExecContext(ctx, q, n); err != nil {
			return err
		}
	}
	return nil
}
