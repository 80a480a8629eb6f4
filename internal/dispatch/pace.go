package dispatch

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace limits an app's calls. There is no limit until the settings name one or WeChat
// answers 45011 or -1: then half the rate measured just before, growing 5 % a second.
type pace struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	setting float64 // calls a second from the settings; 0: none
	limited float64 // our own limit after a complaint; 0: none
	grownAt time.Time
	slowed  time.Time // when it was halved last
	counter [2]int    // calls in this and the previous second
	second  int64
	// promised are places that were given and whose calls have not begun.
	promised int
}

// leastPace is as slow as a complaint makes us: below it the pace is not what is wrong.
const leastPace = 10

func newPace() *pace { return &pace{limiter: rate.NewLimiter(rate.Inf, 1)} }

// allowance promises up to n calls that may begin now. Each is begun, or taken back.
func (p *pace) allowance(now time.Time, setting float64, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setting = setting
	p.adjust(now)
	if p.limiter.Limit() != rate.Inf {
		n = max(0, min(n, int(p.limiter.TokensAt(now))-p.promised))
	}
	p.promised += n
	return n
}

// kept takes back n promises, or says that their calls begin.
func (p *pace) kept(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promised = max(0, p.promised-n)
}

// delay takes one call's turn and says how long to wait for it; a turn that is further off
// than most is not taken.
func (p *pace) delay(now time.Time, most time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(now)
	if p.limiter.Limit() == rate.Inf {
		return 0
	}
	turn := p.limiter.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > most {
		turn.CancelAt(now)
	}
	return wait
}

// slow halves the pace, because WeChat asked for it; once a second, for calls that were
// under way together complain about the same pace.
func (p *pace) slow(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(now)
	if d := now.Sub(p.slowed); d >= 0 && d < time.Second {
		return
	}
	p.slowed = now
	measured := float64(max(p.counter[0], p.counter[1], 1))
	if p.limited > 0 {
		measured = min(measured, p.limited)
	}
	p.limited, p.grownAt = max(measured/2, leastPace), now
	p.adjust(now)
}

// adjust lets the limit grow with time and sets the limiter to the lesser of both limits.
func (p *pace) adjust(now time.Time) {
	if p.limited > 0 {
		for ; now.Sub(p.grownAt) >= time.Second && p.limited < 1e6; p.grownAt = p.grownAt.Add(time.Second) {
			p.limited *= 1.05
		}
		if p.limited >= 1e6 {
			p.limited = 0
		}
	}
	limit := rate.Inf
	if p.setting > 0 {
		limit = rate.Limit(p.setting)
	}
	if p.limited > 0 && rate.Limit(p.limited) < limit {
		limit = rate.Limit(p.limited)
	}
	if limit == p.limiter.Limit() {
		return
	}
	p.limiter.SetLimitAt(now, limit)
	if limit != rate.Inf {
		p.limiter.SetBurstAt(now, max(1, int(float64(limit)/10)))
	}
}

func (p *pace) count(now time.Time) {
	if s := now.Unix(); s != p.second {
		p.counter[1] = p.counter[0]
		if s != p.second+1 {
			p.counter[1] = 0
		}
		p.counter[0], p.second = 0, s
	}
	p.counter[0]++
}
