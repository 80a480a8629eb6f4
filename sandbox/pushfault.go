package sandbox

import (
	"fmt"
	"slices"

	"github.com/hongyan-push/hongyan/wechat"
)

// Faults of pushes.
const (
	pushFaultLate      = "late"            // comes after DelayS of the sandbox's clock, or LatencyMS of real time
	pushFaultRepeated  = "repeated"        // comes once more after it was taken
	pushFaultLost      = "lost"            // never comes
	pushFaultOrder     = "out_of_order"    // comes after the app's next push, or after 5 s of real time
	pushFaultSignature = "wrong_signature" // is signed with another token
	pushFaultOldKey    = "old_key"         // is encrypted with the previous EncodingAESKey, if there is one
	pushFaultFailed    = "failed"          // a sent event says that the message was not delivered, and it was not
)

var pushFaults = []string{pushFaultLate, pushFaultRepeated, pushFaultLost, pushFaultOrder, pushFaultSignature, pushFaultOldKey, pushFaultFailed}

const maxDelayS = 365 * 24 * 3600

// checkPush refuses contradictions in a fault of pushes.
func (f *FaultSpec) checkPush() error {
	late, failed := f.Push == pushFaultLate, f.Push == pushFaultFailed
	switch {
	case !slices.Contains(pushFaults, f.Push):
		return badRequest(fmt.Sprintf("push must be one of %q.", pushFaults))
	case f.Path != "" || f.Errcode != nil || f.Errmsg != "" || f.HTTPStatus != 0 || f.Drop || f.Body != "" || f.When != "":
		return badRequest("A fault of pushes has no path, errcode, errmsg, http_status, drop, body or when: those are of calls.")
	case f.DelayS < 0 || f.DelayS > maxDelayS || f.LatencyMS < 0 || f.LatencyMS > maxLatencyMS:
		return badRequest(fmt.Sprintf("delay_s must be 0 to %d, latency_ms 0 to %d.", maxDelayS, maxLatencyMS))
	case late != (f.DelayS > 0 || f.LatencyMS > 0) || f.DelayS > 0 && f.LatencyMS > 0:
		return badRequest("late needs delay_s (of the sandbox's clock) or latency_ms (of real time); the others have neither.")
	case failed && f.Event != "" && f.Event != wechat.EventSubscribeSent:
		return badRequest("failed is for subscribe_msg_sent_event only.")
	case !failed && (f.ErrorCode != "" || f.ErrorStatus != ""):
		return badRequest("error_code and error_status go with failed.")
	case f.ErrorCode == "0":
		return badRequest(`error_code "0" is a success, not a fault.`)
	}
	if failed {
		f.Event = wechat.EventSubscribeSent
		f.ErrorCode, f.ErrorStatus = sentFailure(f.ErrorCode, f.ErrorStatus)
	}
	return f.checkAmount()
}

// sentFailure fills in what a failed sent event says. WeChat documents no values;
// the words are those of the related event of service accounts.
func sentFailure(code, status string) (string, string) {
	if code == "" {
		code = "-1"
	}
	if status == "" {
		status = "failed: system failed"
	}
	return code, status
}

// pickPush finds the fault for a push, as pick does for a call.
func (fs *faultSet) pickPush(event string, a *app) *firedFault {
	return fs.fire(func(f *placedFault) bool {
		return f.Push != "" && (f.Event == "" || f.Event == event) && (f.AppID == "" || f.AppID == a.id)
	})
}
