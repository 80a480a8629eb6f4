// Package callback is the way in from WeChat: the URL that 消息推送配置 of its console names.
// It hides how a push is verified, opened, stored and answered, and how the handler that an
// app had before goes on hearing of everything.
//
// It promises that a push answered with success is on disk, that the answer comes within
// [answerTime] whatever waits behind it, and that nothing unverified is stored as a push or
// passed on. What a push changes is the ledger's to decide, later.
//
// Start: [New] gives an [http.Handler] for /callback/; [Receiver.Run] does what is left to do
// after an answer.
package callback

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// answerTime is how long an answer may take in all. WeChat waits for five seconds.
const answerTime = 4 * time.Second

// Config is what the receiver needs.
type Config struct {
	Ledger *ledger.Ledger
	// Forward calls the handlers that apps had before; it must keep away from addresses that
	// integrators may not name.
	Forward *http.Client
	// Client is the address of who asks.
	Client func(*http.Request) string
	Now    func() time.Time // what timestamps compare with; default: the ledger's clock
	Logger *slog.Logger     // default: discard
}

// Receiver answers WeChat.
type Receiver struct {
	cfg     Config
	log     *slog.Logger
	mux     *http.ServeMux
	noted   seldom // refusals
	told    seldom // failures to forward
	later   later
	pushes  *prometheus.CounterVec
	forward *prometheus.CounterVec
}

// New makes a receiver.
func New(cfg Config) (*Receiver, error) {
	if cfg.Ledger == nil || cfg.Forward == nil || cfg.Client == nil {
		return nil, errors.New("callback: a ledger, a client to forward with and the address of callers are needed")
	}
	if cfg.Now == nil {
		cfg.Now = cfg.Ledger.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	rc := &Receiver{cfg: cfg, log: cfg.Logger, mux: http.NewServeMux(), later: newLater(),
		pushes:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hongyan_callbacks_total", Help: "Calls of the callback URL by event (url_check, other, unknown where it was refused unread) and by what they came to: taken, refused, failed."}, []string{"event", "result"}),
		forward: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hongyan_callback_forwards_total", Help: "Pushes passed on to forward_to by what came of it: ok, failed, timeout, dropped."}, []string{"result"}),
	}
	rc.mux.HandleFunc("GET /callback/{appid}", rc.known(rc.echo))
	rc.mux.HandleFunc("POST /callback/{appid}", rc.known(rc.take))
	return rc, nil
}

// Collectors are the receiver's metrics.
func (rc *Receiver) Collectors() []prometheus.Collector {
	return []prometheus.Collector{rc.pushes, rc.forward}
}

// ServeHTTP answers one call of WeChat's, or of whoever found the URL.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// echostr and answers of old handlers go back as they came: no browser may take them for a page.
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	rc.mux.ServeHTTP(w, r)
}

// call is one request for an app that receives pushes.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	app       hongyan.AppID
	keys      wechat.CallbackKeys
	forwardTo string
}

// reply is an answer.
type reply struct {
	status      int
	contentType string
	body        []byte
}

func text(status int, body string) reply {
	return reply{status, "text/plain; charset=utf-8", []byte(body)}
}

func (p reply) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", p.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body) // whoever does not hear it asks again
}

var (
	success  = text(http.StatusOK, "success")
	notFound = text(http.StatusNotFound, "nothing is received here\n")
	tryAgain = text(http.StatusServiceUnavailable, "not stored; try again\n")
)

// known looks the app's keys up. An app without them is answered as one that is not here.
func (rc *Receiver) known(next func(context.Context, *call) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		app := hongyan.AppID(r.PathValue("appid"))
		keys, err := rc.cfg.Ledger.CallbackKeys(app)
		switch hongyan.CodeOf(err) {
		case "":
			next(ctx, &call{w, r, app, protocolKeys(app, keys), keys.ForwardTo}).write(w)
		case hongyan.CodeAppNotFound, hongyan.CodeNotFound:
			notFound.write(w)
		default:
			rc.log.ErrorContext(ctx, "callback keys cannot be opened", "appid", string(app), "err", err)
			tryAgain.write(w)
		}
	}
}

// protocolKeys leaves out a previous key without a current one: in plain mode none is used.
func protocolKeys(app hongyan.AppID, k ledger.CallbackKeys) wechat.CallbackKeys {
	out := wechat.CallbackKeys{AppID: string(app), Token: k.Token.Reveal(), AESKey: k.AESKey.Reveal()}
	if out.AESKey != "" {
		out.PreviousAESKey = k.PreviousAESKey.Reveal()
	}
	return out
}

const urlCheck = "url_check" // as an event in metrics

// echo answers WeChat's check of the URL.
func (rc *Receiver) echo(ctx context.Context, c *call) reply {
	q, err := c.query()
	var echostr string
	if err == nil {
		echostr, err = c.keys.Echo(q, rc.cfg.Now())
	}
	if err != nil {
		return rc.refuse(ctx, c, urlCheck, err)
	}
	if err := rc.cfg.Ledger.CallbackVerified(ctx, c.app); err != nil {
		rc.log.ErrorContext(ctx, "callback check not noted", "appid", string(c.app), "err", err) // the URL is right all the same
	}
	rc.pushes.WithLabelValues(urlCheck, "taken").Inc()
	return text(http.StatusOK, echostr)
}

