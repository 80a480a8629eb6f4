package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/internal/config"
	"github.com/hongyan-push/hongyan/sandbox"
)

// The tests of this file go through the outcome table of docs/architecture.md row by row:
// the sandbox produces it, the message, its grant and the pause afterwards are compared.

func TestOutcomeOK(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(2)
	m := e.await(e.submit(u, nil), "accepted")
	if m["msgid"] == "" || m["errcode"].(float64) != 0 {
		t.Errorf("accepted without msgid: %v", m)
	}
	e.wantGrant(u, 1, 0, 1, 0)
	if e.cards(u) != 1 || len(e.pauses()) != 0 {
		t.Errorf("%d cards, pauses %v", e.cards(u), e.pauses())
	}
}

func TestOutcomeOKWithoutReservation(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(e *env, _ *config.Config) { e.history = "existing" })
	u := e.user(0)
	must(e.sb.Tap(sandbox.TapSpec{AppID: e.appid, OpenID: u, TemplateIDs: []string{e.tmpl}})) // nobody told us
	e.await(e.submit(u, nil), "accepted")
	e.wantGrant(u, 0, 0, 1, 0)
	if src := e.grant(u)["entries"].([]any)[0].(object)["source"]; src != "inferred" {
		t.Errorf("source %v, want inferred", src)
	}
	e.wantMetric(`hongyan_grant_drift_total{kind="inferred"} 1`)
	// The report of that very tap comes late: it is that grant, not another one.
	res := e.call("POST", "/v1/apps/"+e.appid+"/grants/report", object{"reports": []object{{"id": "late", "openid": u, "template": e.tmpl, "choice": "accept", "age_ms": 60000}}}, 200)
	if note := fmt.Sprint(res); !strings.Contains(note, "inferred") {
		t.Errorf("late report: %v", res)
	}
	e.wantGrant(u, 0, 0, 1, 0)
}

func TestOutcomeRecipient(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(3)
	must(e.sb.Refuse(sandbox.RefuseSpec{AppID: e.appid, OpenID: u, TemplateID: e.tmpl, Where: "card"}))
	m := e.await(e.submit(u, nil), "failed")
	if m["reason"] != "not_subscribed" || m["errcode"].(float64) != 43101 {
		t.Errorf("got %v", m)
	}
	e.wantGrant(u, 0, 0, 0, 3)
	e.wantMetric(`hongyan_grant_drift_total{kind="refused"} 3`)
	if g := e.grant(u); g["baseline"] != "exact" {
		t.Errorf("baseline %v, want exact", g["baseline"])
	}
	if e.cards(u) != 0 {
		t.Error("a refused message arrived")
	}
}

func TestOutcomeRecipientHeld(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	must(e.sb.Refuse(sandbox.RefuseSpec{AppID: e.appid, OpenID: u, TemplateID: e.tmpl, Where: "card"}))
	id := e.submit(u, object{"on_no_grant": "hold"})
	e.await(id, "held")
	e.wantGrant(u, 0, 0, 0, 1)
	e.accept(u, 1)
	e.await(id, "accepted")
	e.wantGrant(u, 0, 0, 1, 1)
}

func TestOutcomeOpenID(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(e *env, _ *config.Config) { e.history = "existing" })
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = e.submit(fmt.Sprintf("oForeignUserOfAnotherApp%04d", i), nil)
	}
	for _, id := range ids {
		if m := e.await(id, "failed"); m["reason"] != "invalid_openid" {
			t.Errorf("got %v", m)
		}
	}
	if u := e.call("GET", "/v1/apps/"+e.appid+"/users/oForeignUserOfAnotherApp0000", nil, 200); u["invalid_at"] == nil {
		t.Errorf("the user is not marked: %v", u)
	}
	e.awaitPause("app:many_invalid_openids")
	id := e.submit(e.user(1), nil)
	e.call("POST", "/v1/apps/"+e.appid+"/resume", object{"scope": "app"}, 200)
	e.await(id, "accepted")
}

