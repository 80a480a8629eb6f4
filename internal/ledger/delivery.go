package ledger

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hongyan-push/hongyan"
)

// The states of a delivery as the database has them.
const (
	deliveryPending   = 1
	deliveryDelivered = 2
	deliveryFailed    = 3
)

var deliveryWords = []hongyan.DeliveryState{"", hongyan.DeliveryPending, hongyan.DeliveryDelivered, hongyan.DeliveryFailed}

// DeliveryLease is how long a delivery belongs to whoever claimed it. When it ends without a
// result the process has died, and the delivery is made again: receivers tell by its id.
const DeliveryLease = time.Minute

// DeliveryJob is a delivery to be made now.
type DeliveryJob struct {
	ID      hongyan.DeliveryID
	Event   hongyan.Event
	URL     string
	Secrets []hongyan.WebhookSecret // each signs
	Attempt int                     // this one's number, from 1

	webhook int64
	id      ulid.ULID
}

// Webhook tells the jobs of one webhook from those of another.
func (j *DeliveryJob) Webhook() int64 { return j.webhook }

// DueDeliveries says which webhooks have deliveries to be made now, and when the next will be
// due (zero: none waits).
func (l *Ledger) DueDeliveries(ctx context.Context) (due []int64, next time.Time, err error) {
	hooks := l.audience.Load().webhooks
	if len(hooks) == 0 {
		return nil, time.Time{}, nil
	}
	var parts []string
	for _, no := range sortedKeys(hooks) {
		cond := strings.Replace(l.d.dueDelivery, "?", decimal(no), 1)
		parts = append(parts, fmt.Sprintf("SELECT %d, MIN(next_at) FROM deliveries WHERE %s", no, cond))
	}
	rs, err := l.rdb.QueryContext(ctx, "/* ledger.DueDeliveries */ "+strings.Join(parts, " UNION ALL "))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("look for due deliveries: %w", err)
	}
	now := ms(l.Now())
	err = eachRow(rs, func(r scanner) error {
		var no int64
		var first sql.NullInt64
		err := r.Scan(&no, &first)
		switch {
		case !first.Valid:
		case first.Int64 <= now:
			due = append(due, no)
		case next.IsZero() || at(first.Int64).Before(next):
			next = at(first.Int64)
		}
		return err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("look for due deliveries: %w", err)
	}
	return due, next, nil
}

