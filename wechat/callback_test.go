package wechat

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The official examples of WeChat's page, and what they were made with.
var officialKeys = CallbackKeys{AppID: "wxba5fad812f8e6fb9", Token: "AAAAA", AESKey: strings.Repeat("A", 43)}

const demoAESKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

func unix(seconds int64) time.Time { return time.Unix(seconds, 0) }

// officialQuery is the query of the official secure push.
func officialQuery(msgSignature string) url.Values {
	return url.Values{
		"signature": {"6c5c811b55cc85e0e1b54100749188c20beb3f5d"}, "timestamp": {"1714112445"}, "nonce": {"415670741"},
		"openid": {"o9AgO5Kd5ggOC-bXrbNODIiE3bGY"}, "encrypt_type": {"aes"}, "msg_signature": {msgSignature},
	}
}

func secureBody(encrypted string) []byte {
	return fmt.Appendf(nil, `{"ToUserName":"gh_97417a04a28d","Encrypt":"%s"}`, encrypted)
}

// wantReason fails the test unless err is this refusal, told without secrets.
func wantReason(t *testing.T, err error, want CallbackReason, secrets ...string) {
	t.Helper()
	var refusal *CallbackError
	if !errors.As(err, &refusal) || refusal.Reason != want {
		t.Errorf("got %v, want reason %s", err, want)
		return
	}
	wantNoSecret(t, err.Error(), secrets...)
}

func TestCallbackEcho(t *testing.T) {
	t.Parallel()
	official := func() url.Values {
		return url.Values{"signature": {"f464b24fc39322e44b38aa78f5edd27bd1441696"},
			"timestamp": {"1714036504"}, "nonce": {"1514711492"}, "echostr": {"4375120948345356249"}}
	}
	now := unix(1714036504)
	if got, err := officialKeys.Echo(official(), now.Add(time.Minute)); err != nil || got != "4375120948345356249" {
		t.Errorf("official: %q, %v", got, err)
	}
	made := officialKeys.SignEcho("say & this", now)
	if got, err := officialKeys.Echo(made, now); err != nil || got != "say & this" {
		t.Errorf("our own: %q, %v", got, err)
	}
	for name, tt := range map[string]struct {
		change func(url.Values)
		now    time.Time
		want   CallbackReason
	}{
		"echostr with a bad signature": {func(q url.Values) { q.Set("signature", strings.Repeat("0", 40)) }, now, CallbackBadSignature},
		"no signature":                 {func(q url.Values) { q.Del("signature") }, now, CallbackUnsigned},
		"another timestamp":            {func(q url.Values) { q.Set("timestamp", "1714036505") }, now, CallbackBadSignature},
		"no timestamp":                 {func(q url.Values) { q.Del("timestamp") }, now, CallbackBadQuery},
		"no nonce":                     {func(q url.Values) { q.Del("nonce") }, now, CallbackBadQuery},
		"no echostr":                   {func(q url.Values) { q.Del("echostr") }, now, CallbackBadQuery},
		"two echostr":                  {func(q url.Values) { q.Add("echostr", "other") }, now, CallbackBadQuery},
		"stale":                        {func(url.Values) {}, now.Add(10*time.Minute + time.Second), CallbackStale},
		"from the future":              {func(url.Values) {}, now.Add(-10*time.Minute - time.Second), CallbackStale},
	} {
		q := official()
		tt.change(q)
		_, err := officialKeys.Echo(q, tt.now)
		t.Run(name, func(t *testing.T) { wantReason(t, err, tt.want, "AAAAA", "f464b24fc") })
	}
}

func TestCallbackPlain(t *testing.T) {
	t.Parallel()
	k := CallbackKeys{Token: "AAAAA"}
	body := strings.TrimSpace(golden(t, "callback/plain.json"))
	q := url.Values{"signature": {"899cf89e464efb63f54ddac96b0a0a235f53aa78"}, "timestamp": {"1714037059"}, "nonce": {"486452656"}}
	for _, kind := range []string{"", "raw"} {
		if kind != "" {
			q.Set("encrypt_type", kind)
		}
		c, err := k.Open(q, []byte(body), unix(1714037059))
		if err != nil {
			t.Fatal(err)
		}
		if c.Encrypted || c.Format != CallbackJSON || c.Event != "debug_demo" || string(c.Raw) != body || !c.CreateTime.Equal(unix(1714037059)) {
			t.Errorf("got %+v", c)
		}
	}
}

