package cli

import (
	"fmt"
	"strconv"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// errcodeCmd explains WeChat's numbers without a server.
type errcodeCmd struct {
	Errcode string `arg:"" optional:"" help:"The number; without it all are listed."`
	outputFlags
}

// errcodeView is one errcode as it is printed.
type errcodeView struct {
	Errcode    int          `json:"errcode"`
	Errmsg     string       `json:"errmsg,omitempty"`
	Class      string       `json:"class"`
	Who        hongyan.Text `json:"who"`
	Meaning    hongyan.Text `json:"meaning"`
	Credential bool         `json:"credential"`
	MayPass    bool         `json:"may_pass"`
	URL        string       `json:"url,omitempty"`
}

// who must do something about a class.
var who = map[string]hongyan.Text{
	wechat.ClassBug:        {EN: "the calling program", ZH: "调用方程序"},
	wechat.ClassUser:       {EN: "the recipient", ZH: "接收消息的用户"},
	wechat.ClassTemplate:   {EN: "the template or the app's configuration", ZH: "模板或小程序配置"},
	wechat.ClassCredential: {EN: "whoever keeps token, AppSecret, keys or IP list", ZH: "负责 token、AppSecret、密钥或 IP 白名单的人"},
	wechat.ClassQuota:      {EN: "nobody; a limit was reached", ZH: "无需处理；达到调用上限"},
	wechat.ClassTemporary:  {EN: "nobody; WeChat was busy", ZH: "无需处理；微信繁忙"},
}

func viewErrcode(i wechat.ErrcodeInfo) errcodeView {
	return errcodeView{i.Errcode, i.Errmsg, i.Class, who[i.Class], hongyan.Text{EN: i.EN, ZH: i.ZH}, i.Credential, i.MayPass, i.URL}
}

// Run implements the command.
func (c *errcodeCmd) Run(p *program) error {
	if c.Errcode == "" {
		var list []errcodeView
		for _, i := range wechat.Errcodes() {
			list = append(list, viewErrcode(i))
		}
		return printList(p, c.outputFlags, list, []column[errcodeView]{
			{"ERRCODE", func(v errcodeView) string { return strconv.Itoa(v.Errcode) }},
			{"CLASS", func(v errcodeView) string { return v.Class }},
			{"MEANING", func(v errcodeView) string { return v.Meaning.In(p.lang) }},
		})
	}
	n, err := strconv.Atoi(c.Errcode)
	if err != nil {
		return p.usage(p.say("%q is not an errcode", c.Errcode), p.say("An errcode is a number, such as 43101; `hongyan errcode` lists all."))
	}
	if n == 0 {
		return p.explain(c.outputFlags, errcodeView{Errmsg: "ok", Class: "ok", Meaning: hongyan.Text{
			EN: "WeChat accepted the call. A message is on its way; only its sent event says that it arrived.",
			ZH: "微信已接受本次调用。消息是否送达以发送结果事件为准。"}})
	}
	info, ok := wechat.LookupErrcode(n)
	if !ok {
		return &fault{exit: exitNotFound, text: p.say("errcode %d is not in the table of this version", n),
			hint: p.say("`hongyan errcode` lists all. Look for the number at https://developers.weixin.qq.com, and send the rid of the errmsg to WeChat's support.")}
	}
	return p.explain(c.outputFlags, viewErrcode(info))
}

func (p *program) explain(o outputFlags, v errcodeView) error {
	yes := func(b bool) string {
		if b {
			return p.say("yes")
		}
		return p.say("no")
	}
	return printOne(p, o, v, []column[errcodeView]{
		{"ERRCODE", func(v errcodeView) string { return fmt.Sprintf("%d %s", v.Errcode, v.Errmsg) }},
		{"中文", func(v errcodeView) string { return v.Meaning.ZH }},
		{"English", func(v errcodeView) string { return v.Meaning.EN }},
		{"CLASS", func(v errcodeView) string { return v.Class }},
		{"WHO ACTS", func(v errcodeView) string { return v.Who.In(p.lang) }},
		{"CREDENTIAL", func(v errcodeView) string { return yes(v.Credential) }},
		{"MAY PASS LATER", func(v errcodeView) string { return yes(v.MayPass) }},
		{"DOCUMENT", func(v errcodeView) string { return v.URL }},
	})
}
