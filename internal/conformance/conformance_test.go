package conformance

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan/internal/progtest"
)

var update = flag.Bool("update", false, "write what the clients got to testdata/results.jsonl and docs/compatibility*.md")

const (
	goodData = `{"thing1":{"value":"春日音乐会"},"time2":{"value":"2022-03-23 19:30"},"thing3":{"value":"北门检票口"}}`
	// moreData is of another message: of a late answer the same again is a repeat.
	moreData = `{"thing1":{"value":"春日音乐会"},"time2":{"value":"2022-03-24 19:30"},"thing3":{"value":"北门检票口"}}`
	// badData is what yyyy-mm-dd gives where mm are minutes.
	badData = `{"thing1":{"value":"春日音乐会"},"time2":{"value":"2022-56-23 19:30"},"thing3":{"value":"北门检票口"}}`
)

// steps is the way that every client goes.
var steps = []struct {
	name  string
	title note
	op    string
	args  func(w *world) []string
	code  int      // the errcode of the refusal, or 0
	has   []string // what the answer must name
}{
	{"login", note{"login: code → openid", "登录：code 换 openid"}, "login", func(w *world) []string { return []string{w.code} }, 0, []string{"<user>", "<session_key>"}},
	{"token", note{"token", "token"}, "token", none, 0, []string{"<token>"}},
	{"stable_token", note{"stable_token", "stable_token"}, "stable_token", none, 0, []string{"<token>"}},
	{"gettemplate", note{"gettemplate", "gettemplate"}, "gettemplate", none, 0, []string{"<template>", "{{time2.DATA}}"}},
	{"addtemplate", note{"addtemplate", "addtemplate"}, "addtemplate", func(*world) []string { return []string{"99", "1,2,3", "付款后通知"} }, 0, []string{"<added>"}},
	{"send", note{"send", "发送"}, "send", send("user", "template", goodData), 0, []string{"<msgid>"}},
	{"send_no_grant", note{"send without a grant", "发送：用户没有订阅"}, "send", send("stranger", "template", goodData), 43101, []string{"43101"}},
	{"send_bad_data", note{"send, month 56", "发送：月份为 56"}, "send", send("user", "template", badData), 47003, []string{"47003", "time2"}},
	{"send_unknown_template", note{"send, unknown template", "发送：模板不存在"}, "send", send("user", "", goodData), 40037, []string{"40037"}},
	{"send_wrong_openid", note{"send, another app's openid", "发送：openid 不属于本小程序"}, "send", send("", "template", goodData), 40003, []string{"40003"}},
	{"send_dead_token", note{"send after WeChat ended the token", "微信使 token 失效之后发送"}, "send", send("user", "template", moreData), 0, []string{"<msgid>"}},
}

func none(*world) []string { return nil }

// send names a user, a template and data. The empty names are of nobody and of nothing.
func send(user, template, data string) func(*world) []string {
	return func(w *world) []string {
		users := map[string]string{"user": w.user, "stranger": w.stranger, "": "oNobodyOfThisAppHasThisOpen0"}
		templates := map[string]string{"template": w.template, "": "NoTemplateOfThisAppHasThisIdentifier0000000"}
		return []string{users[user], templates[template], data}
	}
}

// result is one line of testdata/results.jsonl.
type result struct {
	Client    string          `json:"client"`
	Target    string          `json:"target"`
	Operation string          `json:"operation"`
	Result    json.RawMessage `json:"result"`
	Refreshed bool            `json:"refreshed,omitempty"`
}

func TestConformance(t *testing.T) {
	t.Parallel()
	demo := progtest.StartDemo(t)
	got := make([][]result, len(clients))
	t.Run("clients", func(t *testing.T) {
		for i, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				var lists [][]result
				for _, to := range targets(demo) {
					w := newWorld(t, demo, to)
					list := walk(t, w, to, c.start(t, w))
					for j := range list {
						list[j].Client, list[j].Target = c.name, to.name
					}
					lists = append(lists, list)
				}
				for _, list := range lists[1:] {
					same(t, lists[0], list)
				}
				got[i] = slices.Concat(lists...)
			})
		}
	})
	comparePages(t, got)
}

