package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// ptr is a pointer to a value, for optional fields.
func ptr[T any](v T) *T { return &v }

func (e *env) fault(spec FaultSpec) Fault {
	e.t.Helper()
	f, err := e.AddFault(spec)
	if err != nil {
		e.t.Fatal(err)
	}
	return f
}

// Every kind of fault, before and after: what the client sees, and what WeChat
// did.
func TestFaultKinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec FaultSpec
		want string // "drop", a status and the start of the body
	}{
		"errcode":   {FaultSpec{Errcode: ptr(-1)}, `200 {"errcode":-1,"errmsg":"system error rid: `},
		"errmsg":    {FaultSpec{Errcode: ptr(45011), Errmsg: "slow down"}, `200 {"errcode":45011,"errmsg":"slow down rid: `},
		"status":    {FaultSpec{HTTPStatus: 502}, "502 <html>\r\n<head><title>502 Bad Gateway"},
		"redirect":  {FaultSpec{HTTPStatus: 302}, "302 <html>"},
		"drop":      {FaultSpec{Drop: true}, "drop"},
		"empty":     {FaultSpec{Body: "empty"}, "200 "},
		"html":      {FaultSpec{Body: "html"}, "200 <html>"},
		"truncated": {FaultSpec{Body: "truncated"}, `200 {"errcode":0,`},
	} {
		for _, when := range []string{before, after} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t, Config{})
				e.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				e.tap(2)
				token := e.token()
				spec := c.spec
				spec.Path, spec.When, spec.Count = pathSend, when, ptr(1)
				f := e.fault(spec)
				if f.When != when || *f.Left != 1 {
					t.Errorf("fault = %+v", f)
				}
				r, err := e.do("POST", pathSend+"?access_token="+token, e.message())
				got := fmt.Sprintf("%d %s", r.status, r.raw)
				if err != nil {
					got = "drop"
				}
				if !strings.HasPrefix(got, c.want) || c.want == "200 " && got != c.want || json.Valid(r.raw) != (c.spec.Errcode != nil) {
					t.Errorf("answer %q, want %q", got, c.want)
				}
				cards := 0
				if when == after {
					cards = 1
				}
				e.wantCards(cards)
				e.wantAvailable(2 - cards)
				last := lastCall(e)
				if !last.Fault || last.OpenID != e.openID || last.AppID != e.app.AppID || (last.Errcode != nil) != (c.spec.Errcode != nil) {
					t.Errorf("call = %+v", last)
				}
				e.want(0, e.send(token, e.message())) // the fault is used up
				if f := e.Faults()[0]; *f.Left != 0 || f.Acted != 1 {
					t.Errorf("fault = %+v", f)
				}
			})
		}
	}
}

func lastCall(e *env) Call {
	e.t.Helper()
	p := must(e.Calls(CallQuery{Limit: 1000}))
	return p.Items[len(p.Items)-1]
}

// An errcode means that nothing was done, unless told otherwise.
func TestFaultDefaults(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	if f := e.fault(FaultSpec{Path: pathSend, Errcode: ptr(-1)}); f.When != before || f.Left != nil {
		t.Errorf("errcode: %+v", f)
	}
	if f := e.fault(FaultSpec{Path: "*", Drop: true}); f.When != after {
		t.Errorf("drop: %+v", f)
	}
	if n := must(e.ClearFaults("f1")); n != 1 || len(e.Faults()) != 1 {
		t.Errorf("cleared %d", n)
	}
	if _, err := e.ClearFaults("f1"); err == nil {
		t.Error("an unknown fault was cleared")
	}
	if n := must(e.ClearFaults("")); n != 1 {
		t.Errorf("cleared %d", n)
	}
	e.tap(1)
	e.want(0, e.send(e.token(), e.message()))
}

func TestFaultMatching(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	other := must(e.CreateApp(AppSpec{}))
	e.fault(FaultSpec{Path: pathStableToken, AppID: other.AppID, Errcode: ptr(-1)})
	token := e.token() // another app's fault
	e.app = other
	e.want(-1, e.stable(false)) // the appid is in the body
	e.fault(FaultSpec{Path: "*", Errcode: ptr(45011), Count: ptr(2)})
	e.wantToken(token, 45011)
	e.want(45011, e.must("GET", "/cgi-bin/token", nil))
	e.wantToken(token, 0)
}

// The same seed fails the same calls.
func TestFaultShare(t *testing.T) {
	t.Parallel()
	pattern := func(seed int64) string {
		e := newEnv(t, Config{})
		e.fault(FaultSpec{Path: pathStableToken, Errcode: ptr(-1), Share: ptr(0.3), Seed: ptr(seed)})
		var b strings.Builder
		for range 200 {
			b.WriteString(fmt.Sprint(-e.stable(false).Errcode))
		}
		return b.String()
	}
	first, again, other := pattern(7), pattern(7), pattern(8)
	if first != again || first == other {
		t.Errorf("seed 7: %s\nagain:  %s\nseed 8: %s", first, again, other)
	}
	if n := strings.Count(first, "1"); n < 30 || n > 90 {
		t.Errorf("%d of 200 at a share of 0.3", n)
	}
}

