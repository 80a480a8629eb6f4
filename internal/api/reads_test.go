package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func TestReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, n := range []int{1, 2, 3, 4} {
		w.grant(hongyan.OpenID(fmt.Sprint("u", i)), n)
	}
	if _, err := w.admin.Submit(t.Context(), w.submission("u0"), client.Options{}); err != nil { // it holds the only one
		t.Fatal(err)
	}
	w.grant("leaver", 2)
	if err := w.admin.EraseUser(t.Context(), w.appID(), "leaver"); err != nil {
		t.Fatal(err)
	}
	r, err := w.admin.Reach(t.Context(), w.appID(), w.template.TemplateID)
	if err != nil {
		t.Fatal(err)
	}
	want := hongyan.Reach{App: w.appID(), TemplateID: w.template.TemplateID, Kind: hongyan.KindOneTime, UsersKnown: 4, Reachable: 3,
		WithGrants: hongyan.GrantSpread{Two: 1, Three: 2}}
	if r.CountedAt.IsZero() {
		t.Error("it does not say when it was counted")
	}
	r.CountedAt = time.Time{}
	if r != want {
		t.Errorf("got %+v\nwant %+v", r, want)
	}
}

func TestFindUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, o := range []string{"abc", "abd", "xyz", "Abc"} {
		w.grant(hongyan.OpenID(o), 1)
	}
	for q, want := range map[string]string{"ab": "abc abd", "a": "abc abd", "A": "Abc", "x": "xyz", "none": "", "a%": "", "ab_": ""} {
		var got []string
		for cursor := ""; ; {
			r := w.call("GET", "/v1/apps/"+w.app.AppID+"/users?limit=1&q="+strings.ReplaceAll(q, "%", "%25")+cursor, "")
			_, rest, found := strings.Cut(r.Body, `"openid":"`)
			if found {
				o, _, _ := strings.Cut(rest, `"`)
				got = append(got, o)
			}
			_, rest, _ = strings.Cut(r.Body, `"next_cursor":"`)
			next, _, _ := strings.Cut(rest, `"`)
			if next == "" {
				break
			}
			cursor = "&cursor=" + next
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", q, got, want)
		}
	}
}

func TestMessageFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("u", 2)
	var ids []hongyan.MessageID
	for range 2 {
		m, err := w.admin.Submit(t.Context(), w.submission("u"), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
	}
	if _, err := w.admin.Cancel(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	code := 43101
	for name, c := range map[string]struct {
		f    client.MessageFilter
		want int
	}{
		"both states":    {client.MessageFilter{Status: []hongyan.State{hongyan.StateQueued, hongyan.StateCanceled}}, 2},
		"one state":      {client.MessageFilter{Status: []hongyan.State{hongyan.StateCanceled}}, 1},
		"errcode":        {client.MessageFilter{Errcode: &code}, 0},
		"reason":         {client.MessageFilter{Reason: hongyan.CodeNoGrant, Status: []hongyan.State{hongyan.StateCanceled}}, 0},
		"whole id":       {client.MessageFilter{IDPrefix: string(ids[1])}, 1},
		"id in lower":    {client.MessageFilter{IDPrefix: strings.ToLower(string(ids[1]))}, 1},
		"prefix":         {client.MessageFilter{IDPrefix: string(ids[1][:8])}, 2},
		"bare prefix":    {client.MessageFilter{IDPrefix: "msg_", PageSize: 1}, 2},
		"another prefix": {client.MessageFilter{IDPrefix: "msg_00"}, 0},
		"nobody":         {client.MessageFilter{App: w.appID(), External: "nobody"}, 0},
	} {
		list, err := client.Collect(w.admin.Messages(t.Context(), c.f), 0)
		if err != nil || len(list) != c.want {
			t.Errorf("%s: %d, %v, want %d", name, len(list), err, c.want)
		}
	}
	for _, q := range []string{"id=nope", "id=msg_!!", "errcode=x", "status=queued,nonsense"} {
		if r := w.call("GET", "/v1/messages?"+q, ""); r.Status != 400 {
			t.Errorf("%s: %d %s", q, r.Status, r.Body)
		}
	}
}

func TestValidateShowsTheCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant("u", 1)
	for openid, want := range map[hongyan.OpenID]hongyan.GrantOutcome{"u": hongyan.OutcomeReserved, "stranger": hongyan.OutcomeTried} {
		v, err := w.admin.Validate(t.Context(), w.appID(), w.template.TemplateID, client.DataCheck{Data: w.template.Example, OpenID: openid})
		if err != nil {
			t.Fatal(err)
		}
		if v.Title != w.template.Title || len(v.Lines) != len(w.template.Example) || v.Lines[0].Label == "" || v.Lines[0].Value != w.template.Example[v.Lines[0].Key] {
			t.Errorf("card: %+v", v)
		}
		if v.Grant == nil || v.Grant.Outcome != want {
			t.Errorf("%s: %+v, want %s", openid, v.Grant, want)
		}
	}
}