// take stores a push and answers it. Whatever else it is good for happens later, but for an
// old handler's answer, which may say something to the user.
func (rc *Receiver) take(ctx context.Context, c *call) reply {
	q, err := c.query()
	var body []byte
	if err == nil {
		body, err = c.read(ctx)
	}
	var push *wechat.Callback
	if err == nil {
		push, err = c.keys.Open(q, body, rc.cfg.Now())
	}
	if err != nil {
		return rc.refuse(ctx, c, "unknown", err)
	}
	cb, event := translate(push), label(push)
	if err := rc.cfg.Ledger.RecordCallback(ctx, c.app, cb); hongyan.CodeOf(err) == hongyan.CodeInvalid {
		return rc.refuse(ctx, c, event, &wechat.CallbackError{Reason: wechat.CallbackBadBody, Detail: err.Error()})
	} else if err != nil {
		// The ledger has logged what is wrong with the disk; WeChat comes again.
		rc.pushes.WithLabelValues(event, "failed").Inc()
		return tryAgain
	}
	rc.pushes.WithLabelValues(event, "taken").Inc()
	if c.forwardTo == "" {
		return success
	}
	f := &forward{app: c.app, event: cb.Event, to: c.forwardTo, query: c.r.URL.RawQuery, contentType: c.r.Header.Get("Content-Type"),
		agent: c.r.UserAgent(), client: rc.cfg.Client(c.r), body: body}
	if !subscription(cb.Event) {
		answer, _ := rc.pass(ctx, f)
		return answer
	}
	rc.passLater(ctx, f)
	return success
}

// query is strict, because what is not read here might be read by an old handler.
func (c *call) query() (url.Values, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, &wechat.CallbackError{Reason: wechat.CallbackBadQuery, Detail: "the query cannot be read"}
	}
	return q, nil
}

// errSlow is a body that did not come in time, errGone one that ended too early.
var (
	errSlow = errors.New("the body did not come in time")
	errGone = errors.New("the body ended too early")
)

// read reads the body while there is time. The deadline is all that bounds how many bodies
// are in memory: a stranger has to send what he wants to be kept, and only for so long.
func (c *call) read(ctx context.Context) ([]byte, error) {
	tooLarge := &wechat.CallbackError{Reason: wechat.CallbackTooLarge, Detail: "the body is larger than 1 MiB"}
	if c.r.ContentLength > wechat.MaxCallbackBody {
		return nil, tooLarge
	}
	if end, ok := ctx.Deadline(); ok {
		_ = http.NewResponseController(c.w).SetReadDeadline(end) // each request begins with a new one
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, wechat.MaxCallbackBody))
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSlow
	}
	return nil, errGone
}

// refuse answers what cannot be taken, and notes why. The answer does not tell why: whoever
// holds the token but not the EncodingAESKey could learn from it how what he made up was
// decrypted, and so read what was not meant for him.
func (rc *Receiver) refuse(ctx context.Context, c *call, event string, err error) reply {
	rc.pushes.WithLabelValues(event, "refused").Inc()
	note := hongyan.CallbackRejection{Reason: "body", Detail: err.Error(), Remote: rc.cfg.Client(c.r)}
	var refusal *wechat.CallbackError
	if errors.As(err, &refusal) {
		note.Reason, note.Detail = string(refusal.Reason), refusal.Detail
	}
	if rc.noted.may(c.app, rc.cfg.Now()) {
		// A slow caller has used the time up, and one that is gone has ended the context.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		if err := rc.cfg.Ledger.RejectCallback(ctx, c.app, note); err != nil {
			rc.log.ErrorContext(ctx, "refused callback not noted", "appid", string(c.app), "reason", note.Reason, "err", err)
		}
	}
	status := http.StatusUnauthorized
	switch {
	case errors.Is(err, errSlow):
		status = http.StatusRequestTimeout
	case errors.Is(err, errGone) || note.Reason == string(wechat.CallbackBadQuery):
		status = http.StatusBadRequest
	case note.Reason == string(wechat.CallbackTooLarge):
		status = http.StatusRequestEntityTooLarge
	}
	return text(status, "refused; the app's list of rejections says why\n")
}

// translate is a push in our words.
func translate(p *wechat.Callback) hongyan.Callback {
	cb := hongyan.Callback{Event: p.Event, OpenID: hongyan.OpenID(p.FromUserName), Encrypted: p.Encrypted, Raw: string(p.Raw), SentAt: p.CreateTime}
	if cb.Event == "" {
		cb.Event = p.MsgType
	}
	if p.OpenID != "" {
		cb.OpenID = hongyan.OpenID(p.OpenID) // of user_authorization_…, which FromUserName does not name
	}
	for _, item := range p.Items {
		cb.Items = append(cb.Items, hongyan.CallbackItem{TemplateID: item.TemplateID, Choice: item.Status,
			MsgID: item.MsgID, ErrorCode: item.ErrorCode, ErrorStatus: item.ErrorStatus})
	}
	return cb
}

// label is an event as metrics have it: few, whatever strangers call theirs.
func label(p *wechat.Callback) string {
	switch p.Event {
	case wechat.EventSubscribePopup, wechat.EventSubscribeChange, wechat.EventSubscribeSent,
		wechat.EventAuthorizationRevoke, wechat.EventAuthorizationCancellation, wechat.EventUserInfoModified:
		return p.Event
	}
	return "other"
}

func subscription(event string) bool {
	switch event {
	case hongyan.CallbackPopup, hongyan.CallbackChange, hongyan.CallbackSent:
		return true
	}
	return false
}

// seldom lets something happen once a second for each app. It knows apps of this server
// only, so it stays small.
type seldom struct {
	mu   sync.Mutex
	last map[hongyan.AppID]time.Time
}

func (s *seldom) may(app hongyan.AppID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[app]; ok && now.Sub(last).Abs() < time.Second {
		return false
	}
	if s.last == nil {
		s.last = make(map[hongyan.AppID]time.Time)
	}
	s.last[app] = now
	return true
}
