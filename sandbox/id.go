package sandbox

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"
)

// The shapes are those that WeChat's identifiers were seen to have.

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	urlAlphabet  = alphanumeric + "-_"
)

// randomText is n characters of the alphabet. The little bias of the remainder
// does not matter: these are secrets of a toy.
func randomText(alphabet string, n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

func randomHex(n int) string {
	b := make([]byte, (n+1)/2)
	rand.Read(b)
	return hex.EncodeToString(b)[:n]
}

func newAppID() string      { return "wx" + randomHex(16) }
func newOriginalID() string { return "gh_" + randomHex(12) }
func newSecret() string     { return randomHex(32) }
func newOpenID() string     { return "o" + randomText(urlAlphabet, 27) }
func newTemplateID() string { return randomText(urlAlphabet, 43) }
func newLoginCode() string  { return randomText(alphanumeric, 32) }

// newAccessToken has 136 characters and more, so that a column or buffer that is
// too small shows itself here.
func newAccessToken() string {
	return fmt.Sprintf("%d_%s", 60+mathrand.IntN(40), randomText(urlAlphabet, 141))
}

// newSessionKey is base64 of 16 bytes.
func newSessionKey() string {
	b := make([]byte, 16)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// newRid is a request id; its first group is the time of the request.
func newRid(now time.Time) string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(now.Unix()), mathrand.Uint32(), mathrand.Uint32())
}

// isID reports whether s could be an appid or openid: 1 to 64 characters of the
// alphabet WeChat uses.
func isID(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && strings.Trim(s, urlAlphabet) == ""
}
