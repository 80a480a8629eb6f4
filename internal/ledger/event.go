package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// audience is who wants to hear of events: webhooks that are enabled, and readers of the
// stream. It is part of the vocabulary and never changed, only replaced. Where nobody
// listens an event costs a look into a map.
type audience struct {
	webhooks map[int64]*listener // by their numbers
	readers  map[string]bool     // by id
	byType   map[hongyan.EventType][]*listener
}

type listener struct {
	no       int64  // of a webhook; 0 for a reader, who gets no deliveries
	reader   string // its id
	events   []hongyan.EventPattern
	apps     []hongyan.AppID // none: all
	webhook  hongyan.Webhook
	secret   hongyan.WebhookSecret
	previous hongyan.WebhookSecret // signs too, until its time
}

func newAudience(all []*listener) *audience {
	a := &audience{webhooks: make(map[int64]*listener), readers: make(map[string]bool), byType: make(map[hongyan.EventType][]*listener)}
	for _, x := range all {
		if x.no != 0 {
			a.webhooks[x.no] = x
		} else {
			a.readers[x.reader] = true
		}
		for _, e := range hongyan.EventTypes() {
			if slices.ContainsFunc(x.events, func(p hongyan.EventPattern) bool { return p.Matches(e.Type) }) {
				a.byType[e.Type] = append(a.byType[e.Type], x)
			}
		}
	}
	return a
}

// hears reports whether somebody wants this event.
func (a *audience) hears(typ hongyan.EventType, app hongyan.AppID) bool {
	return slices.ContainsFunc(a.byType[typ], func(x *listener) bool { return x.wants(app) })
}

// reads reports whether a reader's row is known.
func (a *audience) reads(id string) bool { return a.readers[id] }

func (x *listener) wants(app hongyan.AppID) bool {
	return len(x.apps) == 0 || slices.Contains(x.apps, app)
}

