package cli

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// benchCmds are the bench and the processes that it starts: the program itself again, so
// that both sides have a heap, a collector and a CPU account of their own.
type benchCmds struct {
	Bench       benchCmd       `cmd:"" help:"Measure how fast this machine delivers, beside a bare HTTP loop."`
	BenchSink   benchSinkCmd   `cmd:"" hidden:""`
	BenchWorker benchWorkerCmd `cmd:"" hidden:""`
}

// benchCmd measures delivery beside a loop that keeps nothing, in alternating pairs, and
// verifies every message of every run. Its variables are its own: it must not meet the
// database of a server.
type benchCmd struct {
	Mode        string        `name:"mode" own:"" enum:"inproc,http,batch,gateway,openloop,ingest" default:"inproc" help:"What is measured. inproc: submits inside the process until their results are on disk, beside a bare HTTP client; http: POST /v1/messages, beside a relay that forwards and forgets; batch: the same with batches of 1,000; gateway: sends through the gateway whose callers wait for WeChat's answer, beside the same relay; openloop: latency at a fixed --rate; ingest: durable accepts alone, the app paused."`
	Messages    int           `name:"messages" own:"" default:"50000" help:"Messages a run, each to a user of its own who has one grant."`
	DB          string        `name:"db" own:"" default:"sqlite:" help:"Where the scratch database is made: sqlite:, or the postgres:// or mysql:// URL of a database on the server that is to be measured, which is only connected to. A URL with a password comes from the environment, because command lines are read by others."`
	Preload     int           `name:"preload" own:"" help:"Messages and grants that the database has before the clock starts."`
	Cold        bool          `name:"cold" own:"" help:"Start our process anew after its users have accepted their messages. Without it the process that sends has seen them do so, as a server has that runs for some time."`
	Connections int           `name:"connections" own:"" help:"Callers at once, and calls to WeChat at once. Default: 64, more where latency and --rate need them; for gateway 200, for ingest 256, or 8 with --batch."`
	Latency     time.Duration `name:"latency" own:"" help:"Time that the sink takes for an answer, as WeChat does."`
	Pairs       int           `name:"pairs" own:"" default:"5" help:"Runs of each side, alternating; medians are printed."`
	Rate        float64       `name:"rate" own:"" help:"Arrivals a second of openloop."`
	Batch       int           `name:"batch" own:"" help:"Messages a request of ingest, up to 1000."`
	JSON        bool          `name:"json" help:"Print one line of JSON. CPU is user and system time of the process that is measured (getrusage): ours with its SQLite, or the bare client or relay; sink and load generator are not in it. db_cpu_us_per_msg is that of the PostgreSQL or MySQL server, if it runs here."`
	CPUProfile  string        `name:"cpuprofile" own:"" type:"path" placeholder:"FILE" help:"Write a CPU profile of our process in the last pair."`
	Keep        string        `name:"keep" own:"" type:"path" placeholder:"DIR" help:"Make the database in this new directory, on the file system that is to be measured, and leave it there. Default: a temporary one, removed at the end."`
	// SinkFault breaks one message of ours, so that tests see the verification fail.
	SinkFault string `name:"sink-fault" own:"" hidden:"" enum:"none,twice,lose,cut" default:"none"`
}

const (
	modeInproc   = "inproc"
	modeHTTP     = "http"
	modeBatch    = "batch"
	modeGateway  = "gateway"
	modeOpenLoop = "openloop"
	modeIngest   = "ingest"

	benchBatch      = 1000 // most messages a request, as the API has it
	benchBatchPosts = 4    // batches posted at once
	maxBenchUsers   = 999_999_999
	maxBenchSenders = 512 // what package wechat opens at most
)

// benchFigures is the line of `bench --json`.
type benchFigures struct {
	Mode        string  `json:"mode"`
	DB          string  `json:"db"`
	Messages    int     `json:"messages"`
	LatencyMS   float64 `json:"latency_ms"`
	Connections int     `json:"connections"`
	BarePerS    float64 `json:"bare_per_s"`
	OursPerS    float64 `json:"ours_per_s"`
	Ratio       float64 `json:"ratio"`
	AcceptP50   float64 `json:"accept_p50_ms"`
	AcceptP99   float64 `json:"accept_p99_ms"`
	E2EP50      float64 `json:"e2e_p50_ms"`
	E2EP99      float64 `json:"e2e_p99_ms"`
	FsyncP50    float64 `json:"fsync_p50_ms"` // of the file system that SQLite writes to; 0 for a server
	FsyncP99    float64 `json:"fsync_p99_ms"`
	CPUPerMsg   float64 `json:"cpu_us_per_msg"`
	BareCPU     float64 `json:"bare_cpu_us_per_msg"`
	DBCPUPerMsg float64 `json:"db_cpu_us_per_msg"` // of a database server; SQLite's is in cpu_us_per_msg
	RSS         float64 `json:"rss_mb"`
	bareE2EP50  float64
	bareE2EP99  float64
}

