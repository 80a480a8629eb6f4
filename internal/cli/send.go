package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// sendCmd submits one message, from flags, from a file, or from a file that flags change.
type sendCmd struct {
	App      hongyan.AppID  `name:"app" placeholder:"APPID" help:"The mini program's AppID."`
	To       hongyan.OpenID `name:"to" own:"" placeholder:"OPENID" xor:"to" help:"The recipient's openid."`
	ToUser   string         `name:"to-user" own:"" xor:"to" help:"The recipient by your own id, as given at login."`
	Template string         `name:"template" own:"" help:"template_id or alias."`
	Data     []string       `name:"data" short:"d" own:"" sep:"none" placeholder:"KEY=VALUE" help:"A value of the template's data. May be repeated."`
	File     string         `name:"file" short:"f" own:"" type:"path" help:"JSON body as POST /v1/messages takes it; a dash is standard input. Flags win over it."`

	Page             string `name:"page" own:"" help:"Page that a tap on the message opens."`
	MiniprogramState string `name:"miniprogram-state" own:"" enum:",developer,trial,formal" default:"" placeholder:"WORD" help:"Version that a tap opens: developer, trial, formal."`
	Lang             string `name:"lang" own:"" enum:",zh_CN,en_US,zh_HK,zh_TW" default:"" placeholder:"WORD" help:"Language of the card: zh_CN, en_US, zh_HK, zh_TW."`

	SendAt    string `name:"send-at" own:"" placeholder:"TIME" help:"When: RFC 3339, 2006-01-02 15:04 in local time, or +2h."`
	ExpiresAt string `name:"expires-at" own:"" placeholder:"TIME" help:"When it is of no use any more."`

	policyFlags

	DedupKey string   `name:"dedup-key" own:"" help:"Refuses a second message with the same key in the app for 24 hours."`
	Tag      []string `name:"tag" own:"" sep:"none" help:"A word to find it by. May be repeated."`
	Metadata []string `name:"metadata" own:"" sep:"none" placeholder:"KEY=VALUE" help:"Something to keep with it. May be repeated."`

	DryRun         bool          `name:"dry-run" own:"" help:"Check everything and store nothing."`
	Wait           time.Duration `name:"wait" own:"" placeholder:"10s" help:"Wait up to this long, at most 30s, for what becomes of it."`
	IdempotencyKey string        `name:"idempotency-key" own:"" help:"Makes a repeat of this command harmless for 24 hours."`
	apiFlags
}

// policyFlags say what happens when something is not as it should be.
type policyFlags struct {
	Priority    hongyan.Priority    `name:"priority" own:"" enum:",low,normal,high" default:"" placeholder:"WORD" help:"low, normal or high among the app's due messages."`
	Reserve     hongyan.ReserveAt   `name:"reserve" own:"" enum:",submit,send" default:"" placeholder:"WORD" help:"When it takes its grant: submit or send."`
	OnNoGrant   hongyan.OnNoGrant   `name:"on-no-grant" own:"" enum:",fail,send,hold" default:"" placeholder:"WORD" help:"If the user has no grant: fail, send anyway, or hold until the next accept."`
	HoldFor     time.Duration       `name:"hold-for" own:"" help:"How long a held message waits."`
	OnUncertain hongyan.OnUncertain `name:"on-uncertain" own:"" enum:",keep,resend" default:"" placeholder:"WORD" help:"After an unclear outcome: keep, or resend though the user may get it twice."`
	OnBusy      hongyan.OnBusy      `name:"on-busy" own:"" enum:",retry,uncertain" default:"" placeholder:"WORD" help:"What errcode -1 means: retry or uncertain."`
	Validation  hongyan.Validation  `name:"validation" own:"" enum:",normal,strict" default:"" placeholder:"WORD" help:"normal, or strict to refuse doubtful data too."`
	Fit         hongyan.Fit         `name:"fit" own:"" enum:",none,repair,truncate" default:"" placeholder:"WORD" help:"Change what does not fit: none, repair, truncate."`
}

// Run implements the command.
func (c *sendCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	sub, err := c.submission(p)
	if err != nil {
		return err
	}
	m, err := api.Submit(ctx, sub, client.Options{IdempotencyKey: c.IdempotencyKey, Wait: c.Wait})
	if err != nil {
		return err
	}
	if err := p.printMessage(c.outputFlags, m); err != nil {
		return err
	}
	if c.Wait > 0 {
		return m.Err()
	}
	return nil
}

