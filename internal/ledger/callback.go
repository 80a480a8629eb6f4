package ledger

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// WeChat waits five seconds for an answer and tries three times; so a push is only stored
// when it comes, and applied afterwards, in a transaction that also says so.

// push is a callback on its way to disk.
type push struct {
	app  *appEntry
	cb   hongyan.Callback
	mark []byte
	id   ulid.ULID
	err  error
	done chan struct{}
}

const (
	maxCallbackItems = 100
	maxCallbackWord  = 128
)

// RecordCallback stores a verified push of WeChat's. When it returns without error the push
// is on disk, and will be applied once; a repeat of one that is there changes nothing.
func (l *Ledger) RecordCallback(ctx context.Context, id hongyan.AppID, cb hongyan.Callback) error {
	a, err := l.app(id)
	if err != nil {
		return err
	}
	if len(cb.Items) > maxCallbackItems {
		return hongyan.Invalid("/List", "length", "A push has at most %d items; this one has %d.", maxCallbackItems, len(cb.Items))
	}
	cb.Event = word128(cb.Event)
	cb.OpenID = hongyan.OpenID(word128(string(cb.OpenID)))
	p := &push{app: a, cb: cb, mark: markOf(&cb), done: make(chan struct{})}
	if !l.pushes.add(p) {
		return hongyan.Errorf(hongyan.CodeShuttingDown, "The server is stopping.")
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err() // stored or not: WeChat will ask again
	}
}

// word128 is a stranger's word as every database takes it.
func word128(s string) string {
	if s = storable(s); len(s) > maxCallbackWord {
		s = storable(s[:maxCallbackWord])
	}
	return s
}

// markOf is the same for every repeat of a push, in whatever order or form its items came.
func markOf(cb *hongyan.Callback) []byte {
	h := sha256.New()
	items := slices.Clone(cb.Items)
	slices.SortFunc(items, func(x, y hongyan.CallbackItem) int {
		return cmp.Or(cmp.Compare(x.TemplateID, y.TemplateID), cmp.Compare(x.MsgID, y.MsgID), cmp.Compare(x.Choice, y.Choice))
	})
	known, _ := json.Marshal([]any{cb.Event, cb.OpenID, ms(cb.SentAt), items})
	h.Write(known)
	switch cb.Event {
	case hongyan.CallbackPopup, hongyan.CallbackChange, hongyan.CallbackSent:
	default:
		// What else it says is not known here, so only the same message is the same.
		h.Write([]byte(cb.Raw))
	}
	return h.Sum(nil)[:16]
}

var callbackColumns = []column{{"id", kindBytes}, {"app_no", kindInt}, {"mark", kindBytes}, {"event", kindText}, {"openid", kindText}, {"encrypted", kindInt},
	{"items", kindText}, {"raw", kindBytes}, {"sent_at", kindInt}, {"received_at", kindInt}, {"due_at", kindInt}, {"tries", kindInt}, {"notes", kindText}, {"processed_at", kindInt}}

// commitPushes stores a batch together, or each alone if that fails.
func (l *Ledger) commitPushes(ctx context.Context, take func() []*push) []*push {
	err := l.storePushes(ctx, take)
	batch := take()
	for _, p := range batch {
		if p.err = err; err != nil && len(batch) > 1 && !errors.Is(err, errBegin) {
			p.err = l.storePushes(ctx, func() []*push { return []*push{p} })
		}
		if p.err != nil {
			l.log.ErrorContext(ctx, "callback not stored", "err", p.err)
			p.err = hongyan.Errorf(hongyan.CodeStorageUnavailable, "The database could not write; WeChat will send it again.")
		}
		close(p.done)
	}
	signal(l.pushed)
	return nil // WeChat repeats what was not stored
}

