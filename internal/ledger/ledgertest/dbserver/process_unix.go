//go:build unix

package dbserver

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a private server on a directory of its own.
type process struct {
	kind    Kind
	dir     string
	port    int
	program string
	cred    *syscall.Credential // of the user it runs as; nil: ours

	mu     sync.Mutex
	cmd    *exec.Cmd // the watcher, whose one child is the server; nil: it does not run
	leash  *os.File  // when it closes before us, the watcher ends the server
	frozen bool
	spent  time.Duration // processor time of earlier starts
	seen   time.Duration // and the most that cpu has said
}

// newProcess sets a server up and starts it.
func newProcess(k Kind, below string) (*process, error) {
	program, setup := programs(k)
	if program == "" || setup == "" {
		return nil, errAbsent
	}
	p := &process{kind: k, program: program}
	err := p.place(below)
	if err == nil {
		err = p.setUp(setup)
	}
	if err == nil {
		err = p.start()
	}
	if err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

// place finds a directory, a port and a user.
func (p *process) place(base string) (err error) {
	if base == "" {
		if base = os.TempDir(); !fits(base) {
			base = "/tmp"
		}
	}
	if p.dir, err = os.MkdirTemp(base, "hy"); err != nil {
		return err
	}
	// The server names its directory by the real path, and await compares.
	if p.dir, err = filepath.EvalSymlinks(p.dir); err != nil {
		return err
	}
	if p.port, err = freePort(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	// Both programs refuse to run as root.
	name := "postgres"
	if p.kind == MySQL {
		name = "mysql"
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	p.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(p.dir, int(uid), int(gid))
}

// fits reports whether a server can live below a directory: a Unix socket's path has at most
// 107 bytes, on some systems 103, and if we are root, the server is somebody else, who must
// get there.
func fits(dir string) bool {
	if len(dir) > 60 {
		return false
	}
	for os.Geteuid() == 0 {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return true
}

// freePort looks below the ports that systems give to outgoing connections: one of those
// could hold the port while the server is down, and it could not come back.
func freePort() (int, error) {
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port")
}

// setUp makes the data. It need not be synced: only a crash of the whole system could lose it,
// and the tests with it.
func (p *process) setUp(program string) error {
	args := []string{"-D", p.data(), "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "trust", "-N"}
	if p.kind == MySQL {
		grant := "CREATE USER IF NOT EXISTS hongyan@'127.0.0.1';\nGRANT ALL ON *.* TO hongyan@'127.0.0.1' WITH GRANT OPTION;\n"
		if err := os.WriteFile(p.initFile(), []byte(grant), 0o644); err != nil {
			return err
		}
		args = []string{"--no-defaults", "--datadir=" + p.data(), "--auth-root-authentication-method=normal", "--skip-test-db",
			"--innodb-log-file-size=256M", "--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"}
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = p.dir, p.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, out)
	}
	return nil
}

func (p *process) data() string     { return filepath.Join(p.dir, "data") }
func (p *process) initFile() string { return filepath.Join(p.dir, "init.sql") }

// env gives MariaDB a directory of its own for temporary tables: as it starts, it deletes
// those it finds, and in /tmp they belong to others that run.
func (p *process) env() []string { return append(os.Environ(), "TMPDIR="+p.dir) }

// args keep every promise of durability, and memory small but fit for speed tests.
func (p *process) args() []string {
	port := strconv.Itoa(p.port)
	if p.kind == Postgres {
		args := []string{"-D", p.data(), "-p", port, "-k", p.dir}
		for _, set := range []string{"listen_addresses=127.0.0.1", "max_connections=500", "shared_buffers=128MB", "max_wal_size=1GB",
			"fsync=on", "synchronous_commit=on", "full_page_writes=on"} {
			args = append(args, "-c", set)
		}
		return args
	}
	return []string{"--no-defaults", "--datadir=" + p.data(), "--socket=" + filepath.Join(p.dir, "s"), "--port=" + port,
		"--bind-address=127.0.0.1", "--skip-name-resolve", "--pid-file=" + filepath.Join(p.dir, "pid"), "--init-file=" + p.initFile(),
		"--max-connections=500", "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M",
		"--innodb-flush-log-at-trx-commit=1", "--skip-log-bin", "--character-set-server=utf8mb4"}
}

// watch runs the server until the leash has something to say. A line: the server was ended,
// and its data stay. The end of the file: the test process is gone, however it went, so the
// server and its data go too. PostgreSQL's children are sessions of their own, and would
// outlive a server that was frozen: they are killed one by one. Without /proc they end by
// themselves, unless frozen. PostgreSQL's shared memory would stay too, see forget.
const watch = `dir=$1; shift
"$@" </dev/null &
server=$!
read -r _ && exit 0
kill -STOP $server
for f in /proc/[0-9]*/stat; do
  read -r pid _ _ parent _ 2>/dev/null <"$f" && [ "$parent" = $server ] && kill -9 "$pid"
done
kill -9 $server
wait
segment=$(sed -n '7s/.* //p' "$dir/data/postmaster.pid") && [ -n "$segment" ] && ipcrm -m "$segment"
rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }`

// start runs the server under its watcher, in a session of its own: away from the terminal's
// signals, and from the SIGHUP that a group with frozen processes gets when its parent ends,
// which would end the watcher before it has done anything.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return errors.New("it runs already")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		_ = w.Close()
		return err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", watch, "sh", p.dir, p.program}, p.args()...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = r, log, log, "/", p.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred, Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return err
	}
	p.cmd, p.leash = cmd, w
	return nil
}

// stop asks the server to end and waits until it has.
func (p *process) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	p.signal(syscall.SIGCONT)
	polite := syscall.SIGINT // PostgreSQL's fast shutdown
	if p.kind == MySQL {
		polite = syscall.SIGTERM
	}
	all := p.members()
	for pid, it := range all {
		if it.parent == p.cmd.Process.Pid {
			_ = syscall.Kill(pid, polite)
		}
	}
	err := gone(all, time.Minute)
	p.end()
	return err
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

// end kills what still runs of the server, and lets the watcher go.
func (p *process) end() {
	if p.cmd == nil {
		return
	}
	p.signal(syscall.SIGSTOP) // or those that die later would still write of the others' death
	all := p.members()
	p.spent = p.total(all)
	for pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = gone(all, 10*time.Second)
	_, _ = p.leash.WriteString("\n")
	_ = p.leash.Close()
	_ = p.cmd.Wait()
	p.cmd, p.frozen = nil, false
	p.forget()
}

// forget removes what a killed PostgreSQL leaves behind: lock files that name processes whose
// numbers others may have by the next start, and a segment of shared memory, of which a
// system has few thousand.
func (p *process) forget() {
	pidFile := filepath.Join(p.data(), "postmaster.pid")
	text, _ := os.ReadFile(pidFile)
	if lines := strings.Split(string(text), "\n"); len(lines) > 6 {
		if segment := strings.Fields(lines[6]); len(segment) == 2 { // key and number
			_ = exec.Command("ipcrm", "-m", segment[1]).Run()
		}
	}
	locks, _ := filepath.Glob(filepath.Join(p.dir, ".s.*"))
	for _, f := range append(locks, pidFile) {
		_ = os.Remove(f)
	}
}

func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signal(syscall.SIGSTOP)
	p.frozen = true
}

func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signal(syscall.SIGCONT)
	p.frozen = false
}

// signal reaches every process of the server. New ones may be born while it looks, so it
// looks until there are none.
func (p *process) signal(sig syscall.Signal) {
	for seen := map[int]bool{}; ; {
		fresh := false
		for pid := range p.members() {
			if !seen[pid] {
				fresh, seen[pid] = true, true
				_ = syscall.Kill(pid, sig)
			}
		}
		if !fresh {
			return
		}
	}
}

// running reports whether the server has processes.
func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, it := range p.members() {
		if !it.dead {
			return true
		}
	}
	return false
}

// answers reports whether it makes sense to ask the server something.
func (p *process) answers() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && !p.frozen
}

func (p *process) cpu() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total(p.members())
}

// total never goes back, though a child that ends while we look is in no row of the table.
func (p *process) total(all map[int]entry) time.Duration {
	p.seen = max(p.seen, p.spent+sum(all))
	return p.seen
}

func (p *process) remove() {
	p.kill()
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

func (p *process) logFile() string { return filepath.Join(p.dir, "log") }

// tail is the end of the server's log.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.logFile())
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
}
