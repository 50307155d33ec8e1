package imap

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// Bounds of annotations. A replica may have others for how many there are.
const (
	maxNoteBytes = 64 << 10 // of a value; RFC 5464 section 4.1 demands 1024
	maxNotes     = 100      // entries in one command
)

// metadataArgs are the arguments of GETMETADATA.
type metadataArgs struct {
	mailbox string
	entries []string // in lower case
	maxSize int      // of the values that are wanted
	depth   int      // how many levels below the entries
}

// getMetadata: RFC 5464 section 4.2. Entries that do not exist are not returned.
func (s *session) getMetadata(c *wire.Command) error {
	a, err := s.readGetMetadata(c)
	if err != nil {
		return err
	}
	if err := s.annotatable(a.mailbox); err != nil {
		return err
	}
	notes, err := s.account.Annotations(s.ctx, a.mailbox)
	if err != nil {
		return err
	}
	names, longest := a.pick(notes)
	if longest > 0 {
		s.code = strconv.AppendInt(append(s.code, "METADATA LONGENTRIES "...), int64(longest), 10)
	}
	if len(names) == 0 {
		return nil
	}
	s.out.buf = append(s.out.buf, "* METADATA "...)
	if a.mailbox == "" {
		s.out.buf = append(s.out.buf, `""`...)
	} else {
		s.out.buf = s.appendMailbox(s.out.buf, a.mailbox)
	}
	separator := byte('(')
	s.out.buf = append(s.out.buf, ' ')
	for _, name := range names {
		s.out.buf = wire.AppendAtom(append(s.out.buf, separator), name)
		s.out.buf = appendNote(append(s.out.buf, ' '), notes[name])
		separator = ' '
		if err := s.out.spill(); err != nil {
			return err
		}
	}
	s.out.buf = append(s.out.buf, ")\r\n"...)
	return nil
}

