package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// messageColumns are what scanMessage reads.
const messageColumns = `m.seq, m.id, m.app_no, m.template_no, m.user_no, u.openid, m.state, m.reason, m.priority, m.due_at, m.expires_at, m.reserved,
	m.busy, m.same_user, m.unsent, m.flags, m.attempt, m.class, m.errcode, m.errmsg, m.msgid, m.started_at, m.ended_at, m.data, m.options, m.created_at, m.updated_at`

// row is a message as the database has it.
type row struct {
	seq, app, template, user int64
	state, flags, attempt    int64
	message                  hongyan.Message
	latest                   *hongyan.Attempt // nil while it runs and before the first
	startedAt                int64
	options                  options
}

type scanner interface{ Scan(...any) error }

func (l *Ledger) scanMessage(r scanner) (*row, error) {
	var w row
	m := &w.message
	var id []byte
	var priority, due, expires, created, updated, ended int64
	var class, errmsg sql.NullString
	var errcode, msgid sql.NullInt64
	var data, opts string
	if err := r.Scan(&w.seq, &id, &w.app, &w.template, &w.user, &m.To, &w.state, &m.Reason, &priority, &due, &expires, &m.Reserved,
		&m.Progress.Busy, &m.Progress.SameUser, &m.Progress.Unsent, &w.flags, &w.attempt, &class, &errcode, &errmsg, &msgid, &w.startedAt, &ended,
		&data, &opts, &created, &updated); err != nil {
		return nil, err
	}
	m.ID = hongyan.MessageIDOf(ulid.ULID(id))
	a := l.appByNo(w.app)
	m.App, m.Template = a.app.AppID, a.templateID(w.template)
	m.Status, m.Priority = word(stateWords, w.state), word(priorityWords, priority)
	m.SendAt, m.ExpiresAt, m.CreatedAt, m.UpdatedAt = at(due), at(expires), at(created), at(updated)
	m.Attempt = int(w.attempt)
	m.Progress.EarlierUnclear = w.flags&flagEarlierUnclear != 0
	m.Progress.HeldOnce = w.flags&flagHeldOnce != 0
	m.Progress.Resent = w.flags&flagResent != 0
	var err error
	if w.options, err = parseOptions(opts); err != nil {
		return nil, err
	}
	w.options.into(m)
	if m.Data, err = parseData(data); err != nil {
		return nil, err
	}
	if class.Valid {
		at1 := attemptOf(w.attempt, class.String, errcode, errmsg.String, msgid, w.startedAt, ended)
		w.latest = &at1
		m.Errcode, m.Errmsg, m.MsgID = at1.Errcode, at1.Errmsg, at1.MsgID
	}
	return &w, nil
}

// templateID finds the id of a template number; templates are few.
func (a *appEntry) templateID(no int64) string {
	for id, t := range a.templates {
		if t.no == no {
			return id
		}
	}
	return ""
}

// ClaimRequest asks for due messages of one app.
type ClaimRequest struct {
	App hongyan.AppID
	Max int
	// Probe claims although the app or the send path is paused, to see whether the cause is gone.
	Probe bool
	// ProbeTemplate claims of this paused template only, for the same reason.
	ProbeTemplate string
}

// ClaimSends leases due messages to this process, by priority and then due time, never two
// of one user. What has expired meanwhile is settled instead. Paused apps and templates give
// nothing unless probed.
func (l *Ledger) ClaimSends(ctx context.Context, req ClaimRequest) ([]*Job, error) {
	a, err := l.app(req.App)
	if err != nil {
		return nil, err
	}
	if req.Max <= 0 || !req.Probe && a.blocked() {
		return nil, nil
	}
	var jobs []*Job
	err = l.write(ctx, "claim sends", func(t *txn) error {
		jobs, err = t.claims(l.appByNo(a.no), req)
		return err
	})
	if err != nil {
		l.busy.release(jobs...)
		return nil, err
	}
	l.backlog.add(a.no, -int64(len(jobs)), 0)
	return jobs, nil
}

// claims leases the best candidates. With an error it answers what it had leased until then.
func (t *txn) claims(a *appEntry, req ClaimRequest) ([]*Job, error) {
	if !req.Probe && a.blocked() {
		return nil, nil
	}
	var jobs []*Job
	gs := make(grants)
	rows, err := t.l.candidates(t, a, req)
	if err != nil {
		return nil, err
	}
	for _, c := range rows {
		if len(jobs) == req.Max {
			break
		}
		token, free := t.l.busy.take(c.user)
		if !free {
			continue
		}
		j, err := t.claim(gs, c.seq)
		if j == nil || err != nil {
			t.l.busy.release(&Job{user: c.user, busy: token})
			if err != nil {
				return jobs, err
			}
			continue
		}
		j.busy, j.probe = token, req.Probe || req.ProbeTemplate != ""
		jobs = append(jobs, j)
	}
	return jobs, t.flush(gs)
}

