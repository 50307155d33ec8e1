package imap

import "github.com/go-pluto/pluto/imap/wire"

// expunge: RFC 3501 section 6.4.3.
func (s *session) expunge(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	return s.expungePlaces([]span{{0, s.box.told.Len()}})
}

// uidExpunge: RFC 4315 section 2.1.
func (s *session) uidExpunge(c *wire.Command) error {
	spans, err := s.readSet(c, true)
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	return s.expungePlaces(spans)
}

// readSet reads a message set after a space, and finds its places in told.
func (s *session) readSet(c *wire.Command, uid bool) ([]span, error) {
	spans, _, err := s.readPlaces(c, uid)
	return spans, err
}

// readPlaces is readSet that also returns the set.
func (s *session) readPlaces(c *wire.Command, uid bool) ([]span, wire.NumSet, error) {
	if err := c.SP(); err != nil {
		return nil, wire.NumSet{}, err
	}
	set, err := c.SequenceSet()
	if err != nil {
		return nil, set, err
	}
	spans, err := s.place(set, uid)
	return spans, set, err
}

// expungePlaces removes those of the messages that have \Deleted now. A message
// that the client has not been told of is not removed by it.
func (s *session) expungePlaces(spans []span) error {
	b := s.box
	if b.readOnly {
		return ErrReadOnly
	}
	s.removing = true
	b.refresh()
	var keys []MessageKey
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			if there := b.message(i, &s.scratch); !there || s.scratch.Flags&Deleted != 0 {
				keys = append(keys, s.scratch.Key)
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	_, err := b.mailbox.Expunge(s.ctx, keys)
	return err
}
