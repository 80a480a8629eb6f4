package typed

import (
	"errors"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hongyan-push/hongyan"
)

var update = flag.Bool("update", false, "rewrite golden files")

// everyType is an app's templates with every type of field that WeChat's table has, and what
// is hard to name.
func everyType() []hongyan.Template {
	made := func(id, alias, title, content, example string, enums map[string][]string) hongyan.Template {
		return hongyan.Template{App: "wx0123456789abcdef", TemplateID: id, Alias: alias, Title: title, Kind: hongyan.KindOneTime,
			Content: content, Example: example, Keywords: hongyan.ParseKeywords(content, example, enums)}
	}
	return []hongyan.Template{
		made("tFirst", "order_paid", "订单支付成功通知",
			"订单编号:{{character_string1.DATA}}\n商品名称:{{thing2.DATA}}\n支付金额:{{amount3.DATA}}\n支付时间:{{date4.DATA}}\n订单状态:{{enum_string5.DATA}}\n",
			"订单编号:2026112200180451\n商品名称:羊毛混纺大衣\n支付金额:¥399.00\n支付时间:2026年11月22日 10:30\n订单状态:已支付\n",
			map[string][]string{"enum_string5.DATA": {"已支付", "待 发货", "A/B", "已支付"}}),
		made("tSecond", "", "预约提醒",
			"预约时间:{{time1.DATA}}\n开始时间:{{time2.DATA}}\n更新日期:{{date3.DATA}}\n排队人数:{{number4.DATA}}\n联系电话:{{phone_number5.DATA}}\n",
			"预约时间:2026-11-22 08:00~12:00\n开始时间:15:01\n更新日期:2026-11-24\n排队人数:12\n联系电话:0571-88886666\n", nil),
		made("tThird", "", "鸿雁专属播报",
			"车牌号:{{car_number1.DATA}}\n姓名:{{name2.DATA}}\n配送状态:{{phrase3.DATA}}\n等级:{{letter4.DATA}}\n评价符号:{{symbol5.DATA}}\n",
			"车牌号:粤A8Z888挂\n姓名:林晓雨\n配送状态:配送中\n等级:A\n评价符号:★★★\n", nil),
		made("tFourth", "tricky*/", "通知",
			"备注:{{thing1.DATA}}\n备注:{{thing7.DATA}}\nData:{{thing8.DATA}}\n神秘:{{riddle9.DATA}}\n状态:{{enum_string10.DATA}}\n",
			"备注:一*/二\n备注:三\n", nil),
		{TemplateID: "tGone", Title: "没了", Keywords: []hongyan.Keyword{{Key: "thing1", Type: "thing"}}, GoneAt: time.Unix(1, 0)},
		{TemplateID: "tUnknown", Title: "未同步"},
	}
}

func newSet(t *testing.T, templates []hongyan.Template) *Set {
	t.Helper()
	s, err := New("wx0123456789abcdef", templates)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s, rewritten by -update (-want +got)\n%s", path, diff)
	}
}

func writeGo(t *testing.T, s *Set) []byte {
	t.Helper()
	b, err := s.Go("templates")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	t.Parallel()
	s := newSet(t, everyType())
	golden(t, "testdata/templates.go.golden", writeGo(t, s))
	golden(t, "testdata/templates.ts", s.TypeScript())
	if len(s.LeftOut) != 2 || s.LeftOut[0].TemplateID != "tGone" {
		t.Errorf("left out %+v", s.LeftOut)
	}
	for range 5 { // the order in which a server lists them does not matter
		all := everyType()
		slices.Reverse(all)
		again := newSet(t, all)
		if string(writeGo(t, again)) != string(writeGo(t, s)) || string(again.TypeScript()) != string(s.TypeScript()) {
			t.Fatal("the same templates gave another file")
		}
	}
}

