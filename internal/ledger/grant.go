package ledger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

type grantKey struct{ user, template int64 }

// grantRow is one row of grants inside a transaction: read once, changed in memory, written at flush.
type grantRow struct {
	hongyan.Counters
	zeroAt int64
	stored bool // the row exists
	fresh  bool // this transaction has made it, so nothing else is known of it
	dirty  bool
}

// grants are the rows that a transaction touches. Reading locks them.
type grants map[grantKey]*grantRow

func byGrantKey(a, b grantKey) int {
	return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.template, b.template))
}

// grant reads and locks one row; lockGrants is for several.
func (t *txn) grant(gs grants, k grantKey, kind hongyan.TemplateKind) (*grantRow, error) {
	if g := gs[k]; g != nil {
		return g, nil
	}
	err := t.lockGrants(gs, map[grantKey]hongyan.TemplateKind{k: kind})
	return gs[k], err
}

// lockGrants reads and locks the rows of these keys, in their order: two replicas that want
// the same rows must not wait for each other. A key without a row has the count of one
// that was never seen.
func (t *txn) lockGrants(gs grants, keys map[grantKey]hongyan.TemplateKind) error {
	sorted := slices.SortedFunc(maps.Keys(keys), byGrantKey)
	for part := range slices.Chunk(sorted, lookupMost) {
		var users, templates []any
		var asked []grantKey
		for _, k := range part {
			if gs[k] == nil {
				gs[k] = &grantRow{Counters: hongyan.Counters{Baseline: hongyan.BaselineUnknown, Standing: hongyan.StandingUnknown, Kind: keys[k]}}
				if s, ok := t.learned.grant(k); ok {
					t.readAs(gs[k], k, s)
					continue
				}
				asked = append(asked, k)
				if len(users) == 0 || users[len(users)-1] != k.user {
					users = append(users, k.user)
				}
				if !slices.Contains(templates, any(k.template)) {
					templates = append(templates, k.template)
				}
			}
		}
		if len(users) == 0 {
			continue
		}
		// Every template of every user: a few rows more than asked for, found by the key.
		us, args := t.l.d.list(users, kindInt)
		ts, more := t.l.d.list(templates, kindInt)
		err := t.rows(`/* ledger.lockGrants */ SELECT user_no, template_no, exact, standing, available, taken, voided, zero_at, `+t.l.d.folded+` FROM grants WHERE user_no `+us+` AND template_no `+ts+` ORDER BY user_no, template_no`+t.l.d.lock,
			append(args, more...), func(r scanner) error { return t.scanGrant(r, gs, keys) })
		if err != nil {
			return err
		}
		for _, k := range asked {
			if !gs[k].stored {
				t.learned.isGrant(k, storedGrant{absent: true})
			}
		}
	}
	return nil
}

func (t *txn) scanGrant(r scanner, gs grants, keys map[grantKey]hongyan.TemplateKind) error {
	var k grantKey
	var s storedGrant
	err := r.Scan(&k.user, &k.template, &s.exact, &s.standing, &s.available, &s.taken, &s.voided, &s.zeroAt, &s.folded)
	g := gs[k]
	if _, asked := keys[k]; err != nil || !asked || g.stored {
		return err
	}
	t.learned.isGrant(k, s)
	t.readAs(g, k, s)
	return nil
}

// readAs makes g what its row says, less what is pledged since.
func (t *txn) readAs(g *grantRow, k grantKey, s storedGrant) {
	if s.absent {
		return
	}
	row := grantRow{Counters: hongyan.Counters{Kind: g.Kind, Standing: word(standingWords, s.standing), Baseline: hongyan.BaselineUnknown,
		Available: s.available, Taken: s.taken, Voided: s.voided}, zeroAt: s.zeroAt, stored: true}
	if s.exact == 1 {
		row.Baseline = hongyan.BaselineExact
	}
	row.Take(t.l.pledges.of(k, s.folded))
	*g = row
}

var (
	grantColumns  = ints("user_no template_no exact standing available taken voided zero_at updated_at")
	foldedColumns = append(slices.Clone(grantColumns), ints("folded")...)
)

