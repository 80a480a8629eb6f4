package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan/internal/progtest"
)

const changeOneLine = "../../examples/change-one-line"

// The tutorial's program sends its card; with minutes where the month belongs it is refused for
// time2, no card arrives, and the grant is still there.
func TestTutorial(t *testing.T) {
	t.Parallel()
	progtest.Require(t, "java", "javac") // a JDK: java runs the source
	demo := progtest.StartDemo(t)
	for _, to := range targets(demo) {
		t.Run(to.name, func(t *testing.T) {
			w := newWorld(t, demo, to)
			out, ok := w.tutorial(t, "--minutes-for-months")
			if ok || !strings.Contains(out, "47003") || !strings.Contains(out, "time2") {
				t.Errorf("month 56: got %s, want 47003 and time2", out)
			}
			if n := w.cards(t); n != 0 {
				t.Errorf("month 56: %d cards arrived", n)
			}
			if n := w.sends(t); to.name == "gateway" && n != 0 {
				t.Errorf("month 56: WeChat was called %d times", n)
			}
			for n := range 2 { // both grants are there
				if out, ok := w.tutorial(t); !ok {
					t.Errorf("message %d: %s", n+1, out)
				}
			}
			if n := w.cards(t); n != 2 {
				t.Errorf("%d cards arrived, want 2", n)
			}
		})
	}
}

// tutorial runs the program for the world's user and tells whether it ended well.
func (w *world) tutorial(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	var login struct{ Code string }
	w.control(t, "POST", "/login", object{"appid": w.appid, "openid": w.user}, &login)
	cmd := exec.CommandContext(t.Context(), "java", append([]string{"Tutorial.java"}, args...)...)
	cmd.Dir = changeOneLine
	cmd.Env = append(os.Environ(), "WECHAT_HOST="+w.base, "WECHAT_APPID="+w.appid, "WECHAT_SECRET="+w.secret,
		"WECHAT_CODE="+login.Code, "WECHAT_TEMPLATE="+w.template)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// What the errmsg has no room for stands in a header of the gateway.
func TestReason(t *testing.T) {
	t.Parallel()
	demo := progtest.StartDemo(t)
	w := newWorld(t, demo, gatewayOf(demo))
	c := newGoClient(t, w)
	c.fetchToken(t)
	c.send(t, object{"touser": w.user, "template_id": w.template, "data": json.RawMessage(badData)})
	reason := c.header.Get("X-Hongyan-Reason")
	for _, want := range []string{"time2", "2022-56-23"} {
		if !strings.Contains(reason, want) {
			t.Errorf("got the reason %q, want %s in it", reason, want)
		}
	}
}

var snippet = regexp.MustCompile("<!-- lines of (\\S+) -->\n```\\w+\n((?s:.+?))```")

// What the pages say that our tests run are lines of programs that they do run.
func TestSnippets(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join(changeOneLine, page))
		if err != nil {
			t.Fatal(err)
		}
		found := snippet.FindAllStringSubmatch(string(text), -1)
		if len(found) != 3 {
			t.Errorf("%s has %d snippets, want 3", page, len(found))
		}
		for _, m := range found {
			source, err := os.ReadFile(filepath.Join("../..", m[1]))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(m[2]) {
				if !strings.Contains(string(source), line) {
					t.Errorf("%s: %q is not a line of %s", page, line, m[1])
				}
			}
		}
	}
}
