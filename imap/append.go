package imap

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// checkedLiteral is the size from which on the destination is looked up before
// a literal that the client sends unasked is read. It is looked up for every
// literal that the client asks about: a refusal then saves the upload.
const checkedLiteral = 64 << 10

// append: RFC 3501 section 6.3.11, with several messages as RFC 3502 has it.
func (s *session) append(c *wire.Command) error {
	name, err := s.mailbox(c)
	if err != nil {
		return err
	}
	var batch []NewMessage
	defer func() {
		for _, m := range batch {
			m.Staging.Discard()
		}
	}()
	to := destination{name: name, frees: -1}
	for len(batch) == 0 || !c.EOL() {
		m, err := s.receive(c, &to)
		if m.Staging != nil {
			batch = append(batch, m)
		}
		if err != nil {
			return err
		}
	}
	var done Appended
	ctx, account := s.ctx, s.account
	err = s.patiently(isLarge(batch...), func() (err error) {
		done, err = account.Append(ctx, name, batch)
		return err
	})
	if err != nil {
		return tryCreate(err)
	}
	s.made(name, done.UIDs)
	s.code = appendAppendUID(s.code, &done)
	return nil
}

// largeMessage is the size from which on it may take long until a message is at
// other nodes, in bytes.
const largeMessage = 1 << 20

func isLarge(messages ...NewMessage) bool {
	return slices.ContainsFunc(messages, func(m NewMessage) bool { return m.size >= largeMessage })
}

// destination is where a message is to be added.
type destination struct {
	name  string // of the mailbox
	frees int64  // the size of the message that it replaces, -1 if it replaces none

	size, count int64 // of the messages before it in the command
}

// receive reads one message of an APPEND with its flags and date: a literal, or
// parts to catenate. The staging, if there is one, is the caller's to discard
// even when there is an error.
func (s *session) receive(c *wire.Command, to *destination) (NewMessage, error) {
	m, err := readAppendOptions(c)
	if err != nil {
		return NewMessage{}, err
	}
	word := ""
	if b := c.Peek(); b != '{' && b != '~' {
		if word, err = c.Atom(); err != nil {
			return NewMessage{}, err
		}
	}
	switch strings.ToUpper(word) {
	case "":
		return s.receiveLiteral(c, to, m)
	case "UTF8": // RFC 6855 section 4
		if err := openUTF8(c); err != nil {
			return m, err
		}
		if m, err = s.receiveLiteral(c, to, m); err == nil {
			err = c.Expect(')')
		}
		return m, err
	case "CATENATE":
		return m, s.catenate(c, to, &m)
	}
	return m, badSyntax("Expected a literal, UTF8 or CATENATE")
}

// openUTF8 reads what is before the literal of a message with UTF-8 in its headers.
func openUTF8(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	if err := c.Expect('('); err != nil {
		return err
	}
	if c.Peek() != '~' {
		return badSyntax("Expected a binary literal")
	}
	return nil
}

// receiveLiteral reads the literal of a message with these flags and date.
func (s *session) receiveLiteral(c *wire.Command, to *destination, m NewMessage) (NewMessage, error) {
	literal, err := c.Literal()
	if err != nil {
		return NewMessage{}, err
	}
	if err := s.acceptable(literal, to); err != nil {
		literal.Refuse()
		return NewMessage{}, err
	}
	to.size += literal.Size
	to.count++
	if m.Staging, err = s.account.Stage(s.ctx, literal.Size); err != nil {
		literal.Refuse()
		return NewMessage{}, fmt.Errorf("stage a message: %w", err)
	}
	if err := s.transfer(m.Staging, literal); err != nil {
		return m, err
	}
	return m, s.parse(&m, literal.Binary)
}

// readAppendOptions reads the optional flags and date before a literal.
func readAppendOptions(c *wire.Command) (m NewMessage, err error) {
	if err := c.SP(); err != nil {
		return m, err
	}
	if c.Peek() == '(' {
		flags, keywords, err := readFlags(c)
		if err != nil {
			return m, err
		}
		m.Flags = append(flags.Names(), keywords...)
		if err := c.SP(); err != nil {
			return m, err
		}
	}
	if c.Peek() == '"' {
		if m.Date, err = c.DateTime(); err != nil {
			return m, err
		}
		return m, c.SP()
	}
	return m, nil
}

var errEmptyMessage = &refusal{"CANNOT", "A message cannot be empty"}

// acceptable says why a message is not to be taken.
func (s *session) acceptable(l *wire.LiteralReader, to *destination) error {
	switch {
	case l.Size > s.opts.MaxMessageSize:
		return ErrTooBig
	case l.Size == 0:
		return errEmptyMessage
	}
	return s.destined(l, to)
}

// destined says why a literal is of no use, because of the mailbox it is for.
func (s *session) destined(l *wire.LiteralReader, to *destination) error {
	if err := s.validName(to.name); err != nil {
		return err
	}
	if l.NonSync && l.Size < checkedLiteral {
		return nil
	}
	if _, err := s.account.Status(s.ctx, to.name); err != nil {
		return tryCreate(err)
	}
	return s.room(l.Size, to)
}

// transfer copies a literal to the store. An error of the client's stream and
// one of the store are told apart later, by whether the stream still works.
func (s *session) transfer(to io.Writer, l *wire.LiteralReader) error {
	buf := make([]byte, min(l.Size, 32<<10))
	for {
		n, err := l.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return fmt.Errorf("stage a message: %w", err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parse ends the receiving of a message. One that came as binary literal gets
// transfer encodings that every client can read.
func (s *session) parse(m *NewMessage, binary bool) error {
	body, err := m.Staging.Finish()
	if err != nil {
		return fmt.Errorf("finish a message: %w", err)
	}
	m.size = body.Size()
	structure, err := mime.Parse(io.NewSectionReader(body, 0, m.size))
	if err != nil {
		return errors.Join(fmt.Errorf("parse a message: %w", err), body.Close())
	}
	if binary && hasBinary(structure) {
		return s.encodeBinary(m, body, structure)
	}
	m.Structure = structure.Encode()
	return nil
}

// appendAppendUID appends an APPENDUID response code (RFC 4315 section 3).
func appendAppendUID(dst []byte, a *Appended) []byte {
	dst = append(dst, "APPENDUID "...)
	dst = strconv.AppendUint(dst, uint64(a.UIDValidity), 10)
	dst = append(dst, ' ')
	return appendUIDSet(dst, a.UIDs)
}
