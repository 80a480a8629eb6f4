package ledger

import (
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Lane takes rows that a submit committed as `sending` straight to the senders.
type Lane struct {
	// Reserve gives up to want places for the app's rows; what it gives is always free for Deliver.
	// It may give ending more than there are: of so many jobs the outcomes are about to be committed
	// with the rows.
	Reserve func(app hongyan.AppID, want, ending int) int
	// Release gives places back that were not used.
	Release func(app hongyan.AppID, n int)
	// Deliver hands over rows for which places were reserved. It never blocks and never drops.
	Deliver func([]*Job)
	// Freed gives back the places of n of the app's jobs whose outcome is about to be committed;
	// a negative number takes them again, if it was not.
	Freed func(app hongyan.AppID, n int)
	// Settled says that the outcomes of n jobs are on disk.
	Settled func(app hongyan.AppID, n int)
	// Probe makes one message of the app the one that tests a pause, or ends that for one that
	// was not stored. It answers whether the caller's is the one.
	Probe func(app hongyan.AppID, begin bool) bool
	// Places is how many places the app has left.
	Places func(app hongyan.AppID) int
}

// HandOffTo connects the senders. Without a lane every due message is queued for a claim.
func (l *Ledger) HandOffTo(lane Lane) { l.lane = lane }

// Job is a message leased to a sender of this process.
type Job struct {
	Message hongyan.Message
	// LeaseUntil is the database's side of the fence, Deadline the same on the monotonic clock.
	LeaseUntil time.Time
	Deadline   time.Time
	HandedAt   time.Time // monotonic

	seq, app, user, template int64
	attempt                  int64
	busy                     int64 // the mark in the ledger's busy set that settling this job ends
	probe                    bool
	claimed                  bool
	loose                    bool // it has no place among the senders
	// done hears what it came to: somebody waits for it. The place is that one's own.
	done     func(syncOutcome)
	gone     func() bool
	recorded func()  // follows when an accept of it is on disk
	says     twinKey // what a repeat would say
	repeat   time.Duration
}

// Fresh reports whether the job came by hand-off; a claim would only bring it again.
func (j *Job) Fresh() bool { return !j.claimed }

// Probe reports whether the job tests if a pause can end.
func (j *Job) Probe() bool { return j.probe }

// Abandoned reports that whoever waited for what the job comes to has left.
func (j *Job) Abandoned() bool { return j.gone != nil && j.gone() }

// lingerTime is how long a submit may wait for the senders: a row that finds a place goes
// straight to its sender, one that does not is written and read once more. While results
// come in, the wait is worth a little more.
const (
	lingerTime  = 2 * time.Millisecond
	lingerLong  = 10 * time.Millisecond
	lingerMoved = 5 * time.Millisecond // since the last results
)

// ready is how many of the waiting submits find their place among the senders, or have
// waited long enough for one. The others stay behind, in the order they came.
func (l *Ledger) ready(queue []waiting[*submitOp], _ bool) int {
	if l.lane.Places == nil {
		return len(queue)
	}
	free := make(map[int64]int, 1)
	now := time.Now().UnixNano()
	patient := now - int64(lingerTime)
	if now-l.moved.Load() < int64(lingerMoved) {
		patient = now - int64(lingerLong)
	}
	for i, w := range queue {
		if w.since < patient || w.v.items[0].sync != nil { // which has its place
			continue
		}
		a := w.v.items[0].app // most calls are about one app
		left, ok := free[a.no]
		if !ok {
			left = l.places(a)
		}
		if left <= 0 {
			return i
		}
		free[a.no] = left - len(w.v.items)
	}
	return len(queue)
}

// resultsReady is how many of the results need not wait. Hardly anybody waits for them: they go
// with the submits that come in all the time, which saves a commit.
func (l *Ledger) resultsReady(queue []waiting[*result], going bool) int {
	now := time.Now().UnixNano()
	lone := l.submits.added.Load() < now-int64(lingerTime)
	patient := lingerTime
	if !l.d.alone {
		patient = lingerLong // their transactions take longer, and whoever is answered comes back
		lone = lone && l.submits.oldest.Load() == 0
	}
	if going || lone || len(queue) == 0 || len(queue) >= resultsMost || queue[0].since < now-int64(patient) {
		return len(queue)
	}
	if slices.ContainsFunc(queue, func(w waiting[*result]) bool { return w.v.job.done != nil }) { // somebody does
		return len(queue)
	}
	return 0
}

// resultsMost results wait for nothing: places are dear.
const resultsMost = 64

// places is how many more of the app's messages the senders would take, many if a wait for
// them would be in vain.
func (l *Ledger) places(a *appEntry) int {
	if a.blocked() {
		return math.MaxInt
	}
	if l.backlog.of(a.no).queued > 0 {
		return 0 // those who wait go first
	}
	return l.lane.Places(a.app.AppID) + l.ending[a.app.AppID]
}

// batchApp is what a batch of submits knows of an app.
type batchApp struct {
	app    *appEntry // as it stands now; the submission may have seen an older one
	places int       // reserved for the hand-off and not used yet
	// busy are the users that were under way when the batch began. One of them may become
	// free meanwhile, but its older rows have not been asked about.
	busy              map[int64]int64
	queued, scheduled int64 // in the batch
}

// app looks once a batch at whether an app's rows may go straight to the senders: not
// while it is paused, and not past an older due row that a claim could take now.
func (b *submitBatch) app(no int64) (*batchApp, error) {
	if x := b.apps[no]; x != nil {
		return x, nil
	}
	a := b.l.appByNo(no)
	x := &batchApp{app: a}
	b.apps[no] = x
	if b.l.lane.Reserve == nil || a.blocked() || !b.l.Claims() || b.count[no] == 0 {
		return x, nil
	}
	x.busy = b.l.busy.snapshot()
	waiting, err := b.l.claimable(b.t, a, x.busy)
	if err != nil || waiting {
		return x, err
	}
	x.places = b.l.lane.Reserve(a.app.AppID, b.count[no], b.l.ending[a.app.AppID])
	return x, nil
}

// handOff makes the row `sending` under our lease, if there is a free place and nothing
// of this user is under way.
func (b *submitBatch) handOff(it *submitItem, app *batchApp) {
	row := it.row
	if app.places == 0 || app.app.paused(hongyan.PauseTemplate, it.message.Template) != nil {
		return
	}
	token, free := int64(0), false
	if _, was := app.busy[row.user]; !was {
		token, free = b.l.busy.take(row.user)
	}
	if !free {
		return
	}
	app.places--
	b.lease(it, row, token)
}

// handOffNow is handOff for a message whose caller waits: it has its place, and goes past
// whatever waits for one. false: it cannot be sent now.
func (b *submitBatch) handOffNow(it *submitItem, row *newRow, app *batchApp) bool {
	held := app.app.blocked() || app.app.paused(hongyan.PauseTemplate, it.message.Template) != nil
	if held && !it.sync.probe || !b.l.Claims() || it.sync.gone() {
		return false
	}
	token, free := b.l.busy.take(row.user)
	if !free {
		return false
	}
	j := b.lease(it, row, token)
	j.gone, j.recorded = it.sync.gone, it.sync.recorded
	j.probe, j.done, j.says, j.repeat = it.sync.probe, it.sync.done, it.twinKey(), it.join.Uncertain
	return true
}

// lease makes the row the first attempt of a sender of this process.
func (b *submitBatch) lease(it *submitItem, row *newRow, token int64) *Job {
	row.state = stSending
	j := b.l.newJob(b.t.now)
	j.seq, j.app, j.user, j.template, j.attempt, j.busy = row.seq, it.app.no, row.user, it.template.no, 1, token
	row.job = j
	b.jobs = append(b.jobs, j)
	return j
}

// takeBack undoes the hand-off of jobs whose rows will not be on disk.
func (b *submitBatch) takeBack(jobs []*Job) {
	for _, j := range jobs {
		if j.done == nil {
			b.apps[j.app].places++
		}
		b.l.busy.release(j)
	}
}

// newJob starts a lease at now, on both clocks.
func (l *Ledger) newJob(now int64) *Job {
	mono := time.Now()
	return &Job{LeaseUntil: at(now).Add(LeaseTime), Deadline: mono.Add(LeaseTime), HandedAt: mono}
}

// busySet has the users with a message handed out or claimed by this process and not yet
// settled: WeChat refuses two calls for one user at a time (43108).
type busySet struct {
	mu    sync.Mutex
	last  int64
	users map[int64]int64 // user to the mark that ends it
}

// take marks the user; false if a message of theirs is under way.
func (s *busySet) take(user int64) (token int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.users[user]; ok {
		return 0, false
	}
	if s.users == nil {
		s.users = make(map[int64]int64)
	}
	s.last++
	s.users[user] = s.last
	return s.last, true
}

func (s *busySet) snapshot() map[int64]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.users)
}

// release ends the jobs' marks. A second result of one job must not end the mark of the
// user's next one.
func (s *busySet) release(jobs ...*Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range jobs {
		if s.users[j.user] == j.busy {
			delete(s.users, j.user)
		}
	}
}

// drop ends the mark of a job that nobody will settle.
func (s *busySet) drop(user int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, user)
}

// backlog is how many messages of each app wait: exact at start and at each recount, every
// minute, kept up in between for what this process does. It only bounds the table, so near
// is enough.
type backlog struct {
	mu sync.Mutex
	m  map[int64]waitingCount
}

type waitingCount struct{ queued, scheduled int64 }

func (b *backlog) of(no int64) waitingCount {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m[no]
}

func (b *backlog) add(no, queued, scheduled int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = make(map[int64]waitingCount)
	}
	c := b.m[no]
	b.m[no] = waitingCount{max(c.queued+queued, 0), max(c.scheduled+scheduled, 0)}
}

func (b *backlog) set(m map[int64]waitingCount) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m = m
}
