// Package outbound is the one HTTP client for addresses that others choose, such as those of
// webhooks. It hides which addresses they may name: the address is checked after names are
// resolved, just before the connection, so that no name and no way of writing a number leads
// to this machine, its network or a cloud's metadata. It follows no redirects and asks no
// proxy, because either would go where nobody checks.
//
// It leaves time-outs and the size of answers to the caller. Start: [New].
package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Config says what may be reached besides the public internet.
type Config struct {
	// Allow are networks that may be reached though they are not public.
	Allow []netip.Prefix
	// Own are the addresses that this process listens on; on a public one it could be told to
	// call itself. An unspecified one stands for every address of this machine.
	Own []netip.AddrPort
}

// Refused is an address that must not be called.
type Refused struct {
	Addr netip.Addr
}

// Error says what the operator can do about it.
func (e *Refused) Error() string {
	return fmt.Sprintf("the address %s is not on the public internet; an operator can allow it with outbound-allow", e.Addr)
}

const (
	connectTime = 5 * time.Second
	idleTime    = 30 * time.Second
)

// New makes the client. Close its idle connections when it is no longer needed.
func New(cfg Config) *http.Client {
	d := &net.Dialer{Timeout: connectTime, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return cfg.check(address)
	}}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: connectTime, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns: 100, MaxIdleConnsPerHost: 16, IdleConnTimeout: idleTime, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// check refuses a resolved address.
func (c Config) check(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	ip := to.Addr().WithZone("").Unmap()
	for _, p := range c.Allow {
		if p.Contains(ip) {
			return nil
		}
	}
	if !public(ip) || c.own(ip, to.Port()) {
		return &Refused{Addr: ip}
	}
	return nil
}

// notPublic are the IPv4 networks that are not the internet's, and the parts of IPv6's that
// lead back into one of those.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
}

// internet6 is the part of IPv6 that is handed out. Loopback, unique local, link-local,
// multicast, and IPv4 inside IPv6 (64:ff9b::/96 among it) lie outside.
var internet6 = netip.MustParsePrefix("2000::/3")

func public(ip netip.Addr) bool {
	if ip.Is6() && !internet6.Contains(ip) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// own reports whether this process listens there.
func (c Config) own(ip netip.Addr, port uint16) bool {
	for _, o := range c.Own {
		if o.Port() == port && (o.Addr().Unmap() == ip || o.Addr().IsUnspecified() && ofThisMachine(ip)) {
			return true
		}
	}
	return false
}

func ofThisMachine(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // better one call too few
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if mine, ok := netip.AddrFromSlice(n.IP); ok && mine.Unmap() == ip {
				return true
			}
		}
	}
	return false
}
