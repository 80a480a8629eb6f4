package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
)

const (
	// Cookie is the name of the session's cookie.
	Cookie = "hongyan_session"
	// Idle is how long a session lives without a request, Lifetime how long at most.
	Idle     = 12 * time.Hour
	Lifetime = 7 * 24 * time.Hour
	// keepEvery is how often a session that is used is written: each time would be a write for every read.
	keepEvery = time.Minute
)

// What is kept in a session, by name.
const (
	keyMember = "member"
	keyEpoch  = "epoch"
)

// Config is what sessions need; all but Logger is required.
type Config struct {
	Ledger *ledger.Ledger
	// Secure reports whether a request came by https, maybe up to a proxy: then the cookie
	// goes no other way.
	Secure func(*http.Request) bool
	Logger *slog.Logger // default: discard
}

// Sessions knows who is signed in. Its methods may be called from any goroutine.
type Sessions struct {
	l      *ledger.Ledger
	secure func(*http.Request) bool
	log    *slog.Logger
	hasher *hasher
	scs    *scs.SessionManager
}

// NewSessions makes what api asks for members.
func NewSessions(cfg Config) (*Sessions, error) {
	if cfg.Ledger == nil || cfg.Secure == nil {
		return nil, errors.New("console: sessions need a ledger and Secure")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	// How long is the store's business: it has the clock that replicas share.
	// Not by scs.New, which starts a store of its own that cannot be stopped at once.
	m := &scs.SessionManager{Lifetime: Lifetime, Store: &store{l: cfg.Ledger}, Codec: scs.GobCodec{}}
	return &Sessions{l: cfg.Ledger, secure: cfg.Secure, log: cfg.Logger, hasher: newHasher(), scs: m}, nil
}

// Has reports whether a request shows a session, good or not.
func (s *Sessions) Has(r *http.Request) bool {
	_, err := r.Cookie(Cookie)
	return err == nil
}

// Find is the session that a request shows. With a ResponseWriter it also keeps it alive.
func (s *Sessions) Find(w http.ResponseWriter, r *http.Request) (hongyan.SignIn, error) {
	_, c, stored, err := s.find(r)
	if err != nil {
		return hongyan.SignIn{}, err
	}
	in := hongyan.SignIn{Member: c.Member, ExpiresAt: stored.ExpiresAt}
	if end := s.ends(stored.CreatedAt); w != nil && end.Sub(stored.ExpiresAt) >= keepEvery {
		token := tokenOf(r)
		if err := s.l.SaveMemberSession(r.Context(), token, stored, Idle, Lifetime, true); err != nil {
			// Whoever looks at a server whose disk is full must not be shown the door.
			s.log.WarnContext(r.Context(), "session not kept alive, trying again", "member_id", string(c.ID), "err", err)
			return in, nil
		}
		in.ExpiresAt = end
		s.setCookie(w, r, token, end.Sub(s.l.Now()))
	}
	return in, nil
}

// ends is when a session ends that is used now.
func (s *Sessions) ends(created time.Time) time.Time {
	idle, last := s.l.Now().Add(Idle), created.Add(Lifetime)
	if last.Before(idle) {
		return last
	}
	return idle
}

func (s *Sessions) find(r *http.Request) (context.Context, ledger.Credential, ledger.MemberSession, error) {
	out := hongyan.Errorf(hongyan.CodeSignedOut, "The session is not known or has ended.")
	token := tokenOf(r)
	if token == "" {
		return nil, ledger.Credential{}, ledger.MemberSession{}, hongyan.Errorf(hongyan.CodeSignedOut, "The request shows no session.")
	}
	stored := new(ledger.MemberSession)
	ctx, err := s.scs.Load(context.WithValue(r.Context(), storedKey{}, stored), token)
	if err != nil {
		return nil, ledger.Credential{}, *stored, err
	}
	if stored.Member == "" {
		return nil, ledger.Credential{}, *stored, out
	}
	c, err := s.l.Member(ctx, hongyan.MemberID(s.scs.GetString(ctx, keyMember)))
	if errors.Is(err, hongyan.CodeNotFound) || err == nil && (!c.DisabledAt.IsZero() || c.Epoch != s.scs.GetInt64(ctx, keyEpoch)) {
		return nil, ledger.Credential{}, *stored, out
	}
	return ctx, c, *stored, err
}

// SignIn checks a password and begins a session. A session that the request shows ends.
func (s *Sessions) SignIn(w http.ResponseWriter, r *http.Request, name string, clear hongyan.Password) (hongyan.SignIn, error) {
	c, err := s.check(r.Context(), name, clear)
	if err != nil {
		return hongyan.SignIn{}, err
	}
	if err := s.l.EndSignIn(r.Context(), c); err != nil {
		return hongyan.SignIn{}, err
	}
	return s.begin(w, r, c)
}

// check finds the member whose name and password these are.
func (s *Sessions) check(ctx context.Context, name string, clear hongyan.Password) (ledger.Credential, error) {
	c, err := s.l.BeginSignIn(ctx, name)
	if err != nil {
		return c, err
	}
	ok, err := s.hasher.same(ctx, c.Hash, clear)
	if err != nil {
		return c, err
	}
	if !ok || !c.DisabledAt.IsZero() {
		s.log.InfoContext(ctx, "sign-in refused", "member_id", string(c.ID)) // not the name: people type passwords there
		return c, hongyan.Errorf(hongyan.CodeSignInFailed, "Name or password is wrong.")
	}
	return c, nil
}

// begin gives the browser a session that nobody can have known before.
func (s *Sessions) begin(w http.ResponseWriter, r *http.Request, c ledger.Credential) (hongyan.SignIn, error) {
	ctx, err := s.scs.Load(r.Context(), tokenOf(r))
	if err == nil {
		err = s.scs.Clear(ctx)
	}
	if err == nil {
		err = s.scs.RenewToken(ctx)
	}
	if err != nil {
		return hongyan.SignIn{}, err
	}
	s.scs.Put(ctx, keyMember, string(c.ID))
	s.scs.Put(ctx, keyEpoch, c.Epoch)
	token, _, err := s.scs.Commit(ctx)
	if err != nil {
		return hongyan.SignIn{}, err
	}
	s.setCookie(w, r, token, Idle)
	now := s.l.Now()
	c.LastSignInAt = now
	return hongyan.SignIn{Member: c.Member, ExpiresAt: now.Add(Idle)}, nil
}

// SignOut ends the session that a request shows, if it shows one.
func (s *Sessions) SignOut(w http.ResponseWriter, r *http.Request) error {
	if token := tokenOf(r); token != "" {
		if err := s.l.DeleteMemberSession(r.Context(), token); err != nil {
			return err
		}
	}
	s.setCookie(w, r, "", 0)
	return nil
}

// ChangePassword gives the signed-in member another password. All sessions end; the request's
// own goes on as a new one.
func (s *Sessions) ChangePassword(w http.ResponseWriter, r *http.Request, old, clear hongyan.Password) (hongyan.SignIn, error) {
	_, c, _, err := s.find(r)
	if err == nil {
		err = hongyan.CheckPassword("/new", c.Name, clear)
	}
	if err == nil {
		c, err = s.check(r.Context(), c.Name, old)
	}
	if err != nil {
		return hongyan.SignIn{}, err
	}
	hash, err := s.hasher.hash(r.Context(), clear)
	if err == nil {
		c, err = s.l.SetPassword(r.Context(), c, hash)
	}
	if err != nil {
		return hongyan.SignIn{}, err
	}
	return s.begin(w, r, c)
}

// Link tells what a one-time link is for, and leaves it as it is.
func (s *Sessions) Link(ctx context.Context, token hongyan.SetupToken) (hongyan.SetupLink, error) {
	c, err := s.l.SetupMember(ctx, token)
	if err != nil {
		return hongyan.SetupLink{}, err
	}
	if c.ID == "" {
		return hongyan.SetupLink{Purpose: hongyan.LinkFirstOwner}, nil
	}
	return hongyan.SetupLink{Purpose: hongyan.LinkPassword, Name: c.Name}, nil
}

// SetUp uses a one-time link up and signs in: as the first owner, of that name, or as the
// member for whom it was made.
func (s *Sessions) SetUp(w http.ResponseWriter, r *http.Request, token hongyan.SetupToken, name string, clear hongyan.Password) (hongyan.SignIn, error) {
	c, err := s.setUp(r.Context(), token, name, clear)
	if err != nil {
		return hongyan.SignIn{}, err
	}
	if err := s.l.EndSignIn(r.Context(), c); err != nil {
		return hongyan.SignIn{}, err
	}
	return s.begin(w, r, c)
}

func (s *Sessions) setUp(ctx context.Context, token hongyan.SetupToken, name string, clear hongyan.Password) (ledger.Credential, error) {
	c, err := s.l.SetupMember(ctx, token)
	if err != nil {
		return c, err
	}
	if c.ID == "" {
		if err := hongyan.CheckMemberName(name); err != nil {
			return c, err
		}
		c.Name = name
	} else if name != "" && hongyan.FoldMemberName(name) != hongyan.FoldMemberName(c.Name) {
		return c, hongyan.Invalid("/name", "other_member", "This link sets the password of another member: leave the name out.")
	}
	if err := hongyan.CheckPassword("/password", c.Name, clear); err != nil {
		return c, err
	}
	hash, err := s.hasher.hash(ctx, clear)
	if err != nil {
		return c, err
	}
	return s.l.SetUp(ctx, token, c, name, hash)
}

// MakeOwner makes an owner, or gives the one of that name another password: for a demo, whose console opens at once.
func (s *Sessions) MakeOwner(ctx context.Context, name string, clear hongyan.Password) error {
	members, err := s.l.Members(ctx)
	if err != nil {
		return err
	}
	var m hongyan.Member
	for _, have := range members {
		if hongyan.FoldMemberName(have.Name) == hongyan.FoldMemberName(name) {
			m = have
		}
	}
	if m.ID == "" {
		m, err = s.l.CreateMember(ctx, name, hongyan.RoleOwner, nil)
	} else {
		m, err = s.l.ResetMember(ctx, m.ID, nil)
	}
	if err == nil {
		_, err = s.setUp(ctx, hongyan.NewSetupToken(m.Link[len(hongyan.SetupPath):]), "", clear)
	}
	return err
}

func tokenOf(r *http.Request) string {
	c, err := r.Cookie(Cookie)
	if err != nil || len(c.Value) > 64 {
		return ""
	}
	return c.Value
}

// setCookie gives the browser a token for so long; an empty one takes it back.
func (s *Sessions) setCookie(w http.ResponseWriter, r *http.Request, token string, life time.Duration) {
	c := &http.Cookie{Name: Cookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.secure(r), MaxAge: int(life.Seconds())}
	if token == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// store is where scs keeps sessions. It takes no times from scs, which reads this machine's
// clock: those of the ledger count.
type store struct {
	l *ledger.Ledger
}

// storedKey is where FindCtx leaves what scs does not ask for.
type storedKey struct{}

func (st *store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	m, err := st.l.MemberSession(ctx, token)
	if into, ok := ctx.Value(storedKey{}).(*ledger.MemberSession); ok {
		*into = m
	}
	return m.Data, m.Member != "", err
}

func (st *store) CommitCtx(ctx context.Context, token string, data []byte, _ time.Time) error {
	_, values, err := (scs.GobCodec{}).Decode(data)
	if err != nil {
		return err
	}
	id, _ := values[keyMember].(string)
	return st.l.SaveMemberSession(ctx, token, ledger.MemberSession{Member: hongyan.MemberID(id), Data: data}, Idle, Lifetime, false)
}

func (st *store) DeleteCtx(ctx context.Context, token string) error {
	return st.l.DeleteMemberSession(ctx, token)
}

// scs asks for these too, and uses those above.

func (st *store) Find(token string) ([]byte, bool, error) {
	return st.FindCtx(context.Background(), token)
}
func (st *store) Commit(token string, b []byte, t time.Time) error {
	return st.CommitCtx(context.Background(), token, b, t)
}
func (st *store) Delete(token string) error { return st.DeleteCtx(context.Background(), token) }
