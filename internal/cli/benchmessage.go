package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// The app and the template of every bench.
const (
	benchApp      = "wx00000000000be7c4"
	benchTemplate = "bench_0rderShippedTemplate-0123456789abcdef"
	benchTitle    = "订单发货通知"
	benchContent  = "订单编号:{{character_string1.DATA}}\n商品名称:{{thing2.DATA}}\n订单金额:{{amount3.DATA}}\n发货时间:{{time4.DATA}}\n备注:{{thing5.DATA}}\n"

	// A user's openid is the head and the user's number.
	benchOpenIDHead = "oBench-00000000000-"
	benchUserDigits = 9
	// The time of the submit, in unix nanoseconds, travels in the data to where it arrives.
	benchStampKey    = "character_string1"
	benchStampDigits = 19
)

func benchOpenID(user uint32) hongyan.OpenID {
	b := make([]byte, 0, len(benchOpenIDHead)+benchUserDigits)
	b = append(b, benchOpenIDHead...)
	b = b[:cap(b)]
	putDigits(b[len(benchOpenIDHead):], int64(user))
	return hongyan.OpenID(b)
}

func putDigits(b []byte, n int64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
}

// benchData is what a shop would say, with the stamp as its order number.
func benchData(at time.Time) map[string]string {
	return map[string]string{
		benchStampKey: strconv.FormatInt(at.UnixNano(), 10), "thing2": "鸿雁牌手工竹编灯笼（大号）", "amount3": "¥128.50",
		"time4": "2026-11-22 10:30:00", "thing5": "预计三天内送达，请保持电话畅通",
	}
}

func benchSubmission(user uint32, at time.Time) hongyan.Submission {
	return hongyan.Submission{App: benchApp, To: hongyan.Recipient{OpenID: benchOpenID(user)}, Template: benchTemplate, Data: benchData(at), Page: "pages/order/detail?from=notice"}
}

// benchBody is a request's body with gaps for users and stamps, so that writing the next
// one costs no more than copying two numbers.
type benchBody struct {
	b    []byte
	gaps []benchGap
}

type benchGap struct{ user, stamp int }

// fill makes it the body for these users; it has as many gaps.
func (t *benchBody) fill(users []uint32, at time.Time) []byte {
	for i, g := range t.gaps {
		putDigits(t.b[g.user:g.user+benchUserDigits], int64(users[i]))
		putDigits(t.b[g.stamp:g.stamp+benchStampDigits], at.UnixNano())
	}
	return t.b
}

// repeat is n bodies in one.
func (t *benchBody) repeat(before, between, after string, n int) *benchBody {
	out := &benchBody{b: []byte(before)}
	for i := range n {
		if i > 0 {
			out.b = append(out.b, between...)
		}
		for _, g := range t.gaps {
			out.gaps = append(out.gaps, benchGap{len(out.b) + g.user, len(out.b) + g.stamp})
		}
		out.b = append(out.b, t.b...)
	}
	out.b = append(out.b, after...)
	return out
}

// sendBody is what WeChat gets for a message, byte for byte the same from either side.
func sendBody() (*benchBody, error) {
	s := benchSubmission(0, time.Unix(1_000_000_000, 0))
	m := wechat.SubscribeMessage{ToUser: string(s.To.OpenID), TemplateID: s.Template, Page: s.Page, MiniprogramState: "formal", Lang: "zh_CN", Data: make(map[string]wechat.DataValue)}
	for k, v := range s.Data {
		m.Data[k] = wechat.DataValue{Value: v}
	}
	return newBenchBody(m, string(beforeStamp))
}

// submitBody is the body of POST /v1/messages.
func submitBody() (*benchBody, error) {
	return newBenchBody(benchSubmission(0, time.Unix(1_000_000_000, 0)), `"`+benchStampKey+`":"`)
}

func newBenchBody(v any, beforeStamp string) (*benchBody, error) {
	var b bytes.Buffer
	if err := printJSON(&b, v, ""); err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(b.Bytes())
	user, stamp := bytes.Index(text, []byte(benchOpenIDHead)), bytes.Index(text, []byte(beforeStamp))
	if user < 0 || stamp < 0 || !json.Valid(text) {
		return nil, fmt.Errorf("no place for user and stamp in %s", text)
	}
	return &benchBody{b: text, gaps: []benchGap{{user + len(benchOpenIDHead), stamp + len(beforeStamp)}}}, nil
}

// benchWriter writes the bodies of one poster, each for the next users.
type benchWriter struct {
	one  *benchBody
	full *benchBody // of a whole request
	wrap func(one *benchBody, n int) *benchBody
}

func newBenchWriter(one *benchBody, batch int, wrap func(*benchBody, int) *benchBody) *benchWriter {
	w := &benchWriter{one: one, wrap: wrap}
	w.full = w.of(batch)
	return w
}

func (w *benchWriter) of(n int) *benchBody {
	if w.wrap == nil {
		return w.one.repeat("", "", "", 1)
	}
	return w.wrap(w.one, n)
}

func (w *benchWriter) body(users []uint32, at time.Time) []byte {
	if len(users) == len(w.full.gaps) {
		return w.full.fill(users, at)
	}
	return w.of(len(users)).fill(users, at)
}

// linesOf is a batch for the bare relay, which only needs to find the ends of its parts.
func linesOf(one *benchBody, n int) *benchBody { return one.repeat("", "\n", "\n", n) }

// batchOf is a body of POST /v1/messages/batch.
func batchOf(one *benchBody, n int) *benchBody { return one.repeat(`{"messages":[`, ",", "]}", n) }
