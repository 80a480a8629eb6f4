package cli

import (
	"bytes"
	"testing"
	"time"
)

func TestTableAlignsChinese(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := writeTable(&b, [][]string{{"ID", "标题", "N"}, {"1", "订单支付", "2"}, {"22", "a", ""}, {"3", "e\u0301👨‍👩‍👧", "4"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "" +
		"ID  标题      N\n" +
		"1   订单支付  2\n" +
		"22  a\n" +
		"3   e\u0301👨‍👩‍👧       4\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestTableIsInert: what others wrote must not move the cursor or hide what stands beside it.
func TestTableIsInert(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeTable(&b, [][]string{{"a\x1b[31mb", "c\r\nd", "\u202eevil", "\x00"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "a�[31mb  c� ⏎ d  �evil  �\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	p := &program{now: func() time.Time { return now }}
	rows := []struct {
		t    time.Time
		want string
	}{
		{time.Time{}, ""},
		{now.Add(-time.Minute).UTC(), "11-22 11:59:00"},
		{now.AddDate(-1, 0, 0), "2025-11-22 12:00"},
	}
	for _, r := range rows {
		if got := p.when(r.t); got != r.want {
			t.Errorf("when(%v) = %q, want %q", r.t, got, r.want)
		}
	}
}

func TestClipped(t *testing.T) {
	t.Parallel()
	if got := clipped("订单支付成功", 4); got != "订单支…" {
		t.Errorf("got %q", got)
	}
	if got := clipped("订单", 4); got != "订单" {
		t.Errorf("got %q", got)
	}
}
