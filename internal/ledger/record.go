package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// result is one attempt's outcome on its way to disk.
type result struct {
	job *Job
	o   hongyan.Outcome
	// keep is for how long a repeat is answered with this message, because its caller may not
	// have the answer.
	keep time.Duration
	// again: it was tried before, and may be on disk.
	again bool
}

// RecordAttempt takes over an outcome: it is written with others in the next transaction
// and retried until it is on disk. It returns at once; the user stays busy until then.
//
// Where somebody waits, an accept is written once that one has the answer, or a second later.
func (l *Ledger) RecordAttempt(job *Job, o hongyan.Outcome) {
	if job.done == nil || o.Class != hongyan.OutcomeOK {
		l.record(&result{job: job, o: o})
		return
	}
	var once sync.Once
	record := func(keep time.Duration) { once.Do(func() { l.record(&result{job: job, o: o, keep: keep}) }) }
	late := time.AfterFunc(syncTell, func() { record(job.repeat) })
	job.done(syncOutcome{o, func(keep time.Duration) { late.Stop(); record(keep) }})
}

func (l *Ledger) record(r *result) {
	if !l.results.add(r) {
		// Run has ended: the row stays `sending` and becomes uncertain at the next start,
		// which is true. server stops the senders before the ledger, so this is a bug.
		l.log.Error("result after the ledger stopped", "message_id", r.job.Message.ID)
	}
}

// Stalled reports whether a result has been waiting for disk for more than a second. While
// it has, no new call to WeChat may start: what it came to could not be remembered.
func (l *Ledger) Stalled() bool { return l.results.waiting() > time.Second }

// commitResults writes a batch of results, together if possible, one by one if not. It
// answers those that it could not write.
func (l *Ledger) commitResults(ctx context.Context, take func() []*result) (left []*result) {
	err := l.writeResults(ctx, take)
	if err == nil {
		return nil
	}
	batch := take()
	for _, r := range batch {
		r.again = true
	}
	l.log.ErrorContext(ctx, "results not written, trying again", "err", err)
	if len(batch) == 1 || errors.Is(err, errBegin) {
		return batch
	}
	for _, r := range batch {
		if l.writeResults(ctx, func() []*result { return []*result{r} }) != nil {
			left = append(left, r)
		}
	}
	return left
}

func (l *Ledger) writeResults(ctx context.Context, take func() []*result) error {
	return l.together(ctx, rankResults, "record attempts", func(t *txn) error { return t.results(take()) })
}

// isPlain reports whether a result is that WeChat took the message, for a grant it holds: on a
// shared database to write it locks one row, under our own lease.
func (l *Ledger) isPlain(r *result) bool {
	_, ok := l.spendsOwn(r)
	return ok && r.keep == 0
}

// spendsOwn reports whether a result is an accept that spends no grant but the need that its
// message holds, none of a long-term template.
func (l *Ledger) spendsOwn(r *result) (need int64, ok bool) {
	if l.appByNo(r.job.app).kindOf(r.job.template) != hongyan.KindLongTerm {
		need = 1
	}
	return need, r.o.Class == hongyan.OutcomeOK && int64(r.job.Message.Reserved) >= need
}

// lentResults are results in the transaction of others.
func (t *txn) lentResults(batch []*result) error {
	if t.l.d.alone {
		return t.results(batch)
	}
	left, err := t.recordAccepted(batch)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return errMoved
	}
	t.settle(batch, true)
	return nil
}

// errMoved ends a transaction of others with results that have become more than plain.
var errMoved = errors.New("some results go by themselves")

func (t *txn) results(batch []*result) error {
	if err := t.writeResults(batch); err != nil {
		return err
	}
	t.settle(batch, false)
	return nil
}

func (t *txn) writeResults(batch []*result) error {
	if err := t.rememberUnheard(batch); err != nil {
		return err
	}
	left, err := t.recordAccepted(batch)
	if err != nil || len(left) == 0 {
		return err
	}
	gs := make(grants)
	rows, err := t.resultRows(gs, left)
	if err != nil {
		return err
	}
	for _, r := range left {
		if err := t.record(gs, r, rows[r.job.seq]); err != nil {
			return err
		}
	}
	return t.flush(gs)
}

