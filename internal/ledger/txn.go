package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// txnTime bounds a transaction on a shared database, whose network may be gone.
const txnTime = 10 * time.Second

// abandonedTime is how long a shared database keeps a transaction open in which nothing happens.
// Between two statements there is no network and no waiting, so its process has died with its
// machine, has lost the network or stands still; its locks must not hold up the other replicas.
const abandonedTime = 5 * time.Second

// txn is a running write transaction. It remembers what must follow a commit. What runs in
// it may run again from its beginning, and may share the transaction with others, so it
// changes memory through after and undo alone.
type txn struct {
	ctx   context.Context
	l     *Ledger
	s     *session
	now   int64    // ms; one time for the whole transaction
	after []func() // runs once it is committed
	undo  []func() // runs if it is rolled back
	news  []news   // events, written at its end
	// counts are what it adds to figures, written with its commit; those before saved were
	// there when the savepoint was set.
	counts []counted
	saved  int
	topics topics // what it changes, for readers that want to know
	// journaling is shared by those that share the transaction; nil where there is none.
	journaling *journaling
	learned    *learned
}

func (t *txn) exec(query string, args ...any) (int64, error) {
	if err := t.before(query); err != nil {
		return 0, err
	}
	return t.s.exec(t.ctx, query, args...)
}

// before makes what is kept beside the tables agree with a statement that is about to run.
func (t *txn) before(query string) error {
	if t.learned == nil {
		return nil
	}
	s := t.l.texts.concerns(query)
	t.learned.before(s)
	if s&asksMessages == 0 {
		return nil
	}
	return t.bringHome()
}

