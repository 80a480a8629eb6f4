package sandbox

import "fmt"

const (
	maxOpenIDs = 100_000 // per control call
	maxTimes   = 1_000
)

// UsersSpec describes users to create: one by OpenID, many by OpenIDs, or Count
// made-up ones (default 1).
type UsersSpec struct {
	AppID   string   `json:"appid"`
	OpenID  string   `json:"openid"`
	OpenIDs []string `json:"openids"`
	Count   int      `json:"count"`
	// UnionID is for one user only. Without it a login answers no unionid, as
	// with an app that is not bound to an Open Platform account.
	UnionID string `json:"unionid"`
}

// NewUsers are the users of a call, new or not.
type NewUsers struct {
	OpenID  string   `json:"openid,omitempty"` // if it is one
	OpenIDs []string `json:"openids"`
}

// AddUsers creates users. Those that exist stay as they are.
func (s *Sandbox) AddUsers(spec UsersSpec) (NewUsers, error) {
	_, a, err := s.find(spec.AppID)
	if err != nil {
		return NewUsers{}, err
	}
	openIDs, err := spec.openIDs() // before locking: it may make up 100,000
	if err != nil {
		return NewUsers{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range openIDs {
		u := a.users[id]
		if u == nil {
			u = &user{openID: id}
			a.users[id] = u
			a.order = append(a.order, u)
		}
		if spec.UnionID != "" {
			u.unionID = spec.UnionID
		}
	}
	v := NewUsers{OpenIDs: openIDs}
	if len(openIDs) == 1 {
		v.OpenID = openIDs[0]
	}
	return v, nil
}

func (spec *UsersSpec) openIDs() ([]string, error) {
	if spec.Count < 0 || spec.Count > maxOpenIDs {
		return nil, badRequest(fmt.Sprintf("count must be 1 to %d.", maxOpenIDs))
	}
	list, err := oneOrMany(spec.OpenID, spec.OpenIDs)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 && spec.Count > 0 {
		return nil, badRequest("count makes openids up; it does not go with openid or openids.")
	}
	for _, id := range list {
		if !isID(id) {
			return nil, badRequest(fmt.Sprintf("openid %q must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -.", id))
		}
	}
	if len(list) == 0 {
		for range max(spec.Count, 1) {
			list = append(list, newOpenID())
		}
	}
	if spec.UnionID != "" && len(list) != 1 {
		return nil, badRequest("unionid goes with one user only.")
	}
	return list, nil
}

// oneOrMany reads the pair of fields openid and openids.
func oneOrMany(one string, many []string) ([]string, error) {
	switch {
	case one != "" && len(many) > 0:
		return nil, badRequest("Give openid or openids, not both.")
	case len(many) > maxOpenIDs:
		return nil, badRequest(fmt.Sprintf("openids must have at most %d entries.", maxOpenIDs))
	case one != "":
		return []string{one}, nil
	}
	return append([]string(nil), many...), nil
}
