package gateway

import (
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hongyan-push/hongyan"
)

// A caller that gave up cannot always be seen at the socket: the answer may have been on its
// way, or the close. Answers that took less than lateAfter found nobody gone. Of a later one
// a repeat is answered with the same message for lateKept and lateTimes what the answer took,
// for where that was slow the repeat will be too; but not if it comes on the same connection: a
// program that goes on with that has read the answer there.
const (
	lateAfter = 250 * time.Millisecond
	lateKept  = 3 * time.Second
	lateTimes = 10
)

// peer is a connection and what was answered late on it. Its requests come one by one.
type peer struct {
	net.Conn
	body   [sha256.Size]byte
	forget func()
}

type peerKey struct{}

// ConnContext is for the listener's http.Server.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, &peer{Conn: c})
}

func (c *call) peer() *peer {
	p, _ := c.ctx.Value(peerKey{}).(*peer)
	return p
}

// gone reports whether the caller has left. The server's own reading notices that only when
// it gets its turn.
func (c *call) gone() bool {
	p := c.peer()
	return c.ctx.Err() != nil || p != nil && peek(p.Conn) != nil
}

// late is how long the caller has waited, also while nobody here had taken the connection up.
func (c *call) late() time.Duration {
	late := time.Since(c.began)
	if p := c.peer(); p != nil {
		late = max(late, heldBy(p.Conn))
	}
	return late
}

// goesOn lets the same be sent anew by whoever has read the answer to it.
func (c *call) goesOn() {
	p := c.peer()
	if p == nil || p.forget == nil {
		return
	}
	if p.body == sha256.Sum256(c.body) {
		p.forget()
	}
	p.forget = nil
}

// took answers that a message was taken, sends that on its way, and tells for how long a
// repeat is to be answered with it. Who closes before the answer has gone did not wait for it;
// who closes after it may have read it, unless what was sent came back.
func (c *call) took(id hongyan.MessageID, v any, heard func(keep time.Duration), forget func()) {
	p, left, late := c.peer(), c.gone(), c.late()
	c.said(id)
	c.ok(v)
	if err := http.NewResponseController(c.w).Flush(); err != nil {
		left = true
	} else if p != nil {
		err := peek(p.Conn)
		left = left || err != nil && err != io.EOF
	}
	switch {
	case left:
		heard(c.repeat)
	case late > lateAfter && p != nil:
		p.body, p.forget = sha256.Sum256(c.body), forget
		heard(min(lateKept+lateTimes*late, c.repeat))
	default:
		heard(0)
	}
}

// said names the message that an answer is about.
func (c *call) said(id hongyan.MessageID) { c.w.Header().Set("X-Hongyan-Message", string(id)) }