func (c *sendCmd) submission(p *program) (hongyan.Submission, error) {
	var sub hongyan.Submission
	if c.File != "" {
		if err := p.readSubmission(c.File, &sub); err != nil {
			return sub, err
		}
	}
	set(&sub.App, c.App)
	if c.To != "" || c.ToUser != "" {
		sub.To = hongyan.Recipient{OpenID: c.To, User: c.ToUser}
	}
	set(&sub.Template, c.Template)
	set(&sub.Page, c.Page)
	set(&sub.MiniprogramState, c.MiniprogramState)
	set(&sub.Lang, c.Lang)
	set(&sub.DedupKey, c.DedupKey)
	set(&sub.DryRun, c.DryRun)
	c.policyFlags.apply(&sub)
	if len(c.Tag) > 0 {
		sub.Tags = c.Tag
	}
	if err := c.addPairs(p, &sub); err != nil {
		return sub, err
	}
	var err error
	if sub.SendAt, err = p.moment("--send-at", c.SendAt, sub.SendAt); err != nil {
		return sub, err
	}
	sub.ExpiresAt, err = p.moment("--expires-at", c.ExpiresAt, sub.ExpiresAt)
	return sub, err
}

func (c *sendCmd) addPairs(p *program, sub *hongyan.Submission) error {
	data, err := p.pairs("--data", c.Data)
	if err != nil {
		return err
	}
	if sub.Data == nil {
		sub.Data = make(map[string]string)
	}
	maps.Copy(sub.Data, data)
	meta, err := p.pairs("--metadata", c.Metadata)
	if err != nil {
		return err
	}
	if sub.Metadata == nil {
		sub.Metadata = meta
	} else {
		maps.Copy(sub.Metadata, meta)
	}
	return nil
}

func (f policyFlags) apply(sub *hongyan.Submission) {
	set(&sub.Priority, f.Priority)
	set(&sub.Reserve, f.Reserve)
	set(&sub.OnNoGrant, f.OnNoGrant)
	set(&sub.HoldForS, int64(f.HoldFor/time.Second))
	set(&sub.OnUncertain, f.OnUncertain)
	set(&sub.OnBusy, f.OnBusy)
	set(&sub.Validation, f.Validation)
	set(&sub.Fit, f.Fit)
}

// set keeps what is there where nothing was given.
func set[T comparable](field *T, v T) {
	if v != *new(T) {
		*field = v
	}
}

// readSubmission reads a body in either form of data that the API takes.
func (p *program) readSubmission(path string, sub *hongyan.Submission) error {
	r := p.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return p.usage("--file: "+err.Error(), "")
		}
		defer f.Close()
		r = f
	}
	const most = 1 << 20 // what the API takes
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	if len(text) > most {
		return p.usage(p.say("--file: the body is larger than 1 MiB"), "")
	}
	type plain hongyan.Submission // without Data, which comes in two forms
	body := struct {
		*plain
		Data map[string]value `json:"data"`
	}{plain: (*plain)(sub)}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return p.usage("--file: "+strings.TrimPrefix(err.Error(), "json: "), p.say("The fields of a message stand in the API reference at /docs, under POST /v1/messages."))
	}
	sub.Data = make(map[string]string, len(body.Data))
	for k, v := range body.Data {
		sub.Data[k] = string(v)
	}
	return nil
}

// value is a text, or WeChat's own {"value": text}.
type value string

// UnmarshalJSON reads either form.
func (v *value) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var o struct {
			Value *string `json:"value"`
		}
		if err := json.Unmarshal(b, &o); err != nil || o.Value == nil {
			return fmt.Errorf(`a value of data is "text" or {"value": "text"}`)
		}
		*v = value(*o.Value)
		return nil
	}
	return json.Unmarshal(b, (*string)(v))
}

// moment reads a time as people write it; empty keeps what is there.
func (p *program) moment(flag, s string, there time.Time) (time.Time, error) {
	if s == "" {
		return there, nil
	}
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		if d, err := time.ParseDuration(rest); err == nil {
			return p.now().Add(d), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return there, p.usage(p.say("%s: %q is no time", flag, s), p.say("Write 2026-12-31T08:00:00+08:00, \"2026-12-31 08:00\" in local time, or +2h."))
}

// past reads a time, or how long ago it was.
func (p *program) past(flag, s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return p.now().Add(-d), nil
	}
	return p.moment(flag, s, time.Time{})
}
