// Package sandbox is a local WeChat for subscription messages (小程序订阅消息): the
// same paths, JSON, errcodes and texts, with state behind them. Programs that
// talk to api.weixin.qq.com talk to it by another base URL, without an account,
// a phone or the internet.
//
// # Start
//
// In a Go test:
//
//	wx := sandbox.New(sandbox.Config{})
//	srv := httptest.NewServer(wx)
//	app, _ := wx.CreateApp(sandbox.AppSpec{})
//	// … point the program under test at srv.URL, with app.AppID and app.Secret.
//
// For every other language, `hongyan sandbox` serves the same handler, and the
// methods of [Sandbox] are control calls under /_sandbox/ (see README.md).
//
// # What it imitates
//
// Access tokens in two slots with their overlap, forced refreshes and the IP
// whitelist; login codes that live 5 minutes and work once; a template library
// of real-looking titles, private templates and their limit; the whole of
// subscribe/send: its order of checks, the rules of every data type, grants that
// accumulate and are spent, 43101, 43108, quotas; request ids; HTTP 200 for
// refusals; event pushes (消息推送) in three modes and two formats, with their
// retries. It is strict: where WeChat is known to refuse, it refuses, and where
// WeChat is not known it takes the less comfortable side or asks a rule
// ([Rules]).
//
// [Sandbox.Tap] is the phone, [Sandbox.Outbox] what the phone received,
// [Sandbox.SetPush] says where events go, [Sandbox.AddFault] makes the network,
// WeChat and its pushes fail, [Sandbox.Advance] moves time.
//
// # What it does not imitate
//
// HTTPS (43003), limits per minute (45011; a fault can produce it), API
// signatures, third-party platforms, service cards, device and service-account
// messages, the category limits of long-term templates, and whatever WeChat's
// content filter thinks of a text. Of pushes: the ports that WeChat insists on, its
// alarms and the minute of silence after many failures, any pause between tries,
// and what a reply causes. Texts of errcodes that nobody published are ours. What
// is sent here reaches no one.
//
// Dropped connections are made by panicking with [http.ErrAbortHandler], which
// net/http's server turns into a closed connection; a caller of ServeHTTP
// without that server must expect the panic.
package sandbox
