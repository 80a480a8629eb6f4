package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// FiguresQuery says which figures are wanted. From and To are begins of hours.
type FiguresQuery struct {
	App      hongyan.AppID
	Apps     []hongyan.AppID // any of these; nil means all
	Template string          // of App: template_id or alias
	From, To time.Time
	By       hongyan.StatsBy
}

// Figures adds up what was counted.
func (l *Ledger) Figures(ctx context.Context, q FiguresQuery) (hongyan.Stats, error) {
	out := hongyan.Stats{By: q.By, From: q.From.UTC(), To: q.To.UTC(), Items: []hongyan.StatsItem{}}
	places, err := l.figurePlaces(q)
	if err != nil {
		return out, err
	}
	rows, err := l.figures(ctx, places, q)
	if err != nil {
		return out, err
	}
	items := make(map[hongyan.StatsItem]*hongyan.Counts)
	for k, n := range rows {
		var c hongyan.Counts
		add(&c, k.what, n)
		out.Totals.Add(c)
		name := q.name(k, places)
		if items[name] == nil {
			items[name] = new(hongyan.Counts)
		}
		items[name].Add(c)
	}
	for _, name := range q.every() {
		if items[name] == nil {
			items[name] = new(hongyan.Counts)
		}
	}
	for name, c := range items {
		name.Counts = *c
		out.Items = append(out.Items, name)
	}
	slices.SortFunc(out.Items, byFigure)
	return out, nil
}

// byFigure is the order of items: by time, or the most first.
func byFigure(a, b hongyan.StatsItem) int {
	much := func(i hongyan.StatsItem) int64 { return i.Submitted + i.Accepted + i.Failed + i.Undelivered }
	return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Day, b.Day), cmp.Compare(much(b), much(a)),
		cmp.Compare(a.App, b.App), cmp.Compare(a.TemplateID, b.TemplateID), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Errcode, b.Errcode))
}

// name is the item that a row belongs to.
func (q *FiguresQuery) name(k statKey, places map[int64]figurePlace) (i hongyan.StatsItem) {
	switch q.By {
	case hongyan.ByHour:
		i.Hour = at(k.hour * hourMS)
	case hongyan.ByDay:
		i.Day = beijingDay(at(k.hour * hourMS))
	case hongyan.ByTemplate:
		i.App, i.TemplateID = places[k.template].app.AppID, places[k.template].template
	case hongyan.ByApp:
		i.App = places[k.template].app.AppID
	case hongyan.ByReason:
		i.Reason, i.Errcode = hongyan.Code(k.reason), int(k.errcode)
	}
	return i
}

func beijingDay(t time.Time) string { return t.In(hongyan.Beijing).Format(time.DateOnly) }

// every are the items that are there whether or not something happened.
func (q *FiguresQuery) every() (out []hongyan.StatsItem) {
	for t := q.From.UTC(); t.Before(q.To); t = t.Add(time.Hour) {
		switch q.By {
		case hongyan.ByHour:
			out = append(out, hongyan.StatsItem{Hour: t})
		case hongyan.ByDay:
			if d := beijingDay(t); len(out) == 0 || out[len(out)-1].Day != d {
				out = append(out, hongyan.StatsItem{Day: d})
			}
		}
	}
	return out
}

// figurePlace is whose a template is.
type figurePlace struct {
	app      hongyan.App
	template string
}

// figurePlaces are the templates that are asked for, by number.
func (l *Ledger) figurePlaces(q FiguresQuery) (map[int64]figurePlace, error) {
	out := make(map[int64]figurePlace)
	if q.App != "" {
		if _, err := l.app(q.App); err != nil {
			return nil, err
		}
	}
	only := int64(0)
	if q.Template != "" {
		_, te, err := l.template(q.App, q.Template)
		if err != nil {
			return nil, err
		}
		only = te.no
	}
	l.cache.mu.RLock()
	defer l.cache.mu.RUnlock()
	for id, a := range l.cache.byID {
		if q.App != "" && id != q.App || q.Apps != nil && !slices.Contains(q.Apps, id) {
			continue
		}
		for no, te := range a.byNo {
			if only == 0 || no == only {
				out[no] = figurePlace{a.app, te.template.TemplateID}
			}
		}
	}
	return out, nil
}

