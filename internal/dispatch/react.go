package dispatch

import (
	"context"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// In-a-row counts after which a cause is taken to lie in the app or template, not in the message.
const (
	manyInvalidUsers = 20
	manyRefused      = 20
	manyLimited      = 3
	bannedWithin     = 10 * time.Minute
	maxProbeRest     = 15 * time.Minute
)

// streaks count refusals in a row.
type streaks struct {
	invalid map[hongyan.OpenID]bool // different openids answered 40003
	limited map[hongyan.OpenID]bool // different openids answered 50002
	refused map[string]int          // by template: caller and unknown errcodes
	banned  map[string]time.Time    // by template: 43107
}

// react does what an outcome means around its message: pauses, pace, rest, marks. It may
// sharpen the outcome (a third user who is "limited" shows that it is the account).
func (l *lane) react(ctx context.Context, j *ledger.Job, o *hongyan.Outcome) {
	now := l.d.now()
	l.count(j, o, now)
	if o.Class == hongyan.OutcomeOK && !j.Probe() {
		return // nearly always
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch o.Class {
	case hongyan.OutcomeBusy:
		l.pace.slow(now)
	case hongyan.OutcomePace:
		l.pace.slow(now)
		l.rest(time.Minute)
	case hongyan.OutcomeQuota:
		l.quota(ctx, j, o, now)
	case hongyan.OutcomeAccount:
		reason, rest := accountPause(*o)
		l.pause(ctx, hongyan.PauseApp, "", reason, *o, rest, now)
	case hongyan.OutcomeToken:
		l.pause(ctx, hongyan.PauseApp, "", hongyan.PauseTokenRejected, *o, time.Minute, now)
	case hongyan.OutcomeTemplate:
		l.templateGone(ctx, j, o, now)
	case hongyan.OutcomeUnsent:
		if o.StartedAt.IsZero() {
			l.rest(time.Second) // the token could not be fetched; the failure is shared for that long
		}
	}
	l.endProbe(ctx, j, *o)
}

// count keeps the streaks and pauses what they point at.
func (l *lane) count(j *ledger.Job, o *hongyan.Outcome, now time.Time) {
	m := &j.Message
	l.mu.Lock()
	s := &l.streak
	if s.refused == nil {
		s.invalid, s.limited, s.refused, s.banned = map[hongyan.OpenID]bool{}, map[hongyan.OpenID]bool{}, map[string]int{}, map[string]time.Time{}
	}
	var todo func(ctx context.Context)
	switch o.Class {
	case hongyan.OutcomeOK, hongyan.OutcomeRecipient:
		clear(s.invalid)
		clear(s.limited)
		delete(s.refused, m.Template)
	case hongyan.OutcomeOpenID:
		s.invalid[m.To] = true
		if len(s.invalid) >= manyInvalidUsers {
			clear(s.invalid)
			todo = func(ctx context.Context) {
				l.pause(ctx, hongyan.PauseApp, "", hongyan.PauseManyInvalidUsers, *o, 0, now)
			}
		}
	case hongyan.OutcomeCaller, hongyan.OutcomeUnknown:
		s.refused[m.Template]++
		if s.refused[m.Template] >= manyRefused {
			delete(s.refused, m.Template)
			todo = func(ctx context.Context) {
				l.pause(ctx, hongyan.PauseTemplate, m.Template, hongyan.PauseManyRefused, *o, 0, now)
			}
		}
	case hongyan.OutcomeLimited:
		s.limited[m.To] = true
		if len(s.limited) >= manyLimited {
			clear(s.limited)
			o.Class = hongyan.OutcomeAccount
		}
	case hongyan.OutcomeBanned:
		other := false
		for id, at := range s.banned {
			other = other || id != m.Template && now.Sub(at) < bannedWithin
		}
		s.banned[m.Template] = now
		todo = func(ctx context.Context) {
			if other {
				l.pause(ctx, hongyan.PauseApp, "", hongyan.PauseTemplateBanned, *o, bannedWithin, now)
			}
			l.pause(ctx, hongyan.PauseTemplate, m.Template, hongyan.PauseTemplateBanned, *o, bannedWithin, now)
		}
	}
	l.mu.Unlock()
	if todo != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		todo(ctx)
	}
}

// quota pauses the path until the day ends; a probe that still finds it spent comes again in half an hour.
func (l *lane) quota(ctx context.Context, j *ledger.Job, o *hongyan.Outcome, now time.Time) {
	rest := nextQuotaDay(now).Sub(now)
	if j.Probe() {
		rest = 30 * time.Minute
	}
	p := hongyan.Pause{Scope: hongyan.PausePath, Key: hongyan.SendPath, Reason: hongyan.PauseDailyQuota, Errcode: o.Errcode, Detail: o.Errmsg, Since: now, ProbeAt: now.Add(rest)}
	if o.StartedAt.IsZero() {
		// It was the token endpoint's quota: nothing of the app can be sent.
		p.Scope, p.Key = hongyan.PauseApp, ""
	}
	l.store(ctx, p)
}

func (l *lane) templateGone(ctx context.Context, j *ledger.Job, o *hongyan.Outcome, now time.Time) {
	if err := l.d.cfg.Ledger.MarkTemplate(ctx, l.id, j.Message.Template, false); err != nil {
		l.d.log.ErrorContext(ctx, "template not marked stale", "appid", l.id, "template_id", j.Message.Template, "err", err)
	}
	l.pause(ctx, hongyan.PauseTemplate, j.Message.Template, hongyan.PauseTemplateGone, *o, 0, now)
	l.syncTemplates(context.WithoutCancel(ctx))
}

// pause holds back from now on; a failed probe doubles its rest, within limits. rest 0: until a person resumes.
func (l *lane) pause(ctx context.Context, scope hongyan.PauseScope, key, reason string, o hongyan.Outcome, rest time.Duration, now time.Time) {
	p := hongyan.Pause{Scope: scope, Key: key, Reason: reason, Errcode: o.Errcode, Detail: o.Errmsg, Since: now}
	if app, err := l.d.cfg.Ledger.App(l.id); err == nil {
		for _, old := range app.Pauses {
			if old.Scope != scope || old.Key != key || old.Reason != reason {
				continue
			}
			if old.ProbeAt.After(now) {
				return // another call of the same moment has said it
			}
			p.Since, p.Probes = old.Since, old.Probes+1
		}
	}
	if rest > 0 {
		if reason != hongyan.PauseTokenRejected && rest < maxProbeRest {
			rest = min(rest<<min(p.Probes, 10), maxProbeRest)
		}
		p.ProbeAt = now.Add(rest)
	}
	l.store(ctx, p)
}

func (l *lane) store(ctx context.Context, p hongyan.Pause) {
	if err := l.d.cfg.Ledger.Pause(ctx, l.id, p); err != nil {
		l.d.log.ErrorContext(ctx, "pause not written", "appid", l.id, "reason", p.Reason, "err", err)
		l.rest(10 * time.Second) // hold back in memory at least
		return
	}
	l.d.log.WarnContext(ctx, "paused", "appid", l.id, "scope", p.Scope, "key", p.Key, "reason", p.Reason, "errcode", p.Errcode, "probe_at", p.ProbeAt)
}

// endProbe lifts the pauses that a probe has shown to be over: WeChat answered something
// that is about the message and no longer about the app or template.
func (l *lane) endProbe(ctx context.Context, j *ledger.Job, o hongyan.Outcome) {
	if !j.Probe() {
		return
	}
	switch o.Class {
	case hongyan.OutcomeOK, hongyan.OutcomeRecipient, hongyan.OutcomeOpenID, hongyan.OutcomeCaller, hongyan.OutcomeSameUser, hongyan.OutcomeUnknown:
	default:
		return
	}
	app, err := l.d.cfg.Ledger.App(l.id)
	if err != nil {
		return
	}
	now := l.d.now()
	for _, p := range app.Pauses {
		if p.Manual() || p.ProbeAt.After(now) || p.Scope == hongyan.PauseTemplate && p.Key != j.Message.Template || p.Scope == hongyan.PausePath && p.Key != hongyan.SendPath {
			continue
		}
		if err := l.d.cfg.Ledger.Resume(ctx, l.id, p.Scope, p.Key, ledger.ResumeBySystem); err != nil {
			l.d.log.ErrorContext(ctx, "pause not lifted", "appid", l.id, "err", err)
			continue
		}
		l.d.log.InfoContext(ctx, "pause is over", "appid", l.id, "scope", p.Scope, "key", p.Key, "reason", p.Reason)
	}
}
