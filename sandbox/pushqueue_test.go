package sandbox

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// What is not taken is tried three times more: the same message, signed afresh.
func TestPushRetries(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, n int)
		tries  int
		status string
		last   PushTry
	}{
		"success at last": {func(w http.ResponseWriter, _ *http.Request, n int) {
			if n < 4 {
				w.WriteHeader(http.StatusInternalServerError)
			}
			io.WriteString(w, "success")
		}, 4, "taken", PushTry{HTTPStatus: 200, Answer: "success"}},
		"an empty answer": {func(http.ResponseWriter, *http.Request, int) {}, 1, "taken", PushTry{HTTPStatus: 200}},
		"never":           {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusBadGateway) }, 4, "not_taken", PushTry{HTTPStatus: 502}},
		"another status":  {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusNoContent) }, 4, "not_taken", PushTry{HTTPStatus: 204}},
		"a reply": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			io.WriteString(w, "<xml>"+strings.Repeat("x", 2000)+"</xml>")
		}, 4, "not_taken", PushTry{HTTPStatus: 200, Answer: "<xml>" + strings.Repeat("x", 995)}},
		"success in quotes": {func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, `"success"`) }, 4, "not_taken", PushTry{HTTPStatus: 200, Answer: `"success"`}},
		"a dropped connection": {func(w http.ResponseWriter, _ *http.Request, n int) {
			if n < 3 {
				panic(http.ErrAbortHandler)
			}
		}, 3, "taken", PushTry{HTTPStatus: 200}},
		"no answer in time": {func(_ http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				<-r.Context().Done()
			}
		}, 2, "taken", PushTry{HTTPStatus: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, rc := pushing(t)
			if name == "no answer in time" {
				e.pushTimeout = 100 * time.Millisecond
			}
			rc.answer = tt.answer
			e.tap(1)
			e.flush()
			got := rc.arrivals()
			p := e.pushes()[0]
			last := p.Tries[len(p.Tries)-1]
			last.At, last.DurationMS = time.Time{}, 0
			if len(got) != tt.tries || p.Status != tt.status || len(p.Tries) != tt.tries || last != tt.last {
				t.Errorf("%d arrived, push %+v", len(got), p)
			}
			nonces := make(map[string]bool)
			for _, a := range got {
				nonces[a.nonce] = true
				if a.err != nil || string(a.Raw) != p.Message {
					t.Errorf("got %+v, %v", a.Callback, a.err)
				}
			}
			if len(nonces) != tt.tries {
				t.Errorf("nonces %v", nonces)
			}
			if s := e.Stats().Pushes; s.Made != 1 || s.Tries != tt.tries || s.Taken+s.NotTaken != 1 || s.Pending != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// A receiver that is gone costs tries, and a time-out counts as one.
func TestPushUnreachable(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	rc := newReceiver(e)
	gone := httptest.NewServer(rc)
	e.setPush(PushSpec{URL: gone.URL, Token: pushToken, AESKey: pushKey})
	gone.Close()
	e.tap(1)
	e.flush()
	p := e.pushes()[0]
	if p.Status != "not_taken" || len(p.Tries) != 4 || p.Tries[0].HTTPStatus != 0 || p.Tries[0].Err == "" || strings.Contains(p.Tries[0].Err, "signature") {
		t.Errorf("push %+v", p)
	}
}

// Order is kept while one push is tried again and others wait behind it, and
// neither taps nor sends wait for it.
func TestPushOrder(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	token := e.token()
	arrived, release := make(chan struct{}), make(chan struct{})
	rc.answer = func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			close(arrived)
			<-release
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	e.tap(1)
	<-arrived
	e.want(0, e.send(token, e.message()))
	e.refuse("card")
	e.tap(2)
	if s := e.Stats().Pushes; s.Pending != 5 || s.Taken != 0 {
		t.Errorf("stats %+v", s)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Flush(short); err == nil {
		t.Error("flush did not wait")
	}
	close(release)
	e.flush()
	rc.want("popup", "popup", "sent", "change", "popup", "popup")
}

// With parallel pushes those of different users do not wait for each other, those
// of one user do.
func TestPushParallel(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	rc := newReceiver(e)
	e.setPush(PushSpec{URL: rc.url, Token: pushToken, AESKey: pushKey, Parallel: 64})
	two := make(chan struct{})
	rc.answer = func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 2 {
			close(two)
		}
		<-two // passes only if two are under way at once
	}
	users := must(e.AddUsers(UsersSpec{AppID: e.app.AppID, Count: 50})).OpenIDs
	e.taps(TapSpec{OpenIDs: users, TemplateIDs: []string{e.tmpl.TemplateID}})
	for _, u := range users {
		must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: u, TemplateID: e.tmpl.TemplateID, Where: "card"}))
	}
	e.flush()
	seen := make(map[string]string)
	for _, a := range rc.arrivals() {
		seen[a.FromUserName] += a.Event + " "
	}
	for _, u := range users {
		if seen[u] != wechat.EventSubscribePopup+" "+wechat.EventSubscribeChange+" " {
			t.Errorf("%s: %s", u, seen[u])
		}
	}
}

