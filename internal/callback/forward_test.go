package callback

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

// oldHandler is what an app had before: it notes what it hears and answers as a test says.
type oldHandler struct {
	srv    *httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)
	heard  chan heard
}

type heard struct {
	method, query, contentType, agent, forwarded string
	body                                         []byte
}

func newOldHandler(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *oldHandler {
	t.Helper()
	h := &oldHandler{answer: answer, heard: make(chan heard, 1000)}
	h.srv = httptest.NewServer(h)
	t.Cleanup(h.srv.Close)
	return h
}

func (h *oldHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.heard <- heard{r.Method, r.URL.RawQuery, r.Header.Get("Content-Type"), r.UserAgent(), r.Header.Get("X-Forwarded-For"), body}
	h.answer(w, r)
}

// next is what it heard next.
func (h *oldHandler) next(t *testing.T) heard {
	t.Helper()
	select {
	case got := <-h.heard:
		return got
	case <-time.After(10 * time.Second):
		t.Fatal("the old handler heard nothing")
		return heard{}
	}
}

func says(contentType, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// stalls lets a handler wait until the caller or the test ends.
func stalls(t *testing.T) (func(http.ResponseWriter, *http.Request), func()) {
	t.Helper()
	end := make(chan struct{})
	release := sync.OnceFunc(func() { close(end) })
	t.Cleanup(release)
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}, release
}

// TestForward: the old handler hears what WeChat sent to the letter, and its answer is WeChat's.
func TestForward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reply := `{"Encrypt":"aGVsbG8=","MsgSignature":"x","TimeStamp":1,"Nonce":"2"}`
	old := newOldHandler(t, says("application/json; charset=utf-8", reply))
	w.setKeys(aesKey, old.srv.URL+"/wx?from=hongyan")
	q, body := w.sealed(w.keys(aesKey), message("hello"), wechat.CallbackSecure, 0)
	for range 2 { // a repeat is stored once, and passed on again: WeChat wants an answer
		got := w.call("POST", q, body)
		w.wantAnswer(got, 200, reply)
		if got.contentType != "application/json; charset=utf-8" {
			t.Errorf("Content-Type %q", got.contentType)
		}
		if h := old.next(t); h.method != "POST" || h.query != "from=hongyan&"+q.Encode() || string(h.body) != string(body) || h.contentType != "application/json" || h.forwarded != "127.0.0.1" || !strings.HasPrefix(h.agent, "Go-http-client") {
			t.Errorf("it heard %+v", h)
		}
	}
	w.want(1)
	if n := w.counted("hongyan_callback_forwards_total", "ok"); n != 2 {
		t.Errorf("counted %v, want 2", n)
	}
	// What is not verified is not passed on; the check of the URL is answered here.
	q.Set("nonce", "1")
	w.wantAnswer(w.call("POST", q, body), 401, "")
	w.wantAnswer(w.call("GET", w.keys(aesKey).SignEcho("12345", w.box.Now()), nil), 200, "12345")
	if len(old.heard) != 0 {
		t.Errorf("it heard %+v", old.next(t))
	}
}

// TestForwardFails: without an answer of the old handler's WeChat is to try again, and what
// is here stays.
func TestForwardFails(t *testing.T) {
	t.Parallel()
	stall, _ := stalls(t)
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		to     string
		status int
		result string
	}{
		{"stalls", stall, "", 504, "timeout"},
		{"stalls in the middle", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			stall(w, r)
		}, "", 504, "timeout"},
		{"fails", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "", 502, "failed"},
		{"says 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "", 502, "failed"},
		{"answers too much", says("text/plain", strings.Repeat("x", maxForwardAnswer+1)), "", 502, "failed"},
		{"redirects", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "", 502, "failed"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", 502, "failed"},
		{"a private address", nil, "http://10.255.255.1/", 502, "failed"},
		{"a cloud's metadata", nil, "http://169.254.169.254/latest", 502, "failed"},
		{"nobody there", nil, "http://127.0.0.1:1/", 502, "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			to := tt.to
			if tt.answer != nil {
				to = newOldHandler(t, tt.answer).srv.URL
			}
			w.setKeys(aesKey, to)
			q, body := w.sealed(w.keys(aesKey), message("hello"), wechat.CallbackSecure, 0)
			got := w.call("POST", q, body)
			w.wantAnswer(got, tt.status, "")
			if got.took > answerTime+500*time.Millisecond {
				t.Errorf("it took %v, and WeChat waits for 5 s", got.took)
			}
			w.want(1)
			if n := w.counted("hongyan_callback_forwards_total", tt.result); n != 1 {
				t.Errorf("counted %v %s, want 1", n, tt.result)
			}
			if log := w.logs.String(); !strings.Contains(log, "callback not forwarded") || strings.Contains(log, q.Get("msg_signature")) {
				t.Errorf("log: %s", log)
			}
			// Events of subscriptions do not care.
			w.pushTo(sandbox.PushSpec{AESKey: aesKey})
			w.tap()
			w.flush()
			if p := must(w.box.Pushes(sandbox.PushQuery{})).Items[0]; p.Status != "taken" || len(p.Tries) != 1 || p.Tries[0].Answer != "success" || p.Tries[0].DurationMS > 1000 {
				t.Errorf("WeChat saw %+v", p)
			}
			w.want(2)
		})
	}
}

