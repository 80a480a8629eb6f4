package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// SubmitOptions go with one call of Submit.
type SubmitOptions struct {
	// Strict: if one message is refused, none is stored and no grant is touched.
	Strict bool
	Idem   *Idempotency
	// Join answers a message with another that says the same and is under way.
	Join *Joining
}

// SubmitResult is the fate of one submission: a message, or the error that refused it.
type SubmitResult struct {
	Message *hongyan.Message
	Err     error
	// Heard, with Join, is to be told, once the answer was written, for how long a repeat is to be
	// answered with this message: not at all if the caller has the answer for certain.
	Heard func(keep time.Duration)
	// Forget ends that time: the caller has shown that it has the answer.
	Forget func()
}

// submitOp is one call of Submit on its way through the committer.
type submitOp struct {
	items   []*submitItem
	results []SubmitResult // of every submission; those that were refused before have theirs
	strict  bool
	idem    *Idempotency
	likely  string // what its idempotency record says until the call is decided
	err     error  // of the whole call
	done    chan struct{}
}

// submitItem is one checked submission, ready for the transaction.
type submitItem struct {
	app      *appEntry
	template *templateEntry
	message  hongyan.Message
	report   *hongyan.Report
	options  string // JSON, as is data
	data     string
	explicit int64     // expires_at as asked for
	sendAt   time.Time // send_at as asked for
	place    int       // in the call's submissions
	id       ulid.ULID // the same in every try, so that a repeat finds what an earlier one stored
	join     *Joining  // it may be answered with another that says the same
	sync     *syncSend // its caller waits for what it comes to, and it has a place

	// Set by the transaction.
	user    int64
	unheard string // it joined one that nobody had heard of, which has this key
	result  SubmitResult
	row     *newRow
}

type newRow struct {
	seq, user                          int64
	state, due, expires, reserve, flag int64
	job                                *Job
	dedupWas                           *dedupRow // who held its dedup key before
}

// Submit checks and stores messages, taking their grants, in one transaction that other
// submits share. When it returns without error, every message in the results is on disk.
// Results keep the order of subs.
func (l *Ledger) Submit(ctx context.Context, subs []hongyan.Submission, opt SubmitOptions) ([]SubmitResult, error) {
	if l.Stalled() {
		return nil, hongyan.Errorf(hongyan.CodeStorageUnavailable, "Results could not be written for more than a second; nothing was accepted.")
	}
	out := make([]SubmitResult, len(subs))
	op := &submitOp{results: out, strict: opt.Strict, idem: opt.Idem, done: make(chan struct{})}
	refused := false
	for i := range subs {
		item, err := l.prepare(ctx, &subs[i])
		switch {
		case err != nil:
			out[i].Err, refused = err, true
		case subs[i].DryRun:
			out[i] = l.dryRun(ctx, item)
		default:
			item.place = i
			item.join = opt.Join
			op.items = append(op.items, item)
		}
	}
	if opt.Strict && refused {
		for _, item := range op.items {
			out[item.place].Err = errNotStored()
		}
		return out, nil
	}
	if len(op.items) == 0 {
		return out, nil
	}
	if !l.submits.add(op) {
		return nil, hongyan.Errorf(hongyan.CodeShuttingDown, "The server is stopping; nothing was accepted.")
	}
	// The commit cannot be taken back, so the caller's context does not end the wait: an
	// answer that says less than the truth would lead to a second submit.
	<-op.done
	if op.err != nil {
		return nil, op.err
	}
	for _, item := range op.items {
		out[item.place] = item.result
		if item.join != nil && item.result.Err == nil {
			out[item.place].Heard = l.hearingOf(item)
			out[item.place].Forget = func() { l.forgetUnheard(item.app.no, item.twinKey().unheard()) }
		}
	}
	return out, nil
}

func errNotStored() error {
	return hongyan.Errorf(hongyan.CodeConflict, "Not stored, because another message of this strict batch was refused.")
}

