package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/text/language"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// problem is the body of every error (RFC 9457).
type problem struct {
	Type      string               `json:"type" format:"uri" doc:"A page that explains the code."`
	Title     string               `json:"title" doc:"What happened, in the language asked for."`
	Status    int                  `json:"status"`
	Detail    string               `json:"detail" doc:"What happened this time."`
	Code      hongyan.Code         `json:"code" doc:"Branch on this; it never changes its meaning. GET /v1/codes lists all."`
	Hint      string               `json:"hint,omitempty" doc:"What to do next, in the language asked for."`
	RequestID string               `json:"request_id" doc:"Find the request in the server's log by this."`
	Errors    []hongyan.FieldError `json:"errors,omitempty" doc:"Every fault of the request at once, by JSON pointer."`
	WeChat    *hongyan.WeChatError `json:"wechat,omitempty" doc:"What WeChat said, where it spoke."`

	retryAfter time.Duration
}

const (
	problemPage = "https://github.com/hongyan-push/hongyan/blob/main/docs/errors.md#"
	problemType = "application/problem+json"
)

// Error, GetStatus, GetHeaders and ContentType are what huma wants of an error.
func (p *problem) Error() string             { return string(p.Code) + ": " + p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return problemType }

// GetHeaders are the headers that belong to the problem.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.Code == hongyan.CodeUnauthorized || p.Code == hongyan.CodeSessionExpired || p.Code == hongyan.CodeSignedOut || p.Code == hongyan.CodeSignInFailed {
		h.Set("WWW-Authenticate", `Bearer realm="hongyan"`)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

// problem makes the answer to an error. An error that is not ours is logged here, where it
// stops, and shown to nobody.
func (x *exchange) problem(err error) *problem {
	lang := languageOf(x.r)
	var e *hongyan.Error
	if !errors.As(err, &e) {
		e = veiled(err)
		if !errors.Is(err, context.Canceled) || x.r.Context().Err() == nil {
			x.log.ErrorContext(x.r.Context(), "request failed", "request_id", x.id, "route", x.route, "err", err)
		}
	}
	return newProblem(e, lang, x.id)
}

// veiled is what may be told of an error that is not ours.
func veiled(err error) *hongyan.Error {
	if ledger.Unavailable(err) {
		return hongyan.Errorf(hongyan.CodeStorageUnavailable, "The database does not answer. Repeat the request; a write with the same Idempotency-Key, because it may have happened.")
	}
	return hongyan.Errorf(hongyan.CodeInternal, "The server could not do this; its log has the reason under the request_id.")
}

func newProblem(e *hongyan.Error, lang, requestID string) *problem {
	info := hongyan.LookupCode(e.Code)
	p := &problem{
		Type: problemPage + string(e.Code), Title: info.Title.In(lang), Status: info.Status, Detail: e.Message,
		Code: e.Code, Hint: info.Hint.In(lang), RequestID: requestID, Errors: e.Fields, WeChat: e.WeChat, retryAfter: e.RetryAfter,
	}
	if p.Status == 0 {
		p.Status = http.StatusUnprocessableEntity // the reason of a message that cannot be had
	}
	if e.WeChat != nil {
		if hint := wechatHint(e.WeChat, lang); hint != "" {
			p.Hint = hint
		}
	}
	return p
}

// wechatHint is what the errcode means and asks for, with the address to whitelist if WeChat names one.
func wechatHint(w *hongyan.WeChatError, lang string) string {
	info, ok := wechat.LookupErrcode(w.Errcode)
	if !ok {
		return ""
	}
	hint := hongyan.Text{EN: info.EN, ZH: info.ZH}.In(lang)
	if ip := (&wechat.Error{Errcode: w.Errcode, Errmsg: w.Errmsg}).ClientIP(); ip != "" {
		hint += " IP: " + ip
	}
	return hint
}

// fail answers with a problem.
func (x *exchange) fail(err error) {
	p := x.problem(err)
	for k, v := range p.GetHeaders() {
		x.Header()[k] = v
	}
	x.json(p.Status, problemType, p)
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// json answers with v.
func (x *exchange) json(status int, contentType string, v any) {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= 64<<10 { // one large list should not stay in memory for good
			buffers.Put(buf)
		}
	}()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Errorf("encode answer: %w", err)) // a type that JSON cannot have
	}
	h := x.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	x.WriteHeader(status)
	_, _ = x.Write(buf.Bytes()) // a caller that has gone is no failure of ours
}

