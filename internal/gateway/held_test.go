//go:build linux

package gateway

import (
	"net"
	"testing"
	"time"
)

// TestHeldBy: what a peer sent is old although nobody has taken its connection up.
func TestHeldBy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := out.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if d := heldBy(in); d < 250*time.Millisecond || d > time.Minute {
		t.Errorf("held for %v, want 300 ms at least", d)
	}
}
