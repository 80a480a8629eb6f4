package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

const (
	idle = 12 * time.Hour
	life = 7 * 24 * time.Hour
)

// linkToken is the secret part of a link.
func linkToken(link string) hongyan.SetupToken {
	return hongyan.NewSetupToken(strings.TrimPrefix(link, hongyan.SetupPath))
}

// firstOwner uses the link of a first run.
func (e *Env) firstOwner(name string) ledger.Credential {
	e.TB.Helper()
	link, err := e.FirstRunLink(context.Background())
	e.must(err)
	c, err := e.SetUp(context.Background(), linkToken(link), ledger.Credential{}, name, "hash of "+name)
	e.must(err)
	return c
}

// invited makes a member and uses the link.
func (e *Env) invited(name string, role hongyan.Role) ledger.Credential {
	e.TB.Helper()
	m, err := e.CreateMember(context.Background(), name, role, nil)
	e.must(err)
	c, err := e.SetupMember(context.Background(), linkToken(m.Link))
	e.must(err)
	c, err = e.SetUp(context.Background(), linkToken(m.Link), c, "", "hash of "+name)
	e.must(err)
	return c
}

// wantRefused fails unless err has the code.
func (e *Env) wantRefused(what string, err error, code hongyan.Code) {
	e.TB.Helper()
	if !errors.Is(err, code) {
		e.TB.Errorf("%s: %v, want %s", what, err, code)
	}
}

func (e *Env) signIn(c ledger.Credential, token string) {
	e.TB.Helper()
	e.must(e.SaveMemberSession(context.Background(), token, ledger.MemberSession{Member: c.ID, Data: []byte("data")}, idle, life, false))
}

func (e *Env) signedIn(token string) bool {
	e.TB.Helper()
	s, err := e.MemberSession(context.Background(), token)
	e.must(err)
	return s.Member != ""
}

func testMembers(t *testing.T, open func(testing.TB) *Database) {
	cases(t, open, existing, map[string]func(*Env){
		"first run":               testFirstRun,
		"one first owner":         testOneFirstOwner,
		"names":                   testMemberNames,
		"the last owner stays":    testLastOwner,
		"last owners in a race":   testLastOwners,
		"links":                   testLinks,
		"governing":               testGoverning,
		"guessing":                testGuessing,
		"sessions":                testMemberSessions,
		"nothing stands in clear": testMemberSecrets,
	})
}

func testFirstRun(e *Env) {
	ctx := context.Background()
	first, err := e.FirstRunLink(ctx)
	e.must(err)
	second, err := e.FirstRunLink(ctx)
	e.must(err)
	_, err = e.SetupMember(ctx, linkToken(first))
	e.wantRefused("the link before", err, hongyan.CodeLinkEnded)
	e.Clock.Advance(ledger.LinkTime)
	_, err = e.SetupMember(ctx, linkToken(second))
	e.wantRefused("a link of yesterday", err, hongyan.CodeLinkEnded)
	_, err = e.SetUp(ctx, linkToken(second), ledger.Credential{}, "anna", "hash")
	e.wantRefused("a link of yesterday", err, hongyan.CodeLinkEnded)

	c := e.firstOwner("anna")
	if c.Role != hongyan.RoleOwner || c.ID == "" || !c.HasPassword {
		e.TB.Errorf("the first member is %+v", c.Member)
	}
	if link, err := e.FirstRunLink(ctx); err != nil || link != "" {
		e.TB.Errorf("a link for a first run that is over: %q, %v", link, err)
	}
}

// testOneFirstOwner lets many take the links of a first run at once.
func testOneFirstOwner(e *Env) {
	ctx := context.Background()
	link, err := e.FirstRunLink(ctx)
	e.must(err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			_, err := e.SetUp(ctx, linkToken(link), ledger.Credential{}, fmt.Sprintf("owner %d", i), "hash")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, hongyan.CodeLinkEnded) {
				e.TB.Errorf("set up: %v", err)
			}
		})
	}
	wg.Wait()
	members, err := e.Members(ctx)
	e.must(err)
	if won != 1 || len(members) != 1 {
		e.TB.Errorf("%d won, there are %d members", won, len(members))
	}
}

