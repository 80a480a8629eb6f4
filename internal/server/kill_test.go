package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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

func (w *witness) fault(f object) { w.t.Helper(); w.control("POST", "faults", f) }
func (w *witness) clearFaults()   { w.t.Helper(); w.control("DELETE", "faults", nil) }

type received struct{ total, twice int }

// outbox counts cards, and users who got more than one: each test sends one to each.
func (w *witness) outbox(appid string) received {
	w.t.Helper()
	var r received
	seen := map[string]int{}
	cursor := ""
	for {
		page := w.control("GET", "outbox?limit=1000&appid="+appid+"&cursor="+cursor, nil)
		for _, c := range page["items"].([]any) {
			r.total++
			to := c.(object)["openid"].(string)
			if seen[to]++; seen[to] == 2 {
				r.twice++
			}
		}
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			return r
		}
	}
}

// process is a `hongyan serve` that can be killed and started again.
type process struct {
	t              *testing.T
	sandbox        string
	senders        int
	addr, url, dir string
	db             string   // empty: SQLite in dir
	also           []string // URLs of other replicas: requests go to all in turn, repeats to the next
	cmd            *exec.Cmd
	stderr         *lockedBuffer
	appid, tmpl    string
	data           map[string]any
	openids        []string
}

func newProcess(t *testing.T, sandboxURL string, senders int) *process {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	p := &process{t: t, sandbox: sandboxURL, senders: senders, addr: addr, url: "http://" + addr, dir: t.TempDir(), stderr: &lockedBuffer{}}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	bin, err := binary()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(bin, "serve", "--data", p.dir, "--listen", p.addr, "--wechat-url", p.sandbox, "--senders", fmt.Sprint(p.senders))
	p.cmd.Env = append(os.Environ(), "HONGYAN_ADMIN_KEY="+adminKey)
	if p.db != "" {
		p.cmd.Env = append(p.cmd.Env, "HONGYAN_DB="+p.db, "HONGYAN_MASTER_KEY="+masterKey)
	}
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	end := time.Now().Add(15 * time.Second)
	for {
		if status, _, err := requestErr(p.url, adminKey, "GET", "/readyz", nil); err == nil && status == 200 {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("the server does not start: %s", p.stderr)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

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
	status, out := request(p.t, p.url, adminKey, method, path, body)
	if status != want {
		p.t.Fatalf("%s %s: %d %v", method, path, status, out)
	}
	return out
}

// setup makes an app with a template and n users with one reported grant each.
func (p *process) setup(n int) {
	p.t.Helper()
	w := &witness{t: p.t, url: p.sandbox}
	app := w.control("POST", "apps", object{})
	p.appid = app["appid"].(string)
	tm := w.control("POST", "templates", object{"appid": p.appid})
	p.tmpl, p.data = tm["template_id"].(string), tm["example"].(object)
	p.call("POST", "/v1/apps", object{"appid": p.appid, "secret": app["secret"], "name": "crash", "settings": object{"history": "new"}}, 201)
	p.call("POST", "/v1/apps/"+p.appid+"/templates/sync", object{}, 200)
	for i := range n {
		p.openids = append(p.openids, fmt.Sprintf("oCrashTestUser%014d", i))
	}
	w.control("POST", "users", object{"appid": p.appid, "openids": p.openids})
	w.control("POST", "taps", object{"appid": p.appid, "openids": p.openids, "template_ids": []string{p.tmpl}})
	for i := 0; i < n; i += 500 {
		var reports []object
		for _, o := range p.openids[i:min(i+500, n)] {
			reports = append(reports, object{"id": "r-" + o, "openid": o, "template": p.tmpl, "choice": "accept"})
		}
		p.call("POST", "/v1/apps/"+p.appid+"/grants/report", object{"reports": reports}, 200)
	}
}

func (p *process) message(i int) object {
	return object{"app": p.appid, "to": p.openids[i], "template": p.tmpl, "data": p.data}
}

// count counts messages of a status.
func (p *process) count(status string) int {
	p.t.Helper()
	n, cursor := 0, ""
	for {
		page := p.call("GET", "/v1/messages?limit=500&app="+p.appid+"&status="+status+"&cursor="+cursor, nil, 200)
		n += len(page["items"].([]any))
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			return n
		}
	}
}

// drained waits until nothing is waiting or under way.
func (p *process) drained() {
	p.t.Helper()
	end := time.Now().Add(90 * time.Second)
	for p.count("queued")+p.count("sending")+p.count("scheduled") > 0 {
		if time.Now().After(end) {
			p.t.Fatalf("not drained: %d queued, %d sending", p.count("queued"), p.count("sending"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (p *process) statuses(ids []string) map[string]int {
	p.t.Helper()
	count := map[string]int{}
	for _, id := range ids {
		status, m := request(p.t, p.url, adminKey, "GET", "/v1/messages/"+id, nil)
		if status != 200 {
			count["LOST"]++
			continue
		}
		count[m["status"].(string)]++
	}
	return count
}

// submitAll sends one message to each user, through whatever happens to the server: the
// same Idempotency-Key makes a repeat harmless. It answers the ids that were promised.
func (p *process) submitAll(workers int, done *atomic.Int64) []string {
	ids := make([]string, len(p.openids))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			for i := w; i < len(ids); i += workers {
				body, _ := json.Marshal(p.message(i))
				urls := append([]string{p.url}, p.also...)
				for try := i; ids[i] == ""; try++ {
					req, _ := http.NewRequest("POST", urls[try%len(urls)]+"/v1/messages", bytes.NewReader(body))
					req.Header.Set("Authorization", "Bearer "+adminKey)
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Idempotency-Key", "message-"+p.openids[i])
					res, err := client.Do(req)
					if err != nil {
						time.Sleep(10 * time.Millisecond)
						continue
					}
					var m object
					err = json.NewDecoder(res.Body).Decode(&m)
					_ = res.Body.Close()
					if res.StatusCode == 202 && err == nil {
						ids[i] = m["id"].(string)
						done.Add(1)
						continue
					}
					if res.StatusCode < 500 && err == nil && res.StatusCode != 409 {
						p.t.Errorf("submit: %d %v", res.StatusCode, m)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return ids
}

func rounds(short, long int) int {
	if os.Getenv("HONGYAN_TEST_LONG") != "" {
		return long
	}
	return short
}

// TestKill kills the server at random moments while 5,000 messages go through.
func TestKill(t *testing.T) {
	t.Parallel()
	kills, messages, senders := rounds(20, 100), rounds(5000, 25000), 16
	sb := startSandbox(t)
	p := newProcess(t, sb.url, senders)
	p.start()
	p.setup(messages)
	sb.fault(object{"path": sendPath, "latency_ms": 15, "when": "before"})
	var done atomic.Int64
	var ids []string
	submitted := make(chan struct{})
	go func() {
		ids = p.submitAll(32, &done)
		close(submitted)
	}()
	uncertain, worst := 0, 0
	for range kills {
		// Spread over the run: a few per cent of the messages between two kills.
		target := done.Load() + int64(rand.IntN(2*messages/kills))
		for end := time.Now().Add(5 * time.Second); done.Load() < min(target, int64(messages)) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		p.kill()
		p.start()
		n := p.count("uncertain")
		worst = max(worst, n-uncertain)
		if n-uncertain > 2*senders {
			t.Errorf("one kill made %d messages uncertain, the bound is %d", n-uncertain, 2*senders)
		}
		uncertain = n
	}
	<-submitted
	p.drained()
	count := p.statuses(ids)
	box := sb.outbox(p.appid)
	if count["accepted"]+count["uncertain"] != messages || count["LOST"] != 0 {
		t.Errorf("of %d promised messages: %v", messages, count)
	}
	if box.twice != 0 || box.total < count["accepted"] || box.total > messages {
		t.Errorf("the phones received %+v for %v", box, count)
	}
	if n := len(p.allIDs()); n != messages {
		t.Errorf("the ledger has %d messages, want %d: a repeated submit made another one", n, messages)
	}
	t.Logf("%d kills, %d messages: %v; phones received %d, %d twice; most uncertain by one kill %d of %d allowed", kills, messages, count, box.total, box.twice, worst, 2*senders)
}

func (p *process) allIDs() []string {
	p.t.Helper()
	var ids []string
	cursor := ""
	for {
		page := p.call("GET", "/v1/messages?limit=500&app="+p.appid+"&cursor="+cursor, nil, 200)
		for _, m := range page["items"].([]any) {
			ids = append(ids, m.(object)["id"].(string))
		}
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			return ids
		}
	}
}

// TestFreeze stops the process for twice the lease and lets it go on.
func TestFreeze(t *testing.T) {
	t.Parallel()
	const messages, senders = 1000, 16
	sb := startSandbox(t)
	p := newProcess(t, sb.url, senders)
	p.start()
	p.setup(messages)
	sb.fault(object{"path": sendPath, "latency_ms": 30, "when": "before"})
	var done atomic.Int64
	var ids []string
	submitted := make(chan struct{})
	go func() {
		ids = p.submitAll(16, &done)
		close(submitted)
	}()
	for done.Load() < messages/4 {
		time.Sleep(time.Millisecond)
	}
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(61 * time.Second)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	<-submitted
	p.drained()
	count := p.statuses(ids)
	box := sb.outbox(p.appid)
	if count["accepted"]+count["uncertain"] != messages || count["uncertain"] > 2*senders {
		t.Errorf("after 61 s frozen: %v", count)
	}
	if box.twice != 0 || box.total < count["accepted"] {
		t.Errorf("the phones received %+v for %v", box, count)
	}
	t.Logf("61 s frozen, %d messages: %v; phones received %d, %d twice", messages, count, box.total, box.twice)
}

// TestStall lets the sandbox stall for a minute under load.
func TestStall(t *testing.T) {
	t.Parallel()
	const messages, senders = 3000, 64
	sb := startSandbox(t)
	p := newProcess(t, sb.url, senders)
	p.start()
	p.setup(messages)
	sb.fault(object{"path": sendPath, "latency_ms": 10, "when": "before"})
	var done atomic.Int64
	var ids []string
	submitted := make(chan struct{})
	go func() {
		ids = p.submitAll(32, &done)
		close(submitted)
	}()
	for done.Load() < messages/10 {
		time.Sleep(time.Millisecond)
	}
	sb.clearFaults() // the first fault that fits a call is the one that acts
	sb.fault(object{"path": sendPath, "latency_ms": 120_000, "when": "before"})
	time.Sleep(60 * time.Second)
	sb.clearFaults()
	<-submitted
	// The breaker's rest has grown to a minute by now; then one call tests, and all goes on.
	p.drained()
	count := p.statuses(ids)
	box := sb.outbox(p.appid)
	if count["uncertain"] == 0 || count["uncertain"] > senders+5 || count["accepted"]+count["uncertain"] != messages {
		t.Errorf("a minute's stall: %v, want at most %d uncertain", count, senders+5)
	}
	if box.twice != 0 || box.total < count["accepted"] {
		t.Errorf("the phones received %+v for %v", box, count)
	}
	t.Logf("a minute's stall, %d messages: %v; phones received %d, %d twice; bound %d", messages, count, box.total, box.twice, senders+5)
}

func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		out = append(out, f.Name())
	}
	return out
}
