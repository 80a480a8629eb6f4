package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/hongyan-push/hongyan"
)

// The largest bodies.
const (
	maxBody      = 1 << 20
	maxPhoneBody = 64 << 10 // of what anybody may send
	maxBatchBody = 16 << 20
)

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// body reads the request's body, at most limit bytes of it, as text.
func (x *exchange) body(limit int64) (string, error) {
	if err := checkMediaType(x.r.Header.Get("Content-Type")); err != nil {
		return "", err
	}
	if x.r.ContentLength > limit {
		return "", tooLarge(limit)
	}
	buf := bodies.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= 64<<10 {
			bodies.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(http.MaxBytesReader(x.ResponseWriter, x.r.Body, limit)); err != nil {
		var most *http.MaxBytesError
		switch {
		case errors.As(err, &most):
			return "", tooLarge(limit)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return "", hongyan.Invalid("", "syntax", "The body is shorter than Content-Length says.")
		}
		return "", hongyan.Invalid("", "syntax", "The body could not be read to its end.")
	}
	return buf.String(), nil
}

func tooLarge(limit int64) error {
	return &hongyan.Error{Code: hongyan.CodeBodyTooLarge, Message: fmt.Sprintf("The body is larger than %d KiB.", limit>>10),
		Fields: []hongyan.FieldError{{Code: "too_large", Detail: fmt.Sprintf("Send at most %d bytes at once.", limit)}}}
}

// checkMediaType takes JSON in UTF-8. A missing header is taken for that: many hand-written callers send none.
func checkMediaType(header string) error {
	if header == "" || header == "application/json" {
		return nil
	}
	media, params, err := mime.ParseMediaType(header)
	charset := params["charset"]
	if err == nil && (media == "application/json" || strings.HasSuffix(media, "+json")) && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		return nil
	}
	return &hongyan.Error{Code: hongyan.CodeUnsupportedMedia, Message: fmt.Sprintf("Content-Type %q is not JSON in UTF-8.", clip(header)),
		Fields: []hongyan.FieldError{{Code: "media_type", Detail: "Send Content-Type: application/json."}}}
}
