package dispatch_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/dispatch"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/internal/token"
	"github.com/hongyan-push/hongyan/sandbox"
	"github.com/hongyan-push/hongyan/wechat"
)

// rig is ledger, tokens, dispatcher and sandbox without the API in front.
type rig struct {
	ledger *ledger.Ledger
	sb     *sandbox.Sandbox
	tokens *token.Source
	app    hongyan.AppID
	tmpl   string
	data   map[string]string
	stop   func()
}

func newRig(t testing.TB, senders int) *rig {
	t.Helper()
	ctx := context.Background()
	sb := sandbox.New(sandbox.Config{})
	srv := httptest.NewServer(sb)
	key, err := ledger.NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(ctx, ledger.Config{DB: "sqlite:" + filepath.Join(t.TempDir(), "hongyan.db"), MasterKey: key, Now: sb.Now})
	if err != nil {
		t.Fatal(err)
	}
	client, err := wechat.New(wechat.Config{BaseURL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	tokens := token.New(token.Config{Ledger: l, Clients: []*wechat.Client{client}, Now: sb.Now})
	d, err := dispatch.New(dispatch.Config{Ledger: l, Clients: []*wechat.Client{client}, Tokens: tokens, Senders: senders, Now: sb.Now})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{ledger: l, sb: sb, tokens: tokens}
	lctx, stopLedger := context.WithCancel(ctx)
	dctx, stopDispatch := context.WithCancel(ctx)
	var lw, dw sync.WaitGroup
	lw.Go(func() { _ = l.Run(lctx) })
	dw.Go(func() { _ = d.Run(dctx) })
	r.stop = sync.OnceFunc(func() {
		stopDispatch()
		dw.Wait()
		stopLedger()
		lw.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		client.Close()
		srv.Close()
		_ = sb.Close()
	})
	t.Cleanup(r.stop)
	a, err := sb.CreateApp(sandbox.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	tm, err := sb.AddTemplate(sandbox.TemplateSpec{AppID: a.AppID})
	if err != nil {
		t.Fatal(err)
	}
	r.app, r.tmpl, r.data = hongyan.AppID(a.AppID), tm.TemplateID, tm.Example
	if _, err := l.CreateApp(ctx, hongyan.App{AppID: r.app, Settings: hongyan.AppSettings{History: hongyan.HistoryNew}}, hongyan.NewAppSecret(a.Secret), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.SaveTemplate(ctx, r.app, ledger.SyncedTemplate{TemplateID: tm.TemplateID, Title: tm.Title, Content: tm.Content, Kind: hongyan.KindOneTime}, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// users makes n users who tapped accept once each, and banks their grants.
func (r *rig) users(t testing.TB, n, each int) []hongyan.OpenID {
	t.Helper()
	u, err := r.sb.AddUsers(sandbox.UsersSpec{AppID: string(r.app), Count: n})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.sb.Tap(sandbox.TapSpec{AppID: string(r.app), OpenIDs: u.OpenIDs, TemplateIDs: []string{r.tmpl}, Times: each}); err != nil {
		t.Fatal(err)
	}
	out := make([]hongyan.OpenID, n)
	var reports []hongyan.Report
	for i, o := range u.OpenIDs {
		out[i] = hongyan.OpenID(o)
		for k := range each {
			reports = append(reports, hongyan.Report{ID: fmt.Sprintf("%s-%d", o, k), OpenID: out[i], Template: r.tmpl, Choice: "accept"})
		}
	}
	for len(reports) > 0 {
		k := min(1000, len(reports))
		if _, err := r.ledger.Report(context.Background(), r.app, reports[:k]); err != nil {
			t.Fatal(err)
		}
		reports = reports[k:]
	}
	return out
}

func (r *rig) submit(o hongyan.OpenID) (hongyan.MessageID, error) {
	res, err := r.ledger.Submit(context.Background(), []hongyan.Submission{{App: r.app, To: hongyan.Recipient{OpenID: o}, Template: r.tmpl, Data: r.data}}, ledger.SubmitOptions{})
	if err != nil {
		return "", err
	}
	if res[0].Err != nil {
		return "", res[0].Err
	}
	return res[0].Message.ID, nil
}

func TestEverythingArrivesOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16)
	users := r.users(t, 100, 10)
	const submitters = 8
	var wg sync.WaitGroup
	ids := make([][]hongyan.MessageID, submitters)
	for w := range submitters {
		wg.Go(func() {
			for i := w; i < 1000; i += submitters {
				id, err := r.submit(users[i%100])
				if err != nil {
					t.Error(err)
					return
				}
				ids[w] = append(ids[w], id)
			}
		})
	}
	wg.Wait()
	deadline := time.Now().Add(60 * time.Second)
	for _, list := range ids {
		for _, id := range list {
			for {
				m, err := r.ledger.Message(context.Background(), id)
				if err != nil {
					t.Fatal(err)
				}
				if m.Status == hongyan.StateAccepted {
					break
				}
				if m.Status.Final() || m.Status == hongyan.StateUncertain || time.Now().After(deadline) {
					t.Fatalf("message is %s %s, want accepted: %+v", m.Status, m.Reason, m)
				}
				time.Sleep(2 * time.Millisecond)
			}
		}
	}
	st := r.sb.Stats()
	if st.Accepted != 1000 || st.ByErrcode[43108] != 0 {
		t.Errorf("the phones received %d cards, want 1000; 43108 answered %d times", st.Accepted, st.ByErrcode[43108])
	}
	if n := r.tokens.Stats().Fetches; n != 1 {
		t.Errorf("%d token fetches, want 1", n)
	}
	for _, o := range users[:5] {
		s, err := r.ledger.Subscription(context.Background(), r.app, o, r.tmpl)
		if err != nil || s.Spent != 10 || s.Available != 0 || s.Reserved != 0 {
			t.Errorf("grant %+v, %v: want 10 spent", s, err)
		}
	}
}

// BenchmarkDeliver is one durable message: submitted, sent to the sandbox, recorded.
func BenchmarkDeliver(b *testing.B) {
	r := newRig(b, 64)
	users := r.users(b, b.N, 1)
	b.ResetTimer()
	var wg sync.WaitGroup
	next := make(chan hongyan.OpenID)
	for range 64 {
		wg.Go(func() {
			for o := range next {
				if _, err := r.submit(o); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, o := range users {
		next <- o
	}
	close(next)
	wg.Wait()
	for r.sb.Stats().Accepted < b.N {
		time.Sleep(time.Millisecond)
	}
}
