package hongyan

// SendPath is the API path of subscribeMessage.send, as pauses name it.
const SendPath = "/cgi-bin/message/subscribe/send"

// The reasons of pauses.
const (
	PauseManual           = "manual"
	PauseTokenRejected    = "token_rejected"
	PauseTokenUnavailable = "token_unavailable"
	PauseDailyQuota       = "daily_quota"
	PauseMinuteQuota      = "minute_quota"
	PauseIPNotAllowed     = "ip_not_whitelisted"
	PauseIPUnconfirmed    = "ip_unconfirmed"
	PauseAppSecret        = "appsecret_invalid"
	PauseAppID            = "appid_invalid"
	PauseAccount          = "account_restricted"
	PauseNotAuthorised    = "api_unauthorized"
	PauseSignature        = "api_signature"
	PauseTemplateGone     = "template_invalid"
	PauseTemplateBanned   = "template_banned"
	PauseManyInvalidUsers = "many_invalid_openids"
	PauseManyRefused      = "many_refused"
)

// PauseRemedy says what ends a pause, in both languages.
func PauseRemedy(p Pause) Text {
	if t, ok := pauseRemedies[p.Reason]; ok {
		return t
	}
	return Text{"See detail for WeChat's own words; resume once the cause is mended.", "请查看 detail 中微信的原文，处理后恢复。"}
}

var pauseRemedies = map[string]Text{
	PauseManual:           {"Paused by hand. Resume it when you are ready.", "人工暂停。准备好后请手动恢复。"},
	PauseTokenRejected:    {"WeChat refuses a freshly fetched access token. Check that appid and AppSecret belong together; a new token is tried once a minute.", "微信拒绝刚取得的 access_token。请检查 appid 与 AppSecret 是否匹配；每分钟会重试一次。"},
	PauseTokenUnavailable: {"No access token can be had. See detail; it is tried again by itself.", "无法取得 access_token。原因见 detail，会自动重试。"},
	PauseDailyQuota:       {"The day's quota is used up. It goes on after 00:05 Beijing time; the quota can be reset at mp.weixin.qq.com or with clear_quota.", "当日额度已用完。北京时间 00:05 后自动恢复，也可在 mp.weixin.qq.com 或用 clear_quota 重置。"},
	PauseMinuteQuota:      {"WeChat asked to slow down. It goes on by itself in a minute.", "微信要求放慢速度，一分钟后自动恢复。"},
	PauseIPNotAllowed:     {"Add the IP in detail to the IP whitelist (mp.weixin.qq.com, 开发管理 → 开发设置 → IP白名单). It takes some minutes; it is tried again by itself.", "请把 detail 中的 IP 加入 IP 白名单（mp.weixin.qq.com → 开发管理 → 开发设置）。生效需要几分钟，之后自动恢复。"},
	PauseIPUnconfirmed:    {"The administrator must confirm this IP in WeChat, or has refused it.", "需要管理员在微信中确认该 IP，或管理员已拒绝。"},
	PauseAppSecret:        {"Set the current AppSecret (PATCH /v1/apps/{appid}); WeChat says the stored one is wrong, reset or frozen.", "请设置当前的 AppSecret（PATCH /v1/apps/{appid}）：微信提示已保存的密钥错误、已重置或被冻结。"},
	PauseAppID:            {"WeChat does not know this appid. Check it; it is case-sensitive.", "微信不认识该 appid，请检查（区分大小写）。"},
	PauseAccount:          {"WeChat restricts this account. See the notices at mp.weixin.qq.com.", "微信限制了该账号，请到 mp.weixin.qq.com 查看通知。"},
	PauseNotAuthorised:    {"The account may not use this API. Enable subscription messages at mp.weixin.qq.com.", "该账号无此接口权限，请在 mp.weixin.qq.com 开通订阅消息。"},
	PauseSignature:        {"The account demands signed API calls (API安全), which are not set up here. Turn it off for this API or set it up.", "该账号启用了 API 签名加密，此处尚未配置。请对该接口关闭或完成配置。"},
	PauseTemplateGone:     {"WeChat does not know this template any more. Sync the templates; choose it again in the library if it was deleted, then resume.", "微信已不认识该模板。请同步模板，若已删除请重新选用，然后恢复。"},
	PauseTemplateBanned:   {"WeChat bans this template or the account from subscription messages. See mp.weixin.qq.com.", "微信封禁了该模板或账号的订阅消息能力，请到 mp.weixin.qq.com 查看。"},
	PauseManyInvalidUsers: {"20 different openids in a row were refused: they probably belong to another app. Check where they come from, then resume.", "连续 20 个不同 openid 被拒绝：可能属于其他小程序。请检查来源后恢复。"},
	PauseManyRefused:      {"20 messages in a row were refused for this template. See detail, correct the data or page, then resume.", "该模板连续 20 条消息被拒绝。请查看 detail，改正数据或页面后恢复。"},
}
