package ledger

import (
	"cmp"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/hongyan-push/hongyan"
)

// witness is what told us of one choice of one tap: a report of the mini program or of the
// team's back end, or WeChat's signed event.
type witness struct {
	source hongyan.EntrySource // SourceReport or SourceEvent
	mark   string              // its repeat has the same
	ref    string              // what the history shows
	choice string
	at     int64 // the tap, ms
	// silent says that no dialog was shown, so that no event can be of the same tap.
	silent *bool
	// sure: nobody but WeChat or the mini program's own user can have made it up.
	sure bool
}

// reported is what a report says. The tap's time is ours less the age on the phone's clock,
// which may be wrong but runs like ours.
//
// Its mark is bound to the user: whoever makes ids up, a phone or a back end, cannot take
// those of another user's reports.
func reported(r hongyan.Report, now int64) witness {
	sum := sha256.Sum256([]byte(string(r.OpenID) + "\x00" + r.ID))
	return witness{source: hongyan.SourceReport, mark: hex.EncodeToString(sum[:20]), ref: r.ID, choice: r.Choice, at: now - r.AgeMS, silent: r.Silent, sure: true}
}

const (
	// pairWithin is how far apart a report and an event of the same tap may be.
	pairWithin = 120_000
	// clockMargin is what times of a tap may be off: an event's have a resolution of a second,
	// a report's are late by the time it travelled. So a call that began as long before a tap may
	// have used its grant, and a refusal as long before it ends it: no user is that quick.
	clockMargin = 2000
	// nearby is how far around a tap witnesses are compared: a chain of pairs as long as that
	// would need a tap every two minutes.
	nearby     = 3_600_000
	nearbyMost = 200
)

