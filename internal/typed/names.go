package typed

import (
	"fmt"
	"hash/fnv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hongyan-push/hongyan"
)

// reserved are names that the written files use themselves.
var reserved = map[string]bool{
	"Fault": true, "InvalidData": true, "MessageBody": true,
	"Array": true, "Date": true, "Error": true, "Number": true, "Object": true, "Readonly": true, "Record": true, "String": true,
}

// typeName is the name of a template: its alias, or else its title, in English if all its
// words are known.
func typeName(t hongyan.Template) string {
	name := exported(t.Alias)
	if name == "" {
		name, _ = translate(t.Title)
	}
	if name == "" {
		name = exported(t.Title)
	}
	if name == "" {
		name = exported(t.TemplateID)
	}
	if reserved[name] {
		name += "Template"
	}
	return name
}

// fieldName is the name of a field: its label, if all its words are known or Latin, else its
// key. The first field in display order gets a name that two would have; a field that is
// added behind it takes nothing away.
func fieldName(k hongyan.Keyword, taken map[string]bool) string {
	byKey := exported(k.Key)
	name, ok := translate(k.Label)
	if !ok {
		name = byKey
	}
	number := k.Key[len(strings.TrimRight(k.Key, "0123456789")):]
	for _, candidate := range []string{name, name + number, byKey} {
		if !taken[candidate] {
			return candidate
		}
	}
	for taken[byKey] {
		byKey += "X"
	}
	return byKey
}

// valueName is the name of an enum's value behind the enum's own: the value, as letters allow
// it. One that loses characters is told from others by a sum of the whole.
func valueName(text string) string {
	name := strings.Map(letter, text)
	if name == text {
		return name
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return fmt.Sprintf("%s_%08x", name, h.Sum32())
}

// letter keeps what identifiers of Go and TypeScript may have, but no underscore.
func letter(r rune) rune {
	if unicode.IsLetter(r) || unicode.IsDigit(r) {
		return r
	}
	return -1
}

// exported makes an exported identifier of words in any script: order_paid is OrderPaid, and
// what cannot begin with a capital gets a T in front.
func exported(s string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return letter(r) < 0 }) {
		r, w := utf8.DecodeRuneInString(word)
		b.WriteRune(unicode.ToUpper(r))
		b.WriteString(word[w:])
	}
	name := b.String()
	if r, _ := utf8.DecodeRuneInString(name); name != "" && !unicode.IsUpper(r) {
		name = "T" + name
	}
	return name
}

// translate puts a label into English, word by word; ok is false if a word is not known.
// It takes the longest word each time and goes back where that leads nowhere.
func translate(s string) (name string, ok bool) {
	s = strings.TrimLeftFunc(s, func(r rune) bool { return letter(r) < 0 })
	if s == "" {
		return "", false
	}
	if latin := latinWord(s); latin != "" {
		return join(exported(latin), s[len(latin):])
	}
	for n := min(maxWord, len(s)); n > 0; n-- {
		if word := words[s[:n]]; word != "" {
			if name, ok := join(word, s[n:]); ok {
				return name, true
			}
		}
	}
	return "", false
}

func join(word, rest string) (string, bool) {
	if strings.IndexFunc(rest, func(r rune) bool { return letter(r) > 0 }) < 0 {
		return word, true
	}
	more, ok := translate(rest)
	return word + more, ok
}

// latinWord is the ASCII letters and digits at the beginning, if a letter is first.
func latinWord(s string) string {
	n := strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 || letter(r) < 0 })
	if n < 0 {
		n = len(s)
	}
	if n == 0 || s[0] <= '9' {
		return ""
	}
	return s[:n]
}

// maxWord is the longest of the words, in bytes.
const maxWord = 6 * 3

