package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

type inEvents struct {
	Type  string        `query:"type" maxLength:"200" doc:"Event types or kinds such as message.*, separated by commas."`
	App   hongyan.AppID `query:"app" maxLength:"64"`
	Since time.Time     `query:"since" doc:"Happened at or after."`
	Page
}

func (s *server) listEvents(ctx context.Context, in *inEvents) (list[hongyan.Event], error) {
	f, err := eventFilter(exchangeOf(ctx).key, in.Type, in.App)
	if err != nil {
		return list[hongyan.Event]{}, err
	}
	f.Since, f.Limit, f.Cursor = in.Since, in.Limit, in.Cursor
	items, next, err := s.l.Events(ctx, f)
	return list[hongyan.Event]{items, next}, err
}

// eventFilter is what a key may see of what it asks for.
func eventFilter(key hongyan.APIKey, types string, app hongyan.AppID) (ledger.EventFilter, error) {
	f := ledger.EventFilter{App: app, Apps: key.Apps}
	if err := seesApp(key, app); err != nil {
		return f, at(err, "/app")
	}
	for t := range strings.SplitSeq(types, ",") {
		if t = strings.TrimSpace(t); t != "" {
			f.Types = append(f.Types, hongyan.EventPattern(t))
		}
	}
	if faults := hongyan.CheckEventPatterns("/type", f.Types); len(faults) > 0 {
		return f, &hongyan.Error{Code: hongyan.CodeInvalid, Message: faults[0].Detail, Fields: faults}
	}
	return f, nil
}

func (s *server) listEventTypes(context.Context, *none) (list[hongyan.EventTypeInfo], error) {
	return list[hongyan.EventTypeInfo]{Items: hongyan.EventTypes()}, nil
}

var streamRoute = route{"GET /v1/events/stream", "stream-events", "events", reads, "Read events as they happen", 200,
	"Server-sent events: id is the event's id, event its type, data the event. While a reader is connected, and ten minutes after, what it asks for is recorded; " +
		"one that comes again with Last-Event-ID misses none and gets none twice. A comment every 15 seconds keeps the connection."}

const (
	heartbeat = 15 * time.Second
	// writeTime is how long a reader may keep us from writing before it is dropped.
	writeTime  = 30 * time.Second
	maxStreams = 200
)

// streamEvents is a reader of the stream, until it or the server goes.
func (s *server) streamEvents(x *exchange, r *http.Request) {
	f, err := streamFilter(x.key, r.URL.Query())
	if err != nil {
		x.fail(err)
		return
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		x.fail(&hongyan.Error{Code: hongyan.CodeRateLimited, Message: fmt.Sprintf("%d readers are connected already.", maxStreams), RetryAfter: time.Minute})
		return
	}
	defer s.streams.Add(-1)
	ctx := r.Context()
	// It listens before it looks where the stream stands, so that nothing falls in between.
	err = s.l.ListenTo(ctx, f)
	var place ledger.EventPlace
	if err == nil {
		place, err = s.l.EventsFrom(ctx, hongyan.EventID(r.Header.Get("Last-Event-ID")))
	}
	if err != nil {
		x.fail(err)
		return
	}
	st := &eventStream{x: x, control: http.NewResponseController(x)}
	if err := st.begin(place); err == nil {
		err = s.stream(ctx, st, f, place)
		if err != nil && ctx.Err() == nil {
			s.log.DebugContext(ctx, "stream of events ended", "request_id", x.id, "err", err)
		}
	}
}

func streamFilter(key hongyan.APIKey, q url.Values) (ledger.EventFilter, error) {
	for name := range q {
		if name != "type" && name != "app" {
			return ledger.EventFilter{}, hongyan.Invalid("/"+escapePointer(clip(name)), "unknown_parameter", "There is no query parameter %q here; those there are: type, app.", clip(name))
		}
	}
	return eventFilter(key, strings.Join(q["type"], ","), hongyan.AppID(q.Get("app")))
}

// stream writes what comes after a place until the reader or the server goes.
func (s *server) stream(ctx context.Context, st *eventStream, f ledger.EventFilter, place ledger.EventPlace) error {
	said, spoke, checked := s.Now(), time.Now(), time.Now()
	poll := time.NewTicker(time.Second) // another replica's hint may be lost
	defer poll.Stop()
	for {
		news := s.l.News()
		for more := true; more; {
			var events []hongyan.Event
			var err error
			if events, place, more, err = s.l.EventsAfter(ctx, place, f); err != nil {
				return err
			}
			if err := st.events(events); err != nil {
				return err
			}
			if len(events) > 0 {
				spoke = time.Now()
			}
		}
		if time.Since(spoke) >= heartbeat {
			// With the place, so that one who comes again need not look through what was not for it.
			if err := st.write("id: " + string(place.ID) + "\n: still here\n\n"); err != nil {
				return err
			}
			spoke = time.Now()
		}
		if now := s.Now(); now.Sub(said).Abs() >= ledger.ReaderSays {
			if err := s.l.ListenTo(ctx, f); err != nil {
				return err
			}
			said = now
		}
		if time.Since(checked) >= stillCheck {
			if err := s.still(st.x); err != nil {
				return err
			}
			checked = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.Stopping:
			return nil
		case <-news:
		case <-poll.C:
		}
	}
}

// eventStream writes server-sent events.
type eventStream struct {
	x       *exchange
	control *http.ResponseController
}

// begin sends the headers and the place, by which even a reader that has seen no event yet
// can go on another time.
func (st *eventStream) begin(place ledger.EventPlace) error {
	return st.open("retry: 3000\nid: " + string(place.ID) + "\n\n")
}

// open sends the headers and the first words.
func (st *eventStream) open(words string) error {
	_ = st.control.SetReadDeadline(time.Time{}) // that of a request would end the stream
	h := st.x.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	st.x.WriteHeader(http.StatusOK)
	return st.write(words)
}

func (st *eventStream) events(events []hongyan.Event) error {
	if len(events) == 0 {
		return nil
	}
	var b strings.Builder
	for i := range events {
		data, err := json.Marshal(&events[i])
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "id: %s\nevent: %s\ndata: %s\n\n", events[i].ID, events[i].Type, data)
	}
	return st.write(b.String())
}

func (st *eventStream) write(text string) error {
	_ = st.control.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := st.x.Write([]byte(text)); err != nil {
		return err
	}
	return st.control.Flush()
}

// describeStream adds the stream to the description.
func (s *server) describeStream() {
	doc := s.api.OpenAPI()
	op := streamRoute.operation(s)
	op.Parameters = []*huma.Param{
		{Name: "type", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "Event types or kinds such as message.*, separated by commas; all without it."},
		{Name: "app", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "Only events of this app."},
		{Name: "Last-Event-ID", In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "The id of the last event that was read: the stream goes on behind it."},
	}
	op.Responses = map[string]*huma.Response{"200": {Description: "A stream without end; data of each is an Event.", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}, "default": s.spec.problem}
	doc.AddOperation(&op)
	doc.Components.Schemas.Schema(reflect.TypeFor[hongyan.Event](), true, "")
}
