package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

func parseData(s string) (map[string]string, error) {
	if s == "" {
		return nil, nil
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		return nil, fmt.Errorf("decode message data: %w", err)
	}
	return m, nil
}

func attemptOf(number int64, class string, errcode sql.NullInt64, errmsg string, msgid sql.NullInt64, started, ended int64) hongyan.Attempt {
	a := hongyan.Attempt{Number: int(number), Class: hongyan.OutcomeClass(class), Errmsg: errmsg, StartedAt: at(started), EndedAt: at(ended)}
	if errcode.Valid {
		c := int(errcode.Int64)
		a.Errcode = &c
	}
	if msgid.Valid {
		a.MsgID = strconv.FormatInt(msgid.Int64, 10)
	}
	return a
}

const messageByID = ` FROM messages m JOIN users u ON u.no = m.user_no WHERE m.id = ?`

// message reads one message inside a transaction.
func (t *txn) message(id ulid.ULID) (*hongyan.Message, error) {
	w, err := t.messageRow(id)
	if err != nil {
		return nil, err
	}
	return &w.message, nil
}

func (t *txn) messageRow(id ulid.ULID) (*row, error) {
	var w *row
	err := t.rows(`/* ledger.message */ SELECT `+messageColumns+messageByID, []any{id[:]}, func(r scanner) (err error) {
		w, err = t.l.scanMessage(r)
		return err
	})
	if err == nil && w == nil {
		err = noMessage(hongyan.MessageIDOf(id))
	}
	return w, err
}

func noMessage(id hongyan.MessageID) error {
	return hongyan.Errorf(hongyan.CodeNotFound, "There is no message %.40s here.", string(id))
}

