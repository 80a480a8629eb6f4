package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// TestChaosGatewayKilled kills the server, or one of two by turns, while programs send through
// its gateway in mode sync and ask again as SDKs do: on -1, on 45011, when the connection is
// closed or refused, when no answer comes in time. Each user has grants for many messages, so nothing
// but the gateway keeps a repeat from arriving.
//
// What saves it is that identical sends join: Ledger.SendSync looks for messages that say the
// same, on disk and in memory, and records an accept only once its caller was answered. On
// SQLite more than a hundred messages arrive twice without the first.
func TestChaosGatewayKilled(t *testing.T) {
	everywhere(t, 3, func(t *testing.T, db string) {
		kills, messages := rounds(2, 12), rounds(300, 4000)
		if db == "" {
			kills, messages = rounds(12, 60), rounds(1500, 10_000)
		}
		r := newRun(t, setting{db: db, messages: messages, slow: 20, grants: sdkTries, gateway: true})
		servers := []*process{r.process}
		if db != "" {
			servers = append(servers, r.replica())
		}
		r.faults(object{"errcode": -1, "count": 20}, object{"latency_ms": 1200, "when": "after", "share": 0.02, "seed": rand.IntN(1 << 30)})
		s := r.sdks()
		for i := range kills {
			r.reach(messages*i/kills + rand.IntN(messages/kills))
			servers[i%len(servers)].kill()
			servers[i%len(servers)].start()
		}
		t.Logf("%d kills", kills)
		s.verify(kills * bound)
	})
}

const (
	sdkTries    = 8 // how often a program sends a message at most
	sdkPatience = time.Second
	sdkPause    = 200 * time.Millisecond
)

// sdkRun is a run whose messages go through the gateway.
type sdkRun struct {
	*run
	told    []string   // by user: the errcode that the program ended with; "": it gave up
	tries   [][]string // by user: when it asked whom, and what came of it
	repeats map[string]*atomic.Int64
}

// sdks begins to send one message to each user, by programs that have one access token for
// all the time: it outlives the servers that are killed.
func (r *run) sdks() *sdkRun {
	r.t.Helper()
	s := &sdkRun{run: r, told: make([]string, len(r.openids)), tries: make([][]string, len(r.openids)), repeats: make(map[string]*atomic.Int64)}
	for _, why := range []string{"-1", "45011", "timeout", "connection"} {
		s.repeats[why] = new(atomic.Int64)
	}
	key := r.call("POST", "/v1/keys", object{"name": "sdk", "scopes": []string{"gateway"}, "apps": []string{r.appid}}, 201)
	token := ""
	for _, p := range append([]*process{r.process}, r.also...) {
		token = p.token(r.appid, key["key"].(string))
	}
	r.load(sdkPatience, func(client *http.Client, server, i int) int {
		defer r.done.Add(1)
		return s.send(client, url.QueryEscape(token), server, i)
	})
	return s
}

// token is an access token of the server's gateway, once it has heard of the key.
func (p *process) token(appid, key string) string {
	p.t.Helper()
	q := url.Values{"grant_type": {"client_credential"}, "appid": {appid}, "secret": {key}}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, out := request(p.t, "http://"+p.gateway, "", "GET", "/cgi-bin/token?"+q.Encode(), nil)
		if token, ok := out["access_token"].(string); ok {
			return token
		}
		if time.Now().After(end) {
			p.t.Fatalf("token: %v", out)
		}
	}
}

