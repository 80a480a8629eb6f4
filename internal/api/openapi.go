package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
)

//go:generate go test -run TestOpenAPI . -update

// apiVersion is the version of the API, not of the program: /v1 only grows.
const apiVersion = "1"

// spec is the description of the API (OpenAPI 3.1). It is made from the same table and types
// that serve requests.
type spec struct {
	problem    *huma.Response
	requests   []*huma.Schema
	json, yaml []byte
}

// OpenAPI is the description of the API in YAML, as docs/openapi.yaml has it.
func OpenAPI() ([]byte, error) {
	s, err := newServer(Config{})
	if err != nil {
		return nil, err
	}
	return s.spec.yaml, nil
}

// newHuma prepares huma: its own documentation page, schema links and error form stay off.
func newHuma(s *server) huma.API {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	registry.RegisterTypeAlias(recipientType, reflect.TypeFor[recipientSchema]())
	s.spec.problem = &huma.Response{Description: "A problem (RFC 9457)", Content: map[string]*huma.MediaType{
		problemType: {Schema: registry.Schema(reflect.TypeFor[problem](), true, "")}}}
	return huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Hongyan", Version: apiVersion, Description: specIntro},
			Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
				"apiKey":  {Type: "http", Scheme: "bearer", Description: "An API key; x-scopes of an operation lists the scopes of which it needs one."},
				"session": {Type: "http", Scheme: "bearer", Description: "A mini program's session, of POST /mp/v1/session or of your own back end's POST /v1/apps/{appid}/sessions."},
				"member":  {Type: "apiKey", In: "cookie", Name: "hongyan_session", Description: "A member's session in the console, of POST /v1/session. It may do what the role's scopes allow, from pages of this server alone; a header Authorization beside it decides alone."}}},
			Tags: specTags,
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{ownProblems},
	}, adapter{s})
}

const specIntro = "Hongyan (鸿雁) delivers WeChat Mini Program subscription messages. Times are RFC 3339. Unknown fields are refused. " +
	"Every error is a problem document (RFC 9457) whose code says what to do; lists answer items and next_cursor. " +
	"POSTs that create take an Idempotency-Key, good for 24 hours."

var specTags = []*huma.Tag{
	{Name: "apps", Description: "Mini programs this server sends for."},
	{Name: "tokens", Description: "Their access tokens, for other services too."},
	{Name: "diagnosis", Description: "What WeChat itself tells: quotas, calls, whether it reaches you."},
	{Name: "templates", Description: "Their subscription message templates."},
	{Name: "library", Description: "WeChat's public template library."},
	{Name: "users", Description: "Who logged in."},
	{Name: "grants", Description: "Who may be sent what: each accept is one message."},
	{Name: "scenes", Description: "Moments of the mini program at which it asks for subscriptions."},
	{Name: "mp", Description: "What phones call: off until the app's setting mp is on. They show a session, not an API key."},
	{Name: "callbacks", Description: "What WeChat pushes to us (消息推送)."},
	{Name: "messages", Description: "Sending, and what became of it."},
	{Name: "stats", Description: "How much of what happened, how each app does, and when to look again."},
	{Name: "events", Description: "What happened, as it is recorded for whoever subscribed: webhooks, and readers of the stream."},
	{Name: "webhooks", Description: "Addresses of yours to which events are posted, signed as Standard Webhooks has it."},
	{Name: "keys", Description: "API keys."},
	{Name: "members", Description: "People who sign in to the console."},
	{Name: "audit", Description: "Who changed what."},
	{Name: "settings", Description: "What the server was started with."},
	{Name: "sandbox", Description: "The local WeChat that a demo or test server sends to: taps, faults, the clock, what phones received."},
	{Name: "reference", Description: "What codes mean."},
}

// recipientSchema describes hongyan.Recipient, which reads its JSON by itself.
type recipientSchema struct{}

func (recipientSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, MinLength: ptr(1), MaxLength: ptr(64), Description: "An openid."},
		{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"user": {Type: huma.TypeString, Description: "Your own user id."}}, Required: []string{"user"}, AdditionalProperties: false},
	}}
}

func ptr[T any](v T) *T { return &v }

// body describes the request body of an operation that decodes it itself.
func (sp *spec) body(api *huma.OpenAPI, rt route, t reflect.Type) {
	schema := api.Components.Schemas.Schema(t, true, rt.id+"Request")
	sp.requests = append(sp.requests, schema)
	operationOf(api, rt).RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

// idempotent describes the header of operations that create.
func (sp *spec) idempotent(api *huma.OpenAPI, rt route) {
	op := operationOf(api, rt)
	op.Parameters = append(op.Parameters, &huma.Param{Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString, MinLength: ptr(1), MaxLength: ptr(maxIdempotencyKey)},
		Description: "Makes a repeat of the request harmless for 24 hours; its answer has Idempotent-Replayed: true."})
}

func operationOf(api *huma.OpenAPI, rt route) *huma.Operation {
	method, path, _ := strings.Cut(rt.on, " ")
	item := api.Paths[path]
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	}
	return item.Delete
}

