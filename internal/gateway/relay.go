package gateway

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// mayRelay reports whether the app's setting gateway_relay lists the path, and takes a place
// for the call. The path must be written as the list has it: nothing is decoded or cleaned
// into a match. false: it has answered.
func (c *call) mayRelay() bool {
	app, err := c.g.l.App(c.app)
	listed := err == nil && slices.Contains(app.Settings.GatewayRelay, c.path)
	if !listed || c.r.URL.EscapedPath() != c.path || hongyan.RelayFault(c.path) != "" {
		c.because("The app's setting gateway_relay does not list this path.")
		return c.refuse(wechat.ErrcodeUnauthorized, "")
	}
	c.label = c.path
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodPost {
		return c.refuse(wechat.ErrcodeRequirePOST, "")
	}
	select {
	case c.g.relays <- struct{}{}:
		c.relays = true
		return true
	default:
		c.because("%d relayed calls are under way.", maxRelays)
		return c.refuse(wechat.ErrcodeMinuteQuota, "")
	}
}

// pass makes the call with the app's real token and answers with what WeChat says.
func (c *call) pass() {
	if a, ok := c.ask(c.body); ok {
		c.reply(a)
	}
}

// reply hands WeChat's answer on, without credentials.
func (c *call) reply(a wechat.RelayAnswer) {
	if a.Status != http.StatusOK {
		c.w.Header().Set("Content-Type", a.ContentType)
		c.w.WriteHeader(a.Status)
		c.code = "status"
		_, _ = c.w.Write(a.Body)
		return
	}
	if a.ContentType != "" && !strings.Contains(a.ContentType, "json") && len(a.Body) > 0 && a.Body[0] != '{' {
		c.code = "0"
		c.w.Header().Set("Content-Type", a.ContentType)
		_, _ = c.w.Write(a.Body)
		return
	}
	c.answer(errcodeOf(a.Body), credentials.ReplaceAll(a.Body, []byte("${1}redacted")))
}

// credentials are what a URL in an answer can hold: rid/get shows the URL of an earlier call.
var credentials = regexp.MustCompile(`(\b(?:access_token|secret|appsecret|js_code)(?:=|\\u003[dD]|%3[dD]))[^&"%\\\s]+`)

// ask calls WeChat with the real token, once more with another if that one is refused: then
// nothing was done. false: it has answered.
func (c *call) ask(body []byte) (wechat.RelayAnswer, bool) {
	for again := false; ; again = true {
		token, err := c.g.cfg.Tokens.AccessToken(c.ctx, string(c.app))
		if err != nil {
			c.failed(err)
			return wechat.RelayAnswer{}, false
		}
		a, ok := c.exchange(wechat.RelayRequest{AccessToken: token, Query: withoutToken(c.r.URL.RawQuery), ContentType: contentType(c.r), Body: body})
		if !ok {
			return a, false
		}
		code := errcodeOf(a.Body)
		if again || token == "" || !wechat.IsTokenRefused(code) {
			return a, true
		}
		if err := c.g.cfg.Tokens.Refused(c.ctx, string(c.app), token, code); err != nil {
			return a, true
		}
	}
}

// exchange makes one call under this path. false: it has answered.
func (c *call) exchange(r wechat.RelayRequest) (wechat.RelayAnswer, bool) {
	r.Method, r.Path = c.r.Method, c.path
	a, err := c.g.cfg.WeChat.Relay(c.ctx, r)
	var transport *wechat.TransportError
	switch {
	case err == nil:
		// Error pages, of WeChat or of what stands before it, repeat the URL they were asked for.
		for _, secret := range append(r.Secrets, r.AccessToken) {
			if secret != "" {
				a.Body = bytes.ReplaceAll(a.Body, []byte(secret), []byte("redacted"))
			}
		}
		return a, true
	case errors.As(err, &transport) && transport.Kind == wechat.Unclear:
		c.g.log.WarnContext(c.ctx, "WeChat gave no clear answer to a relayed call", "appid", c.app, "path", c.label, "err", err)
		c.close()
	}
	c.because("%v", err)
	c.fail("relay", err)
	return a, false
}

// withoutToken is a query as it was written, but for the access token, however its name is
// spelled.
func withoutToken(raw string) string {
	parts := strings.Split(raw, "&")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool {
		name, _, _ := strings.Cut(p, "=")
		name, err := url.QueryUnescape(name)
		return err != nil || p == "" || strings.EqualFold(name, "access_token")
	}), "&")
}

func contentType(r *http.Request) string {
	if t := r.Header.Get("Content-Type"); t != "" && len(t) <= 200 {
		return t
	}
	if r.Method == http.MethodPost {
		return "application/json"
	}
	return ""
}
