package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/hongyan-push/hongyan"
)

// ImportGrants takes over what another program counted. Importing the same again changes
// nothing: the count is set (exact) or raised to what is said, never added.
func (l *Ledger) ImportGrants(ctx context.Context, id hongyan.AppID, items []hongyan.ImportItem, reason string) ([]hongyan.Subscription, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 || len(items) > hongyan.MaxStockItems {
		return nil, hongyan.Invalid("/items", "length", "Import 1 to %d items at once; there are %d.", hongyan.MaxStockItems, len(items))
	}
	var fields []hongyan.FieldError
	templates := make([]*templateEntry, len(items))
	openids := make([]hongyan.OpenID, len(items))
	for i, it := range items {
		fault := func(field, code, detail string) {
			fields = append(fields, hongyan.FieldError{Pointer: fmt.Sprintf("/items/%d/%s", i, field), Code: code, Detail: detail})
		}
		openids[i], templates[i] = it.OpenID, a.lookup(it.Template)
		switch {
		case !it.OpenID.Valid():
			fault("openid", "openid", "An openid is 1 to 64 characters of A-Z a-z 0-9 _ and -.")
		case templates[i] == nil:
			fault("template", "not_found", "No template with this template_id or alias.")
		case templates[i].template.Kind == hongyan.KindLongTerm:
			fault("template", "long_term", "A long-term template is on or off and has no count.")
		case it.Count < 0 || it.Count > 1_000_000:
			fault("count", "range", "count is 0 to 1000000.")
		}
	}
	if len(fields) > 0 {
		return nil, &hongyan.Error{Code: hongyan.CodeInvalid, Message: fields[0].Detail, Fields: fields}
	}
	keys := make([]grantKey, len(items))
	err = l.write(ctx, "import grants", func(t *txn) error {
		users, err := t.users(a.no, slices.Compact(slices.Sorted(slices.Values(openids))))
		if err != nil {
			return err
		}
		gs, kinds := make(grants), make(map[grantKey]hongyan.TemplateKind)
		for i, it := range items {
			keys[i] = grantKey{users[it.OpenID], templates[i].no}
			kinds[keys[i]] = templates[i].template.Kind
		}
		if err := t.ensureGrants(gs, kinds); err != nil {
			return err
		}
		raised := make(map[string]imported)
		for i, it := range items {
			was := gs[keys[i]].Counters
			if err := t.importOne(keys[i], gs[keys[i]], it, reason); err != nil {
				return err
			}
			if is := gs[keys[i]].Counters; is != was {
				raised[templates[i].template.TemplateID] = raised[templates[i].template.TemplateID].and(was, is)
			}
		}
		if err := t.auditDiff(id, "app", string(id), map[string]any{"grants": nil}, map[string]any{"grants": raised}); err != nil {
			return err
		}
		return t.flush(gs)
	})
	if err != nil {
		return nil, err
	}
	out := make([]hongyan.Subscription, len(items))
	for i, k := range keys {
		if out[i], err = l.subscription(ctx, a, k); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// imported is what the audit log says of an import for one template: numbers, for a list of
// users would be personal data in a table that is kept long.
type imported struct {
	Users   int64 `json:"users"`   // whose count it changed
	Granted int64 `json:"granted"` // grants that it entered
	Voided  int64 `json:"voided"`  // and ended
}

func (i imported) and(was, is hongyan.Counters) imported {
	i.Users++
	i.Granted += max(is.Granted()-was.Granted(), 0)
	i.Voided += is.Voided - was.Voided
	return i
}

func (t *txn) importOne(k grantKey, g *grantRow, it hongyan.ImportItem, reason string) error {
	reserved, err := t.reservedSum(k)
	if err != nil {
		return err
	}
	delta := max(it.Count-reserved, 0) - g.Available // what messages hold is part of the count
	if !it.Exact {
		delta = max(delta, 0)
	} else if g.Baseline != hongyan.BaselineExact {
		g.Baseline, g.dirty = hongyan.BaselineExact, true
	}
	e := entry{source: hongyan.SourceImport, ref: reason, at: t.now}
	switch {
	case delta > 0:
		g.Add(delta)
		e.granted = delta
	case delta < 0:
		g.VoidAvailable(-delta)
		e.voided = -delta
	default:
		return nil
	}
	g.dirty = true
	if err := t.addEntry(k, e); err != nil || delta < 0 {
		return err
	}
	return t.serve(k, g, t.now)
}

// QueryGrants tells the subscriptions of several users: all they have, or those of one
// template, which then are there for every user, known or not.
func (l *Ledger) QueryGrants(ctx context.Context, id hongyan.AppID, openids []hongyan.OpenID, template string) ([]hongyan.Subscription, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, err
	}
	if len(openids) == 0 || len(openids) > hongyan.MaxStockItems {
		return nil, hongyan.Invalid("/openids", "length", "Ask for 1 to %d openids at once; there are %d.", hongyan.MaxStockItems, len(openids))
	}
	var te *templateEntry
	if template != "" {
		if te = a.lookup(template); te == nil {
			return nil, hongyan.Errorf(hongyan.CodeTemplateNotFound, "App %s has no template %q.", id, clipped(template))
		}
	}
	names := make([]any, len(openids))
	for i, o := range openids {
		names[i] = string(o)
	}
	list, args := l.d.list(names, kindText)
	q := `/* ledger.QueryGrants */ ` + l.d.subscriptionSQL() + `WHERE u.app_no = ? AND u.openid ` + list
	args = append([]any{a.no}, args...)
	if te != nil {
		q, args = q+` AND g.template_no = ?`, append(args, te.no)
	}
	found := make(map[hongyan.OpenID][]hongyan.Subscription)
	rs, err := l.rdb.QueryContext(ctx, q+` ORDER BY g.user_no, g.template_no`, args...)
	if err != nil {
		return nil, fmt.Errorf("query grants: %w", err)
	}
	if err := eachRow(rs, func(r scanner) error {
		s, _, err := l.scanSubscription(r, id)
		found[s.OpenID] = append(found[s.OpenID], s)
		return err
	}); err != nil {
		return nil, fmt.Errorf("query grants: %w", err)
	}
	out, told := []hongyan.Subscription{}, make(map[hongyan.OpenID]bool)
	for _, o := range openids {
		if told[o] {
			continue
		}
		told[o] = true
		some := found[o]
		if some == nil && te != nil {
			some = []hongyan.Subscription{{App: id, OpenID: o, TemplateID: te.template.TemplateID,
				Counters: hongyan.Counters{Baseline: hongyan.BaselineUnknown, Standing: hongyan.StandingUnknown, Kind: te.template.Kind}}}
		}
		out = append(out, some...)
	}
	return out, nil
}

// ExplainGrant tells why a user can or cannot be sent a template.
func (l *Ledger) ExplainGrant(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID, template string) (hongyan.Explanation, error) {
	var f hongyan.ExplainFacts
	var err error
	if f.Subscription, err = l.Subscription(ctx, id, openid, template); err != nil {
		return hongyan.Explanation{}, err
	}
	a, err := l.app(id)
	if err != nil {
		return hongyan.Explanation{}, err
	}
	if f.User, err = l.User(ctx, id, openid); err != nil && hongyan.CodeOf(err) != hongyan.CodeUserNotFound {
		return hongyan.Explanation{}, err
	}
	var n int
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.ExplainGrant */ SELECT COUNT(*) FROM (SELECT 1 FROM witnesses WHERE app_no = ? LIMIT 1) x`, a.no).Scan(&n); err != nil {
		return hongyan.Explanation{}, fmt.Errorf("explain grant: %w", err)
	}
	f.Witnessed = n > 0
	if f.Subscription.Spent > 0 {
		page, _, err := l.Messages(ctx, MessageFilter{App: id, OpenID: openid, Template: f.Subscription.TemplateID, Limit: maxPage})
		if err != nil {
			return hongyan.Explanation{}, err
		}
		for i := range page {
			if m := &page[i]; m.Reserved > 0 && m.Status.Final() {
				f.LastSpent = m
				break
			}
		}
	}
	return hongyan.Explain(f), nil
}
