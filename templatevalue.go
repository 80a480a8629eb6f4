package hongyan

import (
	"fmt"
	"strconv"
	"time"
)

// Values of template data in Go, as the types that `hongyan generate go` writes use them.

// Number is the value of a field of type number. [Int] makes one; text such as "3.5" is one too.
type Number string

// Int is a whole number.
func Int[T ~int | ~int8 | ~int16 | ~int32 | ~int64](n T) Number {
	return Number(strconv.FormatInt(int64(n), 10))
}

// Amount is the value of a field of type amount. [Fen] makes one; text such as "$12.30" or
// "12.3元" is one too.
type Amount string

// Fen is an amount of RMB, counted in fen (分) so that nothing is rounded: Fen(1230) is ¥12.30.
func Fen[T ~int | ~int32 | ~int64](n T) Amount {
	sign, abs := "", uint64(n)
	if n < 0 {
		sign, abs = "-", -abs
	}
	return Amount(fmt.Sprintf("¥%s%d.%02d", sign, abs/100, abs%100))
}

// Period is the value of a field of type date or time that has a beginning and an end.
type Period struct{ From, To time.Time }

// Format writes both ends; see [FormatTime]. It is empty unless both are set.
func (p Period) Format(layout string) string {
	if p.From.IsZero() || p.To.IsZero() {
		return ""
	}
	return FormatTime(p.From, layout) + "~" + FormatTime(p.To, layout)
}

// beijing is the time of WeChat's users. China has had no summer time since 1991, and a fixed
// zone needs no time zone database on the machine.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// FormatTime writes a time as it is in China; the zero time is empty, which validation refuses.
func FormatTime(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.In(beijing).Format(layout)
}

// TimeLayout says how a time is written into a field of type date or time, in the words of
// package time, and whether it has a beginning and an end. The field's example decides what
// is shown: the day, the clock, both; the form is that of WeChat's own samples.
func (k Keyword) TimeLayout() (layout string, period bool) {
	ms, n := parseMoments(narrowText(k.Example))
	m := ms[0]
	if n == 0 {
		m = moment{hasDate: true, hasTime: k.Type == "time", second: -1}
	}
	m.hasDate = m.hasDate || k.Type != "time" // each type demands its own part
	m.hasTime = m.hasTime || k.Type == "time"
	clock := "15:04"
	if m.second >= 0 {
		clock += ":05"
	}
	switch {
	case !m.hasTime:
		return "2006年1月2日", n == 2
	case !m.hasDate:
		return clock, n == 2
	}
	return "2006年1月2日 " + clock, n == 2
}

// CheckData is [ValidateData] as the server does it before it takes a message: one error of
// [CodeInvalidData] that names every fault which WeChat is certain to refuse, or nil.
func CheckData(t *Template, data map[string]string) error {
	return RefusedData(ValidateData(t, data), ValidationNormal)
}

// RefusedData is the error that refuses data with these faults, or nil if none of them does.
func RefusedData(faults []DataFault, v Validation) error {
	var fields []FieldError
	for _, f := range faults {
		if v == ValidationStrict || f.Level == LevelError {
			fields = append(fields, FieldError{Pointer: f.Pointer, Code: f.Rule, Detail: f.Detail, Repair: f.Repair})
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalidData, Message: fields[0].Detail, Fields: fields}
}
