// Package ledger hides the database. It holds every SQL statement and every rule that
// must hold inside a transaction: who may take a grant, which state a message may move
// to, what a crash leaves behind. An exported method is one transaction and one business
// operation; nothing outside this package imports database/sql.
//
// It promises: what a method reported as done is on disk (full fsync), no grant is taken
// twice, a message is in `sending` before anyone may call WeChat for it, and a result is
// retried until written. It leaves calling WeChat and deciding what an answer means for
// an app to dispatch.
//
// Start: [Open], then [Ledger.Run] in a goroutine until the parts that use it have stopped.
package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// Config is what a ledger needs.
type Config struct {
	// DB is sqlite:PATH, postgres://… or mysql://…. The directory of a SQLite file is locked
	// for this process; the others may be shared by several replicas.
	DB string
	// MasterKey seals secrets. Replicas have the same one.
	MasterKey *MasterKey
	// Now is the time that due times and leases compare with. Default: this machine's clock on
	// SQLite, the database's clock elsewhere.
	Now func() time.Time
	// Clock is this machine's clock, which is compared with the database's. Default time.Now.
	Clock func() time.Time
	// Retention is how long final messages stay. Default: for ever.
	Retention Retention
	// MaxScheduled is how many messages of one app may wait for their time. Default 10 million.
	MaxScheduled int64
	Logger       *slog.Logger // default: discard
}

// Timings of a lease. A call may be written only while at least CallTimeout and two
// seconds of its lease are left, so that its answer arrives inside it.
const (
	LeaseTime   = 30 * time.Second
	CallTimeout = 8 * time.Second
	LeaseMargin = CallTimeout + 2*time.Second
)

// Ledger is the open database. Its methods may be called from any goroutine.
type Ledger struct {
	cfg      Config
	log      *slog.Logger
	d        *dialect
	texts    *texts
	db       *sql.DB // writers
	rdb      *reader
	sessions *sessions
	source   string // how the driver reaches the database
	wake     wake
	turns    turns
	clock    clock
	again    atomic.Int64 // transactions that ran once more
	live     atomic.Int64 // processes on this database
	erased   atomic.Int64 // messages whose data retention has erased
	deleted  atomic.Int64 // messages that retention has deleted
	drift    drift
	seen     atomic.Int64 // the stamp of the vocabulary in memory
	loads    atomic.Int64 // how often the vocabulary was read
	unlock   func() error
	key      *MasterKey
	owner    int64 // this process, in leases

	seqs    sequences
	entropy ulid.MonotonicReader
	cache   appCache
	keys    keyCache
	// audience is who listens to events; bell rings when there are some.
	audience atomic.Pointer[audience]
	bell     bell
	// vocabulary is held while apps, templates, pauses, keys or listeners change, shared by all other transactions.
	vocabulary sync.RWMutex
	// folded is the time of the newest id that the index by user has, ms: new ids must be later.
	folded atomic.Int64

	// moved is when results were last committed, unix ns.
	moved   atomic.Int64
	submits *committer[*submitOp]
	results *committer[*result]
	// delivered are the results of deliveries to webhooks.
	delivered *committer[*deliveryOutcome]
	// pushes are what WeChat pushes, on its way to disk; pushed says that some are there.
	pushes   *committer[*push]
	pushed   chan struct{}
	applying sync.Mutex
	lane     Lane
	// ending are the jobs that end with the submits' transaction that runs, and have their places
	// until then. Those who commit submits use it, nobody else; where one process writes, nobody.
	ending map[hongyan.AppID]int
	// busy has the users with a message handed out or claimed by this process and not yet settled.
	busy    busySet
	pledges pledges
	stats   statsState
	past    pastFigures
	pulse   pulse
	journal journal
	known   known
	reaches reachCounts
	// sweeping is held by the one sweep there is.
	sweeping sync.Mutex
	grown    bool // SQLite's log has its size; only Open and then the upkeep use it
	backlog  backlog
	idem     idemLocks
	syncs    syncCalls
	over     chan struct{} // closed once Run has ended: no result comes any more
	gates    sync.Map      // by app: whoever is first in the line of those who wait for a place
	nudge    atomic.Pointer[func()]
}

