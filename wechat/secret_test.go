package wechat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	testSecret     = "0123456789abcdef0123456789ABCDEF"
	testCode       = "js_code+with/odd=chars"
	testSessionKey = "o0q0otL8aEzpcZL/FT9WsQ=="
)

// forms are the looks of a credential that must not leave.
func forms(secrets ...string) []string {
	var list []string
	for _, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			list = append(list, form, strings.ToLower(form))
		}
	}
	return list
}

// secretsOf are the credentials that callPath gives to the call of a path. Only
// those can be cut; nobody else's are known.
func secretsOf(path string) []string {
	switch path {
	case pathCheckSession, pathResetSessionKey:
		return []string{testToken, testSessionKey, emptySignature}
	case pathToken, pathStableToken, pathClearQuotaV2:
		return []string{testSecret}
	case pathCode2Session:
		return []string{testSecret, testCode, testSessionKey}
	}
	return []string{testToken}
}

func wantNoSecret(t *testing.T, shown string, secrets ...string) {
	t.Helper()
	for _, s := range forms(secrets...) {
		if strings.Contains(shown, s) {
			t.Errorf("shows %s: %.300s", s, shown)
		}
	}
}

// A peer that repeats credentials wherever it can does not get them into errors.
func TestErrorsTellNoSecrets(t *testing.T) {
	t.Parallel()
	for _, path := range allPaths {
		for name, raw := range echoes(secretsOf(path)) {
			if name == "wrong shapes" && (slices.Contains(confirmed, path) || path == pathSend) {
				continue // errcode 0 is all these need
			}
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				p := newPeer(t, func(c *net.TCPConn) {
					defer c.Close()
					readRequest(bufio.NewReader(c))
					io.WriteString(c, raw)
				})
				err := callPath(t, newClient(t, Config{BaseURL: p.url()}), path)
				if err == nil {
					t.Fatal("no error")
				}
				for e := err; e != nil; e = errors.Unwrap(e) {
					b, _ := json.Marshal(e)
					wantNoSecret(t, fmt.Sprintf("%v %+v %#v %q %s", e, e, e, e, b), secretsOf(path)...)
				}
			})
		}
	}
}

// echoes are answers that repeat secrets in every place there is.
func echoes(secrets []string) map[string]string {
	echo := strings.Join(forms(secrets...), " ")
	quoted, _ := json.Marshal(echo)
	sessionKey, _ := json.Marshal(testSessionKey)
	return map[string]string{
		"errmsg":           ok(`{"errcode":40029,"errmsg":` + string(quoted) + `,"session_key":` + string(sessionKey) + `,"rid":` + string(quoted) + `}`),
		"escaped errmsg":   ok(strings.ReplaceAll(`{"errcode":40029,"errmsg":"`+strings.Join(secrets, "")+`","session_key":`+string(sessionKey)+`}`, "o", `\u006f`)),
		"errcode":          ok(`{"errcode":` + string(quoted) + `}`),
		"wrong shapes":     ok(`{"errcode":0,"access_token":[` + string(quoted) + `],"openid":{"a":` + string(quoted) + `},"data":` + string(quoted) + `,"priTmplId":[` + string(quoted) + `],"count":` + string(quoted) + `}`),
		"HTML":             ok("<html>" + echo),
		"status":           "HTTP/1.1 500 " + echo + "\r\nContent-Length: 0\r\n\r\n",
		"status line":      echo + "\r\n\r\n",
		"odd status line":  "HTTP/1.1 200" + echo + "\r\n\r\n",
		"header name":      "HTTP/1.1 200 OK\r\n" + echo + "\r\n\r\n",
		"header value":     "HTTP/1.1 200 OK\r\nContent-Length: " + echo + "\r\n\r\n",
		"transfer":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + echo + "\r\n\r\n",
		"chunk":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + echo + "\r\n",
		"trailer":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + echo + "\r\n\r\n",
		"redirect":         "HTTP/1.1 302 Found\r\nLocation: http://x/?" + echo + "\r\nContent-Length: 0\r\n\r\n",
		"half a header":    "HTTP/1.1 200 OK\r\nX: " + echo,
		"nothing":          "",
		"session, no user": ok(`{"session_key":` + string(sessionKey) + `}`),
	}
}

func TestUnsentErrorsTellNoSecrets(t *testing.T) {
	t.Parallel()
	closed := newPeer(t, func(*net.TCPConn) {})
	closed.Close()
	for _, path := range allPaths {
		err := callPath(t, newClient(t, Config{BaseURL: closed.url()}), path)
		wantKind(t, err, Unsent, path)
		wantNoSecret(t, fmt.Sprintf("%v %+v %#v", err, err, err), secretsOf(path)...)
	}
}

