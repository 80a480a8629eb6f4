package dispatch

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hongyan-push/hongyan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPolicyOf(t *testing.T) {
	t.Parallel()
	want := map[hongyan.OutcomeClass][]int{
		hongyan.OutcomeOK:        {0},
		hongyan.OutcomeRecipient: {43101},
		hongyan.OutcomeOpenID:    {40003},
		hongyan.OutcomeCaller:    {47003, 45168, 41030, 47001, 47002, 44002, 40033, 40036, 40097, 45002},
		hongyan.OutcomeTemplate:  {40037},
		hongyan.OutcomeBanned:    {43107},
		hongyan.OutcomeToken:     {40001, 40014, 41001, 42001},
		hongyan.OutcomeBusy:      {-1},
		hongyan.OutcomePace:      {45011},
		hongyan.OutcomeSameUser:  {43108},
		hongyan.OutcomeQuota:     {45009},
		hongyan.OutcomeAccount:   {40013, 40125, 40164, 40243, 45035, 48001, 48004, 50004, 50007, 61003, 61004, 61007, 89501, 89503, 89506, 89507, 40234},
		hongyan.OutcomeLimited:   {50002},
		hongyan.OutcomeUnknown:   {1, 99999, -2, 43004, 20001},
	}
	for class, codes := range want {
		for _, c := range codes {
			if got := policyOf(c).class; got != class {
				t.Errorf("errcode %d: class %s, want %s", c, got, class)
			}
		}
	}
}

func TestNextLook(t *testing.T) {
	t.Parallel()
	idle := pollEvery / 2
	for i, c := range []struct{ next, want time.Duration }{
		{time.Minute, pollEvery}, {time.Minute, 2 * pollEvery}, {time.Minute, 4 * pollEvery},
		{time.Minute, 4 * pollEvery},   // never less often than allowed
		{3 * pollEvery, 3 * pollEvery}, // something is due before
		{pollEvery, pollEvery},         // there is work
		{time.Minute, pollEvery},       // so soon again
		{time.Millisecond, time.Millisecond},
	} {
		var wait time.Duration
		if wait, idle = nextLook(c.next, idle, 4*pollEvery); wait != c.want {
			t.Errorf("look %d: after %v, want %v", i, wait, c.want)
		}
	}
}

func TestNextQuotaDay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ now, want string }{
		{"2026-11-22T10:00:00Z", "2026-11-22T16:05:00Z"}, // 18:00 in Beijing
		{"2026-11-22T15:59:59Z", "2026-11-22T16:05:00Z"},
		{"2026-11-22T16:04:59Z", "2026-11-22T16:05:00Z"},
		{"2026-11-22T16:05:00Z", "2026-11-23T16:05:00Z"},
		{"2026-12-31T20:00:00Z", "2027-01-01T16:05:00Z"},
	} {
		now, _ := time.Parse(time.RFC3339, c.now)
		if got := nextQuotaDay(now).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("nextQuotaDay(%s) = %s, want %s", c.now, got, c.want)
		}
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := &breaker{}
	for i := range breakerAfter {
		if !b.allow(now) {
			t.Fatalf("call %d not allowed while closed", i)
		}
		b.done(now, false)
	}
	if b.closed() || b.allow(now.Add(breakerRest-time.Millisecond)) {
		t.Error("a call is allowed during the rest")
	}
	b.done(now.Add(time.Second), false) // a call from before the rest: no longer rest for it
	if w := b.wait(now); w != breakerRest {
		t.Errorf("wait %v, want %v", w, breakerRest)
	}
	now = now.Add(breakerRest)
	if !b.allow(now) || b.allow(now) {
		t.Error("after the rest exactly one call tests the endpoint")
	}
	b.done(now.Add(time.Millisecond), false)
	if w := b.wait(now.Add(time.Millisecond)); w != 2*breakerRest {
		t.Errorf("after a failed test wait %v, want %v", w, 2*breakerRest)
	}
	for range 10 {
		now = now.Add(time.Hour)
		if !b.allow(now) {
			t.Fatal("no test after an hour")
		}
		b.done(now, false)
	}
	if w := b.wait(now); w != breakerMaxRest {
		t.Errorf("wait %v, want at most %v", w, breakerMaxRest)
	}
	now = now.Add(time.Hour)
	if !b.allow(now) {
		t.Fatal("no test")
	}
	b.cancel()
	if !b.allow(now) {
		t.Error("a test that was taken back is not given again")
	}
	b.done(now, true)
	if !b.closed() || b.wait(now) != 0 {
		t.Error("an answer does not close the breaker")
	}
	for range breakerAfter - 1 {
		b.done(now, false)
	}
	b.done(now, true)
	b.done(now, false)
	if !b.closed() {
		t.Error("failures that are not in a row open the breaker")
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := newPace()
	if n := p.allowance(now, 0, 64); n != 64 {
		t.Errorf("without a limit %d of 64 may start", n)
	}
	p.kept(64)
	for range 200 {
		if d := p.delay(now, handOffWait); d != 0 {
			t.Fatalf("without a limit a call waits %v", d)
		}
	}
	for range 16 { // calls under way together, of which each is told the same
		p.slow(now) // 200 a second measured: 100 from here
	}
	started := 0
	for ms := range 1000 {
		at := now.Add(time.Second + time.Duration(ms)*time.Millisecond)
		for range p.allowance(at, 0, 64) {
			p.kept(1)
			if p.delay(at, handOffWait) == 0 {
				started++
			}
		}
	}
	if started < 80 || started > 130 {
		t.Errorf("%d calls in a second after 200/s was too much, want about 105", started)
	}
	later := now.Add(10 * time.Minute)
	if n := p.allowance(later, 0, 64); n != 64 {
		t.Errorf("the limit has not grown away after ten minutes: %d", n)
	}
	p.kept(64)
	if n := p.allowance(later, 5, 64); n > 5 {
		t.Errorf("with a setting of 5/s %d may start at once", n)
	}
}