func (l *Ledger) storePushes(ctx context.Context, take func() []*push) error {
	return l.together(ctx, rankPushes, "store callbacks", func(t *txn) error {
		batch := take()
		rows := make([][]any, len(batch))
		for i, p := range batch {
			p.id = t.l.newID(t.now)
			items, _ := json.Marshal(p.cb.Items)
			rows[i] = []any{p.id[:], p.app.no, p.mark, p.cb.Event, string(p.cb.OpenID), btoi(p.cb.Encrypted), storableLong(string(items)), []byte(p.cb.Raw), ms(p.cb.SentAt), t.now, t.now, int64(0), "[]", int64(0)}
		}
		slices.SortFunc(rows, func(x, y []any) int {
			return cmp.Or(cmp.Compare(x[1].(int64), y[1].(int64)), bytes.Compare(x[2].([]byte), y[2].([]byte)))
		})
		t.touch(TopicCallbacks)
		return t.insertRows(`/* ledger.RecordCallback */ INSERT INTO callbacks`, callbackColumns, rows, ` ON CONFLICT (app_no, mark) DO NOTHING`)
	})
}

const (
	// callbackBatch is how many callbacks are applied in one transaction.
	callbackBatch = 200
	callbackPoll  = time.Second
)

// applyCallbacks applies what WeChat pushed, until ctx ends.
func (l *Ledger) applyCallbacks(ctx context.Context) {
	poll := time.NewTicker(callbackPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.pushed:
		case <-poll.C:
		}
		if err := l.ApplyCallbacks(ctx); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "callbacks not applied, trying again", "err", err)
		}
	}
}

// ApplyCallbacks applies every callback that is due. The server does so by itself; tests
// call it to see the effect at once.
func (l *Ledger) ApplyCallbacks(ctx context.Context) error {
	l.applying.Lock() // what another call has taken is applied when this one returns
	defer l.applying.Unlock()
	for ctx.Err() == nil {
		due, err := l.dueCallbacks(ctx)
		if err != nil || len(due) == 0 {
			return err
		}
		// Apart, because one locks the grants of users and the other those of messages, and
		// what a user leaves behind takes more than a transaction.
		var told, sent, left []*received
		for _, c := range due {
			switch {
			case c.cb.Event == hongyan.CallbackSent:
				sent = append(sent, c)
			case c.cb.Event == hongyan.CallbackCancellation && c.cb.Encrypted:
				left = append(left, c)
			default:
				told = append(told, c)
			}
		}
		if err := errors.Join(l.applyAll(ctx, told, (*txn).applyTold), l.applyAllSent(ctx, sent), l.applyLeft(ctx, left)); err != nil {
			return err
		}
		if len(due) < callbackBatch {
			return nil // the others are another replica's
		}
	}
	return nil
}

// received is a callback that is to be applied.
type received struct {
	id         ulid.ULID
	app        *appEntry
	cb         hongyan.Callback
	receivedAt int64
	tries      int64
	notes      []string
	again      int64   // when to try again; 0: it is done
	seqs       []int64 // by item: the message with its msgid, 0 for none
}

func (c *received) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// ref names an item in a grant's history, and its witness.
func (c *received) ref(i int) string {
	return fmt.Sprintf("%s.%d", hongyan.CallbackIDOf(c.id), i)
}

const receivedColumns = `id, app_no, event, openid, encrypted, items, sent_at, received_at, tries`

func (l *Ledger) scanReceived(r scanner) (*received, error) {
	c := &received{}
	var id []byte
	var appNo, sealed, sent int64
	var items string
	if err := r.Scan(&id, &appNo, &c.cb.Event, &c.cb.OpenID, &sealed, &items, &sent, &c.receivedAt, &c.tries); err != nil {
		return nil, err
	}
	// Nothing happened after it was told, whatever WeChat's clock says: a refusal from the
	// future would end the grants of taps that are still to come.
	if sent == 0 || sent > c.receivedAt {
		sent = c.receivedAt
	}
	c.id, c.app = ulid.ULID(id), l.appByNo(appNo)
	c.cb.Encrypted, c.cb.SentAt = sealed == 1, at(sent)
	return c, json.Unmarshal([]byte(items), &c.cb.Items)
}

