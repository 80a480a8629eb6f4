package progtest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan/internal/cli"
)

// FirstRun is a server as hongyan serve leaves it for its first visitor: no member, no app,
// and a sandbox for its WeChat.
type FirstRun struct {
	API     string `json:"api"`
	Sandbox string `json:"sandbox"`
	// Link makes the first owner, once.
	Link string `json:"link"`
	// APIKey is the owner's, for looking behind the console.
	APIKey string `json:"api_key"`
}

// StartFirstRun runs hongyan sandbox and hongyan serve until the test ends, on ports that
// were free.
func StartFirstRun(t testing.TB) FirstRun {
	t.Helper()
	var run FirstRun
	startCommand(t, func(line string) bool {
		run.Sandbox = line
		return strings.HasPrefix(line, "http://")
	}, "sandbox", "--listen", "127.0.0.1:0")

	dir := t.TempDir()
	startCommand(t, func(line string) bool {
		var entry struct {
			URL      string `json:"url"`
			SetupURL string `json:"setup_url"`
		}
		_ = json.Unmarshal([]byte(line), &entry) // what people are told is no JSON
		run.API = entry.URL
		run.Link += entry.SetupURL
		return run.API != ""
	}, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--wechat-url", run.Sandbox, "--sandbox-url", run.Sandbox, "--log-format", "json")

	key, err := os.ReadFile(filepath.Join(dir, "owner.key"))
	if err != nil {
		t.Fatal(err)
	}
	run.APIKey = strings.TrimSpace(string(key))
	return run
}

// startCommand runs a command of hongyan until the test ends, and returns once it printed the
// line that ready knows.
func startCommand(t testing.TB, ready func(line string) bool, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- cli.Main(ctx, args, nil, nil, w, w)
		_ = w.Close()
	}()
	var said strings.Builder
	up, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		waits := true
		for s := bufio.NewScanner(r); s.Scan(); { // to the end: whoever writes must not be kept
			said.WriteString(s.Text() + "\n")
			if waits && ready(s.Text()) {
				waits = false
				close(up)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if c := <-code; c != 0 {
			t.Errorf("hongyan %s ended with %d: %s", args[0], c, &said)
		}
	})
	select {
	case <-up:
	case <-ended:
		t.Fatalf("hongyan %s ended before it was ready: %s", args[0], &said)
	}
}
