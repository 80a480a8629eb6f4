package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxControlBody fits 100,000 openids.
const maxControlBody = 16 << 20

// Problem is a refusal of the control surface, in Go and, as
// application/problem+json (RFC 9457), over HTTP.
type Problem struct {
	Status int
	Code   string // for programs
	Detail string // for people
}

func (p *Problem) Error() string { return p.Detail }

// MarshalJSON adds the members that RFC 9457 names.
func (p *Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(p.Status), p.Status, p.Code, p.Detail})
}

func badRequest(detail string) error {
	return &Problem{Status: http.StatusBadRequest, Code: "bad_request", Detail: detail}
}

// endpoint answers a control call with a value or a [*Problem].
type endpoint func(*Sandbox, *http.Request) (any, error)

// appPath stands for /_sandbox/apps/{appid}.
const appPath = "/apps/{appid}"

func controlTable() map[string]map[string]endpoint {
	return map[string]map[string]endpoint{
		"/apps":            {"POST": take((*Sandbox).CreateApp), "GET": getApps},
		appPath + "/rules": {"PUT": putRules, "GET": getRules},
		appPath + "/push":  {"PUT": putPush, "GET": getPush, "DELETE": deletePush},
		"/templates":       {"POST": take((*Sandbox).AddTemplate)},
		"/users":           {"POST": take((*Sandbox).AddUsers), "GET": getUsers},
		"/login":           {"POST": take((*Sandbox).Login)},
		"/taps":            {"POST": take((*Sandbox).Tap)},
		"/refuse":          {"POST": take((*Sandbox).Refuse)},
		"/grants":          {"GET": getGrants},
		"/settings":        {"GET": getSettings},
		"/sheet":           {"GET": getSheet},
		"/inbox":           {"GET": getInbox},
		"/outbox":          {"GET": getOutbox},
		"/calls":           {"GET": getCalls},
		"/stats":           {"GET": getStats},
		"/faults":          {"POST": take((*Sandbox).AddFault), "GET": getFaults, "DELETE": deleteFaults},
		"/pushes":          {"POST": take((*Sandbox).PushEvent), "GET": getPushes},
		"/pushes/flush":    {"POST": flushPushes},
		"/clock":           {"POST": take((*Sandbox).moveClock), "GET": getClock},
		"/tokens":          {"POST": take((*Sandbox).Tokens)},
		"/reset":           {"POST": reset},
	}
}

// serveControl answers calls under /_sandbox/.
func (s *Sandbox) serveControl(w http.ResponseWriter, r *http.Request) {
	v, err := s.controlCall(r)
	status, contentType := http.StatusOK, "application/json"
	if err != nil {
		var p *Problem
		if !errors.As(err, &p) {
			p = &Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: err.Error()}
		}
		status, contentType, v = p.Status, "application/problem+json", p
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(encode(v), '\n'))
}

func (s *Sandbox) controlCall(r *http.Request) (any, error) {
	if err := s.checkCaller(r); err != nil {
		return nil, err
	}
	// A table of our own rather than ServeMux, whose 404 and 405 are not problems
	// in JSON.
	path := strings.TrimPrefix(r.URL.Path, controlPrefix)
	if rest, ok := strings.CutPrefix(path, "/apps/"); ok {
		if appID, what, ok := strings.Cut(rest, "/"); ok {
			r.SetPathValue("appid", appID)
			path = appPath + "/" + what
		}
	}
	methods := s.control[path]
	if methods == nil {
		return nil, &Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "There is no control call " + r.URL.Path + "."}
	}
	handle := methods[r.Method]
	if handle == nil {
		return nil, &Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
			Detail: fmt.Sprintf("%s does not take %s.", r.URL.Path, r.Method)}
	}
	// A page can post a form anywhere without asking; JSON it cannot. So the type
	// is demanded of everything that has a body.
	if r.ContentLength != 0 {
		if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
			return nil, &Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
				Detail: "Send the body with Content-Type: application/json."}
		}
	}
	return handle(s, r)
}