// What is there keeps its name when a template or a field is added.
func TestStable(t *testing.T) {
	t.Parallel()
	all := everyType()
	s := newSet(t, all)
	was := writeGo(t, s)
	more := append(everyType(), hongyan.Template{TemplateID: "aNew", Title: "退款成功通知", Keywords: []hongyan.Keyword{{Key: "thing1", Type: "thing", Label: "退款原因"}}})
	more[0].Keywords = append(more[0].Keywords, hongyan.Keyword{Key: "thing9", Type: "thing", Label: "商品名称"}, hongyan.Keyword{Key: "name9", Type: "name", Label: "商品名称"})
	more[0].Keywords[4].Enum = append(more[0].Keywords[4].Enum, "已退款")
	now := writeGo(t, newSet(t, more))
	want := []Change{
		{What: Added, Template: "OrderPaid", Field: "OrderStatus 已退款"},
		{What: Added, Template: "OrderPaid", Field: "ProductName9"},
		{What: Added, Template: "OrderPaid", Field: "Name9"},
		{What: Added, Template: "RefundSuccessNotice"},
	}
	if diff := cmp.Diff(want, Changes(was, now)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for i := range want {
		want[i].What = Gone
	}
	if diff := cmp.Diff(want, Changes(now, was)); diff != "" {
		t.Errorf("back: (-want +got)\n%s", diff)
	}
	all[0].Alias, all[1].Keywords[1].Example = "paid", "2026-11-22 15:01"
	want = []Change{
		{What: Changed, Template: "BookingReminder", Field: "StartTime", Detail: "time 15:04 开始时间 → time 2006年1月2日 15:04 开始时间"},
		{What: Renamed, Template: "Paid", Detail: "OrderPaid → Paid"},
	}
	if diff := cmp.Diff(want, Changes(was, writeGo(t, newSet(t, all)))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c := Changes(was, was); c != nil {
		t.Errorf("the same file differs by %+v", c)
	}
	if c := Changes(s.TypeScript(), newSet(t, more).TypeScript()); len(c) != 4 {
		t.Errorf("in TypeScript: %+v", c)
	}
}

func TestClash(t *testing.T) {
	t.Parallel()
	k := []hongyan.Keyword{{Key: "thing1", Type: "thing", Label: "备注"}}
	_, err := New("wx1", []hongyan.Template{{TemplateID: "b", Title: "通知", Keywords: k}, {TemplateID: "a", Alias: "notice", Title: "x", Keywords: k}})
	var clash *Clash
	if !errors.As(err, &clash) || clash.Name != "Notice" || clash.IDs != [2]string{"a", "b"} {
		t.Errorf("got %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ label, want string }{
		{"订单编号", "OrderNumber"}, {"停车场名称", "CarParkName"}, {"金额（元）", "Thing1"}, {"SKU编号", "SKUNumber"}, {"order no.", "OrderNo"},
		{"T恤", "Thing1"}, {"", "Thing1"}, {"：", "Thing1"}, {"2号", "Thing1"}, {"支付-金额", "PaymentAmount"}, {"Data", "Data1"}, {"\u202e备注", "Remark"},
	} {
		taken := map[string]bool{"Data": true}
		if got := fieldName(hongyan.Keyword{Key: "thing1", Label: row.label}, taken); got != row.want {
			t.Errorf("field %q is %s, want %s", row.label, got, row.want)
		}
	}
	for _, row := range []struct{ alias, title, want string }{
		{"order_paid", "x", "OrderPaid"}, {"order-paid2", "x", "OrderPaid2"}, {"支付", "x", "T支付"}, {"", "订单支付成功通知", "OrderPaymentSuccessNotice"},
		{"", "鸿雁播报", "T鸿雁播报"}, {"***", "通知", "Notice"}, {"", "", "Id1"}, {"2fa", "", "T2fa"}, {"date", "", "DateTemplate"}, {"ǆ", "", "Ǆ"},
	} {
		if got := typeName(hongyan.Template{TemplateID: "id_1", Alias: row.alias, Title: row.title}); got != row.want {
			t.Errorf("template %q %q is %s, want %s", row.alias, row.title, got, row.want)
		}
	}
	if a, b := valueName("A/B"), valueName("A-B"); a == b || valueName("已支付") != "已支付" {
		t.Errorf("values %s %s", a, b)
	}
	for zh, en := range words {
		if len(zh) > maxWord || exported(en) != en {
			t.Errorf("the word %s → %s", zh, en)
		}
	}
}