// blocked reports whether a pause holds back everything the app would send.
func (a *appEntry) blocked() bool {
	return a.paused(hongyan.PauseApp, "") != nil || a.paused(hongyan.PausePath, hongyan.SendPath) != nil
}

type candidate struct{ seq, user, priority, due int64 }

// candidates reads the head of every template's backlog and merges them.
func (l *Ledger) candidates(t *txn, a *appEntry, req ClaimRequest) ([]candidate, error) {
	var out []candidate
	busy := l.busy.snapshot()
	for _, te := range a.templates {
		pause := a.paused(hongyan.PauseTemplate, te.template.TemplateID)
		// A probe of the app may take a message of a template whose own probe is due too: when
		// everything is paused for one cause, there is no other.
		paused := pause != nil && (!req.Probe || pause.Manual() || ms(pause.ProbeAt) > t.now)
		if req.ProbeTemplate != "" && te.template.TemplateID != req.ProbeTemplate || req.ProbeTemplate == "" && paused {
			continue
		}
		for prio := range int64(len(priorityWords)) {
			head, err := t.head(te.no, prio, req.Max, busy)
			if err != nil {
				return nil, err
			}
			out = append(out, head...)
		}
	}
	slices.SortFunc(out, func(x, y candidate) int {
		if x.priority != y.priority {
			return int(x.priority - y.priority)
		}
		if x.due != y.due {
			return int(x.due - y.due)
		}
		return int(x.seq - y.seq)
	})
	return out, nil
}

// head reads up to n due rows of users that are not busy, one a user. A user with a long
// queue must not hide those behind it, so it reads on past such rows; the index alone answers.
func (t *txn) head(templateNo, priority int64, n int, busy map[int64]int64) ([]candidate, error) {
	var out []candidate
	seen := make(map[int64]bool)
	due, seq := int64(math.MinInt64), int64(0)
	for page := n + 64; ; page = min(2*page, headPage) {
		read := 0
		err := t.rows(`/* ledger.head */ SELECT seq, user_no, due_at FROM messages WHERE template_no = ? AND priority = ? AND (due_at, seq) > (?, ?) AND due_at <= ? AND state IN (2, 3) ORDER BY due_at, seq LIMIT ?`,
			[]any{templateNo, priority, due, seq, t.now, page}, func(r *sql.Rows) error {
				read++
				c := candidate{priority: priority}
				if err := r.Scan(&c.seq, &c.user, &c.due); err != nil {
					return err
				}
				due, seq = c.due, c.seq
				if _, taken := busy[c.user]; len(out) < n && !seen[c.user] && !taken {
					seen[c.user] = true
					out = append(out, c)
				}
				return nil
			})
		if err != nil || len(out) == n || read < page {
			return out, err
		}
	}
}

const headPage = 16_384

// claimable reports whether a claim could take an older due row of the app now.
func (l *Ledger) claimable(t *txn, a *appEntry, busy map[int64]int64) (bool, error) {
	for _, te := range a.templates {
		if a.paused(hongyan.PauseTemplate, te.template.TemplateID) != nil {
			continue
		}
		for prio := range int64(len(priorityWords)) {
			head, err := t.head(te.no, prio, 1, busy)
			if err != nil || len(head) > 0 {
				return len(head) > 0, err
			}
		}
	}
	return false, nil
}

// claim leases one row. nil: it expired or found no grant, and is settled.
func (t *txn) claim(gs grants, seq int64) (*Job, error) {
	st, done, err := t.l.stmts.take(t.ctx, t.tx, `/* ledger.claim */ SELECT `+messageColumns+` FROM messages m JOIN users u ON u.no = m.user_no WHERE m.seq = ?`)
	if err != nil {
		return nil, err
	}
	defer done()
	w, err := t.l.scanMessage(st.QueryRowContext(t.ctx, seq))
	if err != nil {
		return nil, err
	}
	if ms(w.message.ExpiresAt) <= t.now {
		return nil, t.expire(gs, w)
	}
	if w.flags&flagNotAdmitted != 0 {
		if ok, err := t.admitAtClaim(gs, w); !ok || err != nil {
			return nil, err
		}
	}
	if w.latest != nil {
		if err := t.archive(w.seq); err != nil {
			return nil, err
		}
	}
	j := t.l.newJob(t.now)
	n, err := t.exec(`/* ledger.claim */ UPDATE messages SET state = 4, attempt = attempt + 1, owner = ?, lease_until = ?, started_at = ?, ended_at = 0, class = NULL, errcode = NULL, errmsg = NULL, msgid = NULL, updated_at = ? WHERE seq = ? AND state = ?`,
		t.l.owner, ms(j.LeaseUntil), t.now, t.now, w.seq, w.state)
	if err != nil || n == 0 {
		return nil, err
	}
	j.Message, j.seq, j.app, j.user, j.template, j.attempt = w.message, w.seq, w.app, w.user, w.template, w.attempt+1
	j.claimed = true
	j.Message.Status, j.Message.Attempt = hongyan.StateSending, int(j.attempt)
	return j, nil
}

