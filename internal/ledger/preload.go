package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hongyan-push/hongyan"
)

// Preloaded is a past that a benchmark's database has before its clock starts: Messages
// accepted messages, each to a user of its own who had one grant for it.
type Preloaded struct {
	App      hongyan.AppID
	Template string
	Messages int64 // 1 to 999,999,999
	// OpenID is what openids begin with; the user's number, from 1, follows in nine digits.
	OpenID string
	Data   map[string]string
	Page   string
}

const (
	mostPreloaded = 999_999_999
	// preloadChunk is how many rows of a table one statement makes.
	preloadChunk = 200_000
	// preloadScatter leads from messages to users. It is a prime greater than any number of
	// them, so i × it mod n visits 0 to n-1 once each, far apart.
	preloadScatter = 1_500_450_271
)

// past is the text of what makes rows in one database.
type past struct {
	numbers string // common table expression n(i), from {first} to {last}
	text    func(head, i string) string
	ulid    func(at, i string) string
	session []string // for the connection that makes them, which ends with it
}

// pasts by the dialect's name.
var pasts = map[string]past{
	"sqlite": {
		numbers: `WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})`,
		text:    func(head, i string) string { return head + ` || printf('%09d', ` + i + `)` },
		ulid:    func(at, i string) string { return `unhex(printf('%012x%020x', ` + at + `, ` + i + `))` },
		session: []string{`PRAGMA synchronous = OFF`, `PRAGMA cache_size = -262144`, `PRAGMA temp_store = MEMORY`},
	},
	"postgres": {
		numbers: `WITH n(i) AS (SELECT * FROM generate_series({first}::bigint, {last}::bigint))`,
		text:    func(head, i string) string { return head + ` || lpad((` + i + `)::text, 9, '0')` },
		ulid: func(at, i string) string {
			return `decode(lpad(to_hex(` + at + `), 12, '0') || lpad(to_hex(` + i + `), 20, '0'), 'hex')`
		},
		session: []string{`SET synchronous_commit = off`},
	},
	"mysql": {
		// The type of the first number is that of all.
		numbers: `WITH RECURSIVE n(i) AS (SELECT CAST({first} AS SIGNED) UNION ALL SELECT i + 1 FROM n WHERE i < {last})`,
		text:    func(head, i string) string { return `CONCAT(` + head + `, LPAD(` + i + `, 9, '0'))` },
		ulid: func(at, i string) string {
			return `UNHEX(CONCAT(LPAD(HEX(` + at + `), 12, '0'), LPAD(HEX(` + i + `), 20, '0')))`
		},
		session: []string{`SET SESSION unique_checks = 0`},
	},
}

// tables are the statements that fill each table, with their arguments. Numbers stand in
// braces: n of all, scatter and inverse between messages and users, begin, step and end of time.
func (x past) tables(p *Preloaded) ([]preloadTable, error) {
	data, err := json.Marshal(p.Data)
	if err != nil {
		return nil, err
	}
	o := options{Page: p.Page}
	opts, err := o.encode()
	if err != nil {
		return nil, err
	}
	const at = `({begin} + i * {step})`
	const user, message = `((i - 1) * {scatter} % {n} + 1)`, `((i - 1) * {inverse} % {n} + 1)` // of the i-th message, of the i-th user
	return []preloadTable{
		{`INSERT INTO users (no, app_no, openid, created_at) ` + x.numbers + `
			SELECT i, {app}, ` + x.text(`?`, `i`) + `, {begin} FROM n`, []any{p.OpenID}},
		{`INSERT INTO grants (user_no, template_no, exact, standing, available, taken, voided, zero_at, updated_at) ` + x.numbers + `
			SELECT i, {template}, 1, 1, 0, 1, 0, 0, {begin} FROM n`, nil},
		{`INSERT INTO grant_entries (user_no, template_no, at, id, source, granted, voided, choice, ref, open, recorded_at) ` + x.numbers + `
			SELECT i, {template}, {begin}, ` + x.ulid(`{begin}`, `i`) + `, 'report', 1, 0, 'accept', ` + x.text(`'past-'`, `i`) + `, 0, {begin} FROM n`, nil},
		{`INSERT INTO messages (seq, id, app_no, template_no, user_no, state, reason, priority, due_at, expires_at, reserved, busy, same_user, unsent, flags,
				attempt, owner, lease_until, class, errcode, msgid, started_at, ended_at, data, options, created_at, updated_at) ` + x.numbers + `
			SELECT i, ` + x.ulid(at, `i`) + `, {app}, {template}, ` + user + `, 5, '', 1, ` + at + `, ` + at + ` + 86400000, 1, 0, 0, 0, 0,
				1, 1, ` + at + ` + 30000, 'ok', 0, 3000000000000000000 + i, ` + at + `, ` + at + ` + 50, ?, ?, ` + at + `, ` + at + ` + 60 FROM n`,
			[]any{string(data), opts}},
		{`INSERT INTO user_messages (user_no, id) ` + x.numbers + `
			SELECT i, ` + x.ulid(`({begin} + `+message+` * {step})`, message) + ` FROM n`, nil},
	}, nil
}

