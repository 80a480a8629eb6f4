package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// Subscription is one subscription with its newest 100 entries. A user or pair that was
// never seen has the zero count of an unknown baseline.
func (l *Ledger) Subscription(ctx context.Context, id hongyan.AppID, openid hongyan.OpenID, template string) (hongyan.Subscription, error) {
	a, te, err := l.template(id, template)
	if err != nil {
		return hongyan.Subscription{}, err
	}
	k := grantKey{template: te.no}
	if k.user, err = l.userNo(ctx, id, openid); err != nil {
		return hongyan.Subscription{}, err
	}
	if k.user == 0 {
		return hongyan.Subscription{App: id, OpenID: openid, TemplateID: te.template.TemplateID,
			Counters: hongyan.Counters{Baseline: hongyan.BaselineUnknown, Standing: hongyan.StandingUnknown, Kind: te.template.Kind}}, nil
	}
	s, err := l.subscription(ctx, a, k)
	if err != nil {
		return s, err
	}
	s.Entries, err = l.entries(ctx, k)
	return s, err
}

func (d *dialect) subscriptionSQL() string {
	return `SELECT u.no, t.no, u.openid, t.template_id, t.kind, g.exact, g.standing, g.available, g.taken, g.voided, g.updated_at, ` + d.folded + `,
	(SELECT COALESCE(SUM(m.reserved), 0) FROM messages m WHERE ` + d.live("= g.user_no", "= g.template_no") + `)
	FROM grants g JOIN users u ON u.no = g.user_no JOIN templates t ON t.no = g.template_no `
}

func (d *dialect) oneSubscription() string {
	return `/* ledger.subscription */ ` + d.subscriptionSQL() + `WHERE g.user_no = ? AND g.template_no = ?`
}

func (l *Ledger) scanSubscription(r scanner, app hongyan.AppID) (hongyan.Subscription, grantKey, error) {
	s := hongyan.Subscription{App: app}
	var k grantKey
	var kind, exact, standing, updated, folded int64
	err := r.Scan(&k.user, &k.template, &s.OpenID, &s.TemplateID, &kind, &exact, &standing, &s.Available, &s.Taken, &s.Voided, &updated, &folded, &s.Reserved)
	s.Take(l.pledges.of(k, folded))
	s.Kind, s.Standing, s.UpdatedAt = kindWord(kind), word(standingWords, standing), at(updated)
	s.Baseline = hongyan.BaselineUnknown
	if exact == 1 {
		s.Baseline = hongyan.BaselineExact
	}
	s.Granted, s.Spent = s.Counters.Granted(), s.Taken-s.Reserved
	return s, k, err
}

func (l *Ledger) subscription(ctx context.Context, a *appEntry, k grantKey) (hongyan.Subscription, error) {
	s, _, err := l.scanSubscription(l.rdb.QueryRowContext(ctx, l.d.oneSubscription(), k.user, k.template), a.app.AppID)
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
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.entries */ SELECT id, source, granted, voided, spent, choice, ref, at, recorded_at FROM grant_entries WHERE user_no = ? AND template_no = ? ORDER BY at DESC, id DESC LIMIT 100`, k.user, k.template)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var e hongyan.Entry
		var id []byte
		var when, recorded int64
		if err := r.Scan(&id, &e.Source, &e.Granted, &e.Voided, &e.Spent, &e.Choice, &e.Ref, &when, &recorded); err != nil {
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
	limit = pageSize(limit)
	var afterUser, afterTemplate int64
	if cursor != "" {
		if err := decodeCursor(cursor, &afterUser, &afterTemplate); err != nil {
			return nil, "", err
		}
	}
	q := `/* ledger.Subscriptions */ ` + l.d.subscriptionSQL() + `WHERE u.app_no = ? AND (g.user_no > ? OR g.user_no = ? AND g.template_no > ?)`
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
	err = eachRow(rs, func(r scanner) error {
		s, k, err := l.scanSubscription(r, id)
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
