package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// sendBody is the body of a send as WeChat takes it.
type sendBody[D any] struct {
	ToUser           string `json:"touser"`
	TemplateID       string `json:"template_id"`
	Page             string `json:"page"`
	MiniprogramState string `json:"miniprogram_state"`
	Lang             string `json:"lang"`
	Data             D      `json:"data"`
}

// sendValue is what data has for a key. Without a value it is as empty as a key that is missing.
type sendValue struct {
	Value *string `json:"value"`
}

// tagGateway marks the messages that came through the gateway.
const tagGateway = "gateway"

// send is POST /cgi-bin/message/subscribe/send. The message goes through the ledger as every
// other does; what comes back are WeChat's own words.
func (c *call) send() {
	s, ok := c.submission()
	if !ok {
		return
	}
	app, err := c.g.l.App(c.app)
	if err != nil {
		c.refuse(wechat.ErrcodeInvalidCredential, "")
		return
	}
	c.goesOn()
	c.repeat = app.Settings.GatewayRepeat()
	join := ledger.Joining{Uncertain: c.repeat, Gone: c.gone}
	do := c.sync
	if app.Settings.GatewayMode == hongyan.GatewayQueue {
		do = c.queue
	}
	err = do(s, join)
	// The app's templates may have been added elsewhere since they were last read.
	if hongyan.CodeOf(err) == hongyan.CodeTemplateNotFound {
		c.g.sync(c.ctx, c.app, syncRest)
		err = do(s, join)
	}
	if err != nil {
		c.refused(s, err)
	}
}

// submission reads the body. false: it has answered.
func (c *call) submission() (s hongyan.Submission, ok bool) {
	var b sendBody[map[string]sendValue]
	if json.Unmarshal(c.body, &b) != nil && !c.oddBody(&b) {
		return s, false
	}
	s = hongyan.Submission{App: c.app, To: hongyan.Recipient{OpenID: hongyan.OpenID(b.ToUser)}, Template: b.TemplateID, Page: b.Page,
		MiniprogramState: b.MiniprogramState, Lang: b.Lang, OnNoGrant: hongyan.OnNoGrantSend, Validation: hongyan.ValidationNormal, Tags: []string{tagGateway},
		Data: make(map[string]string, len(b.Data))}
	for key, v := range b.Data {
		if v.Value != nil {
			s.Data[key] = *v.Value
		}
	}
	return s, true
}

// oddBody reads a body that has not the shape it should have: there are programs that encode
// data twice, which WeChat answers as if it were empty. false: it has answered.
func (c *call) oddBody(into *sendBody[map[string]sendValue]) bool {
	var b sendBody[json.RawMessage]
	if err := json.Unmarshal(c.body, &b); err != nil {
		c.because("the body: %v", err)
		return c.refuse(wechat.ErrcodeDataFormat, "")
	}
	*into = sendBody[map[string]sendValue]{b.ToUser, b.TemplateID, b.Page, b.MiniprogramState, b.Lang, make(map[string]sendValue)}
	var text string
	if json.Unmarshal(b.Data, &text) == nil && text != "" {
		c.because("data is a JSON string; it should be an object")
		b.Data = json.RawMessage(text)
	}
	var entries map[string]json.RawMessage
	if json.Unmarshal(b.Data, &entries) != nil {
		return c.refuse(wechat.ErrcodeDataFormat, "")
	}
	for key, raw := range entries {
		var v struct {
			Value any `json:"value"`
		}
		if json.Unmarshal(raw, &v) != nil {
			continue
		}
		switch value := v.Value.(type) {
		case nil:
		case string:
			into.Data[key] = sendValue{&value}
		default:
			c.because("data.%s.value is not a string", key)
			return c.refuse(wechat.ErrcodeArgumentInvalid, argumentInvalid(key, "invalid"))
		}
	}
	return true
}

// sent is WeChat's answer to a send that it took.
type sent struct {
	Errcode int    `json:"errcode"`
	Errmsg  string `json:"errmsg"`
	MsgID   int64  `json:"msgid"`
}

