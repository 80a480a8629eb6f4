package miniprogram_test

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan/internal/nodetest"
	"github.com/hongyan-push/hongyan/internal/progtest"
)

// The example opens in WeChat's tools without a build, so it carries a copy of the SDK.
func TestCopyOfSDK(t *testing.T) {
	t.Parallel()
	want, got := files(t, "../../sdk/miniprogram/miniprogram_dist"), files(t, "miniprogram/hongyan")
	for name, text := range want {
		if got[name] != text {
			t.Errorf("miniprogram/hongyan/%s is not that of the SDK; run make sdk", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("miniprogram/hongyan/%s is not in the SDK; run make sdk", name)
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	return all
}

// Every file that app.json and the pages name is there, so that WeChat's tools open the folder.
func TestComplete(t *testing.T) {
	t.Parallel()
	var app struct {
		Pages   []string `json:"pages"`
		Sitemap string   `json:"sitemapLocation"`
	}
	readJSON(t, "miniprogram/app.json", &app)
	want := []string{"app.js", "app.wxss", app.Sitemap}
	for _, page := range app.Pages {
		for _, ext := range []string{".js", ".json", ".wxml", ".wxss"} {
			want = append(want, page+ext)
		}
		var conf struct {
			Components map[string]string `json:"usingComponents"`
		}
		readJSON(t, "miniprogram/"+page+".json", &conf)
		for _, path := range conf.Components {
			for _, ext := range []string{".js", ".json", ".wxml", ".wxss"} {
				want = append(want, strings.TrimPrefix(path, "/")+ext)
			}
		}
	}
	got := files(t, "miniprogram")
	for _, name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is named but missing", name)
		}
	}
	var project struct {
		Root string `json:"miniprogramRoot"`
	}
	if readJSON(t, "project.config.json", &project); project.Root != "miniprogram/" {
		t.Errorf("miniprogramRoot is %q", project.Root)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	nodetest.Require(t)
	nodetest.Run(t, ".", nil, "node", "--test", "order.test.mjs")
}

// The shop of the example sends through a demo server, and the card is on the phone.
func TestShop(t *testing.T) {
	t.Parallel()
	nodetest.Require(t)
	demo := progtest.StartDemo(t)
	file := filepath.Join(t.TempDir(), "demo.json")
	if err := os.WriteFile(file, demo.Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	url := progtest.Start(t, ".", []string{"PORT=0"}, "node", "shop.mjs", file).Line(t)

	var order struct{ Message, Status string }
	call(t, "POST", url+"/orders", `{"item":"x","code":"unused"}`, &order)
	if order.Status != "accepted" && order.Status != "delivered" || order.Message == "" { // its sent event may be that quick
		t.Errorf("order: got %+v, want it accepted or delivered", order)
	}
	var outbox struct {
		Items []struct {
			OpenID string `json:"openid"`
		} `json:"items"`
	}
	call(t, "GET", demo.Sandbox+"/_sandbox/outbox", "", &outbox)
	if len(outbox.Items) != 1 || !slices.Contains(demo.OpenIDs, outbox.Items[0].OpenID) {
		t.Errorf("outbox: got %+v, want one card of a demo user", outbox.Items)
	}
}

func call(t *testing.T, method, url, body string, v any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 {
		t.Fatalf("%s %s: %d %s", method, url, res.StatusCode, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
}
