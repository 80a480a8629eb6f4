package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// door is a listener and what it lets through.
type door struct {
	listener net.Listener
	http     *http.Server
}

func (d *door) url() string { return "http://" + d.listener.Addr().String() }

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
	for _, addr := range []string{s.cfg.Listen, s.cfg.PublicListen} {
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		s.doors = append(s.doors, &door{listener: l})
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

// serve says what goes through which door. With two of them nothing goes through both.
func (s *Server) serve(api http.Handler, log *slog.Logger) {
	private, public := http.NewServeMux(), http.NewServeMux()
	private.Handle("/", api)
	strangers := private
	if len(s.doors) > 1 {
		strangers = public
		private.Handle(mpPath, http.NotFoundHandler())
		private.Handle(callbackPath, http.NotFoundHandler())
	}
	strangers.Handle(mpPath, api)
	strangers.Handle(callbackPath, s.callback)
	for i, handler := range []http.Handler{private, public}[:len(s.doors)] {
		s.doors[i].http = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
			MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	}
}

// shut lets nothing new in and waits for what is inside. Requests that wait for a message's
// result would hold the stop up; they are cut after a moment.
func (s *Server) shut(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, min(2*time.Second, s.cfg.StopTimeout))
	defer cancel()
	var wg sync.WaitGroup
	for _, d := range s.doors {
		wg.Go(func() {
			if err := d.http.Shutdown(ctx); err != nil {
				_ = d.http.Close()
			}
		})
	}
	wg.Wait()
}
