package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// What the mini program itself calls, from phones: /mp/v1. A phone holds no key. It shows a
// session, which stands for one user of one app, and sees and reports only that user's own.

const (
	// maxPhoneReports is how many choices a phone may report at once.
	maxPhoneReports = 50
	// maxLogins is how many logins may wait for WeChat at once: when it stalls, others go on.
	maxLogins = 50
)

// phone lets a request through that shows a session, and within the limits.
func (s *server) phone(next func(*exchange, *http.Request)) http.HandlerFunc {
	return s.street(s.limits.calls, func(x *exchange, r *http.Request) {
		scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			x.fail(hongyan.Errorf(hongyan.CodeSessionExpired, "The request has no header Authorization: Bearer <session>."))
			return
		}
		session, err := s.l.MPSession(r.Context(), strings.TrimSpace(token))
		if err == nil {
			err = s.phoneApp(session.App)
		}
		if err == nil {
			err = s.limits.apps.take("app", string(session.App))
		}
		if err != nil {
			x.fail(err)
			return
		}
		x.phone = session
		next(x, r)
	})
}

// street is a route that anybody may ask, as often as the limits for an address allow.
func (s *server) street(limit *buckets, next func(*exchange, *http.Request)) http.HandlerFunc {
	return s.open(func(x *exchange, r *http.Request) {
		if err := limit.take("address", network(s.client(r))); err != nil {
			x.fail(err)
			return
		}
		next(x, r)
	})
}

// phoneApp refuses apps whose phones are not to come here; one that is not here looks the same.
func (s *server) phoneApp(id hongyan.AppID) error {
	if a, err := s.l.App(id); err == nil && a.Settings.MP == hongyan.SwitchOn {
		return nil
	}
	return hongyan.Errorf(hongyan.CodeMPDisabled, "The server does not serve the mini program %q.", clip(string(id)))
}

type mpLogin struct {
	AppID hongyan.AppID `json:"appid" doc:"The mini program's AppID."`
	Code  string        `json:"code" doc:"What wx.login gave; it works once, within 5 minutes."`
}

// mpSession is a session as a phone gets it.
type mpSession struct {
	Token     string    `json:"token" doc:"Show it as Authorization: Bearer. It is opaque."`
	ExpiresAt time.Time `json:"expires_at"`
	ExpiresIn int64     `json:"expires_in" doc:"Seconds from now, for phones whose clock is wrong."`
}

func (s *server) sessionOf(ctx context.Context, app hongyan.AppID, openid hongyan.OpenID) (mpSession, error) {
	m, err := s.l.CreateMPSession(ctx, app, openid)
	if err != nil {
		return mpSession{}, err
	}
	return mpSession{Token: m.Token.Reveal(), ExpiresAt: m.ExpiresAt, ExpiresIn: int64(ledger.MPSessionTime.Seconds())}, nil
}

// mpLogin trades a login code for a session. The openid stays here.
func (s *server) mpLogin(ctx context.Context, _ *none, b *mpLogin) (mpSession, error) {
	if err := s.phoneApp(b.AppID); err != nil {
		return mpSession{}, err
	}
	if err := s.limits.apps.take("app", string(b.AppID)); err != nil {
		return mpSession{}, err
	}
	select {
	case s.limits.logins <- struct{}{}:
		defer func() { <-s.limits.logins }()
	default:
		return mpSession{}, &hongyan.Error{Code: hongyan.CodeRateLimited, Message: "Too many logins are waiting for WeChat.", RetryAfter: time.Second}
	}
	user, err := s.trade(ctx, b.AppID, b.Code, "")
	if err != nil {
		return mpSession{}, err
	}
	return s.sessionOf(ctx, b.AppID, user.OpenID)
}

type vouch struct {
	OpenID     hongyan.OpenID `json:"openid" minLength:"1" maxLength:"64" doc:"The user whom your back end has logged in by itself."`
	ExternalID string         `json:"external_id,omitempty" maxLength:"128" doc:"Your own id of this user, to send to in place of the openid."`
}

