package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// direct runs statements on the driver's own connection. The locks, copies and conversions
// of database/sql cost about as much as a short statement of SQLite, whose one writer nobody
// else uses; what they are for, a pool shared by many, is not there.
type direct struct {
	conn  driver.ConnPrepareContext
	stmts map[string]*directStmt
	args  []driver.NamedValue // of the statement that is running
}

type directStmt struct {
	driver.Stmt
	row []driver.Value
}

// newDirect takes the connection over for as long as c is open.
func newDirect(c *sql.Conn) (d *direct, err error) {
	err = c.Raw(func(conn any) error {
		p, ok := conn.(driver.ConnPrepareContext)
		if !ok {
			return fmt.Errorf("%T prepares nothing", conn)
		}
		d = &direct{conn: p, stmts: make(map[string]*directStmt)}
		return nil
	})
	return d, err
}

func (d *direct) stmt(ctx context.Context, query string, text func(string) string) (*directStmt, error) {
	if st := d.stmts[query]; st != nil {
		return st, nil
	}
	if len(d.stmts) >= maxStmts {
		d.close()
	}
	st, err := d.conn.PrepareContext(ctx, text(query))
	if err != nil {
		return nil, err
	}
	d.stmts[query] = &directStmt{Stmt: st}
	return d.stmts[query], nil
}

func (d *direct) exec(ctx context.Context, st *directStmt, args []any) (int64, error) {
	if err := d.bind(args); err != nil {
		return 0, err
	}
	res, err := st.Stmt.(driver.StmtExecContext).ExecContext(ctx, d.args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (d *direct) rows(ctx context.Context, st *directStmt, args []any, scan func(scanner) error) (err error) {
	if err := d.bind(args); err != nil {
		return err
	}
	rs, err := st.Stmt.(driver.StmtQueryContext).QueryContext(ctx, d.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rs.Close()) }()
	if n := len(rs.Columns()); len(st.row) != n {
		st.row = make([]driver.Value, n)
	}
	for {
		switch err := rs.Next(st.row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := scan(directRow(st.row)); err != nil {
			return err
		}
	}
}

// bind makes the arguments what drivers take.
func (d *direct) bind(args []any) error {
	d.args = d.args[:0]
	for i, a := range args {
		switch a.(type) {
		case nil, int64, string, []byte:
		default:
			var err error
			if a, err = driver.DefaultParameterConverter.ConvertValue(a); err != nil {
				return fmt.Errorf("argument %d: %w", i+1, err)
			}
		}
		d.args = append(d.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return nil
}

func (d *direct) close() {
	for _, st := range d.stmts {
		_ = st.Close()
	}
	clear(d.stmts)
}

// directRow is one row of an answer.
type directRow []driver.Value

// Scan is that of sql.Rows, for the types that our columns have.
func (r directRow) Scan(into ...any) error {
	if len(into) != len(r) {
		return fmt.Errorf("%d columns for %d variables", len(r), len(into))
	}
	for i, v := range r {
		if err := scanValue(v, into[i]); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

func scanValue(v driver.Value, into any) error {
	switch to := into.(type) {
	case *int64:
		if n, ok := v.(int64); ok {
			*to = n
			return nil
		}
	case *string:
		if s, ok := v.(string); ok {
			*to = s
			return nil
		}
	case *[]byte:
		switch b := v.(type) {
		case []byte:
			*to = b
			return nil
		case nil:
			*to = nil
			return nil
		}
	case *bool: // EXISTS
		if n, ok := v.(int64); ok {
			*to = n != 0
			return nil
		}
	case sql.Scanner:
		return to.Scan(v)
	default:
		at := reflect.ValueOf(into).Elem()
		switch x := v.(type) {
		case string:
			if at.Kind() == reflect.String {
				at.SetString(x)
				return nil
			}
		case int64:
			if at.CanInt() && !at.OverflowInt(x) {
				at.SetInt(x)
				return nil
			}
		}
	}
	return fmt.Errorf("%T does not fit %T", v, into)
}
