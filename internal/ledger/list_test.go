package ledger

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
)

// FuzzCursor feeds what strangers send as a cursor: it is refused as such, or stands for
// exactly one place and comes back as it was.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "x", "bQ", encodeCursor(7), encodeCursor(-1, 1<<62), encodeIDCursor(hongyan.NewMessageID(time.Unix(1, 0))),
		base64.RawURLEncoding.EncodeToString([]byte("n1.2.3")), base64.RawURLEncoding.EncodeToString([]byte("mmsg_8ZZZZZZZZZZZZZZZZZZZZZZZZZ"))} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, c string) {
		refused := func(err error) bool {
			if err == nil {
				return false
			}
			if hongyan.CodeOf(err) != hongyan.CodeInvalid || len(err.Error()) > 1000 {
				t.Errorf("refused with %v", err)
			}
			return true
		}
		if u, err := decodeIDCursor(c); !refused(err) {
			if again, err := decodeIDCursor(encodeIDCursor(hongyan.MessageIDOf(u))); err != nil || again != u {
				t.Errorf("%q means %s, which comes back as %s: %v", c, u, again, err)
			}
		}
		var a, b int64
		if err := decodeCursor(c, &a, &b); !refused(err) {
			var x, y int64
			if err := decodeCursor(encodeCursor(a, b), &x, &y); err != nil || x != a || y != b {
				t.Errorf("%q means %d, %d, which comes back as %d, %d: %v", c, a, b, x, y, err)
			}
		}
		if err := decodeCursor(c, &a); !refused(err) {
			var x int64
			if err := decodeCursor(encodeCursor(a), &x); err != nil || x != a {
				t.Errorf("%q means %d, which comes back as %d: %v", c, a, x, err)
			}
		}
	})
}
