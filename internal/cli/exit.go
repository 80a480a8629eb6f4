package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitForbidden   = 4
	exitConflict    = 5
	exitUnavailable = 6
	exitWeChat      = 7
	exitUnclear     = 8
	exitInterrupted = 130 // 128 and the number of SIGINT, as shells have it
)

// exitTexts say what the exit codes mean, for docs/errors.md.
var exitTexts = []struct {
	code int
	hongyan.Text
}{
	{exitOK, hongyan.Text{EN: "It was done.", ZH: "成功。"}},
	{exitFailure, hongyan.Text{EN: "It failed for a reason that has no code of its own.", ZH: "失败，且没有更具体的退出码。"}},
	{exitUsage, hongyan.Text{EN: "The command, a setting or the request is not valid.", ZH: "命令、配置或请求不合法。"}},
	{exitNotFound, hongyan.Text{EN: "There is no such thing.", ZH: "找不到该资源。"}},
	{exitForbidden, hongyan.Text{EN: "The API key is missing, not valid, or may not do this.", ZH: "缺少 API key、API key 无效或没有权限。"}},
	{exitConflict, hongyan.Text{EN: "It conflicts with what is there, such as a grant that is missing.", ZH: "与现有状态冲突，例如没有可用的订阅次数。"}},
	{exitUnavailable, hongyan.Text{EN: "The server or WeChat cannot be reached or is busy; the same may pass later.", ZH: "服务或微信无法连接或繁忙，稍后可能成功。"}},
	{exitWeChat, hongyan.Text{EN: "WeChat refused.", ZH: "微信拒绝。"}},
	{exitUnclear, hongyan.Text{EN: "The outcome is not known: look before you repeat.", ZH: "结果不明：重试前请先确认。"}},
	{exitInterrupted, hongyan.Text{EN: "A signal ended it before it was done.", ZH: "完成之前被信号中断。"}},
}

// exitCodes is the one table from a code to what the process ends with.
var exitCodes = map[hongyan.Code]int{
	hongyan.CodeInvalid:            exitUsage,
	hongyan.CodeInvalidData:        exitUsage,
	hongyan.CodeUnknownField:       exitUsage,
	hongyan.CodeBodyTooLarge:       exitUsage,
	hongyan.CodeUnsupportedMedia:   exitUsage,
	hongyan.CodeMethodNotAllowed:   exitUsage,
	hongyan.CodeIdempotencyReuse:   exitUsage,
	hongyan.CodeNotFound:           exitNotFound,
	hongyan.CodeAppNotFound:        exitNotFound,
	hongyan.CodeTemplateNotFound:   exitNotFound,
	hongyan.CodeUserNotFound:       exitNotFound,
	hongyan.CodeUnauthorized:       exitForbidden,
	hongyan.CodeSessionExpired:     exitForbidden,
	hongyan.CodeSignedOut:          exitForbidden,
	hongyan.CodeSignInFailed:       exitForbidden,
	hongyan.CodeLinkEnded:          exitNotFound,
	hongyan.CodeCrossOrigin:        exitForbidden,
	hongyan.CodeMPDisabled:         exitForbidden,
	hongyan.CodeInvalidReports:     exitUsage,
	hongyan.CodeForbidden:          exitForbidden,
	hongyan.CodeOpenIDNotAllowed:   exitForbidden,
	hongyan.CodeConflict:           exitConflict,
	hongyan.CodeNoGrant:            exitConflict,
	hongyan.CodeNotStarted:         exitUnavailable,
	hongyan.CodeTooLate:            exitConflict,
	hongyan.CodeAlreadyFinal:       exitConflict,
	hongyan.CodeHeldLimit:          exitConflict,
	hongyan.CodeIdempotencyBusy:    exitConflict,
	hongyan.CodeSecretShownOnce:    exitConflict,
	hongyan.CodeAppPaused:          exitConflict,
	hongyan.CodeUserErased:         exitConflict,
	hongyan.CodeExpired:            exitConflict,
	hongyan.CodeCanceled:           exitConflict,
	hongyan.CodeBacklogFull:        exitUnavailable,
	hongyan.CodeRateLimited:        exitUnavailable,
	hongyan.CodeStorageUnavailable: exitUnavailable,
	hongyan.CodeShuttingDown:       exitUnavailable,
	hongyan.CodeSandboxUnavailable: exitUnavailable,
	hongyan.CodeWeChatUnreachable:  exitUnavailable,
	hongyan.CodeWeChatBusy:         exitUnavailable,
	hongyan.CodeSameUserBusy:       exitUnavailable,
	hongyan.CodeTokenUnavailable:   exitUnavailable,
	hongyan.CodeTokenRejected:      exitWeChat,
	hongyan.CodeWeChatRefused:      exitWeChat,
	hongyan.CodeNotSubscribed:      exitWeChat,
	hongyan.CodeInvalidOpenID:      exitWeChat,
	hongyan.CodeInvalidCode:        exitWeChat,
	hongyan.CodeInvalidSessionKey:  exitWeChat,
	hongyan.CodeInvalidTemplate:    exitWeChat,
	hongyan.CodeInvalidPage:        exitWeChat,
	hongyan.CodeSensitiveWord:      exitWeChat,
	hongyan.CodeUserLimited:        exitWeChat,
	hongyan.CodeUndelivered:        exitWeChat,
	hongyan.CodeSentEvent:          exitWeChat,
	hongyan.CodeWeChatUnclear:      exitUnclear,
	hongyan.CodeInternal:           exitFailure,
}

