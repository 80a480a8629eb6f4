package ledger

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Where one process writes (SQLite), a message that goes straight to its sender is not written
// into its table by the commit that puts it on disk: that row is new, changes a moment later when
// WeChat has answered, and costs an entry in each index both times. The commit writes its messages
// and results as one row of the table journal, and memory has them at hand. They go home, into
// messages, many at once and as a rule in their last state, when there are enough of them or
// when a statement that asks for messages comes: whoever reads never sees what is not there
// yet. A stop leaves them, as a crash does, and the start after it reads them (docs/decisions/0006).
type journal struct {
	// rows have not gone home; the writer's alone, as is by, the same by seq.
	rows []*journaled
	by   map[int64]*journaled
	some atomic.Bool // there are some
}

// journaled is a message in the journal.
type journaled struct {
	row  []any // of journalColumns
	over bool  // accepted: what follows it writes the table
}

// journalMost is how many messages are in the journal before those that are over go home.
const journalMost = 512

// pastJournal, in a statement, says that it does not ask for messages in the journal: those that
// wait are never there, and those whose keys are at hand have been looked for.
const pastJournal = "/* past the journal */ "

var journalColumns = append(slices.Clone(messageInsert), column{"class", kindText}, column{"errcode", kindInt}, column{"msgid", kindInt}, column{"ended_at", kindInt})

// Places in a row of journalColumns.
var (
	journalSeq      = placeOf("seq")
	journalState    = placeOf("state")
	journalReserved = placeOf("reserved")
	journalAttempt  = placeOf("attempt")
	journalStarted  = placeOf("started_at")
	journalUpdated  = placeOf("updated_at")
	journalClass    = placeOf("class")
	journalErrcode  = placeOf("errcode")
	journalMsgID    = placeOf("msgid")
	journalEnded    = placeOf("ended_at")
)

func placeOf(name string) int {
	return slices.IndexFunc(journalColumns, func(c column) bool { return c.name == name })
}

func (m *journaled) int(place int) int64 { return m.row[place].(int64) }

// acceptance is what became of a journaled message.
type acceptance struct{ seq, msgid, started, ended int64 }

func (m *journaled) accept(a acceptance) {
	m.over = true
	m.row[journalState], m.row[journalClass], m.row[journalErrcode] = int64(stAccepted), "ok", int64(0)
	m.row[journalStarted], m.row[journalEnded], m.row[journalUpdated] = a.started, a.ended, a.ended
	if a.msgid != 0 {
		m.row[journalMsgID] = a.msgid
	}
}

// journaling is what one transaction does to the journal.
type journaling struct {
	j     *journal
	home  bool         // what was there before it has gone home
	off   bool         // it writes no more of it
	fresh []*journaled // its own messages
	ends  map[int64]acceptance
}

// journaling is nil where the journal is not used.
func (l *Ledger) journaling() *journaling {
	if !l.d.alone {
		return nil
	}
	return &journaling{j: &l.journal}
}

// add takes over a message that is being sent; false: it belongs into its table.
func (x *journaling) add(row []any) bool {
	if x == nil || x.off {
		return false
	}
	x.fresh = append(x.fresh, &journaled{row: append(slices.Clip(row), nil, nil, nil, int64(0))})
	return true
}

// accept takes over what became of a message in the journal; false: it is not there, or not as
// the result takes it to be.
func (x *journaling) accept(a acceptance, attempt, need int64) bool {
	if x == nil || x.off || x.home {
		return false
	}
	m := x.j.by[a.seq]
	if m == nil || m.over || m.int(journalAttempt) != attempt || m.int(journalReserved) < need {
		return false
	}
	if _, twice := x.ends[a.seq]; twice {
		return false
	}
	if x.ends == nil {
		x.ends = make(map[int64]acceptance)
	}
	x.ends[a.seq] = a
	return true
}

// has reports whether a message is in the journal.
func (x *journaling) has(seq int64) bool { return x != nil && !x.home && x.j.by[seq] != nil }

