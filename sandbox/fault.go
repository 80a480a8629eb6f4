package sandbox

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// When a fault acts: before WeChat processed the call, so that nothing happened,
// or after, so that everything happened and only the answer is lost.
const (
	before = "before"
	after  = "after"
)

// Bodies that a fault can answer with.
const (
	bodyEmpty     = "empty"
	bodyHTML      = "html"
	bodyTruncated = "truncated"
)

const (
	maxFaults    = 1000
	maxLatencyMS = 3_600_000
)

const htmlPage = "<html>\r\n<head><title>%[1]s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n</body>\r\n</html>\r\n"

// FaultSpec describes what goes wrong, with a call or, with Push, with a push. Of
// a call at most one of Errcode, HTTPStatus, Drop and Body; with none of them
// LatencyMS makes a slow but right answer.
type FaultSpec struct {
	// Path is one of WeChat's, or "*".
	Path string `json:"path,omitempty"`
	// AppID limits the fault to one app.
	AppID string `json:"appid,omitempty"`

	Errcode *int `json:"errcode,omitempty"`
	// Errmsg replaces WeChat's usual text for Errcode. The rid is added.
	Errmsg string `json:"errmsg,omitempty"`
	// HTTPStatus answers with this status and a gateway's HTML page.
	HTTPStatus int `json:"http_status,omitempty"`
	// Drop closes the connection without an answer.
	Drop bool `json:"drop,omitempty"`
	// Body is "empty", "html" or "truncated", with status 200.
	Body string `json:"body,omitempty"`

	// When is "before" or "after" the call was processed. Default after, but
	// before with Errcode: a call that WeChat refuses has done nothing.
	When      string `json:"when,omitempty"`
	LatencyMS int    `json:"latency_ms,omitempty"`

	// Push is what goes wrong with a push: late, repeated, lost, out_of_order,
	// wrong_signature, old_key or failed.
	Push string `json:"push,omitempty"`
	// Event limits it to one event; failed is about sent events alone.
	Event string `json:"event,omitempty"`
	// DelayS makes a push late by the sandbox's clock, LatencyMS by real time.
	DelayS float64 `json:"delay_s,omitempty"`
	// ErrorCode and ErrorStatus are what a failed sent event says. Default -1 and
	// "failed: system failed".
	ErrorCode   string `json:"error_code,omitempty"`
	ErrorStatus string `json:"error_status,omitempty"`

	// Count makes the fault act on the next so many that match, Share on
	// about this part of them, chosen by a generator that Seed (default 1) makes
	// repeat itself. With neither it acts on all until it is deleted.
	Count *int     `json:"count,omitempty"`
	Share *float64 `json:"share,omitempty"`
	Seed  *int64   `json:"seed,omitempty"`
}

// Fault is a fault in place.
type Fault struct {
	ID string `json:"id"`
	FaultSpec
	// Left is how many it will still act on; null is no limit.
	Left *int `json:"left"`
	// Acted is how many it acted on so far.
	Acted int `json:"acted"`
}

// firedFault is a fault that acts on one call or push. Nil is none.
type firedFault struct {
	FaultSpec
	latency time.Duration
}

func (f *firedFault) acts(when string) bool { return f != nil && f.When == when }

// replaces reports whether the fault acts then and has an answer of its own.
func (f *firedFault) replaces(when string) bool {
	return f.acts(when) && (f.Errcode != nil || f.HTTPStatus != 0 || f.Drop || f.Body != "")
}

// answer is what the client gets in place of a; a is empty when the call was not
// processed.
func (f *firedFault) answer(c *call, a answer) answer {
	switch {
	case f.Errcode != nil && f.Errmsg != "":
		return c.refuseText(*f.Errcode, f.Errmsg)
	case f.Errcode != nil:
		return c.refuse(*f.Errcode)
	case f.HTTPStatus != 0:
		title := fmt.Sprintf("%d %s", f.HTTPStatus, http.StatusText(f.HTTPStatus))
		page := answer{status: f.HTTPStatus, body: fmt.Appendf(nil, htmlPage, title), header: [2]string{"Content-Type", "text/html"}}
		if f.HTTPStatus/100 == 3 {
			// Where it leads does not matter: a client that follows gets a 404.
			page.header = [2]string{"Location", "/moved"}
		}
		return page
	case f.Drop:
		return answer{}
	case f.Body == bodyEmpty:
		return answer{status: http.StatusOK}
	case f.Body == bodyHTML:
		return answer{status: http.StatusOK, body: fmt.Appendf(nil, htmlPage, "Service Busy"), header: [2]string{"Content-Type", "text/html"}}
	case f.Body == bodyTruncated:
		if len(a.body) == 0 {
			a.body = []byte(`{"errcode":0,"errmsg":"ok"}`)
		}
		return answer{status: http.StatusOK, body: a.body[:len(a.body)/2], header: [2]string{"Content-Type", "application/json; encoding=utf-8"}}
	}
	return a // only slow
}

// faultSet holds the faults of a world, oldest first.
type faultSet struct {
	mu     sync.Mutex
	active atomic.Int32 // faults that may still act: most runs have none
	all    []*placedFault
}

type placedFault struct {
	Fault
	latency time.Duration
	random  *rand.Rand // nil without a share
}

// pick finds the fault for a call and uses it up.
func (fs *faultSet) pick(path string, a *app) *firedFault {
	return fs.fire(func(f *placedFault) bool {
		return f.Push == "" && (f.Path == allPaths || f.Path == path) && (f.AppID == "" || a != nil && a.id == f.AppID)
	})
}