// TestPacePromises: many who ask before the first call begins get no more places together
// than there are turns, and a turn that comes too late is nobody's.
func TestPacePromises(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := newPace()
	p.slow(now) // the least pace, one turn at once
	now = now.Add(time.Second)
	given := 0
	for range 16 {
		given += p.allowance(now, 0, 1)
	}
	if given != 1 {
		t.Errorf("%d of 16 have a place for one turn", given)
	}
	p.kept(given)
	for range 50 {
		p.delay(now, handOffWait)
	}
	if d := p.delay(now.Add(1500*time.Millisecond), handOffWait); d > handOffWait {
		t.Errorf("turns that nobody took keep others waiting for %v", d)
	}
}

func TestProbeDue(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	d := &Dispatcher{now: func() time.Time { return now }}
	past, future := now.Add(-time.Second), now.Add(time.Minute)
	for _, c := range []struct {
		name   string
		pauses []hongyan.Pause
		want   hongyan.PauseScope
	}{
		{"none", nil, ""},
		{"app ready", []hongyan.Pause{{Scope: hongyan.PauseApp, ProbeAt: past}}, hongyan.PauseApp},
		{"app not yet", []hongyan.Pause{{Scope: hongyan.PauseApp, ProbeAt: future}}, ""},
		{"by hand", []hongyan.Pause{{Scope: hongyan.PauseApp}}, ""},
		{"path ready under an app paused by hand", []hongyan.Pause{{Scope: hongyan.PausePath, Key: hongyan.SendPath, ProbeAt: past}, {Scope: hongyan.PauseApp}}, ""},
		{"template ready", []hongyan.Pause{{Scope: hongyan.PauseTemplate, Key: "a", ProbeAt: past}}, hongyan.PauseTemplate},
		{"template by hand", []hongyan.Pause{{Scope: hongyan.PauseTemplate, Key: "a"}}, ""},
		{"app before template", []hongyan.Pause{{Scope: hongyan.PauseTemplate, Key: "a", ProbeAt: past}, {Scope: hongyan.PauseApp, ProbeAt: past}}, hongyan.PauseApp},
		{"another path", []hongyan.Pause{{Scope: hongyan.PausePath, Key: "/x", ProbeAt: past}}, ""},
	} {
		got := d.probeDue(hongyan.App{Pauses: c.pauses})
		if (got == nil) != (c.want == "") || got != nil && got.Scope != c.want {
			t.Errorf("%s: got %v, want %q", c.name, got, c.want)
		}
	}
}
