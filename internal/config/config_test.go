package config_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan/internal/config"
)

var update = flag.Bool("update", false, "rewrite docs/config.md")

// TestReference keeps docs/config.md true.
func TestReference(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := config.WriteReference(&got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "config.md")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Errorf("docs/config.md is stale: run `make generate` (-file +program)\n%s", d)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	for _, f := range config.Fields() {
		if f.Name == "" || f.Help == "" || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("field %+v: needs a name and a sentence of help", f)
		}
		if !strings.HasSuffix(f.HelpZH, "。") {
			t.Errorf("%s: no sentence of help in Chinese", f.Name)
		}
		if f.Secret != (f.Key == "") {
			t.Errorf("%s: secrets have no key, all others have one", f.Name)
		}
		switch f.Name {
		case "senders":
			if f.Default != strconv.Itoa(config.DefaultSenders) {
				t.Errorf("senders: the tag says %s, the constant %d", f.Default, config.DefaultSenders)
			}
		case "retain-messages-days":
			if f.Default != strconv.Itoa(config.DefaultRetainMessagesDays) {
				t.Errorf("retain-messages-days: the tag says %s, the constant %d", f.Default, config.DefaultRetainMessagesDays)
			}
		case "retain-data-days":
			if f.Default != strconv.Itoa(config.DefaultRetainDataDays) {
				t.Errorf("retain-data-days: the tag says %s, the constant %d", f.Default, config.DefaultRetainDataDays)
			}
		case "retain-events-days":
			if f.Default != strconv.Itoa(config.DefaultRetainEventsDays) {
				t.Errorf("retain-events-days: the tag says %s, the constant %d", f.Default, config.DefaultRetainEventsDays)
			}
		case "stop-timeout":
			if f.Default != config.DefaultStopTimeout.String() {
				t.Errorf("stop-timeout: the tag says %s, the constant %s", f.Default, config.DefaultStopTimeout)
			}
		}
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hongyan.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvironmentBeforeFile(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "# a comment\nlisten: 127.0.0.1:1\nsenders: 8\ntrusted_proxies:\n  - 10.0.0.0/8\n  - 192.168.0.0/16\nwechat_fallback_url: \"\"\n")
	s := config.NewSource([]string{"HONGYAN_LISTEN=127.0.0.1:2", "HONGYAN_LOG_LEVEL=", "HONGYAN_WECHAT_PROXY=http://p:1", "OTHER"})
	if err := s.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name   string
		value  any
		origin config.Origin
	}{
		{"listen", "127.0.0.1:2", "HONGYAN_LISTEN"},
		{"senders", "8", config.Origin(path + ":3")},
		{"trusted-proxies", []any{"10.0.0.0/8", "192.168.0.0/16"}, config.Origin(path + ":4")},
		{"wechat-fallback-url", "", config.Origin(path + ":7")},
		{"wechat-proxy", "http://p:1", "HONGYAN_WECHAT_PROXY"},
		{"log-level", nil, config.OriginDefault}, // empty counts as unset
		{"db", nil, config.OriginDefault},
		{"admin-key", nil, ""}, // a secret is no setting of a flag
		{"latency", nil, ""},   // another command's flag
	}
	for _, r := range rows {
		value, origin, err := s.Lookup(r.name)
		if err != nil || !cmp.Equal(value, r.value) || origin != r.origin {
			t.Errorf("Lookup(%s) = %v, %q, %v; want %v, %q", r.name, value, origin, err, r.value, r.origin)
		}
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, text string
		want       []string // each in the error
	}{
		{"near", "lisen: 127.0.0.1:1\n", []string{":1: unknown key lisen: did you mean listen?"}},
		{"dashes", "\nlog-level: debug\n", []string{":2: unknown key log-level: did you mean log_level?"}},
		{"capitals", "WeChat_URL: x\n", []string{"did you mean wechat_url?"}},
		{"far", "colour: red\n", []string{"unknown key colour: the keys are data, db, db_file, listen"}},
		{"all at once", "senders: many\nlog_level: loud\nstop_timeout: soon\nfoo: 1\n", []string{
			`:1: senders: "many" is not a whole number`, `:2: log_level: "loud" is not one of debug, info, warn, error`,
			`:3: stop_timeout: "soon" is not a duration`, ":4: unknown key foo"}},
		{"secret", "admin_key: xyz\n", []string{"admin_key is a secret and does not belong in this file: use admin_key_file or HONGYAN_ADMIN_KEY"}},
		{"other secret", "master-key: xyz\n", []string{"use master_key_file or HONGYAN_MASTER_KEY"}},
		{"empty value", "listen:\n", []string{"listen: it has no value"}},
		{"nested", "listen:\n  port: 1\n", []string{"listen: a plain value is expected here"}},
		{"list for one", "listen: [a, b]\n", []string{"a plain value is expected"}},
		{"nested list", "trusted_proxies: [[a]]\n", []string{"a plain value is expected"}},
		{"not a mapping", "- listen\n", []string{"`key: value` lines"}},
		{"not YAML", "listen: [a\n", []string{"is not YAML"}},
		{"alias", "data: &x /tmp\ndb: *x\n", []string{"a plain value is expected"}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			err := config.NewSource(nil).ReadFile(writeFile(t, r.text))
			if err == nil {
				t.Fatal("the file passed")
			}
			for _, w := range r.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "xyz") {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}

func TestDoubleKeys(t *testing.T) {
	t.Parallel()
	if err := config.NewSource(nil).ReadFile(writeFile(t, "senders: 1\nsenders: 2\n")); err == nil {
		t.Error("a key that stands there twice passed")
	}
}

func TestEmptyFiles(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n"} {
		if err := config.NewSource(nil).ReadFile(writeFile(t, text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := config.NewSource(nil).ReadFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there passed")
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	s := config.NewSource([]string{"HONGYAN_SENDERS=many"})
	if _, _, err := s.Lookup("senders"); err == nil || !strings.Contains(err.Error(), "HONGYAN_SENDERS") {
		t.Errorf("got %v, want an error that names the variable", err)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "from-file\n")
	rows := []struct {
		name, env, path, want, fault string
	}{
		{"none", "", "", "", ""},
		{"environment", "S=from-env ", "", "from-env", ""},
		{"file", "", file, "from-file", ""},
		{"both", "S=from-env", file, "", "both set"},
		{"missing", "", file + "x", "", "read a secret"},
		{"empty", "", writeFile(t, " \n"), "", "is empty"},
	}
	for _, r := range rows {
		got, err := config.NewSource([]string{r.env}).Secret("S", r.path)
		if got != r.want || (err == nil) != (r.fault == "") || err != nil && !strings.Contains(err.Error(), r.fault) {
			t.Errorf("%s: got %q, %v; want %q and an error with %q", r.name, got, err, r.want, r.fault)
		}
	}
	var c config.Config
	if err := config.NewSource([]string{"HONGYAN_ADMIN_KEY=a", "HONGYAN_MASTER_KEY=m"}).ReadSecrets(&c); err != nil || c.AdminKey != "a" || c.MasterKey != "m" {
		t.Errorf("ReadSecrets: %+v, %v", c, err)
	}
	for _, f := range config.Fields() {
		if f.Secret && f.Of(&c) != "redacted" {
			t.Errorf("%s is shown as %q", f.Name, f.Of(&c))
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := config.Config{Data: "d", Listen: ":0", WeChatURL: "http://127.0.0.1:1", Senders: 1, StopTimeout: 1}
	if err := good.Check(); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	// A server that sends to people drives no sandbox.
	mixed := good
	mixed.SandboxURL = "http://127.0.0.1:8422"
	if err := mixed.Check(); err != nil {
		t.Errorf("a sandbox beside a sandbox: %v", err)
	}
	for _, u := range []string{"https://api.weixin.qq.com", "https://SH.api.weixin.qq.com"} {
		if mixed.WeChatURL = u; mixed.Check() == nil {
			t.Errorf("a sandbox beside %s passed", u)
		}
	}
	bad := config.Config{DB: "oracle:x", Listen: "nowhere", PublicListen: "anywhere", TrustedProxies: []string{"10.0.0.1"}, AdminKey: "short",
		SandboxURL: "x", WeChatURL: "ftp://x", WeChatFallbackURL: "x", WeChatProxy: "socks://user:hunter2@proxy",
		RetainMessagesDays: -1, RetainDataDays: 40_000, RetainEventsDays: -1, OutboundAllow: []string{"10.0.0.1"}}
	err := bad.Check()
	if err == nil {
		t.Fatal("a bad one passed")
	}
	for _, w := range []string{"db:", "listen:", "public-listen:", "trusted-proxies:", "admin-key:", "wechat-url:", "wechat-fallback-url:", "wechat-proxy:", "senders:", "stop-timeout:", "retain-messages-days:", "retain-data-days:", "retain-events-days:", "outbound-allow:", "sandbox-url:"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("not reported: %s\n%v", w, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "short") {
		t.Errorf("the report repeats a secret: %v", err)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	c := config.Config{Data: "d", WeChatURL: "https://api.weixin.qq.com", WeChatFallbackURL: "https://two"}
	if got := c.Database(); got != "sqlite:"+filepath.Join("d", "hongyan.db") {
		t.Errorf("default database: %s", got)
	}
	if c.Fallback() != "https://two" {
		t.Errorf("fallback of the default host: %q", c.Fallback())
	}
	c.DB, c.WeChatURL = "sqlite:/x.db", "http://127.0.0.1:1"
	if c.Database() != "sqlite:/x.db" || c.Fallback() != "" {
		t.Errorf("got %s and fallback %q; a sandbox has no fallback", c.Database(), c.Fallback())
	}
}

func TestWithoutPassword(t *testing.T) {
	t.Parallel()
	rows := []struct{ url, want string }{
		{"http://proxy:1", "http://proxy:1"},
		{"http://me:hunter2@proxy:1", "http://redacted@proxy:1"},
		{"me:hunter2@proxy:1", "redacted@proxy:1"},
		{"mysql://me:hu@nter2@db/h?tls=true", "mysql://redacted@db/h?tls=true"},
		{"postgres://db/h?user=me&password=hunter2&sslmode=require", "postgres://db/h?user=me&password=redacted&sslmode=require"},
		{"postgres://db/h?password=hun@ter2&sslmode=require", "postgres://redacted&sslmode=require"},
		{"postgres://me:hunter2@db/h?sslpassword=hunter2", "postgres://redacted@db/h?sslpassword=redacted"},
		{"postgres://me:hu?nter2@db/h", "postgres://redacted@db/h"},
		{"sqlite:/var/lib/h.db", "sqlite:/var/lib/h.db"},
	}
	for _, r := range rows {
		got := config.WithoutPassword(r.url)
		if got != r.want || strings.Contains(got, "ter2") {
			t.Errorf("WithoutPassword(%s) = %s, want %s", r.url, got, r.want)
		}
	}
}

// TestSettings: each with where it came from, secrets only as there.
func TestSettings(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "log_level: debug\n")
	dbFile := writeFile(t, "postgres://me:hunter2@db/h\n")
	s := config.NewSource([]string{"HONGYAN_MASTER_KEY=hunter2", "HONGYAN_DB_FILE=" + dbFile, "HONGYAN_SENDERS=9"})
	if err := s.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	c := config.Config{DBFile: dbFile, Listen: "h:1", Senders: 9, LogLevel: "debug", WeChatProxy: "http://me:hunter2@p"}
	if err := s.ReadSecrets(&c); err != nil {
		t.Fatal(err)
	}
	origin := func(f config.Field) config.Origin {
		return s.Origin(f, func(flag string) bool { return flag == "listen" })
	}
	got := make(map[string][2]string)
	for _, x := range config.Settings(&c, origin, "zh") {
		got[x.Key] = [2]string{x.Value, x.Origin}
		if !strings.HasSuffix(x.Help, "。") || !strings.HasPrefix(x.Env, "HONGYAN_") {
			t.Errorf("%s is not explained: %+v", x.Key, x)
		}
		if strings.Contains(x.Value, "hunter2") {
			t.Errorf("%s shows a secret: %s", x.Key, x.Value)
		}
	}
	for key, want := range map[string][2]string{
		"listen": {"h:1", "flag"}, "senders": {"9", "HONGYAN_SENDERS"}, "log_level": {"debug", path + ":1"}, "stop_timeout": {"0s", "default"},
		"db": {"postgres://redacted@db/h", "HONGYAN_DB_FILE"}, "HONGYAN_MASTER_KEY": {"redacted", "HONGYAN_MASTER_KEY"},
		"HONGYAN_ADMIN_KEY": {"", "default"}, "wechat_proxy": {"http://redacted@p", "default"},
	} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
	if len(got) != len(config.Fields()) {
		t.Errorf("%d settings of %d", len(got), len(config.Fields()))
	}
	own := config.OriginIn(&c)
	for _, f := range config.Fields() {
		if o := own(f); f.Name == "senders" && o != config.OriginProgram || f.Name == "gateway-listen" && o != config.OriginDefault {
			t.Errorf("%s of a program comes from %s", f.Name, o)
		}
	}
}
