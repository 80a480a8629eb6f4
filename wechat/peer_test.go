package wechat

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testToken = "71_tok-EN+with/odd=chars&and%more"
	testAppID = "wx0123456789abcdef"
)

// peer is something at the other end of real TCP connections that need not
// behave as a server.
type peer struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

// newPeer runs serve for each connection. serve closes it or leaves that to the
// end of the test.
func newPeer(t testing.TB, serve func(c *net.TCPConn)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			wg.Go(func() { serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *peer) url() string { return "http://" + p.Addr().String() }

// count is how many connections there were.
func (p *peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// answering is a peer that reads each request whole and writes raw.
func answering(t testing.TB, raw string) *peer {
	return newPeer(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for readRequest(r) == nil {
			if _, err := io.WriteString(c, raw); err != nil {
				return
			}
		}
	})
}

// ok is an HTTP answer of status 200 with body.
func ok(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json; encoding=utf-8\r\nContent-Length: " +
		string(appendInt(nil, len(body))) + "\r\n\r\n" + body
}

func readRequest(r *bufio.Reader) error {
	req, err := http.ReadRequest(r)
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	return err
}

// reset makes the kernel answer with RST instead of a proper end.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func testMessage() *SubscribeMessage {
	return &SubscribeMessage{
		ToUser:     "oGZUI0egBJY1zhBYw2KhdUfwVJJE",
		TemplateID: "9Aw5ZV1j9xdWTFEkqCpZ7mIBbSC34khK55OtzUPl0rU",
		Page:       "pages/index?a=1&b=<2>",
		Data:       map[string]DataValue{"thing1": {Value: "TIT会议室"}, "date2": {Value: "2016年8月8日"}},
	}
}

func send(t testing.TB, c *Client) error {
	t.Helper()
	_, err := c.SendSubscribeMessage(t.Context(), testToken, testMessage())
	return err
}

// wantKind checks that err is a TransportError of kind for path, and tells no
// secret.
func wantKind(t testing.TB, err error, kind Kind, path string) {
	t.Helper()
	te, ok := err.(*TransportError)
	if !ok {
		t.Fatalf("got %T %v, want a TransportError", err, err)
	}
	if te.Kind != kind || te.Path != path {
		t.Errorf("got %v, want it %v and of %s", err, kind, path)
	}
	if strings.Contains(err.Error(), "tok-EN") || strings.Contains(err.Error(), "?") {
		t.Errorf("error tells a token or query: %v", err)
	}
}

const short = 150 * time.Millisecond
