// Package api is the way in from integrators and from phones: the HTTP API under /v1 and
// /mp/v1, its OpenAPI description, and the health and metrics endpoints beside it.
//
// It hides how requests are read, authenticated, made repeatable and answered: an endpoint
// is a function of a few lines that gets a checked request and returns a value or an error.
// Every error leaves as one RFC 9457 problem document. The rules themselves live in the
// root package and in the ledger; nothing here decides about a grant or a message.
//
// Start: [New] gives an [http.Handler]. It needs a running ledger and starts nothing itself.
package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// Config is what the API needs. Only Ledger is required; without WeChat and Tokens the
// operations that call WeChat answer wechat_unreachable or token_unavailable.
type Config struct {
	Ledger *ledger.Ledger
	// WeChat is for logins, template calls and trying an AppSecret.
	WeChat *wechat.Client
	Tokens Tokens
	// AdminKey is an owner's key with every scope; empty means there is none.
	AdminKey string
	Logger   *slog.Logger     // default: discard
	Now      func() time.Time // default: the ledger's clock
	// Sessions are the members who are signed in to the console; nil: there is no console.
	Sessions Sessions
	// Metrics is served at /metrics if it is not nil.
	Metrics http.Handler
	// Ready adds to what /readyz asks; nil adds nothing.
	Ready func(ctx context.Context) error
	// TrustedProxies are believed about the address of their client (X-Forwarded-For).
	TrustedProxies []netip.Prefix
	// Version is this program's, told by /healthz.
	Version string
	// SandboxURL is the base URL of the sandbox that /v1/sandbox drives; empty: there is none.
	SandboxURL string
	// Settings are those of the server, explained in a language (zh, en); nil: none are told.
	Settings func(lang string) []hongyan.Setting
	// Stopping is closed when the server stops: streams, which would go on for ever, end then.
	Stopping <-chan struct{}
}

// Tokens are the apps' access tokens: those that calls of ours use, and those that other
// services of the team get from here.
type Tokens interface {
	wechat.TokenSource
	// RefusedBy is Refused for those who know more.
	RefusedBy(ctx context.Context, app hongyan.AppID, token string, r hongyan.TokenRefusal) error
	// Issue gives the current token with its end. An app without tokens is a conflict.
	Issue(ctx context.Context, app hongyan.AppID) (hongyan.IssuedToken, error)
	// Refresh replaces the current token now.
	Refresh(ctx context.Context, app hongyan.AppID) (hongyan.TokenRefresh, error)
	// TryURL asks a token_url and keeps nothing.
	TryURL(ctx context.Context, url string, secret hongyan.TokenSecret) (wechat.AccessToken, error)
}

// server is the API: its configuration and its routes.
type server struct {
	Config
	l       *ledger.Ledger
	log     *slog.Logger
	admin   [sha256.Size]byte
	mux     *http.ServeMux
	api     huma.API
	spec    spec
	library library
	origins *http.CrossOriginProtection // of requests that show a cookie
	limits  mpLimits
	relay   *http.Client // to the sandbox
	streams atomic.Int64 // readers of the stream of events
	lives   atomic.Int64 // readers of /v1/live
}

// New makes the handler of the API.
func New(cfg Config) (http.Handler, error) {
	if cfg.Ledger == nil {
		return nil, errors.New("api: no ledger")
	}
	if cfg.AdminKey != "" && len(cfg.AdminKey) < minAdminKey {
		return nil, errors.New("api: the admin key needs at least 32 characters")
	}
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// minAdminKey keeps an owner's key out of reach of guessing.
const minAdminKey = 32

// newServer builds the routes; without a ledger it is good for its description alone.
func newServer(cfg Config) (*server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil && cfg.Ledger != nil {
		cfg.Now = cfg.Ledger.Now
	}
	if cfg.Sessions == nil {
		cfg.Sessions = nobody{}
	}
	s := &server{Config: cfg, l: cfg.Ledger, log: cfg.Logger, mux: http.NewServeMux(), limits: newMPLimits(), origins: http.NewCrossOriginProtection(), relay: newRelay()}
	if cfg.AdminKey != "" {
		s.admin = sha256.Sum256([]byte(cfg.AdminKey))
	}
	s.library.now = cfg.Now
	s.api = newHuma(s)
	s.routes()
	return s, s.describe()
}