// checkCaller keeps web pages out. A page that somebody happens to have open
// could otherwise drive a sandbox on the same machine: its requests carry an
// Origin, and after DNS rebinding a Host of its own.
func (s *Sandbox) checkCaller(r *http.Request) error {
	if !s.isOurHost(r.Host) {
		return &Problem{Status: http.StatusForbidden, Code: "foreign_host",
			Detail: fmt.Sprintf("Host %q is neither loopback nor allowed.", r.Host)}
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
		return &Problem{Status: http.StatusForbidden, Code: "foreign_origin",
			Detail: fmt.Sprintf("Pages of %q may not use the sandbox.", origin)}
	}
	return nil
}

func (s *Sandbox) isOurHost(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() || host == "localhost" {
		return true
	}
	return slices.ContainsFunc(s.cfg.AllowedHosts, func(allowed string) bool {
		return strings.EqualFold(allowed, hostPort) || strings.EqualFold(strings.Trim(allowed, "[]"), host)
	})
}

// take makes an endpoint of a method that takes a JSON body.
func take[In, Out any](f func(*Sandbox, In) (Out, error)) endpoint {
	return func(s *Sandbox, r *http.Request) (any, error) {
		var in In
		if err := readJSON(r, &in); err != nil {
			return nil, err
		}
		if err := onlyParams(r); err != nil {
			return nil, err
		}
		return result(f(s, in))
	}
}

// result keeps the value of a failed call from being answered.
func result[Out any](out Out, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readJSON reads one JSON object whose fields are all known.
func readJSON(r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxControlBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large",
			Detail: fmt.Sprintf("The body is larger than %d bytes.", maxControlBody)}
	} else if err != nil {
		return badRequest("The body could not be read.")
	}
	if kind(body) != '{' {
		return &Problem{Status: 400, Code: "bad_json", Detail: "The body must be a JSON object."}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil && json.Valid(body):
		return nil
	case err == nil:
		return &Problem{Status: 400, Code: "bad_json", Detail: "There is something after the JSON object."}
	case errors.As(err, &wrongType):
		return &Problem{Status: 400, Code: "wrong_type", Detail: fmt.Sprintf("%s must not be a JSON %s.", wrongType.Field, wrongType.Value)}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &Problem{Status: 400, Code: "unknown_field", Detail: fmt.Sprintf("There is no field %s here.", name)}
	}
	return &Problem{Status: 400, Code: "bad_json", Detail: "The body is not JSON: " + err.Error() + "."}
}

// onlyParams refuses query parameters besides names: a mistyped filter would
// answer everything.
func onlyParams(r *http.Request, names ...string) error {
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			return &Problem{Status: 400, Code: "unknown_parameter", Detail: fmt.Sprintf("There is no parameter %q here.", name)}
		}
	}
	return nil
}

// pageParams reads limit and cursor.
func pageParams(r *http.Request) (limit int, cur string, err error) {
	q := r.URL.Query()
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return 0, "", badRequest("limit must be 1 to 1000.")
		}
	}
	return limit, q.Get("cursor"), nil
}

func putRules(s *Sandbox, r *http.Request) (any, error) {
	var rules Rules
	if err := readJSON(r, &rules); err != nil {
		return nil, err
	}
	return result(s.SetRules(r.PathValue("appid"), rules))
}

func getRules(s *Sandbox, r *http.Request) (any, error) {
	return result(s.Rules(r.PathValue("appid")))
}

func putPush(s *Sandbox, r *http.Request) (any, error) {
	var spec PushSpec
	if err := readJSON(r, &spec); err != nil {
		return nil, err
	}
	return result(s.SetPush(r.Context(), r.PathValue("appid"), spec))
}

func getPush(s *Sandbox, r *http.Request) (any, error) {
	return result(s.Push(r.PathValue("appid")))
}

func deletePush(s *Sandbox, r *http.Request) (any, error) {
	return result(struct{}{}, s.EndPush(r.PathValue("appid")))
}

func getPushes(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "appid", "openid", "event", "limit", "cursor"); err != nil {
		return nil, err
	}
	limit, cur, err := pageParams(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return result(s.Pushes(PushQuery{AppID: q.Get("appid"), OpenID: q.Get("openid"), Event: q.Get("event"), Limit: limit, Cursor: cur}))
}

// flushWait is how long a call waits for quiet.
const flushWait = time.Minute