// TestForwardLargest: an answer of just the limit goes back whole.
func TestForwardLargest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := strings.Repeat("x", maxForwardAnswer)
	w.setKeys("", newOldHandler(t, says("text/xml", body)).srv.URL)
	w.wantAnswer(w.send(message("hello"), "", wechat.CallbackPlain), 200, body)
}

// TestForwardBeside: WeChat has its success for an event of a subscription while the old
// handler is still at it, whatever that says then.
func TestForwardBeside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stall, release := stalls(t)
	old := newOldHandler(t, stall)
	w.setKeys(aesKey, old.srv.URL)
	w.pushTo(sandbox.PushSpec{AESKey: aesKey, Format: wechat.CallbackXML})
	w.tap()
	w.flush()
	h := old.next(t)
	release()
	if p := must(w.box.Pushes(sandbox.PushQuery{})).Items[0]; p.Status != "taken" || p.Tries[0].Answer != "success" {
		t.Errorf("WeChat saw %+v", p)
	}
	if h.contentType != "text/xml" || !strings.Contains(h.query, "msg_signature=") || !strings.Contains(string(h.body), "<Encrypt>") {
		t.Errorf("it heard %+v", h)
	}
	w.want(1)
}

// TestForwardAgain: an old handler that fails hears of an event of a subscription again, for
// WeChat, which has its answer, does not come again.
func TestForwardAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int64
	old := newOldHandler(t, func(rw http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		says("text/plain", "success")(rw, r)
	})
	w.setKeys(aesKey, old.srv.URL)
	w.pushTo(sandbox.PushSpec{AESKey: aesKey})
	w.tap()
	w.flush()
	first, again := old.next(t), old.next(t)
	if string(first.body) != string(again.body) || first.query != again.query {
		t.Errorf("first %+v, then %+v", first, again)
	}
	w.want(1)
	if failed := w.counted("hongyan_callback_forwards_total", "failed"); failed != 1 {
		t.Errorf("%v failed, want 1", failed)
	}
	if log := w.logs.String(); !strings.Contains(log, "callback not forwarded") {
		t.Errorf("log: %s", log)
	}
}

// TestForwardGivesUp: an old handler that always fails hears three times, and a stop waits
// for no further one.
func TestForwardGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := newOldHandler(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	f := &forward{app: w.app, event: hongyan.CallbackSent, to: old.srv.URL, body: []byte("x")}
	w.rc.passBeside(t.Context(), f)
	if len(old.heard) != 3 {
		t.Errorf("it heard %d, want 3", len(old.heard))
	}
	w.rc.passBeside(ended(t), f)
	if len(old.heard) != 4 {
		t.Errorf("with the stop it heard %d, want 4", len(old.heard))
	}
	if failed := w.counted("hongyan_callback_forwards_total", "failed"); failed != 4 {
		t.Errorf("%v failed, want 4", failed)
	}
}

// TestForwardBounded: an old handler that stands still holds so many pushes and no more; the
// others are stored and answered without it.
func TestForwardBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stall, release := stalls(t)
	old := newOldHandler(t, stall)
	w.setKeys("", old.srv.URL)
	const n = maxForwards + 20
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			msg := []byte(`{"FromUserName":"oX","CreateTime":` + strconv.Itoa(1714112445+i) + `,"MsgType":"event","Event":"subscribe_msg_popup_event","List":{"TemplateId":"t","SubscribeStatusString":"accept"}}`)
			if got := w.send(msg, "", wechat.CallbackPlain); got.status != 200 || got.body != "success" {
				t.Errorf("answered %+v", got)
			}
		})
	}
	wg.Wait()
	if dropped := w.counted("hongyan_callback_forwards_total", "dropped"); dropped != n-maxForwards {
		t.Errorf("%v dropped, want %d", dropped, n-maxForwards)
	}
	if !strings.Contains(w.logs.String(), "result=dropped") {
		t.Errorf("log: %s", w.logs)
	}
	w.want(n)
	release()
	for range maxForwards {
		old.next(t)
	}
	// There are places again.
	w.tapPlain()
	old.next(t)
}

func (w *world) tapPlain() {
	w.t.Helper()
	w.pushTo(sandbox.PushSpec{})
	w.tap()
	w.flush()
}

// TestForwardAtStop: what was answered is passed on before the receiver ends.
func TestForwardAtStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := newOldHandler(t, says("text/plain", "success"))
	rc := must(New(Config{Ledger: w.l, Forward: w.rc.cfg.Forward, Client: w.rc.cfg.Client}))
	for i := range 3 {
		rc.passLater(t.Context(), &forward{app: w.app, event: hongyan.CallbackSent, to: old.srv.URL, body: []byte(strconv.Itoa(i))})
	}
	if err := rc.Run(ended(t)); err != nil {
		t.Fatal(err)
	}
	if len(old.heard) != 3 {
		t.Errorf("it heard %d, want 3", len(old.heard))
	}
}