// What is pending ends with the configuration, the world and the sandbox.
func TestPushEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(e *env){
		"configuration": func(e *env) { e.EndPush(e.app.AppID) },
		"reset":         func(e *env) { e.Reset() },
		"close":         func(e *env) { e.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, rc := pushing(t)
			arrived, release := make(chan struct{}), make(chan struct{})
			defer func() {
				if name != "configuration" {
					close(release)
				}
			}()
			rc.answer = func(w http.ResponseWriter, r *http.Request, n int) {
				if n == 1 {
					close(arrived)
					<-release
				}
			}
			e.fault(FaultSpec{Push: "late", DelayS: 60, Count: ptr(1)})
			e.fault(FaultSpec{Push: "out_of_order", Count: ptr(1), Event: wechat.EventSubscribeChange})
			e.refuse("card") // late
			e.refuse("card") // to be overtaken
			e.tap(3)
			<-arrived
			p := e.world.Load().pushes
			end(e)
			if name == "configuration" {
				close(release)
				e.advance(time.Minute)
				e.flush()
			}
			got := p.pushStats()
			want := PushStats{Made: 5, Ended: 5, Tries: 1}
			if name == "configuration" {
				want.Ended, want.Taken = 4, 1
			}
			if got != want {
				t.Errorf("stats %+v, want %+v", got, want)
			}
			if name == "close" {
				e.tap(1) // the sandbox is usable, but pushes nothing
				e.flush()
				if s := e.Stats().Pushes; s.Ended != 6 || s.Pending != 0 {
					t.Errorf("stats %+v", s)
				}
				e.Reset()
				if !e.world.Load().pushes.closed {
					t.Error("a new world pushes after Close")
				}
			}
		})
	}
}

// More than may wait is dropped and counted, and only the newest are listed.
func TestPushBounds(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	release := make(chan struct{})
	rc.answer = func(http.ResponseWriter, *http.Request, int) { <-release }
	users := must(e.AddUsers(UsersSpec{AppID: e.app.AppID, Count: 101})).OpenIDs
	e.taps(TapSpec{OpenIDs: users, TemplateIDs: []string{e.tmpl.TemplateID}, Times: 1000})
	s := e.Stats().Pushes
	if s.Made != 101_000 || s.Pending != maxPending || s.Dropped != 1000 {
		t.Errorf("stats %+v", s)
	}
	n, cursor := 0, ""
	for {
		p := must(e.Pushes(PushQuery{Limit: 1000, Cursor: cursor}))
		n += len(p.Items)
		if cursor = p.NextCursor; cursor == "" {
			break
		}
	}
	if n != keptPushes {
		t.Errorf("%d are listed", n)
	}
	e.EndPush(e.app.AppID)
	close(release)
	e.flush()
	if s := e.Stats().Pushes; s.Pending != 0 || s.Made != s.Taken+s.Dropped+s.Ended {
		t.Errorf("stats %+v", s)
	}
}
