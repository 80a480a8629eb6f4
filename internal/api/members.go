package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

// Sessions are the members who are signed in to the console. Those methods that get a
// ResponseWriter set its cookie; a request without a good session is signed_out.
type Sessions interface {
	// Has reports whether the request shows a session, good or not.
	Has(r *http.Request) bool
	// Find is the session that the request shows; with a ResponseWriter it is kept alive.
	Find(w http.ResponseWriter, r *http.Request) (hongyan.SignIn, error)
	SignIn(w http.ResponseWriter, r *http.Request, name string, p hongyan.Password) (hongyan.SignIn, error)
	SignOut(w http.ResponseWriter, r *http.Request) error
	ChangePassword(w http.ResponseWriter, r *http.Request, old, p hongyan.Password) (hongyan.SignIn, error)
	// Link tells what a one-time link is for, and leaves it as it is.
	Link(ctx context.Context, token hongyan.SetupToken) (hongyan.SetupLink, error)
	// SetUp uses a one-time link up and signs in.
	SetUp(w http.ResponseWriter, r *http.Request, token hongyan.SetupToken, name string, p hongyan.Password) (hongyan.SignIn, error)
}

// nobody is in place of sessions where there is no console.
type nobody struct{}

func noSession() error {
	return hongyan.Errorf(hongyan.CodeSignedOut, "The request shows no session.")
}

func (nobody) Has(*http.Request) bool { return false }
func (nobody) Find(http.ResponseWriter, *http.Request) (hongyan.SignIn, error) {
	return hongyan.SignIn{}, noSession()
}
func (nobody) SignIn(http.ResponseWriter, *http.Request, string, hongyan.Password) (hongyan.SignIn, error) {
	return hongyan.SignIn{}, hongyan.Errorf(hongyan.CodeSignInFailed, "Name or password is wrong.")
}
func (nobody) SignOut(http.ResponseWriter, *http.Request) error { return nil }
func (nobody) ChangePassword(http.ResponseWriter, *http.Request, hongyan.Password, hongyan.Password) (hongyan.SignIn, error) {
	return hongyan.SignIn{}, noSession()
}
func (nobody) Link(context.Context, hongyan.SetupToken) (hongyan.SetupLink, error) {
	return hongyan.SetupLink{}, hongyan.Errorf(hongyan.CodeLinkEnded, "This server has no console.")
}
func (nobody) SetUp(http.ResponseWriter, *http.Request, hongyan.SetupToken, string, hongyan.Password) (hongyan.SignIn, error) {
	return hongyan.SignIn{}, hongyan.Errorf(hongyan.CodeLinkEnded, "This server has no console.")
}

// Limits of an address that signs in: an office behind one address has a morning, a guesser
// has no more than that.
const (
	signInsPerSecond = 0.5
	signInsBurst     = 30
)

// visitor lets a request through that shows nothing yet, if it comes from our own pages or
// from no page at all.
func (s *server) visitor(next func(*exchange, *http.Request)) http.HandlerFunc {
	return s.street(s.limits.members, func(x *exchange, r *http.Request) {
		if err := s.sameOrigin(r); err != nil {
			x.fail(err)
			return
		}
		next(x, r)
	})
}

// signedIn lets a request through that shows a member's session.
func (s *server) signedIn(next func(*exchange, *http.Request)) http.HandlerFunc {
	return s.open(func(x *exchange, r *http.Request) {
		err := noSession()
		if !hasKey(r) {
			_, err = s.member(x, r)
		}
		if err != nil {
			x.fail(err)
			return
		}
		next(x, r)
	})
}

// member is who a request's session stands for.
func (s *server) member(x *exchange, r *http.Request) (hongyan.APIKey, error) {
	if err := s.sameOrigin(r); err != nil {
		return hongyan.APIKey{}, err
	}
	in, err := s.Sessions.Find(x, r)
	if err != nil {
		return hongyan.APIKey{}, err
	}
	x.session, x.key = &in, in.Member.Key()
	return x.key, nil
}

// sameOrigin refuses what a page of another site had a browser send: the browser would add
// the cookie by itself.
func (s *server) sameOrigin(r *http.Request) error {
	if err := s.origins.Check(r); err != nil {
		return hongyan.Errorf(hongyan.CodeCrossOrigin, "A page of another site sent this request: its Origin or Sec-Fetch-Site is not this server's.")
	}
	return nil
}

// stillCheck is how often what lasts looks whether it still may.
const stillCheck = 3 * time.Second

// still reports that the session of a request under way has ended, or its key was revoked.
func (s *server) still(x *exchange) error {
	if x.session != nil {
		_, err := s.Sessions.Find(nil, x.r)
		return err
	}
	if x.key.ID == adminKeyID {
		return nil
	}
	_, err := s.l.Key(x.key.ID)
	return err
}

type consoleInfo struct {
	Version  string `json:"version"`
	FirstRun bool   `json:"first_run" doc:"There is no member yet: a one-time link in the server's output makes the first owner."`
}

func (s *server) getConsole(ctx context.Context, _ *none) (consoleInfo, error) {
	some, err := s.l.AnyMember(ctx)
	return consoleInfo{Version: s.Version, FirstRun: !some}, err
}

// session is who is signed in, as the console shows it.
type session struct {
	Member    sessionMember   `json:"member"`
	Scopes    []hongyan.Scope `json:"scopes" doc:"What the member may do, by the scopes that operations ask for."`
	Sandbox   bool            `json:"sandbox" doc:"The server relays to a sandbox."`
	ExpiresAt time.Time       `json:"expires_at" doc:"If the member does nothing more."`
}

