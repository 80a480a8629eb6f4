package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/ledger/ledgertest/dbserver"
)

// A chaos test is a run of messages, something that strikes in the middle of it, and what
// may come of that. The short forms mostly wait, side by side; HONGYAN_TEST_LONG makes them
// strike more often.

func rounds(short, long int) int {
	if os.Getenv("HONGYAN_TEST_LONG") != "" {
		return long
	}
	return short
}

// everywhere runs a chaos test on all three databases: "" is SQLite, else a URL. In the long
// form it runs that many times.
func everywhere(t *testing.T, long int, test func(t *testing.T, db string)) {
	t.Parallel()
	each(t, "sqlite", long, func(t *testing.T) { test(t, "") })
	onShared(t, long, test)
}

// onShared runs a chaos test on each database that replicas share.
func onShared(t *testing.T, long int, test func(t *testing.T, db string)) {
	for _, k := range shareable {
		each(t, k, long, func(t *testing.T) { test(t, dbserver.Shared(t, k).Create(t)) })
	}
}

// onServers is onShared with a database server of the test's own, to be killed and frozen.
func onServers(t *testing.T, long int, test func(t *testing.T, db *dbserver.Server)) {
	for _, k := range shareable {
		each(t, k, long, func(t *testing.T) { test(t, dbserver.Private(t, k)) })
	}
}

var shareable = []dbserver.Kind{dbserver.Postgres, dbserver.MySQL}

