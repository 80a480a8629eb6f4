package hongyan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// EventType names what happened: a kind of thing and what became of it.
type EventType string

// The event types. [EventTypes] says what each one means.
const (
	EventMessageAccepted        EventType = "message.accepted"
	EventMessageDelivered       EventType = "message.delivered"
	EventMessageUndelivered     EventType = "message.undelivered"
	EventMessageFailed          EventType = "message.failed"
	EventMessageUncertain       EventType = "message.uncertain"
	EventMessageUncertainClosed EventType = "message.uncertain_closed"
	EventMessageCanceled        EventType = "message.canceled"
	EventMessageExpired         EventType = "message.expired"
	EventMessageHeld            EventType = "message.held"
	EventGrantAccepted          EventType = "grant.accepted"
	EventGrantRejected          EventType = "grant.rejected"
	EventGrantVoided            EventType = "grant.voided"
	EventGrantImported          EventType = "grant.imported"
	EventAppPaused              EventType = "app.paused"
	EventAppResumed             EventType = "app.resumed"
	EventTokenClobbered         EventType = "token.clobbered"
	EventTemplateStale          EventType = "template.stale"
	EventUserErased             EventType = "user.erased"
	// EventWebhookTest goes to the one webhook that somebody tests.
	EventWebhookTest EventType = "webhook.test"
)

// Event is a thing that happened, as the ledger recorded it with the change itself. Its JSON
// is what webhooks get and what GET /v1/events lists.
type Event struct {
	ID   EventID   `json:"id" doc:"The same in every delivery of the event: what you have seen before you can leave."`
	Type EventType `json:"type"`
	App  AppID     `json:"app,omitempty"`
	At   time.Time `json:"timestamp" doc:"When it happened. Deliveries may come in another order."`
	// Data is the thing itself as it stood then. For message.* it is the message without its
	// data, attempts and timeline.
	Data json.RawMessage `json:"data"`
}

// GrantEvent is the data of grant.*: one change of a user's grants of a template.
type GrantEvent struct {
	OpenID     OpenID `json:"openid"`
	TemplateID string `json:"template_id"`
	Entry
}

// UserEvent is the data of user.*.
type UserEvent struct {
	OpenID OpenID `json:"openid"`
}

// Payload reads Data: a *Message of message.*, a *GrantEvent of grant.*, a *Pause of app.*, a
// *TokenDeath of token.*, a *Template of template.*, a *UserEvent of user.*; Data itself of
// any other kind, so that a program goes on when the server learns new ones.
func (e Event) Payload() (any, error) {
	kind, _, _ := strings.Cut(string(e.Type), ".")
	var v any
	switch kind {
	case "message":
		v = new(Message)
	case "grant":
		v = new(GrantEvent)
	case "app":
		v = new(Pause)
	case "token":
		v = new(TokenDeath)
	case "template":
		v = new(Template)
	case "user":
		v = new(UserEvent)
	default:
		return e.Data, nil
	}
	if err := json.Unmarshal(e.Data, v); err != nil {
		return nil, fmt.Errorf("read the data of %s: %w", e.Type, err)
	}
	return v, nil
}

// EventTypeInfo describes an event type for people.
type EventTypeInfo struct {
	Type EventType `json:"type"`
	Text Text      `json:"text"`
}

// EventTypes lists every event type in the order of the reference.
func EventTypes() []EventTypeInfo { return slices.Clone(eventTypes) }

