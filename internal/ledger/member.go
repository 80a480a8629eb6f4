package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/hongyan-push/hongyan"
)

// Members change in transactions of [Ledger.change], which run one after the other on all
// replicas: so the last owner cannot go in two at once, nor two become the first.

// Credential is a member with what a password is compared with.
type Credential struct {
	hongyan.Member
	// Hash is of the password, with its parameters; empty: there is none.
	Hash string
	// Epoch grows when role or password change: a session of an older one is void.
	Epoch int64
}

const memberColumns = `id, name, role, hash, epoch, created_at, signed_in_at, disabled_at`

func scanMember(r scanner) (c Credential, err error) {
	var created, signedIn, disabled int64
	err = r.Scan(&c.ID, &c.Name, &c.Role, &c.Hash, &c.Epoch, &created, &signedIn, &disabled)
	c.CreatedAt, c.LastSignInAt, c.DisabledAt, c.HasPassword = at(created), at(signedIn), at(disabled), c.Hash != ""
	return c, err
}

func memberNotFound(id hongyan.MemberID) error {
	return hongyan.Errorf(hongyan.CodeNotFound, "There is no member %.40s.", string(id))
}

// Members lists every member, oldest first.
func (l *Ledger) Members(ctx context.Context) ([]hongyan.Member, error) {
	out := []hongyan.Member{}
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.Members */ SELECT `+memberColumns+` FROM members ORDER BY id`)
	if err == nil {
		err = eachRow(rs, func(r scanner) error {
			c, err := scanMember(r)
			out = append(out, c.Member)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return out, nil
}

// Member finds a member.
func (l *Ledger) Member(ctx context.Context, id hongyan.MemberID) (Credential, error) {
	c, err := scanMember(l.rdb.QueryRowContext(ctx, `/* ledger.Member */ SELECT `+memberColumns+` FROM members WHERE id = ?`, string(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return Credential{}, memberNotFound(id)
	}
	if err != nil {
		return Credential{}, fmt.Errorf("read member: %w", err)
	}
	return c, nil
}

func (t *txn) member(id hongyan.MemberID) (c Credential, err error) {
	err = t.rows(`/* ledger.member */ SELECT `+memberColumns+` FROM members WHERE id = ?`+t.l.d.lock, []any{string(id)}, func(r scanner) (err error) {
		c, err = scanMember(r)
		return err
	})
	if err == nil && c.ID == "" {
		err = memberNotFound(id)
	}
	return c, err
}

// AnyMember reports whether there is a member; if not, this is a first run.
func (l *Ledger) AnyMember(ctx context.Context) (bool, error) {
	var some bool
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.AnyMember */ SELECT EXISTS (SELECT 1 FROM members)`).Scan(&some); err != nil {
		return false, fmt.Errorf("read members: %w", err)
	}
	return some, nil
}

// foldedName is by what names are compared.
func foldedName(name string) []byte {
	sum := sha256.Sum256([]byte(hongyan.FoldMemberName(name)))
	return sum[:]
}

// CreateMember makes a member, with a link to set a password by.
func (l *Ledger) CreateMember(ctx context.Context, name string, role hongyan.Role, idem *Idempotency) (hongyan.Member, error) {
	if err := errors.Join(hongyan.CheckMemberName(name), hongyan.CheckRole(role)); err != nil {
		return hongyan.Member{}, err
	}
	var m hongyan.Member
	err := l.change(ctx, "create member", func(t *txn) (err error) {
		if m, err = t.createMember(name, role, ""); err != nil {
			return err
		}
		if m.Link, m.LinkExpires, err = t.link(purposeReset, m.ID); err != nil {
			return err
		}
		if err := t.auditDiff("", "member", string(m.ID), nil, memberFacts(m)); err != nil {
			return err
		}
		return t.remember(idem, 201, string(m.ID))
	})
	return m, err
}

// memberFacts are what the audit log compares of a member.
func memberFacts(m hongyan.Member) map[string]any {
	return map[string]any{"name": m.Name, "role": m.Role, "disabled": !m.DisabledAt.IsZero()}
}

func (t *txn) createMember(name string, role hongyan.Role, hash string) (hongyan.Member, error) {
	m := hongyan.Member{ID: hongyan.NewMemberID(at(t.now)), Name: name, Role: role, HasPassword: hash != "", CreatedAt: at(t.now)}
	n, err := t.exec(`/* ledger.createMember */ INSERT INTO members (id, name, folded, role, hash, epoch, created_at, signed_in_at, disabled_at) VALUES (?, ?, ?, ?, ?, 1, ?, 0, 0) ON CONFLICT (folded) DO NOTHING`,
		string(m.ID), name, foldedName(name), string(role), hash, t.now)
	if err == nil && n == 0 {
		err = hongyan.Errorf(hongyan.CodeConflict, "There is a member %q already; names that differ in case or width alone count as one.", name)
	}
	return m, err
}

// MemberChange is what may change of a member; nil stays as it is.
type MemberChange struct {
	Role     *hongyan.Role
	Disabled *bool
}

// MayGovern tells whether somebody may change a member, as the member is within the
// transaction: a role that was looked at before may be another by then. nil lets everybody.
type MayGovern func(hongyan.Member) error

