package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

func mysqlDialect() *dialect {
	return &dialect{
		name: "mysql", goose: goose.DialectMySQL, begin: "START TRANSACTION", lock: " FOR UPDATE", skip: " FOR UPDATE SKIP LOCKED", prepare: true, most: 512,
		rewrite: mysqlText,
		insert:  insertValues,
		list:    listOf,
		accepted: func(owner int64, rows [][]any) (string, []any) {
			v, args := jsonTable("v", acceptedColumns, rows)
			return `/* ledger.recordAccepted */ UPDATE ` + v + ` STRAIGHT_JOIN messages m ON m.seq = v.seq SET m.state = 5, m.reason = '', m.class = 'ok', m.errcode = 0, m.errmsg = NULL, m.msgid = NULLIF(v.msgid, 0),
		m.started_at = v.started_at, m.ended_at = v.ended_at, m.updated_at = v.ended_at WHERE m.state = 4 AND m.owner = ? AND m.attempt = v.attempt AND m.reserved >= v.need`, append(args, owner)
		},
		chunk: 1 << 20,
		upsert: func(_, set []string) string {
			for i, c := range set {
				set[i] = c + " = VALUES(" + c + ")"
			}
			return " ON DUPLICATE KEY UPDATE " + strings.Join(set, ", ")
		},
		// There are no partial indexes: columns made from the state are null where it does not count.
		due:     "due_template = ?",
		recount: `/* ledger.recount */ SELECT due_template, SUM(CASE WHEN due_at <= ? THEN 1 ELSE 0 END), COUNT(*) FROM messages WHERE due_template IS NOT NULL GROUP BY due_template`,
		live: func(user, template string) string {
			return "m.live_user " + user + " AND m.template_no " + template
		},
		leased:      "leased_until <= ?",
		expires:     "ends_at <= ?",
		rest:        "rest_state = ?",
		dueDelivery: "due_webhook = ?",
		folded:      "0",
		hasTag:      "JSON_CONTAINS(m.options, ?, '$.t')",
		addSpent:    " ON DUPLICATE KEY UPDATE spent = spent + VALUES(spent), recorded_at = VALUES(recorded_at)",
		addStats:    " ON DUPLICATE KEY UPDATE n = n + VALUES(n)",
		unlist: func(seqs string) string {
			return `/* ledger.unlist */ DELETE um FROM messages m STRAIGHT_JOIN user_messages um ON um.user_no = m.user_no AND um.id = m.id WHERE m.seq ` + seqs
		},
		purge: func(table, _, cond string) string {
			return `/* ledger.purge */ DELETE FROM ` + table + ` WHERE ` + cond + ` LIMIT 1000`
		},
		duplicate: func(err error) bool {
			var e *mysql.MySQLError
			return errors.As(err, &e) && e.Number == 1062
		},
		again: func(err error) bool {
			var e *mysql.MySQLError
			// Lock wait timeout, deadlock, "record has changed since last read".
			return errors.As(err, &e) && (e.Number == 1205 || e.Number == 1213 || e.Number == 1020)
		},
		check: checkMySQL,
		now:   "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
		guard: "SELECT GET_LOCK(LEFT(CONCAT('hongyan.', DATABASE()), 64), 300)", unguard: "SELECT RELEASE_LOCK(LEFT(CONCAT('hongyan.', DATABASE()), 64))",
	}
}

var doNothing = regexp.MustCompile(`(?s)INSERT INTO (.*) ON CONFLICT \([^)]*\) DO NOTHING`)

func mysqlText(q string) string { return doNothing.ReplaceAllString(q, "INSERT IGNORE INTO $1") }

// jsonTable sends the rows as one JSON document: one statement text for any number of rows.
func jsonTable(alias string, cols []column, rows [][]any) (string, []any) {
	as := make([]string, len(cols))
	for i, c := range cols {
		as[i] = fmt.Sprintf("%s %s PATH '$[%d]'", c.name, [...]string{kindInt: "BIGINT", kindText: "TEXT", kindBytes: "VARCHAR(64)"}[c.kind], i)
	}
	out := make([][]any, len(rows))
	for i, r := range rows {
		out[i] = make([]any, len(r))
		for k, v := range r {
			if b, ok := v.([]byte); ok {
				v = hex.EncodeToString(b)
			}
			out[i][k] = v
		}
	}
	doc, err := json.Marshal(out)
	if err != nil {
		panic("ledger: values that JSON does not know") // they are integers and texts
	}
	return "JSON_TABLE(?, '$[*]' COLUMNS (" + strings.Join(as, ", ") + ")) AS " + alias, []any{string(doc)}
}

// mysqlSource translates the URL into the driver's own form.
func mysqlSource(db string) (string, error) {
	u, err := url.Parse(db)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return "", errors.New("the mysql:// URL cannot be read; write mysql://user:password@host:3306/database")
	}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.Trim(u.Path, "/")
	if u.Port() == "" {
		c.Addr += ":3306"
	}
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	if s := u.Query().Get("socket"); s != "" {
		c.Net, c.Addr = "unix", s
	}
	c.TLSConfig = u.Query().Get("tls")
	c.ClientFoundRows = true // an UPDATE counts the rows it found, as elsewhere
	c.InterpolateParams = true
	c.Timeout = 5 * time.Second
	c.Collation = "utf8mb4_bin"
	c.Params = map[string]string{"sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
		// MariaDB alone reads the comment; MySQL has nothing like it.
		"innodb_lock_wait_timeout": fmt.Sprintf("10 /*M!100300 , idle_transaction_timeout = %d */", int(abandonedTime.Seconds()))}
	c.MaxAllowedPacket = 64 << 20
	return c.FormatDSN(), nil
}

func checkMySQL(ctx context.Context, db *sql.DB) error {
	var flush, sync, binlog string
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.sync_binlog, @@GLOBAL.log_bin").Scan(&flush, &sync, &binlog); err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	if flush != "1" {
		return fmt.Errorf("MySQL runs with innodb_flush_log_at_trx_commit = %s and could lose messages that were accepted: set it to 1", flush)
	}
	if binlog != "0" && binlog != "OFF" && sync != "1" {
		return fmt.Errorf("MySQL writes a binary log with sync_binlog = %s and could lose messages that were accepted: set it to 1", sync)
	}
	return nil
}

func openMySQL(source string, conns int) (*sql.DB, error) {
	c, err := mysql.ParseDSN(source)
	if err != nil {
		return nil, errors.New("open database: the mysql:// URL cannot be read")
	}
	c.Logger = &mysql.NopLogger{} // what fails is reported where it matters
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, errors.New("open database: the mysql:// URL cannot be read")
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute) // shorter than the server's wait_timeout
	return db, nil
}
