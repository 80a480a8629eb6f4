package wechat

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// Every answer that is not the documented one is unclear.
func TestSendUnclearAnswers(t *testing.T) {
	t.Parallel()
	const good = `{"errcode":0,"errmsg":"ok","msgid":1}`
	tests := []struct{ name, raw string }{
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"},
		{"permanent redirect with a good body", "HTTP/1.1 308 X\r\nLocation: /e\r\nContent-Length: 37\r\n\r\n" + good},
		{"500 HTML", "HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"},
		{"502 with a good body", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 37\r\n\r\n" + good},
		{"201 with a good body", "HTTP/1.1 201 Created\r\nContent-Length: 37\r\n\r\n" + good},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"status 000", "HTTP/1.1 000 Odd\r\nContent-Length: 37\r\n\r\n" + good},
		{"interim", "HTTP/1.1 103 Early Hints\r\n\r\n" + ok(good)},
		{"200 HTML", ok("<html>" + good + "</html>")},
		{"empty body", ok("")},
		{"blank body", ok(" \r\n")},
		{"empty object", ok(`{}`)},
		{"array", ok(`[]`)},
		{"array of the object", ok(`[` + good + `]`)},
		{"null", ok(`null`)},
		{"number", ok(`0`)},
		{"string", ok(`"errcode"`)},
		{"errcode a string", ok(`{"errcode":"0","errmsg":"ok"}`)},
		{"errcode null", ok(`{"errcode":null}`)},
		{"errcode a fraction", ok(`{"errcode":0.0}`)},
		{"errcode with exponent", ok(`{"errcode":0e1}`)},
		{"errcode true", ok(`{"errcode":true}`)},
		{"errcode an object", ok(`{"errcode":{"errcode":0}}`)},
		{"errcode beyond 64 bits", ok(`{"errcode":99999999999999999999}`)},
		{"errcode in another spelling", ok(`{"ErrCode":0}`)},
		{"errcode one level down", ok(`{"data":{"errcode":0}}`)},
		{"only msgid", ok(`{"msgid":1988810812324364291}`)},
		{"cut JSON, right length", ok(good[:20])},
		{"cut JSON, length of the whole", strings.Replace(ok(good), good, good[:20], 1)},
		{"whole JSON, length too large", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + good},
		{"whole JSON, length too small", "HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n" + good},
		{"no length, cut", "HTTP/1.1 200 OK\r\n\r\n" + good[:20]},
		{"chunked, no end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n25\r\n" + good + "\r\n"},
		{"chunked, cut chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30\r\n" + good},
		{"chunked, bad size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + good + "\r\n0\r\n\r\n"},
		{"garbage after the JSON", ok(good + "<!-- served by gateway -->")},
		{"two objects", ok(good + good)},
		{"huge body", "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat(" ", 2_000_000-37) + good},
		{"huge header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 9<<10) + "\r\nContent-Length: 37\r\n\r\n" + good},
		{"half a header", "HTTP/1.1 200 OK\r\nContent-Le"},
		{"half a status line", "HTTP/1.1 2"},
		{"nothing", ""},
		{"no HTTP", "220 smtp ready, go on\r\n"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, func(c *net.TCPConn) {
				defer c.Close()
				if readRequest(bufio.NewReader(c)) == nil {
					io.WriteString(c, tt.raw)
				}
			})
			wantKind(t, send(t, newClient(t, Config{BaseURL: p.url()})), Unclear, pathSend)
		})
	}
}

// What differs from the documented form but is an answer all the same.
func TestSendAnswers(t *testing.T) {
	t.Parallel()
	const good = `{"errcode":0,"errmsg":"ok","msgid":1988810812324364291}`
	tests := []struct {
		name, raw string
		msgID     int64
	}{
		{"plain", ok(good), 1988810812324364291},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + good[:16] + "\r\n27\r\n" + good[16:] + "\r\n0\r\n\r\n", 1988810812324364291},
		{"until the end of the connection", "HTTP/1.1 200 OK\r\n\r\n" + good, 1988810812324364291},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 55\r\n\r\n" + good, 1988810812324364291},
		{"HTML content type", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 55\r\n\r\n" + good, 1988810812324364291},
		{"white space", ok("\r\n " + good + "\n"), 1988810812324364291},
		{"no msgid", ok(`{"errcode":0,"errmsg":"ok"}`), 0},
		{"msgid a string", ok(`{"errcode":0,"msgid":"1988810812324364291"}`), 1988810812324364291},
		{"msgid null", ok(`{"errcode":0,"msgid":null}`), 0},
		{"msgid nonsense", ok(`{"errcode":0,"msgid":[1]}`), 0},
		{"msgid a fraction", ok(`{"errcode":0,"msgid":1.5}`), 0},
		{"errmsg nonsense", ok(`{"errcode":0,"errmsg":7}`), 0},
		{"bytes after the answer", ok(good) + "HTTP/1.1 500 Late\r\n\r\n", 1988810812324364291},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, func(c *net.TCPConn) {
				r := bufio.NewReader(c)
				for readRequest(r) == nil {
					io.WriteString(c, tt.raw)
					if strings.HasPrefix(tt.name, "until the end") {
						c.Close()
					}
				}
			})
			c := newClient(t, Config{BaseURL: p.url()})
			for range 2 { // the second call must not meet what the first left behind
				res, err := c.SendSubscribeMessage(t.Context(), testToken, testMessage())
				if err != nil || res.MsgID != tt.msgID {
					t.Fatalf("got %v, %v, want msgid %d", res, err, tt.msgID)
				}
			}
		})
	}
}

