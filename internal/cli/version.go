package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd prints which program this is.
type versionCmd struct {
	outputFlags
}

// build is what the program knows of its own making.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Run implements the command.
func (c *versionCmd) Run(p *program) error {
	return printOne(p, c.outputFlags, buildInfo(), []column[build]{
		{"VERSION", func(b build) string { return b.Version }},
		{"REVISION", func(b build) string {
			if b.Modified {
				return b.Revision + "+"
			}
			return b.Revision
		}},
		{"TIME", func(b build) string { return b.Time }},
		{"GO", func(b build) string { return fmt.Sprintf("%s %s", b.Go, b.Platform) }},
	})
}

// version is the module's version, or the revision of a build from a working copy.
func version() string { return buildInfo().Version }

func buildInfo() build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