func testMemberNames(e *Env) {
	ctx := context.Background()
	e.firstOwner("Anna")
	_, err := e.CreateMember(ctx, "ａnna", hongyan.RoleViewer, nil)
	e.wantRefused("the same name", err, hongyan.CodeConflict)
	_, err = e.CreateMember(ctx, " ", hongyan.RoleViewer, nil)
	e.wantRefused("no name", err, hongyan.CodeInvalid)
	_, err = e.CreateMember(ctx, "bo", "admin", nil)
	e.wantRefused("no role", err, hongyan.CodeInvalid)
	_, err = e.CreateMember(ctx, strings.Repeat("ﷺ", 64), hongyan.RoleViewer, nil) // folds to 18 times as many
	e.must(err)
	_, err = e.Member(ctx, "mem_x")
	e.wantRefused("nobody", err, hongyan.CodeNotFound)
	c, err := e.BeginSignIn(ctx, "ANNA")
	e.must(err)
	if c.Name != "Anna" {
		e.TB.Errorf("ANNA is %q", c.Name)
	}
}

func testLastOwner(e *Env) {
	ctx := context.Background()
	anna := e.firstOwner("anna")
	viewer, off := hongyan.RoleViewer, true
	try := func(what string) {
		e.TB.Helper()
		e.wantRefused(what+": delete", e.DeleteMember(ctx, anna.ID, nil), hongyan.CodeConflict)
		_, err := e.UpdateMember(ctx, anna.ID, ledger.MemberChange{Role: &viewer}, nil)
		e.wantRefused(what+": demote", err, hongyan.CodeConflict)
		_, err = e.UpdateMember(ctx, anna.ID, ledger.MemberChange{Disabled: &off}, nil)
		e.wantRefused(what+": disable", err, hongyan.CodeConflict)
	}
	try("alone")
	e.invited("viewer", hongyan.RoleViewer)
	try("with a viewer")
	pending, err := e.CreateMember(ctx, "pending", hongyan.RoleOwner, nil)
	e.must(err)
	try("with an owner who has no password yet")
	e.must(e.DeleteMember(ctx, pending.ID, nil))
	bo := e.invited("bo", hongyan.RoleOwner)
	_, err = e.UpdateMember(ctx, bo.ID, ledger.MemberChange{Disabled: &off}, nil)
	e.must(err)
	try("with an owner who is disabled")
	on := false
	_, err = e.UpdateMember(ctx, bo.ID, ledger.MemberChange{Disabled: &on}, nil)
	e.must(err)
	e.must(e.DeleteMember(ctx, anna.ID, nil))
	_, err = e.Member(ctx, anna.ID)
	e.wantRefused("deleted", err, hongyan.CodeNotFound)
}

// testLastOwners: two owners who remove each other at once leave one.
func testLastOwners(e *Env) {
	ctx := context.Background()
	anna := e.firstOwner("anna")
	for i := range 5 {
		bo := e.invited(fmt.Sprintf("bo %d", i), hongyan.RoleOwner)
		var wg sync.WaitGroup
		wg.Go(func() { _ = e.DeleteMember(ctx, anna.ID, nil) })
		wg.Go(func() { _ = e.DeleteMember(ctx, bo.ID, nil) })
		wg.Wait()
		members, err := e.Members(ctx)
		e.must(err)
		if len(members) != 1 {
			e.TB.Fatalf("%d owners are left, want 1", len(members))
		}
		anna.ID = members[0].ID
	}
}

