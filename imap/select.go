package imap

import (
	"strconv"

	"github.com/go-pluto/pluto/imap/wire"
)

// FirstUnseener is implemented by a View that knows its first unseen message
// without looking at all of them.
type FirstUnseener interface {
	// FirstUnseen returns the index of the first message without \Seen.
	FirstUnseen() (int, bool)
}

// selectMailbox: RFC 3501 section 6.3.1.
func (s *session) selectMailbox(c *wire.Command) error { return s.open(c, false) }

// examine: RFC 3501 section 6.3.2.
func (s *session) examine(c *wire.Command) error { return s.open(c, true) }

// open selects a mailbox. Whether that succeeds or not, the one that was
// selected before is not selected any more.
func (s *session) open(c *wire.Command, readOnly bool) error {
	name, err := s.mailbox(c)
	if err != nil {
		return err
	}
	args, err := s.readSelectArgs(c)
	if err != nil {
		return err
	}
	if s.box != nil {
		s.closeMailbox()
		s.out.line("OK [CLOSED] The previous mailbox is closed")
	}
	if err := s.existing(name); err != nil {
		return err
	}
	vector := s.account.Vector()
	mailbox, err := s.account.Select(s.ctx, name, readOnly)
	if err != nil {
		return err
	}
	var r Resync
	view := mailbox.View()
	if args.qresync {
		if r, err = mailbox.Resync(s.ctx, args.known); err != nil {
			mailbox.Close()
			return err
		}
		view = r.View
	}
	if args.condStore {
		s.switchOn(modeCondStore)
	}
	s.box = newSelection(mailbox, view, s.on(modeRev2))
	s.box.vector = vector
	s.stateDirty = stateChanged
	s.describe(s.box)
	if err := s.tellSelected(name); err != nil || !args.qresync {
		return err
	}
	return s.tellResync(&args, &r)
}

func newSelection(mailbox Mailbox, view View, noRecent bool) *selection {
	b := &selection{mailbox: mailbox, readOnly: mailbox.ReadOnly(), told: view, latest: view, noRecent: noRecent}
	b.shown = b.told.HighestModSeq()
	b.high = b.shown
	b.newKeywords()
	b.claim()
	return b
}

// describe appends what SELECT tells of a mailbox.
func (s *session) describe(b *selection) {
	s.appendFlagsResponse(b)
	s.out.number(b.told.Len(), "EXISTS")
	if !b.noRecent {
		s.describeOld(b)
	}
	s.out.status("UIDVALIDITY", uint64(b.mailbox.UIDValidity()), "UIDs valid")
	s.out.status("UIDNEXT", uint64(b.told.UIDNext()), "Predicted next UID")
	s.tellHighest(b.told.HighestModSeq())
	s.out.tagged("", "OK", "MAILBOXID ("+b.mailbox.MailboxID()+")", "Identity") // RFC 8474 section 4.2
	if s.code = append(s.code, "READ-WRITE"...); b.readOnly {
		s.code = append(s.code[:0], "READ-ONLY"...)
	}
}

// describeOld appends what IMAP4rev2 has no more (RFC 9051 appendix E).
func (s *session) describeOld(b *selection) {
	b.recents = b.countRecent()
	s.out.number(b.recents, "RECENT")
	if i, ok := b.firstUnseen(&s.scratch); ok {
		s.out.status("UNSEEN", uint64(i)+1, "First unseen")
	}
}

// status appends an untagged OK with a response code that has a number.
func (o *output) status(code string, n uint64, text string) {
	o.buf = append(o.buf, "* OK ["...)
	o.buf = append(o.buf, code...)
	o.buf = append(o.buf, ' ')
	o.buf = strconv.AppendUint(o.buf, n, 10)
	o.buf = append(o.buf, "] "...)
	o.buf = append(o.buf, text...)
	o.buf = append(o.buf, '\r', '\n')
}

// firstUnseen returns the place of the first message without \Seen.
func (b *selection) firstUnseen(m *Message) (int, bool) {
	if f, ok := b.told.(FirstUnseener); ok {
		return f.FirstUnseen()
	}
	for i := range b.told.Len() {
		if b.told.At(i, m); m.Flags&Seen == 0 {
			return i, true
		}
	}
	return 0, false
}

// closeMailbox ends the selected state, without expunging.
func (s *session) closeMailbox() {
	if s.box == nil {
		return
	}
	s.leaveSelected()
	s.box.mailbox.Close()
	s.box = nil
	s.stateDirty = stateChanged
}

// unselect: RFC 3691.
func (s *session) unselect(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	s.closeMailbox()
	return nil
}

// close: RFC 3501 section 6.4.2. It expunges, unless the mailbox is read-only,
// and tells nothing of it.
func (s *session) close(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	if !s.box.readOnly && !s.box.mailbox.Gone() {
		if err := s.expungePlaces([]span{{0, s.box.told.Len()}}); err != nil {
			return err
		}
	}
	s.closeMailbox()
	return nil
}
