package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// Joining lets a message be answered with another that says the same to the same user and is
// under way: a caller that got no answer asks again, and must not be sent two.
type Joining struct {
	// Uncertain is for how long one whose outcome is unclear is taken for the same.
	Uncertain time.Duration
	// Gone reports whether the caller of SendSync has left; nil: it stays. It is asked often,
	// the last time before WeChat is called.
	Gone func() bool
}

// twinKey is what a message says, to whom and how.
type twinKey struct {
	user, template int64
	data, options  string
}

// twin is a message under way that others may join: a row, or an item of this batch.
type twin struct {
	id      ulid.ULID
	item    *submitItem
	unheard string // the key of one that WeChat has, and nobody heard of it
}

func (it *submitItem) twinKey() twinKey {
	return twinKey{it.user, it.template.no, it.data, it.options}
}

// findTwins looks among the users' live messages for those that say what items of the batch
// say. No key is kept for it: what is under way is few, and has an index.
func (b *submitBatch) findTwins() error {
	if !b.joining {
		return nil
	}
	b.twins = make(map[twinKey]*twin)
	wanted := make(map[twinKey]time.Duration)
	users, templates := make(map[int64]bool), make(map[int64]bool)
	b.items(func(it *submitItem) {
		if it.join != nil && !b.fresh[userKey{it.app.no, it.message.To}] {
			wanted[it.twinKey()] = it.join.Uncertain
			users[it.user], templates[it.template.no] = true, true
		}
	})
	if len(wanted) == 0 {
		return nil
	}
	err := b.t.liveOf(sortedKeys(users), sortedKeys(templates), func(k twinKey, id ulid.ULID, state, changed int64) {
		uncertain, asked := wanted[k]
		switch {
		case !asked:
		case state == stQueued, state == stSending, state == stUncertain && b.t.now-changed <= uncertain.Milliseconds():
			b.twins[k] = &twin{id: id}
		}
	})
	if err != nil {
		return err
	}
	return b.findUnheard(wanted)
}

// unheardKeys are among an app's dedup keys, and no caller's.
const unheardKeys = "\x01same:"

// unheard is the key of a message of which nobody heard that it was sent.
func (k twinKey) unheard() string {
	b := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(k.user)), uint64(k.template))
	b = append(append(append(b, k.data...), 0), k.options...)
	sum := sha256.Sum256(b)
	return unheardKeys + base64.RawURLEncoding.EncodeToString(sum[:])
}

// rememberUnheard keeps accepted messages whose callers may not have the answer, so that a
// repeat is answered with them. That is rare: the caller had gone, or the answer was late.
func (t *txn) rememberUnheard(batch []*result) error {
	var rows [][]any
	for _, r := range batch {
		if r.keep > 0 {
			rows = append(rows, []any{r.job.app, r.job.says.unheard(), r.job.seq, t.now + r.keep.Milliseconds()})
		}
	}
	return t.insertUnheard(rows...)
}

func (t *txn) insertUnheard(rows ...[]any) error {
	if len(rows) == 0 {
		return nil
	}
	order := func(x, y []any) int {
		return cmp.Or(cmp.Compare(x[0].(int64), y[0].(int64)), cmp.Compare(x[1].(string), y[1].(string)))
	}
	slices.SortFunc(rows, order)
	// PostgreSQL takes no row twice in one statement.
	rows = slices.CompactFunc(rows, func(x, y []any) bool { return order(x, y) == 0 })
	return t.insertRows(`/* ledger.insertUnheard */ INSERT INTO dedup_keys`, dedupColumns, rows, t.l.d.upsert([]string{"app_no", "dedup_key"}, []string{"seq", "until"}))
}

