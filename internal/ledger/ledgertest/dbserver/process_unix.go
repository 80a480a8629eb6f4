//go:build unix

package dbserver

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	cmd     *exec.Cmd
	leash   io.Closer // when it closes, with us or before us, the watcher kills the server
}

// newProcess sets a server up and starts it.
func newProcess(k Kind) (*process, error) {
	setup, program := find("initdb"), find("postgres")
	if k == MySQL {
		setup, program = find("mariadb-install-db", "mysql_install_db"), find("mariadbd", "mysqld")
	}
	if setup == "" || program == "" {
		return nil, errAbsent
	}
	dir, err := os.MkdirTemp("", "hy")
	if err != nil {
		return nil, err
	}
	p := &process{kind: k, dir: dir, program: program}
	if p.port, err = freePort(); err == nil {
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

// find looks for a program where distributions put servers, the newest last.
func find(names ...string) string {
	for _, name := range names {
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/sbin/", "/usr/local/opt/*/bin/", "/opt/homebrew/opt/*/bin/"} {
			found, _ := filepath.Glob(pattern + name)
			slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) })
			if len(found) > 0 {
				return found[len(found)-1]
			}
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// setUp makes the data. Both programs refuse to run as root, so they get another user.
func (p *process) setUp(program string) error {
	if os.Geteuid() == 0 {
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
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		p.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(p.dir, uid, gid); err != nil {
			return err
		}
	}
	args := []string{"-D", p.data(), "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "trust", "-N"}
	if p.kind == MySQL {
		init := filepath.Join(p.dir, "init.sql")
		grant := "CREATE USER IF NOT EXISTS hongyan@'127.0.0.1';\nGRANT ALL ON *.* TO hongyan@'127.0.0.1' WITH GRANT OPTION;\n"
		if err := os.WriteFile(init, []byte(grant), 0o644); err != nil {
			return err
		}
		args = []string{"--no-defaults", "--datadir=" + p.data(), "--auth-root-authentication-method=normal", "--skip-test-db"}
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, out)
	}
	return nil
}

func (p *process) data() string { return filepath.Join(p.dir, "data") }

func (p *process) args() []string {
	port := strconv.Itoa(p.port)
	if p.kind == Postgres {
		return []string{"-D", p.data(), "-p", port, "-k", p.dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "max_wal_size=1GB"}
	}
	return []string{"--no-defaults", "--datadir=" + p.data(), "--socket=" + filepath.Join(p.dir, "s"), "--port=" + port, "--bind-address=127.0.0.1", "--pid-file=" + filepath.Join(p.dir, "pid"),
		"--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M", "--max-connections=200", "--character-set-server=utf8mb4", "--init-file=" + filepath.Join(p.dir, "init.sql")}
}

// start runs the server under a shell that kills its whole group when our end of a pipe
// closes, which it does however we end.
func (p *process) start() error {
	const watch = `"$@" </dev/null & server=$!; read -r _; kill -9 $server 2>/dev/null; kill -9 0`
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		_ = w.Close()
		return err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", watch, "sh", p.program}, p.args()...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = r, log, log, p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred, Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return err
	}
	p.cmd, p.leash = cmd, w
	return nil
}

// members are the processes that descend from the watcher: PostgreSQL's are sessions of
// their own, so the group is not all of them.
func (p *process) members() []int {
	parent := make(map[int]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 {
			parent[pid], _ = strconv.Atoi(fields[1])
		}
	}
	var out []int
	for pid := range parent {
		for up := pid; up > 1; up = parent[up] {
			if up == p.cmd.Process.Pid && pid != up {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

// signal stops or continues every process. New ones may be born while it looks, so it looks
// until there are none.
func (p *process) signal(stop bool) {
	sig := syscall.SIGCONT
	if stop {
		sig = syscall.SIGSTOP
	}
	for seen := map[int]bool{}; ; {
		fresh := false
		for _, pid := range p.members() {
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

func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.signal(true) // or the first to die would be mourned by the others in the log and on disk
	all := p.members()
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = p.leash.Close()
	_ = p.cmd.Wait()
	p.cmd = nil
	for _, pid := range all {
		for end := time.Now().Add(10 * time.Second); alive(pid) && time.Now().Before(end); {
			time.Sleep(2 * time.Millisecond)
		}
	}
	locks, _ := filepath.Glob(filepath.Join(p.dir, ".s.*"))
	for _, f := range append(locks, filepath.Join(p.data(), "postmaster.pid")) {
		_ = os.Remove(f)
	}
}

// alive reports whether a process runs; one that is dead and not yet waited for does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func (p *process) remove() {
	p.kill()
	_ = os.RemoveAll(p.dir)
}

// tail is the end of the server's log.
func (p *process) tail() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
}
