package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hongyan-push/hongyan"
)

const maxScenes = 100

func (l *Ledger) reloadScenes(ctx context.Context, byNo map[int64]*appEntry) error {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.reloadScenes */ SELECT app_no, name, templates FROM scenes ORDER BY name`)
	if err != nil {
		return fmt.Errorf("read scenes: %w", err)
	}
	return eachRow(rs, func(r scanner) error {
		var no int64
		var s hongyan.Scene
		var templates string
		if err := r.Scan(&no, &s.Name, &templates); err != nil {
			return err
		}
		if a := byNo[no]; a != nil {
			a.scenes = append(a.scenes, s)
			return json.Unmarshal([]byte(templates), &a.scenes[len(a.scenes)-1].Templates)
		}
		return nil
	})
}

// Scenes lists an app's scenes.
func (l *Ledger) Scenes(id hongyan.AppID) ([]hongyan.Scene, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, err
	}
	return append([]hongyan.Scene{}, a.scenes...), nil
}

// Scene is one scene of an app.
func (l *Ledger) Scene(id hongyan.AppID, name string) (hongyan.Scene, error) {
	a, err := l.app(id)
	if err != nil {
		return hongyan.Scene{}, err
	}
	if s := a.scene(name); s != nil {
		return *s, nil
	}
	return hongyan.Scene{}, hongyan.Errorf(hongyan.CodeNotFound, "App %s has no scene %q.", id, clipped(name))
}

// scene finds a scene; nil if there is none.
func (a *appEntry) scene(name string) *hongyan.Scene {
	if i := slices.IndexFunc(a.scenes, func(s hongyan.Scene) bool { return s.Name == name }); i >= 0 {
		return &a.scenes[i]
	}
	return nil
}

// SetScene makes a scene or replaces it. Its templates are kept by template_id.
func (l *Ledger) SetScene(ctx context.Context, id hongyan.AppID, s hongyan.Scene) (hongyan.Scene, error) {
	a, err := l.app(id)
	if err != nil {
		return s, err
	}
	if err := s.Check(); err != nil {
		return s, err
	}
	if len(a.scenes) >= maxScenes && !slices.ContainsFunc(a.scenes, func(x hongyan.Scene) bool { return x.Name == s.Name }) {
		return s, hongyan.Errorf(hongyan.CodeConflict, "An app has at most %d scenes.", maxScenes)
	}
	seen := make(map[string]bool)
	for i := range s.Templates {
		t := &s.Templates[i]
		te := a.lookup(t.Template)
		if te == nil {
			return s, &hongyan.Error{Code: hongyan.CodeTemplateNotFound, Message: fmt.Sprintf("App %s has no template %q.", id, clipped(t.Template)),
				Fields: []hongyan.FieldError{{Pointer: fmt.Sprintf("/templates/%d/template", i), Code: "not_found", Detail: "No template with this template_id or alias; sync the app's templates or correct it."}}}
		}
		if t.Template = te.template.TemplateID; seen[t.Template] {
			return s, hongyan.Invalid(fmt.Sprintf("/templates/%d/template", i), "repeated", "The scene names this template twice.")
		}
		seen[t.Template] = true
		t.Wanted = cmp.Or(t.Wanted, 1)
	}
	text, err := json.Marshal(s.Templates)
	if err != nil {
		return s, fmt.Errorf("encode scene: %w", err)
	}
	return s, l.change(ctx, "set scene", func(t *txn) error {
		if _, err := t.exec(`/* ledger.SetScene */ DELETE FROM scenes WHERE app_no = ? AND name = ?`, a.no, s.Name); err != nil {
			return err
		}
		if _, err := t.exec(`/* ledger.SetScene */ INSERT INTO scenes (app_no, name, templates, updated_at) VALUES (?, ?, ?, ?)`, a.no, s.Name, string(text), t.now); err != nil {
			return err
		}
		return t.auditDiff(id, "scene", s.Name, t.l.appByNo(a.no).scene(s.Name), s)
	})
}

// DeleteScene takes a scene away.
func (l *Ledger) DeleteScene(ctx context.Context, id hongyan.AppID, name string) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	if _, err := l.Scene(id, name); err != nil {
		return err
	}
	return l.change(ctx, "delete scene", func(t *txn) error {
		if _, err := t.exec(`/* ledger.DeleteScene */ DELETE FROM scenes WHERE app_no = ? AND name = ?`, a.no, name); err != nil {
			return err
		}
		return t.auditDiff(id, "scene", name, t.l.appByNo(a.no).scene(name), nil)
	})
}
