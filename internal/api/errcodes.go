package api

import (
	"context"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// errcode is one of WeChat's error codes, explained.
type errcode struct {
	Errcode    int          `json:"errcode"`
	Errmsg     string       `json:"errmsg" doc:"WeChat's usual words."`
	Meaning    hongyan.Text `json:"meaning"`
	Class      string       `json:"class" doc:"Who has to do something: bug (the caller), user, tmpl (template), cred (credentials), quota, temp (nobody)."`
	Credential bool         `json:"credential" doc:"The token, AppSecret, key or IP was refused, not the content."`
	MayPass    bool         `json:"may_pass" doc:"The same call may pass later."`
	URL        string       `json:"url"`
}

func explained(i wechat.ErrcodeInfo) errcode {
	return errcode{i.Errcode, i.Errmsg, hongyan.Text{EN: i.EN, ZH: i.ZH}, i.Class, i.Credential, i.MayPass, i.URL}
}

func (s *server) listErrcodes(context.Context, *none) (list[errcode], error) {
	known := wechat.Errcodes()
	out := list[errcode]{Items: make([]errcode, len(known))}
	for i, k := range known {
		out.Items[i] = explained(k)
	}
	return out, nil
}

type inErrcode struct {
	Errcode int `path:"errcode"`
}

func (s *server) getErrcode(_ context.Context, in *inErrcode) (errcode, error) {
	info, ok := wechat.LookupErrcode(in.Errcode)
	if !ok {
		return errcode{}, hongyan.Errorf(hongyan.CodeNotFound, "Errcode %d is not known here; search for it at developers.weixin.qq.com.", in.Errcode)
	}
	return explained(info), nil
}

// code is one of our own error codes.
type code struct {
	Code   hongyan.Code `json:"code"`
	Status int          `json:"status" doc:"The HTTP status; 0 for codes that are only a message's reason."`
	Title  hongyan.Text `json:"title"`
	Hint   hongyan.Text `json:"hint"`
}

func (s *server) listCodes(context.Context, *none) (list[code], error) {
	known := hongyan.Codes()
	out := list[code]{Items: make([]code, len(known))}
	for i, k := range known {
		out.Items[i] = code(k)
	}
	return out, nil
}
