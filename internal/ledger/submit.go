package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// SubmitOptions go with one call of Submit.
type SubmitOptions struct {
	// Strict: if one message is refused, none is stored and no grant is touched.
	Strict bool
	Idem   *Idempotency
}

// SubmitResult is the fate of one submission: a message, or the error that refused it.
type SubmitResult struct {
	Message *hongyan.Message
	Err     error
}

// submitOp is one call of Submit on its way through the committer.
type submitOp struct {
	items   []*submitItem
	results []SubmitResult // of every submission; those that were refused before have theirs
	strict  bool
	idem    *Idempotency
	err     error // of the whole call
	done    chan struct{}
}

// submitItem is one checked submission, ready for the transaction.
type submitItem struct {
	app      *appEntry
	template *templateEntry
	message  hongyan.Message
	report   *hongyan.Report
	options  options
	data     string
	explicit int64     // expires_at as asked for
	sendAt   time.Time // send_at as asked for
	place    int       // in the call's submissions

	// Set by the transaction.
	result SubmitResult
	row    *newRow
}

type newRow struct {
	seq, user                          int64
	id                                 ulid.ULID
	state, due, expires, reserve, flag int64
	job                                *Job
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
	}
	return out, nil
}

func errNotStored() error {
	return hongyan.Errorf(hongyan.CodeConflict, "Not stored, because another message of this strict batch was refused.")
}

// commitSubmits writes a batch of submits in one transaction. If the transaction fails,
// each goes through one of its own, so that one bad row fails alone.
func (l *Ledger) commitSubmits(ctx context.Context, ops []*submitOp) []*submitOp {
	if err := l.commitOps(ctx, ops); err != nil {
		for _, op := range ops {
			if len(ops) > 1 && !errors.Is(err, errBegin) {
				err = l.commitOps(ctx, []*submitOp{op})
			}
			switch {
			case err == nil:
			case hongyan.CodeOf(err) != hongyan.CodeInternal:
				op.err = err
			default:
				l.log.ErrorContext(ctx, "submit not written", "err", err)
				op.err = hongyan.Errorf(hongyan.CodeStorageUnavailable, "The database could not write; nothing was accepted.")
			}
		}
	}
	for _, op := range ops {
		close(op.done)
	}
	return nil // a submit that failed was answered so, and is not tried again
}

func (l *Ledger) commitOps(ctx context.Context, ops []*submitOp) error {
	b := &submitBatch{l: l, gs: make(grants), apps: make(map[int64]*batchApp), count: make(map[int64]int)}
	for _, op := range ops {
		op.err = nil
		for _, it := range op.items {
			it.result, it.row = SubmitResult{}, nil
			b.count[it.app.no]++
		}
	}
	err := l.write(ctx, "submit", func(t *txn) error {
		b.t = t
		for _, op := range ops {
			if err := b.op(op); err != nil {
				return err
			}
		}
		return b.flush()
	})
	b.settle(err == nil)
	return err
}

// submitBatch is one transaction of submits.
type submitBatch struct {
	l     *Ledger
	t     *txn
	gs    grants
	apps  map[int64]*batchApp
	count map[int64]int // items an app has in the batch
	rows  []*submitItem // waiting to be inserted
	jobs  []*Job        // handed off, if it commits
}

// op runs one call of Submit. A strict one is undone as a whole by its savepoint.
func (b *submitBatch) op(op *submitOp) error {
	strict := op.strict && len(op.items) > 1
	var start mark
	if strict {
		if err := b.flush(); err != nil {
			return err
		}
		var err error
		if start, err = b.t.save(); err != nil {
			return err
		}
	}
	jobs, refused := len(b.jobs), false
	for _, it := range op.items {
		if err := b.item(it); err != nil {
			if hongyan.CodeOf(err) == hongyan.CodeInternal {
				return err
			}
			it.result, refused = SubmitResult{Err: err}, true
			if strict {
				break
			}
		}
	}
	if strict && refused {
		return b.undo(op, start, jobs)
	}
	if fates, stored := op.fates(); op.idem != nil && stored {
		if err := b.t.remember(op.idem, 202, fates); err != nil {
			return err
		}
	}
	if strict {
		if err := b.flush(); err != nil {
			return err
		}
		return b.t.release()
	}
	return nil
}

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
		if it.result.Err != nil {
			out[it.place] = "!" + string(hongyan.CodeOf(it.result.Err))
		} else {
			out[it.place], stored = string(it.result.Message.ID), true
		}
	}
	return strings.Join(out, ","), stored
}

