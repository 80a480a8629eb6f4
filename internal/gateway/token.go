package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// A virtual token names the key it was given to and when it ends, under a signature: any
// replica can read it, none must remember it, and however many there are they work side by
// side. It has the shape and length of WeChat's own, so that what is too short for those
// shows here.
const (
	tokenPrefix = "80_"
	tokenLife   = 7200 * time.Second
	// A stable token is the same for everybody in its slot. Those of two slots overlap by
	// five minutes, as WeChat's do.
	tokenSlot  = tokenLife - 300*time.Second
	tokenClear = 1 + 16 + 8 + 8 // version, key, end, nonce
	tokenMAC   = sha512.Size
)

func (g *Gateway) newToken(key hongyan.APIKeyID, ends time.Time, nonce uint64) (string, error) {
	id, err := ulid.ParseStrict(strings.TrimPrefix(string(key), "key_"))
	if err != nil {
		return "", err
	}
	b := append(make([]byte, 0, tokenClear+tokenMAC), 1)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(ends.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, nonce)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, g.sign(b)...)), nil
}

func (g *Gateway) sign(b []byte) []byte {
	mac := hmac.New(sha512.New, g.cfg.TokenKey[:])
	mac.Write(b)
	return mac.Sum(nil)
}

// openToken answers whose a token is and when it ends.
func (g *Gateway) openToken(token string) (key hongyan.APIKeyID, ends time.Time, ok bool) {
	text, found := strings.CutPrefix(token, tokenPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !found || err != nil || len(b) != tokenClear+tokenMAC || b[0] != 1 || !hmac.Equal(b[tokenClear:], g.sign(b[:tokenClear])) {
		return "", time.Time{}, false
	}
	return hongyan.APIKeyID("key_" + ulid.ULID(b[1:17]).String()), time.UnixMilli(int64(binary.BigEndian.Uint64(b[17:25]))), true
}

// authenticate finds the key and the app of a token; an errcode says why it is none.
func (c *call) authenticate(token string) (errcode int, text string) {
	if token == "" {
		return wechat.ErrcodeTokenMissing, ""
	}
	id, ends, ok := c.g.openToken(token)
	if !ok {
		return wechat.ErrcodeInvalidCredential, ""
	}
	key, err := c.g.l.Key(id)
	if err != nil || !gatewayKey(key) { // revoked: what it was given ends with it
		return wechat.ErrcodeInvalidCredential, ""
	}
	if !c.g.now().Before(ends) {
		return wechat.ErrcodeTokenExpired, ""
	}
	c.key, c.app = key, key.Apps[0]
	return 0, ""
}

func gatewayKey(k hongyan.APIKey) bool {
	return len(k.Apps) == 1 && k.May(hongyan.ScopeGateway, k.Apps[0])
}

// credentials checks what token and login calls bring along, the appid first, as WeChat does.
// What they call AppSecret is a gateway key. false: it has answered.
func (c *call) credentials(appid, secret, grant, wantGrant string) bool {
	code := 0
	_, err := c.g.l.App(hongyan.AppID(appid))
	switch {
	case appid == "":
		code = wechat.ErrcodeAppIDMissing
	case err != nil:
		code = wechat.ErrcodeInvalidAppID
	case grant != wantGrant:
		code = wechat.ErrcodeInvalidGrantType
	case secret == "":
		code = wechat.ErrcodeAppSecretMissing
	}
	if code != 0 {
		return c.refuse(code, "")
	}
	key, err := c.g.l.Authenticate(secret)
	if err != nil || !gatewayKey(key) || key.Apps[0] != hongyan.AppID(appid) {
		c.because("The secret is a gateway key of this app: hongyan keys create --scopes gateway --apps %s", appid)
		return c.refuse(wechat.ErrcodeInvalidAppSecret, "")
	}
	c.key, c.app = key, key.Apps[0]
	return true
}

// tokenAnswer has no errcode, as WeChat's was seen.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}

// token is GET /cgi-bin/token: a new token each time. Those before it live on.
func (c *call) token() {
	q := c.query
	if c.credentials(q.Get("appid"), q.Get("secret"), q.Get("grant_type"), "client_credential") {
		c.give(true)
	}
}

// stableToken is POST /cgi-bin/stable_token: the same token until it nears its end.
func (c *call) stableToken() {
	var b struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}
	if err := json.Unmarshal(c.body, &b); err != nil {
		c.refuse(wechat.ErrcodeDataFormat, "")
		return
	}
	if c.credentials(b.AppID, b.Secret, b.GrantType, "client_credential") {
		c.give(b.ForceRefresh)
	}
}

