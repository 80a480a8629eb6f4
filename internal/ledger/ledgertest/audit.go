package ledgertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// by is the context of a person's request.
func by(action string) context.Context {
	return ledger.WithActor(context.Background(), ledger.Actor{ID: "key_1", Name: "shop", Address: "10.0.0.1", RequestID: "req_1", Action: action})
}

// audit reads the whole log, as lines, newest first.
func (e *Env) audit(f ledger.AuditFilter) (out []string) {
	e.TB.Helper()
	for {
		rows, next, err := e.Audit(context.Background(), f)
		e.must(err)
		for _, a := range rows {
			var b strings.Builder
			fmt.Fprintf(&b, "%s %s %s:%s", a.Actor.ID, a.Action, a.Object.Kind, a.Object.ID)
			for _, c := range a.Changes {
				fmt.Fprintf(&b, " %s %s>%s", c.Pointer, c.Before, c.After)
			}
			out = append(out, b.String())
		}
		if f.Cursor = next; next == "" {
			return out
		}
	}
}

func (e *Env) wantAudit(f ledger.AuditFilter, want ...string) {
	e.TB.Helper()
	if got := e.audit(f); strings.Join(got, "\n") != strings.Join(want, "\n") {
		e.TB.Errorf("audit log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func testAudit(t *testing.T, open func(testing.TB) *Database) {
	ctx := context.Background()
	cases(t, open, existing, map[string]func(*Env){
		"by the program itself": func(e *Env) {
			_, err := e.Adjust(ctx, App, ledger.Adjustment{OpenID: "u1", Template: OneTime, Delta: 1, Reason: "x", Source: hongyan.SourceAdjust})
			e.must(err)
			e.must(e.Pause(ctx, App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual}))
			e.must(e.Resume(ctx, App, hongyan.PauseApp, "", ledger.ResumeByPerson))
			e.wantAudit(ledger.AuditFilter{})
		},
		"what changes nothing": func(e *Env) {
			name := "name"
			_, err := e.UpdateApp(ctx, App, ledger.AppUpdate{Name: &name})
			e.must(err)
			_, err = e.UpdateApp(by("update-app"), App, ledger.AppUpdate{Name: &name})
			e.must(err)
			e.must(e.Resume(by("resume-app"), App, hongyan.PauseApp, "", ledger.ResumeByPerson))
			e.wantAudit(ledger.AuditFilter{})
		},
		"what is refused": func(e *Env) {
			_, err := e.Adjust(by("adjust-grant"), App, ledger.Adjustment{OpenID: "u1", Template: OneTime, Delta: -1, Reason: "x", Source: hongyan.SourceAdjust})
			wantCode(e.TB, err, hongyan.CodeInvalid)
			wantCode(e.TB, e.DeleteWebhook(by("delete-webhook"), "whk_01JD0000000000000000000000"), hongyan.CodeNotFound)
			e.wantAudit(ledger.AuditFilter{})
		},
		"differences": func(e *Env) {
			name, secret := "鸿雁", hongyan.NewAppSecret("s3cret")
			_, err := e.UpdateApp(by("update-app"), App, ledger.AppUpdate{Name: &name, Secret: &secret,
				Merge: func(s *hongyan.AppSettings) error { s.History = hongyan.HistoryNew; return nil }})
			e.must(err)
			e.must(e.Pause(by("pause-app"), App, hongyan.Pause{Scope: hongyan.PauseApp, Reason: hongyan.PauseManual, Detail: "a break"}))
			_, err = e.Adjust(by("adjust-grant"), App, ledger.Adjustment{OpenID: "u1", Template: OneTime, Delta: 2, Exact: true, Reason: "x", Source: hongyan.SourceAdjust})
			e.must(err)
			e.wantAudit(ledger.AuditFilter{App: App},
				`key_1 adjust-grant user:u1 /grants/`+OneTime+`/available 0>2 /grants/`+OneTime+`/baseline "unknown">"exact"`,
				`key_1 pause-app pause:app /detail null>"a break" /reason null>"manual"`,
				`key_1 update-app app:`+string(App)+` /name "test">"鸿雁" /settings/history null>"new" /secret "redacted">"redacted"`)
		},
		"a message that somebody settles": func(e *Env) {
			m := e.Send("u1")
			e.Record(e.ClaimOne(), e.Outcome(hongyan.OutcomeUnclear))
			_, err := e.Resolve(by("resolve-message"), m.ID, hongyan.StateDelivered)
			e.must(err)
			_, err = e.Resolve(by("resolve-message"), m.ID, hongyan.StateDelivered) // a repeat
			e.must(err)
			e.wantAudit(ledger.AuditFilter{Object: string(m.ID)}, `key_1 resolve-message message:`+string(m.ID)+` /status "uncertain">"delivered"`)
		},
		"a user who is forgotten": func(e *Env) {
			_, err := e.Adjust(by("adjust-grant"), App, ledger.Adjustment{OpenID: "u1", Template: OneTime, Delta: 1, Reason: "x", Source: hongyan.SourceAdjust})
			e.must(err)
			e.must(e.EraseUser(by("erase-user"), App, "u1"))
			got := e.audit(ledger.AuditFilter{})
			if len(got) != 2 || !strings.HasPrefix(got[0], "key_1 erase-user user:erased:") || !strings.HasPrefix(got[1], "key_1 adjust-grant user:erased:") {
				e.TB.Errorf("audit log: %q", got)
			}
			e.wantAudit(ledger.AuditFilter{Object: "u1"})
		},
		"a delivery that is made again": func(e *Env) {
			w, err := e.CreateWebhook(ctx, hongyan.Webhook{URL: "https://x.example/hook", Events: []hongyan.EventPattern{"*"}}, nil)
			e.must(err)
			_, err = e.TestWebhook(ctx, w.ID)
			e.must(err)
			due, _, err := e.DueDeliveries(ctx)
			e.must(err)
			jobs, err := e.ClaimDeliveries(ctx, map[int64]int{due[0]: 1})
			e.must(err)
			_, err = e.ResendDelivery(by("resend-delivery"), w.ID, jobs[0].ID) // it is being made: nothing to do
			e.must(err)
			e.wantAudit(ledger.AuditFilter{})
			settled := make(chan struct{})
			e.RecordDelivery(jobs[0], ledger.DeliveryResult{Error: "x"}, func() { close(settled) })
			<-settled
			_, err = e.ResendDelivery(by("resend-delivery"), w.ID, "dlv_01ARZ3NDEKTSV4RRFFQ69G5FAV")
			wantCode(e.TB, err, hongyan.CodeNotFound)
			_, err = e.ResendDelivery(by("resend-delivery"), w.ID, jobs[0].ID)
			e.must(err)
			e.wantAudit(ledger.AuditFilter{}, `key_1 resend-delivery delivery:`+string(jobs[0].ID)+` /resent false>true`)
		},
		"filters and pages": func(e *Env) {
			begin := e.Now()
			for i := range 5 {
				e.Clock.Advance(time.Second)
				name := fmt.Sprint("n", i)
				_, err := e.UpdateApp(by("update-app"), App, ledger.AppUpdate{Name: &name})
				e.must(err)
			}
			_, err := e.CreateKey(by("create-key"), hongyan.APIKey{Name: "k", Scopes: []hongyan.Scope{hongyan.ScopeSend}}, nil)
			e.must(err)
			for _, c := range []struct {
				f    ledger.AuditFilter
				want int
			}{
				{ledger.AuditFilter{}, 6}, {ledger.AuditFilter{Limit: 1}, 6}, {ledger.AuditFilter{Limit: 2, App: App}, 5},
				{ledger.AuditFilter{Action: "create-key", Limit: 1}, 1}, {ledger.AuditFilter{Actor: "key_2"}, 0}, {ledger.AuditFilter{Object: string(App), Limit: 3}, 5},
				{ledger.AuditFilter{Apps: []hongyan.AppID{App}}, 5}, {ledger.AuditFilter{Apps: []hongyan.AppID{"other"}}, 0}, {ledger.AuditFilter{Apps: []hongyan.AppID{}}, 0},
				{ledger.AuditFilter{From: begin.Add(3 * time.Second)}, 4}, {ledger.AuditFilter{To: begin.Add(3 * time.Second)}, 2},
				{ledger.AuditFilter{From: begin.Add(2 * time.Second), To: begin.Add(3 * time.Second), Actor: "key_1"}, 1},
			} {
				if got := e.audit(c.f); len(got) != c.want {
					e.TB.Errorf("%+v: %d rows, want %d", c.f, len(got), c.want)
				}
			}
			_, _, err = e.Audit(ctx, ledger.AuditFilter{Cursor: "x"})
			wantCode(e.TB, err, hongyan.CodeInvalid)
		},
		"its end": func(e *Env) {
			name := "old"
			_, err := e.UpdateApp(by("update-app"), App, ledger.AppUpdate{Name: &name})
			e.must(err)
			e.Clock.Advance(ledger.AuditKept - time.Minute)
			e.must(e.Purge(ctx))
			if n := len(e.audit(ledger.AuditFilter{})); n != 1 {
				e.TB.Errorf("%d rows after less than 400 days", n)
			}
			e.Clock.Advance(2 * time.Minute)
			e.must(e.Purge(ctx))
			e.wantAudit(ledger.AuditFilter{})
		},
		"more than a row takes": func(e *Env) {
			var list []ledger.SyncedTemplate
			for i := range 300 {
				list = append(list, ledger.SyncedTemplate{TemplateID: fmt.Sprint("t", i), Content: strings.Repeat("长", 3000)})
			}
			e.must(e.SaveTemplates(by("sync-templates"), App, list))
			rows, _, err := e.Audit(ctx, ledger.AuditFilter{})
			e.must(err)
			if len(rows) != 1 {
				e.TB.Fatalf("%d rows", len(rows))
			}
			size := 0
			for _, c := range rows[0].Changes {
				size += len(c.Pointer) + len(c.Before) + len(c.After)
			}
			if last := rows[0].Changes[len(rows[0].Changes)-1]; size > 40_000 || len(rows[0].Changes) < 5 || !strings.HasSuffix(string(last.After), ` more"`) {
				e.TB.Errorf("%d changes of %d bytes, at last %s", len(rows[0].Changes), size, last.After)
			}
		},
	})
}
