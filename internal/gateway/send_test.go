package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/sandbox"
)

// fault adds a fault of sends.
func (w *world) fault(f sandbox.FaultSpec) {
	w.t.Helper()
	f.Path = sendPath
	_, err := w.box.AddFault(f)
	w.must(err)
}

// TestRepeats is a client as real SDKs are: it repeats a send on -1 five times, and whenever
// no answer comes in time or the connection closes. The sandbox loses answers after it has
// done the work. Everybody could be sent ten messages; nobody gets two.
func TestRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := url.QueryEscape(w.token(w.gateway))
	w.fault(sandbox.FaultSpec{Drop: true, Share: new(0.06), Seed: new(int64(1))})
	w.fault(sandbox.FaultSpec{HTTPStatus: 502, When: "after", Share: new(0.03), Seed: new(int64(2))})
	w.fault(sandbox.FaultSpec{Body: "truncated", Share: new(0.03), Seed: new(int64(3))})
	w.fault(sandbox.FaultSpec{Errcode: new(-1), Count: new(30)}) // all at once: each second of them would halve the pace
	w.fault(sandbox.FaultSpec{Drop: true, When: "before", Share: new(0.03), Seed: new(int64(5))})
	w.fault(sandbox.FaultSpec{LatencyMS: 700, When: "after", Share: new(0.1), Seed: new(int64(6))})
	impatient := &http.Client{Timeout: 400 * time.Millisecond, Transport: w.http.Transport}
	users := make(chan string)
	var accepted, unanswered, repeats atomic.Int64
	arrived := sync.Map{} // users whose client was told that it was sent
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for user := range users {
				body := w.message(user)
				for try := 0; ; try++ {
					got, err := w.post(impatient, w.gateway.url+sendPath+"?access_token="+token, body)
					if err == nil && got == "0" {
						accepted.Add(1)
						arrived.Store(user, true)
						break
					}
					if err == nil && got != "-1" || try == 5 {
						unanswered.Add(1)
						break
					}
					repeats.Add(1)
				}
			}
		})
	}
	for range 300 {
		users <- w.user(10)
	}
	close(users)
	clients.Wait()
	cards := w.cards()
	for user, n := range cards {
		if n > 1 {
			t.Errorf("%s got the message %d times", user, n)
		}
	}
	arrived.Range(func(user, _ any) bool {
		if cards[user.(string)] != 1 {
			t.Errorf("the client was told that %s got it, and it did not arrive", user)
		}
		return true
	})
	if accepted.Load() < 100 || repeats.Load() < 100 {
		t.Errorf("%d accepted, %d repeats: the test tested little", accepted.Load(), repeats.Load())
	}
	t.Logf("300 messages: %d answered 0, %d given up after 5 repeats, %d repeats, %d cards, none twice", accepted.Load(), unanswered.Load(), repeats.Load(), len(cards))
}

// post is a send by a client of its own.
func (w *world) post(c *http.Client, target string, body object) (string, error) {
	out, err := w.by(c, "POST", target, body)
	return errcode(out), err
}

// TestUnclearCloses: an outcome that nobody knows ends the connection without an answer, and
// so does a repeat, until its time is over.
func TestUnclearCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{GatewayRepeatS: 120})
	token := url.QueryEscape(w.token(w.gateway))
	user := w.user(5)
	w.fault(sandbox.FaultSpec{Drop: true, Count: new(1)})
	for i := range 4 {
		got, err := w.post(w.http, w.gateway.url+sendPath+"?access_token="+token, w.message(user))
		if err == nil {
			t.Errorf("send %d was answered %s", i, got)
		}
	}
	if n := w.cards()[user]; n != 1 {
		t.Errorf("%d cards, want 1", n)
	}
	_, err := w.box.Advance(3 * time.Minute)
	w.must(err)
	if got, err := w.post(w.http, w.gateway.url+sendPath+"?access_token="+token, w.message(user)); err != nil || got != "0" {
		t.Errorf("after its time the same message is answered %q, %v", got, err)
	}
}