// row reads one row; sql.ErrNoRows if there is none.
func (t *txn) row(query string, args []any, into ...any) error {
	found := false
	err := t.rows(query, args, func(r scanner) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(into...)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}

// rows calls scan once a row.
func (t *txn) rows(query string, args []any, scan func(scanner) error) error {
	if err := t.before(query); err != nil {
		return err
	}
	return t.s.rows(t.ctx, query, args, scan)
}

func eachRow(rs *sql.Rows, scan func(scanner) error) error {
	defer rs.Close()
	for rs.Next() {
		if err := scan(rs); err != nil {
			return err
		}
	}
	return rs.Err()
}

// errBegin is in the error of a transaction that could not begin: nothing in it was at fault,
// so trying its parts one by one would only wait as often.
var errBegin = errors.New("begin")

// errCommit is in the error of a transaction whose commit was not answered: it may have
// happened all the same.
var errCommit = errors.New("commit")

// write runs f in one transaction, commits it and then runs what f left in after.
func (l *Ledger) write(ctx context.Context, what string, f ...func(*txn) error) error {
	l.vocabulary.RLock()
	defer l.vocabulary.RUnlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return l.transact(ctx, what, f...)
}

// change is a write that apps, templates, pauses or keys are changed by. Until memory knows
// of it too, no other transaction runs: each sees the vocabulary as it was committed.
func (l *Ledger) change(ctx context.Context, what string, f func(*txn) error) error {
	l.vocabulary.Lock()
	defer l.vocabulary.Unlock()
	for {
		err := l.transact(ctx, what, func(t *txn) error {
			if err := t.stamp(); err != nil {
				return err
			}
			return f(t)
		})
		if err != nil && !errors.Is(err, errOutdated) {
			return err
		}
		// What is committed counts, so the caller's patience no longer matters.
		if again := l.reload(context.WithoutCancel(ctx)); again != nil || err == nil {
			return again
		}
	}
}

// turns are transactions that wait for the one writer. They share one commit, and so one
// fsync, which costs more than most of what they do.
type turns struct {
	mu     sync.Mutex // the queue
	queue  []*turn
	writer sync.Mutex // whoever holds it runs transactions
	// waiting is how many submits and results wait for the next transaction, last how many
	// were in the one before.
	waiting func() int
	last    int
}

// gatherTime bounds how long a transaction waits for company.
const gatherTime = 2 * time.Millisecond

// gather lets those run who were answered by the transaction before: under load they come
// back at once, and one that left without them would leave its fsync to few.
func (q *turns) gather() {
	have := q.waiting()
	for end := time.Now().Add(gatherTime); q.last >= 8 && have < 2*q.last && time.Now().Before(end); {
		runtime.Gosched()
		n := q.waiting()
		if n == have {
			break
		}
		have = n
	}
	q.last = have
}

type turn struct {
	what string
	rank rank
	f    func(*txn) error
	err  error
	done bool // with the writer's mutex held
	// end, for one that a committer has lent, follows instead: it tries again by itself.
	end func(error)
}

// rank is the order of those that share a transaction: results free places and grants that
// submits in the same transaction can use.
type rank int

const (
	rankResults rank = iota
	rankClaims
	rankSubmits
	rankPushes
)

// together is write for the parts that run all the time and hardly ever fail: where one
// connection writes, those that wait for it share a transaction.
func (l *Ledger) together(ctx context.Context, r rank, what string, f func(*txn) error) error {
	if !l.d.alone {
		return l.along(ctx, r, what, f)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	l.vocabulary.RLock()
	defer l.vocabulary.RUnlock()
	mine := &turn{what: what, rank: r, f: f}
	l.turns.mu.Lock()
	l.turns.queue = append(l.turns.queue, mine)
	l.turns.mu.Unlock()
	l.turns.writer.Lock()
	defer l.turns.writer.Unlock()
	if mine.done {
		return mine.err
	}
	l.turns.gather()
	l.turns.mu.Lock()
	batch := l.turns.queue
	l.turns.queue = nil
	l.turns.mu.Unlock()
	for _, x := range []*turn{l.results.lend(rankResults), l.submits.lend(rankSubmits)} {
		if x != nil {
			batch = append(batch, x)
		}
	}
	slices.SortStableFunc(batch, func(x, y *turn) int { return int(x.rank - y.rank) })
	fs := make([]func(*txn) error, len(batch))
	for i, x := range batch {
		fs[i] = x.f
	}
	err := l.once(context.WithoutCancel(ctx), "write", fs...)
	for _, x := range batch {
		x.done, x.err = true, err
		if x.end != nil {
			x.end(err)
			continue
		}
		if err != nil && len(batch) > 1 && !errors.Is(err, errBegin) {
			x.err = l.once(context.WithoutCancel(ctx), x.what, x.f)
		}
	}
	return mine.err
}

// along is together on a shared database: plain results go along with submits, which saves a
// transaction with its round trips. Others would take locks in another order than submits do.
func (l *Ledger) along(ctx context.Context, r rank, what string, f func(*txn) error) error {
	var x *turn
	if r == rankSubmits {
		x = l.results.lend(rankResults)
	}
	if x == nil {
		return l.write(ctx, what, f)
	}
	err := l.write(ctx, what, x.f, f)
	x.end(err)
	if err == nil || errors.Is(err, errBegin) || errors.Is(err, errCommit) {
		return err
	}
	return l.write(ctx, what, f)
}

// transact runs f, again if it fell victim to another transaction.
func (l *Ledger) transact(ctx context.Context, what string, f ...func(*txn) error) error {
	if l.d.alone {
		l.turns.writer.Lock()
		defer l.turns.writer.Unlock()
		// A statement that is cut off in the middle saves nothing, and costs a goroutine each.
		return l.once(context.WithoutCancel(ctx), what, f...)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), txnTime)
	defer cancel()
	for try := 1; ; try++ {
		err := l.once(ctx, what, f...)
		if err == nil || try == maxTries || !l.mayRunAgain(err) {
			return err
		}
		l.again.Add(1)
		time.Sleep(time.Duration(rand.Int64N(int64(try) * int64(5*time.Millisecond))))
	}
}

// maxTries is how often a transaction runs that deadlocks with others.
const maxTries = 20

// once runs fs in one transaction; each has its own memory of what follows.
func (l *Ledger) once(ctx context.Context, what string, fs ...func(*txn) error) (err error) {
	s, err := l.sessions.take(ctx, l.texts)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, errBegin, err)
	}
	sound := true
	defer func() { l.sessions.put(s, sound) }()
	if _, err := s.exec(ctx, l.d.begin); err != nil {
		sound = l.d.alone
		return fmt.Errorf("%s: %w: %w", what, errBegin, err)
	}
	now, journaling, learned := ms(l.Now()), l.journaling(), l.learned()
	ts := make([]*txn, 0, len(fs))
	for _, f := range fs {
		t := &txn{ctx: ctx, l: l, s: s, now: now, journaling: journaling, learned: learned}
		ts = append(ts, t)
		if err = f(t); err != nil {
			break
		}
	}
	for _, t := range ts { // after all others, so that what they lock comes first
		if err == nil {
			err = t.publish()
		}
	}
	if err == nil {
		err = writeCounts(ts)
	}
	if err == nil {
		err = ts[0].writeJournal()
	}
	if err == nil {
		if _, err = s.exec(ctx, "COMMIT"); err != nil {
			err = fmt.Errorf("%w: %w", errCommit, err)
		}
	}
	if err != nil {
		if _, rerr := s.exec(ctx, "ROLLBACK"); rerr != nil {
			// SQLite ends some transactions by itself; elsewhere the connection is done for.
			sound = l.d.alone
		}
		for _, t := range ts {
			t.undoTo(mark{})
		}
		if hongyan.CodeOf(err) != hongyan.CodeInternal {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	journaling.committed()
	learned.committed()
	for _, t := range ts {
		for _, f := range t.after {
			f()
		}
	}
	for _, t := range ts {
		l.pulse.changed(t.topics)
	}
	return nil
}

// apart runs f in a transaction of its own beside the one that is running, again if it fell
// victim to another one: replicas that start together say so at the same time.
func (l *Ledger) apart(ctx context.Context, f func(*txn) error) error {
	for try := 1; ; try++ {
		err := l.apartOnce(ctx, f)
		if err == nil || try == maxTries || !l.mayRunAgain(err) {
			return err
		}
		time.Sleep(time.Duration(rand.Int64N(int64(try) * int64(5*time.Millisecond))))
	}
}

func (l *Ledger) apartOnce(ctx context.Context, f func(*txn) error) (err error) {
	conn, err := l.rdb.db.Conn(ctx)
	if err != nil {
		return err
	}
	s := &session{texts: l.texts, conn: conn}
	defer s.close()
	if _, err = s.exec(ctx, l.d.begin); err != nil {
		return err
	}
	if err = f(&txn{ctx: ctx, l: l, s: s}); err == nil {
		_, err = s.exec(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = s.exec(ctx, "ROLLBACK")
	}
	return err
}

// mark is a place in a transaction to go back to.
type mark struct{ after, undo, news, counts int }

// save sets a savepoint. Only one is open at a time.
func (t *txn) save() (mark, error) {
	if err := t.leaveJournal(); err != nil {
		return mark{}, err
	}
	_, err := t.exec(`SAVEPOINT hongyan`)
	t.saved = len(t.counts)
	return mark{len(t.after), len(t.undo), len(t.news), len(t.counts)}, err
}

func (t *txn) release() error {
	t.saved = 0
	_, err := t.exec(`RELEASE SAVEPOINT hongyan`)
	return err
}

// rollbackTo takes back everything since the savepoint, in memory too.
func (t *txn) rollbackTo(m mark) error {
	if _, err := t.exec(`ROLLBACK TO SAVEPOINT hongyan`); err != nil {
		return err
	}
	t.undoTo(m)
	t.learned.forgetOwn()
	return t.release()
}

func (t *txn) undoTo(m mark) {
	for _, f := range t.undo[m.undo:] {
		f()
	}
	t.undo, t.after, t.news, t.counts = t.undo[:m.undo], t.after[:m.after], t.news[:m.news], t.counts[:m.counts]
}
