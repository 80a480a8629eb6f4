package outbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	t.Parallel()
	refused := []string{
		"127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
		"192.0.0.8", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1",
		"64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::1", "2001::1", "2001:db8::1", "100::1",
	}
	for _, ip := range refused {
		if err := (Config{}).check(net.JoinHostPort(ip, "443")); !errors.As(err, new(*Refused)) {
			t.Errorf("%s: %v, want it refused", ip, err)
		}
	}
	for _, ip := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "::ffff:8.8.8.8", "2606:4700::1111", "2408:8000::1"} {
		if err := (Config{}).check(net.JoinHostPort(ip, "443")); err != nil {
			t.Errorf("%s: %v, want it allowed", ip, err)
		}
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	c := Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}
	for addr, want := range map[string]bool{"10.1.2.3:80": true, "[::ffff:10.1.2.3]:80": true, "10.2.0.1:80": false, "[fd00::1]:80": true, "127.0.0.1:80": false} {
		if err := c.check(addr); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", addr, err, want)
		}
	}
}

func TestOwn(t *testing.T) {
	t.Parallel()
	mine := netip.MustParseAddr("8.8.4.4")
	c := Config{Own: []netip.AddrPort{netip.AddrPortFrom(mine, 8420)}}
	for addr, want := range map[string]bool{"8.8.4.4:8420": false, "8.8.4.4:443": true, "8.8.8.8:8420": true} {
		if err := c.check(addr); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", addr, err, want)
		}
	}
	if !ofThisMachine(netip.MustParseAddr("127.0.0.1")) || ofThisMachine(mine) {
		t.Error("the machine does not know its own addresses")
	}
}

// TestWritten: however an address is written, nothing reaches a server on this machine.
func TestWritten(t *testing.T) {
	t.Parallel()
	reached := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	c := New(Config{})
	defer c.CloseIdleConnections()
	for _, host := range []string{"127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "localhost"} {
		resp, err := c.Get("http://" + host + ":" + u.Port() + "/")
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s was called", host)
		}
	}
	if reached {
		t.Error("the server was reached")
	}
}

func TestClient(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	elsewhere := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			elsewhere++
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	c := New(Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Own: []netip.AddrPort{netip.MustParseAddrPort(strings.TrimPrefix(srv.URL, "http://"))}})
	defer c.CloseIdleConnections()
	resp, err := c.Post(srv.URL, "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err) // allowed, though it is this machine and its own
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || elsewhere != 0 {
		t.Errorf("status %d, %d calls elsewhere: a redirect was followed", resp.StatusCode, elsewhere)
	}
	if err := fmt.Errorf("dial: %w", &Refused{Addr: netip.MustParseAddr("10.0.0.1")}); !strings.Contains(err.Error(), "outbound-allow") {
		t.Errorf("%v does not say what to do", err)
	}
}
