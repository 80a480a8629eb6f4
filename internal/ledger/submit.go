package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// Lane takes rows that a submit committed as `sending` straight to the senders.
type Lane struct {
	// Reserve gives up to want places for the app's rows; what it gives is always free for Deliver.
	Reserve func(app hongyan.AppID, want int) int
	// Release gives places back that were not used.
	Release func(app hongyan.AppID, n int)
	// Deliver hands over rows for which places were reserved. It never blocks and never drops.
	Deliver func([]*Job)
	// Settled says that n of the app's jobs are on disk with their outcome.
	Settled func(app hongyan.AppID, n int)
}

// HandOffTo connects the senders. Without a lane every due message is queued for a claim.
func (l *Ledger) HandOffTo(lane Lane) { l.lane = lane }

// Job is a message leased to a sender of this process.
type Job struct {
	Message hongyan.Message
	// LeaseUntil is the database's side of the fence, Deadline the same on the monotonic clock.
	LeaseUntil time.Time
	Deadline   time.Time
	HandedAt   time.Time // monotonic

	seq, user, template int64
	attempt             int64
	probe               bool
	claimed             bool
}

// Fresh reports whether the job came by hand-off; a claim would only bring it again.
func (j *Job) Fresh() bool { return !j.claimed }

// Probe reports whether the job tests if a pause can end.
func (j *Job) Probe() bool { return j.probe }

// options is what a message row keeps as JSON: what is read only when it is sent or shown.
type options struct {
	Page        string            `json:"p,omitempty"`
	State       string            `json:"m,omitempty"`
	Lang        string            `json:"l,omitempty"`
	Reserve     string            `json:"r,omitempty"`
	OnNoGrant   string            `json:"g,omitempty"`
	OnUncertain string            `json:"u,omitempty"`
	OnBusy      string            `json:"b,omitempty"`
	HoldForS    int64             `json:"h,omitempty"`
	ExpiresAt   int64             `json:"x,omitempty"` // as asked for; the row's moves while held
	Dedup       string            `json:"d,omitempty"`
	Tags        []string          `json:"t,omitempty"`
	Metadata    map[string]string `json:"a,omitempty"`
}

func parseOptions(s string) (options, error) {
	var o options
	if s == "{}" {
		return o, nil
	}
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		return o, fmt.Errorf("decode message options: %w", err)
	}
	return o, nil
}

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
	items  []*submitItem
	strict bool
	idem   *Idempotency
	err    error // of the whole call
	done   chan struct{}
}

