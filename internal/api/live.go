package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

var liveRoute = route{"GET /v1/live", "live", "stats", reads, "Hear when something has changed", 200,
	"Server-sent events for pages that show what they have read: event changed, whose data is {\"topics\":[…]}, says what to read again. Topics: " + strings.Join(ledger.TopicWords(), ", ") +
		". Two a second at most, and none when nothing changed. They name no app, and a key that is limited to apps hears of all. What happened while nobody was connected is not told: read first, then after each connect once more. A comment every 15 seconds keeps the connection."}

const (
	// liveRest is the time between two pokes.
	liveRest = 500 * time.Millisecond
	// liveLook is how often the database is asked what other replicas did.
	liveLook = 2 * time.Second
)

// streamLive pokes a reader, until it or the server goes. Nothing is written for it anywhere.
func (s *server) streamLive(x *exchange, r *http.Request) {
	if r.URL.RawQuery != "" {
		x.fail(hongyan.Invalid("/", "unknown_parameter", "This takes no query parameters."))
		return
	}
	if s.lives.Add(1) > maxStreams {
		s.lives.Add(-1)
		x.fail(&hongyan.Error{Code: hongyan.CodeRateLimited, Message: fmt.Sprintf("%d readers are connected already.", maxStreams), RetryAfter: time.Minute})
		return
	}
	defer s.lives.Add(-1)
	changes := s.l.Changes()
	defer changes.Close()
	st := &eventStream{x: x, control: http.NewResponseController(x)}
	if err := st.open("retry: 3000\n\n"); err == nil {
		err = s.live(r.Context(), st, changes)
		if err != nil && r.Context().Err() == nil {
			s.log.DebugContext(r.Context(), "live stream ended", "request_id", x.id, "err", err)
		}
	}
}

func (s *server) live(ctx context.Context, st *eventStream, changes *ledger.Changes) error {
	look := time.NewTicker(liveLook)
	defer look.Stop()
	spoke, checked := time.Now(), time.Now()
	for {
		if time.Since(checked) >= stillCheck {
			if err := s.still(st.x); err != nil {
				return err
			}
			checked = time.Now()
		}
		next := changes.Next()
		if topics := changes.Take(); len(topics) > 0 {
			data, err := json.Marshal(map[string][]string{"topics": topics})
			if err != nil {
				return err
			}
			if err := st.write("event: changed\ndata: " + string(data) + "\n\n"); err != nil {
				return err
			}
			spoke = time.Now()
			if !s.rest(ctx, liveRest) {
				return nil
			}
			continue
		}
		if time.Since(spoke) >= heartbeat {
			if err := st.write(": still here\n\n"); err != nil {
				return err
			}
			spoke = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.Stopping:
			return nil
		case <-next:
		case <-look.C:
			// A database that does not answer has nothing to tell; others complain of that.
			_ = changes.LookAround(ctx)
		}
	}
}

// rest waits; false if the reader or the server goes meanwhile.
func (s *server) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.Stopping:
		return false
	case <-t.C:
		return true
	}
}

// describeLive adds the stream to the description.
func (s *server) describeLive() {
	op := liveRoute.operation(s)
	op.Responses = map[string]*huma.Response{"200": {Description: "A stream without end.", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}, "default": s.spec.problem}
	s.api.OpenAPI().AddOperation(&op)
}
