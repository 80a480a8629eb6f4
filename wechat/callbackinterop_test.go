package wechat

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"testing"

	"github.com/hongyan-push/hongyan/internal/nodetest"
)

// An implementation of other authors opens what we seal, and we what it seals.
func TestCallbackInterop(t *testing.T) {
	t.Parallel()
	const count = 500
	type push struct {
		Encrypt   string `json:"encrypt"`
		Timestamp string `json:"timestamp"`
		Nonce     string `json:"nonce"`
		signature string
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	k := CallbackKeys{AppID: "wx0123456789abcdef", Token: "interopToken1", AESKey: demoAESKey}
	now := unix(1714112445)
	messages := make([]string, count)
	pushes := make([]push, count)
	for i := range count {
		messages[i] = randomEvent(random)
		q, body, err := k.Seal([]byte(messages[i]), CallbackSecure, now)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseFields(body)
		if err != nil {
			t.Fatal(err)
		}
		pushes[i] = push{m.text("Encrypt"), q.Get("timestamp"), q.Get("nonce"), q.Get("msg_signature")}
	}
	input, err := json.Marshal(map[string]any{"token": k.Token, "aesKey": k.AESKey, "appID": k.AppID,
		"timestamp": "1714112445", "nonce": "415670741", "messages": messages, "pushes": pushes})
	if err != nil {
		t.Fatal(err)
	}
	var theirs struct {
		Sealed []struct{ Encrypt, Signature string }
		Opened []struct{ Message, ID, Signature string }
	}
	dir := nodetest.Project(t, "testdata/node")
	if err := json.Unmarshal(nodetest.Run(t, dir, input, "node", "callback.js"), &theirs); err != nil {
		t.Fatal(err)
	}
	if len(theirs.Sealed) != count || len(theirs.Opened) != count {
		t.Fatalf("%d sealed, %d opened", len(theirs.Sealed), len(theirs.Opened))
	}
	for i, msg := range messages {
		if o := theirs.Opened[i]; o.Message != msg || o.ID != k.AppID || o.Signature != pushes[i].signature {
			t.Errorf("%q was opened as %+v, want signature %s", msg, o, pushes[i].signature)
		}
		s := theirs.Sealed[i]
		q := url.Values{"timestamp": {"1714112445"}, "nonce": {"415670741"}, "encrypt_type": {"aes"}, "msg_signature": {s.Signature}}
		c, err := k.Open(q, secureBody(s.Encrypt), now)
		if err != nil || string(c.Raw) != msg || !c.Encrypted {
			t.Errorf("%q came as %+v, %v", msg, c, err)
		}
	}
}

// randomEvent is an event of any length, so that every padding occurs, in either form.
func randomEvent(random *rand.Rand) string {
	const letters = "abcXYZ019_-中文é🎉"
	text := func(most int) string {
		runes := []rune(letters)
		b := make([]rune, random.IntN(most))
		for i := range b {
			b[i] = runes[random.IntN(len(runes))]
		}
		return string(b)
	}
	if random.IntN(2) == 0 {
		return fmt.Sprintf("<xml><FromUserName>%s</FromUserName><CreateTime>%d</CreateTime><Event>%s</Event></xml>",
			cdata(text(30)), random.IntN(2e9), cdata(text(300)))
	}
	return fmt.Sprintf(`{"FromUserName":%q,"CreateTime":%q,"Event":%q,"List":{"TemplateId":%q}}`,
		text(30), strconv.Itoa(random.IntN(2e9)), EventSubscribePopup, text(300))
}
