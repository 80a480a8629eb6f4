package wechat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"time"
)

// RelayRequest is a call to any of WeChat's paths as another program wrote it, but for the
// access token.
type RelayRequest struct {
	// Method is GET or POST.
	Method string
	// Path is sent as it is: it must be clean, and need no escape.
	Path string
	// Query is sent as it is, without "?". It must hold no access_token.
	Query       string
	ContentType string
	Body        []byte
	// AccessToken is added to the query; empty for calls without one.
	AccessToken string
	// Secrets are the credentials in Query and Body: kept from clear text and cut from errors, as
	// the token is.
	Secrets []string
}

// RelayAnswer is what WeChat said, whatever it is.
type RelayAnswer struct {
	Status      int
	ContentType string
	Body        []byte
}

// Limits of a relayed call.
const (
	// RelayTimeout bounds a whole relayed call.
	RelayTimeout = 60 * time.Second
	// MaxRelayBody bounds both bodies of a relayed call.
	MaxRelayBody = 10 << 20
)

// Relay makes a call to WeChat's host and to no other: redirects are not followed. The error
// is a [*TransportError].
func (c *Client) Relay(ctx context.Context, r RelayRequest) (RelayAnswer, error) {
	secrets := append([]string{r.AccessToken}, r.Secrets...)
	fail := func(kind Kind, err error) (RelayAnswer, error) {
		return RelayAnswer{}, &TransportError{Kind: kind, Path: r.Path, Err: scrubError(err, secrets)}
	}
	if c.clearText && slices.ContainsFunc(secrets, func(s string) bool { return s != "" }) {
		return fail(Unsent, errClearText)
	}
	ctx, cancel := context.WithTimeout(ctx, RelayTimeout)
	defer cancel()
	wrote := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { wrote = true }})
	query := r.Query
	if r.AccessToken != "" {
		if query != "" {
			query += "&"
		}
		query += "access_token=" + url.QueryEscape(r.AccessToken)
	}
	target := c.base + r.Path
	if query != "" {
		target += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(r.Body))
	if err != nil {
		return fail(Unsent, errors.New("not a request that can be relayed"))
	}
	req.Header.Set("User-Agent", c.userAgent)
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	resp, err := c.relay.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which holds the token
		}
		if wrote {
			return fail(Unclear, err)
		}
		return fail(Unsent, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxRelayBody+1))
	if err == nil && len(body) > MaxRelayBody {
		err = fmt.Errorf("the answer is longer than %d bytes", MaxRelayBody)
	}
	if err != nil {
		return fail(Unclear, err)
	}
	return RelayAnswer{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Body: body}, nil
}

// newRelay is the HTTP client of relayed calls. It has the same way out as all others.
func newRelay(cfg Config) *http.Client {
	t := &http.Transport{
		TLSHandshakeTimeout: cfg.ConnectTimeout, ResponseHeaderTimeout: RelayTimeout, IdleConnTimeout: 5 * time.Second,
		MaxConnsPerHost: maxOtherConns, MaxIdleConnsPerHost: maxOtherConns, DisableCompression: true,
		DialContext:     (&net.Dialer{Timeout: cfg.ConnectTimeout}).DialContext,
		TLSClientConfig: tlsConfig("", cfg.RootCAs),
	}
	if u, err := url.Parse(cfg.Proxy); err == nil && cfg.Proxy != "" {
		t.Proxy = http.ProxyURL(u)
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
