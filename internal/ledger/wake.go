package ledger

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// wake is how replicas hear of each other's work at once, where the database can tell them
// (PostgreSQL). It carries hints alone: one that is lost costs a poll's time, never a message.
type wake struct {
	listens atomic.Bool
	told    atomic.Int64 // hints that messages wait
	// What is to be told, and that something is.
	due, vocabulary, joined, news atomic.Bool
	say                           chan struct{}
	// What was heard, for the loop that sees to replicas.
	changed, counted chan struct{}
}

func (w *wake) init() {
	w.say, w.changed, w.counted = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// The words between replicas; each stands behind the number of who says it.
const (
	wordDue        = "due"        // something waits that others may send
	wordVocabulary = "vocabulary" // apps, templates, pauses, keys or listeners have changed
	wordJoined     = "joined"     // a replica begins to listen
	wordNews       = "news"       // events were recorded
)

// tellRest is how long replicas are left alone between two hints. PostgreSQL commits hints
// one after the other, those of all databases of a server.
const tellRest = 20 * time.Millisecond

// tellDue lets the other replicas know that messages wait here. It costs the caller nothing:
// the hint goes out beside the transactions, and what comes in short order shares one.
func (l *Ledger) tellDue() {
	if l.Live() > 1 {
		l.tell(&l.wake.due)
	}
}

func (l *Ledger) tell(what *atomic.Bool) {
	if l.d.tell != "" {
		what.Store(true)
		signal(l.wake.say)
	}
}

// tellOthers sends the hints until ctx ends.
func (l *Ledger) tellOthers(ctx context.Context) {
	if l.d.tell == "" {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake.say:
		}
		for word, what := range map[string]*atomic.Bool{wordDue: &l.wake.due, wordVocabulary: &l.wake.vocabulary, wordJoined: &l.wake.joined, wordNews: &l.wake.news} {
			if what.Swap(false) {
				l.tellOne(ctx, word)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tellRest):
		}
	}
}

// tellOne sends one hint. If the database does not take it, the others poll.
func (l *Ledger) tellOne(ctx context.Context, word string) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	if _, err := l.db.ExecContext(ctx, l.texts.of(l.d.tell), strconv.FormatInt(l.owner, 10)+" "+word); err == nil && word == wordDue {
		l.wake.told.Add(1)
	}
}

const (
	listenFirst = 100 * time.Millisecond
	listenMost  = 5 * time.Second
)

// listen hears what other replicas tell until ctx ends. A connection that is lost is made
// again; meanwhile polls do.
func (l *Ledger) listen(ctx context.Context) {
	if l.d.listen == nil {
		return
	}
	wait, said := listenFirst, time.Time{}
	for ctx.Err() == nil {
		err := l.d.listen(ctx, l.source, func() {
			wait = listenFirst
			// What was told in between is not known.
			l.nudgeHere()
			l.bell.ring()
			signal(l.wake.changed)
			l.wake.listens.Store(true)
			l.tell(&l.wake.joined)
		}, l.heard)
		l.wake.listens.Store(false)
		if ctx.Err() == nil && time.Since(said) > quietFor {
			said = time.Now()
			l.log.WarnContext(ctx, "the connection on which replicas wake each other was lost, polling until it is back", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, listenMost)
	}
}

func (l *Ledger) heard(hint string) {
	owner, word, _ := strings.Cut(hint, " ")
	if owner == strconv.FormatInt(l.owner, 10) {
		return
	}
	switch word {
	case wordDue:
		l.nudgeHere()
	case wordVocabulary:
		signal(l.wake.changed)
	case wordJoined:
		signal(l.wake.counted)
	case wordNews:
		l.bell.ring()
	}
}

// Listens reports whether other replicas can wake this one.
func (l *Ledger) Listens() bool { return l.wake.listens.Load() }

const (
	pollAlone  = 500 * time.Millisecond
	pollShared = 2 * time.Second
)

// PollMost is how long a claim loop that finds nothing may go without looking. Where this
// process is alone with the database only a clock that was moved makes work without a hint.
func (l *Ledger) PollMost() time.Duration {
	if l.d.alone {
		return pollAlone
	}
	return pollShared
}

// noticeEvery is how often the vocabulary's stamp is looked at.
func (l *Ledger) noticeEvery() time.Duration {
	if l.Listens() {
		return pollShared
	}
	return noticeTick
}