// settle frees what the jobs took: their places and their users. A submit that follows in this
// very transaction may have the places already: rows that take them become `sending` with the same
// commit that ends these. lent: it is the submits' transaction, and others run beside it.
func (t *txn) settle(batch []*result, lent bool) {
	l := t.l
	settled := make(map[hongyan.AppID]int)
	jobs := make([]*Job, len(batch))
	for i, r := range batch {
		jobs[i] = r.job
		if !r.job.loose {
			settled[r.job.Message.App]++
		}
	}
	each := func(f func(hongyan.AppID, int), sign int) {
		for id, n := range settled {
			if f != nil {
				f(id, sign*n)
			}
		}
	}
	if l.d.alone {
		each(l.lane.Freed, 1)
		t.undo = append(t.undo, func() { each(l.lane.Freed, -1) })
	} else {
		if lent { // a claim beside it may be committed before
			l.ending = settled
			over := func() { l.ending = nil }
			t.undo, t.after = append(t.undo, over), append(t.after, over)
		}
		t.after = append(t.after, func() { each(l.lane.Freed, 1) })
	}
	t.after = append(t.after, func() {
		l.busy.release(jobs...)
		each(l.lane.Settled, 1)
		for _, r := range batch {
			switch {
			case r.job.done == nil:
			case r.o.Class != hongyan.OutcomeOK:
				r.job.done(syncOutcome{Outcome: r.o})
			default:
				r.job.recorded()
			}
		}
		l.moved.Store(time.Now().UnixNano())
		l.submits.nudge()
	})
}

var acceptedColumns = ints("seq attempt need msgid started_at ended_at")

// recordAccepted writes what nearly every result is, in one statement: accepted, with the
// grant it holds spent, which changes no grant. It answers the results that are not that.
func (t *txn) recordAccepted(batch []*result) (left []*result, err error) {
	var rows [][]any
	var plain, journaled []*result
	for _, r := range batch {
		need, ok := t.l.spendsOwn(r)
		if !ok {
			left = append(left, r)
			continue
		}
		a := acceptance{r.job.seq, r.o.MsgID, or(ms(r.o.StartedAt), t.now), or(ms(r.o.EndedAt), t.now)}
		if t.journaling.accept(a, r.job.attempt, need) {
			journaled = append(journaled, r)
			continue
		}
		if t.journaling.has(a.seq) {
			if err := t.bringHome(); err != nil {
				return nil, err
			}
		}
		plain = append(plain, r)
		rows = append(rows, []any{a.seq, r.job.attempt, need, a.msgid, a.started, a.ended})
	}
	begun, err := t.begun(plain)
	if err != nil {
		return nil, err
	}
	var fresh []*result // what this very try has written
	n := 0
	for part := range slices.Chunk(rows, t.l.d.chunk) {
		q, args := t.l.d.accepted(t.l.owner, part)
		some, err := t.exec(q, args...)
		if err != nil {
			return nil, err
		}
		if int(some) == len(part) {
			fresh = append(fresh, plain[n:n+len(part)]...)
		}
		n += len(part)
	}
	if len(fresh) < len(plain) { // some have moved on: those are looked at one by one
		written, err := t.accepted(plain)
		if err != nil {
			return nil, err
		}
		for _, r := range plain {
			if !written[r.job.seq] {
				left = append(left, r)
			}
		}
		switch {
		case begun != nil:
			fresh = slices.DeleteFunc(slices.Clone(plain), func(r *result) bool { return !begun[r.job.seq] || !written[r.job.seq] })
		case t.l.d.chunk > 1: // it must be known which they are
			for _, r := range plain {
				r.again = true
			}
			return nil, fmt.Errorf("some results have moved on: %w", errAgain)
		}
	}
	for _, r := range append(journaled, fresh...) {
		t.countState(r.job.template, stAccepted, "", 0)
		t.emitMessage(hongyan.EventMessageAccepted, r.job.app, r.job.seq)
	}
	return left, nil
}

