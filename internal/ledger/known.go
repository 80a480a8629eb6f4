package ledger

import "github.com/hongyan-push/hongyan"

// Where one process writes (SQLite), nobody else changes the rows of users and grants, so those
// that were read or written lately need not be read again: a tap is reported, and a moment
// later its message comes. known has them as the last commit left them; whoever holds the
// writer uses it, and nobody else. A statement that writes such rows and does not say which makes
// it forget them all.
type known struct {
	users  recent[userKey, int64]
	grants recent[grantKey, storedGrant]
}

// storedGrant is a row of grants.
type storedGrant struct {
	absent                                   bool // there is none
	exact, standing                          int64
	available, taken, voided, zeroAt, folded int64
}

// told, in a statement, says that what it writes is told to learned.
const told = "/* told */ "

// learned is what one transaction has read and written of them. It becomes known with its commit.
type learned struct {
	known  *known
	users  map[userKey]int64
	grants map[grantKey]storedGrant
}

// learned is nil where nothing is known.
func (l *Ledger) learned() *learned {
	if !l.d.alone {
		return nil
	}
	x := &learned{known: &l.known}
	x.forgetOwn()
	return x
}

func (x *learned) user(k userKey) (no int64, ok bool) {
	if x == nil {
		return 0, false
	}
	if no, ok = x.users[k]; !ok {
		no, ok = x.known.users.get(k)
	}
	return no, ok
}

func (x *learned) isUser(k userKey, no int64) {
	if x != nil {
		x.users[k] = no
	}
}

func (x *learned) grant(k grantKey) (g storedGrant, ok bool) {
	if x == nil {
		return g, false
	}
	if g, ok = x.grants[k]; !ok {
		g, ok = x.known.grants.get(k)
	}
	return g, ok
}

// isGrant says how a row has been read or is written.
func (x *learned) isGrant(k grantKey, g storedGrant) {
	if x != nil {
		x.known.grants.remove(k) // also if this is not committed
		x.grants[k] = g
	}
}

// changed says that a row is written, and not how.
func (x *learned) changed(k grantKey) {
	if x != nil {
		x.known.grants.remove(k)
		delete(x.grants, k)
	}
}

// before forgets what a statement may change.
func (x *learned) before(s concerns) {
	if s&writesGrants != 0 {
		x.known.grants = recent[grantKey, storedGrant]{}
		clear(x.grants)
	}
	if s&renamesUsers != 0 {
		x.known.users = recent[userKey, int64]{}
		clear(x.users)
	}
}

// forgetOwn forgets what the transaction has seen: a savepoint may have taken it back.
func (x *learned) forgetOwn() {
	if x != nil {
		x.users, x.grants = make(map[userKey]int64), make(map[grantKey]storedGrant)
	}
}

func (x *learned) committed() {
	if x == nil {
		return
	}
	for k, no := range x.users {
		x.known.users.put(k, no)
	}
	for k, g := range x.grants {
		x.known.grants.put(k, g)
	}
}

// knownMost is how many users and grants are known at least, once there were as many, and
// half of how many at most: some 25 MB in all.
const knownMost = 1 << 16

// recent keeps what was put into it or found in it lately.
type recent[K comparable, V any] struct{ young, old map[K]V }

func (r *recent[K, V]) get(k K) (v V, ok bool) {
	if v, ok = r.young[k]; ok {
		return v, ok
	}
	if v, ok = r.old[k]; ok {
		r.put(k, v)
	}
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if len(r.young) >= knownMost {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[K]V)
	}
	r.young[k] = v
}

func (r *recent[K, V]) remove(k K) {
	delete(r.young, k)
	delete(r.old, k)
}

// findKnown is how far users are known; it answers the others.
func (t *txn) findKnown(appNo int64, openids []hongyan.OpenID, found map[hongyan.OpenID]int64) (rest []hongyan.OpenID) {
	for _, o := range openids {
		if no, ok := t.learned.user(userKey{appNo, o}); ok {
			found[o] = no
		} else {
			rest = append(rest, o)
		}
	}
	return rest
}
