package server_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

// disk is a directory whose room can be taken away.
type disk struct {
	dir         string
	fill, empty func(p *process) error
}

// newDisk is a small file system of its own where this process may mount one. Elsewhere the
// server's own files may not grow any more, which looks much the same to it.
func newDisk(t *testing.T) disk {
	t.Helper()
	// Too small for a log that has its size beforehand: that one would not notice for long.
	if dir, ok := mount(t, "72m"); ok {
		ballast := filepath.Join(dir, "ballast")
		return disk{dir, func(*process) error { return takeAll(ballast) }, func(*process) error { return os.Remove(ballast) }}
	}
	if _, err := exec.LookPath("prlimit"); err != nil {
		if os.Getenv("HONGYAN_TEST_REQUIRE") == "all" {
			t.Fatal("a full disk needs the right to mount a tmpfs, or prlimit (util-linux)")
		}
		t.Skip("a full disk needs the right to mount a tmpfs, or prlimit (util-linux)")
	}
	limit := func(p *process, most string) error {
		return exec.Command("prlimit", "--pid", fmt.Sprint(p.cmd.Process.Pid), "--fsize="+most+":unlimited").Run()
	}
	return disk{t.TempDir(), func(p *process) error { return limit(p, "4096") }, func(p *process) error { return limit(p, "unlimited") }}
}

// mount makes a small file system that every user may enter; false if that is not allowed here.
func mount(t *testing.T, size string) (dir string, ok bool) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hongyan-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0755") != nil {
		return "", false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, true
}

// takeAll writes a file until there is no room.
func takeAll(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// TestChaosDiskFull takes the room for the database's files away under load, and gives it back.
func TestChaosDiskFull(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		times, messages := rounds(2, 6), rounds(600, 1200)
		d := newDisk(t)
		r := newRun(t, setting{messages: messages, dir: d.dir})
		r.submit()
		for i := range times {
			r.reach(messages * (i + 1) / (times + 1))
			// Twice: the log may be about to get its size, which gives back what it took in vain.
			for range 2 {
				if err := d.fill(r.process); err != nil {
					t.Fatal(err)
				}
				time.Sleep(1200 * time.Millisecond)
			}
			r.quiet(8 * time.Second)
			one := r.message(0)
			one["on_no_grant"] = "send" // the user has none left, which is found before the disk is
			// A transaction that failed leaves room in the log for smaller ones.
			status, answer := 202, object(nil)
			for try := 0; status == 202 && try < 50; try++ {
				status, answer = request(t, r.url, adminKey, "POST", "/v1/messages", one)
			}
			if status != 503 || answer["code"] != "storage_unavailable" {
				t.Errorf("submit while the disk is full: %d %v", status, answer)
			}
			if status, answer := request(t, r.url, adminKey, "GET", "/v1/apps", nil); status != 200 {
				t.Errorf("reading while the disk is full: %d %v", status, answer)
			}
			// One that still found room may be in the journal, and cannot go where readers look.
			status, answer = request(t, r.url, adminKey, "GET", "/v1/messages?limit=1&status=accepted", nil)
			if items, _ := answer["items"].([]any); (status != 200 || len(items) != 1) && (status != 503 || answer["code"] != "storage_unavailable") {
				t.Errorf("reading messages while the disk is full: %d %v", status, answer)
			}
			if err := d.empty(r.process); err != nil {
				t.Fatal(err)
			}
		}
		r.verify(0, 0)
	})
	// PostgreSQL goes on as long as what it writes fits into pages and files that it has, and
	// ends when its log does not. Then somebody starts it again when there is room.
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		dir, ok := mount(t, "256m")
		if !ok {
			t.Skip("a full disk of PostgreSQL needs the right to mount a tmpfs")
		}
		ballast := filepath.Join(dir, "ballast")
		db := dbserver.PrivateIn(t, dbserver.Postgres, dir)
		times, messages := rounds(1, 3), rounds(1000, 3000)
		r := newRun(t, setting{db: db.Create(t), messages: messages, slow: 20})
		r.submit()
		for i := range times {
			r.reach(messages * (i + 1) / (times + 2))
			if err := takeAll(ballast); err != nil {
				t.Fatal(err)
			}
			time.Sleep(8 * time.Second)
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if !db.Running() {
				t.Log("it had ended")
				db.Kill()
				db.Start(t)
			}
		}
		r.verify(0, bound)
	})
}
