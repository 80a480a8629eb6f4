package hongyan

import "time"

// Counts are how many messages came to each state in a span of time, and how many grants were
// had, refused and voided. A message counts where it goes: one that is uncertain and settled
// later is in both. Nothing is ever taken back.
type Counts struct {
	Submitted   int64 `json:"submitted" doc:"Messages that were taken."`
	Accepted    int64 `json:"accepted" doc:"WeChat took them."`
	Delivered   int64 `json:"delivered"`
	Undelivered int64 `json:"undelivered"`
	Failed      int64 `json:"failed"`
	Uncertain   int64 `json:"uncertain" doc:"How often a message became uncertain, whatever was learned of it later."`
	Canceled    int64 `json:"canceled"`
	Expired     int64 `json:"expired"`
	Held        int64 `json:"held" doc:"How often a message began to wait for a grant."`
	Granted     int64 `json:"granted" doc:"Grants that were entered, from whatever source."`
	Rejected    int64 `json:"rejected" doc:"How often a user refused."`
	Voided      int64 `json:"voided" doc:"Grants that ended unused."`
}

// Add adds others.
func (c *Counts) Add(d Counts) {
	for i, p := range c.all() {
		*p += *d.all()[i]
	}
}

// Scaled is a part of the counts, rounded: part 1 is all.
func (c Counts) Scaled(part float64) Counts {
	for _, p := range c.all() {
		*p = int64(float64(*p)*part + 0.5)
	}
	return c
}

func (c *Counts) all() []*int64 {
	return []*int64{&c.Submitted, &c.Accepted, &c.Delivered, &c.Undelivered, &c.Failed, &c.Uncertain, &c.Canceled, &c.Expired, &c.Held, &c.Granted, &c.Rejected, &c.Voided}
}

// ReasonResolved is the reason of a message that a person has settled.
const ReasonResolved Code = "resolved"

// ReasonTitle is what a failure's reason means, in both languages.
func ReasonTitle(reason Code) Text {
	if reason == ReasonResolved {
		return Text{"A person said that it failed.", "人工确认为失败。"}
	}
	if info := LookupCode(reason); info.Code == reason {
		return info.Title
	}
	return Text{string(reason), string(reason)}
}

// StatsBy is what figures are told apart by.
type StatsBy string

// The ways.
const (
	ByHour     StatsBy = "hour"
	ByDay      StatsBy = "day"
	ByTemplate StatsBy = "template"
	ByApp      StatsBy = "app"
	ByReason   StatsBy = "reason"
)

// Stats are figures of a span of time, whole hours of it.
type Stats struct {
	By     StatsBy     `json:"by" enum:"hour,day,template,app,reason"`
	From   time.Time   `json:"from"`
	To     time.Time   `json:"to" doc:"The first moment that does not count."`
	Items  []StatsItem `json:"items" doc:"By hour and day: every one, also where nothing happened. Otherwise only where something did, the most first."`
	Totals Counts      `json:"totals" doc:"Of all items."`
}

// StatsItem is one line of figures. It has what they are told apart by, and nothing else of that.
type StatsItem struct {
	Hour       time.Time `json:"hour,omitzero" doc:"Its begin."`
	Day        string    `json:"day,omitempty" doc:"A day of Beijing time, such as 2026-11-27."`
	App        AppID     `json:"appid,omitempty"`
	TemplateID string    `json:"template_id,omitempty"`
	Reason     Code      `json:"reason,omitempty" doc:"Why messages failed or were not delivered. Then only these two are counted."`
	Errcode    int       `json:"errcode,omitempty" doc:"WeChat's, where it gave one."`
	Counts
}

// Beijing is the time that days are counted in, as WeChat's quotas are.
var Beijing = time.FixedZone("Beijing", 8*60*60)

// Overview is what a first look wants to know.
type Overview struct {
	At time.Time `json:"at"`
	// Today began at midnight in Beijing.
	Today Counts `json:"today" doc:"Since midnight, Beijing time."`
	// Yesterday's hour that is under way is counted in proportion.
	Yesterday Counts           `json:"yesterday" doc:"Up to the same time of yesterday; its last hour in proportion."`
	Hours     []StatsItem      `json:"hours" doc:"The last 24 hours, the one under way last."`
	Queue     Queue            `json:"queue"`
	Reasons   []OverviewReason `json:"reasons" doc:"Why messages failed or were not delivered today: the ten most frequent reasons."`
	Apps      []OverviewApp    `json:"apps"`
}

// Queue is what waits now.
type Queue struct {
	Queued    int64 `json:"queued"`
	Scheduled int64 `json:"scheduled"`
	Held      int64 `json:"held" doc:"Of the youngest 2000 of all apps."`
	Uncertain int64 `json:"uncertain" doc:"Of the youngest 2000 of all apps."`
	// Of older ones nobody counts which app they belong to.
	HeldAtLeast      bool  `json:"held_at_least,omitempty" doc:"There are more than 2000 held messages of all apps: held is a lower bound."`
	UncertainAtLeast bool  `json:"uncertain_at_least,omitempty" doc:"Likewise for uncertain."`
	Sending          int64 `json:"sending"`
	// OldestQueuedAt is when the message was due that has waited longest.
	OldestQueuedAt time.Time `json:"oldest_queued_at,omitzero" doc:"When the message was due that has waited longest."`
}

// OverviewReason is a reason of failures, with its words.
type OverviewReason struct {
	Reason  Code   `json:"reason"`
	Errcode int    `json:"errcode,omitempty"`
	Count   int64  `json:"count"`
	Text    string `json:"text" doc:"What it means, in the language of Accept-Language."`
}

// OverviewApp is how an app does.
type OverviewApp struct {
	App   AppID  `json:"appid"`
	Name  string `json:"name"`
	Light Light  `json:"light" enum:"green,yellow,red" doc:"red: it does not send. yellow: somebody should look."`
	Why   []Why  `json:"why" doc:"What speaks against green, the worst first."`
	Today Counts `json:"today"`
	// LastAcceptedHour is of the last two days.
	LastAcceptedHour time.Time `json:"last_accepted_hour,omitzero" doc:"Begin of the hour in which WeChat last took a message, if within two days."`
}

// Light is how an app does, in a word.
type Light string

// The lights.
const (
	Green  Light = "green"
	Yellow Light = "yellow"
	Red    Light = "red"
)

// Why is something that speaks against a green light.
type Why struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Hint string `json:"hint"`
}