// undo takes back a strict submit: rows, grants, jobs and places.
func (b *submitBatch) undo(op *submitOp, start mark, jobs int) error {
	if err := b.t.rollbackTo(start); err != nil {
		return err
	}
	b.rows, b.gs = nil, make(grants)
	b.takeBack(b.jobs[jobs:])
	b.jobs = b.jobs[:jobs]
	for _, it := range op.items {
		if it.row != nil {
			b.tally(it, -1)
		}
		if it.result.Err == nil {
			it.result = SubmitResult{Err: errNotStored()}
		}
	}
	return nil
}

// tally counts a row among those that wait.
func (b *submitBatch) tally(it *submitItem, n int64) {
	switch app := b.apps[it.app.no]; it.row.state {
	case stQueued:
		app.queued += n
	case stScheduled:
		app.scheduled += n
	}
}

// item decides about one message: the first message of its dedup key, a refusal, or a new row.
func (b *submitBatch) item(it *submitItem) error {
	t, m := b.t, &it.message
	if dup, err := b.duplicate(it); dup || err != nil {
		return err
	}
	app, err := b.app(it.app.no)
	if err != nil {
		return err
	}
	due := max(ms(it.sendAt), t.now)
	if err := b.room(app, due); err != nil {
		return err
	}
	user, err := t.user(it.app.no, m.To)
	if err != nil {
		return err
	}
	k := grantKey{user, it.template.no}
	if it.report != nil {
		if err := b.insertRows(); err != nil { // a new grant serves them too
			return err
		}
		if _, err := t.report(b.gs, app.app, k, *it.report); err != nil {
			return err
		}
	}
	row := &newRow{user: user, due: due, expires: it.explicit}
	if row.expires == 0 {
		row.expires = due + app.app.app.Settings.Expiry().Milliseconds()
	}
	if err := b.admit(it, app.app, row, k); err != nil {
		return err
	}
	if row.seq, err = t.nextNo("messages"); err != nil {
		return err
	}
	// Never older than what the index by user has seen, or its list would miss it.
	row.id = newID(max(t.now, b.l.folded.Load()+1))
	it.row = row
	if m.DedupKey != "" {
		if _, err := t.exec(`/* ledger.Submit */ INSERT INTO dedup_keys (app_no, key, seq, until) VALUES (?, ?, ?, ?)`, it.app.no, m.DedupKey, row.seq, t.now+dedupKept.Milliseconds()); err != nil {
			return err
		}
	}
	if row.state == stQueued {
		b.handOff(it, app)
	}
	b.tally(it, 1)
	b.rows = append(b.rows, it)
	b.answer(it)
	return nil
}

const dedupKept = 24 * time.Hour

// maxScheduled bounds the messages of an app that wait for their time.
const maxScheduled = 10_000_000

// room refuses what the app's backlog has no room for.
func (b *submitBatch) room(app *batchApp, due int64) error {
	have := b.l.backlog.of(app.app.no)
	queued, scheduled := have.queued+app.queued, have.scheduled+app.scheduled
	if due > b.t.now {
		if scheduled >= maxScheduled {
			return &hongyan.Error{Code: hongyan.CodeBacklogFull, Message: fmt.Sprintf("%d messages of the app are scheduled.", scheduled), RetryAfter: time.Minute}
		}
		return nil
	}
	if queued >= app.app.app.Settings.Backlog() {
		return &hongyan.Error{Code: hongyan.CodeBacklogFull, Message: fmt.Sprintf("%d messages of the app are queued.", queued), RetryAfter: 10 * time.Second}
	}
	return nil
}