// governed finds a member whom somebody wants to change.
func (t *txn) governed(id hongyan.MemberID, may MayGovern) (Credential, error) {
	c, err := t.member(id)
	if err == nil && may != nil {
		err = may(c.Member)
	}
	return c, err
}

// UpdateMember changes a member, whose sessions and links end with it: a link was given out
// for somebody with the role of then. The last owner stays one.
func (l *Ledger) UpdateMember(ctx context.Context, id hongyan.MemberID, ch MemberChange, may MayGovern) (hongyan.Member, error) {
	if ch.Role != nil {
		if err := hongyan.CheckRole(*ch.Role); err != nil {
			return hongyan.Member{}, err
		}
	}
	var c Credential
	err := l.change(ctx, "change member", func(t *txn) (err error) {
		if c, err = t.governed(id, may); err != nil {
			return err
		}
		was := c
		if ch.Role != nil {
			c.Role = *ch.Role
		}
		if ch.Disabled != nil && *ch.Disabled != !c.DisabledAt.IsZero() {
			c.DisabledAt = time.Time{}
			if *ch.Disabled {
				c.DisabledAt = at(t.now)
			}
		}
		if c == was {
			return nil
		}
		if c.Role != hongyan.RoleOwner || !c.DisabledAt.IsZero() {
			if err := t.spareOwner(was); err != nil {
				return err
			}
		}
		c.Epoch++
		if _, err := t.exec(`/* ledger.UpdateMember */ UPDATE members SET role = ?, disabled_at = ?, epoch = ? WHERE id = ?`, string(c.Role), ms(c.DisabledAt), c.Epoch, string(id)); err != nil {
			return err
		}
		if err := t.endLinks(id); err != nil {
			return err
		}
		if err := t.auditDiff("", "member", string(id), memberFacts(was.Member), memberFacts(c.Member)); err != nil {
			return err
		}
		return t.endSessions(id)
	})
	return c.Member, err
}

// DeleteMember removes a member. The last owner stays.
func (l *Ledger) DeleteMember(ctx context.Context, id hongyan.MemberID, may MayGovern) error {
	return l.change(ctx, "delete member", func(t *txn) error {
		c, err := t.governed(id, may)
		if err == nil {
			err = t.spareOwner(c)
		}
		if err == nil {
			_, err = t.exec(`/* ledger.DeleteMember */ DELETE FROM members WHERE id = ?`, string(id))
		}
		if err == nil {
			err = t.endLinks(id)
		}
		if err == nil {
			err = t.auditDiff("", "member", string(id), memberFacts(c.Member), nil)
		}
		if err != nil {
			return err
		}
		return t.endSessions(id)
	})
}

// spareOwner refuses to lose the last owner who can sign in.
func (t *txn) spareOwner(c Credential) error {
	if c.Role != hongyan.RoleOwner || !c.DisabledAt.IsZero() || c.Hash == "" {
		return nil
	}
	var others int64
	if err := t.row(`/* ledger.spareOwner */ SELECT COUNT(*) FROM members WHERE role = ? AND disabled_at = 0 AND hash <> '' AND id <> ?`, []any{string(hongyan.RoleOwner), string(c.ID)}, &others); err != nil {
		return err
	}
	if others == 0 {
		return hongyan.Errorf(hongyan.CodeConflict, "%s is the last owner who can sign in: make another one first.", c.Name)
	}
	return nil
}

// endSessions signs a member out everywhere.
func (t *txn) endSessions(id hongyan.MemberID) error {
	_, err := t.exec(`/* ledger.endSessions */ DELETE FROM member_sessions WHERE member_id = ?`, string(id))
	return err
}

// endLinks ends the links by which a member could set a password.
func (t *txn) endLinks(id hongyan.MemberID) error {
	_, err := t.exec(`/* ledger.endLinks */ DELETE FROM setup_tokens WHERE member_id = ?`, string(id))
	return err
}

// SetPassword gives a member another password: all sessions and links end. It is refused if
// role or password have changed since c was read.
func (l *Ledger) SetPassword(ctx context.Context, c Credential, hash string) (Credential, error) {
	err := l.change(ctx, "set password", func(t *txn) error { return t.setPassword(&c, hash) })
	return c, err
}

func (t *txn) setPassword(c *Credential, hash string) error {
	n, err := t.exec(`/* ledger.setPassword */ UPDATE members SET hash = ?, epoch = ? WHERE id = ? AND epoch = ? AND disabled_at = 0`, hash, c.Epoch+1, string(c.ID), c.Epoch)
	if err == nil && n == 0 {
		err = hongyan.Errorf(hongyan.CodeConflict, "The member has changed meanwhile.")
	}
	if err == nil {
		_, err = t.exec(`/* ledger.setPassword */ DELETE FROM sign_in_tries WHERE name = ?`, foldedName(c.Name))
	}
	if err == nil {
		err = t.endLinks(c.ID)
	}
	if err == nil {
		t.actsAs(c.Member)
		err = t.audit("", "member", string(c.ID), hongyan.ChangedSecret("/password", c.Hash != "", true))
	}
	if err != nil {
		return err
	}
	t.after = append(t.after, func() { c.Hash, c.Epoch, c.HasPassword = hash, c.Epoch+1, true })
	return t.endSessions(c.ID)
}
