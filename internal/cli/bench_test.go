package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// TestBenchBodies holds the bare loop to the very bytes that our client sends.
func TestBenchBodies(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_764_000_000, 123_456_789)
	var got []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"errcode":0,"msgid":1}`)
	}))
	defer srv.Close()
	c, err := wechat.New(wechat.Config{BaseURL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := benchSubmission(1234567, at)
	m := &wechat.SubscribeMessage{ToUser: string(s.To.OpenID), TemplateID: s.Template, Page: s.Page, MiniprogramState: "formal", Lang: "zh_CN", Data: map[string]wechat.DataValue{}}
	for k, v := range s.Data {
		m.Data[k] = wechat.DataValue{Value: v}
	}
	if _, err := c.SendSubscribeMessage(context.Background(), "x", m); err != nil {
		t.Fatal(err)
	}
	one, err := sendBody()
	if err != nil {
		t.Fatal(err)
	}
	want := one.fill([]uint32{1234567}, at)
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("bare and our body differ (-bare +ours)\n%s", d)
	}
	if user, stamp := readBenchBody(got); user != 1234567 || stamp != at.UnixNano() {
		t.Errorf("the sink reads user %d and stamp %d, want 1234567 and %d", user, stamp, at.UnixNano())
	}
	if user, _ := readBenchBody([]byte(`{"touser":"oBench-00000000000-00000000012345"}`)); user != 0 {
		t.Errorf("the sink reads user %d from an openid that is not ours", user)
	}
}

func TestBenchBatchBodies(t *testing.T) {
	t.Parallel()
	one, err := submitBody()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_764_000_000, 0)
	w := newBenchWriter(one, 3, batchOf)
	for _, users := range [][]uint32{{1, 2, 3}, {4, 5}} {
		body := string(w.body(users, at))
		want := `{"messages":[`
		for i, u := range users {
			if i > 0 {
				want += ","
			}
			want += string(one.repeat("", "", "", 1).fill([]uint32{u}, at))
		}
		if d := cmp.Diff(want+"]}", body); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
}

func TestBenchTally(t *testing.T) {
	t.Parallel()
	one, err := sendBody()
	if err != nil {
		t.Fatal(err)
	}
	send := func(s *benchTally, users ...uint32) {
		for _, u := range users {
			s.arrive(one.fill([]uint32{u}, time.Now()))
		}
	}
	rows := []struct {
		name   string
		fault  string
		arrive []uint32
		want   benchArrivals
	}{
		{"all once", "", []uint32{2, 3, 5}, benchArrivals{}},
		{"one lost", "", []uint32{2, 5}, benchArrivals{Missing: []uint32{3}}},
		{"one twice", "", []uint32{2, 3, 5, 3}, benchArrivals{Repeated: []uint32{3}}},
		{"one to another", "", []uint32{2, 3, 4}, benchArrivals{Missing: []uint32{5}, Strange: 1}},
		{"one to nobody", "", []uint32{2, 3, 5, 700}, benchArrivals{Strange: 1}},
		{"told to lose", "lose", []uint32{2, 3, 5}, benchArrivals{Missing: []uint32{2}}},
		{"told to repeat", "twice", []uint32{2, 3, 5}, benchArrivals{Repeated: []uint32{2}}},
	}
	for _, r := range rows {
		s := newBenchTally(benchReset{Fault: r.fault, Users: 9, expected: unpackUsers(packUsers([]uint32{2, 3, 5}))})
		send(s, r.arrive...)
		got := s.arrivals()
		got.P50, got.P99 = 0, 0
		if d := cmp.Diff(r.want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", r.name, d)
		}
	}
}

func TestBenchUsers(t *testing.T) {
	t.Parallel()
	for _, there := range []int{0, 7, 1000, 100_000} {
		users := slices.Sorted(slices.Values(benchUsers(500, there)))
		if n := len(slices.Compact(slices.Clone(users))); n != 500 || users[0] == 0 || int(users[499]) > max(500, there) {
			t.Errorf("%d there: %d different users from %d to %d", there, n, users[0], users[499])
		}
	}
}

// TestBenchPast lets a user of the past, which the ledger makes, get another message.
func TestBenchPast(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	err := withBenchLedger(ctx, dir, "sqlite:"+filepath.Join(dir, "hongyan.db"), func(l *ledger.Ledger) error {
		if err := makeBenchApp(ctx, l, &benchCmd{Mode: modeInproc}); err != nil {
			return err
		}
		if err := l.Preload(ctx, benchPast(500)); err != nil {
			return err
		}
		list, _, err := l.Messages(ctx, ledger.MessageFilter{App: benchApp, OpenID: benchOpenID(77)})
		if err != nil {
			return err
		}
		want := benchSubmission(77, time.Unix(1_764_000_000, 0))
		if len(list) != 1 || list[0].Status != hongyan.StateAccepted || list[0].Page != want.Page || !maps.Equal(list[0].Data, want.Data) {
			t.Errorf("%+v, want one accepted message as the bench sends them", list)
		}
		if err := reportTaps(ctx, l, []uint32{77}); err != nil {
			return err
		}
		res, err := l.Submit(ctx, []hongyan.Submission{want}, ledger.SubmitOptions{})
		if err != nil || res[0].Err != nil {
			t.Errorf("submit: %v %v", err, res)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDBServer finds this process by a port that it listens on, and what it spends.
func TestDBServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if runtime.GOOS == "linux" {
		if got := listener(port); got != os.Getpid() {
			t.Errorf("process %d listens, want %d", got, os.Getpid())
		}
	}
	if got := findServer(t.Context(), fmt.Sprintf("postgres://127.0.0.1:%d/x", port)); got.pid != 0 || got.cpuTime() != 0 {
		t.Errorf("%+v, want none: this is no database server", got)
	}
	stat := "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 12 3 4"
	if parent, cpu, ok := readStat([]byte(stat)); parent != 3 || cpu != time.Second || !ok {
		t.Errorf("parent %d, cpu %s, %v; want 3, 1s", parent, cpu, ok)
	}
}

func TestBenchMedian(t *testing.T) {
	t.Parallel()
	got := medians([]benchFigures{{Mode: modeHTTP, Ratio: 0.9, RSS: 30}, {Ratio: 0.1, RSS: 10}, {Ratio: 0.5, RSS: 20}})
	if got.Mode != modeHTTP || got.Ratio != 0.5 || got.RSS != 20 {
		t.Errorf("got %+v, want mode http, ratio 0.5, 20 MB", got)
	}
	if m := median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v, want 2.5", m)
	}
	if p := percentile([]time.Duration{1e6, 2e6, 3e6, 4e6}, 0.99); p != 4 {
		t.Errorf("p99 %v, want 4", p)
	}
}
