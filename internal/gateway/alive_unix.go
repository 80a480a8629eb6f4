//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package gateway

import (
	"io"
	"net"
	"syscall"
)

// peek tells what is known here of the peer: io.EOF if it has closed the connection, another
// error if it cast off what was sent to it. It takes nothing away: what the peer may have sent
// stays to be read.
func peek(c net.Conn) error {
	var found error
	err := onSocket(c, func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case n == 0 && err == nil:
			found = io.EOF
		case err != syscall.EAGAIN && err != syscall.EINTR:
			found = err
		}
	})
	if err != nil {
		return err
	}
	return found
}

// onSocket lets f look at the connection's socket; it does nothing for one that has none.
func onSocket(c net.Conn, f func(fd uintptr)) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}
