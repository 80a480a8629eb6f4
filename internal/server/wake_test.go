package server_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
	"github.com/hongyan-push/hongyan/internal/server"
	"github.com/hongyan-push/hongyan/sandbox"
)

// TestReplicaHelps gives one server more than it can send: the other, which has nothing to
// do, takes the rest long before the first could.
func TestReplicaHelps(t *testing.T) {
	t.Parallel()
	for _, k := range []dbserver.Kind{dbserver.Postgres, dbserver.MySQL} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			var cfg config.Config
			e := newEnv(t, func(_ *env, c *config.Config) {
				c.DB, c.MasterKey, c.Senders = dbserver.Shared(t, k).Create(t), masterKey, 1
				cfg = *c
			})
			cfg.Senders = 64
			second, err := server.New(t.Context(), cfg, server.Options{Now: e.sb.Now})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- second.Run(ctx) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Errorf("second server: %v", err)
				}
			}()
			const messages, each = 15, 2 * time.Second
			e.fault(sandbox.FaultSpec{Path: sendPath, LatencyMS: int(each.Milliseconds()), When: "before"})
			var ids []string
			for range messages {
				ids = append(ids, e.submit(e.user(1), nil))
			}
			accepted := 0
			e.until(messages*each/2, func() bool { // alone it takes twice as long
				accepted = 0
				for _, id := range ids {
					if e.get(id)["status"] == "accepted" {
						accepted++
					}
				}
				return accepted == messages
			}, func() string { return fmt.Sprintf("%d of %d are accepted", accepted, messages) })
		})
	}
}
