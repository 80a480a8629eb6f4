package sandbox

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// WeChat's paths, as far as they are imitated.
const (
	pathToken        = "/cgi-bin/token"
	pathStableToken  = "/cgi-bin/stable_token"
	pathCode2Session = "/sns/jscode2session"
	pathSend         = "/cgi-bin/message/subscribe/send"
	pathTemplates    = "/wxaapi/newtmpl/"

	allPaths      = "*" // in rules and faults
	controlPrefix = "/_sandbox"
)

// maxBody is the largest request body; WeChat's own limit is not known.
const maxBody = 1 << 20

// route is one of WeChat's endpoints.
type route struct {
	path   string
	method string
	// token says that an access_token is needed. Calls without one say who they
	// are by appid and secret.
	token bool
	// mayWait says that the handler waits for the delay itself, at a moment of
	// its choosing.
	mayWait bool
	handle  func(*call) answer
}

func routeTable() map[string]*route {
	m := make(map[string]*route)
	for _, r := range []*route{
		{path: pathToken, method: http.MethodGet, handle: (*call).getToken},
		{path: pathStableToken, method: http.MethodPost, handle: (*call).getStableToken},
		{path: pathCode2Session, method: http.MethodGet, handle: (*call).code2Session},
		{path: "/wxa/checksession", method: http.MethodGet, token: true, handle: (*call).checkSession},
		{path: "/wxa/resetusersessionkey", method: http.MethodGet, token: true, handle: (*call).resetSessionKey},
		{path: pathTemplates + "getcategory", method: http.MethodGet, token: true, handle: (*call).getCategory},
		{path: pathTemplates + "getpubtemplatetitles", method: http.MethodGet, token: true, handle: (*call).getPubTitles},
		{path: pathTemplates + "getpubtemplatekeywords", method: http.MethodGet, token: true, handle: (*call).getPubKeywords},
		{path: pathTemplates + "gettemplate", method: http.MethodGet, token: true, handle: (*call).getTemplates},
		{path: pathTemplates + "addtemplate", method: http.MethodPost, token: true, handle: (*call).addTemplate},
		{path: pathTemplates + "deltemplate", method: http.MethodPost, token: true, handle: (*call).deleteTemplate},
		{path: pathSend, method: http.MethodPost, token: true, mayWait: true, handle: (*call).send},
		{path: "/cgi-bin/openapi/quota/get", method: http.MethodPost, token: true, handle: (*call).getQuota},
		{path: "/cgi-bin/openapi/quota/clear", method: http.MethodPost, token: true, handle: (*call).clearAPIQuota},
		{path: "/cgi-bin/clear_quota", method: http.MethodPost, token: true, handle: (*call).clearQuota},
		{path: "/cgi-bin/clear_quota/v2", method: http.MethodPost, handle: (*call).clearQuotaBySecret},
		{path: "/cgi-bin/openapi/rid/get", method: http.MethodPost, token: true, handle: (*call).getRid},
		{path: "/cgi-bin/callback/check", method: http.MethodPost, token: true, handle: (*call).checkCallback},
		{path: "/cgi-bin/get_api_domain_ip", method: http.MethodGet, token: true, handle: (*call).ipList},
		{path: "/cgi-bin/getcallbackip", method: http.MethodGet, token: true, handle: (*call).ipList},
	} {
		m[r.path] = r
	}
	return m
}

// call is one request to an emulated endpoint.
type call struct {
	s     *Sandbox
	w     *world
	r     *http.Request
	route *route
	query url.Values
	body  []byte

	at      time.Time // on the sandbox's clock
	started time.Time // on the machine's, for the duration
	token   *accessToken
	app     *app
	openID  string
	ridOut  string // the request id of the answer, if it names one

	fault  *firedFault
	waited bool
	held   *user // to be released when the call ends
}

// answer is what goes back. The zero answer is none at all: the connection ends.
type answer struct {
	status  int
	header  [2]string
	body    []byte
	errcode int
	isJSON  bool // a whole answer of WeChat, with an errcode to record
}