func TestCallbackOfficialSecurePush(t *testing.T) {
	t.Parallel()
	for file, tt := range map[string]struct{ signature, event, from string }{
		"secure_encrypt.txt": {"046e02f8204d34f8ba5fa3b1db94908f3df2e9b3", "debug_demo", "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"},
		"sent_encrypt.txt":   {"20b2cb11ee9cccd942a5214e49fd54a473240099", EventSubscribeSent, "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"},
	} {
		encrypted := strings.TrimSpace(golden(t, "callback/"+file))
		q, now := officialQuery(tt.signature), unix(1714112445)
		xmlBody := "<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName><Encrypt><![CDATA[" + encrypted + "]]></Encrypt></xml>"
		compatible := `{"ToUserName":"gh_other","FromUserName":"somebody","Event":"forged","CreateTime":1,"Encrypt":"` + encrypted + `"}`
		for _, body := range []string{string(secureBody(encrypted)), xmlBody, compatible} {
			c, err := officialKeys.Open(q, []byte(body), now)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if !c.Encrypted || c.PreviousKey || c.Format != CallbackJSON || c.Event != tt.event || c.FromUserName != tt.from ||
				c.ToUserName != "gh_97417a04a28d" || !c.CreateTime.Equal(now) {
				t.Errorf("%s: got %+v", file, c)
			}
		}
		changed := officialKeys
		changed.AESKey, changed.PreviousAESKey = demoAESKey, officialKeys.AESKey
		if c, err := changed.Open(q, secureBody(encrypted), now); err != nil || !c.PreviousKey {
			t.Errorf("%s: by the previous key: %+v, %v", file, c, err)
		}
	}
	c, err := officialKeys.Open(officialQuery("20b2cb11ee9cccd942a5214e49fd54a473240099"),
		secureBody(strings.TrimSpace(golden(t, "callback/sent_encrypt.txt"))), unix(1714112445))
	if err != nil {
		t.Fatal(err)
	}
	want := CallbackItem{TemplateID: "BEwX0BO-T3MqK3Uc5oTU3CGBqzjpndk2jzUf7VfExd8", MsgID: "1864323726461255680", ErrorCode: "0", ErrorStatus: "success"}
	if len(c.Items) != 1 || c.Items[0] != want || len(c.Raw) != 293 {
		t.Errorf("got %d bytes, %+v", len(c.Raw), c.Items)
	}
}

