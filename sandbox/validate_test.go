package sandbox

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// The tables of wechat-api.md, section 5.4: accepted and refused values, and the
// borders of the derived checks.
func TestValidValue(t *testing.T) {
	t.Parallel()
	members := []string{"客厅", "餐厅"}
	for rule, values := range map[string]struct{ accepted, refused []string }{
		"thing": {
			[]string{"TIT会议室", strings.Repeat("一", 20), "a", "🎉 喜", strings.Repeat("😀", 10), " x "},
			[]string{strings.Repeat("一", 22), strings.Repeat("一", 21), "两\n行", "制\t表", "\u0085", strings.Repeat("😀", 10) + "x", "坏\uFFFD字"},
		},
		"number": {
			[]string{"339208499", "0", "-1", "3.14", strings.Repeat("9", 32)},
			[]string{"+10", "1,000", ".5", "5.", "一", "1e3", strings.Repeat("9", 33), "１２", " 1"},
		},
		"letter": {
			[]string{"A", "abcXYZ", strings.Repeat("z", 32)},
			[]string{"A1", "甲", "a b", strings.Repeat("z", 33), "é"},
		},
		"symbol": {
			[]string{"★", "++", "！？", "#$%&*"},
			[]string{"a", "1", "好", "######", "# #"},
		},
		"character_string": {
			[]string{"2026112200180451", "SF-10/A_#", strings.Repeat("x", 32), "a b"},
			[]string{"订单1", strings.Repeat("x", 33), "é", "ａ", "tab\t"},
		},
		"time": {
			[]string{"15:01", "9:05", "0:00", "23:59:59", "2019年10月1日 15:01", "2023-03-24 11:50:00", "2024-07-24 08:00~12:00",
				"2021年10月21日 12:00:00", "2026-11-22 08:00 ~ 2026-11-23 09:00", "2024/02/29 00:00", "2月29日 8:00", "11-22 08:00", "2019年10月 08:00"},
			[]string{"08~12", "08:00～12:00", "24:00", "25:61", "15:60", "15:01:60", "15", "1700000000", "Sun Nov 22 2026 12:00:00 GMT+0800",
				"2026-11-22T12:00:00Z", "2025年03月13日~2025年03月14日", "2026年56月1日 08:00", "2026-02-29 08:00", "2026-11-31 08:00", "2026-00-10 08:00",
				"2月30日 8:00", "2026-11-22 08:00~2026-13-01 09:00", "08:00~", "~08:00", "08:00~09:00~10:00", "下午3点"},
		},
		"date": {
			[]string{"2019-12-25 09:42", "2016年8月8日", "2019年10月1日 15:01", "2019年10月1日", "2018-01-01", "2018/01/01", "2018.01.01", "2018-01", "01-01",
				"2026年11月", "11月19日", "2026年11月22日~2026年11月23日", "2026-11-22 08:00~2026-11-23 09:00", "2024-02-29", "2000-02-29", "02-29", "2026年1月1日 0:00:00"},
			[]string{"1700000000", "1700000000000", "2026-11-22T12:00:00Z", "2026年56月1日", "2026-13-01", "2026-02-30", "2023-02-29", "1900-02-29", "2026-04-31",
				"2026-11-00", "2026-00-01", "00-10", "2026-11/22", "2026年11月22", "20261122", "2026-11-22 25:61", "2026-11-22 24:00", "15:01", "明天", "2026年11月22日～23日",
				"2026-11-22~2026-11-32", "2026"},
		},
		"amount": {
			[]string{"¥12.3元", "¥0.01", "0.02元", "6000.00", "0.05", "￥100", "$5", "€1234567890", "£0"},
			[]string{"12345678901", "1,000.00", "-5", "¥", "元", "十元", "¥ 5", "5 元", "RMB5", "¥1.", "¥¥5"},
		},
		"phone_number": {
			[]string{"+86-0766-66888866", "13800138000", "(010)66887788", "12345", "400 800 1234", "138****8000"},
			[]string{"15隐私保护7851", strings.Repeat("1", 18), "tel:1", "１３８"},
		},
		"car_number": {
			[]string{"粤A8Z888挂", "浙A12345", "浙A08888D", "ABC", "京AF0123", "粤A12345港"},
			[]string{"粤A8Z8888挂", "粤", "粤A", "粤A·123", "粤A港B123", "粤A 12345"},
		},
		"name": {
			[]string{"张三", strings.Repeat("李", 10), "Alice Zhang", strings.Repeat("a", 20), "阿卜杜拉·买买提", "J. R."},
			[]string{"用户410774", strings.Repeat("李", 11), strings.Repeat("a", 21), "李aaaaaaaaaa", "R2D2", "a\nb"},
		},
		"phrase": {
			[]string{"审核通过", "配送中", "五个汉字好", "中"},
			[]string{"OK", "通过1", "通过！", "六个汉字太长", "已 付"},
		},
		"enum": {
			[]string{"客厅", "餐厅"},
			[]string{"厨房", "客", "客厅 ", "1"},
		},
		"unheard_of": {[]string{"anything at all, of any length, as WeChat's list may be newer than ours"}, []string{"two\nlines"}},
	} {
		for _, v := range values.accepted {
			if !validValue(rule, v, members) {
				t.Errorf("%s: %q was refused", rule, v)
			}
		}
		for _, v := range values.refused {
			if validValue(rule, v, members) {
				t.Errorf("%s: %q was accepted", rule, v)
			}
		}
	}
}

func TestInCalendar(t *testing.T) {
	t.Parallel()
	for month, days := range []int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if got := daysIn(2024, month+1); got != days {
			t.Errorf("month %d of 2024 has %d days, want %d", month+1, got, days)
		}
	}
	if daysIn(2100, 2) != 28 || daysIn(2000, 2) != 29 || daysIn(2026, 2) != 28 {
		t.Error("leap years")
	}
}

// Whatever a send's body holds, it gets an answer and never a panic.
func FuzzSend(f *testing.F) {
	s := New(Config{})
	app := must(s.CreateApp(AppSpec{}))
	must(s.AddUsers(UsersSpec{AppID: app.AppID, OpenID: "oUser"}))
	var all []*template
	a := s.world.Load().app(app.AppID)
	for _, title := range theLibrary().Titles[:maxTemplates] {
		all = append(all, newTemplate(title, title.sampleKIDs()))
	}
	all[0].id = "tmpl"
	a.templates = all
	for _, seed := range []string{
		`{"touser":"oUser","template_id":"tmpl","data":{"thing2":{"value":"x"}}}`,
		`{"touser":"oUser","template_id":"tmpl","data":"{}"}`,
		`{"touser":null,"template_id":"tmpl","data":{"date4":{"value":"2026-11-22 ~"},"time5":5}}`,
		`[]`, `{`, "\xff", `{"data":{"character_string1":{"value":"\ud800"}}}`,
	} {
		f.Add([]byte(seed), "2026-11-22 08:00~09:00")
	}
	f.Fuzz(func(t *testing.T, body []byte, value string) {
		c := &call{s: s, w: s.world.Load(), app: a, body: body, at: start, route: s.routes[pathSend], r: httptest.NewRequest("POST", pathSend, nil)}
		if got := c.send(); got.status != 200 || len(got.body) == 0 {
			t.Fatalf("%q: %+v", body, got)
		}
		c.release()
		for rule := range patterns {
			validValue(rule, value, nil)
		}
		validName(value)
	})
}
