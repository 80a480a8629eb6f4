package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// sequences hands out integer keys in blocks, so that a key costs no statement.
type sequences struct {
	mu sync.Mutex
	m  map[string]*block
	// message is the greatest key that a message may have so far.
	message int64
}

// last is the greatest key that a message may have so far: later ones have greater.
func (s *sequences) last() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.message
}

// readLast reads it at start.
func (l *Ledger) readLast(ctx context.Context) error {
	l.seqs.mu.Lock()
	defer l.seqs.mu.Unlock()
	clear(l.seqs.m)
	err := l.rdb.QueryRowContext(ctx, `/* ledger.readLast */ SELECT next - 1 FROM sequences WHERE name = 'messages'`).Scan(&l.seqs.message)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read the last key: %w", err)
	}
	return nil
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
		was := s.message
		t.undo = append(t.undo, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.message = was     // the same keys are handed out again, where one process writes
			if s.m[name] == b { // another transaction may have taken the next one since
				delete(s.m, name)
			}
		})
	}
	v := b.next
	b.next++
	if name == "messages" {
		s.message = v
	}
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
