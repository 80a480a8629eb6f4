package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

// A test of a program that sends subscription messages: start a sandbox, prepare
// what the program finds at WeChat, let it work, look at the phone.
func Example() {
	wx := sandbox.New(sandbox.Config{})
	srv := httptest.NewServer(wx)
	defer srv.Close()
	defer wx.Close()

	app, _ := wx.CreateApp(sandbox.AppSpec{Name: "书店"})
	user, _ := wx.AddUsers(sandbox.UsersSpec{AppID: app.AppID})
	tmpl, _ := wx.AddTemplate(sandbox.TemplateSpec{AppID: app.AppID, TID: "2001", KIDs: []int{2, 3}})
	wx.Tap(sandbox.TapSpec{AppID: app.AppID, OpenID: user.OpenID, TemplateIDs: []string{tmpl.TemplateID}})

	// The program under test would be here. This one sends twice.
	ctx := context.Background()
	c, _ := wechat.New(wechat.Config{BaseURL: srv.URL})
	defer c.Close()
	token, _ := c.GetStableAccessToken(ctx, app.AppID, app.Secret, false)
	for range 2 {
		_, err := c.SendSubscribeMessage(ctx, token.AccessToken, &wechat.SubscribeMessage{
			ToUser:     user.OpenID,
			TemplateID: tmpl.TemplateID,
			Data:       map[string]wechat.DataValue{"thing2": {Value: "红楼梦"}, "amount3": {Value: "¥59.80"}},
		})
		var refused *wechat.Error
		if errors.As(err, &refused) {
			fmt.Println("refused:", refused.Errcode)
		}
	}

	cards, _ := wx.Outbox(sandbox.OutboxQuery{AppID: app.AppID})
	for _, card := range cards.Items {
		fmt.Println(tmpl.Title, card.Data["thing2"].Value, card.Data["amount3"].Value)
	}
	// Output:
	// refused: 43101
	// 订单支付成功通知 红楼梦 ¥59.80
}
