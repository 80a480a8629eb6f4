package sandbox

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rules are what WeChat leaves open or sets per account. The zero value is a
// healthy account.
type Rules struct {
	// DialogReject says whether a reject in the dialog keeps the grants a user
	// gave before ("keep", the default) or takes them away ("void").
	DialogReject string `json:"dialog_reject"`
	// SilentPushes says whether answers under "always keep my choice" push
	// events. Nobody knows whether WeChat's do; default no.
	SilentPushes bool `json:"silent_pushes"`
	// SettingsPushes says whether a refusal on the settings page pushes the change
	// event, as one on a card does. Nobody knows; default no.
	SettingsPushes bool `json:"settings_pushes"`
	// SentErrorCode, if it is not empty, makes every sent event of a configured
	// app a failure with this ErrorCode and SentErrorStatus (default "failed:
	// system failed"): the send is accepted, and no card arrives.
	SentErrorCode   string `json:"sent_error_code"`
	SentErrorStatus string `json:"sent_error_status"`
	// IPWhitelist has addresses and CIDR ranges. If there are any, both token
	// endpoints answer others with 40164.
	IPWhitelist []string `json:"ip_whitelist"`
	// Quotas are calls per path and Beijing day; the next one answers 45009.
	Quotas map[string]int `json:"quotas"`
	// BannedTemplates are template ids: "ban" in a tap, 43107 in a send.
	BannedTemplates []string `json:"banned_templates"`
	// BlockedUsers are openids whose login answers 40226.
	BlockedUsers []string `json:"blocked_users"`
	// MaxGrants is how many grants one user can bank per template; further taps
	// add none. 0 is no limit.
	MaxGrants int `json:"max_grants"`

	// MaxPerCall is how many templates one tap may ask for: 5 (default), or 3 as
	// older phones have it.
	MaxPerCall int `json:"max_per_call"`
	// Pages of the released version, without leading slash. If there are any, a
	// send with another page answers 41030.
	Pages []string `json:"pages"`
	// Blacklist has words; a send whose data contains one answers 45168.
	Blacklist []string `json:"blacklist"`
	// AccountErrcode makes a path, or "*" all paths, answer an errcode for good:
	// a lasting state of the account such as 48001 or 50002.
	AccountErrcode map[string]int `json:"account_errcode"`
	// FailedSendSpends makes a send refused for its content (41030, 40097, 47003,
	// 45168) spend a grant. Nobody knows whether WeChat's does; default no.
	FailedSendSpends bool `json:"failed_send_spends"`
}

// What a reject in the dialog does to grants.
const (
	dialogRejectKeep = "keep"
	dialogRejectVoid = "void"
)

// documentedQuotas are the daily limits that WeChat's pages give; they hold
// unless a rule says otherwise. Others depend on the account and are off.
var documentedQuotas = map[string]int{
	pathToken:       2_000,
	pathStableToken: 500_000,
}

// ruleSet is Rules made ready for look-ups. It is immutable.
type ruleSet struct {
	Rules
	prefixes []netip.Prefix
	banned   map[string]bool
	blocked  map[string]bool
	pages    map[string]bool
}

// newRuleSet fills the defaults in; r has passed check.
func newRuleSet(r Rules) *ruleSet {
	if r.DialogReject == "" {
		r.DialogReject = dialogRejectKeep
	}
	if r.MaxPerCall == 0 {
		r.MaxPerCall = 5
	}
	if r.SentErrorCode != "" {
		r.SentErrorCode, r.SentErrorStatus = sentFailure(r.SentErrorCode, r.SentErrorStatus)
	}
	// Answers show empty lists, not null.
	for _, list := range []*[]string{&r.IPWhitelist, &r.BannedTemplates, &r.BlockedUsers, &r.Pages, &r.Blacklist} {
		*list = append([]string{}, *list...)
	}
	for _, m := range []*map[string]int{&r.Quotas, &r.AccountErrcode} {
		copied := make(map[string]int, len(*m))
		for k, v := range *m {
			copied[k] = v
		}
		*m = copied
	}
	set := &ruleSet{Rules: r, banned: setOf(r.BannedTemplates), blocked: setOf(r.BlockedUsers), pages: setOf(r.Pages)}
	for _, entry := range r.IPWhitelist {
		p, _ := parsePrefix(entry)
		set.prefixes = append(set.prefixes, p)
	}
	return set
}

