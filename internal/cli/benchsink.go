package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"
)

// benchSinkCmd is a WeChat that accepts everything and counts what arrived, in a process of
// its own. It lives until its standard input ends.
type benchSinkCmd struct{}

// Run implements the command.
func (*benchSinkCmd) Run(_ context.Context, p *program) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s := &benchSink{}
	s.tally.Store(newBenchTally(benchReset{}))
	srv := &fasthttp.Server{Handler: s.handle, MaxRequestBodySize: 1 << 30, NoDefaultServerHeader: true, NoDefaultDate: true, Logger: silent{}}
	if err := printJSON(p.stdout, benchReply{URL: "http://" + l.Addr().String()}, ""); err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { return srv.Serve(l) })
	_, _ = io.Copy(io.Discard, p.stdin)
	_ = l.Close()
	return g.Wait()
}

// silent is a log of fasthttp's that nobody reads: clients that hang up are no news here.
type silent struct{}

func (silent) Printf(string, ...any) {}

const (
	sinkReset = "/bench/reset"
	sinkStats = "/bench/stats"

	pathBenchToken = "/cgi-bin/stable_token"
	pathBenchSend  = "/cgi-bin/message/subscribe/send"
)

// firstBenchMsgID passes 2^53, as WeChat's do.
const firstBenchMsgID = 4_000_000_000_000_000_000

type benchSink struct {
	tally atomic.Pointer[benchTally]
	msgID atomic.Int64
}

func (s *benchSink) handle(ctx *fasthttp.RequestCtx) {
	switch string(ctx.Path()) {
	case pathBenchSend:
		s.send(ctx)
	case pathBenchToken:
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`{"access_token":"bench-access-token","expires_in":7200}`)
	case sinkReset:
		var r benchReset
		if err := json.Unmarshal(ctx.QueryArgs().Peek("r"), &r); err != nil {
			ctx.Error(err.Error(), fasthttp.StatusBadRequest)
			return
		}
		r.expected = unpackUsers(ctx.PostBody())
		s.tally.Store(newBenchTally(r))
	case sinkStats:
		b, err := json.Marshal(s.tally.Load().arrivals())
		if err != nil {
			ctx.Error(err.Error(), fasthttp.StatusInternalServerError)
			return
		}
		ctx.SetBody(b)
	default:
		ctx.NotFound()
	}
}

func (s *benchSink) send(ctx *fasthttp.RequestCtx) {
	t := s.tally.Load()
	fault := t.arrive(ctx.PostBody())
	if t.Latency > 0 {
		time.Sleep(t.Latency) // parks the goroutine, not a thread
	}
	if fault == "cut" {
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(c net.Conn) { _ = c.Close() })
		return
	}
	b := append(ctx.Response.Body(), `{"errcode":0,"errmsg":"ok","msgid":`...)
	b = strconv.AppendInt(b, firstBenchMsgID+s.msgID.Add(1), 10)
	ctx.SetContentType("application/json")
	ctx.SetBody(append(b, '}'))
}

// benchReset begins a run.
type benchReset struct {
	Latency time.Duration `json:"latency"`
	Fault   string        `json:"fault"` // twice, lose or cut: what goes wrong with the first message
	Users   uint32        `json:"users"` // the greatest user number there is

	expected []uint32 // users who are to get one message each
}

// benchTally counts the arrivals of one run.
type benchTally struct {
	benchReset
	faulty  atomic.Bool     // the fault has been
	seen    []atomic.Uint32 // by user number
	strange atomic.Int64    // of nobody we know
	count   atomic.Int64
	late    []int64 // latencies, ns; the counter says how many
}

func newBenchTally(r benchReset) *benchTally {
	return &benchTally{benchReset: r, seen: make([]atomic.Uint32, r.Users+1), late: make([]int64, 2*len(r.expected)+1024)}
}

// arrive counts one send and answers what is to go wrong with it.
func (t *benchTally) arrive(body []byte) (fault string) {
	now := time.Now().UnixNano()
	user, stamp := readBenchBody(body)
	if user == 0 || int(user) >= len(t.seen) {
		t.strange.Add(1)
		return ""
	}
	if t.Fault != "" && t.faulty.CompareAndSwap(false, true) {
		fault = t.Fault
	}
	switch fault {
	case "lose":
		return fault
	case "twice":
		t.seen[user].Add(1)
	}
	t.seen[user].Add(1)
	if i := t.count.Add(1) - 1; int(i) < len(t.late) {
		t.late[i] = now - stamp
	}
	return fault
}

// benchArrivals is what the sink has to say about a run.
type benchArrivals struct {
	Missing  []uint32 `json:"missing,omitempty"` // who got nothing
	Repeated []uint32 `json:"repeated,omitempty"`
	Strange  int64    `json:"strange,omitempty"` // messages that nobody was to send
	P50      float64  `json:"p50"`               // from the submit to the arrival, ms
	P99      float64  `json:"p99"`
}

// arrivals is asked for when nothing arrives any more.
func (t *benchTally) arrivals() benchArrivals {
	a := benchArrivals{Strange: t.strange.Load()}
	matched := int64(0)
	for _, u := range t.expected {
		n := t.seen[u].Load()
		matched += int64(n)
		switch {
		case n == 0:
			a.Missing = append(a.Missing, u)
		case n > 1:
			a.Repeated = append(a.Repeated, u)
		}
	}
	all := int64(0)
	for i := range t.seen {
		all += int64(t.seen[i].Load())
	}
	a.Strange += all - matched
	late := slices.Clone(t.late[:min(t.count.Load(), int64(len(t.late)))])
	slices.Sort(late)
	a.P50, a.P99 = percentile(late, 0.50), percentile(late, 0.99)
	return a
}

// percentile of sorted nanoseconds, in milliseconds.
func percentile[T ~int64](sorted []T, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]) / 1e6
}

// packUsers is how user numbers travel to the sink: there may be millions.
func packUsers(users []uint32) []byte {
	b := make([]byte, 0, 4*len(users))
	for _, u := range users {
		b = binary.LittleEndian.AppendUint32(b, u)
	}
	return b
}

func unpackUsers(b []byte) []uint32 {
	users := make([]uint32, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		users = append(users, binary.LittleEndian.Uint32(b))
	}
	return users
}

var (
	beforeUser  = []byte(`"touser":"` + benchOpenIDHead)
	beforeStamp = []byte(`"` + benchStampKey + `":{"value":"`)
)

// readBenchBody finds user number and stamp in a send's body; user 0: it is none of ours.
func readBenchBody(b []byte) (user uint32, stamp int64) {
	_, rest, ok := bytes.Cut(b, beforeUser)
	if !ok || len(rest) < benchUserDigits+1 || rest[benchUserDigits] != '"' {
		return 0, 0
	}
	user = uint32(digits(rest[:benchUserDigits]))
	if _, rest, ok = bytes.Cut(rest, beforeStamp); ok && len(rest) > benchStampDigits {
		stamp = digits(rest[:benchStampDigits])
	}
	return user, stamp
}

func digits(b []byte) (n int64) {
	for _, c := range b {
		n = 10*n + int64(c-'0')
	}
	return n
}
