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

	get(s, route{"POST /v1/apps/{appid}/templates/sync", "sync-templates", "templates", sendsOrMngs, "Read the template list from WeChat", 0,
		"WeChat's daily quota for this is tiny: sync after a change, not on a timer."}, s.syncTemplates)
	get(s, route{"GET /v1/apps/{appid}/templates", "list-templates", "templates", readsOrSends, "List the templates", 0, ""}, s.listTemplates)
	create(s, route{"POST /v1/apps/{appid}/templates", "add-template", "templates", manages, "Add a template from WeChat's library", 201, ""}, s.addTemplate, s.replayTemplate)
	get(s, route{"GET /v1/apps/{appid}/templates/{ref}", "get-template", "templates", readsOrSends, "Read a template", 0, "By its template_id or alias."}, s.getTemplate)
	remove(s, route{"DELETE /v1/apps/{appid}/templates/{ref}", "delete-template", "templates", manages, "Delete a template at WeChat", 0,
		"It stays in the list, marked gone, because messages name it."}, s.deleteTemplate)
	post(s, route{"PUT /v1/apps/{appid}/templates/{ref}/alias", "set-template-alias", "templates", manages, "Name a template", 0,
		"Messages may use the alias in place of the template_id; an empty alias takes the name away."}, s.setAlias)
	post(s, route{"POST /v1/apps/{appid}/templates/{ref}/validate", "validate-data", "templates", readsOrSends, "Check data against a template", 0, ""}, s.validateData)
	get(s, route{"GET /v1/apps/{appid}/library/categories", "list-library-categories", "library", readsOrMngs, "List the app's categories", 0, "Kept for a day."}, s.listCategories)
	get(s, route{"GET /v1/apps/{appid}/library/titles", "list-library-titles", "library", readsOrMngs, "List the library's titles", 0, "Kept for a day."}, s.listTitles)
	get(s, route{"GET /v1/apps/{appid}/library/keywords", "list-library-keywords", "library", readsOrMngs, "List the keywords of a title", 0, "Kept for a day."}, s.listKeywords)

	post(s, route{"POST /v1/apps/{appid}/login", "login", "users", sends, "Trade a login code for the user", 0,
		"The code of wx.login. The session_key stays here, sealed."}, s.login)
	get(s, route{"GET /v1/apps/{appid}/users", "list-users", "users", reads, "List the users", 0, ""}, s.listUsers)
	get(s, route{"GET /v1/apps/{appid}/users/{openid}", "get-user", "users", reads, "Read a user", 0, ""}, s.getUser)

	post(s, route{"POST /v1/apps/{appid}/grants/report", "report-grants", "grants", sends, "Report what users chose", 0,
		"One report, or several in reports. A repeat of an id changes nothing."}, s.reportGrants)
	get(s, route{"GET /v1/apps/{appid}/grants", "list-grants", "grants", reads, "List the subscriptions", 0, ""}, s.listGrants)
	get(s, route{"GET /v1/apps/{appid}/grants/{openid}/{template}", "get-grant", "grants", reads, "Read a subscription with its history", 0, ""}, s.getGrant)
	post(s, route{"POST /v1/apps/{appid}/grants/{openid}/{template}/adjust", "adjust-grant", "grants", manages, "Correct a count", 0, ""}, s.adjustGrant)

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

	create(s, route{"POST /v1/keys", "create-key", "keys", manages, "Make an API key", 201, "The key itself is in this answer and nowhere else."}, s.createKey, s.replayKey)
	get(s, route{"GET /v1/keys", "list-keys", "keys", manages, "List the API keys", 0, ""}, s.listKeys)
	remove(s, route{"DELETE /v1/keys/{id}", "revoke-key", "keys", manages, "Revoke an API key", 0, ""}, s.revokeKey)

	get(s, route{"GET /v1/errcodes", "list-errcodes", "reference", anyKey, "List WeChat's errcodes", 0, ""}, s.listErrcodes)
	get(s, route{"GET /v1/errcodes/{errcode}", "get-errcode", "reference", anyKey, "Explain one of WeChat's errcodes", 0, ""}, s.getErrcode)
	get(s, route{"GET /v1/codes", "list-codes", "reference", anyKey, "List the error codes of this API", 0, ""}, s.listCodes)

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