// exitOf is the exit code of one of our codes.
func exitOf(c hongyan.Code) int {
	if n, ok := exitCodes[c]; ok {
		return n
	}
	return exitFailure
}

// fault is a failure of the command itself, in the user's language already.
type fault struct {
	exit int
	text string
	hint string // what to do next
	err  error  // the cause, where there is one worth showing
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.err }

// usage is a fault of what the user typed.
func (p *program) usage(text, hint string) error {
	return &fault{exit: exitUsage, text: text, hint: hint}
}

// finish reports err and turns it into the exit code.
func (p *program) finish(ctx context.Context, err error) int {
	var (
		parse *kong.ParseError
		own   *fault
		told  errReported
		coded *hongyan.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &told):
		return int(told)
	case errors.As(err, &own):
		p.report(own.text, nil, own.hint, own.err)
		return own.exit
	case errors.As(err, &parse):
		p.report(strings.ReplaceAll(err.Error(), guard, ""), nil, p.say("Run `%s --help`.", commandOf(parse.Context)), nil)
		return exitUsage
	case errors.As(err, &coded):
		return p.finishCoded(err, coded)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitInterrupted
	case isUnreachable(err):
		p.report(p.say("the server cannot be reached"), nil,
			p.say("Start it with `hongyan serve`, try everything with `hongyan demo`, or say where it is with --api or HONGYAN_API."), err)
		return exitUnavailable
	case isBroken(err):
		p.report(p.say("the connection ended before the answer"), nil, p.say("It may have been done, or not: look before you repeat."), err)
		return exitUnclear
	}
	p.report(err.Error(), nil, p.hintFor(err), nil)
	return exitFailure
}

func (p *program) finishCoded(err error, e *hongyan.Error) int {
	info := hongyan.LookupCode(e.Code)
	hint := info.Hint.In(p.lang)
	detail := e.Message
	if len(e.Fields) > 0 && e.Fields[0].Detail == detail || detail == info.Title.EN {
		detail = "" // it is said below, or is what the title says
	}
	text := string(e.Code) + ": " + detail
	switch {
	case p.lang == "zh":
		text = string(e.Code) + "：" + info.Title.ZH
		if detail != "" {
			text += "\n  " + detail
		}
	case detail == "":
		text = string(e.Code) + ": " + info.Title.EN
	}
	if e.WeChat != nil {
		text += fmt.Sprintf("\n  errcode %d: %s", e.WeChat.Errcode, e.WeChat.Errmsg)
	}
	var problem *client.Problem
	if errors.As(err, &problem) {
		if problem.Hint != "" {
			hint = problem.Hint // the server knows more, such as the address to whitelist
		}
		if e.Code == hongyan.CodeInternal {
			text += "\n  request_id " + string(problem.RequestID)
		}
	}
	if strings.Contains(text, hint) {
		hint = ""
	}
	p.report(text, e.Fields, hint, nil)
	return exitOf(e.Code)
}

// report writes a failure: what happened, each field, and what to do next.
func (p *program) report(text string, fields []hongyan.FieldError, hint string, cause error) {
	var b strings.Builder
	fmt.Fprintf(&b, "hongyan: %s", text)
	if cause != nil {
		fmt.Fprintf(&b, ": %v", cause)
	}
	b.WriteByte('\n')
	for _, f := range fields {
		fmt.Fprintf(&b, "  %s: %s\n", f.Pointer, f.Detail)
		if f.Repair != nil {
			fmt.Fprintf(&b, "    → %q\n", *f.Repair)
		}
	}
	if hint != "" {
		fmt.Fprintf(&b, "  %s\n", hint)
	}
	_, _ = io.WriteString(p.stderr, printable(b.String()))
}

// hintFor knows the failures of the system that a user can mend.
func (p *program) hintFor(err error) string {
	if errors.Is(err, syscall.EADDRINUSE) {
		return p.say("Another program listens there: stop it, or choose another address with --listen or --public-listen.")
	}
	return ""
}

// isUnreachable reports whether no connection to the server came about, so nothing was asked.
func isUnreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// isBroken reports whether a connection ended before the answer.
func isBroken(err error) bool {
	var op *net.OpError
	var timeout net.Error
	return errors.As(err, &op) && (op.Op == "read" || op.Op == "write") || errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func commandOf(ctx *kong.Context) string {
	if ctx != nil {
		if n := ctx.Selected(); n != nil {
			return n.FullPath()
		}
	}
	return "hongyan"
}
