package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/server"
)

// benchWorkerCmd is one side of one run, in a process of its own. It takes orders from
// standard input and answers each with one line: open, start, drive (if it makes its own
// load), finish, verify. It lives until its input ends.
type benchWorkerCmd struct{}

// benchOrder is a line of its input.
type benchOrder struct {
	Do  string    `json:"do"`
	Job *benchJob `json:"job,omitempty"` // with open
}

// benchJob is a run, as its worker needs to know it.
type benchJob struct {
	Mode        string   `json:"mode"`
	Ours        bool     `json:"ours"`
	Sink        string   `json:"sink"`
	Dir         string   `json:"dir"`
	DB          string   `json:"db"`
	Users       []uint32 `json:"users"`
	Connections int      `json:"connections"`
	Senders     int      `json:"senders"`
	Rate        float64  `json:"rate"`
	Taps        bool     `json:"taps"` // the users accept before the run
	Profile     string   `json:"profile"`
}

// benchReply is a line of its output.
type benchReply struct {
	URL       string   `json:"url,omitempty"`        // after open, where the load goes to
	Key       string   `json:"key,omitempty"`        // after open, the API key
	AcceptP50 float64  `json:"accept_p50,omitempty"` // after drive, ms
	AcceptP99 float64  `json:"accept_p99,omitempty"`
	CPU       float64  `json:"cpu,omitempty"` // after finish, µs
	RSS       float64  `json:"rss,omitempty"` // after finish, MB
	Faults    []string `json:"faults,omitempty"`
}

// side is what differs between the workers. A nil function has nothing to do.
type side struct {
	url, key string
	drive    func(context.Context) ([]time.Duration, error)
	drain    func(context.Context) error // waits until everything is done that was begun
	mark     func(context.Context) error // remembers what is there before the run
	verify   func(context.Context) ([]string, error)
	close    func() error
}

// Run implements the command.
func (*benchWorkerCmd) Run(ctx context.Context, p *program) (err error) {
	in := json.NewDecoder(p.stdin)
	var o benchOrder
	if err := in.Decode(&o); err != nil || o.Job == nil {
		return fmt.Errorf("read the job: %w", err)
	}
	s, err := openSide(ctx, p, o.Job)
	if err != nil {
		return err
	}
	defer func() {
		if s.close != nil {
			err = errors.Join(err, s.close())
		}
	}()
	w := &benchWorker{side: s, profile: o.Job.Profile}
	for reply := (benchReply{URL: s.url, Key: s.key}); ; {
		if err := printJSON(p.stdout, reply, ""); err != nil {
			return err
		}
		o = benchOrder{}
		if err := in.Decode(&o); err != nil {
			return nil // nobody wants anything any more
		}
		if reply, err = w.do(ctx, o.Do); err != nil {
			return err
		}
	}
}

type benchWorker struct {
	*side
	profile string
	cpu     time.Duration // at the start
	stop    func() error  // ends the profile
}

func (w *benchWorker) do(ctx context.Context, what string) (r benchReply, err error) {
	switch what {
	case "start":
		if w.mark != nil {
			if err := w.mark(ctx); err != nil {
				return r, err
			}
		}
		w.stop, err = startProfile(w.profile)
		w.cpu = cpuTime()
		return r, err
	case "drive":
		took, err := w.drive(ctx)
		r.AcceptP50, r.AcceptP99 = accepted(took)
		return r, err
	case "finish":
		if w.drain != nil {
			if err := w.drain(ctx); err != nil {
				return r, err
			}
		}
		r.CPU, r.RSS = float64(cpuTime()-w.cpu)/1e3, peakMemory()
		return r, nil
	case "verify":
		if err := w.stop(); err != nil || w.verify == nil {
			return r, err
		}
		r.Faults, err = w.verify(ctx)
		return r, err
	}
	return r, fmt.Errorf("no such order: %q", what)
}

// accepted are the percentiles of how long callers waited, in milliseconds.
func accepted(took []time.Duration) (p50, p99 float64) {
	slices.Sort(took)
	return percentile(took, 0.50), percentile(took, 0.99)
}

func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func openSide(ctx context.Context, p *program, j *benchJob) (*side, error) {
	switch {
	case j.Ours:
		return openOurs(ctx, p, j)
	case j.Mode == modeInproc || j.Mode == modeOpenLoop:
		return openBareLoop(j)
	}
	return openRelay(j)
}

