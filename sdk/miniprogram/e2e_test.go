package miniprogram_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/nodetest"
)

// Built SDK → real program → local WeChat: login, tap, report, event, push, card, sent
// event, webhook.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	nodetest.Require(t)
	binary := filepath.Join(t.TempDir(), "hongyan")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/hongyan").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	demo := exec.Command(binary, "demo", "--json", "--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0")
	var said bytes.Buffer
	demo.Stderr = &said
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill := time.AfterFunc(30*time.Second, func() { _ = demo.Process.Kill() })
		defer kill.Stop()
		_ = demo.Process.Signal(os.Interrupt)
		if err := demo.Wait(); err != nil {
			t.Errorf("demo: %v\n%s", err, &said)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("demo printed no line: %v\n%s", err, &said)
	}
	t.Logf("%s", nodetest.Run(t, ".", line, "node", "test/e2e.mjs"))
}
