package sandbox

import "time"

// beijing is WeChat's time zone: days of a quota begin and end there.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// Now is the sandbox's clock: the base clock moved by every [Sandbox.Advance].
// Tokens, login codes, quotas and recorded times follow it.
func (s *Sandbox) Now() time.Time {
	return s.cfg.Now().Add(time.Duration(s.offset.Load()))
}

// Clock is where the clock stands and how far it was moved.
type Clock struct {
	Now     time.Time `json:"now"`
	OffsetS float64   `json:"offset_s"`
}

// Advance moves the clock forward. It never goes back, because real time does
// not either, and integrators' programs may rely on that.
func (s *Sandbox) Advance(d time.Duration) (Clock, error) {
	if d < 0 {
		return Clock{}, badRequest("The clock only moves forward: advance_s must not be negative.")
	}
	s.offset.Add(int64(d))
	s.world.Load().pushes.look()
	return s.clock(), nil
}

func (s *Sandbox) clock() Clock {
	return Clock{Now: s.Now().UTC(), OffsetS: time.Duration(s.offset.Load()).Seconds()}
}

// day numbers the Beijing day of t.
func day(t time.Time) int {
	y, m, d := t.In(beijing).Date()
	return y*10_000 + int(m)*100 + d
}

// month numbers the Beijing month of t.
func month(t time.Time) int { return day(t) / 100 }
