package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hongyan-push/hongyan"
)

// SyncedTemplate is a template as WeChat's list has it.
type SyncedTemplate struct {
	TemplateID, Title, Content, Example string
	Kind                                hongyan.TemplateKind
	Enums                               map[string][]string // allowed values by key
}

func (l *Ledger) reloadTemplates(ctx context.Context, byNo map[int64]*appEntry) error {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.reloadTemplates */ SELECT no, app_no, template_id, COALESCE(alias, ''), title, kind, content, example, enums, stale, gone_at, synced_at FROM templates`)
	if err != nil {
		return fmt.Errorf("read templates: %w", err)
	}
	return eachRow(rs, func(r scanner) error {
		te := &templateEntry{}
		t := &te.template
		var appNo, kind, gone, synced int64
		var enums string
		if err := r.Scan(&te.no, &appNo, &t.TemplateID, &t.Alias, &t.Title, &kind, &t.Content, &t.Example, &enums, &t.Stale, &gone, &synced); err != nil {
			return err
		}
		a := byNo[appNo]
		if a == nil {
			return nil
		}
		var values map[string][]string
		if err := json.Unmarshal([]byte(enums), &values); err != nil {
			return err
		}
		t.App, t.Kind, t.GoneAt, t.SyncedAt = a.app.AppID, kindWord(kind), at(gone), at(synced)
		t.Keywords = hongyan.ParseKeywords(t.Content, t.Example, values)
		a.templates[t.TemplateID], a.byNo[te.no] = te, te
		if t.Alias != "" {
			a.aliases[t.Alias] = te
		}
		return nil
	})
}

// SaveTemplates records the app's list as WeChat gave it: new ones are added, changed ones
// replaced, and those that are no longer listed are marked gone but kept, because messages name them.
// A template that turns out to be long-term loses the counters it was given while its kind was unknown.
func (l *Ledger) SaveTemplates(ctx context.Context, id hongyan.AppID, list []SyncedTemplate) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	return l.change(ctx, "save templates", func(t *txn) error {
		a := l.appByNo(a.no) // another sync may just have added some
		var changes []hongyan.AuditChange
		for _, s := range list {
			changes = append(changes, t.templateChanges(a, s)...)
			if err := t.saveTemplate(a, s); err != nil {
				return err
			}
		}
		for tid, te := range a.templates {
			if te.template.GoneAt.IsZero() && !slices.ContainsFunc(list, func(s SyncedTemplate) bool { return s.TemplateID == tid }) {
				if _, err := t.exec(`/* ledger.SaveTemplates */ UPDATE templates SET gone_at = ? WHERE no = ?`, t.now, te.no); err != nil {
					return err
				}
				changes = append(changes, t.templateGone(te)...)
			}
		}
		slices.SortStableFunc(changes, func(x, y hongyan.AuditChange) int { return strings.Compare(x.Pointer, y.Pointer) })
		return t.audit(id, "app", string(id), changes...)
	})
}

// SaveTemplate records one template that was just added at WeChat.
func (l *Ledger) SaveTemplate(ctx context.Context, id hongyan.AppID, s SyncedTemplate, idem *Idempotency) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	return l.change(ctx, "save template", func(t *txn) error {
		a := l.appByNo(a.no)
		changes := t.templateChanges(a, s)
		if err := t.saveTemplate(a, s); err != nil {
			return err
		}
		if err := t.audit(id, "template", s.TemplateID, changes...); err != nil {
			return err
		}
		return t.remember(idem, 201, s.TemplateID)
	})
}

func (t *txn) saveTemplate(a *appEntry, s SyncedTemplate) error {
	enums, err := json.Marshal(s.Enums)
	if err != nil {
		return err
	}
	te := a.templates[s.TemplateID]
	if te == nil {
		no, err := t.nextNo("templates")
		if err != nil {
			return err
		}
		_, err = t.exec(`/* ledger.saveTemplate */ INSERT INTO templates (no, app_no, template_id, alias, title, kind, content, example, enums, stale, gone_at, synced_at) VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?, 0, 0, ?)`,
			no, a.no, s.TemplateID, s.Title, kindCode(s.Kind), s.Content, s.Example, string(enums), t.now)
		return err
	}
	if _, err := t.exec(`/* ledger.saveTemplate */ UPDATE templates SET title = ?, kind = ?, content = ?, example = ?, enums = ?, stale = 0, gone_at = 0, synced_at = ? WHERE no = ?`,
		s.Title, kindCode(s.Kind), s.Content, s.Example, string(enums), t.now, te.no); err != nil {
		return err
	}
	if s.Kind == hongyan.KindLongTerm && te.template.Kind != hongyan.KindLongTerm {
		return t.clearCounters(te.no)
	}
	return nil
}

// templateFacts are what the audit log compares of a template.
func templateFacts(s SyncedTemplate) any {
	return map[string]any{"title": s.Title, "kind": s.Kind, "content": s.Content, "gone": false}
}

// templateChanges is what saving a template changes, under its id.
func (t *txn) templateChanges(a *appEntry, s SyncedTemplate) []hongyan.AuditChange {
	if !t.audited() {
		return nil
	}
	var before any
	if te := a.templates[s.TemplateID]; te != nil {
		x := te.template
		before = map[string]any{"title": x.Title, "kind": x.Kind, "content": x.Content, "gone": !x.GoneAt.IsZero()}
	}
	return hongyan.Diff(map[string]any{"templates": map[string]any{s.TemplateID: before}}, map[string]any{"templates": map[string]any{s.TemplateID: templateFacts(s)}})
}

func (t *txn) templateGone(te *templateEntry) []hongyan.AuditChange {
	if !t.audited() {
		return nil
	}
	gone := func(v bool) any {
		return map[string]any{"templates": map[string]any{te.template.TemplateID: map[string]any{"gone": v}}}
	}
	return hongyan.Diff(gone(false), gone(true))
}

// clearCounters ends the counts of a template that is not counted after all, and lets go
// what was held for want of a grant: there, who has not refused may be sent to.
func (t *txn) clearCounters(templateNo int64) error {
	if _, err := t.exec(`/* ledger.clearCounters */ UPDATE messages SET reserved = 0 WHERE template_no = ? AND state IN (2, 3, 4, 9) AND reserved > 0`, templateNo); err != nil {
		return err
	}
	var users []int64
	if err := t.rows(`/* ledger.clearCounters */ SELECT user_no FROM grants WHERE template_no = ?`, []any{templateNo}, func(r scanner) error {
		var u int64
		err := r.Scan(&u)
		users = append(users, u)
		return err
	}); err != nil {
		return err
	}
	gs := make(grants)
	for _, u := range users {
		k := grantKey{u, templateNo}
		g, err := t.grant(gs, k, hongyan.KindLongTerm)
		if err != nil {
			return err
		}
		if n := g.Available + g.Taken; n > 0 {
			g.VoidAvailable(g.Available)
			g.VoidTaken(g.Taken)
			g.dirty = true
			if err := t.addEntry(k, entry{source: hongyan.SourceKind, voided: n, at: t.now}); err != nil {
				return err
			}
		}
		if g.Standing != hongyan.StandingReject && g.Standing != hongyan.StandingBan {
			if err := t.serve(k, g, 0); err != nil {
				return err
			}
		}
	}
	return t.flush(gs)
}

// Templates lists an app's templates, those that are gone last, by title.
func (l *Ledger) Templates(id hongyan.AppID) ([]hongyan.Template, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, err
	}
	out := make([]hongyan.Template, 0, len(a.templates))
	for _, te := range a.templates {
		out = append(out, te.template)
	}
	slices.SortFunc(out, func(x, y hongyan.Template) int {
		if g := x.GoneAt.IsZero(); g != y.GoneAt.IsZero() {
			if g {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Title+x.TemplateID, y.Title+y.TemplateID)
	})
	return out, nil
}

// Template is one template by its id or alias.
func (l *Ledger) Template(id hongyan.AppID, ref string) (hongyan.Template, error) {
	_, te, err := l.template(id, ref)
	if err != nil {
		return hongyan.Template{}, err
	}
	return te.template, nil
}

// SetAlias names a template for people and code, so that a new template id needs no release; "" takes the name away.
func (l *Ledger) SetAlias(ctx context.Context, id hongyan.AppID, ref, alias string) (hongyan.Template, error) {
	a, te, err := l.template(id, ref)
	if err != nil {
		return hongyan.Template{}, err
	}
	if len(alias) > 64 || a.templates[alias] != nil {
		return hongyan.Template{}, hongyan.Invalid("/alias", "length", "An alias is at most 64 bytes and no template_id of the app.")
	}
	err = l.change(ctx, "set alias", func(t *txn) error {
		var v any
		if alias != "" {
			v = alias
		}
		_, err := t.exec(`/* ledger.SetAlias */ UPDATE templates SET alias = ? WHERE no = ?`, v, te.no)
		if err != nil && t.l.isDuplicate(err) {
			return hongyan.Errorf(hongyan.CodeConflict, "Another template of the app has the alias %q.", clipped(alias))
		}
		if err != nil {
			return err
		}
		was := t.l.appByNo(a.no).templates[te.template.TemplateID].template.Alias
		return t.auditDiff(id, "template", te.template.TemplateID, map[string]string{"alias": was}, map[string]string{"alias": alias})
	})
	if err != nil {
		return hongyan.Template{}, err
	}
	return l.Template(id, te.template.TemplateID)
}

// MarkTemplate says that a template was deleted at WeChat (gone) or that something speaks against our copy (stale).
func (l *Ledger) MarkTemplate(ctx context.Context, id hongyan.AppID, ref string, gone bool) error {
	_, te, err := l.template(id, ref)
	if err != nil {
		return err
	}
	return l.change(ctx, "mark template", func(t *txn) error {
		if gone {
			n, err := t.exec(`/* ledger.MarkTemplate */ UPDATE templates SET gone_at = ? WHERE no = ? AND gone_at = 0`, t.now, te.no)
			if err != nil || n == 0 {
				return err
			}
			return t.audit(id, "template", te.template.TemplateID, t.templateGone(te)...)
		}
		n, err := t.exec(`/* ledger.MarkTemplate */ UPDATE templates SET stale = 1 WHERE no = ? AND stale = 0`, te.no)
		if err == nil && n > 0 {
			t.emit(hongyan.EventTemplateStale, id, func() any {
				now := te.template
				now.Stale = true
				return now
			})
		}
		return err
	})
}