// TestRefusals: what each of WeChat's answers becomes, and that nothing is tried behind the
// caller's back.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := w.token(w.gateway)
	for _, code := range []int{-1, 43101, 43108, 47003, 45168, 41030, 40003, 99999} {
		user := w.user(3)
		w.fault(sandbox.FaultSpec{Errcode: &code, Count: new(1)})
		if got := w.send(w.gateway, token, w.message(user)); got != fmt.Sprint(code) {
			t.Errorf("answered %s, want %d", got, code)
		}
		for m, err := range w.admin.Messages(t.Context(), client.MessageFilter{App: hongyan.AppID(w.app.AppID), OpenID: hongyan.OpenID(user)}) {
			w.must(err)
			if m.Status != hongyan.StateFailed || m.Errcode == nil || *m.Errcode != code || m.Attempt != 1 {
				t.Errorf("after %d the message is %s with %v attempts", code, m.Status, m.Attempt)
			}
		}
		if n := w.cards()[user]; n != 0 {
			t.Errorf("after %d, %d cards", code, n)
		}
	}
}

// TestPaused: what WeChat said when the app was paused is what callers hear, until a message
// finds that the cause is gone.
func TestPaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := w.token(w.gateway)
	quota := 45009
	w.fault(sandbox.FaultSpec{Errcode: &quota, Count: new(1)})
	for range 3 {
		if got := w.send(w.gateway, token, w.message(w.user(1))); got != "45009" {
			t.Errorf("answered %s, want 45009", got)
		}
	}
	if n := w.sends(); n != 1 {
		t.Errorf("%d calls of send reached WeChat, want 1", n)
	}
	_, err := w.box.Advance(25 * time.Hour)
	w.must(err)
	token = w.token(w.gateway)
	for range 2 {
		if got := w.send(w.gateway, token, w.message(w.user(1))); got != "0" {
			t.Errorf("the day after, it answers %s", got)
		}
	}
	_, err = w.admin.Pause(t.Context(), hongyan.AppID(w.app.AppID), client.Pause{Scope: hongyan.PauseApp})
	w.must(err)
	if got := w.send(w.gateway, token, w.message(w.user(1))); got != "45011" {
		t.Errorf("while a person holds it back it answers %s, want 45011", got)
	}
}

func (w *world) sends() (n int) {
	for _, a := range w.upstream.take() {
		if a.path == sendPath {
			n++
		}
	}
	return n
}

// TestQueue: mode queue stores the message and answers at once, WeChat away or not.
func TestQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{GatewayMode: hongyan.GatewayQueue})
	token := w.token(w.gateway)
	user := w.user(3)
	w.fault(sandbox.FaultSpec{Errcode: new(-1), Count: new(2)})
	out := w.call("POST", w.gateway.url+sendPath+"?access_token="+url.QueryEscape(token), w.message(user))
	if _, has := out["msgid"]; errcode(out) != "0" || has {
		t.Errorf("answered %v", out)
	}
	for end := time.Now().Add(20 * time.Second); w.cards()[user] == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never arrived")
		}
	}
	bad := w.message(user)
	bad["data"] = object{}
	if got := w.send(w.gateway, token, bad); got != "47003" {
		t.Errorf("bad data is answered %s", got)
	}
	_, err := w.admin.Pause(t.Context(), hongyan.AppID(w.app.AppID), client.Pause{Scope: hongyan.PauseApp})
	w.must(err)
	for range 3 { // repeats of one
		if got := w.send(w.gateway, token, w.message(user)); got != "0" {
			t.Errorf("while sending is paused it answers %s", got)
		}
	}
	_, err = w.admin.Resume(t.Context(), hongyan.AppID(w.app.AppID), client.Pause{Scope: hongyan.PauseApp})
	w.must(err)
	for end := time.Now().Add(20 * time.Second); w.cards()[user] < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never arrived after the pause")
		}
	}
	if n := w.cards()[user]; n != 2 {
		t.Errorf("%d cards, want 2", n)
	}
}

