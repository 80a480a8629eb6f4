package sandbox

import (
	"bytes"
	"net"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

const (
	// ridLife is how long a rid can be looked up.
	ridLife = 7 * 24 * time.Hour
	// keepRids is how many calls can be looked up, the newest ones.
	keepRids = 10_000
	// ridText is how much of each text of a call is kept. WeChat's own limit is not known.
	ridText = 4 << 10
)

// ridCall is a call that was answered with a rid.
type ridCall struct {
	app                 *app
	at                  time.Time
	took                time.Duration
	query, body, answer string
	client              string
}

// ridLog finds calls by their rid.
type ridLog struct {
	mu    sync.Mutex
	calls map[string]ridCall
	order []string // grows up to keepRids, then wraps
	n     int
}

func (l *ridLog) add(rid string, c ridCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = make(map[string]ridCall)
	}
	if len(l.order) < keepRids {
		l.order = append(l.order, rid)
	} else {
		delete(l.calls, l.order[l.n%keepRids])
		l.order[l.n%keepRids] = rid
	}
	l.n++
	l.calls[rid] = c
}

func (l *ridLog) find(rid string) (ridCall, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.calls[rid]
	return c, ok
}

// keepRid makes the call findable, if its caller gets to see a rid and is known.
func (c *call) keepRid(a answer, took time.Duration) {
	if c.ridOut == "" || c.app == nil || !a.isJSON || !bytes.Contains(a.body, []byte(c.ridOut)) {
		return
	}
	c.w.rids.add(c.ridOut, ridCall{
		app: c.app, at: c.at, took: took, client: remoteIP(c.r.RemoteAddr).String(),
		query: head(c.r.URL.RawQuery), body: head(string(c.body)), answer: head(string(a.body)),
	})
}

// head is the beginning of a text, in memory of its own.
func head(s string) string {
	return string([]byte(s[:min(len(s), ridText)]))
}

var ridForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)

// getRid is POST /cgi-bin/openapi/rid/get. Like WeChat it shows the query with the access
// token in it: whoever asks has to cut that out.
func (c *call) getRid() answer {
	var rid string
	o, ok := parseObject(c.body)
	if !ok || !o.text("rid", &rid) {
		return c.refuse(wechat.ErrcodeDataFormat)
	}
	if !ridForm.MatchString(rid) {
		return c.refuse(errcodeRidMalformed)
	}
	made, _ := wechat.RidTime(rid)
	if age := c.at.Sub(made); age > ridLife || age < -time.Second {
		return c.refuse(errcodeRidTime)
	}
	found, ok := c.w.rids.find(rid)
	switch {
	case !ok:
		return c.refuse(errcodeRidNotFound)
	case found.app != c.app:
		return c.refuse(errcodeRidNotAllowed)
	}
	type request struct {
		InvokeTime   int64  `json:"invoke_time"`
		CostInMS     int64  `json:"cost_in_ms"`
		RequestURL   string `json:"request_url"`
		RequestBody  string `json:"request_body"`
		ResponseBody string `json:"response_body"`
		ClientIP     string `json:"client_ip"`
	}
	return c.ok(struct {
		status
		Request request `json:"request"`
	}{status{Errmsg: "ok"}, request{found.at.Unix(), found.took.Milliseconds(), found.query, found.body, found.answer, found.client}})
}

// checkCallback is POST /cgi-bin/callback/check. Nothing is resolved or pinged: the host of
// the push URL stands for itself if it is an address, and is this machine if it is a name.
func (c *call) checkCallback() answer {
	var action, operator string
	o, ok := parseObject(c.body)
	if !ok || !o.text("action", &action) || !o.text("check_operator", &operator) {
		return c.refuse(wechat.ErrcodeDataFormat)
	}
	push := c.app.pushConfig()
	switch {
	case !slices.Contains([]string{wechat.CheckAll, wechat.CheckDNS, wechat.CheckPing}, action):
		return c.refuse(errcodeCheckAction)
	case !slices.Contains([]string{wechat.OperatorDefault, wechat.OperatorChinanet, wechat.OperatorUnicom, wechat.OperatorTencent}, operator):
		return c.refuse(errcodeCheckOperator)
	case push == nil:
		return c.refuse(errcodeNoPushURL)
	}
	if operator == wechat.OperatorDefault {
		operator = wechat.OperatorUnicom
	}
	ip := "127.0.0.1"
	if u, err := url.Parse(push.URL); err == nil && net.ParseIP(u.Hostname()) != nil {
		ip = u.Hostname()
	}
	var v wechat.CallbackCheck
	if action != wechat.CheckPing {
		v.DNS = []wechat.CallbackDNS{{IP: ip, RealOperator: operator}}
	}
	if action != wechat.CheckDNS {
		v.Ping = []wechat.CallbackPing{{IP: ip, FromOperator: operator, PackageLoss: "0%", Time: "0.042ms"}}
	}
	return c.ok(v)
}