// hearingOf keeps a stored message that nobody heard of, and lets one go of which somebody
// has heard now.
func (l *Ledger) hearingOf(it *submitItem) func(keep time.Duration) {
	app, key := it.app.no, it.twinKey().unheard()
	if it.result.Message.Duplicate {
		if it.unheard == "" {
			return func(time.Duration) {} // the first's caller will say
		}
		return func(keep time.Duration) {
			if keep == 0 {
				l.forgetUnheard(app, key)
			}
		}
	}
	seq := it.row.seq
	return func(keep time.Duration) {
		if keep == 0 {
			return
		}
		until := ms(l.Now().Add(keep))
		err := l.write(context.Background(), "remember what was not heard", func(t *txn) error {
			return t.insertUnheard([]any{app, key, seq, until})
		})
		if err != nil {
			l.log.Error("a repeat will be sent as a message of its own", "err", err)
		}
	}
}

// findUnheard looks for messages that WeChat has and of which nobody heard.
func (b *submitBatch) findUnheard(wanted map[twinKey]time.Duration) error {
	byApp, says := make(map[int64][]any), make(map[string]twinKey)
	b.items(func(it *submitItem) {
		k := it.twinKey()
		if _, asked := wanted[k]; asked && it.join != nil {
			key := k.unheard()
			if _, seen := says[key]; !seen {
				says[key], byApp[it.app.no] = k, append(byApp[it.app.no], key)
			}
		}
	})
	for _, app := range sortedKeys(byApp) {
		list, args := b.l.d.list(byApp[app], kindText)
		err := b.t.rows(`/* ledger.findUnheard */ SELECT d.dedup_key, m.id FROM dedup_keys d JOIN messages m ON m.seq = d.seq WHERE d.app_no = ? AND d.dedup_key `+list+` AND d.until > ? AND m.state BETWEEN 5 AND 7`,
			append(append([]any{app}, args...), b.t.now), func(r scanner) error {
				var key string
				var id []byte
				err := r.Scan(&key, &id)
				if err == nil && b.twins[says[key]] == nil {
					b.twins[says[key]] = &twin{id: ulid.ULID(id), unheard: key}
				}
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetUnheard lets the same be sent anew: a repeat has been answered.
func (l *Ledger) forgetUnheard(app int64, key string) {
	err := l.write(context.Background(), "forget what was not heard", func(t *txn) error {
		_, err := t.exec(`/* ledger.forgetUnheard */ DELETE FROM dedup_keys WHERE app_no = ? AND dedup_key = ?`, app, key)
		return err
	})
	if err != nil {
		l.log.Error("a repeat will be taken for the message before it for some minutes", "err", err)
	}
}

// liveOf lists what is under way of the users and templates.
func (t *txn) liveOf(users, templates []int64, each func(k twinKey, id ulid.ULID, state, changed int64)) error {
	anys := func(list []int64) []any {
		out := make([]any, len(list))
		for i, v := range list {
			out[i] = v
		}
		return out
	}
	us, args := t.l.d.list(anys(users), kindInt)
	ts, more := t.l.d.list(anys(templates), kindInt)
	cond := t.l.d.live(us, ts)
	args = argsOf(cond, append(args, more...))
	return t.rows(`/* ledger.twins */ SELECT m.user_no, m.template_no, m.data, m.options, m.id, m.state, m.updated_at FROM messages m WHERE `+cond, args, func(r scanner) error {
		var k twinKey
		var id []byte
		var state, changed int64
		if err := r.Scan(&k.user, &k.template, &k.data, &k.options, &id, &state, &changed); err != nil {
			return err
		}
		each(k, ulid.ULID(id), state, changed)
		return nil
	})
}

// joinTwin answers an item with the message that says the same, if there is one.
func (b *submitBatch) joinTwin(it *submitItem) (bool, error) {
	if it.join == nil {
		return false, nil
	}
	tw := b.twins[it.twinKey()]
	if tw == nil {
		return false, nil
	}
	var m hongyan.Message
	if tw.item != nil {
		m = *tw.item.result.Message
	} else {
		first, err := b.t.message(tw.id)
		if err != nil {
			return false, err
		}
		m = *first
		b.l.showDue(&m)
	}
	m.Duplicate = true
	it.unheard = tw.unheard
	it.result = SubmitResult{Message: &m}
	return true, nil
}