// pick returns the entries that are wanted, and the size of the largest that is
// too long to be.
func (a *metadataArgs) pick(notes map[string]string) (names []string, longest int) {
	for name, value := range notes {
		switch {
		case !slices.ContainsFunc(a.entries, func(e string) bool { return a.covers(e, name) }):
		case len(value) > a.maxSize:
			longest = max(longest, len(value))
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, longest
}

// covers reports whether an entry or what is below it to the depth is meant (RFC
// 5464 section 4.2.2).
func (a *metadataArgs) covers(entry, name string) bool {
	below, ok := strings.CutPrefix(name, entry)
	return ok && (below == "" || below[0] == '/' && strings.Count(below, "/") <= a.depth)
}

// appendNote appends a value. Only a binary literal can have NUL.
func appendNote(dst []byte, value string) []byte {
	if strings.IndexByte(value, 0) < 0 {
		return wire.AppendString(dst, value)
	}
	return append(wire.AppendLiteralHeader(dst, int64(len(value)), true), value...)
}

// annotatable says why what is named has no annotations.
func (s *session) annotatable(name string) error {
	if name == "" {
		return nil
	}
	return s.existing(name)
}

// readGetMetadata reads the arguments of GETMETADATA. Options come before the
// mailbox in the RFC's grammar and behind it in its examples; clients do both.
func (s *session) readGetMetadata(c *wire.Command) (a metadataArgs, err error) {
	a.maxSize = math.MaxInt
	if err := c.SP(); err != nil {
		return a, err
	}
	if c.Byte('(') {
		if err := a.readOptions(c); err != nil {
			return a, err
		}
		if err := c.SP(); err != nil {
			return a, err
		}
	}
	if a.mailbox, err = c.Mailbox(); err != nil {
		return a, err
	}
	if err := c.SP(); err != nil {
		return a, err
	}
	list := c.Byte('(')
	if b := c.Peek(); list && b != '/' && b != '"' && b != '{' {
		if err := a.readOptions(c); err != nil {
			return a, err
		}
		if err := c.SP(); err != nil {
			return a, err
		}
		list = c.Byte('(')
	}
	if err := a.readEntries(c, list); err != nil {
		return a, err
	}
	return a, c.End()
}

// readOptions reads options behind the parenthesis that begins them.
func (a *metadataArgs) readOptions(c *wire.Command) error {
	for {
		word, err := c.Atom()
		if err != nil {
			return err
		}
		if err := c.SP(); err != nil {
			return err
		}
		switch strings.ToUpper(word) {
		case "MAXSIZE":
			n, err := c.Number()
			if err != nil {
				return err
			}
			a.maxSize = int(n)
		case "DEPTH":
			if a.depth, err = readDepth(c); err != nil {
				return err
			}
		default:
			return badSyntax("Unknown option")
		}
		if c.Byte(')') {
			return nil
		}
		if err := c.SP(); err != nil {
			return err
		}
	}
}

func readDepth(c *wire.Command) (int, error) {
	word, err := c.Atom()
	switch {
	case err != nil:
		return 0, err
	case word == "0":
		return 0, nil
	case word == "1":
		return 1, nil
	case strings.EqualFold(word, "infinity"):
		return math.MaxInt, nil
	}
	return 0, badSyntax("Expected 0, 1 or infinity")
}

// readEntries reads an entry, or the list of them that has begun.
func (a *metadataArgs) readEntries(c *wire.Command, list bool) error {
	for {
		name, err := readEntry(c)
		if err != nil {
			return err
		}
		a.entries = append(a.entries, strings.ToLower(name))
		if !list || c.Byte(')') {
			return nil
		}
		if len(a.entries) == maxNotes {
			return badSyntax("Too many entries")
		}
		if err := c.SP(); err != nil {
			return err
		}
	}
}

// readEntry reads the name of an entry: what it must not have is bad syntax (RFC
// 5464 section 3.2).
func readEntry(c *wire.Command) (string, error) {
	name, err := c.AString()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//") ||
		strings.ContainsAny(name, "*%") || len(name) > maxNameBytes || !wire.IsAtom(name) {
		return "", badSyntax("Not the name of an entry")
	}
	return name, nil
}

// setMetadata: RFC 5464 section 4.3. All entries are set or none.
func (s *session) setMetadata(c *wire.Command) error {
	name, err := s.mailbox(c)
	if err != nil {
		return err
	}
	if err := c.SP(); err != nil {
		return err
	}
	if err := c.Expect('('); err != nil {
		return err
	}
	var notes []Note
	for len(notes) == 0 || !c.Byte(')') {
		if len(notes) == maxNotes {
			return badSyntax("Too many entries")
		}
		if len(notes) > 0 {
			if err := c.SP(); err != nil {
				return err
			}
		}
		n, err := readNote(c)
		if err != nil {
			return err
		}
		notes = append(notes, n)
	}
	if err := c.End(); err != nil {
		return err
	}
	if err := s.annotatable(name); err != nil {
		return err
	}
	err = s.account.Annotate(s.ctx, name, notes)
	switch {
	case errors.Is(err, ErrLimit):
		return &refusal{"METADATA TOOMANY", "Too many annotations"}
	case errors.Is(err, ErrCannot):
		return &refusal{"CANNOT", "Entries begin with /private/ or /shared/"}
	}
	return err
}

var errNoteTooBig = &refusal{"METADATA MAXSIZE " + strconv.Itoa(maxNoteBytes), "Value is too big"}

// readNote reads an entry and its value.
func readNote(c *wire.Command) (n Note, err error) {
	if n.Entry, err = readEntry(c); err != nil {
		return n, err
	}
	if err := c.SP(); err != nil {
		return n, err
	}
	if b := c.Peek(); b != '{' && b != '~' {
		n.Value, n.Remove, err = c.NString()
		return n, err
	}
	literal, err := c.Literal()
	if err != nil {
		return n, err
	}
	if literal.Size > maxNoteBytes {
		literal.Refuse()
		return n, errNoteTooBig
	}
	value, err := io.ReadAll(literal)
	if err == nil && !literal.Binary && bytes.IndexByte(value, 0) >= 0 {
		err = badSyntax("NUL is not allowed")
	}
	n.Value = string(value)
	return n, err
}
