package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/hongyan-push/hongyan"
)

// dialect is what differs between the databases. A statement that finds its rows by seq says
// `state + 0` where it means a state, so that no planner takes an index of that state for the
// shorter way: it may be, while it is empty, and the plan is kept. Every statement is written once, with `?`
// for its values and `ON CONFLICT … DO NOTHING` for an insert that may find its row there;
// rewrite makes each database's own text of it.
type dialect struct {
	name  string // of its folder of migrations
	goose goose.Dialect
	// alone: this process is the only one that uses the database, and writes through one connection.
	alone bool
	begin string
	// lock is the suffix of a SELECT that locks its rows until the end of the transaction,
	// skip the same for rows that nobody else has locked. Where one process writes, there are none.
	lock, skip string
	// prepare: statements are prepared once a connection; else the driver does it by itself.
	prepare bool
	// most is how many rows one INSERT … VALUES makes.
	most int

	rewrite func(query string) string
	// insert makes the statement that inserts rows, and its arguments.
	insert func(into string, cols []column, rows [][]any) (string, []any)
	// list is the right side of a condition that a column is one of the values.
	list func(vs []any, kind colKind) (string, []any)
	// accepted makes the statement that writes results of acceptedColumns, at most chunk of them.
	accepted func(owner int64, rows [][]any) (string, []any)
	chunk    int
	// upsert is the suffix of an insert that replaces columns of the row it finds.
	upsert func(keys, set []string) string

	// Conditions that the partial indexes of the schema answer: of waiting messages by
	// template, of one grant's live ones, of leases that ran out, of waiting ones that expire.
	due, leased, expires, rest string
	recount                    string                             // counts what waits by template, due or not, through the same index as due
	live                       func(user, template string) string // of messages m; both are "= ?" or alike

	// dueDelivery is the condition of a webhook's deliveries that wait.
	dueDelivery string

	folded string // of a grant: the youngest message that its row knows of (pledge.go)
	// addSpent is the suffix of an insert that adds to the spends of the entry it finds.
	addSpent string
	// addStats is the same for an insert that adds to figures.
	addStats string
	// unlist takes messages, given as a list of seqs, out of the index by user.
	unlist func(seqs string) string

	hasTag string // condition: a message's options name the tag
	purge  func(table, keys, cond string) string

	duplicate func(error) bool
	// again: the transaction failed for a reason that lies in the moment (a deadlock, a lost
	// connection before its commit) and may run once more.
	again func(error) bool
	// check stops the start of a database that could lose what it committed.
	check func(ctx context.Context, db *sql.DB) error
	// now reads the database's clock, in milliseconds.
	now string
	// tell sends a hint to all processes on this database, listen hears them: it connects, calls
	// ready and then heard for each, until ctx ends or the connection does. Empty where there is
	// no such thing.
	tell   string
	listen func(ctx context.Context, source string, ready func(), heard func(hint string)) error
	// guard keeps other processes from migrating at the same time.
	guard, unguard string
}

type colKind int

const (
	kindInt colKind = iota
	kindText
	kindBytes
)

type column struct {
	name string
	kind colKind
}

func ints(names string) []column {
	var out []column
	for n := range strings.FieldsSeq(names) {
		out = append(out, column{n, kindInt})
	}
	return out
}

func names(cols []column) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = c.name
	}
	return strings.Join(out, ", ")
}

// dialectOf finds the database that a --db value names, and how to reach it.
func dialectOf(db string) (d *dialect, source string, err error) {
	scheme, rest, _ := strings.Cut(db, ":")
	switch scheme {
	case "sqlite":
		if rest == "" {
			return nil, "", errors.New("the database is sqlite: without a path; write sqlite:/var/lib/hongyan/hongyan.db")
		}
		return sqliteDialect(), rest, nil
	case "postgres", "postgresql":
		return postgresDialect(), db, nil
	case "mysql", "mariadb":
		source, err := mysqlSource(db)
		return mysqlDialect(), source, err
	}
	return nil, "", errors.New("the database is none of sqlite:PATH, postgres://… and mysql://…")
}

// SQLiteFile is the path in a sqlite: database, "" for another one.
func SQLiteFile(db string) string {
	path, _ := strings.CutPrefix(db, "sqlite:")
	if path == db {
		return ""
	}
	return path
}

// texts remembers what rewrite made: the statements are few and used for ever.
type texts struct {
	d    *dialect
	m    sync.Map
	what sync.Map // concerns of a query
}

func (x *texts) of(query string) string {
	if s, ok := x.m.Load(query); ok {
		return s.(string)
	}
	s := x.d.rewrite(query)
	x.m.Store(query, s)
	return s
}

// concerns is what a statement has to do with what is kept beside the tables (journal.go, known.go).
type concerns int

const (
	asksMessages concerns = 1 << iota
	writesGrants
	renamesUsers
)

var (
	namesMessages = regexp.MustCompile(`\bmessages\b`)
	intoGrants    = regexp.MustCompile(`\b(INTO|UPDATE|DELETE FROM) grants\b`)
	intoOpenIDs   = regexp.MustCompile(`(?s)\bUPDATE users SET (.*, )?openid\b|\bDELETE FROM users\b`)
)