// fire finds the first fault that matches and fires.
func (fs *faultSet) fire(matches func(*placedFault) bool) *firedFault {
	if fs.active.Load() == 0 {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.all {
		if f.Left != nil && *f.Left == 0 || !matches(f) {
			continue
		}
		// Those that do not match draw no number, so traffic elsewhere does not
		// change which ones a seed chooses.
		if f.random != nil && f.random.Float64() >= *f.Share {
			continue
		}
		f.Acted++
		if f.Left != nil {
			*f.Left--
			if *f.Left == 0 {
				fs.active.Add(-1)
			}
		}
		return &firedFault{FaultSpec: f.FaultSpec, latency: f.latency}
	}
	return nil
}

// AddFault puts a fault in place.
func (s *Sandbox) AddFault(spec FaultSpec) (Fault, error) {
	if err := s.checkFault(&spec); err != nil {
		return Fault{}, err
	}
	f := &placedFault{
		Fault:   Fault{ID: "f" + strconv.FormatInt(s.faultID.Add(1), 10), FaultSpec: spec},
		latency: time.Duration(spec.LatencyMS) * time.Millisecond,
	}
	if spec.Count != nil {
		left := *spec.Count
		f.Left = &left
	}
	if spec.Share != nil {
		seed := uint64(1)
		if spec.Seed != nil {
			seed = uint64(*spec.Seed)
		}
		f.random = rand.New(rand.NewPCG(seed, seed))
	}
	fs := &s.world.Load().faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(fs.all) >= maxFaults {
		return Fault{}, &Problem{Status: 409, Code: "too_many_faults", Detail: fmt.Sprintf("There are %d faults already; delete some.", maxFaults)}
	}
	fs.all = append(fs.all, f)
	fs.active.Add(1)
	return f.snapshot(), nil
}

// snapshot copies the fault for the outside.
func (f *placedFault) snapshot() Fault {
	v := f.Fault
	if f.Left != nil {
		left := *f.Left
		v.Left = &left
	}
	return v
}

// checkFault refuses contradictions and fills the default of When in.
func (s *Sandbox) checkFault(f *FaultSpec) error {
	if f.AppID != "" {
		if _, _, err := s.find(f.AppID); err != nil {
			return err
		}
	}
	if f.Push != "" {
		return f.checkPush()
	}
	if err := s.checkPath("path", f.Path); err != nil && f.Path != allPaths {
		return err
	}
	actions := 0
	for _, there := range []bool{f.Errcode != nil, f.HTTPStatus != 0, f.Drop, f.Body != ""} {
		if there {
			actions++
		}
	}
	switch {
	case actions > 1:
		return badRequest("A fault has one of errcode, http_status, drop and body, not several.")
	case actions == 0 && f.LatencyMS == 0:
		return badRequest("A fault needs one of errcode, http_status, drop and body, or latency_ms alone.")
	case f.Errcode != nil && *f.Errcode == 0:
		return badRequest("errcode 0 is a success, not a fault.")
	case f.Errmsg != "" && f.Errcode == nil:
		return badRequest("errmsg needs an errcode.")
	case f.HTTPStatus != 0 && (f.HTTPStatus < 200 || f.HTTPStatus > 599):
		return badRequest("http_status must be 200 to 599.")
	case !slices.Contains([]string{"", bodyEmpty, bodyHTML, bodyTruncated}, f.Body):
		return badRequest(`body must be "empty", "html" or "truncated".`)
	case !slices.Contains([]string{"", before, after}, f.When):
		return badRequest(`when must be "before" or "after".`)
	case f.LatencyMS < 0 || f.LatencyMS > maxLatencyMS:
		return badRequest(fmt.Sprintf("latency_ms must be 0 to %d.", maxLatencyMS))
	case f.Event != "" || f.DelayS != 0 || f.ErrorCode != "" || f.ErrorStatus != "":
		return badRequest("event, delay_s, error_code and error_status go with push.")
	}
	if f.When == "" {
		f.When = after
		if f.Errcode != nil {
			f.When = before
		}
	}
	return f.checkAmount()
}

// checkAmount refuses contradictions in how often a fault acts.
func (f *FaultSpec) checkAmount() error {
	switch {
	case f.Count != nil && f.Share != nil:
		return badRequest("A fault has a count or a share, not both.")
	case f.Count != nil && *f.Count < 1:
		return badRequest("count must be at least 1.")
	case f.Share != nil && !(*f.Share > 0 && *f.Share <= 1):
		return badRequest("share must be above 0 and at most 1.")
	case f.Seed != nil && f.Share == nil:
		return badRequest("seed needs a share.")
	}
	return nil
}

// Faults lists the faults, oldest first, used-up ones among them.
func (s *Sandbox) Faults() []Fault {
	fs := &s.world.Load().faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	list := make([]Fault, 0, len(fs.all))
	for _, f := range fs.all {
		list = append(list, f.snapshot())
	}
	return list
}

// ClearFaults removes the fault with this id, or all faults for "". It returns
// how many there were.
func (s *Sandbox) ClearFaults(id string) (int, error) {
	fs := &s.world.Load().faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := len(fs.all)
	fs.all = slices.DeleteFunc(fs.all, func(f *placedFault) bool { return id == "" || f.ID == id })
	active := int32(0)
	for _, f := range fs.all {
		if f.Left == nil || *f.Left > 0 {
			active++
		}
	}
	fs.active.Store(active)
	if n -= len(fs.all); n == 0 && id != "" {
		return 0, &Problem{Status: 404, Code: "unknown_fault", Detail: fmt.Sprintf("There is no fault %q.", id)}
	}
	return n, nil
}