func TestOutcomeCaller(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	reasons := map[int]string{47003: "invalid_data", 45168: "sensitive_word", 41030: "invalid_page"}
	for _, errcode := range []int{47003, 45168, 41030, 47001, 47002, 44002, 40033, 40036, 40097, 45002} {
		u := e.user(1)
		e.refuse(errcode, 1)
		m := e.await(e.submit(u, nil), "failed")
		want := reasons[errcode]
		if want == "" {
			want = "wechat_refused"
		}
		if m["reason"] != want || m["errcode"].(float64) != float64(errcode) {
			t.Errorf("%d: got %v", errcode, m)
		}
		e.wantGrant(u, 1, 0, 0, 0)
	}
	u := e.user(1)
	e.await(e.submit(u, nil), "accepted") // breaks the row of ten
	e.refuse(47003, 20)
	for range 20 {
		e.await(e.submit(e.user(1), nil), "failed")
	}
	e.awaitPause("template:many_refused")
}

func TestOutcomeTemplate(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	e.refuse(40037, 1)
	if m := e.await(e.submit(u, nil), "failed"); m["reason"] != "invalid_template" {
		t.Errorf("got %v", m)
	}
	e.wantGrant(u, 1, 0, 0, 0)
	e.awaitPause("template:template_invalid")
	lists := func() int { return e.sb.Stats().ByPath["/wxaapi/newtmpl/gettemplate"] }
	e.until(5*time.Second, func() bool { return lists() == 2 }, func() string { return fmt.Sprintf("%d calls of gettemplate, want 2", lists()) })
	id := e.submit(u, nil)
	if m := e.get(id); m["status"] != "queued" {
		t.Errorf("under a paused template: %v", m["status"])
	}
	e.refuse(40037, 1)
	e.call("POST", "/v1/apps/"+e.appid+"/resume", object{"scope": "template", "key": e.tmpl}, 200)
	e.await(id, "failed")
	e.awaitPause("template:template_invalid")
	if n := lists(); n != 2 {
		t.Errorf("%d calls of gettemplate within six hours, want 2", n)
	}
}

func TestOutcomeBanned(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	second := must(e.sb.AddTemplate(sandbox.TemplateSpec{AppID: e.appid}))
	e.call("POST", "/v1/apps/"+e.appid+"/templates/sync", object{}, 200)
	must(e.sb.SetRules(e.appid, sandbox.Rules{BannedTemplates: []string{e.tmpl, second.TemplateID}}))
	id := e.submit(u, nil)
	e.awaitPause("template:template_banned")
	if m := e.await(id, "queued"); m["reserved"].(float64) != 1 {
		t.Errorf("got %v", m)
	}
	e.wantGrant(u, 0, 1, 0, 0)
	// A second template within ten minutes: it is the account.
	other := e.submit(u, object{"template": second.TemplateID, "data": second.Example, "on_no_grant": "send"})
	e.until(10*time.Second, func() bool { return slices.Contains(e.pauses(), "app:template_banned") }, func() string { return fmt.Sprint(e.pauses()) })
	must(e.sb.SetRules(e.appid, sandbox.Rules{}))
	e.advance(11 * time.Minute)
	e.await(id, "accepted")
	e.await(other, "failed") // tried without a grant, and no longer banned
	e.awaitPause("")
	e.wantGrant(u, 0, 0, 1, 0)
}

func TestOutcomeToken(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"expire", "supersede"} {
		e := newEnv(t)
		u := e.user(2)
		e.await(e.submit(u, nil), "accepted")
		tokens := func() int { return e.sb.Stats().ByPath["/cgi-bin/stable_token"] }
		before := tokens()
		must(e.sb.Tokens(sandbox.TokensSpec{AppID: e.appid, Action: action}))
		e.await(e.submit(u, nil), "accepted")
		if n := tokens() - before; n != 1 {
			t.Errorf("%s: %d fetches, want 1", action, n)
		}
		e.wantGrant(u, 0, 0, 2, 0)
		if e.cards(u) != 2 {
			t.Errorf("%d cards, want 2", e.cards(u))
		}
	}
}

func TestOutcomeTokenRejected(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	e.fault(sandbox.FaultSpec{Errcode: ptr(40001)})
	id := e.submit(u, nil)
	e.awaitPause("app:token_rejected")
	if m := e.await(id, "queued"); m["reserved"].(float64) != 1 {
		t.Errorf("got %v", m)
	}
	must(e.sb.ClearFaults(""))
	e.advance(61 * time.Second)
	must(e.sb.Tokens(sandbox.TokensSpec{AppID: e.appid, Action: "expire"})) // WeChat hands out another one at last
	e.await(id, "accepted")
	e.awaitPause("")
	e.wantGrant(u, 0, 0, 1, 0)
}