// measured are the figures that every pair has of its own.
func (f *benchFigures) measured() []*float64 {
	return []*float64{&f.BarePerS, &f.OursPerS, &f.Ratio, &f.AcceptP50, &f.AcceptP99, &f.E2EP50, &f.E2EP99, &f.FsyncP50, &f.FsyncP99,
		&f.CPUPerMsg, &f.BareCPU, &f.DBCPUPerMsg, &f.RSS, &f.bareE2EP50, &f.bareE2EP99}
}

// Run implements the command.
func (c *benchCmd) Run(ctx context.Context, p *program) error {
	if err := c.check(p); err != nil {
		return err
	}
	c.fill()
	pairs, err := runBench(ctx, p, c)
	if ctx.Err() != nil {
		return ctx.Err() // whatever it broke
	}
	if err != nil {
		return err
	}
	f := medians(pairs)
	if c.JSON {
		return printJSON(p.stdout, f, "")
	}
	return c.print(p, f)
}

// check refuses what cannot be measured.
func (c *benchCmd) check(p *program) error {
	see := p.say("Run `%s --help`.", "hongyan bench")
	switch {
	case c.kind() == "": // what it is instead may hold a password
		return p.usage(p.say("--db is neither sqlite: nor the URL of a PostgreSQL or MySQL database"), see)
	case !c.onFile() && c.Keep != "":
		return p.usage(p.say("--keep works with sqlite: alone"), see)
	case c.Messages < 1 || c.Pairs < 1 || c.Preload < 0 || c.Connections < 0 || c.Latency < 0:
		return p.usage(p.say("--messages and --pairs are at least 1, and no number is negative"), see)
	case c.Connections > 10_000:
		return p.usage(p.say("--connections: at most 10000"), see)
	case (c.Mode == modeOpenLoop) != (c.Rate > 0):
		return p.usage(p.say("openloop needs --rate, and no other mode takes it"), see)
	case c.Batch != 0 && c.Mode != modeIngest || c.Batch < 0 || c.Batch > benchBatch:
		return p.usage(p.say("--batch is for ingest, 1 to 1000"), see)
	case c.Preload > maxBenchUsers || c.Messages > maxBenchUsers/c.Pairs:
		return p.usage(p.say("at most %d users: fewer messages, pairs or --preload", maxBenchUsers), see)
	case c.Keep != "" && exists(c.Keep):
		return p.usage(p.say("--keep: %s exists already", c.Keep), see)
	}
	return nil
}

// fill gives what was left open its value.
func (c *benchCmd) fill() {
	if c.Mode == modeBatch {
		c.Batch = benchBatch
	}
	if c.Connections > 0 {
		return
	}
	switch {
	case c.Mode == modeIngest && c.Batch > 1:
		c.Connections = 8
	case c.Mode == modeIngest:
		c.Connections = 256
	case c.Mode == modeGateway:
		c.Connections = 200
	case c.Mode == modeOpenLoop:
		// By Little's law rate × latency are under way; twice that leaves room for bursts.
		c.Connections = min(max(64, int(math.Ceil(2*c.Rate*c.Latency.Seconds()))), maxBenchSenders)
	default:
		c.Connections = 64
	}
}

// kind is the kind of database that --db asks for, "" where it asks for none that can be
// measured. A SQLite file is always one of the bench's own.
func (c *benchCmd) kind() string {
	if c.DB == "sqlite" || c.DB == "sqlite:" {
		return "sqlite"
	}
	if u, err := url.Parse(c.DB); err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return ""
	}
	return dbKind(c.DB)
}

// onFile: our process holds the database, and no server.
func (c *benchCmd) onFile() bool { return c.kind() == "sqlite" }

