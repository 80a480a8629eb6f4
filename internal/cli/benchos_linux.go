package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime is the user and system time of this process so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// databaseTime is the user and system time of every process of a database program on this
// machine, those that have ended included where their parent waited for them.
func databaseTime(kind string) time.Duration {
	names := map[string][]string{"postgres": {"postgres"}, "postgresql": {"postgres"}, "mysql": {"mariadbd", "mysqld"}, "mariadb": {"mariadbd", "mysqld"}}[kind]
	if names == nil {
		return 0
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	var sum time.Duration
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, _ := os.ReadFile(f)
		_, rest, _ := strings.Cut(string(b), "(")
		name, rest, _ := strings.Cut(rest, ") ")
		fields := strings.Fields(rest)
		if !slices.Contains(names, name) || len(fields) < 15 {
			continue
		}
		for _, v := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(v, 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// peakMemory is the most that this process had in memory, in MB. What getrusage says of it
// begins with the parent's.
func peakMemory() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	kb, _, _ := bytes.Cut(rest, []byte("kB"))
	n, _ := strconv.ParseFloat(string(bytes.TrimSpace(kb)), 64)
	return n / 1024
}
