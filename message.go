package hongyan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// State is where a message stands; JSON calls it status. The diagram is in docs/architecture.md.
type State string

// The states. Final: accepted (unless a sent event follows), delivered, undelivered, failed, canceled, expired.
const (
	StateHeld        State = "held"        // waits for the user's next accept
	StateScheduled   State = "scheduled"   // waits for its time
	StateQueued      State = "queued"      // due, waits for a sender
	StateSending     State = "sending"     // leased to a sender
	StateAccepted    State = "accepted"    // WeChat answered errcode 0
	StateDelivered   State = "delivered"   // its sent event said success, or a person did
	StateUndelivered State = "undelivered" // its sent event said otherwise
	StateFailed      State = "failed"      // refused, by WeChat or by us
	StateUncertain   State = "uncertain"   // no clear answer: WeChat may have sent it
	StateCanceled    State = "canceled"
	StateExpired     State = "expired"
)

var states = []State{StateHeld, StateScheduled, StateQueued, StateSending, StateAccepted, StateDelivered,
	StateUndelivered, StateFailed, StateUncertain, StateCanceled, StateExpired}

// States lists every state.
func States() []State { return slices.Clone(states) }

// Final reports whether nothing of ours will change the state any more.
func (s State) Final() bool {
	switch s {
	case StateAccepted, StateDelivered, StateUndelivered, StateFailed, StateCanceled, StateExpired:
		return true
	}
	return false
}

// Cancelable reports whether a cancel wins against this state.
func (s State) Cancelable() bool {
	return s == StateHeld || s == StateScheduled || s == StateQueued
}

// Live reports whether the reservations of a message in this state are still reserved, not spent.
func (s State) Live() bool {
	return s == StateScheduled || s == StateQueued || s == StateSending || s == StateUncertain
}

// Priority orders due messages of one app; it does not reach across apps.
type Priority string

// The priorities.
const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// OnNoGrant says what happens when the count is exact and zero.
type OnNoGrant string

// The policies for no grant.
const (
	OnNoGrantFail OnNoGrant = "fail" // refuse with no_grant; WeChat is not called. The default
	OnNoGrantSend OnNoGrant = "send" // try anyway
	OnNoGrantHold OnNoGrant = "hold" // wait for the next accept
)

// OnUncertain says what happens after an unclear outcome.
type OnUncertain string

// The policies for an unclear outcome.
const (
	OnUncertainKeep   OnUncertain = "keep"   // wait for evidence or a person. The default
	OnUncertainResend OnUncertain = "resend" // send once more, though the user may get it twice
)

// OnBusy says what errcode -1 means.
type OnBusy string

// The policies for errcode -1.
const (
	OnBusyRetry     OnBusy = "retry"     // not sent: try again, at most 3 times. The default
	OnBusyUncertain OnBusy = "uncertain" // it may have been sent
)

// ReserveAt says when a message takes its grant.
type ReserveAt string

// The moments to take a grant.
const (
	ReserveSubmit ReserveAt = "submit" // at once, also for a time far ahead. The default
	ReserveSend   ReserveAt = "send"   // when it is due
)

// Recipient is whom a message goes to: an openid, or the integrator's own user id.
// In JSON a string, or {"user": "…"}.
type Recipient struct {
	OpenID OpenID
	User   string // external id
}

// MarshalJSON writes the short form for an openid.
func (r Recipient) MarshalJSON() ([]byte, error) {
	if r.User != "" {
		return json.Marshal(map[string]string{"user": r.User})
	}
	return json.Marshal(string(r.OpenID))
}

// UnmarshalJSON reads either form.
func (r *Recipient) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(&r.OpenID))
	}
	var o struct{ User string }
	if err := json.Unmarshal(b, &o); err != nil || o.User == "" {
		return fmt.Errorf(`to is an openid, or {"user": "your own user id"}`)
	}
	r.User = o.User
	return nil
}

