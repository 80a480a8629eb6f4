//go:build !unix

package ledger

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir makes the directory. Without flock the operator must see to it that one process uses it.
func lockDir(path string) (func() error, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return func() error { return nil }, nil
}