// duplicate answers with the first message of the dedup key, unless that freed the key:
// canceled, expired, or failed without a request to WeChat.
func (b *submitBatch) duplicate(it *submitItem) (bool, error) {
	key := it.message.DedupKey
	if key == "" {
		return false, nil
	}
	if err := b.insertRows(); err != nil { // the first may be in this very batch
		return false, err
	}
	var state, attempt, until int64
	var reason string
	var id []byte
	err := b.t.row(`/* ledger.duplicate */ SELECT m.id, COALESCE(m.state, 0), COALESCE(m.attempt, 0), COALESCE(m.reason, ''), d.until FROM dedup_keys d LEFT JOIN messages m ON m.seq = d.seq WHERE d.app_no = ? AND d.key = ?`,
		[]any{it.app.no, key}, &id, &state, &attempt, &reason, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	unsent := attempt == 0 || reason == string(hongyan.CodeWeChatUnreachable)
	freed := id == nil || state == stCanceled || state == stExpired || state == stFailed && unsent
	if until <= b.t.now || freed {
		_, err := b.t.exec(`/* ledger.duplicate */ DELETE FROM dedup_keys WHERE app_no = ? AND key = ?`, it.app.no, key)
		return false, err
	}
	m, err := b.t.message(ulid.ULID(id))
	if err != nil {
		return false, err
	}
	b.l.showDue(m)
	m.Duplicate = true
	it.result = SubmitResult{Message: m}
	return true, nil
}

// admit asks the count for a grant and sets the row's state.
func (b *submitBatch) admit(it *submitItem, app *appEntry, row *newRow, k grantKey) error {
	t, m := b.t, &it.message
	row.state = stQueued
	if row.due > t.now {
		row.state = stScheduled
		if m.Reserve == hongyan.ReserveSend {
			row.flag = flagNotAdmitted
			return nil
		}
	}
	g, err := t.grant(b.gs, k, t.kindOf(app, k.template))
	if err != nil {
		return err
	}
	switch g.Admit(m.OnNoGrant) {
	case hongyan.AdmitReserved:
		row.reserve, g.dirty = 1, true
	case hongyan.AdmitRefused:
		return noGrant(m)
	case hongyan.AdmitHeld:
		if err := b.insertRows(); err != nil {
			return err
		}
		var held int
		if err := t.row(`/* ledger.admit */ SELECT COUNT(*) FROM messages WHERE user_no = ? AND template_no = ? AND state = 1 AND state IN (1, 2, 3, 4, 9)`, []any{k.user, k.template}, &held); err != nil {
			return err
		}
		if held >= maxHeld {
			return &hongyan.Error{Code: hongyan.CodeHeldLimit, Message: fmt.Sprintf("%d messages are held for this user and template.", held), RetryAfter: time.Hour}
		}
		row.state = stHeld
		hold := t.now + m.HoldFor().Milliseconds()
		if it.explicit != 0 {
			hold = min(hold, it.explicit)
		}
		row.expires = hold
	}
	return nil
}

const maxHeld = 20

// answer fills in the message as the caller will see it.
func (b *submitBatch) answer(it *submitItem) {
	m, row := &it.message, it.row
	m.ID = hongyan.MessageIDOf(row.id)
	m.Status = word(stateWords, row.state)
	m.SendAt, m.ExpiresAt = at(row.due), at(row.expires)
	m.Reserved = int(row.reserve)
	m.CreatedAt, m.UpdatedAt = at(b.t.now), at(b.t.now)
	m.Attempt = 0
	if row.job != nil {
		m.Attempt = 1
		row.job.Message = *m
	}
	it.result = SubmitResult{Message: m}
}

func (b *submitBatch) flush() error {
	if err := b.insertRows(); err != nil {
		return err
	}
	return b.t.flush(b.gs)
}

func (b *submitBatch) insertRows() error {
	for _, it := range b.rows {
		if err := b.insert(it); err != nil {
			return err
		}
	}
	b.rows = b.rows[:0]
	return nil
}

func (b *submitBatch) insert(it *submitItem) error {
	t, m, row := b.t, &it.message, it.row
	opt, err := json.Marshal(it.options)
	if err != nil {
		return err
	}
	var attempt, owner, lease, started int64
	if row.job != nil {
		attempt, owner, lease, started = 1, b.l.owner, ms(row.job.LeaseUntil), t.now
	}
	_, err = t.exec(`/* ledger.Submit */ INSERT INTO messages (seq, id, app_no, template_no, user_no, state, reason, priority, due_at, expires_at, reserved, busy, same_user, unsent, flags, attempt, owner, lease_until, started_at, ended_at, data, options, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, 0, 0, 0, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)`,
		row.seq, row.id[:], it.app.no, it.template.no, row.user, row.state, code(priorityWords, m.Priority), row.due, row.expires, row.reserve,
		row.flag, attempt, owner, lease, started, it.data, string(opt), t.now, t.now)
	return err
}

// settle follows the commit: jobs to the senders, unused places back.
func (b *submitBatch) settle(committed bool) {
	if !committed {
		b.takeBack(b.jobs)
		b.jobs = nil
	}
	queued := false
	for no, x := range b.apps {
		if x.places > 0 {
			b.l.lane.Release(x.app.app.AppID, x.places)
		}
		if committed {
			b.l.backlog.add(no, x.queued, x.scheduled)
			queued = queued || x.queued+x.scheduled > 0
		}
	}
	if len(b.jobs) > 0 {
		b.l.lane.Deliver(b.jobs)
	}
	if queued {
		b.l.nudgeDue()
	}
}