// sync sends the message now and answers with what WeChat said. The error is one of which
// nothing was stored.
func (c *call) sync(s hongyan.Submission, join ledger.Joining) error {
	res, err := c.g.l.SendSync(s, join)
	if err != nil {
		return err
	}
	m := &res.Message
	switch m.Status {
	case hongyan.StateAccepted, hongyan.StateDelivered, hongyan.StateUndelivered:
		msgid, _ := strconv.ParseInt(m.MsgID, 10, 64)
		c.took(m.ID, sent{0, "ok", msgid}, res.Heard, res.Forget)
	case hongyan.StateFailed, hongyan.StateCanceled, hongyan.StateExpired:
		c.said(m.ID)
		if m.Errcode == nil { // it never got as far as WeChat
			c.because("%s", m.Reason)
			c.refuse(wechat.ErrcodeSystemBusy, "")
			return nil
		}
		c.verbatim(*m.Errcode, m.Errmsg)
	default:
		c.close()
	}
	return nil
}

// queue stores the message and answers as if WeChat had taken it, but without a msgid.
func (c *call) queue(s hongyan.Submission, join ledger.Joining) error {
	// Once it is stored it is sent, whether or not the caller waits for the answer.
	rs, err := c.g.l.Submit(context.WithoutCancel(c.ctx), []hongyan.Submission{s}, ledger.SubmitOptions{Strict: true, Join: &join})
	if err == nil {
		err = rs[0].Err
	}
	if err != nil {
		if hongyan.CodeOf(err) == hongyan.CodeStorageUnavailable {
			c.close() // it may have been stored
		}
		return err
	}
	m := rs[0].Message
	if m.Duplicate && m.Status == hongyan.StateUncertain {
		c.close()
	}
	c.took(m.ID, status{0, "ok"}, rs[0].Heard, rs[0].Forget)
	return nil
}

// refused answers for a message of which nothing was stored, in the words that WeChat has for
// the fault.
func (c *call) refused(s hongyan.Submission, err error) {
	var e *hongyan.Error
	if !errors.As(err, &e) {
		c.fail("send", err)
		return
	}
	c.because("%s", e.Message)
	switch e.Code {
	case hongyan.CodeInvalid, hongyan.CodeInvalidData:
		c.refuse(faultOf(e))
	case hongyan.CodeTemplateNotFound:
		c.refuse(wechat.ErrcodeInvalidTemplateID, "")
	case hongyan.CodeOpenIDNotAllowed:
		c.refuse(wechat.ErrcodeUserLimited, "")
	case hongyan.CodeAppPaused:
		if e.WeChat != nil {
			c.verbatim(e.WeChat.Errcode, e.WeChat.Errmsg)
			return
		}
		c.refuse(wechat.ErrcodeMinuteQuota, "")
	case hongyan.CodeNotStarted, hongyan.CodeBacklogFull:
		c.refuse(wechat.ErrcodeMinuteQuota, "")
	case hongyan.CodeStorageUnavailable, hongyan.CodeShuttingDown:
		c.refuse(wechat.ErrcodeSystemBusy, "")
	default:
		c.g.log.ErrorContext(c.ctx, "send through the gateway failed", "appid", c.app, "openid", s.To.OpenID, "err", err)
		c.refuse(wechat.ErrcodeSystemBusy, "")
	}
}

// faultOf is WeChat's errcode for the first fault of a submission, in the order in which
// WeChat looks: recipient, template, page, choices, data.
func faultOf(e *hongyan.Error) (errcode int, text string) {
	first := func(pointers ...string) *hongyan.FieldError {
		for i, f := range e.Fields {
			for _, p := range pointers {
				if f.Pointer == p || strings.HasPrefix(f.Pointer, p+"/") {
					return &e.Fields[i]
				}
			}
		}
		return nil
	}
	switch {
	case first("/to") != nil:
		return wechat.ErrcodeInvalidOpenID, ""
	case first("/template") != nil:
		return wechat.ErrcodeInvalidTemplateID, ""
	case first("/page") != nil:
		return wechat.ErrcodeInvalidPage, ""
	case first("/miniprogram_state", "/lang") != nil:
		return wechat.ErrcodeInvalidArgs, ""
	}
	f := first("/data")
	if f == nil {
		return wechat.ErrcodeDataFormat, ""
	}
	what := "invalid"
	if f.Code == "missing" || f.Code == "empty" {
		what = "is empty"
	}
	return wechat.ErrcodeArgumentInvalid, argumentInvalid(strings.TrimPrefix(f.Pointer, "/data/"), what)
}
