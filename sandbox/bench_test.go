package sandbox

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// BenchmarkSend sends without a network, from as many goroutines as there are
// cores.
func BenchmarkSend(b *testing.B) {
	s := New(Config{})
	app := must(s.CreateApp(AppSpec{}))
	openIDs := must(s.AddUsers(UsersSpec{AppID: app.AppID, Count: 1000})).OpenIDs
	tmpl := must(s.AddTemplate(TemplateSpec{AppID: app.AppID}))
	w := s.world.Load()
	a := w.app(app.AppID)
	token := w.stableToken(a, s.Now(), false).value
	for _, id := range openIDs {
		a.users[id].subscription(a.templates[0]).available = b.N + 1
	}
	bodies := make([][]byte, len(openIDs))
	for i, id := range openIDs {
		bodies[i] = must(json.Marshal(map[string]any{"touser": id, "template_id": tmpl.TemplateID, "data": wireData(tmpl.Example)}))
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			body := bodies[int(next.Add(1))%len(bodies)]
			r, _ := http.NewRequest("POST", pathSend+"?access_token="+token, bytes.NewReader(body))
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, r)
			if rec.Body.Len() == 0 {
				b.Error("no answer")
			}
		}
	})
	b.StopTimer()
	if got := s.Stats().Accepted; got < b.N {
		b.Errorf("%d of %d accepted", got, b.N)
	}
}