// Open opens the database, brings its schema up to date and marks what a crash left behind.
// On SQLite it takes an exclusive lock on the file's directory.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxScheduled == 0 {
		cfg.MaxScheduled = 10_000_000
	}
	if cfg.MasterKey == nil {
		return nil, errors.New("open ledger: no master key")
	}
	d, source, err := dialectOf(cfg.DB)
	if err != nil {
		return nil, err
	}
	unlock := func() error { return nil }
	if d.alone {
		if unlock, err = lockDir(source); err != nil {
			return nil, err
		}
	}
	l := &Ledger{cfg: cfg, log: cfg.Logger, d: d, texts: &texts{d: d}, key: cfg.MasterKey, unlock: unlock, owner: newOwner(), source: source, over: make(chan struct{})}
	l.entropy = &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}
	l.turns.waiting = func() int {
		return int(l.submits.length.Load() + l.results.length.Load())
	}
	l.clock.init(cfg, d)
	l.reaches.init()
	l.audience.Store(newAudience(nil)) // until it is read
	l.wake.init()
	l.submits = newCommitter(maxSubmitBatch, l.commitSubmits)
	l.submits.ready = l.ready
	l.submits.body = func(t *txn, ops []*submitOp) error { return newSubmitBatch(t, l.name(ops)).run(false) }
	l.submits.follow = tellSubmits
	l.results = newCommitter(maxResultBatch, l.commitResults)
	l.results.body = (*txn).lentResults
	if !l.d.alone {
		l.results.mayGo = l.isPlain
	}
	l.results.ready = l.resultsReady
	l.delivered = newCommitter(maxResultBatch, l.commitDeliveries)
	l.pushes = newCommitter(maxSubmitBatch, l.commitPushes)
	l.pushed = make(chan struct{}, 1)
	if err := l.open(ctx, source); err != nil {
		return nil, errors.Join(err, l.closeDB())
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context, source string) error {
	w, r, err := openDB(l.d, source)
	if err != nil {
		return err
	}
	l.db, l.rdb, l.sessions = w, newReader(r, l), newSessions(w, l.d)
	if l.d.check != nil {
		if err := l.d.check(ctx, w); err != nil {
			return err
		}
	}
	if err := migrateUp(ctx, l.d, w); err != nil {
		return err
	}
	if err := l.growWAL(); err != nil {
		return err
	}
	if err := l.heartbeat(ctx); err != nil {
		return err
	}
	if err := l.checkMasterKey(ctx); err != nil {
		return err
	}
	if err := l.reload(ctx); err != nil {
		return err
	}
	if err := l.readJournal(ctx); err != nil {
		return err
	}
	if err := l.voidOldLeases(ctx); err != nil {
		return err
	}
	if err := l.readMarks(ctx); err != nil {
		return err
	}
	return l.recount(ctx)
}

// Run commits submits and results and does the upkeep, until ctx ends; then it writes
// what is still waiting and returns. An error says that the database did not let it.
func (l *Ledger) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	left := 0
	wg.Go(func() { l.submits.run(ctx) })
	wg.Go(func() { left = l.results.run(ctx) })
	wg.Go(func() { l.delivered.run(ctx) }) // what it does not write is delivered again
	wg.Go(func() { l.pushes.run(ctx) })
	wg.Go(func() { l.applyCallbacks(ctx) })
	wg.Go(func() { l.upkeep(ctx) })
	wg.Go(func() { l.retention(ctx) })
	wg.Go(func() { l.replicas(ctx) })
	wg.Go(func() { l.listen(ctx) })
	wg.Go(func() { l.tellOthers(ctx) })
	wg.Wait()
	close(l.over)
	if left > 0 {
		return fmt.Errorf("the database did not take %d results before the stop: their messages will be uncertain at the next start", left)
	}
	return nil
}

// Close closes the database. Call it after Run has returned, or instead of it.
func (l *Ledger) Close() error { return l.closeDB() }

func (l *Ledger) closeDB() error {
	var errs []error
	l.reaches.close()
	if l.db != nil {
		l.sessions.close()
		errs = append(errs, l.db.Close())
		if l.rdb.db != l.db {
			errs = append(errs, l.rdb.db.Close())
		}
	}
	errs = append(errs, l.unlock())
	return errors.Join(errs...)
}

// Ping reports whether the database can be read and results can be written.
func (l *Ledger) Ping(ctx context.Context) error {
	if l.Stalled() {
		return hongyan.Errorf(hongyan.CodeStorageUnavailable, "Results could not be written for more than a second.")
	}
	var one int
	if err := l.rdb.QueryRowContext(ctx, "/* ledger.Ping */ SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("read database: %w", err)
	}
	return nil
}

// Owner is this process in leases.
func (l *Ledger) Owner() int64 { return l.owner }

// Now is the ledger's clock, which due times and leases compare with.
func (l *Ledger) Now() time.Time { return l.clock.now() }

// Loads changes whenever apps, with their templates and pauses, may have changed: whoever
// keeps something made of their settings compares it.
func (l *Ledger) Loads() int64 { return l.loads.Load() }

// OnDue sets what to call when a message may have become due before its time was known:
// a hint, that may be lost.
func (l *Ledger) OnDue(nudge func()) { l.nudge.Store(&nudge) }

// nudgeDue says so here and to the other replicas.
func (l *Ledger) nudgeDue() {
	l.nudgeHere()
	l.tellDue()
}

func (l *Ledger) nudgeHere() {
	if f := l.nudge.Load(); f != nil {
		(*f)()
	}
}

func newOwner() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return int64(binary.BigEndian.Uint64(b[:]) >> 1) // positive, and never the 0 of "nobody" in practice
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}
