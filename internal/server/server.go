// Package server wires the parts of one Hongyan process, runs them and stops them in
// order: first nothing new comes in, then what is under way is awaited, then the ledger
// writes its last results and closes.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/api"
	"github.com/hongyan-push/hongyan/internal/callback"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/console"
	"github.com/hongyan-push/hongyan/internal/dispatch"
	"github.com/hongyan-push/hongyan/internal/gateway"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/outbound"
	"github.com/hongyan-push/hongyan/internal/token"
	"github.com/hongyan-push/hongyan/wechat"
)

// Options are what a caller in the same process can add to the configuration.
type Options struct {
	Now     func() time.Time // default: the ledger's clock; demo shares its sandbox's
	Clock   func() time.Time // this machine's clock, default time.Now
	Logger  *slog.Logger
	Version string
	// Origin says where a setting came from; default: those that differ from the default come
	// from the program.
	Origin func(config.Field) config.Origin
}

// Server is one process's parts, wired and listening but not running yet.
type Server struct {
	cfg      config.Config
	log      *slog.Logger
	ledger   *ledger.Ledger
	dispatch *dispatch.Dispatcher
	webhooks *dispatch.Webhooks
	callback *callback.Receiver
	outbound *http.Client // to addresses that integrators choose
	clients  []*wechat.Client
	doors    []*door
	// What each door is for; nil where there is none.
	private, public, sdks *door
	gateway               *gateway.Gateway
	sessions              *console.Sessions
	stopping              chan struct{} // closed when the stop begins
}

// New opens the database, binds the listeners and builds the parts. Run starts them; Close
// without Run gives everything back.
func New(ctx context.Context, cfg config.Config, opt Options) (*Server, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: opt.Logger, stopping: make(chan struct{})}
	if err := s.build(ctx, opt); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) build(ctx context.Context, opt Options) error {
	key, err := s.masterKey()
	if err != nil {
		return err
	}
	own, err := s.listen()
	if err != nil {
		return err
	}
	if s.ledger, err = ledger.Open(ctx, ledger.Config{DB: s.cfg.Database(), MasterKey: key, Now: opt.Now, Clock: opt.Clock, Logger: opt.Logger,
		Retention: ledger.Retention{Messages: days(s.cfg.RetainMessagesDays), Data: days(s.cfg.RetainDataDays), Events: days(s.cfg.RetainEventsDays)}}); err != nil {
		return err
	}
	opt.Now = s.ledger.Now
	for _, u := range []string{s.cfg.WeChatURL, s.cfg.Fallback()} {
		if u == "" {
			continue
		}
		c, err := wechat.New(wechat.Config{BaseURL: u, Proxy: s.cfg.WeChatProxy, CallTimeout: ledger.CallTimeout, UserAgent: "hongyan/" + opt.Version,
			AllowInsecure: true}) // for apps without a token in WeChat's cloud hosting; the client lets no credential out in clear
		if err != nil {
			return fmt.Errorf("wechat client: %w", err)
		}
		s.clients = append(s.clients, c)
	}
	s.outbound = outbound.New(outbound.Config{Allow: prefixes(s.cfg.OutboundAllow), Own: own})
	tokens := token.New(token.Config{Ledger: s.ledger, Clients: s.clients, External: s.outbound, Now: opt.Now, Logger: opt.Logger})
	s.dispatch, err = dispatch.New(dispatch.Config{Ledger: s.ledger, Clients: s.clients, Tokens: tokens, Senders: s.cfg.Senders, Now: opt.Now, Logger: opt.Logger})
	if err != nil {
		return err
	}
	s.webhooks, err = dispatch.NewWebhooks(dispatch.WebhooksConfig{Ledger: s.ledger, Client: s.outbound, UserAgent: "hongyan/" + opt.Version, Now: opt.Clock, Logger: opt.Logger})
	if err != nil {
		return err
	}
	proxies := prefixes(s.cfg.TrustedProxies)
	s.callback, err = callback.New(callback.Config{Ledger: s.ledger, Forward: s.outbound, Logger: opt.Logger, Now: opt.Now,
		Client: func(r *http.Request) string { return api.ClientOf(r, proxies) }})
	if err != nil {
		return err
	}
	tokenKey, err := key.Derive("gateway access tokens")
	if err != nil {
		return err
	}
	s.gateway, err = gateway.New(gateway.Config{Ledger: s.ledger, WeChat: s.clients[0], Tokens: tokens, TokenKey: tokenKey, Now: opt.Now, Logger: opt.Logger})
	if err != nil {
		return err
	}
	s.sessions, err = console.NewSessions(console.Config{Ledger: s.ledger, Logger: opt.Logger,
		Secure: func(r *http.Request) bool { return api.SecureOf(r, proxies) }})
	if err != nil {
		return err
	}
	pages, err := console.Handler()
	if err != nil {
		return err
	}
	origin := opt.Origin
	if origin == nil {
		origin = config.OriginIn(&s.cfg)
	}
	handler, err := api.New(api.Config{
		Ledger: s.ledger, WeChat: s.clients[0], Tokens: tokens, AdminKey: s.cfg.AdminKey, Sessions: s.sessions, Logger: opt.Logger, Now: opt.Now,
		Metrics: s.metrics(tokens), TrustedProxies: proxies, Version: opt.Version, SandboxURL: s.cfg.SandboxURL, Stopping: s.stopping,
		Settings: func(lang string) []hongyan.Setting { return config.Settings(&s.cfg, origin, lang) },
	})
	if err != nil {
		return err
	}
	s.serve(handler, pages, s.gateway, opt.Logger)
	return nil
}

