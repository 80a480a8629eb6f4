// Package gateway is the way in from WeChat SDKs: WeChat's own paths, shapes and errcodes,
// under which a program reaches the queue, the ledger and the one access token of its app by
// another base URL. In place of the AppSecret it has a gateway key, and its access tokens are
// ours: they never end each other.
//
// It promises that no answer makes an SDK repeat a message that may have gone out. An
// outcome nobody knows closes the connection without an answer, as WeChat's own time-out
// looks; -1, 40001 and 42001 are only said of what was not sent. What to send when, counts
// and pauses are the ledger's and dispatch's.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// Config is what a gateway needs.
type Config struct {
	Ledger *ledger.Ledger
	WeChat *wechat.Client
	Tokens wechat.TokenSource
	// TokenKey signs the access tokens that the gateway gives out; the same on all replicas.
	TokenKey [32]byte
	Now      func() time.Time // default: the ledger's clock
	Logger   *slog.Logger
}

// Gateway is an http.Handler for a listener of its own.
type Gateway struct {
	cfg      Config
	l        *ledger.Ledger
	log      *slog.Logger
	now      func() time.Time
	routes   map[string]route
	requests *prometheus.CounterVec

	relays chan struct{}      // one for each relayed call under way
	flight singleflight.Group // of template lists
	mu     sync.Mutex
	given  map[string]givenToken       // by key: the real token it was given last
	synced map[hongyan.AppID]time.Time // when templates were last asked for
}

// New makes a gateway.
func New(cfg Config) (*Gateway, error) {
	if cfg.Ledger == nil || cfg.WeChat == nil || cfg.Tokens == nil {
		return nil, errors.New("gateway: ledger, WeChat client and tokens are needed")
	}
	if cfg.Now == nil {
		cfg.Now = cfg.Ledger.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, l: cfg.Ledger, log: cfg.Logger, now: cfg.Now, routes: make(map[string]route),
		relays: make(chan struct{}, maxRelays), given: make(map[string]givenToken), synced: make(map[hongyan.AppID]time.Time)}
	g.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hongyan_gateway_requests_total",
		Help: "Requests of WeChat SDKs, by path and by what was answered: an errcode, or closed where nobody knows the outcome."}, []string{"path", "answer"})
	for _, rt := range routes {
		g.routes[rt.path] = rt
	}
	return g, nil
}

// Collectors are the gateway's metrics.
func (g *Gateway) Collectors() []prometheus.Collector { return []prometheus.Collector{g.requests} }

// route is one of WeChat's paths.
type route struct {
	path, method string
	// token: the call shows an access token; others show the key themselves.
	token bool
	// right is what a key needs besides the scope gateway.
	right  hongyan.Scope
	handle func(*call)
}

// routes are the paths that every gateway answers. Others must be on the app's list.
var routes = []route{
	{path: "/cgi-bin/token", method: http.MethodGet, handle: (*call).token},
	{path: "/cgi-bin/stable_token", method: http.MethodPost, handle: (*call).stableToken},
	{path: "/sns/jscode2session", method: http.MethodGet, handle: (*call).login},
	{path: "/cgi-bin/message/subscribe/send", method: http.MethodPost, token: true, handle: (*call).send},
	{path: "/wxa/checksession", method: http.MethodGet, token: true, handle: (*call).pass},
	{path: "/wxa/resetusersessionkey", method: http.MethodGet, token: true, handle: (*call).resetSession},
	{path: "/wxaapi/newtmpl/getcategory", method: http.MethodGet, token: true, right: hongyan.ScopeGatewayTemplates, handle: (*call).pass},
	{path: "/wxaapi/newtmpl/getpubtemplatetitles", method: http.MethodGet, token: true, right: hongyan.ScopeGatewayTemplates, handle: (*call).pass},
	{path: "/wxaapi/newtmpl/getpubtemplatekeywords", method: http.MethodGet, token: true, right: hongyan.ScopeGatewayTemplates, handle: (*call).pass},
	{path: "/wxaapi/newtmpl/gettemplate", method: http.MethodGet, token: true, right: hongyan.ScopeGatewayTemplates, handle: (*call).listTemplates},
	{path: "/wxaapi/newtmpl/addtemplate", method: http.MethodPost, token: true, right: hongyan.ScopeGatewayTemplates, handle: (*call).addTemplate},
	{path: "/wxaapi/newtmpl/deltemplate", method: http.MethodPost, token: true, right: hongyan.ScopeGatewayTemplates, handle: (*call).deleteTemplate},
	{path: "/cgi-bin/openapi/quota/get", method: http.MethodPost, token: true, right: hongyan.ScopeGatewayQuota, handle: (*call).pass},
	{path: "/cgi-bin/openapi/rid/get", method: http.MethodPost, token: true, right: hongyan.ScopeGatewayQuota, handle: (*call).pass},
	{path: "/cgi-bin/clear_quota", method: http.MethodPost, token: true, right: hongyan.ScopeGatewayQuota, handle: (*call).clearQuota},
	{path: "/cgi-bin/clear_quota/v2", method: http.MethodPost, right: hongyan.ScopeGatewayQuota, handle: (*call).clearQuotaBySecret},
	{path: "/cgi-bin/get_api_domain_ip", method: http.MethodGet, token: true, handle: (*call).pass},
	{path: "/cgi-bin/callback/check", method: http.MethodPost, token: true, right: hongyan.ScopeGatewayQuota, handle: (*call).pass},
}

