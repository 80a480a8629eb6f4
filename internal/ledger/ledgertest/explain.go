package ledgertest

import (
	"context"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// testExplain asks "why 43101?" of different histories: the deciding reason, and the answer
// in both languages.
func testExplain(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	void, old := fresh, existing
	void.DialogReject = hongyan.DialogRejectVoid
	for _, c := range []struct {
		name     string
		settings hongyan.AppSettings
		tmpl     string
		history  func(*Env)
		code     string
		en, zh   string
	}{
		{"all spent", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
		}, "all_spent", "used 1 of the grants the user gave (1); the last one was used by msg_", "用户共给出 1 次订阅，其中 1 次已被消息使用，最近一次用于 msg_"},
		{"refused on the card", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Push(change("u1", e.Clock.Now(), OneTime))
		}, "refused_on_card", "in the card's menu after the last accept", "在消息卡片的菜单中选择了拒收"},
		{"refused in the dialog", fresh, OneTime, func(e *Env) {
			e.Push(popup("u1", Start, OneTime, "reject"))
		}, "refused_in_dialog", "last answer in the dialog was a refusal", "最近一次在弹窗中的选择是拒绝"},
		{"the dialog voided", void, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Tap("u1", OneTime, "reject", 0)
		}, "dialog_voided", "dialog_reject takes earlier grants away then (1)", "此前的 1 次订阅随之作废"},
		{"all reserved", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Send("u1", sendAt(Start.Add(time.Hour)))
		}, "all_reserved", "What is left (1) is held by messages", "剩余的 1 次订阅均已被"},
		{"another program used it", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeRecipient)
		}, "gone_elsewhere", "We counted 2, but WeChat had none (43101)", "账本记有 2 次，但微信表示没有（43101）"},
		{"told too late", old, OneTime, func(e *Env) {
			e.Clock.Advance(time.Hour)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeRecipient)
			e.Clock.Advance(time.Minute)
			e.Tap("u1", OneTime, "accept", 30*time.Minute)
		}, "told_too_late", "was told of only after WeChat had said that none was left", "最近一次接受上报时，微信已表示没有可用次数"},
		{"uncertain for a week", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeUnclear)
			e.Tick(8 * 24 * time.Hour)
		}, "uncertain_ended", "stayed uncertain for 7 days", "7 天内结果不明"},
		{"another app's openid", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOpenID)
		}, "invalid_openid", "this openid is not of this mini program (40003)", "该 openid 不属于本小程序（40003）"},
		{"long-term, switched off", fresh, LongTerm, func(e *Env) {
			e.Push(popup("u1", Start, LongTerm, "accept"))
			e.Clock.Advance(time.Minute)
			e.Push(change("u1", e.Clock.Now(), LongTerm))
		}, "long_term_off", "The long-term subscription was switched off", "长期订阅已被关闭"},
		{"taken away by hand", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			_, err := e.Adjust(ctx, App, ledger.Adjustment{OpenID: "u1", Template: OneTime, Delta: -1, Reason: "counted twice", Source: hongyan.SourceAdjust})
			e.must(err)
		}, "adjusted", "Somebody took grants away by hand (1): counted twice", "有人手动扣减了 1 次订阅，原因：counted twice"},
		{"an import took away what was left", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
			e.Tap("u1", OneTime, "accept", 0)
			e.Send("u1")
			e.Attempt(hongyan.OutcomeOK)
			e.Clock.Advance(time.Minute)
			_, err := e.ImportGrants(ctx, App, []hongyan.ImportItem{{OpenID: "u1", Template: OneTime, Exact: true}}, "recount")
			e.must(err)
		}, "imported", "what we had counted beyond it is void (1)", "账本多记的 1 次已作废"},
		{"banned", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "ban", 0)
		}, "banned", `WeChat answers "ban"`, "微信对此模板返回了 ban"},
		{"nobody tells of taps", old, OneTime, func(e *Env) {
			e.Send("u1")
		}, "unknown", "neither the mini program reports nor WeChat pushes events", "小程序未上报，也未开启消息推送"},
		{"others tell, of others", old, OneTime, func(e *Env) {
			e.Tap("u2", OneTime, "accept", 0)
		}, "unknown", "Nobody told of an accept of this user", "没有收到该用户接受订阅的记录"},
		{"never accepted", fresh, OneTime, func(e *Env) {
			e.Exact("u1", OneTime, 0)
		}, "never_accepted", "never accepted this template", "用户从未接受过此模板"},
		{"nothing is in the way", fresh, OneTime, func(e *Env) {
			e.Tap("u1", OneTime, "accept", 0)
		}, "available", "Grants available: 1.", "还有 1 次可用的订阅"},
	} {
		cases(t, open, c.settings, map[string]func(*Env){c.name: func(e *Env) {
			c.history(e)
			got, err := e.ExplainGrant(ctx, App, "u1", c.tmpl)
			e.must(err)
			first := got.Reasons[0]
			if first.Code != c.code || !contains(first.Text.EN, c.en) || !contains(first.Text.ZH, c.zh) {
				e.TB.Errorf("decides: %+v, want %s: %s / %s; all: %+v", first, c.code, c.en, c.zh, got.Reasons)
			}
			if got.Next.EN == "" || got.Next.ZH == "" {
				e.TB.Errorf("no next step: %+v", got.Next)
			}
		}})
	}
}