func TestOutcomeBusy(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(3)
	e.refuse(-1, 2)
	id := e.submit(u, nil)
	e.await(id, "accepted")
	if n := len(e.get(id)["attempts"].([]any)); n != 3 {
		t.Errorf("%d attempts, want 3", n)
	}
	e.refuse(-1, 1)
	m := e.await(e.submit(u, object{"on_busy": "uncertain"}), "uncertain")
	e.call("POST", "/v1/messages/"+m["id"].(string)+"/resolve", object{"as": "failed"}, 200)
	e.wantGrant(u, 2, 0, 1, 0)
	e.refuse(-1, 4)
	if m := e.await(e.submit(u, nil), "failed"); m["reason"] != "wechat_busy" {
		t.Errorf("got %v", m)
	}
	e.wantGrant(u, 2, 0, 1, 0)
}

func TestOutcomePace(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	e.refuse(45011, 1)
	id := e.submit(u, nil)
	e.until(5*time.Second, func() bool { m := e.get(id); return m["errcode"] != nil && m["status"] != "sending" }, func() string { return fmt.Sprint(e.get(id)) })
	m := e.get(id)
	due := must(time.Parse(time.RFC3339, m["send_at"].(string)))
	if m["status"] == "accepted" || due.Sub(e.sb.Now()) < 55*time.Second {
		t.Errorf("after 45011: %v at %v, want queued a minute ahead", m["status"], due.Sub(e.sb.Now()))
	}
	e.advance(75 * time.Second)
	e.await(id, "accepted")
	e.wantGrant(u, 0, 0, 1, 0)
}

func TestOutcomeSameUser(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	e.refuse(43108, 2)
	id := e.submit(u, nil)
	e.await(id, "accepted")
	e.wantGrant(u, 0, 0, 1, 0)
	// Our own sends to one user never meet: twenty at once, each waits for the one before.
	v := e.user(20)
	e.fault(sandbox.FaultSpec{LatencyMS: 20, When: "before"})
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = e.submit(v, nil)
	}
	for _, id := range ids {
		e.await(id, "accepted")
	}
	if n := e.sb.Stats().ByErrcode[43108]; n != 2 {
		t.Errorf("43108 was answered %d times, want the 2 of the fault", n)
	}
	e.wantGrant(v, 0, 0, 20, 0)
}

func TestOutcomeQuota(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(3)
	must(e.sb.SetRules(e.appid, sandbox.Rules{Quotas: map[string]int{sendPath: 1}}))
	e.await(e.submit(u, nil), "accepted")
	id := e.submit(u, object{"expires_at": e.sb.Now().Add(72 * time.Hour).UTC().Format(time.RFC3339)})
	e.awaitPause("path:daily_quota")
	if m := e.await(id, "queued"); m["reserved"].(float64) != 1 {
		t.Errorf("got %v", m)
	}
	p := e.call("GET", "/v1/apps/"+e.appid, nil, 200)["pauses"].([]any)[0].(object)
	probe := must(time.Parse(time.RFC3339, p["probe_at"].(string))).In(time.FixedZone("Beijing", 8*3600))
	if probe.Hour() != 0 || probe.Minute() != 5 {
		t.Errorf("probe at %v, want 00:05 in Beijing", probe)
	}
	if e.calls(u) != 2 {
		t.Errorf("%d calls while the quota is spent, want 2", e.calls(u))
	}
	e.advance(probe.Sub(e.sb.Now()) + time.Second)
	e.await(id, "accepted")
	e.awaitPause("")
	e.wantGrant(u, 1, 0, 2, 0)
}

func TestOutcomeAccount(t *testing.T) {
	t.Parallel()
	for errcode, reason := range map[int]string{40013: "appid_invalid", 40125: "appsecret_invalid", 40243: "appsecret_invalid", 45035: "ip_not_whitelisted",
		48001: "api_unauthorized", 48004: "account_restricted", 50004: "account_restricted", 50007: "account_restricted", 61007: "api_unauthorized", 89503: "ip_unconfirmed"} {
		e := newEnv(t)
		u := e.user(1)
		must(e.sb.SetRules(e.appid, sandbox.Rules{AccountErrcode: map[string]int{sendPath: errcode}}))
		id := e.submit(u, nil)
		e.awaitPause("app:" + reason)
		e.await(id, "queued")
		e.wantGrant(u, 0, 1, 0, 0)
		must(e.sb.SetRules(e.appid, sandbox.Rules{}))
		e.advance(61 * time.Second)
		e.await(id, "accepted")
		e.awaitPause("")
	}
}

