package hongyan

import (
	"fmt"
	"time"
)

// Explanation answers "why 43101?": why a user can or cannot be sent a template now, in words.
type Explanation struct {
	// Reasons are what the count comes from, the deciding one first.
	Reasons []ExplainReason `json:"reasons"`
	// Next is what to do.
	Next         Text         `json:"next"`
	Subscription Subscription `json:"subscription"`
}

// ExplainReason is one fact of a subscription's history.
type ExplainReason struct {
	Code string    `json:"code"`
	At   time.Time `json:"at,omitzero"`
	Text Text      `json:"text"`
}

// ExplainFacts are what [Explain] looks at.
type ExplainFacts struct {
	Subscription Subscription // with its entries, newest first
	User         User         // zero: never seen
	// LastSpent is the latest message that used a grant, nil for none.
	LastSpent *Message
	// Witnessed says that somebody tells of taps in this app: a report or an event ever came.
	Witnessed bool
}

// nextSteps are what to do, by the deciding reason.
var nextSteps = map[string]Text{
	"available":       {"Send: nothing we know of stands against it.", "可以发送：目前没有发现任何阻碍。"},
	"long_term_on":    {"Send: a long-term subscription is not used up.", "可以发送：长期订阅不会被消耗。"},
	"unknown":         {"Send: it goes out unreserved, and WeChat's answer teaches the ledger. To know beforehand, let the mini program report its choices and switch on event pushes.", "可以尝试发送：不占用已知次数，微信的答复会修正账本。若想提前知道，请让小程序上报选择，并开启消息推送。"},
	"invalid_openid":  {"Log the user in again in this mini program; openids belong to one mini program and are case-sensitive.", "请让用户在本小程序内重新登录；openid 只属于一个小程序，且区分大小写。"},
	"banned":          {"WeChat has banned this template for the user: use another template.", "微信已对该用户封禁此模板：请使用其他模板。"},
	"refused":         {"Ask again in a tap when the user does something that the message is about; lead those who ticked \"always keep\" to the settings page.", "请在相关操作的点击中再次请求订阅；若用户勾选了“总是保持以上选择”，请引导其到设置页修改。"},
	"all_reserved":    {"Wait for the messages under way, cancel one of them, or ask for another tap.", "请等待在途消息，或取消其中一条，或请用户再次订阅。"},
	"gone_elsewhere":  {"Look for another program that sends for this mini program, and switch on event pushes so that refusals are heard of. Then ask for another tap.", "请检查是否有其他程序也在为该小程序发送，并开启消息推送以获知用户的退订；然后请用户再次订阅。"},
	"uncertain_ended": {"Settle uncertain messages when they come up (resolve); ask for another tap.", "请及时处理结果不明的消息（resolve）；并请用户再次订阅。"},
}

// askAgain is the step for whatever has no other.
var askAgain = Text{"Ask for another tap: each accept allows one message. on_no_grant: hold lets a message wait for it.", "请用户再次点击订阅：每次接受对应一条消息。也可用 on_no_grant: hold 让消息等待下次订阅。"}

// Explain tells why the count is what it is. Its first reason is the answer to "why 43101?",
// or to "why not?" if the message should pass.
func Explain(f ExplainFacts) Explanation {
	out := Explanation{Subscription: f.Subscription, Reasons: f.reasons()}
	first := out.Reasons[0].Code
	switch first {
	case "refused_in_dialog", "refused_on_card", "long_term_off", "dialog_voided":
		first = "refused"
	}
	if out.Next = nextSteps[first]; out.Next == (Text{}) {
		out.Next = askAgain
	}
	return out
}

// reasons lists what applies, the deciding one first; there is always one.
func (f ExplainFacts) reasons() []ExplainReason {
	var out []ExplainReason
	s := &f.Subscription
	add := func(code string, at time.Time, en, zh string, args ...any) {
		out = append(out, ExplainReason{Code: code, At: at, Text: Text{EN: fmt.Sprintf(en, args...), ZH: fmt.Sprintf(zh, args...)}})
	}
	if !f.User.InvalidAt.IsZero() {
		add("invalid_openid", f.User.InvalidAt, "WeChat said that this openid is not of this mini program (40003).", "微信表示该 openid 不属于本小程序（40003）。")
	}
	if s.Standing == StandingBan {
		add("banned", time.Time{}, "WeChat answers \"ban\" for this template.", "微信对此模板返回了 ban（封禁）。")
	}
	if s.Kind == KindLongTerm {
		if s.Standing == StandingReject {
			e := f.last(func(e Entry) bool { return e.Choice == "reject" || e.Source == SourceRefused })
			add("long_term_off", e.At, "The long-term subscription was switched off.", "长期订阅已被关闭。")
		} else {
			add("long_term_on", time.Time{}, "It is a long-term template, which is not used up, and nothing says that the user switched it off.", "这是长期订阅模板，不会被消耗，也没有迹象表明用户已关闭。")
		}
		return out
	}
	f.oneTime(add)
	return out
}

// last is the newest entry of a kind, zero for none.
func (f ExplainFacts) last(is func(Entry) bool) Entry {
	for _, e := range f.Subscription.Entries {
		if is(e) {
			return e
		}
	}
	return Entry{}
}

