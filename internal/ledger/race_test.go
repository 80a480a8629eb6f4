//go:build race

package ledger_test

const raceEnabled = true

// SQLite under the race detector is nine times slower: the detector needs histories, not many.
const defaultChecks = "5"