func TestSendBrokenPeers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		serve func(c *net.TCPConn)
	}{
		{"reset after reading", func(c *net.TCPConn) {
			readRequest(bufio.NewReader(c))
			reset(c)
		}},
		{"reset with the request unread", func(c *net.TCPConn) {
			// One byte read proves that the request is on its way.
			c.Read(make([]byte, 1))
			reset(c)
		}},
		{"close after reading", func(c *net.TCPConn) {
			readRequest(bufio.NewReader(c))
			c.Close()
		}},
		{"accept and stall", func(*net.TCPConn) {}},
		{"read and stall", func(c *net.TCPConn) { readRequest(bufio.NewReader(c)) }},
		{"half an answer and stall", func(c *net.TCPConn) {
			readRequest(bufio.NewReader(c))
			io.WriteString(c, strings.TrimSuffix(ok(`{"errcode":0}`), "0}"))
		}},
		{"half an answer and reset", func(c *net.TCPConn) {
			readRequest(bufio.NewReader(c))
			io.WriteString(c, strings.TrimSuffix(ok(`{"errcode":0}`), "0}"))
			reset(c)
		}},
		{"a byte at a time", func(c *net.TCPConn) {
			readRequest(bufio.NewReader(c))
			for _, b := range []byte(ok(`{"errcode":0}`)) {
				c.Write([]byte{b})
				time.Sleep(short / 20) // the whole would take 5 time-outs
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, Config{BaseURL: newPeer(t, tt.serve).url(), CallTimeout: short})
			start := time.Now()
			wantKind(t, send(t, c), Unclear, pathSend)
			if d := time.Since(start); d > 10*short {
				t.Errorf("took %v, want about %v", d, short)
			}
		})
	}
}

// A peer that resets at once may do so before or after we write: both kinds are
// honest, success and silence are not.
func TestSendResetAtOnce(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{BaseURL: newPeer(t, reset).url(), CallTimeout: short})
	for range 20 {
		var te *TransportError
		if err := send(t, c); !errors.As(err, &te) {
			t.Fatalf("got %v, want a TransportError", err)
		}
	}
}

func TestSendPartialWrite(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(c *net.TCPConn) { c.SetReadBuffer(4 << 10) })
	c := newClient(t, Config{BaseURL: p.url(), CallTimeout: short})
	m := testMessage()
	m.Data["thing1"] = DataValue{Value: strings.Repeat("x", 16<<20)} // more than two sockets buffer
	_, err := c.SendSubscribeMessage(t.Context(), testToken, m)
	wantKind(t, err, Unclear, pathSend)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a time-out", err)
	}
}

