package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
)

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
	if req.Max <= 0 || !l.Claims() || !req.Probe && a.blocked() {
		return nil, nil
	}
	c := new(claimBatch)
	err = l.together(ctx, rankClaims, "claim sends", func(t *txn) error {
		c = &claimBatch{t: t, app: l.appByNo(a.no), req: req}
		t.undo = append(t.undo, func() { l.busy.release(c.jobs...) })
		return c.run()
	})
	if err != nil {
		l.giveBack(err, c.jobs)
		return nil, err
	}
	jobs := c.jobs
	if len(c.special) > 0 && len(jobs) < req.Max {
		more, err := l.claimSpecial(ctx, c)
		if err != nil {
			l.log.ErrorContext(ctx, "claim failed, trying again", "err", err)
		}
		jobs = append(jobs, more...)
	}
	l.backlog.add(a.no, -int64(len(jobs)), 0)
	return jobs, nil
}

// giveBack returns what a commit without an answer may have leased.
func (l *Ledger) giveBack(err error, jobs []*Job) {
	if l.d.alone || !errors.Is(err, errCommit) {
		return
	}
	for _, j := range jobs {
		j.loose = true
		l.RecordAttempt(j, hongyan.Outcome{Class: hongyan.OutcomeGiveBack})
	}
}

// claimBatch is one transaction of claims.
type claimBatch struct {
	t    *txn
	app  *appEntry
	req  ClaimRequest
	jobs []*Job
	// special are rows whose claim concerns a grant. Grants are locked before messages, so
	// they have a transaction of their own.
	special []*row
}

