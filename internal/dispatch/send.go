package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// handOffWait is how long a leased row may wait for a sender before it goes back to the queue.
const handOffWait = time.Second

// process takes one leased message through its attempt and hands the outcome back.
func (l *lane) process(j *ledger.Job) {
	ctx := context.Background() // a call under way at a stop is awaited, not cut
	l.pace.kept(1)
	o := l.attempt(ctx, j)
	o.Jitter = jitter()
	l.d.metrics.outcomes.WithLabelValues(string(o.Class)).Inc()
	// The pause comes before the result, so that a requeued message is not claimed at once.
	l.react(ctx, j, &o)
	l.d.cfg.Ledger.RecordAttempt(j, o)
	if j.Probe() {
		l.probeDone()
	}
}

// attempt makes the call, if everything still allows it.
func (l *lane) attempt(ctx context.Context, j *ledger.Job) hongyan.Outcome {
	if o, ok := l.mayCall(j); !ok {
		return o
	}
	token, err := l.token(ctx)
	if err != nil {
		return tokenOutcome(err)
	}
	o := l.call(ctx, j, token)
	if o.Class != hongyan.OutcomeToken || token == "" {
		return o
	}
	// Refused before anything was done: one repeat at once with another token is safe.
	if err := l.d.cfg.Tokens.RefusedBy(ctx, l.id, token, hongyan.TokenRefusal{Errcode: o.Errcode, By: hongyan.SendPath, Rid: o.Rid}); err != nil {
		return o
	}
	next, err := l.token(ctx)
	if err != nil {
		return tokenOutcome(err)
	}
	if again, ok := l.mayCall(j); !ok {
		return again
	}
	return l.call(ctx, j, next)
}

// mayCall is the fence and everything else that can hold a leased message back; ok false
// comes with the outcome that gives it back.
func (l *lane) mayCall(j *ledger.Job) (hongyan.Outcome, bool) {
	giveBack := hongyan.Outcome{Class: hongyan.OutcomeGiveBack}
	now, wall := time.Now(), l.d.now()
	if now.Sub(j.HandedAt) > handOffWait && !j.Probe() && j.Fresh() {
		return giveBack, false
	}
	if o, ok := l.fence(j); !ok {
		return o, false
	}
	if rest := l.resting(); rest > 0 {
		giveBack.RetryAt = wall.Add(rest)
		return giveBack, false
	}
	app, err := l.d.cfg.Ledger.App(l.id)
	if err != nil || !j.Probe() && held(app, j.Message.Template) {
		return giveBack, false
	}
	wait := l.pace.delay(wall, handOffWait)
	if wait > handOffWait {
		giveBack.RetryAt = wall.Add(wait)
		return giveBack, false
	}
	if wait > 0 {
		time.Sleep(wait)
	}
	return hongyan.Outcome{}, true
}

// fence is what must hold when a request is written: results can be written, the lease
// lasts on both clocks, the message has not expired, the server is not stopping, and a caller
// who waits is still there: one who has left may have asked another replica while the row was
// not on disk, and has the answer to that.
func (l *lane) fence(j *ledger.Job) (hongyan.Outcome, bool) {
	wall := l.d.now()
	switch {
	case l.d.stopping.Load(), l.d.cfg.Ledger.Stalled(), j.Abandoned(),
		time.Until(j.Deadline) < ledger.LeaseMargin, j.LeaseUntil.Sub(wall) < ledger.LeaseMargin:
		return hongyan.Outcome{Class: hongyan.OutcomeGiveBack}, false
	case !wall.Before(j.Message.ExpiresAt):
		return hongyan.Outcome{Class: hongyan.OutcomeExpired}, false
	}
	return hongyan.Outcome{}, true
}

// held reports whether a pause that came after the claim holds the template back.
func held(app hongyan.App, template string) bool {
	for _, p := range app.Pauses {
		if p.Scope == hongyan.PauseApp || p.Scope == hongyan.PausePath && p.Key == hongyan.SendPath || p.Scope == hongyan.PauseTemplate && p.Key == template {
			return true
		}
	}
	return false
}