// The same bytes come out when the official examples are made anew.
func TestCallbackOfficialEncryption(t *testing.T) {
	t.Parallel()
	demo := CallbackKeys{AppID: "wxb11529c136998cb6", Token: "pamtest", AESKey: demoAESKey}
	demoText := strings.TrimSpace(golden(t, "callback/demo_encrypt.txt"))
	if got, err := demo.encrypt([]byte("aaaabbbbccccdddd"), []byte("我是中文abcd123")); err != nil || got != demoText {
		t.Errorf("demo: %s, %v", got, err)
	}
	if got := demo.signature("1409304348", "xxxxxx", demoText); got != "82c962d39941aa48552f90ef55aa323dc620cc10" {
		t.Errorf("demo signature: %s", got)
	}
	if msg, previous, err := demo.decrypt(demoText); err != nil || previous || string(msg) != "我是中文abcd123" {
		t.Errorf("demo: %q, %v, %v", msg, previous, err)
	}
	secure := strings.TrimSpace(golden(t, "callback/secure_encrypt.txt"))
	msg, _, err := officialKeys.decrypt(secure)
	if err != nil || len(msg) != 167 {
		t.Fatalf("secure: %q, %v", msg, err)
	}
	if got, err := officialKeys.encrypt([]byte("a8eedb185eb2fecf"), msg); err != nil || got != secure {
		t.Errorf("secure: %s, %v", got, err)
	}

	reply, err := officialKeys.sealReply([]byte("707722b803182950"), []byte(`{"demo_resp":"good luck"}`), "415670741", CallbackJSON, unix(1713424427))
	const want = `{"Encrypt":"ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ==",` +
		`"MsgSignature":"1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1","TimeStamp":1713424427,"Nonce":"415670741"}`
	if err != nil || string(reply) != want {
		t.Errorf("reply: %s, %v", reply, err)
	}
	reply, err = officialKeys.sealReply([]byte("707722b803182950"), []byte(`{"demo_resp":"good luck"}`), "4]]>1", CallbackXML, unix(1713424427))
	m, parseErr := parseFields(reply)
	if err != nil || parseErr != nil || m.text("Nonce") != "4]]>1" || m.text("TimeStamp") != "1713424427" || !strings.HasPrefix(m.text("Encrypt"), "ELGduP2Y") ||
		m.text("MsgSignature") != officialKeys.signature("1713424427", "4]]>1", m.text("Encrypt")) {
		t.Errorf("reply: %s, %v, %v", reply, err, parseErr)
	}
	if _, err := (CallbackKeys{Token: "AAAAA"}).SealReply(nil, "1", CallbackJSON, unix(0)); err == nil {
		t.Error("a reply was encrypted without a key")
	}
}

// Seal and Open agree in every mode and format, and only what the keys say is taken.
func TestCallbackSealOpen(t *testing.T) {
	t.Parallel()
	now := unix(1714112445)
	for _, msg := range []string{golden(t, "callback/popup.json"), golden(t, "callback/popup.xml"), "{}", "<xml/>", `{"a":{"b":1}} `} {
		for _, mode := range []CallbackMode{CallbackPlain, CallbackCompatible, CallbackSecure} {
			k := officialKeys
			if mode == CallbackPlain {
				k.AESKey = ""
			}
			q, body, err := k.Seal([]byte(msg), mode, now)
			if err != nil {
				t.Fatalf("%s %q: %v", mode, msg, err)
			}
			c, err := k.Open(q, body, now)
			if err != nil {
				t.Errorf("%s %q: %v", mode, body, err)
				continue
			}
			if string(c.Raw) != msg || c.Encrypted != (mode != CallbackPlain) || q.Get("openid") != c.FromUserName {
				t.Errorf("%s: got %+v", mode, c)
			}
			if clear := strings.Contains(string(body), "SubscribeStatusString"); clear != (mode != CallbackSecure && len(c.Items) > 0) {
				t.Errorf("%s: body is %s", mode, body)
			}
		}
	}
	a, _, _ := officialKeys.Seal([]byte("{}"), CallbackSecure, now)
	b, _, _ := officialKeys.Seal([]byte("{}"), CallbackSecure, now)
	if a.Get("nonce") == b.Get("nonce") || a.Get("msg_signature") == b.Get("msg_signature") {
		t.Error("two pushes of one message look the same")
	}
	if _, _, err := officialKeys.Seal([]byte("nonsense"), CallbackSecure, now); err == nil {
		t.Error("nonsense was sealed")
	}
}

// sealed is a rightly signed push with this plaintext, padding and all.
func sealed(t testing.TB, plain []byte) (url.Values, []byte) {
	t.Helper()
	text, err := encryptBlocks(officialKeys.AESKey, plain)
	if err != nil {
		t.Fatal(err)
	}
	return signed(text)
}

// signed is a rightly signed push whose Encrypt is this text.
func signed(text string) (url.Values, []byte) {
	return officialQuery(officialKeys.signature("1714112445", "415670741", text)), secureBody(text)
}

// pad32 makes whole blocks of a plaintext as WeChat does.
func pad32(s string) []byte {
	n := callbackPad - len(s)%callbackPad
	return append([]byte(s), strings.Repeat(string(rune(n)), n)...)
}

