package wechat

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// WeChat's general hosts. All hosts serve the same paths.
// See https://developers.weixin.qq.com/doc/service/Basic_Information/Interface_field_description.html.
const (
	// DefaultBaseURL is the general domain (通用域名), routed to the nearest region.
	DefaultBaseURL = "https://api.weixin.qq.com"
	// FallbackBaseURL is the general domain of another site (通用异地容灾域名),
	// for when the first cannot be reached. A [Client] never changes over by
	// itself: make one client for each.
	FallbackBaseURL = "https://api2.weixin.qq.com"
)

const (
	defaultConnectTimeout = 3 * time.Second
	defaultCallTimeout    = 8 * time.Second
	defaultMaxConns       = 512
	// Tokens, templates and logins have connections of their own, so that
	// stalled sends can never keep a token from being fetched.
	maxOtherConns = 64
	// maxBody bounds what a peer can make us hold. WeChat's largest answer, a
	// full template list, is some 30 KiB.
	maxBody = 1 << 20
)

// Config says where and how to call WeChat. The zero value calls
// [DefaultBaseURL] with the default limits.
type Config struct {
	// BaseURL is scheme, host, optional port and optional path prefix; no
	// user, query or fragment. Default [DefaultBaseURL].
	BaseURL string
	// ConnectTimeout bounds DNS, TCP, proxy and TLS set-up together. Default 3 s.
	ConnectTimeout time.Duration
	// CallTimeout bounds a whole call: waiting for a connection, connecting,
	// writing, reading. A context with an earlier deadline ends it earlier.
	// Default 8 s.
	CallTimeout time.Duration
	// Proxy is an http or https URL, with user and password if it wants them.
	// Every call goes through it, which gives a fixed address for WeChat's IP
	// whitelist (IP白名单): https targets by CONNECT, http targets by absolute
	// URL. The proxy variables of the environment are never read.
	Proxy string
	// MaxConns bounds connections for sends, and so sends under way. A send
	// beyond it waits; waiting that ends without a connection is [Unsent].
	// Default 512.
	MaxConns int
	// AllowInsecure permits plain http to a host that is not this machine, for
	// calls without any credential: WeChat's cloud hosting (微信云托管)
	// intercepts those inside its containers and authenticates them itself. A
	// call with a token or secret is refused as [Unsent] before anything is written.
	AllowInsecure bool
	// RootCAs are trusted for https, on the way to WeChat and to an https
	// proxy. Default: the system's.
	RootCAs *x509.CertPool
	// UserAgent is sent as it is. Default "hongyan".
	UserAgent string
}

// Client calls WeChat under one base URL. Make it with [New].
type Client struct {
	target      string // what precedes a path in the request line
	headers     string // the header lines every request has
	forward     *proxy // takes whole URLs; nil without a proxy and for tunnels
	clearText   bool   // plain http to another host: no credential may go out
	callTimeout time.Duration
	sends       *pool
	others      *pool
	base        string // without a trailing slash
	userAgent   string
	relay       *http.Client
}

// New returns a client, or an error when the configuration cannot work. It does
// not connect.
func New(cfg Config) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, fmt.Errorf("wechat config: %w", err)
	}
	base, err := parseBase(cfg.BaseURL, cfg.AllowInsecure)
	if err != nil {
		return nil, fmt.Errorf("wechat config: base URL: %w", err)
	}
	via, err := parseProxy(cfg.Proxy, cfg.RootCAs)
	if err != nil {
		return nil, fmt.Errorf("wechat config: proxy: %w", err)
	}
	d := &dialer{addr: hostPort(base), proxy: via, timeout: cfg.ConnectTimeout}
	c := &Client{
		target:      strings.TrimRight(base.EscapedPath(), "/"),
		headers:     "Host: " + base.Host + "\r\nUser-Agent: " + cfg.UserAgent + "\r\n",
		clearText:   base.Scheme == "http" && !isLoopback(base.Hostname()),
		callTimeout: cfg.CallTimeout,
	}
	if base.Scheme == "https" {
		d.tls = tlsConfig(base.Hostname(), cfg.RootCAs)
	} else if via != nil {
		// Proxies often refuse CONNECT to port 80; they take the whole URL instead.
		c.target = "http://" + base.Host + c.target
		c.forward = via
	}
	c.base, c.userAgent, c.relay = strings.TrimRight(base.String(), "/"), cfg.UserAgent, newRelay(cfg)
	c.sends = newPool(d, cfg.MaxConns)
	c.others = newPool(d, maxOtherConns)
	return c, nil
}

// Close closes the idle connections, and those of calls under way when the calls
// end. Calls stay possible; their connections are not kept.
func (c *Client) Close() {
	c.sends.close()
	c.others.close()
	c.relay.CloseIdleConnections()
}

func (cfg *Config) fill() error {
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = defaultConnectTimeout
	}
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = defaultCallTimeout
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = defaultMaxConns
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "hongyan"
	}
	switch {
	case cfg.ConnectTimeout < 0 || cfg.CallTimeout < 0:
		return errors.New("a time-out is negative")
	case cfg.MaxConns < 0:
		return errors.New("the number of connections is negative")
	case strings.ContainsFunc(cfg.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("the user agent is not printable ASCII")
	}
	return nil
}

// parseBase checks a base URL. Its errors do not repeat the text, in case
// somebody put a credential into it.
func parseBase(s string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("want https://host or http://host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("want no user, query or fragment")
	case u.Scheme == "http" && !insecure && !isLoopback(u.Hostname()):
		return nil, errors.New("plain http to another host would expose access tokens (AllowInsecure permits it)")
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// hostPort is the address to connect to for u.
func hostPort(u *url.URL) string {
	if port := u.Port(); port != "" {
		return net.JoinHostPort(u.Hostname(), port)
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

func tlsConfig(host string, roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		ServerName: host,
		RootCAs:    roots,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		// Idle connections are short-lived here, so new ones should be cheap.
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
}
