package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/hongyan-push/hongyan/sandbox"
)

// sandboxCmd runs a local WeChat by itself, for servers and tests in any language.
type sandboxCmd struct {
	Listen       string        `name:"listen" own:"" default:"127.0.0.1:8422" help:"Address of the emulated WeChat and of its control surface."`
	Latency      time.Duration `name:"latency" own:"" default:"0s" help:"Time that every call takes before it is processed."`
	AllowRemote  bool          `name:"allow-remote" help:"Allow an address that other machines can reach. Anybody who reaches it controls it."`
	AllowedHosts []string      `name:"allowed-hosts" own:"" help:"Host names by which others may use the control surface, such as the container's."`
	logFlags
}

// Run implements the command.
func (c *sandboxCmd) Run(ctx context.Context, p *program) error {
	l, err := p.listenLocal(c.Listen, "--listen", c.AllowRemote)
	if err != nil {
		return err
	}
	sb := sandbox.New(sandbox.Config{Logger: p.logger(c.LogLevel, c.LogFormat), Latency: c.Latency, AllowedHosts: c.AllowedHosts})
	url := "http://" + l.Addr().String()
	fmt.Fprintln(p.stdout, url)
	p.tell("A local WeChat is ready. Make an app, a template and a user that subscribes:")
	for _, line := range sandboxExamples(url) {
		fmt.Fprintln(p.stderr, "  "+line)
	}
	return serveSandbox(ctx, l, sb)
}

// sandboxExamples can be pasted in this order.
func sandboxExamples(url string) []string {
	post := "curl -sS " + url + "/_sandbox/%s -H 'Content-Type: application/json' -d '%s'"
	return []string{
		fmt.Sprintf(post, "apps", `{"appid":"wx0123456789abcdef"}`),
		fmt.Sprintf(post, "templates", `{"appid":"wx0123456789abcdef"}`),
		fmt.Sprintf(post, "users", `{"appid":"wx0123456789abcdef","openid":"user-1"}`),
	}
}

// listenLocal opens an address of this machine alone, unless remote ones are allowed.
// Everybody who reaches a sandbox commands it.
func (p *program) listenLocal(addr, flag string, allowRemote bool) (net.Listener, error) {
	if err := p.checkLocal(addr, flag, allowRemote); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, p.listenFault(err, addr, flag)
	}
	return l, nil
}

// listenFault says which flag helps where an address cannot be had.
func (p *program) listenFault(err error, addr, flag string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &fault{exit: exitFailure, text: p.say("%s is taken by another program", addr),
			hint: p.say("Stop that program, or choose another address with %s (port 0 takes any free one).", flag)}
	}
	return fmt.Errorf("%s: %w", flag, err)
}

func (p *program) checkLocal(addr, flag string, allowRemote bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return p.usage(p.say("%s: %q is not host:port", flag, addr), "")
	}
	ip := net.ParseIP(host)
	if allowRemote || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return p.usage(p.say("%s: other machines could reach %s, and this command protects nothing", flag, addr),
		p.say("Use 127.0.0.1, or add --allow-remote if you mean it."))
}

// serveSandbox serves until ctx ends.
func serveSandbox(ctx context.Context, l net.Listener, sb *sandbox.Sandbox) error {
	srv := &http.Server{Handler: sb, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = sb.Close() // ends delays, so that Shutdown need not wait for them
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(limit) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve sandbox: %w", err)
	}
	return nil
}
