package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"

	"github.com/hongyan-push/hongyan"
)

// adminKeyID is how the configured owner's key appears in logs and idempotency records.
const adminKeyID = hongyan.APIKeyID("admin")

// guard lets a request through whose API key has one of the scopes, and the app if the path
// names one. No scopes: any valid key will do.
func (s *server) guard(scopes []hongyan.Scope, next func(*exchange, *http.Request)) http.HandlerFunc {
	return s.open(func(x *exchange, r *http.Request) {
		key, err := s.authenticate(x, r)
		if err == nil {
			x.key = key
			err = x.authorize(scopes, hongyan.AppID(r.PathValue("appid")))
		}
		if err != nil {
			x.fail(err)
			return
		}
		next(x, r)
	})
}

// open is a route that needs no key.
func (s *server) open(next func(*exchange, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := w.(*exchange)
		x.route = r.Pattern
		next(x, r)
	}
}

// hasKey reports whether the request says by a header who asks; then a cookie says nothing.
func hasKey(r *http.Request) bool {
	_, ok := r.Header["Authorization"]
	return ok
}

// authenticate finds who asks: a program by its key, or a member by the session's cookie.
func (s *server) authenticate(x *exchange, r *http.Request) (hongyan.APIKey, error) {
	if !hasKey(r) && s.Sessions.Has(r) {
		return s.member(x, r)
	}
	scheme, clear, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	clear = strings.TrimSpace(clear)
	if !ok || !strings.EqualFold(scheme, "Bearer") || clear == "" {
		return hongyan.APIKey{}, hongyan.Errorf(hongyan.CodeUnauthorized, "The request has no header Authorization: Bearer <API key>.")
	}
	if s.AdminKey != "" {
		// Hashes have one length, so the comparison tells nothing about the key's.
		given := sha256.Sum256([]byte(clear))
		if subtle.ConstantTimeCompare(given[:], s.admin[:]) == 1 {
			return hongyan.APIKey{ID: adminKeyID, Name: "admin", Scopes: hongyan.Scopes()}, nil
		}
	}
	return s.l.Authenticate(clear)
}

func (x *exchange) authorize(scopes []hongyan.Scope, app hongyan.AppID) error {
	key := x.key
	if len(scopes) > 0 && !slices.ContainsFunc(scopes, func(sc hongyan.Scope) bool { return key.May(sc, "") }) {
		if x.session != nil {
			return hongyan.Errorf(hongyan.CodeForbidden, "This needs the scope %s; members of the role %s have %s.", words(scopes, " or "), x.session.Member.Role, words(key.Scopes, ", "))
		}
		return hongyan.Errorf(hongyan.CodeForbidden, "This needs an API key with scope %s; this key has %s.", words(scopes, " or "), words(key.Scopes, ", "))
	}
	return seesApp(key, app)
}

// seesApp hides the apps that a key is not for: to it they do not exist.
func seesApp(key hongyan.APIKey, app hongyan.AppID) error {
	if app == "" || len(key.Apps) == 0 || slices.Contains(key.Apps, app) {
		return nil
	}
	return hongyan.Errorf(hongyan.CodeAppNotFound, "There is no app %q here.", clip(string(app)))
}

func words[S ~string](list []S, sep string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, sep)
}
