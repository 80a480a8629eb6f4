//go:build !race

package ledger_test

const defaultChecks = "100"
