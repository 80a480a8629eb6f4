package api

import (
	"context"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

type inStats struct {
	App      hongyan.AppID   `query:"app" maxLength:"64" doc:"Only this app."`
	Template string          `query:"template" maxLength:"128" doc:"Only this template of the app: template_id or alias."`
	From     time.Time       `query:"from" doc:"Begin, at most 400 days ago; whole hours count. Default: a day ago by hour, else the midnight in Beijing six days ago."`
	To       time.Time       `query:"to" doc:"End; an hour that has begun by then counts whole. Default: now."`
	By       hongyan.StatsBy `query:"by" enum:"hour,day,template,app,reason" default:"day" doc:"What figures are told apart by. A day is one of Beijing time."`
}

// The longest spans: an answer has an item for each hour or day.
const (
	mostHours = 31 * 24 * time.Hour
	mostDays  = 400 * 24 * time.Hour
)

func (s *server) getStats(ctx context.Context, in *inStats) (hongyan.Stats, error) {
	key := exchangeOf(ctx).key
	if err := seesApp(key, in.App); err != nil {
		return hongyan.Stats{}, at(err, "/app")
	}
	q := ledger.FiguresQuery{App: in.App, Apps: appsOf(key), Template: in.Template, By: in.By}
	if in.Template != "" && in.App == "" {
		return hongyan.Stats{}, hongyan.Invalid("/app", "missing", "Name the app that the template belongs to.")
	}
	if err := in.span(&q, s.Now()); err != nil {
		return hongyan.Stats{}, err
	}
	return s.l.Figures(ctx, q)
}

// span makes whole hours of the times that are asked for.
func (in *inStats) span(q *ledger.FiguresQuery, now time.Time) error {
	to, from := in.To, in.From
	if to.IsZero() {
		to = now
	}
	if q.To = to.Truncate(time.Hour); q.To.Before(to) {
		q.To = q.To.Add(time.Hour)
	}
	switch {
	case !from.IsZero():
		q.From = from.Truncate(time.Hour)
	case in.By == hongyan.ByHour:
		q.From = q.To.Add(-24 * time.Hour)
	default:
		y, m, d := q.To.Add(-time.Hour).In(hongyan.Beijing).Date()
		q.From = time.Date(y, m, d-6, 0, 0, 0, 0, hongyan.Beijing)
	}
	most, words := mostDays, "400 days"
	if in.By == hongyan.ByHour {
		most, words = mostHours, "31 days"
	}
	switch {
	case !q.From.Before(q.To):
		return hongyan.Invalid("/from", "range", "from is before to.")
	case q.To.Sub(q.From) > most+time.Hour: // which is not whole at either end
		return hongyan.Invalid("/from", "range", "By %s, figures are for at most %s at once.", in.By, words)
	}
	return nil
}

// appsOf are the apps that a key is limited to; nil means all.
func appsOf(key hongyan.APIKey) []hongyan.AppID {
	if len(key.Apps) == 0 {
		return nil
	}
	return key.Apps
}