func each(t *testing.T, name dbserver.Kind, long int, test func(t *testing.T)) {
	for range rounds(1, long) {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// setting is what a run starts with.
type setting struct {
	db       string
	messages int
	slow     int    // how long WeChat takes for a call, ms; 0: 80
	grants   int    // of each user; 0: 1
	gateway  bool   // the servers have gateways
	linked   bool   // WeChat is behind a link
	dir      string // of SQLite; "": a temporary one
	unborn   bool   // the test starts the first server, with start or startHere
}

// senders is how many calls each server of a run has under way at most. A crash makes at
// most twice as many messages uncertain.
const (
	senders = 16
	bound   = 2 * senders
)

// run is a load of messages, one to each user, through one server or several.
type run struct {
	*process // the first server, which is asked for what happened
	set      setting
	sb       *witness
	net      *link      // to WeChat, if linked
	also     []*process // more servers: submits go to all of them, repeats to the next

	appid, tmpl string
	data        object
	openids     []string

	ids       []string // what was promised
	done      atomic.Int64
	submitted chan struct{}
	mu        sync.Mutex
	refused   map[string]int // submits, by code
	began     time.Time
}

// newRun starts a server and gives it an app, and users with one grant each.
func newRun(t *testing.T, set setting) *run {
	t.Helper()
	r := &run{set: set, sb: startSandbox(t), submitted: make(chan struct{}), refused: make(map[string]int), began: time.Now()}
	if r.set.slow == 0 {
		r.set.slow = 80
	}
	r.set.grants = max(1, set.grants)
	if set.linked {
		r.net, _ = linkURL(t, r.sb.url)
	}
	r.process = r.server()
	if set.dir != "" {
		r.dir = set.dir
	}
	if !set.unborn {
		r.start()
		r.setup()
	}
	return r
}

// server is one more of the run's servers, not started yet.
func (r *run) server() *process {
	wechat := r.sb.url
	if r.net != nil {
		wechat = "http://" + r.net.addr
	}
	p := newProcess(r.sb.t, wechat, r.set.db, senders)
	if r.set.gateway {
		p.gateway = freeAddr(r.sb.t)
	}
	return p
}

// replica starts one more server on the run's database, for the submits too.
func (r *run) replica() *process {
	r.t.Helper()
	p := r.server()
	p.start()
	r.also = append(r.also, p)
	return p
}

func (r *run) setup() {
	r.t.Helper()
	app := r.sb.control("POST", "apps", object{})
	r.appid = app["appid"].(string)
	tm := r.sb.control("POST", "templates", object{"appid": r.appid})
	r.tmpl, r.data = tm["template_id"].(string), tm["example"].(object)
	r.call("POST", "/v1/apps", object{"appid": r.appid, "secret": app["secret"], "name": "crash", "settings": object{"history": "new"}}, 201)
	r.call("POST", "/v1/apps/"+r.appid+"/templates/sync", object{}, 200)
	for i := range r.set.messages {
		r.openids = append(r.openids, fmt.Sprintf("oCrashTestUser%014d", i))
	}
	r.sb.control("POST", "users", object{"appid": r.appid, "openids": r.openids})
	for range r.set.grants {
		r.sb.control("POST", "taps", object{"appid": r.appid, "openids": r.openids, "template_ids": []string{r.tmpl}})
	}
	for part := range slices.Chunk(r.openids, 25/r.set.grants) {
		var reports []object
		for _, o := range part {
			for k := range r.set.grants {
				reports = append(reports, object{"id": fmt.Sprint("r", k, "-", o), "openid": o, "template": r.tmpl, "choice": "accept"})
			}
		}
		// Many setups share a database server: what was too slow for it once is sent again.
		for end := time.Now().Add(time.Minute); ; {
			status, answer := request(r.t, r.url, adminKey, "POST", "/v1/apps/"+r.appid+"/grants/report", object{"reports": reports})
			if status == 200 {
				break
			}
			if status != 503 || time.Now().After(end) {
				time.Sleep(time.Second) // for the log
				r.t.Fatalf("report grants: %d %v: %s", status, answer, r.stderr)
			}
		}
	}
	r.calm()
}

// calm lets WeChat answer every call, after a moment.
func (r *run) calm() {
	r.t.Helper()
	r.faults()
}

// faults replaces what goes wrong at WeChat; calls that none of them meets take a moment.
func (r *run) faults(list ...object) {
	r.t.Helper()
	r.sb.control("DELETE", "faults", nil)
	for _, f := range append(list, object{"latency_ms": r.set.slow, "when": "before"}) {
		f["path"] = sendPath
		r.sb.control("POST", "faults", f)
	}
}

func (r *run) message(i int) object {
	return object{"app": r.appid, "to": r.openids[i], "template": r.tmpl, "data": r.data}
}

// submit begins to send one message to each user.
func (r *run) submit() { r.load(10*time.Second, r.insist) }

// load begins to send to each user. send sends message i to one of the servers and answers
// which; its client waits no longer than patience.
func (r *run) load(patience time.Duration, send func(client *http.Client, server, i int) int) {
	r.ids = make([]string, len(r.openids))
	r.t.Cleanup(func() { <-r.submitted }) // soon, also if the test has failed
	go func() {
		defer close(r.submitted)
		var wg sync.WaitGroup
		const workers = 32
		for w := range workers {
			wg.Go(func() {
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: patience}
				defer client.CloseIdleConnections()
				server := w // each has a server of its own until that one fails it
				for i := w; i < len(r.ids) && !r.t.Failed(); i += workers {
					server = send(client, server, i)
				}
			})
		}
		wg.Wait()
	}()
}

// insist submits a message until one of the servers has promised it, and answers which: the
// same Idempotency-Key makes a repeat harmless.
func (r *run) insist(client *http.Client, server, i int) int {
	body, _ := json.Marshal(r.message(i))
	servers := append([]*process{r.process}, r.also...)
	for ; !r.t.Failed(); server++ {
		req, _ := http.NewRequest("POST", servers[server%len(servers)].url+"/v1/messages", bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+adminKey)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "message-"+r.openids[i])
		res, err := client.Do(req)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		var m object
		err = json.NewDecoder(res.Body).Decode(&m)
		_ = res.Body.Close()
		if res.StatusCode == 202 && err == nil {
			r.ids[i] = m["id"].(string)
			r.done.Add(1)
			return server
		}
		if err == nil {
			r.mu.Lock()
			r.refused[fmt.Sprint(res.StatusCode, " ", m["code"])]++
			r.mu.Unlock()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return server
}

// reach waits until n messages were promised.
func (r *run) reach(n int) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); r.done.Load() < int64(min(n, len(r.openids))); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("only %d messages were accepted: %s", r.done.Load(), r.stderr)
		}
	}
}