// createSession is for a team whose own back end logs users in: it vouches for one of them.
func (s *server) createSession(ctx context.Context, in *InApp, b *vouch) (mpSession, error) {
	if !b.OpenID.Valid() {
		return mpSession{}, hongyan.Invalid("/openid", "openid", "%q is not an openid: 1 to 64 characters of A-Z a-z 0-9 _ and -.", clip(string(b.OpenID)))
	}
	if _, err := s.l.RecordLogin(ctx, in.App, ledger.Login{OpenID: b.OpenID, ExternalID: b.ExternalID}); err != nil {
		return mpSession{}, err
	}
	return s.sessionOf(ctx, in.App, b.OpenID)
}

// replaySession has nothing to show: a session is not kept in the clear.
func replaySession(context.Context, *InApp, string) (mpSession, error) {
	return mpSession{}, hongyan.Errorf(hongyan.CodeSecretShownOnce, "The session was shown once; ask for another, with another Idempotency-Key or none.")
}

type endedSessions struct {
	Ended int64 `json:"ended" doc:"How many sessions there were."`
}

func (s *server) endSessions(ctx context.Context, in *inUser) (endedSessions, error) {
	n, err := s.l.EndMPSessions(ctx, in.App, in.OpenID)
	return endedSessions{n}, err
}

// mpScene is a scene as a phone sees it, with its user's own stock.
type mpScene struct {
	Name      string            `json:"name"`
	Templates []mpSceneTemplate `json:"templates"`
}

type mpSceneTemplate struct {
	TemplateID string               `json:"template_id"`
	Title      string               `json:"title"`
	Kind       hongyan.TemplateKind `json:"kind" enum:"unknown,one_time,long_term"`
	Wanted     int                  `json:"wanted" doc:"Ask for more while fewer than this are available."`
	Available  int64                `json:"available"`
	Standing   hongyan.Standing     `json:"standing" enum:"unknown,accept,reject,ban"`
}

type mpGrant struct {
	TemplateID string               `json:"template_id"`
	Kind       hongyan.TemplateKind `json:"kind" enum:"unknown,one_time,long_term"`
	Available  int64                `json:"available"`
	Baseline   hongyan.Baseline     `json:"baseline" enum:"unknown,exact"`
	Standing   hongyan.Standing     `json:"standing" enum:"unknown,accept,reject,ban"`
}

// items is a list without pages.
type items[T any] struct {
	Items []T `json:"items"`
}

// stock is what the session's user has, by template.
func (s *server) stock(ctx context.Context) (session ledger.MPSession, all []hongyan.Subscription, by map[string]hongyan.Subscription, err error) {
	session = exchangeOf(ctx).phone
	all, err = s.l.QueryGrants(ctx, session.App, []hongyan.OpenID{session.OpenID}, "")
	by = make(map[string]hongyan.Subscription, len(all))
	for _, sub := range all {
		by[sub.TemplateID] = sub
	}
	return session, all, by, err
}

func (s *server) mpScenes(ctx context.Context, _ *none) (items[mpScene], error) {
	session, _, have, err := s.stock(ctx)
	if err != nil {
		return items[mpScene]{}, err
	}
	scenes, err := s.l.Scenes(session.App)
	if err != nil {
		return items[mpScene]{}, err
	}
	out := items[mpScene]{Items: []mpScene{}}
	for _, sc := range scenes {
		shown := mpScene{Name: sc.Name, Templates: []mpSceneTemplate{}}
		for _, t := range sc.Templates {
			te, err := s.l.Template(session.App, t.Template)
			if err != nil || !te.GoneAt.IsZero() {
				continue // deleted at WeChat: asking for it would fail the whole tap
			}
			sub, ok := have[te.TemplateID]
			if !ok {
				sub.Standing = hongyan.StandingUnknown
			}
			shown.Templates = append(shown.Templates, mpSceneTemplate{TemplateID: te.TemplateID, Title: te.Title, Kind: te.Kind, Wanted: t.Wanted, Available: sub.Available, Standing: sub.Standing})
		}
		out.Items = append(out.Items, shown)
	}
	return out, nil
}

