package wechat

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
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

// formatRedacted prints a secret value for every verb of package fmt.
func formatRedacted(f fmt.State) { io.WriteString(f, redacted) }