func TestOutcomeAccountAtTokenEndpoint(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	must(e.sb.SetRules(e.appid, sandbox.Rules{IPWhitelist: []string{"203.0.113.7"}}))
	must(e.sb.Tokens(sandbox.TokensSpec{AppID: e.appid, Action: "expire"}))
	id := e.submit(u, nil)
	e.awaitPause("app:ip_not_whitelisted")
	p := e.call("GET", "/v1/apps/"+e.appid, nil, 200)["pauses"].([]any)[0].(object)
	if !strings.Contains(p["detail"].(string), "127.0.0.1") || p["remedy"].(object)["zh"] == "" {
		t.Errorf("the pause does not name the IP: %v", p)
	}
	e.await(id, "queued")
	must(e.sb.SetRules(e.appid, sandbox.Rules{}))
	e.advance(61 * time.Second)
	e.await(id, "accepted")
	e.awaitPause("")
}

func TestOutcomeLimited(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.refuse(50002, 3)
	for range 2 {
		u := e.user(1)
		if m := e.await(e.submit(u, nil), "failed"); m["reason"] != "user_limited" {
			t.Errorf("got %v", m)
		}
		e.wantGrant(u, 1, 0, 0, 0)
	}
	u := e.user(1)
	id := e.submit(u, nil)
	e.awaitPause("app:account_restricted")
	e.await(id, "queued")
	e.advance(61 * time.Second)
	e.await(id, "accepted")
}

func TestOutcomeUnsent(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(2)
	e.await(e.submit(u, nil), "accepted") // the token is there
	e.wechat.stop()
	id := e.submit(u, nil)
	e.until(10*time.Second, func() bool {
		m := e.get(id)
		return m["attempt"].(float64) >= 2
	}, func() string { return fmt.Sprint(e.get(id)) })
	if m := e.get(id); m["status"] == "uncertain" || m["status"] == "failed" {
		t.Errorf("not reached, so not sent: %v", m)
	}
	e.wechat.start(t)
	e.advance(10 * time.Minute)
	e.await(id, "accepted")
	if e.cards(u) != 2 {
		t.Errorf("%d cards, want 2", e.cards(u))
	}
	e.wantGrant(u, 0, 0, 2, 0)
}

