package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSequences shows that a key block that was taken in a part that is rolled back is not
// handed out from memory: the table would hand it out again.
func TestSequences(t *testing.T) {
	t.Parallel()
	l := planLedger(t)
	ctx := context.Background()
	refused := errors.New("refused")
	seen := make(map[int64]bool)
	next := func(t *txn) error {
		no, err := t.nextNo("test")
		if seen[no] {
			return errors.New("a key was handed out twice")
		}
		seen[no] = true
		return err
	}
	forget := func(from map[int64]bool) { seen = from }
	for range 3 {
		if err := l.write(ctx, "whole", func(t *txn) error { return errors.Join(next(t), refused) }); !errors.Is(err, refused) || strings.Contains(err.Error(), "twice") {
			t.Fatal(err)
		}
		forget(map[int64]bool{}) // rolled back: nothing has those keys
	}
	if err := l.write(ctx, "part", func(t *txn) error {
		start, err := t.save()
		if err := errors.Join(err, next(t)); err != nil {
			return err
		}
		return t.rollbackTo(start)
	}); err != nil {
		t.Fatal(err)
	}
	forget(map[int64]bool{})
	for range 3 {
		if err := l.write(ctx, "kept", next); err != nil {
			t.Fatal(err)
		}
		l.seqs.mu.Lock()
		delete(l.seqs.m, "test") // as a restart would
		l.seqs.mu.Unlock()
	}
}

// TestPlainNames keeps paths with odd characters working: they become part of a URI.
func TestPlainNames(t *testing.T) {
	t.Parallel()
	raw := make([]byte, 32)
	key, err := NewMasterKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a b?c#d%20鸿雁", "hongyan.db")
	for range 2 {
		l, err := Open(t.Context(), Config{DB: "sqlite:" + path, MasterKey: key})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
