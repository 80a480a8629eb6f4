package wechat

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// SubscribeMessage is what subscribe/send takes. Field names are WeChat's.
type SubscribeMessage struct {
	// ToUser is the openid of a user of this mini program.
	ToUser string `json:"touser"`
	// TemplateID is a private template id (priTmplId).
	TemplateID string `json:"template_id"`
	// Page is opened by a tap: a page of the released version, with a query if
	// wanted. Without it the card cannot be tapped. A leading slash is stripped
	// on the wire; WeChat was seen to refuse it.
	Page string `json:"page,omitempty"`
	// MiniprogramState is the version a tap opens: developer, trial or formal
	// (WeChat's default).
	MiniprogramState string `json:"miniprogram_state,omitempty"`
	// Lang is the language of the card's fixed text: zh_CN (WeChat's default),
	// en_US, zh_HK or zh_TW.
	Lang string `json:"lang,omitempty"`
	// Data has an entry for every key of the template, such as "thing1".
	Data map[string]DataValue `json:"data"`
}

// DataValue is the value of one template key. It is always a string, for number
// and amount keys too.
type DataValue struct {
	Value string `json:"value"`
}

// SendResult is WeChat's acceptance of a send.
type SendResult struct {
	// MsgID links the send to its later subscribe_msg_sent_event. It passes
	// 2^53, so it does not survive JavaScript numbers. It is 0 when the answer
	// had none.
	MsgID int64
}

const pathSend = "/cgi-bin/message/subscribe/send"

// SendSubscribeMessage sends one message to one user, by POST
// /cgi-bin/message/subscribe/send. A nil error means that WeChat accepted it
// (errcode 0), not that a phone showed it; the result comes later as
// subscribe_msg_sent_event.
//
// WeChat does not recognise repeats: never repeat a send that ended [Unclear]
// without asking somebody. Sends to one user must not overlap (43108). Quota: 10
// or 30 million a day by account.
//
// Errcodes: -1, 40001, 40003, 40014, 40037, 41030, 42001, 43101, 43107, 43108,
// 44002, 45009, 45011, 45168, 47001, 47003 (see [Error.Field]), 48001, 50002.
//
// An empty accessToken sends none, for WeChat's cloud hosting (微信云托管).
//
// 发送订阅消息:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_sendmessage.html
func (c *Client) SendSubscribeMessage(ctx context.Context, accessToken string, m *SubscribeMessage) (SendResult, error) {
	if m == nil {
		return SendResult{}, &TransportError{Kind: Unsent, Path: pathSend, Err: errors.New("no message")}
	}
	body := requestBuffers.Get().(*requestBuffer)
	defer body.release()
	body.b = appendSubscribeMessage(body.b[:0], m)
	q := tokenCall(pathSend, accessToken)
	q.body = body.b
	var res SendResult
	err := c.do(ctx, c.sends, q, func(b []byte) (err error) {
		res, err = readSend(q, b)
		return err
	})
	return res, err
}

// readSend reads the body of a status-200 answer. Only an integer errcode makes
// it one: the same bytes without it could come from any gateway on the way.
func readSend(q *call, body []byte) (SendResult, error) {
	if id, ok := plainSuccess(body); ok {
		return SendResult{MsgID: id}, nil
	}
	a, err := parseAnswer(body)
	switch {
	case err != nil:
		return SendResult{}, err
	case !a.hasErrcode:
		return SendResult{}, errors.New("answer has no errcode")
	case a.errcode != ErrcodeOK:
		return SendResult{}, a.refusal(q)
	}
	// errcode 0 is the acceptance; an odd msgid cannot take it back.
	s, err := unquote(a.fields["msgid"])
	if err != nil {
		return SendResult{}, nil
	}
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return SendResult{}, nil
	}
	return SendResult{MsgID: id}, nil
}

// plainSuccess reads the answer of a success in the form in which WeChat writes it, letter
// for letter; everything else is left to a parser, which costs more than writing the request.
func plainSuccess(body []byte) (msgID int64, ok bool) {
	digits, ok := bytes.CutPrefix(body, []byte(`{"errcode":0,"errmsg":"ok","msgid":`))
	digits, closed := bytes.CutSuffix(digits, []byte("}"))
	if !ok || !closed || len(digits) == 0 || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
	}
	msgID, err := strconv.ParseInt(string(digits), 10, 64)
	return msgID, err == nil
}

// appendSubscribeMessage writes m as JSON. By hand, because this is the one body
// made for every message; keys are sorted, so equal messages have equal bytes.
func appendSubscribeMessage(b []byte, m *SubscribeMessage) []byte {
	b = append(b, `{"touser":`...)
	b = appendString(b, m.ToUser)
	b = append(b, `,"template_id":`...)
	b = appendString(b, m.TemplateID)
	b = appendOptional(b, `,"page":`, strings.TrimLeft(m.Page, "/"))
	b = appendOptional(b, `,"miniprogram_state":`, m.MiniprogramState)
	b = appendOptional(b, `,"lang":`, m.Lang)
	b = append(b, `,"data":{`...)
	keys := make([]string, 0, 8)
	for k := range m.Data {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k)
		b = append(b, `:{"value":`...)
		b = appendString(b, m.Data[k].Value)
		b = append(b, '}')
	}
	return append(b, '}', '}')
}

// appendOptional leaves an empty field out: WeChat refuses some that are there
// and empty.
func appendOptional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value)
}