// dbKind is the kind of server that a URL leads to.
func dbKind(db string) string {
	scheme, _, _ := strings.Cut(db, ":")
	return map[string]string{"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}[scheme]
}

// senders is how many calls to WeChat the server may have under way.
func (c *benchCmd) senders() int { return min(c.Connections, maxBenchSenders) }

// posters is how many requests at once the load generator has under way.
func (c *benchCmd) posters() int {
	if c.Mode == modeBatch {
		return benchBatchPosts
	}
	return c.Connections
}

func medians(pairs []benchFigures) benchFigures {
	f := pairs[0]
	for i, at := range f.measured() {
		values := make([]float64, 0, len(pairs))
		for k := range pairs {
			values = append(values, *pairs[k].measured()[i])
		}
		*at = rounded(median(values))
	}
	return f
}

func median(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// rounded keeps as many digits as mean something: four, or three behind the point.
func rounded(v float64) float64 {
	if v >= 100 {
		return math.Round(v*10) / 10
	}
	return math.Round(v*1000) / 1000
}

// print explains each figure in a few words.
func (c *benchCmd) print(p *program, f benchFigures) error {
	perS := func(v float64) string { return p.say("%s /s", strconv.FormatFloat(math.Round(v), 'f', -1, 64)) }
	two := func(a, b float64) string { return fmt.Sprintf("%.2f / %.2f ms", a, b) }
	cpu := func(v float64) string { return fmt.Sprintf("%.1f µs", v) }
	rows := [][]string{
		{p.say("bare"), perS(f.BarePerS), c.bareSide(p)},
		{p.say("ours"), perS(f.OursPerS), c.ourSide(p)},
		{p.say("ratio"), strconv.FormatFloat(f.Ratio, 'f', 3, 64), p.say("ours / bare, the median of %d pairs at %d connections", c.Pairs, c.Connections)},
		{p.say("accept"), two(f.AcceptP50, f.AcceptP99), p.say("p50 / p99 until the caller knows that it is on disk")},
	}
	if c.Mode != modeIngest {
		rows = append(rows, []string{p.say("arrival"), two(f.E2EP50, f.E2EP99), p.say("p50 / p99 from the submit until WeChat has it (bare: %.2f / %.2f ms)", f.bareE2EP50, f.bareE2EP99)})
	}
	if c.onFile() {
		rows = append(rows,
			[]string{p.say("fsync"), two(f.FsyncP50, f.FsyncP99), p.say("p50 / p99 of 4 KiB written and synced on the same file system")},
			[]string{p.say("CPU"), cpu(f.CPUPerMsg), p.say("a message, of our process with its database (bare: %.1f µs)", f.BareCPU)})
	} else {
		rows = append(rows, []string{p.say("CPU"), cpu(f.CPUPerMsg), p.say("a message, of our process (bare: %.1f µs)", f.BareCPU)})
		if f.DBCPUPerMsg > 0 {
			rows = append(rows, []string{"", cpu(f.DBCPUPerMsg), p.say("a message, of the database server")})
		}
	}
	rows = append(rows, []string{p.say("memory"), fmt.Sprintf("%.0f MB", f.RSS), p.say("the most that our process had in memory")})
	if err := writeTable(p.stdout, rows); err != nil {
		return err
	}
	p.tell("Each of %d runs of %d messages was verified: none lost, none repeated.", 2*c.Pairs, c.Messages)
	return nil
}

func (c *benchCmd) bareSide(p *program) string {
	switch c.Mode {
	case modeHTTP, modeGateway:
		return p.say("a relay that forwards each request to WeChat and forgets it")
	case modeBatch:
		return p.say("a relay that forwards each message of a batch to WeChat and forgets it")
	case modeIngest:
		return p.say("a server that reads each request, answers and forgets it")
	case modeOpenLoop:
		return p.say("a plain HTTP client that calls WeChat at the same rate and keeps nothing")
	}
	return p.say("a plain HTTP client that calls WeChat and keeps nothing")
}

func (c *benchCmd) ourSide(p *program) string {
	switch c.Mode {
	case modeHTTP:
		return p.say("POST /v1/messages until the results of all are on disk")
	case modeBatch:
		return p.say("POST /v1/messages/batch until the results of all are on disk")
	case modeGateway:
		return p.say("sends through the gateway until their results are on disk and answered")
	case modeIngest:
		return p.say("messages on disk and answered, none sent")
	}
	return p.say("submitted in process until the results of all are on disk")
}
