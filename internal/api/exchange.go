package api

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// exchange is one request with its answer. It is the ResponseWriter that handlers get, so
// that the hot path needs no context values; huma's handlers find it through [exchangeOf].
type exchange struct {
	http.ResponseWriter
	r     *http.Request
	id    string
	log   *slog.Logger
	route string
	key   hongyan.APIKey
	phone ledger.MPSession // of a request to /mp/v1
	// session is that of a member whose cookie authenticated the request.
	session *hongyan.SignIn
	// idem is the request's Idempotency-Key, for the ledger to remember with what it creates.
	idem   *ledger.Idempotency
	status int
	// instead replaces the status that huma chose, see problemOf.
	instead int
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader notes the status for the log.
func (x *exchange) WriteHeader(status int) {
	if x.instead != 0 {
		status = x.instead
	}
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(b)
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, r: r, id: newRequestID(), log: s.log}
	h := w.Header()
	h.Set("X-Request-Id", x.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	start := time.Now()
	defer s.finish(x, start)
	s.mux.ServeHTTP(x, r)
}

// finish answers for a handler that panicked, and writes the access log.
func (s *server) finish(x *exchange, start time.Time) {
	p := recover()
	if p == http.ErrAbortHandler {
		panic(p) // net/http's own way to drop a connection
	}
	ctx := x.r.Context()
	if p != nil {
		s.log.ErrorContext(ctx, "request panicked", "request_id", x.id, "route", x.route, "panic", p, "stack", string(debug.Stack()))
		if x.status == 0 {
			x.fail(hongyan.Errorf(hongyan.CodeInternal, "The request could not be processed."))
		}
	}
	if s.log.Enabled(ctx, slog.LevelDebug) {
		// The route and not the path: a path has openids in it.
		s.log.DebugContext(ctx, "request", "method", x.r.Method, "route", x.route, "status", x.status,
			"duration_ms", time.Since(start).Milliseconds(), "request_id", x.id, "key_id", string(x.key.ID), "client", s.client(x.r))
	}
}

// client is the address of who asked.
func (s *server) client(r *http.Request) string { return ClientOf(r, s.TrustedProxies) }

// ClientOf is the address of who asked: the last one in X-Forwarded-For that no trusted proxy
// has, if a trusted proxy is asking.
func ClientOf(r *http.Request, trusted []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !within(host, trusted) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		host = hop
		if !within(hop, trusted) {
			break
		}
	}
	return host
}

// SecureOf reports whether a request came by https: here, or at the trusted proxy that asks.
func SecureOf(r *http.Request, trusted []netip.Prefix) bool {
	if r.TLS != nil {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && within(host, trusted) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func within(addr string, ranges []netip.Prefix) bool {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return false
	}
	for _, p := range ranges {
		if p.Contains(ip.Unmap()) {
			return true
		}
	}
	return false
}

// newRequestID makes an id to find a request in the log by. It guards nothing.
func newRequestID() string {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	binary.BigEndian.PutUint32(b[8:], rand.Uint32())
	return "req_" + hex.EncodeToString(b[:])
}