// flush writes the rows that changed, in key order.
func (t *txn) flush(gs grants) error {
	var stored, fresh [][]any
	var keys []grantKey
	columns, set := grantColumns, []string{"exact", "standing", "available", "taken", "voided", "zero_at", "updated_at"}
	if t.l.d.alone {
		columns, set = foldedColumns, append(set, "folded")
	}
	for _, k := range slices.SortedFunc(maps.Keys(gs), byGrantKey) {
		g := gs[k]
		if !g.dirty {
			continue
		}
		var exact int64
		if g.Baseline == hongyan.BaselineExact {
			exact = 1
		}
		s := storedGrant{exact: exact, standing: code(standingWords, g.Standing), available: g.Available, taken: g.Taken, voided: g.Voided, zeroAt: g.zeroAt, folded: t.l.seqs.last()}
		t.learned.isGrant(k, s)
		row := []any{k.user, k.template, s.exact, s.standing, s.available, s.taken, s.voided, s.zeroAt, t.now}
		if t.l.d.alone {
			row = append(row, s.folded)
			keys = append(keys, k)
		}
		if g.stored || t.l.d.alone {
			stored = append(stored, row)
		} else {
			fresh = append(fresh, row)
		}
		g.stored, g.dirty = true, false
	}
	if len(stored)+len(fresh) > 0 {
		t.touch(TopicGrants)
	}
	if err := t.insertRows(`/* ledger.flush */ INSERT INTO grants`, grantColumns, fresh, ""); err != nil {
		if t.l.isDuplicate(err) {
			return fmt.Errorf("%w: %w", errAgain, err) // a row that was not there to be locked
		}
		return err
	}
	if len(keys) > 0 {
		t.after = append(t.after, func() { t.l.pledges.done(keys) })
	}
	return t.insertRows(`/* ledger.flush */ `+told+`INSERT INTO grants`, columns, stored, t.l.d.upsert([]string{"user_no", "template_no"}, set))
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
	id := t.l.newID(t.now)
	t.l.drift.note(t, e)
	var open int64
	if e.open {
		open = 1
	}
	t.emitEntry(k, e, id)
	t.countEntry(k, e)
	_, err := t.exec(`/* ledger.addEntry */ INSERT INTO grant_entries (user_no, template_no, at, id, source, granted, voided, choice, ref, open, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		k.user, k.template, e.at, id[:], string(e.source), e.granted, e.voided, e.choice, e.ref, open, t.now)
	return err
}

// drift counts where WeChat's word differed from our count.
type drift struct{ refused, inferred atomic.Int64 }

func (d *drift) note(t *txn, e entry) {
	switch e.source {
	case hongyan.SourceRefused: // it had none of those that we counted
		t.after = append(t.after, func() { d.refused.Add(e.voided) })
	case hongyan.SourceInferred: // it had one that we did not know of
		t.after = append(t.after, func() { d.inferred.Add(e.granted) })
	}
}

// newID makes an id whose order within this process is the order of their making.
func (l *Ledger) newID(now int64) ulid.ULID { return ulid.MustNew(uint64(now), l.entropy) }

// liveRow is a message under way that could hold a reservation of a grant.
type liveRow struct {
	seq, state, reserved, expiresAt, startedAt, flags int64
}

// liveRows locks and lists a grant's messages that are not final, oldest due first.
func (t *txn) liveRows(k grantKey) ([]liveRow, error) {
	var out []liveRow
	cond, args := t.live(k)
	err := t.rows(`/* ledger.liveRows */ SELECT seq, state, reserved, expires_at, started_at, flags FROM messages m WHERE `+cond+` ORDER BY due_at, seq`+t.l.d.lock,
		args, func(r scanner) error {
			var m liveRow
			if err := r.Scan(&m.seq, &m.state, &m.reserved, &m.expiresAt, &m.startedAt, &m.flags); err != nil {
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
	rows, err := t.liveRows(k)
	if err != nil {
		return err
	}
	if !longTerm {
		for _, m := range rows {
			if g.Available <= 0 || !m.unbacked(obtained) {
				continue
			}
			n, err := t.exec(`/* ledger.serve */ UPDATE messages SET reserved = 1 WHERE seq = ? AND reserved = 0 AND state + 0 IN (2, 3, 4, 9)`, m.seq)
			if err != nil {
				return err
			}
			g.Take(n)
			g.dirty = true
		}
	}
	slices.SortFunc(rows, func(a, b liveRow) int { return cmp.Compare(a.seq, b.seq) }) // held ones by age
	for _, m := range rows {
		if m.state != stHeld || m.expiresAt <= t.now || !longTerm && g.Available <= 0 {
			continue
		}
		n, err := t.releaseHeld(m.seq, !longTerm)
		if err != nil {
			return err
		}
		if !longTerm {
			g.Take(n)
			g.dirty = true
		}
	}
	return nil
}

// unbacked reports whether a message wants a grant that was earned at obtained. One that
// declined to reserve before it is due does not, nor one whose grant was given up.
func (m liveRow) unbacked(obtained int64) bool {
	if m.state == stHeld || m.reserved > 0 || m.flags&(flagNotAdmitted|flagGivenUp) != 0 {
		return false
	}
	underway := m.state == stSending || m.state == stUncertain
	return !underway || m.startedAt >= obtained
}

// releaseHeld lets a held message go, to wait for its time or for a sender.
func (t *txn) releaseHeld(seq int64, reserve bool) (int64, error) {
	var appNo, due int64
	var options string
	if err := t.row(`/* ledger.releaseHeld */ SELECT app_no, due_at, options FROM messages WHERE seq = ?`, []any{seq}, &appNo, &due, &options); err != nil {
		return 0, err
	}
	o, err := parseOptions(options)
	if err != nil {
		return 0, err
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
	n, err := t.exec(`/* ledger.releaseHeld */ UPDATE messages SET state = ?, reserved = ?, expires_at = ?, updated_at = ? WHERE seq = ? AND state + 0 = 1`, state, reserved, expires, t.now, seq)
	t.touch(TopicMessages)
	t.after = append(t.after, t.l.nudgeDue)
	return n, err
}

// voidBefore ends every grant obtained before a moment at which WeChat knew of none, or the
// user refused: available ones, and those reserved by messages, which become unbacked.
// own is the message that learned it, already settled by the caller.
func (t *txn) voidBefore(k grantKey, g *grantRow, moment int64, source hongyan.EntrySource, ref string, own int64) error {
	younger, err := t.younger(k, max(moment, g.zeroAt))
	if err != nil {
		return err
	}
	rows, err := t.liveRows(k)
	if err != nil {
		return err
	}
	if source == hongyan.SourceChange || source == hongyan.SourceDialog {
		// It may have been told late: what was sent since has used the younger ones.
		spent, err := t.respend(k, g, max(moment, g.zeroAt))
		if err != nil {
			return err
		}
		younger = max(younger-spent, 0)
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
		n := min(m.reserved, void-voided)
		if _, err := t.exec(`/* ledger.voidBefore */ UPDATE messages SET reserved = reserved - ? WHERE seq = ?`, n, m.seq); err != nil {
			return err
		}
		g.VoidTaken(n)
		voided += n
	}
	if source != hongyan.SourceDialog {
		// WeChat itself said so. What a reject in the dialog does is only the operator's
		// setting; taken for exact, a wrong one would refuse what could be sent.
		g.Baseline = hongyan.BaselineExact
	}
	g.dirty = true
	g.zeroAt = max(g.zeroAt, moment)
	if voided == 0 {
		return nil
	}
	return t.addEntry(k, entry{source: source, voided: voided, ref: ref, at: moment})
}

// younger is how many grants were obtained after a moment. Inferred ones are spent already.
func (t *txn) younger(k grantKey, moment int64) (int64, error) {
	var n int64
	err := t.row(`/* ledger.younger */ SELECT COALESCE(SUM(granted - CASE WHEN source IN ('adjust', 'import') THEN voided ELSE 0 END), 0) FROM grant_entries WHERE user_no = ? AND template_no = ? AND at > ? AND source NOT IN ('inferred', 'resolved')`,
		[]any{k.user, k.template, moment}, &n)
	return max(n, 0), err
}

// spend accounts for a message that WeChat accepted though it held no grant. If one is
// available that was there when the call began, WeChat took that one, and the message holds
// it from now on; otherwise WeChat must have had one we did not know of, which is entered.
func (t *txn) spend(k grantKey, g *grantRow, startedAt int64, ref string, source hongyan.EntrySource) (taken int64, err error) {
	if g.Kind == hongyan.KindLongTerm {
		return 0, nil
	}
	g.dirty = true
	if g.Available > 0 {
		younger, err := t.younger(k, startedAt+clockMargin)
		if err != nil {
			return 0, err
		}
		reserved, err := t.reservedSum(k)
		if err != nil {
			return 0, err
		}
		if g.Available+reserved > younger {
			g.Take(1)
			return 1, nil
		}
	}
	g.Infer()
	if err := t.addEntry(k, entry{source: source, granted: 1, ref: ref, open: true, at: startedAt}); err != nil || source == hongyan.SourceInferred {
		return 0, err
	}
	return 0, t.exchange(k, startedAt, g.zeroAt) // settled long after its call
}

// reservedSum is what live messages hold; held ones hold nothing, but the index has them too.
func (t *txn) reservedSum(k grantKey) (int64, error) {
	var n int64
	cond, args := t.live(k)
	err := t.row(`/* ledger.reservedSum */ SELECT COALESCE(SUM(m.reserved), 0) FROM messages m WHERE `+cond, args, &n)
	return n, err
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
		was := g.Counters
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
		if err := t.auditDiff(id, "user", string(adj.OpenID), grantFacts(te, was), grantFacts(te, g.Counters)); err != nil {
			return err
		}
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

// grantFacts are what the audit log compares of a user's count, under its template.
func grantFacts(te *templateEntry, c hongyan.Counters) any {
	return map[string]any{"grants": map[string]any{te.template.TemplateID: map[string]any{"available": c.Available, "baseline": c.Baseline}}}
}

func clipped(s string) string { return fmt.Sprintf("%.60s", s) }