func (s *server) mpGrants(ctx context.Context, _ *none) (items[mpGrant], error) {
	session, all, have, err := s.stock(ctx)
	if err != nil {
		return items[mpGrant]{}, err
	}
	scenes, err := s.l.Scenes(session.App)
	for _, sc := range scenes {
		for _, t := range sc.Templates { // what the user has never been asked for counts too
			te, err := s.l.Template(session.App, t.Template)
			if _, known := have[t.Template]; err == nil && !known {
				have[t.Template] = hongyan.Subscription{}
				all = append(all, hongyan.Subscription{TemplateID: te.TemplateID, Counters: hongyan.Counters{Baseline: hongyan.BaselineUnknown, Standing: hongyan.StandingUnknown, Kind: te.Kind}})
			}
		}
	}
	out := items[mpGrant]{Items: []mpGrant{}}
	for _, sub := range all {
		out.Items = append(out.Items, mpGrant{TemplateID: sub.TemplateID, Kind: sub.Kind, Available: sub.Available, Baseline: sub.Baseline, Standing: sub.Standing})
	}
	return out, err
}

// phoneReport is one choice of a tap as a phone reports it; whose it is the session says.
type phoneReport struct {
	ID       string `json:"id" minLength:"1" maxLength:"64" doc:"Random, made at the tap; sending it again changes nothing."`
	Template string `json:"template" doc:"template_id"`
	Choice   string `json:"choice" doc:"WeChat's word as it came."`
	AgeMS    int64  `json:"age_ms,omitempty" minimum:"0" maximum:"2592000000" doc:"Milliseconds from the tap to this report, on the phone's own clock."`
	Silent   *bool  `json:"silent,omitempty" doc:"Whether \"always keep\" was on before the tap; omit if unknown."`
}

type phoneReports struct {
	Reports []phoneReport `json:"reports" minItems:"1" maxItems:"50"`
}

// phoneResult says what a report did; the count itself is the team's, not the phone's.
type phoneResult struct {
	ID      string `json:"id"`
	Counted int64  `json:"counted"`
	Note    string `json:"note,omitempty"`
}

func (s *server) mpReport(ctx context.Context, _ *none, b *phoneReports) (items[phoneResult], error) {
	session := exchangeOf(ctx).phone
	if len(b.Reports) == 0 || len(b.Reports) > maxPhoneReports {
		return items[phoneResult]{}, hongyan.Invalid("/reports", "length", "Send 1 to %d reports; there are %d.", maxPhoneReports, len(b.Reports))
	}
	reports := make([]hongyan.Report, len(b.Reports))
	for i, r := range b.Reports {
		reports[i] = hongyan.Report{ID: r.ID, OpenID: session.OpenID, Template: r.Template, Choice: r.Choice, AgeMS: r.AgeMS, Silent: r.Silent}
	}
	results, err := s.l.Report(ctx, session.App, reports)
	if err != nil {
		return items[phoneResult]{}, unprocessable(err)
	}
	out := items[phoneResult]{Items: make([]phoneResult, len(results))}
	for i, r := range results {
		out.Items[i] = phoneResult{ID: r.ID, Counted: r.Counted, Note: r.Note}
	}
	return out, nil
}

// unprocessable makes one status of whatever is wrong with reports: the phone looks at the
// pointers, drops those named and sends the others again.
func unprocessable(err error) error {
	e, ok := err.(*hongyan.Error)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	moved := *e
	moved.Code = hongyan.CodeInvalidReports
	return &moved
}
