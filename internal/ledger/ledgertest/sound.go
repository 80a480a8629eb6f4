package ledgertest

import (
	"context"

	"github.com/hongyan-push/hongyan"
)

// wantSound checks what must hold of every subscription at any time.
func (e *Env) wantSound() {
	e.TB.Helper()
	ctx := context.Background()
	cursor := ""
	for {
		subs, next, err := e.Subscriptions(ctx, App, "", "", 1000, cursor)
		e.must(err)
		for _, s := range subs {
			e.wantSoundCount(s)
		}
		if cursor = next; cursor == "" {
			return
		}
	}
}

func (e *Env) wantSoundCount(s hongyan.Subscription) {
	e.TB.Helper()
	full := e.Sub(s.OpenID, s.TemplateID)
	var granted, voided int64
	for _, en := range full.Entries {
		granted += en.Granted
		voided += en.Voided
	}
	switch {
	case s.Available < 0 || s.Reserved < 0 || s.Spent < 0 || s.Voided < 0:
		e.TB.Errorf("%s %s: a negative count: %+v", s.OpenID, s.TemplateID, s)
	case s.Granted != s.Available+s.Taken+s.Voided || s.Spent != s.Taken-s.Reserved:
		e.TB.Errorf("%s %s: granted is not available + taken + voided: %+v", s.OpenID, s.TemplateID, s)
	case len(full.Entries) < 100 && (granted != s.Granted || voided != s.Voided):
		e.TB.Errorf("%s %s: entries say granted %d, voided %d; the row says %d, %d: %+v", s.OpenID, s.TemplateID, granted, voided, s.Granted, s.Voided, full.Entries)
	case s.Kind == hongyan.KindLongTerm && (s.Available != 0 || s.Reserved != 0):
		e.TB.Errorf("%s %s: a long-term template is counted: %+v", s.OpenID, s.TemplateID, s)
	}
}