// begun tells which of the results' messages are still `sending`, if somebody listens or one
// of them was tried before: an earlier try, whose commit was not answered, may have accepted,
// counted and announced the others. nil: nobody asked.
func (t *txn) begun(batch []*result) (map[int64]bool, error) {
	again := slices.ContainsFunc(batch, func(r *result) bool { return r.again })
	if len(batch) == 0 || !again && len(t.l.audience.Load().byType[hongyan.EventMessageAccepted]) == 0 {
		return nil, nil
	}
	seqs := make([]any, len(batch))
	for i, r := range batch {
		seqs[i] = r.job.seq
	}
	out := make(map[int64]bool, len(batch))
	list, args := t.l.d.list(seqs, kindInt)
	err := t.rows(`/* ledger.begun */ SELECT seq FROM messages WHERE state + 0 = 4 AND owner = ? AND seq `+list+` ORDER BY seq`+t.l.d.lock, append([]any{t.l.owner}, args...), func(r scanner) error {
		var seq int64
		err := r.Scan(&seq)
		out[seq] = true
		return err
	})
	return out, err
}

// accepted tells which of the results this very transaction, or an earlier try, has written.
func (t *txn) accepted(batch []*result) (map[int64]bool, error) {
	by := make(map[int64]*result, len(batch))
	seqs := make([]any, len(batch))
	for i, r := range batch {
		seqs[i], by[r.job.seq] = r.job.seq, r
	}
	out := make(map[int64]bool)
	list, args := t.l.d.list(seqs, kindInt)
	err := t.rows(`/* ledger.accepted */ SELECT seq, attempt, COALESCE(msgid, 0) FROM messages WHERE state = 5 AND owner = ? AND seq `+list, append([]any{t.l.owner}, args...), func(r scanner) error {
		var seq, attempt, msgid int64
		err := r.Scan(&seq, &attempt, &msgid)
		out[seq] = attempt == by[seq].job.attempt && msgid == by[seq].o.MsgID
		return err
	})
	return out, err
}

// resultRow is what settling needs to know of the row as it is now: a report may have
// backed it, or a 43101 of another message may have voided its reservation.
type resultRow struct {
	seq, user, template, app  int64
	state, reserved, attempt  int64
	owner, expires, startedAt int64
}

// resultRows locks the grants and then the rows of results.
func (t *txn) resultRows(gs grants, batch []*result) (map[int64]*resultRow, error) {
	keys := make(map[grantKey]hongyan.TemplateKind)
	seqs := make([]any, len(batch))
	for i, r := range batch {
		seqs[i] = r.job.seq
		keys[grantKey{r.job.user, r.job.template}] = t.l.appByNo(r.job.app).kindOf(r.job.template)
	}
	if err := t.lockGrants(gs, keys); err != nil {
		return nil, err
	}
	out := make(map[int64]*resultRow, len(batch))
	list, args := t.l.d.list(seqs, kindInt)
	err := t.rows(`/* ledger.resultRows */ SELECT seq, user_no, template_no, app_no, state, reserved, attempt, owner, expires_at, started_at FROM messages WHERE seq `+list+` ORDER BY seq`+t.l.d.lock, args, func(r scanner) error {
		var w resultRow
		err := r.Scan(&w.seq, &w.user, &w.template, &w.app, &w.state, &w.reserved, &w.attempt, &w.owner, &w.expires, &w.startedAt)
		out[w.seq] = &w
		return err
	})
	return out, err
}

// record settles one attempt. Guarded by (id, attempt, owner): a result that comes after
// the lease was taken over is evidence; it still settles a message that nothing else has.
func (t *txn) record(gs grants, r *result, w *resultRow) error {
	if w == nil {
		// It ended long ago and retention has deleted it: nothing is left to be told.
		t.after = append(t.after, func() {
			t.l.log.Warn("a result came after its message was deleted", "message_id", r.job.Message.ID, "errcode", r.o.Errcode)
		})
		return nil
	}
	sending := w.state == stSending && w.owner == t.l.owner
	if !sending && r.o.Class == hongyan.OutcomeOK {
		if err := t.unresolve(w.app, r.o.MsgID, w.seq); err != nil {
			return err
		}
	}
	if w.attempt != r.job.attempt || !sending && w.state != stUncertain {
		return t.late(gs, r, w)
	}
	o := r.o
	if !sending && o.Class == hongyan.OutcomeExpired {
		// Nothing was sent, so it is not uncertain any more; that it has expired is for the
		// claim to say, as for every message that waits.
		o.Class = hongyan.OutcomeGiveBack
	}
	c := r.job.Message.Apply(o, at(t.now))
	if c.State == hongyan.StateQueued && ms(c.DueAt) > w.expires {
		c.DueAt = at(w.expires) // never past expiry: the claim or the sweep ends it then
	}
	// Locks go grants first, then messages; what serving others does follows the message's
	// own update, so that it is not taken for one that still waits.
	keep, settle, err := t.settleGrants(gs, r, w, c)
	if err != nil {
		return err
	}
	if err := t.writeChange(r, w, c, keep); err != nil {
		return err
	}
	if state := code(stateWords, c.State); state != w.state {
		t.countState(w.template, state, c.Reason, errcodeOf(r.o))
		t.emitMessage(hongyan.EventOf(c.State), w.app, w.seq)
	}
	return settle()
}

