package hongyan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestSecretsStayInside prints secrets in every way a careless line might.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	const clear = "top-secret-value"
	type nested struct {
		hidden AppSecret // fmt calls no method of an unexported field
		Open   AccessToken
		inner  *SessionKey
		list   []APIKeySecret
		byName map[string]AppSecret
	}
	key := NewSessionKey(clear)
	n := nested{NewAppSecret(clear), NewAccessToken(clear), &key, []APIKeySecret{NewAPIKeySecret(clear)}, map[string]AppSecret{"a": NewAppSecret(clear)}}
	var printed []string
	for _, v := range []any{NewAppSecret(clear), NewAccessToken(clear), NewSessionKey(clear), NewAPIKeySecret(clear), n, &n, []any{n}, n.byName} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Errorf("marshal %T: %v", v, err)
		}
		printed = append(printed, string(b))
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		printed = append(printed, log.String())
	}
	hex := fmt.Sprintf("%x", clear)
	for _, p := range printed {
		if strings.Contains(p, clear) || strings.Contains(strings.ToLower(p), hex) {
			t.Errorf("a secret was printed: %s", p)
		}
	}
	if s := fmt.Sprint(NewAppSecret(clear)); s != "redacted" {
		t.Errorf("printed %q", s)
	}
}

func TestSecretValue(t *testing.T) {
	t.Parallel()
	a := NewAppSecret("a")
	if a.Reveal() != "a" || a.IsZero() || a != NewAppSecret("a") || a == NewAppSecret("b") {
		t.Error("a secret is not its value")
	}
	for _, zero := range []AppSecret{{}, NewAppSecret("")} {
		if !zero.IsZero() || zero.Reveal() != "" || zero != (AppSecret{}) {
			t.Error("no secret is not none")
		}
	}
}

func TestOpenIDInLogs(t *testing.T) {
	t.Parallel()
	for id, want := range map[OpenID]string{"oMgHVwDwgtTKE3pjLR0p2Rp8xxx1": "oMgH…xxx1", "short": "…", "": "…"} {
		if got := id.LogValue().String(); got != want {
			t.Errorf("%q is logged as %q, want %q", string(id), got, want)
		}
	}
}
