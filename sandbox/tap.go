package sandbox

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hongyan-push/hongyan/wechat"
)

// What a phone answers for a template. The accept… variants agree to extra
// alerting and count like accept.
const (
	choiceAccept = "accept"
	choiceReject = "reject"
	choiceBan    = "ban"    // banned by WeChat
	choiceFilter = "filter" // another template of the call has the same title
)

// choices are what a user can choose.
var choices = []string{choiceAccept, choiceReject, "acceptWithAudio", "acceptWithAlert", "acceptWithForcePush"}

// Codes of wx.requestSubscribeMessage's fail. They are not WeChat errcodes: the
// numbers overlap, the meanings do not.
var tapErrors = map[int]string{
	10001: "TmplIds can't be empty",
	20001: "No template data return, verify the template id exist",
	20002: "Templates type must be same",
	20003: "Templates count out of max bounds",
	20004: "The main switch is switched off",
}

// subscription is the standing of one user and template.
type subscription struct {
	template   *template
	available  int  // grants of a one-time template
	on         bool // a long-term template is subscribed
	remembered string

	granted, spent, voided int // since the user was created
}

// subscription finds or makes the standing. There are at most 25 templates, so a
// slice beats a map, and a million users fit in memory.
func (u *user) subscription(p *template) *subscription {
	for i := range u.subs {
		if u.subs[i].template == p {
			return &u.subs[i]
		}
	}
	u.subs = append(u.subs, subscription{template: p})
	return &u.subs[len(u.subs)-1]
}

func (sub *subscription) longTerm() bool { return sub.template.title.Type == wechat.TemplateLongTerm }

// can reports whether a send would pass.
func (sub *subscription) can() bool { return sub.available > 0 || sub.on }

// spend uses a grant; long-term templates have nothing to use up.
func (sub *subscription) spend() {
	if !sub.longTerm() {
		sub.available--
		sub.spent++
	}
}

// void takes everything away.
func (sub *subscription) void() {
	sub.voided += sub.available
	sub.available = 0
	sub.on = false
}

// choose applies one answer of the user.
func (sub *subscription) choose(choice string, r *ruleSet) {
	switch {
	case choice == choiceReject && (sub.longTerm() || r.DialogReject == dialogRejectVoid):
		sub.void()
	case choice == choiceReject:
	case sub.longTerm():
		sub.on = true
	case r.MaxGrants == 0 || sub.available < r.MaxGrants:
		sub.available++
		sub.granted++
	}
}

// TapSpec is one wx.requestSubscribeMessage in a tap, or many.
type TapSpec struct {
	AppID       string   `json:"appid"`
	OpenID      string   `json:"openid"`
	OpenIDs     []string `json:"openids"`
	TemplateIDs []string `json:"template_ids"`
	// Choices by template id: accept (default), reject, acceptWithAudio,
	// acceptWithAlert or acceptWithForcePush.
	Choices map[string]string `json:"choices"`
	// Always ticks "always keep my choice" (总是保持以上选择): later taps answer
	// the same without asking, whatever their Choices say.
	Always bool `json:"always"`
	// Times repeats the tap. Default 1, at most 1000.
	Times int `json:"times"`
	// MaxPerCall is what the phone allows, 3 or 5. Default: the app's rule.
	MaxPerCall int `json:"max_per_call"`
}

// TapResult is what the mini program is told. Success is that of the last tap, if
// it was one user; Fail is that of a tap that failed.
type TapResult struct {
	// Success has errMsg and a choice for each template id.
	Success map[string]string `json:"success,omitempty"`
	Fail    *TapFail          `json:"fail,omitempty"`
	// Count is how many taps there were, SuccessCount those without a failure,
	// Granted how many grants came out of them.
	Count        int `json:"count"`
	SuccessCount int `json:"success_count"`
	Granted      int `json:"granted"`
}

// TapFail is what the fail callback gets.
type TapFail struct {
	ErrMsg  string `json:"errMsg"`
	ErrCode int    `json:"errCode"`
}

