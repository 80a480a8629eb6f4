package api

import (
	"context"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// actor is who makes the request, as the audit log names them.
func (s *server) actor(x *exchange, operation string) ledger.Actor {
	return ledger.Actor{ID: string(x.key.ID), Name: x.key.Name, Address: s.client(x.r), RequestID: hongyan.RequestID(x.id), Action: operation}
}

type inAudit struct {
	App    hongyan.AppID `query:"app" maxLength:"64"`
	Actor  string        `query:"actor" maxLength:"128" doc:"Id of a key or member; admin is the key of the configuration."`
	Action string        `query:"action" maxLength:"128" doc:"An operation's id, such as update-app."`
	Object string        `query:"object" maxLength:"255" doc:"Id of what was changed."`
	From   time.Time     `query:"from" doc:"At or after."`
	To     time.Time     `query:"to" doc:"Before."`
	Page
}

func (s *server) listAudit(ctx context.Context, in *inAudit) (list[hongyan.Audit], error) {
	key := exchangeOf(ctx).key
	if err := seesApp(key, in.App); err != nil {
		return list[hongyan.Audit]{}, at(err, "/app")
	}
	items, next, err := s.l.Audit(ctx, ledger.AuditFilter{App: in.App, Apps: key.Apps, Actor: in.Actor, Action: in.Action, Object: in.Object,
		From: in.From, To: in.To, Limit: in.Limit, Cursor: in.Cursor})
	return list[hongyan.Audit]{items, next}, err
}
