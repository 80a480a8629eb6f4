package wechat

import (
	"errors"
	"strings"
	"testing"
)

// TestNoCredentialInClearText: plain http to another host carries calls without a token
// alone, as WeChat's cloud hosting has them; 192.0.2.1 is nobody's address (RFC 5737).
func TestNoCredentialInClearText(t *testing.T) {
	t.Parallel()
	c, err := New(Config{BaseURL: "http://192.0.2.1", AllowInsecure: true, ConnectTimeout: 50_000_000})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const credential = "a-credential-of-some-length"
	calls := map[string]func() error{
		"send": func() error {
			_, err := c.SendSubscribeMessage(t.Context(), credential, &SubscribeMessage{})
			return err
		},
		"stable_token": func() error { _, err := c.GetStableAccessToken(t.Context(), "wx1", credential, false); return err },
		"token":        func() error { _, err := c.GetAccessToken(t.Context(), "wx1", credential); return err },
		"login":        func() error { _, err := c.Code2Session(t.Context(), "wx1", credential, "code"); return err },
		"templates":    func() error { _, err := c.GetTemplateList(t.Context(), credential); return err },
		"relay": func() error {
			_, err := c.Relay(t.Context(), RelayRequest{Method: "GET", Path: "/cgi-bin/get_api_domain_ip", AccessToken: credential})
			return err
		},
		"relay with a secret": func() error {
			_, err := c.Relay(t.Context(), RelayRequest{Method: "POST", Path: "/cgi-bin/clear_quota/v2", Query: "appsecret=" + credential, Secrets: []string{credential}})
			return err
		},
	}
	for name, call := range calls {
		err := call()
		var te *TransportError
		if !errors.As(err, &te) || te.Kind != Unsent || !errors.Is(err, errClearText) || strings.Contains(err.Error(), credential) {
			t.Errorf("%s with a credential: %v, want it refused as unsent", name, err)
		}
	}
	if _, err := c.SendSubscribeMessage(t.Context(), "", &SubscribeMessage{}); errors.Is(err, errClearText) {
		t.Errorf("without a token: %v, want it tried", err)
	}
}
