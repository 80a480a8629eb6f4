package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

var submitRoute = route{"POST /v1/messages", "submit-message", "messages", sends, "Submit a message", 202,
	"202: it is on disk and will be sent. 200: dedup_key was used before (duplicate: true, with the first message), or dry_run. " +
		"Prefer: wait=N waits up to N seconds (at most 30) for a final state, uncertain or held."}

// submitMessage is the hot path: read, decode, submit, answer.
func (s *server) submitMessage(x *exchange, r *http.Request) {
	body, err := x.body(maxBody)
	if err != nil {
		x.fail(err)
		return
	}
	replayed := false
	m, err := once(s, x, body, func() (*hongyan.Message, error) { return s.submit(x, body) },
		func(id string) (*hongyan.Message, error) {
			replayed = true
			return s.submitted(r.Context(), id)
		})
	if err != nil {
		x.fail(err)
		return
	}
	if wait := preferredWait(r); wait > 0 && !m.DryRun {
		m = s.await(r.Context(), m, wait)
		x.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait.Seconds())))
	}
	x.answerMessage(m, replayed)
}

func (s *server) submit(x *exchange, body string) (*hongyan.Message, error) {
	var sub hongyan.Submission
	if err := s.decodeSubmission(body, "", &sub); err != nil {
		return nil, err
	}
	if err := seesApp(x.key, sub.App); err != nil {
		return nil, at(err, "/app")
	}
	results, err := s.l.Submit(x.r.Context(), []hongyan.Submission{sub}, ledger.SubmitOptions{Idem: x.idem})
	if err != nil {
		return nil, err
	}
	return results[0].Message, results[0].Err
}

// decodeSubmission reads a submission. If it has faults, those that the values themselves
// have are told in the same breath.
func (s *server) decodeSubmission(src, base string, sub *hongyan.Submission) error {
	err := decodeInto(src, base, sub)
	e, ok := err.(*hongyan.Error)
	if !ok {
		return err
	}
	broken := false
	named := make(map[string]bool)
	for _, f := range e.Fields {
		broken = broken || f.Code == "syntax" || f.Code == "double_encoded" && f.Pointer == base
		named[strings.TrimPrefix(f.Pointer, base)] = true
		if f.Code == faultUnknownField && f.Repair != nil {
			named["/"+*f.Repair] = true // it is there, under another name
		}
	}
	if broken {
		return e
	}
	for _, f := range sub.Check(s.Now()) {
		if !named[f.Pointer] {
			f.Pointer = base + f.Pointer
			e.Fields = append(e.Fields, f)
		}
	}
	e.Code = codeOfFaults(e.Fields)
	return e
}

// answerMessage sends a message with the status that tells how it came to be.
func (x *exchange) answerMessage(m *hongyan.Message, replayed bool) {
	status := http.StatusAccepted
	if !replayed && (m.Duplicate || m.DryRun) {
		status = http.StatusOK
	}
	if len(m.Warnings) > 0 {
		m.Warnings = localized(x, m.Warnings)
	}
	if m.ID != "" {
		x.Header().Set("Location", "/v1/messages/"+string(m.ID))
	}
	x.json(status, "application/json", m)
}

// submitted is a message as the answer to its submit shows it.
func (s *server) submitted(ctx context.Context, id string) (*hongyan.Message, error) {
	m, err := s.l.Message(ctx, hongyan.MessageID(id))
	if err != nil {
		return nil, err
	}
	m.Attempts, m.Timeline = nil, nil
	return m, nil
}

const (
	maxWait   = 30 * time.Second
	waitEvery = 60 * time.Millisecond
)