// writeChange writes the message's own row.
func (t *txn) writeChange(r *result, w *resultRow, c hongyan.Change, reserved int64) error {
	if !r.o.Called() {
		return t.uncall(r, w, c, reserved)
	}
	var resend, due any
	if c.Resend {
		resend = max(ms(r.job.LeaseUntil), t.now) + resendAfter.Milliseconds()
	}
	expires := w.expires
	switch c.State {
	case hongyan.StateQueued:
		due = ms(c.DueAt)
		t.after = append(t.after, t.l.nudgeDue)
	case hongyan.StateHeld:
		expires = ms(c.HoldTo)
		o, err := t.optionsOf(w.seq)
		if err != nil {
			return err
		}
		if o.ExpiresAt != 0 {
			expires = min(expires, o.ExpiresAt)
		}
	}
	class, errcode, errmsg, msgid := attemptColumns(r.o)
	_, err := t.exec(`/* ledger.record */ UPDATE messages SET state = ?, reason = ?, reserved = ?, due_at = COALESCE(?, due_at), expires_at = ?, busy = ?, same_user = ?, unsent = ?, flags = ?,
		class = ?, errcode = ?, errmsg = ?, msgid = ?, started_at = ?, ended_at = ?, resend_at = ?, updated_at = ? WHERE seq = ? AND state = ? AND attempt = ?`,
		code(stateWords, c.State), string(c.Reason), reserved, due, expires, c.Progress.Busy, c.Progress.SameUser, c.Progress.Unsent, flagsOf(c.Progress),
		class, errcode, errmsg, msgid, or(ms(r.o.StartedAt), w.startedAt), or(ms(r.o.EndedAt), t.now), resend, t.now, w.seq, w.state, w.attempt)
	return err
}

// uncall takes an attempt back that made no call: its number is free again, the attempt
// before it is the latest, and the message keeps its place in the queue.
func (t *txn) uncall(r *result, w *resultRow, c hongyan.Change, reserved int64) error {
	due := any(nil)
	if c.State == hongyan.StateQueued {
		if !r.o.RetryAt.IsZero() {
			due = ms(c.DueAt)
		}
		t.after = append(t.after, t.l.nudgeDue)
	}
	var class, errmsg sql.NullString
	var errcode, msgid sql.NullInt64
	var started, ended int64
	err := t.row(`/* ledger.uncall */ SELECT class, errcode, errmsg, msgid, started_at, ended_at FROM attempts WHERE seq = ? AND attempt = ?`,
		[]any{w.seq, w.attempt - 1}, &class, &errcode, &errmsg, &msgid, &started, &ended)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, err := t.exec(`/* ledger.uncall */ UPDATE messages SET state = ?, reason = ?, reserved = ?, due_at = COALESCE(?, due_at), flags = ?, attempt = attempt - 1,
		class = ?, errcode = ?, errmsg = ?, msgid = ?, started_at = ?, ended_at = ?, resend_at = NULL, updated_at = ? WHERE seq = ? AND state = ? AND attempt = ?`,
		code(stateWords, c.State), string(c.Reason), reserved, due, flagsOf(c.Progress), class, errcode, errmsg, msgid, started, ended, t.now, w.seq, w.state, w.attempt); err != nil {
		return err
	}
	_, err = t.exec(`/* ledger.uncall */ DELETE FROM attempts WHERE seq = ? AND attempt = ?`, w.seq, w.attempt-1)
	return err
}

// resendAfter is how long after the end of its lease an unclear call may be repeated.
const resendAfter = time.Minute

