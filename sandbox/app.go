package sandbox

import (
	"fmt"
	"sync"
	"time"
)

// app is one mini program and all that WeChat knows of it.
type app struct {
	id, secret, name string
	originalID       string // gh_…, which pushes name

	// mu guards all below. It is never held while a call waits.
	mu        sync.Mutex
	rules     *ruleSet
	users     map[string]*user
	order     []*user // as they were created
	codes     map[string]*loginCode
	templates []*template
	slots     [2]tokenSlot
	retired   []*accessToken // no longer current or previous, oldest first
	forced    forcedRefreshes
	used      map[string]usage // by path
	clears    usage            // of quotas, by month
	push      *PushConfig      // nil: events are not pushed
}

// user is one person within one app.
type user struct {
	openID, unionID string
	sessionKey      string
	mainOff         bool // turned all subscription messages off
	busy            bool // a send to this user is in flight
	subs            []subscription
}

// usage counts within one period, a Beijing day or month.
type usage struct{ period, n int }

// in is how much was used in a period.
func (u usage) in(period int) int {
	if u.period != period {
		return 0
	}
	return u.n
}

func (u *usage) add(period int) {
	*u = usage{period: period, n: u.in(period) + 1}
}

// AppSpec describes an app to create; what is empty is made up.
type AppSpec struct {
	AppID  string `json:"appid"`
	Secret string `json:"secret"`
	Name   string `json:"name"`
}

// App is an app with its credentials.
type App struct {
	AppID  string `json:"appid"`
	Secret string `json:"secret"`
	Name   string `json:"name"`
}

// CreateApp creates an app. An appid that is taken is an error.
func (s *Sandbox) CreateApp(spec AppSpec) (App, error) {
	if spec.AppID == "" {
		spec.AppID = newAppID()
	}
	if spec.Secret == "" {
		spec.Secret = newSecret()
	}
	if spec.Name == "" {
		spec.Name = "鸿雁小程序"
	}
	switch {
	case !isID(spec.AppID):
		return App{}, badRequest("appid must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -.")
	case len(spec.Secret) > 128:
		return App{}, badRequest("secret must have at most 128 bytes.")
	}
	a := &app{
		id: spec.AppID, secret: spec.Secret, name: spec.Name, originalID: newOriginalID(),
		rules: newRuleSet(Rules{}),
		users: make(map[string]*user),
		codes: make(map[string]*loginCode),
		used:  make(map[string]usage),
	}
	w := s.world.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.apps[a.id] != nil {
		return App{}, &Problem{Status: 409, Code: "app_exists", Detail: fmt.Sprintf("App %s exists already.", a.id)}
	}
	w.apps[a.id] = a
	return App(spec), nil
}

// find is the app of a control call.
func (s *Sandbox) find(appID string) (*world, *app, error) {
	w := s.world.Load()
	if appID == "" {
		return nil, nil, badRequest("appid is missing.")
	}
	a := w.app(appID)
	if a == nil {
		return nil, nil, &Problem{Status: 404, Code: "unknown_app",
			Detail: fmt.Sprintf("There is no app %q. Create it with POST /_sandbox/apps.", appID)}
	}
	return w, a, nil
}

// overQuota counts a call of path, and reports whether it was one too many. The
// caller holds a.mu.
func (a *app) overQuota(path string, now time.Time) bool {
	limit, limited := a.rules.quota(path)
	u := a.used[path]
	// The refused call itself is not counted, so used never passes the limit.
	if limited && u.in(day(now)) >= limit {
		return true
	}
	u.add(day(now))
	a.used[path] = u
	return false
}
