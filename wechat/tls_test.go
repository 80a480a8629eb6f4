package wechat

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// testCert is a certificate for 127.0.0.1 that signs itself.
var testCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func testRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(testCert().Leaf)
	return pool
}

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{testCert()}}
}

func (p *peer) tlsURL() string { return "https://" + p.Addr().String() }

func TestSendOverTLS(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(c *net.TCPConn) {
		s := tls.Server(c, serverTLS())
		r := bufio.NewReader(s)
		for readRequest(r) == nil {
			io.WriteString(s, ok(`{"errcode":0}`))
		}
	})
	c := newClient(t, Config{BaseURL: p.tlsURL(), RootCAs: testRoots()})
	for range 3 {
		if err := send(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if p.count() != 1 {
		t.Errorf("%d connections, want 1", p.count())
	}
}

// corked collects writes until flush, so that several TLS records arrive at once.
type corked struct {
	net.Conn
	bytes.Buffer
}

func (c *corked) Write(b []byte) (int, error) { return c.Buffer.Write(b) }
func (c *corked) Read(b []byte) (int, error) {
	c.flush()
	return c.Conn.Read(b)
}
func (c *corked) flush() { c.Buffer.WriteTo(c.Conn) }

// A second answer that hides in TLS's buffer is not taken for the next call's.
func TestAnswerToNobodyIsNotTaken(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	n := 0
	p := newPeer(t, func(c *net.TCPConn) {
		cork := &corked{Conn: c}
		s := tls.Server(cork, serverTLS())
		r := bufio.NewReader(s)
		for readRequest(r) == nil {
			mu.Lock()
			n++
			io.WriteString(s, ok(fmt.Sprintf(`{"errcode":0,"msgid":%d}`, n)))
			io.WriteString(s, ok(`{"errcode":0,"msgid":666}`))
			mu.Unlock()
			cork.flush()
		}
	})
	c := newClient(t, Config{BaseURL: p.tlsURL(), RootCAs: testRoots()})
	for i := range 5 {
		res, err := c.SendSubscribeMessage(t.Context(), testToken, testMessage())
		if err != nil || res.MsgID != int64(i+1) {
			t.Fatalf("call %d got msgid %d, %v", i+1, res.MsgID, err)
		}
	}
}

// proxyPeer is an HTTP proxy that wants a user, and counts what it was asked for.
type proxyPeer struct {
	*peer
	mu   sync.Mutex
	asks []string
}

func newProxy(t *testing.T, overTLS bool) *proxyPeer {
	p := &proxyPeer{}
	p.peer = newPeer(t, func(c *net.TCPConn) {
		defer c.Close()
		stream := net.Conn(c)
		if overTLS {
			stream = tls.Server(c, serverTLS())
		}
		p.serve(stream)
	})
	return p
}

func (p *proxyPeer) serve(c net.Conn) {
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asks = append(p.asks, req.Method+" "+req.RequestURI[:strings.IndexAny(req.RequestURI+"?", "?")])
	p.mu.Unlock()
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:pass:word"))
	if req.Header.Get("Proxy-Authorization") != want {
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if req.Method != http.MethodConnect {
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, ok(`{"errcode":0,"msgid":5}`))
		return
	}
	up, err := net.Dial("tcp", req.RequestURI)
	if err != nil {
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	done := make(chan struct{})
	go func() {
		io.Copy(up, r)
		up.Close()
		close(done)
	}()
	io.Copy(c, up)
	c.Close()
	<-done
}

func TestProxy(t *testing.T) {
	t.Parallel()
	target := newPeer(t, func(c *net.TCPConn) {
		defer c.Close()
		s := tls.Server(c, serverTLS())
		r := bufio.NewReader(s)
		for readRequest(r) == nil {
			io.WriteString(s, ok(`{"errcode":0,"msgid":6}`))
		}
	})
	gone := newPeer(t, func(*net.TCPConn) {})
	gone.Close()
	const login = "user:pass%3Aword@"
	for _, overTLS := range []bool{false, true} {
		p := newProxy(t, overTLS)
		scheme := map[bool]string{false: "http://", true: "https://"}[overTLS]
		addr := p.Addr().String()
		tests := []struct {
			name, base, proxy string
			msgID             int64
			fails             Kind
			ask               string
		}{
			{"tunnel", target.tlsURL(), scheme + login + addr, 6, 0, "CONNECT " + target.Addr().String()},
			{"absolute URL", "http://127.0.0.1:9/base", scheme + login + addr, 5, 0, "POST http://127.0.0.1:9/base" + pathSend},
			{"tunnel refused", target.tlsURL(), scheme + addr, 0, Unsent, "CONNECT " + target.Addr().String()},
			{"tunnel to nowhere", gone.tlsURL(), scheme + login + addr, 0, Unsent, "CONNECT " + gone.Addr().String()},
			// The proxy saw the request and may have passed it on: unclear.
			{"absolute URL refused", "http://127.0.0.1:9", scheme + addr, 0, Unclear, "POST http://127.0.0.1:9" + pathSend},
		}
		for _, tt := range tests {
			t.Run(scheme+" "+tt.name, func(t *testing.T) {
				c := newClient(t, Config{BaseURL: tt.base, Proxy: tt.proxy, RootCAs: testRoots()})
				res, err := c.SendSubscribeMessage(t.Context(), testToken, testMessage())
				if tt.fails != 0 {
					wantKind(t, err, tt.fails, pathSend)
				} else if err != nil || res.MsgID != tt.msgID {
					t.Errorf("got %v, %v", res, err)
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				if got := p.asks[len(p.asks)-1]; got != tt.ask {
					t.Errorf("the proxy was asked for %s, want %s", got, tt.ask)
				}
				for _, shown := range []string{fmt.Sprint(err), fmt.Sprintf("%+v %#v", c, err)} {
					if strings.Contains(shown, "pass") || strings.Contains(shown, "dXNlcj") {
						t.Errorf("shows the proxy's password: %s", shown)
					}
				}
			})
		}
	}
}
