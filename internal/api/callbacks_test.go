package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/wechat"
)

// TestSetCallback: what is left out is made the first time, and stays later; keys are shown
// when they are set and never again.
func TestSetCallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app := t.Context(), w.appID()
	if _, err := w.admin.CallbackConfig(ctx, app); hongyan.CodeOf(err) != hongyan.CodeNotFound {
		t.Fatalf("before: %v", err)
	}
	set := func(in client.CallbackSetup) hongyan.CallbackConfig {
		t.Helper()
		c, err := w.admin.SetCallback(ctx, app, in)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := set(client.CallbackSetup{})
	if first.Path != "/callback/"+w.app.AppID || len(first.Token) != 32 || len(first.EncodingAESKey) != 43 || !first.Encrypted {
		t.Fatalf("made %+v", first)
	}
	keys := func() wechat.CallbackKeys {
		k, err := w.l.CallbackKeys(app)
		if err != nil {
			t.Fatal(err)
		}
		return wechat.CallbackKeys{Token: k.Token.Reveal(), AESKey: k.AESKey.Reveal(), PreviousAESKey: k.PreviousAESKey.Reveal()}
	}
	if k := keys(); k.Token != first.Token || k.AESKey != first.EncodingAESKey || k.Check() != nil {
		t.Error("other keys are in force than were shown")
	}
	shown, err := w.admin.CallbackConfig(ctx, app)
	if err != nil || shown.Token != "" || shown.EncodingAESKey != "" || !shown.Encrypted || shown.UpdatedAt.IsZero() {
		t.Errorf("read back %+v, %v", shown, err)
	}

	if c := set(client.CallbackSetup{ForwardTo: ptr("https://example.com/wx")}); c.Token != "" || c.EncodingAESKey != "" || c.ForwardTo != "https://example.com/wx" {
		t.Errorf("with forward_to alone %+v", c)
	}
	if k := keys(); k.Token != first.Token || k.AESKey != first.EncodingAESKey {
		t.Error("forward_to changed the keys")
	}
	renewed := set(client.CallbackSetup{Renew: true})
	if renewed.Token == first.Token || renewed.EncodingAESKey == first.EncodingAESKey || renewed.PreviousUntil.Before(time.Now()) || renewed.ForwardTo == "" {
		t.Errorf("renewed %+v", renewed)
	}
	if k := keys(); k.PreviousAESKey != first.EncodingAESKey {
		t.Error("the key before does not fit any more")
	}
	given := strings.Repeat("k", 43)
	if c := set(client.CallbackSetup{EncodingAESKey: &given}); c.EncodingAESKey != given || c.Token != "" {
		t.Errorf("given %+v", c)
	}
	if c := set(client.CallbackSetup{Plain: true, ForwardTo: ptr("")}); c.Encrypted || c.ForwardTo != "" {
		t.Errorf("plain %+v", c)
	}

	if err := w.admin.RemoveCallback(ctx, app); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.RemoveCallback(ctx, app); hongyan.CodeOf(err) != hongyan.CodeNotFound {
		t.Errorf("removed twice: %v", err)
	}
	if c := set(client.CallbackSetup{Plain: true}); c.Encrypted || c.EncodingAESKey != "" || len(c.Token) != 32 {
		t.Errorf("plain at first %+v", c)
	}
}

func TestSetCallbackRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name    string
		in      client.CallbackSetup
		pointer string
	}{
		{"a token too short", client.CallbackSetup{Token: ptr("ab")}, "/token"},
		{"a token with a dash", client.CallbackSetup{Token: ptr("abc-def")}, "/token"},
		{"a key too short", client.CallbackSetup{EncodingAESKey: ptr(strings.Repeat("k", 42))}, "/encoding_aes_key"},
		{"a key with its =", client.CallbackSetup{EncodingAESKey: ptr(strings.Repeat("k", 42) + "=")}, "/encoding_aes_key"},
		{"an empty key", client.CallbackSetup{EncodingAESKey: ptr("")}, "/encoding_aes_key"},
		{"plain with a key", client.CallbackSetup{Plain: true, EncodingAESKey: ptr(strings.Repeat("k", 43))}, "/plain"},
		{"no URL", client.CallbackSetup{ForwardTo: ptr("ftp://x")}, "/forward_to"},
		{"a URL with a user", client.CallbackSetup{ForwardTo: ptr("https://u:p@example.com")}, "/forward_to"},
	} {
		_, err := w.admin.SetCallback(t.Context(), w.appID(), tt.in)
		if e := wantCode(t, err, hongyan.CodeInvalid); len(e.Fields) != 1 || e.Fields[0].Pointer != tt.pointer {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := w.admin.CallbackConfig(t.Context(), w.appID()); hongyan.CodeOf(err) != hongyan.CodeNotFound {
		t.Errorf("something was set: %v", err)
	}
	if _, err := w.admin.SetCallback(t.Context(), "wxNobody", client.CallbackSetup{}); hongyan.CodeOf(err) != hongyan.CodeAppNotFound {
		t.Errorf("another app: %v", err)
	}
}

// TestCallbackLists: pages by event and user, one push with its text, and what was refused.
func TestCallbackLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, app := t.Context(), w.appID()
	const n = 60 // more than a page
	for i := range n {
		cb := hongyan.Callback{Event: "text", OpenID: hongyan.OpenID(fmt.Sprintf("oUser%d", i%2)), Raw: fmt.Sprint("message ", i), Encrypted: true}
		if i%3 == 0 {
			cb.Event = "image"
		}
		if err := w.l.RecordCallback(ctx, app, cb); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.l.RejectCallback(ctx, app, hongyan.CallbackRejection{Reason: "stale", Detail: "too old", Remote: "203.0.113.9"}); err != nil {
		t.Fatal(err)
	}
	reader := w.key(nil, hongyan.ScopeRead)
	count := func(event string, openid hongyan.OpenID) (k int, last hongyan.Callback) {
		t.Helper()
		for cb, err := range reader.Callbacks(ctx, app, event, openid) {
			if err != nil {
				t.Fatal(err)
			}
			if cb.Raw != "" || event != "" && cb.Event != event || openid != "" && cb.OpenID != openid {
				t.Errorf("asked for %q of %q and got %+v", event, openid, cb)
			}
			k, last = k+1, cb
		}
		return k, last
	}
	all, oldest := count("", "")
	images, _ := count("image", "")
	both, _ := count("image", "oUser0")
	if all != n || images != n/3 || both != n/6 {
		t.Errorf("%d in all, %d images, %d of one user", all, images, both)
	}
	if cb, err := reader.Callback(ctx, app, oldest.ID); err != nil || cb.Raw != "message 0" {
		t.Errorf("%+v, %v", cb, err)
	}
	if _, err := reader.Callback(ctx, app, "cbk_nothing"); hongyan.CodeOf(err) != hongyan.CodeNotFound {
		t.Errorf("no such push: %v", err)
	}
	if list, err := reader.CallbackRejections(ctx, app); err != nil || len(list) != 1 || list[0].Reason != "stale" || list[0].Remote != "203.0.113.9" {
		t.Errorf("rejections %+v, %v", list, err)
	}
	// Keys are for those who manage; lists for those who read.
	if _, err := reader.SetCallback(ctx, app, client.CallbackSetup{}); hongyan.CodeOf(err) != hongyan.CodeForbidden {
		t.Errorf("a reader sets keys: %v", err)
	}
	if _, err := reader.CallbackConfig(ctx, app); hongyan.CodeOf(err) != hongyan.CodeForbidden {
		t.Errorf("a reader sees forward_to: %v", err)
	}
	for _, err := range w.key(nil, hongyan.ScopeManage, hongyan.ScopeSend).Callbacks(ctx, app, "", "") {
		if hongyan.CodeOf(err) != hongyan.CodeForbidden {
			t.Errorf("without read: %v", err)
		}
	}
	if _, err := w.key([]hongyan.AppID{"wxOther"}, hongyan.ScopeRead).CallbackRejections(ctx, app); hongyan.CodeOf(err) != hongyan.CodeAppNotFound {
		t.Errorf("a key for another app: %v", err)
	}
}

// TestLettersAndDigits: keys are as long as they must be and of all characters alike.
func TestLettersAndDigits(t *testing.T) {
	t.Parallel()
	seen := map[rune]int{}
	for range 2000 {
		k := lettersAndDigits(43)
		if len(k) != 43 {
			t.Fatalf("%d characters", len(k))
		}
		for _, r := range k {
			seen[r]++
		}
	}
	for r, k := range seen {
		if k < 1000 || k > 1800 { // 1387 ± 37
			t.Errorf("%q is there %d times", r, k)
		}
	}
	if len(seen) != 62 {
		t.Errorf("%d different characters, want 62", len(seen))
	}
}
