package api

import (
	"context"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

type inOverview struct {
	App hongyan.AppID `query:"app" maxLength:"64" doc:"Only this app."`
}

func (s *server) getOverview(ctx context.Context, in *inOverview) (hongyan.Overview, error) {
	x := exchangeOf(ctx)
	if err := seesApp(x.key, in.App); err != nil {
		return hongyan.Overview{}, at(err, "/app")
	}
	lang := languageOf(x.r)
	o, err := s.l.Overview(ctx, in.App, appsOf(x.key))
	if err != nil {
		return hongyan.Overview{}, err
	}
	out := o.Overview
	out.Reasons, out.Apps = []hongyan.OverviewReason{}, []hongyan.OverviewApp{}
	for _, r := range o.Reasons {
		out.Reasons = append(out.Reasons, hongyan.OverviewReason{Reason: r.Reason, Errcode: r.Errcode, Count: r.Failed + r.Undelivered, Text: reasonText(r.Reason, r.Errcode, lang)})
	}
	for _, a := range o.Apps {
		light, why := a.Facts.Light(lang)
		out.Apps = append(out.Apps, hongyan.OverviewApp{App: a.Facts.App.AppID, Name: a.Facts.App.Name, Light: light, Why: why, Today: a.Today, LastAcceptedHour: a.LastAcceptedHour})
	}
	return out, nil
}

// reasonText is what a failure means: what its errcode does where WeChat gave one that is known.
func reasonText(reason hongyan.Code, errcode int, lang string) string {
	if info, ok := wechat.LookupErrcode(errcode); ok && errcode != 0 {
		return hongyan.Text{EN: info.EN, ZH: info.ZH}.In(lang)
	}
	return hongyan.ReasonTitle(reason).In(lang)
}
