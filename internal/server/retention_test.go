package server_test

import (
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/config"
)

// TestRetention shows both settings through the API.
func TestRetention(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(_ *env, cfg *config.Config) { cfg.RetainMessagesDays, cfg.RetainDataDays = 3, 1 })
	u := e.user(1)
	id := e.submit(u, nil)
	if m := e.await(id, "accepted"); m["data_erased"] != nil || m["data"] == nil {
		t.Fatalf("at once: %v", m)
	}
	later := func(d time.Duration) {
		t.Helper()
		must(e.sb.Advance(d))
		if err := e.server.Ledger().Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	later(26 * time.Hour)
	if m := e.get(id); m["data_erased"] != true || m["data"] != nil || m["status"] != "accepted" {
		t.Errorf("after a day: %v", m)
	}
	later(48 * time.Hour)
	e.call("GET", "/v1/messages/"+id, nil, 404)
	grant := e.call("GET", "/v1/apps/"+e.appid+"/grants/"+u+"/"+e.tmpl, nil, 200)
	var spent any
	for _, entry := range grant["entries"].([]any) {
		if entry.(object)["source"] == "spent" {
			spent = entry.(object)["spent"]
		}
	}
	if spent != 1.0 || grant["spent"] != 1.0 {
		t.Errorf("the history after three days: %v", grant)
	}
}