func (s *Server) masterKey() (*ledger.MasterKey, error) {
	if s.cfg.MasterKey != "" {
		return ledger.ParseMasterKey(s.cfg.MasterKey)
	}
	return ledger.LoadOrCreateMasterKey(s.cfg.Data)
}

// URL is where the API listens.
func (s *Server) URL() string { return s.private.url() }

// PublicURL is where phones and WeChat reach this server: [Server.URL] while there is no
// public listener.
func (s *Server) PublicURL() string { return cmp.Or(s.public, s.private).url() }

// GatewayURL is where WeChat SDKs come in; empty without a gateway.
func (s *Server) GatewayURL() string {
	if s.sdks == nil {
		return ""
	}
	return s.sdks.url()
}

// Ledger is the open database, for a caller in the same process. It is closed when Run ends.
func (s *Server) Ledger() *ledger.Ledger { return s.ledger }

// CreateKey makes an API key, for a first run that has none.
func (s *Server) CreateKey(ctx context.Context, k hongyan.APIKey) (hongyan.APIKey, error) {
	return s.ledger.CreateKey(ctx, k, nil)
}

// FirstRunLink is where the first owner is made in a browser, once, for a day; empty if there
// is a member already.
func (s *Server) FirstRunLink(ctx context.Context) (string, error) {
	link, err := s.ledger.FirstRunLink(ctx)
	if err != nil || link == "" {
		return "", err
	}
	return s.private.browserURL() + link, nil
}

// MakeOwner makes a member who may do everything, or gives the one of that name another
// password, for a caller in the same process.
func (s *Server) MakeOwner(ctx context.Context, name string, p hongyan.Password) error {
	return s.sessions.MakeOwner(ctx, name, p)
}

// Run serves until ctx ends, then stops gracefully. The error of a part that ended by
// itself stops the others too.
func (s *Server) Run(ctx context.Context) error {
	// Each stage outlives the one before it, so that nothing it needs is gone while it stops.
	keep := context.WithoutCancel(ctx)
	ledgerCtx, stopLedger := context.WithCancel(keep)
	defer stopLedger()
	dispatchCtx, stopDispatch := context.WithCancel(keep)
	defer stopDispatch()

	var below, way errgroup.Group
	below.Go(func() error { return s.ledger.Run(ledgerCtx) })
	way.Go(func() error { return s.dispatch.Run(dispatchCtx) })
	way.Go(func() error { return s.webhooks.Run(dispatchCtx) })
	way.Go(func() error { return s.callback.Run(dispatchCtx) })
	front, ctx := errgroup.WithContext(ctx)
	for _, d := range s.doors {
		front.Go(d.run)
	}
	<-ctx.Done()
	close(s.stopping)
	s.dispatch.Stop()
	s.shut(keep)
	err := front.Wait()
	stopDispatch()
	err = errors.Join(err, way.Wait())
	stopLedger()
	return errors.Join(err, below.Wait(), s.Close())
}

// Close gives everything back. Run calls it at its end.
func (s *Server) Close() error {
	var errs []error
	for _, c := range s.clients {
		c.Close()
	}
	s.clients = nil
	if s.outbound != nil {
		s.outbound.CloseIdleConnections()
	}
	for _, d := range s.doors {
		if err := d.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.doors = nil
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
		s.ledger = nil
	}
	return errors.Join(errs...)
}

