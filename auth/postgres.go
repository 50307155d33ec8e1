package auth

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/lib/pq"
)

// PostgresOptions say where the table is.
type PostgresOptions struct {
	Host         string // name, address, or directory of a Unix socket
	Port         uint16
	Database     string
	User         string
	Password     string
	PasswordFile string // its first line is the password; read for each new connection
	// UseTLS demands TLS and verifies the server's certificate and that it is
	// for Host (sslmode verify-full).
	UseTLS bool
	// RootCertLoc is the certificate of the server's CA; empty stands for the
	// system's list.
	RootCertLoc    string
	MaxConnections int           // at most so many connections; 0: 16
	Timeout        time.Duration // for one look-up, connecting included; 0: 5 s
	Logger         log.Logger
}

const (
	defaultConnections = 16
	defaultTimeout     = 5 * time.Second
	idleTime           = 5 * time.Minute // then a connection is closed
)

// Postgres authenticates against the table users(id, username, password) of a
// PostgreSQL database. Logins are compared as the column username does.
// Connections are made when they are needed and again when they break, so the
// database may be down at start and restart at any time.
type Postgres struct {
	db       *sql.DB
	timeout  time.Duration
	logger   log.Logger
	verifier *verifier
	warned   atomic.Bool // about weak hashes
}

// OpenPostgres prepares connections; it makes none.
func OpenPostgres(o PostgresOptions) (*Postgres, error) {
	if o.MaxConnections <= 0 {
		o.MaxConnections = defaultConnections
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	c := &connector{passwordFile: o.PasswordFile, config: pq.Config{
		Host:            o.Host,
		Port:            o.Port,
		Database:        o.Database,
		User:            o.User,
		Password:        o.Password,
		SSLMode:         pq.SSLModeDisable,
		ApplicationName: "pluto",
		ConnectTimeout:  o.Timeout,
	}}
	if o.UseTLS {
		c.config.SSLMode = pq.SSLModeVerifyFull
		c.config.SSLRootCert = o.RootCertLoc
		if o.RootCertLoc == "" {
			c.config.SSLRootCert = "system"
		} else if _, err := os.ReadFile(o.RootCertLoc); err != nil {
			return nil, fmt.Errorf("read the certificate of the database's CA: %w", err)
		}
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(o.MaxConnections)
	db.SetMaxIdleConns(o.MaxConnections)
	db.SetConnMaxIdleTime(idleTime)
	return &Postgres{db: db, timeout: o.Timeout, logger: o.Logger, verifier: newVerifier()}, nil
}

// connector makes connections with the password of the moment.
type connector struct {
	config       pq.Config
	passwordFile string
}

// Connect implements [driver.Connector].
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	config := c.config.Clone()
	if c.passwordFile != "" {
		password, err := firstLine(c.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("read the database password: %w", err)
		}
		config.Password = password
	}
	base, err := pq.NewConnectorConfig(config)
	if err != nil {
		return nil, err
	}
	return base.Connect(ctx)
}

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return &pq.Driver{} }

func firstLine(path string) (string, error) {
	const most = 4096
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// Close closes all connections, after the look-ups that are under way.
func (p *Postgres) Close() error { return p.db.Close() }

// Ping reports whether the table can be read.
func (p *Postgres) Ping(ctx context.Context) error {
	_, err := p.lookUp(ctx, "")
	if errors.Is(err, ErrCredentials) {
		return nil
	}
	return err
}

// Authenticate implements [Authenticator].
func (p *Postgres) Authenticate(ctx context.Context, login, password string) (uint32, string, error) {
	if !plausible(login, password) {
		return 0, "", ErrCredentials
	}
	row, err := p.lookUp(ctx, login)
	if errors.Is(err, ErrCredentials) {
		return 0, "", p.verifier.verify(ctx, nil, password)
	}
	if err != nil {
		return 0, "", err
	}
	hash, err := ParseHash(row.password)
	if err != nil {
		return 0, "", unavailable(fmt.Sprintf("password in users where id = %d", row.id), err)
	}
	if hash.format == FormatSHA512 && !p.warned.Swap(true) {
		level.Warn(p.logger).Log("msg", "unsalted {SHA512} passwords are easily guessed; replace them by {ARGON2ID}", "id", row.id)
	}
	if err := p.verifier.verify(ctx, &hash, password); err != nil {
		return 0, "", err
	}
	return row.id, row.login, nil
}

// userRow is a row of the table.
type userRow struct {
	id       uint32
	login    string
	password string
}

// lookUp reads a user's row, ErrCredentials if there is none. A connection that
// turns out to be broken is replaced once.
func (p *Postgres) lookUp(ctx context.Context, login string) (userRow, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	row, err := p.query(ctx, login)
	if err != nil && lostConnection(err) && ctx.Err() == nil {
		row, err = p.query(ctx, login)
	}
	switch {
	case err == nil || errors.Is(err, ErrCredentials) || errors.Is(err, ErrUnavailable):
		return row, err
	case ctx.Err() != nil:
		return row, unavailable("look up user in the database", fmt.Errorf("%w (%w)", err, context.Cause(ctx)))
	}
	return row, unavailable("look up user in the database", err)
}

func (p *Postgres) query(ctx context.Context, login string) (userRow, error) {
	rows, err := p.db.QueryContext(ctx, "SELECT id, username, password FROM users WHERE username = $1 LIMIT 2", login)
	if err != nil {
		return userRow{}, err
	}
	defer rows.Close()
	var found []userRow
	for rows.Next() {
		var id int64
		var r userRow
		var password sql.NullString // NULL: no password is right
		if err := rows.Scan(&id, &r.login, &password); err != nil {
			return userRow{}, err
		}
		if id < 1 || id > math.MaxUint32 {
			return userRow{}, unavailable("look up user in the database", fmt.Errorf("id %d is not from 1 to %d", id, uint32(math.MaxUint32)))
		}
		r.id, r.password = uint32(id), password.String
		if password.Valid {
			found = append(found, r)
		}
	}
	if err := rows.Err(); err != nil {
		return userRow{}, err
	}
	switch len(found) {
	case 0:
		return userRow{}, ErrCredentials
	case 1:
		return found[0], nil
	}
	return userRow{}, unavailable("look up user in the database", fmt.Errorf("users with id %d and %d have the same username; add a unique index", found[0].id, found[1].id))
}

// lostConnection reports whether an error is that of a connection which was
// good before: the server restarted, or an administrator or a firewall cut it.
func lostConnection(err error) bool {
	var server *pq.Error
	if errors.As(err, &server) {
		switch server.Code.Class() {
		case "08", "57": // connection exception, operator intervention
			return true
		}
		return false
	}
	var network *net.OpError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}
