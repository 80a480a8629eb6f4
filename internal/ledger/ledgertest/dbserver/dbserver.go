// Package dbserver runs private PostgreSQL and MariaDB servers for tests, on loopback and in
// a temporary directory, durable as in production. They end with the test process, however
// it ends. Where the programs are not installed, a test is skipped, or fails if
// HONGYAN_TEST_REQUIRE=all.
//
// A TestMain calls Stop after the tests; a test calls Shared or Private, then Create.
package dbserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Kind is a database program.
type Kind string

// The kinds. MySQL stands for MariaDB too.
const (
	Postgres Kind = "postgres"
	MySQL    Kind = "mysql"
)

// packages are what a distribution calls the kinds.
var packages = map[Kind]string{Postgres: "postgresql", MySQL: "mariadb-server"}

// variable names the server to use instead of one of ours.
func (k Kind) variable() string { return "HONGYAN_TEST_" + strings.ToUpper(string(k)) }

// Server is a database server, a private one or one that the environment names. Its methods
// are safe for concurrent use.
type Server struct {
	kind Kind
	base *url.URL // where to connect, and what to connect to for making databases
	own  *process // nil: the environment named it
}

var shared struct {
	mu      sync.Mutex
	servers map[Kind]*Server
	errs    map[Kind]error // a start that failed is not tried again for each test
}

// Shared is the one server of this kind for the test process, started for the first that
// asks: the one that HONGYAN_TEST_POSTGRES or HONGYAN_TEST_MYSQL names, else one of our own.
// Nobody may end or freeze it.
func Shared(t testing.TB, k Kind) *Server {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if s := shared.servers[k]; s != nil {
		return s
	}
	err := shared.errs[k]
	if err != nil {
		missing(t, k, err)
	}
	if shared.servers == nil {
		shared.servers, shared.errs = make(map[Kind]*Server), make(map[Kind]error)
	}
	var s *Server
	if given := os.Getenv(k.variable()); given != "" {
		s, err = open(k, given)
	} else {
		s, err = start(k, "")
	}
	if err != nil {
		shared.errs[k] = err
		missing(t, k, err)
	}
	shared.servers[k] = s
	return s
}

// Stop ends the shared servers. Call it after the tests, whether there are any or not.
func Stop() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, s := range shared.servers {
		if s.own != nil {
			s.own.remove()
		}
	}
	shared.servers, shared.errs = nil, nil
}

// Private is a server of the test's own, to kill and to freeze. It is gone when the test ends.
func Private(t testing.TB, k Kind) *Server {
	t.Helper()
	return PrivateIn(t, k, "")
}

// PrivateIn is Private with everything below a directory, which a test can fill up.
func PrivateIn(t testing.TB, k Kind, dir string) *Server {
	t.Helper()
	s, err := start(k, dir)
	if err != nil {
		missing(t, k, err)
	}
	t.Cleanup(s.own.remove)
	return s
}

// errAbsent says that the programs are not installed.
var errAbsent = errors.New("not installed")

func missing(t testing.TB, k Kind, err error) {
	t.Helper()
	if !errors.Is(err, errAbsent) {
		t.Fatalf("%s: %v", k, err)
	}
	text := fmt.Sprintf("%s is not installed here: install %s (make deps does where it may), or, for tests that neither kill nor freeze it, set %s to a server's URL", k, packages[k], k.variable())
	if os.Getenv("HONGYAN_TEST_REQUIRE") == "all" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// open is a server that runs already.
func open(k Kind, at string) (*Server, error) {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%s is not a URL like %s://user:password@host:port/", k.variable(), k)
	}
	if q := u.Query(); k == Postgres {
		if q.Get("sslmode") == "" {
			q.Set("sslmode", "disable")
			u.RawQuery = q.Encode()
		}
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/postgres"
		}
	}
	return &Server{kind: k, base: u}, nil
}

