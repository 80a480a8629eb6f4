package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// route is one operation as the table in routes.go lists it.
type route struct {
	on      string // method and path, as http.ServeMux writes them
	id      string
	tag     string
	scopes  scopes
	summary string
	status  int // of success; 0 is 200, or 204 without a body
	detail  string
}

// scopes are the rights of which a key needs one.
type scopes []hongyan.Scope

var (
	anyKey       = scopes(nil)
	reads        = scopes{hongyan.ScopeRead}
	sends        = scopes{hongyan.ScopeSend}
	manages      = scopes{hongyan.ScopeManage}
	readsOrSends = scopes{hongyan.ScopeRead, hongyan.ScopeSend}
	sendsOrMngs  = scopes{hongyan.ScopeSend, hongyan.ScopeManage}
	tokens       = scopes{hongyan.ScopeToken}
	readsOrMngs  = scopes{hongyan.ScopeRead, hongyan.ScopeManage}

	// Of routes that take no API key: phones show a session, anybody asks for one.
	phones  = scopes{"phone"}
	anybody = scopes{"anybody"}
	// And of the console: visitors come to sign in, members have.
	visitors = scopes{"visitor"}
	members  = scopes{"member"}
)

// ofKeys reports whether the route takes an API key.
func (sc scopes) ofKeys() bool {
	for _, other := range []scopes{phones, anybody, visitors, members} {
		if slices.Equal(sc, other) {
			return false
		}
	}
	return true
}

// none is an answer without a body.
type none = struct{}

// answer is what huma wants around a body.
type answer[O any] struct{ Body O }

// get registers an operation without a request body. h gets the parameters of path and query.
func get[P, O any](s *server, rt route, h func(context.Context, *P) (O, error)) {
	huma.Register(s.api, rt.operation(s), func(ctx context.Context, in *P) (*answer[O], error) {
		return wrap[O](ctx)(h(ctx, in))
	})
}

// remove registers an operation with neither body nor answer.
func remove[P any](s *server, rt route, h func(context.Context, *P) error) {
	huma.Register(s.api, rt.operation(s), func(ctx context.Context, in *P) (*none, error) {
		if err := h(ctx, in); err != nil {
			return nil, exchangeOf(ctx).problem(err)
		}
		return nil, nil
	})
}

// post registers an operation with a JSON body, which is decoded strictly before h sees it.
func post[P, B, O any](s *server, rt route, h func(context.Context, *P, *B) (O, error)) {
	huma.Register(s.api, rt.operation(s), func(ctx context.Context, in *P) (*answer[O], error) {
		limit := int64(maxBody)
		if !rt.scopes.ofKeys() {
			limit = maxPhoneBody
		}
		body, err := exchangeOf(ctx).body(limit)
		if err != nil {
			return wrap[O](ctx)(*new(O), err)
		}
		return wrap[O](ctx)(decoded(body, func(b *B) (O, error) { return h(ctx, in, b) }))
	})
	s.spec.body(s.api.OpenAPI(), rt, reflect.TypeFor[B]())
}

// postMaybe is post for a body that may be left out, when nothing in it is needed.
func postMaybe[P, B, O any](s *server, rt route, h func(context.Context, *P, *B) (O, error)) {
	huma.Register(s.api, rt.operation(s), func(ctx context.Context, in *P) (*answer[O], error) {
		body, err := exchangeOf(ctx).body(maxBody)
		if err != nil {
			return wrap[O](ctx)(*new(O), err)
		}
		if strings.TrimSpace(body) == "" {
			body = "{}"
		}
		return wrap[O](ctx)(decoded(body, func(b *B) (O, error) { return h(ctx, in, b) }))
	})
	s.spec.body(s.api.OpenAPI(), rt, reflect.TypeFor[B]())
	operationOf(s.api.OpenAPI(), rt).RequestBody.Required = false
}

