package sandbox

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

const (
	pushToken = "pushToken1"
	pushKey   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	otherKey  = "ABCDEFGabcdefghijklmnopqrstuvwxyz0123456789"
)

// arrival is a push as the receiver saw it; err is what its keys said.
type arrival struct {
	*wechat.Callback
	err   error
	nonce string
	query string
}

// receiver is an integrator's callback URL.
type receiver struct {
	e    *env
	url  string
	mu   sync.Mutex
	keys wechat.CallbackKeys
	got  []arrival
	// arrived gets one for each push.
	arrived chan struct{}
	// answer, if it is not nil, answers in place of "success"; n counts from 1.
	answer func(w http.ResponseWriter, r *http.Request, n int)
}

func newReceiver(e *env) *receiver {
	rc := &receiver{e: e, arrived: make(chan struct{}, 1000), keys: wechat.CallbackKeys{AppID: e.app.AppID, Token: pushToken, AESKey: pushKey}}
	srv := httptest.NewServer(rc)
	e.t.Cleanup(func() {
		e.Close()
		srv.Close()
	})
	rc.url = srv.URL + "/callback"
	return rc
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	rc.mu.Lock()
	keys := rc.keys
	rc.mu.Unlock()
	if r.Method == http.MethodGet {
		echo, err := keys.Echo(r.URL.Query(), rc.e.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		io.WriteString(w, echo)
		return
	}
	c, err := keys.Open(r.URL.Query(), body, rc.e.Now())
	rc.mu.Lock()
	rc.got = append(rc.got, arrival{c, err, r.URL.Query().Get("nonce"), r.URL.RawQuery})
	n, answer := len(rc.got), rc.answer
	rc.mu.Unlock()
	rc.arrived <- struct{}{}
	switch {
	case answer != nil:
		answer(w, r, n)
	case err != nil:
		http.Error(w, err.Error(), http.StatusForbidden)
	default:
		io.WriteString(w, "success")
	}
}

// await waits for n pushes, which a flush would hasten.
func (rc *receiver) await(n int) {
	rc.e.t.Helper()
	limit := time.After(20 * time.Second)
	for range n {
		select {
		case <-rc.arrived:
		case <-limit:
			rc.e.t.Fatalf("arrived %q, want %d", rc.events(), n)
		}
	}
}

func (rc *receiver) arrivals() []arrival {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.Clone(rc.got)
}

// events are the names of what arrived, in order, "-" for what the keys refused.
func (rc *receiver) events() []string {
	var list []string
	for _, a := range rc.arrivals() {
		name := "-"
		if a.err == nil {
			name = strings.TrimSuffix(strings.TrimPrefix(a.Event, "subscribe_msg_"), "_event")
		}
		list = append(list, name)
	}
	return list
}

func (rc *receiver) want(events ...string) {
	rc.e.t.Helper()
	if got := rc.events(); !slices.Equal(got, events) {
		rc.e.t.Errorf("arrived %q, want %q", got, events)
	}
}

func (e *env) setPush(spec PushSpec) PushConfig {
	e.t.Helper()
	c, err := e.SetPush(e.t.Context(), e.app.AppID, spec)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

func (e *env) flush() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 20*time.Second)
	defer cancel()
	if err := e.Flush(ctx); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) pushes() []Push {
	e.t.Helper()
	return must(e.Pushes(PushQuery{Limit: 1000})).Items
}

func (e *env) refuse(where string) {
	e.t.Helper()
	must(e.Refuse(RefuseSpec{AppID: e.app.AppID, OpenID: e.openID, TemplateID: e.tmpl.TemplateID, Where: where}))
}

// pushing is a sandbox that pushes to a receiver, secure and in JSON.
func pushing(t *testing.T) (*env, *receiver) {
	t.Helper()
	e := newEnv(t, Config{})
	rc := newReceiver(e)
	e.setPush(PushSpec{URL: rc.url, Token: pushToken, AESKey: pushKey})
	return e, rc
}
