package hongyan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSubmissionCheck(t *testing.T) {
	t.Parallel()
	valid := func() Submission {
		return Submission{App: "wx1", To: Recipient{OpenID: "o1"}, Template: "t", Data: map[string]string{"thing1": "x"}}
	}
	s := valid()
	if f := s.Check(t0); len(f) != 0 {
		t.Fatalf("a valid submission: %+v", f)
	}
	for name, c := range map[string]struct {
		change  func(*Submission)
		pointer string // "" if it passes
	}{
		"no app":                    {func(s *Submission) { s.App = "" }, "/app"},
		"no template":               {func(s *Submission) { s.Template = "" }, "/template"},
		"no recipient":              {func(s *Submission) { s.To = Recipient{} }, "/to"},
		"openid with a space":       {func(s *Submission) { s.To.OpenID = "a b" }, "/to"},
		"openid too long":           {func(s *Submission) { s.To.OpenID = OpenID(strings.Repeat("a", 65)) }, "/to"},
		"longest openid":            {func(s *Submission) { s.To.OpenID = OpenID(strings.Repeat("a", 64)) }, ""},
		"Chinese openid":            {func(s *Submission) { s.To.OpenID = "用户" }, "/to"},
		"external id too long":      {func(s *Submission) { s.To = Recipient{User: strings.Repeat("a", 129)} }, "/to/user"},
		"page too long":             {func(s *Submission) { s.Page = strings.Repeat("a", 1025) }, "/page"},
		"longest page":              {func(s *Submission) { s.Page = strings.Repeat("a", 1024) }, ""},
		"page in GBK":               {func(s *Submission) { s.Page = "pages/\xd6\xd0" }, "/page"},
		"page of two lines":         {func(s *Submission) { s.Page = "pages/a\nb" }, "/page"},
		"too many keys":             {func(s *Submission) { s.Data = numbered(65, "x") }, "/data"},
		"value too long":            {func(s *Submission) { s.Data["thing1"] = strings.Repeat("a", 2049) }, "/data/thing1"},
		"value in GBK":              {func(s *Submission) { s.Data["thing1"] = "\xd6\xd0" }, "/data/thing1"},
		"key with a slash":          {func(s *Submission) { s.Data = map[string]string{"a/b~": "\xff"} }, "/data/a~1b~0"},
		"miniprogram_state":         {func(s *Submission) { s.MiniprogramState = "release" }, "/miniprogram_state"},
		"lang":                      {func(s *Submission) { s.Lang = "zh-CN" }, "/lang"},
		"priority":                  {func(s *Submission) { s.Priority = "urgent" }, "/priority"},
		"reserve":                   {func(s *Submission) { s.Reserve = "later" }, "/reserve"},
		"on_no_grant":               {func(s *Submission) { s.OnNoGrant = "ask" }, "/on_no_grant"},
		"on_uncertain":              {func(s *Submission) { s.OnUncertain = "retry" }, "/on_uncertain"},
		"on_busy":                   {func(s *Submission) { s.OnBusy = "x" }, "/on_busy"},
		"validation":                {func(s *Submission) { s.Validation = "lax" }, "/validation"},
		"fit":                       {func(s *Submission) { s.Fit = "squeeze" }, "/fit"},
		"send_at in the past":       {func(s *Submission) { s.SendAt = t0.Add(-time.Hour) }, ""},
		"send_at a year ahead":      {func(s *Submission) { s.SendAt = t0.Add(MaxSendAhead) }, ""},
		"send_at further":           {func(s *Submission) { s.SendAt = t0.Add(MaxSendAhead + 1) }, "/send_at"},
		"expires_at now":            {func(s *Submission) { s.ExpiresAt = t0 }, "/expires_at"},
		"expires_at before send_at": {func(s *Submission) { s.SendAt, s.ExpiresAt = t0.Add(time.Hour), t0.Add(time.Minute) }, "/expires_at"},
		"expires_at far ahead":      {func(s *Submission) { s.ExpiresAt = t0.Add(2*MaxSendAhead + 1) }, "/expires_at"},
		"hold_for_s negative":       {func(s *Submission) { s.HoldForS = -1 }, "/hold_for_s"},
		"hold_for_s over a year":    {func(s *Submission) { s.HoldForS = int64(MaxSendAhead/time.Second) + 1 }, "/hold_for_s"},
		"hold_for_s overflowing":    {func(s *Submission) { s.HoldForS = 1 << 62 }, "/hold_for_s"},
		"dedup_key too long":        {func(s *Submission) { s.DedupKey = strings.Repeat("a", 129) }, "/dedup_key"},
		"too many tags":             {func(s *Submission) { s.Tags = make([]string, 17) }, "/tags"},
		"empty tag":                 {func(s *Submission) { s.Tags = []string{"a", ""} }, "/tags/1"},
		"too much metadata":         {func(s *Submission) { s.Metadata = numbered(33, "x") }, "/metadata"},
		"metadata value too long":   {func(s *Submission) { s.Metadata = map[string]string{"k": strings.Repeat("x", 513)} }, "/metadata/k"},
		"report without id":         {func(s *Submission) { s.GrantReport = &Report{Choice: "accept"} }, "/grant_report/id"},
		"report of this message":    {func(s *Submission) { s.GrantReport = &Report{ID: "1", Choice: "accept"} }, ""},
		"report with a bad choice":  {func(s *Submission) { s.GrantReport = &Report{ID: "1", Choice: "yes"} }, "/grant_report/choice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := valid()
			c.change(&s)
			f := s.Check(t0)
			if c.pointer == "" {
				if len(f) != 0 {
					t.Errorf("refused: %+v", f)
				}
				return
			}
			for _, e := range f {
				if e.Detail == "" || e.Code == "" {
					t.Errorf("a fault says nothing: %+v", e)
				}
				if e.Pointer == c.pointer {
					return
				}
			}
			t.Errorf("faults %+v, want one at %s", f, c.pointer)
		})
	}
	s = Submission{Priority: "x", Lang: "y", SendAt: t0.Add(2 * MaxSendAhead)}
	if f := s.Check(t0); len(f) != 6 {
		t.Errorf("%d faults are named at once, want 6: %+v", len(f), f)
	}
}