// create is post for what makes something: it takes an Idempotency-Key, and replay finds
// what the first request with that key made.
func create[P, B, O any](s *server, rt route, h func(context.Context, *P, *B) (O, error), replay func(context.Context, *P, string) (O, error)) {
	rt.status = http.StatusCreated
	huma.Register(s.api, rt.operation(s), func(ctx context.Context, in *P) (*answer[O], error) {
		x := exchangeOf(ctx)
		body, err := x.body(maxBody)
		if err != nil {
			return wrap[O](ctx)(*new(O), err)
		}
		return wrap[O](ctx)(once(s, x, body,
			func() (O, error) { return decoded(body, func(b *B) (O, error) { return h(ctx, in, b) }) },
			func(resource string) (O, error) { return replay(ctx, in, resource) }))
	})
	s.spec.body(s.api.OpenAPI(), rt, reflect.TypeFor[B]())
	s.spec.idempotent(s.api.OpenAPI(), rt)
}

func decoded[B, O any](body string, h func(*B) (O, error)) (O, error) {
	var b B
	if err := decode(body, &b); err != nil {
		return *new(O), err
	}
	return h(&b)
}

// wrap gives huma a body, or the problem that the error is.
func wrap[O any](ctx context.Context) func(O, error) (*answer[O], error) {
	return func(out O, err error) (*answer[O], error) {
		if err != nil {
			return nil, exchangeOf(ctx).problem(err)
		}
		return &answer[O]{Body: out}, nil
	}
}

// raw registers a handler that reads and writes by itself; the caller describes it in the spec.
func raw(s *server, rt route, h func(*exchange, *http.Request)) {
	s.mux.HandleFunc(rt.on, s.guard(rt.scopes, func(x *exchange, r *http.Request) {
		if r.URL.RawQuery != "" {
			x.fail(hongyan.Invalid("/", "unknown_parameter", "This takes no query parameters; everything is in the body and the headers."))
			return
		}
		h(x, r)
	}))
}

// operation is the route as huma takes it.
func (rt route) operation(s *server) huma.Operation {
	method, path, _ := strings.Cut(rt.on, " ")
	security, shown := []map[string][]string{{"apiKey": {}}, {"member": {}}}, map[string]any{"x-scopes": append([]hongyan.Scope{}, rt.scopes...)}
	if !rt.scopes.ofKeys() {
		security, shown = []map[string][]string{}, nil
	}
	if slices.Equal(rt.scopes, phones) {
		security = []map[string][]string{{"session": {}}}
	}
	if slices.Equal(rt.scopes, members) {
		security = []map[string][]string{{"member": {}}}
	}
	return huma.Operation{
		OperationID: rt.id, Method: method, Path: path, Summary: rt.summary, Description: rt.detail, Tags: []string{rt.tag},
		DefaultStatus: rt.status, RejectUnknownQueryParameters: true,
		Responses:  map[string]*huma.Response{"default": s.spec.problem},
		Security:   security,
		Extensions: shown,
		Metadata:   map[string]any{"scopes": rt.scopes},
	}
}

// adapter puts huma's handlers behind the same guard as ours.
type adapter struct{ s *server }

func (a adapter) Handle(op *huma.Operation, h func(huma.Context)) {
	rights := op.Metadata["scopes"].(scopes)
	next := func(x *exchange, r *http.Request) {
		ctx := context.WithValue(r.Context(), exchangeKey{}, x)
		if r.Method != http.MethodGet && rights.ofKeys() {
			ctx = ledger.WithActor(ctx, a.s.actor(x, op.OperationID))
		}
		h(humago.NewContext(op, r.WithContext(ctx), x))
	}
	guarded := a.s.guard(rights, next)
	switch {
	case slices.Equal(rights, phones):
		guarded = a.s.phone(next)
	case slices.Equal(rights, anybody):
		guarded = a.s.street(a.s.limits.signIn, next)
	case slices.Equal(rights, visitors):
		guarded = a.s.visitor(next)
	case slices.Equal(rights, members):
		guarded = a.s.signedIn(next)
	}
	a.s.mux.HandleFunc(op.Method+" "+op.Path, guarded)
}

func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.s.ServeHTTP(w, r) }
