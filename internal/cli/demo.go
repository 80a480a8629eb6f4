package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/server"
	"github.com/hongyan-push/hongyan/sandbox"
)

// demoCmd runs server and sandbox in one process, on one clock, with sample data.
type demoCmd struct {
	Listen        string `name:"listen" default:"127.0.0.1:8420" help:"Address of the API."`
	SandboxListen string `name:"sandbox-listen" default:"127.0.0.1:8422" help:"Address of the local WeChat."`
	GatewayListen string `name:"gateway-listen" default:"127.0.0.1:8421" help:"Address of the gateway for WeChat SDKs."`
	AllowRemote   bool   `name:"allow-remote" help:"Allow an address that other machines can reach. Anybody who reaches the sandbox controls it."`
	// Its twin is its own: a demo must not fill the directory that a server's HONGYAN_DATA names.
	Data string `name:"data" own:"" type:"path" placeholder:"DIR" help:"Keep the data in this directory. Default: a temporary one, removed at the end."`
	JSON bool   `name:"json" help:"Print one line of JSON once a message can be sent, for scripts."`
	// A demo's screen is for what to do next, so it logs less than a server.
	LogLevel  string `name:"log-level" enum:"debug,info,warn,error" default:"warn" help:"Least level that is logged: debug, info, warn, error."`
	LogFormat string `name:"log-format" enum:"text,json" default:"text" help:"text or json, on standard error."`
}

// Run implements the command.
func (c *demoCmd) Run(ctx context.Context, p *program) (err error) {
	for flag, addr := range map[string]string{"--listen": c.Listen, "--gateway-listen": c.GatewayListen} {
		if err := p.checkLocal(addr, flag, c.AllowRemote); err != nil {
			return err
		}
	}
	l, err := p.listenLocal(c.SandboxListen, "--sandbox-listen", c.AllowRemote)
	if err != nil {
		return err
	}
	dir, remove, err := c.directory(p)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, remove()) }()

	log := p.logger(c.LogLevel, c.LogFormat)
	sb := sandbox.New(sandbox.Config{Now: p.now, Logger: log})
	d := &demo{p: p, cmd: c, sandbox: sb, sandboxURL: "http://" + l.Addr().String()}
	cfg := c.config(dir, d.sandboxURL)
	d.server, err = server.New(ctx, cfg, server.Options{Now: sb.Now, Logger: log, Version: version()})
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			addr, flag := c.Listen, "--listen"
			if strings.Contains(err.Error(), c.GatewayListen) {
				addr, flag = c.GatewayListen, "--gateway-listen"
			}
			err = p.listenFault(err, addr, flag)
		}
		return errors.Join(err, l.Close())
	}
	return d.run(ctx, l)
}

// demoMark is a file in directories that demos made.
const demoMark = ".hongyan-demo"

// directory is where the data goes, and what to do with it at the end.
func (c *demoCmd) directory(p *program) (string, func() error, error) {
	if c.Data == "" {
		dir, err := os.MkdirTemp("", "hongyan-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("temporary directory: %w", err)
		}
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	mark := filepath.Join(c.Data, demoMark)
	// A real server's queue would go to the sandbox, which swallows it.
	if exists(filepath.Join(c.Data, "hongyan.db")) && !exists(mark) {
		return "", nil, p.usage(p.say("--data: %s belongs to a server", c.Data), p.say("Give the demo a directory of its own."))
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return "", nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return "", nil, fmt.Errorf("data directory: %w", err)
	}
	return c.Data, func() error { return nil }, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// config is that of a server whose WeChat is the sandbox.
func (c *demoCmd) config(dir, sandboxURL string) config.Config {
	return config.Config{
		Data: dir, Listen: c.Listen, GatewayListen: c.GatewayListen, WeChatURL: sandboxURL, SandboxURL: sandboxURL, Senders: config.DefaultSenders,
		RetainMessagesDays: config.DefaultRetainMessagesDays, RetainDataDays: config.DefaultRetainDataDays, RetainEventsDays: config.DefaultRetainEventsDays,
		OutboundAllow: []string{"127.0.0.0/8", "::1/128"}, // a demo's webhooks are on the same machine
		LogLevel:      c.LogLevel, LogFormat: c.LogFormat, StopTimeout: config.DefaultStopTimeout,
	}
}

// demo is one run.
type demo struct {
	p          *program
	cmd        *demoCmd
	sandbox    *sandbox.Sandbox
	sandboxURL string
	server     *server.Server
	password   string // of the console's member, new with each run
}

// demoMember signs in to a demo's console.
const demoMember = "demo"

// run serves both until ctx ends or one of them fails. The sandbox stops last: the server
// waits for answers while it stops.
func (d *demo) run(ctx context.Context, l net.Listener) error {
	below, stopSandbox := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSandbox()
	var wechat errgroup.Group
	wechat.Go(func() error { return serveSandbox(below, l, d.sandbox) })

	// The key is made before Run, which closes the database when it ends.
	key, err := d.server.CreateKey(ctx, hongyan.APIKey{Name: "demo", Scopes: hongyan.Scopes()})
	if err == nil {
		d.password = rand.Text()
		err = d.server.MakeOwner(ctx, demoMember, hongyan.NewPassword(d.password))
	}
	if err != nil {
		err = errors.Join(err, d.server.Close())
	} else {
		parts, inner := errgroup.WithContext(ctx)
		parts.Go(func() error { return d.server.Run(inner) })
		parts.Go(func() error { return d.prepareAndTell(inner, key.Key) })
		err = parts.Wait()
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // a signal during the preparations
	}
	stopSandbox()
	return errors.Join(err, wechat.Wait())
}

func (d *demo) prepareAndTell(ctx context.Context, key string) error {
	r, err := d.prepare(ctx, key)
	if err != nil {
		return fmt.Errorf("prepare the demo: %w", err)
	}
	if d.cmd.JSON {
		return printJSON(d.p.stdout, r, "")
	}
	return d.tell(r)
}
