package ledger

import (
	"cmp"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hongyan-push/hongyan"
)

// submitBatch is one transaction of submits. It asks the database for everything it needs
// in a few statements, decides in memory, in the order of arrival, and writes in a few.
// Locks go in one order on all replicas, each kind sorted: idempotency keys, dedup keys,
// grants, new users, messages. Where repeats are looked for, users who are known come before
// their grants.
type submitBatch struct {
	l     *Ledger
	t     *txn
	ops   []*submitOp
	gs    grants
	users map[userKey]int64
	fresh map[userKey]bool // users that have no row yet: they get one with their first message
	dedup map[dedupKey]*dedupRow
	apps  map[int64]*batchApp
	count map[int64]int    // items an app has in the batch that want a place
	held  map[grantKey]int // of this batch, not inserted yet
	rows  []*submitItem    // waiting to be inserted
	jobs  []*Job           // handed off, if it commits
	// undelivered are the jobs of a try that was rolled back, or may have been.
	undelivered []*Job
	kept        map[*submitItem]SubmitResult // what it answered, while its commit is unknown
	errs        map[*submitOp]error
	// joining: items may be answered with others that say the same, their twins.
	joining bool
	twins   map[twinKey]*twin
	// pledging: grants that are only taken are not written (pledge.go).
	pledging bool
}

type userKey struct {
	app    int64
	openid hongyan.OpenID
}

func newSubmitBatch(t *txn, ops []*submitOp) *submitBatch {
	b := &submitBatch{l: t.l, t: t, ops: ops, gs: make(grants), users: make(map[userKey]int64), fresh: make(map[userKey]bool), dedup: make(map[dedupKey]*dedupRow),
		apps: make(map[int64]*batchApp), count: make(map[int64]int), held: make(map[grantKey]int)}
	b.pledging = t.l.d.alone
	for _, op := range ops {
		op.err = nil
		for _, it := range op.items {
			it.result, it.row, it.unheard = SubmitResult{}, nil, ""
			if it.sync == nil {
				b.count[it.app.no]++
			}
			b.joining = b.joining || it.join != nil
			b.pledging = b.pledging && it.report == nil // a report writes rows, and its own goes first
		}
	}
	return b
}

