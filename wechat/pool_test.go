package wechat

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	p := answering(t, ok(`{"errcode":0}`))
	c := newClient(t, Config{BaseURL: p.url()})
	for range 10 {
		if err := send(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if p.count() != 1 {
		t.Errorf("10 sends one after another used %d connections, want 1", p.count())
	}
}

// A server that closes idle connections does not make sends unclear.
func TestClosedIdleConnectionIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *net.TCPConn){
		"close": func(c *net.TCPConn) { c.Close() },
		"reset": reset,
		"talks": func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next, ended := make(chan struct{}), make(chan struct{})
			p := newPeer(t, func(c *net.TCPConn) {
				if readRequest(bufio.NewReader(c)) == nil {
					io.WriteString(c, ok(`{"errcode":0}`))
					<-next
					end(c)
					ended <- struct{}{}
				}
			})
			c := newClient(t, Config{BaseURL: p.url()})
			for range 20 {
				if err := send(t, c); err != nil {
					t.Fatal(err)
				}
				next <- struct{}{}
				<-ended
				waitDead(t, c.sends)
			}
			if p.count() != 20 {
				t.Errorf("%d connections, want 20", p.count())
			}
		})
	}
}

// waitDead waits until the end of the idle connection has come through the
// loopback device.
func waitDead(t *testing.T, p *pool) {
	t.Helper()
	for range 1000 {
		p.mu.Lock()
		dead := !alive(p.idle[0].raw.Conn)
		p.mu.Unlock()
		if dead {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the connection still looks alive")
}

// Idle connections are closed in time without another call, so nothing is left
// after a burst.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	closed := make(chan error, 1)
	p := newPeer(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for readRequest(r) == nil {
			io.WriteString(c, ok(`{"errcode":0}`))
		}
		closed <- nil
	})
	c := newClient(t, Config{BaseURL: p.url()})
	c.sends.maxIdle = short
	for range 3 {
		if err := send(t, c); err != nil {
			t.Fatal(err)
		}
		<-closed
	}
	if p.count() != 3 {
		t.Errorf("%d connections, want 3", p.count())
	}
}

func TestStaleConnectionIsNotTaken(t *testing.T) {
	t.Parallel()
	p := answering(t, ok(`{"errcode":0}`))
	c := newClient(t, Config{BaseURL: p.url()})
	if err := send(t, c); err != nil {
		t.Fatal(err)
	}
	c.sends.mu.Lock()
	c.sends.idle[0].idleSince = time.Now().Add(-maxIdle)
	c.sends.mu.Unlock()
	if err := send(t, c); err != nil {
		t.Fatal(err)
	}
	if p.count() != 2 {
		t.Errorf("%d connections, want 2", p.count())
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 2)
	p := newPeer(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for readRequest(r) == nil {
			io.WriteString(c, ok(`{"errcode":0}`))
		}
		gone <- struct{}{}
	})
	c := newClient(t, Config{BaseURL: p.url()})
	for range 2 { // the second call comes after Close
		if err := send(t, c); err != nil {
			t.Fatal(err)
		}
		c.Close()
		<-gone
	}
}

// A cancelled call gives its slot back and its connection up.
func TestCancelledCallsLeaveNothing(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	c := newClient(t, Config{BaseURL: p.url(), MaxConns: 2})
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := c.SendSubscribeMessage(ctx, testToken, testMessage())
		cancel()
		if err == nil {
			t.Fatal("no error")
		}
	}
	if len(c.sends.slots) != 0 || len(c.sends.idle) != 0 {
		t.Errorf("%d slots and %d connections are still held", len(c.sends.slots), len(c.sends.idle))
	}
}
