package sandbox

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/hongyan-push/hongyan/wechat"
)

var (
	states = []string{"", "developer", "trial", "formal"}
	langs  = []string{"", "zh_CN", "en_US", "zh_HK", "zh_TW"}
)

// message is a decoded send.
type message struct {
	toUser, templateID, page, state, lang string
	data                                  json.RawMessage
}

// send is POST /cgi-bin/message/subscribe/send. The order of its checks is that
// of wechat-api.md, section 5.3: openid, template, ban, page, data, blacklist,
// concurrency, quota, grant.
func (c *call) send() answer {
	m, ok := parseSend(c.body)
	if !ok {
		return c.refuse(wechat.ErrcodeDataFormat)
	}
	c.openID = m.toUser
	// The data is checked without the lock: it takes longest, and users,
	// templates and rule sets stay what they are once they were found.
	a := c.app
	a.mu.Lock()
	u, p, rules := a.users[m.toUser], a.template(m.templateID), a.rules
	a.mu.Unlock()
	switch {
	case u == nil:
		return c.refuse(wechat.ErrcodeInvalidOpenID)
	case p == nil:
		return c.refuse(wechat.ErrcodeInvalidTemplateID)
	case rules.banned[p.id]:
		return c.refuse(wechat.ErrcodeSubscriptionBanned)
	}
	values, ref := c.checkContent(m, p, rules)
	if ref != nil {
		if rules.FailedSendSpends {
			c.spendFailed(u, p)
		}
		return *ref
	}
	if !c.hold(u) {
		return c.refuse(wechat.ErrcodeConcurrentOpenID)
	}
	if !c.wait() {
		return answer{}
	}
	return c.deliver(u, card{app: a, user: u, template: p, page: m.page, state: m.state, lang: m.lang, values: values})
}

// parseSend reads the body. A missing field is left to the check of that field;
// a field of a wrong type makes the whole body wrong.
func parseSend(body []byte) (message, bool) {
	var m message
	o, ok := parseObject(body)
	ok = ok && o.text("touser", &m.toUser) && o.text("template_id", &m.templateID) && o.text("page", &m.page) &&
		o.text("miniprogram_state", &m.state) && o.text("lang", &m.lang)
	m.data = o["data"]
	switch kind(m.data) {
	case '{', '"', 'n', 0: // a string is answered like no data at all
	default:
		return m, false
	}
	return m, ok
}

// checkContent checks page and data, and returns the values of the template's
// keys in its order.
func (c *call) checkContent(m message, p *template, rules *ruleSet) ([]string, *answer) {
	if !rules.hasPage(m.page) {
		ref := c.refuse(wechat.ErrcodeInvalidPage)
		return nil, &ref
	}
	if !slices.Contains(states, m.state) || !slices.Contains(langs, m.lang) {
		ref := c.refuse(wechat.ErrcodeInvalidArgs)
		return nil, &ref
	}
	values, complaint := p.checkData(m.data)
	if complaint != "" {
		ref := c.refuseText(wechat.ErrcodeArgumentInvalid, argumentInvalid(complaint))
		return nil, &ref
	}
	if slices.ContainsFunc(values, rules.blacklisted) {
		ref := c.refuse(wechat.ErrcodeBlacklist)
		return nil, &ref
	}
	return values, nil
}

// spendFailed is the rule failed_send_spends.
func (c *call) spendFailed(u *user, p *template) {
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	if sub := u.subscription(p); sub.can() {
		sub.spend()
	}
}

// hold keeps other sends from a user until this call ends.
func (c *call) hold(u *user) bool {
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	if u.busy {
		return false
	}
	u.busy, c.held = true, u
	return true
}

// deliver spends a grant and puts the card on the phone, as one step: whoever
// sees the one sees the other.
func (c *call) deliver(u *user, card card) answer {
	now := c.s.Now()
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	sub := u.subscription(card.template)
	// Quota and grant are judged now, not before the delay: they are what other
	// sends may have used up meanwhile.
	switch {
	case c.app.overQuota(pathSend, now):
		return c.refuse(wechat.ErrcodeDailyQuota)
	case u.mainOff || !sub.can():
		return c.refuse(wechat.ErrcodeUserRefused)
	}
	sub.spend()
	card.at, card.msgid = now, c.s.msgid.Add(1)
	if card.state == "" {
		card.state = "formal"
	}
	if card.lang == "" {
		card.lang = "zh_CN"
	}
	// The event is made here, whatever becomes of the answer: WeChat pushes it too
	// when nobody got that.
	if c.app.push == nil || c.w.pushSent(&card) {
		c.w.outbox.add(card)
	}
	c.w.calls.accepted()
	// Written by hand: this is the one answer made for every message.
	body := append(make([]byte, 0, 64), `{"errcode":0,"errmsg":"ok","msgid":`...)
	body = append(strconv.AppendInt(body, card.msgid, 10), '}')
	return answer{status: 200, body: body, isJSON: true}
}

// peekOpenID tells who a send was for when a fault keeps it from being looked at.
func (c *call) peekOpenID() string {
	if c.route.path != pathSend {
		return ""
	}
	m, _ := parseSend(c.body)
	return m.toUser
}
