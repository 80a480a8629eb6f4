package console

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/hongyan-push/hongyan"
)

func TestHash(t *testing.T) {
	t.Parallel()
	h, ctx := newHasher(), t.Context()
	clear := hongyan.NewPassword("correct horse battery")
	one, err := h.hash(ctx, clear)
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.hash(ctx, clear)
	if err != nil || one == two || !strings.HasPrefix(one, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hashes %s and %s, %v", one, two, err)
	}
	for _, c := range []struct {
		name, stored, clear string
		want                bool
	}{
		{"right", one, "correct horse battery", true},
		{"wrong", one, "correct horse battery ", false},
		{"empty", one, "", false},
		{"nobody's", "", "correct horse battery", false},
		{"other parameters", "$argon2id$v=19$m=64,t=1,p=1$" + saltAndSum(t, params{64, 1, 1}, "x"), "x", true},
	} {
		got, err := h.same(ctx, c.stored, hongyan.NewPassword(c.clear))
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	// What is compared where there is no password is nobody's.
	if got, err := h.same(ctx, "", hongyan.NewPassword("")); got || err != nil {
		t.Errorf("no password at all: %v, %v", got, err)
	}
	for _, broken := range []string{"x", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", "$argon2id$v=16$m=64,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=64,t=1,p=1$AAAA", "$argon2id$v=19$m=64,t=0,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=64,t=1,p=1$AAAA$"} {
		if got, err := h.same(ctx, broken, clear); err == nil || got {
			t.Errorf("%s was taken", broken)
		}
	}
}

func saltAndSum(t *testing.T, p params, clear string) string {
	t.Helper()
	h := newHasher()
	salt := []byte("a salt of 16 byt")
	sum, err := h.compute(t.Context(), p, hongyan.NewPassword(clear), salt, hashSize)
	if err != nil {
		t.Fatal(err)
	}
	return b64.EncodeToString(salt) + "$" + b64.EncodeToString(sum)
}

// TestFewAtOnce: a crowd waits, a larger one is sent away, and who gives up leaves the line.
func TestFewAtOnce(t *testing.T) {
	t.Parallel()
	h := newHasher()
	for range atOnce {
		h.places <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	full := make(chan struct{}, 200)
	for range 200 {
		wg.Go(func() {
			_, err := h.hash(ctx, hongyan.NewPassword("x"))
			if errors.Is(err, hongyan.CodeRateLimited) {
				full <- struct{}{}
			} else if !errors.Is(err, context.Canceled) {
				t.Errorf("hash: %v", err)
			}
		})
	}
	for range 200 - atOnce - maxWaiting {
		<-full
	}
	cancel()
	wg.Wait()
	if n := h.waiting.Load(); n != 0 {
		t.Errorf("%d wait though all have gone", n)
	}
}
