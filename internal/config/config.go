// Package config is the one list of the server's settings. Every field is a flag, an
// environment variable HONGYAN_… and a key of the YAML file, in that order of precedence;
// docs/config.md is generated from the tags, so what a setting means is said here alone.
//
// It hides where a value comes from: a [Source] answers for everything that the command
// line leaves open, refuses unknown keys, and can say where each value stood. Parsing the
// command line itself is left to cli.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Config is everything `hongyan serve` can be told.
type Config struct {
	Data string `name:"data" default:"./data" type:"path" help:"Directory of the SQLite file, the master key and the lock."`
	// DB may hold a password; where it does, it is masked.
	DB     string `name:"db" placeholder:"URL" help:"Database: sqlite:PATH, postgres://… or mysql://…; the last two for several replicas. A URL with a password comes from HONGYAN_DB or --db-file, because command lines are read by others. Default: sqlite:DATA/hongyan.db."`
	DBFile string `name:"db-file" type:"path" help:"File with the database's URL."`

	Listen         string   `name:"listen" default:"127.0.0.1:8420" help:"Address of the API, console, docs, metrics and health. Also of /mp/v1 and /callback while there is no public listener."`
	PublicListen   string   `name:"public-listen" placeholder:"ADDRESS" help:"Address of /mp/v1 and /callback alone, which phones and WeChat reach from the internet; listen then has neither. Default: none."`
	GatewayListen  string   `name:"gateway-listen" placeholder:"ADDRESS" help:"Address of the gateway: WeChat's own paths, for SDKs that have a gateway key in place of the AppSecret. Default: none."`
	TrustedProxies []string `name:"trusted-proxies" help:"CIDR ranges whose X-Forwarded-For and X-Forwarded-Proto are believed; nobody's by default."`

	// AdminKey and MasterKey have no flag and no key in the file: both would be read by others.
	AdminKey     string `name:"admin-key" kong:"-" yaml:"-" help:"An owner's API key of at least 32 characters."`
	AdminKeyFile string `name:"admin-key-file" type:"path" help:"File with an owner's API key of at least 32 characters, for containers and scripts. Or HONGYAN_ADMIN_KEY."`

	MasterKey     string `name:"master-key" kong:"-" yaml:"-" help:"Base64 of 32 bytes that seal secrets in the database."`
	MasterKeyFile string `name:"master-key-file" type:"path" help:"File with the base64 of 32 bytes that seal secrets. Or HONGYAN_MASTER_KEY. Default: DATA/master.key, made on the first run."`

	WeChatURL         string `name:"wechat-url" default:"https://api.weixin.qq.com" help:"Base URL of WeChat's API, or of a sandbox."`
	WeChatFallbackURL string `name:"wechat-fallback-url" default:"https://api2.weixin.qq.com" blank:"none" help:"Base URL tried when the first cannot be reached (never after an unclear outcome). Empty: none. Ignored unless wechat-url is the default."`
	WeChatProxy       string `name:"wechat-proxy" help:"HTTP proxy for calls to WeChat, for a fixed egress IP."`
	SandboxURL        string `name:"sandbox-url" placeholder:"URL" help:"Base URL of the sandbox that keys of scope sandbox drive through /v1/sandbox, as the console's phone does. Only for a server whose wechat-url is a sandbox too. Default: none."`
	Senders           int    `name:"senders" default:"64" help:"Calls to WeChat at once, per app."`

	OutboundAllow []string `name:"outbound-allow" help:"CIDR ranges that webhooks, forward_to and token_url may be in though they are not public, such as 10.0.0.0/8; none by default."`

	RetainMessagesDays int `name:"retain-messages-days" default:"90" help:"Days that a message stays after its last change, once it is accepted, delivered, undelivered, failed, canceled or expired. 0: for ever. What may still change is never deleted, uncertain messages among it."`
	RetainDataDays     int `name:"retain-data-days" default:"30" help:"Days that the data of such a message stays in it; afterwards it says data_erased. 0: as long as the message."`
	RetainEventsDays   int `name:"retain-events-days" default:"7" help:"Days that events and their deliveries to webhooks stay. 0: for ever."`

	LogLevel  string `name:"log-level" enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: debug, info, warn, error."`
	LogFormat string `name:"log-format" enum:"text,json" default:"text" help:"text or json, on standard error."`

	StopTimeout time.Duration `name:"stop-timeout" default:"10s" help:"How long a graceful stop may take."`
}

// MinAdminKey is the least length of an owner's key.
const MinAdminKey = 32

