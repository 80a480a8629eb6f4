package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hongyan-push/hongyan/internal/cli"
)

// TestMain lets the scripts start the program as its main does.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hongyan": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		os.Exit(cli.Main(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": start, "await": await, "halt": halt, "demo": demo, "exits": exits,
			"post": request, "get": request, "capture": capture, "taken": taken, "mode": mode, "times": times, "until": until,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("LANG", "C")
			e.Setenv("TZ", "Asia/Shanghai")
			e.Values[running{}] = make(map[string]*process)
			return nil
		},
	})
}

// running is the key of a script's background processes.
type running struct{}

// process is one of them.
type process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{}
}

// output collects what a process writes and tells who waits for a line.
type output struct {
	mu   sync.Mutex
	all  bytes.Buffer
	grow chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all.Write(b)
	close(o.grow)
	o.grow = make(chan struct{})
	return len(b), nil
}

func (o *output) text() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String(), o.grow
}

const patience = 60 * time.Second // a race build on a busy machine is slow

// start NAME PATTERN COMMAND…: starts a process, waits until its output matches, and sets
// environment variables from the pattern's named groups.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: start NAME PATTERN COMMAND…")
	}
	p := launch(ts, args[0], args[2:])
	p.await(ts, args[0], args[1])
}

// await NAME PATTERN: waits until the output of a process that was started matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await NAME PATTERN")
	}
	ts.Value(running{}).(map[string]*process)[args[0]].await(ts, args[0], args[1])
}

func (p *process) await(ts *testscript.TestScript, name, want string) {
	pattern := regexp.MustCompile("(?m)" + want)
	deadline := time.After(patience)
	for {
		text, grown := p.out.text()
		if m := pattern.FindStringSubmatch(text); m != nil {
			for i, group := range pattern.SubexpNames() {
				if group != "" {
					ts.Setenv(group, m[i])
				}
			}
			return
		}
		select {
		case <-grown:
		case <-p.done:
			ts.Fatalf("%s ended early:\n%s", name, text)
		case <-deadline:
			ts.Fatalf("%s is not ready:\n%s", name, text)
		}
	}
}

func launch(ts *testscript.TestScript, name string, args []string) *process {
	path, err := exec.LookPath(filepath.Join(binDir(ts), args[0]))
	ts.Check(err)
	p := &process{cmd: exec.Command(path, args[1:]...), done: make(chan struct{}), out: output{grow: make(chan struct{})}}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = environment(ts)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	ts.Check(p.cmd.Start())
	go func() { defer close(p.done); _ = p.cmd.Wait() }()
	ts.Value(running{}).(map[string]*process)[name] = p
	ts.Defer(func() { // for scripts that fail before their halt
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// binDir is where testscript put the program.
func binDir(ts *testscript.TestScript) string {
	dir, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	return dir
}

// environment is that of the script; testscript has no list of it.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "HONGYAN_") {
			env = append(env, kv)
		}
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "WORK", "GOCOVERDIR",
		"HONGYAN_LISTEN", "HONGYAN_DATA", "HONGYAN_LOG_LEVEL", "HONGYAN_LOG_FORMAT", "HONGYAN_ADMIN_KEY", "HONGYAN_WECHAT_URL", "HONGYAN_CONFIG", "HONGYAN_API", "HONGYAN_API_KEY"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// halt NAME [EXIT]: interrupts a process, checks its exit code, 0 by default, and leaves
// what it wrote in NAME.out.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	p := ts.Value(running{}).(map[string]*process)[args[0]]
	if neg || p == nil {
		ts.Fatalf("usage: halt NAME [EXIT]")
	}
	want := 0
	if len(args) > 1 {
		want, _ = strconv.Atoi(args[1])
	}
	ts.Check(p.cmd.Process.Signal(os.Interrupt))
	text := ""
	select {
	case <-p.done:
		text, _ = p.out.text()
	case <-time.After(patience):
		text, _ = p.out.text()
		ts.Fatalf("%s does not end:\n%s", args[0], text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(text), 0o600))
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("%s: exit code %d, want %d\n%s", args[0], got, want, text)
	}
}

// demo: starts a demo on free ports and sets what its clients need.
func demo(ts *testscript.TestScript, _ bool, args []string) {
	start(ts, false, append([]string{"demo", `^(?P<READY>\{.*\})$`, "hongyan", "demo", "--json",
		"--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"}, args...))
	var r struct {
		API       string          `json:"api"`
		Sandbox   string          `json:"sandbox"`
		AppID     string          `json:"appid"`
		AppSecret string          `json:"appsecret"`
		Password  string          `json:"console_password"`
		APIKey    string          `json:"api_key"`
		Templates []string        `json:"template_ids"`
		OpenIDs   []string        `json:"openids"`
		Example   json.RawMessage `json:"example"`
	}
	ts.Check(json.Unmarshal([]byte(ts.Getenv("READY")), &r))
	for k, v := range map[string]string{"HONGYAN_API": r.API, "HONGYAN_API_KEY": r.APIKey, "HONGYAN_APP": r.AppID, "SANDBOX": r.Sandbox,
		"SECRET": r.AppSecret, "PASSWORD": r.Password, "USER": r.OpenIDs[0], "USER2": r.OpenIDs[1], "TEMPLATE": r.Templates[0], "TEMPLATE2": r.Templates[1]} {
		ts.Setenv(k, v)
	}
	ts.Check(os.WriteFile(ts.MkAbs("example.json"), r.Example, 0o600))
}

// exits CODE COMMAND…: runs a command that ends with this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var e *exec.ExitError
	if errors.As(err, &e) {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// post URL BODY, get URL: call the sandbox; the answer is standard output.
func request(ts *testscript.TestScript, neg bool, args []string) {
	var resp *http.Response
	var err error
	if len(args) == 2 {
		resp, err = http.Post(args[0], "application/json", strings.NewReader(args[1]))
	} else {
		resp, err = http.Get(args[0])
	}
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	_, _ = ts.Stdout().Write(body)
	if (resp.StatusCode >= 300) != neg {
		ts.Fatalf("status %s: %s", resp.Status, body)
	}
}

// capture NAME PATTERN: sets a variable to the pattern's group in the last standard output.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	m := regexp.MustCompile(args[1]).FindStringSubmatch(text)
	if len(m) != 2 {
		ts.Fatalf("%s does not match:\n%s", args[1], text)
	}
	ts.Setenv(args[0], m[1])
}

// taken NAME: listens on a free port until the script ends and sets a variable to it.
func taken(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// mode PERM FILE: checks who may read a file.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// until PATTERN COMMAND…: runs a command again and again until its standard output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND…")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(patience); ; {
		err := ts.Exec(args[1], args[2:]...)
		text := ts.ReadFile("stdout")
		if err == nil && pattern.MatchString(text) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s does not match:\n%s", args[0], text)
		}
	}
}

// times N PATTERN: the last standard output matches exactly so often.
func times(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	text := ts.ReadFile("stdout")
	if got := len(regexp.MustCompile(args[1]).FindAllString(text, -1)); got != n {
		ts.Fatalf("%s matches %d times, want %d:\n%s", args[1], got, n, text)
	}
}