// Submission is a message as an integrator asks for it.
type Submission struct {
	App      AppID     `json:"app" doc:"The app's appid."`
	To       Recipient `json:"to" doc:"An openid, or {\"user\": your own user id}."`
	Template string    `json:"template" doc:"template_id or alias."`
	// Data maps the template's keys to their text. On the wire {"thing1":"x"} and {"thing1":{"value":"x"}} both do.
	Data map[string]string `json:"data" doc:"The template's keys with their text."`

	Page             string `json:"page,omitempty" doc:"The page a tap opens, with its query; at most 1024 bytes."`
	MiniprogramState string `json:"miniprogram_state,omitempty" enum:"developer,trial,formal" doc:"Which version of the mini program a tap opens. Default: the app's."`
	Lang             string `json:"lang,omitempty" enum:"zh_CN,en_US,zh_HK,zh_TW" doc:"Language of the card's own words. Default zh_CN."`

	SendAt    time.Time `json:"send_at,omitzero" doc:"When to send it, at most a year ahead. Absent or past: now."`
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"When it is no longer sent. Default: due time + the app's default_expiry_s."`
	Priority  Priority  `json:"priority,omitempty" enum:"low,normal,high" doc:"Orders due messages of one app. Default normal."`

	Reserve     ReserveAt   `json:"reserve,omitempty" enum:"submit,send" doc:"When it takes its grant: at once (default) or when it is due."`
	OnNoGrant   OnNoGrant   `json:"on_no_grant,omitempty" enum:"fail,send,hold" doc:"If the count is exact and zero: refuse (default), try anyway, or wait for the next accept."`
	HoldForS    int64       `json:"hold_for_s,omitempty" minimum:"0" maximum:"31622400" doc:"Seconds it waits while held. Default 7 days."`
	OnUncertain OnUncertain `json:"on_uncertain,omitempty" enum:"keep,resend" doc:"After no clear answer: wait for evidence (default), or send once more though the user may get it twice."`
	OnBusy      OnBusy      `json:"on_busy,omitempty" enum:"retry,uncertain" doc:"What errcode -1 means: not sent, try again (default); or perhaps sent."`
	Validation  Validation  `json:"validation,omitempty" enum:"normal,strict" doc:"Whether warnings about the data refuse it too. Default normal."`
	Fit         Fit         `json:"fit,omitempty" enum:"none,repair,truncate" doc:"How far the data may be changed so that WeChat takes it. Default none."`

	// GrantReport is the tap that belongs to this message, so that one request does for both.
	GrantReport *Report `json:"grant_report,omitempty" doc:"The tap that belongs to this message; its openid and template may be left out."`
	// DedupKey refuses a second message with the same key in the same app for 24 hours.
	DedupKey string            `json:"dedup_key,omitempty" maxLength:"128" doc:"A second message with this key in this app, until 24 hours later, is answered with the first."`
	Tags     []string          `json:"tags,omitempty" maxItems:"16" doc:"Words to list messages by."`
	Metadata map[string]string `json:"metadata,omitempty" doc:"Your own data; comes back with the message."`
	// DryRun checks everything and stores nothing.
	DryRun bool `json:"dry_run,omitempty" doc:"Check everything, store nothing."`
}

var (
	miniprogramStates = []string{"developer", "trial", "formal"}
	langs             = []string{"zh_CN", "en_US", "zh_HK", "zh_TW"}
)

// Limits of a submission.
const (
	MaxPageBytes     = 1024
	MaxDataKeys      = 64
	MaxDataBytes     = 2048 // of one value; no type of WeChat's takes more than 32 characters
	MaxTags          = 16
	MaxTagBytes      = 64
	MaxMetadata      = 32
	MaxMetadataBytes = 512
	MaxDedupKey      = 128
	MaxExternalID    = 128
)

// Check names every fault that can be seen without the ledger. Pointers are relative to the submission.
func (s *Submission) Check(now time.Time) []FieldError {
	var f []FieldError
	add := func(pointer, code, format string, args ...any) {
		f = append(f, FieldError{Pointer: pointer, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	if s.App == "" {
		add("/app", "missing", "Name the app by its appid.")
	}
	if s.Template == "" {
		add("/template", "missing", "Name the template by its template_id or alias.")
	}
	switch {
	case s.To.User != "":
		if len(s.To.User) > MaxExternalID {
			add("/to/user", "length", "An external user id is at most %d bytes.", MaxExternalID)
		}
	case s.To.OpenID == "":
		add("/to", "missing", `Name the recipient: an openid, or {"user": "your own user id"}.`)
	case !s.To.OpenID.Valid():
		add("/to", "openid", badOpenID)
	}
	if len(s.Data) > MaxDataKeys {
		add("/data", "length", "A template has at most 5 keys; data has %d.", len(s.Data))
	}
	for k, v := range s.Data {
		if len(v) > MaxDataBytes || len(k) > 64 {
			add("/data/"+escapePointer(clip(k)), "too_long", "A key is at most 64 bytes and a value at most %d.", MaxDataBytes)
		}
		if !utf8.ValidString(v) || !utf8.ValidString(k) {
			add("/data/"+escapePointer(clip(strings.ToValidUTF8(k, "?"))), "encoding", "The text is not valid UTF-8; send UTF-8, not GBK.")
		}
	}
	if len(s.Page) > MaxPageBytes {
		add("/page", "length", "page is at most %d bytes; it has %d.", MaxPageBytes, len(s.Page))
	} else if !utf8.ValidString(s.Page) || strings.ContainsFunc(s.Page, unicode.IsControl) {
		add("/page", "encoding", "page is one line of UTF-8.")
	}
	s.checkChoices(&f)
	s.checkTimes(&f, now)
	s.checkLabels(&f)
	if s.GrantReport != nil {
		r := *s.GrantReport
		// The message says who and which template; the report inside need not repeat it.
		if r.OpenID == "" {
			r.OpenID = "x"
		}
		if r.Template == "" {
			r.Template = s.Template
		}
		f = append(f, r.Check("/grant_report")...)
	}
	return f
}

func (s *Submission) checkChoices(f *[]FieldError) {
	choice(f, "/miniprogram_state", s.MiniprogramState, miniprogramStates...)
	choice(f, "/lang", s.Lang, langs...)
	choice(f, "/priority", string(s.Priority), "low", "normal", "high")
	choice(f, "/reserve", string(s.Reserve), "submit", "send")
	choice(f, "/on_no_grant", string(s.OnNoGrant), "fail", "send", "hold")
	choice(f, "/on_uncertain", string(s.OnUncertain), "keep", "resend")
	choice(f, "/on_busy", string(s.OnBusy), "retry", "uncertain")
	choice(f, "/validation", string(s.Validation), "normal", "strict")
	choice(f, "/fit", string(s.Fit), "none", "repair", "truncate")
}

func (s *Submission) checkTimes(f *[]FieldError, now time.Time) {
	add := func(pointer, code, detail string) {
		*f = append(*f, FieldError{Pointer: pointer, Code: code, Detail: detail})
	}
	if s.SendAt.After(now.Add(MaxSendAhead)) {
		add("/send_at", "range", "send_at lies more than a year ahead.")
	}
	if !s.ExpiresAt.IsZero() {
		if !s.ExpiresAt.After(now) {
			add("/expires_at", "range", "expires_at lies in the past.")
		} else if s.ExpiresAt.Before(s.SendAt) {
			add("/expires_at", "range", "expires_at lies before send_at.")
		} else if s.ExpiresAt.After(now.Add(2 * MaxSendAhead)) {
			add("/expires_at", "range", "expires_at lies more than two years ahead.")
		}
	}
	if s.HoldForS < 0 || time.Duration(s.HoldForS) > MaxSendAhead/time.Second {
		add("/hold_for_s", "range", "hold_for_s is 0 (the default, 7 days) to one year, in seconds.")
	}
}

func (s *Submission) checkLabels(f *[]FieldError) {
	add := func(pointer, code, format string, args ...any) {
		*f = append(*f, FieldError{Pointer: pointer, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	if len(s.DedupKey) > MaxDedupKey || !storable(s.DedupKey) {
		add("/dedup_key", "length", "dedup_key is UTF-8 without NUL, of at most %d bytes.", MaxDedupKey)
	}
	if len(s.Tags) > MaxTags {
		add("/tags", "length", "At most %d tags; there are %d.", MaxTags, len(s.Tags))
	}
	for i, t := range s.Tags {
		if t == "" || len(t) > MaxTagBytes || !storable(t) {
			add(fmt.Sprintf("/tags/%d", i), "length", "A tag is UTF-8 without NUL, of 1 to %d bytes.", MaxTagBytes)
		}
	}
	if len(s.Metadata) > MaxMetadata {
		add("/metadata", "length", "At most %d metadata keys; there are %d.", MaxMetadata, len(s.Metadata))
	}
	for k, v := range s.Metadata {
		if k == "" || len(k) > MaxTagBytes || len(v) > MaxMetadataBytes || !storable(k) || !storable(v) {
			add("/metadata/"+escapePointer(clip(strings.ToValidUTF8(k, "?"))), "length", "A metadata key is 1 to %d bytes, a value at most %d, both UTF-8 without NUL.", MaxTagBytes, MaxMetadataBytes)
		}
	}
}

// storable reports whether every database can keep the text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// escapePointer escapes one step of a JSON pointer (RFC 6901).
func escapePointer(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

// Message is one message as it stands.
type Message struct {
	ID       MessageID         `json:"id"`
	App      AppID             `json:"app"`
	To       OpenID            `json:"to"`
	Template string            `json:"template"` // template_id
	Status   State             `json:"status" enum:"held,scheduled,queued,sending,accepted,delivered,undelivered,failed,uncertain,canceled,expired"`
	Reason   Code              `json:"reason,omitempty" doc:"Why it stands there: an error code."`
	Data     map[string]string `json:"data,omitempty"`
	// DataErased: retention has erased the data of a message that ended long ago.
	DataErased bool `json:"data_erased,omitempty" doc:"True once the data of a message that ended long ago was erased; data is empty then."`

	Page             string `json:"page,omitempty"`
	MiniprogramState string `json:"miniprogram_state"`
	Lang             string `json:"lang"`

	SendAt    time.Time `json:"send_at"` // when it is due; moves with retries
	ExpiresAt time.Time `json:"expires_at"`
	Priority  Priority  `json:"priority" enum:"low,normal,high"`

	Reserve     ReserveAt   `json:"reserve" enum:"submit,send"`
	OnNoGrant   OnNoGrant   `json:"on_no_grant" enum:"fail,send,hold"`
	HoldForS    int64       `json:"hold_for_s,omitempty"`
	OnUncertain OnUncertain `json:"on_uncertain" enum:"keep,resend"`
	OnBusy      OnBusy      `json:"on_busy" enum:"retry,uncertain"`

	// Reserved is how many grants it holds (or spent, once accepted): 0, 1, or 2 after a resend.
	Reserved int    `json:"reserved"`
	Attempt  int    `json:"attempt" doc:"The number of the latest attempt; 0 before the first."`
	Errcode  *int   `json:"errcode,omitempty" doc:"WeChat's latest answer."`
	Errmsg   string `json:"errmsg,omitempty"`
	MsgID    string `json:"msgid,omitempty" doc:"WeChat's id of the message, a 64-bit integer as a string."`

	DedupKey string            `json:"dedup_key,omitempty"`
	Tags     []string          `json:"tags,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	// Attempts are in the answer for one message, oldest first.
	Attempts []Attempt `json:"attempts,omitempty"`
	// Timeline tells in order what happened; in the answer for one message.
	Timeline []TimelineItem `json:"timeline,omitempty"`
	// Warnings are doubts about the data that did not stop it; in the answer to a submit.
	Warnings []DataFault `json:"warnings,omitempty"`
	// Duplicate is true in the answer to a submit whose dedup_key was used before.
	Duplicate bool `json:"duplicate,omitempty"`
	DryRun    bool `json:"dry_run,omitempty"`

	Progress Progress `json:"-"`
	// Once: somebody waits for the answer of this very attempt, so what would queue it again
	// fails it.
	Once bool `json:"-"`
}

