package ledgertest

import (
	"database/sql"
	"fmt"
	"strings"
)

// watch lets the database itself write down what messages and grants come to, by triggers: a
// witness that knows nothing of our code. Whatever runs on the database afterwards is compared
// with the figures by [Database.Miscounted].
func watch(t TB, db *sql.DB, dialect string) {
	t.Helper()
	const (
		states = `CASE WHEN NEW.state IN (7, 8) THEN NEW.reason ELSE '' END`
		moved  = `NEW.state <> OLD.state AND (NEW.state = 1 OR NEW.state > 4)`
		insert = `INSERT INTO watched (template_no, what, reason, n) `
		fresh  = insert + `VALUES (NEW.template_no, 12, '', 1); ` + insert + `SELECT NEW.template_no, 1, '', 1 FROM one WHERE NEW.state = 1;` +
			insert + `SELECT NEW.template_no, NEW.state, '', 1 FROM one WHERE NEW.state > 4;` // on SQLite many are new to the table when they are accepted
		state = insert + `VALUES (NEW.template_no, NEW.state, ` + states + `, 1);`
		entry = insert + `VALUES (NEW.template_no, 13, '', NEW.granted); ` + insert + `VALUES (NEW.template_no, 15, '', NEW.voided); ` +
			insert + `SELECT NEW.template_no, 14, '', 1 FROM one WHERE NEW.choice IN ('reject', 'ban');`
	)
	statements := []string{`CREATE TABLE IF NOT EXISTS watched (template_no BIGINT, what BIGINT, reason VARCHAR(64), n BIGINT)`}
	trigger := func(name, event, table, when, body string) {
		body = strings.ReplaceAll(body, "FROM one WHERE", map[string]string{"mysql": "FROM DUAL WHERE"}[dialect]+map[string]string{"sqlite": "WHERE", "postgres": "WHERE"}[dialect])
		switch dialect {
		case "sqlite":
			if when != "" {
				when = " WHEN " + when
			}
			statements = append(statements, `CREATE TRIGGER IF NOT EXISTS `+name+` AFTER `+event+` ON `+table+when+` BEGIN `+body+` END`)
		case "postgres":
			if when != "" {
				when = " WHEN (" + when + ")"
			}
			statements = append(statements, `CREATE OR REPLACE FUNCTION `+name+`() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+body+` RETURN NULL; END $$`,
				`CREATE OR REPLACE TRIGGER `+name+` AFTER `+event+` ON `+table+` FOR EACH ROW`+when+` EXECUTE FUNCTION `+name+`()`)
		default:
			if when != "" {
				body = "IF " + when + " THEN " + body + " END IF;"
			}
			statements = append(statements, `CREATE TRIGGER IF NOT EXISTS `+name+` AFTER `+event+` ON `+table+` FOR EACH ROW BEGIN `+body+` END`)
		}
	}
	trigger("watch_new", "INSERT", "messages", "", fresh)
	trigger("watch_state", "UPDATE", "messages", moved, state)
	trigger("watch_entry", "INSERT", "grant_entries", "", entry)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// miscounted lists where the figures are not what was watched. It is one statement, so that
// nothing happens in between.
func miscounted(t TB, db *sql.DB) (odd []string) {
	t.Helper()
	rows, err := db.Query(`SELECT template_no, what, reason, SUM(n), SUM(c) FROM (
		SELECT template_no, what, reason, n, n AS c FROM stats UNION ALL SELECT template_no, what, reason, n, n AS c FROM stat_deltas UNION ALL SELECT template_no, what, reason, -n, 0 FROM watched
		) x GROUP BY template_no, what, reason HAVING SUM(n) <> 0`)
	if err != nil {
		t.Fatalf("compare figures: %v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var template, what, off, counted int64
		var reason string
		if err := rows.Scan(&template, &what, &reason, &off, &counted); err != nil {
			t.Fatalf("compare figures: %v", err)
		}
		odd = append(odd, fmt.Sprintf("template %d, figure %d %s: counted %d, the database saw %d", template, what, reason, counted, counted-off))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("compare figures: %v", err)
	}
	return odd
}

// wantCounted checks that every change that the database has seen was counted once.
func (e *Env) wantCounted() {
	e.TB.Helper()
	if e.Clock.Now().Sub(Start) > 399*day {
		return // the upkeep deletes figures that old, when it comes to it
	}
	for _, odd := range e.DB.Miscounted(e.TB) {
		e.TB.Errorf("%s", odd)
	}
}
