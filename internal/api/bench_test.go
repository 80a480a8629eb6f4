package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// BenchmarkSubmit is the handler without a network: what the API adds to the ledger's own work.
func BenchmarkSubmit(b *testing.B) {
	l := openLedger(b)
	if _, err := l.CreateApp(b.Context(), hongyan.App{AppID: "wx1"}, hongyan.AppSecret{}, nil); err != nil {
		b.Fatal(err)
	}
	if err := l.SaveTemplates(b.Context(), "wx1", []ledger.SyncedTemplate{{TemplateID: "t1", Content: "商品:{{thing1.DATA}}\n金额:{{amount2.DATA}}"}}); err != nil {
		b.Fatal(err)
	}
	h, err := New(Config{Ledger: l, AdminKey: adminKey})
	if err != nil {
		b.Fatal(err)
	}
	const body = `{"app":"wx1","to":"oMgHVjngRipVsoxg6TuX3vz6glDg","template":"t1","data":{"thing1":"羊毛混纺大衣","amount2":"¥399.00"}}`
	b.Run("API", func(b *testing.B) {
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+adminKey)
				rec := httptest.NewRecorder()
				rec.Body = nil
				if h.ServeHTTP(rec, r); rec.Code != 202 {
					b.Error(rec.Code)
				}
			}
		})
	})
	b.Run("ledger", func(b *testing.B) {
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				var sub hongyan.Submission
				if err := decode(body, &sub); err != nil {
					b.Error(err)
				}
				if _, err := l.Submit(b.Context(), []hongyan.Submission{sub}, ledger.SubmitOptions{}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
