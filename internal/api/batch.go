package api

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

const maxBatch = 1000

var batchRoute = route{"POST /v1/messages/batch", "submit-batch", "messages", sends, "Submit many messages", 202,
	"strict (default): all or none, in one transaction. permissive: each by itself; items has a status or an error for each, in order."}

type batchRequest struct {
	Messages []rawSubmission `json:"messages" minItems:"1" maxItems:"1000"`
	Mode     batchMode       `json:"mode,omitempty" enum:"strict,permissive"`
}

// rawSubmission is one message of a batch, which has faults of its own.
type rawSubmission string

// Schema is for the API's description.
func (rawSubmission) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[hongyan.Submission](), true, "")
}

type batchMode string

const (
	batchStrict     batchMode = "strict"
	batchPermissive batchMode = "permissive"
)

type batchResult struct {
	Items    []batchItem `json:"items"`
	Accepted int         `json:"accepted"`
	Refused  int         `json:"refused"`
}

type batchItem struct {
	Status  int              `json:"status" doc:"What the single submit would have answered: 202, 200 or an error's status."`
	Message *hongyan.Message `json:"message,omitempty"`
	Error   *problem         `json:"error,omitempty"`
}

func (s *server) submitBatch(x *exchange, r *http.Request) {
	body, err := x.body(maxBatchBody)
	if err != nil {
		x.fail(err)
		return
	}
	res, err := once(s, x, body, func() (*batchResult, error) { return s.batch(x, body) },
		func(fates string) (*batchResult, error) { return s.replayBatch(x, body, fates) })
	if err != nil {
		x.fail(err)
		return
	}
	x.json(http.StatusAccepted, "application/json", res)
}

func (s *server) batch(x *exchange, body string) (*batchResult, error) {
	var req batchRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	subs, at, fates := s.decodeBatch(x, req.Messages)
	if strict := req.Mode != batchPermissive; strict && len(subs) < len(fates) {
		// The others are looked at too, without storing anything, so that every fault is told at once.
		s.rehearse(x, subs, at, fates)
		return nil, refusedBatch(x, fates)
	}
	results, err := s.l.Submit(x.r.Context(), subs, ledger.SubmitOptions{Strict: req.Mode != batchPermissive, Idem: x.idem})
	if err != nil {
		return nil, err
	}
	for i, res := range results {
		fates[at[i]] = res
	}
	if req.Mode != batchPermissive && anyRefused(results) {
		return nil, refusedBatch(x, fates)
	}
	return x.batchResult(fates), nil
}

func (req *batchRequest) check() error {
	switch {
	case len(req.Messages) == 0:
		return hongyan.Invalid("/messages", "missing", "Give at least one message in messages.")
	case len(req.Messages) > maxBatch:
		return hongyan.Invalid("/messages", "length", "A batch has at most %d messages; there are %d.", maxBatch, len(req.Messages))
	case req.Mode != "" && req.Mode != batchStrict && req.Mode != batchPermissive:
		return hongyan.Invalid("/mode", "not_in_list", "%q is no mode; use one of: strict, permissive.", clip(string(req.Mode)))
	}
	return nil
}

// decodeBatch reads the messages. fates has a place for each; those that could not be read
// have their error already, the others are subs, and at says where each belongs.
func (s *server) decodeBatch(x *exchange, raws []rawSubmission) (subs []hongyan.Submission, at []int, fates []ledger.SubmitResult) {
	fates = make([]ledger.SubmitResult, len(raws))
	for i, raw := range raws {
		var sub hongyan.Submission
		// A copy of its text, so that a message does not keep the whole batch in memory.
		err := s.decodeSubmission(strings.Clone(string(raw)), "", &sub)
		if err == nil {
			err = seesApp(x.key, sub.App)
		}
		if err == nil && sub.DryRun {
			err = hongyan.Invalid("/dry_run", "unexpected", "dry_run is for single messages; submit them one by one to try them.")
		}
		if err != nil {
			fates[i].Err = err
			continue
		}
		subs, at = append(subs, sub), append(at, i)
	}
	return subs, at, fates
}

// rehearse finds the faults of messages that will not be stored anyway.
func (s *server) rehearse(x *exchange, subs []hongyan.Submission, at []int, fates []ledger.SubmitResult) {
	for i := range subs {
		subs[i].DryRun = true
	}
	results, err := s.l.Submit(x.r.Context(), subs, ledger.SubmitOptions{})
	if err != nil {
		return // there are faults enough to tell
	}
	for i, res := range results {
		fates[at[i]] = res
	}
}

func anyRefused(results []ledger.SubmitResult) bool {
	for _, r := range results {
		if r.Err != nil {
			return true
		}
	}
	return false
}

// refusedBatch is a strict batch's problem: every fault, each with a pointer to its message.
func refusedBatch(x *exchange, fates []ledger.SubmitResult) error {
	out := &hongyan.Error{}
	n := 0
	for i, fate := range fates {
		if fate.Err == nil || hongyan.CodeOf(fate.Err) == hongyan.CodeConflict { // innocent, but in the same batch
			continue
		}
		e := x.asError(fate.Err)
		if n++; n == 1 {
			out.Code, out.RetryAfter = e.Code, e.RetryAfter
		} else if e.Code != out.Code {
			out.Code, out.RetryAfter = hongyan.CodeInvalid, 0
		}
		if len(out.Fields) < maxFaults {
			out.Fields = append(out.Fields, refusedAt("messages", i, e)...)
		}
	}
	out.Message = fmt.Sprintf("%d of %d messages were refused, so none was stored; mode permissive stores the others.", n, len(fates))
	return out
}

func (x *exchange) batchResult(fates []ledger.SubmitResult) *batchResult {
	res := &batchResult{Items: make([]batchItem, len(fates))}
	lang := languageOf(x.r)
	for i, fate := range fates {
		if fate.Err != nil {
			p := newProblem(x.asError(fate.Err), lang, x.id)
			res.Items[i] = batchItem{Status: p.Status, Error: p}
			res.Refused++
			continue
		}
		m, status := fate.Message, http.StatusAccepted
		if m.Duplicate {
			status = http.StatusOK
		}
		if len(m.Warnings) > 0 {
			m.Warnings = localized(x, m.Warnings)
		}
		res.Items[i] = batchItem{Status: status, Message: m}
		res.Accepted++
	}
	return res
}

// replayBatch rebuilds the answer. What could not be read then cannot be read now; for the
// others the first request stored, in order, the message's id, or "!" and the code of a refusal.
func (s *server) replayBatch(x *exchange, body, stored string) (*batchResult, error) {
	var req batchRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	_, at, fates := s.decodeBatch(x, req.Messages)
	ids := strings.Split(stored, ",")
	if len(ids) != len(at) {
		return nil, fmt.Errorf("replay a batch of %d messages: %d are stored", len(at), len(ids))
	}
	for i, id := range ids {
		fate := &fates[at[i]]
		if code, refused := strings.CutPrefix(id, "!"); refused {
			fate.Err = hongyan.Errorf(hongyan.Code(code), "Refused when the batch was first submitted.")
			continue
		}
		fate.Message, fate.Err = s.submitted(x.r.Context(), id)
	}
	return x.batchResult(fates), nil
}