// Check reports every contradiction at once.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch scheme(c.DB) {
	case "", "sqlite":
	case "postgres", "postgresql", "mysql", "mariadb":
		if !isDatabase(c.DB) {
			bad("db: the URL cannot be read; write it as %s://user:password@host:port/database, special characters in the password as %%40 and so on", scheme(c.DB))
		}
		if c.MasterKey == "" {
			bad("master-key: replicas that share a database need the same key: make one with `openssl rand -base64 32` and give it as HONGYAN_MASTER_KEY or master-key-file")
		}
	default:
		bad("db: %q is no database that this program knows; use sqlite:PATH, postgres://… or mysql://…", WithoutPassword(c.DB))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen: %q is not host:port", c.Listen)
	}
	if _, _, err := net.SplitHostPort(c.PublicListen); c.PublicListen != "" && err != nil {
		bad("public-listen: %q is not host:port", c.PublicListen)
	}
	if _, _, err := net.SplitHostPort(c.GatewayListen); c.GatewayListen != "" && err != nil {
		bad("gateway-listen: %q is not host:port", c.GatewayListen)
	}
	for name, ranges := range map[string][]string{"trusted-proxies": c.TrustedProxies, "outbound-allow": c.OutboundAllow} {
		for _, p := range ranges {
			if _, err := netip.ParsePrefix(p); err != nil {
				bad("%s: %q is not a CIDR range such as 10.0.0.0/8", name, p)
			}
		}
	}
	if c.AdminKey != "" && len(c.AdminKey) < MinAdminKey {
		bad("admin-key: an owner's key has at least %d characters; make one with `openssl rand -base64 32`", MinAdminKey)
	}
	if !isURL(c.WeChatURL) {
		bad("wechat-url: %q is not an http or https URL", WithoutPassword(c.WeChatURL))
	}
	if c.WeChatFallbackURL != "" && !isURL(c.WeChatFallbackURL) {
		bad("wechat-fallback-url: %q is not an http or https URL", WithoutPassword(c.WeChatFallbackURL))
	}
	if c.WeChatProxy != "" && !isURL(c.WeChatProxy) {
		bad("wechat-proxy: %q is not an http or https URL", WithoutPassword(c.WeChatProxy))
	}
	switch {
	case c.SandboxURL == "":
	case !isURL(c.SandboxURL):
		bad("sandbox-url: %q is not an http or https URL", WithoutPassword(c.SandboxURL))
	case isWeChat(c.WeChatURL):
		bad("sandbox-url: wechat-url is WeChat itself; a server that sends to people drives no sandbox. Set wechat-url to the sandbox, or leave sandbox-url out")
	}
	if c.Senders < 1 || c.Senders > 1024 {
		bad("senders: %d is not between 1 and 1024", c.Senders)
	}
	for name, days := range map[string]int{"retain-messages-days": c.RetainMessagesDays, "retain-data-days": c.RetainDataDays, "retain-events-days": c.RetainEventsDays} {
		if days < 0 || days > MaxRetainDays {
			bad("%s: %d is not between 0 (for ever) and %d", name, days, MaxRetainDays)
		}
	}
	if c.StopTimeout <= 0 {
		bad("stop-timeout: %s is not a time to stop in; give at least 1s", c.StopTimeout)
	}
	return errors.Join(errs...)
}

// MaxRetainDays is a century: more would leave the range of a duration.
const MaxRetainDays = 36_500

// Database is where the database is, with its password.
func (c *Config) Database() string {
	if c.DB == "" || c.DB == "sqlite:" {
		return "sqlite:" + filepath.Join(c.Data, "hongyan.db")
	}
	return c.DB
}

// Fallback is the second base URL, if it applies.
func (c *Config) Fallback() string {
	if c.WeChatURL == "https://api.weixin.qq.com" {
		return c.WeChatFallbackURL
	}
	return ""
}

func scheme(s string) string {
	before, _, _ := strings.Cut(s, ":")
	return before
}

func isDatabase(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && strings.Trim(u.Path, "/") != ""
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// isWeChat reports whether a URL is one of WeChat's own hosts.
func isWeChat(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (strings.EqualFold(u.Hostname(), "weixin.qq.com") || strings.HasSuffix(strings.ToLower(u.Hostname()), ".weixin.qq.com"))
}

// secretParam is the value of a URL's parameter that is a secret by its name; openParam one
// that goes on behind the text.
var (
	secretParam = regexp.MustCompile(`(?i)([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&]*`)
	openParam   = regexp.MustCompile(secretParam.String() + `$`)
)

// WithoutPassword cuts user and password out of a URL, which a proxy's often carries, and what
// its parameters name a password.
func WithoutPassword(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		scheme, _, found := strings.Cut(s[:i], "://")
		rest := s[i:]
		if openParam.MatchString(s[:i]) { // the @ is in a password that is a parameter
			if _, rest, _ = strings.Cut(rest, "&"); rest != "" {
				rest = "&" + rest
			}
		}
		s = "redacted" + rest
		if found {
			s = scheme + "://" + s
		}
	}
	return secretParam.ReplaceAllString(s, "${1}redacted")
}

// Defaults of settings that a caller in the same process leaves to us. The tags say the same.
const (
	DefaultSenders            = 64
	DefaultRetainMessagesDays = 90
	DefaultRetainDataDays     = 30
	DefaultRetainEventsDays   = 7
	DefaultStopTimeout        = 10 * time.Second
)