// dueCallbacks looks with a reader, so that an idle server takes no write lock.
func (l *Ledger) dueCallbacks(ctx context.Context) ([]*received, error) {
	var out []*received
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.dueCallbacks */ SELECT `+receivedColumns+` FROM callbacks WHERE due_at IS NOT NULL AND due_at <= ? ORDER BY due_at LIMIT ?`, ms(l.Now()), callbackBatch)
	if err != nil {
		return nil, fmt.Errorf("read callbacks: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		c, err := l.scanReceived(r)
		if err == nil && c.app != nil {
			out = append(out, c)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read callbacks: %w", err)
	}
	return out, nil
}

// applyAll applies callbacks together, or each alone if that fails, so that a bad one stops
// no other; it is tried again later, and later.
func (l *Ledger) applyAll(ctx context.Context, all []*received, apply func(*txn, []*received) error) error {
	if len(all) == 0 {
		return nil
	}
	err := l.apply(ctx, all, apply)
	if err == nil || errors.Is(err, errBegin) || ctx.Err() != nil {
		return err
	}
	for _, c := range all {
		one := []*received{c}
		if err := l.apply(ctx, one, apply); err != nil {
			l.log.ErrorContext(ctx, "callback not applied, trying again later", "event", c.cb.Event, "err", err)
			if err := l.apply(ctx, one, (*txn).putOff); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Ledger) apply(ctx context.Context, all []*received, apply func(*txn, []*received) error) error {
	return l.write(ctx, "apply callbacks", func(t *txn) error {
		mine, err := t.takeCallbacks(all)
		if err != nil || len(mine) == 0 {
			return err
		}
		for _, c := range mine {
			c.notes, c.again = nil, 0
		}
		if err := apply(t, mine); err != nil {
			return err
		}
		for _, c := range mine {
			if err := t.closeCallback(c); err != nil {
				return err
			}
		}
		return nil
	})
}

// putOff lets a callback that cannot be applied wait.
func (t *txn) putOff(all []*received) error {
	for _, c := range all {
		c.again = t.now + min(int64(1)<<min(c.tries, 20), 3600)*1000
		c.note("could not be applied yet; see the log")
	}
	return nil
}

// takeCallbacks locks those that are still due; another replica may be at the others.
func (t *txn) takeCallbacks(all []*received) (mine []*received, err error) {
	ids := make([]any, len(all))
	for i, c := range all {
		ids[i] = c.id[:]
	}
	due := make(map[ulid.ULID]bool)
	list, args := t.l.d.list(ids, kindBytes)
	err = t.rows(`/* ledger.takeCallbacks */ SELECT id FROM callbacks WHERE id `+list+` AND due_at IS NOT NULL ORDER BY id`+t.l.d.skip, args, func(r scanner) error {
		var id []byte
		err := r.Scan(&id)
		due[ulid.ULID(id)] = true
		return err
	})
	for _, c := range all {
		if due[c.id] {
			mine = append(mine, c)
		}
	}
	return mine, err
}

func (t *txn) closeCallback(c *received) error {
	t.touch(TopicCallbacks)
	var due any
	processed := t.now
	if c.again != 0 {
		due, processed = c.again, 0
	}
	notes, _ := json.Marshal(c.notes)
	if c.notes == nil {
		notes = []byte("[]")
	}
	_, err := t.exec(`/* ledger.closeCallback */ UPDATE callbacks SET due_at = ?, tries = tries + 1, notes = ?, processed_at = ? WHERE id = ?`, due, storableLong(string(notes)), processed, c.id[:])
	return err
}

// applyTold applies what users did: taps, refusals, leaving.
func (t *txn) applyTold(all []*received) error {
	gs, users, err := t.lockTold(all)
	if err != nil {
		return err
	}
	for _, c := range all {
		switch c.cb.Event {
		case hongyan.CallbackPopup, hongyan.CallbackChange:
			user := users[userKey{c.app.no, c.cb.OpenID}]
			if user == 0 {
				c.note("it names no openid")
				continue
			}
			for i, item := range c.cb.Items {
				if err := t.applyItem(gs, c, i, item, user); err != nil {
					return err
				}
			}
		case hongyan.CallbackCancellation:
			c.note("not acted on: nothing vouches for a plain push; use the secure mode, or erase the user by hand")
		default:
			c.note("recorded")
		}
	}
	return t.flush(gs)
}

// applyLeft erases users who have left the mini program. After a crash in between it is
// done again, which changes nothing.
func (l *Ledger) applyLeft(ctx context.Context, all []*received) error {
	for _, c := range all {
		note := "the user has left: erased"
		switch err := l.EraseUser(ctx, c.app.app.AppID, c.cb.OpenID); hongyan.CodeOf(err) {
		case "":
		case hongyan.CodeUserNotFound:
			note = "the user has left, and was not known here"
		default:
			return err
		}
		if err := l.applyAll(ctx, []*received{c}, func(t *txn, mine []*received) error {
			mine[0].note("%s", note)
			_, err := t.exec(`/* ledger.applyLeft */ UPDATE callbacks SET openid = '', raw = ? WHERE id = ?`, []byte{}, c.id[:])
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// lockTold finds or makes the users of taps and refusals, and locks their grants in order.
func (t *txn) lockTold(all []*received) (grants, map[userKey]int64, error) {
	byApp := make(map[int64][]hongyan.OpenID)
	for _, c := range all {
		if (c.cb.Event == hongyan.CallbackPopup || c.cb.Event == hongyan.CallbackChange) && c.cb.OpenID.Valid() {
			byApp[c.app.no] = append(byApp[c.app.no], c.cb.OpenID)
		}
	}
	users := make(map[userKey]int64)
	for _, no := range sortedKeys(byApp) {
		found, err := t.users(no, slices.Compact(slices.Sorted(slices.Values(byApp[no]))))
		if err != nil {
			return nil, nil, err
		}
		for openid, user := range found {
			users[userKey{no, openid}] = user
		}
	}
	keys := make(map[grantKey]hongyan.TemplateKind)
	for _, c := range all {
		user := users[userKey{c.app.no, c.cb.OpenID}]
		for _, item := range c.cb.Items {
			if te := c.app.lookup(item.TemplateID); te != nil && user != 0 {
				keys[grantKey{user, te.no}] = te.template.Kind
			}
		}
	}
	gs := make(grants)
	return gs, users, t.ensureGrants(gs, keys)
}

func (t *txn) applyItem(gs grants, c *received, i int, item hongyan.CallbackItem, user int64) error {
	te := c.app.lookup(item.TemplateID)
	if te == nil {
		c.note("%s: the app has no such template here; sync its templates", item.TemplateID)
		return nil
	}
	k := grantKey{user, te.no}
	if c.cb.Event == hongyan.CallbackPopup {
		res, err := t.witness(gs, c.app, k, witness{source: hongyan.SourceEvent, mark: c.ref(i), ref: c.ref(i), choice: item.Choice, at: ms(c.cb.SentAt), sure: c.cb.Encrypted})
		c.note("%s: %s, %s", item.TemplateID, item.Choice, or(res.Note, "counted"))
		return err
	}
	switch {
	case hongyan.ClassifyChoice(item.Choice) != hongyan.ChoiceReject:
		c.note("%s: %s, which changes nothing", item.TemplateID, item.Choice)
		return nil
	case !c.cb.Encrypted:
		c.note("%s: not acted on, because nothing vouches for a plain push; use the secure mode", item.TemplateID)
		return nil
	}
	g, err := t.grant(gs, k, te.template.Kind)
	if err != nil {
		return err
	}
	voided := g.Voided
	err = t.refuse(k, g, ms(c.cb.SentAt), c.ref(i))
	c.note("%s: refused, %d grants voided", item.TemplateID, g.Voided-voided)
	return err
}

// CallbackFilter narrows a list. Zero fields do not.
type CallbackFilter struct {
	Event  string
	OpenID hongyan.OpenID
	Limit  int
	Cursor string
}

const shownCallback = `id, event, openid, encrypted, items, sent_at, received_at, due_at, notes, processed_at`

func scanCallback(r scanner, app hongyan.AppID, more ...any) (hongyan.Callback, error) {
	cb := hongyan.Callback{App: app, Status: hongyan.CallbackDone}
	var id []byte
	var sealed, sent, receivedAt, processed int64
	var due sql.NullInt64
	var items, notes string
	if err := r.Scan(append([]any{&id, &cb.Event, &cb.OpenID, &sealed, &items, &sent, &receivedAt, &due, &notes, &processed}, more...)...); err != nil {
		return cb, err
	}
	cb.ID, cb.Encrypted = hongyan.CallbackIDOf(ulid.ULID(id)), sealed == 1
	cb.SentAt, cb.ReceivedAt, cb.ProcessedAt = at(sent), at(receivedAt), at(processed)
	if due.Valid {
		cb.Status = hongyan.CallbackPending
	}
	return cb, errors.Join(json.Unmarshal([]byte(items), &cb.Items), json.Unmarshal([]byte(notes), &cb.Notes))
}

// Callbacks lists an app's callbacks, newest first.
func (l *Ledger) Callbacks(ctx context.Context, id hongyan.AppID, f CallbackFilter) ([]hongyan.Callback, string, error) {
	a, err := l.app(id)
	if err != nil {
		return nil, "", err
	}
	limit := pageSize(f.Limit)
	q, args := `/* ledger.Callbacks */ SELECT `+shownCallback+` FROM callbacks WHERE app_no = ?`, []any{a.no}
	if f.Cursor != "" {
		before, err := hex.DecodeString(f.Cursor)
		if err != nil || len(before) != 16 {
			return nil, "", badCursor(f.Cursor)
		}
		q, args = q+` AND id < ?`, append(args, before)
	}
	if f.Event != "" {
		q, args = q+` AND event = ?`, append(args, f.Event)
	}
	if f.OpenID != "" {
		q, args = q+` AND openid = ?`, append(args, string(f.OpenID))
	}
	rs, err := l.rdb.QueryContext(ctx, q+` ORDER BY id DESC LIMIT ?`, append(args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list callbacks: %w", err)
	}
	out, next := []hongyan.Callback{}, ""
	err = eachRow(rs, func(r scanner) error {
		cb, err := scanCallback(r, id)
		if err != nil {
			return err
		}
		if len(out) == limit {
			u, err := out[limit-1].ID.ULID()
			next = hex.EncodeToString(u[:])
			return err
		}
		out = append(out, cb)
		return nil
	})
	return out, next, err
}

// Callback is one callback with its clear message.
func (l *Ledger) Callback(ctx context.Context, id hongyan.AppID, cb hongyan.CallbackID) (hongyan.Callback, error) {
	none := hongyan.Errorf(hongyan.CodeNotFound, "App %s has no callback %.40s.", id, string(cb))
	a, err := l.app(id)
	if err != nil {
		return hongyan.Callback{}, err
	}
	u, err := cb.ULID()
	if err != nil {
		return hongyan.Callback{}, none
	}
	var raw []byte
	out, err := scanCallback(l.rdb.QueryRowContext(ctx, `/* ledger.Callback */ SELECT `+shownCallback+`, raw FROM callbacks WHERE id = ? AND app_no = ?`, u[:], a.no), id, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return out, none
	}
	if err != nil {
		return out, fmt.Errorf("read callback: %w", err)
	}
	out.Raw = string(raw)
	return out, nil
}