// add adds to the field of what was counted.
func add(c *hongyan.Counts, what, n int64) {
	switch what {
	case whatSubmitted:
		c.Submitted += n
	case stAccepted:
		c.Accepted += n
	case stDelivered:
		c.Delivered += n
	case stUndelivered:
		c.Undelivered += n
	case stFailed:
		c.Failed += n
	case stUncertain:
		c.Uncertain += n
	case stCanceled:
		c.Canceled += n
	case stExpired:
		c.Expired += n
	case stHeld:
		c.Held += n
	case whatGranted:
		c.Granted += n
	case whatRejected:
		c.Rejected += n
	case whatVoided:
		c.Voided += n
	}
}

// figures reads sums of the templates. A key has what q tells apart by, and nothing else. Both
// tables are read by one statement: between two, a fold could move rows.
func (l *Ledger) figures(ctx context.Context, places map[int64]figurePlace, q FiguresQuery) (map[statKey]int64, error) {
	template, hour, reason, errcode, cond := "0", "0", "''", "0", ""
	switch q.By {
	case hongyan.ByHour:
		hour = "hour"
	case hongyan.ByDay: // the first hour of the day in Beijing
		hour = "hour - (hour + 8) % 24"
	case hongyan.ByTemplate, hongyan.ByApp:
		template = "template_no"
	case hongyan.ByReason:
		reason, errcode, cond = "reason", "errcode", " AND (what = 7 OR what = 8)"
	case byAll:
		template, hour, reason, errcode = "template_no", "hour", "reason", "errcode"
	}
	sum, group := "SUM(n)", " GROUP BY t, h, what, r, e"
	if q.By == byAll { // one by one they are quicker read than sorted
		sum, group = "n", ""
	}
	out := make(map[statKey]int64)
	cols := template + ` AS t, ` + hour + ` AS h, what, ` + reason + ` AS r, ` + errcode + ` AS e, n`
	for part := range slices.Chunk(sortedKeys(places), lookupMost) {
		nos := make([]any, len(part))
		for i, no := range part {
			nos[i] = no
		}
		list, args := l.d.list(nos, kindInt)
		where := ` WHERE template_no ` + list + ` AND hour >= ? AND hour < ?` + cond
		args = append(args, ms(q.From)/hourMS, ms(q.To)/hourMS)
		rs, err := l.rdb.QueryContext(ctx, `/* ledger.figures */ SELECT t, h, what, r, e, `+sum+` FROM (SELECT `+cols+` FROM stats`+where+` UNION ALL SELECT `+cols+` FROM stat_deltas`+where+
			`) x`+group, append(slices.Clone(args), args...)...)
		if err != nil {
			return nil, fmt.Errorf("read figures: %w", err)
		}
		if err := eachRow(rs, func(r scanner) error {
			var k statKey
			var n int64
			err := r.Scan(&k.template, &k.hour, &k.what, &k.reason, &k.errcode, &n)
			out[k] += n
			return err
		}); err != nil {
			return nil, fmt.Errorf("read figures: %w", err)
		}
	}
	return out, nil
}

// byAll tells apart by everything.
const byAll hongyan.StatsBy = "all"

// Overview is the overview of apps as the ledger knows it: words are missing.
type Overview struct {
	hongyan.Overview // without reasons and apps
	Reasons          []hongyan.StatsItem
	Apps             []AppOverview
}

// AppOverview is one app of it.
type AppOverview struct {
	Facts            hongyan.AppFacts
	Today            hongyan.Counts
	LastAcceptedHour time.Time
}

