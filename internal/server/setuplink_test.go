package server_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
)

// TestFirstRun: the link makes one owner, whoever comes first, and no second.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if got := h.browser().want(200, "GET", "/v1/console", nil); got["first_run"] != true || got["version"] != "v0-test" {
		t.Errorf("console: %v", got)
	}
	token := h.link()
	h.browser().wantCode(400, hongyan.CodeInvalid, "POST", "/v1/setup", object{"token": token, "name": "owner", "password": "password123"})
	h.browser().wantCode(400, hongyan.CodeInvalid, "POST", "/v1/setup", object{"token": token, "password": password})
	h.browser().wantCode(410, hongyan.CodeLinkEnded, "POST", "/v1/setup", object{"token": "x", "name": "owner", "password": password})

	var wg sync.WaitGroup
	var won, lost atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			switch status, out := h.browser().do("POST", "/v1/setup", object{"token": token, "name": fmt.Sprint("owner ", i), "password": password}); status {
			case 200:
				won.Add(1)
			case 410:
				lost.Add(1)
			default:
				t.Errorf("set up: %d %v", status, out)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 7 {
		t.Errorf("%d won and %d lost, want 1 and 7", won.Load(), lost.Load())
	}
	if got := h.browser().want(200, "GET", "/v1/console", nil); got["first_run"] != false {
		t.Errorf("console: %v", got)
	}
	if link := must(h.server.FirstRunLink(t.Context())); link != "" {
		t.Errorf("a link though there is an owner: %s", link)
	}
}

// TestLinkCheck: a link says what it is for, as often as it is asked, until it is used or ended.
func TestLinkCheck(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	check := func(b *browser, token, purpose string, name any) {
		t.Helper()
		for range 2 {
			if got := b.want(200, "POST", "/v1/setup/check", object{"token": token}); got["purpose"] != purpose || got["name"] != name {
				t.Errorf("the link is for %v, want %s of %v", got["body"], purpose, name)
			}
		}
		if b.cookie != "" {
			t.Error("asking signs in")
		}
	}
	ended := func(token string) {
		t.Helper()
		h.browser().wantCode(410, hongyan.CodeLinkEnded, "POST", "/v1/setup/check", object{"token": token})
	}
	ended("x")
	ended("")
	first := h.link()
	check(h.browser(), first, "first_owner", nil)
	owner := h.browser()
	owner.want(200, "POST", "/v1/setup", object{"token": first, "name": "owner", "password": password})
	ended(first)

	m := owner.want(201, "POST", "/v1/members", object{"name": "bo", "role": "viewer"})
	before := len(owner.want(200, "GET", "/v1/audit", nil)["items"].([]any))
	link := tokenOf(m)
	check(h.browser(), link, "password", "bo")
	if after := len(owner.want(200, "GET", "/v1/audit", nil)["items"].([]any)); after != before {
		t.Errorf("asking left %d rows in the audit log", after-before)
	}
	again := tokenOf(owner.want(200, "POST", "/v1/members/"+m["id"].(string)+"/reset", nil))
	ended(link) // replaced
	h.browser().want(200, "POST", "/v1/setup", object{"token": again, "password": password})
	ended(again) // used
	old := tokenOf(owner.want(200, "POST", "/v1/members/"+m["id"].(string)+"/reset", nil))
	h.offset.Add(int64(24*time.Hour + time.Second))
	ended(old)
	owner.signIn("owner", password)
	late := tokenOf(owner.want(200, "POST", "/v1/members/"+m["id"].(string)+"/reset", nil))
	check(h.browser(), late, "password", "bo")
	owner.want(204, "DELETE", "/v1/members/"+m["id"].(string), nil)
	ended(late)
	for _, token := range []string{first, link, again, old, late} {
		if strings.Contains(h.log.String(), token) {
			t.Error("a token stands in the log")
		}
	}

	// Only so many from one address.
	limited := false
	for range 60 {
		status, _ := h.browser().do("POST", "/v1/setup/check", object{"token": "x"})
		limited = limited || status == 429
	}
	if !limited {
		t.Error("an address may ask without end")
	}
}
