package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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

// TestPreload reads what was written past the ledger back through it.
func TestPreload(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	cmd := &benchCmd{Mode: modeInproc}
	const n = 5000
	if err := withBenchLedger(ctx, dir, "sqlite:"+filepath.Join(dir, "hongyan.db"), func(l *ledger.Ledger) error { return makeBenchApp(ctx, l, cmd) }); err != nil {
		t.Fatal(err)
	}
	if err := preload(ctx, filepath.Join(dir, "hongyan.db"), n); err != nil {
		t.Fatal(err)
	}
	err := withBenchLedger(ctx, dir, "sqlite:"+filepath.Join(dir, "hongyan.db"), func(l *ledger.Ledger) error {
		all, f := 0, ledger.MessageFilter{App: benchApp, Limit: 1000}
		for {
			page, next, err := l.Messages(ctx, f)
			if err != nil {
				return err
			}
			all += len(page)
			if f.Cursor = next; next == "" {
				break
			}
		}
		if all != n {
			t.Errorf("%d messages, want %d", all, n)
		}
		for _, u := range []uint32{1, 77, n} {
			s, err := l.Subscription(ctx, benchApp, benchOpenID(u), benchTemplate)
			if err != nil {
				return err
			}
			if s.Spent != 1 || s.Available != 0 || s.Reserved != 0 || s.Baseline != hongyan.BaselineExact {
				t.Errorf("user %d: %+v, want one exact grant, spent", u, s)
			}
			list, _, err := l.Messages(ctx, ledger.MessageFilter{App: benchApp, OpenID: benchOpenID(u)})
			if err != nil {
				return err
			}
			if len(list) != 1 {
				t.Fatalf("user %d has %d messages, want 1", u, len(list))
			}
			m, err := l.Message(ctx, list[0].ID)
			if err != nil {
				return err
			}
			if m.Status != hongyan.StateAccepted || m.MsgID == "" || m.Page == "" || len(m.Attempts) != 1 || len(m.Data) != len(benchData(time.Now())) {
				t.Errorf("message %+v, want one accepted", m)
			}
		}
		// Who is there already gets another grant and spends it.
		if err := reportTaps(ctx, l, []uint32{77}); err != nil {
			return err
		}
		res, err := l.Submit(ctx, []hongyan.Submission{benchSubmission(77, time.Now())}, ledger.SubmitOptions{})
		if err != nil || res[0].Err != nil {
			t.Errorf("submit: %v %v", err, res)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
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