// TestRelay: a listed path is called with the real token; the answer is WeChat's.
func TestRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{GatewayRelay: []string{"/cgi-bin/getcallbackip"}})
	token := url.QueryEscape(w.token(w.gateway))
	out := w.call("GET", w.gateway.url+"/cgi-bin/getcallbackip?access_token="+token, nil)
	if out["ip_list"] == nil {
		t.Errorf("answered %v", out)
	}
	narrow := w.newKey(hongyan.AppID(w.app.AppID), hongyan.ScopeGateway)
	tg := w.gateway
	tg.secret = narrow.Key
	if got := errcode(w.call("GET", w.gateway.url+"/cgi-bin/getcallbackip?access_token="+url.QueryEscape(w.token(tg)), nil)); got != "48001" {
		t.Errorf("without the right: %s, want 48001", got)
	}
	_, err := w.admin.UpdateApp(t.Context(), hongyan.AppID(w.app.AppID), client.AppUpdate{Settings: map[string]any{"gateway_relay": []string{"/cgi-bin/token", "/a//b", "wxa/x", "/x?y"}}})
	var e *hongyan.Error
	if !errors.As(err, &e) || len(e.Fields) != 4 {
		t.Errorf("paths that must not be relayed: %v", err)
	}
	// What rid/get shows of an earlier call has the real token in it.
	w.call("POST", w.gateway.url+"/cgi-bin/openapi/quota/get?access_token="+token, object{"cgi_path": "/nope"})
}

// TestLogin records the user whom a program logs in through the gateway.
func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	openid := w.user(0)
	l, err := w.box.Login(sandbox.LoginSpec{AppID: w.app.AppID, OpenID: openid})
	w.must(err)
	out := w.call("GET", w.gateway.url+"/sns/jscode2session?"+url.Values{"appid": {w.app.AppID}, "secret": {w.key.Key}, "js_code": {l.Code}, "grant_type": {"authorization_code"}}.Encode(), nil)
	if out["openid"] != openid || out["session_key"] == "" {
		t.Fatalf("login: %v", out)
	}
	u, err := w.admin.User(t.Context(), hongyan.AppID(w.app.AppID), hongyan.OpenID(openid))
	w.must(err)
	if u.LastLoginAt.IsZero() {
		t.Errorf("the login was not recorded: %+v", u)
	}
}

// TestConcurrent sends through the gateway from many connections at once.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := url.QueryEscape(w.token(w.gateway))
	var users []string
	for range 400 {
		users = append(users, w.user(1))
	}
	var wg sync.WaitGroup
	var other sync.Map
	for i := range 100 {
		wg.Go(func() {
			for j := i; j < len(users); j += 100 {
				if got, err := w.post(w.http, w.gateway.url+sendPath+"?access_token="+token, w.message(users[j])); err != nil || got != "0" {
					other.Store(fmt.Sprint(got, err), true)
				}
			}
		})
	}
	wg.Wait()
	other.Range(func(k, _ any) bool { t.Errorf("answered %v", k); return true })
	cards := w.cards()
	if len(cards) != len(users) || strings.Contains(fmt.Sprint(cards), ":2") {
		t.Errorf("%d users got a card, want %d, each one", len(cards), len(users))
	}
	res, err := w.http.Get(w.srv.URL() + "/metrics")
	w.must(err)
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	w.must(err)
	if want := `hongyan_gateway_requests_total{answer="0",path="` + sendPath + `"} 400`; !strings.Contains(string(metrics), want) {
		t.Errorf("the metrics lack %s", want)
	}
}

