// Package pgtest starts temporary PostgreSQL servers for tests: a cluster in a
// directory of its own, on a free port of 127.0.0.1, gone when the test ends.
// Tests are skipped, and say so, where PostgreSQL is not installed.
package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/lib/pq"
)

// Name of the only user and of the database, and the user's password.
const (
	User     = "pluto"
	Password = "p'w \\ 1"
	Database = "pluto"
)

// Options say how the server is to be.
type Options struct {
	// Cert and Key in PEM make the server speak TLS, and nothing else over
	// TCP.
	Cert, Key []byte
}

// Server is a running PostgreSQL.
type Server struct {
	Port      uint16 // on 127.0.0.1, with password
	SocketDir string // without password

	t     testing.TB
	bin   string // directory of the programs
	dir   string
	owner *syscall.Credential // who runs it; nil: we
}

// Start starts a server with an empty database and stops it when the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{t: t, bin: programs(t), owner: owner(t)}
	// Not t.TempDir: the path of a Unix socket is at most about 100 bytes.
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.dir, s.SocketDir = filepath.Join(dir, "data"), dir
	s.write(filepath.Join(dir, "password"), []byte(Password+"\n"))
	s.give(dir)
	s.run("initdb", "-D", s.dir, "-U", User, "--pwfile", filepath.Join(dir, "password"), "--no-sync",
		"--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256")
	if o.Cert != nil {
		s.write(filepath.Join(s.dir, "server.crt"), o.Cert)
		s.write(filepath.Join(s.dir, "server.key"), o.Key)
		s.write(filepath.Join(s.dir, "pg_hba.conf"), []byte("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"))
	}
	s.Port = freePort(t)
	conf := fmt.Sprintf("listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\nfsync = off\nshared_buffers = 4MB\nmax_connections = 20\nssl = %t\n",
		s.Port, s.SocketDir, o.Cert != nil)
	s.write(filepath.Join(s.dir, "postgresql.conf"), []byte(conf))
	s.Resume()
	t.Cleanup(s.Stop)
	s.exec("postgres", "CREATE DATABASE "+Database)
	return s
}

// programs returns the directory with the server's programs.
func programs(t testing.TB) string {
	t.Helper()
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		t.Fatal(err)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "pg_ctl")); err == nil {
			return dir
		}
	}
	t.Skip("SKIPPED, NOT TESTED: PostgreSQL (initdb, pg_ctl) is not installed, so nothing here was tried against a server")
	return ""
}

// owner returns the user to run as: PostgreSQL refuses to run as root.
func owner(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Skip("SKIPPED, NOT TESTED: PostgreSQL does not run as root and there is no user postgres or nobody")
	return nil
}

func freePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// give hands a file to who runs the server.
func (s *Server) give(path string) {
	s.t.Helper()
	if s.owner == nil {
		return
	}
	if err := os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) write(path string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.give(path)
}

// run runs one of the server's programs to its end.
func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.SocketDir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	// A file, not a pipe: the server inherits it and would keep a pipe open.
	out, err := os.CreateTemp(s.SocketDir, program)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(s.SocketDir, "log"))
		s.t.Fatalf("%s: %v\n%s\n%s", program, err, text, log)
	}
}

// Stop stops the server at once, cutting its connections.
func (s *Server) Stop() {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.dir, "postmaster.pid")); err != nil {
		return
	}
	s.run("pg_ctl", "-D", s.dir, "-m", "immediate", "-w", "stop")
}

// Resume starts the server again and waits until it answers.
func (s *Server) Resume() {
	s.t.Helper()
	s.run("pg_ctl", "-D", s.dir, "-l", filepath.Join(s.SocketDir, "log"), "-w", "start")
}

// Exec runs statements in the database.
func (s *Server) Exec(statements string) {
	s.t.Helper()
	s.exec(Database, statements)
}

func (s *Server) exec(database, statements string) {
	s.t.Helper()
	c, err := pq.NewConnectorConfig(pq.Config{Host: s.SocketDir, Port: s.Port, User: User, Database: database, SSLMode: pq.SSLModeDisable})
	if err != nil {
		s.t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), statements); err != nil {
		s.t.Fatalf("%s: %v", statements, err)
	}
}