// walk lets a client go the whole way. The sandbox's outbox is the witness of what was sent.
func walk(t *testing.T, w *world, to target, do driver) []result {
	t.Helper()
	var list []result
	for _, s := range steps {
		if s.name == "send_dead_token" {
			w.killTokens(t)
		}
		r := do(t, s.op, s.args(w)...)
		text := w.normal(t, r)
		if code := errcode(text); code != s.code {
			t.Errorf("%s at the %s: errcode %d, want %d: %s", s.name, to.name, code, s.code, text)
		}
		for _, want := range s.has {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("%s at the %s: got %s, want %s in it", s.name, to.name, text, want)
			}
		}
		// WeChat's client sees its token die; the gateway's token is the gateway's, and lives on.
		if want := s.name == "send_dead_token" && to.name == "sandbox"; r.Refreshed != want {
			t.Errorf("%s at the %s: refreshed is %t, want %t", s.name, to.name, r.Refreshed, want)
		}
		list = append(list, result{Operation: s.name, Result: text, Refreshed: r.Refreshed})
	}
	if n := w.cards(t); n != 2 {
		t.Errorf("%d cards arrived by way of the %s, want 2", n, to.name)
	}
	return list
}

// same compares what a client made of the answers of two targets, word by word.
func same(t *testing.T, a, b []result) {
	t.Helper()
	for i := range a {
		if d := cmp.Diff(string(a[i].Result), string(b[i].Result)); d != "" {
			t.Errorf("%s differs (-%s +%s):\n%s", a[i].Operation, a[i].Target, b[i].Target, d)
		}
	}
}

var ridOf = regexp.MustCompile(`rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}`)

// changing are the members whose values differ from call to call.
var changing = map[string]string{
	"access_token": "<token>", "accessToken": "<token>", "expireTime": "<time>", "session_key": "<session_key>", "expires_in": "<seconds>", "msgid": "<msgid>", "rid": "<rid>",
}

// normal is a reply's result as JSON, with a name for whatever differs from run to run.
func (w *world) normal(t *testing.T, r reply) json.RawMessage {
	t.Helper()
	names := strings.NewReplacer(w.user, "<user>", w.stranger, "<stranger>", w.template, "<template>", w.appid, "<appid>")
	var visit func(key string, v any) any
	visit = func(key string, v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k, member := range v {
				v[k] = visit(k, member)
			}
			return v
		case []any:
			for i := range v {
				v[i] = visit(key, v[i])
			}
			return v
		case string:
			v = names.Replace(ridOf.ReplaceAllString(v, "rid: <rid>"))
			if key == "priTmplId" && v != "<template>" {
				return "<added>"
			}
			if name := changing[key]; name != "" && v != "" {
				return name
			}
			return v
		case json.Number:
			if name := changing[key]; name != "" {
				return name
			}
		}
		return v
	}
	if token, ok := r.Result.Returned.(string); ok && token != "" && strings.HasSuffix(r.Operation, "token") {
		r.Result.Returned = "<token>" // an SDK may answer the token alone
	}
	r.Result.Returned, r.Result.Thrown = visit("", r.Result.Returned), visit("", r.Result.Thrown)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.Result); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

var errcodeIn = regexp.MustCompile(`\\?"(?:errcode|code)\\?": ?(\d+)`)

// errcode is that of a refusal, returned or thrown.
func errcode(src []byte) int {
	m := errcodeIn.FindSubmatch(src)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// cell tells a result in a few words.
func (r result) cell(zh bool) string {
	var v struct{ Returned, Thrown any }
	if err := json.Unmarshal(r.Result, &v); err != nil {
		return err.Error()
	}
	pick := func(en, chinese string) string {
		if zh {
			return chinese
		}
		return en
	}
	var text string
	switch code := errcode(r.Result); {
	case v.Thrown != nil:
		text = fmt.Sprintf(pick("throws %d", "抛出 %d"), code)
	case code != 0:
		text = fmt.Sprintf(pick("returns %d", "返回 %d"), code)
	default:
		text = "`" + strings.Join(members(v.Returned), " ") + "`"
	}
	if r.Refreshed {
		text += pick(", after it fetched a new token", "（先重新获取了 token）")
	}
	return text
}

// members are the names of an object's members, or the value itself.
func members(v any) []string {
	o, ok := v.(map[string]any)
	if !ok {
		return []string{strings.Trim(fmt.Sprint(v), "<>")}
	}
	var names []string
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
