package api

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/hongyan-push/hongyan"
)

// Limits of /mp/v1. Thousands of phones may share one address of a mobile carrier, so those
// of an address only stop what no crowd does; those of an app protect the others.
const (
	loginsPerAddress, loginsBurst = 20, 200
	callsPerAddress, callsBurst   = 100, 1000
	callsPerApp, appBurst         = 500, 5000
	// maxBuckets bounds the memory that strangers can fill; beyond it the idle ones go.
	maxBuckets = 50_000
)

// mpLimits are the limits of phones, and of whoever else shows no key.
type mpLimits struct {
	signIn, calls, apps *buckets
	members             *buckets      // sign-ins to the console
	logins              chan struct{} // one place each for the logins that wait for WeChat
}

func newMPLimits() mpLimits {
	return mpLimits{signIn: newBuckets(loginsPerAddress, loginsBurst), calls: newBuckets(callsPerAddress, callsBurst),
		apps: newBuckets(callsPerApp, appBurst), members: newBuckets(signInsPerSecond, signInsBurst), logins: make(chan struct{}, maxLogins)}
}

// buckets limit how often each of many may call.
type buckets struct {
	every rate.Limit
	burst int

	mu sync.Mutex
	m  map[string]*rate.Limiter
}

func newBuckets(every rate.Limit, burst int) *buckets {
	return &buckets{every: every, burst: burst, m: make(map[string]*rate.Limiter)}
}

// take takes one call of somebody's, or says when there will be one again.
func (b *buckets) take(what, who string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.m[who]
	if l == nil {
		if len(b.m) >= maxBuckets {
			b.sweep()
		}
		l = rate.NewLimiter(b.every, b.burst)
		b.m[who] = l
	}
	r := l.Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	return &hongyan.Error{Code: hongyan.CodeRateLimited, Message: fmt.Sprintf("Too many requests from this %s.", what), RetryAfter: max(wait, time.Second)}
}

// sweep drops the buckets that are full: who comes again gets a full one anyway. If strangers
// have taken from nearly all of them, some go, whoever's: memory has to end somewhere.
func (b *buckets) sweep() {
	for who, l := range b.m {
		if l.Tokens() >= float64(b.burst) {
			delete(b.m, who)
		}
	}
	for who := range b.m {
		if len(b.m) < maxBuckets*9/10 {
			return
		}
		delete(b.m, who)
	}
}

// network is who an address belongs to: of IPv6 everybody has at least a /64.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Unmap().Is4() {
		return addr
	}
	p, _ := ip.WithZone("").Prefix(64)
	return p.String()
}
