package sandbox

import "fmt"

// Places where a user can turn subscription messages off.
const (
	whereCard       = "card"
	whereSettings   = "settings"
	whereMainSwitch = "main_switch"
)

// RefuseSpec says that a user turns something off, or on again.
type RefuseSpec struct {
	AppID  string `json:"appid"`
	OpenID string `json:"openid"`
	// TemplateID is not needed for the main switch.
	TemplateID string `json:"template_id"`
	// Where is "card" (the menu of a received card), "settings" (the mini
	// program's settings page) or "main_switch" (there, for all templates).
	Where string `json:"where"`
	// Allow turns it on again. It brings no grant back.
	Allow bool `json:"allow"`
}

// GrantQuery names a subscription; all fields are needed.
type GrantQuery struct {
	AppID, OpenID, TemplateID string
}

// Grants is what WeChat knows of a subscription, and never tells.
type Grants struct {
	// Available is how many sends would pass now; 0 for a long-term template.
	Available int `json:"available"`
	// LongTerm says whether a long-term template is on; null for a one-time one.
	LongTerm *bool `json:"long_term,omitempty"`
	// Always is the remembered choice, if there is one.
	Always string `json:"always,omitempty"`
	// MainSwitch is off when the user turned all subscription messages off.
	MainSwitch bool `json:"main_switch"`
	// Granted = Available + Spent + Voided.
	Granted int `json:"granted"`
	Spent   int `json:"spent"`
	Voided  int `json:"voided"`
}

// Refuse turns a template off, or all with the main switch. What is turned off
// loses its grants, and sends answer 43101 until the user accepts again.
//
//   - card: the template's grants are gone, a remembered choice too; the next tap
//     asks again. It pushes the change event.
//   - settings: the same, but a remembered choice becomes reject, so that taps
//     answer reject without asking. Only Allow, in settings, changes it back.
//   - main_switch: all grants of the user in this app are gone, and taps fail
//     with 20004 until Allow.
func (s *Sandbox) Refuse(spec RefuseSpec) (Grants, error) {
	w, a, err := s.find(spec.AppID)
	if err != nil {
		return Grants{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(spec.OpenID)
	if err != nil {
		return Grants{}, err
	}
	if spec.Where == whereMainSwitch {
		u.mainOff = !spec.Allow
		for i := range u.subs {
			if !spec.Allow {
				u.subs[i].void()
			}
		}
		return Grants{MainSwitch: !u.mainOff}, nil
	}
	if spec.Where != whereCard && spec.Where != whereSettings {
		return Grants{}, badRequest(`where must be "card", "settings" or "main_switch".`)
	}
	p, err := a.knownTemplate(spec.TemplateID)
	if err != nil {
		return Grants{}, err
	}
	sub := u.subscription(p)
	switch {
	case !spec.Allow:
		sub.void()
		if spec.Where == whereCard {
			sub.remembered = ""
		} else if sub.remembered != "" {
			sub.remembered = choiceReject
		}
		if a.push != nil && (spec.Where == whereCard || a.rules.SettingsPushes) {
			w.pushRefusal(a, u, p, s.Now())
		}
	case spec.Where == whereSettings && sub.remembered != "":
		sub.remembered = choiceAccept
	}
	return u.grants(sub), nil
}

// Grants tells the count that WeChat keeps.
func (s *Sandbox) Grants(q GrantQuery) (Grants, error) {
	_, a, err := s.find(q.AppID)
	if err != nil {
		return Grants{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(q.OpenID)
	if err != nil {
		return Grants{}, err
	}
	p, err := a.knownTemplate(q.TemplateID)
	if err != nil {
		return Grants{}, err
	}
	return u.grants(u.subscription(p)), nil
}

func (u *user) grants(sub *subscription) Grants {
	g := Grants{Available: sub.available, Always: sub.remembered, MainSwitch: !u.mainOff,
		Granted: sub.granted, Spent: sub.spent, Voided: sub.voided}
	if sub.longTerm() {
		on := sub.on
		g.LongTerm = &on
	}
	return g
}

// knownTemplate is a template of a control call. The caller holds a.mu.
func (a *app) knownTemplate(id string) (*template, error) {
	if id == "" {
		return nil, badRequest("template_id is missing.")
	}
	p := a.template(id)
	if p == nil {
		return nil, &Problem{Status: 404, Code: "unknown_template", Detail: fmt.Sprintf(
			"App %s has no template %q. Add one with POST /_sandbox/templates.", a.id, id)}
	}
	return p, nil
}
