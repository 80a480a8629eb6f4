package wechat

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const redacted = "redacted"

// minSecret keeps placeholder credentials of a letter or two, as tests have
// them, from cutting every text to pieces. Real ones have 24 characters and more.
const minSecret = 4

// scrub cuts secrets from s, as they are and as they look in a URL, in upper and
// lower case.
func scrub(s string, secrets []string) string {
	lower := strings.ToLower(s)
	for _, secret := range secrets {
		if len(secret) < minSecret {
			continue
		}
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if strings.Contains(lower, strings.ToLower(form)) {
				s = regexp.MustCompile("(?i)"+regexp.QuoteMeta(form)).ReplaceAllLiteralString(s, redacted)
			}
		}
	}
	return s
}

// scrubError is err, or its scrubbed text alone when it tells a secret.
func scrubError(err error, secrets []string) error {
	text := err.Error()
	if clean := scrub(text, secrets); clean != text {
		return errors.New(clean)
	}
	return err
}

// credential finds the value of a parameter or field whose name says that it is one:
// name=value in a query or form, also percent-encoded, and "name":"value" in JSON, also
// inside a JSON string. A value ends where either form ends it.
var credential = regexp.MustCompile(`(?i)((?:token|secret|session_?key|js_code|signature)(?:=|%3D|\\*"\s*:\s*\\*"))((?:[^"\\&\s]|\\+(?:/|u[0-9a-f]{4}))+)`)

// redactCredentials cuts from texts what they themselves call a credential, wherever else
// it stands in any of them, and the secrets that are known.
func redactCredentials(secrets []string, texts ...*string) {
	secrets = slices.Clone(secrets)
	for _, t := range texts {
		for _, m := range credential.FindAllStringSubmatch(*t, -1) {
			secrets = append(secrets, m[2])
			if clear, err := url.QueryUnescape(m[2]); err == nil {
				secrets = append(secrets, clear)
			}
		}
	}
	for _, t := range texts {
		*t = scrub(credential.ReplaceAllString(*t, "${1}"+redacted), secrets)
	}
}

// formatRedacted prints a secret value for every verb of package fmt.
func formatRedacted(f fmt.State) { io.WriteString(f, redacted) }