func TestFaultLatency(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(2)
	token := e.token()
	e.fault(FaultSpec{Path: pathSend, LatencyMS: 80, Count: ptr(1)})
	began := time.Now()
	e.want(0, e.send(token, e.message()))
	if took := time.Since(began); took < 80*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if c := lastCall(e); c.DurationMS < 80 || !c.Fault || c.Errcode == nil || *c.Errcode != 0 {
		t.Errorf("call = %+v", c)
	}
	slow := newEnv(t, Config{Latency: 30 * time.Millisecond})
	began = time.Now()
	slow.want(40001, slow.send("x", "{}")) // refusals take their time, too
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// A stalled call ends when its client gives up. Whether it was processed depends
// on where it stalled.
func TestStallEndsWithClient(t *testing.T) {
	t.Parallel()
	for when, cards := range map[string]int{before: 0, after: 1} {
		e := newEnv(t, Config{})
		e.tap(1)
		token := e.token()
		e.fault(FaultSpec{Path: pathSend, LatencyMS: maxLatencyMS, When: when})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		req := must(http.NewRequestWithContext(ctx, "POST", e.url+pathSend+"?access_token="+token, strings.NewReader(string(must(json.Marshal(e.message()))))))
		if _, err := e.perform(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: %v", when, err)
		}
		// The handler notices a moment later.
		for e.Stats().ByPath[pathSend] == 0 {
			time.Sleep(time.Millisecond)
		}
		e.wantCards(cards)
		e.wantAvailable(1 - cards)
		must(e.ClearFaults(""))
		if r := e.send(token, e.message()); r.Errcode == 43108 {
			t.Errorf("%s: the user is still held", when)
		}
	}
}

func TestCloseEndsStalls(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(1)
	token := e.token()
	e.fault(FaultSpec{Path: pathSend, LatencyMS: maxLatencyMS, When: before})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := e.do("POST", pathSend+"?access_token="+token, e.message()); !errors.Is(err, io.EOF) {
			t.Errorf("a stalled call ended with %v", err)
		}
	})
	for e.Faults()[0].Acted == 0 {
		time.Sleep(time.Millisecond)
	}
	e.Close()
	wg.Wait()
	e.wantCards(0)
}

// The wechat package tells refused from unclear with these faults.
func TestFaultsThroughClient(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(5)
	c := must(wechat.New(wechat.Config{BaseURL: e.url}))
	defer c.Close()
	token := must(c.GetStableAccessToken(t.Context(), e.app.AppID, e.app.Secret, false)).AccessToken
	m := &wechat.SubscribeMessage{ToUser: e.openID, TemplateID: e.tmpl.TemplateID, Data: map[string]wechat.DataValue{}}
	for k, v := range e.tmpl.Example {
		m.Data[k] = wechat.DataValue{Value: v}
	}
	for _, spec := range []FaultSpec{{Drop: true}, {Body: "empty"}, {Body: "html"}, {Body: "truncated"}, {HTTPStatus: 504}} {
		spec.Path, spec.Count = pathSend, ptr(1)
		e.fault(spec)
		_, err := c.SendSubscribeMessage(t.Context(), token, m)
		var te *wechat.TransportError
		if !errors.As(err, &te) || te.Kind != wechat.Unclear {
			t.Errorf("%+v: %v, want unclear", spec, err)
		}
	}
	e.wantCards(5)
	_, err := c.SendSubscribeMessage(t.Context(), token, m)
	var we *wechat.Error
	if !errors.As(err, &we) || we.Errcode != 43101 || we.Rid == "" {
		t.Errorf("%v, want 43101 with its rid", err)
	}
}

func TestFaultsRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	for name, spec := range map[string]FaultSpec{
		"no path":      {Drop: true},
		"unknown path": {Path: "/cgi-bin/message/send", Drop: true},
		"unknown app":  {Path: "*", AppID: "wx0", Drop: true},
		"nothing":      {Path: "*"},
		"two things":   {Path: "*", Drop: true, HTTPStatus: 500},
		"errcode 0":    {Path: "*", Errcode: ptr(0)},
		"errmsg alone": {Path: "*", Errmsg: "x", Drop: true},
		"status":       {Path: "*", HTTPStatus: 100},
		"body":         {Path: "*", Body: "half"},
		"when":         {Path: "*", Drop: true, When: "during"},
		"latency":      {Path: "*", LatencyMS: -1},
		"count":        {Path: "*", Drop: true, Count: ptr(0)},
		"share":        {Path: "*", Drop: true, Share: ptr(1.5)},
		"both":         {Path: "*", Drop: true, Share: ptr(0.5), Count: ptr(1)},
		"seed alone":   {Path: "*", Drop: true, Seed: ptr(int64(1))},
	} {
		if f, err := e.AddFault(spec); err == nil {
			t.Errorf("%s: taken as %+v", name, f)
		}
	}
}
