package ledgertest

import (
	"context"
	"fmt"
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
	histories := []explained{
		{"nobody tells of taps", old, OneTime, func(*Env, hongyan.OpenID) {}, "unknown", "neither the mini program reports nor WeChat pushes events", "小程序未上报，也未开启消息推送"},
		{"all spent", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Send(u)
			e.Attempt(hongyan.OutcomeOK)
		}, "all_spent", "used 1 of the grants the user gave (1); the last one was used by msg_", "用户共给出 1 次订阅，其中 1 次已被消息使用，最近一次用于 msg_"},
		{"refused on the card", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Push(change(u, e.Clock.Now(), OneTime))
		}, "refused_on_card", "in the card's menu after the last accept", "在消息卡片的菜单中选择了拒收"},
		{"refused in the dialog", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Push(popup(u, e.Clock.Now(), OneTime, "reject"))
		}, "refused_in_dialog", "last answer in the dialog was a refusal", "最近一次在弹窗中的选择是拒绝"},
		{"the dialog voided", void, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Tap(u, OneTime, "reject", 0)
		}, "dialog_voided", "dialog_reject takes earlier grants away then (1)", "此前的 1 次订阅随之作废"},
		{"all reserved", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Send(u, sendAt(e.Clock.Now().Add(time.Hour)))
		}, "all_reserved", "What is left (1) is held by messages", "剩余的 1 次订阅均已被"},
		{"another program used it", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Tap(u, OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Send(u)
			e.Attempt(hongyan.OutcomeRecipient)
		}, "gone_elsewhere", "We counted 2, but WeChat had none (43101)", "账本记有 2 次，但微信表示没有（43101）"},
		{"told too late", old, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Clock.Advance(time.Hour)
			e.Send(u)
			e.Attempt(hongyan.OutcomeRecipient)
			e.Clock.Advance(time.Minute)
			e.Tap(u, OneTime, "accept", 30*time.Minute)
		}, "told_too_late", "was told of only after WeChat had said that none was left", "最近一次接受上报时，微信已表示没有可用次数"},
		{"another app's openid", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			e.Send(u)
			e.Attempt(hongyan.OutcomeOpenID)
		}, "invalid_openid", "this openid is not of this mini program (40003)", "该 openid 不属于本小程序（40003）"},
		{"long-term, switched off", fresh, LongTerm, func(e *Env, u hongyan.OpenID) {
			e.Push(popup(u, e.Clock.Now(), LongTerm, "accept"))
			e.Clock.Advance(time.Minute)
			e.Push(change(u, e.Clock.Now(), LongTerm))
		}, "long_term_off", "The long-term subscription was switched off", "长期订阅已被关闭"},
		{"taken away by hand", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Clock.Advance(time.Minute)
			_, err := e.Adjust(ctx, App, ledger.Adjustment{OpenID: u, Template: OneTime, Delta: -1, Reason: "counted twice", Source: hongyan.SourceAdjust})
			e.must(err)
		}, "adjusted", "Somebody took grants away by hand (1): counted twice", "有人手动扣减了 1 次订阅，原因：counted twice"},
		{"an import took away what was left", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Tap(u, OneTime, "accept", 0)
			e.Send(u)
			e.Attempt(hongyan.OutcomeOK)
			e.Clock.Advance(time.Minute)
			_, err := e.ImportGrants(ctx, App, []hongyan.ImportItem{{OpenID: u, Template: OneTime, Exact: true}}, "recount")
			e.must(err)
		}, "imported", "what we had counted beyond it is void (1)", "账本多记的 1 次已作废"},
		{"banned", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "ban", 0)
		}, "banned", `WeChat answers "ban"`, "微信对此模板返回了 ban"},
		{"others tell, of others", old, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap("u2", OneTime, "accept", 0)
		}, "unknown", "Nobody told of an accept of this user", "没有收到该用户接受订阅的记录"},
		{"never accepted", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Exact(u, OneTime, 0)
		}, "never_accepted", "never accepted this template", "用户从未接受过此模板"},
		{"nothing is in the way", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
		}, "available", "Grants available: 1.", "还有 1 次可用的订阅"},
		{"uncertain for a week", fresh, OneTime, func(e *Env, u hongyan.OpenID) {
			e.Tap(u, OneTime, "accept", 0)
			e.Send(u)
			e.Attempt(hongyan.OutcomeUnclear)
			e.Tick(8 * 24 * time.Hour)
		}, "uncertain_ended", "stayed uncertain for 7 days", "7 天内结果不明"},
	}
	// One database for each setting: users do not know of each other. The one without any
	// witness comes first, the one of a week last.
	for name, settings := range map[string]hongyan.AppSettings{"fresh": fresh, "existing": old, "void": void} {
		cases(t, open, settings, map[string]func(*Env){name: func(e *Env) {
			for i, c := range histories {
				if c.settings.History == settings.History && c.settings.DialogReject == settings.DialogReject {
					e.wantExplained(c, hongyan.OpenID(fmt.Sprintf("user-%d", i)))
				}
			}
		}})
	}
}

type explained struct {
	name     string
	settings hongyan.AppSettings
	tmpl     string
	history  func(*Env, hongyan.OpenID)
	code     string
	en, zh   string
}

func (e *Env) wantExplained(c explained, u hongyan.OpenID) {
	e.TB.Helper()
	e.Clock.Advance(time.Minute)
	c.history(e, u)
	got, err := e.ExplainGrant(context.Background(), App, u, c.tmpl)
	e.must(err)
	first := got.Reasons[0]
	if first.Code != c.code || !contains(first.Text.EN, c.en) || !contains(first.Text.ZH, c.zh) {
		e.TB.Errorf("%s: decides %+v, want %s: %s / %s; all: %+v", c.name, first, c.code, c.en, c.zh, got.Reasons)
	}
	if got.Next.EN == "" || got.Next.ZH == "" {
		e.TB.Errorf("%s: no next step: %+v", c.name, got.Next)
	}
}