func TestOutcomeUnsentUsedUp(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(2)
	e.await(e.submit(u, nil), "accepted")
	e.wechat.stop()
	defer e.wechat.start(t)
	// Ten counted failures need the breaker closed: different messages would open it. Here
	// one message alone opens it after five, and from then on nothing counts: it waits.
	id := e.submit(u, object{"expires_at": e.sb.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	for range 8 {
		e.until(10*time.Second, func() bool { return e.get(id)["status"] == "queued" }, func() string { return fmt.Sprint(e.get(id)) })
		e.advance(6 * time.Minute)
	}
	e.advance(time.Hour)
	e.await(id, "expired")
	e.wantGrant(u, 1, 0, 1, 0)
}

func TestOutcomeUnclear(t *testing.T) {
	t.Parallel()
	after := "after"
	for _, c := range []struct {
		name  string
		fault sandbox.FaultSpec
		cards int
	}{
		{"dropped after", sandbox.FaultSpec{Drop: true, When: after}, 1},
		{"dropped before", sandbox.FaultSpec{Drop: true, When: "before"}, 0},
		{"500 after", sandbox.FaultSpec{HTTPStatus: 500, When: after}, 1},
		{"502 before", sandbox.FaultSpec{HTTPStatus: 502, When: "before"}, 0},
		{"302", sandbox.FaultSpec{HTTPStatus: 302, When: after}, 1},
		{"empty", sandbox.FaultSpec{Body: "empty", When: after}, 1},
		{"html", sandbox.FaultSpec{Body: "html", When: after}, 1},
		{"truncated", sandbox.FaultSpec{Body: "truncated", When: after}, 1},
		{"stalls", sandbox.FaultSpec{LatencyMS: 20_000, When: after}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			u := e.user(2)
			c.fault.Count = ptr(1)
			e.fault(c.fault)
			id := e.submit(u, nil)
			m := e.await(id, "uncertain")
			if m["reason"] != "wechat_unclear" {
				t.Errorf("reason %v", m["reason"])
			}
			e.wantGrant(u, 1, 1, 0, 0)
			// It is not sent again by itself, whatever time passes; others go on.
			e.advance(3 * time.Hour)
			e.await(e.submit(u, nil), "accepted")
			if n := e.calls(u); c.name != "stalls" && n != 2 {
				t.Errorf("%d calls, want 2: the unclear one and the next", n)
			}
			if n := e.cards(u); n != c.cards+1 {
				t.Errorf("%d cards, want %d", n, c.cards+1)
			}
			if len(e.pauses()) != 0 {
				t.Errorf("pauses %v", e.pauses())
			}
			e.call("POST", "/v1/messages/"+id+"/cancel", object{}, 409)
			if c.cards == 1 {
				e.call("POST", "/v1/messages/"+id+"/resolve", object{"as": "delivered"}, 200)
				e.wantGrant(u, 0, 0, 2, 0)
			} else {
				e.call("POST", "/v1/messages/"+id+"/resolve", object{"as": "failed"}, 200)
				e.wantGrant(u, 1, 0, 1, 0)
			}
		})
	}
}

func TestOutcomeUnclearResend(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(2)
	e.fault(sandbox.FaultSpec{Drop: true, When: "before", Count: ptr(1)})
	id := e.submit(u, object{"on_uncertain": "resend"})
	e.await(id, "uncertain")
	e.wantGrant(u, 1, 1, 0, 0)
	e.advance(2 * time.Minute)
	e.await(id, "accepted")
	e.wantGrant(u, 0, 0, 2, 0) // whether the first was spent is not known; both are counted

	// 43101 on the second try does not mean that the first failed.
	v := e.user(1)
	e.fault(sandbox.FaultSpec{Drop: true, When: "after", Count: ptr(1)})
	id = e.submit(v, object{"on_uncertain": "resend"})
	e.await(id, "uncertain")
	e.advance(2 * time.Minute)
	e.until(10*time.Second, func() bool { m := e.get(id); return m["errcode"] != nil && m["status"] == "uncertain" }, func() string { return fmt.Sprint(e.get(id)) })
	if e.cards(v) != 1 || e.calls(v) != 2 {
		t.Errorf("%d cards of %d calls, want 1 of 2", e.cards(v), e.calls(v))
	}
	e.advance(3 * time.Hour)
	if m := e.get(id); m["status"] != "uncertain" || e.calls(v) != 2 {
		t.Errorf("sent a third time? %v, %d calls", m["status"], e.calls(v))
	}
}

func TestOutcomeBreaker(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.fault(sandbox.FaultSpec{HTTPStatus: 503, When: "before"})
	var users, ids []string
	for range 12 {
		users = append(users, e.user(1))
	}
	for _, u := range users {
		ids = append(ids, e.submit(u, nil))
		// One at a time: the fifth opens the breaker, the rest stay queued.
		e.until(5*time.Second, func() bool { return e.get(ids[len(ids)-1])["status"] != "sending" }, func() string { return "still sending" })
	}
	count := map[string]int{}
	for _, id := range ids {
		count[e.get(id)["status"].(string)]++
	}
	if count["uncertain"] != 5 || count["queued"] != 7 {
		t.Errorf("after five unclear answers in a row: %v, want 5 uncertain and 7 queued", count)
	}
	must(e.sb.ClearFaults(""))
	e.advance(31 * time.Second)
	for _, id := range ids[5:] {
		e.await(id, "accepted")
	}
}

func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	e.refuse(99999, 20)
	m := e.await(e.submit(u, nil), "failed")
	if m["reason"] != "wechat_refused" || m["errcode"].(float64) != 99999 || m["errmsg"] == "" {
		t.Errorf("not kept verbatim: %v", m)
	}
	e.wantGrant(u, 1, 0, 0, 0)
	for range 19 {
		e.await(e.submit(e.user(1), nil), "failed")
	}
	e.awaitPause("template:many_refused")
}

func TestOutcomeExpired(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.user(1)
	e.call("POST", "/v1/apps/"+e.appid+"/pause", object{"scope": "app", "detail": "maintenance"}, 200)
	id := e.submit(u, nil)
	e.wantGrant(u, 0, 1, 0, 0)
	e.advance(25 * time.Hour)
	e.await(id, "expired")
	e.wantGrant(u, 1, 0, 0, 0)
	e.call("POST", "/v1/apps/"+e.appid+"/resume", object{"scope": "app"}, 200)
	if e.calls(u) != 0 {
		t.Error("an expired message was sent")
	}
}