type sessionMember struct {
	ID   hongyan.MemberID `json:"id"`
	Name string           `json:"name"`
	Role hongyan.Role     `json:"role" enum:"owner,viewer"`
}

func (s *server) sessionFor(in hongyan.SignIn, err error) (session, error) {
	m := in.Member
	return session{Member: sessionMember{m.ID, m.Name, m.Role}, Scopes: m.Role.Scopes(), Sandbox: s.SandboxURL != "", ExpiresAt: in.ExpiresAt}, err
}

type setup struct {
	Token    string `json:"token" maxLength:"64" doc:"What stands behind token= in the link."`
	Name     string `json:"name,omitempty" maxLength:"64" doc:"Of the first owner; others have theirs."`
	Password string `json:"password" minLength:"10" maxLength:"256"`
}

func (s *server) setUp(ctx context.Context, _ *none, b *setup) (session, error) {
	x := exchangeOf(ctx)
	return s.sessionFor(s.Sessions.SetUp(x, x.r, hongyan.NewSetupToken(b.Token), b.Name, hongyan.NewPassword(b.Password)))
}

type setupCheck struct {
	Token string `json:"token" maxLength:"64" doc:"What stands behind token= in the link."`
}

func (s *server) checkSetup(ctx context.Context, _ *none, b *setupCheck) (hongyan.SetupLink, error) {
	return s.Sessions.Link(ctx, hongyan.NewSetupToken(b.Token))
}

type signIn struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

func (s *server) signIn(ctx context.Context, _ *none, b *signIn) (session, error) {
	x := exchangeOf(ctx)
	return s.sessionFor(s.Sessions.SignIn(x, x.r, b.Name, hongyan.NewPassword(b.Password)))
}

func (s *server) getSession(ctx context.Context, _ *none) (session, error) {
	return s.sessionFor(*exchangeOf(ctx).session, nil)
}

func (s *server) signOut(ctx context.Context, _ *none) error {
	x := exchangeOf(ctx)
	return s.Sessions.SignOut(x, x.r)
}

type passwordChange struct {
	Old string `json:"old"`
	New string `json:"new" minLength:"10" maxLength:"256"`
}

func (s *server) changePassword(ctx context.Context, _ *none, b *passwordChange) (session, error) {
	x := exchangeOf(ctx)
	return s.sessionFor(s.Sessions.ChangePassword(x, x.r, hongyan.NewPassword(b.Old), hongyan.NewPassword(b.New)))
}

type memberCreate struct {
	Name string       `json:"name" minLength:"1" maxLength:"64" doc:"Names that differ in case or width alone count as one."`
	Role hongyan.Role `json:"role" enum:"owner,viewer"`
}

func (s *server) createMember(ctx context.Context, _ *none, b *memberCreate) (hongyan.Member, error) {
	x := exchangeOf(ctx)
	if err := governs(x.key, b.Role); err != nil {
		return hongyan.Member{}, err
	}
	return s.l.CreateMember(ctx, b.Name, b.Role, x.idem)
}

// replayMember: the link was in the first answer and is stored nowhere.
func (s *server) replayMember(_ context.Context, _ *none, id string) (hongyan.Member, error) {
	return hongyan.Member{}, hongyan.Errorf(hongyan.CodeSecretShownOnce, "Member %s was made by the first request with this Idempotency-Key; reset makes another link.", id)
}

// governs keeps who manages members from giving more than they have: by a role, or by a link
// that sets the password of somebody with that role.
func governs(key hongyan.APIKey, roles ...hongyan.Role) error {
	if len(key.Apps) > 0 {
		return hongyan.Errorf(hongyan.CodeForbidden, "This key is limited to some apps; members see all.")
	}
	for _, r := range roles {
		for _, sc := range r.Scopes() {
			if !slices.Contains(key.Scopes, sc) {
				return hongyan.Errorf(hongyan.CodeForbidden, "An %s has the scope %s, which is not yours to give.", r, sc)
			}
		}
	}
	return nil
}

func (s *server) listMembers(ctx context.Context, _ *none) (list[hongyan.Member], error) {
	if err := governs(exchangeOf(ctx).key); err != nil {
		return list[hongyan.Member]{}, err
	}
	members, err := s.l.Members(ctx)
	return list[hongyan.Member]{Items: members}, err
}

type inMember struct {
	ID hongyan.MemberID `path:"id"`
}

// governing is what the ledger asks about a member, as it is when it is changed: whether
// whoever asks may give the role that the member has, and these.
func governing(ctx context.Context, roles ...hongyan.Role) ledger.MayGovern {
	key := exchangeOf(ctx).key
	return func(m hongyan.Member) error { return governs(key, append([]hongyan.Role{m.Role}, roles...)...) }
}

type memberUpdate struct {
	Role     *hongyan.Role `json:"role,omitempty" enum:"owner,viewer"`
	Disabled *bool         `json:"disabled,omitempty" doc:"A disabled member cannot sign in."`
}

func (s *server) updateMember(ctx context.Context, in *inMember, b *memberUpdate) (hongyan.Member, error) {
	var roles []hongyan.Role
	if b.Role != nil {
		roles = append(roles, *b.Role)
	}
	return s.l.UpdateMember(ctx, in.ID, ledger.MemberChange{Role: b.Role, Disabled: b.Disabled}, governing(ctx, roles...))
}

func (s *server) deleteMember(ctx context.Context, in *inMember) error {
	return s.l.DeleteMember(ctx, in.ID, governing(ctx))
}

func (s *server) resetMember(ctx context.Context, in *inMember) (hongyan.Member, error) {
	return s.l.ResetMember(ctx, in.ID, governing(ctx))
}
