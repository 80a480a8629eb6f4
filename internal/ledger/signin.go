package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/hongyan-push/hongyan"
)

// LinkTime is how long a one-time link is good for.
const LinkTime = 24 * time.Hour

// What a link is for.
const (
	purposeFirst = "first_run"
	purposeReset = "reset"
)

// Guessing a password gets slower: from the fifth in a row on, each makes the next wait twice
// as long. After triesKept without one all is forgotten, which allows no more than the longest wait does.
const (
	freeTries   = 4
	longestWait = 15 * time.Minute
	triesKept   = time.Hour
)

// BeginSignIn counts a try of a name's password and finds whose it is; no member: the zero
// value. It counts before anybody compares, so that tries at the same time cannot pass it by,
// and counts for names that nobody has, so that nothing tells them from others.
func (l *Ledger) BeginSignIn(ctx context.Context, name string) (c Credential, err error) {
	folded := foldedName(name)
	var wait time.Duration
	err = l.write(ctx, "begin sign-in", func(t *txn) error {
		c, wait = Credential{}, 0
		if _, err := t.exec(`/* ledger.BeginSignIn */ INSERT INTO sign_in_tries (name, tries, locked_until, until) VALUES (?, 0, 0, 0) ON CONFLICT (name) DO NOTHING`, folded); err != nil {
			return err
		}
		var tries, locked, until int64
		if err := t.row(`/* ledger.BeginSignIn */ SELECT tries, locked_until, until FROM sign_in_tries WHERE name = ?`+t.l.d.lock, []any{folded}, &tries, &locked, &until); err != nil {
			return orAgain(err)
		}
		if wait = time.Duration(locked-t.now) * time.Millisecond; wait > 0 {
			return nil
		}
		if until <= t.now {
			tries = 0
		}
		tries++
		if _, err := t.exec(`/* ledger.BeginSignIn */ UPDATE sign_in_tries SET tries = ?, locked_until = ?, until = ? WHERE name = ?`,
			tries, t.now+waitAfter(tries).Milliseconds(), t.now+triesKept.Milliseconds(), folded); err != nil {
			return err
		}
		return t.rows(`/* ledger.BeginSignIn */ SELECT `+memberColumns+` FROM members WHERE folded = ?`, []any{folded}, func(r scanner) (err error) {
			c, err = scanMember(r)
			return err
		})
	})
	if err == nil && wait > 0 {
		return Credential{}, &hongyan.Error{Code: hongyan.CodeRateLimited, Message: "Too many passwords were tried for this name.", RetryAfter: wait}
	}
	return c, err
}

// orAgain: a row that the purge took between two statements comes back with the next try.
func orAgain(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return errAgain
	}
	return err
}

// waitAfter is how long the name waits after so many tries.
func waitAfter(tries int64) time.Duration {
	if tries <= freeTries {
		return 0
	}
	return min(time.Second<<min(tries-freeTries-1, 20), longestWait)
}

// EndSignIn notes that the password was right: the tries are forgotten. A member who has
// changed meanwhile is not signed in.
func (l *Ledger) EndSignIn(ctx context.Context, c Credential) error {
	return l.write(ctx, "sign in", func(t *txn) error {
		n, err := t.exec(`/* ledger.EndSignIn */ UPDATE members SET signed_in_at = ? WHERE id = ? AND epoch = ? AND disabled_at = 0`, t.now, string(c.ID), c.Epoch)
		if err == nil && n == 0 {
			err = hongyan.Errorf(hongyan.CodeSignInFailed, "Name or password is wrong.")
		}
		if err == nil {
			_, err = t.exec(`/* ledger.EndSignIn */ DELETE FROM sign_in_tries WHERE name = ?`, foldedName(c.Name))
		}
		return err
	})
}

// MemberSession is somebody's session as it is stored.
type MemberSession struct {
	Member    hongyan.MemberID
	Data      []byte
	CreatedAt time.Time
	ExpiresAt time.Time
}

func sessionHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// MemberSession finds the session of a token that has not expired; the zero value if there is none.
func (l *Ledger) MemberSession(ctx context.Context, token string) (s MemberSession, err error) {
	var created, expires int64
	err = l.rdb.QueryRowContext(ctx, `/* ledger.MemberSession */ SELECT member_id, data, created_at, expires_at FROM member_sessions WHERE hash = ? AND expires_at > ?`,
		sessionHash(token), ms(l.Now())).Scan(&s.Member, &s.Data, &created, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return MemberSession{}, nil
	}
	if err != nil {
		return MemberSession{}, fmt.Errorf("read session: %w", err)
	}
	s.CreatedAt, s.ExpiresAt = at(created), at(expires)
	return s, nil
}

