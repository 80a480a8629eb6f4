package api

import (
	"embed"
	"mime"
	"net/http"
	"path"

	"github.com/hongyan-push/hongyan"
)

// docsFiles is the reference page: plain files of our own that render /openapi.json, so that
// the page works without the internet.
//
//go:embed docs
var docsFiles embed.FS

const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (s *server) serveDocs(x *exchange, r *http.Request) {
	name := r.PathValue("file")
	if name == "" {
		name = "index.html"
	}
	b, err := docsFiles.ReadFile(path.Join("docs", name))
	if err != nil {
		x.fail(hongyan.Errorf(hongyan.CodeNotFound, "The reference has no such page."))
		return
	}
	x.Header().Set("Content-Security-Policy", docsPolicy)
	x.serve(mime.TypeByExtension(path.Ext(name)), b)
}

func (s *server) serveJSON(x *exchange, _ *http.Request) {
	x.serve("application/openapi+json", s.spec.json)
}

func (s *server) serveYAML(x *exchange, _ *http.Request) {
	x.serve("application/openapi+yaml", s.spec.yaml)
}

func (x *exchange) serve(contentType string, b []byte) {
	x.Header().Set("Content-Type", contentType)
	_, _ = x.Write(b)
}
