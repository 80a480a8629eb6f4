package ledger

import (
	"database/sql"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// messageColumns are what scanMessage reads.
const messageColumns = `m.seq, m.id, m.app_no, m.template_no, m.user_no, u.openid, m.state, m.reason, m.priority, m.due_at, m.expires_at, m.reserved,
	m.busy, m.same_user, m.unsent, m.flags, m.attempt, m.class, m.errcode, m.errmsg, m.msgid, m.started_at, m.ended_at, m.data, m.options, m.created_at, m.updated_at`

// row is a message as the database has it.
type row struct {
	seq, app, template, user int64
	state, flags, attempt    int64
	message                  hongyan.Message
	latest                   *hongyan.Attempt // nil while it runs and before the first
	startedAt                int64
	options                  options
}

type scanner interface{ Scan(...any) error }

func (l *Ledger) scanMessage(r scanner) (*row, error) {
	var w row
	m := &w.message
	var id []byte
	var priority, due, expires, created, updated, ended int64
	var class, errmsg sql.NullString
	var errcode, msgid sql.NullInt64
	var data, opts string
	if err := r.Scan(&w.seq, &id, &w.app, &w.template, &w.user, &m.To, &w.state, &m.Reason, &priority, &due, &expires, &m.Reserved,
		&m.Progress.Busy, &m.Progress.SameUser, &m.Progress.Unsent, &w.flags, &w.attempt, &class, &errcode, &errmsg, &msgid, &w.startedAt, &ended,
		&data, &opts, &created, &updated); err != nil {
		return nil, err
	}
	m.ID = hongyan.MessageIDOf(ulid.ULID(id))
	a := l.appByNo(w.app)
	m.App, m.Template = a.app.AppID, a.templateID(w.template)
	m.Status, m.Priority = word(stateWords, w.state), word(priorityWords, priority)
	m.SendAt, m.ExpiresAt, m.CreatedAt, m.UpdatedAt = at(due), at(expires), at(created), at(updated)
	m.Attempt = int(w.attempt)
	m.Progress.EarlierUnclear = w.flags&flagEarlierUnclear != 0
	m.Progress.HeldOnce = w.flags&flagHeldOnce != 0
	m.Progress.Resent = w.flags&flagResent != 0
	m.DataErased = w.flags&flagErased != 0
	var err error
	if w.options, err = parseOptions(opts); err != nil {
		return nil, err
	}
	w.options.into(m)
	if m.Data, err = parseData(data); err != nil {
		return nil, err
	}
	if class.Valid {
		at1 := attemptOf(w.attempt, class.String, errcode, errmsg.String, msgid, w.startedAt, ended)
		w.latest = &at1
		m.Errcode, m.Errmsg, m.MsgID = at1.Errcode, at1.Errmsg, at1.MsgID
	}
	return &w, nil
}

// lockRows locks the grants of rows that were read before, then the rows, and reads them
// again. What is gone is left out.
func (t *txn) lockRows(gs grants, rows []*row) ([]*row, error) {
	keys := make(map[grantKey]hongyan.TemplateKind, len(rows))
	for _, w := range rows {
		keys[grantKey{w.user, w.template}] = t.l.appByNo(w.app).kindOf(w.template)
	}
	if err := t.lockGrants(gs, keys); err != nil {
		return nil, err
	}
	seqs := make([]any, len(rows))
	for i, w := range rows {
		seqs[i] = w.seq
	}
	list, args := t.l.d.list(seqs, kindInt)
	if t.l.d.lock != "" {
		if err := t.rows(`/* ledger.lockRows */ SELECT seq FROM messages WHERE seq `+list+` ORDER BY seq`+t.l.d.lock, args, func(scanner) error { return nil }); err != nil {
			return nil, err
		}
	}
	now := make(map[int64]*row, len(rows))
	err := t.rows(`/* ledger.lockRows */ SELECT `+messageColumns+` FROM messages m JOIN users u ON u.no = m.user_no WHERE m.seq `+list, args, func(r scanner) error {
		w, err := t.l.scanMessage(r)
		if err == nil {
			now[w.seq] = w
		}
		return err
	})
	out := make([]*row, 0, len(rows))
	for _, w := range rows {
		if w := now[w.seq]; w != nil {
			out = append(out, w)
		}
	}
	return out, err
}

// rowAt reads one row that is locked.
func (t *txn) rowAt(seq int64) (w *row, err error) {
	err = t.rows(`/* ledger.rowAt */ SELECT `+messageColumns+` FROM messages m JOIN users u ON u.no = m.user_no WHERE m.seq = ?`, []any{seq}, func(r scanner) (err error) {
		w, err = t.l.scanMessage(r)
		return err
	})
	if err == nil && w == nil {
		err = sql.ErrNoRows
	}
	return w, err
}

// lockRow is lockRows for the message of an id.
func (t *txn) lockRow(gs grants, id ulid.ULID) (*row, error) {
	w, err := t.messageRow(id)
	if err != nil {
		return nil, err
	}
	rows, err := t.lockRows(gs, []*row{w})
	if err == nil && len(rows) == 0 {
		err = noMessage(hongyan.MessageIDOf(id))
	}
	if err != nil {
		return nil, err
	}
	return rows[0], nil
}
