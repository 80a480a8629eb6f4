package api

import "net/http"

// list is one page of something.
type list[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor" doc:"Pass it as cursor to go on; empty at the end."`
}

// routes is the whole API, in the order of the reference.
func (s *server) routes() {
	create(s, route{"POST /v1/apps", "create-app", "apps", manages, "Add an app", 201,
		"The AppSecret is tried at WeChat first and stored only if WeChat takes it; skip_check adds without trying."}, s.createApp, s.replayApp)
	get(s, route{"GET /v1/apps", "list-apps", "apps", reads, "List the apps", 0, ""}, s.listApps)
	get(s, route{"GET /v1/apps/{appid}", "get-app", "apps", reads, "Read an app", 0, ""}, s.getApp)
	post(s, route{"PATCH /v1/apps/{appid}", "update-app", "apps", manages, "Change an app", 0,
		"Only what is given changes; so inside settings, where null restores a default. A new secret is tried before it replaces the old one."}, s.updateApp)
	post(s, route{"POST /v1/apps/{appid}/pause", "pause-app", "apps", manages, "Hold sending back", 0,
		"For the app, one template or one API path, until somebody resumes it. Messages wait; nothing is lost."}, s.pauseApp)
	post(s, route{"POST /v1/apps/{appid}/resume", "resume-app", "apps", manages, "End a pause", 0, ""}, s.resumeApp)

	postMaybe(s, route{"POST /v1/apps/{appid}/token", "get-token", "tokens", tokens, "Get the app's access token", 0,
		"For your other services, which must not fetch tokens themselves. Name a token that WeChat refused in refused: if it still is the current one it is replaced (once a minute at most), else the answer simply has the current one."}, s.getToken)
	get(s, route{"GET /v1/apps/{appid}/token/health", "get-token-health", "tokens", reads, "Read how the app comes by its tokens", 0,
		"With the last failure, and tokens that died early: when, and of what most likely. Never a token."}, s.getTokenHealth)
	get(s, route{"POST /v1/apps/{appid}/token/refresh", "refresh-token", "tokens", manages, "Replace the access token now", 0,
		"For a token that has leaked. WeChat allows it 20 times a day, 30 seconds apart; replaced says whether it did."}, s.refreshToken)

	post(s, route{"POST /v1/apps/{appid}/quota", "get-quota", "diagnosis", reads, "Read the quota of one of WeChat's APIs", 0, ""}, s.getQuota)
	postMaybe(s, route{"POST /v1/apps/{appid}/quota/clear", "clear-quota", "diagnosis", manages, "Set used quotas back to nothing", 0,
		"All of them, 10 times a month; or one API's, 50 times a month. Without an access token the AppSecret will do. A pause for the spent quota ends."}, s.clearQuota)
	post(s, route{"POST /v1/apps/{appid}/rid", "get-call", "diagnosis", reads, "Read a call as WeChat saw it, by its rid", 0,
		"Of the last 7 days. Tokens and secrets are cut from it; its bodies are shown."}, s.getCall)
	postMaybe(s, route{"POST /v1/apps/{appid}/callback/check", "check-callback", "diagnosis", manages, "Have WeChat resolve and ping the host of the push URL", 0, ""}, s.checkCallback)

	get(s, route{"POST /v1/apps/{appid}/templates/sync", "sync-templates", "templates", sendsOrMngs, "Read the template list from WeChat", 0,
		"WeChat's daily quota for this is tiny: sync after a change, not on a timer."}, s.syncTemplates)
	get(s, route{"GET /v1/apps/{appid}/templates", "list-templates", "templates", readsOrSends, "List the templates", 0, ""}, s.listTemplates)
	create(s, route{"POST /v1/apps/{appid}/templates", "add-template", "templates", manages, "Add a template from WeChat's library", 201, ""}, s.addTemplate, s.replayTemplate)
	get(s, route{"GET /v1/apps/{appid}/templates/{ref}", "get-template", "templates", readsOrSends, "Read a template", 0, "By its template_id or alias."}, s.getTemplate)
	remove(s, route{"DELETE /v1/apps/{appid}/templates/{ref}", "delete-template", "templates", manages, "Delete a template at WeChat", 0,
		"It stays in the list, marked gone, because messages name it."}, s.deleteTemplate)
	post(s, route{"PUT /v1/apps/{appid}/templates/{ref}/alias", "set-template-alias", "templates", manages, "Name a template", 0,
		"Messages may use the alias in place of the template_id; an empty alias takes the name away."}, s.setAlias)
	post(s, route{"POST /v1/apps/{appid}/templates/{ref}/validate", "validate-data", "templates", readsOrSends, "Check data against a template, and see its card", 0,
		"Sends nothing. With openid it tells, too, what the user's grants would allow."}, s.validateData)
	get(s, route{"GET /v1/apps/{appid}/templates/{ref}/reach", "get-reach", "templates", reads, "Count the users whom a template can be sent to now", 0,
		"Exact, unless at_least says that counting took too long."}, s.reachTemplate)
	get(s, route{"GET /v1/apps/{appid}/library/categories", "list-library-categories", "library", readsOrMngs, "List the app's categories", 0, "Kept for a day."}, s.listCategories)
	get(s, route{"GET /v1/apps/{appid}/library/titles", "list-library-titles", "library", readsOrMngs, "List the library's titles", 0, "Kept for a day."}, s.listTitles)
	get(s, route{"GET /v1/apps/{appid}/library/keywords", "list-library-keywords", "library", readsOrMngs, "List the keywords of a title", 0, "Kept for a day."}, s.listKeywords)

	post(s, route{"POST /v1/apps/{appid}/login", "login", "users", sends, "Trade a login code for the user", 0,
		"The code of wx.login. The session_key stays here, sealed."}, s.login)
	create(s, route{"POST /v1/apps/{appid}/sessions", "create-session", "users", sends, "Vouch for a user", 201,
		"For teams whose own back end logs users in: the session goes to the mini program, which shows it at /mp/v1. A second wx.login could end the session_key that back end holds."}, s.createSession, replaySession)
	get(s, route{"DELETE /v1/apps/{appid}/users/{openid}/sessions", "end-sessions", "users", sendsOrMngs, "End a user's sessions", 0, ""}, s.endSessions)
	get(s, route{"GET /v1/apps/{appid}/users", "list-users", "users", reads, "List the users", 0, ""}, s.listUsers)
	get(s, route{"GET /v1/apps/{appid}/users/{openid}", "get-user", "users", reads, "Read a user", 0, ""}, s.getUser)
	get(s, route{"POST /v1/apps/{appid}/users/{openid}/session-key/check", "check-session-key", "users", sends, "Ask WeChat whether the user's session_key is still valid", 0,
		"It is the one that login left here."}, s.checkSessionKey)
	get(s, route{"POST /v1/apps/{appid}/users/{openid}/session-key/reset", "reset-session-key", "users", sends, "Have WeChat replace the user's session_key", 0,
		"The one before dies at once; the new one stays here, sealed."}, s.resetSessionKey)
	post(s, route{"POST /v1/apps/{appid}/users/{openid}/decrypt", "decrypt-user-data", "users", sends, "Open encryptedData of the mini program's", 0,
		"With the user's session_key. Data of another app is refused."}, s.decryptUserData)
	get(s, route{"GET /v1/apps/{appid}/users/{openid}/export", "export-user", "users", manages, "Export everything about a user", 0,
		"What a user may ask for: grants with their history, messages, what WeChat told. Secrets stay here."}, s.exportUser)
	remove(s, route{"DELETE /v1/apps/{appid}/users/{openid}", "erase-user", "users", manages, "Erase a user", 0,
		"The openid becomes a hash; session_key, ids, the data of messages and events go, what waits is canceled. Counts stay. WeChat's own event of a user who leaves (user_authorization_cancellation) does the same."}, s.eraseUser)

	post(s, route{"POST /v1/apps/{appid}/grants/report", "report-grants", "grants", sends, "Report what users chose", 0,
		"One report, or several in reports. A repeat of an id changes nothing."}, s.reportGrants)
	get(s, route{"GET /v1/apps/{appid}/grants", "list-grants", "grants", reads, "List the subscriptions", 0, ""}, s.listGrants)
	get(s, route{"GET /v1/apps/{appid}/grants/{openid}/{template}", "get-grant", "grants", reads, "Read a subscription with its history", 0, ""}, s.getGrant)
	get(s, route{"GET /v1/apps/{appid}/grants/{openid}/{template}/explain", "explain-grant", "grants", reads, "Why can this user be sent this template, or not?", 0,
		"Answers \"why 43101?\" in Chinese and English; the first reason decides."}, s.explainGrant)
	post(s, route{"POST /v1/apps/{appid}/grants/import", "import-grants", "grants", manages, "Take over counts from another program", 0,
		"A count is set (exact) or raised (a lower bound), never added: the same import again changes nothing. If one item is refused none is stored."}, s.importGrants)
	post(s, route{"POST /v1/apps/{appid}/grants/query", "query-grants", "grants", readsOrSends, "Read the counts of many users", 0, ""}, s.queryGrants)
	post(s, route{"POST /v1/apps/{appid}/grants/{openid}/{template}/adjust", "adjust-grant", "grants", manages, "Correct a count", 0, ""}, s.adjustGrant)

	get(s, route{"GET /v1/apps/{appid}/scenes", "list-scenes", "scenes", readsOrSends, "List the scenes", 0, ""}, s.listScenes)
	get(s, route{"GET /v1/apps/{appid}/scenes/{name}", "get-scene", "scenes", readsOrSends, "Read a scene", 0, ""}, s.getScene)
	post(s, route{"PUT /v1/apps/{appid}/scenes/{name}", "set-scene", "scenes", manages, "Make or replace a scene", 0, ""}, s.setScene)
	remove(s, route{"DELETE /v1/apps/{appid}/scenes/{name}", "delete-scene", "scenes", manages, "Delete a scene", 0, ""}, s.deleteScene)

	post(s, route{"POST /mp/v1/session", "mp-session", "mp", anybody, "Log a phone in", 0, "By the code of wx.login. The openid and the session_key stay here."}, s.mpLogin)
	get(s, route{"GET /mp/v1/scenes", "mp-scenes", "mp", phones, "What to ask for, and how much of it the user has", 0, ""}, s.mpScenes)
	get(s, route{"GET /mp/v1/grants", "mp-grants", "mp", phones, "The user's own grants", 0, ""}, s.mpGrants)
	post(s, route{"POST /mp/v1/grants", "mp-report", "mp", phones, "Report what the user chose", 0, "If one report is refused none is stored; errors points at each."}, s.mpReport)

	post(s, route{"PUT /v1/apps/{appid}/callback", "set-callback", "callbacks", manages, "Receive WeChat's pushes", 0,
		"For 消息推送配置 of WeChat's console: the answer has the path, and token and key where they were given or made, this once. Of an app that has none what is left out is made; later it stays."}, s.setCallback)
	get(s, route{"GET /v1/apps/{appid}/callback", "get-callback-config", "callbacks", manages, "Read how pushes are received", 0, "Without the keys."}, s.getCallbackConfig)
	remove(s, route{"DELETE /v1/apps/{appid}/callback", "remove-callback", "callbacks", manages, "Receive no pushes any more", 0, "What was received stays."}, s.removeCallback)
	get(s, route{"GET /v1/apps/{appid}/callbacks", "list-callbacks", "callbacks", reads, "List what WeChat pushed, newest first", 0, ""}, s.listCallbacks)
	get(s, route{"GET /v1/apps/{appid}/callbacks/{id}", "get-callback", "callbacks", reads, "Read a push as it came", 0, ""}, s.getCallback)
	get(s, route{"GET /v1/apps/{appid}/callbacks/rejections", "list-callback-rejections", "callbacks", reads, "List the calls that were refused", 0,
		"The last 100, at most one a second. The caller is not told why; here it is."}, s.listCallbackRejections)

	raw(s, submitRoute, s.submitMessage)
	raw(s, batchRoute, s.submitBatch)
	get(s, route{"GET /v1/messages", "list-messages", "messages", reads, "List messages, newest first", 0,
		"A page may be short, even empty, while there is a next_cursor."}, s.listMessages)
	get(s, route{"GET /v1/messages/{id}", "get-message", "messages", readsOrSends, "Read a message with its timeline", 0, ""}, s.getMessage)
	get(s, route{"POST /v1/messages/{id}/cancel", "cancel-message", "messages", sends, "Cancel a message", 0,
		"Wins while it is held, scheduled or queued; its grant is returned."}, s.cancelMessage)
	post(s, route{"POST /v1/messages/{id}/resolve", "resolve-message", "messages", sendsOrMngs, "Settle an uncertain message", 0,
		"delivered spends its grant, failed returns it, queued sends it again though the user may get it twice."}, s.resolveMessage)

	get(s, route{"GET /v1/stats", "get-stats", "stats", reads, "Read figures", 0,
		"How many messages came to each state, and what became of grants, in whole hours: by the time it happened. A message that is uncertain and settled later is in both. Figures are kept for 400 days."}, s.getStats)
	get(s, route{"GET /v1/overview", "get-overview", "stats", reads, "Read how everything does", 0,
		"Today beside yesterday, the last 24 hours, what waits, why messages failed, and a light for each app. Its cost does not depend on how many messages there are."}, s.getOverview)
	s.mux.HandleFunc(liveRoute.on, s.guard(liveRoute.scopes, s.streamLive))
	get(s, route{"GET /v1/events", "list-events", "events", reads, "List events, newest first", 0,
		"Recorded is only what a webhook or a reader of the stream subscribed to. A page may be short, even empty, while there is a next_cursor."}, s.listEvents)
	s.mux.HandleFunc(streamRoute.on, s.guard(streamRoute.scopes, s.streamEvents))
	get(s, route{"GET /v1/event-types", "list-event-types", "events", anyKey, "List the event types", 0, ""}, s.listEventTypes)

	create(s, route{"POST /v1/webhooks", "create-webhook", "webhooks", manages, "Add a webhook", 201,
		"The secret is in this answer and nowhere else."}, s.createWebhook, s.replayWebhook)
	get(s, route{"GET /v1/webhooks", "list-webhooks", "webhooks", manages, "List the webhooks", 0, ""}, s.listWebhooks)
	get(s, route{"GET /v1/webhooks/{id}", "get-webhook", "webhooks", manages, "Read a webhook", 0, ""}, s.getWebhook)
	post(s, route{"PATCH /v1/webhooks/{id}", "update-webhook", "webhooks", manages, "Change a webhook", 0,
		"Only what is given changes. enabled: true ends a disabling, whatever its reason; what waited is posted then."}, s.updateWebhook)
	remove(s, route{"DELETE /v1/webhooks/{id}", "delete-webhook", "webhooks", manages, "Delete a webhook", 0, "What waits for it is dropped."}, s.deleteWebhook)
	get(s, route{"POST /v1/webhooks/{id}/rotate-secret", "rotate-webhook-secret", "webhooks", manages, "Make a new secret", 0,
		"The secret is in this answer and nowhere else. For 24 hours deliveries are signed with the one before, too."}, s.rotateWebhookSecret)
	get(s, route{"POST /v1/webhooks/{id}/test", "test-webhook", "webhooks", manages, "Send a webhook.test event", 202,
		"It goes through the queue as every event does; read the delivery to see what became of it."}, s.testWebhook)
	get(s, route{"GET /v1/webhooks/{id}/deliveries", "list-deliveries", "webhooks", manages, "List a webhook's deliveries, newest first", 0,
		"A page may be short, even empty, while there is a next_cursor."}, s.listDeliveries)
	get(s, route{"POST /v1/webhooks/{id}/deliveries/{delivery}/resend", "resend-delivery", "webhooks", manages, "Make a delivery again", 202,
		"Whatever it came to, and with all its tries."}, s.resendDelivery)

	create(s, route{"POST /v1/keys", "create-key", "keys", manages, "Make an API key", 201, "The key itself is in this answer and nowhere else."}, s.createKey, s.replayKey)
	get(s, route{"GET /v1/keys", "list-keys", "keys", manages, "List the API keys", 0, ""}, s.listKeys)
	remove(s, route{"DELETE /v1/keys/{id}", "revoke-key", "keys", manages, "Revoke an API key", 0, ""}, s.revokeKey)

	get(s, route{"GET /v1/console", "get-console", "members", anybody, "What the console knows before anybody signs in", 0, ""}, s.getConsole)
	post(s, route{"POST /v1/setup", "set-up", "members", visitors, "Use a one-time link: make the first owner, or set a member's password", 0,
		"Signs in at once: the answer sets the cookie hongyan_session."}, s.setUp)
	post(s, route{"POST /v1/setup/check", "check-setup", "members", visitors, "Ask what a one-time link is for, without using it", 0,
		"One that was used, was replaced or has ended is answered 410. An address may ask as often as it may try passwords."}, s.checkSetup)
	post(s, route{"POST /v1/session", "sign-in", "members", visitors, "Sign in to the console", 0,
		"The answer sets the cookie hongyan_session, good for 12 hours without a request and 7 days at most. From the fifth wrong password in a row on, a name waits, each time twice as long."}, s.signIn)
	get(s, route{"GET /v1/session", "get-session", "members", members, "Who is signed in", 0, ""}, s.getSession)
	remove(s, route{"DELETE /v1/session", "sign-out", "members", members, "Sign out", 0, ""}, s.signOut)
	post(s, route{"POST /v1/session/password", "change-password", "members", members, "Change one's own password", 0,
		"All other sessions of the member end."}, s.changePassword)
	create(s, route{"POST /v1/members", "create-member", "members", manages, "Add a member", 201,
		"The answer's link, this once, is where the member sets a password; it is good for 24 hours."}, s.createMember, s.replayMember)
	get(s, route{"GET /v1/members", "list-members", "members", manages, "List the members", 0, ""}, s.listMembers)
	post(s, route{"PATCH /v1/members/{id}", "update-member", "members", manages, "Change a member's role, disable or enable", 0,
		"Only what is given changes. The member's sessions end. The last owner who can sign in stays one."}, s.updateMember)
	remove(s, route{"DELETE /v1/members/{id}", "delete-member", "members", manages, "Remove a member", 0, "The last owner who can sign in stays."}, s.deleteMember)
	get(s, route{"POST /v1/members/{id}/reset", "reset-member", "members", manages, "Make a link for a new password", 0,
		"In the answer's link, this once, good for 24 hours; it ends the one before. The password there is works until then."}, s.resetMember)
	get(s, route{"GET /v1/audit", "list-audit", "audit", manages, "List what people and keys changed, newest first", 0,
		"Each row was written with the change itself and says who, from where, to what and the difference; of secrets only that they changed. Rows stay 400 days. A key limited to some apps sees what belongs to these. A page may be short, even empty, while there is a next_cursor."}, s.listAudit)
	get(s, route{"GET /v1/settings", "list-settings", "settings", manages, "List the server's settings", 0,
		"As they are in force, with where each came from. They are changed where the server is started, not here; of secrets only that they are set."}, s.listSettings)

	get(s, route{"GET /v1/errcodes", "list-errcodes", "reference", anyKey, "List WeChat's errcodes", 0, ""}, s.listErrcodes)
	get(s, route{"GET /v1/errcodes/{errcode}", "get-errcode", "reference", anyKey, "Explain one of WeChat's errcodes", 0, ""}, s.getErrcode)
	get(s, route{"GET /v1/codes", "list-codes", "reference", anyKey, "List the error codes of this API", 0, ""}, s.listCodes)

	for _, rt := range relayRoutes() {
		s.mux.HandleFunc(rt.on, s.guard(rt.scopes, s.relaySandbox))
	}

	// Without a key: for probes and people on the private listener.
	s.mux.HandleFunc("GET /healthz", s.open(s.healthz))
	s.mux.HandleFunc("GET /readyz", s.open(s.readyz))
	if s.Metrics != nil {
		s.mux.HandleFunc("GET /metrics", s.open(func(x *exchange, r *http.Request) { s.Metrics.ServeHTTP(x, r) }))
	}
	s.mux.HandleFunc("GET /openapi.json", s.open(s.serveJSON))
	s.mux.HandleFunc("GET /openapi.yaml", s.open(s.serveYAML))
	s.mux.HandleFunc("GET /docs", s.open(s.serveDocs))
	s.mux.HandleFunc("GET /docs/{file}", s.open(s.serveDocs))
	s.mux.HandleFunc("/", s.open(s.notFound))
}