// submitItem is one checked submission, ready for the transaction.
type submitItem struct {
	app      *appEntry
	template *templateEntry
	message  hongyan.Message
	report   *hongyan.Report
	options  options
	data     string
	explicit int64 // expires_at as asked for

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

// errRefused ends a strict submit whose items carry the reasons.
var errRefused = errors.New("an item was refused")

// Submit checks and stores messages, taking their grants, in one transaction that other
// submits share. When it returns without error, every message in the results is on disk.
// Results keep the order of subs.
func (l *Ledger) Submit(ctx context.Context, subs []hongyan.Submission, opt SubmitOptions) ([]SubmitResult, error) {
	if l.Stalled() {
		return nil, hongyan.Errorf(hongyan.CodeStorageUnavailable, "Results could not be written for more than a second; nothing was accepted.")
	}
	op := &submitOp{strict: opt.Strict, idem: opt.Idem, done: make(chan struct{})}
	out := make([]SubmitResult, len(subs))
	refused := false
	at := make([]int, 0, len(subs))
	for i := range subs {
		item, err := l.prepare(ctx, &subs[i])
		switch {
		case err != nil:
			out[i].Err, refused = err, true
		case subs[i].DryRun:
			out[i] = l.dryRun(ctx, item)
		default:
			op.items = append(op.items, item)
			at = append(at, i)
		}
	}
	if len(op.items) == 0 || opt.Strict && refused {
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
	for i, item := range op.items {
		out[at[i]] = item.result
	}
	return out, nil
}

// prepare does everything that needs no transaction.
func (l *Ledger) prepare(ctx context.Context, s *hongyan.Submission) (*submitItem, error) {
	now := l.now()
	if f := s.Check(now); len(f) > 0 {
		return nil, &hongyan.Error{Code: hongyan.CodeInvalid, Message: f[0].Detail, Fields: f}
	}
	a, te, err := l.template(s.App, s.Template)
	if err != nil {
		return nil, err
	}
	set := &a.app.Settings
	to := s.To.OpenID
	if s.To.User != "" {
		if to, err = l.openIDOf(ctx, a, s.To.User); err != nil {
			return nil, err
		}
	}
	if !set.Allows(to) {
		return nil, &hongyan.Error{Code: hongyan.CodeOpenIDNotAllowed, Message: "The app's only_openids setting does not list this openid.",
			Fields: []hongyan.FieldError{{Pointer: "/to", Code: "not_allowed", Detail: "Not in only_openids of the app's settings."}}}
	}
	data, warnings, err := checkData(&te.template, s, set)
	if err != nil {
		return nil, err
	}
	it := &submitItem{app: a, template: te, explicit: ms(s.ExpiresAt)}
	m := &it.message
	*m = hongyan.Message{
		App: s.App, To: to, Template: te.template.TemplateID, Data: data,
		Page: strings.TrimLeft(s.Page, "/"), MiniprogramState: or(s.MiniprogramState, set.MiniprogramState, "formal"), Lang: or(s.Lang, "zh_CN"),
		Priority: or(s.Priority, hongyan.PriorityNormal), Reserve: or(s.Reserve, hongyan.ReserveSubmit), OnNoGrant: or(s.OnNoGrant, hongyan.OnNoGrantFail),
		HoldForS: s.HoldForS, OnUncertain: or(s.OnUncertain, hongyan.OnUncertainKeep), OnBusy: or(s.OnBusy, set.OnBusy, hongyan.OnBusyRetry),
		DedupKey: s.DedupKey, Tags: s.Tags, Metadata: s.Metadata, Warnings: warnings, SendAt: s.SendAt, ExpiresAt: s.ExpiresAt,
	}
	if s.GrantReport != nil {
		r := *s.GrantReport
		if r.OpenID != "" && r.OpenID != to || r.Template != "" && a.lookup(r.Template) != te {
			return nil, hongyan.Invalid("/grant_report", "mismatch", "grant_report must be about the message's own recipient and template; leave openid and template out of it.")
		}
		r.OpenID, r.Template = to, m.Template
		it.report = &r
	}
	it.options = optionsOf(m, it.explicit)
	return it, it.encode()
}

// checkData fits and validates the data; faults that refuse it come back as an error.
func checkData(t *hongyan.Template, s *hongyan.Submission, set *hongyan.AppSettings) (map[string]string, []hongyan.DataFault, error) {
	data := s.Data
	if fit := or(s.Fit, set.Fit, hongyan.FitNone); fit != hongyan.FitNone {
		data, _ = hongyan.FitData(t, data, fit)
	}
	faults := hongyan.ValidateData(t, data)
	if len(faults) == 0 {
		return data, nil, nil
	}
	strict := or(s.Validation, set.Validation, hongyan.ValidationNormal) == hongyan.ValidationStrict
	var fields []hongyan.FieldError
	for _, f := range faults {
		if strict || f.Level == hongyan.LevelError {
			fields = append(fields, hongyan.FieldError{Pointer: f.Pointer, Code: f.Rule, Detail: f.Detail, Repair: f.Repair})
		}
	}
	if len(fields) > 0 {
		return nil, nil, &hongyan.Error{Code: hongyan.CodeInvalidData, Message: fields[0].Detail, Fields: fields}
	}
	return data, faults, nil
}

func optionsOf(m *hongyan.Message, explicit int64) options {
	o := options{Page: m.Page, HoldForS: m.HoldForS, ExpiresAt: explicit, Dedup: m.DedupKey, Tags: m.Tags, Metadata: m.Metadata}
	o.State = unless(m.MiniprogramState, "formal")
	o.Lang = unless(m.Lang, "zh_CN")
	o.Reserve = unless(string(m.Reserve), string(hongyan.ReserveSubmit))
	o.OnNoGrant = unless(string(m.OnNoGrant), string(hongyan.OnNoGrantFail))
	o.OnUncertain = unless(string(m.OnUncertain), string(hongyan.OnUncertainKeep))
	o.OnBusy = unless(string(m.OnBusy), string(hongyan.OnBusyRetry))
	return o
}

func (o options) into(m *hongyan.Message) {
	m.Page, m.MiniprogramState, m.Lang = o.Page, or(o.State, "formal"), or(o.Lang, "zh_CN")
	m.Reserve = or(hongyan.ReserveAt(o.Reserve), hongyan.ReserveSubmit)
	m.OnNoGrant = or(hongyan.OnNoGrant(o.OnNoGrant), hongyan.OnNoGrantFail)
	m.OnUncertain = or(hongyan.OnUncertain(o.OnUncertain), hongyan.OnUncertainKeep)
	m.OnBusy = or(hongyan.OnBusy(o.OnBusy), hongyan.OnBusyRetry)
	m.HoldForS, m.DedupKey, m.Tags, m.Metadata = o.HoldForS, o.Dedup, o.Tags, o.Metadata
}

func (it *submitItem) encode() error {
	d, err := json.Marshal(it.message.Data)
	if err != nil {
		return fmt.Errorf("encode data: %w", err)
	}
	it.data = string(d)
	return nil
}

// or is the first value that is not zero.
func or[T comparable](vs ...T) T {
	var zero T
	for _, v := range vs {
		if v != zero {
			return v
		}
	}
	return zero
}

func unless(v, def string) string {
	if v == def {
		return ""
	}
	return v
}

// openIDOf finds the openid of the integrator's own user id.
func (l *Ledger) openIDOf(ctx context.Context, a *appEntry, external string) (hongyan.OpenID, error) {
	var o hongyan.OpenID
	err := l.rdb.QueryRowContext(ctx, `/* ledger.openIDOf */ SELECT openid FROM users WHERE app_no = ? AND external_id = ?`, a.no, external).Scan(&o)
	if errors.Is(err, sql.ErrNoRows) {
		return "", &hongyan.Error{Code: hongyan.CodeUserNotFound, Message: fmt.Sprintf("App %s knows no user %q.", a.app.AppID, clipped(external)),
			Fields: []hongyan.FieldError{{Pointer: "/to/user", Code: "not_found", Detail: "No user has this external id; give it at login, or send to the openid."}}}
	}
	if err != nil {
		return "", fmt.Errorf("read user: %w", err)
	}
	return o, nil
}

// dryRun says what a submit would have done, and stores nothing.
func (l *Ledger) dryRun(ctx context.Context, it *submitItem) SubmitResult {
	sub, err := l.Subscription(ctx, it.message.App, it.message.To, it.message.Template)
	if err != nil {
		return SubmitResult{Err: err}
	}
	m := it.message
	m.DryRun = true
	now := l.now()
	due := latest(m.SendAt, now)
	m.SendAt, m.CreatedAt, m.UpdatedAt = due.UTC(), now.UTC(), now.UTC()
	m.ExpiresAt = at(or(it.explicit, ms(due.Add(it.app.app.Settings.Expiry()))))
	m.Status = hongyan.StateQueued
	if due.After(now) {
		m.Status = hongyan.StateScheduled
	}
	if m.Reserve == hongyan.ReserveSend && due.After(now) {
		return SubmitResult{Message: &m}
	}
	switch sub.Admit(m.OnNoGrant) {
	case hongyan.AdmitRefused:
		return SubmitResult{Err: noGrant(&m)}
	case hongyan.AdmitHeld:
		m.Status = hongyan.StateHeld
	case hongyan.AdmitReserved:
		m.Reserved = 1
	}
	return SubmitResult{Message: &m}
}

func noGrant(m *hongyan.Message) error {
	return &hongyan.Error{Code: hongyan.CodeNoGrant, Message: "This user has no unused subscription for the template; WeChat was not called.",
		Fields: []hongyan.FieldError{{Pointer: "/to", Code: "no_grant", Detail: "The count of " + m.Template + " is exact and zero."}}}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// commitSubmits writes a batch of submits in one transaction. If the transaction fails,
// each goes through one of its own, so that one bad row fails alone.
func (l *Ledger) commitSubmits(ctx context.Context, ops []*submitOp) {
	if err := l.commitOps(ctx, ops); err != nil {
		for _, op := range ops {
			if len(ops) > 1 {
				err = l.commitOps(ctx, []*submitOp{op})
			}
			if err != nil {
				l.log.ErrorContext(ctx, "submit not written", "err", err)
				op.err = hongyan.Errorf(hongyan.CodeStorageUnavailable, "The database could not write; nothing was accepted.")
			}
		}
	}
	for _, op := range ops {
		close(op.done)
	}
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
	jobs  []*Job
	users []int64 // marked busy for jobs
}

// batchApp is what the hand-off knows of an app in this batch.
type batchApp struct {
	app    *appEntry
	open   bool // rows may go straight to the senders
	places int  // reserved and not used yet
	queued int64
}

// op runs one call of Submit. A strict one is undone as a whole by its savepoint.
func (b *submitBatch) op(op *submitOp) error {
	strict := op.strict && len(op.items) > 1
	if strict {
		if err := b.flush(); err != nil {
			return err
		}
		if _, err := b.t.exec(`SAVEPOINT strict_submit`); err != nil {
			return err
		}
	}
	jobs, users, refused := len(b.jobs), len(b.users), false
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
		return b.undo(op, jobs, users)
	}
	if op.idem != nil && !refused {
		ids := make([]string, len(op.items))
		for i, it := range op.items {
			ids[i] = string(it.result.Message.ID)
		}
		if err := b.t.remember(op.idem, 202, strings.Join(ids, ",")); err != nil {
			return err
		}
	}
	if strict {
		if err := b.flush(); err != nil {
			return err
		}
		_, err := b.t.exec(`RELEASE SAVEPOINT strict_submit`)
		return err
	}
	return nil
}

// undo takes back a strict submit: rows, grants, jobs and places.
func (b *submitBatch) undo(op *submitOp, jobs, users int) error {
	for _, q := range []string{`ROLLBACK TO SAVEPOINT strict_submit`, `RELEASE SAVEPOINT strict_submit`} {
		if _, err := b.t.exec(q); err != nil {
			return err
		}
	}
	b.rows, b.gs = nil, make(grants)
	for _, j := range b.jobs[jobs:] {
		b.apps[j.appNo(b.l)].places++
	}
	b.l.busy.release(b.users[users:])
	b.jobs, b.users = b.jobs[:jobs], b.users[:users]
	for _, it := range op.items {
		if it.result.Err == nil {
			it.result = SubmitResult{Err: hongyan.Errorf(hongyan.CodeConflict, "Not stored, because another message of this strict batch was refused.")}
		}
	}
	return nil
}

// item decides about one message: the first message of its dedup key, a refusal, or a new row.
func (b *submitBatch) item(it *submitItem) error {
	t, m := b.t, &it.message
	if dup, err := b.duplicate(it); dup || err != nil {
		return err
	}
	app, err := b.app(it.app)
	if err != nil {
		return err
	}
	due := max(ms(m.SendAt), t.now)
	if due == t.now && app.queued >= it.app.app.Settings.Backlog() {
		return &hongyan.Error{Code: hongyan.CodeBacklogFull, Message: fmt.Sprintf("%d messages of the app are queued.", app.queued), RetryAfter: 10 * time.Second}
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
		if _, err := t.report(b.gs, it.app, k, *it.report); err != nil {
			return err
		}
	}
	row := &newRow{user: user, due: due, expires: it.explicit}
	if row.expires == 0 {
		row.expires = due + it.app.app.Settings.Expiry().Milliseconds()
	}
	if err := b.admit(it, row, k); err != nil {
		return err
	}
	if row.seq, err = t.nextNo("messages"); err != nil {
		return err
	}
	row.id = newID(t.now)
	it.row = row
	if m.DedupKey != "" {
		if _, err := t.exec(`/* ledger.Submit */ INSERT INTO dedup_keys (app_no, key, seq, until) VALUES (?, ?, ?, ?)`, it.app.no, m.DedupKey, row.seq, t.now+dedupKept.Milliseconds()); err != nil {
			return err
		}
	}
	if row.state == stQueued {
		b.handOff(it, app)
	}
	b.rows = append(b.rows, it)
	b.answer(it)
	return nil
}

const dedupKept = 24 * time.Hour

// duplicate answers with the first message of the dedup key, unless that freed the key:
// canceled, expired, or failed before any call.
func (b *submitBatch) duplicate(it *submitItem) (bool, error) {
	key := it.message.DedupKey
	if key == "" {
		return false, nil
	}
	if err := b.insertRows(); err != nil { // the first may be in this very batch
		return false, err
	}
	var state, attempt, until int64
	var id []byte
	err := b.t.row(`/* ledger.duplicate */ SELECT m.id, m.state, m.attempt, d.until FROM dedup_keys d JOIN messages m ON m.seq = d.seq WHERE d.app_no = ? AND d.key = ?`,
		[]any{it.app.no, key}, &id, &state, &attempt, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	freed := state == stCanceled || state == stExpired || state == stFailed && attempt == 0
	if until <= b.t.now || freed {
		_, err := b.t.exec(`/* ledger.duplicate */ DELETE FROM dedup_keys WHERE app_no = ? AND key = ?`, it.app.no, key)
		return false, err
	}
	m, err := b.t.message(ulid.ULID(id))
	if err != nil {
		return false, err
	}
	m.Duplicate = true
	it.result = SubmitResult{Message: m}
	return true, nil
}

// admit asks the count for a grant and sets the row's state.
func (b *submitBatch) admit(it *submitItem, row *newRow, k grantKey) error {
	t, m := b.t, &it.message
	row.state = stQueued
	if row.due > t.now {
		row.state = stScheduled
		if m.Reserve == hongyan.ReserveSend {
			row.flag = flagNotAdmitted
			return nil
		}
	}
	g, err := t.grant(b.gs, k, it.template.template.Kind)
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
		if err := t.row(`/* ledger.admit */ SELECT COUNT(*) FROM messages WHERE user_no = ? AND template_no = ? AND state = 1`, []any{k.user, k.template}, &held); err != nil {
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

// app looks once a batch at whether an app's rows may go straight to the senders: not
// while it is paused, and not past an older due row that a claim could take now.
func (b *submitBatch) app(a *appEntry) (*batchApp, error) {
	if x := b.apps[a.no]; x != nil {
		return x, nil
	}
	x := &batchApp{app: a, queued: b.l.backlog.queued(a.no)}
	b.apps[a.no] = x
	if b.l.lane.Reserve == nil || a.paused(hongyan.PauseApp, "") != nil || a.paused(hongyan.PausePath, hongyan.SendPath) != nil {
		return x, nil
	}
	waiting, err := b.l.claimable(b.t, a, b.t.now)
	if err != nil || waiting {
		return x, err
	}
	x.places = b.l.lane.Reserve(a.app.AppID, b.count[a.no])
	x.open = x.places > 0
	return x, nil
}

// handOff makes the row `sending` under our lease, if there is a free place and nothing
// of this user is under way.
func (b *submitBatch) handOff(it *submitItem, app *batchApp) {
	row := it.row
	if app.places == 0 || it.app.paused(hongyan.PauseTemplate, it.message.Template) != nil || !b.l.busy.take(row.user) {
		if app.places == 0 {
			app.open = false
		}
		app.queued++
		return
	}
	b.users = append(b.users, row.user)
	app.places--
	row.state = stSending
	row.job = b.l.newJob(b.t.now)
	row.job.seq, row.job.user, row.job.template, row.job.attempt = row.seq, row.user, it.template.no, 1
	b.jobs = append(b.jobs, row.job)
}

// newJob starts a lease at now, on both clocks.
func (l *Ledger) newJob(now int64) *Job {
	mono := time.Now()
	return &Job{LeaseUntil: at(now).Add(LeaseTime), Deadline: mono.Add(LeaseTime), HandedAt: mono}
}

// answer fills in the message as the caller will see it.
func (b *submitBatch) answer(it *submitItem) {
	m, row := &it.message, it.row
	m.ID = hongyan.MessageIDOf(row.id)
	m.Status = word(stateWords, row.state)
	m.SendAt, m.ExpiresAt = at(row.due), at(row.expires)
	m.Reserved = int(row.reserve)
	m.CreatedAt, m.UpdatedAt = at(b.t.now), at(b.t.now)
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
		b.l.busy.release(b.users)
		for _, j := range b.jobs {
			b.apps[j.appNo(b.l)].places++
		}
		b.jobs = nil
	}
	queued := false
	for no, x := range b.apps {
		if x.places > 0 {
			b.l.lane.Release(x.app.app.AppID, x.places)
		}
		if committed && x.queued > 0 {
			b.l.backlog.set(no, x.queued)
			queued = true
		}
	}
	if len(b.jobs) > 0 {
		b.l.lane.Deliver(b.jobs)
	}
	if queued {
		b.l.nudgeDue()
	}
}

func (j *Job) appNo(l *Ledger) int64 {
	a, err := l.app(j.Message.App)
	if err != nil {
		return 0
	}
	return a.no
}

// busySet has the users with a call under way in this process.
type busySet struct {
	mu    sync.Mutex
	users map[int64]struct{}
}

func (s *busySet) take(user int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.users[user]; ok {
		return false
	}
	s.users[user] = struct{}{}
	return true
}

func (s *busySet) has(user int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.users[user]
	return ok
}

func (s *busySet) release(users []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range users {
		delete(s.users, u)
	}
}

// backlog is how many messages of each app are queued: exact at start and at each recount,
// kept up in between. It bounds memory of nobody, only the table, so near is enough.
type backlog struct {
	mu sync.Mutex
	m  map[int64]int64
}

func (b *backlog) queued(no int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m[no]
}

func (b *backlog) set(no, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = make(map[int64]int64)
	}
	b.m[no] = max(n, 0)
}
