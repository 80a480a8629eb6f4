package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hongyan-push/hongyan"
)

// appEntry is an app as the hot paths need it. Entries are never changed, only replaced.
type appEntry struct {
	no        int64
	app       hongyan.App
	templates map[string]*templateEntry // by template_id
	byNo      map[int64]*templateEntry
	aliases   map[string]*templateEntry
	callback  *callbackEntry // nil: it receives no pushes
	scenes    []hongyan.Scene
}

type templateEntry struct {
	no       int64
	template hongyan.Template
}

// lookup finds a template by id or alias.
func (a *appEntry) lookup(ref string) *templateEntry {
	if t := a.templates[ref]; t != nil {
		return t
	}
	return a.aliases[ref]
}

// templateID is the id of a template number.
func (a *appEntry) templateID(no int64) string {
	if t := a.byNo[no]; t != nil {
		return t.template.TemplateID
	}
	return ""
}

func (a *appEntry) kindOf(no int64) hongyan.TemplateKind {
	if t := a.byNo[no]; t != nil {
		return t.template.Kind
	}
	return hongyan.KindUnknown
}

func (a *appEntry) paused(scope hongyan.PauseScope, key string) *hongyan.Pause {
	for i := range a.app.Pauses {
		if p := &a.app.Pauses[i]; p.Scope == scope && p.Key == key {
			return p
		}
	}
	return nil
}

// appCache holds every app with its templates and pauses: few rows, read on every message.
type appCache struct {
	mu   sync.RWMutex
	byID map[hongyan.AppID]*appEntry
	byNo map[int64]*appEntry
}

func (l *Ledger) app(id hongyan.AppID) (*appEntry, error) {
	l.cache.mu.RLock()
	defer l.cache.mu.RUnlock()
	if a := l.cache.byID[id]; a != nil {
		return a, nil
	}
	return nil, hongyan.Errorf(hongyan.CodeAppNotFound, "There is no app %q here.", id)
}

func (l *Ledger) appByNo(no int64) *appEntry {
	l.cache.mu.RLock()
	defer l.cache.mu.RUnlock()
	return l.cache.byNo[no]
}

func (l *Ledger) template(id hongyan.AppID, ref string) (*appEntry, *templateEntry, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, nil, err
	}
	t := a.lookup(ref)
	if t == nil {
		return nil, nil, &hongyan.Error{Code: hongyan.CodeTemplateNotFound,
			Message: fmt.Sprintf("App %s has no template %q.", id, ref),
			Fields:  []hongyan.FieldError{{Pointer: "/template", Code: "not_found", Detail: "No template with this template_id or alias; sync the app's templates or correct it."}}}
	}
	return a, t, nil
}

