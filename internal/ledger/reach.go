package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/hongyan-push/hongyan"
)

const (
	// reachTime is how long a count may take; then it says "at least".
	reachTime = 2 * time.Second
	// reachPart is how many numbers of users one statement goes over.
	reachPart = 50_000
)

// reachSQL counts one part of the users. Grants lie by user and have no index by template: it
// would be written with every grant, and this is read when a person looks at a page. Users
// and grants are both read in the order of their keys.
const reachSQL = `/* ledger.Reach */ SELECT COUNT(*),
	COALESCE(SUM(CASE WHEN g.available = 1 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.available = 2 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.available > 2 THEN 1 ELSE 0 END), 0),
	COALESCE(SUM(CASE WHEN g.standing = ? THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.standing = ? THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN g.standing = ? THEN 1 ELSE 0 END), 0),
	COALESCE(SUM(CASE WHEN g.exact = 0 AND g.available < 1 AND g.standing <> ? AND g.standing <> ? THEN 1 ELSE 0 END), 0)
	FROM users u JOIN grants g ON g.user_no = u.no AND g.template_no = ?
	WHERE u.no > ? AND u.no <= ? AND u.app_no = ? AND u.invalid_at = 0 AND u.openid NOT LIKE 'erased:%'`

// Reach counts the users whom a template can be sent to now. It is exact, but for what changes
// while it counts, as long as it takes no longer than two seconds.
func (l *Ledger) Reach(ctx context.Context, id hongyan.AppID, ref string) (hongyan.Reach, error) {
	a, te, err := l.template(id, ref)
	if err != nil {
		return hongyan.Reach{}, err
	}
	if l.d.alone {
		// What messages hold is written into the grants' rows first, so that they say it all.
		if err := l.foldPledges(ctx); err != nil {
			return hongyan.Reach{}, fmt.Errorf("count reach: %w", err)
		}
	}
	out := hongyan.Reach{App: id, TemplateID: te.template.TemplateID, Kind: te.template.Kind}
	var last int64
	if err := l.rdb.QueryRowContext(ctx, `/* ledger.Reach */ SELECT COALESCE(MAX(no), 0) FROM users`).Scan(&last); err != nil {
		return out, fmt.Errorf("count reach: %w", err)
	}
	accept, reject, ban := code(standingWords, hongyan.StandingAccept), code(standingWords, hongyan.StandingReject), code(standingWords, hongyan.StandingBan)
	for from, begun := int64(0), time.Now(); from < last; from += reachPart {
		if time.Since(begun) > reachTime {
			out.AtLeast = true
			break
		}
		var n, one, two, three, on, refused, banned, unknown int64
		err := l.rdb.QueryRowContext(ctx, reachSQL, accept, reject, ban, reject, ban, te.no, from, from+reachPart, a.no).Scan(&n, &one, &two, &three, &on, &refused, &banned, &unknown)
		if err != nil {
			return out, fmt.Errorf("count reach: %w", err)
		}
		out.UsersKnown, out.Refused, out.Banned = out.UsersKnown+n, out.Refused+refused, out.Banned+banned
		if te.template.Kind == hongyan.KindLongTerm {
			out.LongTermOn, out.UnknownBaseline = out.LongTermOn+on, out.UnknownBaseline+n-on-refused-banned
			continue
		}
		out.WithGrants.One, out.WithGrants.Two, out.WithGrants.Three = out.WithGrants.One+one, out.WithGrants.Two+two, out.WithGrants.Three+three
		out.UnknownBaseline += unknown
	}
	out.Reachable = out.WithGrants.One + out.WithGrants.Two + out.WithGrants.Three + out.LongTermOn
	return out, nil
}