// some is how many messages of a status there are, if not more than most.
func (r *run) some(status string, most int) int {
	r.t.Helper()
	return len(r.call("GET", fmt.Sprintf("/v1/messages?limit=%d&app=%s&status=%s", most, r.appid, status), nil, 200)["items"].([]any))
}

// drain waits until everything was promised and nothing is waiting or under way any more.
func (r *run) drain() {
	r.t.Helper()
	<-r.submitted
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		// In one question: a message goes from one of these to another and back.
		if r.some("queued,sending,scheduled", 1) == 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("not drained: at least %d queued, %d sending, %d scheduled: %s", r.some("queued", 500), r.some("sending", 500), r.some("scheduled", 500), r.stderr)
		}
	}
}

// all lists what the API has at a path, whole.
func (r *run) all(path string) []object {
	r.t.Helper()
	var out []object
	cursor := ""
	for {
		page := r.call("GET", path+"&limit=500&cursor="+cursor, nil, 200)
		for _, x := range page["items"].([]any) {
			out = append(out, x.(object))
		}
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			return out
		}
	}
}

// verify waits until the run has drained by itself, and asks the ledger and the phones:
// nothing lost, nothing twice, the grants add up, and from least to most are uncertain.
func (r *run) verify(least, most int) {
	r.t.Helper()
	r.drain()
	if r.t.Failed() {
		return // it was given up half way
	}
	n := len(r.openids)
	known := make(map[string]object)
	for _, m := range r.all("/v1/messages?app=" + r.appid) {
		known[m["id"].(string)] = m
	}
	cards := r.sb.cards(r.appid)
	count := make(map[string]int)
	lost, twice, phantoms := 0, 0, 0
	for _, id := range r.ids {
		m := known[id]
		if m == nil {
			lost++
			continue
		}
		status, to := m["status"].(string), m["to"].(string)
		count[status]++
		if status == "accepted" && cards[to] == 0 {
			phantoms++
		}
		if cards[to] > 1 {
			twice++
		}
	}
	if lost != 0 || twice != 0 || phantoms != 0 {
		r.t.Errorf("of %d promised messages %d are lost, %d arrived twice, %d are accepted and arrived nowhere", n, lost, twice, phantoms)
	}
	if count["accepted"]+count["uncertain"] != n || count["uncertain"] < least || count["uncertain"] > most {
		r.t.Errorf("%v; want %d in all, %d to %d of them uncertain", count, n, least, most)
	}
	if len(known) != n {
		r.t.Errorf("the ledger has %d messages, want %d: a repeated submit made another one", len(known), n)
	}
	r.verifyGrants(count)
	for code, times := range r.refused {
		switch code {
		case "503 storage_unavailable", "503 shutting_down", "409 idempotency_key_in_use":
		default:
			r.t.Errorf("%d submits were refused with %s: %s", times, code, r.stderr)
		}
	}
	r.t.Logf("%s: %d messages: %v (%d to %d uncertain allowed), %d lost; phones received %d, %d twice; refused meanwhile %v; %.0f s",
		r.t.Name(), n, count, least, most, lost, len(cards), twice, r.refused, time.Since(r.began).Seconds())
}

// verifyGrants compares the users' grants with what became of the messages.
func (r *run) verifyGrants(count map[string]int) {
	r.t.Helper()
	got := make(map[string]int)
	unsound := 0
	for _, g := range r.all("/v1/apps/" + r.appid + "/grants?") {
		sum := 0
		for _, part := range []string{"available", "reserved", "spent", "voided"} {
			k := int(g[part].(float64))
			got[part] += k
			sum += k
		}
		if sum != r.set.grants || g["granted"].(float64) != float64(sum) {
			unsound++
		}
	}
	held, spent := count["uncertain"], count["accepted"]
	want := map[string]int{"available": len(r.openids)*r.set.grants - held - spent, "reserved": held, "spent": spent, "voided": 0}
	if unsound != 0 || !maps.Equal(got, want) {
		r.t.Errorf("grants: %v, want %v; %d do not add up to what was reported", got, want, unsound)
	}
}
