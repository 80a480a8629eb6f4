// Package wechat speaks WeChat's server API for Mini Programs: sending
// subscription messages (小程序订阅消息), access tokens, login, the template
// library, event pushes, and what WeChat tells of quotas and failed calls. It is a protocol client and nothing more: it does not
// retry, store, log, or choose another host.
//
// # Start
//
//	c, err := wechat.New(wechat.Config{})
//	tok, err := c.GetStableAccessToken(ctx, appID, secret, false)
//	res, err := c.SendSubscribeMessage(ctx, tok.AccessToken, &wechat.SubscribeMessage{
//		ToUser:     openid,
//		TemplateID: template,
//		Data:       map[string]wechat.DataValue{"thing1": {Value: "审核通过"}},
//	})
//
// # What an error means
//
// A send is not idempotent at WeChat: repeating one may notify a person twice
// and spend a second subscription. So every method keeps three ends apart:
//
//   - no error, or an [*Error]: WeChat answered. The [Error] holds its errcode.
//   - a [*TransportError] of kind [Unsent]: the failure came before the first
//     byte of the request was written. Repeating it is safe.
//   - a [*TransportError] of kind [Unclear]: something was written and no
//     complete answer came back. Nobody can know what WeChat did.
//
// For a send, an answer is HTTP status 200 with one complete JSON object that
// has an integer errcode. Time-outs, resets, other statuses, redirects, HTML and
// cut JSON are all unclear.
//
// # Event pushes
//
// [CallbackKeys] reads what WeChat pushes (消息推送), and makes such pushes for those
// who imitate WeChat. It keeps nothing, so replays within the ten minutes that a
// signature lives are for the receiver to notice.
//
// # Secrets
//
// Access tokens ride in the query string, AppSecrets and login codes too. No
// error of this package shows a query string, and a credential that a peer
// echoes is cut from its text. [AccessToken], [Session] and [CallbackKeys] print
// as "redacted"; put them in exported fields or variables, since package fmt cannot
// ask a value in an unexported struct field how it wishes to be printed.
//
// Every [Client] method may be called from many goroutines at once.
package wechat
