package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/hongyan-push/hongyan"
)

// params are argon2id's, as they stand in each hash: others can come without a change of
// what is stored.
type params struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// usual is what new hashes are made with: the least that OWASP recommends, because a small
// machine has room for two of them.
var usual = params{memory: 19 << 10, time: 2, threads: 1}

const (
	saltSize, hashSize = 16, 32
	// atOnce hashes are computed at a time; maxWaiting more may wait for their turn.
	atOnce, maxWaiting = 2, 64
)

var b64 = base64.RawStdEncoding.Strict()

// hasher computes few hashes at a time: each takes 19 MiB and some 30 ms of a processor.
type hasher struct {
	places  chan struct{}
	waiting atomic.Int64
	// none is compared with where there is no password, so that it takes as long.
	none string
}

func newHasher() *hasher {
	h := &hasher{places: make(chan struct{}, atOnce)}
	h.none = usual.encode(make([]byte, saltSize), make([]byte, hashSize))
	return h
}

func (h *hasher) compute(ctx context.Context, p params, clear hongyan.Password, salt []byte, size uint32) ([]byte, error) {
	if h.waiting.Add(1) > atOnce+maxWaiting {
		h.waiting.Add(-1)
		return nil, &hongyan.Error{Code: hongyan.CodeRateLimited, Message: "Too many passwords are being checked.", RetryAfter: 2 * time.Second}
	}
	defer h.waiting.Add(-1)
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	case <-ctx.Done():
		return nil, fmt.Errorf("check password: %w", ctx.Err())
	}
	return argon2.IDKey([]byte(clear.Reveal()), salt, p.time, p.memory, p.threads, size), nil
}

// hash makes what is stored of a password.
func (h *hasher) hash(ctx context.Context, clear hongyan.Password) (string, error) {
	var salt [saltSize]byte
	_, _ = rand.Read(salt[:])
	sum, err := h.compute(ctx, usual, clear, salt[:], hashSize)
	if err != nil {
		return "", err
	}
	return usual.encode(salt[:], sum), nil
}

// same compares a password with a hash; an empty one is nobody's and takes as long.
func (h *hasher) same(ctx context.Context, stored string, clear hongyan.Password) (bool, error) {
	nobody := stored == ""
	if nobody {
		stored = h.none
	}
	p, salt, want, err := decodeHash(stored)
	if err != nil {
		return false, err
	}
	got, err := h.compute(ctx, p, clear, salt, uint32(len(want)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && !nobody, nil
}

// The form is that of argon2's own tool.
const hashForm = "$argon2id$v=%d$m=%d,t=%d,p=%d$%s"

func (p params) encode(salt, sum []byte) string {
	return fmt.Sprintf(hashForm, argon2.Version, p.memory, p.time, p.threads, b64.EncodeToString(salt)+"$"+b64.EncodeToString(sum))
}

func decodeHash(s string) (p params, salt, sum []byte, err error) {
	var version int
	var rest string
	if _, err = fmt.Sscanf(s, hashForm, &version, &p.memory, &p.time, &p.threads, &rest); err != nil || version != argon2.Version {
		return p, nil, nil, fmt.Errorf("a password's hash has another form than argon2id of version %d: %w", argon2.Version, err)
	}
	for i := range rest {
		if rest[i] != '$' {
			continue
		}
		if salt, err = b64.DecodeString(rest[:i]); err == nil {
			sum, err = b64.DecodeString(rest[i+1:])
		}
		if err == nil && (len(sum) < 16 || p.memory < 8 || p.time < 1 || p.threads < 1) {
			err = fmt.Errorf("a password's hash has parameters that argon2id does not take")
		}
		return p, salt, sum, err
	}
	return p, nil, nil, fmt.Errorf("a password's hash has no salt")
}
