package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// AuditKept is how long rows of the audit log stay.
const AuditKept = 400 * 24 * time.Hour

// Actor is who makes a change through the API, and by which request.
type Actor struct {
	ID, Name  string // of the key or member
	Address   string
	RequestID hongyan.RequestID
	Action    string // the operation's id
}

type actorKey struct{}

// WithActor says who is behind the changes that are made with a context. Without one it is
// the program itself, whose doings leave no row in the audit log.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// actsAs names who is behind this transaction, if that was not known before: a person who
// comes by a one-time link.
func (t *txn) actsAs(m hongyan.Member) {
	if a, ok := t.ctx.Value(actorKey{}).(Actor); ok && a.ID == "" {
		a.ID, a.Name = string(m.ID), m.Name
		t.ctx = WithActor(t.ctx, a)
	}
}

// audited reports whether somebody is behind this transaction, for whom a difference is to
// be worked out.
func (t *txn) audited() bool {
	_, ok := t.ctx.Value(actorKey{}).(Actor)
	return ok
}

// audit leaves a row about what this transaction changes, if somebody is behind it. What
// changes nothing leaves none.
func (t *txn) audit(app hongyan.AppID, kind, object string, changes ...hongyan.AuditChange) error {
	a, ok := t.ctx.Value(actorKey{}).(Actor)
	if !ok || len(changes) == 0 {
		return nil
	}
	if n := fitting(changes); n < len(changes) {
		note, _ := json.Marshal(fmt.Sprintf("%d more", len(changes)-n))
		changes = append(changes[:n:n], hongyan.AuditChange{Pointer: "", Before: json.RawMessage("null"), After: note})
	}
	text, err := json.Marshal(changes)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	id := t.l.newID(t.now)
	_, err = t.exec(`/* ledger.audit */ INSERT INTO audit (id, actor, actor_name, address, request_id, action, app, kind, object, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id[:], word128(a.ID), word128(a.Name), word128(a.Address), word128(string(a.RequestID)), word128(a.Action), string(app), kind, auditName(object), storableLong(string(text)))
	return err
}

// maxChanges is how many differences one row lists, maxChangesSize about how many bytes of
// them: a page has up to 500 rows.
const maxChanges, maxChangesSize = 200, 32 << 10

// fitting is how many of the changes a row lists.
func fitting(changes []hongyan.AuditChange) int {
	size := 0
	for i, c := range changes[:min(len(changes), maxChanges)] {
		if size += len(c.Pointer) + len(c.Before) + len(c.After); size > maxChangesSize {
			return i
		}
	}
	return min(len(changes), maxChanges)
}

// auditName is an object's name as the table takes it.
func auditName(s string) string {
	if s = storableLong(s); len(s) > 255 {
		s = strings.ToValidUTF8(s[:255], "")
	}
	return s
}

// auditDiff is audit with the differences of two values.
func (t *txn) auditDiff(app hongyan.AppID, kind, object string, before, after any, more ...hongyan.AuditChange) error {
	if !t.audited() {
		return nil
	}
	return t.audit(app, kind, object, append(hongyan.Diff(before, after), more...)...)
}

// AuditFilter narrows the audit log. Zero fields do not.
type AuditFilter struct {
	App    hongyan.AppID
	Apps   []hongyan.AppID // any of these; nil means all, and what belongs to no app
	Actor  string          // id of a key or member
	Action string
	Object string
	From   time.Time // at or after
	To     time.Time // before
	Limit  int
	Cursor string
}

// Audit lists what people and keys changed, newest first. A page may be short, even empty,
// while there is a next cursor: what no index answers is looked for a bounded part at a time.
func (l *Ledger) Audit(ctx context.Context, f AuditFilter) ([]hongyan.Audit, string, error) {
	limit := pageSize(f.Limit)
	var after, before ulid.ULID
	_ = before.SetTime(ulid.MaxTime())
	if f.Cursor != "" {
		var err error
		if before, err = decodeAuditCursor(f.Cursor); err != nil {
			return nil, "", err
		}
	}
	if !f.From.IsZero() {
		_ = after.SetTime(uint64(max(ms(f.From), 0)))
	}
	if !f.To.IsZero() {
		var to ulid.ULID
		_ = to.SetTime(uint64(max(ms(f.To), 0)))
		if to.Compare(before) < 0 {
			before = to
		}
	}
	where, args, indexed := f.where()
	if !indexed {
		var floor []byte
		err := l.rdb.QueryRowContext(ctx, `/* ledger.Audit */ SELECT id FROM audit WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?`, before[:], listReads).Scan(&floor)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, "", fmt.Errorf("read audit log: %w", err)
		}
		if err == nil && bytes.Compare(floor, after[:]) > 0 {
			return l.audit(ctx, where, args, ulid.ULID(floor), before, limit, encodeAuditCursor(ulid.ULID(floor)))
		}
	}
	return l.audit(ctx, where, args, after, before, limit, "")
}

// where is the condition, and whether an index answers most of it in the order of the list.
func (f *AuditFilter) where() (cond string, args []any, indexed bool) {
	and := func(column, value string) {
		if value != "" {
			cond, args = cond+" AND "+column+" = ?", append(args, value)
			indexed = indexed || column != "action"
		}
	}
	and("app", string(f.App))
	and("actor", f.Actor)
	and("object", f.Object)
	and("action", f.Action)
	if f.Apps != nil {
		cond += " AND app IN (''" + strings.Repeat(", ?", len(f.Apps)) + ") AND app <> ''"
		for _, a := range f.Apps {
			args = append(args, string(a))
		}
	}
	return cond, args, indexed
}

// audit reads one page of rows from after to before. next is where the list goes on if the
// page does not fill up.
func (l *Ledger) audit(ctx context.Context, where string, args []any, after, before ulid.ULID, limit int, next string) ([]hongyan.Audit, string, error) {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Audit */ SELECT id, actor, actor_name, address, request_id, action, app, kind, object, changes FROM audit WHERE id >= ? AND id < ?`+where+` ORDER BY id DESC LIMIT ?`,
		append(append([]any{after[:], before[:]}, args...), limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("read audit log: %w", err)
	}
	out := []hongyan.Audit{}
	var last ulid.ULID
	err = eachRow(rs, func(r scanner) error {
		var a hongyan.Audit
		var id []byte
		var changes string
		if err := r.Scan(&id, &a.Actor.ID, &a.Actor.Name, &a.Address, &a.RequestID, &a.Action, &a.App, &a.Object.Kind, &a.Object.ID, &changes); err != nil {
			return err
		}
		if len(out) == limit {
			next = encodeAuditCursor(last)
			return nil
		}
		last = ulid.ULID(id)
		a.ID, a.At = hongyan.AuditIDOf(last), at(int64(last.Time()))
		out = append(out, a)
		return json.Unmarshal([]byte(changes), &out[len(out)-1].Changes)
	})
	if err != nil {
		return nil, "", fmt.Errorf("read audit log: %w", err)
	}
	return out, next, nil
}

func encodeAuditCursor(id ulid.ULID) string {
	return base64.RawURLEncoding.EncodeToString([]byte("a" + id.String()))
}

func decodeAuditCursor(c string) (ulid.ULID, error) {
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err == nil && len(b) > 1 && b[0] == 'a' {
		if u, err := ulid.ParseStrict(string(b[1:])); err == nil {
			return u, nil
		}
	}
	return ulid.ULID{}, badCursor(c)
}

// auditErased takes a user who is forgotten out of the audit log: a hash stands there. Rows
// after a moment are of who came back with the same openid.
func (t *txn) auditErased(app hongyan.AppID, openid, name hongyan.OpenID, until int64) error {
	_, err := t.exec(`/* ledger.auditErased */ UPDATE audit SET object = ? WHERE object = ? AND kind = 'user' AND app = ? AND id < ?`, string(name), string(openid), string(app), idBefore(until+1))
	return err
}