// reload reads apps, templates, pauses, keys and listeners into memory. Only one runs at a time
// ([Ledger.change]), or an older reading could replace a newer one.
func (l *Ledger) reload(ctx context.Context) error {
	// The stamp first: what changes after it is read is read again.
	stamp, err := l.vocabularyStamp(ctx)
	if err != nil {
		return fmt.Errorf("read apps: %w", err)
	}
	if err := l.reloadKeys(ctx); err != nil {
		return err
	}
	audience, err := l.reloadAudience(ctx)
	if err != nil {
		return err
	}
	byNo := make(map[int64]*appEntry)
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.reload */ SELECT no, appid, name, secret IS NOT NULL, token_secret IS NOT NULL, settings, created_at, updated_at FROM apps`)
	if err != nil {
		return fmt.Errorf("read apps: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		e := &appEntry{templates: map[string]*templateEntry{}, byNo: map[int64]*templateEntry{}, aliases: map[string]*templateEntry{}}
		var settings string
		var created, updated int64
		if err := r.Scan(&e.no, &e.app.AppID, &e.app.Name, &e.app.HasSecret, &e.app.HasTokenSecret, &settings, &created, &updated); err != nil {
			return err
		}
		e.app.CreatedAt, e.app.UpdatedAt = at(created), at(updated)
		e.app.Pauses = []hongyan.Pause{}
		byNo[e.no] = e
		return json.Unmarshal([]byte(settings), &e.app.Settings)
	})
	if err != nil {
		return fmt.Errorf("read apps: %w", err)
	}
	if err := l.reloadTemplates(ctx, byNo); err != nil {
		return err
	}
	for _, read := range []func(context.Context, map[int64]*appEntry) error{l.reloadPauses, l.reloadCallbacks, l.reloadScenes} {
		if err := read(ctx, byNo); err != nil {
			return err
		}
	}
	byID := make(map[hongyan.AppID]*appEntry, len(byNo))
	for _, e := range byNo {
		byID[e.app.AppID] = e
	}
	l.cache.mu.Lock()
	l.cache.byID, l.cache.byNo = byID, byNo
	l.audience.Store(audience)
	l.seen.Store(stamp)
	l.loads.Add(1)
	l.cache.mu.Unlock()
	l.pulse.changed(TopicApps | TopicTemplates | TopicWebhooks)
	return nil
}

func (l *Ledger) reloadPauses(ctx context.Context, byNo map[int64]*appEntry) error {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.reloadPauses */ SELECT app_no, scope, target, reason, errcode, detail, since, probe_at, probes FROM pauses ORDER BY since`)
	if err != nil {
		return fmt.Errorf("read pauses: %w", err)
	}
	return eachRow(rs, func(r scanner) error {
		var no, since, probe int64
		var p hongyan.Pause
		if err := r.Scan(&no, &p.Scope, &p.Key, &p.Reason, &p.Errcode, &p.Detail, &since, &probe, &p.Probes); err != nil {
			return err
		}
		p.Since, p.ProbeAt = at(since), at(probe)
		p.Remedy = hongyan.PauseRemedy(p)
		if e := byNo[no]; e != nil {
			e.app.Pauses = append(e.app.Pauses, p)
		}
		return nil
	})
}

// AppSecrets are what an app may show to others. Both may be zero.
type AppSecrets struct {
	App   hongyan.AppSecret   // to WeChat
	Token hongyan.TokenSecret // to the service at its token_url
}

// CreateApp adds an app with an AppSecret, which may be zero. An existing appid is a conflict.
func (l *Ledger) CreateApp(ctx context.Context, app hongyan.App, secret hongyan.AppSecret, idem *Idempotency) (hongyan.App, error) {
	return l.AddApp(ctx, app, AppSecrets{App: secret}, idem)
}

