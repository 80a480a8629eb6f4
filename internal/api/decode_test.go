package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan"
)

const wholeSubmission = `{
	"app": "wx1", "to": "oMgH-x_1", "template": "paid",
	"data": {"thing1": "羊毛\u5927\u8863 \ud83d\ude00", "number2": {"value": "12"}},
	"page": "pages/a?b=1", "miniprogram_state": "trial", "lang": "zh_CN",
	"send_at": "2026-11-22T15:04:05+08:00", "expires_at": "2026-11-23T07:04:05Z", "priority": "high",
	"reserve": "send", "on_no_grant": "hold", "hold_for_s": 60, "on_uncertain": "keep", "on_busy": "retry",
	"validation": "strict", "fit": "repair",
	"grant_report": {"id": "r1", "choice": "accept", "age_ms": 1200, "silent": false},
	"dedup_key": "k", "tags": ["a", "b"], "metadata": {"order": "1"}, "dry_run": true
}`

func TestDecodeSubmission(t *testing.T) {
	t.Parallel()
	var got hongyan.Submission
	if err := decode(wholeSubmission, &got); err != nil {
		t.Fatal(err)
	}
	silent := false
	want := hongyan.Submission{App: "wx1", To: hongyan.Recipient{OpenID: "oMgH-x_1"}, Template: "paid",
		Data: map[string]string{"thing1": "羊毛大衣 😀", "number2": "12"},
		Page: "pages/a?b=1", MiniprogramState: "trial", Lang: "zh_CN",
		SendAt: time.Date(2026, 11, 22, 7, 4, 5, 0, time.UTC), ExpiresAt: time.Date(2026, 11, 23, 7, 4, 5, 0, time.UTC), Priority: "high",
		Reserve: "send", OnNoGrant: "hold", HoldForS: 60, OnUncertain: "keep", OnBusy: "retry", Validation: "strict", Fit: "repair",
		GrantReport: &hongyan.Report{ID: "r1", Choice: "accept", AgeMS: 1200, Silent: &silent},
		DedupKey:    "k", Tags: []string{"a", "b"}, Metadata: map[string]string{"order": "1"}, DryRun: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDecodeForms(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`{"to":{"user":"u-1"},"data":{},"tags":[],"send_at":null,"grant_report":null,"hold_for_s":-0}`,
		` {"to":"o" , "data" : { } , "metadata":{"":"x"}} `,
	} {
		var s hongyan.Submission
		if err := decode(src, &s); err != nil && !strings.Contains(src, `"":`) {
			t.Errorf("%s: %v", src, err)
		}
	}
	var tid struct {
		A, B templateID `json:"-"`
		TID  templateID `json:"tid"`
	}
	if err := decode(`{"tid":1128}`, &tid); err != nil || tid.TID != "1128" {
		t.Errorf("got %q %v, want a number taken for a tid", tid.TID, err)
	}
	kept := hongyan.AppSettings{OnBusy: "retry", OnlyOpenIDs: []hongyan.OpenID{"a", "b"}, PacePerSecond: 2}
	if err := decode(`{"only_openids":["c"],"pace_per_second":null}`, &kept); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(hongyan.AppSettings{OnBusy: "retry", OnlyOpenIDs: []hongyan.OpenID{"c"}}, kept); diff != "" {
		t.Errorf("merge (-want +got)\n%s", diff)
	}
}

// Every fault is named, with its place, in one answer.
func TestDecodeFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		src  string
		code hongyan.Code
		want []string // "pointer code text of the detail"
	}{
		"several at once": {`{"touser":"o","templateId":"t","data":{"thing1":5,"thing2":"ok","thing3":null},"hold_for_s":"1","appID":7,"zzz":{}}`, hongyan.CodeInvalid,
			[]string{"/touser unknown_field \"to\"", "/templateId unknown_field \"template\"", "/data/thing1 not_a_string string", "/data/thing3 not_a_string string", "/hold_for_s type whole number", "/appID unknown_field \"app\"", "/zzz unknown_field fields are app,"}},
		"unknown alone":      {`{"msgtype":"x"}`, hongyan.CodeUnknownField, []string{"/msgtype unknown_field fields are"}},
		"slip of the pen":    {`{"templete":"x"}`, hongyan.CodeUnknownField, []string{"/templete unknown_field \"template\""}},
		"other case":         {`{"App":"x"}`, hongyan.CodeUnknownField, []string{"/App unknown_field \"app\""}},
		"data alone":         {`{"data":{"a/b~c":1}}`, hongyan.CodeInvalidData, []string{"/data/a~1b~0c not_a_string string"}},
		"old template form":  {`{"data":{"thing1":{"value":"x","color":"#173177"}}}`, hongyan.CodeInvalidData, []string{"/data/thing1/color unknown_field alone"}},
		"value missing":      {`{"data":{"thing1":{}}}`, hongyan.CodeInvalidData, []string{"/data/thing1 missing value"}},
		"value of number":    {`{"data":{"thing1":{"value":1}}}`, hongyan.CodeInvalidData, []string{"/data/thing1/value not_a_string string"}},
		"data as JSON":       {`{"data":"{\"thing1\":\"x\"}"}`, hongyan.CodeInvalid, []string{"/data double_encoded encode it once"}},
		"data as text":       {`{"data":"x"}`, hongyan.CodeInvalid, []string{"/data type got a string"}},
		"data as list":       {`{"data":[1]}`, hongyan.CodeInvalid, []string{"/data type got a list"}},
		"body as JSON":       {`"{\"app\":\"x\"}"`, hongyan.CodeInvalid, []string{" double_encoded encode it once"}},
		"twice":              {`{"app":"a","app":"b","data":{"k":"1","k":"2"}}`, hongyan.CodeInvalid, []string{"/app duplicate twice", "/data/k duplicate twice"}},
		"recipient":          {`{"to":{"openid":"o"}}`, hongyan.CodeUnknownField, []string{"/to/openid unknown_field user"}},
		"recipient number":   {`{"to":5}`, hongyan.CodeInvalid, []string{"/to type openid"}},
		"recipient empty":    {`{"to":{}}`, hongyan.CodeInvalid, []string{"/to missing user"}},
		"time":               {`{"send_at":"2026-56-01T00:00:00Z","expires_at":1763800000}`, hongyan.CodeInvalid, []string{"/send_at time 2026-11-22T15:04:05+08:00", "/expires_at type RFC 3339"}},
		"list of numbers":    {`{"tags":["a",1,"b",{}]}`, hongyan.CodeInvalid, []string{"/tags/1 type a string, got a number", "/tags/3 type got an object"}},
		"metadata":           {`{"metadata":{"n":1}}`, hongyan.CodeInvalid, []string{"/metadata/n type a string"}},
		"fraction":           {`{"hold_for_s":1.5}`, hongyan.CodeInvalid, []string{"/hold_for_s type whole number, got 1.5"}},
		"huge":               {`{"hold_for_s":99999999999999999999}`, hongyan.CodeInvalid, []string{"/hold_for_s type whole number"}},
		"bool":               {`{"dry_run":"yes"}`, hongyan.CodeInvalid, []string{"/dry_run type true or false"}},
		"nested":             {`{"grant_report":{"openId":"o","age":1}}`, hongyan.CodeUnknownField, []string{"/grant_report/openId unknown_field \"openid\"", "/grant_report/age unknown_field \"age_ms\""}},
		"empty":              {``, hongyan.CodeInvalid, []string{" missing empty"}},
		"blank":              {"\n ", hongyan.CodeInvalid, []string{" missing empty"}},
		"list":               {`[]`, hongyan.CodeInvalid, []string{" type an object, got a list"}},
		"cut":                {`{"app":"wx1","to":`, hongyan.CodeInvalid, []string{"/to syntax cut off"}},
		"cut string":         {`{"app":"wx1`, hongyan.CodeInvalid, []string{"/app syntax closing quote"}},
		"trailing comma":     {`{"app":"wx1",}`, hongyan.CodeInvalid, []string{" syntax comma before"}},
		"list comma":         {`{"tags":["a",]}`, hongyan.CodeInvalid, []string{"/tags syntax comma before"}},
		"single quotes":      {`{'app':'wx1'}`, hongyan.CodeInvalid, []string{" syntax single quote"}},
		"form":               {`app=wx1&to=o`, hongyan.CodeInvalid, []string{" syntax 'a' stands"}},
		"garbage after":      {`{"app":"wx1"} {}`, hongyan.CodeInvalid, []string{" syntax follows"}},
		"comment":            {`{"app":"wx1" /* x */}`, hongyan.CodeInvalid, []string{" syntax comma or"}},
		"full-width colon":   {`{"app"："wx1"}`, hongyan.CodeInvalid, []string{" syntax plain ASCII"}},
		"control character":  {"{\"page\":\"a\nb\"}", hongyan.CodeInvalid, []string{"/page syntax U+000A"}},
		"bad escape":         {`{"page":"\x41"}`, hongyan.CodeInvalid, []string{"/page syntax backslash"}},
		"leading zero":       {`{"hold_for_s":01}`, hongyan.CodeInvalid, []string{" syntax stands"}},
		"byte order mark":    {"\ufeff{}", hongyan.CodeInvalid, []string{" encoding byte order mark"}},
		"GBK":                {"{\"data\":{\"thing1\":\"\xd1\xf2\xc3\xab\"}}", hongyan.CodeInvalidData, []string{"/data/thing1 encoding GBK"}},
		"GBK with escapes":   {"{\"page\":\"\xd1\xf2\\n\"}", hongyan.CodeInvalid, []string{"/page encoding GBK"}},
		"GBK name":           {"{\"metadata\":{\"\xd1\xf2\":\"x\"}}", hongyan.CodeInvalid, []string{"/metadata/? encoding GBK"}},
		"nameless":           {`{"":1}`, hongyan.CodeUnknownField, []string{"/ unknown_field no name"}},
		"deep":               {`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, hongyan.CodeInvalid, []string{"/x syntax nested"}},
		"not an openid list": {`{"tags":"a"}`, hongyan.CodeInvalid, []string{"/tags type a list, got a string"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s hongyan.Submission
			err := decode(tt.src, &s)
			e := wantCode(t, err, tt.code)
			for _, want := range tt.want {
				pointer, rest, _ := strings.Cut(want, " ")
				code, text, _ := strings.Cut(rest, " ")
				found := false
				for _, f := range e.Fields {
					found = found || f.Pointer == pointer && f.Code == code && strings.Contains(f.Detail, text)
				}
				if !found {
					t.Errorf("no fault %q in %+v", want, e.Fields)
				}
			}
		})
	}
}

func TestDecodeBoundsFaults(t *testing.T) {
	t.Parallel()
	var s hongyan.Submission
	err := decode(`{"tags":[`+strings.Repeat("1,", 5000)+`1]}`, &s)
	if e := wantCode(t, err, hongyan.CodeInvalid); len(e.Fields) != maxFaults {
		t.Errorf("got %d faults, want %d", len(e.Fields), maxFaults)
	}
}

// FuzzDecodeSubmission: nothing panics; what is taken is JSON, and says the same when it is
// written and read again; what is refused says why.
func FuzzDecodeSubmission(f *testing.F) {
	for _, seed := range []string{wholeSubmission, `{}`, ``, `{"data":{"a":{"value":"x"}}}`, `{"to":{"user":"é"}}`, "{\"a\":\"\xff\"}", `[[[[`, `{"hold_for_s":-1e2}`,
		`{"data":"{}"}`, `{"tags":["\ud800"]}`, `{"send_at":"2026-02-29T00:00:00Z"}`, `{"metadata":{"a":"b","a":"c"}}`, `{"grant_report":{"silent":null}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		var s hongyan.Submission
		err := decode(src, &s)
		if err != nil {
			e, ok := err.(*hongyan.Error)
			if !ok || len(e.Fields) == 0 || e.Message == "" {
				t.Fatalf("refused without a reason: %v", err)
			}
			for _, f := range e.Fields {
				if f.Code == "syntax" && json.Valid([]byte(src)) && !strings.Contains(f.Detail, "nested") {
					t.Fatalf("called valid JSON broken: %s", f.Detail)
				}
			}
			return
		}
		if !json.Valid([]byte(src)) {
			t.Fatal("took what is not JSON")
		}
		b, err := json.Marshal(s)
		if err != nil {
			if !s.SendAt.IsZero() || !s.ExpiresAt.IsZero() {
				return // years that time.Time reads and does not write
			}
			t.Fatal(err)
		}
		var again hongyan.Submission
		if err := decode(string(b), &again); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if c, _ := json.Marshal(again); string(c) != string(b) {
			t.Fatalf("got %s, want %s", c, b)
		}
	})
}

func BenchmarkDecodeSubmission(b *testing.B) {
	const src = `{"app":"wx0123456789abcdef","to":"oMgHVjngRipVsoxg6TuX3vz6glDg","template":"xsqUsTwYeOuHGOmMDj2wt9H1-Nsyr8QZjYSIvTzX",` +
		`"data":{"character_string1":"2026112200180451","thing2":"羊毛混纺大衣 藏青 M 码","amount3":"¥399.00","date4":"2026年11月22日 10:30","phrase6":"微信支付"},"page":"pages/order/detail?id=1"}`
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var s hongyan.Submission
			if err := decode(src, &s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var s hongyan.Submission
			if err := json.Unmarshal([]byte(src), &s); err != nil {
				b.Fatal(err)
			}
		}
	})
}