func (x *texts) concerns(query string) (s concerns) {
	if was, ok := x.what.Load(query); ok {
		return was.(concerns)
	}
	if namesMessages.MatchString(query) && !strings.Contains(query, pastJournal) {
		s |= asksMessages
	}
	if intoGrants.MatchString(query) && !strings.Contains(query, told) {
		s |= writesGrants
	}
	if intoOpenIDs.MatchString(query) {
		s |= renamesUsers
	}
	x.what.Store(query, s)
	return s
}

// dollars numbers the placeholders.
func dollars(query string) string {
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		fmt.Fprintf(&b, "$%d", n)
	}
	return b.String()
}

// tuples are n groups of k placeholders.
func tuples(n, k int) string {
	one := "(?" + strings.Repeat(", ?", k-1) + ")"
	return one + strings.Repeat(", "+one, n-1)
}

// flat puts the rows' values one after the other.
func flat(rows [][]any) []any {
	out := make([]any, 0, len(rows)*len(rows[0]))
	for _, r := range rows {
		out = append(out, r...)
	}
	return out
}

// insertValues is the INSERT of SQLite and MySQL.
func insertValues(into string, cols []column, rows [][]any) (string, []any) {
	return into + " (" + names(cols) + ") VALUES " + tuples(len(rows), len(cols)), flat(rows)
}

// listOf is a list of placeholders. One statement a length would fill the cache of prepared
// ones; powers of two are few.
func listOf(vs []any, _ colKind) (string, []any) {
	n := 1
	for n < len(vs) {
		n *= 2
	}
	args := make([]any, n)
	for i := range args {
		args[i] = vs[min(i, len(vs)-1)]
	}
	return "IN (?" + strings.Repeat(", ?", n-1) + ")", args
}

func onConflict(keys, set []string) string {
	for i, c := range set {
		set[i] = c + " = excluded." + c
	}
	return " ON CONFLICT (" + strings.Join(keys, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// The statements of SQLite and PostgreSQL.
const addSpent = ` ON CONFLICT (user_no, template_no, at, id) DO UPDATE SET spent = grant_entries.spent + excluded.spent, recorded_at = excluded.recorded_at`

const addStats = ` ON CONFLICT (template_no, hour, what, reason, errcode) DO UPDATE SET n = stats.n + excluded.n`

func unlistBySelect(seqs string) string {
	return `/* ledger.unlist */ DELETE FROM user_messages WHERE (user_no, id) IN (SELECT user_no, id FROM messages WHERE seq ` + seqs + `)`
}

// recountSQL is the statement of SQLite and PostgreSQL.
const recountSQL = `/* ledger.recount */ SELECT template_no, SUM(CASE WHEN due_at <= ? THEN 1 ELSE 0 END), COUNT(*) FROM messages WHERE state IN (2, 3) GROUP BY template_no`

// purgeBySelect deletes up to 1000 rows.
func purgeBySelect(table, keys, cond string) string {
	return `/* ledger.purge */ DELETE FROM ` + table + ` WHERE (` + keys + `) IN (SELECT ` + keys + ` FROM ` + table + ` WHERE ` + cond + ` LIMIT 1000)`
}

// liveApart is the condition of live messages for two partial indexes: those under way have
// one of their own, because they come and go with every message.
func liveApart(user, template string) string {
	of := "m.user_no " + user + " AND m.template_no " + template
	return "(" + of + " AND (m.state < 4 OR m.state = 9) OR " + of + " AND m.state = 4)"
}

// resting is the condition of messages in a state in which few stay.
func (d *dialect) resting(state int64) string {
	return strings.Replace(d.rest, "?", strconv.FormatInt(state, 10), 1)
}

// live is the condition of a grant's live messages m, with its arguments.
func (t *txn) live(k grantKey) (string, []any) {
	cond := t.l.d.live("= ?", "= ?")
	return cond, argsOf(cond, []any{k.user, k.template})
}

// argsOf repeats the arguments as often as the condition does.
func argsOf(cond string, args []any) []any {
	var out []any
	for range strings.Count(cond, "?") / len(args) {
		out = append(out, args...)
	}
	return out
}

// insertRows writes rows of a table in as few statements as pay.
func (t *txn) insertRows(into string, cols []column, rows [][]any, suffix string) error {
	for len(rows) > 0 {
		n := len(rows)
		if most := t.l.d.most; most > 0 {
			n = min(n, most)
			for n&(n-1) != 0 { // a power of two, for the same reason as in listOf
				n &= n - 1
			}
		}
		q, args := t.l.d.insert(into, cols, rows[:n])
		if _, err := t.exec(q+suffix, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// isDuplicate reports whether err is a broken unique key.
func (l *Ledger) isDuplicate(err error) bool { return l.d.duplicate(err) }

// errAgain says that what a transaction found is no longer so: it runs once more.
var errAgain = errors.New("changed meanwhile")

func (l *Ledger) mayRunAgain(err error) bool {
	return errors.Is(err, errAgain) || hongyan.CodeOf(err) == hongyan.CodeInternal && l.d.again != nil && l.d.again(err)
}
