package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
	"unicode/utf8"

	"github.com/hongyan-push/hongyan/wechat"
)

// invalidCredential is what WeChat says of a token that is not the current one. Seen on
// 2026-09-17.
const invalidCredential = "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"

// errmsgOf is WeChat's text of an errcode, without rid.
func errmsgOf(errcode int) string {
	if errcode == wechat.ErrcodeInvalidCredential {
		return invalidCredential
	}
	if info, ok := wechat.LookupErrcode(errcode); ok && info.Errmsg != "" {
		return info.Errmsg
	}
	return "error"
}

// complaintMost is where WeChat cuts what it says of an argument.
const complaintMost = 30

// argumentInvalid is the text of 47003 about one key: "is empty" or "invalid".
func argumentInvalid(key, what string) string {
	complaint := "data." + key + ".value " + what
	if utf8.RuneCountInString(complaint) > complaintMost {
		complaint = string([]rune(complaint)[:complaintMost])
	}
	return "argument invalid! " + complaint
}

// newRid is a request id of the gateway's own, in the shape of WeChat's: its first group is
// the time. WeChat knows nothing of it.
func newRid(now time.Time) string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(now.Unix()), rand.Uint32(), rand.Uint32())
}

// encode is JSON as WeChat writes it: & < > as they are.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // of our own plain structs
		return []byte(`{"errcode":-1,"errmsg":"system error"}`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
