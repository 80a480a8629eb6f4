package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hongyan-push/hongyan"
)

// keyCache has every API key that is not revoked, by the hash of its clear form.
type keyCache struct {
	mu sync.RWMutex
	m  map[[sha256.Size]byte]hongyan.APIKey
	id map[hongyan.APIKeyID]hongyan.APIKey
}

// CreateKey makes an API key and answers it with its clear form, which is stored nowhere.
func (l *Ledger) CreateKey(ctx context.Context, k hongyan.APIKey, idem *Idempotency) (hongyan.APIKey, error) {
	if err := checkKey(k); err != nil {
		return hongyan.APIKey{}, err
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	k.Key = "hyk_" + base64.RawURLEncoding.EncodeToString(raw[:])
	k.CreatedAt = l.Now().UTC()
	k.ID = hongyan.NewAPIKeyID(k.CreatedAt)
	hash := sha256.Sum256([]byte(k.Key))
	scopes, _ := json.Marshal(k.Scopes)
	apps, _ := json.Marshal(k.Apps)
	err := l.change(ctx, "create API key", func(t *txn) error {
		if _, err := t.exec(`/* ledger.CreateKey */ INSERT INTO api_keys (id, hash, name, scopes, apps, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, 0)`,
			string(k.ID), hash[:], k.Name, string(scopes), string(apps), ms(k.CreatedAt)); err != nil {
			return err
		}
		if err := t.auditDiff(onlyApp(k.Apps), "key", string(k.ID), nil, map[string]any{"name": k.Name, "scopes": k.Scopes, "apps": k.Apps}, hongyan.ChangedSecret("/key", false, true)); err != nil {
			return err
		}
		return t.remember(idem, 201, string(k.ID))
	})
	if err != nil {
		return hongyan.APIKey{}, err
	}
	return k, nil
}

func checkKey(k hongyan.APIKey) error {
	var f []hongyan.FieldError
	if k.Name == "" || len(k.Name) > 100 {
		f = append(f, hongyan.FieldError{Pointer: "/name", Code: "length", Detail: "Give the key a name of 1 to 100 bytes, so that you know later what uses it."})
	}
	if len(k.Scopes) == 0 {
		f = append(f, hongyan.FieldError{Pointer: "/scopes", Code: "missing", Detail: "Name at least one scope, such as send."})
	}
	names := make([]string, 0, len(hongyan.Scopes()))
	for _, s := range hongyan.Scopes() {
		names = append(names, string(s))
	}
	list := strings.Join(names, ", ")
	for i, s := range k.Scopes {
		if !slices.Contains(hongyan.Scopes(), s) {
			f = append(f, hongyan.FieldError{Pointer: fmt.Sprintf("/scopes/%d", i), Code: "not_in_list", Detail: "The scopes are " + list + "."})
		}
	}
	ofGateway := slices.ContainsFunc(k.Scopes, func(s hongyan.Scope) bool { return strings.HasPrefix(string(s), string(hongyan.ScopeGateway)) })
	if ofGateway && len(k.Apps) != 1 && !slices.Contains(k.Scopes, hongyan.ScopeManage) {
		f = append(f, hongyan.FieldError{Pointer: "/apps", Code: "one_app", Detail: "A gateway key stands in the place of one app's AppSecret: name that app."})
	}
	if ofGateway && !slices.Contains(k.Scopes, hongyan.ScopeGateway) {
		f = append(f, hongyan.FieldError{Pointer: "/scopes", Code: "missing", Detail: "The scopes gateway_… add rights to the scope gateway: name that too."})
	}
	if len(f) > 0 {
		return &hongyan.Error{Code: hongyan.CodeInvalid, Message: f[0].Detail, Fields: f}
	}
	return nil
}

// Keys lists every key, revoked ones too, oldest first.
func (l *Ledger) Keys(ctx context.Context) ([]hongyan.APIKey, error) {
	out := []hongyan.APIKey{}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Keys */ SELECT id, name, scopes, apps, created_at, revoked_at FROM api_keys ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read API keys: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		k, err := scanKey(r)
		out = append(out, k)
		return err
	})
	return out, err
}