// openBareLoop is the bare loop: a plain HTTP client that posts the send bodies.
func openBareLoop(j *benchJob) (*side, error) {
	one, err := sendBody()
	if err != nil {
		return nil, err
	}
	to := newPoster(j.Sink+pathBenchSend+"?access_token=bench-access-token", j.Senders)
	if j.Mode == modeOpenLoop {
		return &side{drive: func(ctx context.Context) ([]time.Duration, error) {
			return openLoop(ctx, len(j.Users), j.Rate, func(ctx context.Context, i int, due time.Time) error {
				return to.post(ctx, one.repeat("", "", "", 1).fill(j.Users[i:i+1], due), nil)
			})
		}}, nil
	}
	workers := make([]func(context.Context, int) error, j.Connections)
	for k := range workers {
		body := one.repeat("", "", "", 1)
		workers[k] = func(ctx context.Context, i int) error {
			return to.post(ctx, body.fill(j.Users[i:i+1], time.Now()), nil)
		}
	}
	return &side{drive: func(ctx context.Context) ([]time.Duration, error) { return closedLoop(ctx, len(j.Users), workers) }}, nil
}

// openRelay is the bare relay: a plain net/http server that forwards what it gets to
// WeChat, answers when WeChat has answered, and forgets. For ingest it forwards nothing.
func openRelay(j *benchJob) (*side, error) {
	to := newPoster(j.Sink+pathBenchSend+"?access_token=bench-access-token", j.Senders)
	handle := func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		switch j.Mode {
		case modeHTTP, modeGateway:
			return to.post(r.Context(), body, w)
		case modeBatch:
			return forwardLines(r.Context(), to, body, max(1, j.Senders/benchBatchPosts))
		}
		_, err = io.WriteString(w, "{}")
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handle(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})}
	var g errgroup.Group
	g.Go(func() error { return srv.Serve(l) })
	return &side{url: "http://" + l.Addr().String(), close: func() error {
		err := srv.Close()
		if serve := g.Wait(); !errors.Is(serve, http.ErrServerClosed) {
			err = errors.Join(err, serve)
		}
		return err
	}}, nil
}

func forwardLines(ctx context.Context, to *poster, body []byte, connections int) error {
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	workers := make([]func(context.Context, int) error, connections)
	for k := range workers {
		workers[k] = func(ctx context.Context, i int) error { return to.post(ctx, lines[i], nil) }
	}
	_, err := closedLoop(ctx, len(lines), workers)
	return err
}

// ours is the server as `serve` runs it, with the sink as its WeChat.
type ours struct {
	p      *program
	job    *benchJob
	ledger *ledger.Ledger
	before hongyan.MessageID // the newest message from before the run
}

func openOurs(ctx context.Context, p *program, j *benchJob) (*side, error) {
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	key64, err := os.ReadFile(filepath.Join(j.Dir, "master.key"))
	if err != nil {
		return nil, err
	}
	srv, err := server.New(ctx, config.Config{Data: j.Dir, DB: j.DB, MasterKey: strings.TrimSpace(string(key64)), Listen: "127.0.0.1:0", GatewayListen: "127.0.0.1:0", WeChatURL: j.Sink, Senders: j.Senders, StopTimeout: config.DefaultStopTimeout},
		server.Options{Logger: log, Version: version()})
	if err != nil {
		return nil, err
	}
	key, err := srv.CreateKey(ctx, hongyan.APIKey{Name: "bench", Scopes: []hongyan.Scope{hongyan.ScopeSend, hongyan.ScopeGateway}, Apps: []hongyan.AppID{benchApp}})
	if err != nil {
		return nil, errors.Join(err, srv.Close())
	}
	o := &ours{p: p, job: j, ledger: srv.Ledger()}
	s := &side{url: srv.URL(), key: key.Key, drain: o.drain, mark: o.mark, verify: o.verify}
	switch j.Mode {
	case modeInproc:
		s.drive = o.closed
	case modeOpenLoop:
		s.drive = o.open
	case modeIngest:
		s.drain = nil
	case modeGateway:
		s.url = srv.GatewayURL()
	}
	runCtx, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return srv.Run(runCtx) })
	s.close = func() error {
		stop()
		return g.Wait()
	}
	return s, nil
}

