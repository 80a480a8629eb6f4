package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// with is the message with some fields replaced; nil removes one.
func (e *env) with(changes map[string]any) map[string]any {
	m := e.message()
	for k, v := range changes {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	return m
}

// Each defect is tried together with all that are checked after it: the answer
// must be that of the first.
func TestSendOrder(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	banned := must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID}))
	e.setRules(Rules{
		BannedTemplates: []string{banned.TemplateID}, Pages: []string{"pages/order"},
		Blacklist: []string{"发货"}, Quotas: map[string]int{pathSend: 0},
	})
	badData := wireData(e.tmpl.Example)
	badData["thing2"] = map[string]string{"value": strings.Repeat("长", 21)}
	black := wireData(e.tmpl.Example)
	black["thing2"] = map[string]string{"value": "尽快为您发货"}
	changes := []struct {
		code   int
		text   string
		change map[string]any
	}{
		{40003, "invalid openid", map[string]any{"touser": "oNobody"}},
		{40037, "invalid template_id", map[string]any{"template_id": "nonsense"}},
		{43107, "", map[string]any{"template_id": banned.TemplateID}},
		{41030, "invalid page", map[string]any{"page": "pages/none?x=1"}},
		{47003, "argument invalid! data.thing2.value invalid", map[string]any{"data": badData}},
		{45168, "keyword in blacklist", map[string]any{"data": black}},
		{45009, "reach max api daily quota limit", nil},
	}
	for i := range changes {
		m := e.message()
		for j := len(changes) - 1; j >= i; j-- {
			maps.Copy(m, changes[j].change)
		}
		r := e.want(changes[i].code, e.send(token, m))
		if !strings.HasPrefix(r.Errmsg, changes[i].text) || !strings.Contains(r.Errmsg, " rid: ") {
			t.Errorf("errmsg %q, want %q", r.Errmsg, changes[i].text)
		}
	}
	e.setRules(Rules{})
	e.want(43101, e.send(token, e.message()))

	path := pathSend + "?access_token="
	e.want(41001, e.must("PUT", pathSend, nil))
	e.want(40001, e.must("PUT", path+"x", nil))
	e.want(43002, e.must("GET", path+token, nil))
	if r := e.want(44002, e.must("POST", path+token, nil)); !strings.HasPrefix(r.Errmsg, "empty post data rid: ") {
		t.Errorf("errmsg %q", r.Errmsg)
	}
	for _, body := range []string{"{", "[]", "null", `"text"`, `{"touser":"x"} {}`, `{"touser":5}`, `{"touser":"oNobody","data":[]}`,
		`{"template_id":5}`, `{"page":5}`, `{"miniprogram_state":true}`, `{"lang":{}}`, `{"data":5}`, `{"data":true}`} {
		if r := e.send(token, body); r.Errcode != 47001 || !strings.HasPrefix(r.Errmsg, "data format error rid: ") {
			t.Errorf("%s: %s, want 47001", body, r.raw)
		}
	}
	e.want(45002, e.send(token, `{"touser":"`+strings.Repeat("x", maxBody)+`"}`))
	e.want(40003, e.send(token, `{"ToUser":"`+e.openID+`"}`)) // names are case-sensitive
	e.want(40003, e.send(token, e.with(map[string]any{"touser": strings.ToUpper(e.openID)})))
	e.want(40037, e.send(token, e.with(map[string]any{"template_id": nil})))
	e.want(40097, e.send(token, e.with(map[string]any{"miniprogram_state": "release"})))
	e.want(40097, e.send(token, e.with(map[string]any{"lang": "zh"})))
	e.wantCards(0)
}

