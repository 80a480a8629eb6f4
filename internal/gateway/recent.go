package gateway

import (
	"crypto/sha256"
	"net"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// recentFor is for how long after a late answer the same request on another connection is
// taken for one whose sender gave up while the answer was on its way, or had not closed yet.
// Answers that took less than lateAfter found nobody gone.
const (
	recentFor = 200 * time.Millisecond
	lateAfter = 250 * time.Millisecond
)

// recent are the last late answers that said errcode 0.
type recent struct {
	mu    sync.Mutex
	m     map[recentKey]recentAnswer
	order []recentKey // oldest first
}

type recentKey struct {
	app  hongyan.AppID
	body [sha256.Size]byte
}

type recentAnswer struct {
	conn net.Conn
	at   time.Time
	body []byte
	id   hongyan.MessageID
}

func (c *call) recentKey() recentKey { return recentKey{c.app, sha256.Sum256(c.body)} }

func (c *call) conn() net.Conn {
	conn, _ := c.ctx.Value(connKey{}).(net.Conn)
	return conn
}

// repeats answers with what the same request was answered a moment ago, if that was on another
// connection: a program that goes on with one has read the answer there.
func (c *call) repeats() bool {
	r := &c.g.recent
	r.mu.Lock()
	a, found := r.m[c.recentKey()]
	r.mu.Unlock()
	if !found || a.conn == c.conn() || time.Since(a.at) > recentFor {
		return false
	}
	c.said(a.id)
	c.answer(0, a.body)
	return true
}

// remember keeps a late answer for those who repeat their request, and drops those whose time
// is over.
func (c *call) remember(id hongyan.MessageID, body []byte) {
	if time.Since(c.began) < lateAfter {
		return
	}
	r := &c.g.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = make(map[recentKey]recentAnswer)
	}
	now, k := time.Now(), c.recentKey()
	for len(r.order) > 0 {
		oldest := r.order[0]
		if a := r.m[oldest]; now.Sub(a.at) <= recentFor {
			break
		}
		delete(r.m, oldest)
		r.order = r.order[1:]
	}
	r.m[k] = recentAnswer{c.conn(), now, body, id}
	r.order = append(r.order, k)
}
