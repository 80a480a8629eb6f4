package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Unavailable reports whether an error of a method says that the database could not be
// reached, did not answer in time, had no room or let others go first too often: the same
// call may succeed later. Whether a write has happened all the same, it does not say.
func Unavailable(err error) bool {
	var network net.Error
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg):
		// Connections, resources (disk, memory, places), the server going down or coming up,
		// its disk failing, deadlocks, an abandoned transaction.
		for _, class := range []string{"08", "53", "57P", "58", "40", "25P03"} {
			if strings.HasPrefix(pg.Code, class) {
				return true
			}
		}
		return false
	case errors.As(err, &my):
		switch my.Number {
		case 3, 14, 28, 126, 1021, 1026, 1114, // the disk is full or fails
			1040, 1041, 1053, 1077, 1080, 1152, 1158, 1159, 1160, 1161, 1203, 1317, 1836, 1927, 4031, // no place, going down, cut off
			1020, 1205, 1213: // others went first
			return true
		}
		return false
	case errors.As(err, &lite):
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN:
			return true
		}
		return false
	}
	return errors.Is(err, errBegin) || errors.Is(err, errAgain) || errors.Is(err, errCommit) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}
