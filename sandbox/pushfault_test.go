package sandbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan/wechat"
)

func TestPushFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spec   FaultSpec
		status string // of the first push
		want   []string
	}{
		"repeated":         {FaultSpec{Push: "repeated"}, "taken", []string{"popup", "popup", "change"}},
		"lost":             {FaultSpec{Push: "lost"}, "lost", []string{"change"}},
		"out of order":     {FaultSpec{Push: "out_of_order"}, "taken", []string{"change", "popup"}},
		"wrong signature":  {FaultSpec{Push: "wrong_signature"}, "not_taken", []string{"-", "-", "-", "-", "change"}},
		"old key, none":    {FaultSpec{Push: "old_key"}, "taken", []string{"popup", "change"}},
		"late, real time":  {FaultSpec{Push: "late", LatencyMS: 50}, "taken", []string{"change", "popup"}},
		"one event":        {FaultSpec{Push: "lost", Event: wechat.EventSubscribeChange}, "taken", []string{"popup"}},
		"failed, no send":  {FaultSpec{Push: "failed"}, "taken", []string{"popup", "change"}},
		"another's event":  {FaultSpec{Push: "lost", Event: "wxa_punish_event"}, "taken", []string{"popup", "change"}},
		"none of the path": {FaultSpec{Path: pathSend, Drop: true}, "taken", []string{"popup", "change"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, rc := pushing(t)
			tt.spec.Count = ptr(1)
			e.fault(tt.spec)
			e.tap(1)
			e.refuse("card")
			rc.await(len(tt.want)) // a flush would not let it wait to be overtaken
			e.flush()
			rc.want(tt.want...)
			fault := tt.spec.Push
			if tt.spec.Event != "" || fault == pushFaultFailed {
				fault = "" // not of the first push
			}
			if p := e.pushes()[0]; p.Status != tt.status || p.Fault != fault {
				t.Errorf("push %+v", p)
			}
		})
	}
}

// A wrong signature is one that the keys refuse as such.
func TestPushFaultWrongSignature(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	e.fault(FaultSpec{Push: "wrong_signature", Count: ptr(1)})
	e.tap(1)
	e.flush()
	for _, a := range rc.arrivals() {
		if refusal, ok := a.err.(*wechat.CallbackError); !ok || refusal.Reason != wechat.CallbackBadSignature {
			t.Errorf("got %v", a.err)
		}
	}
}

// A push that is late by the sandbox's clock waits for the clock, and is waited for
// when the clock has got there.
func TestPushFaultLateByClock(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	e.fault(FaultSpec{Push: "late", DelayS: 90, Count: ptr(1)})
	e.tap(1)
	e.refuse("card")
	e.flush()
	rc.want("change")
	e.advance(89 * time.Second)
	e.flush()
	rc.want("change")
	if s := e.Stats().Pushes; s.Pending != 1 || s.Taken != 1 {
		t.Errorf("stats %+v", s)
	}
	e.advance(time.Second)
	e.flush()
	rc.want("change", "popup")
	if late := rc.arrivals()[1]; !late.CreateTime.Equal(start) {
		t.Errorf("CreateTime moved to %v", late.CreateTime)
	}
}

// The base clock may move by itself.
func TestPushFaultLateByBaseClock(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{Now: time.Now})
	rc := newReceiver(e)
	e.setPush(PushSpec{URL: rc.url, Token: pushToken, AESKey: pushKey})
	e.fault(FaultSpec{Push: "late", DelayS: 0.05, Count: ptr(1)})
	e.tap(1)
	rc.await(1)
}

// A failed send was accepted and spent its grant, and no card arrives.
func TestPushFaultFailed(t *testing.T) {
	t.Parallel()
	e, rc := pushing(t)
	token := e.token()
	e.tap(4)
	e.fault(FaultSpec{Push: "failed", Count: ptr(1)})
	e.fault(FaultSpec{Push: "failed", ErrorCode: "7", ErrorStatus: "odd", Count: ptr(1)})
	e.want(0, e.send(token, e.message()))
	e.want(0, e.send(token, e.message()))
	e.setRules(Rules{SentErrorCode: "8"})
	e.want(0, e.send(token, e.message()))
	e.setRules(Rules{})
	last := e.want(0, e.send(token, e.message()))
	e.flush()
	var got []string
	for _, a := range rc.arrivals()[4:] {
		got = append(got, a.Items[0].ErrorCode+" "+a.Items[0].ErrorStatus)
	}
	if want := "[-1 failed: system failed 7 odd 8 failed: system failed 0 success]"; fmt.Sprint(got) != want {
		t.Errorf("got %v", got)
	}
	card := e.wantCards(1)[0]
	if !strings.Contains(string(last.raw), fmt.Sprint(card.MsgID)) {
		t.Errorf("card %+v", card)
	}
	if s := e.Stats(); s.Accepted != 4 {
		t.Errorf("stats %+v", s)
	}
	e.wantAvailable(0)
}

// A seed chooses the same pushes again, whatever happens to calls.
func TestPushFaultShare(t *testing.T) {
	t.Parallel()
	run := func(calls bool) string {
		e, rc := pushing(t)
		e.fault(FaultSpec{Push: "lost", Share: ptr(0.5), Seed: ptr(int64(7))})
		for range 40 {
			e.tap(1)
			if calls {
				e.token()
			}
		}
		e.flush()
		text := ""
		for _, p := range e.pushes() {
			text += p.Status[:1]
		}
		if n := strings.Count(text, "l"); n < 8 || n > 32 || len(rc.arrivals()) != 40-n {
			t.Errorf("%d lost, %d arrived", n, len(rc.arrivals()))
		}
		return text
	}
	if a, b := run(false), run(true); a != b {
		t.Errorf("%s, then %s", a, b)
	}
}

func TestPushFaultProblems(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	for want, spec := range map[string]FaultSpec{
		"push must be one of":         {Push: "slow"},
		"A fault of pushes has no":    {Push: "lost", Path: "*"},
		"A fault of pushes has no p":  {Push: "lost", Drop: true},
		"late needs":                  {Push: "late"},
		"late needs delay_s":          {Push: "late", DelayS: 1, LatencyMS: 1},
		"late needs delay_s (of":      {Push: "lost", DelayS: 1},
		"delay_s must":                {Push: "late", DelayS: -1},
		"failed is for":               {Push: "failed", Event: wechat.EventSubscribePopup},
		"error_code and error_status": {Push: "lost", ErrorCode: "1"},
		`error_code "0"`:              {Push: "failed", ErrorCode: "0"},
		"count must":                  {Push: "lost", Count: ptr(0)},
		"event, delay_s":              {Path: "*", Drop: true, Event: "x"},
		"There is no app":             {Push: "lost", AppID: "wx0"},
	} {
		if _, err := e.AddFault(spec); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if status, m := e.control("POST", "faults", map[string]any{"push": "lost"}); status != http.StatusOK || m["push"] != "lost" || m["path"] != nil {
		t.Errorf("%d %v", status, m)
	}
	if status, m := e.control("PUT", "apps/"+e.app.AppID+"/rules", map[string]any{"sent_error_code": "0"}); status != http.StatusBadRequest {
		t.Errorf("%d %v", status, m)
	}
}
