package api

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

type grantImport struct {
	Items  []hongyan.ImportItem `json:"items" minItems:"1" maxItems:"1000"`
	Reason string               `json:"reason,omitempty" maxLength:"500" doc:"Where the counts come from; the history shows it."`
}

func (s *server) importGrants(ctx context.Context, in *InApp, b *grantImport) (items[hongyan.Subscription], error) {
	if len(b.Reason) > 500 {
		return items[hongyan.Subscription]{}, hongyan.Invalid("/reason", "length", "reason is at most 500 bytes.")
	}
	subs, err := s.l.ImportGrants(ctx, in.App, b.Items, b.Reason)
	return items[hongyan.Subscription]{subs}, err
}

type grantQuery struct {
	OpenIDs  []hongyan.OpenID `json:"openids" minItems:"1" maxItems:"1000"`
	Template string           `json:"template,omitempty" doc:"Only this one, template_id or alias: then each user is answered, known or not."`
}

func (s *server) queryGrants(ctx context.Context, in *InApp, b *grantQuery) (items[hongyan.Subscription], error) {
	subs, err := s.l.QueryGrants(ctx, in.App, b.OpenIDs, b.Template)
	return items[hongyan.Subscription]{subs}, err
}

func (s *server) explainGrant(ctx context.Context, in *inGrant) (hongyan.Explanation, error) {
	if err := in.check(); err != nil {
		return hongyan.Explanation{}, err
	}
	return s.l.ExplainGrant(ctx, in.App, in.OpenID, in.Template)
}

func (s *server) eraseUser(ctx context.Context, in *inUser) error {
	return s.l.EraseUser(ctx, in.App, in.OpenID)
}

func (s *server) exportUser(ctx context.Context, in *inUser) (hongyan.UserExport, error) {
	return s.l.ExportUser(ctx, in.App, in.OpenID)
}
