package distributor

import (
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/auth"
	"github.com/go-pluto/pluto/imap/tunnel"
	"github.com/go-pluto/pluto/imap/wire"
)

// identified is a client that has logged in, and its session.
type identified struct {
	user uint32
	*opened
}

// errGoodbye ends the connection after a BYE.
var errGoodbye = errors.New("said goodbye")

// command answers one command. It returns the session that it has opened, if
// any. An error ends the connection, unless it is a [*wire.SyntaxError].
type command func(*client, *wire.Command) (*identified, error)

// commands are those that are allowed before login (RFC 9051 sections 6.1 and 6.2).
var commands = map[string]command{
	"CAPABILITY":   (*client).capability,
	"NOOP":         (*client).noop,
	"LOGOUT":       (*client).logout,
	"ID":           (*client).identity,
	"STARTTLS":     (*client).startTLS,
	"LOGIN":        (*client).login,
	"AUTHENTICATE": (*client).authenticate,
}

// identify answers commands until the client is logged in. It returns nil when
// the client is gone.
func (c *client) identify() *identified {
	for {
		session, err := c.next()
		switch {
		case err == nil:
		case errors.Is(err, errGoodbye):
			if c.flush() == nil {
				c.farewell()
			}
			return nil
		default:
			c.giveUp(err)
			return nil
		}
		if err := c.flush(); err != nil {
			if session != nil {
				c.leave(session)
			}
			return nil
		}
		if session != nil {
			return session
		}
	}
}

// leave undoes a login.
func (c *client) leave(s *identified) {
	s.end()
	c.server.users.leave(s.user)
}

// giveUp says why the connection ends, where the client can still be told.
func (c *client) giveUp(err error) {
	var protocol *wire.ProtocolError
	switch {
	case errors.Is(err, errHandshake):
		return
	case errors.As(err, &protocol):
		c.server.metrics.rejected.WithLabelValues("bad_commands").Inc()
		c.line("* BYE " + protocol.Message)
	case c.isDraining():
		c.line("* BYE [UNAVAILABLE] Server is shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.server.metrics.rejected.WithLabelValues("timeout").Inc()
		c.line("* BYE Took too long to log in")
	default:
		return
	}
	c.raw.SetWriteDeadline(time.Now().Add(lingerTime)) // the time for logging in may be over
	if c.flush() == nil {
		c.farewell()
	}
}

// next reads one command and answers it.
func (c *client) next() (*identified, error) {
	cmd, err := c.reader.Next()
	if err != nil {
		return nil, c.badCommand(err)
	}
	run := commands[cmd.Name]
	if run == nil {
		return nil, c.badCommand(cmd.SyntaxError("Unknown command, or one that needs a login first"))
	}
	session, err := run(c, cmd)
	if err != nil {
		return nil, c.badCommand(err)
	}
	return session, nil
}

// badCommand answers a syntax error. Other errors are returned, as is the
// end of patience.
func (c *client) badCommand(err error) error {
	var syntax *wire.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	c.tagged(syntax.Tag, "BAD "+syntax.Message)
	if c.bad++; c.bad < c.limits.MaxBadCommands {
		return nil
	}
	c.server.metrics.rejected.WithLabelValues("bad_commands").Inc()
	return c.goodbye("Too many bad commands")
}

// line appends a line to what is sent next.
func (c *client) line(text string) {
	c.out = append(c.out, text...)
	c.out = append(c.out, "\r\n"...)
}

func (c *client) tagged(tag, text string) {
	if tag == "" {
		tag = "*"
	}
	c.line(tag + " " + text)
}

func (c *client) goodbye(text string) error {
	c.line("* BYE " + text)
	return errGoodbye
}

func (c *client) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

func (c *client) capability(cmd *wire.Command) (*identified, error) {
	if err := cmd.End(); err != nil {
		return nil, err
	}
	c.line("* CAPABILITY " + c.capabilities())
	c.tagged(cmd.Tag, "OK CAPABILITY completed")
	return nil, nil
}

func (c *client) noop(cmd *wire.Command) (*identified, error) {
	if err := cmd.End(); err != nil {
		return nil, err
	}
	c.tagged(cmd.Tag, "OK NOOP completed")
	return nil, nil
}

func (c *client) logout(cmd *wire.Command) (*identified, error) {
	if err := cmd.End(); err != nil {
		return nil, err
	}
	c.line("* BYE Logging out")
	c.tagged(cmd.Tag, "OK LOGOUT completed")
	return nil, errGoodbye
}

// startTLS begins TLS (RFC 9051 section 6.2.1). A client that has already sent more
// is not one that the words after the handshake can be trusted to come from: the
// connection is closed.
func (c *client) startTLS(cmd *wire.Command) (*identified, error) {
	if err := cmd.End(); err != nil {
		return nil, err
	}
	if c.secure {
		return nil, cmd.SyntaxError("TLS is in use already")
	}
	if err := cmd.Finish(); err != nil {
		return nil, err
	}
	if c.reader.Buffered() > 0 {
		c.server.metrics.rejected.WithLabelValues("bad_commands").Inc()
		c.tagged(cmd.Tag, "BAD Nothing may follow STARTTLS before TLS has begun")
		return nil, c.goodbye("Bytes after STARTTLS")
	}
	c.tagged(cmd.Tag, "OK Begin TLS")
	if err := c.flush(); err != nil {
		return nil, err
	}
	c.raw.SetDeadline(c.loginBy)
	if !c.handshake() {
		return nil, errHandshake
	}
	c.begin(nil)
	c.loginDeadline()
	return nil, nil
}

var errHandshake = errors.New("no TLS with client")

// login answers LOGIN (RFC 9051 section 6.2.3).
func (c *client) login(cmd *wire.Command) (*identified, error) {
	if !c.secure {
		return c.needTLS(cmd)
	}
	if err := cmd.SP(); err != nil {
		return nil, err
	}
	login, err := cmd.AString()
	if err != nil {
		return nil, err
	}
	if err := cmd.SP(); err != nil {
		return nil, err
	}
	password, err := cmd.AString()
	if err != nil {
		return nil, err
	}
	if err := cmd.End(); err != nil {
		return nil, err
	}
	tag := cmd.Tag
	if err := cmd.Finish(); err != nil {
		return nil, err
	}
	return c.verify(tag, login, password)
}

func (c *client) needTLS(cmd *wire.Command) (*identified, error) {
	c.tagged(cmd.Tag, "NO [PRIVACYREQUIRED] Use STARTTLS first")
	return nil, nil
}

const maxSASL = 4 << 10 // of a base64 response

// authenticate answers AUTHENTICATE PLAIN (RFC 9051 section 6.2.2, RFC 4616).
func (c *client) authenticate(cmd *wire.Command) (*identified, error) {
	if !c.secure {
		return c.needTLS(cmd)
	}
	if err := cmd.SP(); err != nil {
		return nil, err
	}
	mechanism, err := cmd.Atom()
	if err != nil {
		return nil, err
	}
	response, err := c.saslResponse(cmd, strings.EqualFold(mechanism, "PLAIN"))
	if err != nil {
		return nil, err
	}
	tag := cmd.Tag
	if !strings.EqualFold(mechanism, "PLAIN") {
		c.tagged(tag, "NO [CANNOT] Mechanism is not supported")
		return nil, nil
	}
	if response == "*" {
		return nil, &wire.SyntaxError{Tag: tag, Message: "AUTHENTICATE cancelled"}
	}
	if response == "=" {
		response = ""
	}
	message, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return nil, &wire.SyntaxError{Tag: tag, Message: "Response is not base64"}
	}
	return c.verifyPlain(tag, message)
}

