package ledger

import (
	"fmt"
	"slices"

	"github.com/hongyan-push/hongyan"
)

// The integers that stand for words in the database. Positions never change; new words go at the end.
var (
	stateWords    = []hongyan.State{"", hongyan.StateHeld, hongyan.StateScheduled, hongyan.StateQueued, hongyan.StateSending, hongyan.StateAccepted, hongyan.StateDelivered, hongyan.StateUndelivered, hongyan.StateFailed, hongyan.StateUncertain, hongyan.StateCanceled, hongyan.StateExpired}
	priorityWords = []hongyan.Priority{hongyan.PriorityHigh, hongyan.PriorityNormal, hongyan.PriorityLow}
	standingWords = []hongyan.Standing{hongyan.StandingUnknown, hongyan.StandingAccept, hongyan.StandingReject, hongyan.StandingBan}
)

// States as the database has them; the partial indexes of the schema name these numbers.
const (
	stHeld        = 1
	stScheduled   = 2
	stQueued      = 3
	stSending     = 4
	stAccepted    = 5
	stDelivered   = 6
	stUndelivered = 7
	stFailed      = 8
	stUncertain   = 9
	stCanceled    = 10
	stExpired     = 11
)

// Flags of a message.
const (
	flagEarlierUnclear = 1
	flagHeldOnce       = 2
	flagResent         = 4
	flagNotAdmitted    = 8  // reserve: send, and its grant was not asked for yet
	flagGivenUp        = 16 // uncertain for a week: its grant was given up, and it takes no other
	flagErased         = 32 // retention has erased its data
)

// Kinds as WeChat numbers them.
const (
	kindUnknown  = 0
	kindOneTime  = 2
	kindLongTerm = 3
)

func code[T comparable](words []T, w T) int64 {
	i := slices.Index(words, w)
	if i < 0 {
		panic(fmt.Sprintf("ledger: no code for %v", w))
	}
	return int64(i)
}

func word[T any](words []T, c int64) T {
	if c < 0 || c >= int64(len(words)) {
		var zero T
		return zero
	}
	return words[c]
}

func kindCode(k hongyan.TemplateKind) int64 {
	switch k {
	case hongyan.KindOneTime:
		return kindOneTime
	case hongyan.KindLongTerm:
		return kindLongTerm
	}
	return kindUnknown
}

func kindWord(c int64) hongyan.TemplateKind {
	switch c {
	case kindOneTime:
		return hongyan.KindOneTime
	case kindLongTerm:
		return hongyan.KindLongTerm
	}
	return hongyan.KindUnknown
}