// send sends message i until it is answered with something that is not worth a repeat.
func (s *sdkRun) send(client *http.Client, token string, server, i int) int {
	data := make(object)
	for k, v := range s.data {
		data[k] = object{"value": v}
	}
	body, _ := json.Marshal(object{"touser": s.openids[i], "template_id": s.tmpl, "data": data})
	servers := append([]*process{s.process}, s.also...)
	for try := range sdkTries {
		if try > 0 {
			time.Sleep(sdkPause)
		}
		asked := time.Since(s.began)
		res, err := client.Post("http://"+servers[server%len(servers)].gateway+sendPath+"?access_token="+token, "application/json", bytes.NewReader(body))
		var m object
		if err == nil {
			err = json.NewDecoder(res.Body).Decode(&m)
			_ = res.Body.Close()
		}
		why := "connection"
		if err == nil {
			why = fmt.Sprint(m["errcode"])
			s.ids[i] = res.Header.Get("X-Hongyan-Message")
		} else if os.IsTimeout(err) || errors.Is(err, os.ErrDeadlineExceeded) {
			why = "timeout"
		}
		s.tries[i] = append(s.tries[i], fmt.Sprintf("%d: %.3f-%.3f %s", server%len(servers), asked.Seconds(), time.Since(s.began).Seconds(), why))
		if s.repeats[why] == nil {
			s.told[i] = why
			return server
		}
		s.repeats[why].Add(1)
		server++
	}
	return server
}

// verify waits until all is final or uncertain, and compares what programs were told with the
// ledger and the phones.
func (s *sdkRun) verify(most int) {
	s.t.Helper()
	s.drain()
	known, count, accepted, maybe := make(map[string]object), make(map[string]int), make(map[string]int), make(map[string]int)
	for _, m := range s.all("/v1/messages?app=" + s.appid) {
		known[m["id"].(string)] = m
		status, to := m["status"].(string), m["to"].(string)
		count[status]++
		switch status {
		case "accepted":
			accepted[to]++
		case "uncertain":
			maybe[to]++
		case "failed": // unsent: WeChat said -1, or nobody called it
			if m["errcode"] != float64(-1) && m["reason"] != "not_started" {
				s.t.Errorf("a message failed: %v", m)
			}
		default:
			s.t.Errorf("%s is %s", m["id"], status)
		}
	}
	cards := s.sb.cards(s.appid)
	told := make(map[string]int)
	lost, twice, untrue, unknown := 0, 0, 0, 0
	for i, to := range s.openids {
		told[s.told[i]]++
		n := cards[to]
		if n > 1 {
			twice++
			s.t.Errorf("%s received %d cards; its program: %q; its messages: %v", to, n, s.tries[i], s.all("/v1/messages?app="+s.appid+"&to="+to))
		}
		if s.told[i] == "0" && n != 1 {
			untrue++
		}
		if s.ids[i] != "" && known[s.ids[i]] == nil {
			lost++
		}
		if n < accepted[to] || n > accepted[to]+maybe[to] {
			unknown++
		}
	}
	if lost != 0 || twice != 0 || untrue != 0 || unknown != 0 {
		s.t.Errorf("%d messages that a program was told of are lost, %d arrived twice, %d of which it was told 0 did not arrive once; of %d users the ledger has not what the phone has", lost, twice, untrue, unknown)
	}
	if told["0"]+told[""] != len(s.openids) || told["0"] < len(s.openids)/2 || s.repeats["connection"].Load() == 0 || s.repeats["timeout"].Load() == 0 || s.repeats["-1"].Load() == 0 {
		s.t.Errorf("programs were told %v after repeats on %v; want half of them told 0 at least, none anything else, and repeats on -1, timeout and connection", told, s.said())
	}
	if count["uncertain"] > most {
		s.t.Errorf("%d messages are uncertain, the bound is %d", count["uncertain"], most)
	}
	s.verifyGrants(count)
	s.t.Logf("%s: %d programs: told %v (\"\": gave up), repeats on %v; %v (%d uncertain allowed), %d lost; phones received %d, %d twice; %.0f s",
		s.t.Name(), len(s.openids), told, s.said(), count, most, lost, len(cards), twice, time.Since(s.began).Seconds())
}

// said is how often programs repeated, by why.
func (s *sdkRun) said() map[string]int64 {
	out := make(map[string]int64)
	for why, n := range s.repeats {
		out[why] = n.Load()
	}
	return out
}
