package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

const (
	// maxLife is the longest life that WeChat gives a token; a source that says more is wrong.
	maxLife = 2 * time.Hour
	// maxToken is far beyond any token that was seen.
	maxToken = 4096
	// externalTime bounds a call of a token_url.
	externalTime = 8 * time.Second
	maxExternal  = 64 << 10
)

// ask gets a token from where the app's tokens come from.
func (s *Source) ask(ctx context.Context, app hongyan.App, force bool) (wechat.AccessToken, error) {
	mode := app.Settings.Mode()
	if mode == hongyan.TokenExternal {
		secret, err := s.cfg.Ledger.TokenSecret(ctx, app.AppID)
		if err != nil {
			return wechat.AccessToken{}, err
		}
		s.fetches.Add(1)
		return s.askURL(ctx, app.Settings.TokenURL, secret)
	}
	secret, err := s.cfg.Ledger.AppSecret(ctx, app.AppID)
	if err != nil {
		return wechat.AccessToken{}, err
	}
	return s.askWeChat(ctx, app.AppID, mode, secret, force)
}

// askWeChat asks on the second host if the first gives no answer: asking for a token twice
// spends nothing. A forced refresh is asked once, because the second would be the next one.
func (s *Source) askWeChat(ctx context.Context, id hongyan.AppID, mode hongyan.TokenMode, secret hongyan.AppSecret, force bool) (t wechat.AccessToken, err error) {
	for _, c := range s.cfg.Clients {
		s.fetches.Add(1)
		if mode == hongyan.TokenLegacy {
			t, err = c.GetAccessToken(ctx, string(id), secret.Reveal())
		} else {
			t, err = c.GetStableAccessToken(ctx, string(id), secret.Reveal(), force)
		}
		var te *wechat.TransportError
		if !errors.As(err, &te) || force && te.Kind == wechat.Unclear {
			return t, err
		}
	}
	return t, fmt.Errorf("fetch access token: %w", err)
}

// TryURL asks a token_url as a fetch would, and keeps nothing of it.
func (s *Source) TryURL(ctx context.Context, at string, secret hongyan.TokenSecret) (wechat.AccessToken, error) {
	return s.askURL(ctx, at, secret)
}

// askURL asks the service that owns the app's tokens. What it answers is told to nobody but
// as a token: an error page may hold anything.
func (s *Source) askURL(ctx context.Context, at string, secret hongyan.TokenSecret) (wechat.AccessToken, error) {
	unavailable := func(format string, args ...any) (wechat.AccessToken, error) {
		return wechat.AccessToken{}, hongyan.Errorf(hongyan.CodeTokenUnavailable, "The service at token_url "+format, args...)
	}
	if s.cfg.External == nil {
		return unavailable("cannot be called: this server has no client for it.")
	}
	ctx, cancel := context.WithTimeout(ctx, externalTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return unavailable("cannot be called: the URL is not valid.")
	}
	req.Header.Set("Accept", "application/json")
	if !secret.IsZero() {
		req.Header.Set("Authorization", "Bearer "+secret.Reveal())
	}
	resp, err := s.cfg.External.Do(req)
	if err != nil {
		return unavailable("could not be reached: %v.", withoutURL(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxExternal))
	switch {
	case err != nil:
		return unavailable("broke off its answer: %v.", withoutURL(err))
	case resp.StatusCode != http.StatusOK:
		return unavailable("answered status %d, not 200 with a token.", resp.StatusCode)
	}
	t, fault := parseExternal(body)
	if fault != "" {
		return unavailable("%s", fault)
	}
	return t, nil
}

// withoutURL takes the URL out of a transport's error: its query may hold a secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// parseExternal reads {"access_token": …, "expires_in": …}; fault says what is wrong with it.
func parseExternal(body []byte) (t wechat.AccessToken, fault string) {
	var v struct {
		AccessToken string          `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
		Errcode     json.RawMessage `json:"errcode"`
	}
	if json.Unmarshal(body, &v) != nil {
		return t, "did not answer with a JSON object that has a text access_token and a number expires_in."
	}
	if code := strings.Trim(string(v.Errcode), `"`); code != "" && code != "0" && code != "null" {
		if _, err := strconv.Atoi(code); err != nil {
			code = "that is no number"
		}
		return t, "answered with errcode " + code + "."
	}
	seconds, err := strconv.ParseInt(strings.Trim(string(v.ExpiresIn), `"`), 10, 32)
	switch {
	case v.AccessToken == "":
		return t, "answered without an access_token."
	case len(v.AccessToken) > maxToken || strings.ContainsFunc(v.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return t, "answered with an access_token that WeChat cannot have made."
	case err != nil:
		return t, "answered without a whole number of seconds in expires_in."
	case seconds <= 0:
		return t, fmt.Sprintf("handed out a token that has expired: expires_in is %d.", seconds)
	}
	return wechat.AccessToken{AccessToken: v.AccessToken, ExpiresIn: min(time.Duration(seconds)*time.Second, maxLife)}, ""
}

// short keeps a peer that talks too much from filling the database.
func short(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// failureOf is a failed fetch in words.
func failureOf(err error, now time.Time) hongyan.TokenFailure {
	f := hongyan.TokenFailure{At: now.UTC(), Code: hongyan.CodeTokenUnavailable, Detail: "The access token could not be fetched."}
	var own *hongyan.Error
	var refused *wechat.Error
	var transport *wechat.TransportError
	switch {
	case errors.As(err, &own):
		f.Code, f.Detail = own.Code, own.Message
	case errors.As(err, &refused):
		f.Detail = fmt.Sprintf("WeChat answered errcode %d.", refused.Errcode)
		f.WeChat = &hongyan.WeChatError{Errcode: refused.Errcode, Errmsg: short(refused.Errmsg), Rid: refused.Rid}
		if info, ok := wechat.LookupErrcode(refused.Errcode); ok {
			f.Means = hongyan.Text{EN: info.EN, ZH: info.ZH}
			if ip := refused.ClientIP(); ip != "" {
				f.Means = hongyan.Text{EN: info.EN + " IP: " + ip, ZH: info.ZH + " IP：" + ip}
			}
		}
	case errors.As(err, &transport):
		f.Detail = transport.Error()
		f.Code = hongyan.CodeWeChatUnreachable
	}
	if f.Means == (hongyan.Text{}) {
		info := hongyan.LookupCode(f.Code)
		f.Means = hongyan.Text{EN: info.Title.EN + " " + info.Hint.EN, ZH: info.Title.ZH + info.Hint.ZH}
	}
	return f
}
