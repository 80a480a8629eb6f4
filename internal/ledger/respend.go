package ledger

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// A refusal may be told after messages were sent that took, as far as we knew, grants from
// before it. WeChat had none of those any more: it used younger ones.

// sentCall is a call that WeChat has accepted, and so spent a grant on.
type sentCall struct {
	at  int64
	seq int64  // of the message that holds the grant; 0: the entry below says so
	id  []byte // of the message, or of the entry of an inferred grant
}

// respend looks at what was sent since a moment before which no grant is left, for grants
// from before it: WeChat has used younger ones, as many as are known; they are counted.
// Where it sent more than that, it had one that we have not heard of yet: then what we
// took for used is void, and the next witness is what was used.
func (t *txn) respend(k grantKey, g *grantRow, moment int64) (spent int64, err error) {
	calls, err := t.oldSpends(k, moment)
	if err != nil || len(calls) == 0 {
		return 0, err
	}
	younger, err := t.youngerTimes(k, moment)
	if err != nil {
		return 0, err
	}
	for _, c := range calls {
		var by int64
		if len(younger) > 0 && younger[0] <= c.at+clockMargin {
			by, younger = younger[0], younger[1:]
			spent++
		}
		if c.seq == 0 {
			_, err = t.exec(`/* ledger.respend */ UPDATE grant_entries SET matched_at = ?, open = ? WHERE user_no = ? AND template_no = ? AND at = ? AND id = ?`, by, btoi(by == 0), k.user, k.template, c.at, c.id)
		} else if by == 0 {
			_, err = t.exec(`/* ledger.respend */ UPDATE messages SET reserved = reserved - 1 WHERE seq = ?`, c.seq)
		}
		if err == nil && by == 0 {
			err = t.spentUnknown(k, g, c, moment)
		}
		if err != nil {
			return spent, err
		}
	}
	return spent, nil
}

// spentUnknown enters that a call used a grant which nobody has told of, and that the one it
// was thought to use had ended before.
func (t *txn) spentUnknown(k grantKey, g *grantRow, c sentCall, moment int64) error {
	g.dirty = true
	if c.seq == 0 { // its own entry is open again; the tap it was matched with is void
		g.Add(1)
		g.VoidAvailable(1)
		if err := t.addEntry(k, entry{source: hongyan.SourceChange, granted: 1, voided: 1, at: moment}); err != nil {
			return err
		}
		return t.exchange(k, c.at, moment)
	}
	g.VoidTaken(1)
	g.Infer()
	ref := string(hongyan.MessageIDOf(ulid.ULID(c.id)))
	if err := t.addEntry(k, entry{source: hongyan.SourceChange, voided: 1, ref: ref, at: moment}); err != nil {
		return err
	}
	if err := t.addEntry(k, entry{source: hongyan.SourceInferred, granted: 1, ref: ref, open: true, at: c.at}); err != nil {
		return err
	}
	return t.exchange(k, c.at, moment)
}

// exchange lets the inferred grant at a time have the tap of a later one, if that tap came
// before it: the later one leaves more room for the witness of another.
func (t *txn) exchange(k grantKey, when, moment int64) error {
	var later, tap int64
	var laterID, id []byte
	err := t.row(`/* ledger.exchange */ SELECT at, id, matched_at FROM grant_entries WHERE user_no = ? AND template_no = ? AND at > ? AND source IN ('inferred', 'resolved') AND matched_at > ? AND matched_at <= ? ORDER BY at DESC, id DESC LIMIT 1`,
		[]any{k.user, k.template, when, moment, when + clockMargin}, &later, &laterID, &tap)
	if err == nil {
		err = t.row(`/* ledger.exchange */ SELECT id FROM grant_entries WHERE user_no = ? AND template_no = ? AND at = ? AND open = 1 LIMIT 1`, []any{k.user, k.template, when}, &id)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	const set = `/* ledger.exchange */ UPDATE grant_entries SET open = ?, matched_at = ? WHERE user_no = ? AND template_no = ? AND at = ? AND id = ?`
	if err == nil {
		_, err = t.exec(set, int64(0), tap, k.user, k.template, when, id)
	}
	if err == nil {
		_, err = t.exec(set, int64(1), int64(0), k.user, k.template, later, laterID)
	}
	return err
}

// oldSpends lists the calls since a moment that used a grant from before it, as far as we
// knew: those of messages that held one, and those matched with an earlier tap.
func (t *txn) oldSpends(k grantKey, moment int64) (calls []sentCall, err error) {
	mark, err := t.foldMark()
	if err != nil {
		return nil, err
	}
	read := func(r scanner) error {
		var c sentCall
		err := r.Scan(&c.at, &c.seq, &c.id)
		calls = append(calls, c)
		return err
	}
	if err := t.rows(`/* ledger.oldSpends */ SELECT m.started_at, m.seq, m.id FROM `+ofUser+` WHERE m.template_no = ? AND m.state BETWEEN 5 AND 7 AND m.reserved > 0 AND m.started_at > ?`, []any{k.user, mark, k.user, k.template, moment}, read); err != nil {
		return nil, err
	}
	err = t.rows(`/* ledger.oldSpends */ SELECT at, 0, id FROM grant_entries WHERE user_no = ? AND template_no = ? AND at > ? AND source IN ('inferred', 'resolved') AND matched_at > 0 AND matched_at <= ?`,
		[]any{k.user, k.template, moment, moment}, read)
	slices.SortFunc(calls, func(x, y sentCall) int { return cmp.Compare(x.at, y.at) })
	return calls, err
}

// youngerTimes are the times of the grants that younger counts, one each.
func (t *txn) youngerTimes(k grantKey, moment int64) (times []int64, err error) {
	err = t.rows(`/* ledger.youngerTimes */ SELECT at, granted FROM grant_entries WHERE user_no = ? AND template_no = ? AND at > ? AND granted > 0 AND voided = 0 AND source NOT IN ('inferred', 'resolved') ORDER BY at`,
		[]any{k.user, k.template, moment}, func(r scanner) error {
			var at, n int64
			err := r.Scan(&at, &n)
			for range min(n, 1000) {
				times = append(times, at)
			}
			return err
		})
	return times, err
}
