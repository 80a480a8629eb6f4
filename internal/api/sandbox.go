package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
)

// The control surface of a sandbox has no keys of its own, so a console in a browser cannot
// talk to it: whoever may drive it does so through here. The host is that of the setting and
// no other; paths and methods are those listed; of the caller's headers none goes along.

const (
	relayBody   = 1 << 20
	relayAnswer = 16 << 20 // of a page of a thousand cards or pushes
	relayTime   = 10 * time.Second
)

// relayed are the calls that go through, by their path under /_sandbox.
var relayed = map[string][]string{
	"/apps":               {"GET", "POST"},
	"/apps/{appid}/rules": {"GET", "PUT"},
	"/apps/{appid}/push":  {"GET", "PUT", "DELETE"},
	"/templates":          {"POST"},
	"/users":              {"GET", "POST"},
	"/login":              {"POST"},
	"/sheet":              {"GET"},
	"/taps":               {"POST"},
	"/refuse":             {"POST"},
	"/settings":           {"GET"},
	"/grants":             {"GET"},
	"/inbox":              {"GET"},
	"/outbox":             {"GET"},
	"/calls":              {"GET"},
	"/stats":              {"GET"},
	"/faults":             {"GET", "POST", "DELETE"},
	"/pushes":             {"GET", "POST"},
	"/pushes/flush":       {"POST"},
	"/clock":              {"GET", "POST"},
	"/tokens":             {"POST"},
	"/reset":              {"POST"},
}

var sandboxScope = scopes{hongyan.ScopeSandbox}

// relayRoutes are one for each method, for the table and the description.
func relayRoutes() (out []route) {
	for _, m := range []string{"GET", "POST", "PUT", "DELETE"} {
		out = append(out, route{m + " /v1/sandbox/{path...}", "sandbox-" + strings.ToLower(m), "sandbox", sandboxScope, "Drive the sandbox (" + m + ")", 200,
			"Passed on to /_sandbox/… of the sandbox that the setting sandbox-url names, with its answers; what each call does stands on the sandbox's own page. Without the setting there is nothing here. Bodies are JSON of at most 1 MiB."})
	}
	return out
}

// newRelay is the client for the sandbox: one host, no redirects, no proxy of the environment.
func newRelay() *http.Client {
	return &http.Client{Timeout: relayTime, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (s *server) relaySandbox(x *exchange, r *http.Request) {
	if s.SandboxURL == "" {
		x.fail(hongyan.Errorf(hongyan.CodeNotFound, "This server has no sandbox to drive: start it with --sandbox-url http://127.0.0.1:8422, or `hongyan demo`, which has one."))
		return
	}
	if len(x.key.Apps) > 0 {
		x.fail(hongyan.Errorf(hongyan.CodeForbidden, "This key is limited to some apps; a sandbox knows no limits."))
		return
	}
	path, err := relayPath(r)
	if err != nil {
		x.fail(err)
		return
	}
	body, err := relayedBody(x)
	if err != nil {
		x.fail(err)
		return
	}
	answer, err := s.askSandbox(r.Context(), r.Method, path+query(r), body)
	if err != nil {
		x.fail(err)
		return
	}
	x.Header().Set("Content-Type", answer.mediaType)
	x.WriteHeader(answer.status)
	_, _ = x.Write(answer.body)
}

func query(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return "?" + r.URL.Query().Encode()
}

// relayPath is the path at the sandbox, built anew from what was recognized.
func relayPath(r *http.Request) (string, error) {
	path := "/" + r.PathValue("path")
	listed, built := path, path
	if steps := strings.Split(path, "/"); len(steps) == 4 && steps[1] == "apps" {
		if !validAppID(steps[2]) {
			return "", hongyan.Invalid("/path", "appid", "%q is not an AppID.", clip(steps[2]))
		}
		listed, built = "/apps/{appid}/"+steps[3], "/apps/"+url.PathEscape(steps[2])+"/"+steps[3]
	}
	methods, known := relayed[listed]
	switch {
	case !known:
		return "", hongyan.Errorf(hongyan.CodeNotFound, "The sandbox has no control call %s.", clip(path))
	case !slices.Contains(methods, r.Method):
		return "", hongyan.Errorf(hongyan.CodeMethodNotAllowed, "The sandbox's %s takes %s.", listed, strings.Join(methods, ", "))
	}
	return "/_sandbox" + built, nil
}

// relayedBody reads a body, which is JSON if there is one.
func relayedBody(x *exchange) (string, error) {
	if x.r.ContentLength == 0 || x.r.Method == http.MethodGet || x.r.Method == http.MethodDelete {
		return "", nil
	}
	return x.body(relayBody)
}

type relayReply struct {
	status    int
	mediaType string
	body      []byte
}

func (s *server) askSandbox(ctx context.Context, method, path, body string) (*relayReply, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(s.SandboxURL, "/")+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.relay.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the query, which has openids
		}
		return nil, hongyan.Errorf(hongyan.CodeSandboxUnavailable, "The sandbox did not answer: %v.", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, relayAnswer+1))
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return nil, hongyan.Errorf(hongyan.CodeSandboxUnavailable, "The sandbox broke off its answer.")
	case len(b) > relayAnswer:
		return nil, hongyan.Errorf(hongyan.CodeSandboxUnavailable, "The sandbox's answer is larger than %d bytes; ask for fewer with limit.", relayAnswer)
	case mediaType != "application/json" && mediaType != problemType || len(bytes.TrimSpace(b)) == 0:
		return nil, hongyan.Errorf(hongyan.CodeSandboxUnavailable, "What answers at the sandbox's address is no sandbox.")
	}
	return &relayReply{resp.StatusCode, mediaType, b}, nil
}

// describeRelay lists the relay in the description, once a method.
func (s *server) describeRelay() {
	doc := s.api.OpenAPI()
	whatever := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}}
	for _, rt := range relayRoutes() {
		op := rt.operation(s)
		op.Path = "/v1/sandbox/{path}"
		op.Parameters = []*huma.Param{{Name: "path", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}, Description: "Path of a control call, with its slashes, such as taps or apps/wx0123456789abcdef/rules."}}
		op.Responses["200"] = &huma.Response{Description: "As the sandbox answered", Content: whatever}
		if op.Method == http.MethodPost || op.Method == http.MethodPut {
			op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}}
		}
		doc.AddOperation(&op)
	}
}