func testLinks(e *Env) {
	ctx := context.Background()
	e.firstOwner("anna")
	bo := e.invited("bo", hongyan.RoleViewer)
	e.signIn(bo, "session")
	first, err := e.ResetMember(ctx, bo.ID, nil)
	e.must(err)
	second, err := e.ResetMember(ctx, bo.ID, nil)
	e.must(err)
	_, err = e.SetupMember(ctx, linkToken(first.Link))
	e.wantRefused("the link before", err, hongyan.CodeLinkEnded)
	if !e.signedIn("session") {
		e.TB.Errorf("a link that nobody used ended the session")
	}
	c, err := e.SetupMember(ctx, linkToken(second.Link))
	e.must(err)
	if c.ID != bo.ID {
		e.TB.Errorf("the link is of %q", c.ID)
	}
	_, err = e.SetUp(ctx, linkToken(second.Link), ledger.Credential{}, "intruder", "hash")
	e.wantRefused("a link of somebody's as that of a first run", err, hongyan.CodeLinkEnded)
	c, err = e.SetUp(ctx, linkToken(second.Link), c, "", "another hash")
	e.must(err)
	if c.Hash != "another hash" || c.Epoch != bo.Epoch+1 {
		e.TB.Errorf("hash %q, epoch %d", c.Hash, c.Epoch)
	}
	if e.signedIn("session") {
		e.TB.Errorf("the session outlived the password")
	}
	_, err = e.SetUp(ctx, linkToken(second.Link), c, "", "a third")
	e.wantRefused("a used link", err, hongyan.CodeLinkEnded)

	m, err := e.ResetMember(ctx, bo.ID, nil)
	e.must(err)
	off := true
	_, err = e.UpdateMember(ctx, bo.ID, ledger.MemberChange{Disabled: &off}, nil)
	e.must(err)
	_, err = e.SetupMember(ctx, linkToken(m.Link))
	e.wantRefused("a link of a disabled member", err, hongyan.CodeLinkEnded)
	_, err = e.ResetMember(ctx, bo.ID, nil)
	e.wantRefused("a link for a disabled member", err, hongyan.CodeConflict)
	_, err = e.SetPassword(ctx, c, "x")
	e.wantRefused("a password for somebody who has changed", err, hongyan.CodeConflict)
}

// testGoverning: who may give a viewer a link gets no owner's by it.
func testGoverning(e *Env) {
	ctx := context.Background()
	e.firstOwner("anna")
	owner := hongyan.RoleOwner
	invited, err := e.CreateMember(ctx, "bo", hongyan.RoleViewer, nil)
	e.must(err)
	viewers := func(m hongyan.Member) error {
		if m.Role != hongyan.RoleViewer {
			return hongyan.Errorf(hongyan.CodeForbidden, "An owner.")
		}
		return nil
	}
	reset, err := e.ResetMember(ctx, invited.ID, viewers)
	e.must(err)
	_, err = e.UpdateMember(ctx, invited.ID, ledger.MemberChange{Role: &owner}, nil)
	e.must(err)
	_, err = e.SetupMember(ctx, linkToken(reset.Link))
	e.wantRefused("a viewer's link after the viewer has become an owner", err, hongyan.CodeLinkEnded)

	_, err = e.ResetMember(ctx, invited.ID, viewers)
	e.wantRefused("reset an owner", err, hongyan.CodeForbidden)
	off := true
	_, err = e.UpdateMember(ctx, invited.ID, ledger.MemberChange{Disabled: &off}, viewers)
	e.wantRefused("disable an owner", err, hongyan.CodeForbidden)
	e.wantRefused("remove an owner", e.DeleteMember(ctx, invited.ID, viewers), hongyan.CodeForbidden)
	if c, err := e.Member(ctx, invited.ID); err != nil || !c.DisabledAt.IsZero() {
		e.TB.Errorf("%+v, %v", c.Member, err)
	}
}

