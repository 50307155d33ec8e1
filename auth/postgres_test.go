package auth

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/go-pluto/pluto/crypto"
	"github.com/go-pluto/pluto/internal/pgtest"
)

const table = `CREATE TABLE users (id serial PRIMARY KEY, username text UNIQUE, password text);`

// connect returns an adapter for a server, changed by change.
func connect(t *testing.T, s *pgtest.Server, change func(*PostgresOptions)) *Postgres {
	t.Helper()
	o := PostgresOptions{
		Host: "127.0.0.1", Port: s.Port, Database: pgtest.Database, User: pgtest.User, Password: pgtest.Password,
		Logger: log.NewNopLogger(), Timeout: 10 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	p, err := OpenPostgres(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestPostgres(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	var logged bytes.Buffer
	p := connect(t, server, func(o *PostgresOptions) { o.Logger = log.NewLogfmtLogger(&logged); o.MaxConnections = 3 })

	if err := p.Ping(t.Context()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), `"users" does not exist`) {
		t.Errorf("without the table: %v", err)
	}
	server.Exec(table + `
INSERT INTO users (id, username, password) VALUES
 (1, 'user1', 'pass1'),
 (7, 'user7', '` + foreign["argon2id"].stored + `'),
 (8, 'user8', '` + foreign["sha512"].stored + `'),
 (9, 'user1''-- x', 'odd'),
 (10, 'jürgen', 'pässwörd'),
 (11, 'locked', NULL),
 (12, 'broken', '{MD4}geheim'),
 (-3, 'negative', 'pass');`)
	if err := p.Ping(t.Context()); err != nil {
		t.Errorf("with the table: %v", err)
	}
	for _, test := range []struct {
		login, password string
		id              uint32
		err             error
	}{
		{"user1", "pass1", 1, nil},
		{"user1", "pass2", 0, ErrCredentials},
		{"User1", "pass1", 0, ErrCredentials},
		{"user7", "geheim", 7, nil},
		{"user8", "geheim", 8, nil},
		{"user8", "geheim ", 0, ErrCredentials},
		{"jürgen", "pässwörd", 10, nil},
		{"locked", "x", 0, ErrCredentials},
		{"nobody", "x", 0, ErrCredentials},
		{"broken", "geheim", 0, ErrUnavailable},
		{"negative", "pass", 0, ErrUnavailable},
		// Quotes and comments are part of the login, not of the statement.
		{"user1'-- x", "odd", 9, nil},
		{"user1'-- x", "pass1", 0, ErrCredentials},
		{"user1' OR '1'='1", "pass1", 0, ErrCredentials},
		{"'; DROP TABLE users; --", "x", 0, ErrCredentials},
		{"user1\\'", "pass1", 0, ErrCredentials},
		{"user_", "pass1", 0, ErrCredentials},
		{"%", "pass1", 0, ErrCredentials},
		{"$1", "pass1", 0, ErrCredentials},
		{"user1\x00", "pass1", 0, ErrCredentials},
		{"\xff", "x", 0, ErrCredentials},
		{"", "x", 0, ErrCredentials},
		{"user1", "", 0, ErrCredentials},
	} {
		expect(t, p, test.login, test.password, test.id, test.err)
	}
	_, _, err := p.Authenticate(t.Context(), "broken", "geheim")
	if err == nil || !strings.Contains(err.Error(), `where id = 12: unknown format "MD4"`) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("broken hash: %v", err)
	}
	expect(t, p, "user8", "geheim", 8, nil)
	if n := strings.Count(logged.String(), "unsalted {SHA512}"); n != 1 {
		t.Errorf("the weak hash is logged %d times:\n%s", n, logged.String())
	}

	t.Run("many at a time", func(t *testing.T) {
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() { expect(t, p, "user1", "pass1", 1, nil) })
		}
		group.Wait()
		if n := p.db.Stats().OpenConnections; n > 3 {
			t.Errorf("%d connections, allowed are 3", n)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := p.Authenticate(ctx, "user1", "pass1"); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("twice the same login", func(t *testing.T) {
		server.Exec(`ALTER TABLE users DROP CONSTRAINT users_username_key; INSERT INTO users (id, username, password) VALUES (20, 'user1', 'pass1');`)
		if _, _, err := p.Authenticate(t.Context(), "user1", "pass1"); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "add a unique index") {
			t.Errorf("got %v", err)
		}
	})
}

// TestPostgresRestart: the database goes away with connections open, stays
// away, and comes back.
func TestPostgresRestart(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	server.Exec(table + `INSERT INTO users (username, password) VALUES ('user1', 'pass1');`)
	p := connect(t, server, nil)
	// Several idle connections, all of which will be dead.
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { expect(t, p, "user1", "pass1", 1, nil) })
	}
	group.Wait()

	server.Stop()
	server.Resume()
	expect(t, p, "user1", "pass1", 1, nil)

	server.Stop()
	for range 3 {
		expect(t, p, "user1", "pass1", 0, ErrUnavailable)
	}
	server.Resume()
	expect(t, p, "user1", "pass1", 1, nil)

	// One connection is cut by the administrator.
	server.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pluto';`)
	expect(t, p, "user1", "pass1", 1, nil)
}

