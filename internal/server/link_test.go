package server_test

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// link is a TCP proxy: the network between a server and what it talks to, which can be cut,
// go silent, and come back.
type link struct {
	t        testing.TB
	addr, to string

	mu     sync.Mutex
	ln     net.Listener // nil: cut
	open   chan struct{}
	halves bool
	ends   map[*net.TCPConn]bool
	wg     sync.WaitGroup
}

// newLink leads to an address of the form host:port.
func newLink(t testing.TB, to string) *link {
	t.Helper()
	l := &link{t: t, addr: "127.0.0.1:0", to: to, open: make(chan struct{}), ends: make(map[*net.TCPConn]bool)}
	close(l.open)
	l.mend()
	t.Cleanup(func() {
		l.cut()
		l.pass()
		l.wg.Wait()
	})
	return l
}

// linkURL puts a link into a URL.
func linkURL(t testing.TB, to string) (*link, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(t, u.Host)
	u.Host = l.addr
	return l, u.String()
}

// cut resets every connection and refuses new ones.
func (l *link) cut() {
	l.mu.Lock()
	if l.ln != nil {
		_ = l.ln.Close()
	}
	l.ln = nil
	l.mu.Unlock()
	l.reset()
}

// reset resets every connection.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.ends {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// stall lets nothing through any more, not even the end of a connection, and accepts new ones.
func (l *link) stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// halve passes half of each answer and then resets the connection.
func (l *link) halve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halves = true
}

// mend ends whatever was wrong. What was sent into a stall arrives now.
func (l *link) mend() {
	l.t.Helper()
	l.pass()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halves = false
	if l.ln != nil {
		return
	}
	ln, err := net.Listen("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.ln, l.addr = ln, ln.Addr().String()
	l.wg.Go(func() { l.accept(ln) })
}

func (l *link) pass() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

func (l *link) accept(ln net.Listener) {
	for {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.join(near.(*net.TCPConn)) })
	}
}

// join carries bytes both ways until both ends have said all they have to say.
func (l *link) join(near *net.TCPConn) {
	defer l.leave(near)
	if !l.enter(near) {
		return
	}
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	<-open // behind a stall there may be nobody until it ends
	c, err := net.DialTimeout("tcp", l.to, 5*time.Second)
	if err != nil {
		return
	}
	far := c.(*net.TCPConn)
	defer l.leave(far)
	if !l.enter(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.carry(far, near, false) })
	both.Go(func() { l.carry(near, far, true) })
	both.Wait()
}

// enter makes a connection one that can be reset; false if the link is cut.
func (l *link) enter(c *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[c] = true
	return l.ln != nil
}

func (l *link) leave(c *net.TCPConn) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, c)
}

func (l *link) carry(to, from *net.TCPConn, answers bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		open, half := l.open, l.halves && answers && n > 0
		l.mu.Unlock()
		<-open
		if half {
			n /= 2
		}
		if _, werr := to.Write(buf[:n]); werr != nil || half {
			_ = to.SetLinger(0)
			_ = to.Close()
			_ = from.Close()
			return
		}
		if err != nil {
			_ = to.CloseWrite()
			return
		}
	}
}
