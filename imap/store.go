package imap

import (
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// store: RFC 3501 section 6.4.6.
func (s *session) store(c *wire.Command) error { return s.storeFlags(c, false) }

// uidStore: RFC 3501 section 6.4.8.
func (s *session) uidStore(c *wire.Command) error { return s.storeFlags(c, true) }

func (s *session) storeFlags(c *wire.Command, uid bool) error {
	spans, err := s.readSet(c, uid)
	if err != nil {
		return err
	}
	change, silent, err := readFlagChange(c)
	if err != nil {
		return err
	}
	b := s.box
	if b.readOnly {
		return ErrReadOnly
	}
	b.spell(change.Keywords)
	b.refresh()
	if keys := b.keys(spans, &s.scratch); len(keys) > 0 {
		view, _, err := b.mailbox.Store(s.ctx, keys, change)
		if err != nil {
			return err
		}
		b.latest = view
	}
	if b.newKeywords() {
		s.appendFlagsResponse(b)
	}
	s.tellStored(spans, change, silent, uid)
	return nil
}

// readFlagChange reads what STORE is to do, to the end of the command.
func readFlagChange(c *wire.Command) (change FlagChange, silent bool, err error) {
	if err := c.SP(); err != nil {
		return change, false, err
	}
	switch {
	case c.Byte('+'):
		change.Op = FlagsAdd
	case c.Byte('-'):
		change.Op = FlagsRemove
	}
	item, err := c.Atom()
	if err != nil {
		return change, false, err
	}
	switch {
	case strings.EqualFold(item, "FLAGS"):
	case strings.EqualFold(item, "FLAGS.SILENT"):
		silent = true
	default:
		return change, false, badSyntax("Unknown data item")
	}
	if err := c.SP(); err != nil {
		return change, false, err
	}
	if change.Flags, change.Keywords, err = readFlags(c); err != nil {
		return change, false, err
	}
	return change, silent, c.End()
}

// tellStored tells the flags that the messages have now: all of them, or with
// .SILENT those that are not what the client must expect, because somebody else
// changed them too (RFC 3501 section 6.4.6, note). For a message that is no
// longer there under this UID the answer is what the change made of the flags
// that the client knows.
func (s *session) tellStored(spans []span, change FlagChange, silent, uid bool) {
	b, m := s.box, &s.scratch
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			if !b.message(i, m) {
				change.apply(m)
				b.haunt(m)
			}
			if silent && b.expects(i, m, &change) {
				continue
			}
			s.appendFlagsOf(i, m, uid)
			if s.out.spill() != nil {
				return
			}
		}
	}
	b.announce(spans)
}

// expects reports whether the client must expect m, the message at place i, to
// have the flags that it has after the change.
func (b *selection) expects(i int, m *Message, change *FlagChange) bool {
	if b.told == b.latest {
		return true
	}
	var was Message
	b.told.At(i, &was)
	if _, ghost := b.ghosts[was.UID]; ghost {
		return true
	}
	change.apply(&was)
	return was.Flags == m.Flags && slices.Equal(was.Keywords, m.Keywords)
}
