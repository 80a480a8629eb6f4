package ledger

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestMasterKey shows what sealing promises.
func TestMasterKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := LoadOrCreateMasterKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateMasterKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	sealed := key.seal("clear", "t", "c", "r")
	if got, err := again.open(sealed, "t", "c", "r"); err != nil || got != "clear" {
		t.Errorf("opened %q, %v", got, err)
	}
	if other := key.seal("clear", "t", "c", "r"); slices.Equal(sealed, other) {
		t.Error("two seals of one value are alike")
	}
	for _, where := range [][3]string{{"x", "c", "r"}, {"t", "x", "r"}, {"t", "c", "x"}} {
		if _, err := key.open(sealed, where[0], where[1], where[2]); err == nil {
			t.Errorf("opened as %v", where)
		}
	}
	for i := range sealed {
		bad := slices.Clone(sealed)
		bad[i] ^= 1
		if _, err := key.open(bad, "t", "c", "r"); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
	for n := range len(sealed) {
		if _, err := key.open(sealed[:n], "t", "c", "r"); err == nil {
			t.Errorf("opened %d bytes of it", n)
		}
	}
	if _, err := LoadOrCreateMasterKey(filepath.Join(dir, "missing")); err == nil {
		t.Error("made a key where there is no directory")
	}
	for _, bad := range []string{"", "AAAA", "not base64!"} {
		if _, err := ParseMasterKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}
