package hongyan

import (
	"fmt"
	"strings"
	"time"
)

// Standing is what a user last said about a template, as far as we know.
type Standing string

// The standings.
const (
	StandingUnknown Standing = "unknown"
	StandingAccept  Standing = "accept"
	StandingReject  Standing = "reject"
	StandingBan     Standing = "ban"
)

// Baseline says how far a count can be trusted.
type Baseline string

// The baselines.
const (
	// BaselineUnknown: the user may hold grants from before we looked; available is a lower bound.
	BaselineUnknown Baseline = "unknown"
	// BaselineExact: a zero is a zero.
	BaselineExact Baseline = "exact"
)

// Counters count the grants of one (app, openid, template). Whatever happens,
// granted = available + taken + voided.
//
// A long-term template has no counters: its standing is on (accept) or off (reject).
type Counters struct {
	Baseline  Baseline     `json:"baseline" enum:"unknown,exact"`
	Available int64        `json:"available" doc:"Grants that a new message can take. A lower bound while baseline is unknown."`
	Taken     int64        `json:"-"` // reserved by messages under way, or spent
	Voided    int64        `json:"voided" doc:"Grants that ended without a message: refused by the user or found gone by WeChat (43101)."`
	Standing  Standing     `json:"standing" enum:"unknown,accept,reject,ban"`
	Kind      TemplateKind `json:"kind" enum:"unknown,one_time,long_term"`
}

// Admission is what a count allows a new message to do.
type Admission int

// The admissions.
const (
	// AdmitReserved: a grant is there and is now reserved.
	AdmitReserved Admission = iota + 1
	// AdmitUnreserved: it may go out; whether WeChat has a grant is not known here.
	AdmitUnreserved
	// AdmitHeld: it waits for the user's next accept.
	AdmitHeld
	// AdmitRefused: there is no grant, and the caller asked to fail then.
	AdmitRefused
)

// Admit takes a grant if there is one, and otherwise says what policy asks for.
func (c *Counters) Admit(policy OnNoGrant) Admission {
	if c.Kind == KindLongTerm {
		if c.Standing != StandingReject && c.Standing != StandingBan {
			return AdmitUnreserved
		}
	} else {
		if c.Available > 0 {
			c.Available--
			c.Taken++
			return AdmitReserved
		}
		if c.Baseline != BaselineExact {
			return AdmitUnreserved
		}
	}
	switch policy {
	case OnNoGrantSend:
		return AdmitUnreserved
	case OnNoGrantHold:
		return AdmitHeld
	default:
		return AdmitRefused
	}
}

// Granted is the sum of all grants ever entered.
func (c *Counters) Granted() int64 { return c.Available + c.Taken + c.Voided }

// Add enters n new grants.
func (c *Counters) Add(n int64) { c.Available += n }

// Take moves n available grants to taken.
func (c *Counters) Take(n int64) { c.Available -= n; c.Taken += n }

// Return gives n taken grants back.
func (c *Counters) Return(n int64) { c.Available += n; c.Taken -= n }

// Infer enters one grant that WeChat must have had, spent by a message sent without reservation.
func (c *Counters) Infer() { c.Taken++ }

// VoidAvailable ends n available grants, VoidTaken n reserved ones.
func (c *Counters) VoidAvailable(n int64) { c.Available -= n; c.Voided += n }

// VoidTaken ends n reserved grants.
func (c *Counters) VoidTaken(n int64) { c.Taken -= n; c.Voided += n }

