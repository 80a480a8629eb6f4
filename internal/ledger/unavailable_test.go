package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestUnavailable(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"some bug":            {errors.New("bug"), false},
		"refused":             {refused, true},
		"lost":                {driver.ErrBadConn, true},
		"lost in mid-answer":  {mysql.ErrInvalidConn, true},
		"given up before":     {sql.ErrConnDone, true},
		"out of time":         {context.DeadlineExceeded, true},
		"the caller went":     {context.Canceled, false},
		"postgres ends":       {&pgconn.PgError{Code: "57P01"}, true},
		"postgres starts":     {&pgconn.PgError{Code: "57P03"}, true},
		"postgres is full":    {&pgconn.PgError{Code: "53100"}, true},
		"postgres: syntax":    {&pgconn.PgError{Code: "42601"}, false},
		"postgres: duplicate": {&pgconn.PgError{Code: "23505"}, false},
		"postgres: deadlock":  {&pgconn.PgError{Code: "40P01"}, true},
		"postgres: abandoned": {&pgconn.PgError{Code: "25P03"}, true},
		"mysql: deadlock":     {&mysql.MySQLError{Number: 1213}, true},
		"mysql ends":          {&mysql.MySQLError{Number: 1053}, true},
		"mysql is full":       {&mysql.MySQLError{Number: 1114}, true},
		"mysql: syntax":       {&mysql.MySQLError{Number: 1064}, false},
	} {
		if got := Unavailable(fmt.Errorf("read: %w", c.err)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