func (o *ours) submit(ctx context.Context, i int, at time.Time) error {
	sub := []hongyan.Submission{benchSubmission(o.job.Users[i], at)}
	return patiently(ctx, func() (busy bool, err error) {
		res, err := o.ledger.Submit(ctx, sub, ledger.SubmitOptions{})
		if err == nil {
			err = res[0].Err
		}
		code := hongyan.CodeOf(err)
		return code == hongyan.CodeStorageUnavailable || code == hongyan.CodeBacklogFull, err
	})
}

func (o *ours) closed(ctx context.Context) ([]time.Duration, error) {
	workers := make([]func(context.Context, int) error, o.job.Connections)
	for k := range workers {
		workers[k] = func(ctx context.Context, i int) error { return o.submit(ctx, i, time.Now()) }
	}
	return closedLoop(ctx, len(o.job.Users), workers)
}

func (o *ours) open(ctx context.Context) ([]time.Duration, error) {
	return openLoop(ctx, len(o.job.Users), o.job.Rate, o.submit)
}

// benchPatience is how long nothing may move before the wait for the rest is given up; the
// verification then says what is missing.
const benchPatience = 20 * time.Second

// drain waits until every result is on disk.
func (o *ours) drain(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last, moved := -1, time.Now()
	for {
		n := o.outstanding()
		if n == 0 {
			queued, _, err := o.ledger.Messages(ctx, ledger.MessageFilter{App: benchApp, Status: []hongyan.State{hongyan.StateQueued}, Limit: 1})
			if err != nil {
				return err
			}
			if len(queued) == 0 {
				return o.ledger.Fold(ctx) // what a run leaves for later is part of what it costs
			}
		}
		if n != last {
			last, moved = n, time.Now()
		}
		if time.Since(moved) > benchPatience {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// outstanding is how many messages wait, or are under way and not on disk with their result.
func (o *ours) outstanding() int {
	st := o.ledger.Stats()
	return int(st.Backlog[benchApp]) + st.UnderWay
}

// mark gets the database to the same point before each run. The run's messages are those
// after the newest of before: their times are of the database's clock, which is not ours.
func (o *ours) mark(ctx context.Context) error {
	if o.job.Taps {
		if err := reportTaps(ctx, o.ledger, o.job.Users); err != nil {
			return err
		}
	}
	newest, _, err := o.ledger.Messages(ctx, ledger.MessageFilter{App: benchApp, Limit: 1})
	if err != nil {
		return err
	}
	if len(newest) > 0 {
		o.before = newest[0].ID
	}
	return o.ledger.Checkpoint(ctx)
}

// verify reads every message of the run back. Each user has exactly one, and it is accepted,
// or queued where nothing was to be sent.
func (o *ours) verify(ctx context.Context) ([]string, error) {
	want := hongyan.StateAccepted
	if o.job.Mode == modeIngest {
		want = hongyan.StateQueued
	}
	found := make(map[hongyan.OpenID]int, len(o.job.Users))
	for _, u := range o.job.Users {
		found[benchOpenID(u)] = 0
	}
	var faults []string
	other := make(map[hongyan.State]int)
	repeated, strange := 0, 0
	f := ledger.MessageFilter{App: benchApp, Limit: 1000}
	for done := false; !done; {
		page, next, err := o.ledger.Messages(ctx, f)
		if err != nil {
			return nil, err
		}
		for i := range page {
			m := &page[i]
			if done = m.ID == o.before; done {
				break
			}
			n, known := found[m.To]
			switch {
			case !known:
				strange++
			case n > 0:
				repeated++
			}
			found[m.To] = n + 1
			if m.Status != want || want == hongyan.StateAccepted && m.MsgID == "" {
				other[m.Status]++
			}
		}
		f.Cursor = next
		done = done || next == ""
	}
	missing := 0
	for _, n := range found {
		if n == 0 {
			missing++
		}
	}
	for _, s := range hongyan.States() {
		if other[s] > 0 {
			faults = append(faults, o.p.say("the ledger has %d messages as %s instead of %s", other[s], s, want))
		}
	}
	if missing > 0 {
		faults = append(faults, o.p.say("the ledger has no message for %d users", missing))
	}
	if repeated+strange > 0 {
		faults = append(faults, o.p.say("the ledger has %d messages that nobody submitted", repeated+strange))
	}
	return faults, nil
}
