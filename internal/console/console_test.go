package console

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testSite(t *testing.T) *site {
	t.Helper()
	s, err := newSite(fstest.MapFS{
		"index.html":                 {Data: []byte("<!doctype html><p>index")},
		"favicon.svg":                {Data: []byte("<svg/>")},
		"assets/main-0a1b2c3d.js":    {Data: []byte(strings.Repeat("export const a = 1;\n", 500))},
		"assets/main-0a1b2c3d.css":   {Data: []byte("p{}")},
		"assets/font-0a1b2c3d.woff2": {Data: []byte(strings.Repeat("\x00", 4096))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(s http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestFiles(t *testing.T) {
	t.Parallel()
	s := testSite(t)
	const forEver, each = "public, max-age=31536000, immutable", "no-cache"
	for _, c := range []struct {
		path   string
		status int
		kind   string
		cache  string
		gzip   bool
	}{
		{"/console/", 200, "text/html; charset=utf-8", each, false},
		{"/console/messages/msg_1", 200, "text/html; charset=utf-8", each, false},
		{"/console/../../etc/passwd", 200, "text/html; charset=utf-8", each, false},
		{"/console/favicon.svg", 200, "image/svg+xml", each, false},
		{"/console/assets/main-0a1b2c3d.js", 200, "text/javascript; charset=utf-8", forEver, true},
		{"/console/assets/main-0a1b2c3d.css", 200, "text/css; charset=utf-8", forEver, false}, // too small to gain
		{"/console/assets/font-0a1b2c3d.woff2", 200, "font/woff2", forEver, false},
		{"/console/assets/main-ffffffff.js", 404, "text/plain; charset=utf-8", "no-store", false},
		{"/console/assets/", 404, "text/plain; charset=utf-8", "no-store", false},
	} {
		w := ask(s, "GET", c.path, "Accept-Encoding: br, gzip")
		h := w.Header()
		if w.Code != c.status || h.Get("Content-Type") != c.kind || h.Get("Cache-Control") != c.cache || (h.Get("Content-Encoding") == "gzip") != c.gzip {
			t.Errorf("%s: %d %v", c.path, w.Code, h)
		}
	}
}

func TestCompressed(t *testing.T) {
	t.Parallel()
	s := testSite(t)
	const path = "/console/assets/main-0a1b2c3d.js"
	plain, packed := ask(s, "GET", path), ask(s, "GET", path, "Accept-Encoding: gzip")
	r, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	size := packed.Header().Get("Content-Length")
	got, err := io.ReadAll(r)
	if err != nil || string(got) != plain.Body.String() {
		t.Errorf("compressed it is %d bytes of something else (%v)", len(got), err)
	}
	if plain.Header().Get("Vary") != "Accept-Encoding" || plain.Header().Get("ETag") == packed.Header().Get("ETag") || size == plain.Header().Get("Content-Length") {
		t.Errorf("a cache cannot tell them apart: %v, %v", plain.Header(), packed.Header())
	}
	for accept, want := range map[string]bool{"gzip": true, "br;q=1, GZIP ;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "": false, "br": false, "xgzip": false} {
		if takesGzip(accept) != want {
			t.Errorf("Accept-Encoding %q: %v", accept, !want)
		}
	}
	again := ask(s, "GET", path, "If-None-Match: "+plain.Header().Get("ETag"))
	if again.Code != 304 || again.Body.Len() > 0 || again.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("again: %d %v", again.Code, again.Header())
	}
	if w := ask(s, "HEAD", path); w.Body.Len() > 0 || w.Header().Get("Content-Length") != plain.Header().Get("Content-Length") {
		t.Errorf("HEAD: %v", w.Header())
	}
}

// TestBuild: what is embedded is a console, and its page runs no script of its own.
func TestBuild(t *testing.T) {
	t.Parallel()
	h, err := Handler()
	if err != nil {
		t.Fatal(err)
	}
	w := ask(h, "GET", Path)
	if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "<!doctype html>") && !strings.Contains(body, "<!DOCTYPE html>") {
		t.Errorf("index: %d %s", w.Code, body)
	}
	for _, part := range strings.Split(w.Body.String(), "<script")[1:] {
		if tag, _, _ := strings.Cut(part, ">"); !strings.Contains(tag, "src=") {
			t.Errorf("the policy refuses the script in the page: <script%s>", tag)
		}
	}
	if strings.Contains(w.Body.String(), "<style") {
		t.Error("the policy refuses the style element in the page")
	}
}