// ClaimDeliveries leases due deliveries to this process: of each webhook at most as many as
// want says.
func (l *Ledger) ClaimDeliveries(ctx context.Context, want map[int64]int) (jobs []*DeliveryJob, err error) {
	err = l.together(ctx, rankClaims, "claim deliveries", func(t *txn) error {
		jobs = nil
		for _, no := range sortedKeys(want) {
			x := l.audience.Load().webhooks[no]
			if x == nil || want[no] <= 0 {
				continue
			}
			some, err := t.claimDeliveries(x, want[no])
			if err != nil {
				return err
			}
			jobs = append(jobs, some...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}

func (t *txn) claimDeliveries(x *listener, most int) ([]*DeliveryJob, error) {
	var ids []any
	err := t.rows(`/* ledger.claimDeliveries */ SELECT id FROM deliveries WHERE `+t.l.d.dueDelivery+` AND next_at <= ? ORDER BY next_at, id LIMIT ?`+t.l.d.skip,
		[]any{x.no, t.now, most}, func(r scanner) error {
			var id []byte
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	list, args := t.l.d.list(ids, kindBytes)
	if _, err := t.exec(`/* ledger.claimDeliveries */ UPDATE deliveries SET attempts = attempts + 1, next_at = ?, updated_at = ? WHERE webhook_no = ? AND id `+list,
		append([]any{t.now + DeliveryLease.Milliseconds(), t.now, x.no}, args...)...); err != nil {
		return nil, err
	}
	var jobs []*DeliveryJob
	err = t.rows(`/* ledger.claimDeliveries */ SELECT d.id, d.attempts, e.no, e.id, e.type, e.app_no, e.at, e.data FROM deliveries d JOIN events e ON e.no = d.event_no WHERE d.webhook_no = ? AND d.id `+list+` ORDER BY d.id`,
		append([]any{x.no}, args...), func(r scanner) error {
			j := &DeliveryJob{webhook: x.no, URL: x.webhook.URL, Secrets: x.signingSecrets(at(t.now))}
			var id []byte
			_, e, err := t.l.scanEvent(behind{r, []any{&id, &j.Attempt}})
			j.Event, j.id = e, ulid.ULID(id)
			j.ID = hongyan.DeliveryIDOf(j.id)
			jobs = append(jobs, j)
			return err
		})
	return jobs, err
}

// behind scans columns that stand behind others.
type behind struct {
	scanner
	before []any
}

func (b behind) Scan(into ...any) error { return b.scanner.Scan(append(b.before, into...)...) }

// DeliveryResult is what one try came to.
type DeliveryResult struct {
	Status   int    // of the answer, 0 if there was none
	Error    string // why it failed; empty: delivered
	Response string
	// RetryIn is when it is tried again; 0: never.
	RetryIn time.Duration
	// Gone: the receiver wants no more, ever.
	Gone bool
	// Untried: nothing was sent after all; it is somebody else's turn.
	Untried bool
}

type deliveryOutcome struct {
	job *DeliveryJob
	res DeliveryResult
	// settled is called once it is on disk.
	settled func()
}

// RecordDelivery takes over a result: it is written with others and retried until it is on
// disk; then settled is called. After Run has ended it is lost, and the delivery made again.
func (l *Ledger) RecordDelivery(j *DeliveryJob, r DeliveryResult, settled func()) {
	if !l.delivered.add(&deliveryOutcome{j, r, settled}) {
		settled()
	}
}

// commitDeliveries writes a batch of results, one by one if they cannot be written together.
func (l *Ledger) commitDeliveries(ctx context.Context, take func() []*deliveryOutcome) (left []*deliveryOutcome) {
	batch := take()
	err := l.writeDeliveries(ctx, batch)
	if err == nil {
		return nil
	}
	l.log.ErrorContext(ctx, "results of deliveries not written, trying again", "err", err)
	if len(batch) == 1 || errors.Is(err, errBegin) {
		return batch
	}
	for _, o := range batch {
		if l.writeDeliveries(ctx, []*deliveryOutcome{o}) != nil {
			left = append(left, o)
		}
	}
	return left
}

func (l *Ledger) writeDeliveries(ctx context.Context, batch []*deliveryOutcome) error {
	var disable map[int64]hongyan.DisabledReason
	err := l.together(ctx, rankResults, "record deliveries", func(t *txn) (err error) {
		disable, err = t.writeDeliveries(batch)
		return err
	})
	if err != nil {
		return err
	}
	// What disables a webhook stands in its row or is answered again, so a crash here costs a delivery.
	if err := l.disableWebhooks(ctx, disable); err != nil {
		l.log.ErrorContext(ctx, "webhook not disabled", "err", err)
	}
	for _, o := range batch {
		o.settled()
	}
	return nil
}

// writeDeliveries writes results and says which webhooks are to be disabled.
func (t *txn) writeDeliveries(batch []*deliveryOutcome) (map[int64]hongyan.DisabledReason, error) {
	worked, failed := make(map[int64]bool), make(map[int64]bool)
	disable := make(map[int64]hongyan.DisabledReason)
	for _, o := range batch {
		if err := t.writeDelivery(o); err != nil {
			return nil, err
		}
		switch no := o.job.webhook; {
		case o.res.Untried:
		case o.res.Error == "":
			worked[no] = true
		default:
			failed[no] = true
			if o.res.Gone {
				disable[no] = hongyan.DisabledGone
			}
		}
	}
	for _, no := range sortedKeys(worked) {
		if _, err := t.exec(`/* ledger.writeDeliveries */ UPDATE webhooks SET failing_since = 0 WHERE no = ? AND failing_since <> 0`, no); err != nil {
			return nil, err
		}
	}
	for _, no := range sortedKeys(failed) {
		if worked[no] {
			continue
		}
		if _, err := t.exec(`/* ledger.writeDeliveries */ UPDATE webhooks SET failing_since = ? WHERE no = ? AND failing_since = 0`, t.now, no); err != nil {
			return nil, err
		}
		var since int64
		if err := t.row(`/* ledger.writeDeliveries */ SELECT failing_since FROM webhooks WHERE no = ?`, []any{no}, &since); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		if since != 0 && t.now-since >= hongyan.WebhookFailingFor.Milliseconds() && disable[no] == "" {
			disable[no] = hongyan.DisabledFailing
		}
	}
	return disable, nil
}

// writeDelivery is guarded by the attempt: a result that comes after its lease has been taken
// over counts only if it is a success.
func (t *txn) writeDelivery(o *deliveryOutcome) error {
	j, r := o.job, o.res
	if r.Untried {
		t.touch(TopicWebhooks)
		_, err := t.exec(`/* ledger.writeDelivery */ UPDATE deliveries SET attempts = attempts - 1, next_at = ?, updated_at = ? WHERE webhook_no = ? AND id = ? AND state = 1 AND attempts = ?`,
			t.now, t.now, j.webhook, j.id[:], j.Attempt)
		return err
	}
	state, next, guard := int64(deliveryPending), t.now+r.RetryIn.Milliseconds(), ` AND state = 1 AND attempts = ?`
	switch {
	case r.Error == "":
		state, next, guard = deliveryDelivered, t.now, ` AND state IN (1, 3) AND attempts >= ?`
	case r.RetryIn == 0:
		state, next = deliveryFailed, t.now
	}
	_, err := t.exec(`/* ledger.writeDelivery */ UPDATE deliveries SET state = ?, next_at = ?, http_status = ?, error = ?, response = ?, updated_at = ? WHERE webhook_no = ? AND id = ?`+guard,
		state, next, r.Status, shown(r.Error), shown(r.Response), t.now, j.webhook, j.id[:], j.Attempt)
	return err
}

// shown is a receiver's text as every database takes it.
func shown(s string) string {
	s = storable(s)
	if len(s) > hongyan.MaxWebhookResponse {
		s = strings.ToValidUTF8(s[:hongyan.MaxWebhookResponse], "")
	}
	return s
}

// DeliveryFilter narrows a list. Zero fields do not.
type DeliveryFilter struct {
	Status hongyan.DeliveryState
	Event  hongyan.EventID
	Type   hongyan.EventType
	Limit  int
	Cursor string

	after []byte
}

// Deliveries lists a webhook's deliveries, newest first. A page may be shorter than the limit,
// even empty, while there is a next cursor.
func (l *Ledger) Deliveries(ctx context.Context, id hongyan.WebhookID, f DeliveryFilter) ([]hongyan.Delivery, string, error) {
	no, w, err := l.webhook(ctx, id)
	if err != nil {
		return nil, "", err
	}
	return l.deliveries(ctx, no, w, f)
}

func (l *Ledger) deliveries(ctx context.Context, no int64, w hongyan.Webhook, f DeliveryFilter) ([]hongyan.Delivery, string, error) {
	f.Limit = pageSize(f.Limit)
	before := []byte{0xff} // ids lie below it
	if f.Cursor != "" {
		id, err := decodeDeliveryCursor(f.Cursor)
		if err != nil {
			return nil, "", err
		}
		before = id[:]
	}
	var floor []byte
	err := l.rdb.QueryRowContext(ctx, `/* ledger.Deliveries */ SELECT id FROM deliveries WHERE webhook_no = ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?`, no, before, listReads).Scan(&floor)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, "", fmt.Errorf("list deliveries: %w", err)
	}
	from := floor
	if from == nil {
		from = []byte{0}
	}
	if f.after != nil {
		from, floor = f.after, nil
	}
	where, args := "", []any{no, before, from}
	add := func(cond string, v any) { where, args = where+" AND "+cond, append(args, v) }
	if f.Status != "" {
		state := code(deliveryWords, f.Status)
		add("d.state = ?", state)
	}
	if f.Event != "" {
		u, err := f.Event.ULID()
		if err != nil {
			return nil, "", hongyan.Invalid("/event", "event_id", "%q is not the id of an event.", clipped(string(f.Event)))
		}
		add("e.id = ?", u[:])
	}
	if f.Type != "" {
		add("e.type = ?", string(f.Type))
	}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Deliveries */ SELECT `+deliveryRow+` FROM deliveries d JOIN events e ON e.no = d.event_no WHERE d.webhook_no = ? AND d.id < ? AND d.id >= ?`+where+` ORDER BY d.id DESC LIMIT ?`,
		append(args, f.Limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", err)
	}
	out, next := []hongyan.Delivery{}, ""
	err = eachRow(rs, func(r scanner) error {
		d, err := l.scanDelivery(r, w.ID)
		if err != nil {
			return err
		}
		if len(out) == f.Limit {
			next = encodeDeliveryCursor(out[len(out)-1].ID)
			return nil
		}
		out = append(out, d)
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", err)
	}
	if next == "" && floor != nil {
		next = encodeDeliveryCursor(hongyan.DeliveryIDOf(ulid.ULID(floor)))
	}
	return out, next, nil
}

const deliveryRow = `d.id, e.id, e.type, e.app_no, d.state, d.attempts, d.next_at, d.http_status, d.error, d.response, d.created_at, d.updated_at`

func (l *Ledger) scanDelivery(r scanner, webhook hongyan.WebhookID) (hongyan.Delivery, error) {
	d := hongyan.Delivery{Webhook: webhook}
	var id, event []byte
	var app, state, next, created, updated int64
	if err := r.Scan(&id, &event, &d.Type, &app, &state, &d.Attempts, &next, &d.HTTPStatus, &d.Error, &d.Response, &created, &updated); err != nil {
		return d, err
	}
	d.ID, d.Event, d.Status = hongyan.DeliveryIDOf(ulid.ULID(id)), hongyan.EventIDOf(ulid.ULID(event)), word(deliveryWords, state)
	if a := l.appByNo(app); a != nil {
		d.App = a.app.AppID
	}
	if state == deliveryPending {
		d.NextAt = at(next)
	}
	d.CreatedAt, d.UpdatedAt = at(created), at(updated)
	return d, nil
}

func noDelivery(id hongyan.DeliveryID) error {
	return hongyan.Errorf(hongyan.CodeNotFound, "There is no delivery %.40s of this webhook here.", string(id))
}

// ResendDelivery makes a delivery once more, whatever it came to, with all its tries anew.
func (l *Ledger) ResendDelivery(ctx context.Context, id hongyan.WebhookID, delivery hongyan.DeliveryID) (hongyan.Delivery, error) {
	u, err := delivery.ULID()
	if err != nil {
		return hongyan.Delivery{}, noDelivery(delivery)
	}
	no, w, err := l.webhook(ctx, id)
	if err != nil {
		return hongyan.Delivery{}, err
	}
	if !w.Enabled {
		return hongyan.Delivery{}, hongyan.Errorf(hongyan.CodeConflict, "The webhook is disabled (%s); enable it first.", w.DisabledReason)
	}
	err = l.write(ctx, "resend delivery", func(t *txn) error {
		// One that is being made keeps its lease, so that it is not made twice at once.
		t.touch(TopicWebhooks)
		n, err := t.exec(`/* ledger.ResendDelivery */ UPDATE deliveries SET state = 1, next_at = ?, attempts = 0, updated_at = ? WHERE webhook_no = ? AND id = ? AND (state <> 1 OR next_at > ?)`,
			t.now, t.now, no, u[:], t.now+DeliveryLease.Milliseconds())
		if err != nil || n == 0 {
			return err
		}
		t.after = append(t.after, l.bell.ring)
		return t.auditDiff(onlyApp(w.Apps), "delivery", string(delivery), map[string]any{"resent": false}, map[string]any{"resent": true})
	})
	if err != nil {
		return hongyan.Delivery{}, err
	}
	d, err := l.scanDelivery(l.rdb.QueryRowContext(ctx, `/* ledger.ResendDelivery */ SELECT `+deliveryRow+` FROM deliveries d JOIN events e ON e.no = d.event_no WHERE d.webhook_no = ? AND d.id = ?`, no, u[:]), id)
	if errors.Is(err, sql.ErrNoRows) {
		return d, noDelivery(delivery)
	}
	return d, err
}

func encodeDeliveryCursor(id hongyan.DeliveryID) string {
	return base64.RawURLEncoding.EncodeToString([]byte("d" + id))
}

func decodeDeliveryCursor(c string) (ulid.ULID, error) {
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err == nil && len(b) > 1 && b[0] == 'd' {
		if u, err := hongyan.DeliveryID(b[1:]).ULID(); err == nil {
			return u, nil
		}
	}
	return ulid.ULID{}, badCursor(c)
}

// retainEvents deletes events that have had their day, their deliveries, and what is left of
// deleted webhooks.
func (l *Ledger) retainEvents(ctx context.Context) error {
	if err := l.retainDeliveries(ctx); err != nil {
		return fmt.Errorf("retention of deliveries: %w", err)
	}
	if l.cfg.Retention.Events == 0 {
		return nil
	}
	// Deliveries went first, so that none is left without its event.
	before := ms(l.Now().Add(-l.cfg.Retention.Events))
	return l.retainAll(ctx, func(ctx context.Context, n int) (more bool, err error) {
		var last, read int64
		rs, err := l.rdb.QueryContext(ctx, `/* ledger.retainEvents */ SELECT no, at FROM events ORDER BY no LIMIT ?`, n)
		if err != nil {
			return false, err
		}
		young := false
		err = eachRow(rs, func(r scanner) error {
			var no, when int64
			err := r.Scan(&no, &when)
			if young = young || when > before; !young {
				last = no
				read++
			}
			return err
		})
		if err != nil || last == 0 {
			return false, err
		}
		return !young && read == int64(n), l.write(ctx, "retain events", func(t *txn) error {
			_, err := t.exec(`/* ledger.retainEvents */ DELETE FROM events WHERE no <= ?`, last)
			return err
		})
	})
}

func (l *Ledger) retainDeliveries(ctx context.Context) error {
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.retainDeliveries */ SELECT no, deleted_at FROM webhooks`)
	if err != nil {
		return err
	}
	deleted := make(map[int64]int64)
	err = eachRow(rs, func(r scanner) error {
		var no, when int64
		err := r.Scan(&no, &when)
		deleted[no] = when
		return err
	})
	if err != nil {
		return err
	}
	for _, no := range sortedKeys(deleted) {
		before := []byte{0xff}
		if deleted[no] == 0 {
			if l.cfg.Retention.Events == 0 {
				continue
			}
			var u ulid.ULID
			_ = u.SetTime(uint64(max(ms(l.Now().Add(-l.cfg.Retention.Events)), 0)))
			before = u[:]
		}
		if err := l.retainAll(ctx, l.dropDeliveries(no, before)); err != nil {
			return err
		}
		if deleted[no] == 0 {
			continue
		}
		if err := l.write(ctx, "drop webhook", func(t *txn) error {
			_, err := t.exec(`/* ledger.retainDeliveries */ DELETE FROM webhooks WHERE no = ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE webhook_no = ?)`, no, no)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// dropDeliveries deletes the deliveries of a webhook that are older than an id.
func (l *Ledger) dropDeliveries(no int64, before []byte) retainStep {
	return func(ctx context.Context, n int) (more bool, err error) {
		var last []byte
		rs, err := l.rdb.QueryContext(ctx, `/* ledger.dropDeliveries */ SELECT id FROM deliveries WHERE webhook_no = ? AND id < ? ORDER BY id LIMIT ?`, no, before, n)
		if err != nil {
			return false, err
		}
		read := 0
		err = eachRow(rs, func(r scanner) error {
			read++
			return r.Scan(&last)
		})
		if err != nil || read == 0 {
			return false, err
		}
		return read == n, l.write(ctx, "retain deliveries", func(t *txn) error {
			_, err := t.exec(`/* ledger.dropDeliveries */ DELETE FROM deliveries WHERE webhook_no = ? AND id <= ?`, no, last)
			return err
		})
	}
}
