package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

type dedupKey struct {
	app int64
	key string
}

// dedupRow is who holds a dedup key: a message in the database, or one of this batch.
type dedupRow struct {
	seq, until int64
	id         []byte
	freed      bool        // that message lets the key go
	item       *submitItem // of this batch
	dirty      bool
}

// lockDedup finds who holds the batch's dedup keys.
func (b *submitBatch) lockDedup() error {
	byApp := make(map[int64][]string)
	b.items(func(it *submitItem) {
		k := dedupKey{it.app.no, it.message.DedupKey}
		if k.key != "" && b.dedup[k] == nil {
			b.dedup[k] = &dedupRow{freed: true}
			byApp[k.app] = append(byApp[k.app], k.key)
		}
	})
	for _, app := range sortedKeys(byApp) {
		slices.Sort(byApp[app])
		for part := range slices.Chunk(byApp[app], lookupMost) {
			if err := b.readDedup(app, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookupMost is how many keys one statement looks for.
const lookupMost = 512

var dedupColumns = []column{{"app_no", kindInt}, {"dedup_key", kindText}, {"seq", kindInt}, {"until", kindInt}}

func (b *submitBatch) readDedup(app int64, keys []string) error {
	vs := make([]any, len(keys))
	rows := make([][]any, len(keys))
	for i, k := range keys {
		vs[i], rows[i] = k, []any{app, k, int64(0), int64(0)}
	}
	if !b.l.d.alone { // a row to lock; the purge takes away those that nobody used
		if err := b.t.insertRows(`/* ledger.lockDedup */ INSERT INTO dedup_keys`, dedupColumns, rows, ` ON CONFLICT (app_no, dedup_key) DO NOTHING`); err != nil {
			return err
		}
	}
	list, args := b.l.d.list(vs, kindText)
	held := make(map[int64]*dedupRow)
	var seqs []any
	err := b.t.rows(`/* ledger.lockDedup */ SELECT dedup_key, seq, until FROM dedup_keys WHERE app_no = ? AND dedup_key `+list+` ORDER BY app_no, dedup_key`+b.l.d.lock, append([]any{app}, args...),
		func(r scanner) error {
			var key string
			var seq, until int64
			err := r.Scan(&key, &seq, &until)
			if d := b.dedup[dedupKey{app, key}]; d != nil && until > b.t.now {
				d.seq, d.until = seq, until
				held[seq], seqs = d, append(seqs, seq)
			}
			return err
		})
	if err != nil || len(seqs) == 0 {
		return err
	}
	list, args = b.l.d.list(seqs, kindInt)
	return b.t.rows(`/* ledger.lockDedup */ SELECT seq, id, state, attempt, reason FROM messages WHERE seq `+list, args, func(r scanner) error {
		var seq, state, attempt int64
		var reason string
		var id []byte
		err := r.Scan(&seq, &id, &state, &attempt, &reason)
		if d := held[seq]; d != nil {
			unsent := attempt == 0 || reason == string(hongyan.CodeWeChatUnreachable)
			d.id, d.freed = id, state == stCanceled || state == stExpired || state == stFailed && unsent
		}
		return err
	})
}

func (b *submitBatch) flushDedup() error {
	var keys []dedupKey
	for k, d := range b.dedup {
		if d.dirty && d.item != nil {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, func(x, y dedupKey) int { return cmp.Or(cmp.Compare(x.app, y.app), cmp.Compare(x.key, y.key)) })
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{k.app, k.key, b.dedup[k].item.row.seq, b.t.now + dedupKept.Milliseconds()}
	}
	return b.t.insertRows(`/* ledger.flushDedup */ INSERT INTO dedup_keys`, dedupColumns, rows, b.l.d.upsert([]string{"app_no", "dedup_key"}, []string{"seq", "until"}))
}

const dedupKept = 24 * time.Hour

// duplicate answers with the first message of the dedup key, unless that freed the key:
// canceled, expired, or failed without a request to WeChat.
func (b *submitBatch) duplicate(it *submitItem) (bool, error) {
	d := b.dedup[dedupKey{it.app.no, it.message.DedupKey}]
	if d == nil || d.freed {
		return false, nil
	}
	var m hongyan.Message
	if d.item != nil {
		m = *d.item.result.Message
	} else {
		first, err := b.t.message(ulid.ULID(d.id))
		if err != nil {
			return false, err
		}
		m = *first
		b.l.showDue(&m)
	}
	m.Duplicate = true
	it.result = SubmitResult{Message: &m}
	return true, nil
}
