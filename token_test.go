package hongyan

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestIssuedTokenPrintsRedacted(t *testing.T) {
	t.Parallel()
	const clear = "71_the-token-itself"
	v := IssuedToken{AccessToken: clear, ExpiresAt: time.Now(), ExpiresIn: 7200}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&b, verb+" ", v)
	}
	fmt.Fprint(&b, v, &v, []IssuedToken{v}, v.String(), v.GoString())
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	if strings.Contains(b.String(), clear) || strings.Contains(b.String(), fmt.Sprintf("%x", clear)) {
		t.Errorf("got %s", b.String())
	}
	// Its JSON is how it gets to who asked.
	if text, err := json.Marshal(v); err != nil || !strings.Contains(string(text), clear) {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestGuessDeath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mode    TokenMode
		errcode int
		want    DeathReason
	}{
		{"", 40001, DeathForcedElsewhere}, {TokenStable, 40001, DeathForcedElsewhere}, {TokenLegacy, 40001, DeathOtherFetch}, {TokenExternal, 40001, DeathSourceStale},
		{TokenLegacy, 42001, DeathExpiredEarly}, {TokenExternal, 42001, DeathExpiredEarly}, {TokenStable, 40014, DeathDamaged}, {TokenStable, 41001, DeathDamaged},
	} {
		if got := GuessDeath(tt.mode, tt.errcode); got != tt.want {
			t.Errorf("%s %d: got %s, want %s", tt.mode, tt.errcode, got, tt.want)
		}
	}
	for _, r := range []DeathReason{DeathOtherFetch, DeathForcedElsewhere, DeathSecretReset, DeathStillCurrent, DeathExpiredEarly, DeathDamaged, DeathSourceStale} {
		if m := r.Means(); m.EN == "" || m.ZH == "" {
			t.Errorf("%s has no words", r)
		}
	}
}

func TestTokenURL(t *testing.T) {
	t.Parallel()
	for u, want := range map[string]string{
		"https://tokens.example.com/wx?app=1": "", "https://[2001:db8::1]:8443/": "",
		"http://127.0.0.1:8080/": "", "http://10.1.2.3/wx": "", "http://[::1]/": "", "http://[fd00::1]/": "", "http://tokens:8080/wx": "", "http://localhost/": "",
		"": "missing", "tokens.example.com": "url", "ftp://h/": "url", "https://": "url", "https://u:p@h.example/": "url", "https://h.example/#x": "url",
		"https://h.example/" + strings.Repeat("x", 1024): "url", "https://h.example/\xff": "url",
		"http://tokens.example.com/": "clear_text", "http://203.0.113.7/": "clear_text", "http://100.64.0.1/": "clear_text",
	} {
		var e *Error
		code := ""
		if errors.As(AppSettings{TokenMode: TokenExternal, TokenURL: u}.Check(), &e) {
			code = e.Fields[0].Code
			if e.Fields[0].Pointer != "/settings/token_url" {
				t.Errorf("%q: pointer %s", u, e.Fields[0].Pointer)
			}
		}
		if code != want {
			t.Errorf("%q: got %q, want %q", u, code, want)
		}
	}
	if err := (AppSettings{TokenMode: TokenStable}).Check(); err != nil {
		t.Error(err)
	}
}
