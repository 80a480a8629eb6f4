package wechat

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CallbackKeys are what an app and WeChat share for event pushes (消息推送): the
// settings of 消息推送配置 in the console. They print as "redacted". All methods are
// pure: whoever receives pushes limits, stores and answers them.
//
// With an AESKey only what is encrypted is taken, whatever the query claims.
// Without one only `signature` vouches for a push, and it does not cover the
// body: anybody who once saw a push can send another body with its query for ten
// minutes. Use the secure mode.
//
// 消息推送:
// https://developers.weixin.qq.com/miniprogram/dev/framework/server-ability/message-push.html
type CallbackKeys struct {
	AppID string
	Token string
	// AESKey is the EncodingAESKey, 43 characters. Empty takes the plain mode only.
	AESKey string
	// PreviousAESKey is tried when AESKey does not fit: for a while after a change
	// WeChat may go on with the old one.
	PreviousAESKey string
}

// CallbackMode is how much of a push is encrypted.
type CallbackMode string

const (
	CallbackPlain      CallbackMode = "plain"      // 明文模式: nothing
	CallbackCompatible CallbackMode = "compatible" // 兼容模式: clear and encrypted side by side
	CallbackSecure     CallbackMode = "secure"     // 安全模式: all
)

// CallbackFormat is how a push is written.
type CallbackFormat string

const (
	CallbackJSON CallbackFormat = "json"
	CallbackXML  CallbackFormat = "xml"
)

// MaxCallbackBody is the largest body that [CallbackKeys.Open] looks at. Pushes
// of WeChat have a few kilobytes.
const MaxCallbackBody = 1 << 20

// callbackWindow is how far a timestamp may be from now, in both directions.
const callbackWindow = 10 * time.Minute

// CallbackReason says why a push, or the keys, were refused.
type CallbackReason string

const (
	CallbackBadKeys      CallbackReason = "bad_keys"      // token or EncodingAESKey malformed
	CallbackTooLarge     CallbackReason = "too_large"     // more than MaxCallbackBody
	CallbackBadQuery     CallbackReason = "bad_query"     // a parameter is missing or there twice
	CallbackNotEncrypted CallbackReason = "not_encrypted" // an AESKey is set and this push is clear
	CallbackNoKey        CallbackReason = "no_key"        // encrypted, and no AESKey is set
	CallbackUnsigned     CallbackReason = "unsigned"      // the signature is missing
	CallbackBadSignature CallbackReason = "bad_signature" // another token, or something was changed
	CallbackStale        CallbackReason = "stale"         // the timestamp is more than 10 minutes from now
	CallbackBadBase64    CallbackReason = "bad_base64"    // Encrypt is not base64
	CallbackBadLength    CallbackReason = "bad_length"    // truncated, or a length beyond the data
	CallbackBadPadding   CallbackReason = "bad_padding"   // most likely another EncodingAESKey
	CallbackForeignApp   CallbackReason = "foreign_app"   // encrypted for another appid
	CallbackDTD          CallbackReason = "dtd"           // XML with a document type or another directive
	CallbackBadBody      CallbackReason = "bad_body"      // neither JSON nor XML of the known form
)

// CallbackError is a refusal of a push. It repeats nothing of what was received.
type CallbackError struct {
	Reason CallbackReason
	Detail string // for people
}

func (e *CallbackError) Error() string { return fmt.Sprintf("callback: %s: %s", e.Reason, e.Detail) }

func refuseCallback(r CallbackReason, detail string) error {
	return &CallbackError{Reason: r, Detail: detail}
}

// String returns "redacted".
func (CallbackKeys) String() string { return redacted }

// GoString returns "redacted".
func (CallbackKeys) GoString() string { return redacted }

// Format prints "redacted" for every verb.
func (CallbackKeys) Format(f fmt.State, _ rune) { formatRedacted(f) }

// LogValue returns "redacted".
func (CallbackKeys) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns "redacted". To store the keys, store their fields.
func (CallbackKeys) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// Check reports keys that WeChat's console would not take: the token has 3 to 32
// letters and digits, an EncodingAESKey 43.
func (k CallbackKeys) Check() error {
	switch {
	case len(k.Token) < 3 || len(k.Token) > 32 || !alphanumeric(k.Token):
		return refuseCallback(CallbackBadKeys, "the token must be 3 to 32 letters and digits")
	case k.AESKey == "" && k.PreviousAESKey != "":
		return refuseCallback(CallbackBadKeys, "there is a previous EncodingAESKey and no current one")
	}
	for _, key := range []string{k.AESKey, k.PreviousAESKey} {
		if key != "" && (len(key) != 43 || !alphanumeric(key)) {
			return refuseCallback(CallbackBadKeys, "an EncodingAESKey must be 43 letters and digits")
		}
	}
	return nil
}

