package hongyan

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"
)

// AppID is a mini program's AppID (小程序 AppID), case-sensitive.
type AppID string

// TokenMode says where an app's access tokens come from.
type TokenMode string

// The token modes.
const (
	// TokenStable fetches from stable_token in normal mode, which knocks nobody out. The default.
	TokenStable TokenMode = "stable"
	// TokenLegacy fetches from /cgi-bin/token, where every call supersedes the previous token.
	TokenLegacy TokenMode = "legacy"
	// TokenExternal asks a service of the team's own, which owns the app's tokens.
	TokenExternal TokenMode = "external"
	// TokenNone sends without a token: WeChat cloud hosting (微信云托管) authenticates the call itself.
	TokenNone TokenMode = "none"
)

// App is one mini program that this server sends for. Its AppSecret is not part of it.
type App struct {
	AppID     AppID  `json:"appid"`
	Name      string `json:"name"`
	HasSecret bool   `json:"has_secret"`
	// HasTokenSecret: the service at token_url is shown a secret.
	HasTokenSecret bool        `json:"has_token_secret,omitempty"`
	Settings       AppSettings `json:"settings"`
	// Pauses that hold sending back now, of the app, its templates and API paths.
	Pauses    []Pause   `json:"pauses"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// AppSettings are an app's choices. The zero value of a field means its default.
type AppSettings struct {
	TokenMode TokenMode `json:"token_mode,omitempty" enum:"stable,legacy,external,none" doc:"Where access tokens come from. Default stable."`
	// TokenURL is where token_mode external asks, by GET, for {"access_token", "expires_in"}.
	TokenURL string `json:"token_url,omitempty" maxLength:"1024" doc:"For token_mode external: the URL that answers a GET with access_token and expires_in, the seconds that are left. https; http only within your own network."`
	// History says whether users may have subscribed before this app was added here.
	History History `json:"history,omitempty" enum:"existing,new" doc:"existing (default): users may hold grants from before; new: none existed, so the first accept makes a count exact."`
	// DialogReject says what a reject in the dialog does to the grants already banked.
	DialogReject DialogReject `json:"dialog_reject,omitempty" enum:"keep,void" doc:"What a reject in the dialog does to banked grants. Default keep."`
	// GrantSources says which witnesses of a tap count.
	GrantSources GrantSources `json:"grant_sources,omitempty" enum:"both,events,reports" doc:"Which witnesses of a tap count: both (default; one tap told twice counts once), WeChat's events alone, or reports alone."`
	// MP opens /mp/v1 to the app's phones.
	MP Switch `json:"mp,omitempty" enum:"off,on" doc:"Whether the mini program itself may call /mp/v1. Default off."`
	// OnlyOpenIDs is a staging guard: if it is not empty, nothing is sent to anybody else.
	OnlyOpenIDs []OpenID `json:"only_openids,omitempty" maxItems:"1000" doc:"If not empty, messages to any other openid are refused."`
	// MiniprogramState is the default of messages that name none.
	MiniprogramState string `json:"miniprogram_state,omitempty" enum:"developer,trial,formal" doc:"Default miniprogram_state. Default formal."`
	// PacePerSecond limits calls of send; 0 means no limit until WeChat asks for one.
	PacePerSecond float64 `json:"pace_per_second,omitempty" minimum:"0" maximum:"100000" doc:"Most sends a second; 0 (default) = no limit of ours."`
	// DefaultExpiryS is how long after its due time a message expires, in seconds.
	DefaultExpiryS int64      `json:"default_expiry_s,omitempty" minimum:"0" maximum:"31536000" doc:"Seconds after the due time at which a message expires. Default 86400."`
	OnBusy         OnBusy     `json:"on_busy,omitempty" enum:"retry,uncertain" doc:"Default on_busy of messages."`
	Validation     Validation `json:"validation,omitempty" enum:"normal,strict" doc:"Default validation of messages."`
	Fit            Fit        `json:"fit,omitempty" enum:"none,repair,truncate" doc:"Default fit of messages."`
	// BacklogLimit is how many messages may be queued; more are refused with backlog_full.
	// GatewayMode says what the gateway does with a send.
	GatewayMode GatewayMode `json:"gateway_mode,omitempty" enum:"sync,queue" doc:"What the gateway does with a send: sync (default) calls WeChat at once and answers in its words; queue stores it and answers errcode 0 without a msgid."`
	// GatewayRepeatS is how long the gateway takes an identical send for a repeat of one whose
	// outcome is unclear.
	GatewayRepeatS int64 `json:"gateway_repeat_s,omitempty" minimum:"0" maximum:"86400" doc:"Seconds in which an identical send through the gateway is taken for a repeat of one whose outcome is unclear, and not sent. Default 600."`
	// GatewayRelay are the paths of WeChat's that the gateway relays for keys with the right.
	GatewayRelay []string `json:"gateway_relay,omitempty" maxItems:"200" doc:"Further paths of WeChat's that the gateway relays with the real token, exactly as written, such as /wxa/getwxacodeunlimit. Default none."`
	BacklogLimit int64    `json:"backlog_limit,omitempty" minimum:"0" maximum:"100000000" doc:"Most queued messages. Default 1000000."`
}

// History is the setting of [AppSettings.History].
type History string

// The histories.
const (
	HistoryExisting History = "existing"
	HistoryNew      History = "new"
)

// DialogReject is the setting of [AppSettings.DialogReject].
type DialogReject string

// What a reject in the dialog does.
const (
	DialogRejectKeep DialogReject = "keep"
	DialogRejectVoid DialogReject = "void"
)

// GatewayMode is the setting of [AppSettings.GatewayMode].
type GatewayMode string

// What the gateway does with a send.
const (
	GatewaySync  GatewayMode = "sync"
	GatewayQueue GatewayMode = "queue"
)

// DefaultGatewayRepeat is the default of [AppSettings.GatewayRepeatS].
const DefaultGatewayRepeat = 10 * time.Minute

// GatewayRepeat is for how long an identical send is taken for a repeat of an unclear one.
func (s AppSettings) GatewayRepeat() time.Duration {
	if s.GatewayRepeatS > 0 {
		return time.Duration(s.GatewayRepeatS) * time.Second
	}
	return DefaultGatewayRepeat
}

// RelayFault says why the gateway must not relay a path: it is not exact, the gateway has it
// itself, or it deals in credentials. Empty: it may.
func RelayFault(p string) string {
	low := strings.ToLower(p)
	under := func(prefix string) bool { return low == prefix || strings.HasPrefix(low, prefix+"/") }
	switch {
	case !strings.HasPrefix(p, "/") || p != path.Clean(p) || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("%?#\\;", r) }):
		return "A path is exact, as /wxa/getwxacodeunlimit: no host, no query, no escapes, no double slashes."
	case under("/cgi-bin/token"), under("/cgi-bin/stable_token"), under("/cgi-bin/component"), under("/cgi-bin/ticket"), under("/sns"), under("/cgi-bin/clear_quota"):
		return "The gateway never relays paths of tokens, tickets, logins and third-party platforms."
	case under("/cgi-bin/message/subscribe/send"), under("/wxaapi/newtmpl"):
		return "The gateway has this path itself."
	}
	return ""
}

// Switch is a setting that is on or off.
type Switch string

// The positions of a switch.
const (
	SwitchOff Switch = "off"
	SwitchOn  Switch = "on"
)

// GrantSources is the setting of [AppSettings.GrantSources].
type GrantSources string

// The sources that count. Events alone miss silent accepts ("always keep"), reports alone
// miss clients that do not report; the ledger pairs them.
const (
	GrantSourcesBoth    GrantSources = "both"
	GrantSourcesEvents  GrantSources = "events"
	GrantSourcesReports GrantSources = "reports"
)

// Counts reports whether witnesses of a source (report or event) count.
func (g GrantSources) Counts(s EntrySource) bool {
	switch g {
	case GrantSourcesEvents:
		return s == SourceEvent
	case GrantSourcesReports:
		return s == SourceReport
	}
	return true
}

// Defaults of [AppSettings] and of messages.
const (
	DefaultExpiry       = 24 * time.Hour
	DefaultHoldFor      = 7 * 24 * time.Hour
	DefaultBacklogLimit = 1_000_000
	MaxSendAhead        = 366 * 24 * time.Hour // how far ahead send_at may lie; a leap year's worth
)

// Check refuses values outside their lists and ranges, all at once.
func (s AppSettings) Check() error {
	var fields []FieldError
	choice(&fields, "/settings/token_mode", string(s.TokenMode), "stable", "legacy", "external", "none")
	fields = append(fields, s.checkTokenURL()...)
	choice(&fields, "/settings/history", string(s.History), "existing", "new")
	choice(&fields, "/settings/dialog_reject", string(s.DialogReject), "keep", "void")
	choice(&fields, "/settings/mp", string(s.MP), "off", "on")
	choice(&fields, "/settings/grant_sources", string(s.GrantSources), "both", "events", "reports")
	choice(&fields, "/settings/miniprogram_state", s.MiniprogramState, miniprogramStates...)
	choice(&fields, "/settings/on_busy", string(s.OnBusy), "retry", "uncertain")
	choice(&fields, "/settings/validation", string(s.Validation), "normal", "strict")
	choice(&fields, "/settings/fit", string(s.Fit), "none", "repair", "truncate")
	choice(&fields, "/settings/gateway_mode", string(s.GatewayMode), "sync", "queue")
	for i, p := range s.GatewayRelay {
		if fault := RelayFault(p); fault != "" {
			fields = append(fields, FieldError{Pointer: fmt.Sprintf("/settings/gateway_relay/%d", i), Code: "path", Detail: fault})
		}
	}
	for i, o := range s.OnlyOpenIDs {
		if !o.Valid() {
			fields = append(fields, FieldError{Pointer: fmt.Sprintf("/settings/only_openids/%d", i), Code: "openid", Detail: badOpenID})
		}
	}
	if s.PacePerSecond < 0 || s.DefaultExpiryS < 0 || s.BacklogLimit < 0 || s.GatewayRepeatS < 0 {
		fields = append(fields, FieldError{Pointer: "/settings", Code: "negative", Detail: "pace_per_second, default_expiry_s, backlog_limit and gateway_repeat_s cannot be negative."})
	}
	return fieldsError(fields)
}

// checkTokenURL wants an address to which a token and a secret may go: in the clear only
// within the team's own network.
func (s AppSettings) checkTokenURL() []FieldError {
	fault := func(code, detail string) []FieldError {
		return []FieldError{{Pointer: "/settings/token_url", Code: code, Detail: detail}}
	}
	if s.TokenURL == "" {
		if s.TokenMode == TokenExternal {
			return fault("missing", "token_mode external needs a token_url: the URL that answers a GET with access_token and expires_in.")
		}
		return nil
	}
	u, err := url.Parse(s.TokenURL)
	switch {
	case err != nil || len(s.TokenURL) > 1024 || !storable(s.TokenURL) || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return fault("url", "Give an https URL of at most 1024 bytes, such as https://tokens.example.com/wx, without a user or fragment; what it wants to be shown is the token_secret.")
	case u.Scheme == "http" && !ownNetwork(u.Hostname()):
		return fault("clear_text", "Plain http to a public host would show the token to everybody on the way; use https.")
	}
	return nil
}

// ownNetwork reports whether a host is within a private network by the look of it: an
// address of one, or a name without a dot, as containers have.
func ownNetwork(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate()
	}
	return !strings.Contains(host, ".")
}

// Mode is the token mode with its default.
func (s AppSettings) Mode() TokenMode {
	if s.TokenMode == "" {
		return TokenStable
	}
	return s.TokenMode
}

// Expiry is the default time from due to expiry.
func (s AppSettings) Expiry() time.Duration {
	if s.DefaultExpiryS > 0 {
		return time.Duration(s.DefaultExpiryS) * time.Second
	}
	return DefaultExpiry
}

// Backlog is the bound of queued messages.
func (s AppSettings) Backlog() int64 {
	if s.BacklogLimit > 0 {
		return s.BacklogLimit
	}
	return DefaultBacklogLimit
}

// Allows reports whether the staging guard lets a message to this openid pass.
func (s AppSettings) Allows(o OpenID) bool {
	if len(s.OnlyOpenIDs) == 0 {
		return true
	}
	for _, a := range s.OnlyOpenIDs {
		if a == o {
			return true
		}
	}
	return false
}

const badOpenID = "An openid is 1 to 64 characters of A-Z a-z 0-9 _ and -; send it exactly as code2Session gave it."

// choice adds a fault if v is neither empty nor in the list.
func choice(fields *[]FieldError, pointer, v string, allowed ...string) {
	if v == "" {
		return
	}
	for _, a := range allowed {
		if v == a {
			return
		}
	}
	*fields = append(*fields, FieldError{Pointer: pointer, Code: "not_in_list",
		Detail: fmt.Sprintf("%q is not a value of this field; use one of: %s.", clip(v), strings.Join(allowed, ", "))})
}

func fieldsError(fields []FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Message: fields[0].Detail, Fields: fields}
}

// clip keeps what a stranger sent short enough to repeat in an error.
func clip(s string) string {
	const most = 60
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}

// PauseScope says what a pause holds back.
type PauseScope string

// The scopes of a pause.
const (
	PauseApp      PauseScope = "app"
	PauseTemplate PauseScope = "template"
	// PausePath holds one API path of the app, such as send after its daily quota.
	PausePath PauseScope = "path"
)

// Pause holds sending back: by hand until somebody resumes it, by the system until a probe passes.
type Pause struct {
	Scope PauseScope `json:"scope" enum:"app,template,path"`
	// Key is the template_id or API path; empty for the app itself.
	Key string `json:"key,omitempty"`
	// Reason is a short code, such as manual, token_rejected, daily_quota, ip_not_whitelisted.
	Reason  string `json:"reason"`
	Errcode int    `json:"errcode,omitempty"`
	// Detail is WeChat's own words or the person's.
	Detail string `json:"detail,omitempty"`
	// Remedy says what to do, in both languages.
	Remedy Text      `json:"remedy"`
	Since  time.Time `json:"since"`
	// ProbeAt is when one message is tried again; zero for pauses that only a person ends.
	ProbeAt time.Time `json:"probe_at,omitzero"`
	// Probes counts the probes that failed since the pause began.
	Probes int `json:"probes,omitempty"`
}

// Manual reports whether only a person ends the pause.
func (p Pause) Manual() bool { return p.ProbeAt.IsZero() }
