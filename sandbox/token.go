package sandbox

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// Lifetimes of access tokens.
const (
	tokenLife = 7200 * time.Second
	// tokenOverlap is how long a token works after a rotation took its place,
	// and how long before its end the stable endpoint rotates.
	tokenOverlap = 300 * time.Second

	forcedSpacing = 30 * time.Second
	forcedPerDay  = 20
	// keepRetired bounds the dead tokens of an app that are still recognised as
	// its own. Any other is just an unknown token, which answers the same 40001.
	keepRetired = 64
)

// The two endpoints keep separate tokens that do not supersede each other.
const (
	slotLegacy = iota // /cgi-bin/token
	slotStable        // /cgi-bin/stable_token
)

// accessToken is a token that was given out. Its app's mutex guards all but
// value and app.
type accessToken struct {
	value      string
	app        *app
	expires    time.Time
	overlapEnd time.Time // when a superseded token stops; zero while current
	expired    bool      // by the control surface
	dead       bool      // superseded without overlap
}

// tokenSlot is what one endpoint gave an app. Both tokens may be nil.
type tokenSlot struct{ current, previous *accessToken }

// forcedRefreshes limits the forced mode of the stable endpoint.
type forcedRefreshes struct {
	last time.Time
	day  usage
}

func (f *forcedRefreshes) allowed(now time.Time) bool {
	return now.Sub(f.last) >= forcedSpacing && f.day.in(day(now)) < forcedPerDay
}

// refusal is the errcode that a call with this token gets, or 0.
func (t *accessToken) refusal(now time.Time) int {
	switch {
	case t == nil || t.dead:
		return wechat.ErrcodeInvalidCredential
	case t.expired:
		return wechat.ErrcodeTokenExpired
	case !t.overlapEnd.IsZero():
		if now.Before(t.overlapEnd) {
			return 0
		}
		return wechat.ErrcodeInvalidCredential
	case now.Before(t.expires):
		return 0
	}
	return wechat.ErrcodeTokenExpired
}

// issue puts a new token into a slot. The current one becomes the previous and
// works for the overlap; the previous dies. The caller holds a.mu.
func (w *world) issue(a *app, slot *tokenSlot, now time.Time) *accessToken {
	t := &accessToken{value: newAccessToken(), app: a, expires: now.Add(tokenLife)}
	if old := slot.previous; old != nil {
		old.dead = true
		a.retired = append(a.retired, old)
	}
	slot.previous = slot.current
	if old := slot.previous; old.refusal(now) == 0 {
		old.overlapEnd = now.Add(tokenOverlap)
	}
	slot.current = t

	w.mu.Lock() // nothing that holds w.mu waits for an app's mutex
	defer w.mu.Unlock()
	w.tokens[t.value] = t
	if n := len(a.retired) - keepRetired; n > 0 {
		for _, old := range a.retired[:n] {
			delete(w.tokens, old.value)
		}
		a.retired = a.retired[n:]
	}
	return t
}

// kill ends a slot's tokens without an overlap.
func (s *tokenSlot) kill() {
	for _, t := range []*accessToken{s.current, s.previous} {
		if t != nil {
			t.dead = true
		}
	}
}

// legacyToken issues a token: every call supersedes the one before.
func (w *world) legacyToken(a *app, now time.Time) *accessToken {
	return w.issue(a, &a.slots[slotLegacy], now)
}

// stableToken returns the current token while it has more than the overlap to
// live. A forced refresh kills the old one at once; one that comes too soon or
// too often changes nothing.
func (w *world) stableToken(a *app, now time.Time, force bool) *accessToken {
	slot := &a.slots[slotStable]
	if slot.current.refusal(now) != 0 {
		return w.issue(a, slot, now)
	}
	if force && a.forced.allowed(now) {
		a.forced.last = now
		a.forced.day.add(day(now))
		slot.kill()
		return w.issue(a, slot, now)
	}
	if slot.current.expires.Sub(now) < tokenOverlap {
		return w.issue(a, slot, now)
	}
	return slot.current
}

// token looks a token up by its value.
func (w *world) token(value string) *accessToken {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.tokens[value]
}

// tokenAnswer has no errcode, as was seen.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
}

// getToken is GET /cgi-bin/token.
func (c *call) getToken() answer {
	q := c.query
	if ref := c.credentials(q.Get("appid"), q.Get("secret"), q.Get("grant_type"), "client_credential"); ref != nil {
		return *ref
	}
	return c.giveToken(func(a *app, now time.Time) *accessToken { return c.w.legacyToken(a, now) })
}