func TestCallbackRefusals(t *testing.T) {
	t.Parallel()
	const (
		head   = "0123456789abcdef"
		inside = `{"FromUserName":"o1","CreateTime":1714112445,"MsgType":"event","Event":"debug_demo"}`
		appID  = "wxba5fad812f8e6fb9"
	)
	now := unix(1714112445)
	encrypted := strings.TrimSpace(golden(t, "callback/secure_encrypt.txt"))
	good := func() (url.Values, []byte) {
		return officialQuery("046e02f8204d34f8ba5fa3b1db94908f3df2e9b3"), secureBody(encrypted)
	}
	change := func(f func(q url.Values)) func() (url.Values, []byte) {
		return func() (url.Values, []byte) {
			q, body := good()
			f(q)
			return q, body
		}
	}
	withBody := func(body string) func() (url.Values, []byte) {
		return func() (url.Values, []byte) { q, _ := good(); return q, []byte(body) }
	}
	length := func(n int) string { return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) }
	plain := func(s string) func() (url.Values, []byte) {
		return func() (url.Values, []byte) { return sealed(t, []byte(s)) }
	}
	padded := func(s string) func() (url.Values, []byte) { return plain(string(pad32(s))) }
	q, body := padded(head + length(len(inside)) + inside + appID)()
	if _, err := officialKeys.Open(q, body, now); err != nil {
		t.Fatalf("the undamaged push: %v", err)
	}
	long := now.Add(10*time.Minute + time.Second)
	early := now.Add(-10*time.Minute - time.Second)
	clear := golden(t, "callback/plain.json")

	for _, tt := range []struct {
		name string
		make func() (url.Values, []byte)
		now  time.Time
		want CallbackReason
	}{
		{"no msg_signature in secure mode", change(func(q url.Values) { q.Del("msg_signature") }), now, CallbackUnsigned},
		{"an empty msg_signature", change(func(q url.Values) { q.Set("msg_signature", "") }), now, CallbackUnsigned},
		{"signature in place of msg_signature", change(func(q url.Values) { q.Set("msg_signature", q.Get("signature")) }), now, CallbackBadSignature},
		{"signature alone, clear body", func() (url.Values, []byte) {
			return officialKeys.sign(now), []byte(clear)
		}, now, CallbackNotEncrypted},
		{"signature alone, encrypted body", change(func(q url.Values) { q.Del("msg_signature"); q.Del("encrypt_type") }), now, CallbackNotEncrypted},
		{"no encrypt_type", change(func(q url.Values) { q.Del("encrypt_type") }), now, CallbackNotEncrypted},
		{"encrypt_type=raw", change(func(q url.Values) { q.Set("encrypt_type", "raw") }), now, CallbackNotEncrypted},
		{"encrypt_type=AES", change(func(q url.Values) { q.Set("encrypt_type", "AES") }), now, CallbackNotEncrypted},
		{"encrypt_type=aes with a clear body", withBody(clear), now, CallbackNotEncrypted},
		{"encrypt_type=aes with a clear body, signed as if empty", func() (url.Values, []byte) {
			return officialQuery(officialKeys.signature("1714112445", "415670741", "")), []byte(clear)
		}, now, CallbackNotEncrypted},
		{"a wrong msg_signature", change(func(q url.Values) { q.Set("msg_signature", strings.Repeat("0", 40)) }), now, CallbackBadSignature},
		{"the msg_signature cut short", change(func(q url.Values) { q.Set("msg_signature", "046e02f8") }), now, CallbackBadSignature},
		{"the same signature with another body", func() (url.Values, []byte) {
			_, other := padded(head + length(len(inside)) + inside + appID)()
			q, _ := good()
			return q, other
		}, now, CallbackBadSignature},
		{"another nonce", change(func(q url.Values) { q.Set("nonce", "1") }), now, CallbackBadSignature},
		{"no timestamp", change(func(q url.Values) { q.Del("timestamp") }), now, CallbackBadQuery},
		{"stale timestamp", good, long, CallbackStale},
		{"timestamp of the future", good, early, CallbackStale},
		{"a timestamp that is no number", func() (url.Values, []byte) {
			q := officialQuery(officialKeys.signature("now", "415670741", encrypted))
			q.Set("timestamp", "now")
			return q, secureBody(encrypted)
		}, now, CallbackBadQuery},
		{"two timestamps", change(func(q url.Values) { q.Add("timestamp", "1714112446") }), now, CallbackBadQuery},
		{"two msg_signatures", change(func(q url.Values) { q.Add("msg_signature", "") }), now, CallbackBadQuery},
		{"several Encrypt", withBody(`{"Encrypt":"` + encrypted + `","Encrypt":"` + encrypted + `"}`), now, CallbackBadBody},
		{"Encrypt as an array", withBody(`{"Encrypt":["` + encrypted + `","` + encrypted + `"]}`), now, CallbackBadBody},
		{"several Encrypt elements", withBody("<xml><Encrypt>" + encrypted + "</Encrypt><Encrypt>" + encrypted + "</Encrypt></xml>"), now, CallbackBadBody},
		{"Encrypt within another element", withBody("<xml><a><Encrypt>" + encrypted + "</Encrypt></a></xml>"), now, CallbackNotEncrypted},
		{"oversized", withBody(`{"Encrypt":"` + strings.Repeat("A", MaxCallbackBody) + `"}`), now, CallbackTooLarge},
		{"truncated body", withBody(string(secureBody(encrypted))[:200]), now, CallbackBadBody},
		{"truncated Encrypt", func() (url.Values, []byte) { return signed(encrypted[:100]) }, now, CallbackBadLength},
		{"Encrypt cut at a block", func() (url.Values, []byte) { return signed(encrypted[:64]) }, now, CallbackBadPadding},
		{"empty Encrypt", func() (url.Values, []byte) { return signed("") }, now, CallbackBadLength},
		{"DTD", withBody(`<!DOCTYPE xml [<!ENTITY e "e">]><xml><Encrypt>` + encrypted + "</Encrypt></xml>"), now, CallbackDTD},
		{"DTD inside", padded(head + length(len(dtdInside)) + dtdInside + appID), now, CallbackDTD},
		{"bad base64", func() (url.Values, []byte) { return signed("*" + encrypted[1:]) }, now, CallbackBadBase64},
		{"base64 for URLs", func() (url.Values, []byte) { return signed(strings.ReplaceAll(encrypted, "+", "-")) }, now, CallbackBadBase64},
		{"base64 with line breaks", func() (url.Values, []byte) {
			q, _ := signed(encrypted[:64] + "\n" + encrypted[64:])
			return q, secureBody(encrypted[:64] + `\n` + encrypted[64:])
		}, now, CallbackBadBase64},
		{"base64 without its end", func() (url.Values, []byte) { return signed(strings.TrimRight(encrypted, "=")) }, now, CallbackBadBase64},
		{"padding of 0", plain(head + length(12) + "123456789012" + strings.Repeat("\x00", 32)), now, CallbackBadPadding},
		{"padding of 33", plain(strings.Repeat("\x21", 64)), now, CallbackBadPadding},
		{"padding longer than all", plain(strings.Repeat("\x20", 16)), now, CallbackBadPadding},
		{"uneven padding", plain(strings.Repeat("x", 28) + "\x03\x04\x04\x04"), now, CallbackBadPadding},
		{"only padding", plain(strings.Repeat("\x20", 32)), now, CallbackBadLength},
		{"length beyond the buffer", padded(head + length(len(inside)+len(appID)+1) + inside + appID), now, CallbackBadLength},
		{"length of 4 GiB", padded(head + "\xff\xff\xff\xff" + inside + appID), now, CallbackBadLength},
		{"foreign appid inside", padded(head + length(len(inside)) + inside + "wx0000000000000000"), now, CallbackForeignApp},
		{"no appid inside", padded(head + length(len(inside)) + inside), now, CallbackForeignApp},
		{"neither JSON nor XML inside", padded(head + length(4) + "text" + appID), now, CallbackBadBody},
		{"nothing inside", padded(head + length(0) + appID), now, CallbackBadBody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, body := tt.make()
			c, err := officialKeys.Open(q, body, tt.now)
			if c != nil {
				t.Errorf("got %+v", c)
			}
			wantReason(t, err, tt.want, officialKeys.Token, officialKeys.AESKey, encrypted, "046e02f8", "o9AgO5Kd5ggOC")
		})
	}
}