func numbered(n int, v string) map[string]string {
	m := make(map[string]string, n)
	for i := range n {
		m[fmt.Sprint("k", i)] = v
	}
	return m
}

func TestRecipientJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Recipient{`"o1"`: {OpenID: "o1"}, `{"user":"42"}`: {User: "42"}} {
		var r Recipient
		if err := json.Unmarshal([]byte(in), &r); err != nil || r != want {
			t.Errorf("%s is %+v, %v", in, r, err)
		}
		if out, err := json.Marshal(r); err != nil || string(out) != in {
			t.Errorf("%+v is %s, %v; want %s", r, out, err, in)
		}
	}
	for _, bad := range []string{`7`, `{}`, `{"user":""}`, `{"user":7}`, `null`, `[]`} {
		var r Recipient
		if err := json.Unmarshal([]byte(bad), &r); err == nil {
			t.Errorf("%s is a recipient: %+v", bad, r)
		}
	}
}

// TestStates keeps the three questions about a state apart.
func TestStates(t *testing.T) {
	t.Parallel()
	for s, want := range map[State][3]bool{ // final, cancelable, live
		StateHeld: {false, true, false}, StateScheduled: {false, true, true}, StateQueued: {false, true, true}, StateSending: {false, false, true},
		StateUncertain: {false, false, true}, StateAccepted: {true, false, false}, StateDelivered: {true, false, false}, StateUndelivered: {true, false, false},
		StateFailed: {true, false, false}, StateCanceled: {true, false, false}, StateExpired: {true, false, false},
	} {
		if got := [3]bool{s.Final(), s.Cancelable(), s.Live()}; got != want {
			t.Errorf("%s: final, cancelable, live = %v, want %v", s, got, want)
		}
	}
	if len(States()) != 11 {
		t.Errorf("%d states", len(States()))
	}
}

func TestMessageID(t *testing.T) {
	t.Parallel()
	id := NewMessageID(t0)
	u, err := id.ULID()
	if err != nil || MessageIDOf(u) != id || NewMessageID(t0.Add(time.Millisecond)) <= id {
		t.Errorf("id %s: %v", id, err)
	}
	for _, bad := range []MessageID{"", "msg_", id[4:], "key_" + id[4:], id + "0", id[:len(id)-1], "msg_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", MessageID(strings.Replace(string(id), "0", "U", 1))} {
		if _, err := bad.ULID(); err == nil {
			t.Errorf("%q is an id", bad)
		}
	}
}
