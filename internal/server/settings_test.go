package server_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/config"
)

// TestSettings: owners see what the server was started with, in their language and without
// a secret; whoever sees some apps alone does not.
func TestSettings(t *testing.T) {
	t.Parallel()
	master := base64.StdEncoding.EncodeToString([]byte("a master key has these 32 bytes."))
	h := newHouse(t, func(c *config.Config) {
		c.MasterKey, c.WeChatProxy = master, "http://me:hunter2@127.0.0.1:1"
	})
	owner := h.owner()
	for lang, senders := range map[string]string{"zh-CN": "每个小程序同时调用微信的数量。", "en": "Calls to WeChat at once, per app."} {
		owner.header.Set("Accept-Language", lang)
		text := owner.want(200, "GET", "/v1/settings", nil)["body"].(string)
		for _, secret := range []string{master, "hunter2", adminKey} {
			if strings.Contains(text, secret) {
				t.Errorf("%s leaves the server: %s", secret, text)
			}
		}
		for _, want := range []string{
			fmt.Sprintf(`"key":"senders","value":"1","origin":"program","env":"HONGYAN_SENDERS","help":%q`, senders),
			`"key":"HONGYAN_MASTER_KEY","value":"redacted","origin":"program"`, `"key":"wechat_proxy","value":"http://redacted@127.0.0.1:1"`,
			`"key":"gateway_listen","value":"","origin":"default"`, `"key":"db","value":"sqlite:` + h.cfg.Data,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s in %s", lang, want, text)
			}
		}
	}
	viewer := h.member(owner, "viewer", "viewer")
	viewer.wantCode(403, hongyan.CodeForbidden, "GET", "/v1/settings", nil)
	key := owner.want(201, "POST", "/v1/keys", object{"name": "x", "scopes": []string{"manage"}, "apps": []string{"wx0123456789abcdef"}})["key"].(string)
	limited := h.browser()
	limited.header.Set("Authorization", "Bearer "+key)
	limited.wantCode(403, hongyan.CodeForbidden, "GET", "/v1/settings", nil)
}