// commitSubmits writes a batch of submits in one transaction. If the transaction fails,
// each goes through one of its own, so that one bad row fails alone.
func (l *Ledger) commitSubmits(ctx context.Context, take func() []*submitOp) []*submitOp {
	named := sync.OnceValue(func() []*submitOp { return l.name(take()) })
	err := l.commitOps(ctx, named)
	ops := named()
	if err != nil {
		alone := len(ops) > 1 && !errors.Is(err, errBegin) && !errors.Is(err, errUnknown)
		for _, op := range ops {
			if alone {
				err = l.commitOps(ctx, func() []*submitOp { return []*submitOp{op} })
			}
			switch {
			case err == nil:
			case hongyan.CodeOf(err) != hongyan.CodeInternal:
				op.err = err
			case errors.Is(err, errUnknown):
				l.log.ErrorContext(ctx, "submit may be written or not", "err", err)
				op.err = fmt.Errorf("%w: %w", errUnknown, hongyan.Errorf(hongyan.CodeStorageUnavailable, "The database went away during the commit, so nobody knows whether this was accepted. Repeat it with the same Idempotency-Key or dedup_key, or look for the message first."))
			default:
				l.log.ErrorContext(ctx, "submit not written", "err", err)
				op.err = hongyan.Errorf(hongyan.CodeStorageUnavailable, "The database could not write; nothing was accepted.")
			}
		}
	}
	tellSubmits(ops)
	return nil // a submit that failed was answered so, and is not tried again
}

// name gives the messages their ids.
func (l *Ledger) name(ops []*submitOp) []*submitOp {
	// Never older than what the index by user has seen, or its list would miss it.
	now := max(ms(l.Now()), l.folded.Load()+1)
	for _, op := range ops {
		for _, it := range op.items {
			it.id = l.newID(now)
		}
	}
	return ops
}

func tellSubmits(ops []*submitOp) {
	for _, op := range ops {
		close(op.done)
	}
}

// commitOps runs the transaction. A commit whose answer was lost may have happened: the
// next try looks for its rows first.
func (l *Ledger) commitOps(ctx context.Context, take func() []*submitOp) error {
	var b, unknown *submitBatch
	began, wait := time.Now(), retryFirst
	for {
		err := l.together(ctx, rankSubmits, "submit", func(t *txn) error {
			b = newSubmitBatch(t, take())
			return b.run(unknown != nil)
		})
		switch {
		case errors.Is(err, errStored):
			unknown.adopt()
			return nil
		case !l.d.alone && errors.Is(err, errCommit):
			b.keep()
			unknown = b
		case err == nil || unknown == nil:
			return err
		case time.Since(began) > unknownTime:
			return fmt.Errorf("%w: %w", errUnknown, err)
		}
		// Only the database knows, and it is away.
		time.Sleep(wait)
		wait = min(2*wait, retryMost)
	}
}

// unknownTime is how long a submit waits to learn whether it was stored; no longer than a
// stop may take.
const unknownTime = drainFor

// errUnknown says that a submit may be stored or not.
var errUnknown = errors.New("the commit was not answered")

// errStored says that an earlier try of this batch was committed after all.
var errStored = errors.New("stored by an earlier try")

// fates is what the idempotency record says of the call: each submission's message, or "!"
// and the code that refused it. A repeat must not send again what was stored, so a
// permissive call is remembered as soon as it stored anything.
func (op *submitOp) fates() (list string, stored bool) {
	out := make([]string, len(op.results))
	for i, r := range op.results {
		if r.Err != nil {
			out[i] = "!" + string(hongyan.CodeOf(r.Err))
		}
	}
	for _, it := range op.items {
		switch {
		case it.result.Err != nil:
			out[it.place] = "!" + string(hongyan.CodeOf(it.result.Err))
		case it.result.Message != nil:
			out[it.place], stored = string(it.result.Message.ID), true
		default: // not decided yet, and most likely this
			out[it.place] = string(hongyan.MessageIDOf(it.id))
		}
	}
	return strings.Join(out, ","), stored
}