// AddApp is CreateApp for an app with more secrets.
func (l *Ledger) AddApp(ctx context.Context, app hongyan.App, secrets AppSecrets, idem *Idempotency) (hongyan.App, error) {
	if err := app.Settings.Check(); err != nil {
		return hongyan.App{}, err
	}
	settings, err := json.Marshal(app.Settings)
	if err != nil {
		return hongyan.App{}, fmt.Errorf("encode settings: %w", err)
	}
	err = l.change(ctx, "create app", func(t *txn) error {
		no, err := t.nextNo("apps")
		if err != nil {
			return err
		}
		if _, err := t.exec(`/* ledger.AddApp */ INSERT INTO apps (no, appid, name, secret, token_secret, settings, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			no, app.AppID, app.Name, l.sealOf(secrets.App.Reveal(), "secret", app.AppID), l.sealOf(secrets.Token.Reveal(), "token_secret", app.AppID), string(settings), t.now, t.now); err != nil {
			if t.l.isDuplicate(err) {
				return hongyan.Errorf(hongyan.CodeConflict, "App %s is already here.", app.AppID)
			}
			return err
		}
		if err := t.auditDiff(app.AppID, "app", string(app.AppID), nil, appFacts(app.Name, app.Settings), secrets.given()...); err != nil {
			return err
		}
		return t.remember(idem, 201, string(app.AppID))
	})
	if err != nil {
		return hongyan.App{}, err
	}
	return l.App(app.AppID)
}

// appFacts are what the audit log compares of an app.
func appFacts(name string, s hongyan.AppSettings) any {
	return map[string]any{"name": name, "settings": s}
}

// given are the secrets that a new app brings, as the audit log shows them.
func (s *AppSecrets) given() (out []hongyan.AuditChange) {
	if !s.App.IsZero() {
		out = append(out, hongyan.ChangedSecret("/secret", false, true))
	}
	if !s.Token.IsZero() {
		out = append(out, hongyan.ChangedSecret("/token_secret", false, true))
	}
	return out
}

// sealOf is a sealed secret of an app's row, or NULL for none.
func (l *Ledger) sealOf(clear, column string, id hongyan.AppID) any {
	if clear == "" {
		return nil
	}
	return l.key.seal(clear, "apps", column, string(id))
}

// App is one app by its appid.
func (l *Ledger) App(id hongyan.AppID) (hongyan.App, error) {
	e, err := l.app(id)
	if err != nil {
		return hongyan.App{}, err
	}
	return e.app, nil
}

// Apps lists every app in the order of their appids.
func (l *Ledger) Apps() []hongyan.App {
	l.cache.mu.RLock()
	out := make([]hongyan.App, 0, len(l.cache.byID))
	for _, e := range l.cache.byID {
		out = append(out, e.app)
	}
	l.cache.mu.RUnlock()
	slices.SortFunc(out, func(a, b hongyan.App) int { return strings.Compare(string(a.AppID), string(b.AppID)) })
	return out
}

// AppUpdate changes what is not nil.
type AppUpdate struct {
	Name *string
	// Merge edits the settings as the transaction finds them, so that two changes at once both stay.
	Merge  func(*hongyan.AppSettings) error
	Secret *hongyan.AppSecret
	// TokenSecret is taken away by a zero one.
	TokenSecret *hongyan.TokenSecret
}

// UpdateApp changes an app. A new secret should have been tried at WeChat before. What
// changes where tokens come from also drops the stored one, which came from there.
func (l *Ledger) UpdateApp(ctx context.Context, id hongyan.AppID, u AppUpdate) (hongyan.App, error) {
	e, err := l.app(id)
	if err != nil {
		return hongyan.App{}, err
	}
	err = l.change(ctx, "update app", func(t *txn) error {
		found := l.appByNo(e.no).app
		name, settings := found.Name, found.Settings
		if u.Name != nil {
			if _, err := t.exec(`/* ledger.UpdateApp */ UPDATE apps SET name = ?, updated_at = ? WHERE no = ?`, *u.Name, t.now, e.no); err != nil {
				return err
			}
			name = *u.Name
		}
		moved := false
		if u.Merge != nil {
			was, is, err := t.mergeSettings(e.no, u.Merge)
			if err != nil {
				return err
			}
			moved = was.Mode() != is.Mode() || was.TokenURL != is.TokenURL
			settings = is
		}
		if u.Secret != nil {
			if _, err := t.exec(`/* ledger.UpdateApp */ UPDATE apps SET secret = ?, updated_at = ? WHERE no = ?`, l.sealOf(u.Secret.Reveal(), "secret", id), t.now, e.no); err != nil {
				return err
			}
		}
		if u.TokenSecret != nil {
			if _, err := t.exec(`/* ledger.UpdateApp */ UPDATE apps SET token_secret = ?, updated_at = ? WHERE no = ?`, l.sealOf(u.TokenSecret.Reveal(), "token_secret", id), t.now, e.no); err != nil {
				return err
			}
		}
		if err := t.auditDiff(id, "app", string(id), appFacts(found.Name, found.Settings), appFacts(name, settings), u.secrets(found)...); err != nil {
			return err
		}
		if moved || u.Secret != nil || u.TokenSecret != nil {
			_, err := t.exec(`/* ledger.UpdateApp */ DELETE FROM access_tokens WHERE app_no = ?`, e.no)
			return err
		}
		return nil
	})
	if err != nil {
		return hongyan.App{}, err
	}
	l.nudgeDue()
	return l.App(id)
}

// secrets are those that an update brings, as the audit log shows them.
func (u *AppUpdate) secrets(found hongyan.App) (out []hongyan.AuditChange) {
	if u.Secret != nil {
		out = append(out, hongyan.ChangedSecret("/secret", found.HasSecret, !u.Secret.IsZero()))
	}
	if u.TokenSecret != nil {
		out = append(out, hongyan.ChangedSecret("/token_secret", found.HasTokenSecret, !u.TokenSecret.IsZero()))
	}
	return out
}

// mergeSettings changes the settings and answers them before and after.
func (t *txn) mergeSettings(appNo int64, merge func(*hongyan.AppSettings) error) (was, is hongyan.AppSettings, err error) {
	var text string
	if err := t.row(`/* ledger.mergeSettings */ SELECT settings FROM apps WHERE no = ?`, []any{appNo}, &text); err != nil {
		return was, is, err
	}
	if err := errors.Join(json.Unmarshal([]byte(text), &was), json.Unmarshal([]byte(text), &is)); err != nil {
		return was, is, err
	}
	if err := errors.Join(merge(&is), is.Check()); err != nil {
		return was, is, err
	}
	b, err := json.Marshal(is)
	if err != nil {
		return was, is, err
	}
	_, err = t.exec(`/* ledger.mergeSettings */ UPDATE apps SET settings = ?, updated_at = ? WHERE no = ?`, string(b), t.now, appNo)
	return was, is, err
}

// AppSecret opens the app's sealed AppSecret.
func (l *Ledger) AppSecret(ctx context.Context, id hongyan.AppID) (hongyan.AppSecret, error) {
	var sealed []byte
	err := l.rdb.QueryRowContext(ctx, `/* ledger.AppSecret */ SELECT secret FROM apps WHERE appid = ?`, id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return hongyan.AppSecret{}, hongyan.Errorf(hongyan.CodeAppNotFound, "There is no app %q here.", id)
	}
	if err != nil {
		return hongyan.AppSecret{}, fmt.Errorf("read AppSecret: %w", err)
	}
	if sealed == nil {
		return hongyan.AppSecret{}, hongyan.Errorf(hongyan.CodeTokenUnavailable, "App %s has no AppSecret; set one with PATCH /v1/apps/%s.", id, id)
	}
	clear, err := l.key.open(sealed, "apps", "secret", string(id))
	if err != nil {
		return hongyan.AppSecret{}, err
	}
	return hongyan.NewAppSecret(clear), nil
}

// Pause holds an app, a template or an API path back. A pause that is there already is
// replaced, but one made by hand is never replaced by the system.
func (l *Ledger) Pause(ctx context.Context, id hongyan.AppID, p hongyan.Pause) error {
	e, err := l.app(id)
	if err != nil {
		return err
	}
	if p.Since.IsZero() {
		p.Since = l.Now()
	}
	return l.change(ctx, "pause", func(t *txn) error {
		q := `/* ledger.Pause */ DELETE FROM pauses WHERE app_no = ? AND scope = ? AND target = ?`
		if !p.Manual() {
			q += ` AND probe_at > 0`
		}
		if _, err := t.exec(q, e.no, p.Scope, p.Key); err != nil {
			return err
		}
		n, err := t.exec(`/* ledger.Pause */ INSERT INTO pauses (app_no, scope, target, reason, errcode, detail, since, probe_at, probes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (app_no, scope, target) DO NOTHING`,
			e.no, p.Scope, p.Key, p.Reason, p.Errcode, storable(p.Detail), ms(p.Since), ms(p.ProbeAt), p.Probes)
		if err != nil || n == 0 {
			return err
		}
		was := l.appByNo(e.no).paused(p.Scope, p.Key)
		p.Detail, p.Since, p.ProbeAt, p.Remedy = storable(p.Detail), at(ms(p.Since)), at(ms(p.ProbeAt)), hongyan.PauseRemedy(p)
		// A probe that failed goes on with the pause there was; that is no news.
		if was == nil || was.Reason != p.Reason {
			t.emit(hongyan.EventAppPaused, id, func() any { return p })
		}
		return t.auditDiff(id, "pause", pauseName(p.Scope, p.Key), pauseFacts(was), pauseFacts(&p))
	})
}

// Resume ends a pause; ending one that is not there changes nothing.
func (l *Ledger) Resume(ctx context.Context, id hongyan.AppID, scope hongyan.PauseScope, key string, by Resumer) error {
	e, err := l.app(id)
	if err != nil {
		return err
	}
	err = l.change(ctx, "resume", func(t *txn) error {
		q := `/* ledger.Resume */ DELETE FROM pauses WHERE app_no = ? AND scope = ? AND target = ?`
		if by == ResumeBySystem {
			q += ` AND probe_at > 0`
		}
		n, err := t.exec(q, e.no, scope, key)
		was := l.appByNo(e.no).paused(scope, key)
		if err != nil || n == 0 || was == nil {
			return err
		}
		t.emit(hongyan.EventAppResumed, id, func() any { return was })
		return t.auditDiff(id, "pause", pauseName(scope, key), pauseFacts(was), nil)
	})
	if err != nil {
		return err
	}
	l.nudgeDue()
	return nil
}

// QuotaCleared ends the pauses for a spent quota, after WeChat has set it back; path empty: of
// all APIs. It answers the pauses that ended.
func (l *Ledger) QuotaCleared(ctx context.Context, id hongyan.AppID, path string) ([]hongyan.Pause, error) {
	e, err := l.app(id)
	if err != nil {
		return nil, err
	}
	var ended []hongyan.Pause
	err = l.change(ctx, "resume", func(t *txn) error {
		ended = []hongyan.Pause{}
		for _, p := range l.appByNo(e.no).app.Pauses {
			if p.Reason != hongyan.PauseDailyQuota || path != "" && p.Key != path {
				continue
			}
			n, err := t.exec(`/* ledger.QuotaCleared */ DELETE FROM pauses WHERE app_no = ? AND scope = ? AND target = ? AND probe_at > 0`, e.no, p.Scope, p.Key)
			if err != nil {
				return err
			}
			if n > 0 {
				ended = append(ended, p)
				t.emit(hongyan.EventAppResumed, id, func() any { return p })
			}
		}
		facts := func(cleared bool, paused int) any { return map[string]any{"cleared": cleared, "pauses": paused} }
		return t.auditDiff(id, "quota", or(path, "all"), facts(false, len(ended)), facts(true, 0))
	})
	if err != nil {
		return nil, err
	}
	l.nudgeDue()
	return ended, nil
}

// pauseName names a pause in the audit log.
func pauseName(scope hongyan.PauseScope, key string) string {
	if key == "" {
		return string(scope)
	}
	return string(scope) + ":" + key
}

// pauseFacts are what the audit log compares of a pause: not the time, which always differs.
func pauseFacts(p *hongyan.Pause) any {
	if p == nil {
		return nil
	}
	facts := map[string]any{"reason": p.Reason, "detail": p.Detail}
	if p.Errcode != 0 {
		facts["errcode"] = p.Errcode
	}
	return facts
}

// Resumer says who ends a pause.
type Resumer int

// The resumers.
const (
	ResumeByPerson Resumer = iota
	ResumeBySystem         // after a probe passed; never ends a pause made by hand
)

// checkMasterKey stops the start with a key that did not seal this database.
func (l *Ledger) checkMasterKey(ctx context.Context) error {
	const proof = "hongyan"
	return l.write(ctx, "check master key", func(t *txn) error {
		// The first process leaves its proof; of several that are first, one.
		if _, err := t.exec(`/* ledger.checkMasterKey */ INSERT INTO meta (name, value) VALUES ('master_key', ?) ON CONFLICT (name) DO NOTHING`, l.key.seal(proof, "meta", "value", "master_key")); err != nil {
			return err
		}
		var sealed []byte
		if err := t.row(`/* ledger.checkMasterKey */ SELECT value FROM meta WHERE name = 'master_key'`, nil, &sealed); err != nil {
			return err
		}
		if clear, err := l.key.open(sealed, "meta", "value", "master_key"); err != nil || clear != proof {
			return errors.New("the master key is not the one this database was sealed with: give the right one (master.key in the data directory, or HONGYAN_MASTER_KEY)")
		}
		return nil
	})
}
