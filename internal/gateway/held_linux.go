package gateway

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// heldBy is how long the kernel has had the last bytes that the peer sent. It counts from the
// connection's backlog on: a server that has just started, or a busy machine, takes up late
// what was sent long ago.
func heldBy(c net.Conn) (d time.Duration) {
	_ = onSocket(c, func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			d = time.Duration(info.Last_data_recv) * time.Millisecond
		}
	})
	return d
}
