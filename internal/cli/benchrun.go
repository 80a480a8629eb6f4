package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hongyan-push/hongyan/internal/ledger"
)

// bench is one run of the command.
type bench struct {
	p      *program
	cmd    *benchCmd
	dir    string
	db     string // its URL
	server dbServer
	sink   string // its URL
	top    uint32 // the greatest user number
}

// runBench measures the pairs. Whatever happens, nothing of it stays behind.
func runBench(ctx context.Context, p *program, c *benchCmd) (pairs []benchFigures, err error) {
	// `bench 2>&1 | head` closes standard error on us, which would end the process here and now.
	signal.Ignore(syscall.SIGPIPE)
	dir, remove, err := c.directory()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	db := "sqlite:" + filepath.Join(dir, "hongyan.db")
	if !c.onFile() {
		var drop func(context.Context) error
		if db, drop, err = ledger.CreateDatabase(ctx, c.DB); err != nil {
			return nil, &fault{exit: exitUnavailable, text: p.say("there is no database to measure in"),
				hint: p.say("Check that the server runs, that the URL is right and that its user may create databases."), err: err}
		}
		defer func() {
			left := drop(context.WithoutCancel(ctx))
			if left != nil && ctx.Err() != nil {
				fmt.Fprintln(p.stderr, left) // an interrupt hides what went wrong, and somebody has to drop it
			}
			err = errors.Join(err, left)
		}()
	}
	users, err := prepareBench(ctx, p, c, dir, db)
	if err != nil {
		return nil, err
	}
	b := &bench{p: p, cmd: c, dir: dir, db: db, server: findServer(ctx, c.DB), top: slices.Max(users)}
	sink, err := startChild(ctx, p, "bench-sink")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sink.end()) }()
	ready, err := sink.read()
	if err != nil {
		return nil, err
	}
	b.sink = ready.URL
	for k := range c.Pairs {
		f, err := b.pair(ctx, k, users[k*c.Messages:(k+1)*c.Messages])
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, f)
		p.tell("Pair %d of %d: bare %.0f /s, ours %.0f /s, ratio %.3f", k+1, c.Pairs, f.BarePerS, f.OursPerS, f.Ratio)
	}
	return pairs, nil
}

