package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

type grantKey struct{ user, template int64 }

// grantRow is one row of grants inside a transaction: read once, changed in memory, written at flush.
type grantRow struct {
	hongyan.Counters
	zeroAt int64
	stored bool // the row exists
	dirty  bool
}

// grants are the rows a transaction touches. Reading locks them, in key order where several are known.
type grants map[grantKey]*grantRow

func (t *txn) grant(gs grants, k grantKey, kind hongyan.TemplateKind) (*grantRow, error) {
	if g := gs[k]; g != nil {
		return g, nil
	}
	g := &grantRow{Counters: hongyan.Counters{Baseline: hongyan.BaselineUnknown, Standing: hongyan.StandingUnknown, Kind: kind}}
	var exact, standing int64
	err := t.row(`/* ledger.grant */ SELECT exact, standing, available, taken, voided, zero_at FROM grants WHERE user_no = ? AND template_no = ?`,
		[]any{k.user, k.template}, &exact, &standing, &g.Available, &g.Taken, &g.Voided, &g.zeroAt)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return nil, err
	default:
		g.stored = true
		g.Standing = word(standingWords, standing)
		if exact == 1 {
			g.Baseline = hongyan.BaselineExact
		}
	}
	gs[k] = g
	return g, nil
}

// flush writes the rows that changed.
func (t *txn) flush(gs grants) error {
	for k, g := range gs {
		if !g.dirty {
			continue
		}
		var exact int64
		if g.Baseline == hongyan.BaselineExact {
			exact = 1
		}
		var err error
		if g.stored {
			_, err = t.exec(`/* ledger.flush */ UPDATE grants SET exact = ?, standing = ?, available = ?, taken = ?, voided = ?, zero_at = ?, updated_at = ? WHERE user_no = ? AND template_no = ?`,
				exact, code(standingWords, g.Standing), g.Available, g.Taken, g.Voided, g.zeroAt, t.now, k.user, k.template)
		} else {
			_, err = t.exec(`/* ledger.flush */ INSERT INTO grants (exact, standing, available, taken, voided, zero_at, updated_at, user_no, template_no) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				exact, code(standingWords, g.Standing), g.Available, g.Taken, g.Voided, g.zeroAt, t.now, k.user, k.template)
		}
		if err != nil {
			return err
		}
		g.stored, g.dirty = true, false
	}
	return nil
}

// entry is one change of a grant's history.
type entry struct {
	source  hongyan.EntrySource
	granted int64
	voided  int64
	choice  string
	ref     string
	open    bool
	at      int64
}

func (t *txn) addEntry(k grantKey, e entry) error {
	id := newID(t.now)
	var open int64
	if e.open {
		open = 1
	}
	_, err := t.exec(`/* ledger.addEntry */ INSERT INTO grant_entries (user_no, template_no, at, id, source, granted, voided, choice, ref, open, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		k.user, k.template, e.at, id[:], string(e.source), e.granted, e.voided, e.choice, e.ref, open, t.now)
	return err
}

func newID(now int64) ulid.ULID { return ulid.MustNew(uint64(now), ulid.DefaultEntropy()) }

// liveRow is a message under way that could hold a reservation of a grant.
type liveRow struct {
	seq, state, reserved, dueAt, startedAt int64
}

// live lists a grant's messages that are not final, oldest due first.
func (t *txn) live(k grantKey) ([]liveRow, error) {
	var out []liveRow
	err := t.rows(`/* ledger.live */ SELECT seq, state, reserved, due_at, started_at FROM messages WHERE user_no = ? AND template_no = ? AND state IN (1, 2, 3, 4, 9) ORDER BY due_at, seq`,
		[]any{k.user, k.template}, func(r *sql.Rows) error {
			var m liveRow
			if err := r.Scan(&m.seq, &m.state, &m.reserved, &m.dueAt, &m.startedAt); err != nil {
				return err
			}
			out = append(out, m)
			return nil
		})
	return out, err
}

// serve hands available grants on: to unbacked messages by due time, then to held ones by
// age. What nobody waits for stays available. obtained is when the newest of them was
// earned: a call already under way cannot have used a grant younger than itself.
func (t *txn) serve(k grantKey, g *grantRow, obtained int64) error {
	longTerm := g.Kind == hongyan.KindLongTerm
	if !longTerm && g.Available <= 0 {
		return nil
	}
	rows, err := t.live(k)
	if err != nil {
		return err
	}
	if !longTerm {
		for _, m := range rows {
			underway := m.state == stSending || m.state == stUncertain
			if g.Available <= 0 || m.state == stHeld || m.reserved > 0 || underway && m.startedAt < obtained {
				continue
			}
			n, err := t.exec(`/* ledger.serve */ UPDATE messages SET reserved = 1, flags = flags & ~8 WHERE seq = ? AND reserved = 0 AND state IN (2, 3, 4, 9)`, m.seq)
			if err != nil {
				return err
			}
			g.Take(n)
			g.dirty = true
		}
	}
	for _, m := range rows {
		if m.state != stHeld || !longTerm && g.Available <= 0 {
			continue
		}
		if err := t.releaseHeld(m.seq, !longTerm); err != nil {
			return err
		}
		if !longTerm {
			g.Take(1)
			g.dirty = true
		}
	}
	return nil
}

// releaseHeld lets a held message go, to wait for its time or for a sender.
func (t *txn) releaseHeld(seq int64, reserve bool) error {
	var appNo, due, created int64
	var options string
	if err := t.row(`/* ledger.releaseHeld */ SELECT app_no, due_at, created_at, options FROM messages WHERE seq = ?`, []any{seq}, &appNo, &due, &created, &options); err != nil {
		return err
	}
	o, err := parseOptions(options)
	if err != nil {
		return err
	}
	expires := o.ExpiresAt
	if expires == 0 {
		expires = max(due, t.now) + t.l.appByNo(appNo).app.Settings.Expiry().Milliseconds()
	}
	state, reserved := int64(stQueued), int64(0)
	if due > t.now {
		state = stScheduled
	}
	if reserve {
		reserved = 1
	}
	_, err = t.exec(`/* ledger.releaseHeld */ UPDATE messages SET state = ?, reserved = ?, expires_at = ?, updated_at = ? WHERE seq = ? AND state = 1`, state, reserved, expires, t.now, seq)
	t.after = append(t.after, t.l.nudgeDue)
	return err
}

// voidBefore ends every grant obtained before a moment at which WeChat knew of none, or the
// user refused: available ones, and those reserved by messages, which become unbacked.
// own is the message that learned it, already settled by the caller.
func (t *txn) voidBefore(k grantKey, g *grantRow, moment int64, source hongyan.EntrySource, ref string, own int64) error {
	var younger int64
	if err := t.row(`/* ledger.voidBefore */ SELECT COALESCE(SUM(granted), 0) FROM grant_entries WHERE user_no = ? AND template_no = ? AND at > ? AND source <> 'inferred'`,
		[]any{k.user, k.template, moment}, &younger); err != nil {
		return err
	}
	rows, err := t.live(k)
	if err != nil {
		return err
	}
	outstanding := g.Available
	for _, m := range rows {
		if m.seq != own {
			outstanding += m.reserved
		}
	}
	void := outstanding - min(outstanding, younger)
	voided := min(void, g.Available)
	g.VoidAvailable(voided)
	for i := len(rows) - 1; i >= 0 && voided < void; i-- {
		m := rows[i]
		if m.seq == own || m.reserved == 0 {
			continue
		}
		if _, err := t.exec(`/* ledger.voidBefore */ UPDATE messages SET reserved = 0 WHERE seq = ?`, m.seq); err != nil {
			return err
		}
		g.VoidTaken(m.reserved)
		voided += m.reserved
	}
	g.Baseline, g.dirty = hongyan.BaselineExact, true
	g.zeroAt = max(g.zeroAt, moment)
	if voided == 0 {
		return nil
	}
	return t.addEntry(k, entry{source: source, voided: voided, ref: ref, at: moment})
}

// infer enters a grant that WeChat must have had, because it accepted a message sent without reservation.
func (t *txn) infer(k grantKey, g *grantRow, startedAt int64, ref string, source hongyan.EntrySource) error {
	if g.Kind == hongyan.KindLongTerm {
		return nil
	}
	g.Infer()
	g.dirty = true
	return t.addEntry(k, entry{source: source, granted: 1, ref: ref, open: true, at: startedAt})
}

// Report records what a tap chose. A repeat of its id changes nothing.
func (l *Ledger) Report(ctx context.Context, id hongyan.AppID, reports []hongyan.Report) ([]hongyan.ReportResult, error) {
	var fields []hongyan.FieldError
	for i, r := range reports {
		fields = append(fields, r.Check(fmt.Sprintf("/reports/%d", i))...)
	}
	if len(fields) > 0 {
		return nil, &hongyan.Error{Code: hongyan.CodeInvalid, Message: fields[0].Detail, Fields: fields}
	}
	out := make([]hongyan.ReportResult, len(reports))
	type place struct {
		k grantKey
		r hongyan.Report
	}
	places := make([]place, len(reports))
	a, err := l.app(id)
	if err != nil {
		return nil, err
	}
	for i, r := range reports {
		te := a.lookup(r.Template)
		if te == nil {
			return nil, &hongyan.Error{Code: hongyan.CodeTemplateNotFound, Message: fmt.Sprintf("App %s has no template %q.", id, r.Template),
				Fields: []hongyan.FieldError{{Pointer: fmt.Sprintf("/reports/%d/template", i), Code: "not_found", Detail: "No template with this template_id or alias."}}}
		}
		places[i] = place{k: grantKey{template: te.no}, r: r}
	}
	err = l.write(ctx, "report grants", func(t *txn) error {
		gs := make(grants)
		for i, p := range places {
			user, err := t.user(a.no, p.r.OpenID)
			if err != nil {
				return err
			}
			places[i].k.user = user
			out[i], err = t.report(gs, a, places[i].k, p.r)
			if err != nil {
				return err
			}
		}
		return t.flush(gs)
	})
	if err != nil {
		return nil, err
	}
	for i, p := range places {
		if out[i].Subscription, err = l.subscription(ctx, a, p.k); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// report is one tap inside a transaction.
func (t *txn) report(gs grants, a *appEntry, k grantKey, r hongyan.Report) (hongyan.ReportResult, error) {
	res := hongyan.ReportResult{ID: r.ID}
	tap := t.now - r.AgeMS
	var silent any
	if r.Silent != nil {
		silent = *r.Silent
	}
	n, err := t.exec(`/* ledger.report */ INSERT INTO witnesses (app_no, source, ref, user_no, template_no, at, choice, silent, recorded_at) VALUES (?, 'report', ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (app_no, source, ref) DO NOTHING`,
		a.no, r.ID, k.user, k.template, tap, r.Choice, silent, t.now)
	if err != nil {
		return res, err
	}
	if n == 0 {
		res.Note = "duplicate"
		return res, nil
	}
	g, err := t.grant(gs, k, t.kindOf(a, k.template))
	if err != nil {
		return res, err
	}
	g.dirty = true
	switch hongyan.ClassifyChoice(r.Choice) {
	case hongyan.ChoiceAccept:
		return t.accept(a, k, g, r, tap)
	case hongyan.ChoiceReject:
		g.Standing = hongyan.StandingReject
		if err := t.addEntry(k, entry{source: hongyan.SourceReport, choice: r.Choice, ref: r.ID, at: tap}); err != nil {
			return res, err
		}
		if a.app.Settings.DialogReject == hongyan.DialogRejectVoid && g.Kind != hongyan.KindLongTerm {
			err = t.voidBefore(k, g, tap, hongyan.SourceDialog, r.ID, 0)
		}
	case hongyan.ChoiceBan:
		g.Standing = hongyan.StandingBan
		err = t.addEntry(k, entry{source: hongyan.SourceReport, choice: r.Choice, ref: r.ID, at: tap})
	}
	res.Note = "not_accept"
	return res, err
}

// accept is one more grant, unless it is counted already or known to be gone.
func (t *txn) accept(a *appEntry, k grantKey, g *grantRow, r hongyan.Report, tap int64) (hongyan.ReportResult, error) {
	res := hongyan.ReportResult{ID: r.ID}
	g.Standing = hongyan.StandingAccept
	e := entry{source: hongyan.SourceReport, choice: r.Choice, ref: r.ID, at: tap}
	if g.Kind == hongyan.KindLongTerm {
		res.Note = "long_term"
		return res, errors.Join(t.addEntry(k, e), t.serve(k, g, tap))
	}
	if a.app.Settings.History == hongyan.HistoryNew {
		g.Baseline = hongyan.BaselineExact
	}
	matched, err := t.matchInferred(k, tap)
	if err != nil {
		return res, err
	}
	reserved, err := t.reservedSum(k)
	if err != nil {
		return res, err
	}
	switch {
	case matched:
		res.Note = "inferred"
	case tap <= g.zeroAt:
		// WeChat said after this tap that none was left: it was earned and is gone.
		e.granted, e.voided = 1, 1
		g.Add(1)
		g.VoidAvailable(1)
		res.Note = "already_gone"
	case g.Available+reserved >= hongyan.MaxOutstanding:
		res.Note = "limit"
	default:
		e.granted, res.Counted = 1, 1
		g.Add(1)
	}
	if err := t.addEntry(k, e); err != nil {
		return res, err
	}
	return res, t.serve(k, g, tap)
}

// matchInferred finds a spend that began not earlier than the tap and was entered without
// a known grant: the tap is that grant.
func (t *txn) matchInferred(k grantKey, tap int64) (bool, error) {
	var when int64
	var id []byte
	err := t.row(`/* ledger.matchInferred */ SELECT at, id FROM grant_entries WHERE user_no = ? AND template_no = ? AND at >= ? AND open = 1 ORDER BY at, id LIMIT 1`,
		[]any{k.user, k.template, tap}, &when, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = t.exec(`/* ledger.matchInferred */ UPDATE grant_entries SET open = 0 WHERE user_no = ? AND template_no = ? AND at = ? AND id = ?`, k.user, k.template, when, id)
	return true, err
}

func (t *txn) reservedSum(k grantKey) (int64, error) {
	var n int64
	err := t.row(`/* ledger.reservedSum */ SELECT COALESCE(SUM(reserved), 0) FROM messages WHERE user_no = ? AND template_no = ? AND state IN (2, 3, 4, 9)`, []any{k.user, k.template}, &n)
	return n, err
}

func (t *txn) kindOf(a *appEntry, templateNo int64) hongyan.TemplateKind {
	for _, te := range a.templates {
		if te.no == templateNo {
			return te.template.Kind
		}
	}
	return hongyan.KindUnknown
}

// Adjustment is a correction by a person or an import.
type Adjustment struct {
	OpenID   hongyan.OpenID
	Template string
	// Delta is how many grants to add, or to void where it is negative.
	Delta int64
	// Exact says that the count is now known to be exact.
	Exact  bool
	Reason string
	Source hongyan.EntrySource // SourceAdjust or SourceImport
}

// Adjust corrects a count. It cannot take away what messages hold.
func (l *Ledger) Adjust(ctx context.Context, id hongyan.AppID, adj Adjustment) (hongyan.Subscription, error) {
	a, te, err := l.template(id, adj.Template)
	if err != nil {
		return hongyan.Subscription{}, err
	}
	switch {
	case !adj.OpenID.Valid():
		return hongyan.Subscription{}, hongyan.Invalid("/openid", "openid", "%q is not an openid.", clipped(string(adj.OpenID)))
	case strings.TrimSpace(adj.Reason) == "" || len(adj.Reason) > 500:
		return hongyan.Subscription{}, hongyan.Invalid("/reason", "missing", "Say in 1 to 500 bytes why the count is changed; the history shows it.")
	case te.template.Kind == hongyan.KindLongTerm:
		return hongyan.Subscription{}, hongyan.Invalid("/template", "long_term", "A long-term template is on or off and has no count.")
	case adj.Delta < -1_000_000 || adj.Delta > 1_000_000:
		return hongyan.Subscription{}, hongyan.Invalid("/delta", "range", "delta is -1000000 to 1000000.")
	}
	k := grantKey{template: te.no}
	err = l.write(ctx, "adjust grants", func(t *txn) error {
		var err error
		if k.user, err = t.user(a.no, adj.OpenID); err != nil {
			return err
		}
		gs := make(grants)
		g, err := t.grant(gs, k, te.template.Kind)
		if err != nil {
			return err
		}
		e := entry{source: adj.Source, ref: adj.Reason, at: t.now}
		if adj.Delta >= 0 {
			g.Add(adj.Delta)
			e.granted = adj.Delta
		} else {
			if -adj.Delta > g.Available {
				return hongyan.Invalid("/delta", "range", "Only %d grants are available; what messages hold cannot be taken away.", g.Available)
			}
			g.VoidAvailable(-adj.Delta)
			e.voided = -adj.Delta
		}
		if adj.Exact {
			g.Baseline = hongyan.BaselineExact
		}
		g.dirty = true
		if err := t.addEntry(k, e); err != nil {
			return err
		}
		if adj.Delta > 0 {
			if err := t.serve(k, g, t.now); err != nil {
				return err
			}
		}
		return t.flush(gs)
	})
	if err != nil {
		return hongyan.Subscription{}, err
	}
	return l.subscription(ctx, a, k)
}

func clipped(s string) string { return fmt.Sprintf("%.60s", s) }

// Subscription is one subscription with its newest 100 entries. A user or pair that was
// never seen has the zero count of an unknown baseline.
func (l *Ledger) Subscription(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID, template string) (hongyan.Subscription, error) {
	a, te, err := l.template(id, template)
	if err != nil {
		return hongyan.Subscription{}, err
	}
	k := grantKey{template: te.no}
	err = l.rdb.QueryRowContext(ctx, `/* ledger.Subscription */ SELECT no FROM users WHERE app_no = ? AND openid = ?`, a.no, openid).Scan(&k.user)
	if errors.Is(err, sql.ErrNoRows) {
		return hongyan.Subscription{App: id, OpenID: openid, TemplateID: te.template.TemplateID,
			Counters: hongyan.Counters{Baseline: hongyan.BaselineUnknown, Standing: hongyan.StandingUnknown, Kind: te.template.Kind}}, nil
	}
	if err != nil {
		return hongyan.Subscription{}, fmt.Errorf("read user: %w", err)
	}
	s, err := l.subscription(ctx, a, k)
	if err != nil {
		return s, err
	}
	s.Entries, err = l.entries(ctx, k)
	return s, err
}

const subscriptionSQL = `SELECT u.no, t.no, u.openid, t.template_id, t.kind, g.exact, g.standing, g.available, g.taken, g.voided, g.updated_at,
	(SELECT COALESCE(SUM(m.reserved), 0) FROM messages m WHERE m.user_no = g.user_no AND m.template_no = g.template_no AND m.state IN (2, 3, 4, 9))
	FROM grants g JOIN users u ON u.no = g.user_no JOIN templates t ON t.no = g.template_no `

func scanSubscription(r interface{ Scan(...any) error }, app hongyan.AppID) (hongyan.Subscription, grantKey, error) {
	s := hongyan.Subscription{App: app}
	var k grantKey
	var kind, exact, standing, updated int64
	err := r.Scan(&k.user, &k.template, &s.OpenID, &s.TemplateID, &kind, &exact, &standing, &s.Available, &s.Taken, &s.Voided, &updated, &s.Reserved)
	s.Kind, s.Standing, s.UpdatedAt = kindWord(kind), word(standingWords, standing), at(updated)
	s.Baseline = hongyan.BaselineUnknown
	if exact == 1 {
		s.Baseline = hongyan.BaselineExact
	}
	s.Granted, s.Spent = s.Counters.Granted(), s.Taken-s.Reserved
	return s, k, err
}

func (l *Ledger) subscription(ctx context.Context, a *appEntry, k grantKey) (hongyan.Subscription, error) {
	s, _, err := scanSubscription(l.rdb.QueryRowContext(ctx, `/* ledger.subscription */ `+subscriptionSQL+`WHERE g.user_no = ? AND g.template_no = ?`, k.user, k.template), a.app.AppID)
	if errors.Is(err, sql.ErrNoRows) {
		err = l.rdb.QueryRowContext(ctx, `/* ledger.subscription */ SELECT u.openid, t.template_id FROM users u, templates t WHERE u.no = ? AND t.no = ?`, k.user, k.template).Scan(&s.OpenID, &s.TemplateID)
		s.Kind = a.lookup(s.TemplateID).template.Kind
		s.Baseline, s.Standing = hongyan.BaselineUnknown, hongyan.StandingUnknown
	}
	if err != nil {
		return s, fmt.Errorf("read subscription: %w", err)
	}
	return s, nil
}

func (l *Ledger) entries(ctx context.Context, k grantKey) ([]hongyan.Entry, error) {
	out := []hongyan.Entry{}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.entries */ SELECT id, source, granted, voided, choice, ref, at, recorded_at FROM grant_entries WHERE user_no = ? AND template_no = ? ORDER BY at DESC, id DESC LIMIT 100`, k.user, k.template)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	err = eachRow(rs, func(r *sql.Rows) error {
		var e hongyan.Entry
		var id []byte
		var when, recorded int64
		if err := r.Scan(&id, &e.Source, &e.Granted, &e.Voided, &e.Choice, &e.Ref, &when, &recorded); err != nil {
			return err
		}
		e.ID = "ent_" + ulid.ULID(id).String()
		e.At, e.RecordedAt = at(when), at(recorded)
		out = append(out, e)
		return nil
	})
	return out, err
}

// Subscriptions lists an app's subscriptions, by user and template, from after the cursor.
func (l *Ledger) Subscriptions(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID, template string, limit int, cursor string) ([]hongyan.Subscription, string, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, "", err
	}
	var afterUser, afterTemplate int64
	if cursor != "" {
		if err := decodeCursor(cursor, &afterUser, &afterTemplate); err != nil {
			return nil, "", err
		}
	}
	q := `/* ledger.Subscriptions */ ` + subscriptionSQL + `WHERE u.app_no = ? AND (g.user_no > ? OR g.user_no = ? AND g.template_no > ?)`
	args := []any{a.no, afterUser, afterUser, afterTemplate}
	if openid != "" {
		q += ` AND u.openid = ?`
		args = append(args, openid)
	}
	if template != "" {
		te := a.lookup(template)
		if te == nil {
			return nil, "", hongyan.Errorf(hongyan.CodeTemplateNotFound, "App %s has no template %q.", id, template)
		}
		q += ` AND g.template_no = ?`
		args = append(args, te.no)
	}
	rs, err := l.rdb.QueryContext(ctx, q+` ORDER BY g.user_no, g.template_no LIMIT ?`, append(args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list subscriptions: %w", err)
	}
	out := []hongyan.Subscription{}
	var last grantKey
	next := ""
	err = eachRow(rs, func(r *sql.Rows) error {
		s, k, err := scanSubscription(r, id)
		if err != nil {
			return err
		}
		if len(out) == limit {
			next = encodeCursor(last.user, last.template)
			return nil
		}
		out, last = append(out, s), k
		return nil
	})
	return out, next, err
}