// Message is one message with its attempts and timeline.
func (l *Ledger) Message(ctx context.Context, id hongyan.MessageID) (*hongyan.Message, error) {
	u, err := id.ULID()
	if err != nil {
		return nil, noMessage(id)
	}
	w, err := l.scanMessage(l.rdb.QueryRowContext(ctx, `/* ledger.Message */ SELECT `+messageColumns+messageByID, u[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noMessage(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	m := &w.message
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Message */ SELECT attempt, class, errcode, errmsg, msgid, started_at, ended_at FROM attempts WHERE seq = ? ORDER BY attempt`, w.seq)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var n, started, ended int64
		var class string
		var errcode, msgid sql.NullInt64
		var errmsg sql.NullString
		if err := r.Scan(&n, &class, &errcode, &errmsg, &msgid, &started, &ended); err != nil {
			return err
		}
		// The row was read a moment before: what was its latest then may stand here by now.
		if n != w.attempt || w.latest == nil {
			m.Attempts = append(m.Attempts, attemptOf(n, class, errcode, errmsg.String, msgid, started, ended))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	if w.latest != nil {
		m.Attempts = append(m.Attempts, *w.latest)
	}
	slices.SortFunc(m.Attempts, func(a, b hongyan.Attempt) int { return a.Number - b.Number })
	l.showDue(m)
	m.Timeline = hongyan.Timeline(m)
	return m, nil
}

// showDue calls a scheduled message whose time has come queued: the claim takes it straight
// from there, so no write is spent on saying so.
func (l *Ledger) showDue(m *hongyan.Message) {
	if m.Status == hongyan.StateScheduled && !m.SendAt.After(l.Now()) {
		m.Status = hongyan.StateQueued
	}
}

// ofUser are a user's messages m, for the arguments user, foldMark and user: the folded index
// knows the older ones, the young tail is scanned. What is folded in between is in both. To be
// sorted by um.uid: by m.id SQLite would go through all messages in their order instead.
const ofUser = `(SELECT id AS uid FROM user_messages WHERE user_no = ? UNION SELECT id FROM messages WHERE id > ? AND user_no = ?) um JOIN messages m ON m.id = um.uid`

// MessageFilter narrows a list. Zero fields do not.
type MessageFilter struct {
	App      hongyan.AppID
	Apps     []hongyan.AppID // any of these; nil means all
	OpenID   hongyan.OpenID  // needs App
	Template string
	External string          // the integrator's own id of a user; needs App
	Status   []hongyan.State // any of these
	Errcode  *int
	Reason   hongyan.Code
	IDPrefix string // msg_ and the beginning of a ULID
	Tag      string
	Since    time.Time
	Until    time.Time
	Limit    int
	Cursor   string
}

// messageList is a list on its way to a statement: conditions, and between which ids it reads.
type messageList struct {
	where         []string
	args          []any
	after, before []byte // ids from after on, below before
	status        string // the condition on the state, empty for none
}

func (m *messageList) add(cond string, vs ...any) {
	m.where, m.args = append(m.where, cond), append(m.args, vs...)
}

// from leaves out what lies below an id, below what lies from it on.
func (m *messageList) from(id ulid.ULID) {
	m.add("m.id >= ?", id[:])
	if bytes.Compare(id[:], m.after) > 0 {
		m.after = id[:]
	}
}

func (m *messageList) below(id ulid.ULID) {
	m.add("m.id < ?", id[:])
	if bytes.Compare(id[:], m.before) < 0 {
		m.before = id[:]
	}
}

// messageList is what a filter says, but for the user.
func (l *Ledger) messageList(f MessageFilter) (*messageList, error) {
	m := &messageList{where: []string{"1 = 1"}, before: []byte{0xff}} // ids lie below it
	if f.Cursor != "" {
		id, err := decodeIDCursor(f.Cursor)
		if err != nil {
			return nil, err
		}
		m.below(id)
	}
	if err := l.filterApp(f, m.add); err != nil {
		return nil, err
	}
	var err error
	if m.status, err = l.statusCond(f.Status); err != nil {
		return nil, err
	}
	if m.status != "" {
		m.add(m.status)
	}
	if f.Errcode != nil {
		m.add("m.errcode = ?", *f.Errcode)
	}
	if f.Reason != "" {
		m.add("m.reason = ?", string(f.Reason))
	}
	if f.IDPrefix != "" {
		lo, hi, err := idRange(f.IDPrefix)
		if err != nil {
			return nil, err
		}
		m.from(lo)
		m.add("m.id <= ?", hi[:])
		if bytes.Compare(hi[:], m.before) < 0 {
			m.before = append(hi[:], 0) // hi itself is in
		}
	}
	if !f.Since.IsZero() {
		m.from(idAt(f.Since))
	}
	if !f.Until.IsZero() {
		m.below(idAt(f.Until))
	}
	if f.Tag != "" {
		b, _ := json.Marshal(f.Tag)
		m.add(l.d.hasTag, string(b))
	}
	return m, nil
}

// idAt is the least id of a moment.
func idAt(t time.Time) (id ulid.ULID) {
	_ = id.SetTime(uint64(max(ms(t), 0)))
	return id
}

// stop bounds what a page of a list without a user reads: floor is the last id it looks at,
// nil if it may go to the list's end.
func (l *Ledger) stop(ctx context.Context, f MessageFilter, m *messageList) (floor []byte, err error) {
	// One state that few messages rest in has its own index; of anything else the newest are looked at.
	walk := `1 = 1`
	if len(f.Status) == 1 && slices.Contains(restStates, f.Status[0]) {
		walk = m.status
	}
	err = l.rdb.QueryRowContext(ctx, `/* ledger.Messages */ SELECT id FROM messages m WHERE id < ? AND `+walk+` ORDER BY id DESC LIMIT 1 OFFSET ?`, m.before, listReads).Scan(&floor)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if bytes.Compare(floor, m.after) <= 0 {
		return nil, nil
	}
	m.add("m.id >= ?", floor)
	return floor, nil
}

// Messages lists messages, newest first. A page may be shorter than the limit, even empty,
// while there is a next cursor: a filter that matches little reads a bounded part at a time.
func (l *Ledger) Messages(ctx context.Context, f MessageFilter) ([]hongyan.Message, string, error) {
	m, err := l.messageList(f)
	if err != nil {
		return nil, "", err
	}
	from, order := `messages m`, `m.id`
	var floor []byte
	if f.OpenID != "" || f.External != "" {
		user, err := l.userNamed(ctx, f.App, f.OpenID, f.External)
		if err != nil || user == 0 {
			return []hongyan.Message{}, "", err
		}
		mark, err := l.foldMark(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("list messages: %w", err)
		}
		from, order = ofUser, `um.uid`
		m.args = append([]any{user, mark, user}, m.args...)
	} else if floor, err = l.stop(ctx, f, m); err != nil {
		return nil, "", fmt.Errorf("list messages: %w", err)
	}
	limit := pageSize(f.Limit)
	q := `/* ledger.Messages */ SELECT ` + messageColumns + ` FROM ` + from + ` JOIN users u ON u.no = m.user_no WHERE ` + strings.Join(m.where, " AND ") + ` ORDER BY ` + order + ` DESC LIMIT ?`
	rs, err := l.rdb.QueryContext(ctx, q, append(m.args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list messages: %w", err)
	}
	out, next := []hongyan.Message{}, ""
	err = eachRow(rs, func(r scanner) error {
		w, err := l.scanMessage(r)
		if err != nil {
			return err
		}
		if len(out) == limit {
			next = encodeIDCursor(out[len(out)-1].ID)
			return nil
		}
		l.showDue(&w.message)
		out = append(out, w.message)
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list messages: %w", err)
	}
	if next == "" && floor != nil {
		next = encodeIDCursor(hongyan.MessageIDOf(ulid.ULID(floor)))
	}
	return out, next, nil
}

// statusCond is the condition that a message is in one of these states; empty for none. The
// time in it is a number and no argument, because the condition is used twice.
func (l *Ledger) statusCond(states []hongyan.State) (string, error) {
	now := strconv.FormatInt(ms(l.Now()), 10)
	var conds []string
	for _, s := range states {
		if slices.Index(stateWords, s) <= 0 {
			return "", hongyan.Invalid("/status", "not_in_list", "There is no status %q.", clipped(string(s)))
		}
		switch c := code(stateWords, s); {
		case s == hongyan.StateQueued:
			conds = append(conds, l.d.resting(stQueued), l.d.resting(stScheduled)+" AND m.due_at <= "+now)
		case s == hongyan.StateScheduled:
			conds = append(conds, l.d.resting(stScheduled)+" AND m.due_at > "+now)
		case slices.Contains(restStates, s):
			conds = append(conds, l.d.resting(c))
		default:
			conds = append(conds, fmt.Sprintf("m.state = %d", c))
		}
	}
	if len(conds) == 0 {
		return "", nil
	}
	return "(" + strings.Join(conds, " OR ") + ")", nil
}

// idRange are the least and the greatest id that begin like this.
func idRange(prefix string) (lo, hi ulid.ULID, err error) {
	rest, ok := strings.CutPrefix(strings.ToLower(prefix), "msg_")
	if ok && len(rest) <= ulid.EncodedSize {
		rest = strings.ToUpper(rest)
		lo, err = ulid.ParseStrict(rest + strings.Repeat("0", ulid.EncodedSize-len(rest)))
		if err == nil {
			last := rest + strings.Repeat("Z", ulid.EncodedSize-len(rest))
			if rest == "" {
				last = "7" + last[1:] // the first character of a ULID is at most that
			}
			hi, err = ulid.ParseStrict(last)
		}
	}
	if !ok || err != nil || len(rest) > ulid.EncodedSize {
		return lo, hi, hongyan.Invalid("/id", "id", "%q is not the beginning of a message id, such as msg_01JD.", clipped(prefix))
	}
	return lo, hi, nil
}

// listReads is how many rows one page of a list looks at.
const listReads = 20_000

// restStates have an index of their own, because few messages stay in them.
var restStates = []hongyan.State{hongyan.StateHeld, hongyan.StateScheduled, hongyan.StateQueued, hongyan.StateUndelivered,
	hongyan.StateFailed, hongyan.StateUncertain, hongyan.StateCanceled, hongyan.StateExpired}

const (
	defaultPage = 100
	maxPage     = 1000
)

// pageSize is a list's limit within its bounds.
func pageSize(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

func (l *Ledger) filterApp(f MessageFilter, add func(string, ...any)) error {
	if f.App != "" {
		a, err := l.app(f.App)
		if err != nil {
			return err
		}
		add("m.app_no = ?", a.no)
		if f.Template != "" {
			te := a.lookup(f.Template)
			if te == nil {
				return hongyan.Errorf(hongyan.CodeTemplateNotFound, "App %s has no template %q.", f.App, clipped(f.Template))
			}
			add("m.template_no = ?", te.no)
		}
		return nil
	}
	if f.OpenID != "" || f.External != "" || f.Template != "" {
		return hongyan.Invalid("/app", "missing", "openid, external_id and template belong to one app: name it with app.")
	}
	if f.Apps != nil {
		var nos []string
		for _, id := range f.Apps {
			if a, err := l.app(id); err == nil {
				nos = append(nos, strconv.FormatInt(a.no, 10))
			}
		}
		if len(nos) == 0 {
			nos = []string{"0"}
		}
		add("m.app_no IN (" + strings.Join(nos, ", ") + ")")
	}
	return nil
}

// Cancel stops a message that is not on its way yet and returns its grant. Canceling a
// canceled one again is no error.
// One that was to be sent again after an unclear outcome goes back to uncertain.
func (l *Ledger) Cancel(ctx context.Context, id hongyan.MessageID) (*hongyan.Message, error) {
	u, err := id.ULID()
	if err != nil {
		return nil, noMessage(id)
	}
	err = l.write(ctx, "cancel message", func(t *txn) error {
		gs := make(grants)
		w, err := t.lockRow(gs, u)
		if err != nil {
			return err
		}
		switch s := w.message.Status; {
		case s == hongyan.StateCanceled:
			return nil
		case s.Final():
			return hongyan.Errorf(hongyan.CodeAlreadyFinal, "The message is %s.", s)
		case !s.Cancelable():
			return hongyan.Errorf(hongyan.CodeTooLate, "The message is %s.", s)
		}
		if w.flags&flagEarlierUnclear != 0 {
			// Only the repeat can be stopped: the first attempt may have been delivered.
			err = t.uncertainAgain(gs, w)
		} else {
			err = t.end(gs, w, stCanceled, "")
		}
		if err != nil {
			return err
		}
		after := hongyan.StateCanceled
		if w.flags&flagEarlierUnclear != 0 {
			after = hongyan.StateUncertain
		}
		if err := t.auditStatus(w, after); err != nil {
			return err
		}
		return t.flush(gs)
	})
	if err != nil {
		return nil, err
	}
	return l.Message(ctx, id)
}

// Resolve settles an uncertain message by a person's word: delivered (its grant is spent),
// failed (its grant is returned) or queued (it is sent again, though the user may get it twice).
func (l *Ledger) Resolve(ctx context.Context, id hongyan.MessageID, as hongyan.State) (*hongyan.Message, error) {
	u, err := id.ULID()
	if err != nil {
		return nil, noMessage(id)
	}
	if as != hongyan.StateDelivered && as != hongyan.StateFailed && as != hongyan.StateQueued {
		return nil, hongyan.Invalid("/as", "not_in_list", "%q is no way to resolve; use one of: delivered, failed, queued.", clipped(string(as)))
	}
	err = l.write(ctx, "resolve message", func(t *txn) error {
		gs := make(grants)
		w, err := t.lockRow(gs, u)
		if err != nil {
			return err
		}
		if s := w.message.Status; s != hongyan.StateUncertain {
			if s == as {
				return nil
			}
			if s.Final() {
				return hongyan.Errorf(hongyan.CodeAlreadyFinal, "The message is %s; only an uncertain one can be resolved.", s)
			}
			return hongyan.Errorf(hongyan.CodeConflict, "The message is %s; only an uncertain one can be resolved.", s)
		}
		if err := t.resolve(gs, w, as); err != nil {
			return err
		}
		if err := t.auditStatus(w, as); err != nil {
			return err
		}
		if as.Final() {
			t.emitMessage(hongyan.EventMessageUncertainClosed, w.app, w.seq)
		}
		return t.flush(gs)
	})
	if err != nil {
		return nil, err
	}
	l.nudgeDue()
	return l.Message(ctx, id)
}

// auditStatus leaves a row about a message whose state somebody changes.
func (t *txn) auditStatus(w *row, as hongyan.State) error {
	return t.auditDiff(w.message.App, "message", string(w.message.ID), map[string]any{"status": w.message.Status}, map[string]any{"status": as})
}

func (t *txn) resolve(gs grants, w *row, as hongyan.State) error {
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.l.appByNo(w.app).kindOf(w.template))
	if err != nil {
		return err
	}
	switch as {
	case hongyan.StateDelivered:
		spent := int64(w.message.Reserved)
		if spent == 0 {
			if spent, err = t.spend(k, g, w.startedAt, string(w.message.ID), hongyan.SourceResolved); err != nil {
				return err
			}
		}
		t.countState(w.template, stDelivered, "", 0)
		_, err := t.exec(`/* ledger.resolve */ UPDATE messages SET state = 6, reason = 'resolved', reserved = ?, resend_at = NULL, updated_at = ? WHERE seq = ? AND state + 0 = 9`, spent, t.now, w.seq)
		return err
	case hongyan.StateFailed:
		t.countState(w.template, stFailed, reasonResolved, 0)
		if _, err := t.exec(`/* ledger.resolve */ UPDATE messages SET state = 8, reason = 'resolved', reserved = 0, resend_at = NULL, updated_at = ? WHERE seq = ? AND state + 0 = 9`, t.now, w.seq); err != nil {
			return err
		}
		return t.giveGrants(gs, w, int64(w.message.Reserved))
	default: // queued
		if w.flags&flagResent != 0 {
			return hongyan.Errorf(hongyan.CodeConflict, "The message was sent again once already; resolve it as delivered or failed.")
		}
		if ms(w.message.ExpiresAt) <= t.now {
			return hongyan.Errorf(hongyan.CodeConflict, "The message expired at %s and is not sent again; resolve it as delivered or failed.", w.message.ExpiresAt.Format(time.RFC3339))
		}
		return t.sendAgain(gs, w)
	}
}

// sendAgain queues an uncertain message once more, with a second grant if there is one,
// and not before its first call can no longer be under way.
func (t *txn) sendAgain(gs grants, w *row) error {
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.l.appByNo(w.app).kindOf(w.template))
	if err != nil {
		return err
	}
	reserved := int64(w.message.Reserved)
	if g.Kind != hongyan.KindLongTerm && g.Available > 0 && reserved < 2 {
		g.Take(1)
		g.dirty = true
		reserved++
	}
	var lease int64
	if err := t.row(`/* ledger.sendAgain */ SELECT lease_until FROM messages WHERE seq = ?`, []any{w.seq}, &lease); err != nil {
		return err
	}
	due := max(t.now, lease+resendAfter.Milliseconds())
	_, err = t.exec(`/* ledger.sendAgain */ UPDATE messages SET state = 3, reason = '', reserved = ?, due_at = ?, flags = flags | 5, resend_at = NULL, updated_at = ? WHERE seq = ? AND state + 0 = 9`,
		reserved, due, t.now, w.seq)
	t.touch(TopicMessages)
	t.after = append(t.after, t.l.nudgeDue)
	return err
}

// Cursors are opaque to callers: base64url of what the next page starts from.

func encodeIDCursor(id hongyan.MessageID) string {
	return base64.RawURLEncoding.EncodeToString([]byte("m" + id))
}

func decodeIDCursor(c string) (ulid.ULID, error) {
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err == nil && len(b) > 1 && b[0] == 'm' {
		if u, err := hongyan.MessageID(b[1:]).ULID(); err == nil {
			return u, nil
		}
	}
	return ulid.ULID{}, badCursor(c)
}

func encodeCursor(vs ...int64) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = strconv.FormatInt(v, 36)
	}
	return base64.RawURLEncoding.EncodeToString([]byte("n" + strings.Join(parts, ".")))
}

func decodeCursor(c string, into ...*int64) error {
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil || len(b) == 0 || b[0] != 'n' {
		return badCursor(c)
	}
	parts := strings.Split(string(b[1:]), ".")
	if len(parts) != len(into) {
		return badCursor(c)
	}
	for i, p := range parts {
		if *into[i], err = strconv.ParseInt(p, 36, 64); err != nil {
			return badCursor(c)
		}
	}
	return nil
}

func badCursor(c string) error {
	return hongyan.Invalid("/cursor", "cursor", "%q is not a cursor of this list; pass next_cursor as it came, or leave it out to start again.", clipped(strings.ToValidUTF8(c, "?")))
}
