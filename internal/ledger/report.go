package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/hongyan-push/hongyan"
)

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
		a := l.appByNo(a.no)
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
		silent = int64(0)
		if *r.Silent {
			silent = int64(1)
		}
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
	g, err := t.grant(gs, k, a.kindOf(k.template))
	if err != nil {
		return res, err
	}
	// A report may come late: what the user said after that tap stands.
	newest, err := t.newestChoice(k, g, tap)
	if err != nil {
		return res, err
	}
	switch hongyan.ClassifyChoice(r.Choice) {
	case hongyan.ChoiceAccept:
		return t.accept(a, k, g, r, tap, newest)
	case hongyan.ChoiceReject:
		g.stand(hongyan.StandingReject, newest)
		if err := t.addEntry(k, entry{source: hongyan.SourceReport, choice: r.Choice, ref: r.ID, at: tap}); err != nil {
			return res, err
		}
		if a.app.Settings.DialogReject == hongyan.DialogRejectVoid && g.Kind != hongyan.KindLongTerm {
			err = t.voidBefore(k, g, tap, hongyan.SourceDialog, r.ID, 0)
		}
	case hongyan.ChoiceBan:
		g.stand(hongyan.StandingBan, newest)
		err = t.addEntry(k, entry{source: hongyan.SourceReport, choice: r.Choice, ref: r.ID, at: tap})
	}
	res.Note = "not_accept"
	return res, err
}

// newestChoice reports whether no later tap, nor WeChat's own word, is known by now.
func (t *txn) newestChoice(k grantKey, g *grantRow, tap int64) (bool, error) {
	if !g.stored {
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

// accept is one more grant, unless it is counted already or known to be gone.
func (t *txn) accept(a *appEntry, k grantKey, g *grantRow, r hongyan.Report, tap int64, newest bool) (hongyan.ReportResult, error) {
	res := hongyan.ReportResult{ID: r.ID}
	g.stand(hongyan.StandingAccept, newest)
	e := entry{source: hongyan.SourceReport, choice: r.Choice, ref: r.ID, at: tap}
	if g.Kind == hongyan.KindLongTerm {
		res.Note = "long_term"
		if err := t.addEntry(k, e); err != nil || !newest {
			return res, err
		}
		return res, t.serve(k, g, tap)
	}
	if a.app.Settings.History == hongyan.HistoryNew {
		g.Baseline = hongyan.BaselineExact
	}
	matched, err := t.matchInferred(k, g, tap)
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
// a known grant: the tap is that grant. Past a moment at which WeChat had none, a tap from
// before it cannot have been what was spent.
func (t *txn) matchInferred(k grantKey, g *grantRow, tap int64) (bool, error) {
	until := int64(math.MaxInt64)
	if tap <= g.zeroAt {
		until = g.zeroAt
	}
	var when int64
	var id []byte
	err := t.row(`/* ledger.matchInferred */ SELECT at, id FROM grant_entries WHERE user_no = ? AND template_no = ? AND at >= ? AND at <= ? AND open = 1 ORDER BY at, id LIMIT 1`,
		[]any{k.user, k.template, tap, until}, &when, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = t.exec(`/* ledger.matchInferred */ UPDATE grant_entries SET open = 0 WHERE user_no = ? AND template_no = ? AND at = ? AND id = ?`, k.user, k.template, when, id)
	return true, err
}