// TestPostgresSlow: a database that hangs is given up after Timeout.
func TestPostgresSlow(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	server.Exec(`CREATE FUNCTION slow(text) RETURNS text AS 'SELECT $1 FROM pg_sleep(60)' LANGUAGE sql VOLATILE;
CREATE TABLE real_users (id int, username text, password text);
INSERT INTO real_users VALUES (1, 'user1', 'pass1');
CREATE VIEW users AS SELECT id, slow(username) AS username, password FROM real_users;`)
	p := connect(t, server, func(o *PostgresOptions) { o.Timeout = 200 * time.Millisecond })
	if _, _, err := p.Authenticate(t.Context(), "user1", "pass1"); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestPostgresPassword(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	server.Exec(table + `INSERT INTO users (username, password) VALUES ('user1', 'pass1');`)
	t.Run("wrong", func(t *testing.T) {
		p := connect(t, server, func(o *PostgresOptions) { o.Password = "geheim" })
		_, _, err := p.Authenticate(t.Context(), "user1", "pass1")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "password authentication failed") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "password")
		write(t, path, "not yet\n")
		p := connect(t, server, func(o *PostgresOptions) { o.Password, o.PasswordFile = "", path })
		expect(t, p, "user1", "pass1", 0, ErrUnavailable)
		write(t, path, pgtest.Password+"\r\nsecond line\n")
		expect(t, p, "user1", "pass1", 1, nil)
	})
	t.Run("file missing", func(t *testing.T) {
		p := connect(t, server, func(o *PostgresOptions) { o.PasswordFile = filepath.Join(t.TempDir(), "none") })
		if _, _, err := p.Authenticate(t.Context(), "user1", "pass1"); !errors.Is(err, ErrUnavailable) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("socket", func(t *testing.T) {
		p := connect(t, server, func(o *PostgresOptions) { o.Host, o.Password = server.SocketDir, "" })
		expect(t, p, "user1", "pass1", 1, nil)
	})
}

// TestPostgresTLS: the server is verified, whether it is the one meant as well
// as who says so.
func TestPostgresTLS(t *testing.T) {
	right := selfSigned(t, "127.0.0.1")
	server := pgtest.Start(t, pgtest.Options{Cert: right.Cert, Key: right.Key})
	server.Exec(table + `INSERT INTO users (username, password) VALUES ('user1', 'pass1');`)
	dir := t.TempDir()
	rightCert, otherCert := filepath.Join(dir, "right.pem"), filepath.Join(dir, "other.pem")
	write(t, rightCert, string(right.Cert))
	write(t, otherCert, string(selfSigned(t, "127.0.0.1").Cert))
	for _, test := range []struct {
		name   string
		change func(*PostgresOptions)
		want   string
	}{
		{"verified", func(o *PostgresOptions) { o.UseTLS, o.RootCertLoc = true, rightCert }, ""},
		{"signed by somebody else", func(o *PostgresOptions) { o.UseTLS, o.RootCertLoc = true, otherCert }, "unknown authority"},
		{"not in the system's list", func(o *PostgresOptions) { o.UseTLS = true }, "unknown authority"},
		{"of another host", func(o *PostgresOptions) { o.UseTLS, o.RootCertLoc, o.Host = true, rightCert, "localhost" }, "wanted to match localhost"},
		{"without TLS", func(o *PostgresOptions) {}, "no encryption"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := connect(t, server, test.change)
			id, _, err := p.Authenticate(t.Context(), "user1", "pass1")
			switch {
			case test.want == "":
				if id != 1 || err != nil {
					t.Errorf("ID %d, %v", id, err)
				}
			case !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if _, err := OpenPostgres(PostgresOptions{UseTLS: true, RootCertLoc: filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing certificate of the CA: %v", err)
	}
}

func selfSigned(t *testing.T, host string) crypto.Pair {
	t.Helper()
	p, err := crypto.SelfSigned(time.Now(), []string{host})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPostgresDown: the adapter starts without the database.
func TestPostgresDown(t *testing.T) {
	p, err := OpenPostgres(PostgresOptions{Host: "127.0.0.1", Port: 1, Database: "x", User: "x", Logger: log.NewNopLogger()})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, p, "user1", "pass1", 0, ErrUnavailable)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
