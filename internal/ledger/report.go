package ledger

import (
	"context"
	"fmt"
	"slices"

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
			fields = append(fields, hongyan.FieldError{Pointer: fmt.Sprintf("/reports/%d/template", i), Code: "not_found", Detail: fmt.Sprintf("App %s has no template %q.", id, clipped(r.Template))})
			continue
		}
		places[i] = place{k: grantKey{template: te.no}, r: r}
	}
	if len(fields) > 0 {
		return nil, &hongyan.Error{Code: hongyan.CodeTemplateNotFound, Message: fields[0].Detail, Fields: fields}
	}
	err = l.write(ctx, "report grants", func(t *txn) error {
		gs, a := make(grants), l.appByNo(a.no)
		openids := make([]hongyan.OpenID, len(reports))
		for i, r := range reports {
			openids[i] = r.OpenID
		}
		users, err := t.users(a.no, slices.Compact(slices.Sorted(slices.Values(openids))))
		if err != nil {
			return err
		}
		keys := make(map[grantKey]hongyan.TemplateKind)
		for i := range places {
			places[i].k.user = users[reports[i].OpenID]
			keys[places[i].k] = a.kindOf(places[i].k.template)
		}
		if err := t.ensureGrants(gs, keys); err != nil {
			return err
		}
		for i, p := range places {
			if out[i], err = t.witness(gs, a, p.k, reported(p.r, t.now)); err != nil {
				return err
			}
			out[i].ID = p.r.ID
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