// ServeHTTP serves WeChat's paths and, under /_sandbox/, the control surface.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == controlPrefix || strings.HasPrefix(r.URL.Path, controlPrefix+"/") {
		s.serveControl(w, r)
		return
	}
	c := &call{s: s, w: s.world.Load(), r: r, at: s.Now(), started: time.Now()}
	a := c.serve()
	c.record(a)
	if a.status == 0 {
		// Ends the connection without a byte, which is what a client sees when a
		// gateway dies.
		panic(http.ErrAbortHandler)
	}
	if a.header[0] != "" {
		w.Header().Set(a.header[0], a.header[1])
	}
	if a.isJSON {
		// The odd parameter was seen; clients must not depend on the header.
		w.Header().Set("Content-Type", "application/json; encoding=utf-8")
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// serve finds the answer. The user a send holds is let go before it is written:
// its receiver may send to the same user at once.
func (c *call) serve() answer {
	defer c.release()
	c.route = c.s.routes[c.r.URL.Path]
	if c.route == nil {
		a := c.refuse(errcodeInvalidURL)
		a.status = http.StatusNotFound
		return a
	}
	// All of the body is read first: only then does net/http notice that a
	// client has gone away during a stall.
	body, err := io.ReadAll(http.MaxBytesReader(nil, c.r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return c.refuse(wechat.ErrcodeContentTooLong)
	} else if err != nil {
		return answer{}
	}
	c.body, c.query = body, c.r.URL.Query()
	c.identify()

	c.fault = c.w.faults.pick(c.route.path, c.app)
	if c.fault.replaces(before) {
		c.openID = c.peekOpenID()
		if !c.wait() {
			return answer{}
		}
		return c.fault.answer(c, answer{})
	}
	a := c.process()
	if a.status != 0 && c.fault.acts(after) {
		if !c.s.sleep(c.r, c.fault.latency) {
			return answer{}
		}
		a = c.fault.answer(c, a)
	}
	return a
}

// process does what WeChat does, with the delay that comes before it.
func (c *call) process() answer {
	a, refused := c.admit()
	if !refused {
		if !c.route.mayWait && !c.wait() {
			return answer{}
		}
		a = c.route.handle(c)
	}
	if a.status != 0 && !c.wait() { // a refusal takes its time, too
		return answer{}
	}
	return a
}

// identify finds out whose call it is, as far as it can be told before checking
// anything.
func (c *call) identify() {
	if c.route.token {
		c.token = c.w.token(c.query.Get("access_token"))
		if c.token != nil {
			c.app = c.token.app
		}
		return
	}
	appID := c.query.Get("appid")
	if appID == "" && len(c.body) > 0 {
		o, _ := parseObject(c.body)
		o.text("appid", &appID)
	}
	c.app = c.w.app(appID)
}

// admit makes the checks that all endpoints share, in the order of the table in
// wechat-api.md: token, method, body. It reports whether it refused.
func (c *call) admit() (answer, bool) {
	code := 0
	wrongMethod := c.r.Method != c.route.method
	switch {
	case c.route.token && c.query.Get("access_token") == "":
		code = wechat.ErrcodeTokenMissing
	case c.route.token:
		code = c.admitToken(wrongMethod)
	}
	switch {
	case code != 0:
	case wrongMethod && strings.HasPrefix(c.route.path, pathTemplates):
		code = errcodeNotFound
	case wrongMethod && c.route.method == http.MethodGet:
		code = wechat.ErrcodeRequireGET
	case wrongMethod:
		code = wechat.ErrcodeRequirePOST
	case c.route.method == http.MethodPost && len(c.body) == 0 && c.route.path != "/cgi-bin/clear_quota/v2":
		code = wechat.ErrcodeEmptyPostData // v2 may have its fields in the query
	}
	if code != 0 {
		return c.refuse(code), true
	}
	return answer{}, false
}

// admitToken checks the token and the account. Sends count against their quota
// later, after their data was looked at.
func (c *call) admitToken(wrongMethod bool) int {
	if c.token == nil {
		return wechat.ErrcodeInvalidCredential
	}
	now := c.s.Now()
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	if code := c.token.refusal(now); code != 0 || wrongMethod {
		return code
	}
	if code := c.app.rules.accountErrcode(c.route.path); code != 0 {
		return code
	}
	if c.route.path != pathSend && c.app.overQuota(c.route.path, now) {
		return wechat.ErrcodeDailyQuota
	}
	return 0
}

// wait spends the delay that comes before processing, once. It is false when
// there is nobody left to answer.
func (c *call) wait() bool {
	if c.waited {
		return true
	}
	c.waited = true
	d := c.s.cfg.Latency
	if c.fault.acts(before) {
		d += c.fault.latency
	}
	return c.s.sleep(c.r, d)
}

// sleep waits until d is over. It is false when the client went away or the
// sandbox was closed meanwhile.
func (s *Sandbox) sleep(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
	case <-s.done:
	}
	return false
}

// release lets others send to the user that this call held.
func (c *call) release() {
	if c.held == nil {
		return
	}
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	c.held.busy = false
	c.held = nil
}

// ok answers with v. WeChat's successes have an errcode or not, as v does.
func (c *call) ok(v any) answer {
	return answer{status: http.StatusOK, body: encode(v), isJSON: true}
}

// refuse answers with an errcode; the HTTP status is 200 all the same.
func (c *call) refuse(code int) answer { return c.refuseText(code, errmsgOf(code)) }

func (c *call) refuseText(code int, text string) answer {
	v := status{Errcode: code, Errmsg: text + c.rid()}
	return answer{status: http.StatusOK, body: encode(v), errcode: code, isJSON: true}
}

// status is the part that most of WeChat's answers share.
type status struct {
	Errcode int    `json:"errcode"`
	Errmsg  string `json:"errmsg"`
}

// rid is the tail of an errmsg. Under /sns it has a comma.
func (c *call) rid() string {
	c.ridOut = newRid(c.at)
	if strings.HasPrefix(c.r.URL.Path, "/sns/") {
		return ", rid: " + c.ridOut
	}
	return " rid: " + c.ridOut
}

// record writes the call down.
func (c *call) record(a answer) {
	// The duration is real time: the sandbox's clock may jump or stand still.
	took := time.Since(c.started)
	rec := Call{
		Path: c.r.URL.Path, OpenID: c.openID, At: c.at.UTC(),
		DurationMS: float64(took.Microseconds()) / 1000,
		Fault:      c.fault != nil,
	}
	if len(rec.Path) > 200 {
		rec.Path = rec.Path[:200]
	}
	if c.app != nil {
		rec.AppID = c.app.id
	}
	if a.isJSON {
		rec.Errcode = &a.errcode
	}
	c.w.calls.add(rec, c.route != nil)
	c.keepRid(a, took)
	c.s.log.Debug("call", slog.String("path", rec.Path), slog.String("appid", rec.AppID),
		slog.Int("status", a.status), slog.Int("errcode", a.errcode),
		slog.Bool("fault", rec.Fault), slog.Float64("duration_ms", rec.DurationMS))
}
