package sandbox

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

// Card is one message that a phone received.
type Card struct {
	// MsgID is a string in JSON: it passes 2^53.
	MsgID            int64  `json:"msgid,string"`
	AppID            string `json:"appid"`
	OpenID           string `json:"openid"`
	TemplateID       string `json:"template_id"`
	Page             string `json:"page"`
	MiniprogramState string `json:"miniprogram_state"`
	Lang             string `json:"lang"`
	// Data has the template's keys in the form of the send. Keys that the
	// template lacks are not on the card.
	Data map[string]wechat.DataValue `json:"data"`
	At   time.Time                   `json:"at"`
}

// Call is one call of an emulated endpoint.
type Call struct {
	Path   string `json:"path"`
	AppID  string `json:"appid"`
	OpenID string `json:"openid"`
	// Errcode is what was answered, 0 for a success; null when the connection
	// was dropped or the answer was not WeChat's JSON.
	Errcode    *int      `json:"errcode"`
	At         time.Time `json:"at"`
	DurationMS float64   `json:"duration_ms"`
	// Fault says that a fault acted on the call.
	Fault bool `json:"fault,omitempty"`
}

// Page is a part of a list. NextCursor is empty at its end, null in JSON.
type Page[T any] struct {
	Items      []T
	NextCursor string
	Limit      int
}

// MarshalJSON writes items, next_cursor and limit.
func (p Page[T]) MarshalJSON() ([]byte, error) {
	v := struct {
		Items      []T     `json:"items"`
		NextCursor *string `json:"next_cursor"`
		Limit      int     `json:"limit"`
	}{Items: p.Items, Limit: p.Limit}
	if p.NextCursor != "" {
		v.NextCursor = &p.NextCursor
	}
	return json.Marshal(v)
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// place reads limit and cursor of a list whose cursors begin with prefix.
func place(prefix, cur string, limit int) (start, n int, err error) {
	if limit == 0 {
		limit = defaultLimit
	}
	if limit < 1 || limit > maxLimit {
		return 0, 0, badRequest("limit must be 1 to 1000.")
	}
	if cur == "" {
		return 0, limit, nil
	}
	digits, ok := strings.CutPrefix(cur, prefix)
	v, convErr := strconv.ParseUint(digits, 36, 62)
	if !ok || convErr != nil {
		return 0, 0, &Problem{Status: 400, Code: "bad_cursor", Detail: "cursor is not one that this list gave out."}
	}
	return int(v), limit, nil
}

func cursorAt(prefix string, i int) string {
	return prefix + strconv.FormatUint(uint64(i), 36)
}

// card is a Card as it is stored: small, because the outbox keeps them all.
type card struct {
	msgid             int64
	app               *app
	user              *user
	template          *template
	page, state, lang string
	values            []string // in the order of the template's fields
	at                time.Time
}

// outbox holds every card, in order. Chunks keep an append cheap when there are
// millions, and let readers look without stopping the sends.
type outbox struct {
	mu     sync.Mutex
	chunks [][]card
	n      int
}

const chunkSize = 4096

func (o *outbox) add(c card) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n%chunkSize == 0 {
		o.chunks = append(o.chunks, make([]card, chunkSize))
	}
	o.chunks[o.n/chunkSize][o.n%chunkSize] = c
	o.n++
}

// view is the outbox as it is now. Cards do not change, so it needs no lock.
func (o *outbox) view() (chunks [][]card, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.chunks, o.n
}

// OutboxQuery selects cards; empty fields select all.
type OutboxQuery struct {
	AppID, OpenID string
	Limit         int // default 100, at most 1000
	Cursor        string
}

// Outbox lists the cards that phones received, oldest first.
func (s *Sandbox) Outbox(q OutboxQuery) (Page[Card], error) {
	i, limit, err := place("o", q.Cursor, q.Limit)
	if err != nil {
		return Page[Card]{}, err
	}
	page := Page[Card]{Items: []Card{}, Limit: limit}
	chunks, n := s.world.Load().outbox.view()
	for ; i < n; i++ {
		c := &chunks[i/chunkSize][i%chunkSize]
		if q.AppID != "" && c.app.id != q.AppID || q.OpenID != "" && c.user.openID != q.OpenID {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorAt("o", i)
			break
		}
		page.Items = append(page.Items, c.export())
	}
	return page, nil
}

