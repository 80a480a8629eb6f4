package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"

	"github.com/valyala/fasthttp"
)

// call is one request to WeChat.
type call struct {
	path    string
	query   string // encoded; holds secrets, so it stays out of every error
	post    bool
	body    []byte
	secrets []string // cut from whatever a peer says
}

var errClearText = errors.New("plain http to another host would show a credential to everybody on the way: use https, or for WeChat's cloud hosting an app without a token")

// do performs q and hands the body of a status-200 answer to use. A call that
// got no such answer, or whose answer use cannot read, ends as a
// [*TransportError]; an [*Error] from use is passed on.
func (c *Client) do(ctx context.Context, p *pool, q *call, use func(body []byte) error) error {
	if c.clearText && slices.ContainsFunc(q.secrets, func(s string) bool { return s != "" }) {
		return &TransportError{Kind: Unsent, Path: q.path, Err: errClearText}
	}
	w := requestBuffers.Get().(*requestBuffer)
	defer w.release()
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)

	w.b = c.appendRequest(w.b[:0], q)
	wrote, err := p.exchange(ctx, c.callTimeout, w.b, resp)
	if err == nil {
		err = use(resp.Body())
	}
	if err == nil {
		return nil
	}
	if refused, ok := err.(*Error); ok {
		return refused
	}
	kind := Unsent
	if wrote {
		kind = Unclear
	}
	return &TransportError{Kind: kind, Path: q.path, Err: scrubError(err, q.secrets)}
}

// appendRequest writes the request as it goes over the wire, in one piece: one
// Write per request makes "was anything written" a plain question.
func (c *Client) appendRequest(b []byte, q *call) []byte {
	if q.post {
		b = append(b, "POST "...)
	} else {
		b = append(b, "GET "...)
	}
	b = append(b, c.target...)
	b = append(b, q.path...)
	if q.query != "" {
		b = append(b, '?')
		b = append(b, q.query...)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	b = append(b, c.headers...)
	if c.forward != nil {
		b = append(b, c.forward.authorization...)
	}
	if q.post {
		b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
		b = appendInt(b, len(q.body))
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, q.body...)
}

// tokenQuery is the query of a call with an access token. Without a token there
// is none: inside WeChat's cloud hosting the platform adds its own.
func tokenQuery(accessToken string) string {
	if accessToken == "" {
		return ""
	}
	return "access_token=" + url.QueryEscape(accessToken)
}

// tokenCall is a POST with an access token.
func tokenCall(path, accessToken string) *call {
	return &call{path: path, query: tokenQuery(accessToken), post: true, secrets: []string{accessToken}}
}

// getCall is a GET with an access token; query is encoded and may be empty.
func getCall(path, accessToken, query string) *call {
	q := &call{path: path, query: tokenQuery(accessToken), secrets: []string{accessToken}}
	if query != "" && q.query != "" {
		q.query += "&"
	}
	q.query += query
	return q
}

// setBody makes v the JSON body.
func (q *call) setBody(v any) (err error) {
	q.body, err = encode(v)
	return err
}

// fetch performs q and decodes its answer into v. errcode may be absent then:
// success shows in the fields that check looks for.
func (c *Client) fetch(ctx context.Context, q *call, v any, check func() error) error {
	return c.do(ctx, c.others, q, func(body []byte) error {
		a, err := parseAnswer(body)
		switch {
		case err != nil:
			return err
		case a.errcode != ErrcodeOK:
			return a.refusal(q)
		case json.Unmarshal(body, v) != nil:
			return errShape
		}
		return check()
	})
}

// confirm performs q, whose answer has nothing but its errcode.
func (c *Client) confirm(ctx context.Context, q *call) error {
	return c.do(ctx, c.others, q, func(body []byte) error {
		a, err := parseAnswer(body)
		switch {
		case err != nil:
			return err
		case a.errcode != ErrcodeOK:
			return a.refusal(q)
		case !a.hasErrcode:
			// The answer has no other field to know it by.
			return errors.New("answer has no errcode")
		}
		return nil
	})
}
