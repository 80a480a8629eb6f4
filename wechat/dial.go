package wechat

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/valyala/fasthttp"
)

// dialer makes connections to one address, through a proxy if there is one. All
// that happens here, happens before the first byte of a request.
type dialer struct {
	addr    string
	tls     *tls.Config // nil for plain http
	proxy   *proxy      // nil for none
	timeout time.Duration
}

// proxy stays behind a pointer, so that printing a Client does not print its
// password.
type proxy struct {
	addr          string
	tls           *tls.Config // nil for an http proxy
	authorization string      // header line, or empty
}

// parseProxy reads Config.Proxy. Its errors never repeat the URL: it may hold a
// password.
func parseProxy(s string, roots *x509.CertPool) (*proxy, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("want http://host:port or https://host:port")
	case u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return nil, errors.New("want no path, query or fragment")
	}
	p := &proxy{addr: hostPort(u)}
	if u.Scheme == "https" {
		p.tls = tlsConfig(u.Hostname(), roots)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		token := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		p.authorization = "Proxy-Authorization: Basic " + token + "\r\n"
	}
	return p, nil
}

func (d *dialer) dial(ctx context.Context, deadline time.Time) (*conn, error) {
	if limit := time.Now().Add(d.timeout); limit.Before(deadline) {
		deadline = limit
	}
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	cn, err := d.connect(bounded, deadline)
	if err == nil {
		return cn, nil
	}
	if cause := contextError(ctx); cause != nil {
		return nil, fmt.Errorf("connect: %w", cause)
	}
	if contextError(bounded) != nil {
		return nil, fmt.Errorf("connect: not in time (%v): %w", err, os.ErrDeadlineExceeded)
	}
	return nil, fmt.Errorf("connect: %w", err)
}

func (d *dialer) connect(ctx context.Context, deadline time.Time) (*conn, error) {
	addr := d.addr
	if d.proxy != nil {
		addr = d.proxy.addr
	}
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	raw := &countedConn{Conn: tcp}
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(past) })
	cn, err := d.setUp(raw, deadline)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return cn, nil
}

// setUp puts what is needed above TCP: TLS to the proxy, a tunnel, TLS to WeChat.
func (d *dialer) setUp(raw *countedConn, deadline time.Time) (*conn, error) {
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stream := net.Conn(raw)
	var err error
	if d.proxy != nil {
		if stream, err = handshake(stream, d.proxy.tls); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		// Without TLS to WeChat there is nothing to tunnel: see New.
		if d.tls != nil {
			if err := d.tunnel(stream); err != nil {
				return nil, fmt.Errorf("proxy: %w", err)
			}
		}
	}
	if stream, err = handshake(stream, d.tls); err != nil {
		return nil, err
	}
	return newConn(raw, stream), nil
}

func handshake(under net.Conn, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return under, nil
	}
	t := tls.Client(under, config)
	if err := t.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t, nil
}

func (d *dialer) tunnel(stream net.Conn) error {
	req := "CONNECT " + d.addr + " HTTP/1.1\r\nHost: " + d.addr + "\r\n" + d.proxy.authorization + "\r\n"
	if _, err := stream.Write([]byte(req)); err != nil {
		return err
	}
	in := readNoter{from: stream}
	r := bufio.NewReaderSize(&in, headerBuffer)
	var head fasthttp.ResponseHeader
	if err := head.Read(r); err != nil {
		if in.err != nil {
			return fmt.Errorf("CONNECT: %w", in.err)
		}
		return fmt.Errorf("CONNECT: %w", errNotHTTP)
	}
	if code := head.StatusCode(); code < 200 || code > 299 {
		return fmt.Errorf("CONNECT: HTTP status %d", code)
	}
	// The reader is dropped here, and WeChat does not speak first.
	if r.Buffered() != 0 {
		return errors.New("CONNECT: data before the tunnel")
	}
	return nil
}