// saslResponse returns the client's response: the initial one (RFC 4959), or, when
// it is wanted, the line that it is asked for. The command is finished then.
func (c *client) saslResponse(cmd *wire.Command, wanted bool) (string, error) {
	initial := ""
	if !cmd.EOL() {
		if err := cmd.SP(); err != nil {
			return "", err
		}
		var err error
		if initial, err = cmd.Atom(); err != nil {
			return "", err
		}
		if err := cmd.End(); err != nil {
			return "", err
		}
	}
	if err := cmd.Finish(); err != nil || initial != "" || !wanted {
		return initial, err
	}
	c.line("+ ")
	if err := c.flush(); err != nil {
		return "", err
	}
	tag := cmd.Tag
	line, err := c.reader.ReadLine(maxSASL)
	var syntax *wire.SyntaxError
	if errors.As(err, &syntax) {
		syntax.Tag = tag
	}
	return string(line), err
}

// openFor opens the session of a user who is who he says.
func (c *client) openFor(tag string, user uint32, login string, quota auth.Quota) (*opened, error) {
	open := &tunnel.Open{
		UserId: user, Login: login, Tag: tag, Session: newSessionID(),
		Remote: c.raw.RemoteAddr().String(), Tls: c.secure, ClientId: c.id.List,
		QuotaStorage: limit(quota.Storage), QuotaMessages: limit(quota.Messages),
	}
	session, err := c.server.replicas.open(c.ctx, c.server.opts.Route(user), open)
	if err != nil {
		return nil, err
	}
	level.Info(c.log).Log("msg", "session opened", "user", user, "login", login, "replica", session.replica.Name)
	return session, nil
}

// limit returns a limit as it is in an Open: absent if nothing is said of it.
func limit(n int64) *uint64 {
	if n == auth.NoQuota {
		return nil
	}
	l := uint64(n)
	return &l
}
