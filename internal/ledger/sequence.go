package ledger

import (
	"sync"
)

// sequences hands out integer keys in blocks, so that a key costs no statement.
type sequences struct {
	mu sync.Mutex
	m  map[string]*block
}

type block struct{ next, end int64 }

const seqBlock = 10_000

// nextNo gives the next key of a table. A rollback wastes the rest of its block, which does no harm.
func (t *txn) nextNo(name string) (int64, error) {
	s := &t.l.seqs
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.m[name]
	if b == nil || b.next == b.end {
		var err error
		if b, err = t.nextBlock(name); err != nil {
			return 0, err
		}
		if s.m == nil {
			s.m = make(map[string]*block)
		}
		s.m[name] = b
		t.undo = append(t.undo, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.m[name] == b { // another transaction may have taken the next one since
				delete(s.m, name)
			}
		})
	}
	v := b.next
	b.next++
	return v, nil
}

// nextBlock takes keys for this process. Where several transactions run at once, one that
// fails must not take back a block that another is using by then, so it has its own.
func (t *txn) nextBlock(name string) (b *block, err error) {
	if !t.l.d.alone {
		err = t.l.apart(t.ctx, func(apart *txn) error {
			b, err = apart.takeBlock(name)
			return err
		})
		return b, err
	}
	return t.takeBlock(name)
}

func (t *txn) takeBlock(name string) (*block, error) {
	if _, err := t.exec(`/* ledger.nextNo */ INSERT INTO sequences (name, next) VALUES (?, 1) ON CONFLICT (name) DO NOTHING`, name); err != nil {
		return nil, err
	}
	if _, err := t.exec(`/* ledger.nextNo */ UPDATE sequences SET next = next + ? WHERE name = ?`, seqBlock, name); err != nil {
		return nil, err
	}
	var end int64
	err := t.row(`/* ledger.nextNo */ SELECT next FROM sequences WHERE name = ?`, []any{name}, &end)
	return &block{next: end - seqBlock, end: end}, err
}