var eventTypes = []EventTypeInfo{
	{EventMessageAccepted, Text{"WeChat took the message (errcode 0).", "微信已接受消息（errcode 0）。"}},
	{EventMessageDelivered, Text{"WeChat reported the message as delivered.", "微信通知消息已送达。"}},
	{EventMessageUndelivered, Text{"WeChat reported that the message did not reach the user.", "微信通知消息未能送达用户。"}},
	{EventMessageFailed, Text{"The message was refused, by WeChat or here; reason says why.", "消息被微信或本服务拒绝，原因见 reason。"}},
	{EventMessageUncertain, Text{"WeChat gave no clear answer: the user may have the message or not.", "微信没有明确答复：用户可能已收到，也可能没有。"}},
	{EventMessageUncertainClosed, Text{"An uncertain message was settled by a person, or its grant was given up after 7 days; status says which.", "结果不明的消息已由人工处理，或 7 天后放弃其订阅次数；以 status 为准。"}},
	{EventMessageCanceled, Text{"The message was canceled and its grant returned.", "消息已取消，订阅次数已退回。"}},
	{EventMessageExpired, Text{"The message was not sent in time and its grant returned.", "消息过期未发送，订阅次数已退回。"}},
	{EventMessageHeld, Text{"The message waits for the user's next accept.", "消息在等待用户下次订阅。"}},
	{EventGrantAccepted, Text{"A user accepted a template.", "用户接受了订阅。"}},
	{EventGrantRejected, Text{"A user refused a template.", "用户拒绝了订阅。"}},
	{EventGrantVoided, Text{"Grants of a user ended without being used.", "用户的订阅次数未使用即失效。"}},
	{EventGrantImported, Text{"Grants were imported.", "已导入订阅次数。"}},
	{EventAppPaused, Text{"Sending is held back for an app, one of its templates or an API path; reason and remedy say why and what to do.", "小程序、其模板或某个接口路径已暂停发送，原因与处理办法见 reason 与 remedy。"}},
	{EventAppResumed, Text{"A pause has ended.", "暂停已结束。"}},
	{EventTokenClobbered, Text{"An access token died before its time: another program fetches tokens for the app, or its AppSecret was reset.", "access_token 提前失效：有其他程序在为该小程序获取 token，或 AppSecret 已重置。"}},
	{EventTemplateStale, Text{"WeChat's answer speaks against our copy of a template.", "微信的答复与本地保存的模板不符。"}},
	{EventUserErased, Text{"Everything about a user was erased.", "用户的全部数据已清除。"}},
	{EventWebhookTest, Text{"Somebody tested the webhook.", "有人测试了该 webhook。"}},
}

// LookupEventType finds a type's entry.
func LookupEventType(t EventType) (EventTypeInfo, bool) {
	i := slices.IndexFunc(eventTypes, func(e EventTypeInfo) bool { return e.Type == t })
	if i < 0 {
		return EventTypeInfo{}, false
	}
	return eventTypes[i], true
}

// EventOf is the event that announces that a message has come to a state; "" for states that
// are only a step on its way.
func EventOf(s State) EventType {
	switch s {
	case StateAccepted, StateDelivered, StateUndelivered, StateFailed, StateUncertain, StateCanceled, StateExpired, StateHeld:
		return EventType("message." + s)
	}
	return ""
}

// EventPattern is what subscribers ask for: an event type, all of a kind such as message.*,
// or * for all.
type EventPattern string

// Matches reports whether the type is one of those asked for. Nobody asks for tests.
func (p EventPattern) Matches(t EventType) bool {
	if t == EventWebhookTest {
		return false
	}
	if kind, ok := strings.CutSuffix(string(p), "*"); ok {
		return strings.HasPrefix(string(t), kind)
	}
	return string(p) == string(t)
}

// maxEventPatterns is more than there are types.
const maxEventPatterns = 50

// CheckEventPatterns names every pattern that matches nothing. Pointers begin with base.
func CheckEventPatterns(base string, patterns []EventPattern) []FieldError {
	var f []FieldError
	if len(patterns) > maxEventPatterns {
		f = append(f, FieldError{Pointer: base, Code: "length", Detail: fmt.Sprintf("At most %d event types; there are %d.", maxEventPatterns, len(patterns))})
	}
	for i, p := range patterns {
		kind, all := strings.CutSuffix(string(p), "*")
		fits := !all || kind == "" || strings.HasSuffix(kind, ".")
		if !fits || !slices.ContainsFunc(eventTypes, func(e EventTypeInfo) bool { return p.Matches(e.Type) }) {
			f = append(f, FieldError{Pointer: fmt.Sprintf("%s/%d", base, i), Code: "not_in_list",
				Detail: fmt.Sprintf("There is no event type %q; name one such as message.failed, a kind such as message.*, or *. GET /v1/event-types lists all.", clip(string(p)))})
		}
	}
	return f
}