// A refused send leaves the grant alone.
func TestRefusedSendKeepsGrant(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	token := e.token()
	e.tap(2)
	bad := e.with(map[string]any{"data": map[string]any{}})
	e.want(47003, e.send(token, bad))
	e.wantAvailable(2)
	e.setRules(Rules{FailedSendSpends: true})
	e.want(47003, e.send(token, bad))
	e.wantAvailable(1)
	e.want(40037, e.send(token, e.with(map[string]any{"template_id": "x"}))) // no template, no grant
	e.wantAvailable(1)
	e.want(47003, e.send(token, bad))
	e.want(47003, e.send(token, bad))
	e.wantAvailable(0)
	e.wantCards(0)
}

func TestSendDataShapes(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tmpl = must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID, TID: "1458", KIDs: []int{8, 12}}))
	token := e.token()
	for name, c := range map[string]struct{ data, text string }{
		"key missing":      {`{"thing8":{"value":"x"}}`, "data.thing12.value is empty"},
		"first one named":  {`{}`, "data.thing8.value is empty"},
		"value empty":      {`{"thing8":{"value":""},"thing12":{"value":"x"}}`, "data.thing8.value is empty"},
		"value blank":      {`{"thing8":{"value":"  "},"thing12":{"value":"x"}}`, "data.thing8.value is empty"},
		"value null":       {`{"thing8":{"value":null},"thing12":{"value":"x"}}`, "data.thing8.value is empty"},
		"no value":         {`{"thing8":{"Value":"x"},"thing12":{"value":"x"}}`, "data.thing8.value is empty"},
		"plain text":       {`{"thing8":"x","thing12":"x"}`, "data.thing8.value is empty"},
		"data as a string": {`"{\"thing8\":{\"value\":\"x\"}}"`, "data.thing8.value is empty"},
		"data null":        {`null`, "data.thing8.value is empty"},
		"number":           {`{"thing8":{"value":1},"thing12":{"value":"x"}}`, "data.thing8.value invalid"},
		"object":           {`{"thing8":{"value":"x"},"thing12":{"value":{}}}`, "data.thing12.value invalid"},
		"not UTF-8":        {"{\"thing8\":{\"value\":\"\xc4\xe3\"},\"thing12\":{\"value\":\"x\"}}", "data.thing8.value invalid"},
	} {
		r := e.send(token, `{"touser":"`+e.openID+`","template_id":"`+e.tmpl.TemplateID+`","data":`+c.data+`}`)
		if r.Errcode != 47003 || !strings.HasPrefix(r.Errmsg, "argument invalid! "+c.text+" rid: ") {
			t.Errorf("%s: %s, want %s", name, r.raw, c.text)
		}
	}
	e.want(47003, e.send(token, `{"touser":"`+e.openID+`","template_id":"`+e.tmpl.TemplateID+`"}`))

	e.tap(2)
	e.want(0, e.send(token, `{"touser":"`+e.openID+`","template_id":"`+e.tmpl.TemplateID+`","data":{"thing8":{"value":"\u4e2d","color":"#173177"},"thing12":{"value":"<&>"},"thing99":{"value":5}}}`))
	card := e.wantCards(1)[0]
	if len(card.Data) != 2 || card.Data["thing12"].Value != "<&>" || card.Data["thing8"].Value != "中" {
		t.Errorf("card data %v", card.Data)
	}
}