// give hands out a token: the real one to a key with the scope token, else a virtual one.
func (c *call) give(fresh bool) {
	if c.key.May(hongyan.ScopeToken, c.app) {
		c.giveReal()
		return
	}
	now := c.g.now()
	ends, nonce := now.Add(tokenLife), uint64(0)
	if fresh {
		var b [8]byte
		_, _ = rand.Read(b[:])
		nonce = binary.BigEndian.Uint64(b[:]) | 1
	} else {
		ends = now.Truncate(tokenSlot).Add(tokenLife)
	}
	t, err := c.g.newToken(c.key.ID, ends, nonce)
	if err != nil {
		c.fail("make a token", err)
		return
	}
	c.ok(tokenAnswer{t, int64(ends.Sub(now) / time.Second)})
}

// givenToken is a hash of the real token that a key was given last, and when it was last
// looked at.
type givenToken struct {
	hash   [sha256.Size]byte
	tested time.Time
}

// testEvery is how often a real token is tested because somebody asks for it again.
const testEvery = 10 * time.Second

// giveReal is for programs that call WeChat themselves. Whoever asks again before the end of
// the token has perhaps had it refused: so it is tested, and another fetched if that is so.
func (c *call) giveReal() {
	token, err := c.g.cfg.Tokens.AccessToken(c.ctx, string(c.app))
	if err != nil {
		c.failed(err)
		return
	}
	if hash := sha256.Sum256([]byte(token)); token != "" && c.g.askedAgain(string(c.key.ID), hash) && c.refusedNow(token) {
		if token, err = c.g.cfg.Tokens.AccessToken(c.ctx, string(c.app)); err != nil {
			c.failed(err)
			return
		}
		c.g.askedAgain(string(c.key.ID), sha256.Sum256([]byte(token)))
	}
	if token == "" {
		c.because("The app is in token_mode none: WeChat's cloud hosting authenticates its calls, and it has no access token.")
		c.refuse(wechat.ErrcodeTokenForbidden, "")
		return
	}
	left := int64(60) // it may be another's by now
	if stored, err := c.g.l.AccessToken(c.ctx, c.app); err == nil && stored.Token.Reveal() == token {
		left = max(left, int64(stored.ExpiresAt.Sub(c.g.now())/time.Second))
	}
	c.ok(tokenAnswer{token, left})
}

// askedAgain remembers what a key was given, and answers whether it had just that before.
func (g *Gateway) askedAgain(key string, hash [sha256.Size]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	was := g.given[key]
	again := was.hash == hash && now.Sub(was.tested) > testEvery
	if again {
		was.tested = now
	}
	was.hash = hash
	g.given[key] = was
	return again
}

// refusedNow asks WeChat for something harmless with the token.
func (c *call) refusedNow(token string) bool {
	a, err := c.g.cfg.WeChat.Relay(c.ctx, wechat.RelayRequest{Method: http.MethodGet, Path: "/cgi-bin/get_api_domain_ip", AccessToken: token})
	if err != nil {
		return false
	}
	code := errcodeOf(a.Body)
	if !wechat.IsTokenRefused(code) {
		return false
	}
	if err := c.g.cfg.Tokens.Refused(c.ctx, string(c.app), token, code); err != nil {
		c.g.log.ErrorContext(c.ctx, "refused token not reported", "appid", c.app, "err", err)
	}
	return true
}

// errcodeOf is the errcode of an answer of WeChat's; 0 where it has none.
func errcodeOf(body []byte) int {
	var s struct {
		Errcode int `json:"errcode"`
	}
	if json.Unmarshal(body, &s) != nil {
		return 0
	}
	return s.Errcode
}

// failed answers for a call that was not made because there is no access token, with the
// reason where WeChat gave it.
func (c *call) failed(err error) {
	var refused *wechat.Error
	if errors.As(err, &refused) {
		c.verbatim(refused.Errcode, refused.Errmsg)
		return
	}
	c.because("no access token: %v", err)
	c.fail("get the access token", err)
}

// fail is for what went wrong here: nothing was done, and it may be tried again.
func (c *call) fail(what string, err error) {
	c.g.log.WarnContext(c.ctx, "gateway call failed", "appid", c.app, "path", c.label, "while", what, "err", err)
	c.refuse(wechat.ErrcodeSystemBusy, "")
}