// SaveMemberSession stores a session or keeps it alive for idle, but never longer than life
// since it was made. Only kept: one that was ended meanwhile is not made again.
func (l *Ledger) SaveMemberSession(ctx context.Context, token string, s MemberSession, idle, life time.Duration, kept bool) error {
	hash := sessionHash(token)
	return l.write(ctx, "save session", func(t *txn) error {
		end, last := t.now+idle.Milliseconds(), life.Milliseconds()
		if kept {
			_, err := t.exec(`/* ledger.SaveMemberSession */ UPDATE member_sessions SET data = ?, seen_at = ?, expires_at = CASE WHEN created_at + ? < ? THEN created_at + ? ELSE ? END WHERE hash = ?`,
				s.Data, t.now, last, end, last, end, hash)
			return err
		}
		_, err := t.exec(`/* ledger.SaveMemberSession */ INSERT INTO member_sessions (hash, member_id, data, created_at, seen_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
			hash, string(s.Member), s.Data, t.now, t.now, min(end, t.now+last))
		return err
	})
}

// DeleteMemberSession ends the session of a token.
func (l *Ledger) DeleteMemberSession(ctx context.Context, token string) error {
	return l.write(ctx, "end session", func(t *txn) error {
		_, err := t.exec(`/* ledger.DeleteMemberSession */ DELETE FROM member_sessions WHERE hash = ?`, sessionHash(token))
		return err
	})
}

// FirstRunLink makes the link for the first owner, if there is no member yet; else it is
// empty. It ends the links of processes that are no more, and of this one.
func (l *Ledger) FirstRunLink(ctx context.Context) (link string, err error) {
	err = l.write(ctx, "make first-run link", func(t *txn) error {
		link = ""
		if _, err := t.exec(`/* ledger.FirstRunLink */ DELETE FROM setup_tokens WHERE purpose = ? AND (owner = ? OR owner NOT IN (SELECT owner FROM replicas WHERE seen_at > ?))`,
			purposeFirst, l.owner, t.now-heartbeatLost.Milliseconds()); err != nil {
			return err
		}
		var some bool
		err := t.row(`/* ledger.FirstRunLink */ SELECT EXISTS (SELECT 1 FROM members)`, nil, &some)
		if err == nil && !some {
			link, _, err = t.link(purposeFirst, "")
		}
		return err
	})
	return link, err
}

// ResetMember makes a link by which a member sets another password. The one there is stays good until then.
func (l *Ledger) ResetMember(ctx context.Context, id hongyan.MemberID, may MayGovern) (hongyan.Member, error) {
	var c Credential
	err := l.change(ctx, "reset member", func(t *txn) (err error) {
		if c, err = t.governed(id, may); err != nil {
			return err
		}
		if !c.DisabledAt.IsZero() {
			return hongyan.Errorf(hongyan.CodeConflict, "%s is disabled: enable the member first.", c.Name)
		}
		if err = t.endLinks(id); err != nil {
			return err
		}
		if c.Link, c.LinkExpires, err = t.link(purposeReset, id); err != nil {
			return err
		}
		return t.audit("", "member", string(id), hongyan.ChangedSecret("/link", false, true))
	})
	return c.Member, err
}

func (t *txn) link(purpose string, id hongyan.MemberID) (string, time.Time, error) {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	token := base64.RawURLEncoding.EncodeToString(raw[:])
	until := t.now + LinkTime.Milliseconds()
	_, err := t.exec(`/* ledger.link */ INSERT INTO setup_tokens (hash, purpose, member_id, owner, until) VALUES (?, ?, ?, ?, ?)`, sessionHash(token), purpose, string(id), t.l.owner, until)
	return hongyan.SetupPath + token, at(until), err
}

func linkEnded() error {
	return hongyan.Errorf(hongyan.CodeLinkEnded, "This link is not known, was used, was replaced by another or has ended.")
}

// SetupMember tells whose password a link sets, so that nothing is computed for a wrong one;
// the zero value is the first owner.
func (l *Ledger) SetupMember(ctx context.Context, token hongyan.SetupToken) (Credential, error) {
	var id hongyan.MemberID
	err := l.rdb.QueryRowContext(ctx, `/* ledger.SetupMember */ SELECT member_id FROM setup_tokens WHERE hash = ? AND until > ?`, sessionHash(token.Reveal()), ms(l.Now())).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return Credential{}, linkEnded()
	}
	if err != nil {
		return Credential{}, fmt.Errorf("read setup link: %w", err)
	}
	if id == "" {
		some, err := l.AnyMember(ctx)
		if err == nil && some {
			err = linkEnded()
		}
		return Credential{}, err
	}
	c, err := l.Member(ctx, id)
	if errors.Is(err, hongyan.CodeNotFound) { // removed since the link was read
		err = linkEnded()
	}
	return c, err
}

// SetUp uses a link up: it makes the first owner, of that name, or sets the password of the
// member c that [Ledger.SetupMember] found.
func (l *Ledger) SetUp(ctx context.Context, token hongyan.SetupToken, c Credential, name, hash string) (Credential, error) {
	err := l.change(ctx, "set up member", func(t *txn) error {
		n, err := t.exec(`/* ledger.SetUp */ DELETE FROM setup_tokens WHERE hash = ? AND member_id = ? AND until > ?`, sessionHash(token.Reveal()), string(c.ID), t.now)
		if err != nil {
			return err
		}
		if n == 0 {
			return linkEnded()
		}
		if c.ID != "" {
			return t.setPassword(&c, hash)
		}
		var some bool
		if err := t.row(`/* ledger.SetUp */ SELECT EXISTS (SELECT 1 FROM members)`, nil, &some); err != nil {
			return err
		}
		if some {
			return linkEnded()
		}
		m, err := t.createMember(name, hongyan.RoleOwner, hash)
		if err != nil {
			return err
		}
		t.actsAs(m)
		if err := t.auditDiff("", "member", string(m.ID), nil, memberFacts(m)); err != nil {
			return err
		}
		t.after = append(t.after, func() { c = Credential{Member: m, Hash: hash, Epoch: 1} })
		_, err = t.exec(`/* ledger.SetUp */ DELETE FROM setup_tokens WHERE purpose = ?`, purposeFirst)
		return err
	})
	return c, err
}
