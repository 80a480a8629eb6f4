package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// PushSpec is where and how an app's events are pushed (消息推送配置). Without one
// nothing is pushed.
type PushSpec struct {
	// URL is http or https, on any port: WeChat takes 80 and 443 only.
	URL   string `json:"url"`
	Token string `json:"token"`
	// AESKey is the EncodingAESKey, 43 letters and digits. All modes but plain
	// need it.
	AESKey string `json:"encoding_aes_key"`
	// Mode is plain, compatible or secure. Default: secure with a key, else plain.
	Mode wechat.CallbackMode `json:"mode"`
	// Format is json (default) or xml.
	Format wechat.CallbackFormat `json:"format"`
	// CreateTime is what JSON has it as: "string" (default) or "number".
	CreateTime string `json:"create_time"`
	// List is what JSON has a single item as: "auto" (default) an object, "array"
	// an array of one.
	List string `json:"list"`
	// Parallel is how many pushes are under way at once. Default 1, which keeps
	// the order of all; with more, only that of each user. At most 64.
	Parallel int `json:"parallel"`
}

// PushConfig is a push configuration in place.
type PushConfig struct {
	PushSpec
	// PreviousAESKey is the key before the last change; the fault "old_key" uses it.
	PreviousAESKey string `json:"previous_encoding_aes_key,omitempty"`
	// ToUserName is the app's original id, which every push names.
	ToUserName string `json:"to_user_name"`
}

const (
	asString = "string"
	asNumber = "number"
	asAuto   = "auto"
	asArray  = "array"

	maxParallel = 64
)

// pushTimeout is how long WeChat waits for an answer.
const pushTimeout = 5 * time.Second

// maxAnswer is how much of an answer is read, keptAnswer how much is kept.
const (
	maxAnswer  = 64 << 10
	keptAnswer = 1_000
)

// SetPush configures an app's pushes. It asks the URL first, as WeChat's console
// does, and changes nothing if the answer is wrong.
func (s *Sandbox) SetPush(ctx context.Context, appID string, spec PushSpec) (PushConfig, error) {
	_, a, err := s.find(appID)
	if err != nil {
		return PushConfig{}, err
	}
	if err := spec.check(); err != nil {
		return PushConfig{}, err
	}
	cfg := &PushConfig{PushSpec: spec, ToUserName: a.originalID}
	if err := s.checkURL(ctx, cfg.keys(a.id), spec.URL); err != nil {
		return PushConfig{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.push; old != nil {
		cfg.PreviousAESKey = old.PreviousAESKey
		if old.AESKey != "" && old.AESKey != cfg.AESKey {
			cfg.PreviousAESKey = old.AESKey
		}
	}
	a.push = cfg
	return *cfg, nil
}

// Push returns the push configuration of an app.
func (s *Sandbox) Push(appID string) (PushConfig, error) {
	_, a, err := s.find(appID)
	if err != nil {
		return PushConfig{}, err
	}
	cfg := a.pushConfig()
	if cfg == nil {
		return PushConfig{}, errNoPush(appID)
	}
	return *cfg, nil
}

// EndPush ends the pushes of an app. What is pending is not pushed any more.
func (s *Sandbox) EndPush(appID string) error {
	_, a, err := s.find(appID)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.push == nil {
		return errNoPush(appID)
	}
	a.push = nil
	return nil
}

func errNoPush(appID string) error {
	return &Problem{Status: http.StatusNotFound, Code: "no_push",
		Detail: fmt.Sprintf("App %s has no push configuration. Make one with PUT /_sandbox/apps/%[1]s/push.", appID)}
}

// pushConfig is the configuration as it is now. It is never changed, only replaced.
func (a *app) pushConfig() *PushConfig {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.push
}

// check fills the defaults in and refuses what the console would.
func (spec *PushSpec) check() error {
	for _, d := range []struct {
		field *string
		value string
	}{{(*string)(&spec.Format), string(wechat.CallbackJSON)}, {&spec.CreateTime, asString}, {&spec.List, asAuto}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if spec.Mode == "" {
		spec.Mode = wechat.CallbackPlain
		if spec.AESKey != "" {
			spec.Mode = wechat.CallbackSecure
		}
	}
	if spec.Parallel == 0 {
		spec.Parallel = 1
	}
	u, err := url.Parse(spec.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
		return badRequest("url must be an http or https URL.")
	case !slices.Contains([]wechat.CallbackMode{wechat.CallbackPlain, wechat.CallbackCompatible, wechat.CallbackSecure}, spec.Mode):
		return badRequest(`mode must be "plain", "compatible" or "secure".`)
	case spec.Format != wechat.CallbackJSON && spec.Format != wechat.CallbackXML:
		return badRequest(`format must be "json" or "xml".`)
	case spec.CreateTime != asString && spec.CreateTime != asNumber:
		return badRequest(`create_time must be "string" or "number".`)
	case spec.List != asAuto && spec.List != asArray:
		return badRequest(`list must be "auto" or "array".`)
	case spec.Parallel < 1 || spec.Parallel > maxParallel:
		return badRequest(fmt.Sprintf("parallel must be 1 to %d.", maxParallel))
	case spec.Mode != wechat.CallbackPlain && spec.AESKey == "":
		return badRequest("encoding_aes_key is missing; only the plain mode needs none.")
	}
	var refusal *wechat.CallbackError
	if err := (wechat.CallbackKeys{Token: spec.Token, AESKey: spec.AESKey}).Check(); errors.As(err, &refusal) {
		return badRequest(refusal.Detail + ".")
	}
	return nil
}

func (c *PushConfig) keys(appID string) wechat.CallbackKeys {
	return wechat.CallbackKeys{AppID: appID, Token: c.Token, AESKey: c.AESKey}
}

// checkURL asks a URL to repeat a text, in the words of WeChat's console where it
// does not.
func (s *Sandbox) checkURL(ctx context.Context, keys wechat.CallbackKeys, at string) error {
	refused := func(detail string) error {
		return &Problem{Status: http.StatusUnprocessableEntity, Code: "url_check_failed", Detail: detail}
	}
	echo := randomText("0123456789", 19)
	answer, err := s.ask(ctx, http.MethodGet, at, keys.SignEcho(echo, s.Now()), nil, "")
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		return refused(fmt.Sprintf("请求URL超时: the URL did not answer within %v.", s.pushTimeout))
	case err != nil:
		return refused("请求URL失败: the URL could not be reached: " + err.Error() + ".")
	case answer.status != http.StatusOK || answer.body != echo:
		return refused(fmt.Sprintf("Token校验失败: the URL must answer the GET with status 200 and the echostr, and nothing else; it answered %d with %.100q.",
			answer.status, answer.body))
	}
	return nil
}

// pushAnswer is what a URL answered.
type pushAnswer struct {
	status int
	body   string
}

// ask makes one request. It follows no redirect, and its errors do not show the
// query, which has signatures.
func (s *Sandbox) ask(ctx context.Context, method, at string, q url.Values, body []byte, contentType string) (pushAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.pushTimeout)
	defer cancel()
	if strings.Contains(at, "?") {
		at += "&" + q.Encode()
	} else {
		at += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(string(body)))
	if err != nil {
		return pushAnswer{}, errors.New("the URL cannot be asked")
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := s.client.Do(req)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return pushAnswer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return pushAnswer{status: res.StatusCode}, err
	}
	return pushAnswer{res.StatusCode, string(b)}, nil
}

// newPushClient is a client of its own: no proxy of the environment, no redirects,
// and connections that Close can end.
func newPushClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: maxParallel, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
