package hongyan

import "time"

// AppFacts are what an app's light is made of.
type AppFacts struct {
	Now            time.Time
	App            App
	StaleTemplates int
	// TokenFailed: the latest fetch of an access token failed.
	TokenFailed bool
	// DiedAt is when a token was last refused before its time.
	DiedAt time.Time
	// Receives: WeChat's pushes are set up. PushedAt is when the last came, RejectedAt when a
	// call of the callback URL was last refused.
	Receives             bool
	PushedAt, RejectedAt time.Time
	// Recent are the figures of this hour and the one before, Day those of the last 24 hours.
	Recent, Day    Counts
	OldestQueuedAt time.Time
}

// The reasons of lights that are no reasons of pauses.
const (
	WhyPathPaused     = "path_paused"
	WhyTemplatePaused = "template_paused"
	WhyNoSecret       = "no_secret"
	WhyTokenFailed    = "token_failed"
	WhyTokenDied      = "token_died_early"
	WhyNoCallback     = "callback_not_set_up"
	WhySilentCallback = "callback_silent"
	WhyCallRefused    = "callback_refused"
	WhyStaleTemplates = "templates_stale"
	WhyManyFailures   = "many_failures"
	WhySlow           = "queue_slow"
)

// lookBack is how long something that went wrong is shown.
const lookBack = 24 * time.Hour

// Light says how the app does, and what speaks against green, the worst first. lang is that of
// the words.
func (f AppFacts) Light(lang string) (Light, []Why) {
	whys := f.stops(lang)
	red := len(whys) > 0
	whys = append(whys, f.warns(lang)...)
	switch {
	case red:
		return Red, whys
	case len(whys) > 0:
		return Yellow, whys
	}
	return Green, []Why{}
}

// stops are the reasons for which nothing is sent.
func (f AppFacts) stops(lang string) []Why {
	var whys []Why
	for _, p := range f.App.Pauses {
		if p.Scope == PauseApp || p.Scope == PausePath && p.Key == SendPath {
			whys = append(whys, Why{p.Reason, lightWords["paused"].Title.In(lang), PauseRemedy(p).In(lang)})
		}
	}
	ours := f.App.Settings.TokenMode != TokenNone && f.App.Settings.TokenMode != TokenExternal
	if ours && !f.App.HasSecret {
		whys = append(whys, why(WhyNoSecret, lang))
	}
	if f.TokenFailed {
		whys = append(whys, why(WhyTokenFailed, lang))
	}
	return whys
}

// warns are the reasons for which somebody should look.
func (f AppFacts) warns(lang string) []Why {
	whys := []Why{}
	for _, p := range f.App.Pauses {
		switch {
		case p.Scope == PauseTemplate:
			whys = append(whys, Why{WhyTemplatePaused, lightWords[WhyTemplatePaused].Title.In(lang) + " " + p.Key, PauseRemedy(p).In(lang)})
		case p.Scope == PausePath && p.Key != SendPath:
			whys = append(whys, Why{WhyPathPaused, lightWords[WhyPathPaused].Title.In(lang) + " " + p.Key, PauseRemedy(p).In(lang)})
		}
	}
	recent := func(t time.Time) bool { return !t.IsZero() && f.Now.Sub(t) < lookBack }
	tried := f.Recent.Accepted + f.Recent.Failed
	lost := f.Recent.Failed + f.Recent.Undelivered
	for _, x := range []struct {
		code string
		is   bool
	}{
		{WhySlow, !f.OldestQueuedAt.IsZero() && f.Now.Sub(f.OldestQueuedAt) > 5*time.Minute},
		{WhyManyFailures, tried >= 20 && lost*5 > tried},
		{WhyTokenDied, recent(f.DiedAt)},
		{WhyNoCallback, !f.Receives},
		{WhyCallRefused, f.Receives && recent(f.RejectedAt) && f.RejectedAt.After(f.PushedAt)},
		// Each message that WeChat took is followed by a push.
		{WhySilentCallback, f.Receives && f.Day.Accepted > f.Recent.Accepted && !recent(f.PushedAt)},
		{WhyStaleTemplates, f.StaleTemplates > 0},
	} {
		if x.is {
			whys = append(whys, why(x.code, lang))
		}
	}
	return whys
}

func why(code, lang string) Why {
	w := lightWords[code]
	return Why{code, w.Title.In(lang), w.Hint.In(lang)}
}

var lightWords = map[string]struct{ Title, Hint Text }{
	"paused":          {Title: Text{"Sending is paused.", "发送已暂停。"}},
	WhyTemplatePaused: {Title: Text{"A template is paused:", "有模板已暂停："}},
	WhyPathPaused:     {Title: Text{"An API path is paused:", "有接口路径已暂停："}},
	WhyNoSecret: {Text{"There is no AppSecret.", "没有 AppSecret。"},
		Text{"Give it (`hongyan apps update APPID --secret-file FILE`), or choose token_mode external or none.", "请提供（`hongyan apps update APPID --secret-file FILE`），或将 token_mode 设为 external 或 none。"}},
	WhyTokenFailed: {Text{"The last fetch of an access token failed.", "最近一次获取 access_token 失败。"},
		Text{"Read why (`hongyan token health APPID`); it is tried again by itself.", "请查看原因（`hongyan token health APPID`）；系统会自动重试。"}},
	WhyTokenDied: {Text{"An access token was refused before its time.", "有 access_token 提前失效。"},
		Text{"Another program probably fetches tokens for this AppID (`hongyan token health APPID` says more); have it ask Hongyan.", "可能有其他程序在为该 AppID 获取 token（详见 `hongyan token health APPID`）；请让它改从鸿雁获取。"}},
	WhyNoCallback: {Text{"WeChat's pushes are not set up.", "尚未配置消息推送。"},
		Text{"Without them nobody learns what was delivered (`hongyan callbacks setup --app APPID`).", "未配置则无从得知消息是否送达（`hongyan callbacks setup --app APPID`）。"}},
	WhySilentCallback: {Text{"Messages were accepted, and WeChat has pushed nothing for a day.", "有消息被微信接受，但已有一天没有收到任何推送。"},
		Text{"Check 消息推送 at mp.weixin.qq.com, and whether WeChat reaches this server (`hongyan callbacks check --app APPID`).", "请检查 mp.weixin.qq.com 的消息推送配置，以及微信能否访问本服务（`hongyan callbacks check --app APPID`）。"}},
	WhyCallRefused: {Text{"A call of the callback URL was refused, and none came through since.", "有对回调地址的请求被拒绝，此后没有成功的推送。"},
		Text{"See why (`hongyan callbacks rejections --app APPID`); token and EncodingAESKey must be those of WeChat's console.", "请查看原因（`hongyan callbacks rejections --app APPID`）；Token 与 EncodingAESKey 须与微信后台一致。"}},
	WhyStaleTemplates: {Text{"Something speaks against the copy of a template.", "有模板的本地副本可能已过时。"},
		Text{"Sync the templates (`hongyan templates sync --app APPID`).", "请同步模板（`hongyan templates sync --app APPID`）。"}},
	WhyManyFailures: {Text{"More than a fifth of the last messages failed.", "最近的消息有五分之一以上失败。"},
		Text{"See the reasons (`hongyan stats --app APPID --by reason`).", "请查看原因（`hongyan stats --app APPID --by reason`）。"}},
	WhySlow: {Text{"A message has been due for more than five minutes.", "有消息到期五分钟以上仍未发送。"},
		Text{"See whether a pause holds it, WeChat is slow, or more is submitted than the pace lets through.", "请查看是否有暂停、微信响应变慢，或提交量超过了发送速率。"}},
}