// Tap lets users tap. Either all users exist and tap, or none does.
func (s *Sandbox) Tap(spec TapSpec) (TapResult, error) {
	w, a, err := s.find(spec.AppID)
	if err != nil {
		return TapResult{}, err
	}
	openIDs, err := spec.check()
	if err != nil {
		return TapResult{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// All users are looked up before the first one taps, so that a call with a
	// typo has no half effect.
	users := make([]*user, len(openIDs))
	for i, id := range openIDs {
		if users[i], err = a.user(id); err != nil {
			return TapResult{}, err
		}
	}
	limit := spec.MaxPerCall
	if limit == 0 {
		limit = a.rules.MaxPerCall
	}
	shown, code := a.shown(spec.TemplateIDs, limit)
	var res TapResult
	for _, u := range users {
		for range max(spec.Times, 1) {
			res.Count++
			fail := code
			if u.mainOff {
				fail = 20004
			}
			if fail != 0 {
				res.Success = nil
				res.Fail = &TapFail{ErrMsg: "requestSubscribeMessage:fail " + tapErrors[fail], ErrCode: fail}
				continue
			}
			res.SuccessCount++
			var d dialog
			success := a.tap(u, shown, &spec, &res, &d)
			if a.push != nil {
				w.pushPopup(a, u, &d, s.Now())
			}
			if len(users) == 1 {
				res.Success = success
			}
		}
	}
	return res, nil
}

// check reads the users and refuses what a phone could not do.
func (spec *TapSpec) check() ([]string, error) {
	openIDs, err := oneOrMany(spec.OpenID, spec.OpenIDs)
	switch {
	case err != nil:
		return nil, err
	case len(openIDs) == 0:
		return nil, badRequest("openid or openids is missing.")
	case spec.Times < 0 || spec.Times > maxTimes:
		return nil, badRequest(fmt.Sprintf("times must be 1 to %d.", maxTimes))
	case spec.MaxPerCall != 0 && spec.MaxPerCall != 3 && spec.MaxPerCall != 5:
		return nil, badRequest("max_per_call must be 3 or 5.")
	}
	for _, id := range slices.Sorted(maps.Keys(spec.Choices)) {
		if !slices.Contains(spec.TemplateIDs, id) {
			return nil, badRequest(fmt.Sprintf("choices: %q is not among template_ids.", id))
		}
		if !slices.Contains(choices, spec.Choices[id]) {
			return nil, badRequest(fmt.Sprintf("choices: %q is none of %q.", spec.Choices[id], choices))
		}
	}
	return openIDs, nil
}

// shownTemplate is a template of a dialog, with the answer that is settled
// whatever the user chooses.
type shownTemplate struct {
	*template
	settled string // ban, filter or empty
}

// shown prepares the dialog, or returns the code it fails with.
func (a *app) shown(ids []string, limit int) ([]shownTemplate, int) {
	switch {
	case len(ids) == 0:
		return nil, 10001
	case len(ids) > limit:
		return nil, 20003
	}
	var list []shownTemplate
	titles := make(map[string]bool)
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			continue
		}
		p := a.template(id)
		if p == nil {
			return nil, 20001
		}
		t := shownTemplate{template: p}
		switch {
		case a.rules.banned[id]:
			t.settled = choiceBan
		case titles[p.title.Title]:
			t.settled = choiceFilter
		default:
			titles[p.title.Title] = true
		}
		list = append(list, t)
	}
	// An unknown id is told first: its type could not be compared.
	for _, t := range list {
		if t.title.Type != list[0].title.Type {
			return nil, 20002
		}
	}
	return list, 0
}

// tap is one dialog of one user, or the silent answer in its place. It returns
// what the success callback gets, and notes in d what its event says.
func (a *app) tap(u *user, shown []shownTemplate, spec *TapSpec, res *TapResult, d *dialog) map[string]string {
	success := map[string]string{"errMsg": "requestSubscribeMessage:ok"}
	for _, t := range shown {
		if t.settled != "" {
			success[t.id] = t.settled
			continue
		}
		sub := u.subscription(t.template)
		choice, silent := sub.remembered, sub.remembered != ""
		if !silent {
			choice = choiceAccept
			if c, ok := spec.Choices[t.id]; ok {
				choice = c
			}
			if spec.Always {
				sub.remembered = choice
			}
		}
		granted := sub.granted
		sub.choose(choice, a.rules)
		res.Granted += sub.granted - granted
		success[t.id] = choice
		if a.push != nil && (!silent || a.rules.SilentPushes) {
			d.add(t.id, choice)
		}
	}
	return success
}