const dtdInside = `<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml><Event>debug_demo</Event></xml>`

// Without a key nothing encrypted is taken for clear.
func TestCallbackRefusalsWithoutKey(t *testing.T) {
	t.Parallel()
	now := unix(1714112445)
	k := CallbackKeys{AppID: officialKeys.AppID, Token: officialKeys.Token}
	encrypted := strings.TrimSpace(golden(t, "callback/secure_encrypt.txt"))
	q := officialQuery("046e02f8204d34f8ba5fa3b1db94908f3df2e9b3")
	_, err := k.Open(q, secureBody(encrypted), now)
	wantReason(t, err, CallbackNoKey)
	q.Del("encrypt_type")
	_, err = k.Open(q, secureBody(encrypted), now)
	wantReason(t, err, CallbackNoKey)
	clear := []byte(golden(t, "callback/plain.json"))
	q.Set("signature", q.Get("msg_signature"))
	_, err = k.Open(q, clear, now)
	wantReason(t, err, CallbackBadSignature)
	q.Del("signature")
	_, err = k.Open(q, clear, now)
	wantReason(t, err, CallbackUnsigned)
	_, err = k.Open(k.sign(now), clear, now.Add(11*time.Minute))
	wantReason(t, err, CallbackStale)
	if c, err := k.Open(k.sign(now), clear, now.Add(10*time.Minute)); err != nil || c.Encrypted {
		t.Errorf("the clear push itself: %+v, %v", c, err)
	}
}