// ensureGrants is lockGrants that makes the rows which are not there, so that there is one to
// lock: two witnesses of one tap may arrive on two replicas in the same moment.
func (t *txn) ensureGrants(gs grants, keys map[grantKey]hongyan.TemplateKind) error {
	if err := t.lockGrants(gs, keys); err != nil {
		return err
	}
	columns := grantColumns
	if t.l.d.alone {
		columns = foldedColumns
	}
	var rows [][]any
	absent := make(map[grantKey]hongyan.TemplateKind)
	for k, kind := range keys {
		if gs[k].stored {
			continue
		}
		absent[k] = kind
		t.learned.changed(k)
		row := []any{k.user, k.template, int64(0), code(standingWords, hongyan.StandingUnknown), int64(0), int64(0), int64(0), int64(0), t.now}
		if t.l.d.alone {
			row = append(row, t.l.seqs.last())
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(x, y []any) int {
		return cmp.Or(cmp.Compare(x[0].(int64), y[0].(int64)), cmp.Compare(x[1].(int64), y[1].(int64)))
	})
	if err := t.insertRows(`/* ledger.ensureGrants */ `+told+`INSERT INTO grants`, columns, rows, ` ON CONFLICT (user_no, template_no) DO NOTHING`); err != nil {
		return err
	}
	if t.l.d.alone {
		for k := range absent {
			gs[k].stored, gs[k].fresh = true, true
		}
		return nil
	}
	for k := range absent { // another replica may have been first
		delete(gs, k)
	}
	return t.lockGrants(gs, absent)
}

// witness takes one down and counts its tap, unless it is counted already. The grant is
// locked by the caller. A repeat changes nothing.
func (t *txn) witness(gs grants, a *appEntry, k grantKey, w witness) (res hongyan.ReportResult, err error) {
	g, err := t.grant(gs, k, a.kindOf(k.template))
	if err != nil {
		return res, err
	}
	var known bool
	if err := t.row(`/* ledger.witness */ SELECT EXISTS (SELECT 1 FROM witnesses WHERE app_no = ? AND source = ? AND ref = ?)`,
		[]any{a.no, string(w.source), w.mark}, &known); err != nil {
		return res, err
	}
	if known {
		res.Note = "duplicate"
		return res, nil
	}
	when, news, crowded, err := t.newTap(k, g, w)
	if err != nil {
		return res, err
	}
	pairs, told := w.silent == nil || !*w.silent, w
	if news {
		w.at = when
	}
	switch {
	case !a.app.Settings.GrantSources.Counts(w.source):
		res.Note, pairs, news = "other_source", false, false
	case hongyan.ClassifyChoice(w.choice) == hongyan.ChoiceAccept:
		if res, err = t.accept(a, k, g, w, news, crowded); err != nil {
			return res, err
		}
		// What was not counted is no tap that an event could be of: the event itself counts.
		pairs = pairs && res.Note != "limit"
	default:
		res.Note = "not_accept"
		if err := t.decline(a, k, g, w, news); err != nil {
			return res, err
		}
	}
	g.fresh = false
	return res, t.addWitness(a, k, told, pairs, news)
}

func (t *txn) addWitness(a *appEntry, k grantKey, w witness, pairs, first bool) error {
	var silent any
	if w.silent != nil {
		silent = btoi(*w.silent)
	}
	_, err := t.exec(`/* ledger.addWitness */ INSERT INTO witnesses (app_no, source, ref, user_no, template_no, at, choice, silent, pairs, first, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.no, string(w.source), w.mark, k.user, k.template, w.at, w.choice, silent, btoi(pairs), btoi(first), t.now)
	if err != nil && t.l.isDuplicate(err) {
		return fmt.Errorf("%w: %w", errAgain, err) // the same report of another user, on another replica
	}
	return err
}

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// newTap reports whether a witness tells of a tap that none before it told of, and when that
// was. Reports and events of one tap are near each other, but nothing says which belongs to
// which. So all those nearby are compared again each time: the taps are as few, and their
// pairs as close, as they can be, whatever the order in which they were told of; and the new
// one is where those before leave a gap.
func (t *txn) newTap(k grantKey, g *grantRow, w witness) (when int64, news, crowded bool, err error) {
	if g.fresh || w.silent != nil && *w.silent {
		return w.at, true, false, nil
	}
	class := hongyan.ClassifyChoice(w.choice)
	var reports, events, known []int64
	err = t.rows(`/* ledger.newTap */ SELECT source, at, choice, first FROM witnesses WHERE user_no = ? AND template_no = ? AND at > ? AND at < ? AND pairs = 1 ORDER BY at LIMIT ?`,
		[]any{k.user, k.template, w.at - nearby, w.at + nearby, nearbyMost}, func(r scanner) error {
			var source hongyan.EntrySource
			var at, first int64
			var choice string
			err := r.Scan(&source, &at, &choice, &first)
			if hongyan.ClassifyChoice(choice) != class {
				return err
			}
			if source == hongyan.SourceEvent {
				events = append(events, at)
			} else {
				reports = append(reports, at)
			}
			if first == 1 {
				known = append(known, at)
			}
			return err
		})
	if w.source == hongyan.SourceEvent {
		events = insertSorted(events, w.at)
	} else {
		reports = insertSorted(reports, w.at)
	}
	when, news = gap(known, taps(reports, events))
	return when, news, len(reports)+len(events) >= nearbyMost, err
}

func insertSorted(s []int64, v int64) []int64 {
	i, _ := slices.BinarySearch(s, v)
	return slices.Insert(s, i, v)
}

// taps are the times of the fewest taps that these witnesses can be of, all in order of
// time. Of several ways to pair them the closest counts. Pairs never cross: uncrossed they
// are no further apart.
func taps(reports, events []int64) []int64 {
	type best struct{ pairs, apart int64 }
	better := func(a, b best) bool { return a.pairs > b.pairs || a.pairs == b.pairs && a.apart < b.apart }
	n := len(events) + 1
	at := make([]best, (len(reports)+1)*n) // of the first i reports and j events
	pair := func(i, j int) (best, bool) {
		d := max(reports[i-1]-events[j-1], events[j-1]-reports[i-1])
		b := at[(i-1)*n+j-1]
		return best{b.pairs + 1, b.apart + d}, d <= pairWithin
	}
	for i := 1; i <= len(reports); i++ {
		for j := 1; j <= len(events); j++ {
			b := at[(i-1)*n+j]
			if c := at[i*n+j-1]; better(c, b) {
				b = c
			}
			if c, near := pair(i, j); near && better(c, b) {
				b = c
			}
			at[i*n+j] = b
		}
	}
	var out []int64
	for i, j := len(reports), len(events); i > 0 || j > 0; {
		switch {
		case j == 0 || i > 0 && at[i*n+j] == at[(i-1)*n+j]:
			i--
			out = append(out, reports[i])
		case i == 0 || at[i*n+j] == at[i*n+j-1]:
			j--
			out = append(out, events[j])
		default:
			i, j = i-1, j-1
			out = append(out, min(reports[i], events[j]))
		}
	}
	slices.Sort(out)
	return out
}

// gap finds the tap that is not among those known: where it is left out, the others are
// closest to them.
func gap(known, all []int64) (when int64, found bool) {
	if len(all) <= len(known) {
		return 0, false
	}
	at, least := 0, int64(math.MaxInt64)
	for skip := range all {
		var apart int64
		for i, k := range known {
			j := i
			if i >= skip {
				j++
			}
			apart += max(k-all[j], all[j]-k)
		}
		if apart < least {
			at, least = skip, apart
		}
	}
	return all[at], true
}

// newestChoice reports whether no later tap, nor WeChat's own word, is known by now.
func (t *txn) newestChoice(k grantKey, g *grantRow, tap int64) (bool, error) {
	if g.fresh {
		return true, nil
	}
	if g.Kind == hongyan.KindLongTerm && tap <= g.zeroAt {
		return false, nil
	}
	var later bool
	err := t.row(`/* ledger.newestChoice */ SELECT EXISTS (SELECT 1 FROM grant_entries WHERE user_no = ? AND template_no = ? AND at > ? AND choice <> '')`,
		[]any{k.user, k.template, tap}, &later)
	return !later, err
}

func (g *grantRow) stand(s hongyan.Standing, newest bool) {
	g.dirty = true
	if newest {
		g.Standing = s
	}
}

// accept is one more grant, unless it is counted already or known to be gone. A witness may
// come late: what the user said after its tap stands.
func (t *txn) accept(a *appEntry, k grantKey, g *grantRow, w witness, news, crowded bool) (res hongyan.ReportResult, err error) {
	if !news {
		res.Note = "paired"
		return res, nil
	}
	newest, err := t.newestChoice(k, g, w.at)
	if err != nil {
		return res, err
	}
	g.stand(hongyan.StandingAccept, newest)
	e := entry{source: w.source, choice: w.choice, ref: w.ref, at: w.at}
	if g.Kind == hongyan.KindLongTerm {
		res.Note = "long_term"
		if err := t.addEntry(k, e); err != nil || !newest {
			return res, err
		}
		return res, t.serve(k, g, w.at-clockMargin)
	}
	if a.app.Settings.History == hongyan.HistoryNew {
		g.Baseline = hongyan.BaselineExact
	}
	matched, err := t.matchInferred(k, g, w.at)
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
	case w.at <= g.zeroAt:
		// WeChat said after this tap that none was left: it was earned and is gone.
		e.granted, e.voided = 1, 1
		g.Add(1)
		g.VoidAvailable(1)
		res.Note = "already_gone"
	case w.source == hongyan.SourceReport && (crowded || g.Available+reserved >= hongyan.MaxOutstanding):
		res.Note = "limit"
	default:
		e.granted, res.Counted = 1, 1
		g.Add(1)
	}
	if err := t.addEntry(k, e); err != nil {
		return res, err
	}
	return res, t.serve(k, g, w.at-clockMargin)
}

// decline is a choice that grants nothing. A reject voids earlier grants where the app says
// so, each time a witness comes: that ends what was there before and nothing twice.
func (t *txn) decline(a *appEntry, k grantKey, g *grantRow, w witness, news bool) error {
	standing := hongyan.StandingReject
	switch hongyan.ClassifyChoice(w.choice) {
	case hongyan.ChoiceReject:
	case hongyan.ChoiceBan:
		standing = hongyan.StandingBan
	default:
		return nil
	}
	newest, err := t.newestChoice(k, g, w.at)
	if err != nil {
		return err
	}
	g.stand(standing, newest)
	if news {
		if err := t.addEntry(k, entry{source: w.source, choice: w.choice, ref: w.ref, at: w.at}); err != nil {
			return err
		}
	}
	if standing == hongyan.StandingBan || !w.sure || a.app.Settings.DialogReject != hongyan.DialogRejectVoid || g.Kind == hongyan.KindLongTerm {
		return nil
	}
	return t.voidBefore(k, g, w.at+clockMargin, hongyan.SourceDialog, w.ref, 0)
}

// refuse is the user's word outside a dialog (subscribe_msg_change_event): WeChat has no
// grant from before it.
func (t *txn) refuse(k grantKey, g *grantRow, moment int64, ref string) error {
	newest, err := t.newestChoice(k, g, moment+clockMargin)
	if err != nil {
		return err
	}
	g.stand(hongyan.StandingReject, newest)
	g.fresh = false
	if err := t.addEntry(k, entry{source: hongyan.SourceChange, choice: "reject", ref: ref, at: moment}); err != nil {
		return err
	}
	if g.Kind == hongyan.KindLongTerm {
		g.zeroAt = max(g.zeroAt, moment+clockMargin)
		return nil
	}
	return t.voidBefore(k, g, moment+clockMargin, hongyan.SourceChange, ref, 0)
}

// matchInferred finds a spend that began not earlier than the tap and was entered without
// a known grant: the tap is that grant. Past a moment at which WeChat had none, a tap from
// before it cannot have been what was spent.
func (t *txn) matchInferred(k grantKey, g *grantRow, tap int64) (bool, error) {
	if g.fresh {
		return false, nil
	}
	until := int64(math.MaxInt64)
	if tap <= g.zeroAt {
		until = g.zeroAt
	}
	var when int64
	var id []byte
	err := t.row(`/* ledger.matchInferred */ SELECT at, id FROM grant_entries WHERE user_no = ? AND template_no = ? AND at >= ? AND at <= ? AND open = 1 ORDER BY at, id LIMIT 1`,
		[]any{k.user, k.template, tap - clockMargin, until}, &when, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = t.exec(`/* ledger.matchInferred */ UPDATE grant_entries SET open = 0, matched_at = ? WHERE user_no = ? AND template_no = ? AND at = ? AND id = ?`, tap, k.user, k.template, when, id)
	return true, err
}
