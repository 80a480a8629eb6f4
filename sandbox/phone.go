package sandbox

import (
	"cmp"
	"slices"
	"strings"
)

// What a phone's screen shows. These are reads; taps and refusals change things.

// ListedApp is an app without its secret.
type ListedApp struct {
	AppID     string `json:"appid"`
	Name      string `json:"name"`
	Users     int    `json:"users"`
	Templates int    `json:"templates"`
	// Pushes says that events are pushed somewhere.
	Pushes bool `json:"pushes"`
}

// Apps lists the apps by their appids.
func (s *Sandbox) Apps() []ListedApp {
	w := s.world.Load()
	w.mu.RLock()
	apps := make([]*app, 0, len(w.apps))
	for _, a := range w.apps {
		apps = append(apps, a)
	}
	w.mu.RUnlock()
	slices.SortFunc(apps, func(x, y *app) int { return cmp.Compare(x.id, y.id) })
	out := make([]ListedApp, 0, len(apps))
	for _, a := range apps {
		a.mu.Lock()
		out = append(out, ListedApp{AppID: a.id, Name: a.name, Users: len(a.order), Templates: len(a.templates), Pushes: a.push != nil})
		a.mu.Unlock()
	}
	return out
}

// ListedUser is a person as a list shows them.
type ListedUser struct {
	OpenID     string `json:"openid"`
	UnionID    string `json:"unionid,omitempty"`
	MainSwitch bool   `json:"main_switch"`
}

// UserQuery selects users of one app; an empty Prefix selects all.
type UserQuery struct {
	AppID, Prefix string
	Limit         int // default 100, at most 1000
	Cursor        string
}

// Users lists an app's users in the order they were created.
func (s *Sandbox) Users(q UserQuery) (Page[ListedUser], error) {
	i, limit, err := place("u", q.Cursor, q.Limit)
	if err != nil {
		return Page[ListedUser]{}, err
	}
	_, a, err := s.find(q.AppID)
	if err != nil {
		return Page[ListedUser]{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	page := Page[ListedUser]{Items: []ListedUser{}, Limit: limit}
	for ; i < len(a.order); i++ {
		u := a.order[i]
		if !strings.HasPrefix(u.openID, q.Prefix) {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorAt("u", i)
			break
		}
		page.Items = append(page.Items, ListedUser{OpenID: u.openID, UnionID: u.unionID, MainSwitch: !u.mainOff})
	}
	return page, nil
}

// Line is one line of a card: what the user reads before the value, and the value.
type Line struct {
	Label string `json:"label"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Setting is one template on the settings page of a mini program.
type Setting struct {
	TemplateID string `json:"template_id"`
	Title      string `json:"title"`
	Type       int    `json:"type"`
	Grants
}

// Settings is the settings page of a mini program on one user's phone: every template of
// the app, whether the user was ever asked about it or not.
type Settings struct {
	MainSwitch bool      `json:"main_switch"`
	Templates  []Setting `json:"templates"`
}

// Settings reads the settings page of a user.
func (s *Sandbox) Settings(appID, openID string) (Settings, error) {
	_, a, err := s.find(appID)
	if err != nil {
		return Settings{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(openID)
	if err != nil {
		return Settings{}, err
	}
	out := Settings{MainSwitch: !u.mainOff, Templates: []Setting{}}
	for _, p := range a.templates {
		out.Templates = append(out.Templates, Setting{TemplateID: p.id, Title: p.title.Title, Type: p.title.Type, Grants: u.grants(u.subscription(p))})
	}
	return out, nil
}

// InboxCard is a card as a phone shows it.
type InboxCard struct {
	Card
	Title string `json:"title"`
	Lines []Line `json:"lines"`
}

// InboxQuery selects the cards of one user; AppID and OpenID are needed.
type InboxQuery struct {
	AppID, OpenID string
	Limit         int // default 100, at most 1000
	Cursor        string
}

// Inbox lists a user's cards, newest first.
func (s *Sandbox) Inbox(q InboxQuery) (Page[InboxCard], error) {
	at, limit, err := place("i", q.Cursor, q.Limit)
	if err != nil {
		return Page[InboxCard]{}, err
	}
	w, a, err := s.find(q.AppID)
	if err != nil {
		return Page[InboxCard]{}, err
	}
	a.mu.Lock()
	u, err := a.user(q.OpenID)
	a.mu.Unlock()
	if err != nil {
		return Page[InboxCard]{}, err
	}
	chunks, n := w.outbox.view()
	if q.Cursor != "" {
		n = min(n, at)
	}
	page := Page[InboxCard]{Items: []InboxCard{}, Limit: limit}
	for i := n - 1; i >= 0; i-- {
		c := &chunks[i/chunkSize][i%chunkSize]
		if c.user != u {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorAt("i", i+1)
			break
		}
		card := InboxCard{Card: c.export(), Title: c.template.title.Title, Lines: []Line{}}
		for j, f := range c.template.fields {
			card.Lines = append(card.Lines, Line{Label: f.Name, Key: f.key, Value: c.values[j]})
		}
		page.Items = append(page.Items, card)
	}
	return page, nil
}

// SheetQuery is a wx.requestSubscribeMessage that is looked at and not made.
type SheetQuery struct {
	AppID, OpenID string
	TemplateIDs   []string
	MaxPerCall    int // 3 or 5. Default: the app's rule
}

// Sheet is what a phone would show: the dialog (订阅弹窗), a failure, or nothing at all.
type Sheet struct {
	Fail *TapFail `json:"fail,omitempty"`
	// Silent says that no dialog would open: every answer is settled or remembered.
	Silent    bool            `json:"silent"`
	Templates []SheetTemplate `json:"templates"`
}

// SheetTemplate is one row of the dialog.
type SheetTemplate struct {
	TemplateID string `json:"template_id"`
	Title      string `json:"title"`
	Type       int    `json:"type"`
	Example    []Line `json:"example"`
	// Settled is ban or filter where the user is not asked about it.
	Settled string `json:"settled,omitempty"`
	// Always is the choice that "always keep my choice" remembers; it answers without asking.
	Always string `json:"always,omitempty"`
}

// Sheet tells what a tap would show. It changes nothing.
func (s *Sandbox) Sheet(q SheetQuery) (Sheet, error) {
	_, a, err := s.find(q.AppID)
	if err != nil {
		return Sheet{}, err
	}
	if q.MaxPerCall != 0 && q.MaxPerCall != 3 && q.MaxPerCall != 5 {
		return Sheet{}, badRequest("max_per_call must be 3 or 5.")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(q.OpenID)
	if err != nil {
		return Sheet{}, err
	}
	shown, code := a.shown(q.TemplateIDs, cmp.Or(q.MaxPerCall, a.rules.MaxPerCall))
	if u.mainOff {
		code = 20004
	}
	out := Sheet{Templates: []SheetTemplate{}}
	if code != 0 {
		out.Fail = &TapFail{ErrMsg: "requestSubscribeMessage:fail " + tapErrors[code], ErrCode: code}
		return out, nil
	}
	out.Silent = true
	for _, t := range shown {
		row := SheetTemplate{TemplateID: t.id, Title: t.title.Title, Type: t.title.Type, Settled: t.settled, Example: []Line{}}
		for _, f := range t.fields {
			row.Example = append(row.Example, Line{Label: f.Name, Key: f.key, Value: f.Example})
		}
		if t.settled == "" {
			row.Always = u.subscription(t.template).remembered
		}
		out.Silent = out.Silent && (row.Settled != "" || row.Always != "")
		out.Templates = append(out.Templates, row)
	}
	return out, nil
}