// directory is where the database is made, and what to do with it at the end.
func (c *benchCmd) directory() (string, func() error, error) {
	if c.Keep != "" {
		if err := os.MkdirAll(c.Keep, 0o700); err != nil {
			return "", nil, fmt.Errorf("--keep: %w", err)
		}
		return c.Keep, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "hongyan-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("temporary directory: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// pair runs the bare side and ours, one after the other.
func (b *bench) pair(ctx context.Context, k int, users []uint32) (benchFigures, error) {
	c := b.cmd
	f := benchFigures{Mode: c.Mode, DB: c.kind(), Messages: c.Messages, LatencyMS: c.Latency.Seconds() * 1e3, Connections: c.Connections}
	var err error
	if c.onFile() { // where a server writes to is not known
		if f.FsyncP50, f.FsyncP99, err = measureFsync(b.dir); err != nil {
			return f, fmt.Errorf("measure fsync: %w", err)
		}
	}
	var bare, ours benchRun
	if bare, err = b.side(ctx, k, false, users); err != nil {
		return f, err
	}
	if ours, err = b.side(ctx, k, true, users); err != nil {
		return f, err
	}
	n := float64(c.Messages)
	f.BarePerS, f.OursPerS = n/bare.took.Seconds(), n/ours.took.Seconds()
	f.Ratio = f.OursPerS / f.BarePerS
	f.AcceptP50, f.AcceptP99 = ours.AcceptP50, ours.AcceptP99
	f.E2EP50, f.E2EP99, f.bareE2EP50, f.bareE2EP99 = ours.arrivals.P50, ours.arrivals.P99, bare.arrivals.P50, bare.arrivals.P99
	f.DBCPUPerMsg = float64(ours.db.Microseconds()) / n
	f.CPUPerMsg, f.BareCPU, f.RSS = ours.CPU/n, bare.CPU/n, ours.RSS
	return f, nil
}

// benchRun is what one run of one side came to.
type benchRun struct {
	benchReply
	took     time.Duration
	db       time.Duration // CPU of the database server
	arrivals benchArrivals
}

// side runs one side in a process of its own and verifies what came of it.
func (b *bench) side(ctx context.Context, k int, isOurs bool, users []uint32) (r benchRun, err error) {
	c := b.cmd
	job := benchJob{Mode: c.Mode, Ours: isOurs, Sink: b.sink, Dir: b.dir, DB: b.db, Users: users, Connections: c.Connections, Senders: c.senders(), Rate: c.Rate, Taps: isOurs && !c.Cold}
	if isOurs && k == c.Pairs-1 {
		job.Profile = c.CPUProfile
	}
	if err := b.resetSink(ctx, isOurs, users); err != nil {
		return r, err
	}
	w, err := startChild(ctx, b.p, "bench-worker")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	ready, err := w.ask(benchOrder{Do: "open", Job: &job})
	if err != nil {
		return r, err
	}
	if _, err := w.ask(benchOrder{Do: "start"}); err != nil {
		return r, err
	}
	db, begin := b.server.cpuTime(), time.Now()
	var load benchReply
	if c.Mode == modeInproc || c.Mode == modeOpenLoop {
		load, err = w.ask(benchOrder{Do: "drive"})
	} else {
		load, err = b.generate(ctx, isOurs, ready, users)
	}
	if err != nil {
		return r, err
	}
	if r.benchReply, err = w.ask(benchOrder{Do: "finish"}); err != nil {
		return r, err
	}
	r.took = time.Since(begin)
	r.db = b.server.cpuTime() - db
	r.AcceptP50, r.AcceptP99 = load.AcceptP50, load.AcceptP99
	verdict, err := w.ask(benchOrder{Do: "verify"})
	if err != nil {
		return r, err
	}
	if err := b.askSink(ctx, sinkStats, nil, &r.arrivals); err != nil {
		return r, err
	}
	return r, b.judge(k, isOurs, append(verdict.Faults, b.sinkFaults(r.arrivals)...))
}

// generate makes the load of the modes that measure a server.
func (b *bench) generate(ctx context.Context, isOurs bool, ready benchReply, users []uint32) (r benchReply, err error) {
	c := b.cmd
	t := target{url: ready.URL, status: http.StatusOK}
	one, err := sendBody()
	wrap := linesOf
	through := isOurs && c.Mode == modeGateway
	if isOurs && !through || c.Mode == modeIngest {
		one, err = submitBody()
		wrap = batchOf
	}
	if err != nil {
		return r, err
	}
	switch {
	case through:
		if t.url, err = gatewayURL(ctx, ready); err != nil {
			return r, err
		}
		t.contains = `"errcode":0`
	case isOurs:
		t.url, t.key, t.status = ready.URL+"/v1/messages", ready.Key, http.StatusAccepted
	}
	if c.Batch <= 1 {
		wrap = nil
	} else if isOurs {
		t.url, t.contains = ready.URL+"/v1/messages/batch", `"refused":0`
	}
	batch := max(1, c.Batch)
	t.writer = func() *benchWriter { return newBenchWriter(one, batch, wrap) }
	took, err := t.generate(ctx, users, batch, c.posters())
	r.AcceptP50, r.AcceptP99 = accepted(took)
	return r, err
}

// gatewayURL is where a send goes, with a token of the gateway's.
func gatewayURL(ctx context.Context, ready benchReply) (string, error) {
	q := url.Values{"grant_type": {"client_credential"}, "appid": {benchApp}, "secret": {ready.Key}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ready.URL+"/cgi-bin/token?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var a struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || a.AccessToken == "" {
		return "", fmt.Errorf("the gateway gives no token: %w", err)
	}
	return ready.URL + pathBenchSend + "?access_token=" + url.QueryEscape(a.AccessToken), nil
}

// judge fails a run that lost or repeated a message.
func (b *bench) judge(k int, isOurs bool, faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	text := b.p.say("pair %d, bare side: the run does not count", k+1)
	if isOurs {
		text = b.p.say("pair %d, our side: the run does not count", k+1)
	}
	return &fault{exit: exitFailure, text: text + "\n  " + strings.Join(faults, "\n  "),
		hint: b.p.say("Messages must be neither lost nor repeated: please report this with the command and its output.")}
}

func (b *bench) sinkFaults(a benchArrivals) (faults []string) {
	if n := len(a.Missing); n > 0 {
		faults = append(faults, b.p.say("%d messages never arrived, such as that to %s", n, benchOpenID(a.Missing[0])))
	}
	if n := len(a.Repeated); n > 0 {
		faults = append(faults, b.p.say("%d messages arrived more than once, such as that to %s", n, benchOpenID(a.Repeated[0])))
	}
	if a.Strange > 0 {
		faults = append(faults, b.p.say("%d messages arrived that nobody was to send", a.Strange))
	}
	return faults
}

// resetSink tells the sink whom to expect.
func (b *bench) resetSink(ctx context.Context, isOurs bool, users []uint32) error {
	r := benchReset{Latency: b.cmd.Latency, Users: b.top}
	if isOurs && b.cmd.SinkFault != "none" {
		r.Fault = b.cmd.SinkFault
	}
	q, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if b.cmd.Mode == modeIngest {
		users = nil
	}
	return b.askSink(ctx, sinkReset+"?r="+url.QueryEscape(string(q)), packUsers(users), nil)
}

func (b *bench) askSink(ctx context.Context, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.sink+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the sink: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("ask the sink: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("ask the sink: %s: %.200s", resp.Status, text)
	case into == nil:
		return nil
	}
	return json.Unmarshal(text, into)
}

// measureFsync appends and syncs blocks as SQLite does in its log.
func measureFsync(dir string) (p50, p99 float64, err error) {
	path := filepath.Join(dir, "fsync")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	took := make([]time.Duration, 200)
	block := make([]byte, 4096)
	for i := range took {
		begin := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return percentile(took, 0.50), percentile(took, 0.99), nil
}

// child is a process of the bench. It ends when its standard input does, so none outlives us.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// startChild starts this program again as one of the bench's hidden commands.
func startChild(ctx context.Context, p *program, command string) (*child, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, command)
	cmd.Stderr, cmd.WaitDelay = p.stderr, childPatience
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	return &child{cmd: cmd, in: in, out: json.NewDecoder(out)}, nil
}

const childPatience = 30 * time.Second

func (c *child) ask(o benchOrder) (benchReply, error) {
	if err := printJSON(c.in, o, ""); err != nil {
		return benchReply{}, c.failed()
	}
	return c.read()
}

func (c *child) read() (r benchReply, err error) {
	if c.out.Decode(&r) != nil {
		return r, c.failed()
	}
	return r, nil
}

// failed is why it does not answer. If it ended by itself it has said so.
func (c *child) failed() error {
	err := c.end()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return errReported(exit.ExitCode())
	}
	return errors.Join(err, fmt.Errorf("%s ended early", c.cmd.Args[1]))
}

// end asks the process to end and waits for it.
func (c *child) end() error {
	if c.cmd.ProcessState != nil {
		return nil // it was waited for
	}
	_ = c.in.Close()
	kill := time.AfterFunc(childPatience, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.cmd.Args[1], err)
	}
	return nil
}
