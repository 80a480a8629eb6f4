//go:build unix

package dbserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// programs finds a kind's server and the program that makes its data: what the PATH says,
// else where distributions put them, the newest first.
func programs(k Kind) (server, setup string) {
	names, setups := []string{"postgres"}, []string{"initdb"}
	if k == MySQL {
		names, setups = []string{"mariadbd", "mysqld"}, []string{"mariadb-install-db", "mysql_install_db"}
	}
	if server = find(nil, names); server == "" {
		return "", ""
	}
	// The two must be of one version: the one beside the server goes first.
	var beside []string
	if path, err := filepath.EvalSymlinks(server); err == nil {
		beside = []string{filepath.Dir(path)}
	}
	return server, find(beside, setups)
}

// find gives the first of the names that is in a directory of ours, or in those we know.
func find(first, names []string) string {
	for _, name := range names {
		for _, dir := range first {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path
			}
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/sbin", "/usr/local/opt/*/bin", "/opt/homebrew/opt/*/bin"} {
			found, _ := filepath.Glob(filepath.Join(pattern, name))
			if len(found) > 0 {
				return slices.MaxFunc(found, func(a, b string) int { return release(a) - release(b) })
			}
		}
	}
	return ""
}

// release is the 15 of /usr/lib/postgresql/15/bin/postgres, and the 9 of 9.6.
func release(path string) int {
	major, _, _ := strings.Cut(filepath.Base(filepath.Dir(filepath.Dir(path))), ".")
	n, _ := strconv.Atoi(major)
	return n
}

// entry is a line of the system's table of processes.
type entry struct {
	parent int
	dead   bool          // and not yet waited for
	cpu    time.Duration // with that of its children that have been waited for
}

// processes are those that the system knows.
func processes() map[int]entry {
	out := make(map[int]entry)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it ended
		}
		// The second field, the name in brackets, may hold anything.
		head, rest, _ := cutLast(string(text), ") ")
		pid, _, _ := strings.Cut(head, " ")
		fields := strings.Fields(rest)
		if len(fields) < 15 {
			continue
		}
		it := entry{dead: strings.ContainsAny(fields[0], "ZX")}
		it.parent, _ = strconv.Atoi(fields[1])
		for _, ticks := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(ticks)
			it.cpu += time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100 on Linux
		}
		n, _ := strconv.Atoi(pid)
		out[n] = it
	}
	if len(stats) > 0 {
		return out
	}
	return listed()
}

// listed is the table where there is no /proc.
func listed() map[int]entry {
	out := make(map[int]entry)
	text, _ := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		pid, _ := strconv.Atoi(fields[0])
		parent, _ := strconv.Atoi(fields[1])
		out[pid] = entry{parent: parent, dead: strings.HasPrefix(fields[2], "Z")}
	}
	return out
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// members are the processes that descend from the watcher. PostgreSQL's are sessions of their
// own, so the watcher's group is not all of them.
func (p *process) members() map[int]entry {
	if p.cmd == nil {
		return nil
	}
	return descendants(p.cmd.Process.Pid)
}

func descendants(ancestor int) map[int]entry {
	all, out := processes(), make(map[int]entry)
	for pid := range all {
		for up := all[pid].parent; up > 1; up = all[up].parent {
			if up == ancestor {
				out[pid] = all[pid]
				break
			}
		}
	}
	return out
}

func sum(all map[int]entry) time.Duration {
	var d time.Duration
	for _, it := range all {
		d += it.cpu
	}
	return d
}

// gone waits until none of them runs.
func gone(them map[int]entry, within time.Duration) error {
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		now, left := processes(), 0
		for pid := range them {
			if it, ok := now[pid]; ok && !it.dead {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of its processes still run", left)
		}
	}
}
