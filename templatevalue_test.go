package hongyan

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"
)

func TestValues(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		string(Int(0)): "0", string(Int(int8(-5))): "-5", string(Int(int64(math.MaxInt64))): "9223372036854775807",
		string(Fen(0)): "¥0.00", string(Fen(5)): "¥0.05", string(Fen(39900)): "¥399.00", string(Fen(-1230)): "¥-12.30",
		string(Fen(int64(math.MinInt64))): "¥-92233720368547758.08",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	at := time.Date(2026, 12, 1, 16, 5, 9, 0, time.UTC)
	if got := FormatTime(at, "2006年1月2日 15:04:05"); got != "2026年12月2日 00:05:09" {
		t.Errorf("got %s, want the clock of China", got)
	}
	if got := (Period{at, at.Add(time.Hour)}).Format("15:04"); got != "00:05~01:05" {
		t.Errorf("got %s", got)
	}
	if FormatTime(time.Time{}, "15:04") != "" || (Period{From: at}).Format("15:04") != "" {
		t.Error("no time was written as one")
	}
}

// TestTimeLayout: what a layout makes is a value without a fault for its field.
func TestTimeLayout(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 28, 16, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		typ, example, layout string
		period               bool
	}{
		{"time", "15:01", "15:04", false}, {"time", "18:02:31", "15:04:05", false}, {"time", "2019年10月1日 15:01", "2006年1月2日 15:04", false},
		{"time", "2026-11-22 08:00~12:00", "2006年1月2日 15:04", true}, {"time", "08:00～12:00", "15:04", true}, {"time", "", "2006年1月2日 15:04", false},
		{"time", "2026年11月", "2006年1月2日 15:04", false}, {"time", "soon", "2006年1月2日 15:04", false},
		{"date", "2019-10-01", "2006年1月2日", false}, {"date", "11月19日", "2006年1月2日", false}, {"date", "2019.10.01 15:01:02", "2006年1月2日 15:04:05", false},
		{"date", "15:01", "2006年1月2日 15:04", false}, {"date", "", "2006年1月2日", false}, {"date", "2019年10月1日~2019年10月7日", "2006年1月2日", true},
	} {
		k := Keyword{Key: row.typ + "1", Type: row.typ, Example: row.example}
		layout, period := k.TimeLayout()
		if layout != row.layout || period != row.period {
			t.Errorf("%s %q: got %q %v, want %q %v", row.typ, row.example, layout, period, row.layout, row.period)
		}
		value := FormatTime(at, layout)
		if period {
			value = Period{at, at.Add(time.Hour)}.Format(layout)
		}
		if faults := ValidateData(&Template{Keywords: []Keyword{k}}, map[string]string{k.Key: value}); len(faults) > 0 {
			t.Errorf("%s %q: %s has the fault %s", row.typ, row.example, value, faults[0].Rule)
		}
	}
}

func TestCheckData(t *testing.T) {
	t.Parallel()
	tm := &Template{Keywords: []Keyword{{Key: "thing1", Type: "thing"}, {Key: "letter2", Type: "letter"}}}
	if err := CheckData(tm, map[string]string{"thing1": "x", "letter2": "1"}); err != nil {
		t.Errorf("a warning refused it: %v", err)
	}
	err := CheckData(tm, map[string]string{"thing1": ""})
	var e *Error
	if !errors.Is(err, CodeInvalidData) || !errors.As(err, &e) || len(e.Fields) != 2 || e.Fields[1] != (FieldError{Pointer: "/data/letter2", Code: "missing", Detail: e.Fields[1].Detail}) {
		t.Errorf("got %+v", err)
	}
	if err := RefusedData(ValidateData(tm, map[string]string{"thing1": "x", "letter2": "1"}), ValidationStrict); !errors.Is(err, CodeInvalidData) {
		t.Errorf("strict: got %v", err)
	}
}

func TestMessageErr(t *testing.T) {
	t.Parallel()
	refused := 43101
	for _, row := range []struct {
		m    Message
		want Code
	}{
		{Message{Status: StateAccepted}, ""}, {Message{Status: StateDelivered}, ""}, {Message{Status: StateHeld, Reason: CodeNotSubscribed}, ""},
		{Message{Status: StateQueued}, ""}, {Message{Status: StateFailed, Reason: CodeNotSubscribed, Errcode: &refused}, CodeNotSubscribed},
		{Message{Status: StateFailed}, CodeWeChatRefused}, {Message{Status: StateUndelivered, Reason: CodeUndelivered}, CodeUndelivered},
		{Message{Status: StateUncertain}, CodeWeChatUnclear}, {Message{Status: StateExpired}, CodeExpired}, {Message{Status: StateCanceled}, CodeCanceled},
	} {
		err := row.m.Err()
		if CodeOf(err) != row.want {
			t.Errorf("%s: got %v, want %q", row.m.Status, err, row.want)
		}
		var e *Error
		if errors.As(err, &e) && (e.WeChat != nil) != (row.m.Errcode != nil) {
			t.Errorf("%s: WeChat said %+v", row.m.Status, e.WeChat)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	known := 0
	for _, info := range EventTypes() {
		v, err := Event{Type: info.Type, Data: json.RawMessage(`{"openid":"oA"}`)}.Payload()
		if err != nil {
			t.Errorf("%s: %v", info.Type, err)
		}
		switch v := v.(type) {
		case *Message, *Pause, *TokenDeath, *Template:
			known++
		case *GrantEvent:
			if known++; v.OpenID != "oA" {
				t.Errorf("%s: got %+v", info.Type, v)
			}
		case *UserEvent:
			if known++; v.OpenID != "oA" {
				t.Errorf("%s: got %+v", info.Type, v)
			}
		case json.RawMessage:
			if info.Type != EventWebhookTest {
				t.Errorf("%s has no type of its own", info.Type)
			}
		}
	}
	if known != len(EventTypes())-1 {
		t.Errorf("%d of %d events are typed", known, len(EventTypes()))
	}
	if v, err := (Event{Type: "planet.found", Data: json.RawMessage(`1`)}).Payload(); err != nil || string(v.(json.RawMessage)) != "1" {
		t.Errorf("a kind of a later version: %v %v", v, err)
	}
	if _, err := (Event{Type: EventMessageFailed, Data: json.RawMessage(`1`)}).Payload(); err == nil {
		t.Error("a number is no message")
	}
}