func setOf(list []string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, v := range list {
		m[v] = true
	}
	return m
}

// parsePrefix reads an address or a CIDR range.
func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	ip = ip.Unmap()
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}

// check reports the first rule that cannot be.
func (r *Rules) check(s *Sandbox) error {
	if r.DialogReject != "" && r.DialogReject != dialogRejectKeep && r.DialogReject != dialogRejectVoid {
		return badRequest(`dialog_reject must be "keep" or "void".`)
	}
	for _, entry := range r.IPWhitelist {
		if _, err := parsePrefix(entry); err != nil {
			return badRequest(fmt.Sprintf("ip_whitelist: %q is neither an address nor a CIDR range.", entry))
		}
	}
	for path, n := range r.Quotas {
		if err := s.checkPath("quotas", path); err != nil {
			return err
		}
		if n < 0 {
			return badRequest(fmt.Sprintf("quotas: %s must not be negative.", path))
		}
	}
	for path, code := range r.AccountErrcode {
		if err := s.checkPath("account_errcode", path); path != allPaths && err != nil {
			return err
		}
		if code == 0 {
			return badRequest("account_errcode: 0 is no error.")
		}
	}
	switch {
	case r.SentErrorCode == "0" || r.SentErrorCode == "" && r.SentErrorStatus != "":
		return badRequest(`sent_error_code must be the ErrorCode of a failure, not "0", and goes with sent_error_status.`)
	case r.MaxGrants < 0:
		return badRequest("max_grants must not be negative.")
	case r.MaxPerCall != 0 && r.MaxPerCall != 3 && r.MaxPerCall != 5:
		return badRequest("max_per_call must be 3 or 5.")
	case slices.Contains(r.Blacklist, ""):
		return badRequest("blacklist: an empty word would match every message.")
	}
	return nil
}

// SetRules replaces all rules of an app and returns them with their defaults.
func (s *Sandbox) SetRules(appID string, r Rules) (Rules, error) {
	_, a, err := s.find(appID)
	if err != nil {
		return Rules{}, err
	}
	if err := r.check(s); err != nil {
		return Rules{}, err
	}
	set := newRuleSet(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules = set
	return set.Rules, nil
}

// Rules returns the rules of an app.
func (s *Sandbox) Rules(appID string) (Rules, error) {
	_, a, err := s.find(appID)
	if err != nil {
		return Rules{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return newRuleSet(a.rules.Rules).Rules, nil // a copy: its lists belong to the caller
}

// quota is the daily limit of a path, if it has one.
func (r *ruleSet) quota(path string) (int, bool) {
	n, ok := r.Quotas[path]
	if !ok {
		n, ok = documentedQuotas[path]
	}
	return n, ok
}

// accountErrcode is the lasting refusal of a path, or 0.
func (r *ruleSet) accountErrcode(path string) int {
	if code, ok := r.AccountErrcode[path]; ok {
		return code
	}
	return r.AccountErrcode[allPaths]
}

// allows reports whether the whitelist lets an address have tokens.
func (r *ruleSet) allows(ip netip.Addr) bool {
	if len(r.prefixes) == 0 {
		return true
	}
	return slices.ContainsFunc(r.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// hasPage reports whether a send may open page.
func (r *ruleSet) hasPage(page string) bool {
	if page == "" || len(r.pages) == 0 {
		return true
	}
	path, _, _ := strings.Cut(page, "?")
	return r.pages[path]
}

// blacklisted reports whether a value holds a forbidden word.
func (r *ruleSet) blacklisted(value string) bool {
	return slices.ContainsFunc(r.Blacklist, func(word string) bool { return strings.Contains(value, word) })
}
