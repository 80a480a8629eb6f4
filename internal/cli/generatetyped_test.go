package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan/internal/cli"
	"github.com/hongyan-push/hongyan/internal/nodetest"
	"github.com/hongyan-push/hongyan/sandbox"
)

// demoRun is a demo, and commands that ask it.
type demoRun struct {
	t       *testing.T
	sandbox string
	app     string
	env     []string
	openids []string
}

func newDemoRun(t *testing.T) *demoRun {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		var said bytes.Buffer
		done <- cli.Main(ctx, []string{"demo", "--json", "--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"},
			[]string{"LANG=C"}, strings.NewReader(""), in, &said)
		_ = in.CloseWithError(fmt.Errorf("the demo has ended: %s", said.Bytes()))
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("the demo ended with %d", code)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	var r struct {
		API     string   `json:"api"`
		Sandbox string   `json:"sandbox"`
		AppID   string   `json:"appid"`
		APIKey  string   `json:"api_key"`
		OpenIDs []string `json:"openids"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		t.Fatal(err)
	}
	return &demoRun{t: t, sandbox: r.Sandbox, app: r.AppID, openids: r.OpenIDs,
		env: []string{"LANG=C", "HONGYAN_API=" + r.API, "HONGYAN_API_KEY=" + r.APIKey, "HONGYAN_APP=" + r.AppID}}
}

// run runs a command that ends with this exit code and answers what it printed.
func (d *demoRun) run(want int, args ...string) (stdout, stderr string) {
	d.t.Helper()
	var out, errs bytes.Buffer
	if got := cli.Main(d.t.Context(), args, d.env, strings.NewReader(""), &out, &errs); got != want {
		d.t.Fatalf("hongyan %v: exit code %d, want %d\n%s%s", args, got, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// post calls the sandbox.
func (d *demoRun) post(path string, in any) {
	d.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := http.Post(d.sandbox+path, "application/json", bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		d.t.Fatalf("%s: %s %s", path, resp.Status, answer)
	}
}

// module is a back end's own module beside ours: same dependencies, no network.
func module(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod := read(t, filepath.Join(root, "go.mod"))
	_, rest, _ := strings.Cut(mod, "\n")
	write(t, filepath.Join(dir, "go.mod"), "module example.test/shop\n"+rest+"\nrequire github.com/hongyan-push/hongyan v0.0.0\nreplace github.com/hongyan-push/hongyan => "+root+"\n")
	write(t, filepath.Join(dir, "go.sum"), read(t, filepath.Join(root, "go.sum")))
	if err := os.Mkdir(filepath.Join(dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func goTool(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestGenerateGo: types of an app with every type of field compile, a wrong field does not,
// and a program that uses them puts cards on the phone.
func TestGenerateGo(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not installed")
	}
	d := newDemoRun(t)
	ids := make(map[string]string)
	for _, add := range [][2]string{{"2251", "1,2,3,4,9"}, {"4833", "2,3,4,9"}, {"1622", "4,3,1"}, {"9027", "1,2,8"}} {
		out, _ := d.run(0, "templates", "add", add[0], "--kids", add[1], "--scene", "测试", "--json")
		var made struct {
			TemplateID string `json:"template_id"`
		}
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatal(err)
		}
		ids[add[0]] = made.TemplateID
	}
	d.run(0, "templates", "alias", ids["4833"], "visit")
	dir := module(t)
	file := filepath.Join(dir, "templates", "templates.go")
	d.run(0, "generate", "go", "--out", file)
	if _, err := goTool(t, dir, "vet", "./templates"); err != nil {
		t.Fatalf("%v\n%s", err, read(t, file))
	}

	out, _ := d.run(0, "templates", "list", "--json")
	var list struct {
		Items []struct {
			TemplateID string `json:"template_id"`
			Keywords   []struct {
				Type string `json:"type"`
			} `json:"keywords"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	types := make(map[string]bool)
	var tap []string
	for _, tm := range list.Items {
		tap = append(tap, tm.TemplateID)
		for _, k := range tm.Keywords {
			types[k.Type] = true
		}
	}
	if len(types) != 13 {
		t.Fatalf("the app has fields of %d types, want all 13: %v", len(types), types)
	}
	user := d.openids[1]
	for _, three := range [][]string{tap[:3], tap[3:]} { // as many as a dialog has
		d.post("/_sandbox/taps", map[string]any{"appid": d.app, "openid": user, "template_ids": three})
		for _, id := range three {
			d.run(0, "grants", "report", user, id, "accept")
		}
	}
	write(t, filepath.Join(dir, "main.go"), read(t, "testdata/typed/main.go.txt"))
	if out, err := goTool(t, dir, "build", "-o", "shop", "."); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shop := exec.CommandContext(t.Context(), filepath.Join(dir, "shop"), d.app, user)
	shop.Env = d.env
	if out, err := shop.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(wantCards, d.cards(user)); diff != "" {
		t.Errorf("cards on the phone (-want +got)\n%s", diff)
	}

	for wrong, why := range map[string]string{
		`templates.Visit{Date: time.Now()}`:             "unknown field Date",
		`templates.Visit{VisitDate: "2026-12-01"}`:      "cannot use",
		`templates.Visit{ServiceType: kind}`:            "cannot use",
		`templates.VehicleEntryNotice{EntryTime: 1622}`: "cannot use",
	} {
		write(t, filepath.Join(dir, "main.go"), "package main\n\nimport (\n\t\"time\"\n\n\t\"example.test/shop/templates\"\n)\n\nfunc main() {\n\tkind := string(time.Now().String())\n\t_, _ = kind, "+wrong+"\n}\n")
		if out, err := goTool(t, dir, "build", "."); err == nil || !strings.Contains(out, why) {
			t.Errorf("%s: got %v %s", wrong, err, out)
		}
	}

	// In CI: nothing to say, then a template that came and one that went.
	d.run(0, "generate", "go", "--check", file)
	d.run(0, "templates", "add", "1435", "--kids", "2,3", "--scene", "测试")
	d.run(0, "templates", "delete", ids["9027"])
	out, errs := d.run(1, "generate", "go", "--check", file)
	for _, line := range []string{"added  RefundSuccessNotice", "gone  VehicleEntryNotice"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(line), " ")) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
	if !strings.Contains(errs, "is out of date") {
		t.Errorf("it says %s", errs)
	}
	write(t, file, read(t, file)+"\n// mine\n")
	d.run(0, "generate", "go", "--out", file)
	d.run(0, "generate", "go", "--check", file)
}

