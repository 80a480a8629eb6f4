//go:build !race

package ledger_test

const raceEnabled = false

const defaultChecks = "100"