// run is the whole transaction. repeat says that an earlier one may have been committed.
func (b *submitBatch) run(repeat bool) error {
	b.t.undo = append(b.t.undo, func() { b.settle(false) })
	b.t.after = append(b.t.after, func() { b.settle(true) })
	for _, step := range []func() error{b.lockIdempotency, b.lockDedup, b.findUsers, b.lockGrants, b.findTwins} {
		if err := step(); err != nil {
			return err
		}
	}
	if repeat { // only now: the locks wait for a commit that is still on its way
		if err := b.look(); err != nil {
			return err
		}
	}
	for _, op := range b.ops {
		if err := b.op(op); err != nil {
			return err
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	return b.flushDedup()
}

// look ends the try if one before it was committed after all.
func (b *submitBatch) look() error {
	for _, op := range b.ops {
		for _, it := range op.items {
			var seq int64
			switch err := b.t.row(`/* ledger.look */ SELECT seq FROM messages WHERE id = ?`, []any{it.id[:]}, &seq); err {
			case nil:
				return errStored
			case sql.ErrNoRows:
			default:
				return err
			}
		}
	}
	return nil
}

// keep remembers the answers of a try whose commit is unknown.
func (b *submitBatch) keep() {
	b.kept, b.errs = make(map[*submitItem]SubmitResult), make(map[*submitOp]error)
	for _, op := range b.ops {
		b.errs[op] = op.err
		for _, it := range op.items {
			b.kept[it] = it.result
		}
	}
}

// adopt answers with what that try stored. What it handed off waits for no sender any more,
// so it goes back to the queue.
func (b *submitBatch) adopt() {
	for it, r := range b.kept {
		it.result = r
	}
	for op, err := range b.errs {
		op.err = err
	}
	for _, j := range b.undelivered {
		j.loose = true
		b.l.RecordAttempt(j, hongyan.Outcome{Class: hongyan.OutcomeGiveBack})
	}
}

// lockIdempotency writes what most likely becomes of each call that has a key; op corrects it.
func (b *submitBatch) lockIdempotency() error {
	var keyed []*submitOp
	for _, op := range b.ops {
		if op.idem != nil {
			keyed = append(keyed, op)
		}
	}
	slices.SortFunc(keyed, func(x, y *submitOp) int {
		return cmp.Or(cmp.Compare(x.idem.Owner, y.idem.Owner), cmp.Compare(x.idem.Route, y.idem.Route), cmp.Compare(x.idem.Key, y.idem.Key))
	})
	for _, op := range keyed {
		op.likely, _ = op.fates()
		if err := b.t.remember(op.idem, 202, op.likely); err != nil {
			if hongyan.CodeOf(err) == hongyan.CodeInternal {
				return err
			}
			op.err = err
		}
	}
	return nil
}

// settleIdempotency corrects the record of a call that did not make all of its messages:
// some were refused, or were there already under their dedup key.
func (b *submitBatch) settleIdempotency(op *submitOp) error {
	fates, stored := op.fates()
	if fates == op.likely {
		return nil
	}
	if !stored {
		_, err := b.t.exec(`/* ledger.forget */ DELETE FROM idempotency_keys WHERE owner = ? AND route = ? AND idem_key = ?`, op.idem.Owner, op.idem.Route, op.idem.Key)
		return err
	}
	_, err := b.t.exec(`/* ledger.settleIdempotency */ UPDATE idempotency_keys SET resource = ? WHERE owner = ? AND route = ? AND idem_key = ?`, fates, op.idem.Owner, op.idem.Route, op.idem.Key)
	return err
}

// items calls f for each item of the batch.
func (b *submitBatch) items(f func(*submitItem)) {
	for _, op := range b.ops {
		for _, it := range op.items {
			f(it)
		}
	}
}

func (b *submitBatch) findUsers() error {
	lock := ""
	if b.joining && !b.l.d.alone { // two that say the same take turns here, on whatever replica they came in
		lock = ` ORDER BY openid` + b.l.d.lock
	}
	byApp := make(map[int64][]hongyan.OpenID)
	b.items(func(it *submitItem) {
		k := userKey{it.app.no, it.message.To}
		if _, ok := b.users[k]; !ok {
			b.users[k] = 0
			byApp[k.app] = append(byApp[k.app], k.openid)
		}
	})
	for _, app := range sortedKeys(byApp) {
		slices.Sort(byApp[app])
		for part := range slices.Chunk(byApp[app], lookupMost) {
			found := make(map[hongyan.OpenID]int64, len(part))
			if err := b.t.findUsers(app, part, found, lock); err != nil {
				return err
			}
			for _, openid := range part {
				k, no := userKey{app, openid}, found[openid]
				if no == 0 {
					var err error
					if no, err = b.t.nextNo("users"); err != nil {
						return err
					}
					b.fresh[k] = true
				}
				b.users[k] = no
			}
		}
	}
	b.items(func(it *submitItem) { it.user = b.users[userKey{it.app.no, it.message.To}] })
	return nil
}

// insertUsers makes the rows of users who are new and get a message or report a tap.
func (b *submitBatch) insertUsers(items ...*submitItem) error {
	if len(b.fresh) == 0 {
		return nil
	}
	var rows [][]any
	for _, it := range items {
		k := userKey{it.app.no, it.message.To}
		if b.fresh[k] {
			delete(b.fresh, k)
			b.t.learned.isUser(k, b.users[k])
			rows = append(rows, []any{b.users[k], k.app, string(k.openid), b.t.now})
		}
	}
	slices.SortFunc(rows, func(x, y []any) int {
		return cmp.Or(cmp.Compare(x[1].(int64), y[1].(int64)), cmp.Compare(x[2].(string), y[2].(string)))
	})
	err := b.t.insertRows(`/* ledger.insertUsers */ INSERT INTO users`, userInsert, rows, "")
	if err != nil && b.l.isDuplicate(err) {
		return fmt.Errorf("%w: %w", errAgain, err) // another replica has seen the same user just now
	}
	return err
}

func (b *submitBatch) key(it *submitItem) grantKey {
	return grantKey{it.user, it.template.no}
}

func (b *submitBatch) lockGrants() error {
	keys, told := make(map[grantKey]hongyan.TemplateKind), make(map[grantKey]hongyan.TemplateKind)
	b.items(func(it *submitItem) {
		keys[b.key(it)] = it.app.kindOf(it.template.no)
		if it.report != nil {
			told[b.key(it)] = it.app.kindOf(it.template.no)
		}
	})
	if err := b.t.lockGrants(b.gs, keys); err != nil {
		return err
	}
	return b.t.ensureGrants(b.gs, told)
}

// op runs one call of Submit. A strict one is undone as a whole.
func (b *submitBatch) op(op *submitOp) error {
	if op.err != nil { // its key is taken
		return nil
	}
	strict := op.strict && len(op.items) > 1
	// What reports write cannot be undone in memory.
	saved := strict && slices.ContainsFunc(op.items, func(it *submitItem) bool { return it.report != nil })
	var start mark
	if saved {
		if err := b.flush(); err != nil {
			return err
		}
		var err error
		if start, err = b.t.save(); err != nil {
			return err
		}
	}
	rows, jobs, refused, fresh := len(b.rows), len(b.jobs), false, b.fresh
	if saved {
		fresh = maps.Clone(b.fresh)
	}
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
		b.undo(op, rows, jobs)
	}
	if saved {
		if refused {
			b.fresh = fresh
		}
		if err := b.endSaved(refused, start); err != nil {
			return err
		}
	}
	if op.idem == nil {
		return nil
	}
	return b.settleIdempotency(op)
}

func (b *submitBatch) endSaved(refused bool, start mark) error {
	if refused {
		b.gs = make(grants)
		return b.t.rollbackTo(start)
	}
	if err := b.flush(); err != nil {
		return err
	}
	return b.t.release()
}

// undo takes back a strict submit: rows, grants, jobs, keys and places.
func (b *submitBatch) undo(op *submitOp, rows, jobs int) {
	b.rows = b.rows[:min(rows, len(b.rows))]
	b.takeBack(b.jobs[jobs:])
	b.jobs = b.jobs[:jobs]
	for _, it := range slices.Backward(op.items) {
		if it.row != nil {
			b.tally(it, -1)
			if g := b.gs[b.key(it)]; g != nil && it.row.reserve > 0 {
				g.Return(it.row.reserve)
			}
			if k := b.key(it); it.row.state == stHeld && b.held[k] > 0 {
				b.held[k]--
			}
			if d := b.dedup[dedupKey{it.app.no, it.message.DedupKey}]; d != nil && d.item == it {
				*d = *it.row.dedupWas
			}
			it.row = nil
		}
		if it.result.Err == nil {
			it.result = SubmitResult{Err: errNotStored()}
		}
	}
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
	t := b.t
	if dup, err := b.duplicate(it); dup || err != nil {
		return err
	}
	if joined, err := b.joinTwin(it); joined || err != nil {
		return err
	}
	app, err := b.app(it.app.no)
	if err != nil {
		return err
	}
	due := max(ms(it.sendAt), t.now)
	if it.sync == nil {
		if err := b.room(app, due); err != nil {
			return err
		}
	}
	k := b.key(it)
	if it.report != nil {
		if err := b.insertRows(); err != nil { // a new grant serves them too
			return err
		}
		if err := b.insertUsers(it); err != nil { // what the tap says stays, whatever becomes of the message
			return err
		}
		if _, err := t.witness(b.gs, app.app, k, reported(*it.report, t.now)); err != nil {
			return err
		}
	}
	row := &newRow{user: k.user, due: due, expires: it.explicit}
	if row.expires == 0 {
		row.expires = due + app.app.app.Settings.Expiry().Milliseconds()
	}
	if err := b.admit(it, app.app, row, k); err != nil {
		return err
	}
	if row.seq, err = t.nextNo("messages"); err != nil {
		return err
	}
	if it.sync != nil && !b.handOffNow(it, row, app) {
		return b.refund(row, k)
	}
	it.row = row
	if d := b.dedup[dedupKey{it.app.no, it.message.DedupKey}]; d != nil {
		was := *d
		row.dedupWas = &was
		d.item, d.freed, d.dirty = it, false, true
	}
	if row.state == stQueued {
		b.handOff(it, app)
	}
	b.tally(it, 1)
	b.rows = append(b.rows, it)
	b.answer(it)
	if it.join != nil {
		b.twins[it.twinKey()] = &twin{item: it}
	}
	return nil
}

// refund gives back the grant of a message that cannot be sent now and whose caller does
// not want it later.
func (b *submitBatch) refund(row *newRow, k grantKey) error {
	if g := b.gs[k]; g != nil && row.reserve > 0 {
		g.Return(row.reserve)
	}
	return notStarted()
}

// room refuses what the app's backlog has no room for. Replicas learn of each other's rows
// by the recount, so together they may go past the bound by what they take in a minute.
func (b *submitBatch) room(app *batchApp, due int64) error {
	have := b.l.backlog.of(app.app.no)
	queued, scheduled := have.queued+app.queued, have.scheduled+app.scheduled
	if due > b.t.now {
		if scheduled >= b.l.cfg.MaxScheduled {
			return &hongyan.Error{Code: hongyan.CodeBacklogFull, Message: fmt.Sprintf("%d messages of the app are scheduled.", scheduled), RetryAfter: time.Minute}
		}
		return nil
	}
	if queued >= app.app.app.Settings.Backlog() {
		return &hongyan.Error{Code: hongyan.CodeBacklogFull, Message: fmt.Sprintf("%d messages of the app are queued.", queued), RetryAfter: 10 * time.Second}
	}
	return nil
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
	g, err := t.grant(b.gs, k, app.kindOf(k.template))
	if err != nil {
		return err
	}
	switch g.Admit(m.OnNoGrant) {
	case hongyan.AdmitReserved:
		row.reserve, g.dirty = 1, g.dirty || !b.pledging
	case hongyan.AdmitRefused:
		return noGrant(m)
	case hongyan.AdmitHeld:
		var held int
		cond, args := t.live(k)
		if err := t.row(`/* ledger.admit */ SELECT COUNT(CASE WHEN m.state = 1 THEN 1 END) FROM messages m WHERE `+cond, args, &held); err != nil {
			return err
		}
		if held += b.held[k]; held >= maxHeld {
			return &hongyan.Error{Code: hongyan.CodeHeldLimit, Message: fmt.Sprintf("%d messages are held for this user and template.", held), RetryAfter: time.Hour}
		}
		b.held[k]++
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
	m.ID = hongyan.MessageIDOf(it.id)
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
	// The message rows are new, so nobody waits for them: the order of locks stays.
	if err := b.insertRows(); err != nil {
		return err
	}
	return b.t.flush(b.gs)
}

var messageInsert = []column{{"seq", kindInt}, {"id", kindBytes}, {"app_no", kindInt}, {"template_no", kindInt}, {"user_no", kindInt}, {"state", kindInt},
	{"priority", kindInt}, {"due_at", kindInt}, {"expires_at", kindInt}, {"reserved", kindInt}, {"flags", kindInt}, {"attempt", kindInt}, {"owner", kindInt},
	{"lease_until", kindInt}, {"started_at", kindInt}, {"data", kindText}, {"options", kindText}, {"created_at", kindInt}, {"updated_at", kindInt}}

func (b *submitBatch) insertRows() error {
	if len(b.rows) == 0 {
		return nil
	}
	if err := b.insertUsers(b.rows...); err != nil {
		return err
	}
	clear(b.held) // the table has them now
	rows := make([][]any, 0, len(b.rows))
	for _, it := range b.rows {
		m, row := &it.message, it.row
		var attempt, owner, lease, started int64
		if row.job != nil {
			attempt, owner, lease, started = 1, b.l.owner, ms(row.job.LeaseUntil), b.t.now
		}
		cells := []any{row.seq, it.id[:], it.app.no, it.template.no, row.user, row.state, code(priorityWords, m.Priority), row.due, row.expires, row.reserve,
			row.flag, attempt, owner, lease, started, it.data, it.options, b.t.now, b.t.now}
		// One whose twins may come is in its table, where they are looked for.
		if row.job == nil || it.join != nil || !b.t.journaling.add(cells) {
			rows = append(rows, cells)
		}
		b.t.count(counted{template: it.template.no, what: whatSubmitted, n: 1})
		if row.state == stHeld {
			b.t.countState(it.template.no, stHeld, "", 0)
			b.t.emitMessage(hongyan.EventMessageHeld, it.app.no, row.seq)
		}
	}
	b.rows = b.rows[:0]
	err := b.t.insertRows(`/* ledger.Submit */ `+pastJournal+`INSERT INTO messages`, messageInsert, rows, "")
	if err != nil && b.l.isDuplicate(err) && !b.l.d.alone {
		return fmt.Errorf("%w: %w", errAgain, err) // an earlier try was committed just now
	}
	return err
}

// settle follows the commit: jobs to the senders, unused places back.
func (b *submitBatch) settle(committed bool) {
	if !committed {
		b.takeBack(b.jobs)
		b.undelivered, b.jobs = b.jobs, nil
	}
	if committed && b.pledging {
		b.items(func(it *submitItem) {
			if it.row != nil && it.row.reserve > 0 {
				b.l.pledges.add(b.key(it), it.row.reserve, it.row.seq)
			}
		})
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

func sortedKeys[V any](m map[int64]V) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