func (c *card) export() Card {
	data := make(map[string]wechat.DataValue, len(c.values))
	for i, f := range c.template.fields {
		data[f.key] = wechat.DataValue{Value: c.values[i]}
	}
	return Card{
		MsgID: c.msgid, AppID: c.app.id, OpenID: c.user.openID, TemplateID: c.template.id,
		Page: c.page, MiniprogramState: c.state, Lang: c.lang, Data: data, At: c.at.UTC(),
	}
}

// callLog keeps the newest calls and counts all.
type callLog struct {
	mu   sync.Mutex
	keep int
	ring []Call // grows up to keep, then wraps
	n    int    // calls ever
	sent int    // sends that were processed

	byPath     map[string]int
	byErrcode  map[int]int
	unanswered int
}

// unknownPath counts calls of paths that are not imitated, of which there may be
// any number.
const unknownPath = "unknown"

func (l *callLog) add(c Call, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.ring) < l.keep:
		l.ring = append(l.ring, c)
	case l.keep > 0:
		l.ring[l.n%l.keep] = c
	}
	l.n++
	if l.byPath == nil {
		l.byPath, l.byErrcode = make(map[string]int), make(map[int]int)
	}
	if known {
		l.byPath[c.Path]++
	} else {
		l.byPath[unknownPath]++
	}
	if c.Errcode == nil {
		l.unanswered++
	} else {
		l.byErrcode[*c.Errcode]++
	}
}

func (l *callLog) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
}

// CallQuery selects calls; empty fields select all.
type CallQuery struct {
	Path, AppID string
	Limit       int // default 100, at most 1000
	Cursor      string
}

// Calls lists the newest [Config.KeepCalls] calls in the order they ended. A
// cursor to a call that is not kept any more goes on with the oldest one.
func (s *Sandbox) Calls(q CallQuery) (Page[Call], error) {
	i, limit, err := place("c", q.Cursor, q.Limit)
	if err != nil {
		return Page[Call]{}, err
	}
	page := Page[Call]{Items: []Call{}, Limit: limit}
	l := &s.world.Load().calls
	l.mu.Lock()
	defer l.mu.Unlock()
	for i = max(i, l.n-len(l.ring)); i < l.n; i++ {
		c := l.ring[i%l.keep]
		if q.Path != "" && c.Path != q.Path || q.AppID != "" && c.AppID != q.AppID {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorAt("c", i)
			break
		}
		page.Items = append(page.Items, c)
	}
	return page, nil
}

// Stats counts since the start or the last reset.
type Stats struct {
	Calls int `json:"calls"`
	// Accepted sends are cards in the outbox, also where a fault kept the answer
	// from arriving; only those whose sent event says otherwise have no card.
	Accepted int            `json:"accepted"`
	ByPath   map[string]int `json:"by_path"`
	// ByErrcode counts answers, 0 for successes.
	ByErrcode map[int]int `json:"by_errcode"`
	// Unanswered calls were dropped or got something else than WeChat's JSON.
	Unanswered int `json:"unanswered"`
	// Pushes are events, whoever took them.
	Pushes PushStats `json:"pushes"`
}

// Stats returns the counts.
func (s *Sandbox) Stats() Stats {
	w := s.world.Load()
	l := &w.calls
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Stats{Calls: l.n, Accepted: l.sent, Unanswered: l.unanswered, Pushes: w.pushes.pushStats(), ByPath: map[string]int{}, ByErrcode: map[int]int{}}
	for path, n := range l.byPath {
		v.ByPath[path] = n
	}
	for code, n := range l.byErrcode {
		v.ByErrcode[code] = n
	}
	return v
}
