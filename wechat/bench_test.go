package wechat

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
)

// trivialServer reads requests as cheaply as it can and always accepts.
func trivialServer(b *testing.B) *peer {
	answer := []byte(ok(`{"errcode":0,"errmsg":"ok","msgid":1988810812324364291}`))
	return newPeer(b, func(c *net.TCPConn) {
		r := bufio.NewReaderSize(c, 8<<10)
		for {
			length := 0
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if n, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
					for _, d := range bytes.TrimSpace(n) {
						length = 10*length + int(d-'0')
					}
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

func BenchmarkSendSubscribeMessage(b *testing.B) {
	c := newClient(b, Config{BaseURL: trivialServer(b).url()})
	m := testMessage()
	run := func(b *testing.B, next func() bool) {
		ctx := b.Context()
		for next() {
			if _, err := c.SendSubscribeMessage(ctx, testToken, m); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		run(b, b.Loop)
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) { run(b, pb.Next) })
	})
}