// TestWithoutSecret: an app without an AppSecret has no access token, and a send that was
// never made is not answered as if it had been.
func TestWithoutSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	app, err := w.box.CreateApp(sandbox.AppSpec{})
	w.must(err)
	_, err = w.admin.CreateApp(t.Context(), client.AppCreate{AppID: hongyan.AppID(app.AppID), Name: "bare", Settings: hongyan.AppSettings{TokenMode: hongyan.TokenNone}}, client.Options{})
	w.must(err)
	_, err = w.admin.UpdateApp(t.Context(), hongyan.AppID(app.AppID), client.AppUpdate{Settings: map[string]any{"token_mode": "stable"}})
	w.must(err)
	w.must(w.srv.Ledger().SaveTemplate(t.Context(), hongyan.AppID(app.AppID), ledger.SyncedTemplate{TemplateID: w.tmpl.TemplateID, Kind: hongyan.KindUnknown}, nil))
	token := w.token(target{w.gateway.url, app.AppID, w.newKey(hongyan.AppID(app.AppID), hongyan.ScopeGateway).Key})
	if got := w.send(w.gateway, token, w.message("oWithoutSecret_aaaaaaaaaaaaa")); got != "-1" {
		t.Errorf("answered %s, want -1", got)
	}
	for m, err := range w.admin.Messages(t.Context(), client.MessageFilter{App: hongyan.AppID(app.AppID)}) {
		w.must(err)
		if m.Status != hongyan.StateFailed || m.Errcode != nil {
			t.Errorf("the message is %s with the errcode %v, want failed without one", m.Status, *m.Errcode)
		}
	}
}

// TestPausedForOthers: what WeChat said of other people's openids or of other messages' data
// is not said of this one.
func TestPausedForOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := w.token(w.gateway)
	w.fault(sandbox.FaultSpec{Errcode: new(40003), Count: new(20)})
	for i := range 20 {
		if got := w.send(w.gateway, token, w.message(w.user(1))); got != "40003" {
			t.Fatalf("send %d is answered %s, want 40003", i, got)
		}
	}
	if got := w.send(w.gateway, token, w.message(w.user(1))); got != "45011" {
		t.Errorf("paused because of others, a good openid is answered %s, want 45011", got)
	}
}

// TestTemplateAddedLater: a program that goes on sending a template that is not there yet is
// told the truth once it is.
func TestTemplateAddedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	user := w.user(0)
	body := w.message(user)
	body["template_id"] = strings.Repeat("L", 43)
	for range 4 { // each within six hours of the one before
		if got := w.send(w.gateway, w.token(w.gateway), body); got != "40037" {
			t.Fatalf("an unknown template is answered %s", got)
		}
		_, err := w.box.Advance(4 * time.Hour)
		w.must(err)
	}
	late, err := w.box.AddTemplate(sandbox.TemplateSpec{AppID: w.app.AppID})
	w.must(err)
	_, err = w.box.Tap(sandbox.TapSpec{AppID: w.app.AppID, OpenID: user, TemplateIDs: []string{late.TemplateID}})
	w.must(err)
	data := object{}
	for k, v := range late.Example {
		data[k] = object{"value": v}
	}
	body["template_id"], body["data"] = late.TemplateID, data
	got := ""
	for range 2 {
		if got = w.send(w.gateway, w.token(w.gateway), body); got == "0" {
			break
		}
		_, err := w.box.Advance(4 * time.Hour)
		w.must(err)
	}
	if got != "0" {
		t.Errorf("eight hours after it was added it is answered %s", got)
	}
}

// TestStop: a send under way when the server stops is answered what WeChat says, though it
// takes its time.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	token := url.QueryEscape(w.token(w.gateway))
	user := w.user(1)
	called := make(chan struct{})
	w.upstream.instead(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == sendPath {
			close(called)
			time.Sleep(3500 * time.Millisecond)
		}
		w.box.ServeHTTP(rw, r)
	})
	go func() {
		<-called
		w.stop()
	}()
	got, err := w.post(w.http, w.gateway.url+sendPath+"?access_token="+token, w.message(user))
	if err != nil || got != "0" || w.cards()[user] != 1 {
		t.Errorf("answered %q, %v; %d cards", got, err, w.cards()[user])
	}
}

