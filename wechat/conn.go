package wechat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"
)

// headerBuffer must hold all header lines of an answer.
const headerBuffer = 8 << 10

// countedConn counts the bytes handed to the kernel. It sits below TLS, so that
// even a cut TLS record counts; whoever reads the counter takes it after the
// handshake. Only the owner of the connection writes.
type countedConn struct {
	net.Conn
	written int64
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written += int64(n)
	return n, err
}

// conn is one connection ready for requests. It belongs either to the pool or to
// one call.
type conn struct {
	raw       *countedConn
	stream    net.Conn // raw, or TLS above it
	in        readNoter
	r         *bufio.Reader // reads in
	idleSince time.Time
}

// readNoter remembers why reading ended. The HTTP parser hides it, or wraps it
// in a quotation of what the peer sent, which may echo a token.
type readNoter struct {
	from io.Reader
	err  error
}

func (r *readNoter) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	if err != nil {
		r.err = err
	}
	return n, err
}

func newConn(raw *countedConn, stream net.Conn) *conn {
	cn := &conn{raw: raw, stream: stream}
	cn.in.from = stream
	cn.r = bufio.NewReaderSize(&cn.in, headerBuffer)
	return cn
}

// close drops the connection at once. TLS would first try to say goodbye, for up
// to 5 s if the peer does not read.
func (cn *conn) close() { cn.raw.Close() }

// quiet reports whether nothing waits to be read, which on an idle connection
// could only be its end or an answer to nobody; the next call must not take that
// for its own.
func (cn *conn) quiet(deadline time.Time) bool {
	if cn.stream != net.Conn(cn.raw) {
		// TLS may hold bytes that it took from the kernel with the last answer.
		// With the deadline in the past a read gives those and waits for no more.
		cn.raw.SetReadDeadline(past)
		if _, err := cn.stream.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	// The old deadline may have passed and would make the check fail.
	return cn.raw.SetDeadline(deadline) == nil && alive(cn.raw.Conn)
}

// past is a deadline that makes reads and writes fail at once.
var past = time.Unix(1, 0)

// exchange writes one request and reads one answer, within the connection's deadline. keep
// says that it is fit for another.
func (cn *conn) exchange(ctx context.Context, req []byte, resp *fasthttp.Response) (keep bool, err error) {
	stop := cn.failOnDone(ctx)
	defer func() {
		// The interruption may be running still and spoil the next call's deadline.
		if !stop() {
			keep = false
		}
	}()
	// From here a cancelled context can race with the write; before, it must not.
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if _, err := cn.stream.Write(req); err != nil {
		return false, pickError(ctx, fmt.Errorf("write: %w", err))
	}
	if err := cn.read(resp); err != nil {
		return false, pickError(ctx, err)
	}
	// Bytes after the answer mean that the peer and we disagree about its end.
	return cn.in.err == nil && cn.r.Buffered() == 0 && !resp.ConnectionClose(), nil
}

// read reads one answer of status 200; any other status is an error. The status
// is looked at here because fasthttp skips 1xx answers, which nobody should send
// us, and reports status 000 as 200.
func (cn *conn) read(resp *fasthttp.Response) error {
	const start = "HTTP/1.x 200"
	line, err := cn.r.Peek(len(start))
	switch {
	case err != nil:
		return cn.readError(err)
	case !isStatusLine(line):
		return errNotHTTP
	case string(line[9:]) != "200":
		return fmt.Errorf("HTTP status %s", line[9:])
	}
	if err := resp.ReadLimitBody(cn.r, maxBody); err != nil {
		return cn.readError(err)
	}
	return nil
}

var errNotHTTP = errors.New("answer is not HTTP")

func isStatusLine(b []byte) bool {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	return string(b[:7]) == "HTTP/1." && digit(b[7]) && b[8] == ' ' &&
		digit(b[9]) && digit(b[10]) && digit(b[11])
}

// failOnDone makes reads and writes fail once ctx is done. stop ends that; it
// is false when it came too late.
func (cn *conn) failOnDone(ctx context.Context) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { cn.raw.SetDeadline(past) })
}

// readError says why there is no answer, without quoting the peer.
func (cn *conn) readError(parse error) error {
	switch {
	case errors.Is(cn.in.err, io.EOF):
		return fmt.Errorf("connection closed before the answer was complete: %w", io.ErrUnexpectedEOF)
	case cn.in.err != nil:
		return fmt.Errorf("read: %w", cn.in.err)
	case errors.Is(parse, fasthttp.ErrBodyTooLarge):
		return fmt.Errorf("answer larger than %d bytes", maxBody)
	default:
		return errNotHTTP
	}
}

// pickError prefers the caller's own reason to the I/O error that it caused.
func pickError(ctx context.Context, err error) error {
	if cause := contextError(ctx); cause != nil {
		return cause
	}
	return err
}

// contextError is ctx.Err, but already tells of a deadline that has passed when
// ctx's own timer is a moment late: connections have the same deadline.
func contextError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}