// describe adds the raw handlers, tidies up and renders the description.
func (s *server) describe() (err error) {
	doc := s.api.OpenAPI()
	s.describeRaw(submitRoute, reflect.TypeFor[hongyan.Submission](), reflect.TypeFor[hongyan.Message]())
	s.describeRaw(batchRoute, reflect.TypeFor[batchRequest](), reflect.TypeFor[batchResult]())
	s.describeStream()
	s.describeRelay()
	s.describeLive()
	describeCallback(doc)
	submit := operationOf(doc, submitRoute)
	submit.Parameters = append(submit.Parameters, &huma.Param{Name: "Prefer", In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "wait=N waits up to N seconds, at most 30."})
	submit.Responses["200"] = &huma.Response{Description: "A duplicate, or a dry run", Content: submit.Responses["202"].Content}

	schemas := doc.Components.Schemas.Map()
	delete(schemas, "ErrorModel") // huma registers its own error form, which never leaves this server
	delete(schemas, "ErrorDetail")
	dataBothForms(schemas["Submission"])
	schemas["TapReport"] = tapReport(*schemas["Report"])
	schemas["Submission"].Properties["grant_report"].Ref = "#/components/schemas/TapReport"
	s.spec.open(schemas)
	if s.spec.json, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("api: describe: %w", err)
	}
	if s.spec.yaml, err = doc.YAML(); err != nil {
		return fmt.Errorf("api: describe: %w", err)
	}
	return nil
}

// open lets answers grow: only what requests are made of refuses fields it does not know.
// It also takes back huma's habit of calling every list nullable; ours never are.
func (sp *spec) open(schemas map[string]*huma.Schema) {
	closed := make(map[*huma.Schema]bool)
	var visit func(s *huma.Schema)
	visit = func(s *huma.Schema) {
		if s != nil && s.Ref != "" {
			s = schemas[path.Base(s.Ref)]
		}
		if s == nil || closed[s] {
			return
		}
		closed[s] = true
		visit(s.Items)
		for _, p := range s.Properties {
			visit(p)
		}
	}
	for _, r := range sp.requests {
		visit(r)
	}
	for _, s := range schemas {
		if s.AdditionalProperties == false && !closed[s] {
			s.AdditionalProperties = nil
		}
		for _, p := range s.Properties {
			if p.Type == huma.TypeArray {
				p.Nullable = false
			}
		}
	}
}

// tapReport is a report inside a submission, which says by itself who and which template.
func tapReport(report huma.Schema) *huma.Schema {
	report.Required = []string{"id", "choice"}
	return &report
}

// dataBothForms says that a value of data is text, or WeChat's object around it.
func dataBothForms(sub *huma.Schema) {
	sub.Properties["data"] = &huma.Schema{Type: huma.TypeObject, Description: "The template's keys with their text.", AdditionalProperties: &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString},
		{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"value": {Type: huma.TypeString}}, Required: []string{"value"}, AdditionalProperties: false},
	}}}
}

// describeCallback lists what WeChat calls; package callback serves it, also where the API is not.
func describeCallback(doc *huma.OpenAPI) {
	str := func(name, in, doc string) *huma.Param {
		return &huma.Param{Name: name, In: in, Required: in == "path", Schema: &huma.Schema{Type: huma.TypeString}, Description: doc}
	}
	signed := []*huma.Param{str("appid", "path", ""), str("timestamp", "query", ""), str("nonce", "query", ""), str("signature", "query", "Over token, timestamp and nonce.")}
	answers := func(ok string) map[string]*huma.Response {
		text := map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}
		return map[string]*huma.Response{"200": {Description: ok, Content: text},
			"default": {Description: "Refused, in one line; list-callback-rejections says why. 503 asks WeChat to try again.", Content: text}}
	}
	open := []map[string][]string{{}} // no API key: signatures say who calls
	doc.AddOperation(&huma.Operation{OperationID: "check-callback-url", Method: http.MethodGet, Path: "/callback/{appid}", Tags: []string{"callbacks"}, Security: open,
		Summary: "Answer WeChat's check of the URL", Parameters: append(signed[:4:4], str("echostr", "query", "")), Responses: answers("echostr as it came")})
	doc.AddOperation(&huma.Operation{OperationID: "receive-callback", Method: http.MethodPost, Path: "/callback/{appid}", Tags: []string{"callbacks"}, Security: open,
		Summary: "Receive a push of WeChat's", Description: "On the public listener, if there is one. With forward_to the old handler's answer is passed on, but for events of subscriptions.",
		Parameters: append(signed[:4:4], str("encrypt_type", "query", "aes where the body is encrypted"), str("msg_signature", "query", "Over token, timestamp, nonce and Encrypt."), str("openid", "query", "Not looked at.")),
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}, "text/xml": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		Responses: answers("success: it is on disk")})
}

func (s *server) describeRaw(rt route, in, out reflect.Type) {
	doc := s.api.OpenAPI()
	op := rt.operation(s)
	op.Responses["202"] = &huma.Response{Description: http.StatusText(http.StatusAccepted), Content: map[string]*huma.MediaType{
		"application/json": {Schema: doc.Components.Schemas.Schema(out, true, "")}}}
	doc.AddOperation(&op)
	s.spec.body(doc, rt, in)
	s.spec.idempotent(doc, rt)
}
