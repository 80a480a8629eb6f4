package hongyan

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// MemberID names a member: "mem_" and a ULID.
type MemberID string

// NewMemberID makes an id at now.
func NewMemberID(now time.Time) MemberID { return MemberID("mem_" + newULID(now).String()) }

// Role is what a member may do.
type Role string

// The roles.
const (
	RoleOwner  Role = "owner"  // everything, so that keys for programs can be made in the console
	RoleViewer Role = "viewer" // look, and change nothing
)

// Roles lists every role there is.
func Roles() []Role { return []Role{RoleOwner, RoleViewer} }

// Scopes are the rights of a role.
func (r Role) Scopes() []Scope {
	switch r {
	case RoleOwner:
		return Scopes()
	case RoleViewer:
		return []Scope{ScopeRead}
	}
	return nil
}

// Member is a person who signs in to the console (成员). A user is somebody else: an openid.
type Member struct {
	ID   MemberID `json:"id"`
	Name string   `json:"name"`
	Role Role     `json:"role" enum:"owner,viewer"`
	// HasPassword is false until the member has used the link that came with the name.
	HasPassword  bool      `json:"has_password"`
	CreatedAt    time.Time `json:"created_at"`
	LastSignInAt time.Time `json:"last_sign_in_at,omitzero"`
	DisabledAt   time.Time `json:"disabled_at,omitzero"`
	// Link is where a password is set, once, without scheme and host: in the answer that makes it and nowhere else.
	Link        string    `json:"link,omitempty"`
	LinkExpires time.Time `json:"link_expires_at,omitzero"`
}

// Key is the member as whoever asks: what counts is the role's scopes.
func (m Member) Key() APIKey {
	return APIKey{ID: APIKeyID(m.ID), Name: m.Name, Scopes: m.Role.Scopes(), CreatedAt: m.CreatedAt}
}

// SetupPath is the console's page that takes a one-time link; the token follows it. What
// stands behind # is sent to no server and stands in no log of a proxy.
const SetupPath = "/console/setup#token="

const maxMemberName = 64

// CheckMemberName reports what is wrong with a name.
func CheckMemberName(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > maxMemberName || !utf8.ValidString(name) {
		return Invalid("/name", "length", "A member's name has 1 to %d characters.", maxMemberName)
	}
	if strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Invalid("/name", "character", "A member's name has visible characters, and no space at its ends.")
	}
	return nil
}

// FoldMemberName is what two names have in common that count as one: case and width differ, no more.
func FoldMemberName(name string) string { return cases.Fold().String(norm.NFKC.String(name)) }

const (
	minPassword = 10
	maxPassword = 256
)

// worst are the passwords of at least ten characters that are tried first.
var worst = []string{"1234567890", "0123456789", "12345678910", "123456789a", "1234567891", "0987654321", "9876543210", "1q2w3e4r5t", "1qaz2wsx3edc", "qwertyuiop", "qwerty12345",
	"qwerty123456", "password12", "password123", "password1234", "passw0rd123", "administrator", "admin12345", "admin123456", "letmein123", "woaini1314", "woaini5201314", "5201314520", "abcd123456", "asdfghjkl;", "hongyan123", "hongyan1234", "hongyan12345"}

// CheckPassword reports what is wrong with a password for the member of that name; pointer
// says where it stood. The error never repeats it.
func CheckPassword(pointer, name string, p Password) error {
	v := p.Reveal()
	n := utf8.RuneCountInString(v)
	folded := FoldMemberName(v)
	switch {
	case n < minPassword || n > maxPassword || !utf8.ValidString(v):
		return Invalid(pointer, "length", "A password has %d to %d characters.", minPassword, maxPassword)
	case folded == FoldMemberName(name):
		return Invalid(pointer, "name", "The password must not be the name.")
	case slices.Contains(worst, folded) || strings.Count(v, v[:utf8Len(v)])*utf8Len(v) == len(v):
		return Invalid(pointer, "guessable", "This password is among the first that anybody tries. A few unrelated words are easier to keep in mind than they are to guess.")
	}
	return nil
}

// utf8Len is the length of the first character.
func utf8Len(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// CheckRole reports a role that there is not.
func CheckRole(r Role) error {
	if slices.Contains(Roles(), r) {
		return nil
	}
	return Invalid("/role", "not_in_list", "The roles are %s and %s.", RoleOwner, RoleViewer)
}

// SignIn is a member's session in the console, without its token.
type SignIn struct {
	Member    Member
	ExpiresAt time.Time // if the member does nothing more
}

// LinkPurpose is what a one-time link is for.
type LinkPurpose string

// The purposes of links.
const (
	LinkFirstOwner LinkPurpose = "first_owner"
	LinkPassword   LinkPurpose = "password"
)

// SetupLink is what a one-time link that is still good does.
type SetupLink struct {
	Purpose LinkPurpose `json:"purpose" enum:"first_owner,password" doc:"Make the first owner, or set a member's password."`
	Name    string      `json:"name,omitempty" doc:"Of the member; the first owner has none yet."`
}
