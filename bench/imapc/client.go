// Package imapc is a small IMAP4rev1 client for load tests. It speaks enough of
// the protocol to drive any server, hands every untagged response to who wants
// it, and costs little, so that the generator is not what is measured.
//
// It never guesses at literals: a response is read to its true end, whatever
// bytes the literals hold. It does not pipeline, and it knows nothing of what
// the commands mean beyond the counters of the selected mailbox. For anything
// else than measuring and testing use github.com/emersion/go-imap/v2/imapclient.
package imapc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// StatusError is a NO or BAD answer to a command. The connection stays usable.
type StatusError struct{ Status, Text string }

// Error returns the answer as the server gave it.
func (e *StatusError) Error() string { return e.Status + " " + e.Text }

// Code returns the upper-case response code of the answer, or "".
func (e *StatusError) Code() string {
	name, _ := splitCode([]byte(e.Text))
	return name
}

// IsStatus tells whether err is a NO or BAD.
func IsStatus(err error) bool {
	var s *StatusError
	return errors.As(err, &s)
}

// Options says how to connect.
type Options struct {
	Addr    string
	TLS     *tls.Config   // nil: no TLS. An empty ServerName means the host of Addr.
	Timeout time.Duration // for the dial and for each command; 0 means a minute
}

// Conn is one IMAP connection. It is not safe for concurrent use.
type Conn struct {
	nc      net.Conn
	r       *Reader
	w       *bufio.Writer
	tagN    int64
	scratch []byte
	timeout time.Duration

	Caps map[string]bool // capabilities in upper case

	// State of the selected mailbox, kept up from untagged responses.
	Exists      uint32
	UIDNext     uint32
	UIDValidity uint32

	// Unsolicited, when set, sees every untagged response of any command.
	Unsolicited func(*Response)

	bye string // the text of a BYE

	// BytesIn counts what came in, before TLS.
	BytesIn int64
}

const tagPrefix = 'a'

// Dial connects and reads the greeting.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	d := net.Dialer{Timeout: o.Timeout}
	nc, err := d.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		if nc, err = handshake(ctx, nc, o); err != nil {
			return nil, fmt.Errorf("TLS with %s: %w", o.Addr, err)
		}
	}
	c := NewConn(nc, o.Timeout)
	if err := c.greeting(); err != nil {
		nc.Close()
		return nil, fmt.Errorf("greeting of %s: %w", o.Addr, err)
	}
	return c, nil
}

func handshake(ctx context.Context, nc net.Conn, o Options) (net.Conn, error) {
	cfg := o.TLS
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName, _, _ = net.SplitHostPort(o.Addr)
	}
	tc := tls.Client(nc, cfg)
	nc.SetDeadline(time.Now().Add(o.Timeout))
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// NewConn wraps a connection whose greeting has not been read.
func NewConn(nc net.Conn, timeout time.Duration) *Conn {
	return &Conn{nc: nc, r: NewReader(nc), w: bufio.NewWriterSize(nc, 64<<10), timeout: timeout, Caps: map[string]bool{}}
}

func (c *Conn) greeting() error {
	c.nc.SetDeadline(time.Now().Add(c.timeout))
	r, err := c.r.Next()
	if err != nil {
		return err
	}
	if r.Tag != "*" || r.Name != "OK" && r.Name != "PREAUTH" {
		return fmt.Errorf("bad greeting: %s", r.Text())
	}
	c.takeCaps(r)
	return nil
}

func (c *Conn) takeCaps(r *Response) {
	var list string
	if r.Name == "CAPABILITY" {
		list = string(r.Rest)
	} else if n, args := r.Code(); n == "CAPABILITY" {
		list = args
	} else {
		return
	}
	c.Caps = map[string]bool{}
	for _, f := range strings.Fields(list) {
		c.Caps[strings.ToUpper(f)] = true
	}
}

// Close closes the connection without LOGOUT. It may be called concurrently
// with a command, which then fails.
func (c *Conn) Close() error { return c.nc.Close() }

