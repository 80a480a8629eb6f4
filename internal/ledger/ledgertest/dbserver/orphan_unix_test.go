//go:build unix

package dbserver

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
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
		})
	}
}