// Overview reads what a first look wants to know of one app, or of these; nil means all. What it
// costs does not depend on how many messages there are.
func (l *Ledger) Overview(ctx context.Context, app hongyan.AppID, apps []hongyan.AppID) (Overview, error) {
	now := l.Now()
	q := FiguresQuery{App: app, Apps: apps, By: byAll}
	places, err := l.figurePlaces(q)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{Overview: hongyan.Overview{At: now.UTC()}}
	by := make(map[int64]*AppOverview) // by the app's number
	if err := l.overviewApps(ctx, q, &o, by); err != nil {
		return o, err
	}
	midnight := dayOf(now)
	q.From, q.To = midnight.AddDate(0, 0, -1), now.Add(2*time.Hour) // clocks of replicas differ
	rows, err := l.twoDays(ctx, places, q)
	if err != nil {
		return o, err
	}
	o.add(rows, l.appNos(places), by)
	o.Reasons = topReasons(rows, ms(midnight)/hourMS)
	return o, l.overviewQueue(ctx, places, &o, by)
}

// pastFigures are those of hours that are over, by template: nothing is added to them any
// more, so an overview need not read them each time.
type pastFigures struct {
	mu       sync.Mutex
	from, to time.Time
	read     time.Time // when: whatever it may be that came late, it counts a minute later
	rows     map[int64]map[statKey]int64
}

// pastFor is how long they are not read again, pastAfter how long ago an hour must have
// ended: longer than any transaction lasts and clocks of replicas differ.
const pastFor, pastAfter = time.Minute, 10 * time.Minute

// twoDays reads what q asks for: from memory what is over, the rest from the database.
func (l *Ledger) twoDays(ctx context.Context, places map[int64]figurePlace, q FiguresQuery) (map[statKey]int64, error) {
	now := l.Now()
	over := now.Add(-pastAfter).Truncate(time.Hour)
	late := q
	late.From = over
	out, err := l.figures(ctx, places, late)
	if err != nil {
		return nil, err
	}
	l.past.mu.Lock()
	defer l.past.mu.Unlock()
	if p := &l.past; !p.from.Equal(q.From) || !p.to.Equal(over) || now.Sub(p.read).Abs() > pastFor || !p.knows(places) {
		all, err := l.figurePlaces(FiguresQuery{}) // whoever asks next may see more than this one
		if err != nil {
			return nil, err
		}
		rows, err := l.figures(ctx, all, FiguresQuery{From: q.From, To: over, By: byAll})
		if err != nil {
			return nil, err
		}
		p.from, p.to, p.read, p.rows = q.From, over, now, make(map[int64]map[statKey]int64, len(all))
		for no := range all {
			p.rows[no] = make(map[statKey]int64)
		}
		for k, n := range rows {
			p.rows[k.template][k] = n
		}
	}
	for no := range places {
		maps.Copy(out, l.past.rows[no])
	}
	return out, nil
}

func (p *pastFigures) knows(places map[int64]figurePlace) bool {
	for no := range places {
		if p.rows[no] == nil {
			return false
		}
	}
	return true
}

// dayOf is the midnight in Beijing before a moment.
func dayOf(t time.Time) time.Time {
	y, m, d := t.In(hongyan.Beijing).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, hongyan.Beijing)
}

// appNos are the numbers of the templates' apps.
func (l *Ledger) appNos(places map[int64]figurePlace) map[int64]int64 {
	l.cache.mu.RLock()
	defer l.cache.mu.RUnlock()
	out := make(map[int64]int64, len(places))
	for no, p := range places {
		if a := l.cache.byID[p.app.AppID]; a != nil {
			out[no] = a.no
		}
	}
	return out
}

