package api

import (
	"crypto/sha256"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

const maxIdempotencyKey = 255

// idempotent reads the request's Idempotency-Key; without one there is nothing to remember.
// The scope is the caller's key and the path, so that two integrators cannot meet.
func (x *exchange) idempotent(body string) error {
	values := x.r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return nil
	}
	key := values[0]
	if len(values) > 1 || len(key) == 0 || len(key) > maxIdempotencyKey || !visible(key) {
		return hongyan.Invalid("/Idempotency-Key", "header", "The header Idempotency-Key is one value of 1 to %d visible ASCII characters, such as a UUID.", maxIdempotencyKey)
	}
	x.idem = &ledger.Idempotency{Owner: string(x.key.ID), Route: x.r.Method + " " + x.r.URL.Path, Key: key, Hash: sha256.Sum256([]byte(body))}
	return nil
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// once runs do, or answers from what an earlier request with the same Idempotency-Key made.
// do stores the record itself, in the transaction that makes it true (see exchange.idem).
func once[O any](s *server, x *exchange, body string, do func() (O, error), replay func(resource string) (O, error)) (O, error) {
	var none O
	if err := x.idempotent(body); err != nil {
		return none, err
	}
	rec, done, err := s.l.BeginIdempotent(x.r.Context(), x.idem)
	if err != nil {
		return none, err
	}
	defer done()
	if rec == nil {
		return do()
	}
	x.Header().Set("Idempotent-Replayed", "true")
	return replay(rec.Resource)
}
