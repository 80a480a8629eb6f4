package wechat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRidTime(t *testing.T) {
	t.Parallel()
	for rid, want := range map[string]int64{
		"617682e0-09059ac5-34a8e2ea": 1635156704, // the official example's invoke_time
		"617682e0":                   1635156704,
		"6aac0063-7ed08fb9-1250f724": time.Date(2026, 9, 17, 14, 59, 47, 0, time.UTC).Unix(),
	} {
		if got, ok := RidTime(rid); !ok || got.Unix() != want || got.Location() != time.UTC {
			t.Errorf("%s: got %v, %v, want %v", rid, got, ok, want)
		}
	}
	for _, rid := range []string{"", "-", "617682e", "617682e0a", "617682g0-09059ac5-34a8e2ea", "+17682e0", "hint: [x]"} {
		if got, ok := RidTime(rid); ok {
			t.Errorf("%q: got %v", rid, got)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"/p: errcode 1":            &Error{Errcode: 1, Path: "/p"},
		"/p: errcode -1: busy":     &Error{Errcode: -1, Errmsg: "busy", Path: "/p"},
		"/p: unsent: EOF":          &TransportError{Unsent, "/p", errors.New("EOF")},
		"/p: unclear: time-out":    &TransportError{Unclear, "/p", errors.New("time-out")},
		"/p: Kind(0): nobody says": &TransportError{0, "/p", errors.New("nobody says")},
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	wrapped := fmt.Errorf("send: %w", &TransportError{Unclear, "/p", fmt.Errorf("read: %w", context.Canceled)})
	var te *TransportError
	if !errors.As(wrapped, &te) || !errors.Is(wrapped, context.Canceled) {
		t.Error("a TransportError does not unwrap")
	}
}

var (
	sentences = map[string]*regexp.Regexp{
		"ZH": regexp.MustCompile(`^[^。]+。[^。]+。$`),
		"EN": regexp.MustCompile(`^[A-Za-z][^\x{3000}-\x{ffff}]+\. [A-Z][^\x{3000}-\x{ffff}]+\.$`),
	}
	classes = []string{ClassBug, ClassUser, ClassTemplate, ClassCredential, ClassQuota, ClassTemporary}
)

func TestErrcodeTable(t *testing.T) {
	t.Parallel()
	list := Errcodes()
	if !slices.IsSortedFunc(list, func(a, b ErrcodeInfo) int { return a.Errcode - b.Errcode }) {
		t.Error("not sorted")
	}
	for i, info := range list {
		if i > 0 && list[i-1].Errcode == info.Errcode {
			t.Errorf("%d is there twice", info.Errcode)
		}
		if got, ok := LookupErrcode(info.Errcode); !ok || got != info {
			t.Errorf("%d is not found", info.Errcode)
		}
		if !slices.Contains(classes, info.Class) {
			t.Errorf("%d has class %q", info.Errcode, info.Class)
		}
		if !sentences["ZH"].MatchString(info.ZH) || !sentences["EN"].MatchString(info.EN) {
			t.Errorf("%d: want two sentences: %s %s", info.Errcode, info.ZH, info.EN)
		}
		if info.Credential != (info.Class == ClassCredential || info.Errcode == 41001) {
			t.Errorf("%d: credential is %v", info.Errcode, info.Credential)
		}
		if IsTokenRefused(info.Errcode) && !(info.Credential && info.MayPass) {
			t.Errorf("%d: a refused token is a credential problem that passes", info.Errcode)
		}
		if !strings.HasPrefix(info.URL, "https://developers.weixin.qq.com/") || !strings.HasSuffix(info.URL, ".html") {
			t.Errorf("%d: URL %s", info.Errcode, info.URL)
		}
	}
	list[0].ZH = "" // the slice is the caller's
	if Errcodes()[0].ZH == "" {
		t.Error("callers share the list")
	}
	for _, code := range []int{0, 1, -2, 40000, 99999999} {
		if _, ok := LookupErrcode(code); ok {
			t.Errorf("%d is known", code)
		}
	}
}

// Every code that the official tables of our calls and their neighbours name.
func TestErrcodesAreComplete(t *testing.T) {
	t.Parallel()
	var want []int
	span := func(from, to int) {
		for c := from; c <= to; c++ {
			want = append(want, c)
		}
	}
	want = append(want, -1, 404, 20001, 20002, 40001, 40002, 40003, 40013, 40014, 40029, 40033, 40036, 40037, 40097,
		40125, 40163, 40164, 40226, 40243, 40400, 41001, 41002, 41004, 41008, 41009, 41028, 41029, 41030, 42001, 44002,
		45002, 45009, 45011, 45015, 45026, 45035, 45047, 45103, 45168, 48001, 48004, 48006, 50001, 50002, 50004, 50005,
		50007, 61003, 61004, 61007, 61023, 61024, 70000, 76021, 76022, 85431, 85461, 85462, 85470, 85471, 89002,
		200001, 200002, 200100, 9001001)
	span(40201, 40203)
	span(40230, 40240)
	span(43001, 43004)
	span(43100, 43108)
	span(47001, 47003)
	span(76001, 76004)
	span(85433, 85449)
	span(87007, 87009)
	span(89501, 89507)
	span(200011, 200014)
	span(200016, 200022)
	for _, code := range want {
		if _, ok := LookupErrcode(code); !ok {
			t.Errorf("%d is missing", code)
		}
	}
	if len(want) != len(Errcodes()) {
		t.Errorf("the table has %d codes, want %d", len(Errcodes()), len(want))
	}
}

func FuzzError(f *testing.F) {
	f.Add(47003, "argument invalid! data.character_string13.value  rid: 63b13eeb-65c02d34-0fd76547", testToken)
	f.Add(40164, "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: 6aac0063-7ed08fb9-1250f724", "1.2.3.4")
	f.Add(40164, "invalid ip :::::::, ipv6 1.2.3.4.", "")
	f.Add(40029, "invalid code, rid: 6aac007a-6c02c771-26bf69c4", "invalid code")
	f.Add(-1, "\xff", "\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, errcode int, errmsg, secret string) {
		body := fmt.Appendf(nil, `{"errcode":%d,"errmsg":%s,"rid":%s}`, errcode, appendString(nil, errmsg), appendString(nil, secret))
		a, err := parseAnswer(body)
		if err != nil {
			t.Fatal(err)
		}
		e := a.refusal(&call{path: "/p", secrets: []string{secret}})
		if e.Errcode != errcode || !strings.HasPrefix(e.Error(), "/p: errcode ") {
			t.Errorf("got %v", e)
		}
		// A secret of the letters of "redacted" may arise where it was cut.
		if len(secret) >= minSecret && !strings.ContainsAny(secret, redacted) && strings.Contains(e.Errmsg, secret) {
			t.Errorf("%q shows %q", e.Errmsg, secret)
		}
		if field := e.Field(); field != "" && (errcode != ErrcodeArgumentInvalid || !strings.Contains(e.Errmsg, "data."+field)) {
			t.Errorf("field %q of %q", field, e.Errmsg)
		}
		if ip := e.ClientIP(); ip != "" {
			if _, err := netip.ParseAddr(ip); err != nil {
				t.Error(err)
			}
		}
		if at, ok := RidTime(e.Rid); ok != (e.Rid != "") || ok && at.Unix() < 0 {
			t.Errorf("rid %q has time %v", e.Rid, at)
		}
	})
}