// rows is what the journal has as the transaction stands.
func (x *journaling) rows() []*journaled {
	if x == nil {
		return nil
	}
	var all []*journaled
	if !x.home {
		for _, m := range x.j.rows {
			if a, ended := x.ends[m.int(journalSeq)]; ended {
				m = &journaled{row: slices.Clone(m.row)}
				m.accept(a)
			}
			all = append(all, m)
		}
	}
	return append(all, x.fresh...)
}

// bringHome writes the journal's messages into their table.
func (t *txn) bringHome() error {
	if x := t.journaling; len(x.fresh) == 0 && (x.home || len(x.j.rows) == 0) {
		return nil
	}
	return t.empty(t.journaling.rows(), nil)
}

// leaveJournal lets the rest of the transaction do without: a savepoint takes back what is in
// tables alone.
func (t *txn) leaveJournal() error {
	x := t.journaling
	if x == nil || x.off {
		return nil
	}
	x.off = true
	return t.bringHome()
}

// empty empties the journal but for what stays, which the transaction writes anew.
func (t *txn) empty(home, stay []*journaled) error {
	x := t.journaling
	rows := make([][]any, len(home))
	for i, m := range home {
		rows[i] = m.row
	}
	slices.SortFunc(rows, func(a, b []any) int { return cmp.Compare(a[journalSeq].(int64), b[journalSeq].(int64)) })
	if err := t.insertRows(`/* ledger.journal */ `+pastJournal+`INSERT INTO messages`, journalColumns, rows, ""); err != nil {
		return err
	}
	if !x.home && len(x.j.rows) > 0 {
		if _, err := t.exec(`/* ledger.journal */ DELETE FROM journal`); err != nil {
			return err
		}
	}
	x.home, x.fresh, x.ends = true, stay, nil
	return nil
}

// writeJournal ends the transaction's part: what it added is one row. A journal that has become
// long keeps what is still under way.
func (t *txn) writeJournal() error {
	x := t.journaling
	if x == nil || len(x.fresh)+len(x.ends) == 0 {
		return nil
	}
	if n := len(x.j.rows) + len(x.fresh); n > journalMost && !x.home {
		var over, under []*journaled
		for _, m := range x.rows() {
			if m.over {
				over = append(over, m)
			} else {
				under = append(under, m)
			}
		}
		if len(under) > journalMost/2 { // they would be written again and again
			over, under = x.rows(), nil
		}
		if err := t.empty(over, under); err != nil {
			return err
		}
		if len(under) == 0 {
			return nil
		}
	}
	_, err := t.exec(`/* ledger.journal */ INSERT INTO journal (body) VALUES (?)`, encodeJournal(x.fresh, slices.Collect(maps.Values(x.ends))))
	return err
}

// committed makes the transaction's journal the ledger's.
func (x *journaling) committed() {
	if x == nil {
		return
	}
	j := x.j
	if x.home {
		j.rows, j.by = nil, nil
	}
	for _, a := range x.ends {
		j.by[a.seq].accept(a)
	}
	for _, m := range x.fresh {
		j.add(m)
	}
	j.some.Store(len(j.rows) > 0)
}

func (j *journal) add(m *journaled) {
	if j.by == nil {
		j.by = make(map[int64]*journaled)
	}
	j.rows, j.by[m.int(journalSeq)] = append(j.rows, m), m
}

// settleTime is how long results may wait for the disk before readers are told, rather than wait too.
const settleTime = 5 * time.Second

// settle brings home what is in the journal, for a reader that asks for messages.
func (l *Ledger) settle(ctx context.Context, query string) error {
	if !l.journal.some.Load() || l.texts.concerns(query)&asksMessages == 0 {
		return nil
	}
	if l.results.waiting() > settleTime {
		return unsettled() // at once, rather than each in its turn
	}
	l.turns.writer.Lock()
	defer l.turns.writer.Unlock()
	if !l.journal.some.Load() {
		return nil
	}
	if err := l.once(context.WithoutCancel(ctx), "bring messages home", (*txn).bringHome); err != nil {
		l.log.ErrorContext(ctx, "messages not readable", "err", err)
		return fmt.Errorf("%w: %w", err, unsettled())
	}
	return nil
}

func unsettled() error {
	return hongyan.Errorf(hongyan.CodeStorageUnavailable, "The newest messages could not be written into their table, so nothing that asks for messages is answered. See the log for what is wrong with the disk, and try again.")
}

