package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// TestMalformedRequests: whatever is wrong with a request, the answer is a 4xx problem that
// names the place and the remedy, and nothing is stored, the Idempotency-Key included.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, tid := "/v1/apps/"+w.app.AppID, w.template.TemplateID
	good := w.body("oUser_malformed")
	// with is the good submission with one field replaced or added, raw.
	with := func(field, raw string) string {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(good), &m); err != nil {
			t.Fatal(err)
		}
		m[field] = json.RawMessage("0")
		b, _ := json.Marshal(m)
		return strings.Replace(string(b), `"`+field+`":0`, `"`+field+`":`+raw, 1)
	}
	renamed := func(from, to string) string { return strings.Replace(good, `"`+from+`":`, `"`+to+`":`, 1) }
	key := slices.Sorted(maps.Keys(w.template.Example))[0]
	at := "/data/" + key
	datum := func(raw string) string {
		data := mustJSON(w.template.Example)
		return with("data", strings.Replace(data, mustJSON(key)+":"+mustJSON(w.template.Example[key]), mustJSON(key)+":"+raw, 1))
	}
	longAgo, farAhead := time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().AddDate(2, 0, 0).Format(time.RFC3339)

	const messages = "POST /v1/messages"
	for _, tt := range []struct {
		name, on, body string
		status         int
		wants          []string // "pointer text of the detail"; - is the whole body
		headers        []string
	}{
		{"empty body", messages, "", 400, []string{"- empty"}, nil},
		{"not JSON", messages, "hello", 400, []string{"- not JSON"}, nil},
		{"form data", messages, "app=x", 415, []string{"- application/json"}, []string{"Content-Type: application/x-www-form-urlencoded"}},
		{"other charset", messages, good, 415, []string{"- application/json"}, []string{"Content-Type: application/json; charset=gbk"}},
		{"XML", messages, "<xml/>", 415, []string{"- application/json"}, []string{"Content-Type: text/xml"}},
		{"list", messages, "[" + good + "]", 400, []string{"- got a list"}, nil},
		{"encoded twice", messages, mustJSON(good), 400, []string{"- encode it once"}, nil},
		{"cut off", messages, good[:len(good)/2], 400, nil, nil},
		{"trailing comma", messages, good[:len(good)-1] + ",}", 400, []string{"- comma"}, nil},
		{"garbage behind", messages, good + "x", 400, []string{"- follows"}, nil},
		{"2 MiB", messages, with("page", `"`+strings.Repeat("x", 2<<20)+`"`), 413, []string{"- bytes at once"}, nil},
		{"GBK", messages, with("page", "\"\xd2\xb3\xc3\xe6\""), 400, []string{"/page GBK"}, nil},
		{"byte order mark", messages, "\ufeff" + good, 400, []string{"- byte order mark"}, nil},
		{"nested deeply", messages, with("metadata", strings.Repeat("[", 200)+strings.Repeat("]", 200)), 400, []string{"/metadata object"}, nil},

		{"touser", messages, renamed("to", "touser"), 400, []string{"/touser \"to\""}, nil},
		{"openid", messages, renamed("to", "openid"), 400, []string{"/openid \"to\""}, nil},
		{"templateId", messages, renamed("template", "templateId"), 400, []string{"/templateId \"template\""}, nil},
		{"template_id", messages, renamed("template", "template_id"), 400, []string{"/template_id \"template\""}, nil},
		{"appid", messages, renamed("app", "appid"), 400, []string{"/appid \"app\""}, nil},
		{"miniprogramState", messages, with("miniprogramState", `"trial"`), 400, []string{"/miniprogramState \"miniprogram_state\""}, nil},
		{"sendAt", messages, with("sendAt", `"2026-12-01T00:00:00Z"`), 400, []string{"/sendAt \"send_at\""}, nil},
		{"field twice", messages, good[:len(good)-1] + `,"page":"a","page":"b"}`, 400, []string{"/page twice"}, nil},

		{"app missing", messages, renamed("app", "dedup_key"), 400, []string{"/app appid"}, nil},
		{"to missing", messages, renamed("to", "dedup_key"), 400, []string{"/to openid"}, nil},
		{"template missing", messages, renamed("template", "dedup_key"), 400, []string{"/template template_id"}, nil},
		{"openid with a space", messages, with("to", `"oMgH x"`), 400, []string{"/to code2Session"}, nil},
		{"openid in Chinese", messages, with("to", `"用户"`), 400, []string{"/to code2Session"}, nil},
		{"openid too long", messages, with("to", `"`+strings.Repeat("o", 65)+`"`), 400, []string{"/to 64"}, nil},
		{"to a number", messages, with("to", `123`), 400, []string{"/to got a number"}, nil},
		{"to an empty object", messages, with("to", `{}`), 400, []string{"/to user"}, nil},
		{"to someone unknown", messages, with("to", `{"user":"nobody"}`), 404, []string{"/to/user login"}, nil},
		{"app unknown", messages, with("app", `"wx-none"`), 404, nil, nil},
		{"template unknown", messages, with("template", `"none"`), 404, []string{"/template sync"}, nil},

		{"data a string", messages, with("data", mustJSON(mustJSON(w.template.Example))), 400, []string{"/data encode it once"}, nil},
		{"data a list", messages, with("data", `[]`), 400, []string{"/data got a list"}, nil},
		{"data empty", messages, with("data", `{}`), 422, nil, nil},
		{"data missing", messages, with("data", `null`), 422, nil, nil},
		{"datum a number", messages, datum("12"), 422, []string{at + " string"}, nil},
		{"datum null", messages, datum("null"), 422, []string{at + " string"}, nil},
		{"datum with color", messages, datum(`{"value":"x","color":"#fff"}`), 422, []string{at + "/color alone"}, nil},
		{"datum empty", messages, datum(`""`), 422, []string{at}, nil},
		{"datum with a newline", messages, datum(`"a\nb"`), 422, []string{at}, nil},
		{"datum with U+0000", messages, datum(`"a\u0000b"`), 422, []string{at}, nil},

		{"month 56", messages, with("send_at", `"2026-56-01T00:00:00Z"`), 400, []string{"/send_at RFC 3339"}, nil},
		{"time without a zone", messages, with("send_at", `"2026-12-01 08:00:00"`), 400, []string{"/send_at offset"}, nil},
		{"unix time", messages, with("send_at", `1780000000`), 400, []string{"/send_at RFC 3339"}, nil},
		{"two years ahead", messages, with("send_at", `"`+farAhead+`"`), 400, []string{"/send_at year"}, nil},
		{"expired already", messages, with("expires_at", `"`+longAgo+`"`), 400, []string{"/expires_at past"}, nil},
		{"unknown priority", messages, with("priority", `"urgent"`), 400, []string{"/priority low, normal, high"}, nil},
		{"unknown on_no_grant", messages, with("on_no_grant", `"wait"`), 400, []string{"/on_no_grant fail, send, hold"}, nil},
		{"unknown lang", messages, with("lang", `"zh"`), 400, []string{"/lang zh_CN"}, nil},
		{"long page", messages, with("page", `"`+strings.Repeat("p", 1025)+`"`), 400, []string{"/page 1024"}, nil},
		{"hold_for a string", messages, with("hold_for_s", `"60"`), 400, []string{"/hold_for_s whole number"}, nil},
		{"tags a string", messages, with("tags", `"a"`), 400, []string{"/tags list"}, nil},
		{"metadata nested", messages, with("metadata", `{"a":{"b":1}}`), 400, []string{"/metadata/a string"}, nil},
		{"dry_run a string", messages, with("dry_run", `"true"`), 400, []string{"/dry_run true or false"}, nil},
		{"report for another", messages, with("grant_report", `{"id":"r","openid":"oOther","choice":"accept"}`), 400, []string{"/grant_report recipient"}, nil},
		{"report without a choice", messages, with("grant_report", `{"id":"r"}`), 400, []string{"/grant_report/choice accept"}, nil},
		{"several faults", messages, `{"app":5,"to":"a b","templateId":"x","data":{"thing1":1},"lang":"de","send_at":"soon"}`, 400,
			[]string{"/app string", "/to code2Session", "/templateId template", "/data/thing1 string", "/lang zh_CN", "/send_at RFC 3339"}, nil},
		{"key with a space", messages, good, 400, []string{"/Idempotency-Key visible"}, []string{"Idempotency-Key: a b"}},
		{"key too long", messages, good, 400, []string{"/Idempotency-Key 255"}, []string{"Idempotency-Key: " + strings.Repeat("k", 256)}},

		{"query parameter", messages + "?dry_run=1", good, 400, []string{"/ body"}, nil},
		{"batch of nothing", messages + "/batch", `{"messages":[]}`, 400, []string{"/messages at least one"}, nil},
		{"batch as a list", messages + "/batch", "[" + good + "]", 400, []string{"- got a list"}, nil},
		{"batch too long", messages + "/batch", `{"messages":[` + strings.Repeat("{},", 1000) + `{}]}`, 400, []string{"/messages 1000"}, nil},
		{"batch mode", messages + "/batch", `{"mode":"loose","messages":[` + good + `]}`, 400, []string{"/mode strict, permissive"}, nil},
		{"batch with one bad", messages + "/batch", `{"messages":[` + good + `,` + with("to", `"a b"`) + `,` + renamed("to", "touser") + `]}`, 400, []string{"/messages/1/to code2Session", "/messages/2/touser \"to\""}, nil},
		{"batch with bad data", messages + "/batch", `{"messages":[` + good + `,` + datum("5") + `]}`, 422, []string{"/messages/1" + at + " string"}, nil},
		{"batch with a dry run", messages + "/batch", `{"messages":[` + with("dry_run", "true") + `]}`, 400, []string{"/messages/0/dry_run single"}, nil},

		{"app without a secret", "POST /v1/apps", `{"appid":"wx3"}`, 400, []string{"/secret AppSecret"}, nil},
		{"app with a bad id", "POST /v1/apps", `{"appid":"微信","secret":"s"}`, 400, []string{"/appid AppID"}, nil},
		{"app with a bad setting", "POST /v1/apps", `{"appid":"wx3","secret":"s","settings":{"fit":"all"}}`, 400, []string{"/settings/fit none, repair, truncate"}, nil},
		{"app of two names", "POST /v1/apps", `{"app_id":"wx3","appSecret":"s"}`, 400, []string{"/app_id \"appid\"", "/appSecret \"secret\""}, nil},
		{"login without a code", "POST " + app + "/login", `{"js_code":"x"}`, 400, []string{"/js_code \"code\""}, nil},
		{"report of nothing", "POST " + app + "/grants/report", `{}`, 400, []string{"/reports at least one"}, nil},
		{"report of a bad choice", "POST " + app + "/grants/report", `{"id":"r","openid":"o","template":"` + tid + `","choice":"yes"}`, 400, []string{"/choice accept"}, nil},
		{"reports with a bad choice", "POST " + app + "/grants/report", `{"reports":[{"id":"r","openid":"o","template":"` + tid + `","choice":"yes"}]}`, 400, []string{"/reports/0/choice accept"}, nil},
		{"adjust without a reason", "POST " + app + "/grants/oU/" + tid + "/adjust", `{"delta":1}`, 400, []string{"/reason why"}, nil},
		{"adjust by a string", "POST " + app + "/grants/oU/" + tid + "/adjust", `{"delta":"1","reason":"x"}`, 400, []string{"/delta whole number"}, nil},
		{"kids as strings", "POST " + app + "/templates", `{"tid":1,"kids":["1"]}`, 400, []string{"/kids/0 whole number"}, nil},
		{"alias a number", "PUT " + app + "/templates/" + tid + "/alias", `{"alias":1}`, 400, []string{"/alias string"}, nil},
		{"key without scopes", "POST /v1/keys", `{"name":"x"}`, 400, []string{"/scopes scope"}, nil},
		{"key with a bad scope", "POST /v1/keys", `{"name":"x","scopes":["write"]}`, 400, []string{"/scopes/0 send"}, nil},

		{"limit of zero", "GET /v1/messages?limit=0", "", 400, []string{"/limit from 1 to 500"}, nil},
		{"limit in words", "GET /v1/messages?limit=all", "", 400, []string{"/limit from 1 to 500"}, nil},
		{"unknown status", "GET /v1/messages?status=sent", "", 400, []string{"/status held, scheduled"}, nil},
		{"bad time", "GET /v1/messages?since=yesterday", "", 400, []string{"/since RFC 3339"}, nil},
		{"bad cursor", "GET /v1/messages?cursor=abc", "", 400, []string{"/cursor next_cursor"}, nil},
		{"unknown parameter", "GET /v1/messages?openId=o", "", 400, []string{"/openId openid"}, nil},
		{"openid without app", "GET /v1/messages?openid=o", "", 400, []string{"/app name it"}, nil},
		{"cursor of another list", "GET " + app + "/users?cursor=bW1zZw", "", 400, []string{"/cursor next_cursor"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			method, path, _ := strings.Cut(tt.on, " ")
			headers := tt.headers
			if method == http.MethodPost && !strings.Contains(strings.Join(headers, ""), "Idempotency-Key") {
				headers = append(headers, "Idempotency-Key: same-key")
			}
			r := w.call(method, path, tt.body, headers...)
			if r.Status != tt.status {
				t.Errorf("got status %d, want %d", r.Status, tt.status)
			}
			wantFaults(t, r, tt.wants...)
		})
	}

	var stored []hongyan.Message
	for m, err := range w.admin.Messages(t.Context(), client.MessageFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, m)
	}
	if len(stored) != 0 {
		t.Errorf("got %d messages, want none stored by refused requests", len(stored))
	}
	r := w.call("POST", "/v1/messages", with("on_no_grant", `"send"`), "Idempotency-Key: same-key")
	if r.Status != 202 || r.Header.Get("Idempotent-Replayed") != "" {
		t.Errorf("got %d %s, want the key of refused requests to be free", r.Status, r.Body)
	}
	if apps, err := w.admin.Apps(t.Context()); err != nil || len(apps) != 1 {
		t.Errorf("got %d apps %v, want 1", len(apps), err)
	}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(b))
}