func TestCallbackKeysCheck(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("B", 43)
	for name, k := range map[string]CallbackKeys{
		"no token":           {},
		"short token":        {Token: "ab"},
		"long token":         {Token: strings.Repeat("a", 33)},
		"token with a space": {Token: "a b"},
		"short key":          {Token: "abc", AESKey: key[:42]},
		"long key":           {Token: "abc", AESKey: key + "="},
		"key of base64":      {Token: "abc", AESKey: "+" + key[1:]},
		"bad previous key":   {Token: "abc", AESKey: key, PreviousAESKey: "x"},
		"previous key alone": {Token: "abc", PreviousAESKey: key},
	} {
		err := k.Check()
		t.Run(name, func(t *testing.T) { wantReason(t, err, CallbackBadKeys, "a b", key[:42]) })
		if _, openErr := k.Open(nil, nil, unix(0)); openErr == nil || openErr.Error() != err.Error() {
			t.Errorf("%s: Open says %v", name, openErr)
		}
	}
	good := CallbackKeys{AppID: "wx1", Token: "abc", AESKey: key, PreviousAESKey: demoAESKey}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	text := fmt.Sprint(good) + fmt.Sprintf("%+v %#v %s", good, good, struct{ K CallbackKeys }{good})
	b, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	wantNoSecret(t, text+string(b)+good.LogValue().String(), "abc", key, demoAESKey)
}

// A key of 43 characters has two bits to spare. They change nothing.
func TestCallbackKeyTrailingBits(t *testing.T) {
	t.Parallel()
	zero := officialKeys
	other := officialKeys
	other.AESKey = strings.Repeat("A", 42) + "D"
	if _, err := base64.StdEncoding.Strict().DecodeString(other.AESKey + "="); err == nil {
		t.Fatal("the key has no bits to spare")
	}
	text, err := other.encrypt([]byte("0123456789abcdef"), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if msg, _, err := zero.decrypt(text); err != nil || string(msg) != "{}" {
		t.Errorf("got %q, %v", msg, err)
	}
}
