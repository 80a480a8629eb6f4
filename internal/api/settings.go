package api

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// listSettings: addresses and paths of the machine are for who looks after all of it.
func (s *server) listSettings(ctx context.Context, _ *none) (list[hongyan.Setting], error) {
	x := exchangeOf(ctx)
	if len(x.key.Apps) > 0 {
		return list[hongyan.Setting]{}, hongyan.Errorf(hongyan.CodeForbidden, "This key is limited to some apps; settings are the whole server's.")
	}
	out := list[hongyan.Setting]{Items: []hongyan.Setting{}}
	if s.Settings != nil {
		out.Items = s.Settings(languageOf(x.r))
	}
	return out, nil
}
