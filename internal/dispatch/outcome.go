package dispatch

import (
	"errors"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// policy is what an errcode of send means to us. What a class does to the message and its
// grant is hongyan.Message.Apply; what it does around it is lane.react.
type policy struct {
	class hongyan.OutcomeClass
	// reason of the app's pause, for class account.
	reason string
	// rest is how long the app rests before the first probe; zero: a minute, doubling.
	rest time.Duration
}

// policies is the outcome table of docs/architecture.md, by errcode. What is not in it is
// unknown: failed, verbatim, never repeated.
var policies = func() map[int]policy {
	m := map[int]policy{
		wechat.ErrcodeOK: {class: hongyan.OutcomeOK},
		43101:            {class: hongyan.OutcomeRecipient},
		40003:            {class: hongyan.OutcomeOpenID},
		40037:            {class: hongyan.OutcomeTemplate},
		43107:            {class: hongyan.OutcomeBanned},
		-1:               {class: hongyan.OutcomeBusy},
		45011:            {class: hongyan.OutcomePace},
		43108:            {class: hongyan.OutcomeSameUser},
		45009:            {class: hongyan.OutcomeQuota},
		50002:            {class: hongyan.OutcomeLimited},
	}
	for _, c := range []int{47003, 45168, 41030, 47001, 47002, 44002, 40033, 40036, 40097, 45002} {
		m[c] = policy{class: hongyan.OutcomeCaller}
	}
	for _, c := range []int{40001, 40014, 41001, 42001} {
		m[c] = policy{class: hongyan.OutcomeToken}
	}
	account := func(reason string, rest time.Duration, codes ...int) {
		for _, c := range codes {
			m[c] = policy{class: hongyan.OutcomeAccount, reason: reason, rest: rest}
		}
	}
	account(hongyan.PauseAppID, 0, 40013)
	account(hongyan.PauseAppSecret, 0, 40125, 40243)
	account(hongyan.PauseIPNotAllowed, 0, 40164, 45035, 61004)
	account(hongyan.PauseNotAuthorised, 0, 48001, 61003, 61007)
	account(hongyan.PauseAccount, 0, 48004, 50004, 50007)
	account(hongyan.PauseTokenUnavailable, 0, 61023, 61024)
	account(hongyan.PauseIPUnconfirmed, 0, 89501, 89502, 89503, 89504, 89505)
	account(hongyan.PauseIPUnconfirmed, 24*time.Hour, 89506)
	account(hongyan.PauseIPUnconfirmed, time.Hour, 89507)
	for c := 40230; c <= 40240; c++ {
		account(hongyan.PauseSignature, 0, c)
	}
	return m
}()

func policyOf(errcode int) policy {
	if p, ok := policies[errcode]; ok {
		return p
	}
	return policy{class: hongyan.OutcomeUnknown}
}

// outcomeOf sorts what one call came to.
func outcomeOf(res wechat.SendResult, err error) hongyan.Outcome {
	if err == nil {
		return hongyan.Outcome{Class: hongyan.OutcomeOK, MsgID: res.MsgID}
	}
	var we *wechat.Error
	if errors.As(err, &we) {
		return hongyan.Outcome{Class: policyOf(we.Errcode).class, Errcode: we.Errcode, Errmsg: short(we.Errmsg), Rid: we.Rid}
	}
	o := hongyan.Outcome{Class: hongyan.OutcomeUnclear, Errmsg: short(err.Error())}
	var te *wechat.TransportError
	if errors.As(err, &te) && te.Kind == wechat.Unsent {
		o.Class = hongyan.OutcomeUnsent
	}
	return o
}

// short keeps a peer that talks too much from filling the ledger.
func short(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// tokenOutcome sorts a failure to get a token at all: no call of send was made.
func tokenOutcome(err error) hongyan.Outcome {
	var we *wechat.Error
	switch {
	case errors.As(err, &we):
		o := hongyan.Outcome{Class: hongyan.OutcomeAccount, Errcode: we.Errcode, Errmsg: short(we.Errmsg), Uncounted: true}
		switch we.Errcode {
		case -1, 45011:
			// WeChat is busy; that says nothing about the account.
			o.Class = hongyan.OutcomeUnsent
		case 45009:
			o.Class = hongyan.OutcomeQuota
		}
		return o
	case hongyan.CodeOf(err) == hongyan.CodeTokenRejected:
		return hongyan.Outcome{Class: hongyan.OutcomeToken, Errmsg: err.Error(), Uncounted: true}
	case hongyan.CodeOf(err) == hongyan.CodeTokenUnavailable:
		return hongyan.Outcome{Class: hongyan.OutcomeAccount, Errmsg: err.Error(), Uncounted: true}
	}
	return hongyan.Outcome{Class: hongyan.OutcomeUnsent, Errmsg: err.Error(), Uncounted: true}
}

// accountPause is the reason and first rest for an app that may not send.
func accountPause(o hongyan.Outcome) (reason string, rest time.Duration) {
	p := policyOf(o.Errcode)
	switch {
	case o.Errcode == 40001:
		return hongyan.PauseAppSecret, time.Minute // at a token endpoint it means a wrong secret
	case o.Errcode == 50002:
		return hongyan.PauseAccount, time.Minute
	case p.reason == "":
		return hongyan.PauseTokenUnavailable, time.Minute
	case p.rest == 0:
		return p.reason, time.Minute
	}
	return p.reason, p.rest
}

var beijing = time.FixedZone("Beijing", 8*60*60)

// nextQuotaDay is five past midnight in Beijing: when the daily quotas begin anew, and a little.
func nextQuotaDay(now time.Time) time.Time {
	b := now.In(beijing)
	day := time.Date(b.Year(), b.Month(), b.Day(), 0, 5, 0, 0, beijing)
	if !day.After(now) {
		day = day.AddDate(0, 0, 1)
	}
	return day
}
