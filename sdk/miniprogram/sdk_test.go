package miniprogram_test

import (
	"testing"

	"github.com/hongyan-push/hongyan/internal/nodetest"
)

// The tests of the SDK are TypeScript, under test/; this runs them with everything else.
func TestSDK(t *testing.T) {
	t.Parallel()
	dir := nodetest.Project(t, ".")
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "check")
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "test")
}
