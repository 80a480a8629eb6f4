package wechat

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// chaosPeer misbehaves at random and keeps book of the requests it saw, by their
// token, and of what it answered to each.
type chaosPeer struct {
	mu       sync.Mutex
	seen     map[string]int
	answered map[string]int // errcode
	msgIDs   map[string]int64
	next     int64
}

func (p *chaosPeer) serve(c *net.TCPConn, overTLS bool) {
	if rand.IntN(20) == 0 {
		reset(c)
		return
	}
	defer c.Close()
	stream := net.Conn(c)
	if overTLS {
		stream = tls.Server(c, serverTLS())
	}
	r := bufio.NewReader(stream)
	for {
		line, err := r.ReadString('\n')
		if _, rest, ok := strings.Cut(line, "access_token="); ok {
			id, _, _ := strings.Cut(rest, " ")
			p.mu.Lock()
			p.seen[id]++
			p.mu.Unlock()
			if !p.answer(id, c, stream, r) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// answer deals with one request of which the first line was read. It reports
// whether the connection goes on.
func (p *chaosPeer) answer(id string, c *net.TCPConn, stream net.Conn, r *bufio.Reader) bool {
	act := rand.IntN(16)
	if act == 0 {
		reset(c) // the body unread
		return false
	}
	for { // the rest of the head; the body is one line and too short to matter
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "\r\n" {
			break
		}
	}
	if _, err := r.ReadString('}'); err != nil {
		return false
	}
	r.Discard(r.Buffered())
	whole := p.note(id)
	switch act {
	case 1:
		return false
	case 2:
		reset(c)
		return false
	case 3:
		io.WriteString(stream, whole[:rand.IntN(len(whole))])
		return false
	case 4:
		io.Copy(io.Discard, r) // until the client gives up
		return false
	case 5:
		io.WriteString(stream, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
	case 6:
		io.WriteString(stream, whole+whole)
	case 7:
		io.WriteString(stream, whole)
		return false
	case 8:
		time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
		io.WriteString(stream, whole)
	default:
		io.WriteString(stream, whole)
	}
	return true
}

// note chooses the answer to a request and enters it in the books.
func (p *chaosPeer) note(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rand.IntN(4) == 0 {
		p.answered[id] = ErrcodeUserRefused
		return ok(`{"errcode":43101,"errmsg":"user refuse to accept the msg"}`)
	}
	p.next++
	p.msgIDs[id] = p.next
	return ok(fmt.Sprintf(`{"errcode":0,"errmsg":"ok","msgid":%d}`, p.next))
}

// Under load, cancellation and every misbehaviour at once: "unsent" is never said
// of a request that the peer saw, and an answer is always the request's own.
func TestOutcomesAreHonest(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", overTLS), func(t *testing.T) {
			t.Parallel()
			p := &chaosPeer{seen: map[string]int{}, answered: map[string]int{}, msgIDs: map[string]int64{}}
			listener := newPeer(t, func(c *net.TCPConn) { p.serve(c, overTLS) })
			cfg := Config{BaseURL: listener.url(), MaxConns: 5, CallTimeout: 25 * time.Millisecond, RootCAs: testRoots()}
			if overTLS {
				cfg.BaseURL = listener.tlsURL()
			}
			c := newClient(t, cfg)
			var ends sync.Map // kind of end → true
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					for i := range 150 {
						id := fmt.Sprintf("req-%d-%d", w, i)
						ends.Store(p.check(t, c, id), true)
					}
				})
			}
			wg.Wait()
			for _, end := range []string{"accepted", "refused", "unsent", "unclear"} {
				if _, ok := ends.Load(end); !ok {
					t.Errorf("no send ended %s", end)
				}
			}
			if len(c.sends.slots) != 0 {
				t.Errorf("%d slots are still held", len(c.sends.slots))
			}
		})
	}
}

// check sends one message and holds what the client says against the books.
func (p *chaosPeer) check(t *testing.T, c *Client, id string) string {
	ctx := context.Background()
	if rand.IntN(3) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
		defer cancel()
	}
	m := &SubscribeMessage{ToUser: id}
	res, err := c.SendSubscribeMessage(ctx, id, m)
	// What was written may still be on its way to the peer.
	if te, ok := err.(*TransportError); ok && te.Kind == Unsent {
		time.Sleep(2 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var refused *Error
	var transport *TransportError
	switch {
	case p.seen[id] > 1:
		t.Errorf("%s was sent %d times", id, p.seen[id])
	case err == nil:
		if res.MsgID == 0 || p.msgIDs[id] != res.MsgID {
			t.Errorf("%s: got msgid %d, the peer gave %d", id, res.MsgID, p.msgIDs[id])
		}
		return "accepted"
	case errors.As(err, &refused):
		if p.answered[id] != refused.Errcode {
			t.Errorf("%s: got errcode %d, the peer gave %d", id, refused.Errcode, p.answered[id])
		}
		return "refused"
	case errors.As(err, &transport):
		if transport.Kind == Unsent && p.seen[id] != 0 {
			t.Errorf("%s: %v, but the peer saw it", id, err)
		}
		return transport.Kind.String()
	default:
		t.Errorf("%s: %T %v", id, err, err)
	}
	return ""
}
