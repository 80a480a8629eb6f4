package hongyan

import (
	"fmt"
	"log/slog"
	"time"
)

// IssuedToken is an app's access token as another service of the team gets it. Printed it
// is "redacted"; its JSON is the one place where the token leaves.
type IssuedToken struct {
	AccessToken string    `json:"access_token" doc:"Reserve at least 512 bytes where it is stored; better store it nowhere."`
	ExpiresAt   time.Time `json:"expires_at" doc:"Ask again before then; asking is cheap, so each use may ask."`
	ExpiresIn   int64     `json:"expires_in" doc:"Whole seconds until expires_at."`
}

// String returns "redacted".
func (IssuedToken) String() string { return redacted }

// GoString returns "redacted".
func (IssuedToken) GoString() string { return redacted }

// Format prints "redacted" for every verb.
func (IssuedToken) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "redacted".
func (IssuedToken) LogValue() slog.Value { return slog.StringValue(redacted) }

// TokenHealth is how an app comes by its access tokens, without any of them.
type TokenHealth struct {
	App  AppID     `json:"app"`
	Mode TokenMode `json:"mode" enum:"stable,legacy,external,none"`
	// FetchedAt and ExpiresAt are those of the token in use; zero while there is none.
	FetchedAt time.Time `json:"fetched_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// RefreshedAt is when a person last asked for a forced refresh.
	RefreshedAt time.Time `json:"refreshed_at,omitzero"`
	// LastFailure is over when FetchedAt is later.
	LastFailure *TokenFailure `json:"last_failure,omitempty" doc:"The latest fetch that failed; over if fetched_at is later."`
	EarlyDeaths []TokenDeath  `json:"early_deaths" doc:"Tokens that WeChat refused before their time, newest first; the last 20."`
}

// TokenFailure is a fetch of an access token that failed.
type TokenFailure struct {
	At     time.Time `json:"at"`
	Code   Code      `json:"code"`
	Detail string    `json:"detail"`
	// Means says it in words, and what to do.
	Means  Text         `json:"means"`
	WeChat *WeChatError `json:"wechat,omitempty"`
}

// TokenRefusal says who found a token refused, and how.
type TokenRefusal struct {
	Errcode int
	// By is the path of the call that WeChat refused, or the id of the API key whose service
	// tells of it; empty where nobody knows.
	By string
	// Rid is WeChat's id of that call.
	Rid string
	// Hearsay: another service tells of it. Then a token that its source still vouches for
	// stays in use, so that one broken service cannot stop all others.
	Hearsay bool
}

// TokenDeath is a token that was refused before its time.
type TokenDeath struct {
	FetchedAt time.Time `json:"fetched_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"When it should have expired."`
	RefusedAt time.Time `json:"refused_at" doc:"When it was last found refused."`
	Times     int       `json:"times" doc:"How often the very same token was found refused, handed out again in between."`
	Errcode   int       `json:"errcode"`
	By        string    `json:"by,omitempty" doc:"The path of the call that WeChat refused, or the id of the API key whose service said so."`
	Rid       string    `json:"rid,omitempty" doc:"WeChat's id of the refused call."`
	// Reason is what it most likely was; Means says that in words.
	Reason DeathReason `json:"reason" enum:"other_fetch,forced_elsewhere,secret_reset,still_current,expired_early,damaged,source_stale"`
	Means  Text        `json:"means"`
}

// DeathReason is what a token most likely died of.
type DeathReason string

// The reasons.
const (
	DeathOtherFetch      DeathReason = "other_fetch"
	DeathForcedElsewhere DeathReason = "forced_elsewhere"
	DeathSecretReset     DeathReason = "secret_reset"
	DeathStillCurrent    DeathReason = "still_current"
	DeathExpiredEarly    DeathReason = "expired_early"
	DeathDamaged         DeathReason = "damaged"
	DeathSourceStale     DeathReason = "source_stale"
)

// GuessDeath is the likeliest reason before another token was asked for.
func GuessDeath(mode TokenMode, errcode int) DeathReason {
	const malformed, missing, expired = 40014, 41001, 42001
	switch {
	case errcode == malformed || errcode == missing:
		return DeathDamaged
	case errcode == expired:
		return DeathExpiredEarly
	case mode == TokenLegacy:
		return DeathOtherFetch
	case mode == TokenExternal:
		return DeathSourceStale
	}
	return DeathForcedElsewhere
}

// Means says the reason in words, and what to do about it.
func (r DeathReason) Means() Text {
	switch r {
	case DeathOtherFetch:
		return Text{"Another program calls /cgi-bin/token for this AppID: each such call ends the token before it. Find it and have it ask Hongyan, or choose token_mode stable, which no such call disturbs.",
			"有其他程序在用该 AppID 调用 /cgi-bin/token：每次调用都会使之前的 token 失效。请让它改从鸿雁获取，或把 token_mode 设为 stable，不受此类调用影响。"}
	case DeathForcedElsewhere:
		return Text{"Somebody made WeChat replace the stable token: another program calls stable_token with force_refresh for this AppID, or the AppSecret was reset. Ordinary calls of either token endpoint do not do this.",
			"有人让微信更换了稳定版 token：其他程序以 force_refresh 调用该 AppID 的 stable_token，或 AppSecret 被重置。普通调用两个 token 接口都不会造成这种情况。"}
	case DeathSecretReset:
		return Text{"The AppSecret was reset or frozen: WeChat does not take ours any more. Give the new one (`hongyan apps update APPID --secret-file FILE`).",
			"AppSecret 已被重置或冻结：微信不再接受现有的密钥。请提供新的（`hongyan apps update APPID --secret-file FILE`）。"}
	case DeathStillCurrent:
		return Text{"WeChat refused the token, or a service said so, and then handed out the very same one: a passing fault of WeChat's, or a service that sends something else than it was given.",
			"token 被微信拒绝（或有服务如此报告），随后微信又发放了同一个 token：可能是微信的短暂故障，或该服务发送的并不是它所取得的 token。"}
	case DeathExpiredEarly:
		return Text{"WeChat calls the token expired before the time that came with it: check this machine's clock, and with token_mode external whether the source tells the time that is left.",
			"微信称 token 已过期，早于获取时给出的时间：请检查本机时钟；token_mode 为 external 时，请检查来源给出的是否为剩余时间。"}
	case DeathDamaged:
		return Text{"The token did not reach WeChat as it was handed out: look at what changes URLs on the way, such as a proxy, or at the service that sent it.",
			"token 到达微信时已不完整：请检查途中会改动 URL 的环节（例如代理），或发送它的服务。"}
	case DeathSourceStale:
		return Text{"The service at token_url handed out a token that is not WeChat's latest: it caches for too long, or another program fetches tokens for this AppID besides it.",
			"token_url 处的服务给出的不是微信最新的 token：它缓存过久，或还有其他程序在为该 AppID 获取 token。"}
	}
	return Text{}
}

// TokenRefresh is what a forced refresh came to.
type TokenRefresh struct {
	// Replaced is false when the same token came back.
	Replaced  bool      `json:"replaced"`
	FetchedAt time.Time `json:"fetched_at"`
	ExpiresAt time.Time `json:"expires_at"`
	// Note says why nothing was replaced, or what happens to the token before.
	Note Text `json:"note"`
}
