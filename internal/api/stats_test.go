package api

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// busy is a world in which three messages were taken: one was refused by WeChat, one is
// uncertain, one waits.
func busy(t *testing.T) *world {
	w := newWorld(t)
	ctx := t.Context()
	w.grant("alice", 3)
	for _, class := range []hongyan.OutcomeClass{hongyan.OutcomeCaller, hongyan.OutcomeUnclear} {
		if _, err := w.admin.Submit(ctx, w.submission("alice"), client.Options{}); err != nil {
			t.Fatal(err)
		}
		jobs, err := w.l.ClaimSends(ctx, ledger.ClaimRequest{App: w.appID(), Max: 1})
		if err != nil || len(jobs) != 1 {
			t.Fatalf("claimed %d, %v", len(jobs), err)
		}
		w.l.RecordAttempt(jobs[0], hongyan.Outcome{Class: class, Errcode: 47003, StartedAt: w.l.Now(), EndedAt: w.l.Now()})
		for m := (&hongyan.Message{Status: hongyan.StateSending}); m.Status == hongyan.StateSending; {
			if m, err = w.admin.Message(ctx, jobs[0].Message.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.admin.Submit(ctx, w.submission("alice"), client.Options{}); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestStats(t *testing.T) {
	t.Parallel()
	w := busy(t)
	ctx := t.Context()
	want := hongyan.Counts{Submitted: 3, Failed: 1, Uncertain: 1, Granted: 3}
	for _, by := range []hongyan.StatsBy{"", hongyan.ByHour, hongyan.ByTemplate, hongyan.ByApp} {
		s, err := w.admin.Stats(ctx, client.StatsQuery{App: w.appID(), By: by})
		if err != nil || s.Totals != want {
			t.Errorf("by %q: %+v, %v", by, s.Totals, err)
		}
	}
	s, err := w.admin.Stats(ctx, client.StatsQuery{By: hongyan.ByReason, From: time.Now().Add(-time.Hour), To: time.Now()})
	if err != nil || len(s.Items) != 1 || s.Items[0].Errcode != 47003 || s.Items[0].Failed != 1 {
		t.Errorf("by reason: %+v, %v", s.Items, err)
	}
	for _, q := range []client.StatsQuery{
		{By: "week"}, {Template: "x"}, {From: time.Now(), To: time.Now().Add(-2 * time.Hour)},
		{By: hongyan.ByHour, From: time.Now().Add(-32 * 24 * time.Hour)}, {From: time.Now().Add(-402 * 24 * time.Hour)},
	} {
		if _, err := w.admin.Stats(ctx, q); hongyan.CodeOf(err) != hongyan.CodeInvalid {
			t.Errorf("%+v: %v, want invalid", q, err)
		}
	}
	other := w.key([]hongyan.AppID{"wxother"}, hongyan.ScopeRead)
	if s, err := other.Stats(ctx, client.StatsQuery{}); err != nil || s.Totals != (hongyan.Counts{}) {
		t.Errorf("a key of another app reads %+v, %v", s.Totals, err)
	}
	_, err = other.Stats(ctx, client.StatsQuery{App: w.appID()})
	wantCode(t, err, hongyan.CodeAppNotFound)
	_, err = w.key(nil, hongyan.ScopeSend).Overview(ctx, "")
	wantCode(t, err, hongyan.CodeForbidden)
}

func TestOverview(t *testing.T) {
	t.Parallel()
	w := busy(t)
	ctx := t.Context()
	o, err := w.client(adminKey, "zh").Overview(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if o.Today.Submitted+o.Yesterday.Submitted == 0 || len(o.Hours) != 24 || o.Queue.Queued != 1 || o.Queue.Uncertain != 1 || o.Queue.OldestQueuedAt.IsZero() {
		t.Errorf("%+v", o)
	}
	known, _ := wechat.LookupErrcode(47003)
	if len(o.Reasons) != 1 || o.Reasons[0].Count != 1 || o.Reasons[0].Errcode != 47003 || o.Reasons[0].Text != known.ZH {
		t.Errorf("reasons %+v", o.Reasons)
	}
	if len(o.Apps) != 1 || o.Apps[0].Light != hongyan.Yellow || o.Apps[0].Why[0].Code != hongyan.WhyNoCallback || o.Apps[0].Why[0].Text != "尚未配置消息推送。" {
		t.Errorf("apps %+v", o.Apps)
	}
	if _, err := w.admin.Pause(ctx, w.appID(), client.Pause{Scope: hongyan.PauseApp}); err != nil {
		t.Fatal(err)
	}
	if o, err = w.admin.Overview(ctx, w.appID()); err != nil || o.Apps[0].Light != hongyan.Red || o.Apps[0].Why[0].Code != hongyan.PauseManual {
		t.Errorf("paused: %+v, %v", o.Apps, err)
	}
	if o, err = w.key([]hongyan.AppID{"wxother"}, hongyan.ScopeRead).Overview(ctx, ""); err != nil || len(o.Apps) != 0 || o.Queue != (hongyan.Queue{}) || len(o.Reasons) != 0 {
		t.Errorf("a key of another app reads %+v, %v", o, err)
	}
}

// TestLive: a reader hears what has changed, nothing when nothing has, and ends with the server.
func TestLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", w.srv.URL+"/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	resp, err := w.srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		return ""
	}
	w.grant("alice", 1)
	if got := next(); got != `{"topics":["grants"]}` {
		t.Errorf("after a report: %s", got)
	}
	began := time.Now()
	if _, err := w.admin.Submit(ctx, w.submission("alice"), client.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.Pause(ctx, w.appID(), client.Pause{Scope: hongyan.PauseApp}); err != nil {
		t.Fatal(err)
	}
	var heard []string
	for !slices.Contains(heard, "apps") || !slices.Contains(heard, "messages") {
		got := next()
		if got == "" {
			t.Fatalf("the stream ended, heard %q", heard)
		}
		for _, topic := range ledger.TopicWords() {
			if strings.Contains(got, `"`+topic+`"`) {
				heard = append(heard, topic)
			}
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("heard after %s", took)
	}
	close(w.stopping)
	for next() != "" { // what was on its way
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

// TestLiveBound: readers are bounded.
func TestLiveBound(t *testing.T) {
	t.Parallel()
	s, err := newServer(Config{Ledger: openLedger(t), AdminKey: adminKey})
	if err != nil {
		t.Fatal(err)
	}
	s.lives.Store(maxStreams)
	r := httptest.NewRequest("GET", "/v1/live", nil)
	r.Header.Set("Authorization", "Bearer "+adminKey)
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	if rec.Code != http.StatusTooManyRequests || s.lives.Load() != maxStreams {
		t.Errorf("status %d, %d readers", rec.Code, s.lives.Load())
	}
}
