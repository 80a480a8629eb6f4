package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

const maxReports = 1000

// grantReports is one report, or several.
type grantReports struct {
	Reports []hongyan.Report `json:"reports,omitempty" maxItems:"1000"`
	hongyan.Report
}

// TransformSchema: either form leaves out the fields of the other.
func (grantReports) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

func (s *server) reportGrants(ctx context.Context, in *InApp, b *grantReports) (list[hongyan.ReportResult], error) {
	reports, single := b.Reports, b.Report != (hongyan.Report{})
	switch {
	case single && reports != nil:
		return list[hongyan.ReportResult]{}, hongyan.Invalid("/reports", "mixed", "Send one report, or several in reports; not both.")
	case len(reports) > maxReports:
		return list[hongyan.ReportResult]{}, hongyan.Invalid("/reports", "length", "At most %d reports at once; there are %d.", maxReports, len(reports))
	case !single && len(reports) == 0:
		return list[hongyan.ReportResult]{}, hongyan.Invalid("/reports", "missing", "Send at least one report: id, openid, template and choice.")
	case single:
		reports = []hongyan.Report{b.Report}
	}
	results, err := s.l.Report(ctx, in.App, reports)
	if single {
		err = unlisted(err)
	}
	return list[hongyan.ReportResult]{Items: results}, err
}

// unlisted makes pointers into a list of one point into the one.
func unlisted(err error) error {
	e, ok := err.(*hongyan.Error)
	if !ok {
		return err
	}
	moved := *e
	moved.Fields = slices.Clone(e.Fields)
	for i := range moved.Fields {
		moved.Fields[i].Pointer = strings.TrimPrefix(moved.Fields[i].Pointer, "/reports/0")
	}
	return &moved
}

type inGrants struct {
	InApp
	OpenID   hongyan.OpenID `query:"openid" maxLength:"64"`
	Template string         `query:"template" maxLength:"100" doc:"template_id or alias"`
	Page
}

func (s *server) listGrants(ctx context.Context, in *inGrants) (list[hongyan.Subscription], error) {
	subs, next, err := s.l.Subscriptions(ctx, in.App, in.OpenID, in.Template, in.Limit, in.Cursor)
	return list[hongyan.Subscription]{subs, next}, err
}

type inGrant struct {
	InApp
	OpenID   hongyan.OpenID `path:"openid"`
	Template string         `path:"template" doc:"template_id or alias"`
}

func (s *server) getGrant(ctx context.Context, in *inGrant) (hongyan.Subscription, error) {
	if err := in.check(); err != nil {
		return hongyan.Subscription{}, err
	}
	return s.l.Subscription(ctx, in.App, in.OpenID, in.Template)
}

func (in *inGrant) check() error {
	if in.OpenID.Valid() {
		return nil
	}
	return hongyan.Invalid("/openid", "openid", "%q is not an openid: 1 to 64 characters of A-Z a-z 0-9 _ and -.", clip(string(in.OpenID)))
}

type grantAdjust struct {
	Delta  int64  `json:"delta" minimum:"-1000000" maximum:"1000000" doc:"Grants to add; negative takes available ones away."`
	Exact  bool   `json:"exact,omitempty" doc:"The count is known to be exact now: a zero is a zero."`
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why; the history shows it."`
}

func (s *server) adjustGrant(ctx context.Context, in *inGrant, b *grantAdjust) (hongyan.Subscription, error) {
	if b.Delta == 0 && !b.Exact {
		return hongyan.Subscription{}, hongyan.Invalid("/delta", "missing", "Say by how many the count changes, or that it is exact.")
	}
	return s.l.Adjust(ctx, in.App, ledger.Adjustment{OpenID: in.OpenID, Template: in.Template, Delta: b.Delta, Exact: b.Exact,
		Reason: b.Reason, Source: hongyan.SourceAdjust})
}

// refusedAt points an error at one item of a list in the request.
func refusedAt(list string, i int, err *hongyan.Error) []hongyan.FieldError {
	base := fmt.Sprintf("/%s/%d", list, i)
	if len(err.Fields) == 0 {
		return []hongyan.FieldError{{Pointer: base, Code: string(err.Code), Detail: err.Message}}
	}
	out := slices.Clone(err.Fields)
	for j := range out {
		out[j].Pointer = base + out[j].Pointer
	}
	return out
}
