// Package client calls the HTTP API of a Hongyan server from Go.
//
// A [Client] has a method for every operation, in the words of package hongyan. Lists that can
// be long are iterators, which fetch page after page; [Collect] makes a slice of one.
//
// A failure that the server explains is a [*Problem], which is a *hongyan.Error with what the
// API says besides. Codes are errors, so the usual question is
//
//	errors.Is(err, hongyan.CodeNoGrant)
//
// Reads, and calls that create something, are repeated when no answer came or the server asks
// to come again. Each creating call carries an Idempotency-Key, so that a repeat finds what the
// first one did and does nothing twice. All other calls are made once. Everything ends with its
// context.
//
// [WebhookHandler] is for the other direction: it receives events.
//
// Start: [New], then [Client.Submit]. Types for the templates of an app, so that a wrong field
// does not compile, are written by `hongyan generate go`.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Config says where the server is and who is calling.
type Config struct {
	// BaseURL is scheme, host, port and optional path prefix of the server.
	BaseURL string
	// APIKey is a key of that server. It may be empty for [Client.Health] and [Client.Ready].
	APIKey string
	// Retries is how often a call that may be repeated is repeated when no answer came, or one
	// that says to come again: 429, 502, 503, 504, with what Retry-After asks for up to 15 s,
	// and never past the context's deadline. Default 3; negative: never.
	Retries int
	// HTTPClient makes the calls. Default: one with a time-out of a minute, which is longer
	// than the longest [Options.Wait].
	HTTPClient *http.Client
	// UserAgent is sent as it is. Default "hongyan-client".
	UserAgent string
	// Lang asks for hints in a language: "zh" or "en". Default en.
	Lang string
}

// Client calls one server. It may be used from any goroutine.
type Client struct {
	cfg  Config
	base string
}

// New returns a client, or an error when the configuration cannot work. It does not connect.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("client: BaseURL wants http(s)://host[:port][/prefix], such as http://127.0.0.1:8420")
	}
	if strings.ContainsFunc(cfg.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("client: the API key has a space or another character that no key has")
	}
	if cfg.Retries == 0 {
		cfg.Retries = defaultRetries
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Timeout: time.Minute}
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "hongyan-client"
	}
	return &Client{cfg: cfg, base: strings.TrimRight(u.String(), "/")}, nil
}

// Options go with one call that creates something. The zero value is good.
type Options struct {
	// IdempotencyKey makes a repeat of the call harmless for 24 hours: it gets the first
	// one's answer. 1 to 255 visible ASCII characters. The client makes one for its own
	// repeats; give one that you keep, such as the order's number, to repeat a call yourself,
	// also after a crash.
	IdempotencyKey string
	// Wait makes Submit wait for a final state, uncertain or held; whole seconds, at most 30.
	Wait time.Duration
}

// maxAnswer bounds what a peer can make us hold: a full page of messages is some megabytes.
const maxAnswer = 64 << 20

// call is one request.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	in     any
	opt    Options
	// creates says that the server takes an Idempotency-Key.
	creates bool
}

// once makes the call one time.
func (c *Client) once(ctx context.Context, q call, out any) error {
	req, err := c.request(ctx, q)
	if err != nil {
		return err
	}
	resp, err := c.cfg.HTTPClient.Do(req)
	if err != nil {
		return &transport{"call " + q.method + " " + q.path, withoutURL(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &transport{"read the answer of " + q.method + " " + q.path, err}
	}
	if resp.StatusCode >= 300 {
		return problem(resp, body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("decode the answer of %s %s: %w", q.method, q.path, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, q call) (*http.Request, error) {
	target := c.base + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	var body io.Reader
	if q.in != nil {
		b, err := json.Marshal(q.in)
		if err != nil {
			return nil, fmt.Errorf("encode %s %s: %w", q.method, q.path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("call %s %s: %w", q.method, q.path, err)
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if q.in != nil {
		set("Content-Type", "application/json")
	}
	if c.cfg.APIKey != "" {
		set("Authorization", "Bearer "+c.cfg.APIKey)
	}
	set("User-Agent", c.cfg.UserAgent)
	set("Accept-Language", c.cfg.Lang)
	set("Idempotency-Key", q.opt.IdempotencyKey)
	if q.opt.Wait >= time.Second {
		set("Prefer", "wait="+strconv.Itoa(int(q.opt.Wait/time.Second)))
	}
	return req, nil
}

// withoutURL takes the URL out of a transport's error: a query may hold an openid.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Problem is the server's error document, for what *hongyan.Error has no place for. It
// unwraps to that error.
type Problem struct {
	Err       *hongyan.Error
	Status    int
	Title     string
	Hint      string
	RequestID hongyan.RequestID
}

// Error is the error with the server's hint.
func (p *Problem) Error() string {
	s := p.Err.Error()
	if p.Hint != "" {
		s += " " + p.Hint
	}
	return s
}

// Unwrap returns the *hongyan.Error.
func (p *Problem) Unwrap() error { return p.Err }

// problem turns an error's body back into the error it was on the other side.
func problem(resp *http.Response, body []byte) error {
	var doc struct {
		Title     string               `json:"title"`
		Detail    string               `json:"detail"`
		Code      hongyan.Code         `json:"code"`
		Hint      string               `json:"hint"`
		RequestID hongyan.RequestID    `json:"request_id"`
		Errors    []hongyan.FieldError `json:"errors"`
		WeChat    *hongyan.WeChatError `json:"wechat"`
	}
	var wait time.Duration
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		wait = time.Duration(s) * time.Second
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != "application/problem+json" || json.Unmarshal(body, &doc) != nil || doc.Code == "" {
		return &foreign{resp.StatusCode, resp.Status, wait}
	}
	e := &hongyan.Error{Code: doc.Code, Message: doc.Detail, Fields: doc.Errors, WeChat: doc.WeChat, RetryAfter: wait}
	return &Problem{Err: e, Status: resp.StatusCode, Title: doc.Title, Hint: doc.Hint, RequestID: doc.RequestID}
}

// page is one page of a list.
type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}

// pages goes through a list, page by page. It ends after the first error.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := query
		for {
			var p page[T]
			if err := c.do(ctx, call{method: http.MethodGet, path: path, query: q}, &p); err != nil {
				yield(*new(T), err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.NextCursor == "" {
				return
			}
			q = maps.Clone(q) // a range over the same list starts anew
			if q == nil {
				q = url.Values{}
			}
			q.Set("cursor", p.NextCursor)
		}
	}
}

// Collect makes a slice of a list, up to its first error. most bounds it; 0 takes all there is.
func Collect[T any](list iter.Seq2[T, error], most int) ([]T, error) {
	var out []T
	for item, err := range list {
		if err != nil {
			return out, err
		}
		out = append(out, item)
		if len(out) == most {
			break
		}
	}
	return out, nil
}

// get reads one thing.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, &out)
	return out, err
}

// send posts, puts or patches one thing.
func send[T any](ctx context.Context, c *Client, method, path string, in any, opt Options) (T, error) {
	var out T
	err := c.do(ctx, call{method: method, path: path, in: in, opt: opt}, &out)
	return out, err
}

// create posts what makes something.
func create[T any](ctx context.Context, c *Client, path string, in any, opt Options) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodPost, path: path, in: in, opt: opt, creates: true}, &out)
	return out, err
}

// whole reads a list that has one page.
func whole[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	p, err := get[page[T]](ctx, c, path, query)
	return p.Items, err
}

// join builds a path from steps, each escaped.
func join(steps ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, s := range steps {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// values builds a query of what is not empty.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
