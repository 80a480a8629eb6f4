package ledger

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// Figures are written where they come to be: the transaction that changes a message or a
// grant adds a row to stat_deltas, of its own key, so that no two wait for each other; the
// upkeep adds them up in stats, and whoever reads adds both (docs/decisions/0005).

// What is counted, as the database has it: states have their own numbers.
const (
	whatSubmitted = 12
	whatGranted   = 13
	whatRejected  = 14
	whatVoided    = 15
)

const (
	hourMS = int64(3_600_000)
	// statsKept is how long figures stay, in hours.
	statsKept = 400 * 24
)

// counted is what a transaction adds to one figure of its hour.
type counted struct {
	template, what int64
	reason         hongyan.Code
	errcode        int64
	n              int64
}

// countLook is how far back a transaction looks for the same figure; whatever it misses is
// added up at its end.
const countLook = 16

// count adds to a figure; it is written at the transaction's end.
func (t *txn) count(c counted) {
	if c.n == 0 {
		return
	}
	if c.what < whatGranted {
		t.touch(TopicMessages)
	}
	for i := len(t.counts) - 1; i >= max(t.saved, len(t.counts)-countLook); i-- {
		if x := &t.counts[i]; x.template == c.template && x.what == c.what && x.errcode == c.errcode && x.reason == c.reason {
			x.n += c.n
			return
		}
	}
	t.counts = append(t.counts, c)
}

// countState counts a message that has come to a state.
func (t *txn) countState(template, state int64, reason hongyan.Code, errcode int64) {
	if state != stFailed && state != stUndelivered {
		reason, errcode = "", 0
	}
	switch state {
	case stScheduled, stQueued, stSending: // on its way
		t.touch(TopicMessages)
		return
	}
	t.count(counted{template, state, reason, errcode, 1})
}

// reasonResolved is what messages say that a person has settled.
const reasonResolved = hongyan.ReasonResolved

// countEntry counts a change of a grant's history.
func (t *txn) countEntry(k grantKey, e entry) {
	t.touch(TopicGrants)
	t.count(counted{template: k.template, what: whatGranted, n: e.granted})
	t.count(counted{template: k.template, what: whatVoided, n: e.voided})
	if class := hongyan.ClassifyChoice(e.choice); class == hongyan.ChoiceReject || class == hongyan.ChoiceBan {
		t.count(counted{template: k.template, what: whatRejected, n: 1})
	}
}

var (
	statColumns  = []column{{"template_no", kindInt}, {"hour", kindInt}, {"what", kindInt}, {"reason", kindText}, {"errcode", kindInt}, {"n", kindInt}}
	deltaColumns = append([]column{{"id", kindBytes}}, statColumns...)
)

// writeCounts writes what the transactions that share a commit have counted.
func writeCounts(ts []*txn) error {
	var sum txn
	for _, t := range ts {
		for _, c := range t.counts {
			sum.count(c)
		}
	}
	if len(sum.counts) == 0 {
		return nil
	}
	t := ts[0]
	rows := make([][]any, len(sum.counts))
	var id ulid.ULID
	for i, c := range sum.counts {
		id = t.l.newID(t.now)
		rows[i] = []any{bytes.Clone(id[:]), c.template, t.now / hourMS, c.what, string(c.reason), c.errcode, c.n}
	}
	t.after = append(t.after, func() { t.l.stats.wrote(id) })
	return t.insertRows(`/* ledger.count */ INSERT INTO stat_deltas`, deltaColumns, rows, "")
}

// statsState is what this process knows of the deltas.
type statsState struct {
	some atomic.Bool               // it has written some since the last fold
	mine atomic.Pointer[ulid.ULID] // the newest of its own
}

func (s *statsState) wrote(id ulid.ULID) {
	s.mine.Store(&id)
	s.some.Store(true)
}

const (
	foldStatsEvery = 2 * time.Second
	// foldStatsIdle is how soon those of another process are added up, which may have died.
	foldStatsIdle = 30 * time.Second
)

// foldStatsMost is how many deltas one transaction adds up.
const foldStatsMost = lookupMost

// FoldStats adds up the deltas. The server does so by itself; tests call it to see both sides.
func (l *Ledger) FoldStats(ctx context.Context) error {
	l.stats.some.Store(false)
	for {
		n, err := l.foldStats(ctx)
		if err != nil {
			return fmt.Errorf("add up figures: %w", err)
		}
		if n < foldStatsMost {
			return nil
		}
	}
}

// foldStats moves some deltas. What another replica is moving is left to it.
func (l *Ledger) foldStats(ctx context.Context) (n int, err error) {
	var some bool
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.foldStats */ SELECT EXISTS (SELECT 1 FROM stat_deltas)`).Scan(&some); err != nil || !some {
		return 0, err
	}
	err = l.write(ctx, "add up figures", func(t *txn) error {
		sums := make(map[statKey]int64)
		var ids []any
		err := t.rows(`/* ledger.foldStats */ SELECT id, template_no, hour, what, reason, errcode, n FROM stat_deltas ORDER BY id LIMIT ?`+t.l.d.skip, []any{foldStatsMost}, func(r scanner) error {
			var id []byte
			var k statKey
			var add int64
			err := r.Scan(&id, &k.template, &k.hour, &k.what, &k.reason, &k.errcode, &add)
			ids = append(ids, bytes.Clone(id))
			sums[k] += add
			return err
		})
		n = len(ids)
		if err != nil || n == 0 {
			return err
		}
		if err := t.addStats(sums); err != nil {
			return err
		}
		list, args := t.l.d.list(ids, kindBytes)
		if _, err := t.exec(`/* ledger.foldStats */ DELETE FROM stat_deltas WHERE id `+list, args...); err != nil {
			return err
		}
		return t.markFolded(ids[n-1].([]byte))
	})
	return n, err
}

type statKey struct {
	template, hour, what int64
	reason               string
	errcode              int64
}

func byStatKey(a, b statKey) int {
	return cmp.Or(cmp.Compare(a.template, b.template), cmp.Compare(a.hour, b.hour), cmp.Compare(a.what, b.what), cmp.Compare(a.reason, b.reason), cmp.Compare(a.errcode, b.errcode))
}

// addStats adds to rows in the order of their keys: two replicas must not wait for each other.
func (t *txn) addStats(sums map[statKey]int64) error {
	rows := make([][]any, 0, len(sums))
	for _, k := range slices.SortedFunc(maps.Keys(sums), byStatKey) {
		rows = append(rows, []any{k.template, k.hour, k.what, k.reason, k.errcode, sums[k]})
	}
	return t.insertRows(`/* ledger.addStats */ INSERT INTO stats`, statColumns, rows, t.l.d.addStats)
}

// statsName is where the newest delta stands that was added up: with it, replicas see that
// others have written some, also when those are gone already.
const statsName = "stats"

func (t *txn) markFolded(id []byte) error {
	if _, err := t.exec(`/* ledger.markFolded */ INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, statsName, id); err != nil {
		return err
	}
	_, err := t.exec(`/* ledger.markFolded */ UPDATE meta SET value = ? WHERE name = ? AND value < ?`, id, statsName, id)
	return err
}
