package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
)

// EventFilter narrows a list or a stream; zero fields do not.
type EventFilter struct {
	Types []hongyan.EventPattern
	App   hongyan.AppID
	// Since and PageSize are for lists alone.
	Since    time.Time
	PageSize int // at most 500. Default 50
}

func (f *EventFilter) types() string {
	list := make([]string, len(f.Types))
	for i, t := range f.Types {
		list[i] = string(t)
	}
	return strings.Join(list, ",")
}

// Events goes through recorded events, newest first.
func (c *Client) Events(ctx context.Context, f EventFilter) iter.Seq2[hongyan.Event, error] {
	q := values("type", f.types(), "app", string(f.App))
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	if f.PageSize > 0 {
		q.Set("limit", strconv.Itoa(f.PageSize))
	}
	return pages[hongyan.Event](ctx, c, join("events"), q)
}

// EventTypes lists the event types with what they mean.
func (c *Client) EventTypes(ctx context.Context) ([]hongyan.EventTypeInfo, error) {
	return whole[hongyan.EventTypeInfo](ctx, c, join("event-types"), nil)
}

// EventStream is a connection on which events come as they happen. It is for one goroutine.
type EventStream struct {
	body   io.ReadCloser
	lines  *bufio.Scanner
	lastID hongyan.EventID
}

// maxEventLine bounds what a peer can make us hold.
const maxEventLine = 1 << 20

// StreamEvents connects. after is [EventStream.LastID] of the connection before, so that none
// is missed and none comes twice; "" begins with what happens from now on. Whatever happens
// after it has returned comes. Close the stream; ctx ends it too.
func (c *Client) StreamEvents(ctx context.Context, f EventFilter, after hongyan.EventID) (*EventStream, error) {
	req, err := c.request(ctx, call{method: http.MethodGet, path: join("events", "stream"), query: values("type", f.types(), "app", string(f.App))})
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if after != "" {
		req.Header.Set("Last-Event-ID", string(after))
	}
	h := *c.cfg.HTTPClient
	h.Timeout = 0 // a stream has no end
	resp, err := h.Do(req)
	if err != nil {
		return nil, &transport{"stream events", withoutURL(err)}
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxEventLine))
		if err != nil {
			return nil, fmt.Errorf("stream events: %w", err)
		}
		return nil, problem(resp, body)
	}
	s := &EventStream{body: resp.Body, lines: bufio.NewScanner(resp.Body), lastID: after}
	s.lines.Buffer(nil, maxEventLine)
	return s, nil
}

// Next waits for the next event. io.EOF says that the server has ended the stream, as it does
// when it stops: connect again with LastID.
func (s *EventStream) Next() (hongyan.Event, error) {
	var e hongyan.Event
	var id, data string
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "data":
			data += value
		case "":
			if s.lines.Text() != "" {
				continue // a comment
			}
			if id != "" {
				s.lastID = hongyan.EventID(id)
			}
			if data == "" {
				continue
			}
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return e, fmt.Errorf("decode event: %w", err)
			}
			return e, nil
		}
	}
	if err := s.lines.Err(); err != nil {
		return e, &transport{"read events", err}
	}
	return e, io.EOF
}

// Follow goes through events as they happen, for as long as ctx lives: when the connection ends
// it connects again where it was, so that none is missed. It begins after an event, or with what
// happens from now on. An error says that connecting again does not help; it is the last item.
func (c *Client) Follow(ctx context.Context, f EventFilter, after hongyan.EventID) iter.Seq2[hongyan.Event, error] {
	return func(yield func(hongyan.Event, error) bool) {
		for failed := 0; ; failed++ {
			s, err := c.StreamEvents(ctx, f, after)
			if err == nil {
				failed = 0
				err = s.each(func(e hongyan.Event) bool { return yield(e, nil) })
				after = s.LastID()
				_ = s.Close()
				if err == nil {
					return
				}
			}
			if ctx.Err() != nil {
				err = ctx.Err()
			} else if mayPass(err) || errors.Is(err, io.EOF) {
				err = sleep(ctx, min(pauseOf(min(failed, followMost), err), maxPause))
			}
			if err != nil {
				yield(hongyan.Event{}, err)
				return
			}
		}
	}
}

// followMost bounds how long Follow waits to connect again: some seconds.
const followMost = 5

// each passes events on until yield has enough; then, and only then, it returns nil.
func (s *EventStream) each(yield func(hongyan.Event) bool) error {
	for {
		e, err := s.Next()
		if err != nil {
			return err
		}
		if !yield(e) {
			return nil
		}
	}
}

// LastID is how far the stream has been read.
func (s *EventStream) LastID() hongyan.EventID { return s.lastID }

// Close ends the connection.
func (s *EventStream) Close() error { return s.body.Close() }
