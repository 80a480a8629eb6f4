package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/server"
)

// serveCmd runs the server until a signal ends it.
type serveCmd struct {
	settings
}

// ownerKeyFile is where a first run leaves its key, inside the data directory.
const ownerKeyFile = "owner.key"

// Run implements the command.
func (c *serveCmd) Run(ctx context.Context, p *program) error {
	cfg, err := c.load(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	first, err := isFirstRun(ctx, cfg)
	if err != nil {
		return err
	}
	log := p.logger(cfg.LogLevel, cfg.LogFormat)
	srv, err := server.New(ctx, cfg, server.Options{Logger: log, Version: version(), Origin: p.originOf})
	if err != nil {
		return err
	}
	if first {
		if err := p.makeOwnerKey(ctx, srv, cfg.Data); err != nil {
			return errors.Join(err, srv.Close())
		}
	}
	link, err := srv.FirstRunLink(ctx)
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	p.ready(log, cfg.LogFormat, srv, link)
	return srv.Run(ctx)
}

// isFirstRun reports whether nobody could use the server: no admin key, and not one API
// key was ever made. Revoked keys count: whoever revoked them wanted that.
func isFirstRun(ctx context.Context, cfg config.Config) (bool, error) {
	if cfg.AdminKey != "" {
		return false, nil
	}
	if path := ledger.SQLiteFile(cfg.Database()); path != "" && !exists(path) {
		return true, nil
	}
	if exists(filepath.Join(cfg.Data, ownerKeyFile)) {
		return false, nil
	}
	l, err := openLedger(ctx, cfg)
	if err != nil {
		return false, err
	}
	keys, err := l.Keys(ctx)
	return len(keys) == 0, errors.Join(err, l.Close())
}

// openLedger opens the database as the server would.
func openLedger(ctx context.Context, cfg config.Config) (*ledger.Ledger, error) {
	key, err := masterKey(cfg)
	if err != nil {
		return nil, err
	}
	return ledger.Open(ctx, ledger.Config{DB: cfg.Database(), MasterKey: key})
}

func masterKey(cfg config.Config) (*ledger.MasterKey, error) {
	if cfg.MasterKey != "" {
		return ledger.ParseMasterKey(cfg.MasterKey)
	}
	return ledger.LoadOrCreateMasterKey(cfg.Data)
}

// makeOwnerKey leaves a first key where only the owner of the data directory can read it.
// It is never printed: a container's output is kept by others.
func (p *program) makeOwnerKey(ctx context.Context, srv *server.Server, dir string) error {
	k, err := srv.CreateKey(ctx, hongyan.APIKey{Name: "owner", Scopes: hongyan.Scopes()})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, ownerKeyFile)
	if err := writeSecret(path, k.Key); err != nil {
		return err
	}
	p.tell("This is the first run: an API key with every right is in %s. Use it with HONGYAN_API_KEY_FILE or --api-key-file, make narrower ones with `hongyan keys create`, and keep it safe.", path)
	return nil
}

// writeSecret replaces a file with a secret that only its owner may read.
func writeSecret(path, secret string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteString(secret + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// ready says where the server is, in the form of the log where programs read it.
// link makes the first owner of the console; empty if there is a member.
func (p *program) ready(log *slog.Logger, format string, srv *server.Server, link string) {
	url, public, gateway := srv.URL(), srv.PublicURL(), srv.GatewayURL()
	if format == "json" {
		if link != "" {
			// A warning, so that it is seen: whoever reads it first owns the console.
			log.Warn("the console has no owner yet: open the link within 24 hours", "setup_url", link)
		}
		log.Info("ready", "url", url, "public_url", public, "gateway_url", gateway)
		return
	}
	if gateway != "" {
		p.tell("WeChat SDKs come in at %s", gateway)
	}
	if public != url {
		p.tell("Phones and WeChat come in at %s", public)
	}
	if link != "" {
		p.tell("The console has no owner yet. Open this link within 24 hours to become it (once; each start makes another): %s", link)
	}
	p.tell("Hongyan is ready at %s", url)
}