func flushPushes(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), flushWait)
	defer cancel()
	if s.Flush(ctx) != nil {
		return nil, &Problem{Status: http.StatusGatewayTimeout, Code: "pushes_pending", Detail: fmt.Sprintf("Pushes are pending after %v.", flushWait)}
	}
	return s.Stats().Pushes, nil
}

func getGrants(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "appid", "openid", "template_id"); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return result(s.Grants(GrantQuery{AppID: q.Get("appid"), OpenID: q.Get("openid"), TemplateID: q.Get("template_id")}))
}

func getApps(s *Sandbox, r *http.Request) (any, error) {
	apps := s.Apps()
	return result(Page[ListedApp]{Items: apps, Limit: len(apps)}, onlyParams(r))
}

func getUsers(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "appid", "prefix", "limit", "cursor"); err != nil {
		return nil, err
	}
	limit, cur, err := pageParams(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return result(s.Users(UserQuery{AppID: q.Get("appid"), Prefix: q.Get("prefix"), Limit: limit, Cursor: cur}))
}

func getSettings(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "appid", "openid"); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return result(s.Settings(q.Get("appid"), q.Get("openid")))
}

func getSheet(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "appid", "openid", "template_ids", "max_per_call"); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	sheet := SheetQuery{AppID: q.Get("appid"), OpenID: q.Get("openid")}
	if ids := q.Get("template_ids"); ids != "" {
		sheet.TemplateIDs = strings.Split(ids, ",")
	}
	if text := q.Get("max_per_call"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n == 0 {
			return nil, badRequest("max_per_call must be 3 or 5.")
		}
		sheet.MaxPerCall = n
	}
	return result(s.Sheet(sheet))
}

func getInbox(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "appid", "openid", "limit", "cursor"); err != nil {
		return nil, err
	}
	limit, cur, err := pageParams(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return result(s.Inbox(InboxQuery{AppID: q.Get("appid"), OpenID: q.Get("openid"), Limit: limit, Cursor: cur}))
}

func getOutbox(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "appid", "openid", "limit", "cursor"); err != nil {
		return nil, err
	}
	limit, cur, err := pageParams(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return result(s.Outbox(OutboxQuery{AppID: q.Get("appid"), OpenID: q.Get("openid"), Limit: limit, Cursor: cur}))
}

func getCalls(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "path", "appid", "limit", "cursor"); err != nil {
		return nil, err
	}
	limit, cur, err := pageParams(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	return result(s.Calls(CallQuery{Path: q.Get("path"), AppID: q.Get("appid"), Limit: limit, Cursor: cur}))
}

func getStats(s *Sandbox, r *http.Request) (any, error) {
	return result(s.Stats(), onlyParams(r))
}

func getFaults(s *Sandbox, r *http.Request) (any, error) {
	// There are at most 1000, so that one page always holds them.
	return result(Page[Fault]{Items: s.Faults(), Limit: maxLimit}, onlyParams(r))
}

func deleteFaults(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r, "id"); err != nil {
		return nil, err
	}
	n, err := s.ClearFaults(r.URL.Query().Get("id"))
	return result(map[string]int{"cleared": n}, err)
}

func getClock(s *Sandbox, r *http.Request) (any, error) {
	return result(s.clock(), onlyParams(r))
}

// clockSpec has a pointer, because a clock call without the field is a mistake.
type clockSpec struct {
	AdvanceS *float64 `json:"advance_s"`
}

func (s *Sandbox) moveClock(spec clockSpec) (Clock, error) {
	const most = 100 * 365 * 24 * 3600 // more would overflow a Duration
	if spec.AdvanceS == nil || *spec.AdvanceS > most {
		return Clock{}, badRequest("advance_s must be a number of seconds, at most 100 years.")
	}
	return s.Advance(time.Duration(*spec.AdvanceS * float64(time.Second)))
}

func reset(s *Sandbox, r *http.Request) (any, error) {
	if err := onlyParams(r); err != nil {
		return nil, err
	}
	s.Reset()
	return struct{}{}, nil
}

// checkPath refuses paths that are not imitated, which are most likely typos.
func (s *Sandbox) checkPath(name, path string) error {
	if s.routes[path] == nil {
		return badRequest(fmt.Sprintf("%s: %q is not a path that the sandbox imitates.", name, path))
	}
	return nil
}