// words are those of which labels and titles of WeChat's library are made. A word that is
// added renames the fields that have it when their file is written anew: once a version is
// out, the table stays as it is.
var words = parseWords(`
订单 Order
支付 Payment
付款 Paid
缴费 FeePayment
扣款 Charge
退款 Refund
还款 Repayment
交易 Transaction
充值 TopUp
提现 Withdrawal
收款 Receipt
到账 Credited
金额 Amount
价格 Price
单价 UnitPrice
总价 TotalPrice
费用 Fee
押金 Deposit
余额 Balance
币种 Currency
优惠 Discount
优惠券 Coupon
券 Coupon
券码 CouponCode
积分 Points
奖励 Reward
奖品 Prize
商品 Product
产品 Product
货品 Goods
物品 Item
餐品 Dish
菜品 Dish
商家 Merchant
商户 Merchant
门店 Store
店铺 Shop
店名 ShopName
卖家 Seller
买家 Buyer
快递 Express
快递员 Courier
物流 Logistics
运单 Waybill
配送 Delivery
配送员 Courier
骑手 Rider
发货 Shipping
收货 Receiving
收货人 Recipient
收件人 Addressee
寄件 Sending
寄件人 Sender
包裹 Parcel
取件 Pickup
取货 Collection
取餐 MealPickup
取件码 PickupCode
取餐码 MealPickupCode
驿站 PickupPoint
库存 Stock
尺码 Size
规格 Spec
型号 Model
数量 Quantity
剩余 Remaining
人数 People
次数 Times
天数 Days
编号 Number
号码 Number
单号 Number
号 Number
序号 SerialNumber
名称 Name
名字 Name
姓名 Name
名 Name
内容 Content
详情 Details
明细 Details
说明 Description
描述 Description
备注 Remark
提示 Tip
温馨提示 Tip
提醒 Reminder
通知 Notice
消息 Message
公告 Announcement
原因 Reason
理由 Reason
结果 Result
状态 Status
进度 Progress
进展 Progress
类型 Type
类别 Category
种类 Kind
方式 Method
项目 Item
事项 Matter
主题 Subject
标题 Title
等级 Level
级别 Level
分数 Score
成绩 Result
评价 Review
意见 Opinion
建议 Suggestion
回复 Reply
反馈 Feedback
问题 Question
时间 Time
日期 Date
时长 Duration
时段 Period
期限 Term
周期 Cycle
开始 Start
结束 End
截止 Due
到期 Expiry
过期 Expired
有效期 Validity
下单 Ordered
完成 Completed
更新 Updated
创建 Created
提交 Submitted
申请 Application
申请人 Applicant
审核 Review
审批 Approval
审核人 Reviewer
处理 Handling
受理 Acceptance
办理 Processing
业务 Business
违章 TrafficOffence
使用 Usage
信息 Info
待 Pending
总 Total
预订 Reservation
外卖 Takeaway
收费 Charging
标准 Standard
存放 Storage
滞留 Detention
预约 Booking
预约人 Booker
预计 Estimated
预估 Estimated
实际 Actual
实收 Received
可用 Available
最后 Last
当前 Current
变更 Change
变动 Change
取消 Cancellation
成功 Success
失败 Failure
上门 Visit
到达 Arrival
送达 Delivered
到货 Arrived
入库 Stored
服务 Service
服务人员 Attendant
师傅 Technician
技师 Technician
工作人员 Staff
负责人 Manager
联系 Contact
联系人 ContactPerson
电话 Phone
手机 Mobile
手机号 MobileNumber
手机号码 MobileNumber
热线 Hotline
客服 CustomerService
咨询 Enquiry
用户 User
用户名 UserName
客户 Customer
会员 Member
会员卡 MemberCard
昵称 Nickname
账号 Account
账户 Account
卡号 CardNumber
地址 Address
地点 Place
位置 Location
地区 Region
城市 City
路线 Route
线路 Line
方向 Direction
车牌 Plate
车牌号 PlateNumber
车牌号码 PlateNumber
车辆 Vehicle
车型 VehicleModel
司机 Driver
停车 Parking
停车场 CarPark
车位 ParkingSpace
入场 Entry
出场 Exit
乘车 Ride
上车 Boarding
站台 Platform
酒店 Hotel
房间 Room
房间号 RoomNumber
房型 RoomType
入住 CheckIn
入住人 Guest
退房 CheckOut
排队 Queue
取号 Ticket
桌号 TableNumber
桌型 TableType
桌台 Table
课程 Course
开课 CourseStart
上课 Class
老师 Teacher
教师 Teacher
授课老师 Teacher
讲师 Lecturer
教室 Classroom
学生 Student
学员 Student
班级 ClassGroup
学校 School
作业 Homework
考试 Exam
考生 Candidate
科目 Subject
准考证号 AdmissionNumber
医院 Hospital
医生 Doctor
科室 Department
就诊 Visit
就诊人 Patient
患者 Patient
挂号 Registration
检查 Examination
报告 Report
活动 Event
会议 Meeting
参会 Attendance
报名 SignUp
报名人 Participant
签到 CheckIn
签到码 CheckInCode
集合 Assembly
领队 Leader
拼团 GroupBuy
团长 GroupLeader
成团 GroupFormed
直播 Livestream
抽奖 Draw
中奖 Winning
任务 Task
工单 WorkOrder
设备 Device
故障 Fault
故障代码 FaultCode
告警 Alarm
异常 Anomaly
维修 Repair
公司 Company
部门 Department
职位 Position
岗位 Position
面试 Interview
面试官 Interviewer
合同 Contract
账单 Bill
发票 Invoice
验证码 VerificationCode
版本 Version
违法 Violation
罚款 Fine
`)

func parseWords(table string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(table) {
		if zh, en, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			m[zh] = en
		}
	}
	return m
}