// add sorts figures of two days into what the overview shows of them.
func (o *Overview) add(rows map[statKey]int64, appOf map[int64]int64, by map[int64]*AppOverview) {
	hour, midnight := ms(o.At)/hourMS, ms(dayOf(o.At))/hourMS
	part := float64(ms(o.At)%hourMS) / float64(hourMS)
	first := hour - 23
	for h := first; h <= hour; h++ {
		o.Hours = append(o.Hours, hongyan.StatsItem{Hour: at(h * hourMS)})
	}
	var last hongyan.Counts // of yesterday, the hour that is under way now
	for k, n := range rows {
		var c hongyan.Counts
		add(&c, k.what, n)
		h := min(k.hour, hour)
		a := by[appOf[k.template]]
		switch {
		case h >= midnight:
			o.Today.Add(c)
			if a != nil {
				a.Today.Add(c)
			}
		case h < hour-24:
			o.Yesterday.Add(c)
		case h == hour-24:
			last.Add(c)
		}
		if h >= first {
			o.Hours[h-first].Add(c)
		}
		if a == nil {
			continue
		}
		if h >= hour-1 {
			a.Facts.Recent.Add(c)
		}
		if h >= first {
			a.Facts.Day.Add(c)
		}
		if begin := at(h * hourMS); c.Accepted > 0 && begin.After(a.LastAcceptedHour) {
			a.LastAcceptedHour = begin
		}
	}
	o.Yesterday.Add(last.Scaled(part))
}

// topReasons are the ten most frequent ones from an hour on, with how often each was.
func topReasons(rows map[statKey]int64, from int64) []hongyan.StatsItem {
	sums := make(map[statKey]hongyan.Counts)
	for k, n := range rows {
		if k.hour < from || k.what != stFailed && k.what != stUndelivered {
			continue
		}
		of := statKey{reason: k.reason, errcode: k.errcode}
		c := sums[of]
		add(&c, k.what, n)
		sums[of] = c
	}
	out := make([]hongyan.StatsItem, 0, len(sums))
	for k, c := range sums {
		out = append(out, hongyan.StatsItem{Reason: hongyan.Code(k.reason), Errcode: int(k.errcode), Counts: c})
	}
	slices.SortFunc(out, byFigure)
	return out[:min(10, len(out))]
}

