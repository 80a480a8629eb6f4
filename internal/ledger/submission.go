package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
)

// prepare does everything that needs no transaction.
func (l *Ledger) prepare(ctx context.Context, s *hongyan.Submission) (*submitItem, error) {
	now := l.Now()
	if f := s.Check(now); len(f) > 0 {
		return nil, &hongyan.Error{Code: hongyan.CodeInvalid, Message: f[0].Detail, Fields: f}
	}
	a, te, err := l.template(s.App, s.Template)
	if err != nil {
		return nil, err
	}
	set := &a.app.Settings
	to := s.To.OpenID
	if s.To.User != "" {
		if to, err = l.openIDOf(ctx, a, s.To.User); err != nil {
			return nil, err
		}
	}
	if !set.Allows(to) {
		return nil, &hongyan.Error{Code: hongyan.CodeOpenIDNotAllowed, Message: "The app's only_openids setting does not list this openid.",
			Fields: []hongyan.FieldError{{Pointer: "/to", Code: "not_allowed", Detail: "Not in only_openids of the app's settings."}}}
	}
	data, warnings, err := checkData(&te.template, s, set)
	if err != nil {
		return nil, err
	}
	it := &submitItem{app: a, template: te, explicit: ms(s.ExpiresAt), sendAt: s.SendAt}
	m := &it.message
	*m = hongyan.Message{
		App: s.App, To: to, Template: te.template.TemplateID, Data: data,
		Page: strings.TrimLeft(s.Page, "/"), MiniprogramState: or(s.MiniprogramState, set.MiniprogramState, "formal"), Lang: or(s.Lang, "zh_CN"),
		Priority: or(s.Priority, hongyan.PriorityNormal), Reserve: or(s.Reserve, hongyan.ReserveSubmit), OnNoGrant: or(s.OnNoGrant, hongyan.OnNoGrantFail),
		HoldForS: s.HoldForS, OnUncertain: or(s.OnUncertain, hongyan.OnUncertainKeep), OnBusy: or(s.OnBusy, set.OnBusy, hongyan.OnBusyRetry),
		DedupKey: s.DedupKey, Tags: s.Tags, Metadata: s.Metadata, Warnings: warnings, SendAt: s.SendAt, ExpiresAt: s.ExpiresAt,
	}
	if s.GrantReport != nil {
		r := *s.GrantReport
		if r.OpenID != "" && r.OpenID != to || r.Template != "" && a.lookup(r.Template) != te {
			return nil, hongyan.Invalid("/grant_report", "mismatch", "grant_report must be about the message's own recipient and template; leave openid and template out of it.")
		}
		r.OpenID, r.Template = to, m.Template
		it.report = &r
	}
	it.data = encodeData(data)
	opt := optionsOf(m, it.explicit)
	it.options, err = opt.encode()
	return it, err
}

// checkData fits and validates the data; faults that refuse it come back as an error.
func checkData(t *hongyan.Template, s *hongyan.Submission, set *hongyan.AppSettings) (map[string]string, []hongyan.DataFault, error) {
	data := s.Data
	if fit := or(s.Fit, set.Fit, hongyan.FitNone); fit != hongyan.FitNone {
		data, _ = hongyan.FitData(t, data, fit)
	}
	faults := hongyan.ValidateData(t, data)
	if len(faults) == 0 {
		return data, nil, nil
	}
	if err := hongyan.RefusedData(faults, or(s.Validation, set.Validation, hongyan.ValidationNormal)); err != nil {
		return nil, nil, err
	}
	return data, faults, nil
}

// openIDOf finds the openid of the integrator's own user id.
func (l *Ledger) openIDOf(ctx context.Context, a *appEntry, external string) (hongyan.OpenID, error) {
	var o hongyan.OpenID
	err := l.rdb.QueryRowContext(ctx, `/* ledger.openIDOf */ SELECT openid FROM users WHERE app_no = ? AND external_id = ?`, a.no, external).Scan(&o)
	if errors.Is(err, sql.ErrNoRows) {
		return "", &hongyan.Error{Code: hongyan.CodeUserNotFound, Message: fmt.Sprintf("App %s knows no user %q.", a.app.AppID, clipped(external)),
			Fields: []hongyan.FieldError{{Pointer: "/to/user", Code: "not_found", Detail: "No user has this external id; give it at login, or send to the openid."}}}
	}
	if err != nil {
		return "", fmt.Errorf("read user: %w", err)
	}
	return o, nil
}

// dryRun says what a submit would have done, and stores nothing.
func (l *Ledger) dryRun(ctx context.Context, it *submitItem) SubmitResult {
	sub, err := l.Subscription(ctx, it.message.App, it.message.To, it.message.Template)
	if err != nil {
		return SubmitResult{Err: err}
	}
	m := it.message
	m.DryRun = true
	now := l.Now()
	due := latest(m.SendAt, now)
	m.SendAt, m.CreatedAt, m.UpdatedAt = due.UTC(), now.UTC(), now.UTC()
	m.ExpiresAt = at(or(it.explicit, ms(due.Add(it.app.app.Settings.Expiry()))))
	if it.report != nil && hongyan.ClassifyChoice(it.report.Choice) == hongyan.ChoiceAccept {
		sub.Add(1) // the tap that comes with it would count first
		sub.Standing = hongyan.StandingAccept
	}
	m.Status = hongyan.StateQueued
	if due.After(now) {
		m.Status = hongyan.StateScheduled
	}
	if m.Reserve == hongyan.ReserveSend && due.After(now) {
		return SubmitResult{Message: &m}
	}
	switch sub.Admit(m.OnNoGrant) {
	case hongyan.AdmitRefused:
		return SubmitResult{Err: noGrant(&m)}
	case hongyan.AdmitHeld:
		m.Status = hongyan.StateHeld
	case hongyan.AdmitReserved:
		m.Reserved = 1
	}
	return SubmitResult{Message: &m}
}

func noGrant(m *hongyan.Message) error {
	return &hongyan.Error{Code: hongyan.CodeNoGrant, Message: "This user has no unused subscription for the template; WeChat was not called.",
		Fields: []hongyan.FieldError{{Pointer: "/to", Code: "no_grant", Detail: "The count of " + m.Template + " is exact and zero."}}}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