// getStableToken is POST /cgi-bin/stable_token.
func (c *call) getStableToken() answer {
	o, ok := parseObject(c.body)
	if !ok {
		return c.refuse(wechat.ErrcodeDataFormat)
	}
	var appID, secret, grantType string
	var force bool
	if !o.text("appid", &appID) || !o.text("secret", &secret) || !o.text("grant_type", &grantType) ||
		!o.boolean("force_refresh", &force) {
		return c.refuse(wechat.ErrcodeDataFormat)
	}
	if ref := c.credentials(appID, secret, grantType, "client_credential"); ref != nil {
		return *ref
	}
	return c.giveToken(func(a *app, now time.Time) *accessToken { return c.w.stableToken(a, now, force) })
}

// credentials checks what token and login calls bring along; the appid comes
// first, as was seen. It returns the refusal, or nil.
func (c *call) credentials(appID, secret, grantType, wantGrantType string) *answer {
	code := 0
	c.app = c.w.app(appID)
	switch {
	case appID == "":
		code = wechat.ErrcodeAppIDMissing
	case c.app == nil:
		code = wechat.ErrcodeInvalidAppID
	case grantType != wantGrantType:
		code = wechat.ErrcodeInvalidGrantType
	case secret == "":
		code = wechat.ErrcodeAppSecretMissing
	case secret != c.app.secret:
		code = wechat.ErrcodeInvalidAppSecret
	}
	if code != 0 {
		ref := c.refuse(code)
		return &ref
	}
	return nil
}

// giveToken checks whitelist, account and quota, then lets issue choose.
func (c *call) giveToken(choose func(*app, time.Time) *accessToken) answer {
	now := c.s.Now()
	// Forwarding headers are not believed: the whitelist is about the address
	// that the connection comes from.
	ip := remoteIP(c.r.RemoteAddr)
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	if !c.app.rules.allows(ip) {
		return c.refuseText(wechat.ErrcodeIPNotAllowed, ipText(ip))
	}
	if code := c.app.rules.accountErrcode(c.route.path); code != 0 {
		return c.refuse(code)
	}
	if c.app.overQuota(c.route.path, now) {
		return c.refuse(wechat.ErrcodeDailyQuota)
	}
	t := choose(c.app, now)
	return c.ok(tokenAnswer{AccessToken: t.value, ExpiresIn: int(t.expires.Sub(now) / time.Second)})
}

// remoteIP is the caller's address, IPv4 in its short form.
func remoteIP(addr string) netip.Addr {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap.Addr().Unmap()
	}
	ip, _ := netip.ParseAddr(addr)
	return ip.Unmap()
}

// ipText is how WeChat tells a caller its own address.
func ipText(ip netip.Addr) string {
	v6 := ip
	if ip.Is4() {
		return fmt.Sprintf("invalid ip %s ipv6 ::ffff:%s, not in whitelist", ip, ip)
	}
	return fmt.Sprintf("invalid ip %s ipv6 %s, not in whitelist", ip, v6)
}

// TokensSpec says what happens to an app's tokens.
type TokensSpec struct {
	AppID string `json:"appid"`
	// Action is "expire" (they answer 42001 at once) or "supersede" (40001 at
	// once, as if somebody else had fetched others long ago).
	Action string `json:"action"`
}

// TokensResult says how many tokens were still good.
type TokensResult struct {
	AppID  string `json:"appid"`
	Action string `json:"action"`
	Tokens int    `json:"tokens"`
}

// Tokens ends all tokens of an app, those in their overlap too. The next call of
// either token endpoint issues a new one.
func (s *Sandbox) Tokens(spec TokensSpec) (TokensResult, error) {
	_, a, err := s.find(spec.AppID)
	if err != nil {
		return TokensResult{}, err
	}
	if spec.Action != "expire" && spec.Action != "supersede" {
		return TokensResult{}, badRequest(`action must be "expire" or "supersede".`)
	}
	res := TokensResult{AppID: spec.AppID, Action: spec.Action}
	now := s.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.slots {
		for _, t := range []*accessToken{a.slots[i].current, a.slots[i].previous} {
			if t == nil || t.refusal(now) != 0 {
				continue
			}
			t.expired, t.dead = spec.Action == "expire", spec.Action == "supersede"
			res.Tokens++
		}
	}
	return res, nil
}