// preferredWait reads the header Prefer: wait=N (RFC 7240); what it cannot read it ignores, as that asks.
func preferredWait(r *http.Request) time.Duration {
	for _, line := range r.Header.Values("Prefer") {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			if n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`)); err == nil && n > 0 {
				return min(time.Duration(min(n, 30))*time.Second, maxWait)
			}
		}
	}
	return 0
}

// await looks at a message until there is something to tell, or nobody listens any more.
func (s *server) await(ctx context.Context, m *hongyan.Message, wait time.Duration) *hongyan.Message {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for !settled(m.Status) {
		select {
		case <-ctx.Done():
			return m
		case <-tick.C:
		}
		now, err := s.submitted(ctx, string(m.ID))
		if err != nil {
			return m // it is stored; that it cannot be read just now is no reason to say otherwise
		}
		now.Duplicate, now.Warnings = m.Duplicate, m.Warnings
		m = now
	}
	return m
}

// settled reports whether waiting longer would probably bring nothing new.
func settled(st hongyan.State) bool {
	return st.Final() || st == hongyan.StateUncertain || st == hongyan.StateHeld
}

type inMessages struct {
	App      hongyan.AppID   `query:"app" maxLength:"64"`
	OpenID   hongyan.OpenID  `query:"openid" maxLength:"64" doc:"Needs app."`
	Template string          `query:"template" maxLength:"100" doc:"template_id or alias; needs app."`
	External string          `query:"external_id" maxLength:"128" doc:"Your own id of a user; needs app."`
	Status   []hongyan.State `query:"status" enum:"held,scheduled,queued,sending,accepted,delivered,undelivered,failed,uncertain,canceled,expired" doc:"One, or several joined by commas."`
	Errcode  string          `query:"errcode" maxLength:"10" pattern:"^-?[0-9]+$" doc:"What WeChat answered last, such as 43101."`
	Reason   hongyan.Code    `query:"reason" maxLength:"64" doc:"Why it failed, waits or ended, such as no_grant."`
	ID       string          `query:"id" maxLength:"30" doc:"What the id begins with, such as msg_01JD."`
	Tag      string          `query:"tag" maxLength:"64"`
	Since    time.Time       `query:"since" doc:"Created at or after."`
	Until    time.Time       `query:"until" doc:"Created before."`
	Page
}

func (in *inMessages) errcode() *int {
	if n, err := strconv.Atoi(in.Errcode); err == nil {
		return &n
	}
	return nil
}

func (s *server) listMessages(ctx context.Context, in *inMessages) (list[hongyan.Message], error) {
	key := exchangeOf(ctx).key
	if err := seesApp(key, in.App); err != nil {
		return list[hongyan.Message]{}, at(err, "/app")
	}
	items, next, err := s.l.Messages(ctx, ledger.MessageFilter{App: in.App, Apps: key.Apps, OpenID: in.OpenID, External: in.External, Template: in.Template,
		Status: in.Status, Errcode: in.errcode(), Reason: in.Reason, IDPrefix: in.ID, Tag: in.Tag, Since: in.Since, Until: in.Until, Limit: in.Limit, Cursor: in.Cursor})
	return list[hongyan.Message]{items, next}, err
}

type inMessage struct {
	ID hongyan.MessageID `path:"id"`
}

func (s *server) getMessage(ctx context.Context, in *inMessage) (*hongyan.Message, error) {
	return s.visible(ctx, in.ID)
}

// visible is a message that the request's key may see; any other is not found.
func (s *server) visible(ctx context.Context, id hongyan.MessageID) (*hongyan.Message, error) {
	m, err := s.l.Message(ctx, id)
	if err != nil {
		return nil, err
	}
	if seesApp(exchangeOf(ctx).key, m.App) != nil {
		return nil, hongyan.Errorf(hongyan.CodeNotFound, "There is no message %.40s here.", string(id))
	}
	return m, nil
}

func (s *server) cancelMessage(ctx context.Context, in *inMessage) (*hongyan.Message, error) {
	if _, err := s.visible(ctx, in.ID); err != nil {
		return nil, err
	}
	return s.l.Cancel(ctx, in.ID)
}

type messageResolve struct {
	As hongyan.State `json:"as" enum:"delivered,failed,queued" doc:"What became of it, by your evidence; or queued to send it again."`
}

func (s *server) resolveMessage(ctx context.Context, in *inMessage, b *messageResolve) (*hongyan.Message, error) {
	switch b.As {
	case hongyan.StateDelivered, hongyan.StateFailed, hongyan.StateQueued:
	default:
		return nil, hongyan.Invalid("/as", "not_in_list", "%q is no way to resolve; use one of: delivered, failed, queued.", clip(string(b.As)))
	}
	if _, err := s.visible(ctx, in.ID); err != nil {
		return nil, err
	}
	return s.l.Resolve(ctx, in.ID, b.As)
}

// asError is an error as a batch lists it: internal ones are logged and veiled.
func (x *exchange) asError(err error) *hongyan.Error {
	var e *hongyan.Error
	if errors.As(err, &e) {
		return e
	}
	x.log.ErrorContext(x.r.Context(), "message not submitted", "request_id", x.id, "err", err)
	return veiled(err)
}
