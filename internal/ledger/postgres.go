package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

func postgresDialect() *dialect {
	return &dialect{
		name: "postgres", goose: goose.DialectPostgres, begin: "BEGIN", lock: " FOR UPDATE", skip: " FOR UPDATE SKIP LOCKED",
		rewrite: dollars,
		insert: func(into string, cols []column, rows [][]any) (string, []any) {
			from, args := unnest(cols, rows)
			return into + " (" + names(cols) + ") SELECT * FROM " + from, args
		},
		list: func(vs []any, kind colKind) (string, []any) { return "= ANY(?)", []any{array(vs, kind)} },
		accepted: func(owner int64, rows [][]any) (string, []any) {
			from, args := unnest(acceptedColumns, rows)
			return `/* ledger.recordAccepted */ UPDATE messages SET state = 5, reason = '', class = 'ok', errcode = 0, errmsg = NULL, msgid = NULLIF(v.msgid, 0), started_at = v.started_at, ended_at = v.ended_at, updated_at = v.ended_at
				FROM ` + from + ` AS v(` + names(acceptedColumns) + `) WHERE messages.seq = v.seq AND messages.state + 0 = 4 AND messages.owner = ? AND messages.attempt = v.attempt AND messages.reserved >= v.need`, append(args, owner)
		},
		chunk:       1 << 20,
		upsert:      onConflict,
		recount:     recountSQL,
		due:         "template_no = ? AND state IN (2, 3)",
		live:        liveApart,
		leased:      "state = 4 AND lease_until <= ?",
		expires:     "state < 4 AND expires_at <= ?",
		rest:        "state NOT BETWEEN 4 AND 6 AND state = ?",
		dueDelivery: "webhook_no = ? AND state = 1",
		folded:      "0",
		hasTag:      "(m.options::jsonb -> 't') @> ?::jsonb",
		purge:       purgeBySelect,
		addSpent:    addSpent, addStats: addStats, unlist: unlistBySelect,
		duplicate: func(err error) bool {
			var e *pgconn.PgError
			return errors.As(err, &e) && e.Code == "23505"
		},
		again: func(err error) bool {
			var e *pgconn.PgError
			if errors.As(err, &e) {
				// Serialization failures and deadlocks; a server that goes down or comes up.
				return e.Code == "40001" || e.Code == "40P01"
			}
			return false
		},
		check: checkPostgres,
		now:   "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
		// A hint needs no place on disk, and would wait for one.
		tell:   `/* ledger.tell */ SELECT set_config('synchronous_commit', 'off', true), pg_notify('hongyan', ?)`,
		listen: listenPostgres,
		guard:  "SELECT 1 FROM pg_advisory_lock(4851236674)", unguard: "SELECT pg_advisory_unlock(4851236674)",
	}
}

// unnest sends the rows as one array a column: one statement text for any number of rows.
func unnest(cols []column, rows [][]any) (string, []any) {
	types := make([]string, len(cols))
	args := make([]any, len(cols))
	vs := make([]any, len(rows))
	for i, c := range cols {
		for k, r := range rows {
			vs[k] = r[i]
		}
		types[i] = "?::" + [...]string{kindInt: "bigint[]", kindText: "text[]", kindBytes: "bytea[]"}[c.kind]
		args[i] = array(vs, c.kind)
	}
	return "unnest(" + strings.Join(types, ", ") + ")", args
}

func array(vs []any, kind colKind) any {
	switch kind {
	case kindText:
		out := make([]string, len(vs))
		for i, v := range vs {
			out[i] = fmt.Sprint(v)
		}
		return out
	case kindBytes:
		out := make([][]byte, len(vs))
		for i, v := range vs {
			out[i] = v.([]byte)
		}
		return out
	}
	out := make([]int64, len(vs))
	for i, v := range vs {
		out[i] = v.(int64)
	}
	return out
}

func checkPostgres(ctx context.Context, db *sql.DB) error {
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var v string
		if err := db.QueryRowContext(ctx, "SHOW "+name).Scan(&v); err != nil {
			return fmt.Errorf("check the database: %w", err)
		}
		if v == "off" {
			return fmt.Errorf("PostgreSQL runs with %s = off and could lose messages that were accepted: set it to on", name)
		}
	}
	return nil
}

// listenCheck is how often a connection without news is asked whether it still lives.
const listenCheck = 30 * time.Second

// listenPostgres has a connection of its own, because hints come on the one that listens.
func listenPostgres(ctx context.Context, source string, ready func(), heard func(string)) error {
	cfg, err := pgx.ParseConfig(source)
	if err != nil {
		return errors.New("the postgres:// URL cannot be read")
	}
	cfg.RuntimeParams["application_name"] = "hongyan listens"
	begin, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	conn, err := pgx.ConnectConfig(begin, cfg)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end)
	}()
	if _, err := conn.Exec(begin, `/* ledger.listen */ LISTEN hongyan`); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ready()
	for {
		hint, err := nextHint(ctx, conn)
		if err != nil {
			return err
		}
		if hint != nil {
			heard(hint.Payload)
		}
	}
}

// nextHint waits for a hint; nil says that there was none and the connection lives.
func nextHint(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	wait, cancel := context.WithTimeout(ctx, listenCheck)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	if err == nil || ctx.Err() != nil || wait.Err() == nil {
		return n, err
	}
	check, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	return nil, conn.Ping(check)
}

// postgresPlans lets plans be made once a connection. Every statement of ours is answered by
// an index, whatever its arguments, so that a plan made for an empty table stays right for a
// large one; planning each batch anew costs more than running it.
const postgresPlans = `SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off`

func openPostgres(source string, conns int) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(source)
	if err != nil {
		return nil, errors.New("open database: the postgres:// URL cannot be read") // the driver's words may hold the password
	}
	if name := "idle_in_transaction_session_timeout"; cfg.RuntimeParams[name] == "" {
		cfg.RuntimeParams[name] = fmt.Sprint(abandonedTime.Milliseconds())
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.PgConn().Exec(ctx, postgresPlans).ReadAll()
		return err
	}))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}