// TestSameAgain: a program that has read the answer and sends the same again means it.
func TestSameAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	target := w.gateway.url + sendPath + "?access_token=" + url.QueryEscape(w.token(w.gateway))
	// PHP and curl close the connection as soon as they have read the answer.
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for name, c := range map[string]*http.Client{"kept connection": w.http, "closed connection": once} {
		for range 30 {
			user, began := w.user(2), time.Now()
			var got []string
			for range 3 {
				errcode, err := w.post(c, target, w.message(user))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, errcode)
			}
			// Of a late answer a repeat may be answered with the same.
			late := c == once && time.Since(began) > 200*time.Millisecond
			if want := []string{"0", "0", "43101"}; !slices.Equal(got, want) && !late {
				t.Errorf("%s: answered %v, want %v", name, got, want)
			}
			if n := w.cards()[user]; n != 2 && !late {
				t.Errorf("%s: %d cards, want 2", name, n)
			}
		}
	}
}

// TestLateAnswer: who gave up just before a late answer came, and asks again, gets that
// answer; who goes on with the connection on which it came has read it.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	target := w.gateway.url + sendPath + "?access_token=" + url.QueryEscape(w.token(w.gateway))
	send := func(c *http.Client, user string, cards int) {
		t.Helper()
		if got, err := w.post(c, target, w.message(user)); err != nil || got != "0" {
			t.Errorf("answered %q, %v", got, err)
		}
		if n := w.cards()[user]; n != cards {
			t.Errorf("%d cards, want %d", n, cards)
		}
	}
	other := &http.Client{Transport: &http.Transport{}}
	defer other.CloseIdleConnections()
	user := w.user(9)
	w.fault(sandbox.FaultSpec{LatencyMS: 400, Count: new(1)})
	send(w.http, user, 1)
	send(other, user, 1) // a repeat
	send(other, user, 2) // which was heard
	user = w.user(9)
	w.fault(sandbox.FaultSpec{LatencyMS: 400, Count: new(1)})
	send(w.http, user, 1)
	send(w.http, user, 2) // by the same connection
}

// TestLeftBeforeCall: for a caller who has left before WeChat is called WeChat is not called;
// the caller may have asked another replica since, and read the answer.
func TestLeftBeforeCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hongyan.AppSettings{})
	target := w.gateway.url + sendPath + "?access_token=" + url.QueryEscape(w.token(w.gateway))
	if got, err := w.post(w.http, target, w.message(w.user(1))); err != nil || got != "0" {
		t.Fatalf("answered %q, %v", got, err)
	}
	_, err := w.box.Advance(3 * time.Hour) // WeChat's token has ended, and ours
	w.must(err)
	target = w.gateway.url + sendPath + "?access_token=" + url.QueryEscape(w.token(w.gateway))
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.upstream.instead(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "token") {
			once.Do(func() { close(asked) })
			<-goOn
		}
		w.box.ServeHTTP(rw, r)
	})
	user := w.user(9)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		body, _ := json.Marshal(w.message(user))
		req, _ := http.NewRequestWithContext(ctx, "POST", target, bytes.NewReader(body))
		if res, err := w.http.Do(req); err == nil {
			_ = res.Body.Close()
			t.Error("the caller got an answer")
		}
	}()
	<-asked // its row is on disk, and its sender waits for a token
	leave()
	<-left
	close(goOn)
	for end := time.Now().Add(20 * time.Second); w.srv.Ledger().Waiting() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the send does not end")
		}
	}
	if n := w.cards()[user]; n != 0 {
		t.Errorf("%d cards for a caller who had left", n)
	}
	if got, err := w.post(w.http, target, w.message(user)); err != nil || got != "0" || w.cards()[user] != 1 {
		t.Errorf("the repeat is answered %q, %v; %d cards", got, err, w.cards()[user])
	}
}
