package imap

import (
	"strconv"

	"github.com/go-pluto/pluto/imap/wire"
)

// copy: RFC 3501 section 6.4.7.
func (s *session) copy(c *wire.Command) error { return s.copyMessages(c, false) }

// uidCopy: RFC 3501 section 6.4.8.
func (s *session) uidCopy(c *wire.Command) error { return s.copyMessages(c, true) }

// move: RFC 6851 section 3.1.
func (s *session) move(c *wire.Command) error { return s.moveMessages(c, false) }

// uidMove: RFC 6851 section 3.2.
func (s *session) uidMove(c *wire.Command) error { return s.moveMessages(c, true) }

// readTransfer reads the arguments that COPY and MOVE have.
func (s *session) readTransfer(c *wire.Command, uid bool) ([]span, string, error) {
	spans, err := s.readSet(c, uid)
	if err != nil {
		return nil, "", err
	}
	to, err := s.mailbox(c)
	if err != nil {
		return nil, "", err
	}
	if err := c.End(); err != nil {
		return nil, "", err
	}
	return spans, to, s.validName(to)
}

// copyMessages copies all or none: a message that was expunged meanwhile cannot
// be copied, and then none is.
func (s *session) copyMessages(c *wire.Command, uid bool) error {
	spans, to, err := s.readTransfer(c, uid)
	if err != nil {
		return err
	}
	b := s.box
	b.refresh()
	keys := b.keys(spans, &s.scratch)
	if len(keys) == 0 {
		return nil
	}
	var done Appended
	err = s.patiently(len(keys) > fewMessages, func() (err error) {
		done, err = b.mailbox.Copy(s.ctx, keys, to)
		return err
	})
	if err != nil {
		return tryCreate(err)
	}
	s.made(to, done.UIDs)
	s.code = appendCopyUID(s.code, b.uids(spans, done.Source), &done)
	return nil
}

// moveMessages moves those that still exist.
func (s *session) moveMessages(c *wire.Command, uid bool) error {
	spans, to, err := s.readTransfer(c, uid)
	if err != nil {
		return err
	}
	b := s.box
	if b.readOnly {
		return ErrReadOnly
	}
	s.removing = true
	b.refresh()
	keys := b.keys(spans, &s.scratch)
	if len(keys) == 0 {
		return nil
	}
	var done Appended
	err = s.patiently(len(keys) > fewMessages, func() (err error) {
		done, _, err = b.mailbox.Move(s.ctx, keys, to)
		return err
	})
	if err != nil {
		return tryCreate(err)
	}
	s.made(to, done.UIDs)
	if len(done.UIDs) > 0 {
		// Before the EXPUNGE responses, RFC 6851 section 4.3.
		s.out.tagged("", "OK", string(appendCopyUID(nil, b.uids(spans, done.Source), &done)), "Moved")
	}
	return nil
}

// appendCopyUID appends a COPYUID response code (RFC 4315 section 3). from are
// the UIDs of the sources.
func appendCopyUID(dst []byte, from []UID, a *Appended) []byte {
	if len(a.UIDs) == 0 {
		return dst
	}
	dst = append(dst, "COPYUID "...)
	dst = strconv.AppendUint(dst, uint64(a.UIDValidity), 10)
	dst = append(dst, ' ')
	dst = appendUIDSet(dst, from)
	dst = append(dst, ' ')
	return appendUIDSet(dst, a.UIDs)
}
