package hongyan

import (
	"testing"

	"pgregory.net/rapid"
)

func TestAdmit(t *testing.T) {
	t.Parallel()
	policies := []OnNoGrant{OnNoGrantFail, OnNoGrantSend, OnNoGrantHold, ""}
	zero := []Admission{AdmitRefused, AdmitUnreserved, AdmitHeld, AdmitRefused}
	all := func(a Admission) []Admission { return []Admission{a, a, a, a} }
	for name, c := range map[string]struct {
		counters Counters
		want     []Admission // by policy
	}{
		"unknown, none":       {Counters{Baseline: BaselineUnknown, Kind: KindOneTime}, all(AdmitUnreserved)},
		"unknown, one":        {Counters{Baseline: BaselineUnknown, Kind: KindOneTime, Available: 1}, all(AdmitReserved)},
		"exact, one":          {Counters{Baseline: BaselineExact, Kind: KindOneTime, Available: 1}, all(AdmitReserved)},
		"exact, none":         {Counters{Baseline: BaselineExact, Kind: KindOneTime}, zero},
		"exact, none, reject": {Counters{Baseline: BaselineExact, Kind: KindOneTime, Standing: StandingReject}, zero},
		"one left, reject":    {Counters{Baseline: BaselineExact, Kind: KindOneTime, Standing: StandingReject, Available: 1}, all(AdmitReserved)},
		"kind unknown":        {Counters{Baseline: BaselineExact, Kind: KindUnknown}, zero},
		"long-term":           {Counters{Baseline: BaselineExact, Kind: KindLongTerm, Standing: StandingUnknown}, all(AdmitUnreserved)},
		"long-term, on":       {Counters{Kind: KindLongTerm, Standing: StandingAccept}, all(AdmitUnreserved)},
		"long-term, off":      {Counters{Kind: KindLongTerm, Standing: StandingReject}, zero},
		"long-term, banned":   {Counters{Kind: KindLongTerm, Standing: StandingBan}, zero},
	} {
		for i, p := range policies {
			got := c.counters
			if a := got.Admit(p); a != c.want[i] {
				t.Errorf("%s, %q: %d, want %d", name, p, a, c.want[i])
			}
			want := c.counters
			if c.want[i] == AdmitReserved {
				want.Take(1)
			}
			if got != want {
				t.Errorf("%s, %q: the count became %+v, want %+v", name, p, got, want)
			}
		}
	}
}

// TestCounters shows that no change loses or makes a grant that it does not enter.
func TestCounters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := Counters{Baseline: BaselineExact, Kind: KindOneTime}
		var granted int64
		few := func(most int64) int64 { return rapid.Int64Range(0, most).Draw(t, "n") }
		t.Repeat(map[string]func(*rapid.T){
			"add":    func(*rapid.T) { n := few(5); c.Add(n); granted += n },
			"take":   func(*rapid.T) { c.Take(few(c.Available)) },
			"return": func(*rapid.T) { c.Return(few(c.Taken)) },
			"infer":  func(*rapid.T) { c.Infer(); granted++ },
			"void":   func(*rapid.T) { c.VoidAvailable(few(c.Available)) },
			"voidR":  func(*rapid.T) { c.VoidTaken(few(c.Taken)) },
			"admit":  func(*rapid.T) { c.Admit(OnNoGrantFail) },
			"": func(t *rapid.T) {
				if c.Granted() != granted || c.Available < 0 || c.Taken < 0 || c.Voided < 0 {
					t.Fatalf("%+v, granted %d", c, granted)
				}
			},
		})
	})
}

func TestClassifyChoice(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]ChoiceClass{"accept": ChoiceAccept, "acceptWithAudio": ChoiceAccept, "acceptWithAlert": ChoiceAccept, "acceptWithForcePush": ChoiceAccept,
		"reject": ChoiceReject, "ban": ChoiceBan, "filter": ChoiceFilter, "": ChoiceOther, "Accept": ChoiceOther, "rejected": ChoiceOther} {
		if got := ClassifyChoice(raw); got != want {
			t.Errorf("%q is %s, want %s", raw, got, want)
		}
	}
}

func TestReportCheck(t *testing.T) {
	t.Parallel()
	valid := Report{ID: "1", OpenID: "o1", Template: "t", Choice: "accept", AgeMS: MaxReportAge.Milliseconds()}
	if f := valid.Check("/r"); len(f) != 0 {
		t.Fatalf("a valid report: %+v", f)
	}
	for pointer, change := range map[string]func(*Report){
		"/r/id": func(r *Report) { r.ID = "" }, "/r/openid": func(r *Report) { r.OpenID = "a b" }, "/r/template": func(r *Report) { r.Template = "" },
		"/r/choice": func(r *Report) { r.Choice = "maybe" }, "/r/age_ms": func(r *Report) { r.AgeMS++ },
	} {
		r := valid
		change(&r)
		if f := r.Check("/r"); len(f) != 1 || f[0].Pointer != pointer {
			t.Errorf("faults %+v, want one at %s", f, pointer)
		}
	}
	for _, r := range []Report{{AgeMS: -1}, {ID: "x"}} {
		if f := r.Check(""); len(f) < 3 {
			t.Errorf("not every fault is named: %+v", f)
		}
	}
}