var languages = language.NewMatcher([]language.Tag{language.English, language.Chinese})

// languageOf is "zh" where the request prefers Chinese, else "en".
func languageOf(r *http.Request) string {
	accept := r.Header.Get("Accept-Language")
	if accept == "" {
		return "en"
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return "en"
	}
	if _, i, confidence := languages.Match(tags...); i == 1 && confidence > language.No {
		return "zh"
	}
	return "en"
}

// notFound answers for paths and methods without a route.
func (s *server) notFound(x *exchange, r *http.Request) {
	var allowed []string
	probe := *r
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		probe.Method = m
		if _, pattern := s.mux.Handler(&probe); pattern != "/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		x.fail(hongyan.Errorf(hongyan.CodeNotFound, "There is nothing at this path; the API is under /v1 and described at /docs."))
		return
	}
	x.Header().Set("Allow", strings.Join(allowed, ", "))
	x.fail(hongyan.Errorf(hongyan.CodeMethodNotAllowed, "This path takes %s, not %s.", strings.Join(allowed, ", "), clip(r.Method)))
}

// ownProblems turns what huma itself refuses, the parameters, into problems of our form.
// huma has chosen a status by then; the exchange replaces it.
func ownProblems(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	_, w := humago.Unwrap(ctx)
	x := w.(*exchange)
	e := &hongyan.Error{Code: hongyan.CodeInvalid, Message: m.Detail}
	for _, d := range m.Errors {
		e.Fields = append(e.Fields, paramFault(ctx.Operation(), d))
	}
	switch {
	case m.Status >= 500:
		x.log.ErrorContext(ctx.Context(), "request failed", "request_id", x.id, "route", x.route, "err", m.Detail)
		e = hongyan.Errorf(hongyan.CodeInternal, "The server could not do this; its log has the reason under the request_id.")
	case len(e.Fields) > 0:
		e.Message = e.Fields[0].Detail
	}
	p := x.problem(e)
	x.instead = p.Status
	return p, nil
}

// paramFault says what is wrong with a parameter of the path or query.
func paramFault(op *huma.Operation, d *huma.ErrorDetail) hongyan.FieldError {
	in, name, _ := strings.Cut(d.Location, ".")
	name, _, _ = strings.Cut(name, "[") // one of several that stand in one parameter
	f := hongyan.FieldError{Pointer: "/" + escapePointer(clip(name)), Code: "parameter"}
	want, names := "", []string{}
	for _, p := range op.Parameters {
		if p.In == in {
			names = append(names, p.Name)
		}
		if p.In == in && p.Name == name && p.Schema != nil {
			want = wanted(p.Schema)
		}
	}
	if want == "" {
		f.Code = "unknown_parameter"
		f.Detail = fmt.Sprintf("There is no %s parameter %q here; those there are: %s.", in, clip(name), strings.Join(names, ", "))
		if len(names) == 0 {
			f.Detail = fmt.Sprintf("There is no %s parameter %q here; this takes none.", in, clip(name))
		}
		return f
	}
	f.Detail = fmt.Sprintf("The %s parameter %s is %s.", in, name, want)
	return f
}

// wanted says in words what a parameter's schema takes.
func wanted(s *huma.Schema) string {
	switch {
	case s.Items != nil && len(s.Items.Enum) > 0:
		return wanted(s.Items) + "; or several, joined by commas"
	case len(s.Enum) > 0:
		list := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			list[i] = fmt.Sprint(v)
		}
		return "one of: " + strings.Join(list, ", ")
	case s.Format == "date-time":
		return "a time of RFC 3339, such as " + timeExample + " (a + in a query is written %2B)"
	case s.Minimum != nil && s.Maximum != nil:
		return fmt.Sprintf("a whole number from %.0f to %.0f", *s.Minimum, *s.Maximum)
	case s.Type == huma.TypeInteger:
		return "a whole number"
	case s.MaxLength != nil:
		return fmt.Sprintf("text of at most %d characters", *s.MaxLength)
	}
	return "a " + s.Type
}