// Subscription is the standing and count of one (app, openid, template).
type Subscription struct {
	App        AppID  `json:"app"`
	OpenID     OpenID `json:"openid"`
	TemplateID string `json:"template_id"`
	Counters
	Granted  int64 `json:"granted" doc:"All grants ever entered: available + reserved + spent + voided."`
	Reserved int64 `json:"reserved" doc:"Grants held by messages that are scheduled, queued, being sent or uncertain."`
	Spent    int64 `json:"spent" doc:"Grants used by messages that WeChat accepted."`
	// Entries are the changes, newest first; only where one subscription is asked for.
	Entries   []Entry   `json:"entries,omitempty"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// EntrySource says what made an entry.
type EntrySource string

// The sources of entries.
const (
	SourceReport   EntrySource = "report"    // the mini program or the team's back end told us of a tap
	SourceEvent    EntrySource = "event"     // WeChat's signed event told us of a tap (subscribe_msg_popup_event)
	SourceChange   EntrySource = "change"    // the user refused outside a dialog (subscribe_msg_change_event)
	SourceImport   EntrySource = "import"    // a count taken over from another program
	SourceAdjust   EntrySource = "adjust"    // a person, with a reason
	SourceInferred EntrySource = "inferred"  // WeChat accepted a message for which we knew no grant
	SourceRefused  EntrySource = "refused"   // WeChat answered 43101
	SourceBadUser  EntrySource = "bad_user"  // WeChat answered 40003
	SourceDialog   EntrySource = "dialog"    // a reject in the dialog, where the app voids on it
	SourceTimeout  EntrySource = "timeout"   // an uncertain message that nothing resolved in 7 days
	SourceResolved EntrySource = "resolved"  // a person settled an uncertain message
	SourceKind     EntrySource = "long_term" // the template turned out to be long-term: counters cleared
	SourceSpent    EntrySource = "spent"     // what a month's messages spent that retention has deleted
)

// Entry is one change of a subscription. Spends are the messages themselves; once retention
// has deleted these, one entry a month says how many there were.
type Entry struct {
	ID     string      `json:"id"`
	Source EntrySource `json:"source"`
	// Granted, Voided: how many grants it entered or ended.
	Granted int64 `json:"granted,omitempty"`
	Voided  int64 `json:"voided,omitempty"`
	// Spent is how many grants the messages of the month that begins at At used.
	Spent int64 `json:"spent,omitempty" doc:"Of source spent: how many grants the month's messages used that retention has deleted since."`
	// Choice is the raw word of the tap, such as accept or acceptWithAudio.
	Choice string `json:"choice,omitempty"`
	// Ref is the report's id, the message's id or the person's reason.
	Ref string `json:"ref,omitempty"`
	// At is when it happened (the tap, the attempt); RecordedAt when we wrote it down.
	At         time.Time `json:"at"`
	RecordedAt time.Time `json:"recorded_at"`
}

// ChoiceClass sorts WeChat's raw words for a choice (wx.requestSubscribeMessage, success callback).
type ChoiceClass string

// The classes. Only accepts change a count.
const (
	ChoiceAccept ChoiceClass = "accept"
	ChoiceReject ChoiceClass = "reject"
	ChoiceBan    ChoiceClass = "ban"
	ChoiceFilter ChoiceClass = "filter"
	ChoiceOther  ChoiceClass = "other"
)

// ClassifyChoice sorts a raw word: every accept… variant is an accept.
func ClassifyChoice(raw string) ChoiceClass {
	switch {
	case strings.HasPrefix(raw, "accept"):
		return ChoiceAccept
	case raw == "reject":
		return ChoiceReject
	case raw == "ban":
		return ChoiceBan
	case raw == "filter":
		return ChoiceFilter
	default:
		return ChoiceOther
	}
}

// Report is one choice of one tap, as the mini program or the team's back end saw it.
type Report struct {
	// ID makes a repeat of the report harmless. 1 to 64 characters.
	ID       string `json:"id" minLength:"1" maxLength:"64" doc:"Your id of this report; sending it again changes nothing."`
	OpenID   OpenID `json:"openid" minLength:"1" maxLength:"64"`
	Template string `json:"template" doc:"template_id or alias"`
	Choice   string `json:"choice" doc:"WeChat's word: accept, reject, ban, filter, acceptWithAudio …"`
	// AgeMS is how long before sending the report the tap was, on the reporter's own clock.
	AgeMS  int64 `json:"age_ms,omitempty" minimum:"0" maximum:"2592000000" doc:"Milliseconds between the tap and this report, on the phone's own clock."`
	Silent *bool `json:"silent,omitempty" doc:"Whether \"always keep\" was on before the tap; omit if unknown."`
}

// MaxReportAge is how old a tap may be when it is reported; witnesses are kept that long.
const MaxReportAge = 30 * 24 * time.Hour

// Check names every fault of the report; base is the JSON pointer to it.
func (r Report) Check(base string) []FieldError {
	var f []FieldError
	add := func(field, code, detail string) {
		f = append(f, FieldError{Pointer: base + "/" + field, Code: code, Detail: detail})
	}
	if r.ID == "" || len(r.ID) > 64 {
		add("id", "length", "Give every report an id of 1 to 64 characters, such as a random UUID made at the tap.")
	}
	if !r.OpenID.Valid() {
		add("openid", "openid", badOpenID)
	}
	if r.Template == "" {
		add("template", "missing", "Name the template by its template_id or alias.")
	}
	if len(r.Choice) == 0 || len(r.Choice) > 32 || ClassifyChoice(r.Choice) == ChoiceOther {
		add("choice", "not_in_list", fmt.Sprintf("%q is not a choice of wx.requestSubscribeMessage; send its word as it came: accept, reject, ban, filter, acceptWith….", clip(r.Choice)))
	}
	if r.AgeMS < 0 || r.AgeMS > MaxReportAge.Milliseconds() {
		add("age_ms", "range", "age_ms is the time from the tap to this report in milliseconds, 0 to 30 days.")
	}
	return f
}

// ReportResult says what a report did.
type ReportResult struct {
	ID string `json:"id"`
	// Counted is the number of grants it added: 1 or 0.
	Counted int64 `json:"counted"`
	// Note says why an accept added nothing: duplicate, paired (WeChat's event told of the same
	// tap before), inferred (already counted by a message that WeChat accepted), already_gone
	// (WeChat said after that tap that none was left), limit, long_term, other_source (the app's
	// grant_sources do not count reports), or not_accept.
	Note         string       `json:"note,omitempty"`
	Subscription Subscription `json:"subscription"`
}

// MaxOutstanding is how many grants of one (user, template) reports alone may bank.
const MaxOutstanding = 20

// ImportItem is what another program knew of one user's grants.
type ImportItem struct {
	OpenID   OpenID `json:"openid" minLength:"1" maxLength:"64"`
	Template string `json:"template" doc:"template_id or alias"`
	Count    int64  `json:"count" minimum:"0" maximum:"1000000" doc:"How many unused grants the user has."`
	Exact    bool   `json:"exact,omitempty" doc:"The count is exact: a zero is a zero, and what we counted beyond it is void. Otherwise it is a lower bound."`
}

// MaxStockItems is how many users one import or query may name.
const MaxStockItems = 1000