// call is one request on its way.
type call struct {
	g     *Gateway
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	began time.Time
	route route
	query url.Values
	body  []byte
	key   hongyan.APIKey
	app   hongyan.AppID
	path  string // clean
	label string // of metrics
	code  string // what was answered, for metrics
	// relays: it holds one of the places of relayed calls.
	relays bool
	repeat time.Duration // for how long a repeat of a send that nobody heard of is one
}

// maxRelays is how many relayed calls may be under way: their bodies are in memory.
const maxRelays = 32

// maxBody bounds the body of every path that is not relayed. WeChat takes far less.
const maxBody = 1 << 20

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{g: g, w: w, r: r, ctx: r.Context(), began: time.Now(), query: r.URL.Query(), path: path.Clean("/" + r.URL.Path), label: "other", code: "closed"}
	defer func() {
		if c.relays {
			<-g.relays
		}
		g.requests.WithLabelValues(c.label, c.code).Inc()
	}()
	rt, known := g.routes[c.path]
	if !known {
		rt = route{path: c.path, method: r.Method, token: true, right: hongyan.ScopeGatewayRelay, handle: (*call).pass}
	} else {
		c.label = rt.path
	}
	c.route = rt
	if c.admit() {
		rt.handle(c)
	}
}

// admit makes the checks that all paths share: token and method, as WeChat begins, then the
// right, so that no body is read in vain. false: it has answered.
func (c *call) admit() bool {
	if c.route.token {
		if code, text := c.authenticate(c.query.Get("access_token")); code != 0 {
			return c.refuse(code, text)
		}
	}
	if c.r.Method != c.route.method {
		switch {
		case strings.HasPrefix(c.path, "/wxaapi/"):
			return c.refuse(404, "404 not found")
		case c.route.method == http.MethodGet:
			return c.refuse(wechat.ErrcodeRequireGET, "")
		}
		return c.refuse(wechat.ErrcodeRequirePOST, "")
	}
	if c.route.token && !c.may() {
		return c.refuse(wechat.ErrcodeUnauthorized, "")
	}
	if c.relayed() && !c.mayRelay() {
		return false
	}
	return c.read()
}

// relayed reports whether the path is none of the gateway's own.
func (c *call) relayed() bool { return c.route.right == hongyan.ScopeGatewayRelay }

// may reports whether the key has the right that the path needs.
func (c *call) may() bool { return c.route.right == "" || c.key.May(c.route.right, c.app) }

// read takes the body, whatever its Content-Type says: programs send JSON under many names.
func (c *call) read() bool {
	if c.r.Method != http.MethodPost {
		return true
	}
	most := int64(maxBody)
	if c.relayed() {
		most = wechat.MaxRelayBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return c.refuse(wechat.ErrcodeContentTooLong, "")
	case err != nil:
		panic(http.ErrAbortHandler) // half a request: whoever sent it is gone
	}
	if c.body = body; c.relayed() {
		return true
	}
	c.body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if len(c.body) == 0 && c.path != "/cgi-bin/clear_quota/v2" {
		return c.refuse(wechat.ErrcodeEmptyPostData, "")
	}
	return true
}

// answer writes a body of JSON. The HTTP status is 200 whatever it says, as WeChat's is.
func (c *call) answer(errcode int, body []byte) {
	c.code = strconv.Itoa(errcode)
	c.w.Header().Set("Content-Type", "application/json; encoding=utf-8")
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = c.w.Write(body)
}

// ok answers with v.
func (c *call) ok(v any) { c.answer(0, encode(v)) }

// refuse answers with an errcode in WeChat's words, or in the given ones. It is always false.
func (c *call) refuse(errcode int, text string) bool {
	if text == "" {
		text = errmsgOf(errcode)
	}
	sep := " rid: "
	if strings.HasPrefix(c.path, "/sns/") {
		sep = ", rid: "
	}
	c.verbatim(errcode, text+sep+newRid(c.g.now()))
	return false
}

// verbatim answers with what WeChat itself said.
func (c *call) verbatim(errcode int, errmsg string) {
	c.answer(errcode, encode(status{errcode, errmsg}))
}

// because tells a person who looks at the answer's headers what the errmsg has no room for.
func (c *call) because(format string, args ...any) {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "")
	}
	c.w.Header().Set("X-Hongyan-Reason", text)
}

// close ends the connection without an answer: nobody knows what became of the call.
func (c *call) close() {
	c.code = "closed"
	panic(http.ErrAbortHandler)
}

type status struct {
	Errcode int    `json:"errcode"`
	Errmsg  string `json:"errmsg"`
}