// run leases the best candidates.
func (c *claimBatch) run() error {
	if !c.req.Probe && c.app.blocked() {
		return nil
	}
	t := c.t
	heads, err := t.l.candidates(t, c.app, c.req)
	if err != nil {
		return err
	}
	users := make(map[int64]int64) // by row: the mark of its user
	var seqs []any
	for _, h := range heads {
		if len(seqs) == c.req.Max {
			break
		}
		if token, free := t.l.busy.take(h.user); free {
			users[h.seq] = token
			seqs = append(seqs, h.seq)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	rows, err := t.waiting(seqs)
	if err == nil {
		err = c.lease(rows, users)
	}
	// Whoever was not leased is not busy.
	for _, j := range c.jobs {
		delete(users, j.seq)
	}
	for _, h := range heads {
		if token, ok := users[h.seq]; ok {
			t.l.busy.release(&Job{user: h.user, busy: token})
		}
	}
	return err
}

// waiting locks and reads those of the rows that still wait. What another replica has
// locked is left to it.
func (t *txn) waiting(seqs []any) ([]*row, error) {
	if t.l.d.skip != "" {
		list, args := t.l.d.list(seqs, kindInt)
		seqs = nil
		err := t.rows(`/* ledger.waiting */ SELECT seq FROM messages WHERE seq `+list+` AND state + 0 IN (2, 3) ORDER BY seq`+t.l.d.skip, args, func(r scanner) error {
			var seq int64
			err := r.Scan(&seq)
			seqs = append(seqs, seq)
			return err
		})
		if err != nil || len(seqs) == 0 {
			return nil, err
		}
	}
	var out []*row
	list, args := t.l.d.list(seqs, kindInt)
	err := t.rows(`/* ledger.waiting */ `+pastJournal+`SELECT `+messageColumns+` FROM messages m JOIN users u ON u.no = m.user_no WHERE m.seq `+list+` AND m.state + 0 IN (2, 3)`, args, func(r scanner) error {
		w, err := t.l.scanMessage(r)
		out = append(out, w)
		return err
	})
	return out, err
}

// lease makes the rows `sending`, all but the special ones.
func (c *claimBatch) lease(rows []*row, users map[int64]int64) error {
	t := c.t
	var seqs, again []any
	for _, w := range rows {
		if ms(w.message.ExpiresAt) <= t.now || w.flags&flagNotAdmitted != 0 || !w.message.To.Valid() {
			c.special = append(c.special, w)
			continue
		}
		j := t.l.jobOf(w, t.now)
		j.busy, j.probe = users[w.seq], c.req.Probe || c.req.ProbeTemplate != ""
		c.jobs = append(c.jobs, j)
		seqs = append(seqs, w.seq)
		if w.latest != nil {
			again = append(again, w.seq)
		}
	}
	if err := t.archive(again); err != nil || len(seqs) == 0 {
		return err
	}
	list, args := t.l.d.list(seqs, kindInt)
	n, err := t.exec(`/* ledger.lease */ `+pastJournal+`UPDATE messages SET state = 4, attempt = attempt + 1, owner = ?, lease_until = ?, started_at = ?, ended_at = 0, class = NULL, errcode = NULL, errmsg = NULL, msgid = NULL, updated_at = ? WHERE seq `+list+` AND state + 0 IN (2, 3)`,
		append([]any{t.l.owner, ms(c.jobs[0].LeaseUntil), t.now, t.now}, args...)...)
	t.touch(TopicMessages)
	if err == nil && n != int64(len(seqs)) {
		err = fmt.Errorf("leased %d of %d messages: %w", n, len(seqs), errAgain)
	}
	return err
}

// jobOf is the next attempt of a row.
func (l *Ledger) jobOf(w *row, now int64) *Job {
	j := l.newJob(now)
	j.Message, j.seq, j.app, j.user, j.template, j.attempt = w.message, w.seq, w.app, w.user, w.template, w.attempt+1
	j.claimed = true
	j.Message.Status, j.Message.Attempt = hongyan.StateSending, int(j.attempt)
	return j
}

// claimSpecial settles the rows that have expired and asks for the grants of those that
// declined to reserve before.
func (l *Ledger) claimSpecial(ctx context.Context, c *claimBatch) (jobs []*Job, err error) {
	err = l.write(ctx, "claim sends", func(t *txn) error {
		jobs = nil
		t.undo = append(t.undo, func() { l.busy.release(jobs...) })
		gs := make(grants)
		rows, err := t.lockRows(gs, c.special)
		if err != nil {
			return err
		}
		for _, w := range rows {
			// What one gives back may serve the next: each is looked at as it is by then.
			if w, err = t.rowAt(w.seq); err != nil {
				return err
			}
			if !w.message.Status.Cancelable() || w.state == stHeld || len(c.jobs)+len(jobs) == c.req.Max {
				continue
			}
			token, free := l.busy.take(w.user)
			if !free {
				continue
			}
			j, err := t.claim(gs, w)
			if j == nil || err != nil {
				l.busy.release(&Job{user: w.user, busy: token})
				if err != nil {
					return err
				}
				continue
			}
			j.busy, j.probe = token, c.req.Probe || c.req.ProbeTemplate != ""
			jobs = append(jobs, j)
		}
		return t.flush(gs)
	})
	if err != nil {
		l.giveBack(err, jobs)
		return nil, err
	}
	return jobs, nil
}

// blocked reports whether a pause holds back everything the app would send.
func (a *appEntry) blocked() bool {
	return a.paused(hongyan.PauseApp, "") != nil || a.paused(hongyan.PausePath, hongyan.SendPath) != nil
}

type candidate struct{ seq, user, priority, due int64 }

// backlogHead is a part of an app's backlog: one template, one priority.
type backlogHead struct{ template, priority, due int64 }

// heads asks for the earliest due time of every part of the app's backlog, in one statement.
func (a *appEntry) heads(d *dialect, take func(*templateEntry) bool) string {
	var b strings.Builder
	for _, no := range sortedKeys(a.byNo) {
		if te := a.byNo[no]; take(te) {
			for prio := range len(priorityWords) {
				if b.Len() > 0 {
					b.WriteString(" UNION ALL ")
				}
				fmt.Fprintf(&b, "SELECT %d, %d, MIN(due_at) FROM messages WHERE %s AND priority = %d", no, prio, strings.Replace(d.due, "?", strconv.FormatInt(no, 10), 1), prio)
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "/* ledger.heads */ " + pastJournal + b.String()
}

func scanHeads(into *[]backlogHead) func(scanner) error {
	return func(r scanner) error {
		var h backlogHead
		var due sql.NullInt64
		err := r.Scan(&h.template, &h.priority, &due)
		if h.due = due.Int64; due.Valid {
			*into = append(*into, h)
		}
		return err
	}
}

// dueHeads are the parts that have something due.
func (t *txn) dueHeads(a *appEntry, take func(*templateEntry) bool) ([]backlogHead, error) {
	q := a.heads(t.l.d, take)
	if q == "" {
		return nil, nil
	}
	var all []backlogHead
	err := t.rows(q, nil, scanHeads(&all))
	return slices.DeleteFunc(all, func(h backlogHead) bool { return h.due > t.now }), err
}

// candidates reads the head of every template's backlog and merges them.
func (l *Ledger) candidates(t *txn, a *appEntry, req ClaimRequest) ([]candidate, error) {
	var out []candidate
	busy := l.busy.snapshot()
	heads, err := t.dueHeads(a, func(te *templateEntry) bool {
		if req.ProbeTemplate != "" {
			return te.template.TemplateID == req.ProbeTemplate
		}
		// A probe of the app may take a message of a template whose own probe is due too: when
		// everything is paused for one cause, there is no other.
		pause := a.paused(hongyan.PauseTemplate, te.template.TemplateID)
		return pause == nil || req.Probe && !pause.Manual() && ms(pause.ProbeAt) <= t.now
	})
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		head, err := t.head(h, req.Max, busy)
		if err != nil {
			return nil, err
		}
		out = append(out, head...)
	}
	slices.SortFunc(out, func(x, y candidate) int {
		return cmp.Or(cmp.Compare(x.priority, y.priority), cmp.Compare(x.due, y.due), cmp.Compare(x.seq, y.seq))
	})
	return out, nil
}

// head reads up to n due rows of users that are not busy, one a user. A user with a long
// queue must not hide those behind it, so it reads on past such rows; the index alone answers.
func (t *txn) head(h backlogHead, n int, busy map[int64]int64) ([]candidate, error) {
	var out []candidate
	seen := make(map[int64]bool)
	due, seq := h.due, int64(0)
	for page := n + min(64, n); ; page = min(4*page, headPage) {
		read := 0
		err := t.rows(`/* ledger.head */ `+pastJournal+`SELECT seq, user_no, due_at FROM messages WHERE `+t.l.d.due+` AND priority = ? AND due_at >= ? AND (due_at > ? OR seq > ?) AND due_at <= ? ORDER BY due_at, seq LIMIT ?`,
			[]any{h.template, h.priority, due, due, seq, t.now, page}, func(r scanner) error {
				read++
				c := candidate{priority: h.priority}
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
	heads, err := t.dueHeads(a, func(te *templateEntry) bool { return a.paused(hongyan.PauseTemplate, te.template.TemplateID) == nil })
	if err != nil {
		return false, err
	}
	for _, h := range heads {
		head, err := t.head(h, 1, busy)
		if err != nil || len(head) > 0 {
			return len(head) > 0, err
		}
	}
	return false, nil
}

// claim leases one row. nil: it expired, found no grant or its user was erased, and is settled.
func (t *txn) claim(gs grants, w *row) (*Job, error) {
	if !w.message.To.Valid() {
		_, err := t.eraseMessage(gs, w)
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
	c := claimBatch{t: t}
	w.flags &^= flagNotAdmitted
	if err := c.lease([]*row{w}, nil); err != nil {
		return nil, err
	}
	return c.jobs[0], nil
}

// archive keeps the latest attempts before the rows are used for the next.
func (t *txn) archive(seqs []any) error {
	if len(seqs) == 0 {
		return nil
	}
	list, args := t.l.d.list(seqs, kindInt)
	_, err := t.exec(`/* ledger.archive */ INSERT INTO attempts (seq, attempt, class, errcode, errmsg, msgid, started_at, ended_at)
		SELECT seq, attempt, class, errcode, errmsg, msgid, started_at, ended_at FROM messages WHERE seq `+list+` AND class IS NOT NULL ON CONFLICT (seq, attempt) DO NOTHING`, args...)
	return err
}

// admitAtClaim takes the grant of a message that declined to reserve at submit.
func (t *txn) admitAtClaim(gs grants, w *row) (bool, error) {
	a := t.l.appByNo(w.app)
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, a.kindOf(w.template))
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
		t.countState(w.template, stHeld, "", 0)
		t.emitMessage(hongyan.EventMessageHeld, w.app, w.seq)
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
	t.countState(w.template, state, reason, 0)
	t.emitMessage(hongyan.EventOf(word(stateWords, state)), w.app, w.seq)
	return t.giveGrants(gs, w, int64(w.message.Reserved))
}

// giveGrants returns n reserved grants of a message and serves whoever waits for them.
func (t *txn) giveGrants(gs grants, w *row, n int64) error {
	if n == 0 {
		return nil
	}
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.l.appByNo(w.app).kindOf(w.template))
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
	now := ms(l.Now())
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

// firstDue is the earliest due time among the app's waiting messages, 0 if none waits. What
// is paused is due when its next probe is, or never while only a person can end the pause.
func (l *Ledger) firstDue(ctx context.Context, a *appEntry) (int64, error) {
	probes := make(map[int64]int64)
	q := a.heads(l.d, func(te *templateEntry) bool {
		probe, byHand := int64(0), false
		for _, p := range []*hongyan.Pause{a.paused(hongyan.PauseApp, ""), a.paused(hongyan.PausePath, hongyan.SendPath), a.paused(hongyan.PauseTemplate, te.template.TemplateID)} {
			if p != nil {
				probe, byHand = max(probe, ms(p.ProbeAt)), byHand || p.Manual()
			}
		}
		probes[te.no] = probe
		return !byHand
	})
	if q == "" {
		return 0, nil
	}
	heads, err := l.readHeads(ctx, q)
	if err != nil {
		return 0, err
	}
	var first int64
	for _, h := range heads {
		if due := max(h.due, probes[h.template]); first == 0 || due < first {
			first = due
		}
	}
	return first, nil
}

func (l *Ledger) readHeads(ctx context.Context, q string) (heads []backlogHead, err error) {
	rs, err := l.rdb.QueryContext(ctx, q)
	if err == nil {
		err = eachRow(rs, scanHeads(&heads))
	}
	if err != nil {
		return nil, fmt.Errorf("look for due messages: %w", err)
	}
	return heads, nil
}