// oneTime explains the count of a one-time template.
func (f ExplainFacts) oneTime(add func(code string, at time.Time, en, zh string, args ...any)) {
	s := &f.Subscription
	accept := f.last(func(e Entry) bool { return ClassifyChoice(e.Choice) == ChoiceAccept })
	after := func(e Entry) bool { return !e.At.IsZero() && !e.At.Before(accept.At) }
	if s.Available > 0 {
		add("available", accept.At, "Grants available: %d.", "还有 %d 次可用的订阅。", s.Available)
		return
	}
	if s.Reserved > 0 {
		add("all_reserved", time.Time{}, "What is left (%d) is held by messages that are scheduled, queued, being sent or uncertain.", "剩余的 %d 次订阅均已被定时、排队、发送中或结果不明的消息占用。", s.Reserved)
	}
	if e := f.last(func(e Entry) bool { return e.Source == SourceChange }); after(e) {
		add("refused_on_card", e.At, "The user refused the message in the card's menu after the last accept.", "用户在最近一次接受之后，在消息卡片的菜单中选择了拒收。")
	}
	if e := f.last(func(e Entry) bool { return e.Source == SourceDialog && e.Voided > 0 }); after(e) {
		add("dialog_voided", e.At, "The user refused in the dialog, and this app's setting dialog_reject takes earlier grants away then (%d).", "用户在弹窗中选择了拒绝；按本小程序的 dialog_reject 设置，此前的 %d 次订阅随之作废。", e.Voided)
	}
	if e := f.last(func(e Entry) bool { return e.Granted > 0 && e.Voided > 0 && ClassifyChoice(e.Choice) == ChoiceAccept }); e.At.Equal(accept.At) && !e.At.IsZero() {
		add("told_too_late", e.At, "The last accept was told of only after WeChat had said that none was left: it was used or refused before.", "最近一次接受上报时，微信已表示没有可用次数：该次订阅此前已被使用或作废。")
	}
	if e := f.last(func(e Entry) bool { return e.Source == SourceRefused && e.Voided > 0 }); after(e) {
		add("gone_elsewhere", e.At, "We counted %d, but WeChat had none (43101): another program used them, or the user switched the message off in the settings, of which WeChat tells nobody.", "账本记有 %d 次，但微信表示没有（43101）：可能被其他程序使用，或用户在设置中关闭了消息，而微信不会通知此类操作。", e.Voided)
	}
	if e := f.last(func(e Entry) bool { return e.Source == SourceTimeout }); after(e) {
		add("uncertain_ended", e.At, "A message stayed uncertain for 7 days; its grant counts as gone.", "有一条消息 7 天内结果不明，其订阅次数按已失效处理。")
	}
	if e := f.last(func(e Entry) bool { return e.Source == SourceAdjust && e.Voided > 0 }); after(e) {
		add("adjusted", e.At, "Somebody took grants away by hand (%d): %s", "有人手动扣减了 %d 次订阅，原因：%s", e.Voided, e.Ref)
	}
	if e := f.last(func(e Entry) bool { return e.Source == SourceImport && e.Voided > 0 }); after(e) {
		add("imported", e.At, "An exact import set the count lower; what we had counted beyond it is void (%d).", "一次精确导入调低了次数，账本多记的 %d 次已作废。", e.Voided)
	}
	switch last := f.LastSpent; {
	case s.Spent > 0 && last != nil:
		add("all_spent", last.UpdatedAt, "Messages used %d of the grants the user gave (%d); the last one was used by %s.", "用户共给出 %[2]d 次订阅，其中 %[1]d 次已被消息使用，最近一次用于 %[3]s。", s.Spent, s.Granted, last.ID)
	case s.Spent > 0: // by messages that retention has deleted
		add("all_spent", time.Time{}, "Messages used %d of the grants the user gave (%d).", "用户共给出 %[2]d 次订阅，其中 %[1]d 次已被消息使用。", s.Spent, s.Granted)
	}
	reject := f.last(func(e Entry) bool { return ClassifyChoice(e.Choice) == ChoiceReject && e.Source != SourceChange })
	if after(reject) {
		add("refused_in_dialog", reject.At, "The user's last answer in the dialog was a refusal.", "用户最近一次在弹窗中的选择是拒绝。")
	}
	switch {
	case s.Granted > 0 || !reject.At.IsZero():
	case s.Baseline == BaselineExact:
		add("never_accepted", time.Time{}, "The user never accepted this template, as far as anybody told.", "据目前所知，用户从未接受过此模板。")
	case f.Witnessed:
		add("unknown", time.Time{}, "Nobody told of an accept of this user; there may be grants from before.", "没有收到该用户接受订阅的记录；可能存在更早的订阅次数。")
	default:
		add("unknown", time.Time{}, "Nothing tells of taps in this app: neither the mini program reports nor WeChat pushes events. There may be grants that we do not know of.", "本小程序没有任何订阅记录来源：小程序未上报，也未开启消息推送。可能存在账本未知的订阅次数。")
	}
	if s.Granted > 0 && s.Spent == 0 && s.Reserved == 0 {
		add("voided", time.Time{}, "All grants (%d) ended without a message.", "全部 %d 次订阅均未使用即失效。", s.Granted)
	}
}
