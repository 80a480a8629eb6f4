package cli

import (
	"bytes"
	"os"
	"strconv"
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

// peakMemory is the most that this process had in memory, in MB. What getrusage says of it
// begins with the parent's.
func peakMemory() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	kb, _, _ := bytes.Cut(rest, []byte("kB"))
	n, _ := strconv.ParseFloat(string(bytes.TrimSpace(kb)), 64)
	return n / 1024
}