func TestSecretsPrintRedacted(t *testing.T) {
	t.Parallel()
	values := []any{
		AccessToken{testToken, time.Hour}, &AccessToken{testToken, time.Hour},
		Session{"openid", testSessionKey, "unionid"}, &Session{"openid", testSessionKey, "unionid"},
		struct{ T AccessToken }{AccessToken{testToken, time.Hour}},
		[]Session{{SessionKey: testSessionKey}}, map[string]Session{"a": {SessionKey: testSessionKey}},
	}
	for _, v := range values {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T"} {
			fmt.Fprintf(&b, verb+" ", v)
		}
		fmt.Fprint(&b, v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v, slog.Any("w", v))
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		if err := json.NewEncoder(&b).Encode(v); err != nil {
			t.Error(err)
		}
		wantNoSecret(t, b.String(), testToken, testSessionKey)
		for _, hexed := range []string{fmt.Sprintf("%x", testToken), fmt.Sprintf("%X", testSessionKey)} {
			if strings.Contains(b.String(), hexed) {
				t.Errorf("shows a secret in hex: %s", b.String())
			}
		}
		if !strings.Contains(b.String(), redacted) {
			t.Errorf("got %s", b.String())
		}
	}
	if s := AccessToken.String(AccessToken{}) + AccessToken.GoString(AccessToken{}) + Session.String(Session{}) + Session.GoString(Session{}); s != strings.Repeat(redacted, 4) {
		t.Errorf("got %s", s)
	}
}

// An errmsg without a credential comes through byte for byte, and a placeholder
// of a letter or two does not cut it to pieces.
func TestScrubLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	const text = "invalid credential, access_token is invalid  \t rid: 6aac0063-7ed08fb9-1250f724 ％é"
	if got := scrub(text, []string{"", "a", "abc", testToken}); got != text {
		t.Errorf("got %q", got)
	}
	if got := scrub("x"+testToken+"y"+url.QueryEscape(testToken), []string{testToken}); got != "xredactedyredacted" {
		t.Errorf("got %q", got)
	}
}

// What WeChat repeats of a call in its rid answer loses every credential, in whatever form,
// and keeps the rest.
func TestRidInfoTellsNoSecrets(t *testing.T) {
	t.Parallel()
	const foreign = "71_another+token/of=somebody"
	tests := map[string]struct{ url, body, answer string }{
		"query":               {"access_token=" + url.QueryEscape(foreign) + "&openid=oKeep", "", ""},
		"query, as it is":     {"openid=oKeep&ACCESS_TOKEN=" + foreign, "", ""},
		"whole URL":           {"https://api.weixin.qq.com/wxa/x?access_token=" + foreign + "&openid=oKeep", "", ""},
		"encoded twice":       {"openid=oKeep&url=%3Faccess_token%3D" + url.QueryEscape(foreign), "", ""},
		"AppSecret":           {"grant_type=x&appid=oKeep&secret=" + testSecret, "", ""},
		"AppSecret of v2":     {"appid=oKeep&appsecret=" + testSecret, `{"appid":"oKeep","appsecret":"` + testSecret + `"}`, ""},
		"request":             {"", `{"secret" : "` + testSecret + `", "appid":"oKeep"}`, ""},
		"response":            {"", "oKeep", `{"access_token":"` + foreign + `","expires_in":7200}`},
		"response, escaped":   {"", "oKeep", `{"access_token":"` + strings.ReplaceAll(foreign, "/", `\/`) + `","expires_in":7200}`},
		"response, in quotes": {"", "oKeep", `"{\"access_token\":\"` + foreign + `\",\"expires_in\":7200}"`},
		"session key":         {"js_code=" + url.QueryEscape(testCode), "oKeep", `{"session_key":"` + testSessionKey + `"}`},
		"only in one place":   {"access_token=" + url.QueryEscape(foreign), "oKeep says " + foreign, "and " + url.QueryEscape(foreign)},
		"our own":             {testToken, "oKeep", testToken},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := json.Marshal(map[string]any{"errcode": 0, "request": map[string]any{"request_url": tt.url, "request_body": tt.body, "response_body": tt.answer}})
			if err != nil {
				t.Fatal(err)
			}
			c, _ := serving(t, string(b))
			got, err := c.GetRidInfo(t.Context(), testToken, "61725984-6126f6f9-040f19c4")
			if err != nil {
				t.Fatal(err)
			}
			shown := got.RequestURL + "\n" + got.RequestBody + "\n" + got.ResponseBody
			wantNoSecret(t, shown, foreign, testSecret, testToken, testSessionKey, testCode)
			if wantNoSecret(t, strings.ReplaceAll(shown, `\/`, "/"), foreign); !strings.Contains(shown, "oKeep") || !strings.Contains(shown, redacted) {
				t.Errorf("got %s", shown)
			}
		})
	}
}
