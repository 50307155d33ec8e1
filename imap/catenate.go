package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// catenate: RFC 4469. It reads the parts of a message, after the word, and puts
// them together in m.Staging. No \Seen flag is set.
func (s *session) catenate(c *wire.Command, to *destination, m *NewMessage) error {
	if err := c.SP(); err != nil {
		return err
	}
	if err := c.Expect('('); err != nil {
		return err
	}
	if err := s.validName(to.name); err != nil {
		return err
	}
	var err error
	if m.Staging, err = s.account.Stage(s.ctx, 0); err != nil {
		return fmt.Errorf("stage a message: %w", err)
	}
	t := catenation{session: s, dest: to, to: m.Staging}
	for {
		if err := t.part(c); err != nil {
			return err
		}
		if c.Byte(')') {
			break
		}
		if err := c.SP(); err != nil {
			return err
		}
	}
	if t.size == 0 {
		return errEmptyMessage
	}
	to.size += t.size
	to.count++
	return s.parse(m, t.binary)
}

// catenation is a message that is being put together.
type catenation struct {
	*session
	dest   *destination
	to     io.Writer
	size   int64
	binary bool // one of its literals was
}

// part reads one part and copies it.
func (t *catenation) part(c *wire.Command) error {
	kind, err := c.Atom()
	if err != nil {
		return err
	}
	if err := c.SP(); err != nil {
		return err
	}
	switch strings.ToUpper(kind) {
	case "TEXT":
		return t.text(c)
	case "UTF8": // RFC 6855 section 4
		if !c.Byte('(') || c.Peek() != '~' {
			return badSyntax("Expected a binary literal")
		}
		if err := t.text(c); err != nil {
			return err
		}
		return c.Expect(')')
	case "URL":
		url, err := c.AString()
		if err != nil || url == "" {
			return either(err, "Expected a URL")
		}
		return t.url(url)
	}
	return badSyntax("Expected TEXT, URL or UTF8")
}

// text copies a literal.
func (t *catenation) text(c *wire.Command) error {
	literal, err := c.Literal()
	if err != nil {
		return err
	}
	t.binary = t.binary || literal.Binary
	if err = t.add(literal.Size); err == nil {
		err = t.destined(literal, t.dest)
	}
	if err != nil {
		literal.Refuse()
		return err
	}
	return t.transfer(t.to, literal)
}

// add counts what is to be added. A message that was too big would be refused
// in the end, after much work.
func (t *catenation) add(n int64) error {
	if n > t.opts.MaxMessageSize-t.size {
		return ErrTooBig
	}
	t.size += n
	return nil
}

// url copies a message or a section of one, as BODY[...] has it.
func (t *catenation) url(text string) error {
	u, ok := parseMessageURL(text)
	if !ok {
		return badURL(text)
	}
	box, done, err := t.urlMailbox(&u)
	if errors.Is(err, ErrNonexistent) {
		return badURL(text)
	}
	if err != nil {
		return err
	}
	defer done()
	if u.uidValidity != 0 && u.uidValidity != box.mailbox.UIDValidity() {
		return badURL(text)
	}
	var m Message
	place, ok := box.told.Find(u.uid)
	if !ok {
		return badURL(text)
	}
	box.told.At(place, &m)
	body, err := t.account.Body(t.ctx, &m)
	if errors.Is(err, ErrExpunged) {
		return badURL(text)
	}
	if err != nil {
		return fmt.Errorf("catenate: %w", err)
	}
	part, err := t.section(&u, &m, body)
	if err == nil && part == nil {
		err = badURL(text)
	}
	if err == nil {
		err = t.take(part)
	}
	return errors.Join(err, body.Close())
}

// urlMailbox returns the mailbox that a URL means, as the client sees it if it is
// the selected one. done ends its use.
func (t *catenation) urlMailbox(u *messageURL) (box *selection, done func(), err error) {
	name := u.mailbox
	if strings.EqualFold(name, "INBOX") {
		name = "INBOX"
	}
	if name == "" && t.box == nil {
		return nil, nil, ErrNonexistent
	}
	if t.box != nil && (name == "" || name == t.box.mailbox.Name()) {
		return t.box, func() {}, nil
	}
	if err := t.existing(name); err != nil {
		return nil, nil, err
	}
	m, err := t.account.Select(t.ctx, name, true)
	if err != nil {
		return nil, nil, err
	}
	return &selection{mailbox: m, told: m.View()}, m.Close, nil
}

// section returns the bytes that a URL names, nil if there is no such section.
func (t *catenation) section(u *messageURL, m *Message, body Body) (*io.SectionReader, error) {
	where := mime.Range{Length: body.Size()}
	if sec := &u.section; len(sec.Part) > 0 || sec.Specifier != mime.Everything {
		structure, err := t.structureOf(m, body)
		if err != nil {
			return nil, err
		}
		var ok bool
		if where, ok = structure.Locate(*sec); !ok {
			return nil, nil
		}
		if sec.Specifier == mime.HeaderFields || sec.Specifier == mime.HeaderFieldsNot {
			header, err := readHeader(body, where, nil)
			if err != nil {
				return nil, err
			}
			text := mime.FilterHeader(header, sec.Fields, sec.Specifier == mime.HeaderFieldsNot)
			offset, length := u.cut(int64(len(text)))
			return io.NewSectionReader(bytes.NewReader(text), offset, length), nil
		}
	}
	offset, length := u.cut(where.Length)
	return io.NewSectionReader(body, where.Offset+offset, length), nil
}

// take copies bytes of another message.
func (t *catenation) take(part *io.SectionReader) error {
	if err := t.add(part.Size()); err != nil {
		return err
	}
	if n, err := io.Copy(t.to, part); err != nil || n < part.Size() {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("catenate: %w", err)
	}
	return nil
}

// badURL is the answer to a URL that means nothing here (RFC 4469 section 4.1).
func badURL(url string) error {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f || r == ']' {
			return '?'
		}
		return r
	}, url)
	return &refusal{"BADURL " + plain, "URL does not name a message of this account"}
}