// readJournal reads what is in the journal at a start; the first statement that asks for messages
// brings it home.
func (l *Ledger) readJournal(ctx context.Context) error {
	if !l.d.alone {
		return nil
	}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.readJournal */ SELECT body FROM journal ORDER BY no`)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	j := &l.journal
	err = eachRow(rs, func(r scanner) error {
		var body []byte
		if err := r.Scan(&body); err != nil {
			return err
		}
		fresh, ends, err := decodeJournal(body)
		if err != nil {
			return err
		}
		for _, m := range fresh {
			j.add(m)
		}
		for _, a := range ends {
			m := j.by[a.seq]
			if m == nil {
				return fmt.Errorf("a result of message %d, which is not there: %w", a.seq, errJournal)
			}
			m.accept(a)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	j.some.Store(len(j.rows) > 0)
	return nil
}

var errJournal = errors.New("the database's journal is damaged; restore it from a backup")

// A row of the table journal is a version, how many messages, their columns, how many results,
// and those. A column is its kind and its value. A change of journalColumns is a new version, and
// the one before is still read: a stop leaves rows behind, and so may an upgrade find some.
const journalVersion = 1

const (
	journalNil = iota
	journalInt
	journalText
	journalBytes
)

func encodeJournal(fresh []*journaled, ends []acceptance) []byte {
	size := 64 + 40*len(ends)
	for _, m := range fresh {
		size += 200
		for _, v := range m.row {
			if s, ok := v.(string); ok {
				size += len(s)
			}
		}
	}
	b := append(make([]byte, 0, size), journalVersion)
	b = binary.AppendUvarint(b, uint64(len(fresh)))
	for _, m := range fresh {
		for _, v := range m.row {
			switch v := v.(type) {
			case nil:
				b = append(b, journalNil)
			case int64:
				b = binary.AppendVarint(append(b, journalInt), v)
			case string:
				b = append(binary.AppendUvarint(append(b, journalText), uint64(len(v))), v...)
			case []byte:
				b = append(binary.AppendUvarint(append(b, journalBytes), uint64(len(v))), v...)
			default:
				panic(fmt.Sprintf("%T in the journal", v)) // a column was added without its type
			}
		}
	}
	b = binary.AppendUvarint(b, uint64(len(ends)))
	for _, a := range ends {
		for _, v := range []int64{a.seq, a.msgid, a.started, a.ended} {
			b = binary.AppendVarint(b, v)
		}
	}
	return b
}

func decodeJournal(body []byte) (fresh []*journaled, ends []acceptance, err error) {
	d := journalReader{b: body}
	if v := d.byte(); v != journalVersion {
		return nil, nil, fmt.Errorf("version %d: %w", v, errJournal)
	}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		m := &journaled{row: make([]any, len(journalColumns))}
		for i := range m.row {
			switch kind := d.byte(); kind {
			case journalNil:
			case journalInt:
				m.row[i] = d.varint()
			case journalText:
				m.row[i] = string(d.bytes())
			case journalBytes:
				m.row[i] = slices.Clone(d.bytes())
			default:
				d.bad = true
			}
		}
		for _, place := range []int{journalSeq, journalReserved, journalAttempt} {
			if _, ok := m.row[place].(int64); !ok {
				d.bad = true
			}
		}
		m.over = m.row[journalState] == int64(stAccepted)
		fresh = append(fresh, m)
	}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		ends = append(ends, acceptance{d.varint(), d.varint(), d.varint(), d.varint()})
	}
	if d.bad || len(d.b) > 0 {
		return nil, nil, errJournal
	}
	return fresh, ends, nil
}

// journalReader takes a row of the journal apart; bad says that it is no such row.
type journalReader struct {
	b   []byte
	bad bool
}

func (d *journalReader) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *journalReader) bytes() []byte { return d.take(d.uvarint()) }

func (d *journalReader) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *journalReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.advance(n)
	return v
}

func (d *journalReader) varint() int64 {
	v, n := binary.Varint(d.b)
	d.advance(n)
	return v
}

func (d *journalReader) advance(n int) {
	if n <= 0 {
		d.bad = true
		return
	}
	d.b = d.b[n:]
}
