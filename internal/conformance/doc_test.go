// Package conformance runs programs that know nothing of Hongyan against the sandbox and
// against the gateway: SDKs of other authors, unmodified, and what languages bring along. All
// go the same way, from the login code to the card; what each of them makes of every answer
// must be the same on both, and stands in docs/compatibility.md.
//
//	go test ./internal/conformance -update   # writes testdata/results.jsonl and the two pages
package conformance
