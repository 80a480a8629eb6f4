package server_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/server"
	"github.com/hongyan-push/hongyan/sandbox"
)

// The tests of this file run the real binary and a sandbox in a process of its own, which
// is the witness: it outlives every crash of the server.

var binaryDir string

// binary builds cmd/hongyan once.
var binary = sync.OnceValues(func() (string, error) {
	var err error
	if binaryDir, err = os.MkdirTemp("", "hongyan-test-"); err != nil {
		return "", err
	}
	path := filepath.Join(binaryDir, "hongyan")
	out, err := exec.Command("go", "build", "-o", path, "github.com/hongyan-push/hongyan/cmd/hongyan").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// runSandbox is what the test program does when it is started again as the sandbox.
func runSandbox() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("SANDBOX http://" + ln.Addr().String())
	_ = http.Serve(ln, sandbox.New(sandbox.Config{}))
}

type witness struct {
	t   *testing.T
	url string
}

func startSandbox(t *testing.T) *witness {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HONGYAN_TEST_SANDBOX=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "SANDBOX ")
	if err != nil || !ok {
		t.Fatalf("sandbox said %q, %v", line, err)
	}
	return &witness{t: t, url: url}
}

func (w *witness) control(method, path string, body any) object {
	w.t.Helper()
	status, out := request(w.t, w.url, "", method, "/_sandbox/"+path, body)
	if status/100 != 2 {
		w.t.Fatalf("sandbox %s %s: %d %v", method, path, status, out)
	}
	return out
}

// cards counts what each phone of an app received.
func (w *witness) cards(appid string) map[string]int {
	w.t.Helper()
	out := make(map[string]int)
	cursor := ""
	for {
		page := w.control("GET", "outbox?limit=1000&appid="+appid+"&cursor="+cursor, nil)
		for _, c := range page["items"].([]any) {
			out[c.(object)["openid"].(string)]++
		}
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			return out
		}
	}
}

// accepted is how many cards all phones received.
func (w *witness) accepted() int {
	w.t.Helper()
	return int(w.control("GET", "stats", nil)["accepted"].(float64))
}

// acted is how many calls the first n of the faults in place acted on.
func (w *witness) acted(n int) int {
	w.t.Helper()
	sum := 0
	for _, f := range w.control("GET", "faults", nil)["items"].([]any)[:n] {
		sum += int(f.(object)["acted"].(float64))
	}
	return sum
}

// process is a server that can be killed and started again.
type process struct {
	t              *testing.T
	wechat         string // where it takes WeChat to be
	senders        int
	addr, url, dir string
	gateway        string // address of its gateway; empty: none
	db             string // empty: SQLite in dir
	cmd            *exec.Cmd
	stderr         *lockedBuffer
}

func newProcess(t *testing.T, wechat, db string, senders int) *process {
	t.Helper()
	addr := freeAddr(t)
	p := &process{t: t, wechat: wechat, senders: senders, addr: addr, url: "http://" + addr, dir: t.TempDir(), db: db, stderr: &lockedBuffer{}}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
	})
	return p
}

// freeAddr is an address that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	return ln.Addr().String()
}

// start runs the real binary.
func (p *process) start() {
	p.t.Helper()
	bin, err := binary()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(bin, "serve", "--data", p.dir, "--listen", p.addr, "--wechat-url", p.wechat, "--senders", fmt.Sprint(p.senders))
	p.cmd.Env = append(os.Environ(), "HONGYAN_ADMIN_KEY="+adminKey, "HONGYAN_OUTBOUND_ALLOW=127.0.0.0/8")
	if p.db != "" {
		p.cmd.Env = append(p.cmd.Env, "HONGYAN_DB="+p.db, "HONGYAN_MASTER_KEY="+masterKey)
	}
	if p.gateway != "" {
		p.cmd.Args = append(p.cmd.Args, "--gateway-listen", p.gateway)
	}
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	end := time.Now().Add(30 * time.Second)
	for {
		if status, _, err := requestErr(p.url, adminKey, "GET", "/readyz", nil); err == nil && status == 200 {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("the server does not start: %s", p.stderr)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startHere runs the server in this process, for what the binary cannot be told: its clock.
func (p *process) startHere(opt server.Options) {
	p.t.Helper()
	cfg := config.Config{Data: p.dir, Listen: p.addr, AdminKey: adminKey, WeChatURL: p.wechat, Senders: p.senders, StopTimeout: 10 * time.Second}
	if p.db != "" {
		cfg.DB, cfg.MasterKey = p.db, masterKey
	}
	opt.Logger = slog.New(slog.NewTextHandler(p.stderr, nil))
	srv, err := server.New(p.t.Context(), cfg, opt)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("server: %v", err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// freeze stops the process where it stands; thaw lets it go on.
func (p *process) freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) thaw()   { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *process) terminate() {
	p.t.Helper()
	began := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("after SIGTERM: %v: %s", err, p.stderr)
	}
	if d := time.Since(began); d > 12*time.Second {
		p.t.Errorf("a graceful stop took %v", d)
	}
	p.cmd = nil
}

func (p *process) call(method, path string, body any, want int) object {
	p.t.Helper()
	status, out := insist(func() (int, object) { return request(p.t, p.url, adminKey, method, path, body) })
	if status != want {
		p.t.Fatalf("%s %s: %d %v: %s", method, path, status, out, p.stderr)
	}
	return out
}
