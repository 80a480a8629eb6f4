// Package console is the web console's side of the server: it serves the built pages and
// knows who is signed in to them.
//
// [Handler] hides the embedded build: which files may be kept for ever, which are compressed,
// and the headers without which a page of ours must not be shown. [Sessions] hides passwords
// and session tokens: nothing of either leaves it in the clear, but for the cookie. It leaves
// to api what a member may do, from where requests may come and how many; and to the ledger
// who is a member, and every rule about guessing.
//
// Start: [Handler] under /console/, and [NewSessions] for api.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// The build of web/console.
//
//go:embed all:dist
var dist embed.FS

// Path is where the console lives.
const Path = "/console/"

// assets are the files whose names change with their content.
const assets = Path + "assets/"

// policy lets the console load from its own server and nothing else. Style attributes are
// what the components position themselves by; style elements and scripts in a page are refused.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// file is one file of the build.
type file struct {
	body []byte
	kind string // its media type
	etag string
	gzip func() []byte // nil: not worth it
}

type site struct {
	files map[string]*file // by path below Path
	index *file
}

// Handler serves the console under [Path]. Paths that no file has are pages of the
// program in index.html, which finds them by itself.
func Handler() (http.Handler, error) {
	build, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, err
	}
	return newSite(build)
}

func newSite(build fs.FS) (*site, error) {
	s := &site{files: make(map[string]*file)}
	err := fs.WalkDir(build, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(build, name)
		s.files[name] = newFile(name, body)
		return err
	})
	if err != nil {
		return nil, err
	}
	if s.index = s.files["index.html"]; s.index == nil {
		return nil, errors.New("console: the build has no index.html")
	}
	return s, nil
}

// smallest is the size from which compressing pays.
const smallest = 1 << 10

func newFile(name string, body []byte) *file {
	sum := sha256.Sum256(body)
	f := &file{body: body, kind: mediaType(name), etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12])}
	if len(body) >= smallest && compressible(f.kind) {
		// At the first request and not at the start, which nobody's browser may follow.
		f.gzip = sync.OnceValue(func() []byte {
			var b bytes.Buffer
			w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
			_, _ = w.Write(body)
			_ = w.Close() // into memory: neither fails
			return b.Bytes()
		})
	}
	return f
}

// mediaType does not ask the machine for what its own table may say otherwise.
func mediaType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".woff2":
		return "font/woff2"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		if kind := mime.TypeByExtension(ext); kind != "" {
			return kind
		}
		return "application/octet-stream"
	}
}

func compressible(kind string) bool {
	return strings.HasPrefix(kind, "text/") || kind == "image/svg+xml" || kind == "application/json"
}

// ServeHTTP answers / and everything under [Path].
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	protect(h)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "The console is read by GET; its data is under /v1.", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/" || r.URL.Path == strings.TrimSuffix(Path, "/") {
		h.Set("Cache-Control", "no-cache")
		http.Redirect(w, r, Path, http.StatusFound)
		return
	}
	f := s.files[strings.TrimPrefix(r.URL.Path, Path)]
	switch {
	case strings.HasPrefix(r.URL.Path, assets):
		if f == nil { // of another version: a page in its place would be taken for a script
			h.Set("Cache-Control", "no-store")
			http.Error(w, "There is no such file in this version of the console.", http.StatusNotFound)
			return
		}
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	case f == nil:
		f = s.index
		fallthrough
	default:
		h.Set("Cache-Control", "no-cache")
	}
	f.serve(w, r)
}

// protect sets what every answer of the console has.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	body, etag := f.body, f.etag+`"`
	if f.gzip != nil {
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			body, etag = f.gzip(), f.etag+`-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", etag)
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // a reader that has gone is no failure of ours
	}
}

// takesGzip reports whether a header Accept-Encoding has gzip, and not with q=0.
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, isQ := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			v, err := strconv.ParseFloat(q, 64)
			return !isQ || err == nil && v > 0
		}
	}
	return false
}
