package api

import (
	"net/http"

	"github.com/hongyan-push/hongyan"
)

type health struct {
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
}

// healthz says that the process answers.
func (s *server) healthz(x *exchange, _ *http.Request) {
	x.json(http.StatusOK, "application/json", health{"ok", s.Version})
}

// readyz says whether work should be sent here: the database answers, and so does what the
// server adds.
func (s *server) readyz(x *exchange, r *http.Request) {
	err := s.l.Ping(r.Context())
	if err == nil && s.Ready != nil {
		err = s.Ready(r.Context())
	}
	if err != nil {
		s.log.WarnContext(r.Context(), "not ready", "request_id", x.id, "err", err)
		code := hongyan.CodeOf(err)
		if hongyan.LookupCode(code).Status != http.StatusServiceUnavailable {
			code = hongyan.CodeStorageUnavailable
		}
		x.fail(hongyan.Errorf(code, "Not ready: %s", reason(err)))
		return
	}
	x.json(http.StatusOK, "application/json", health{"ready", s.Version})
}

// reason is what may be told of an error: our own words, else none of them.
func reason(err error) string {
	if e, ok := err.(*hongyan.Error); ok {
		return e.Message
	}
	return "the log has the reason."
}
