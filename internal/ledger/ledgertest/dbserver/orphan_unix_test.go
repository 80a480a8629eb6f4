//go:build unix

package dbserver

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestOrphan kills a test process with a frozen server, the hardest to get rid of: neither
// processes nor data may stay.
func TestOrphan(t *testing.T) {
	t.Parallel()
	const variable = "HONGYAN_TEST_ORPHAN"
	if k := os.Getenv(variable); k != "" {
		s := Private(t, Kind(k))
		s.Freeze()
		fmt.Println("orphan", s.own.dir)
		time.Sleep(time.Minute) // until we are killed
		return
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("without /proc, frozen children of PostgreSQL stay")
	}
	for _, k := range []Kind{Postgres, MySQL} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			if server, setup := programs(k); server == "" || setup == "" {
				missing(t, k, errAbsent)
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestOrphan$")
			cmd.Env = append(os.Environ(), variable+"="+string(k))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var dir string
			lines := bufio.NewScanner(out)
			for dir == "" && lines.Scan() {
				dir, _ = strings.CutPrefix(lines.Text(), "orphan ")
				if dir == lines.Text() {
					t.Log(dir)
					dir = ""
				}
			}
			all := descendants(cmd.Process.Pid)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if dir == "" || len(all) < 2 {
				t.Fatalf("no server started: %q, %d processes", dir, len(all))
			}
			if err := gone(all, 20*time.Second); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is there still", dir)
			}
			if n := segments(all); n != 0 {
				t.Errorf("%d segments of shared memory are there still", n)
			}
		})
	}
}

// segments counts those that the processes made.
func segments(of map[int]entry) int {
	n := 0
	text, _ := os.ReadFile("/proc/sysvipc/shm")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			maker, _ := strconv.Atoi(fields[4])
			if _, ok := of[maker]; ok {
				n++
			}
		}
	}
	return n
}

// TestTemporary is for servers that start while others work: MariaDB deletes the temporary
// tables that it finds.
func TestTemporary(t *testing.T) {
	t.Parallel()
	s := Shared(t, MySQL)
	if s.own == nil {
		t.Skip("the server is not ours")
	}
	var dir string
	if err := pool(t, s.Create(t)).QueryRowContext(t.Context(), `SELECT @@tmpdir`).Scan(&dir); err != nil || dir != s.own.dir {
		t.Errorf("temporary tables are in %s, %v, want %s", dir, err, s.own.dir)
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{"/tmp": true, "/tmp/" + strings.Repeat("x", 60): false} {
		if got := fits(dir); got != want {
			t.Errorf("fits(%s) = %v, want %v", dir, got, want)
		}
	}
	if os.Geteuid() == 0 && fits(closed) {
		t.Error("nobody but root gets into the directory")
	}
}
