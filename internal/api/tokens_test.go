package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/sandbox"
)

func TestToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	services := w.key(nil, hongyan.ScopeToken)
	first, err := services.Token(ctx, id)
	if err != nil || first.AccessToken != w.token() || first.ExpiresIn < 7100 || first.ExpiresIn > 7200 {
		t.Fatalf("expires in %d, %v", first.ExpiresIn, err)
	}
	// As a shell would: without a body.
	r := w.call("POST", "/v1/apps/"+w.app.AppID+"/token", "")
	if r.Status != 200 || r.Header.Get("Cache-Control") != "no-store" || !strings.Contains(r.Body, first.AccessToken) {
		t.Errorf("got %d %v", r.Status, r.Header)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, first); strings.Contains(got, first.AccessToken) {
			t.Errorf("%s prints the token", verb)
		}
	}

	// A dead one is named, and replaced; named again, the answer has the one after it.
	if _, err := w.box.Tokens(sandbox.TokensSpec{AppID: w.app.AppID, Action: "supersede"}); err != nil {
		t.Fatal(err)
	}
	second, err := services.TokenAfter(ctx, id, client.RefusedToken{Token: first.AccessToken})
	if err != nil || second.AccessToken == first.AccessToken {
		t.Fatalf("got the dead token or %v", err)
	}
	again, err := services.TokenAfter(ctx, id, client.RefusedToken{Token: first.AccessToken, Errcode: 42001})
	if err != nil || again.AccessToken != second.AccessToken {
		t.Errorf("the current token was replaced: %v", err)
	}
	d := w.deaths()
	if len(d) != 1 || !strings.HasPrefix(d[0].By, "key_") || d[0].Reason != hongyan.DeathForcedElsewhere || d[0].Errcode != 40001 {
		t.Errorf("got %+v", d)
	}
	for body, pointer := range map[string]string{
		`{"errcode":40001}`: "/refused", `{"refused":"x","errcode":43101}`: "/errcode", `{"token":"x"}`: "/token", `{"refused":5}`: "/refused",
	} {
		wantFaults(t, w.call("POST", "/v1/apps/"+w.app.AppID+"/token", body), pointer+" ")
	}
	if logs := w.logs.String(); strings.Contains(logs, first.AccessToken) || strings.Contains(logs, second.AccessToken) {
		t.Error("the log has a token")
	}

	// Whom it is not for.
	for _, sc := range hongyan.Scopes() {
		if _, err := w.client(w.scopeKey(sc), "").Token(ctx, id); sc != hongyan.ScopeToken {
			wantCode(t, err, hongyan.CodeForbidden)
		}
	}
	_, err = w.key([]hongyan.AppID{"wxother"}, hongyan.ScopeToken).Token(ctx, id)
	wantCode(t, err, hongyan.CodeAppNotFound)
}

func TestTokenOfAppWithoutTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	if _, err := w.admin.UpdateApp(ctx, id, client.AppUpdate{Settings: map[string]any{"token_mode": "none"}}); err != nil {
		t.Fatal(err)
	}
	_, err := w.admin.Token(ctx, id)
	if e := wantCode(t, err, hongyan.CodeConflict); !strings.Contains(e.Message, "token_mode none") {
		t.Errorf("got %s", e.Message)
	}
	_, err = w.admin.RefreshToken(ctx, id)
	wantCode(t, err, hongyan.CodeConflict)
	if h, err := w.admin.TokenHealth(ctx, id); err != nil || h.Mode != hongyan.TokenNone || !h.FetchedAt.IsZero() {
		t.Errorf("got %+v %v", h, err)
	}
}

func TestTokenHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.appID()
	tok := w.token()
	h, err := w.key(nil, hongyan.ScopeRead).TokenHealth(ctx, id)
	if err != nil || h.Mode != hongyan.TokenStable || h.FetchedAt.IsZero() || h.ExpiresAt.IsZero() || h.LastFailure != nil || h.EarlyDeaths == nil {
		t.Errorf("got %+v %v", h, err)
	}
	refreshed, err := w.admin.RefreshToken(ctx, id)
	if err != nil || !refreshed.Replaced || w.token() == tok {
		t.Errorf("got %+v %v", refreshed, err)
	}
	_, err = w.admin.RefreshToken(ctx, id)
	if e := wantCode(t, err, hongyan.CodeRateLimited); e.RetryAfter <= 0 {
		t.Errorf("got %+v, want when to come again", e)
	}
	// A failure stands there in words.
	if _, err := w.box.SetRules(w.app.AppID, sandbox.Rules{IPWhitelist: []string{"203.0.113.7"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.box.Tokens(sandbox.TokensSpec{AppID: w.app.AppID, Action: "expire"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.admin.SyncTemplates(ctx, id)
	if e := wantCode(t, err, hongyan.CodeTokenUnavailable); e.WeChat == nil || e.WeChat.Errcode != 40164 {
		t.Fatalf("got %+v", e)
	}
	r := w.call("GET", "/v1/apps/"+w.app.AppID+"/token/health", "")
	h = hongyan.TokenHealth{}
	if err := json.Unmarshal([]byte(r.Body), &h); err != nil || h.LastFailure == nil || h.LastFailure.WeChat.Errcode != 40164 ||
		!strings.Contains(h.LastFailure.Means.ZH, "127.0.0.1") || !strings.Contains(h.LastFailure.Means.EN, "127.0.0.1") {
		t.Errorf("got %s %v", r.Body, err)
	}
	if len(h.EarlyDeaths) != 1 || h.EarlyDeaths[0].Errcode != 42001 || h.RefreshedAt.IsZero() || !h.FetchedAt.IsZero() {
		t.Errorf("got %+v", h)
	}
	if strings.Contains(r.Body, tok) || strings.Contains(r.Body, w.app.Secret) {
		t.Error("health has a secret")
	}
}

// tokenOwner is a service that owns an app's tokens.
func tokenOwner(t *testing.T, w *world, secret string) (url string, wrong *atomic.Bool) {
	t.Helper()
	wrong = &atomic.Bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+secret && secret != "", r.Header.Get("Authorization") != "" && secret == "":
			rw.WriteHeader(403)
		case wrong.Load():
			fmt.Fprint(rw, `{"access_token":"never-was-one","expires_in":7200}`)
		default:
			fmt.Fprintf(rw, `{"access_token":%q,"expires_in":7200}`, w.boxToken())
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, wrong
}

// boxToken is the app's stable token, fetched past this server.
func (w *world) boxToken() string {
	body := `{"grant_type":"client_credential","appid":"` + w.app.AppID + `","secret":"` + w.app.Secret + `"}`
	resp, err := http.Post(w.wx.URL+"/cgi-bin/stable_token", "application/json", strings.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	var v struct {
		AccessToken string `json:"access_token"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&v)
	return v.AccessToken
}

func TestExternalTokens(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	ctx := t.Context()
	var err error
	if w.app, err = w.box.CreateApp(sandbox.AppSpec{}); err != nil {
		t.Fatal(err)
	}
	id := w.appID()
	url, wrong := tokenOwner(t, w, "owners-secret")
	external := func(url string) hongyan.AppSettings {
		return hongyan.AppSettings{TokenMode: hongyan.TokenExternal, TokenURL: url}
	}
	refused := func(in client.AppCreate, code hongyan.Code, pointer string) {
		t.Helper()
		in.AppID = id
		e := wantCode(t, create1(w, in), code)
		if len(e.Fields) != 1 || e.Fields[0].Pointer != pointer {
			t.Errorf("got %+v, want %s", e.Fields, pointer)
		}
		if strings.Contains(fmt.Sprint(e, e.Fields), "owners-secret") {
			t.Error("the error has the secret")
		}
	}
	refused(client.AppCreate{Settings: external("")}, hongyan.CodeInvalid, "/settings/token_url")
	refused(client.AppCreate{Settings: external("http://tokens.example.com/")}, hongyan.CodeInvalid, "/settings/token_url")
	refused(client.AppCreate{Settings: external("https://user:pw@tokens.example.com/")}, hongyan.CodeInvalid, "/settings/token_url")
	refused(client.AppCreate{Settings: external(url), TokenSecret: "a b"}, hongyan.CodeInvalid, "/token_secret")
	refused(client.AppCreate{Settings: external(url), TokenSecret: "wrong"}, hongyan.CodeTokenUnavailable, "/settings/token_url")
	wrong.Store(true)
	refused(client.AppCreate{Settings: external(url), TokenSecret: "owners-secret"}, hongyan.CodeTokenUnavailable, "/settings/token_url")
	wrong.Store(false)
	app, err := w.admin.CreateApp(ctx, client.AppCreate{AppID: id, Settings: external(url), TokenSecret: "owners-secret"}, client.Options{})
	if err != nil || app.HasSecret || !app.HasTokenSecret {
		t.Fatalf("got %+v %v", app, err)
	}
	if tok, err := w.admin.Token(ctx, id); err != nil || tok.AccessToken != w.boxToken() {
		t.Errorf("got another token or %v", err)
	}
	if _, err := w.admin.SyncTemplates(ctx, id); err != nil {
		t.Error(err)
	}
	if r := w.call("GET", "/v1/apps/"+w.app.AppID, ""); strings.Contains(r.Body, "owners-secret") {
		t.Errorf("got %s", r.Body)
	}

	// Another URL is tried before it replaces the old one, and does not get to see its secret.
	update := func(in client.AppUpdate, code hongyan.Code) {
		t.Helper()
		_, err := w.admin.UpdateApp(ctx, id, in)
		if code == "" && err != nil {
			t.Error(err)
		} else if code != "" {
			wantCode(t, err, code)
		}
	}
	open, _ := tokenOwner(t, w, "")
	owners, none := "owners-secret", ""
	update(client.AppUpdate{Settings: map[string]any{"token_url": open}}, hongyan.CodeInvalid)
	update(client.AppUpdate{Settings: map[string]any{"token_url": open}, SkipCheck: true}, hongyan.CodeInvalid)
	update(client.AppUpdate{Settings: map[string]any{"token_url": open}, TokenSecret: &owners}, hongyan.CodeTokenUnavailable)
	if app, err := w.admin.App(ctx, id); err != nil || app.Settings.TokenURL != url {
		t.Errorf("a URL that failed is in use: %+v %v", app, err)
	}
	update(client.AppUpdate{Settings: map[string]any{"token_url": open}, TokenSecret: &none}, "")
	update(client.AppUpdate{Settings: map[string]any{"token_url": open + "/other?x=1"}}, "")
	update(client.AppUpdate{Settings: map[string]any{"token_url": "http://127.0.0.1:9/"}}, hongyan.CodeTokenUnavailable)
	update(client.AppUpdate{Settings: map[string]any{"token_url": "http://127.0.0.1:9/"}, SkipCheck: true}, "")
	_, err = w.admin.Token(ctx, id)
	wantCode(t, err, hongyan.CodeTokenUnavailable)
	update(client.AppUpdate{Settings: map[string]any{"token_mode": "stable", "token_url": nil}, Secret: &w.app.Secret}, "")
	if _, err := w.admin.Token(ctx, id); err != nil {
		t.Error(err)
	}
}
