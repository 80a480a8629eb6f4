package sandbox

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// pushField is a field of a push, in its order.
type pushField struct{ name, value string }

// pushEvent is an event before it is written in a format. It is small: many may
// wait.
type pushEvent struct {
	name   string
	user   string // the openid that it is about
	from   string // FromUserName, if that is not the user
	at     time.Time
	fields []pushField   // of user_… events
	items  [][]pushField // of subscription events
	raw    []byte        // in place of all but name: a message to push as it stands
}

// wrappers are the elements around the items in XML.
var wrappers = map[string]string{
	wechat.EventSubscribePopup:  "SubscribeMsgPopupEvent",
	wechat.EventSubscribeChange: "SubscribeMsgChangeEvent",
	wechat.EventSubscribeSent:   "SubscribeMsgSentEvent",
}

// write writes the event as WeChat does in the configured format.
func (e *pushEvent) write(c *PushConfig) []byte {
	if e.raw != nil {
		return e.raw
	}
	from := e.from
	if from == "" {
		from = e.user
	}
	head := []pushField{{"ToUserName", c.ToUserName}, {"FromUserName", from},
		{"CreateTime", strconv.FormatInt(e.at.Unix(), 10)}, {"MsgType", "event"}, {"Event", e.name}}
	if c.Format == wechat.CallbackXML {
		return e.writeXML(append(head, e.fields...))
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range append(head, e.fields...) {
		if i > 0 {
			b.WriteByte(',')
		}
		if f.name == "CreateTime" && c.CreateTime == asNumber {
			fmt.Fprintf(&b, `%q:%s`, f.name, f.value)
			continue
		}
		fmt.Fprintf(&b, `%q:%s`, f.name, encode(f.value))
	}
	if e.items != nil {
		b.WriteString(`,"List":`)
		b.Write(e.writeList(c.List == asArray || len(e.items) != 1))
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (e *pushEvent) writeList(array bool) []byte {
	var b bytes.Buffer
	for i, item := range e.items {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, f := range item {
			b.WriteByte("{,"[min(j, 1)])
			fmt.Fprintf(&b, `%q:%s`, f.name, encode(f.value))
		}
		b.WriteByte('}')
	}
	if array {
		return fmt.Appendf(nil, "[%s]", b.Bytes())
	}
	return b.Bytes()
}

func (e *pushEvent) writeXML(head []pushField) []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	writeElements(&b, head)
	if e.items != nil {
		fmt.Fprintf(&b, "<%s>", wrappers[e.name])
		for _, item := range e.items {
			b.WriteString("<List>")
			writeElements(&b, item)
			b.WriteString("</List>")
		}
		fmt.Fprintf(&b, "</%s>", wrappers[e.name])
	}
	b.WriteString("</xml>")
	return b.Bytes()
}

// writeElements writes numbers bare and texts as CDATA, like WeChat's samples.
func writeElements(b *bytes.Buffer, fields []pushField) {
	for _, f := range fields {
		switch f.name {
		case "CreateTime", "PopupScene", "MsgID", "ErrorCode":
			fmt.Fprintf(b, "<%s>%s</%[1]s>", f.name, f.value)
			continue
		}
		fmt.Fprintf(b, "<%s><![CDATA[%s]]></%[1]s>", f.name, strings.ReplaceAll(f.value, "]]>", "]]]]><![CDATA[>"))
	}
}

// dialog collects the items of one dialog of one user for its event.
type dialog struct{ items [][]pushField }

// add notes an answer. WeChat's events know two: the accept… variants are accepts.
func (d *dialog) add(templateID, choice string) {
	if choice != choiceReject {
		choice = choiceAccept
	}
	d.items = append(d.items, []pushField{{"TemplateId", templateID}, {"SubscribeStatusString", choice}, {"PopupScene", "0"}})
}

// pushPopup pushes the answers of a dialog. The caller holds a.mu, here and below,
// so that events come in the order in which things happened.
func (w *world) pushPopup(a *app, u *user, d *dialog, now time.Time) {
	if len(d.items) > 0 {
		w.pushes.add(a, pushEvent{name: wechat.EventSubscribePopup, user: u.openID, at: now, items: d.items})
	}
}

// pushRefusal pushes that a user turned a template off.
func (w *world) pushRefusal(a *app, u *user, p *template, now time.Time) {
	w.pushes.add(a, pushEvent{name: wechat.EventSubscribeChange, user: u.openID, at: now,
		items: [][]pushField{{{"TemplateId", p.id}, {"SubscribeStatusString", choiceReject}}}})
}

// pushSent pushes what became of an accepted send, and reports whether the card
// gets to the phone.
func (w *world) pushSent(c *card) bool {
	code, status := "0", "success"
	if c.app.rules.SentErrorCode != "" {
		code, status = c.app.rules.SentErrorCode, c.app.rules.SentErrorStatus
	}
	fault := w.pushes.fault(wechat.EventSubscribeSent, c.app)
	if fault != nil && fault.Push == pushFaultFailed {
		code, status = fault.ErrorCode, fault.ErrorStatus
	}
	w.pushes.addFaulty(c.app, pushEvent{name: wechat.EventSubscribeSent, user: c.user.openID, at: c.at, items: [][]pushField{{
		{"TemplateId", c.template.id}, {"MsgID", strconv.FormatInt(c.msgid, 10)}, {"ErrorCode", code}, {"ErrorStatus", status}}}}, fault)
	return code == "0"
}

// EventSpec is an event to push now.
type EventSpec struct {
	AppID string `json:"appid"`
	// Event is user_authorization_revoke, user_authorization_cancellation or
	// user_info_modified, about the user OpenID.
	Event  string `json:"event"`
	OpenID string `json:"openid"`
	// RevokeInfo is the code of what was revoked, default "1".
	RevokeInfo string `json:"revoke_info"`
	// Message is pushed as it stands in place of those: one JSON object or <xml>
	// element, before encryption.
	Message string `json:"message"`
}

// PushEvent pushes an event that nothing else here causes.
func (s *Sandbox) PushEvent(spec EventSpec) (Push, error) {
	w, a, err := s.find(spec.AppID)
	if err != nil {
		return Push{}, err
	}
	e, err := s.event(&spec)
	if err != nil {
		return Push{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.push == nil {
		return Push{}, errNoPush(a.id)
	}
	if e.raw == nil {
		if _, err := a.user(spec.OpenID); err != nil {
			return Push{}, err
		}
	}
	return w.pushes.add(a, e), nil
}

func (s *Sandbox) event(spec *EventSpec) (pushEvent, error) {
	if spec.Message != "" {
		if spec.Event != "" || spec.OpenID != "" || spec.RevokeInfo != "" {
			return pushEvent{}, badRequest("message is pushed as it stands; event, openid and revoke_info do not go with it.")
		}
		// Plain mode checks the form and needs no key.
		q, _, err := wechat.CallbackKeys{}.Seal([]byte(spec.Message), wechat.CallbackPlain, s.Now())
		if err != nil {
			return pushEvent{}, &Problem{Status: http.StatusBadRequest, Code: "bad_message", Detail: "message must be one JSON object or one <xml> element."}
		}
		return pushEvent{user: q.Get("openid"), at: s.Now(), raw: []byte(spec.Message)}, nil
	}
	switch spec.Event {
	case wechat.EventAuthorizationRevoke, wechat.EventAuthorizationCancellation, wechat.EventUserInfoModified:
	default:
		return pushEvent{}, badRequest("event must be user_authorization_revoke, user_authorization_cancellation or user_info_modified; push others by message.")
	}
	info := spec.RevokeInfo
	if info == "" {
		info = "1"
	}
	// FromUserName is not the user here: that is a trap of WeChat's.
	return pushEvent{name: spec.Event, user: spec.OpenID, from: newOpenID(), at: s.Now(),
		fields: []pushField{{"OpenID", spec.OpenID}, {"AppID", spec.AppID}, {"RevokeInfo", info}}}, nil
}