// archive keeps the latest attempt before the row is used for the next.
func (t *txn) archive(seq int64) error {
	_, err := t.exec(`/* ledger.archive */ INSERT INTO attempts (seq, attempt, class, errcode, errmsg, msgid, started_at, ended_at)
		SELECT seq, attempt, class, errcode, errmsg, msgid, started_at, ended_at FROM messages WHERE seq = ? AND class IS NOT NULL ON CONFLICT (seq, attempt) DO NOTHING`, seq)
	return err
}

// admitAtClaim takes the grant of a message that declined to reserve at submit.
func (t *txn) admitAtClaim(gs grants, w *row) (bool, error) {
	a := t.l.appByNo(w.app)
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.kindOf(a, w.template))
	if err != nil {
		return false, err
	}
	if _, err := t.exec(`/* ledger.admitAtClaim */ UPDATE messages SET flags = flags & ~8 WHERE seq = ?`, w.seq); err != nil {
		return false, err
	}
	switch g.Admit(w.message.OnNoGrant) {
	case hongyan.AdmitRefused:
		return false, t.end(gs, w, stFailed, hongyan.CodeNoGrant)
	case hongyan.AdmitHeld:
		hold := t.now + w.message.HoldFor().Milliseconds()
		if w.options.ExpiresAt != 0 {
			hold = min(hold, w.options.ExpiresAt)
		}
		_, err := t.exec(`/* ledger.admitAtClaim */ UPDATE messages SET state = 1, expires_at = ?, updated_at = ? WHERE seq = ? AND state = ?`, hold, t.now, w.seq, w.state)
		return false, err
	case hongyan.AdmitReserved:
		g.dirty = true
		w.message.Reserved = 1
		_, err := t.exec(`/* ledger.admitAtClaim */ UPDATE messages SET reserved = 1 WHERE seq = ?`, w.seq)
		return true, err
	}
	return true, nil
}

// end makes a message final that was never sent, and returns its grants.
func (t *txn) end(gs grants, w *row, state int64, reason hongyan.Code) error {
	n, err := t.exec(`/* ledger.end */ UPDATE messages SET state = ?, reason = ?, reserved = 0, updated_at = ? WHERE seq = ? AND state = ?`, state, string(reason), t.now, w.seq, w.state)
	if err != nil || n == 0 {
		return err
	}
	return t.giveGrants(gs, w, int64(w.message.Reserved))
}

// giveGrants returns n reserved grants of a message and serves whoever waits for them.
func (t *txn) giveGrants(gs grants, w *row, n int64) error {
	if n == 0 {
		return nil
	}
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.kindOf(t.l.appByNo(w.app), w.template))
	if err != nil {
		return err
	}
	g.Return(n)
	g.dirty = true
	return t.serve(k, g, 0)
}

// DueApps lists the apps that have a due message a claim could look at, and when the next
// one of the others will be due (zero: none).
func (l *Ledger) DueApps(ctx context.Context) (due []hongyan.AppID, next time.Time, err error) {
	now := ms(l.now())
	l.cache.mu.RLock()
	entries := make([]*appEntry, 0, len(l.cache.byID))
	for _, a := range l.cache.byID {
		entries = append(entries, a)
	}
	l.cache.mu.RUnlock()
	for _, a := range entries {
		first, err := l.firstDue(ctx, a)
		if err != nil {
			return nil, time.Time{}, err
		}
		switch {
		case first == 0:
		case first <= now:
			due = append(due, a.app.AppID)
		case next.IsZero() || at(first).Before(next):
			next = at(first)
		}
	}
	return due, next, nil
}

const sqlFirstDue = `/* ledger.firstDue */ SELECT MIN(due_at) FROM messages WHERE template_no = ? AND priority = ? AND state IN (2, 3)`

// firstDue is the earliest due time among the app's waiting messages, 0 if none waits. What
// is paused is due when its next probe is, or never while only a person can end the pause.
func (l *Ledger) firstDue(ctx context.Context, a *appEntry) (int64, error) {
	var first int64
	for _, te := range a.templates {
		probe, blocked := int64(0), false
		for _, p := range []*hongyan.Pause{a.paused(hongyan.PauseApp, ""), a.paused(hongyan.PausePath, hongyan.SendPath), a.paused(hongyan.PauseTemplate, te.template.TemplateID)} {
			if p != nil {
				probe, blocked = max(probe, ms(p.ProbeAt)), blocked || p.Manual()
			}
		}
		if blocked {
			continue
		}
		for prio := range len(priorityWords) {
			var d sql.NullInt64
			if err := l.rdb.QueryRowContext(ctx, sqlFirstDue, te.no, prio).Scan(&d); err != nil {
				return 0, fmt.Errorf("look for due messages: %w", err)
			}
			if due := max(d.Int64, probe); d.Valid && (first == 0 || due < first) {
				first = due
			}
		}
	}
	return first, nil
}
