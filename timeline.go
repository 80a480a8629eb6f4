package hongyan

import (
	"fmt"
	"slices"
	"time"
)

// Timeline tells a message's life from its row and attempts, in order.
func Timeline(m *Message) []TimelineItem {
	var out []TimelineItem
	add := func(t time.Time, what string, s State, en, zh string) {
		out = append(out, TimelineItem{At: t, What: what, State: s, Text: Text{EN: en, ZH: zh}})
	}
	add(m.CreatedAt, "submitted", "", "submitted", "已提交")
	for _, a := range m.Attempts {
		add(a.StartedAt, "attempt", StateSending, fmt.Sprintf("attempt %d: call to WeChat", a.Number), fmt.Sprintf("第 %d 次尝试：调用微信", a.Number))
		if a.EndedAt.IsZero() {
			continue
		}
		en, zh := "no clear answer: "+a.Errmsg, "没有明确答复："+a.Errmsg
		switch {
		case a.Class == OutcomeOK:
			en, zh = "WeChat accepted it, msgid "+a.MsgID, "微信已接受，msgid "+a.MsgID
		case a.Class != OutcomeUnclear && a.Errcode == nil:
			en, zh = "not sent: "+a.Errmsg, "未发出："+a.Errmsg
		case a.Errcode != nil:
			en, zh = fmt.Sprintf("WeChat answered %d %s", *a.Errcode, a.Errmsg), fmt.Sprintf("微信返回 %d %s", *a.Errcode, a.Errmsg)
		}
		add(a.EndedAt, string(a.Class), "", en, zh)
	}
	en, zh := "now "+string(m.Status), "当前状态 "+string(m.Status)
	if m.Reason != "" {
		en, zh = en+" ("+string(m.Reason)+")", zh+"（"+string(m.Reason)+"）"
	}
	if m.Status == StateUndelivered && m.Errmsg != "" { // WeChat's own words
		en, zh = en+": "+m.Errmsg, zh+"："+m.Errmsg
	}
	add(m.UpdatedAt, "status", m.Status, en, zh)
	slices.SortStableFunc(out, func(a, b TimelineItem) int { return a.At.Compare(b.At) })
	return out
}
