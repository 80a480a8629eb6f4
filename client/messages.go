package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Submit hands a message in. When it returns without error the message is on the server's
// disk; where it stands is in its Status.
func (c *Client) Submit(ctx context.Context, sub hongyan.Submission, opt Options) (*hongyan.Message, error) {
	return create[*hongyan.Message](ctx, c, join("messages"), sub, opt)
}

// SubmitAndWait hands a message in and waits until it is known what became of it: until it is
// accepted by WeChat (or further), failed, canceled, expired, uncertain or held, or until ctx
// ends. The error is [hongyan.Message.Err] then, so errors.Is(err, hongyan.CodeNotSubscribed)
// asks for WeChat's 43101; the message comes with it wherever there is one. A message that is
// due later is waited for too: give ctx an end.
func (c *Client) SubmitAndWait(ctx context.Context, sub hongyan.Submission, opt Options) (*hongyan.Message, error) {
	opt.Wait = maxWait
	if end, ok := ctx.Deadline(); ok {
		opt.Wait = min(maxWait, time.Until(end)-waitMargin)
	}
	m, err := c.Submit(ctx, sub, opt)
	if err != nil {
		return nil, err
	}
	for d := waitFirst; !m.DryRun && !settled(m.Status); d = min(2*d, waitMost) {
		if err := sleep(ctx, d); err != nil {
			return m, fmt.Errorf("wait for %s, which is %s: %w", m.ID, m.Status, err)
		}
		now, err := c.Message(ctx, m.ID)
		if err != nil {
			return m, err
		}
		m = now
	}
	return m, m.Err()
}

const (
	maxWait    = 30 * time.Second // what the server grants
	waitMargin = time.Second      // for the answer to arrive before ctx ends
	waitFirst  = 200 * time.Millisecond
	waitMost   = 5 * time.Second
)

// settled reports whether waiting on would be for something else than the next moment.
func settled(s hongyan.State) bool {
	return s.Final() || s == hongyan.StateUncertain || s == hongyan.StateHeld
}

// BatchMode says what a refused message does to the others of its batch.
type BatchMode string

// The modes.
const (
	BatchStrict     BatchMode = "strict"     // none is stored. The default
	BatchPermissive BatchMode = "permissive" // the others are stored
)

// Batch is up to 1,000 messages.
type Batch struct {
	Messages []hongyan.Submission `json:"messages"`
	Mode     BatchMode            `json:"mode,omitempty"`
}

// BatchResult has an item for every message, in order.
type BatchResult struct {
	Items    []BatchItem `json:"items"`
	Accepted int         `json:"accepted"`
	Refused  int         `json:"refused"`
}

// BatchItem is a message or the error that refused it.
type BatchItem struct {
	// Status is what a single submit would have answered.
	Status  int
	Message *hongyan.Message
	Err     *hongyan.Error
}

// UnmarshalJSON turns the problem of a refused item back into an error.
func (i *BatchItem) UnmarshalJSON(b []byte) error {
	var v struct {
		Status  int              `json:"status"`
		Message *hongyan.Message `json:"message"`
		Error   *struct {
			Code   hongyan.Code         `json:"code"`
			Detail string               `json:"detail"`
			Errors []hongyan.FieldError `json:"errors"`
		} `json:"error"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	i.Status, i.Message = v.Status, v.Message
	if v.Error != nil {
		i.Err = &hongyan.Error{Code: v.Error.Code, Message: v.Error.Detail, Fields: v.Error.Errors}
	}
	return nil
}

// MarshalJSON is the form of the wire.
func (i BatchItem) MarshalJSON() ([]byte, error) {
	v := map[string]any{"status": i.Status}
	if i.Message != nil {
		v["message"] = i.Message
	}
	if i.Err != nil {
		v["error"] = map[string]any{"code": i.Err.Code, "detail": i.Err.Message, "errors": i.Err.Fields}
	}
	return json.Marshal(v)
}

// SubmitBatch hands many messages in. In mode strict a refused message is an error whose
// fields say which and why; in mode permissive it is an item.
func (c *Client) SubmitBatch(ctx context.Context, b Batch, opt Options) (BatchResult, error) {
	return create[BatchResult](ctx, c, join("messages", "batch"), b, opt)
}

// MessageFilter narrows a list; zero fields do not.
type MessageFilter struct {
	App      hongyan.AppID
	OpenID   hongyan.OpenID // needs App
	Template string         // needs App
	External string         // your own id of a user; needs App
	Status   []hongyan.State
	Errcode  *int // what WeChat answered last
	Reason   hongyan.Code
	IDPrefix string // what the id begins with
	Tag      string
	Since    time.Time
	Until    time.Time
	// PageSize is how many are fetched at once, at most 500. Default 50.
	PageSize int
}

func commas[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return strings.Join(words, ",")
}

// Messages goes through messages, newest first.
func (c *Client) Messages(ctx context.Context, f MessageFilter) iter.Seq2[hongyan.Message, error] {
	q := values("app", string(f.App), "openid", string(f.OpenID), "template", f.Template, "external_id", f.External,
		"status", commas(f.Status), "reason", string(f.Reason), "id", f.IDPrefix, "tag", f.Tag)
	if f.Errcode != nil {
		q.Set("errcode", strconv.Itoa(*f.Errcode))
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	if !f.Until.IsZero() {
		q.Set("until", f.Until.Format(time.RFC3339Nano))
	}
	if f.PageSize > 0 {
		q.Set("limit", strconv.Itoa(f.PageSize))
	}
	return pages[hongyan.Message](ctx, c, join("messages"), q)
}

// Message reads a message with its attempts and timeline.
func (c *Client) Message(ctx context.Context, id hongyan.MessageID) (*hongyan.Message, error) {
	return get[*hongyan.Message](ctx, c, join("messages", string(id)), nil)
}

// Cancel stops a message that is not on its way yet.
func (c *Client) Cancel(ctx context.Context, id hongyan.MessageID) (*hongyan.Message, error) {
	return send[*hongyan.Message](ctx, c, "POST", join("messages", string(id), "cancel"), nil, Options{})
}

// Resolve settles an uncertain message: delivered, failed, or queued to send it again.
func (c *Client) Resolve(ctx context.Context, id hongyan.MessageID, as hongyan.State) (*hongyan.Message, error) {
	return send[*hongyan.Message](ctx, c, "POST", join("messages", string(id), "resolve"), map[string]hongyan.State{"as": as}, Options{})
}