func (c *Conn) untagged(r *Response) {
	switch r.Name {
	case "EXISTS":
		c.Exists = r.Num
	case "EXPUNGE":
		if c.Exists > 0 {
			c.Exists--
		}
	case "CAPABILITY":
		c.takeCaps(r)
	case "OK":
		c.untaggedOK(r)
	case "BYE":
		c.bye = string(r.Rest)
	}
	if c.Unsolicited != nil {
		c.Unsolicited(r)
	}
}

func (c *Conn) untaggedOK(r *Response) {
	switch name, args := r.Code(); name {
	case "UIDNEXT":
		v, _ := strconv.ParseUint(args, 10, 32)
		c.UIDNext = uint32(v)
	case "UIDVALIDITY":
		v, _ := strconv.ParseUint(args, 10, 32)
		c.UIDValidity = uint32(v)
	case "CAPABILITY":
		c.takeCaps(r)
	}
}

// begin arms the deadline and writes a fresh tag, which it returns.
func (c *Conn) begin() string {
	c.nc.SetDeadline(time.Now().Add(c.timeout))
	c.tagN++
	c.scratch = strconv.AppendInt(append(c.scratch[:0], tagPrefix), c.tagN, 10)
	c.w.Write(c.scratch)
	c.w.WriteByte(' ')
	return string(c.scratch)
}

// wait reads until the tagged answer to tag, or until a continuation request
// when cont is true. It returns the final response; on, when set, is called for
// each untagged one.
func (c *Conn) wait(tag string, cont bool, on func(*Response)) (*Response, error) {
	for {
		r, err := c.r.Next()
		if err != nil {
			return nil, err
		}
		c.BytesIn += int64(r.Size)
		switch r.Tag {
		case "*":
			c.untagged(r)
			if on != nil {
				on(r)
			}
		case "+":
			if cont {
				return r, nil
			}
			return nil, errors.New("imapc: unexpected continuation request")
		case tag:
			return c.tagged(r)
		default:
			return nil, fmt.Errorf("imapc: response to unknown tag %q: %s", r.Tag, r.Text())
		}
	}
}

func (c *Conn) tagged(r *Response) (*Response, error) {
	switch r.Name {
	case "OK":
		c.takeCaps(r)
		return r, nil
	case "NO", "BAD":
		return r, &StatusError{r.Name, string(r.Rest)}
	}
	return nil, fmt.Errorf("imapc: bad tagged response: %s", r.Text())
}

// farewellTime is how long Farewell waits for what has come already.
const farewellTime = time.Second

// Farewell returns, after an error, the text of the BYE with which the server has
// ended the connection; "" if there was none.
func (c *Conn) Farewell() string {
	c.nc.SetDeadline(time.Now().Add(farewellTime))
	for c.bye == "" {
		r, err := c.r.Next()
		if err != nil {
			break
		}
		if r.Tag == "*" {
			c.untagged(r)
		}
	}
	return c.bye
}

// Do sends one command and waits for its end. on, when set, sees the untagged
// responses. A NO or BAD is a [*StatusError]; any other error ends the connection.
func (c *Conn) Do(cmd string, on func(*Response)) (*Response, error) {
	tag := c.begin()
	c.w.WriteString(cmd)
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	return c.wait(tag, false, on)
}

// AppendUID is the APPENDUID of RFC 4315; zero where the server gave none.
type AppendUID struct{ UIDValidity, UID uint32 }

// Append sends one APPEND. With nonSync the literal goes out at once (LITERAL+).
func (c *Conn) Append(mailbox, flags string, message []byte, nonSync bool) (AppendUID, error) {
	return c.AppendMulti(mailbox, flags, [][]byte{message}, nonSync)
}