func TestSendUnsent(t *testing.T) {
	t.Parallel()
	closed := newPeer(t, func(*net.TCPConn) {})
	closed.Close()
	silent := newPeer(t, func(*net.TCPConn) {})
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"closed port", Config{BaseURL: closed.url()}, "refused"},
		{"untrusted certificate", Config{BaseURL: untrusted.URL}, "certificate"},
		{"TLS to a peer that does not speak it", Config{BaseURL: strings.Replace(answering(t, "").url(), "http", "https", 1), ConnectTimeout: short}, "connect"},
		{"TLS handshake stalls", Config{BaseURL: "https" + strings.TrimPrefix(silent.url(), "http"), ConnectTimeout: short}, "connect: not in time (TLS: "},
		{"TLS handshake longer than the call", Config{BaseURL: "https" + strings.TrimPrefix(silent.url(), "http"), CallTimeout: short}, "connect"},
		{"proxy away", Config{BaseURL: silent.url(), Proxy: closed.url()}, "refused"},
		{"proxy does not answer CONNECT", Config{BaseURL: "https://127.0.0.1:1", Proxy: silent.url(), ConnectTimeout: short}, "connect: not in time (proxy: CONNECT: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := send(t, newClient(t, tt.cfg))
			wantKind(t, err, Unsent, pathSend)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestSendNothing(t *testing.T) {
	t.Parallel()
	_, err := newClient(t, Config{}).SendSubscribeMessage(t.Context(), testToken, nil)
	wantKind(t, err, Unsent, pathSend)
}

// All connections are busy: the call waits, then ends unsent.
func TestSendPoolExhausted(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	release := make(chan struct{})
	p := newPeer(t, func(c *net.TCPConn) {
		if readRequest(bufio.NewReader(c)) == nil {
			arrived <- struct{}{}
			<-release
			io.WriteString(c, ok(`{"errcode":0}`))
		}
	})
	c := newClient(t, Config{BaseURL: p.url(), MaxConns: 1, CallTimeout: 20 * short})
	first := make(chan error)
	go func() {
		_, err := c.SendSubscribeMessage(context.Background(), testToken, testMessage())
		first <- err
	}()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, err := c.SendSubscribeMessage(ctx, testToken, testMessage())
	wantKind(t, err, Unsent, pathSend)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's deadline", err)
	}
	waiting := *c
	waiting.callTimeout = short
	err = send(t, &waiting)
	wantKind(t, err, Unsent, pathSend)
	if !strings.Contains(err.Error(), "all 1 connections") {
		t.Errorf("got %v", err)
	}
	// A token fetch is not kept waiting by sends.
	third := make(chan error)
	go func() {
		_, err := c.GetCategory(context.Background(), testToken)
		third <- err
	}()
	<-arrived
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	wantKind(t, <-third, Unclear, pathGetCategory) // the answer has no data
}

func TestSendContext(t *testing.T) {
	t.Parallel()
	t.Run("cancelled before", func(t *testing.T) {
		t.Parallel()
		p := answering(t, ok(`{"errcode":0}`))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newClient(t, Config{BaseURL: p.url()}).SendSubscribeMessage(ctx, testToken, testMessage())
		wantKind(t, err, Unsent, pathSend)
		if !errors.Is(err, context.Canceled) || p.count() != 0 {
			t.Errorf("got %v and %d connections", err, p.count())
		}
	})
	t.Run("deadline before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		_, err := newClient(t, Config{}).SendSubscribeMessage(ctx, testToken, testMessage())
		wantKind(t, err, Unsent, pathSend)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled in the TLS handshake", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		p := newPeer(t, func(c *net.TCPConn) {
			c.Read(make([]byte, 1))
			cancel()
		})
		_, err := newClient(t, Config{BaseURL: "https" + strings.TrimPrefix(p.url(), "http")}).SendSubscribeMessage(ctx, testToken, testMessage())
		wantKind(t, err, Unsent, pathSend)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled after", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		p := newPeer(t, func(c *net.TCPConn) {
			readRequest(bufio.NewReader(c))
			cancel()
		})
		_, err := newClient(t, Config{BaseURL: p.url()}).SendSubscribeMessage(ctx, testToken, testMessage())
		wantKind(t, err, Unclear, pathSend)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("deadline after", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, func(c *net.TCPConn) { readRequest(bufio.NewReader(c)) })
		ctx, cancel := context.WithTimeout(t.Context(), short)
		defer cancel()
		_, err := newClient(t, Config{BaseURL: p.url()}).SendSubscribeMessage(ctx, testToken, testMessage())
		wantKind(t, err, Unclear, pathSend)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("call time-out", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, func(c *net.TCPConn) { readRequest(bufio.NewReader(c)) })
		err := send(t, newClient(t, Config{BaseURL: p.url(), CallTimeout: short}))
		wantKind(t, err, Unclear, pathSend)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 150ms") {
			t.Errorf("got %v", err)
		}
	})
}

// The Location of a redirect is never called, for any method.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	followed := newPeer(t, func(c *net.TCPConn) { c.Close() })
	p := answering(t, "HTTP/1.1 307 Temporary\r\nLocation: "+followed.url()+"/x\r\nContent-Length: 0\r\n\r\n")
	c := newClient(t, Config{BaseURL: p.url()})
	wantKind(t, send(t, c), Unclear, pathSend)
	_, err := c.GetAccessToken(t.Context(), testAppID, "secret-secret")
	wantKind(t, err, Unclear, pathToken)
	if followed.count() != 0 {
		t.Error("a redirect was followed")
	}
}
