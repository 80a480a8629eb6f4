package hongyan

import "slices"

// CodeInfo describes a code for people: the API's problem documents, the CLI and
// docs/errors.md are all made from this one table.
type CodeInfo struct {
	Code   Code
	Status int  // HTTP status of the API; 0 for codes that are only a message's reason
	Title  Text // what happened
	Hint   Text // what to do next
}

// LookupCode finds a code's entry; unknown codes get that of [CodeInternal].
func LookupCode(code Code) CodeInfo {
	if i := slices.IndexFunc(codes, func(c CodeInfo) bool { return c.Code == code }); i >= 0 {
		return codes[i]
	}
	return codes[len(codes)-1]
}

// Codes lists every code in the order of the reference page.
func Codes() []CodeInfo { return slices.Clone(codes) }

var codes = []CodeInfo{
	{CodeInvalid, 400, Text{"The request is not valid.", "请求不合法。"},
		Text{"Correct the fields named in errors and send it again; nothing was stored.", "按 errors 中指出的字段改正后重新发送；本次请求没有保存任何内容。"}},
	{CodeInvalidData, 422, Text{"The data does not fit the template.", "数据不符合模板要求。"},
		Text{"Correct the values named in errors (repair shows one that passes), or ask for fit: repair or truncate.", "按 errors 改正字段值（repair 给出可用的值），或使用 fit: repair / truncate 自动修正。"}},
	{CodeUnknownField, 400, Text{"The request has a field this operation does not know.", "请求中有此接口不认识的字段。"},
		Text{"Remove the field or use the name that errors suggests.", "删除该字段，或改用 errors 中建议的名称。"}},
	{CodeBodyTooLarge, 413, Text{"The request body is too large.", "请求体过大。"},
		Text{"Send at most 1 MiB for one message; use a batch for many.", "单条消息的请求体不超过 1 MiB；多条请使用批量接口。"}},
	{CodeUnsupportedMedia, 415, Text{"The content type is not supported.", "不支持该 Content-Type。"},
		Text{"Send a UTF-8 JSON body with Content-Type: application/json.", "请发送 UTF-8 编码的 JSON，并设置 Content-Type: application/json。"}},
	{CodeUnauthorized, 401, Text{"The API key is missing or not valid.", "缺少 API key 或 API key 无效。"},
		Text{"Send Authorization: Bearer <API key>; make a key with `hongyan keys create`.", "请携带 Authorization: Bearer <API key>；可用 `hongyan keys create` 创建。"}},
	{CodeMPDisabled, 403, Text{"The server does not serve this mini program's phones.", "本服务未对该小程序的客户端开放。"},
		Text{"Check the appid, and set the app's setting mp to on (`hongyan apps update APPID --set mp=on`).", "请检查 appid，并将小程序设置 mp 设为 on（`hongyan apps update APPID --set mp=on`）。"}},
	{CodeInvalidReports, 422, Text{"A report is not valid; none was stored.", "有上报不合法；全部未保存。"},
		Text{"Leave out the reports that errors points at and send the others again; the SDK does so by itself.", "去掉 errors 指出的上报后重新发送其余部分；SDK 会自动处理。"}},
	{CodeSessionExpired, 401, Text{"The mini program's session has ended.", "小程序会话已失效。"},
		Text{"Log in again (wx.login and POST /mp/v1/session); the SDK does so by itself.", "请重新登录（wx.login 与 POST /mp/v1/session）；SDK 会自动完成。"}},
	{CodeForbidden, 403, Text{"The API key may not do this.", "该 API key 没有此权限。"},
		Text{"Use a key that has the scope and the app named in the message.", "请使用具有所需 scope 且允许访问该小程序的 API key。"}},
	{CodeNotFound, 404, Text{"There is no such thing.", "找不到该资源。"},
		Text{"Check the id and the path.", "请检查 id 与路径。"}},
	{CodeMethodNotAllowed, 405, Text{"This path does not take that method.", "该路径不支持此请求方法。"},
		Text{"See the Allow header and the API reference.", "请查看 Allow 响应头与接口文档。"}},
	{CodeConflict, 409, Text{"It conflicts with what is there.", "与已有内容冲突。"},
		Text{"Read the current state and decide again.", "请先读取当前状态再决定。"}},
	{CodeAppNotFound, 404, Text{"There is no app with this appid.", "没有该 appid 对应的小程序。"},
		Text{"Add it with POST /v1/apps or `hongyan apps add`, or correct the appid (it is case-sensitive).", "请先用 POST /v1/apps 或 `hongyan apps add` 添加，或检查 appid（区分大小写）。"}},
	{CodeTemplateNotFound, 404, Text{"The app has no such template.", "该小程序没有此模板。"},
		Text{"Sync the app's templates (POST /v1/apps/{appid}/templates/sync), or correct the template id or alias.", "请同步模板（POST /v1/apps/{appid}/templates/sync），或检查模板 ID / 别名。"}},
	{CodeUserNotFound, 404, Text{"No user is known by that external id or openid.", "找不到该用户。"},
		Text{"Let the user log in first (POST /v1/apps/{appid}/login), or send to the openid itself.", "请先让用户登录（POST /v1/apps/{appid}/login），或直接使用 openid 发送。"}},
	{CodeInvalidOpenID, 422, Text{"WeChat does not know this openid in this app.", "该 openid 不属于此小程序。"},
		Text{"Openids belong to one app and are case-sensitive: log the user in again in this mini program.", "openid 只属于一个小程序且区分大小写：请让用户在此小程序重新登录。"}},
	{CodeOpenIDNotAllowed, 403, Text{"The app only sends to listed openids.", "该小程序只允许发送给白名单中的 openid。"},
		Text{"Add the openid to the app's only_openids setting, or clear it in production.", "请把该 openid 加入 only_openids 设置，生产环境可清空此设置。"}},
	{CodeNoGrant, 409, Text{"This user has no unused subscription for the template.", "该用户对此模板没有可用的订阅次数。"},
		Text{"Ask in a tap with wx.requestSubscribeMessage; or use on_no_grant: hold to wait for the next accept, or send to try anyway.", "请在用户点击时调用 wx.requestSubscribeMessage；或用 on_no_grant: hold 等待下次订阅，用 send 则照样尝试发送。"}},
	{CodeNotSubscribed, 0, Text{"WeChat refused: the user has no subscription left (43101).", "微信拒绝：用户没有可用的订阅（43101）。"},
		Text{"Ask the user to subscribe again; see the grant's explain.", "请让用户重新订阅；可查看该用户的订阅说明（explain）。"}},
	{CodeNotStarted, 503, Text{"The call to WeChat could not begin in time.", "未能及时开始调用微信。"},
		Text{"Nothing was sent: send it again. If it stays, read the app's pauses and the backlog.", "消息未发出，请重试。若持续出现，请检查小程序的暂停状态与积压。"}},
	{CodeTooLate, 409, Text{"The message is already on its way.", "消息已在发送途中。"},
		Text{"Wait for its result; an uncertain message is settled with resolve.", "请等待结果；结果不明（uncertain）的消息用 resolve 处理。"}},
	{CodeAlreadyFinal, 409, Text{"The message is already final.", "消息已是最终状态。"},
		Text{"Nothing to do; submit a new message if another one is wanted.", "无需处理；如需再次发送请提交新消息。"}},
	{CodeHeldLimit, 429, Text{"Too many messages are held for this user and template.", "该用户与模板的待订阅（held）消息过多。"},
		Text{"Cancel held ones or wait for the user's next accept.", "请取消部分 held 消息，或等待用户下次订阅。"}},
	{CodeBacklogFull, 429, Text{"The app's queue is full.", "该小程序的发送队列已满。"},
		Text{"Wait as Retry-After says; check why the app does not send (pause, quota).", "请按 Retry-After 等待，并检查小程序为何没有发送（暂停、额度）。"}},
	{CodeRateLimited, 429, Text{"Too many requests.", "请求过于频繁。"},
		Text{"Wait as Retry-After says.", "请按 Retry-After 等待。"}},
	{CodeIdempotencyReuse, 422, Text{"This Idempotency-Key was used with another body.", "该 Idempotency-Key 已用于另一个请求体。"},
		Text{"Use a new key for a new request.", "新的请求请使用新的 Idempotency-Key。"}},
	{CodeIdempotencyBusy, 409, Text{"A request with this Idempotency-Key is still running.", "使用该 Idempotency-Key 的请求仍在处理中。"},
		Text{"Send it again in some seconds.", "请几秒后重试。"}},
	{CodeSecretShownOnce, 409, Text{"The secret of this resource was shown once, when it was created.", "该资源的密钥只在创建时显示一次。"},
		Text{"Delete it and create another.", "请删除后重新创建。"}},
	{CodeStorageUnavailable, 503, Text{"The database cannot write just now.", "数据库暂时无法写入。"},
		Text{"Nothing was accepted: send it again. Operators: check disk space and the log.", "本次请求未被接受，请重试。运维请检查磁盘空间与日志。"}},
	{CodeShuttingDown, 503, Text{"The server is stopping.", "服务正在停止。"},
		Text{"Send it again in some seconds, or to another replica.", "请几秒后重试，或发送到其他副本。"}},
	{CodeSandboxUnavailable, 502, Text{"The sandbox did not answer.", "沙箱没有应答。"},
		Text{"Check that it runs (`hongyan sandbox`) at the address of sandbox-url, and knows that host name (--allowed-hosts).", "请确认沙箱（`hongyan sandbox`）正在 sandbox-url 所指的地址运行，并已允许该主机名（--allowed-hosts）。"}},
	{CodeAppPaused, 409, Text{"The app is paused.", "该小程序已暂停发送。"},
		Text{"Read the pause's reason and remedy, mend it, then resume the app.", "请查看暂停原因与处理办法，处理后恢复。"}},
	{CodeWeChatRefused, 422, Text{"WeChat refused the request.", "微信拒绝了请求。"},
		Text{"See wechat.errcode; `hongyan errcode N` explains it.", "请查看 wechat.errcode；`hongyan errcode N` 可查询含义。"}},
	{CodeWeChatUnreachable, 502, Text{"WeChat could not be reached.", "无法连接微信服务器。"},
		Text{"Nothing was sent. Check the network, DNS and proxy, then try again.", "请求未发出。请检查网络、DNS 与代理后重试。"}},
	{CodeWeChatUnclear, 502, Text{"WeChat gave no clear answer.", "微信没有给出明确答复。"},
		Text{"It may or may not have acted. Look before you repeat.", "微信可能已执行，也可能没有。重试前请先确认。"}},
	{CodeWeChatBusy, 503, Text{"WeChat answered \"system busy\" too often.", "微信多次返回系统繁忙。"},
		Text{"Send a new message later.", "请稍后重新发送。"}},
	{CodeSameUserBusy, 0, Text{"WeChat kept refusing concurrent calls to this user (43108).", "微信持续拒绝对该用户的并发调用（43108）。"},
		Text{"Something else sends to the same user at the same time: find it, then send again.", "有其他程序正在同时给该用户发送：请排查后重新发送。"}},
	{CodeTokenUnavailable, 502, Text{"No access token could be had.", "无法取得 access_token。"},
		Text{"See the app's token health (`hongyan token health APPID`) for the reason; check AppSecret and IP whitelist, or the service at token_url.", "请查看小程序的 token 状态（`hongyan token health APPID`）；检查 AppSecret 与 IP 白名单，或 token_url 处的服务。"}},
	{CodeTokenRejected, 502, Text{"WeChat refuses the access token it hands out.", "微信拒绝其刚发放的 access_token。"},
		Text{"Check that appid and AppSecret belong together and that nothing else force-refreshes the token.", "请检查 appid 与 AppSecret 是否匹配，以及是否有其他程序强制刷新 token。"}},
	{CodeInvalidCode, 422, Text{"The login code is not valid (expired, used, or of another app).", "登录凭证 code 无效（过期、已使用或属于其他小程序）。"},
		Text{"Call wx.login again and send the new code within 5 minutes; each code works once.", "请重新调用 wx.login，并在 5 分钟内提交新的 code；每个 code 只能使用一次。"}},
	{CodeInvalidSessionKey, 422, Text{"There is no session_key of this user that fits.", "没有该用户可用的 session_key。"},
		Text{"Call wx.login, send its code to POST /v1/apps/{appid}/login, and only then ask for the encrypted data: each login may replace the key.", "请先调用 wx.login 并将 code 提交到 POST /v1/apps/{appid}/login，之后再获取加密数据：每次登录都可能更换 session_key。"}},
	{CodeInvalidTemplate, 0, Text{"WeChat does not know this template (40037).", "微信不认识该模板（40037）。"},
		Text{"Sync the templates; choose it again in the library if it was deleted.", "请同步模板；若模板已被删除请重新选用。"}},
	{CodeInvalidPage, 0, Text{"The page is not in the released version (41030).", "page 不在已发布的版本中（41030）。"},
		Text{"Use a page of the released mini program, without a leading slash.", "请使用已发布版本中存在的页面，开头不带斜杠。"}},
	{CodeSensitiveWord, 0, Text{"WeChat found a sensitive word in the data (45168).", "数据命中微信敏感词（45168）。"},
		Text{"Change the text and send a new message.", "请修改文字后重新发送。"}},
	{CodeUserLimited, 0, Text{"WeChat restricts this user or account (50002).", "该用户或账号被微信限制（50002）。"},
		Text{"If many users answer this, check the account at mp.weixin.qq.com.", "若大量用户出现此错误，请到 mp.weixin.qq.com 检查账号状态。"}},
	{CodeUndelivered, 0, Text{"WeChat took the message and then reported that it did not reach the user.", "微信接受了消息，随后通知未能送达用户。"},
		Text{"The grant is spent. Send a new message when the user has subscribed again.", "该次订阅已被消耗。请在用户再次订阅后发送新消息。"}},
	{CodeSentEvent, 0, Text{"Settled by WeChat's sent event.", "由微信的发送结果事件确认。"},
		Text{"Nothing to do: the answer of the call was lost, the event told what became of it.", "无需处理：调用的答复丢失，但事件说明了结果。"}},
	{CodeUserErased, 0, Text{"The user was erased.", "该用户的数据已清除。"},
		Text{"Nothing is sent to this user any more.", "不会再向该用户发送任何消息。"}},
	{CodeExpired, 0, Text{"The message was not sent in time.", "消息过期未发送。"},
		Text{"Its grant was returned. The timeline says what it waited for.", "订阅次数已退回；等待的原因见时间线。"}},
	{CodeCanceled, 0, Text{"The message was canceled.", "消息已取消。"},
		Text{"Its grant was returned; submit a new message if another one is wanted.", "订阅次数已退回；如需再次发送请提交新消息。"}},
	{CodeInternal, 500, Text{"Something went wrong on our side.", "服务内部错误。"},
		Text{"Send it again; if it stays, report the request_id with the server's log.", "请重试；若仍然失败，请附上 request_id 与服务日志反馈。"}},
}