// AppendMulti appends several messages in one command (RFC 3502 when there is
// more than one). It returns the UID of the last message.
func (c *Conn) AppendMulti(mailbox, flags string, messages [][]byte, nonSync bool) (AppendUID, error) {
	tag := c.begin()
	c.w.WriteString("APPEND ")
	c.w.WriteString(Quote(mailbox))
	for _, m := range messages {
		if flags != "" {
			c.w.WriteString(" (" + flags + ")")
		}
		if err := c.literal(tag, m, nonSync); err != nil {
			return AppendUID{}, err
		}
	}
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return AppendUID{}, err
	}
	r, err := c.wait(tag, false, nil)
	if err != nil {
		return AppendUID{}, err
	}
	return parseAppendUID(r), nil
}

// literal writes " {n}" and, once the server agrees, the bytes.
func (c *Conn) literal(tag string, b []byte, nonSync bool) error {
	c.scratch = strconv.AppendInt(append(c.scratch[:0], ' ', '{'), int64(len(b)), 10)
	c.w.Write(c.scratch)
	if nonSync {
		c.w.WriteString("+}\r\n")
		_, err := c.w.Write(b)
		return err
	}
	c.w.WriteString("}\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	r, err := c.wait(tag, true, nil)
	if err != nil {
		return err
	}
	if r.Tag != "+" {
		return errors.New("imapc: command ended before its literal")
	}
	_, err = c.w.Write(b)
	return err
}

func parseAppendUID(r *Response) (u AppendUID) {
	name, args := r.Code()
	if name != "APPENDUID" {
		return u
	}
	validity, set, _ := strings.Cut(args, " ")
	if i := strings.LastIndexAny(set, ":,"); i >= 0 {
		set = set[i+1:]
	}
	v, _ := strconv.ParseUint(validity, 10, 32)
	n, _ := strconv.ParseUint(set, 10, 32)
	return AppendUID{uint32(v), uint32(n)}
}

// Login logs in and refreshes the capabilities when the server named none.
func (c *Conn) Login(user, pass string) error {
	c.Caps = map[string]bool{}
	if _, err := c.Do("LOGIN "+Quote(user)+" "+Quote(pass), nil); err != nil {
		return err
	}
	if len(c.Caps) > 0 {
		return nil
	}
	_, err := c.Do("CAPABILITY", nil)
	if IsStatus(err) {
		return nil
	}
	return err
}

// Logout ends the session and closes the connection.
func (c *Conn) Logout() error {
	_, err := c.Do("LOGOUT", nil)
	c.nc.Close()
	return err
}

// Select selects a mailbox.
func (c *Conn) Select(mailbox string) error {
	c.Exists, c.UIDNext, c.UIDValidity = 0, 0, 0
	_, err := c.Do("SELECT "+Quote(mailbox), nil)
	return err
}

// Idle starts IDLE (RFC 2177) and returns once the server has agreed.
func (c *Conn) Idle() (tag string, err error) {
	tag = c.begin()
	c.w.WriteString("IDLE\r\n")
	if err := c.w.Flush(); err != nil {
		return "", err
	}
	r, err := c.wait(tag, true, nil)
	if err != nil {
		return "", err
	}
	if r.Tag != "+" {
		return "", errors.New("imapc: IDLE ended at once")
	}
	return tag, nil
}

// IdleNext waits for one untagged response during IDLE.
func (c *Conn) IdleNext(timeout time.Duration) (*Response, error) {
	c.nc.SetDeadline(time.Now().Add(timeout))
	r, err := c.r.Next()
	if err != nil {
		return nil, err
	}
	if r.Tag != "*" {
		return nil, fmt.Errorf("imapc: in IDLE: %s %s", r.Tag, r.Text())
	}
	c.untagged(r)
	return r, nil
}

// Done ends IDLE.
func (c *Conn) Done(tag string) error {
	c.nc.SetDeadline(time.Now().Add(c.timeout))
	c.w.WriteString("DONE\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	_, err := c.wait(tag, false, nil)
	return err
}

// Quote returns s as an atom when it can be one, else as a quoted string.
func Quote(s string) string {
	plain := s != "" && !strings.EqualFold(s, "NIL")
	for i := 0; i < len(s) && plain; i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			plain = false
		}
	}
	if plain {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
