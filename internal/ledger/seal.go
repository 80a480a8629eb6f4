package ledger

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MasterKey seals secrets before they reach the database: AES-256-GCM, the key's id in
// front, and table, column and row as additional data, so that a sealed value cannot be
// moved to another row.
type MasterKey struct {
	id   [4]byte
	aead cipher.AEAD
	prk  []byte // other keys are derived from it
}

// NewMasterKey makes a key of exactly 32 bytes.
func NewMasterKey(raw []byte) (*MasterKey, error) {
	if len(raw) != 32 {
		return nil, fmt.Errorf("a master key has 32 bytes; this one has %d: make one with `openssl rand -base64 32`", len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	k := &MasterKey{aead: aead}
	sum := sha256.Sum256(append([]byte("hongyan master key id\x00"), raw...))
	copy(k.id[:], sum[:])
	if k.prk, err = hkdf.Extract(sha256.New, raw, []byte("hongyan derived keys")); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return k, nil
}

// Derive is a key for one purpose, the same in every process that has this master key.
func (k *MasterKey) Derive(purpose string) ([32]byte, error) {
	b, err := hkdf.Expand(sha256.New, k.prk, purpose, 32)
	if err != nil {
		return [32]byte{}, fmt.Errorf("derive a key: %w", err)
	}
	return [32]byte(b), nil
}

// ParseMasterKey reads the base64 form that the file and the environment hold.
func ParseMasterKey(text string) (*MasterKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("the master key is not base64: make one with `openssl rand -base64 32`")
	}
	return NewMasterKey(raw)
}

// LoadOrCreateMasterKey reads dir/master.key, and makes it with mode 0600 on the first run.
func LoadOrCreateMasterKey(dir string) (*MasterKey, error) {
	path := filepath.Join(dir, "master.key")
	text, err := os.ReadFile(path)
	if err == nil {
		return ParseMasterKey(string(text))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	// A key that is not safely on disk would lose every secret sealed with it.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write master key: %w", err)
	}
	_, werr := f.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("write master key: %w", err)
	}
	return NewMasterKey(raw)
}

func (k *MasterKey) seal(clear, table, column, row string) []byte {
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // crypto/rand never fails since Go 1.24
	out := append(append([]byte{}, k.id[:]...), nonce...)
	return k.aead.Seal(out, nonce, []byte(clear), sealedFor(table, column, row))
}

func (k *MasterKey) open(sealed []byte, table, column, row string) (string, error) {
	n := len(k.id) + k.aead.NonceSize()
	if len(sealed) < n || !bytes.Equal(sealed[:len(k.id)], k.id[:]) {
		return "", fmt.Errorf("open %s.%s: sealed with another master key", table, column)
	}
	clear, err := k.aead.Open(nil, sealed[len(k.id):n], sealed[n:], sealedFor(table, column, row))
	if err != nil {
		return "", fmt.Errorf("open %s.%s: the sealed value was changed", table, column)
	}
	return string(clear), nil
}

func sealedFor(table, column, row string) []byte {
	return []byte(table + "\x00" + column + "\x00" + row)
}
