package imap

import "github.com/go-pluto/pluto/imap/wire"

// replace: RFC 8508 section 3.2.
func (s *session) replace(c *wire.Command) error { return s.replaceMessage(c, false) }

// uidReplace: RFC 8508 section 3.3.
func (s *session) uidReplace(c *wire.Command) error { return s.replaceMessage(c, true) }

// replaceMessage puts a new message in the place of one: both happen or neither.
func (s *session) replaceMessage(c *wire.Command, uid bool) error {
	place, err := s.readPlace(c, uid)
	if err != nil {
		return err
	}
	to, err := s.mailbox(c)
	if err != nil {
		return err
	}
	b := s.box
	switch {
	case b.readOnly:
		return ErrReadOnly
	case place < 0:
		return &refusal{"NONEXISTENT", "No message has that UID"}
	}
	b.told.At(place, &s.scratch)
	m, err := s.receive(c, &destination{name: to, frees: s.scratch.Size})
	if m.Staging != nil {
		defer m.Staging.Discard()
	}
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	b.told.At(place, &s.scratch)
	var done Appended
	ctx, key := s.ctx, s.scratch.Key
	err = s.patiently(isLarge(m), func() (err error) {
		done, _, err = b.mailbox.Replace(ctx, key, to, m)
		return err
	})
	if err != nil {
		return tryCreate(err)
	}
	// Before the EXPUNGE response, RFC 8508 section 4.3.
	s.made(to, done.UIDs)
	s.removing = true
	s.out.tagged("", "OK", string(appendAppendUID(nil, &done)), "Replacement message ready")
	return nil
}

// readPlace reads the number or UID of one message. Its place is -1 if there is
// no such UID.
func (s *session) readPlace(c *wire.Command, uid bool) (int, error) {
	if err := c.SP(); err != nil {
		return 0, err
	}
	var r wire.Range // "*"
	if !c.Byte('*') {
		n, err := c.NzNumber()
		if err != nil {
			return 0, err
		}
		r = wire.Range{Start: n, Stop: n}
	}
	spans, err := s.place(wire.NumSet{Ranges: []wire.Range{r}}, uid)
	if err != nil {
		return 0, err
	}
	if len(spans) == 0 {
		return -1, nil
	}
	return spans[0].from, nil
}
