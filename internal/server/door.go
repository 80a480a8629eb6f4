package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan/internal/console"
	"github.com/hongyan-push/hongyan/internal/gateway"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// door is a listener and what it lets through.
type door struct {
	listener net.Listener
	http     *http.Server
}

func (d *door) url() string { return "http://" + d.listener.Addr().String() }

// browserURL is url as a browser on this machine can open it: "all addresses" is none.
func (d *door) browserURL() string {
	at, ok := d.listener.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return d.url()
	}
	return fmt.Sprintf("http://127.0.0.1:%d", at.Port)
}

func (d *door) run() error {
	err := d.http.Serve(d.listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// listen binds the listeners and answers their addresses.
func (s *Server) listen() ([]netip.AddrPort, error) {
	var own []netip.AddrPort
	for _, d := range []struct {
		addr string
		door **door
	}{{s.cfg.Listen, &s.private}, {s.cfg.PublicListen, &s.public}, {s.cfg.GatewayListen, &s.sdks}} {
		if d.addr == "" {
			continue
		}
		l, err := net.Listen("tcp", d.addr)
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		*d.door = &door{listener: l}
		s.doors = append(s.doors, *d.door)
		at, err := netip.ParseAddrPort(l.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		own = append(own, at)
	}
	return own, nil
}

// What strangers reach: phones and WeChat. api has the one, callback the other.
const (
	mpPath       = "/mp/v1/"
	callbackPath = "/callback/"
)

// serve says what goes through which door. Nothing goes through two.
func (s *Server) serve(api, pages, sdks http.Handler, log *slog.Logger) {
	private, public := http.NewServeMux(), http.NewServeMux()
	private.Handle("/", api)
	for _, path := range []string{"GET /{$}", strings.TrimSuffix(console.Path, "/"), console.Path} {
		private.Handle(path, pages)
	}
	strangers := private
	if s.public != nil {
		strangers = public
		private.Handle(mpPath, http.NotFoundHandler())
		private.Handle(callbackPath, http.NotFoundHandler())
	}
	strangers.Handle(mpPath, api)
	strangers.Handle(callbackPath, s.callback)
	for d, handler := range map[*door]http.Handler{s.private: private, s.public: public, s.sdks: sdks} {
		if d != nil {
			d.http = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
				MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		}
	}
	if s.sdks != nil {
		// Longer than a body may take to come and a relayed call to be answered; then whoever
		// does not read is let go. The other doors have streams, which last.
		s.sdks.http.ConnContext, s.sdks.http.WriteTimeout = gateway.ConnContext, 4*time.Minute
	}
}

// shut lets nothing new in and waits for what is inside. Requests that wait for a message's
// result would hold the stop up; they are cut after a moment. Not so a send through the
// gateway: its call is awaited anyway, and an SDK that got no answer would make it again.
func (s *Server) shut(ctx context.Context) {
	var wg sync.WaitGroup
	for _, d := range s.doors {
		most := 2 * time.Second
		if d == s.sdks {
			most = ledger.CallTimeout + time.Second
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, min(most, s.cfg.StopTimeout))
			defer cancel()
			if err := d.http.Shutdown(ctx); err != nil {
				_ = d.http.Close()
			}
		})
	}
	wg.Wait()
}
