// Package nodetest gives Go tests a Node project to run: programs of other authors that must
// agree with ours, and our own JavaScript. Packages are installed by npm ci from the
// project's lockfile, once for each lockfile, into the user's cache directory; the tree stays
// clean. Where Node is not installed, a test is skipped, or fails if HONGYAN_TEST_REQUIRE=all.
//
//	dir := nodetest.Project(t, "testdata/node")
//	out := nodetest.Run(t, dir, input, "node", "main.js")
package nodetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// lockFiles decide what is installed.
var lockFiles = []string{"package.json", "package-lock.json"}

// Project copies the project in src to a directory of the test's own, beside which stands
// node_modules with what its lockfile names. A node_modules in src is not looked at.
func Project(t testing.TB, src string) string {
	t.Helper()
	Require(t)
	modules, err := install(src)
	if err != nil {
		t.Fatalf("install the packages of %s: %v", src, err)
	}
	dir := t.TempDir()
	if err := copyTree(dir, src); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run runs a program in dir with this input and returns what it printed. It fails the test,
// with what the program said, if the program fails.
func Run(t testing.TB, dir string, input []byte, name string, args ...string) []byte {
	t.Helper()
	out, err := run(exec.CommandContext(t.Context(), name, args...), dir, input)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func run(cmd *exec.Cmd, dir string, input []byte) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(input), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s%s", cmd.Args, err, out, stderr.Bytes())
	}
	return out, nil
}

// Require skips the test where Node or npm is not installed, or fails it if nothing may be skipped.
func Require(t testing.TB) {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		text := name + " is not installed here: this test needs Node 20 or newer with npm"
		if os.Getenv("HONGYAN_TEST_REQUIRE") == "all" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
}

// install returns a node_modules with what the lockfile in src names. It is made under
// another name and moved when it is whole: several test processes may want the same one.
func install(src string) (string, error) {
	hash := sha256.New()
	for _, name := range lockFiles {
		b, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(b), b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "hongyan-nodetest")
	done := filepath.Join(cache, hex.EncodeToString(hash.Sum(nil)[:16]))
	modules := filepath.Join(done, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	making, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(making)
	for _, name := range lockFiles {
		if err := copyFile(filepath.Join(making, name), filepath.Join(src, name)); err != nil {
			return "", err
		}
	}
	if _, err := run(exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"), making, nil); err != nil {
		return "", err
	}
	if err := os.Rename(making, done); err != nil {
		if _, other := os.Stat(modules); other != nil {
			return "", err
		}
	}
	return modules, nil
}

func copyTree(dst, src string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())
		switch {
		case e.Name() == "node_modules":
			continue
		case e.IsDir():
			if err = os.MkdirAll(to, 0o700); err == nil {
				err = copyTree(to, from)
			}
		default:
			err = copyFile(to, from)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(dst, src string) error {
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, b, 0o600)
}