// cards are what the phone shows, oldest first.
func (d *demoRun) cards(user string) []map[string]string {
	d.t.Helper()
	resp, err := http.Get(d.sandbox + "/_sandbox/outbox?appid=" + d.app + "&openid=" + user)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var box sandbox.Page[sandbox.Card]
	if err := json.NewDecoder(resp.Body).Decode(&box); err != nil {
		d.t.Fatal(err)
	}
	var cards []map[string]string
	for _, c := range box.Items {
		data := make(map[string]string)
		for k, v := range c.Data {
			data[k] = v.Value
		}
		cards = append(cards, data)
	}
	return cards
}

var wantCards = []map[string]string{
	{"name1": "Alice Zhang", "thing2": "英语六级模拟", "number3": "562.5", "letter4": "A", "symbol9": "++"},
	{"date2": "2026年12月2日", "phone_number3": "+86-0571-66888866", "enum_string4": "维修", "character_string9": "GD-6612"},
	{"time4": "2026年12月2日 00:05~2026年12月2日 02:05", "amount3": "¥12.00", "character_string1": "YT1"},
	{"car_number1": "沪C8K6D9", "time2": "2026年12月2日 00:05", "number8": "214"},
	{"character_string1": "HY1", "thing2": "羊毛混纺大衣", "amount3": "399元", "date4": "2026年12月2日 00:05", "thing11": "我们会尽快为您发货"},
	{"phrase2": "顺丰速运", "character_string3": "SF1", "time5": "2026年12月2日 00:05:00", "thing8": "大衣等2件", "thing12": "请留意派送电话"},
}

// TestGenerateTS: a Node back end sends with the generated module and fetch alone.
func TestGenerateTS(t *testing.T) {
	t.Parallel()
	dir := nodetest.Project(t, "../typed/testdata/node")
	if err := os.Mkdir(filepath.Join(dir, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := newDemoRun(t)
	d.run(0, "generate", "ts", "--out", filepath.Join(dir, "shop", "templates.ts"))
	write(t, filepath.Join(dir, "send.mjs"), `
import { OrderPaymentSuccessNotice } from './built/templates.js';
const { HONGYAN_API: api, HONGYAN_API_KEY: key, HONGYAN_APP: app } = Object.fromEntries(process.argv.slice(3).map((a) => a.split(/=(.*)/)));
const body = OrderPaymentSuccessNotice.message(app, process.argv[2], {
  orderNumber: 'HY1', productName: '羊毛混纺大衣', paymentAmount: { fen: 39900 }, paymentTime: new Date('2026-12-01T16:05:00Z'), tip: '我们会尽快为您发货',
});
const answer = await fetch(api + '/v1/messages', {
  method: 'POST', body: JSON.stringify(body),
  headers: { Authorization: 'Bearer ' + key, 'Content-Type': 'application/json', Prefer: 'wait=20' },
});
if (answer.status !== 202) throw new Error(await answer.text());
`)
	nodetest.Run(t, dir, nil, "npx", "tsc", "--target", "ES2020", "--module", "ES2020", "--strict", "--outDir", "built", "shop/templates.ts")
	nodetest.Run(t, dir, nil, "node", append([]string{"send.mjs", d.openids[0]}, d.env...)...)
	want := []map[string]string{{"character_string1": "HY1", "thing2": "羊毛混纺大衣", "amount3": "¥399.00", "date4": "2026年12月2日 00:05", "thing11": "我们会尽快为您发货"}}
	if diff := cmp.Diff(want, d.cards(d.openids[0])); diff != "" {
		t.Errorf("cards on the phone (-want +got)\n%s", diff)
	}
}