// overviewApps reads what is known of each app itself, in one statement.
func (l *Ledger) overviewApps(ctx context.Context, q FiguresQuery, o *Overview, by map[int64]*AppOverview) error {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.overviewApps */ SELECT a.no,
		COALESCE((SELECT c.received_at FROM callbacks c WHERE c.app_no = a.no ORDER BY c.id DESC LIMIT 1), 0),
		COALESCE((SELECT r.at FROM callback_rejections r WHERE r.app_no = a.no ORDER BY r.id DESC LIMIT 1), 0),
		COALESCE((SELECT d.refused_at FROM token_deaths d WHERE d.app_no = a.no ORDER BY d.id DESC LIMIT 1), 0),
		COALESCE(t.fetched_at, 0), COALESCE(t.failure, '') FROM apps a LEFT JOIN access_tokens t ON t.app_no = a.no`)
	if err != nil {
		return fmt.Errorf("read apps: %w", err)
	}
	err = eachRow(rs, func(r scanner) error {
		var no, pushed, rejected, died, fetched int64
		var failure string
		if err := r.Scan(&no, &pushed, &rejected, &died, &fetched, &failure); err != nil {
			return err
		}
		a := l.appByNo(no)
		if a == nil || q.App != "" && a.app.AppID != q.App || q.Apps != nil && !slices.Contains(q.Apps, a.app.AppID) {
			return nil
		}
		failed, err := failedSince(failure, fetched)
		f := hongyan.AppFacts{Now: o.At, App: a.app, TokenFailed: failed, DiedAt: at(died), Receives: a.callback != nil, PushedAt: at(pushed), RejectedAt: at(rejected)}
		for _, te := range a.byNo {
			if te.template.Stale && te.template.GoneAt.IsZero() {
				f.StaleTemplates++
			}
		}
		by[no] = &AppOverview{Facts: f}
		return err
	})
	if err != nil {
		return fmt.Errorf("read apps: %w", err)
	}
	return nil
}

// failedSince reports whether the latest fetch of a token failed, and not only one before it.
func failedSince(failure string, fetched int64) (bool, error) {
	if failure == "" {
		return false, nil
	}
	var f hongyan.TokenFailure
	err := json.Unmarshal([]byte(failure), &f)
	return ms(f.At) > fetched, err
}

// fewStates is how many held and uncertain messages are counted at most: they have an index of
// their own, but not by app. One more is read, to know whether there are more.
const fewStates = 2000

// overviewQueue counts what waits: from memory, and from indexes that hold nothing else.
func (l *Ledger) overviewQueue(ctx context.Context, places map[int64]figurePlace, o *Overview, by map[int64]*AppOverview) error {
	count := func(query string, take func(no, n int64), args ...any) error {
		rs, err := l.rdb.QueryContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("count what waits: %w", err)
		}
		return eachRow(rs, func(r scanner) error {
			var no, n int64
			err := r.Scan(&no, &n)
			take(no, n)
			return err
		})
	}
	rest := func(state int64, into *int64, more *bool) error {
		all := int64(0)
		err := count(`/* ledger.overviewQueue */ SELECT app_no, COUNT(*) FROM (SELECT app_no FROM messages WHERE `+l.d.resting(state)+` ORDER BY id DESC LIMIT `+strconv.Itoa(fewStates+1)+`) x GROUP BY app_no`,
			func(no, n int64) {
				all += n
				if by[no] != nil {
					*into += n
				}
			})
		*into, *more = min(*into, fewStates), all > fewStates && len(by) > 0
		return err
	}
	if err := errors.Join(rest(stHeld, &o.Queue.Held, &o.Queue.HeldAtLeast), rest(stUncertain, &o.Queue.Uncertain, &o.Queue.UncertainAtLeast)); err != nil {
		return err
	}
	err := count(`/* ledger.overviewQueue */ SELECT template_no, COUNT(*) FROM messages WHERE `+l.d.leased+` GROUP BY template_no`, func(no, n int64) {
		if _, ok := places[no]; ok {
			o.Queue.Sending += n
		}
	}, int64(math.MaxInt64))
	if err != nil {
		return err
	}
	for no, x := range by {
		w := l.backlog.of(no)
		o.Queue.Queued += w.queued
		o.Queue.Scheduled += w.scheduled
		if w.queued+w.scheduled > 0 {
			if x.Facts.OldestQueuedAt, err = l.oldestQueued(ctx, no, ms(o.At)); err != nil {
				return err
			}
		}
		if t := x.Facts.OldestQueuedAt; !t.IsZero() && (o.Queue.OldestQueuedAt.IsZero() || t.Before(o.Queue.OldestQueuedAt)) {
			o.Queue.OldestQueuedAt = t
		}
		o.Apps = append(o.Apps, *x)
	}
	slices.SortFunc(o.Apps, func(x, y AppOverview) int { return cmp.Compare(x.Facts.App.AppID, y.Facts.App.AppID) })
	return nil
}

// oldestQueued is when the app's message was due that has waited longest; zero if none is due.
func (l *Ledger) oldestQueued(ctx context.Context, no, now int64) (time.Time, error) {
	a := l.appByNo(no)
	if a == nil {
		return time.Time{}, nil
	}
	q := a.heads(l.d, func(*templateEntry) bool { return true })
	if q == "" {
		return time.Time{}, nil
	}
	heads, err := l.readHeads(ctx, q)
	if err != nil {
		return time.Time{}, err
	}
	var first int64
	for _, h := range heads {
		if h.due <= now && (first == 0 || h.due < first) {
			first = h.due
		}
	}
	return at(first), nil
}