func (l *Ledger) reloadAudience(ctx context.Context) (*audience, error) {
	all, err := l.enabledWebhooks(ctx)
	if err != nil {
		return nil, err
	}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.reloadAudience */ SELECT id, events, apps FROM event_readers`)
	if err != nil {
		return nil, fmt.Errorf("read event readers: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var x listener
		var events, apps string
		err := r.Scan(&x.reader, &events, &apps)
		all = append(all, &x)
		return errors.Join(err, json.Unmarshal([]byte(events), &x.events), json.Unmarshal([]byte(apps), &x.apps))
	})
	if err != nil {
		return nil, fmt.Errorf("read event readers: %w", err)
	}
	return newAudience(all), nil
}

// news is one event of a transaction, until it is written at its end.
type news struct {
	typ  hongyan.EventType
	app  hongyan.AppID
	seq  int64 // of a message, which is read then; 0 if data is there
	data string
	// Of a grant: its change, and the user, whose openid is read then.
	grant *hongyan.GrantEvent
	user  int64
	only  *listener // a test is for one webhook alone
}

// emit announces something together with what this transaction changes, if anybody listens;
// only then data is asked for. It is written at the transaction's end, and not at all if that
// is rolled back.
func (t *txn) emit(typ hongyan.EventType, app hongyan.AppID, data func() any) {
	if t.l.audience.Load().hears(typ, app) {
		t.news = append(t.news, news{typ: typ, app: app, data: eventData(data())})
	}
}

// emitMessage announces that a message has come to a state that is told. Of several such
// states in one transaction the last counts: nobody can have seen the others.
func (t *txn) emitMessage(typ hongyan.EventType, appNo, seq int64) {
	if typ == "" || len(t.l.audience.Load().byType[typ]) == 0 {
		return
	}
	app := t.l.appByNo(appNo).app.AppID
	if !t.l.audience.Load().hears(typ, app) {
		return
	}
	t.news = slices.DeleteFunc(t.news, func(n news) bool { return n.seq == seq })
	t.news = append(t.news, news{typ: typ, app: app, seq: seq})
}

// emitEntry announces a change of a grant's history, where integrators care for its kind.
func (t *txn) emitEntry(k grantKey, e entry, id ulid.ULID) {
	var typ hongyan.EventType
	switch class := hongyan.ClassifyChoice(e.choice); {
	case class == hongyan.ChoiceAccept:
		typ = hongyan.EventGrantAccepted
	case class == hongyan.ChoiceReject || class == hongyan.ChoiceBan:
		typ = hongyan.EventGrantRejected
	case e.source == hongyan.SourceImport:
		typ = hongyan.EventGrantImported
	case e.voided > 0:
		typ = hongyan.EventGrantVoided
	default:
		return
	}
	if len(t.l.audience.Load().byType[typ]) == 0 {
		return
	}
	if a := t.l.appOf(k.template); a != nil && t.l.audience.Load().hears(typ, a.app.AppID) {
		t.news = append(t.news, news{typ: typ, app: a.app.AppID, user: k.user, grant: &hongyan.GrantEvent{TemplateID: a.templateID(k.template),
			Entry: hongyan.Entry{ID: "ent_" + id.String(), Source: e.source, Granted: e.granted, Voided: e.voided, Choice: e.choice, Ref: e.ref, At: at(e.at), RecordedAt: at(t.now)}}})
	}
}

func eventData(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Errorf("ledger: encode an event: %w", err)) // a type of ours that JSON cannot have
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// Announce emits an event about what no transaction of the ledger has changed.
func (l *Ledger) Announce(ctx context.Context, typ hongyan.EventType, app hongyan.AppID, data any) error {
	if !l.audience.Load().hears(typ, app) {
		return nil
	}
	return l.write(ctx, "announce", func(t *txn) error {
		t.emit(typ, app, func() any { return data })
		return nil
	})
}

var (
	eventColumns    = []column{{"no", kindInt}, {"id", kindBytes}, {"type", kindText}, {"app_no", kindInt}, {"at", kindInt}, {"data", kindText}}
	deliveryColumns = []column{{"webhook_no", kindInt}, {"id", kindBytes}, {"event_no", kindInt}, {"state", kindInt}, {"attempts", kindInt},
		{"next_at", kindInt}, {"created_at", kindInt}, {"updated_at", kindInt}}
)

// publish writes the transaction's events, and a delivery of each to every webhook that wants
// it. It comes last, so that the numbers of events are held for as short as can be.
func (t *txn) publish() error {
	if len(t.news) == 0 {
		return nil
	}
	if err := t.readNews(); err != nil || len(t.news) == 0 {
		return err
	}
	no, err := t.eventNos(int64(len(t.news)))
	if err != nil {
		return err
	}
	a := t.l.audience.Load()
	var events, deliveries [][]any
	for _, n := range t.news {
		id := t.l.newID(t.now)
		events = append(events, []any{no, id[:], string(n.typ), t.l.appNo(n.app), t.now, n.data})
		to := a.byType[n.typ]
		if n.only != nil {
			to = []*listener{n.only}
		}
		for _, x := range to {
			if x.no != 0 && (x.wants(n.app) || n.only != nil) {
				id := t.l.newID(t.now)
				deliveries = append(deliveries, []any{x.no, id[:], no, int64(deliveryPending), int64(0), t.now, t.now, t.now})
			}
		}
		no++
	}
	if err := t.insertRows(`/* ledger.publish */ INSERT INTO events`, eventColumns, events, ""); err != nil {
		return err
	}
	if err := t.insertRows(`/* ledger.publish */ INSERT INTO deliveries`, deliveryColumns, deliveries, ""); err != nil {
		return err
	}
	if len(deliveries) > 0 {
		t.touch(TopicWebhooks)
	}
	t.news = nil
	t.after = append(t.after, t.l.tellNews)
	return nil
}

// readNews reads the messages that events are about, as the transaction leaves them, and the
// names of the users whose grants are.
func (t *txn) readNews() error {
	at := make(map[int64]int)
	names := make(map[int64]hongyan.OpenID)
	var seqs, users []any
	for i, n := range t.news {
		if n.seq != 0 {
			at[n.seq] = i
			seqs = append(seqs, n.seq)
		}
		if _, asked := names[n.user]; n.user != 0 && !asked {
			names[n.user] = ""
			users = append(users, n.user)
		}
	}
	for part := range slices.Chunk(users, lookupMost) {
		list, args := t.l.d.list(part, kindInt)
		if err := t.rows(`/* ledger.readNews */ SELECT no, openid FROM users WHERE no `+list, args, func(r scanner) error {
			var no int64
			var openid hongyan.OpenID
			err := r.Scan(&no, &openid)
			names[no] = openid
			return err
		}); err != nil {
			return err
		}
	}
	for i := range t.news {
		if n := &t.news[i]; n.grant != nil {
			n.grant.OpenID = names[n.user]
			n.data = eventData(n.grant)
		}
	}
	for part := range slices.Chunk(seqs, lookupMost) {
		list, args := t.l.d.list(part, kindInt)
		err := t.rows(`/* ledger.readNews */ SELECT `+messageColumns+` FROM messages m JOIN users u ON u.no = m.user_no WHERE m.seq `+list, args, func(r scanner) error {
			w, err := t.l.scanMessage(r)
			if err != nil {
				return err
			}
			w.message.Data = nil // what was written to the user is not the integrator's to log
			t.news[at[w.seq]].data = eventData(&w.message)
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.news = slices.DeleteFunc(t.news, func(n news) bool { return n.data == "" })
	return nil
}

const eventsNo = "events"

// eventNos takes n numbers whose order is that of the commits: whoever has read up to one has
// missed none before it. Where several transactions run at once, they take them in turn, each
// from here to its commit; nothing is locked after this, so it cannot deadlock.
func (t *txn) eventNos(n int64) (first int64, err error) {
	const take = `/* ledger.eventNos */ UPDATE sequences SET next = next + ? WHERE name = ?`
	took, err := t.exec(take, n, eventsNo)
	if err == nil && took == 0 {
		if _, err = t.exec(`/* ledger.eventNos */ INSERT INTO sequences (name, next) VALUES (?, 1) ON CONFLICT (name) DO NOTHING`, eventsNo); err == nil {
			_, err = t.exec(take, n, eventsNo)
		}
	}
	if err != nil {
		return 0, err
	}
	err = t.row(`/* ledger.eventNos */ SELECT next FROM sequences WHERE name = ?`, []any{eventsNo}, &first)
	return first - n, err
}

// appOf is the app of a template.
func (l *Ledger) appOf(template int64) *appEntry {
	l.cache.mu.RLock()
	defer l.cache.mu.RUnlock()
	for _, a := range l.cache.byNo {
		if a.byNo[template] != nil {
			return a
		}
	}
	return nil
}

// appNo is 0 for an app that is not here, and for none.
func (l *Ledger) appNo(id hongyan.AppID) int64 {
	if a, err := l.app(id); err == nil {
		return a.no
	}
	return 0
}

// bell lets any number of goroutines wait for the next ring.
type bell struct {
	mu sync.Mutex
	c  chan struct{}
}

// next is closed by the next ring.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}

// tellNews follows the commit of events, here and for the readers of other replicas.
func (l *Ledger) tellNews() {
	l.bell.ring()
	if l.Live() > 1 {
		l.tell(&l.wake.news)
	}
}

// News is closed when there may be events or deliveries that were not there before: a hint,
// that may be lost when it comes from another replica.
func (l *Ledger) News() <-chan struct{} { return l.bell.next() }

// EventFilter narrows a list of events. Zero fields do not.
type EventFilter struct {
	Types []hongyan.EventPattern // any of these
	App   hongyan.AppID
	Apps  []hongyan.AppID // any of these; nil means all
	Since time.Time
	// Limit and Cursor are for Events alone.
	Limit  int
	Cursor string
}

func (f *EventFilter) takes(e *hongyan.Event) bool {
	return (len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(p hongyan.EventPattern) bool { return p.Matches(e.Type) })) &&
		(f.App == "" || f.App == e.App) && (f.Apps == nil || slices.Contains(f.Apps, e.App)) && !e.At.Before(f.Since)
}

const eventRow = `no, id, type, app_no, at, data`

func (l *Ledger) scanEvent(r scanner) (no int64, e hongyan.Event, err error) {
	var id []byte
	var app, when int64
	var data string
	if err = r.Scan(&no, &id, &e.Type, &app, &when, &data); err != nil {
		return no, e, err
	}
	if a := l.appByNo(app); a != nil {
		e.App = a.app.AppID
	}
	e.ID, e.At, e.Data = hongyan.EventIDOf(ulid.ULID(id)), at(when), json.RawMessage(data)
	return no, e, nil
}

// Events lists recorded events, newest first. A page may be shorter than the limit, even
// empty, while there is a next cursor: a filter that matches little reads a bounded part.
func (l *Ledger) Events(ctx context.Context, f EventFilter) ([]hongyan.Event, string, error) {
	f.Limit = pageSize(f.Limit)
	before := int64(math.MaxInt64)
	if f.Cursor != "" {
		if err := decodeCursor(f.Cursor, &before); err != nil {
			return nil, "", err
		}
	}
	var floor, floorAt int64 // where this page stops reading
	err := l.rdb.QueryRowContext(ctx, `/* ledger.Events */ SELECT no, at FROM events WHERE no < ? ORDER BY no DESC LIMIT 1 OFFSET ?`, before, listReads).Scan(&floor, &floorAt)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, "", fmt.Errorf("list events: %w", err)
	}
	where, args := l.eventsWhere(f)
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Events */ SELECT `+eventRow+` FROM events WHERE no < ? AND no >= ?`+where+` ORDER BY no DESC LIMIT ?`,
		append(append([]any{before, floor}, args...), f.Limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list events: %w", err)
	}
	out, next := []hongyan.Event{}, ""
	err = eachRow(rs, func(r scanner) error {
		no, e, err := l.scanEvent(r)
		if err != nil {
			return err
		}
		if len(out) == f.Limit {
			next = encodeCursor(before)
			return nil
		}
		out, before = append(out, e), no
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list events: %w", err)
	}
	// Numbers follow the commits and times the begins of transactions, so they differ a little.
	if next == "" && floor > 0 && floorAt >= ms(f.Since.Add(-txnTime)) {
		next = encodeCursor(floor)
	}
	return out, next, nil
}

func (l *Ledger) eventsWhere(f EventFilter) (where string, args []any) {
	var types []string
	for _, p := range f.Types {
		cond, arg := "type = ?", string(p)
		if kind, all := strings.CutSuffix(arg, "*"); all {
			cond, arg = "type LIKE ?", kind+"%"
		}
		types, args = append(types, cond), append(args, arg)
	}
	if len(types) > 0 {
		where = " AND (" + strings.Join(types, " OR ") + ")"
	}
	apps := f.Apps
	if f.App != "" {
		apps = []hongyan.AppID{f.App}
	}
	if apps != nil {
		nos := make([]string, len(apps))
		for i, id := range apps {
			nos[i] = strconv.FormatInt(or(l.appNo(id), -1), 10)
		}
		where += " AND app_no IN (" + strings.Join(nos, ", ") + ")"
	}
	if !f.Since.IsZero() {
		where, args = where+" AND at >= ?", append(args, ms(f.Since))
	}
	return where, args
}

// EventPlace is how far a reader of the stream has come.
type EventPlace struct {
	no int64
	// ID is the event before, by which the reader can go on another time.
	ID hongyan.EventID
}

// EventsFrom is the place behind an event; "" is behind the latest. Of one that is not kept
// any more only its time is known.
func (l *Ledger) EventsFrom(ctx context.Context, after hongyan.EventID) (EventPlace, error) {
	p := EventPlace{ID: after}
	if after == "" {
		var id []byte
		err := l.rdb.QueryRowContext(ctx, `/* ledger.EventsFrom */ SELECT no, id FROM events ORDER BY no DESC LIMIT 1`).Scan(&p.no, &id)
		if errors.Is(err, sql.ErrNoRows) {
			var u ulid.ULID
			_ = u.SetTime(uint64(ms(l.Now())))
			p.ID = hongyan.EventIDOf(u)
			return p, nil
		}
		if err == nil {
			p.ID = hongyan.EventIDOf(ulid.ULID(id))
		}
		return p, err
	}
	u, err := after.ULID()
	if err != nil {
		return p, hongyan.Invalid("/Last-Event-ID", "event_id", "%q is not the id of an event.", clipped(string(after)))
	}
	err = l.rdb.QueryRowContext(ctx, `/* ledger.EventsFrom */ SELECT no FROM events WHERE id = ?`, u[:]).Scan(&p.no)
	if errors.Is(err, sql.ErrNoRows) {
		var first sql.NullInt64
		err = l.rdb.QueryRowContext(ctx, `/* ledger.EventsFrom */ SELECT MIN(no) - 1 FROM events WHERE id > ?`, u[:]).Scan(&first)
		if err == nil && !first.Valid {
			err = l.rdb.QueryRowContext(ctx, `/* ledger.EventsFrom */ SELECT MAX(no) FROM events`).Scan(&first)
		}
		p.no = first.Int64
	}
	if err != nil {
		return p, fmt.Errorf("find the event: %w", err)
	}
	return p, nil
}

// streamReads is how many events a reader of the stream gets at once.
const streamReads = 500

// EventsAfter reads what came after a place, in the order of the commits, and the place behind
// it. more says that there may be further ones already.
func (l *Ledger) EventsAfter(ctx context.Context, p EventPlace, f EventFilter) (out []hongyan.Event, next EventPlace, more bool, err error) {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.EventsAfter */ SELECT `+eventRow+` FROM events WHERE no > ? ORDER BY no LIMIT ?`, p.no, streamReads)
	if err != nil {
		return nil, p, false, fmt.Errorf("read events: %w", err)
	}
	read := 0
	err = eachRow(rs, func(r scanner) error {
		no, e, err := l.scanEvent(r)
		if err != nil {
			return err
		}
		read++
		p = EventPlace{no: no, ID: e.ID}
		if f.takes(&e) {
			out = append(out, e)
		}
		return nil
	})
	if err != nil {
		return nil, p, false, fmt.Errorf("read events: %w", err)
	}
	return out, p, read == streamReads, nil
}

const (
	// readerKept is how long the events that a reader wants are recorded after it last said
	// that it is there: time enough to come again.
	readerKept = 10 * time.Minute
	// ReaderSays is how often a reader of the stream calls ListenTo.
	ReaderSays = 2 * time.Minute
)

// ListenTo lets the events that the filter names be recorded for the next minutes. Once it
// has returned, none is missed that is committed here; other replicas know a moment later.
func (l *Ledger) ListenTo(ctx context.Context, f EventFilter) error {
	events, apps := slices.Clone(f.Types), slices.Clone(f.Apps)
	if len(events) == 0 {
		events = []hongyan.EventPattern{"*"}
	}
	if f.App != "" {
		apps = []hongyan.AppID{f.App}
	}
	slices.Sort(events)
	slices.Sort(apps)
	e, _ := json.Marshal(slices.Compact(events))
	a, _ := json.Marshal(slices.Compact(apps))
	sum := sha256.Sum256(append(append(e, ' '), a...))
	id, until := hex.EncodeToString(sum[:16]), ms(l.Now().Add(readerKept))
	known := false
	err := l.write(ctx, "listen to events", func(t *txn) error {
		n, err := t.exec(`/* ledger.ListenTo */ UPDATE event_readers SET until = ? WHERE id = ?`, until, id)
		known = n > 0
		return err
	})
	if err != nil || known && l.audience.Load().reads(id) {
		return err
	}
	if known {
		return l.notice(ctx) // another replica has only just made it
	}
	return l.change(ctx, "listen to events", func(t *txn) error {
		_, err := t.exec(`/* ledger.ListenTo */ INSERT INTO event_readers (id, events, apps, until) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`, id, string(e), string(a), until)
		return err
	})
}

// dropReaders ends the subscriptions of readers that have gone.
func (l *Ledger) dropReaders(ctx context.Context) error {
	now := ms(l.Now())
	var some bool
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.dropReaders */ SELECT EXISTS (SELECT 1 FROM event_readers WHERE until <= ?)`, now).Scan(&some); err != nil || !some {
		return err
	}
	return l.change(ctx, "end event readers", func(t *txn) error {
		_, err := t.exec(`/* ledger.dropReaders */ DELETE FROM event_readers WHERE until <= ?`, now)
		return err
	})
}