// Err is why the message did not get through: its reason if it failed or was not delivered,
// [CodeExpired], [CodeCanceled], or [CodeWeChatUnclear] while it is uncertain, each with
// WeChat's answer if there was one; nil otherwise, also while it waits.
func (m *Message) Err() error {
	code := m.Reason
	switch m.Status {
	case StateUncertain:
		code = CodeWeChatUnclear
	case StateExpired:
		code = CodeExpired
	case StateCanceled:
		code = CodeCanceled
	case StateFailed, StateUndelivered:
		if code == "" {
			code = CodeWeChatRefused
		}
	default:
		return nil
	}
	e := Errorf(code, "%s", LookupCode(code).Title.EN)
	if m.Errcode != nil && *m.Errcode != 0 {
		e.WeChat = &WeChatError{Errcode: *m.Errcode, Errmsg: m.Errmsg}
	}
	return e
}

// Progress is what deciding about a message needs besides what people see.
type Progress struct {
	Busy     int // answers -1 so far
	SameUser int // answers 43108 so far
	Unsent   int // counted failures to reach WeChat so far
	// EarlierUnclear: an attempt before this one had an unclear outcome, so "failed" would be a guess.
	EarlierUnclear bool
	// HeldOnce: a 43101 already moved it to held; the next one is final.
	HeldOnce bool
	// Resent: it was sent again after an unclear outcome.
	Resent bool
}

// Attempt is one call to WeChat for a message (with the one repeat that a refused token costs).
type Attempt struct {
	Number    int          `json:"number"`
	Class     OutcomeClass `json:"outcome"`
	Errcode   *int         `json:"errcode,omitempty"`
	Errmsg    string       `json:"errmsg,omitempty"` // WeChat's words with rid, or ours where there was no answer
	MsgID     string       `json:"msgid,omitempty"`
	StartedAt time.Time    `json:"started_at"`
	EndedAt   time.Time    `json:"ended_at,omitzero"`
}

// TimelineItem is one step of a message's life.
type TimelineItem struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"`
	State State     `json:"status"`
	Text  Text      `json:"text"`
}