func scanKey(r scanner, more ...any) (hongyan.APIKey, error) {
	var k hongyan.APIKey
	var scopes, apps string
	var created, revoked int64
	if err := r.Scan(append([]any{&k.ID, &k.Name, &scopes, &apps, &created, &revoked}, more...)...); err != nil {
		return k, err
	}
	k.CreatedAt, k.RevokedAt = at(created), at(revoked)
	if err := json.Unmarshal([]byte(scopes), &k.Scopes); err != nil {
		return k, err
	}
	return k, json.Unmarshal([]byte(apps), &k.Apps)
}

// RevokeKey ends a key at once. Revoking it again changes nothing.
func (l *Ledger) RevokeKey(ctx context.Context, id hongyan.APIKeyID) error {
	return l.change(ctx, "revoke API key", func(t *txn) error {
		n, err := t.exec(`/* ledger.RevokeKey */ UPDATE api_keys SET revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END WHERE id = ?`, t.now, string(id))
		if err == nil && n == 0 {
			return hongyan.Errorf(hongyan.CodeNotFound, "There is no API key %s.", id)
		}
		was, known := l.keyOf(id)
		if err != nil || !known { // it was revoked before
			return err
		}
		return t.auditDiff(onlyApp(was.Apps), "key", string(id), map[string]any{"revoked": false, "name": was.Name}, map[string]any{"revoked": true, "name": was.Name})
	})
}

// Authenticate finds the key of a clear form.
func (l *Ledger) Authenticate(clear string) (hongyan.APIKey, error) {
	if strings.HasPrefix(clear, "hyk_") {
		l.keys.mu.RLock()
		defer l.keys.mu.RUnlock()
		// A map look-up by SHA-256 tells a guesser nothing about keys that are near.
		if k, ok := l.keys.m[sha256.Sum256([]byte(clear))]; ok {
			return k, nil
		}
	}
	return hongyan.APIKey{}, hongyan.Errorf(hongyan.CodeUnauthorized, "This API key is not known here, or was revoked.")
}

// onlyApp is the app that a key or webhook is for, if it is one: then who sees that app sees
// what became of it.
func onlyApp(apps []hongyan.AppID) hongyan.AppID {
	if len(apps) == 1 {
		return apps[0]
	}
	return ""
}

func (l *Ledger) keyOf(id hongyan.APIKeyID) (hongyan.APIKey, bool) {
	l.keys.mu.RLock()
	defer l.keys.mu.RUnlock()
	k, ok := l.keys.id[id]
	return k, ok
}

// Key finds a key that is not revoked by its id.
func (l *Ledger) Key(id hongyan.APIKeyID) (hongyan.APIKey, error) {
	if k, ok := l.keyOf(id); ok {
		return k, nil
	}
	return hongyan.APIKey{}, hongyan.Errorf(hongyan.CodeNotFound, "There is no API key %s, or it was revoked.", id)
}

func (l *Ledger) reloadKeys(ctx context.Context) error {
	m, ids := make(map[[sha256.Size]byte]hongyan.APIKey), make(map[hongyan.APIKeyID]hongyan.APIKey)
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.reloadKeys */ SELECT id, name, scopes, apps, created_at, revoked_at, hash FROM api_keys WHERE revoked_at = 0`)
	if err != nil {
		return fmt.Errorf("read API keys: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var hash []byte
		k, err := scanKey(r, &hash)
		m[[sha256.Size]byte(hash)], ids[k.ID] = k, k
		return err
	})
	if err != nil {
		return fmt.Errorf("read API keys: %w", err)
	}
	l.keys.mu.Lock()
	l.keys.m, l.keys.id = m, ids
	l.keys.mu.Unlock()
	return nil
}