// WeChat's sentence about an argument ends after 30 characters.
func TestArgumentInvalidIsCut(t *testing.T) {
	t.Parallel()
	for complaint, want := range map[string]string{
		"data.thing18.value invalid":            "argument invalid! data.thing18.value invalid",
		"data.character_string1.value invalid":  "argument invalid! data.character_string1.value i",
		"data.character_string13.value invalid": "argument invalid! data.character_string13.value ",
	} {
		if got := argumentInvalid(complaint); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	e := newEnv(t, Config{})
	data := wireData(e.tmpl.Example)
	data["character_string1"] = map[string]string{"value": "订单"}
	r := e.want(47003, e.send(e.token(), e.with(map[string]any{"data": data})))
	if !strings.HasPrefix(r.Errmsg, "argument invalid! data.character_string1.value i rid: ") {
		t.Errorf("errmsg %q", r.Errmsg)
	}
}

func TestOfficialSendSample(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tmpl = must(e.AddTemplate(TemplateSpec{AppID: e.app.AppID, TID: "5047", KIDs: []int{3, 1, 2}}))
	e.tap(1)
	body := strings.NewReplacer("OPENID", e.openID, "TEMPLATE_ID", e.tmpl.TemplateID).Replace(golden(t, "send_request.json"))
	r := e.want(0, e.send(e.token(), body))
	if !strings.HasPrefix(string(r.raw), `{"errcode":0,"errmsg":"ok","msgid":`) {
		t.Errorf("answer %s", r.raw)
	}
	card := e.wantCards(1)[0]
	if card.Page != "index?foo=bar" || card.Data["phrase3"].Value != "审核通过" {
		t.Errorf("card %+v", card)
	}
}

func TestMsgIDs(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(50)
	token := e.token()
	seen := map[int64]bool{}
	for range 50 {
		id, err := e.send(token, e.message()).fields(t)["msgid"].(json.Number).Int64()
		if err != nil || id <= 1<<53 || seen[id] || len(fmt.Sprint(id)) != 19 {
			t.Fatalf("msgid %d: %v", id, err)
		}
		seen[id] = true
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(10)
	token := e.token()
	e.want(0, e.send(token, e.with(map[string]any{"page": "/anything"}))) // no pages known
	e.setRules(Rules{Pages: []string{"pages/order", "index"}})
	for page, code := range map[string]int{"": 0, "index": 0, "pages/order?id=1": 0, "/index": 41030, "pages": 41030} {
		if r := e.send(token, e.with(map[string]any{"page": page})); r.Errcode != code {
			t.Errorf("page %q: %s, want %d", page, r.raw, code)
		}
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	e.tap(10)
	token := e.token()
	e.setRules(Rules{Quotas: map[string]int{pathSend: 2, "/wxaapi/newtmpl/getcategory": 1}})
	e.want(0, e.send(token, e.message()))
	e.want(0, e.send(token, e.message()))
	e.want(45009, e.send(token, e.message()))
	e.wantAvailable(8)
	e.want(0, e.template("GET", "getcategory", token, "", nil))
	e.want(45009, e.template("GET", "getcategory", token, "", nil))

	quota := func() string {
		t.Helper()
		r := e.want(0, e.must("POST", "/cgi-bin/openapi/quota/get?access_token="+token, map[string]string{"cgi_path": pathSend}))
		q := r.fields(t)["quota"].(map[string]any)
		return fmt.Sprintf("%v %v %v", q["daily_limit"], q["used"], q["remain"])
	}
	if got := quota(); got != "2 2 0" {
		t.Errorf("quota %s", got)
	}
	e.advance(12 * time.Hour) // midnight in Beijing
	token = e.token()
	if got := quota(); got != "2 0 2" {
		t.Errorf("quota of the next day %s", got)
	}
	e.want(0, e.send(token, e.message()))
	e.want(0, e.send(token, e.message()))
	e.want(45009, e.send(token, e.message()))
	e.want(40013, e.must("POST", "/cgi-bin/clear_quota?access_token="+token, map[string]string{"appid": "wx1"}))
	e.want(0, e.must("POST", "/cgi-bin/clear_quota?access_token="+token, map[string]string{"appid": e.app.AppID}))
	e.want(0, e.send(token, e.message()))
	for i := 2; i <= clearsPerMonth; i++ {
		e.want(0, e.must("POST", "/cgi-bin/clear_quota/v2?appid="+e.app.AppID+"&appsecret="+e.app.Secret, nil))
	}
	e.want(48006, e.must("POST", "/cgi-bin/clear_quota/v2", map[string]string{"appid": e.app.AppID, "appsecret": e.app.Secret}))
	e.want(76021, e.must("POST", "/cgi-bin/openapi/quota/get?access_token="+token, map[string]string{"cgi_path": "/x"}))
	e.want(76022, e.must("POST", "/cgi-bin/openapi/quota/get?access_token="+token, map[string]string{"cgi_path": pathCode2Session}))
	e.want(0, e.must("POST", "/cgi-bin/openapi/quota/clear?access_token="+token, map[string]string{"cgi_path": pathSend}))
	if got := quota(); got != "2 0 2" {
		t.Errorf("quota after quota/clear %s", got)
	}
}

func TestUnknownPath(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	r := e.must("POST", "/cgi-bin/nothing", "{}")
	if r.status != 404 || r.Errcode != errcodeInvalidURL {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if s := e.Stats(); s.ByPath["unknown"] != 1 {
		t.Errorf("stats = %+v", s)
	}
}

// Two sends to one user at once: the second is refused while the first takes its
// time, and the user is free when the first is answered.
func TestConcurrentSends(t *testing.T) {
	t.Parallel()
	for _, when := range []string{before, after} {
		e := newEnv(t, Config{})
		e.tap(3)
		token := e.token()
		count := 1
		must(e.AddFault(FaultSpec{Path: pathSend, LatencyMS: 1000, When: when, Count: &count}))
		var wg sync.WaitGroup
		wg.Go(func() { e.want(0, e.send(token, e.message())) })
		held := func() bool {
			a := e.world.Load().app(e.app.AppID)
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.users[e.openID].busy
		}
		for !held() {
			time.Sleep(time.Millisecond)
		}
		r := e.want(43108, e.send(token, e.message()))
		if !strings.HasPrefix(r.Errmsg, "Cannot make concurrent calls to the same OpenID, please try again rid: ") {
			t.Errorf("errmsg %q", r.Errmsg)
		}
		wg.Wait()
		e.want(0, e.send(token, e.message()))
		e.wantAvailable(1)
		e.wantCards(2)
	}
}

// Many clients at once: what was accepted is what arrived and what was spent.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	const users, grants, workers = 20, 10, 8
	openIDs := must(e.AddUsers(UsersSpec{AppID: e.app.AppID, Count: users})).OpenIDs
	must(e.Tap(TapSpec{AppID: e.app.AppID, OpenIDs: openIDs, TemplateIDs: []string{e.tmpl.TemplateID}, Times: grants}))
	share := 0.1
	must(e.AddFault(FaultSpec{Path: pathSend, Share: &share, Body: bodyEmpty}))
	c := must(wechat.New(wechat.Config{BaseURL: e.url}))
	defer c.Close()
	token := must(c.GetStableAccessToken(t.Context(), e.app.AppID, e.app.Secret, false)).AccessToken
	data := map[string]wechat.DataValue{}
	for k, v := range e.tmpl.Example {
		data[k] = wechat.DataValue{Value: v}
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range users * grants / workers * 2 {
				// Errors are expected: 43101, 43108 and lost answers.
				c.SendSubscribeMessage(t.Context(), token, &wechat.SubscribeMessage{
					ToUser: openIDs[(i+w)%users], TemplateID: e.tmpl.TemplateID, Data: data})
				if i%10 == 0 {
					e.must("GET", "/_sandbox/outbox?limit=5", nil)
					e.must("GET", "/_sandbox/stats", nil)
				}
			}
		})
	}
	wg.Wait()
	spent := 0
	for _, id := range openIDs {
		g := must(e.Grants(GrantQuery{e.app.AppID, id, e.tmpl.TemplateID}))
		if g.Granted != grants || g.Available+g.Spent != grants {
			t.Errorf("grants of %s: %+v", id, g)
		}
		spent += g.Spent
	}
	e.wantCards(spent)
	if s := e.Stats(); s.Accepted != spent || spent == 0 || s.Unanswered == 0 {
		t.Errorf("%d spent, stats %+v", spent, s)
	}
}
