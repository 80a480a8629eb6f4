// Package hongyan is the vocabulary of Hongyan (鸿雁), the server that delivers
// WeChat Mini Program subscription messages (小程序订阅消息).
//
// It holds the words every other package speaks: apps, templates, subscriptions,
// messages and their states, API keys and errors, and the pure rules that decide
// about them: what a template accepts as data, what one answer of WeChat means for
// a message, how grants are counted. It does no I/O and imports nothing of ours, so
// the server, its clients and their tests can share it without cycles.
package hongyan