type preloadTable struct {
	query string
	args  []any
}

// Preload makes a past by statements that count up numbers, because no operation makes one
// and sending ten million messages takes half an hour. It is for scratch databases of
// benchmarks alone: one that has users or messages is refused, and what a failure leaves
// behind is good for nothing.
func (l *Ledger) Preload(ctx context.Context, p Preloaded) error {
	if err := l.preload(ctx, &p); err != nil {
		return fmt.Errorf("preload: %w", err)
	}
	return l.Analyze(ctx)
}

func (l *Ledger) preload(ctx context.Context, p *Preloaded) error {
	numbers, err := l.preloadNumbers(p)
	if err != nil {
		return err
	}
	x := pasts[l.d.name]
	tables, err := x.tables(p)
	if err != nil {
		return err
	}
	s, err := l.sessions.take(ctx, l.texts)
	if err != nil {
		return err
	}
	defer l.sessions.put(s, false) // its settings end with it
	for _, table := range []string{"users", "messages"} {
		some, err := hasRows(ctx, s.conn, table)
		if err != nil {
			return err
		}
		if some {
			return fmt.Errorf("there are %s already: this is for empty databases", table)
		}
	}
	begin := append(l.countFar(ctx, s.conn), x.session...)
	// The next keys, and how far the index by user has come: before the messages, because
	// upkeep goes on and would put them into the index too.
	begin = append(begin,
		`INSERT INTO sequences (name, next) VALUES ('users', {n} + 1), ('messages', {n} + 1)`+l.d.upsert([]string{"name"}, []string{"next"}),
		`INSERT INTO meta (name, value) VALUES ('user_messages', `+x.ulid(`{end}`, `{n}`)+`)`+l.d.upsert([]string{"name"}, []string{"value"}))
	if l.d.alone {
		begin = append(begin, `INSERT INTO meta (name, value) VALUES ('grants_folded', CAST({n} AS BLOB))`+l.d.upsert([]string{"name"}, []string{"value"}))
	}
	if err := execAll(ctx, s.conn, begin, numbers); err != nil {
		return err
	}
	for _, t := range tables {
		for first := int64(1); first <= p.Messages; first += preloadChunk {
			span := strings.NewReplacer("{first}", decimal(first), "{last}", decimal(min(first+preloadChunk-1, p.Messages)))
			if _, err := s.conn.ExecContext(ctx, l.d.rewrite(numbers.Replace(span.Replace(t.query))), t.args...); err != nil {
				return err
			}
		}
	}
	if l.d.alone { // what was written without syncing is on disk before anything counts on it
		if err := execAll(ctx, s.conn, []string{`PRAGMA synchronous = FULL`, `PRAGMA wal_checkpoint(TRUNCATE)`}, numbers); err != nil {
			return err
		}
	}
	return l.readMarks(ctx)
}