// testGuessing: waits grow, are kept over a restart, and nothing tells a name that nobody has.
func testGuessing(e *Env) {
	ctx := context.Background()
	anna := e.firstOwner("anna")
	want := []time.Duration{0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900}
	for i, w := range want {
		for _, name := range []string{"anna", "nobody"} {
			if w > 0 {
				_, err := e.BeginSignIn(ctx, name)
				var refused *hongyan.Error
				if !errors.As(err, &refused) || refused.Code != hongyan.CodeRateLimited || refused.RetryAfter != w*time.Second {
					e.TB.Fatalf("try %d of %s: %v, want a wait of %ds", i+1, name, err, w)
				}
			}
		}
		if i == 8 {
			// Nobody is told to begin anew by a restart. The clock of a shared database goes on meanwhile.
			if e.Restart(); !e.DB.Shared {
				_, err := e.BeginSignIn(ctx, "anna")
				e.wantRefused("after a restart", err, hongyan.CodeRateLimited)
			}
		}
		if w > 0 {
			e.Clock.Advance(w * time.Second)
		}
		for _, name := range []string{"anna", "nobody"} {
			c, err := e.BeginSignIn(ctx, name)
			e.must(err)
			if (c.ID == anna.ID) != (name == "anna") {
				e.TB.Errorf("%s is %q", name, c.ID)
			}
		}
	}
	e.Clock.Advance(15 * time.Minute)
	e.must(e.EndSignIn(ctx, anna))
	for range 5 {
		_, err := e.BeginSignIn(ctx, "anna")
		e.must(err)
	}
	_, err := e.BeginSignIn(ctx, "anna")
	e.wantRefused("five more", err, hongyan.CodeRateLimited)
	e.Clock.Advance(time.Hour)
	e.must(e.Purge(ctx))
	if n := e.DB.Count(e.TB, "sign_in_tries"); n != 0 {
		e.TB.Errorf("%d names are remembered an hour later", n)
	}

	// Tries at the same time are all counted.
	var wg sync.WaitGroup
	var mu sync.Mutex
	let := 0
	for range 20 {
		wg.Go(func() {
			if _, err := e.BeginSignIn(ctx, "anna"); err == nil {
				mu.Lock()
				let++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if let != 5 {
		e.TB.Errorf("%d tries at once were let through, want 5", let)
	}
}

func testMemberSessions(e *Env) {
	ctx := context.Background()
	anna := e.firstOwner("anna")
	bo := e.invited("bo", hongyan.RoleOwner)
	keep := func(token string) {
		e.must(e.SaveMemberSession(ctx, token, ledger.MemberSession{Member: anna.ID, Data: []byte("more")}, idle, life, true))
	}
	e.signIn(anna, "one")
	e.signIn(bo, "other")
	if s, err := e.MemberSession(ctx, "one"); err != nil || s.Member != anna.ID || !bytes.Equal(s.Data, []byte("data")) || !s.ExpiresAt.Equal(e.Clock.Now().Add(idle)) {
		e.TB.Errorf("session %+v, %v", s, err)
	}
	if e.signedIn("two") {
		e.TB.Errorf("a token that was never given")
	}
	e.Clock.Advance(idle - time.Second)
	keep("one")
	e.Clock.Advance(time.Second)
	if !e.signedIn("one") || e.signedIn("other") {
		e.TB.Errorf("who was active is signed in: %v, who was not: %v", e.signedIn("one"), e.signedIn("other"))
	}
	for end := e.Clock.Now().Add(life); e.Clock.Now().Before(end) && e.signedIn("one"); e.Clock.Advance(time.Hour) {
		keep("one")
	}
	if got := e.Clock.Now().Sub(Start); got < life-time.Hour || got > life+2*time.Hour {
		e.TB.Errorf("who is always active is signed out after %v, want %v", got, life)
	}
	e.must(e.Purge(ctx))
	if n := e.DB.Count(e.TB, "member_sessions"); n != 0 {
		e.TB.Errorf("%d dead sessions are stored", n)
	}

	e.signIn(anna, "a")
	e.signIn(anna, "b")
	e.signIn(bo, "c")
	e.must(e.DeleteMemberSession(ctx, "a"))
	keep("a") // a request that was under way brings nothing back
	if e.signedIn("a") || !e.signedIn("b") {
		e.TB.Errorf("signed out: %v, the other session: %v", e.signedIn("a"), e.signedIn("b"))
	}
	viewer := hongyan.RoleViewer
	_, err := e.UpdateMember(ctx, anna.ID, ledger.MemberChange{Role: &viewer}, nil)
	e.must(err)
	if e.signedIn("b") || !e.signedIn("c") {
		e.TB.Errorf("with another role: %v, somebody else: %v", e.signedIn("b"), e.signedIn("c"))
	}
	e.wantRefused("a password that was right before the change", e.EndSignIn(ctx, anna), hongyan.CodeSignInFailed)
}

func testMemberSecrets(e *Env) {
	ctx := context.Background()
	link, err := e.FirstRunLink(ctx)
	e.must(err)
	anna := e.firstOwner("anna")
	e.signIn(anna, "token-of-a-session-0123456789")
	m, err := e.CreateMember(ctx, "bo", hongyan.RoleViewer, nil)
	e.must(err)
	disk := e.DB.Bytes(e.TB)
	for what, v := range map[string]string{"link of a first run": linkToken(link).Reveal(), "link": linkToken(m.Link).Reveal(), "token": "token-of-a-session-0123456789"} {
		if bytes.Contains(disk, []byte(v)) {
			e.TB.Errorf("the %s stands in the database", what)
		}
	}
}
