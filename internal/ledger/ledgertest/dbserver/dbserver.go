// Package dbserver runs private PostgreSQL and MariaDB servers for tests, on loopback and in
// a temporary directory, durable as in production. They end with the test process, however
// it ends. Where the programs are not installed, a test is skipped, or fails if
// HONGYAN_TEST_REQUIRE=all.
package dbserver

import (
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

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Kind is a database program.
type Kind string

// The kinds. MySQL stands for MariaDB too.
const (
	Postgres Kind = "postgres"
	MySQL    Kind = "mysql"
)

// Server is a database server, a private one or one that the environment names.
type Server struct {
	kind Kind
	base string // URL without a database
	own  *process
}

var shared struct {
	mu      sync.Mutex
	servers map[Kind]*Server
}

// Shared is the one server of this kind for the test process. Its TestMain calls Stop.
func Shared(t testing.TB, k Kind) *Server {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if s := shared.servers[k]; s != nil {
		return s
	}
	s, err := start(k)
	if given := os.Getenv("HONGYAN_TEST_" + strings.ToUpper(string(k))); given != "" {
		s, err = &Server{kind: k, base: strings.TrimSuffix(given, "/")}, nil
	}
	if err != nil {
		missing(t, k, err)
	}
	if shared.servers == nil {
		shared.servers = make(map[Kind]*Server)
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
	shared.servers = nil
}

// Private is a server of the test's own, to kill and to freeze.
func Private(t testing.TB, k Kind) *Server {
	t.Helper()
	s, err := start(k)
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
	if !errors.Is(err, errAbsent) || os.Getenv("HONGYAN_TEST_REQUIRE") == "all" {
		t.Fatalf("%s: %v", k, err)
	}
	t.Skipf("%s is %v: install it, or set HONGYAN_TEST_%s to a server's URL", k, err, strings.ToUpper(string(k)))
}

func start(k Kind) (*Server, error) {
	p, err := newProcess(k)
	if err != nil {
		return nil, err
	}
	user := "hongyan"
	if k == Postgres {
		user = "postgres"
	}
	s := &Server{kind: k, base: fmt.Sprintf("%s://%s@127.0.0.1:%d", k, user, p.port), own: p}
	if err := s.await(); err != nil {
		err = fmt.Errorf("%w\n%s", err, p.tail())
		p.remove()
		return nil, err
	}
	return s, nil
}

// await waits until the server answers.
func (s *Server) await() error {
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err = db.Ping(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// Kill ends the server as a power failure would; Start starts it on the same data.
func (s *Server) Kill() { s.own.kill() }

// Freeze stops every process of the server where it stands; Thaw lets them go on.
func (s *Server) Freeze() { s.own.signal(true) }

// Thaw ends a freeze.
func (s *Server) Thaw() { s.own.signal(false) }

// Start starts a killed server on the same data and port.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.own.start(); err != nil {
		t.Fatalf("start %s: %v", s.kind, err)
	}
	if err := s.await(); err != nil {
		t.Fatalf("start %s: %v\n%s", s.kind, err, s.own.tail())
	}
}

// admin is a connection that can create databases.
func (s *Server) admin() (*sql.DB, error) {
	u, err := url.Parse(s.base)
	if err != nil {
		return nil, err
	}
	if s.kind == Postgres {
		return sql.Open("pgx", s.base+"/postgres?sslmode=disable")
	}
	password, _ := u.User.Password()
	return sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/", u.User.Username(), password, u.Host))
}

// Create makes an empty database, which is dropped when the test ends, and gives its URL.
func (s *Server) Create(t testing.TB) string {
	t.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:])
	name := "hongyan_test_" + hex.EncodeToString(b[:])
	if err := s.run("CREATE DATABASE " + name); err != nil {
		t.Fatalf("%s: %v", s.kind, err)
	}
	drop, suffix := "DROP DATABASE "+name, ""
	if s.kind == Postgres {
		drop, suffix = drop+" WITH (FORCE)", "?sslmode=disable"
	}
	t.Cleanup(func() { _ = s.run(drop) }) // the server may be gone by then
	return s.base + "/" + name + suffix
}

func (s *Server) run(query string) error {
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(query)
	return err
}
