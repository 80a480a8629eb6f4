package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
	"github.com/hongyan-push/hongyan/internal/config"
)

// TestEveryCodeHasAnExit: a new code must be placed by somebody, not fall to 1 unseen.
func TestEveryCodeHasAnExit(t *testing.T) {
	t.Parallel()
	for _, c := range hongyan.Codes() {
		exit, ok := exitCodes[c.Code]
		if !ok {
			t.Errorf("%s has no exit code", c.Code)
		}
		if !slices.ContainsFunc(exitTexts, func(e struct {
			code int
			hongyan.Text
		}) bool {
			return e.code == exit
		}) {
			t.Errorf("exit code %d of %s is not explained", exit, c.Code)
		}
	}
	if len(exitCodes) != len(hongyan.Codes()) {
		t.Errorf("%d exit codes for %d codes", len(exitCodes), len(hongyan.Codes()))
	}
}

func TestFinish(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	noGrant := hongyan.Errorf(hongyan.CodeNoGrant, "None for it.")
	internal := &client.Problem{Err: hongyan.Errorf(hongyan.CodeInternal, "Oh."), RequestID: "req-1", Hint: "Look there."}
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	_, missing := os.Open("no such file")
	rows := []struct {
		name string
		ctx  context.Context
		err  error
		exit int
		says string
	}{
		{"nothing", t.Context(), nil, 0, ""},
		{"coded", t.Context(), fmt.Errorf("send: %w", noGrant), 5, "no_grant: None for it."},
		{"hint", t.Context(), noGrant, 5, "wx.requestSubscribeMessage"},
		{"problem", t.Context(), internal, 1, "request_id req-1"},
		{"server's hint", t.Context(), internal, 1, "Look there."},
		{"told", t.Context(), errReported(5), 5, ""},
		{"unreachable", t.Context(), fmt.Errorf("call: %w", dial), 6, "hongyan serve"},
		{"broken", t.Context(), fmt.Errorf("call: %w", &net.OpError{Op: "read", Err: errors.New("reset")}), 8, "look before you repeat"},
		{"cut off", t.Context(), fmt.Errorf("read: %w", io.ErrUnexpectedEOF), 8, "look before you repeat"},
		{"timed out", t.Context(), fmt.Errorf("call: %w", context.DeadlineExceeded), 8, "look before you repeat"},
		{"address taken", t.Context(), fmt.Errorf("listen: %w", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}), 1, "--listen"},
		{"interrupted", canceled, fmt.Errorf("call: %w", context.Canceled), 130, ""},
		{"canceled by itself", t.Context(), context.Canceled, 1, "context canceled"},
		{"file", t.Context(), missing, 1, "no such file"},
		{"other", t.Context(), errors.New("broken"), 1, "hongyan: broken"},
	}
	for _, r := range rows {
		var stderr bytes.Buffer
		p := &program{stderr: &stderr, lang: "en", source: config.NewSource(nil)}
		if got := p.finish(r.ctx, r.err); got != r.exit {
			t.Errorf("%s: exit code %d, want %d", r.name, got, r.exit)
		}
		if !strings.Contains(stderr.String(), r.says) || r.says == "" && stderr.Len() > 0 {
			t.Errorf("%s: said %q, want %q in it", r.name, stderr.String(), r.says)
		}
	}
}