// metrics gathers the parts' metrics under /metrics.
func (s *Server) metrics(tokens *token.Source) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reg.MustRegister(s.dispatch.Collectors()...)
	reg.MustRegister(s.webhooks.Collectors()...)
	reg.MustRegister(s.callback.Collectors()...)
	reg.MustRegister(s.gateway.Collectors()...)
	reg.MustRegister(&gauges{ledger: s.ledger, tokens: tokens})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

// gauges reads what the parts count themselves.
type gauges struct {
	ledger *ledger.Ledger
	tokens *token.Source
}

var (
	backlogDesc = prometheus.NewDesc("hongyan_backlog", "Due messages waiting for a sender, by app; exact once a minute.", []string{"appid"}, nil)
	stalledDesc = prometheus.NewDesc("hongyan_storage_stalled", "1 while results have been waiting for disk for more than a second.", nil, nil)
	againDesc   = prometheus.NewDesc("hongyan_transactions_repeated_total", "Transactions that ran once more because of a deadlock or a change in between.", nil, nil)
	liveDesc    = prometheus.NewDesc("hongyan_replicas", "Processes that work on this database, this one included.", nil, nil)
	skewDesc    = prometheus.NewDesc("hongyan_clock_skew_seconds", "How far this machine's clock is behind the database's; beyond a minute nothing is sent.", nil, nil)
	pausedDesc  = prometheus.NewDesc("hongyan_paused", "Pauses in force, by app and reason.", []string{"appid", "scope", "reason"}, nil)
	fetchDesc   = prometheus.NewDesc("hongyan_token_fetches_total", "Calls for access tokens, to WeChat and to external sources.", nil, nil)
	driftDesc   = prometheus.NewDesc("hongyan_grant_drift_total", "Grants in which WeChat and the ledger differed: refused, those counted here that WeChat did not have (43101); inferred, those it had that nobody told of.", []string{"kind"}, nil)
	erasedDesc  = prometheus.NewDesc("hongyan_retention_erased_total", "Messages whose data was erased because of their age.", nil, nil)
	deletedDesc = prometheus.NewDesc("hongyan_retention_deleted_total", "Messages that were deleted because of their age.", nil, nil)
	deathDesc   = prometheus.NewDesc("hongyan_token_early_deaths_total", "Tokens that WeChat refused before their time.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{backlogDesc, stalledDesc, againDesc, liveDesc, skewDesc, pausedDesc, fetchDesc, deathDesc, erasedDesc, deletedDesc, driftDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	st := g.ledger.Stats()
	for app, n := range st.Backlog {
		ch <- prometheus.MustNewConstMetric(backlogDesc, prometheus.GaugeValue, float64(n), string(app))
	}
	stalled := 0.0
	if st.Stalled {
		stalled = 1
	}
	ch <- prometheus.MustNewConstMetric(stalledDesc, prometheus.GaugeValue, stalled)
	ch <- prometheus.MustNewConstMetric(againDesc, prometheus.CounterValue, float64(st.Again))
	ch <- prometheus.MustNewConstMetric(driftDesc, prometheus.CounterValue, float64(st.Refused), "refused")
	ch <- prometheus.MustNewConstMetric(driftDesc, prometheus.CounterValue, float64(st.Inferred), "inferred")
	ch <- prometheus.MustNewConstMetric(erasedDesc, prometheus.CounterValue, float64(st.Erased))
	ch <- prometheus.MustNewConstMetric(deletedDesc, prometheus.CounterValue, float64(st.Deleted))
	ch <- prometheus.MustNewConstMetric(liveDesc, prometheus.GaugeValue, float64(g.ledger.Live()))
	ch <- prometheus.MustNewConstMetric(skewDesc, prometheus.GaugeValue, g.ledger.Skew().Seconds())
	for _, a := range g.ledger.Apps() {
		n := make(map[[2]string]int)
		for _, p := range a.Pauses {
			n[[2]string{string(p.Scope), p.Reason}]++
		}
		for k, v := range n {
			ch <- prometheus.MustNewConstMetric(pausedDesc, prometheus.GaugeValue, float64(v), string(a.AppID), k[0], k[1])
		}
	}
	ts := g.tokens.Stats()
	ch <- prometheus.MustNewConstMetric(fetchDesc, prometheus.CounterValue, float64(ts.Fetches))
	ch <- prometheus.MustNewConstMetric(deathDesc, prometheus.CounterValue, float64(ts.EarlyDeaths))
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

func prefixes(list []string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s)) // config.Check has parsed them
	}
	return out
}