// preloadNumbers checks p and knows every number in braces but first and last.
func (l *Ledger) preloadNumbers(p *Preloaded) (*strings.Replacer, error) {
	if p.Messages < 1 || p.Messages > mostPreloaded {
		return nil, fmt.Errorf("%d messages: neither none nor more than %d", p.Messages, mostPreloaded)
	}
	app, err := l.app(p.App)
	if err != nil {
		return nil, err
	}
	te := app.lookup(p.Template)
	if te == nil {
		return nil, hongyan.Errorf(hongyan.CodeTemplateNotFound, "App %s has no template %q.", p.App, clipped(p.Template))
	}
	const day = 24 * time.Hour
	// Taps are forgotten after 30 days, so that the past has none.
	begin, step := ms(l.Now().Add(-90*day)), (59*day).Milliseconds()/p.Messages
	inverse := new(big.Int).ModInverse(big.NewInt(preloadScatter), big.NewInt(p.Messages)).Int64()
	return strings.NewReplacer("{app}", decimal(app.no), "{template}", decimal(te.no), "{n}", decimal(p.Messages), "{scatter}", decimal(preloadScatter),
		"{inverse}", decimal(inverse), "{begin}", decimal(begin), "{step}", decimal(step), "{end}", decimal(begin+step*p.Messages)), nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// countFar lets MySQL or MariaDB, which call it differently, count up a chunk's numbers.
func (l *Ledger) countFar(ctx context.Context, conn *sql.Conn) []string {
	if l.d.name != "mysql" {
		return nil
	}
	name := "cte_max_recursion_depth"
	if _, err := conn.ExecContext(ctx, `SELECT @@max_recursive_iterations`); err == nil {
		name = "max_recursive_iterations"
	}
	return []string{`SET SESSION ` + name + ` = ` + decimal(2*preloadChunk)}
}

func execAll(ctx context.Context, conn *sql.Conn, queries []string, numbers *strings.Replacer) error {
	for _, q := range queries {
		if _, err := conn.ExecContext(ctx, numbers.Replace(q)); err != nil {
			return err
		}
	}
	return nil
}

func hasRows(ctx context.Context, conn *sql.Conn, table string) (bool, error) {
	var n int
	err := conn.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM `+table+` LIMIT 1) x`).Scan(&n)
	return n > 0, err
}

// Analyze brings the statistics of tables that grow up to date, so that a benchmark begins
// with them and the database does not see to it in the middle. A table without rows keeps
// none: plans made for it would read all of what comes.
func (l *Ledger) Analyze(ctx context.Context) error {
	words := map[string]string{"postgres": "VACUUM (ANALYZE) ", "mysql": "ANALYZE TABLE "}[l.d.name]
	if words == "" {
		return nil
	}
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("analyze: %w", err)
	}
	defer conn.Close()
	for _, table := range []string{"users", "grants", "grant_entries", "witnesses", "messages", "user_messages"} {
		some, err := hasRows(ctx, conn, table)
		if err == nil && some {
			_, err = conn.ExecContext(ctx, words+table)
		}
		if err != nil {
			return fmt.Errorf("analyze %s: %w", table, err)
		}
	}
	return nil
}

// Checkpoint lets PostgreSQL write back what waits, if this user may ask for it: else a
// measurement would also pay for what was before. The others do that bit by bit.
func (l *Ledger) Checkpoint(ctx context.Context) error {
	if l.d.name != "postgres" {
		return nil
	}
	_, err := l.db.ExecContext(ctx, `/* ledger.Checkpoint */ CHECKPOINT`)
	var denied *pgconn.PgError
	if err == nil || errors.As(err, &denied) && denied.Code == "42501" {
		return nil
	}
	return fmt.Errorf("checkpoint: %w", err)
}

// CreateDatabase makes an empty database, hongyan_bench_ and a random number, on the server
// of a postgres:// or mysql:// URL, whose own database is only connected to. It answers the
// new one's URL, with the same password, and how to drop it. Benchmarks work in one.
func CreateDatabase(ctx context.Context, db string) (scratch string, drop func(context.Context) error, err error) {
	d, source, err := dialectOf(db)
	if err != nil {
		return "", nil, err
	}
	if d.alone {
		return "", nil, errors.New("a SQLite database is a file, and made by opening it")
	}
	u, err := url.Parse(db)
	if err != nil || u.Host == "" {
		return "", nil, fmt.Errorf("the %s URL cannot be read", d.name) // what url says holds the password
	}
	var b [6]byte
	_, _ = rand.Read(b[:])
	name := "hongyan_bench_" + hex.EncodeToString(b[:])
	create, end := `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING 'UTF8'`, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`
	if d.name == "mysql" {
		create, end = `CREATE DATABASE `+name+` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`, `DROP DATABASE IF EXISTS `+name
	}
	if err := onServer(ctx, d, source, create); err != nil {
		// It may be there, if only the answer was lost or not waited for.
		_ = onServer(context.WithoutCancel(ctx), d, source, end)
		return "", nil, fmt.Errorf("create a scratch database: %w", err)
	}
	u.Path, u.RawPath = "/"+name, ""
	q := u.Query()
	q.Del("dbname") // PostgreSQL takes it before the path
	q.Del("database")
	u.RawQuery = q.Encode()
	return u.String(), func(ctx context.Context) error {
		if err := onServer(ctx, d, source, end); err != nil {
			return fmt.Errorf("drop the scratch database %s, which is left behind: %w", name, err)
		}
		return nil
	}, nil
}

// onServer runs one statement on a connection of its own.
func onServer(ctx context.Context, d *dialect, source, query string) error {
	db, _, err := openDB(d, source)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = db.ExecContext(ctx, query)
	return errors.Join(err, db.Close())
}
