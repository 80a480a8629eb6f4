package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dbServer is the database server of a bench, if it runs on this machine and its processes
// can be seen: /proc is of Linux, and a container may hide them. Else nothing is known of
// its CPU, and the figures say 0.
type dbServer struct{ pid int }

// findServer looks for who listens on the port of a database's URL.
func findServer(ctx context.Context, db string) dbServer {
	u, err := url.Parse(db)
	if err != nil || u.Host == "" || !isLocal(ctx, u.Hostname()) {
		return dbServer{}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"postgres": "5432", "mysql": "3306"}[dbKind(db)]
	}
	n, _ := strconv.Atoi(port)
	pid := listener(n)
	// Behind a forwarded port somebody else listens, whose CPU says nothing.
	if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); !slices.Contains([]string{"postgres", "postmaster", "mysqld", "mariadbd"}, string(bytes.TrimSpace(name))) {
		return dbServer{}
	}
	return dbServer{pid}
}

// isLocal reports whether the host is this machine.
func isLocal(ctx context.Context, host string) bool {
	to, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(to) == 0 {
		return false
	}
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == to[0].Unmap() {
			return true
		}
	}
	return to[0].Unmap().IsLoopback()
}

// listener is the first process that listens on a TCP port, 0 if none can be found.
func listener(port int) int {
	inode := listeningInode(port)
	if inode == "" {
		return 0
	}
	first := 0 // of PostgreSQL's, which all have the socket, the first is the parent
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); to != "socket:["+inode+"]" {
			continue
		}
		if pid, _ := strconv.Atoi(strings.Split(fd, "/")[2]); first == 0 || pid < first {
			first = pid
		}
	}
	return first
}

func listeningInode(port int) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(table)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line) // sl local remote state … inode
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return f[9]
			}
		}
	}
	return ""
}

// cpuTime is the user and system time so far of the server's process and all that come from
// it. Those that have ended count, because their parent waited for them.
func (s dbServer) cpuTime() time.Duration {
	if s.pid == 0 {
		return 0
	}
	type process struct {
		parent int
		cpu    time.Duration
	}
	all := make(map[int]process)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		parent, cpu, ok := readStat(b)
		if ok {
			all[pid] = process{parent, cpu}
		}
	}
	var sum time.Duration
	for pid, p := range all {
		cpu := p.cpu
		for hops := 0; pid != s.pid && pid != 0 && hops < len(all); hops++ { // up to the server, or to the top
			pid = all[pid].parent
		}
		if pid == s.pid {
			sum += cpu
		}
	}
	return sum
}

// readStat reads a process's parent and its time, with that of children it waited for, from
// /proc/PID/stat. The name in it may hold anything.
func readStat(b []byte) (parent int, cpu time.Duration, ok bool) {
	const tick = time.Second / 100 // USER_HZ is 100 on every Linux that Go runs on
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 15 {
		return 0, 0, false
	}
	for _, v := range f[11:15] { // utime stime cutime cstime
		n, _ := strconv.ParseInt(v, 10, 64)
		cpu += time.Duration(n) * tick
	}
	parent, err := strconv.Atoi(f[1])
	return parent, cpu, err == nil
}