func (t *txn) optionsOf(seq int64) (options, error) {
	var s string
	if err := t.row(`/* ledger.optionsOf */ SELECT options FROM messages WHERE seq = ?`, []any{seq}, &s); err != nil {
		return options{}, err
	}
	return parseOptions(s)
}

func flagsOf(p hongyan.Progress) int64 {
	var f int64
	if p.EarlierUnclear {
		f |= flagEarlierUnclear
	}
	if p.HeldOnce {
		f |= flagHeldOnce
	}
	if p.Resent {
		f |= flagResent
	}
	return f
}

// maxErrmsg is more than WeChat ever says.
const maxErrmsg = 4096

// storable is a stranger's text as every database takes it: one that refused it would hold
// up the result for ever, and with it every other call.
func storable(s string) string {
	s = storableLong(s)
	if len(s) > maxErrmsg {
		s = strings.ToValidUTF8(s[:maxErrmsg], "")
	}
	return s
}

func storableLong(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
}

func attemptColumns(o hongyan.Outcome) (class, errcode, errmsg, msgid any) {
	class = string(o.Class)
	if o.Answered() {
		errcode = o.Errcode
	}
	if o.Errmsg != "" && o.Class != hongyan.OutcomeOK {
		errmsg = storable(o.Errmsg)
	}
	if o.MsgID != 0 {
		msgid = o.MsgID
	}
	return class, errcode, errmsg, msgid
}

// errcodeOf is WeChat's errcode, 0 where it gave none.
func errcodeOf(o hongyan.Outcome) int64 {
	if !o.Answered() {
		return 0
	}
	return int64(o.Errcode)
}

// settleGrants moves the message's grants as the change says. It answers what the message
// still holds, and what is to be done once its own row is written.
func (t *txn) settleGrants(gs grants, r *result, w *resultRow, c hongyan.Change) (keep int64, settle func() error, err error) {
	nothing := func() error { return nil }
	if c.Grant == hongyan.GrantKeep || c.Grant == hongyan.GrantSpend && w.reserved > 0 {
		return w.reserved, nothing, nil // a success writes no grant: reserved becomes spent with the state
	}
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.l.appByNo(w.app).kindOf(w.template))
	if err != nil {
		return 0, nil, err
	}
	// What an earlier unclear attempt may have spent stays with the message.
	if c.State == hongyan.StateUncertain {
		keep = min(w.reserved, 1)
	}
	free := w.reserved - keep
	started := or(ms(r.o.StartedAt), w.startedAt)
	ref := string(r.job.Message.ID)
	switch c.Grant {
	case hongyan.GrantSpend:
		keep, err := t.spend(k, g, started, ref, hongyan.SourceInferred)
		return keep, nothing, err
	case hongyan.GrantReturn:
		if free == 0 {
			return keep, nothing, nil
		}
		return keep, func() error {
			g.Return(free)
			g.dirty = true
			return t.serve(k, g, 0)
		}, nil
	}
	return keep, func() error { return t.void(k, g, r, w, free, started) }, nil
}

// void is what 43101 and 40003 do: WeChat has no grant of this user now.
func (t *txn) void(k grantKey, g *grantRow, r *result, w *resultRow, free, started int64) error {
	source, ref := hongyan.SourceRefused, string(r.job.Message.ID)
	if r.o.Class == hongyan.OutcomeOpenID {
		source = hongyan.SourceBadUser
		if _, err := t.exec(`/* ledger.void */ UPDATE users SET invalid_at = ? WHERE no = ?`, t.now, w.user); err != nil {
			return err
		}
	}
	if g.Kind == hongyan.KindLongTerm {
		g.Standing, g.dirty = hongyan.StandingReject, true
		g.zeroAt = max(g.zeroAt, started)
		return t.addEntry(k, entry{source: source, ref: ref, at: started})
	}
	// Back into the pool first: one that came while the call was under way is younger than
	// what WeChat said, and must not go down with the older ones.
	g.Return(free)
	if err := t.voidBefore(k, g, started, source, ref, w.seq); err != nil {
		return err
	}
	// What is left was earned after this call began. The message itself may be held for it,
	// and others have just lost what backed them.
	return t.serve(k, g, started+1)
}
