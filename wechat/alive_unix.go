//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package wechat

import (
	"errors"
	"net"
	"syscall"
)

// alive reports whether an idle connection shows nothing to read. Anything there
// is, is bad news: the peer closed or reset it, or speaks out of turn. It looks
// without waiting and takes nothing away. A close still on its way cannot be seen.
func alive(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && quiet
}
