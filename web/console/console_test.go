package console_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hongyan-push/hongyan/internal/nodetest"
	"github.com/hongyan-push/hongyan/internal/progtest"
)

// project is a copy of the console's source that can be built, with the API's description.
func project(t *testing.T) string {
	t.Helper()
	spec, err := filepath.Abs("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HONGYAN_OPENAPI", spec)
	return nodetest.Project(t, ".")
}

// What is embedded is what the source gives.
func TestBuild(t *testing.T) {
	dir := project(t)
	out := filepath.Join(t.TempDir(), "dist")
	t.Setenv("CONSOLE_OUT", out)
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "types")
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "check")
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "build")
	built, committed := tree(t, out), tree(t, "../../internal/console/dist")
	for name, text := range built {
		if committed[name] != text {
			t.Errorf("internal/console/dist/%s is not what the source gives: run make console", name)
		}
	}
	for name := range committed {
		if _, ok := built[name]; !ok {
			t.Errorf("internal/console/dist/%s comes from nothing: run make console", name)
		}
	}
}

// The tests that need no browser.
func TestUnit(t *testing.T) {
	dir := project(t)
	nodetest.Run(t, dir, nil, "npm", "run", "--silent", "types")
	nodetest.Run(t, dir, nil, "npx", "vitest", "run")
}

// Chromium in front of a demo, and of a server that nobody opened yet. HONGYAN_PICTURES names a directory for what the pages look like,
// HONGYAN_SPECS the specs to run.
func TestBrowser(t *testing.T) {
	chromium := findChromium(t)
	dir := project(t)
	demo := progtest.StartDemo(t)
	t.Setenv("HONGYAN_DEMO", string(demo.Raw))
	first, err := json.Marshal(progtest.StartFirstRun(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HONGYAN_FIRST_RUN", string(first))
	t.Setenv("HONGYAN_CHROMIUM", chromium)
	args := []string{"vitest", "run", "--config", "vitest.browser.config.ts"}
	if specs := os.Getenv("HONGYAN_SPECS"); specs != "" {
		args = append(args, specs)
	}
	t.Logf("%s", nodetest.Run(t, dir, nil, "npx", args...))
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	progtest.Require(t, "chromium")
	return ""
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