// start sets a server up below a directory; "" is the one for temporary files.
func start(k Kind, dir string) (*Server, error) {
	p, err := newProcess(k, dir)
	if err != nil {
		return nil, err
	}
	user := "hongyan"
	if k == Postgres {
		user = "postgres"
	}
	s, err := open(k, fmt.Sprintf("%s://%s@127.0.0.1:%d", k, user, p.port))
	if err == nil {
		s.own = p
		err = s.await()
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.tail())
		p.remove()
		return nil, err
	}
	return s, nil
}

// await waits until the server answers, and makes sure that it is ours: had another process
// taken the port first, tests would kill the one and ask the other.
func (s *Server) await() error {
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	ask := "SELECT @@datadir"
	if s.kind == Postgres {
		ask = "SHOW data_directory"
	}
	begun, pause := time.Now(), 20*time.Millisecond
	for {
		var dir string
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := db.QueryRowContext(ctx, ask).Scan(&dir)
		cancel()
		if err == nil && strings.TrimSuffix(dir, "/") != s.own.data() {
			return fmt.Errorf("another server answers on port %d, with data in %s", s.own.port, dir)
		}
		waited := time.Since(begun)
		if err == nil || waited > time.Minute {
			return err
		}
		if waited > 2*time.Second { // by then the watcher has surely started it
			pause = 100 * time.Millisecond
			if !s.own.running() {
				return errors.New("the server ended as it started")
			}
		}
		time.Sleep(pause)
	}
}

// Kill ends a private server as a power failure would; Start starts it on the same data.
func (s *Server) Kill() { s.own.kill() }

// Stop ends a private server in order, without waiting for those who are connected.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.own.stop(); err != nil {
		t.Fatalf("stop %s: %v\n%s", s.kind, err, s.own.tail())
	}
}

// Start starts a private server that was killed or stopped, on the same data and port, and
// waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	err := s.own.start()
	if err == nil {
		err = s.await()
	}
	if err != nil {
		t.Fatalf("start %s: %v\n%s", s.kind, err, s.own.tail())
	}
}

// Freeze stops every process of a private server where it stands: connections stay open, and
// nothing answers. Thaw lets them go on.
func (s *Server) Freeze() { s.own.freeze() }

// Thaw ends a freeze.
func (s *Server) Thaw() { s.own.thaw() }

// Running reports whether a private server has processes.
func (s *Server) Running() bool { return s.own.running() }

// CPU is the time that the processors have spent on the server since it was made, in steps
// of 10 ms; 0 where the system does not say, and for a server that the environment names.
func (s *Server) CPU() time.Duration {
	if s.own == nil {
		return 0
	}
	return s.own.cpu()
}

// admin is a pool for making and dropping databases.
func (s *Server) admin() (*sql.DB, error) {
	if s.kind == Postgres {
		return sql.Open("pgx", s.base.String())
	}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User = "tcp", s.base.Host, s.base.User.Username()
	if s.base.Port() == "" {
		c.Addr += ":3306"
	}
	c.Passwd, _ = s.base.User.Password()
	c.TLSConfig = s.base.Query().Get("tls")
	c.Logger = &mysql.NopLogger{} // a server that is down is no news here
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// Create makes an empty database, which is dropped when the test ends, and gives its URL.
func (s *Server) Create(t testing.TB) string {
	t.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:])
	name := "hongyan_test_" + hex.EncodeToString(b[:])
	if err := s.run("CREATE DATABASE "+name, time.Minute); err != nil {
		t.Fatalf("%s: %v", s.kind, err)
	}
	drop := "DROP DATABASE " + name
	if s.kind == Postgres {
		drop += " WITH (FORCE)"
	}
	t.Cleanup(func() {
		if s.own == nil || s.own.answers() { // else it is down or frozen, and will be removed
			_ = s.run(drop, 10*time.Second)
		}
	})
	u := *s.base
	u.Path = "/" + name
	return u.String()
}

func (s *Server) run(query string, within time.Duration) error {
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err = db.ExecContext(ctx, query)
	return err
}