// token waits for the app's token. The source bounds its waits by itself, and what is left
// of the lease is looked at again before the write: a timer for each call would cost more
// than the token.
func (l *lane) token(ctx context.Context) (string, error) {
	return l.d.cfg.Tokens.AccessToken(ctx, string(l.id))
}

// call tries the endpoints in order until one was reached: after the first byte of a
// request no other endpoint is tried.
func (l *lane) call(ctx context.Context, j *ledger.Job, token string) hongyan.Outcome {
	o := hongyan.Outcome{Class: hongyan.OutcomeGiveBack}
	for i, c := range l.d.cfg.Clients {
		b := l.breakers[i]
		if !b.allow(l.d.now()) {
			continue
		}
		// Again just before the write: waiting for a token or a place in the pace takes time.
		if back, ok := l.fence(j); !ok {
			b.cancel()
			return back
		}
		closed := b.closed()
		o = l.callOne(ctx, c, j, token)
		b.done(l.d.now(), o.Answered())
		o.Uncounted = !closed || j.Probe()
		if o.Class != hongyan.OutcomeUnsent {
			return o
		}
	}
	if wait := l.breakerWait(l.d.now()); wait > 0 {
		o.RetryAt = l.d.now().Add(wait)
	}
	return o
}

func (l *lane) callOne(ctx context.Context, c *wechat.Client, j *ledger.Job, token string) hongyan.Outcome {
	m := &j.Message
	started := time.Now() // the client has the call's time-out
	at := l.d.now()
	res, err := c.SendSubscribeMessage(ctx, token, wireMessage(m))
	took := time.Since(started)
	l.d.metrics.seconds.Observe(took.Seconds())
	o := outcomeOf(res, err)
	o.StartedAt, o.EndedAt = at, at.Add(took)
	if o.Class != hongyan.OutcomeOK {
		l.d.log.Debug("send refused or unanswered", "appid", l.id, "message_id", m.ID, "attempt", m.Attempt, "errcode", o.Errcode, "outcome", o.Class, "duration_ms", took.Milliseconds(), "err", o.Errmsg)
	}
	return o
}

func wireMessage(m *hongyan.Message) *wechat.SubscribeMessage {
	w := &wechat.SubscribeMessage{ToUser: string(m.To), TemplateID: m.Template, Page: m.Page, MiniprogramState: m.MiniprogramState, Lang: m.Lang,
		Data: make(map[string]wechat.DataValue, len(m.Data))}
	for k, v := range m.Data {
		w.Data[k] = wechat.DataValue{Value: v}
	}
	return w
}

// syncTemplates asks once in six hours whether WeChat still lists a template that it
// refused: the list's own quota is tiny.
func (l *lane) syncTemplates(ctx context.Context) {
	l.mu.Lock()
	recent := !l.synced.IsZero() && time.Since(l.synced) < 6*time.Hour
	if !recent {
		l.synced = time.Now()
	}
	l.mu.Unlock()
	if recent {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ledger.CallTimeout)
	defer cancel()
	token, err := l.d.cfg.Tokens.AccessToken(ctx, string(l.id))
	if err == nil {
		var list []wechat.Template
		if list, err = l.d.cfg.Clients[0].GetTemplateList(ctx, token); err == nil {
			err = l.d.cfg.Ledger.SaveTemplates(ctx, l.id, syncedTemplates(list))
		}
	}
	var we *wechat.Error
	if err != nil && !errors.As(err, &we) {
		l.d.log.ErrorContext(ctx, "template sync after a refused template failed", "appid", l.id, "err", err)
	}
}

func syncedTemplates(list []wechat.Template) []ledger.SyncedTemplate {
	out := make([]ledger.SyncedTemplate, len(list))
	for i, t := range list {
		out[i] = ledger.SyncedTemplate{TemplateID: t.PriTmplID, Title: t.Title, Content: t.Content, Example: t.Example, Kind: hongyan.TemplateKindOf(t.Type), Enums: t.Enums()}
	}
	return out
}