func alphanumeric(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// Echo checks the GET by which WeChat tries a URL, and returns the text to answer
// as it stands. The signature does not cover that text: answer it as text/plain.
func (k CallbackKeys) Echo(q url.Values, now time.Time) (string, error) {
	if err := k.Check(); err != nil {
		return "", err
	}
	if err := checkSingle(q); err != nil {
		return "", err
	}
	if err := k.verify(q, "signature", now); err != nil {
		return "", err
	}
	echo := q.Get("echostr")
	if echo == "" {
		return "", refuseCallback(CallbackBadQuery, "echostr is missing")
	}
	return echo, nil
}

// Open verifies a push and reads it. Every error is a [*CallbackError].
func (k CallbackKeys) Open(q url.Values, body []byte, now time.Time) (*Callback, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	if len(body) > MaxCallbackBody {
		return nil, refuseCallback(CallbackTooLarge, "the body is larger than 1 MiB")
	}
	if err := checkSingle(q); err != nil {
		return nil, err
	}
	if k.AESKey == "" {
		return k.openPlain(q, body, now)
	}
	return k.openEncrypted(q, body, now)
}

func (k CallbackKeys) openPlain(q url.Values, body []byte, now time.Time) (*Callback, error) {
	if kind := q.Get("encrypt_type"); kind != "" && kind != "raw" {
		return nil, refuseCallback(CallbackNoKey, "the push is encrypted, and no EncodingAESKey is set")
	}
	if err := k.verify(q, "signature", now); err != nil {
		return nil, err
	}
	m, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	if m.has("Encrypt") {
		return nil, refuseCallback(CallbackNoKey, "the body is encrypted, and no EncodingAESKey is set")
	}
	return readCallback(m, slices.Clone(body))
}

// openEncrypted never looks at the clear fields beside Encrypt, nor at `signature`,
// which covers neither.
func (k CallbackKeys) openEncrypted(q url.Values, body []byte, now time.Time) (*Callback, error) {
	if q.Get("encrypt_type") != "aes" {
		return nil, refuseCallback(CallbackNotEncrypted, "an EncodingAESKey is set and the query does not say encrypt_type=aes")
	}
	m, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	if !m.has("Encrypt") {
		return nil, refuseCallback(CallbackNotEncrypted, "an EncodingAESKey is set and the body has no Encrypt")
	}
	encrypted := m.text("Encrypt")
	if m.err != nil {
		return nil, m.err
	}
	if err := k.verify(q, "msg_signature", now, encrypted); err != nil {
		return nil, err
	}
	msg, previous, err := k.decrypt(encrypted)
	if err != nil {
		return nil, err
	}
	if m, err = parseFields(msg); err != nil {
		return nil, err
	}
	c, err := readCallback(m, msg)
	if err != nil {
		return nil, err
	}
	c.Encrypted, c.PreviousKey = true, previous
	return c, nil
}

// checkSingle refuses parameters that are there twice: what was signed and what
// is read could be two different ones.
func checkSingle(q url.Values) error {
	for _, values := range q {
		if len(values) > 1 {
			return refuseCallback(CallbackBadQuery, "a query parameter is there twice")
		}
	}
	return nil
}

// verify checks the signature in the parameter of this name, then the timestamp,
// which only a right signature makes worth looking at.
func (k CallbackKeys) verify(q url.Values, name string, now time.Time, signed ...string) error {
	given, timestamp, nonce := q.Get(name), q.Get("timestamp"), q.Get("nonce")
	switch {
	case given == "":
		return refuseCallback(CallbackUnsigned, "there is no "+name)
	case timestamp == "" || nonce == "":
		return refuseCallback(CallbackBadQuery, "timestamp or nonce is missing")
	}
	want := k.signature(append(signed, timestamp, nonce)...)
	if subtle.ConstantTimeCompare([]byte(given), []byte(want)) != 1 {
		return refuseCallback(CallbackBadSignature, name+" is wrong: another token, or something was changed on the way")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return refuseCallback(CallbackBadQuery, "timestamp is not a number")
	}
	if now.Sub(time.Unix(seconds, 0)).Abs() > callbackWindow {
		return refuseCallback(CallbackStale, "the timestamp is more than 10 minutes from now")
	}
	return nil
}

// signature is WeChat's for all that is signed together with the token.
func (k CallbackKeys) signature(parts ...string) string {
	parts = append(parts, k.Token)
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// decrypt opens the text of Encrypt by the key that fits.
func (k CallbackKeys) decrypt(encrypted string) (msg []byte, previous bool, err error) {
	// The decoder would skip line breaks, which nobody signed the meaning of. It
	// tolerates that bits behind the last byte are not zero, as WeChat's need not be.
	data, err := base64.StdEncoding.DecodeString(encrypted)
	switch {
	case err != nil || strings.ContainsAny(encrypted, "\r\n"):
		return nil, false, refuseCallback(CallbackBadBase64, "Encrypt is not base64")
	case len(data) == 0 || len(data)%aes.BlockSize != 0:
		return nil, false, refuseCallback(CallbackBadLength, "Encrypt is not made of whole AES blocks")
	}
	msg, err = k.decryptWith(k.AESKey, data)
	if err == nil || k.PreviousAESKey == "" {
		return msg, false, err
	}
	msg, errPrevious := k.decryptWith(k.PreviousAESKey, data)
	if errPrevious != nil {
		return nil, false, err
	}
	return msg, true, nil
}

// callbackPad is the block size that messages are padded to: twice that of AES.
const callbackPad = 32

// callbackHead is what stands before the message: 16 random bytes and its length.
const callbackHead = 16 + 4

func (k CallbackKeys) decryptWith(aesKey string, data []byte) ([]byte, error) {
	block, iv, err := callbackCipher(aesKey)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	plain, ok := unpad(plain, callbackPad)
	switch {
	case !ok:
		return nil, refuseCallback(CallbackBadPadding, "the EncodingAESKey does not fit, or Encrypt is damaged")
	case len(plain) < callbackHead:
		return nil, refuseCallback(CallbackBadLength, "Encrypt holds no message")
	}
	n, rest := binary.BigEndian.Uint32(plain[16:callbackHead]), plain[callbackHead:]
	if uint64(n) > uint64(len(rest)) {
		return nil, refuseCallback(CallbackBadLength, "the message is longer than what was encrypted")
	}
	if string(rest[n:]) != k.AppID {
		return nil, refuseCallback(CallbackForeignApp, "the push is for another appid")
	}
	return rest[:n:n], nil
}

// callbackCipher makes cipher and IV of an EncodingAESKey, which is base64 without
// its last character. 43 characters have two bits more than 32 bytes; they may be
// anything. That the IV is the first half of the key is on no page of WeChat's.
func callbackCipher(aesKey string) (cipher.Block, []byte, error) {
	key, err := base64.StdEncoding.DecodeString(aesKey + "=")
	if err != nil || len(key) != 32 {
		return nil, nil, refuseCallback(CallbackBadKeys, "an EncodingAESKey must be 43 letters and digits")
	}
	block, err := aes.NewCipher(key)
	return block, key[:aes.BlockSize], err
}

// Seal makes a push of a clear message, one JSON object or <xml> element, as
// WeChat sends it at now: the query and the body. Each call has a nonce of its
// own, so a message that is pushed again is sealed again.
func (k CallbackKeys) Seal(msg []byte, mode CallbackMode, now time.Time) (url.Values, []byte, error) {
	m, err := parseFields(msg)
	if err != nil {
		return nil, nil, err
	}
	q := k.sign(now)
	if from := m.text("FromUserName"); from != "" {
		q.Set("openid", from)
	}
	to := m.text("ToUserName")
	if m.err != nil || mode == CallbackPlain {
		return q, msg, m.err
	}
	encrypted, err := k.encrypt(newCallbackRandom(), msg)
	if err != nil {
		return nil, nil, err
	}
	q.Set("encrypt_type", "aes")
	q.Set("msg_signature", k.signature(q.Get("timestamp"), q.Get("nonce"), encrypted))
	clear := mode == CallbackCompatible && len(m.fields) > 0
	switch {
	case clear && m.format == CallbackJSON:
		return q, fmt.Appendf(nil, `%s,"Encrypt":%s}`, msg[:bytes.LastIndexByte(msg, '}')], quoteJSON(encrypted)), nil
	case clear:
		return q, fmt.Appendf(nil, "%s<Encrypt>%s</Encrypt></xml>", msg[:bytes.LastIndex(msg, []byte("</"))], cdata(encrypted)), nil
	case m.format == CallbackJSON:
		return q, fmt.Appendf(nil, `{"ToUserName":%s,"Encrypt":%s}`, quoteJSON(to), quoteJSON(encrypted)), nil
	}
	return q, fmt.Appendf(nil, "<xml><ToUserName>%s</ToUserName><Encrypt>%s</Encrypt></xml>", cdata(to), cdata(encrypted)), nil
}

// SignEcho makes the query of the GET by which WeChat tries a URL. The answer
// must be echostr.
func (k CallbackKeys) SignEcho(echostr string, now time.Time) url.Values {
	q := k.sign(now)
	q.Set("echostr", echostr)
	return q
}

// sign makes the part of a query that all modes share.
func (k CallbackKeys) sign(now time.Time) url.Values {
	timestamp, nonce := strconv.FormatInt(now.Unix(), 10), newCallbackNonce()
	return url.Values{"signature": {k.signature(timestamp, nonce)}, "timestamp": {timestamp}, "nonce": {nonce}}
}

// SealReply encrypts an answer with content, which the secure mode wants where an
// answer says more than "success". nonce is that of the push. Subscription events
// need no such answer.
func (k CallbackKeys) SealReply(msg []byte, nonce string, format CallbackFormat, now time.Time) ([]byte, error) {
	if k.AESKey == "" {
		return nil, refuseCallback(CallbackBadKeys, "an encrypted answer needs an EncodingAESKey")
	}
	return k.sealReply(newCallbackRandom(), msg, nonce, format, now)
}

func (k CallbackKeys) sealReply(random, msg []byte, nonce string, format CallbackFormat, now time.Time) ([]byte, error) {
	encrypted, err := k.encrypt(random, msg)
	if err != nil {
		return nil, err
	}
	seconds := strconv.FormatInt(now.Unix(), 10)
	signature := k.signature(seconds, nonce, encrypted)
	switch format {
	case CallbackJSON:
		return fmt.Appendf(nil, `{"Encrypt":%s,"MsgSignature":%s,"TimeStamp":%s,"Nonce":%s}`,
			quoteJSON(encrypted), quoteJSON(signature), seconds, quoteJSON(nonce)), nil
	case CallbackXML:
		return fmt.Appendf(nil, "<xml><Encrypt>%s</Encrypt><MsgSignature>%s</MsgSignature><TimeStamp>%s</TimeStamp><Nonce>%s</Nonce></xml>",
			cdata(encrypted), cdata(signature), seconds, cdata(nonce)), nil
	}
	return nil, errors.New("seal reply: the format is neither json nor xml")
}

// encrypt makes the text of Encrypt.
func (k CallbackKeys) encrypt(random, msg []byte) (string, error) {
	plain := slices.Clone(random)
	plain = binary.BigEndian.AppendUint32(plain, uint32(len(msg)))
	plain = append(append(plain, msg...), k.AppID...)
	n := callbackPad - len(plain)%callbackPad
	for range n {
		plain = append(plain, byte(n))
	}
	return encryptBlocks(k.AESKey, plain)
}

func encryptBlocks(aesKey string, plain []byte) (string, error) {
	block, iv, err := callbackCipher(aesKey)
	if err != nil {
		return "", err
	}
	data := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, plain)
	return base64.StdEncoding.EncodeToString(data), nil
}

// newCallbackRandom is 16 characters: WeChat's are printable too.
func newCallbackRandom() []byte {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return hex.AppendEncode(nil, b)
}

// newCallbackNonce is a number, as WeChat's is.
func newCallbackNonce() string {
	b := make([]byte, 4)
	rand.Read(b)
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(b)), 10)
}

func quoteJSON(s string) []byte { return appendString(nil, s) }

// cdata is s as XML text, in the way that WeChat writes it.
func cdata(s string) string {
	return "<![CDATA[" + strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>") + "]]>"
}
