package ledgertest

import (
	"testing"

	"github.com/hongyan-push/hongyan"
)

// Run is the conformance suite. open makes an empty database; every test has its own.
func Run(t *testing.T, open func(testing.TB) *Database) {
	for name, test := range map[string]func(*testing.T, func(testing.TB) *Database){
		"Submit": testSubmit, "Claim": testClaim, "Record": testRecord, "Report": testReport,
		"Open": testOpen, "Settle": testSettle, "Crash": testCrash, "Journal": testJournal, "Storage": testStorage, "Sweep": testSweep, "List": testList,
		"Retention": testRetention, "Events": testEvents, "Webhooks": testWebhooks, "Vocabulary": testVocabulary, "Replicas": testReplicas, "Wake": testWake, "Callback": testCallback, "Stock": testStock, "Explain": testExplain, "Clocks": testClocks, "FirstStart": testFirstStart, "Sync": testSync, "Token": testToken, "Members": testMembers, "Audit": testAudit, "Stats": testStats,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// cases runs subtests, each with an open ledger of its own, and checks afterwards that no
// user stayed busy and no place of the lane was lost.
func cases(t *testing.T, open func(testing.TB) *Database, settings hongyan.AppSettings, tests map[string]func(*Env)) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := Open(t, open(t), settings)
			test(e)
			if !t.Failed() && e.stop != nil {
				e.WantIdle()
				e.wantSound()
				e.wantCounted()
			}
		})
	}
}

// fresh is the app of most tests: a user's first accept makes the count exact.
var fresh = hongyan.AppSettings{History: hongyan.HistoryNew}

// existing is an app whose users may hold grants from before.
var existing = hongyan.AppSettings{}
