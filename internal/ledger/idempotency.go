package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Idempotency names one request of a caller, so that its repeat gets the first one's answer.
type Idempotency struct {
	Owner string // the API key's id
	Route string // method and path
	Key   string
	Hash  [sha256.Size]byte // of the body
}

// IdempotencyRecord is what is kept of an answer: never a secret, only where to find the resource.
type IdempotencyRecord struct {
	Status int
	// Resource is the id of what was made. For messages: one id a submission, joined by
	// commas, with "!" and a code in the place of one that a permissive batch refused.
	Resource string
}

const (
	idempotencyKept = 24 * time.Hour
	idempotencyWait = 5 * time.Second
)

// BeginIdempotent finds the record of an earlier request with this key, or reserves the key
// for this one until done is called. A request still running under the same key is waited
// for, at most 5 s. A nil idem does nothing.
func (l *Ledger) BeginIdempotent(ctx context.Context, idem *Idempotency) (rec *IdempotencyRecord, done func(), err error) {
	if idem == nil {
		return nil, func() {}, nil
	}
	release, ok := l.idem.acquire(ctx, idem)
	if !ok {
		return nil, nil, hongyan.Errorf(hongyan.CodeIdempotencyBusy, "Another request with this Idempotency-Key has not finished.")
	}
	var hash []byte
	rec = &IdempotencyRecord{}
	err = l.rdb.QueryRowContext(ctx, `/* ledger.BeginIdempotent */ SELECT hash, status, resource FROM idempotency_keys WHERE owner = ? AND route = ? AND idem_key = ? AND until > ?`,
		idem.Owner, idem.Route, idem.Key, ms(l.Now())).Scan(&hash, &rec.Status, &rec.Resource)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, release, nil
	case err != nil:
		release()
		return nil, nil, fmt.Errorf("read idempotency key: %w", err)
	}
	release()
	if !bytes.Equal(hash, idem.Hash[:]) {
		return nil, nil, hongyan.Errorf(hongyan.CodeIdempotencyReuse, "The first request with this Idempotency-Key had another body.")
	}
	return rec, func() {}, nil
}

// remember writes the answer in the transaction that made it true.
func (t *txn) remember(idem *Idempotency, status int, resource string) error {
	if idem == nil {
		return nil
	}
	for range 2 {
		n, err := t.exec(`/* ledger.remember */ INSERT INTO idempotency_keys (owner, route, idem_key, hash, status, resource, until) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, route, idem_key) DO NOTHING`,
			idem.Owner, idem.Route, idem.Key, idem.Hash[:], status, resource, t.now+idempotencyKept.Milliseconds())
		if n == 1 || err != nil {
			return err
		}
		n, err = t.exec(`/* ledger.remember */ DELETE FROM idempotency_keys WHERE owner = ? AND route = ? AND idem_key = ? AND until <= ?`,
			idem.Owner, idem.Route, idem.Key, t.now)
		if err != nil {
			return err
		}
		if n == 0 {
			return hongyan.Errorf(hongyan.CodeIdempotencyBusy, "Another request with this Idempotency-Key has just finished.")
		}
	}
	return errAgain
}

// idemLocks lets one request a key run at a time in this process.
type idemLocks struct {
	mu sync.Mutex
	m  map[string]chan struct{}
}

func (k *idemLocks) acquire(ctx context.Context, idem *Idempotency) (release func(), ok bool) {
	name := idem.Owner + "\x00" + idem.Route + "\x00" + idem.Key
	timeout := time.NewTimer(idempotencyWait)
	defer timeout.Stop()
	for {
		k.mu.Lock()
		if k.m == nil {
			k.m = make(map[string]chan struct{})
		}
		busy := k.m[name]
		if busy == nil {
			mine := make(chan struct{})
			k.m[name] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.m, name)
				k.mu.Unlock()
				close(mine)
			}, true
		}
		k.mu.Unlock()
		select {
		case <-busy:
		case <-timeout.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}
