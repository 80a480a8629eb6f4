// Package progtest lets Go tests run programs of other languages against the real thing: a
// demo, which is a Hongyan server with its sandbox, over HTTP. What needs npm packages is a
// project of [nodetest]; this package is for programs that their language's own tools can run.
//
// Where a program is not installed, a test is skipped and says so, or fails if
// HONGYAN_TEST_REQUIRE=all and make deps installs it.
//
//	demo := progtest.StartDemo(t)
//	progtest.Require(t, "python3")
//	p := progtest.Start(t, dir, env, "python3", "shop.py")
//	url := p.Line(t)
package progtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/cli"
)

// optional programs are run where they are, and nothing installs them.
var optional = []string{"php"}

// Require skips the test where a program is not installed, or fails it if nothing may be skipped.
func Require(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		text := name + " is not installed here, and this test runs a program with it"
		if slices.Contains(optional, name) {
			t.Skip(text)
		}
		text += "; make deps installs it where it may"
		if os.Getenv("HONGYAN_TEST_REQUIRE") == "all" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
}

// Demo is the line that hongyan demo --json prints.
type Demo struct {
	API         string             `json:"api"`
	Gateway     string             `json:"gateway"`
	Sandbox     string             `json:"sandbox"`
	AppID       hongyan.AppID      `json:"appid"`
	AppSecret   string             `json:"appsecret"`
	APIKey      string             `json:"api_key"`
	GatewayKey  string             `json:"gateway_key"`
	TemplateIDs []string           `json:"template_ids"`
	OpenIDs     []string           `json:"openids"`
	Example     hongyan.Submission `json:"example"`

	// Raw is the line itself.
	Raw []byte `json:"-"`
}

// StartDemo runs hongyan demo until the test ends, on ports that were free.
func StartDemo(t testing.TB) Demo {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan int, 1)
	var said bytes.Buffer
	go func() {
		args := []string{"demo", "--json", "--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0"}
		code := cli.Main(ctx, args, nil, nil, w, &said)
		_ = w.Close()
		done <- code
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("demo ended with %d: %s", code, &said)
		}
	})
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		t.Fatalf("demo printed no line: %v", err)
	}
	d := Demo{Raw: line}
	if err := json.Unmarshal(line, &d); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return d
}

// Program is a program that runs beside a test and is killed at its end.
type Program struct {
	name   string
	in     io.WriteCloser
	lines  chan string
	mu     sync.Mutex
	stderr bytes.Buffer
}

// Write collects what the program says on standard error, for the words of a failure.
func (p *Program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

// Start starts a program in dir. env is added to the test's own environment.
func Start(t testing.TB, dir string, env []string, name string, args ...string) *Program {
	t.Helper()
	cmd := exec.Command(name, args...)
	p := &Program{name: name, lines: make(chan string, 1024)}
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), p
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	inGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		killGroup(cmd)
		for range p.lines { // until the reader is done, however much it has
		}
		_ = cmd.Wait()
	})
	return p
}

// lineWait is long enough for a compiler on a busy machine.
const lineWait = 2 * time.Minute

// Line returns the next line that the program prints.
func (p *Program) Line(t testing.TB) string {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if ok {
			return line
		}
		p.fail(t, "ended")
	case <-time.After(lineWait):
		p.fail(t, "printed nothing for "+lineWait.String())
	}
	return ""
}

// Say writes a line to the program's standard input.
func (p *Program) Say(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.fail(t, "takes no input: "+err.Error())
	}
}

func (p *Program) fail(t testing.TB, what string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Fatalf("%s %s\n%s", p.name, what, &p.stderr)
}
